//! What expressions mean while a detector is elaborated: values, functions, instances, and where names live.
//!
//! In: made by the evaluator. Out: read by it. Invariants: a tensor names the graph it belongs to; frames form a tree;
//! values are cheap to clone. Imports: syntax tree, dims.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use smallvec::SmallVec;
use uad_grammar::ast::{Body, Expr, Function, Param, Stmt, Type};
use uad_plan::Dim;

use crate::diag::Place;
use crate::graph::NodeId;
use crate::hash::FxHashMap;

/// An error has been reported; whoever meets this says nothing more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bad;

/// A result whose error has been reported.
pub(crate) type R<T> = Result<T, Bad>;

/// A value at elaboration.
#[derive(Clone)]
pub(crate) enum Value<'a> {
    /// The value of something that failed.
    Poison,
    /// A static integer, perhaps symbolic.
    Int(Dim),
    /// An exact quotient of two integers.
    Ratio(Rc<(Dim, Dim)>),
    /// A static number.
    Float(f64),
    /// A static truth.
    Bool(bool),
    /// A static text.
    Text(Rc<str>),
    /// A list of static length.
    List(Rc<Vec<Value<'a>>>),
    /// A record.
    Record(Rc<Vec<(Option<Rc<str>>, Value<'a>)>>),
    /// `a..b`.
    Range(Dim, Dim),
    /// A tensor of some graph.
    Tensor(Tensor<'a>),
    /// Anything that can be called.
    Func(Func<'a>),
}

/// Most values in one list or record, those within its parts included: parts may be shared, so doubling costs one line each.
const MOST_VALUES: usize = 1 << 20;

/// Most lists and records within each other.
const DEEPEST: usize = 64;

impl Value<'_> {
    /// Is all that is reached from here something that can be walked?
    pub(crate) fn is_bounded(&self) -> bool {
        fn walk(v: &Value, depth: usize, left: &mut usize) -> bool {
            let Some(fewer) = left.checked_sub(1) else { return false };
            *left = fewer;
            match v {
                Value::List(_) | Value::Record(_) if depth == 0 => false,
                Value::List(l) => l.iter().all(|v| walk(v, depth - 1, left)),
                Value::Record(l) => l.iter().all(|v| walk(&v.1, depth - 1, left)),
                _ => true,
            }
        }
        let mut left = MOST_VALUES;
        walk(self, DEEPEST, &mut left)
    }
}

/// A node of a graph with what the language knows besides its type.
#[derive(Clone)]
pub(crate) struct Tensor<'a> {
    /// Which graph, by serial number.
    pub graph: u32,
    /// Which node.
    pub node: NodeId,
    /// Unit tag.
    pub unit: Option<&'a str>,
    /// Names of the axes by the last annotation; empty where there is none.
    pub labels: Option<Rc<[&'a str]>>,
}

/// What can be called.
#[derive(Clone)]
pub(crate) enum Func<'a> {
    /// A function of the prelude.
    Builtin(&'static str),
    /// A declared function, its hyper-parameters perhaps bound.
    Fn(Rc<FnValue<'a>>),
    /// A block without hyper-parameters yet.
    Block(&'a Function, usize),
    /// A block with hyper-parameters.
    Instance(Rc<Instance<'a>>),
    /// A local function.
    Lambda(Rc<Lambda<'a>>),
    /// In sequence: the first argument is carried.
    Repeat(Rc<Vec<Func<'a>>>),
    /// Over the leading axis.
    Each(Rc<Func<'a>>),
    /// Not trained.
    Frozen(Rc<Func<'a>>),
    /// A function and arguments that follow those of the call.
    Partial(Rc<(Func<'a>, Vec<Arg<'a>>)>),
    /// A function seen through a signature.
    Typed(Rc<(Func<'a>, &'a Type, Env<'a>)>),
    /// A detector, before its fields are given.
    Detector,
    /// A detector in use.
    Part(Rc<Part<'a>>),
}

/// A declared function.
pub(crate) struct FnValue<'a> {
    /// Declaration.
    pub decl: &'a Function,
    /// Its module.
    pub module: usize,
    /// Frame with the hyper-parameters, once given.
    pub hyper: Option<Env<'a>>,
}

/// A local function.
pub(crate) struct Lambda<'a> {
    /// Parameters.
    pub params: &'a [Param],
    /// Body.
    pub body: &'a Body,
    /// Where it was written.
    pub env: Env<'a>,
}

/// A block with hyper-parameters. It has a path once it is named or used.
pub(crate) struct Instance<'a> {
    /// Declaration.
    pub decl: &'a Function,
    /// Its module.
    pub module: usize,
    /// Frame with the hyper-parameters.
    pub hyper: Env<'a>,
    /// The expression that made it.
    pub site: Place,
    /// Position in comprehensions around the site.
    pub turn: Vec<usize>,
    /// The body that owns it.
    pub home: Option<Rc<Owner<'a>>>,
    /// Its own body's owner, once it has a path.
    pub named: RefCell<Option<Rc<Owner<'a>>>>,
}

/// What a variant or a use sets.
#[derive(Clone)]
pub(crate) enum FieldValue<'a> {
    /// A value of the body around.
    Known(Value<'a>),
    /// An expression of a module, evaluated when the parameter or slot is read.
    Written(&'a Expr, usize),
}

/// A detector inside another, or the outermost one.
pub(crate) struct Part<'a> {
    /// The declaring detector's name.
    pub name: &'a str,
    /// Its module.
    pub module: usize,
    /// Statements of its body.
    pub body: &'a [Stmt],
    /// What is set, the strongest first.
    pub fields: Vec<(&'a str, Place, FieldValue<'a>)>,
    /// Frame of its body and its owner, once it has a path.
    pub open: RefCell<Option<(Env<'a>, Rc<Owner<'a>>)>>,
    /// The expression that made it.
    pub site: Place,
    /// Position in comprehensions around the site.
    pub turn: Vec<usize>,
    /// The body that owns it; `None` for the outermost.
    pub home: Option<Rc<Owner<'a>>>,
    /// Outputs of its score, once evaluated.
    pub outputs: RefCell<Option<Rc<Outputs<'a>>>>,
    /// The score is being evaluated.
    pub busy: Cell<bool>,
}

/// Outputs of a score by name.
pub(crate) type Outputs<'a> = Vec<(&'a str, Value<'a>, Place)>;

/// A body that owns instances, weights and states.
pub(crate) struct Owner<'a> {
    /// Instance path, empty for the detector.
    pub path: String,
    /// Instances by name.
    pub children: RefCell<FxHashMap<String, Child<'a>>>,
    /// Prefix of foreign names: the `@weights` of the outermost block that has one, with that block's path.
    pub foreign: Option<(String, String)>,
    /// The expression of the outermost detector that made it, or what it is in.
    pub site: Option<Place>,
    /// States that a rule has changed in this entry.
    pub changed: RefCell<Vec<(&'a str, Value<'a>)>>,
}

/// A named instance of an owner.
#[derive(Clone)]
pub(crate) struct Child<'a> {
    /// The expression that made it.
    pub site: Place,
    /// Which turns of the comprehensions around that.
    pub turn: Vec<usize>,
    /// What it owns itself.
    pub owner: Rc<Owner<'a>>,
}

/// An argument of a call.
#[derive(Clone)]
pub(crate) struct Arg<'a> {
    /// By name.
    pub name: Option<&'a uad_grammar::ast::Name>,
    /// Its value.
    pub value: Value<'a>,
    /// Where it stands.
    pub place: Place,
}

/// A frame, shared.
pub(crate) type Env<'a> = Rc<Frame<'a>>;

/// Which kind of body a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A function: owns nothing.
    Fn,
    /// A block or local function in one.
    Block,
    /// A detector.
    Detector,
    /// A stage or score.
    Entry,
}

/// Where a name's value is.
#[derive(Clone)]
pub(crate) enum Slot<'a> {
    /// Known.
    Known(Value<'a>),
    /// Not evaluated yet: a statement of a detector.
    Lazy(Rc<Thunk<'a>>),
}

/// A statement of a detector that is evaluated when someone reads it.
pub(crate) struct Thunk<'a> {
    /// The statement.
    pub stmt: &'a Stmt,
    /// Being evaluated.
    pub busy: Cell<bool>,
    /// Evaluated.
    pub done: Cell<bool>,
}

/// Names of one body, call or entry.
pub(crate) struct Frame<'a> {
    /// What encloses it.
    pub parent: Option<Env<'a>>,
    /// Module whose items are visible.
    pub module: usize,
    /// Kind.
    pub kind: Kind,
    /// Values.
    pub vars: RefCell<SmallVec<[(&'a str, Slot<'a>); 2]>>,
    /// Dims, with where each got its value.
    pub dims: RefCell<Vec<(&'a str, Dim, Place)>>,
    /// What `...` stands for.
    pub rest: RefCell<Option<Vec<Dim>>>,
    /// Statements that declare a dim when they are evaluated.
    pub promised: RefCell<Vec<(&'a str, Rc<Thunk<'a>>)>>,
    /// States: name and path.
    pub states: RefCell<Vec<(&'a str, String)>>,
    /// Owner of what is made here.
    pub owner: Option<Rc<Owner<'a>>>,
    /// The detector whose body this is.
    pub part: RefCell<Option<Rc<Part<'a>>>>,
    /// Names whose values belong to one entry alone.
    pub own: RefCell<Vec<&'a str>>,
    /// One of them has been read.
    pub read_own: Cell<bool>,
}

impl<'a> Frame<'a> {
    /// An empty frame.
    pub fn new(parent: Option<Env<'a>>, module: usize, kind: Kind, owner: Option<Rc<Owner<'a>>>) -> Env<'a> {
        Rc::new(Frame {
            parent,
            module,
            kind,
            vars: RefCell::default(),
            dims: RefCell::default(),
            rest: RefCell::default(),
            promised: RefCell::default(),
            states: RefCell::default(),
            owner,
            part: RefCell::default(),
            own: RefCell::default(),
            read_own: Cell::default(),
        })
    }

    /// Gives a name a value.
    pub fn set(&self, name: &'a str, value: Value<'a>) {
        let mut vars = self.vars.borrow_mut();
        match vars.iter_mut().find(|v| v.0 == name) {
            Some(v) => v.1 = Slot::Known(value),
            None => vars.push((name, Slot::Known(value))),
        }
    }

    /// The slot of a name in this frame alone.
    pub fn slot(&self, name: &str) -> Option<Slot<'a>> {
        self.seen(name, Slot::clone)
    }

    /// What is asked of the slot of a name in this frame alone.
    pub fn seen<T>(&self, name: &str, ask: impl FnOnce(&Slot<'a>) -> T) -> Option<T> {
        let answer = self.vars.borrow().iter().find(|v| v.0 == name).map(|v| ask(&v.1))?;
        self.note(name);
        Some(answer)
    }

    fn note(&self, name: &str) {
        if self.own.borrow().contains(&name) {
            self.read_own.set(true);
        }
    }

    /// A dim of this frame alone.
    pub fn dim(&self, name: &str) -> Option<(Dim, Place)> {
        let dim = self.dims.borrow().iter().find(|d| d.0 == name).map(|d| (d.1.clone(), d.2))?;
        self.note(name);
        Some(dim)
    }
}

impl<'a> Owner<'a> {
    /// An owner at a path.
    pub fn at(path: String, foreign: Option<(String, String)>, site: Option<Place>) -> Rc<Owner<'a>> {
        Rc::new(Owner { path, children: RefCell::default(), foreign, site, changed: RefCell::default() })
    }

    /// Path of a thing of this name in it.
    pub fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { [&self.path, ".", name].concat() }
    }
}

impl<'a> Value<'a> {
    /// A known integer.
    pub fn int(v: i64) -> Value<'a> {
        Value::Int(Dim::int(v))
    }

    /// What kind of value it is, for messages; tensors are described by the evaluator.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Poison => "nothing",
            Value::Int(_) => "an integer",
            Value::Ratio(_) | Value::Float(_) => "a number",
            Value::Bool(_) => "a truth value",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Record(_) => "a record",
            Value::Range(..) => "a range",
            Value::Tensor(_) => "a tensor",
            Value::Func(Func::Instance(_) | Func::Repeat(_)) => "an instance without inputs",
            Value::Func(Func::Block(..)) => "a block without inputs",
            Value::Func(Func::Detector | Func::Part(_)) => "a detector",
            Value::Func(_) => "a function",
        }
    }

    /// A static number?
    pub fn is_number(&self) -> bool {
        matches!(self, Value::Int(_) | Value::Ratio(_) | Value::Float(_))
    }
}
