//! From syntax trees to a typed model: one graph per entry, by abstract evaluation.
//!
//! In: texts, and what a user chose. Out: a [`Model`] and diagnostics. Invariants: functions, blocks and `repeat` are
//! inlined with their parameters known; nothing is solved backwards; work is bounded; one mistake gives one message.
//! Imports: the grammar, diagnostics, graphs, sources.

mod alike;
mod becomes;
mod body;
mod builtin;
mod call;
mod carry;
mod derive;
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
mod program;
mod reach;
mod set;
mod settings;
mod shaped;
mod shared;
mod stacks;
mod stage;
mod states;
mod synth;
mod tell;
mod train;
mod types;
mod uncalled;
mod value;
mod view;
mod watch;

use std::sync::Arc;

use uad_grammar::ast::{ItemKind, Span, StmtKind};

use crate::diag::{Diagnostic, Place, Severity};
use crate::graph::{Graph, Op, Shape, TensorType};
use crate::hash::{FxHashMap, FxHashSet};
use crate::source::{Files, Loader};

pub(crate) use program::Program;
pub(crate) use stacks::on_deep_stacks;

pub use info::*;
pub use stage::{pattern_matches, seen_from};
pub use synth::{Filler, SEEN, SYNTH, SynthInfo};

use emit::Level;
use modules::Module;
use set::Setting;
use value::{Env, Tensor, Value};

/// Which entry is being elaborated.
pub(crate) enum EntryKind<'a> {
    Score,
    Stage {
        /// The detector whose stage it is.
        home: String,
        /// Patterns of what it trains, if it minimises.
        trains: Option<Vec<&'a str>>,
    },
    Scratch,
}

/// Functions and blocks that were called: module and position of their names.
pub(crate) type Called = FxHashSet<(usize, Span)>;

/// Label and place of a scope, as texts that the graph has too.
pub(crate) type Scoped = (Arc<str>, Arc<str>);

/// What the analyses need beside the model.
#[derive(Default)]
pub(crate) struct Facts {
    /// Where draws stand, by site.
    pub draws: FxHashMap<String, Place>,
    /// Where nodes were asked for, by entry.
    pub places: FxHashMap<String, Vec<Place>>,
    /// Where outputs of the score stand.
    pub outputs: Vec<(String, Place)>,
    /// Calls that stand in the user's files, by scope: label and place as text; with the expression that made an instance.
    pub calls: FxHashMap<Scoped, (Place, Option<Place>)>,
    /// Functions and blocks that were called: module and position of their names.
    pub called: Called,
    /// Statements of the root detector that no entry reached: name, place, kind.
    pub unreached: Vec<(String, Place, &'static str)>,
    /// Files of the check that are not of the library.
    pub own: Vec<usize>,
}

/// The evaluator.
pub(crate) struct Ev<'a> {
    modules: &'a [Module],
    lines: &'a [program::Lines<'a>],
    choice: &'a Choice,
    set: &'a [Setting],
    name: String,
    detector: &'a str,
    out: Vec<Diagnostic>,
    seen: FxHashSet<(&'static str, Place)>,
    /// Places as texts.
    told: FxHashMap<Place, Arc<str>>,
    errors: usize,
    levels: Vec<Level<'a>>,
    init: Vec<Level<'a>>,
    cur: usize,
    serial: u32,
    fresh: u32,
    stored: Vec<StoredInfo>,
    stored_at: FxHashMap<String, usize>,
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
    draws: FxHashMap<String, usize>,
    facts: Facts,
    traced: FxHashSet<String>,
    bodies: FxHashSet<usize>,
    reached: FxHashSet<usize>,
    unreached: FxHashSet<usize>,
    carried: Vec<(Env<'a>, String)>,
    /// Where the user's variant sets parameters and slots.
    chosen: Vec<Place>,
    /// Settings that the outermost gives stages of the detectors inside.
    inner: Vec<settings::Set<'a>>,
    collected: Vec<(String, Tensor<'a>, Place)>,
    /// Weights that this entry uses without `frozen`.
    thawed: FxHashSet<String>,
    /// New values of states of open shape, by path.
    replaced: Vec<(String, Tensor<'a>, Place)>,
    /// States whose shape is being asked of the rule that writes them.
    asking: Vec<String>,
    /// What a stage's average leaves: weights, and the states that they become.
    averages: Vec<(String, String)>,
    found: Vec<(String, std::rc::Rc<value::Part<'a>>)>,
    frames: Vec<Env<'a>>,
    /// What is being evaluated belongs to this entry alone.
    own: bool,
    /// Statements of the outermost detector that the score evaluated.
    evaluated: Vec<shared::Done<'a>>,
    /// Instances that the outermost detector named in this entry.
    made: Vec<String>,
    /// Bodies whose states a rule has changed in this entry.
    changed: Vec<std::rc::Rc<value::Owner<'a>>>,
    /// What entries start from.
    common: Option<std::rc::Rc<shared::Common<'a>>>,
    /// A rule has changed what was common: the entry starts from nothing.
    apart: bool,
    /// Kinds of first values that have been made, where one of each is enough.
    alike: FxHashSet<alike::FirstValue>,
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
    fn implicit(&self, _: &str, _: impl Fn(&Module) -> &FxHashMap<String, modules::Found>) -> Option<modules::Found> {
        None
    }

    fn param_value(&mut self, name: &str, v: &Value<'a>) {
        if !self.params.iter().any(|p| p.name == name) {
            self.params.push(ParamInfo { name: name.to_string(), value: Static::of(v) });
        }
    }
}

/// Drops nodes that no output, write or loop needs, and what is required of dims that then nothing has; numbers the rest anew.
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
    // Few differ.
    let mut used: Vec<&uad_plan::Dim> = Vec::new();
    let mut last = &Shape::SCALAR;
    for n in &g.nodes {
        // A node shares the shape of the one before more often than not.
        let anew: &[uad_plan::Dim] = if n.ty.shape == *last { &[] } else { &n.ty.shape };
        last = &n.ty.shape;
        for d in anew {
            if d.as_int().is_none() && !used.contains(&d) {
                used.push(d);
                names.extend(d.names());
            }
        }
        if let Op::Size(d) = &n.op {
            names.extend(d.names());
        }
    }
    names.sort();
    names.dedup();
    // What must hold of dims that nothing here has is not for this entry to say.
    g.requires.retain(|r| [&r.left, &r.right].iter().all(|d| d.names().iter().all(|n| names.binary_search(n).is_ok())));
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
    let program = Program::read(files, loader, root_path, &choice.set);
    let Some(detector) = choice.detector.as_deref().or(program.main()) else { return (None, program.found) };
    let mut done = on_deep_stacks(1, |_| program.elaborate(choice, detector));
    let (model, more, _) = done.pop().flatten().unwrap_or_else(no_room);
    let mut out = program.found;
    out.extend(more);
    out.sort_by_key(|d| (d.labels.first().map(|l| (l.place.file, l.place.span.start)), d.code));
    let failed = out.iter().any(|d| d.severity == Severity::Error);
    (model.filter(|_| !failed), out)
}

/// Elaborates the synthesiser of a detector, and nothing else of it: the slot of this name, or the first that is one.
pub fn elaborate_synth(
    files: &mut Files,
    loader: &dyn Loader,
    root_path: &str,
    choice: &Choice,
    slot: Option<&str>,
) -> (Option<(Model, SynthInfo)>, Vec<Diagnostic>) {
    let program = Program::read(files, loader, root_path, &choice.set);
    let Some(detector) = choice.detector.as_deref().or(program.main()) else { return (None, program.found) };
    let mut done = on_deep_stacks(1, |_| {
        let mut ev = evaluator(&program, choice, detector);
        let info = ev.synth_entry(slot);
        let (model, _) = ev.model(None);
        let mut found = ev.close();
        tell::without_consequences(&mut found, &program);
        (model.zip(info), found)
    });
    let (made, more) = done.pop().flatten().unwrap_or_else(|| (None, no_room().1));
    let mut out = program.found;
    out.extend(more);
    let failed = out.iter().any(|d| d.severity == Severity::Error);
    (made.filter(|_| !failed), out)
}

/// What there is to say where the machine gave no thread, or the evaluator broke off.
pub(crate) fn no_room() -> (Option<Model>, Vec<Diagnostic>, Facts) {
    let place = Place { file: 0, span: Span::default() };
    let d = Diagnostic::new("E0215", "the machine has no room for this elaboration", place, "");
    (None, vec![d], Facts::default())
}

fn evaluator<'a>(program: &'a Program, choice: &'a Choice, detector: &'a str) -> Ev<'a> {
    let mut ev = Ev {
        modules: &program.modules,
        lines: &program.lines,
        choice,
        set: &program.set,
        name: detector.to_string(),
        detector,
        out: Vec::new(),
        seen: FxHashSet::default(),
        told: FxHashMap::default(),
        errors: 0,
        levels: Vec::new(),
        init: Vec::new(),
        cur: 0,
        serial: 0,
        fresh: 0,
        stored: Vec::new(),
        stored_at: FxHashMap::default(),
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
        draws: FxHashMap::default(),
        facts: Facts::default(),
        traced: FxHashSet::default(),
        bodies: FxHashSet::default(),
        reached: FxHashSet::default(),
        unreached: FxHashSet::default(),
        carried: Vec::new(),
        chosen: Vec::new(),
        inner: Vec::new(),
        collected: Vec::new(),
        thawed: FxHashSet::default(),
        averages: Vec::new(),
        replaced: Vec::new(),
        asking: Vec::new(),
        found: Vec::new(),
        frames: Vec::new(),
        own: false,
        evaluated: Vec::new(),
        made: Vec::new(),
        changed: Vec::new(),
        common: None,
        apart: false,
        alike: FxHashSet::default(),
    };
    let init = ev.level("init", false);
    ev.init = vec![init];
    ev
}

fn evaluate(mut ev: Ev) -> (Option<Model>, Vec<Diagnostic>, Facts) {
    let score = ev.score_entry();
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
    if let Ok(root) = ev.outermost() {
        for s in root.body {
            if let StmtKind::Stage { name, parts } = &s.kind {
                ev.stage_entry("", &name.text, parts);
            }
        }
    }
    ev.rest_entry();
    ev.inner_settings();
    let (model, facts) = ev.model(score);
    (model, ev.close(), facts)
}

/// Looks at functions and blocks of the root file that are not among the called, by themselves.
fn evaluate_uncalled(program: &Program, choice: &Choice, called: &Called) -> Vec<Diagnostic> {
    let mut ev = evaluator(program, choice, "");
    ev.uncalled(called);
    ev.close()
}

impl<'a> Ev<'a> {
    /// What was said. Local functions hold the frames that hold them: those are let go.
    fn close(mut self) -> Vec<Diagnostic> {
        for f in self.frames.drain(..) {
            f.vars.borrow_mut().clear();
            f.part.borrow_mut().take();
        }
        self.out
    }

    fn model(&mut self, score: Option<Graph>) -> (Option<Model>, Facts) {
        let mut facts = std::mem::take(&mut self.facts);
        let mut entries = std::mem::take(&mut self.graphs);
        entries.extend(score);
        let mut stored = std::mem::take(&mut self.stored);
        let mut stages = std::mem::take(&mut self.stages);
        let mut inputs = std::mem::take(&mut self.inputs);
        let mut init = self.init.pop().map(|l| l.graph).unwrap_or_default();
        let (mut reads, mut fed) = (FxHashSet::default(), FxHashSet::default());
        for g in &entries {
            leaves(g, &mut reads, &mut fed);
            reads.extend(g.writes.iter().map(|w| w.0.as_str()));
        }
        reads.extend(stages.iter().flat_map(|s| s.replaces.iter().map(String::as_str)));
        stored.retain(|s| reads.contains(s.path.as_str()));
        inputs.retain(|i| fed.contains(i.name.as_str()));
        init.writes.retain(|w| reads.contains(w.0.as_str()));
        for s in &mut stages {
            let mut r = FxHashSet::default();
            for g in entries.iter().filter(|g| g.name == s.name || Some(&g.name) == s.finish.as_ref()) {
                leaves(g, &mut r, &mut FxHashSet::default());
            }
            s.reads = stored.iter().map(|t| &t.path).filter(|p| r.contains(p.as_str())).cloned().collect();
        }
        prune(&mut init);
        entries.insert(0, init);
        let mut instances: Vec<String> = Vec::new();
        let mut known: FxHashSet<&str> = FxHashSet::default();
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
fn leaves<'g>(g: &'g Graph, stored: &mut FxHashSet<&'g str>, inputs: &mut FxHashSet<&'g str>) {
    for n in &g.nodes {
        match &n.op {
            Op::Weight(p) | Op::State(p) => {
                stored.insert(p);
            }
            Op::Input(p) => {
                inputs.insert(p);
            }
            _ => {}
        }
    }
}
