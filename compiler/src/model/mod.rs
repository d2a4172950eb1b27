//! From syntax trees to a typed model: one graph per entry, by abstract evaluation.
//!
//! In: texts, and what a user chose. Out: a [`Model`] and diagnostics. Invariants: functions, blocks and `repeat` are
//! inlined with their parameters known; nothing is solved backwards; work is bounded; one mistake gives one message.
//! Imports: the grammar, diagnostics, graphs, sources.

mod body;
mod builtin;
mod call;
mod detector;
mod emit;
mod eval;
mod index;
mod info;
mod input;
mod iterate;
mod joins;
mod modules;
mod number;
mod ops;
mod origin;
mod prelude;
mod print;
mod shaped;
mod stage;
mod tell;
mod types;
mod uncalled;
mod value;
mod view;

use std::collections::{HashMap, HashSet};

use uad_grammar::ast::{Expr, ItemKind, Span, StmtKind};
use uad_plan::StoredKind;

use crate::diag::{Diagnostic, Place, Severity};
use crate::graph::{Graph, Op, TensorType};
use crate::source::{Files, Loader};

pub(crate) use modules::other_detectors;

pub use info::*;
pub use stage::pattern_matches;

use emit::Level;
use modules::Module;
use value::{Env, Tensor, Value};

/// Which entry is being elaborated.
pub(crate) enum EntryKind<'a> {
    Score,
    Stage {
        /// Patterns of what it trains, if it minimises.
        trains: Option<Vec<&'a str>>,
    },
    Scratch,
}

/// Functions and blocks that were called: module and position of their names.
pub(crate) type Called = HashSet<(usize, Span)>;

/// What the analyses need beside the model.
#[derive(Default)]
pub(crate) struct Facts {
    /// Where draws stand, by site.
    pub draws: HashMap<String, Place>,
    /// Where nodes were asked for, by entry.
    pub places: HashMap<String, Vec<Place>>,
    /// Where outputs of the score stand.
    pub outputs: Vec<(String, Place)>,
    /// Calls that stand in the user's files, by scope: label and place as text; with the expression that made an instance.
    pub calls: HashMap<(String, String), (Place, Option<Place>)>,
    /// Functions and blocks that were called: module and position of their names.
    pub called: Called,
    /// Statements of the root detector that no entry reached: name, place, kind.
    pub unreached: Vec<(String, Place, &'static str)>,
    /// Modules of the check that are not of the library: trees, in order.
    pub trees: Vec<(usize, uad_grammar::ast::File)>,
}

/// The evaluator.
pub(crate) struct Ev<'a> {
    modules: &'a [Module],
    lines: Vec<(String, Vec<u32>, &'a str)>,
    choice: &'a Choice,
    set: &'a [(String, Expr)],
    set_file: usize,
    set_module: usize,
    name: String,
    detector: &'a str,
    out: Vec<Diagnostic>,
    seen: HashSet<(&'static str, Place)>,
    errors: usize,
    levels: Vec<Level<'a>>,
    init: Vec<Level<'a>>,
    cur: usize,
    serial: u32,
    fresh: u32,
    stored: Vec<StoredInfo>,
    stored_at: HashMap<String, usize>,
    inputs: Vec<InputInfo>,
    params: Vec<ParamInfo>,
    stages: Vec<StageInfo>,
    graphs: Vec<Graph>,
    training: bool,
    frozen: usize,
    entry: EntryKind<'a>,
    depth: usize,
    calls: usize,
    steps: usize,
    nodes: usize,
    parts: usize,
    stopped: bool,
    scratch: bool,
    only: Option<bool>,
    closed_alone: bool,
    each_depth: usize,
    turn: Vec<usize>,
    site: Option<String>,
    draws: HashMap<String, usize>,
    facts: Facts,
    traced: HashSet<String>,
    reached: HashSet<usize>,
    unreached: HashSet<usize>,
    carried: Vec<(Env<'a>, String)>,
    collected: Vec<(String, Tensor<'a>, Place)>,
    found: Vec<(String, std::rc::Rc<value::Part<'a>>)>,
    frames: Vec<Env<'a>>,
}

impl<'a> Ev<'a> {
    /// A place in a module's file.
    fn at(&self, module: usize, span: Span) -> Place {
        Place { file: self.modules[module].file, span }
    }

    /// A type for messages.
    fn shown(&self, ty: &TensorType) -> String {
        ty.to_string()
    }

    /// What an item's name means as a value.
    fn item_value(&self, n: &str, module: usize) -> Option<Value<'a>> {
        let modules = self.modules;
        let (m, i) = *modules[module].values.get(n)?;
        Some(Value::Func(match &modules[m].ast.items[i].kind {
            ItemKind::Fn(f) => value::Func::Fn(std::rc::Rc::new(value::FnValue { decl: f, module: m, hyper: None })),
            ItemKind::Block(f) => value::Func::Block(f, m),
            ItemKind::Detector { .. } | ItemKind::Variant { .. } => value::Func::Detector,
            _ => return None,
        }))
    }

    /// Types and sources need a `use` like everything else.
    fn implicit(&self, _: &str, _: impl Fn(&Module) -> &HashMap<String, modules::Found>) -> Option<modules::Found> {
        None
    }

    fn param_value(&mut self, name: &str, v: &Value<'a>) {
        if !self.params.iter().any(|p| p.name == name) {
            self.params.push(ParamInfo { name: name.to_string(), value: Static::of(v) });
        }
    }
}

/// Drops nodes that no output, write or loop needs, and numbers the rest anew.
pub(crate) fn prune(g: &mut Graph) -> Vec<bool> {
    let mut live = vec![false; g.nodes.len()];
    for (_, n) in g.outputs.iter().chain(&g.writes) {
        live[n.0 as usize] = true;
    }
    for i in (0..g.nodes.len()).rev() {
        if live[i] {
            for a in &g.nodes[i].args {
                live[a.0 as usize] = true;
            }
        }
    }
    let mut to = vec![u32::MAX; g.nodes.len()];
    let mut next = 0;
    for (i, l) in live.iter().enumerate() {
        if *l {
            to[i] = next;
            next += 1;
        }
    }
    let mut i = 0;
    g.nodes.retain(|_| {
        i += 1;
        live[i - 1]
    });
    for n in &mut g.nodes {
        for a in &mut n.args {
            a.0 = to[a.0 as usize];
        }
    }
    g.named.retain(|(_, n)| live[n.0 as usize]);
    for (_, n) in g.outputs.iter_mut().chain(&mut g.writes).chain(&mut g.named) {
        n.0 = to[n.0 as usize];
    }
    let mut names: Vec<String> = Vec::new();
    let mut used: HashSet<&uad_plan::Dim> = HashSet::new();
    for n in &g.nodes {
        for d in &n.ty.shape {
            if d.as_int().is_none() && used.insert(d) {
                names.extend(d.names());
            }
        }
        if let Op::Size(d) = &n.op {
            names.extend(d.names());
        }
    }
    names.sort();
    names.dedup();
    g.dims = names;
    // Scopes that no node is in go too.
    let mut kept = vec![false; g.scopes.len()];
    if let Some(k) = kept.first_mut() {
        *k = true;
    }
    for n in &g.nodes {
        kept[n.scope.0 as usize] = true;
    }
    for i in (0..g.scopes.len()).rev() {
        if kept[i]
            && let Some(p) = g.scopes[i].parent
        {
            kept[p.0 as usize] = true;
        }
    }
    let mut at = vec![0; g.scopes.len()];
    let mut next = 0;
    for (i, k) in kept.iter().enumerate() {
        at[i] = next;
        next += u32::from(*k);
    }
    let mut i = 0;
    g.scopes.retain(|_| {
        i += 1;
        kept[i - 1]
    });
    for s in &mut g.scopes {
        if let Some(p) = &mut s.parent {
            p.0 = at[p.0 as usize];
        }
    }
    for n in &mut g.nodes {
        n.scope.0 = at[n.scope.0 as usize];
    }
    live
}

/// Elaborates a detector of the root file. No model where there is an error.
pub fn elaborate(
    files: &mut Files,
    loader: &dyn Loader,
    root_path: &str,
    choice: &Choice,
) -> (Option<Model>, Vec<Diagnostic>) {
    let (model, mut out, _) = elaborate_facts(files, loader, root_path, choice, None);
    out.sort_by_key(|d| (d.labels.first().map(|l| (l.place.file, l.place.span.start)), d.code));
    let failed = out.iter().any(|d| d.severity == Severity::Error);
    (model.filter(|_| !failed), out)
}

/// [`elaborate`] with what the analyses read. With `elsewhere`, functions and blocks that neither this detector nor those
/// before it called are looked at by themselves.
pub(crate) fn elaborate_facts(
    files: &mut Files,
    loader: &dyn Loader,
    root_path: &str,
    choice: &Choice,
    elsewhere: Option<&Called>,
) -> (Option<Model>, Vec<Diagnostic>, Facts) {
    let (modules, mut out, lost) = modules::load(files, loader, root_path);
    let set_file = files.files.len();
    let mut set = Vec::new();
    for (name, text) in &choice.set {
        match uad_grammar::parse_expr(text) {
            Ok(e) => set.push((name.clone(), e)),
            Err(e) => {
                let file = files.position("--set").unwrap_or_else(|| files.add("--set", text.clone()));
                let place = Place { file, span: Span::new(0, text.len()) };
                out.push(Diagnostic::new("E0001", format!("`--set {name}={text}`: {}", e.message), place, e.label));
            }
        }
    }
    if !set.is_empty() && files.position("--set").is_none() {
        let all: Vec<&str> = choice.set.iter().map(|s| s.1.as_str()).collect();
        files.add("--set", all.join("\n"));
    }
    let Some(root) = modules.first() else { return (None, out, Facts::default()) };
    let main = modules::main_detector(&root.ast, root_path);
    let detector = choice.detector.as_deref().or(main);
    let detector = match detector {
        Some(d) => d,
        None if elsewhere.is_some() => "",
        None => return (None, out, Facts::default()),
    };
    let files: &Files = files;
    let (modules, set) = (&modules, &set);
    let own: Vec<(usize, uad_grammar::ast::File)> = modules
        .iter()
        .filter(|m| !files.files[m.file].0.starts_with("stdlib/"))
        .map(|m| (m.file, m.ast.clone()))
        .collect();
    // Evaluation recurses with the program: its own stack, bounded by the evaluator's depth.
    let run = move || evaluate(modules, files, choice, set, set_file, detector, elsewhere);
    let done = std::thread::scope(|s| {
        match std::thread::Builder::new().name("elaborate".into()).stack_size(1 << 29).spawn_scoped(s, run) {
            Ok(t) => t.join().ok(),
            Err(_) => None,
        }
    });
    let Some((model, more, mut facts)) = done else {
        let place = Place { file: 0, span: Span::default() };
        out.push(Diagnostic::new("E0215", "the machine has no room for this elaboration", place, ""));
        return (None, out, Facts::default());
    };
    out.extend(more);
    tell::without_consequences(&mut out, &lost, files);
    facts.trees = own;
    (model, out, facts)
}

fn evaluate(
    modules: &[Module],
    files: &Files,
    choice: &Choice,
    set: &[(String, Expr)],
    set_file: usize,
    detector: &str,
    elsewhere: Option<&Called>,
) -> (Option<Model>, Vec<Diagnostic>, Facts) {
    let lines = files
        .files
        .iter()
        .map(|(name, text)| {
            let mut starts = vec![0u32];
            starts.extend(text.bytes().enumerate().filter(|b| b.1 == b'\n').map(|b| b.0 as u32 + 1));
            (name.clone(), starts, text.as_str())
        })
        .collect();
    let mut ev = Ev {
        modules,
        lines,
        choice,
        set,
        set_file,
        set_module: 0,
        name: detector.to_string(),
        detector,
        out: Vec::new(),
        seen: HashSet::new(),
        errors: 0,
        levels: Vec::new(),
        init: Vec::new(),
        cur: 0,
        serial: 0,
        fresh: 0,
        stored: Vec::new(),
        stored_at: HashMap::new(),
        inputs: Vec::new(),
        params: Vec::new(),
        stages: Vec::new(),
        graphs: Vec::new(),
        training: false,
        frozen: 0,
        entry: EntryKind::Scratch,
        depth: 0,
        calls: 0,
        steps: 0,
        nodes: 0,
        parts: 0,
        stopped: false,
        scratch: false,
        only: None,
        closed_alone: false,
        each_depth: 0,
        turn: Vec::new(),
        site: None,
        draws: HashMap::new(),
        facts: Facts::default(),
        traced: HashSet::new(),
        reached: HashSet::new(),
        unreached: HashSet::new(),
        carried: Vec::new(),
        collected: Vec::new(),
        found: Vec::new(),
        frames: Vec::new(),
    };
    let init = ev.level("init", false);
    ev.init = vec![init];
    let library = detector.is_empty();
    let score = if library { None } else { ev.score_entry() };
    // Detectors inside come first; they were met on the way to the score.
    let inner: Vec<(String, std::rc::Rc<value::Part>)> = std::mem::take(&mut ev.found);
    for (path, part) in &inner {
        for s in part.body {
            if let StmtKind::Stage { name, parts } = &s.kind {
                ev.stage_entry(path, &name.text, parts);
            }
        }
    }
    drop(inner);
    if !library && let Ok(root) = ev.begin("stages", EntryKind::Scratch) {
        for s in root.body {
            if let StmtKind::Stage { name, parts } = &s.kind {
                ev.stage_entry("", &name.text, parts);
            }
        }
    }
    if !library {
        ev.rest_entry();
    }
    let (model, mut facts) = ev.model(score);
    if let Some(called) = elsewhere {
        let whole = std::mem::take(&mut facts.called);
        ev.uncalled(&|f| whole.contains(&(0, f.name.span)) || called.contains(&(0, f.name.span)));
        facts.called = whole;
    }
    // Local functions hold the frames that hold them.
    for f in ev.frames.drain(..) {
        f.vars.borrow_mut().clear();
        f.part.borrow_mut().take();
    }
    (model, ev.out, facts)
}

impl<'a> Ev<'a> {
    fn model(&mut self, score: Option<Graph>) -> (Option<Model>, Facts) {
        let mut facts = std::mem::take(&mut self.facts);
        let mut entries = std::mem::take(&mut self.graphs);
        entries.extend(score);
        let mut reads: HashSet<String> = HashSet::new();
        let mut fed: HashSet<String> = HashSet::new();
        for g in &entries {
            leaves(g, &mut reads, &mut fed);
            reads.extend(g.writes.iter().map(|w| w.0.clone()));
        }
        let mut stored = std::mem::take(&mut self.stored);
        stored.retain(|s| reads.contains(&s.path));
        let mut stages = std::mem::take(&mut self.stages);
        for s in &mut stages {
            let mut r: HashSet<String> = HashSet::new();
            for g in entries.iter().filter(|g| g.name == s.name || Some(&g.name) == s.finish.as_ref()) {
                leaves(g, &mut r, &mut HashSet::new());
            }
            s.reads = stored.iter().map(|t| t.path.clone()).filter(|p| r.contains(p)).collect();
            let trained: Vec<&StoredInfo> =
                stored.iter().filter(|t| t.kind == StoredKind::Weight && !t.frozen && r.contains(&t.path)).collect();
            if let Some(m) = &mut s.minimise {
                for t in trained {
                    let hit =
                        |g: &&mut GroupInfo| g.over.is_empty() || g.over.iter().any(|p| pattern_matches(p, &t.path));
                    if let Some(g) = m.groups.iter_mut().find(hit) {
                        g.weights.push(t.path.clone());
                    }
                }
            }
        }
        let mut init = self.init.pop().map(|l| l.graph).unwrap_or_default();
        init.writes.retain(|w| reads.contains(&w.0));
        prune(&mut init);
        entries.insert(0, init);
        let mut inputs = std::mem::take(&mut self.inputs);
        inputs.retain(|i| fed.contains(&i.name));
        let mut instances: Vec<String> = Vec::new();
        let mut known: HashSet<&str> = HashSet::new();
        for s in &stored {
            for (n, _) in s.path.match_indices('.') {
                if known.insert(&s.path[..n]) {
                    instances.push(s.path[..n].to_string());
                }
            }
        }
        for m in self.modules {
            for i in &m.ast.items {
                let ItemKind::Detector { body, .. } = &i.kind else { continue };
                for s in body {
                    if self.unreached.contains(&(std::ptr::from_ref(s) as usize)) {
                        let what = match &s.kind {
                            StmtKind::Param(..) => "parameter",
                            StmtKind::Slot { .. } => "slot",
                            StmtKind::Input { .. } => "input",
                            StmtKind::Let { .. } => "let",
                            StmtKind::Weight(..) => "weight",
                            StmtKind::State(..) => "state",
                            _ => continue,
                        };
                        for n in detector::declared(s) {
                            facts.unreached.push((n.text.clone(), Place { file: m.file, span: n.span }, what));
                        }
                    }
                }
            }
        }
        let model = Model {
            name: self.detector.to_string(),
            params: std::mem::take(&mut self.params),
            inputs,
            stored,
            stages,
            entries,
            instances,
        };
        (Some(model), facts)
    }
}

/// Weights, states and inputs that a graph reads; bodies of loops read through captures only.
fn leaves(g: &Graph, stored: &mut HashSet<String>, inputs: &mut HashSet<String>) {
    for n in &g.nodes {
        match &n.op {
            Op::Weight(p) | Op::State(p) => {
                stored.insert(p.clone());
            }
            Op::Input(p) => {
                inputs.insert(p.clone());
            }
            _ => {}
        }
    }
}
