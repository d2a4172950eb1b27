//! The syntax tree of one `.uad` file.
//!
//! In: made by [`crate::parse`] only. Out: read by the printer and by the compiler.
//! Invariants: every span is a byte range of the source text and lies on character boundaries; children lie within
//! their parent; items are in source order. The tree knows no meaning: a name is a name, `zeros[n]` is an index.

use std::fmt;

/// A byte range `start..end` of one source text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start..end`.
    pub fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    /// The smallest range that covers both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// An identifier (or, for `as "…"`, the text between the quotes) with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// The identifier.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// One file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct File {
    /// `//!` lines, without the marker.
    pub docs: Vec<String>,
    /// Items in source order.
    pub items: Vec<Item>,
    /// All plain `//` comments with their place, in order: the printer puts them back.
    pub comments: Vec<Comment>,
    /// Where each line of the source begins: the printer keeps blank lines, and on one line what stood on one.
    pub lines: Vec<u32>,
}

/// A `// …` comment. `text` is without the slashes.
#[derive(Clone, Debug, PartialEq)]
pub struct Comment {
    /// Text after `//`.
    pub text: String,
    /// Where it stands, slashes included.
    pub span: Span,
    /// Nothing but blanks stands before it on its line.
    pub own_line: bool,
}

/// A top-level item.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// `///` lines before the item, without the marker.
    pub docs: Vec<String>,
    /// The whole item.
    pub span: Span,
    /// Which.
    pub kind: ItemKind,
}

/// The kinds of items (language.md section 2).
#[derive(Clone, Debug, PartialEq)]
pub enum ItemKind {
    /// `use data.{resize, rgb}` or `use optim.adamw`.
    Use {
        /// Module path segments.
        path: Vec<Name>,
        /// Imported names.
        names: Vec<Name>,
    },
    /// `type pyramid = list f32[b, _, _, _]`.
    Type {
        /// Declared name.
        name: Name,
        /// Its meaning.
        ty: Type,
    },
    /// `unit image: f32 in [0, 1]`.
    Unit {
        /// Declared name.
        name: Name,
        /// Underlying dtype.
        dtype: Name,
        /// Closed interval of values.
        range: Option<(Expr, Expr)>,
    },
    /// `source rgb: image[3, H, W]`, `source peer(x: …, by: …): …`.
    Source {
        /// Declared name.
        name: Name,
        /// Arguments, for sources that take other inputs.
        args: Vec<Param>,
        /// What one sample is.
        ty: Type,
    },
    /// `fn`.
    Fn(Function),
    /// `block`.
    Block(Function),
    /// `detector NAME { … }`.
    Detector {
        /// Declared name.
        name: Name,
        /// Statements.
        body: Vec<Stmt>,
    },
    /// `detector NAME = OTHER { … }`.
    Variant {
        /// Declared name.
        name: Name,
        /// The detector it varies.
        base: Name,
        /// Changed parameters and slots.
        fields: Vec<Field>,
    },
    /// Text that could not be parsed, up to the next item keyword; the error is reported beside it.
    Error,
}

/// `fn` and `block`: hyper-parameters, arguments, result, body.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Attributes before it: `@weights("resnet18.torchvision")`, `@kernel("attention")`.
    pub attributes: Vec<Attribute>,
    /// Declared name.
    pub name: Name,
    /// First parenthesis; `None` when a `fn` has only arguments.
    pub hyper: Option<Vec<Param>>,
    /// Second parenthesis (a `fn`'s only one).
    pub args: Vec<Param>,
    /// Result type.
    pub result: Option<Type>,
    /// Statements and last expression.
    pub body: Body,
}

/// `@name("text")`.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Its name.
    pub name: Name,
    /// Its text.
    pub text: Option<Name>,
}

/// `name: type = default`.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Declared name.
    pub name: Name,
    /// Declared type; lambdas may leave it out.
    pub ty: Option<Type>,
    /// Default value.
    pub default: Option<Expr>,
}

/// Statements, then perhaps a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Body {
    /// Statements in order.
    pub stmts: Vec<Stmt>,
    /// Last expression.
    pub value: Option<Box<Expr>>,
}

/// A statement with its documentation.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// `///` lines before it.
    pub docs: Vec<String>,
    /// The whole statement.
    pub span: Span,
    /// Which.
    pub kind: StmtKind,
}

/// The kinds of statements (language.md section 3).
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// `param size: int = 224`. `param a: int = 1,  b: int = 2` is two statements that share a line (see `joined`).
    Param(Param, Joined),
    /// `slot encoder: encoder = efficientnet_b4(taps: [1])`.
    Slot {
        /// Declared name.
        name: Name,
        /// Signature.
        ty: Type,
        /// Default instance.
        value: Option<Expr>,
    },
    /// `input image: image[b, 3, size, size] from rgb |> resize(size, size)`.
    Input {
        /// Declared name.
        name: Name,
        /// Type of the stacked batch.
        ty: Type,
        /// The source and its per-sample pipeline.
        from: Expr,
    },
    /// `weight w: f32[out, in] = xavier_uniform`.
    Weight(Param, Joined),
    /// `state mean: f32[c] = zeros`.
    State(Param, Joined),
    /// `let x: T = e`, `let (a, b) = e`.
    Let {
        /// What is bound.
        pattern: Pattern,
        /// Declared type.
        ty: Option<Type>,
        /// Value.
        value: Expr,
        /// Whether it continued the `let` before it after a comma.
        joined: Joined,
    },
    /// `require COND, "why"`.
    Require {
        /// Condition.
        cond: Expr,
        /// Reason shown to the user.
        why: Option<Name>,
    },
    /// `proto <- e`, `c[i] <- e`.
    Become {
        /// State or carried name, perhaps indexed.
        target: Expr,
        /// New value.
        value: Expr,
    },
    /// `iterate [j in 0..n |] n with a = x until c every k { … }`.
    Iterate(Iterate),
    /// `if CONST { … } else { … }` among statements.
    If {
        /// Condition, known when compiling.
        cond: Expr,
        /// Statements when true.
        then: Vec<Stmt>,
        /// Statements when false.
        otherwise: Vec<Stmt>,
    },
    /// `stage NAME { … }`.
    Stage {
        /// Declared name.
        name: Name,
        /// Statements, `minimise` and settings in order.
        parts: Vec<StagePart>,
    },
    /// `score { NAME = EXPR … }`; its `let`s come as statements.
    Score {
        /// Statements and outputs in order.
        parts: Vec<ScorePart>,
    },
    /// An expression for its effect (an instance's use, or a last value in the wrong place).
    Expr(Expr),
}

/// True when the declaration followed a comma: `param a: int = 1,  b: int = 2`.
pub type Joined = bool;

/// What `let` and comprehensions bind.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// One name (`_` binds nothing).
    Name(Name),
    /// A record of patterns.
    Record(Vec<Pattern>, Span),
}

/// A bounded loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Iterate {
    /// `j in 0..n`: index name; the bound is then a range.
    pub index: Option<Name>,
    /// Count, or a range when there is an index.
    pub bound: Expr,
    /// Carried names with their first values.
    pub carried: Vec<(Name, Expr)>,
    /// `until COND`, tested after the body.
    pub until: Option<Expr>,
    /// `every k`.
    pub every: Option<Expr>,
    /// Statements.
    pub body: Vec<Stmt>,
}

/// Part of a stage.
#[derive(Clone, Debug, PartialEq)]
pub enum StagePart {
    /// An ordinary statement.
    Stmt(Stmt),
    /// `minimise LOSS [over …] with OPT [over … with OPT]`.
    Minimise {
        /// A scalar.
        loss: Expr,
        /// Optimiser groups in order.
        groups: Vec<Group>,
        /// The whole part.
        span: Span,
    },
    /// `epochs: 100`.
    Setting {
        /// Its name.
        name: Name,
        /// Its value.
        value: Expr,
        /// Followed the previous setting after a comma on the same line.
        joined: Joined,
    },
}

/// One optimiser group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// `over` patterns as written (`**.norm*`, `rest`); empty: all that is not frozen.
    pub over: Vec<Name>,
    /// The optimiser.
    pub with: Expr,
}

/// Part of `score`.
#[derive(Clone, Debug, PartialEq)]
pub enum ScorePart {
    /// A `let` or other statement.
    Stmt(Stmt),
    /// `map = e`.
    Output {
        /// Output name.
        name: Name,
        /// Value.
        value: Expr,
    },
}

/// `name: value` of a variant; a bare name means `name: name`.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Parameter or slot.
    pub name: Name,
    /// Value; `None` for the bare form.
    pub value: Option<Expr>,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Where it stands.
    pub span: Span,
    /// Which.
    pub kind: ExprKind,
}

/// The kinds of expressions (language.md section 5).
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `42`, kept as written in [`ExprKind::Float`]'s sibling form.
    Int(i64),
    /// `1e-4`, with its text so that the printer changes nothing.
    Float(f64, String),
    /// `"text"`, escapes undone.
    Str(String),
    /// `true`, `false`.
    Bool(bool),
    /// A name. Keywords that are values (`training`, `all`) come here too.
    Name(String),
    /// `a.b`.
    Dot(Box<Expr>, Name),
    /// `f(x, k: v)`.
    Call(Box<Expr>, Vec<Arg>),
    /// `x[i, a..b, :, new]`, `zeros[n]`, `random.normal[like x]`.
    Index(Box<Expr>, Vec<IndexItem>),
    /// `x[b c h w -> b (h w) c]`.
    View(Box<Expr>, ViewSide, ViewSide),
    /// `[b n c, p c -> b n p]`: a contraction written as an argument.
    Contraction(Vec<ViewSide>, ViewSide),
    /// `[a, b]`.
    List(Vec<Expr>),
    /// `[e for p in l for q in m]`.
    Comprehension(Box<Expr>, Vec<(Pattern, Expr)>),
    /// `(a, b)`, `(name: a, …)`; never of one unnamed field.
    Record(Vec<Arg>),
    /// `fn (x: T, y) { … }`.
    Lambda(Vec<Param>, Box<Body>),
    /// `-x`.
    Neg(Box<Expr>),
    /// `not x`.
    Not(Box<Expr>),
    /// `a + b` and the like.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `a..b`, either side may be missing only inside an index.
    Range(Option<Box<Expr>>, Option<Box<Expr>>),
    /// `x |> f(h)` and `x |> @train f(h)`.
    Pipe {
        /// What is piped.
        value: Box<Expr>,
        /// Only while training.
        train: bool,
        /// What it goes into.
        into: Box<Expr>,
    },
    /// `e as name`, `e as "{level}_{alpha}"`.
    As(Box<Expr>, Name),
    /// `repeat(n) f(h)`.
    Repeat(Box<Expr>, Box<Expr>),
    /// `each f`.
    Each(Box<Expr>),
    /// `frozen e(x)`.
    Frozen(Box<Expr>),
    /// `uniad { hidden: 384 }`.
    Variant(Box<Expr>, Vec<Field>),
    /// `if c { a } else { b }` as a value.
    If(Box<Expr>, Box<Body>, Box<Body>),
    /// Text that could not be parsed; the error is reported beside it.
    Error,
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `@`: contraction of the last axis with the last but one.
    MatMul,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `and`
    And,
    /// `or`
    Or,
}

/// An argument, by place or by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// `name:` if given.
    pub name: Option<Name>,
    /// Value.
    pub value: Expr,
}

/// One item between the brackets of an index.
#[derive(Clone, Debug, PartialEq)]
pub enum IndexItem {
    /// An index, a dimension, a range `a..b`.
    Expr(Expr),
    /// `:`
    Full(Span),
    /// `new`
    New(Span),
    /// `...` or `...r` (in shapes: `random.bernoulli[...](p)`).
    Rest(Option<Name>, Span),
    /// `like x`
    Like(Expr),
}

/// One side of `->` in a view.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewSide {
    /// Axes in order.
    pub axes: Vec<ViewAxis>,
    /// Where it stands.
    pub span: Span,
}

/// An axis of a view.
#[derive(Clone, Debug, PartialEq)]
pub enum ViewAxis {
    /// A name.
    Name(Name),
    /// A number, nearly always 1.
    Int(i64, Span),
    /// `(h w)`.
    Group(Vec<ViewAxis>, Span),
    /// `...`
    Rest(Span),
}

/// A type as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    /// Where it stands.
    pub span: Span,
    /// Which.
    pub kind: TypeKind,
}

/// The kinds of types (language.md section 4).
#[derive(Clone, Debug, PartialEq)]
pub enum TypeKind {
    /// `f32`, `int`, `pyramid`, `optimiser`: a dtype, a unit or an alias without dimensions.
    Name(Name),
    /// `f32[b, c]`, `image[3, H, W]`, `T[..]`.
    Tensor(Name, Vec<DimItem>),
    /// `list T`.
    List(Box<Type>),
    /// `(T, T)`, `(name: T, …)`.
    Record(Vec<(Option<Name>, Type)>),
    /// `(T, …) -> T`.
    Signature(Vec<(Option<Name>, Type)>, Box<Type>),
}

/// A dimension as written.
#[derive(Clone, Debug, PartialEq)]
pub enum DimItem {
    /// A name, a number, arithmetic.
    Expr(Expr),
    /// `_`
    Any(Span),
    /// `...` or `...r`.
    Rest(Option<Name>, Span),
}
