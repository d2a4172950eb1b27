//! Entries: one run of the evaluator per stage and for the score.
//!
//! In: a detector. Out: a graph per entry, and what each stage minimises, writes and is set to. Invariants: an entry
//! starts from fresh frames; nodes that nobody reads are dropped at its end. Imports: detectors, values.

use std::rc::Rc;

use uad_grammar::ast::{Expr, Group, StagePart, StmtKind};
use uad_plan::DType;

use crate::diag::{Diagnostic, Place};
use crate::graph::{Graph, NodeId, Op, ScopeId, TensorType};

use super::settings::Set;
use super::train::{Functions, Training};
use super::value::{Bad, Env, FieldValue, Frame, Func, Kind, Owner, Part, R, Tensor, Value};
use super::{EntryKind, Ev, GroupInfo, RuleInfo, StageInfo, prune};

/// Could a pattern of `over` match a weight at or under this path?
pub(crate) fn pattern_may_reach(pattern: &str, path: &str) -> bool {
    if pattern == "rest" {
        return true;
    }
    let (p, s): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), path.split('.').collect());
    fn go(p: &[&str], s: &[&str]) -> bool {
        match (p.split_first(), s.split_first()) {
            // The pattern names something around or under the path.
            (None, _) | (_, None) => true,
            (Some((&"**", rest)), Some((_, more))) => go(rest, s) || go(p, more),
            (Some((a, rest)), Some((b, more))) => glob(a, b) && go(rest, more),
        }
    }
    go(&p, &s)
}

/// Does a pattern of `over` match a weight's path, or an instance around it?
pub fn pattern_matches(pattern: &str, path: &str) -> bool {
    if pattern == "rest" {
        return true;
    }
    let (p, s): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), path.split('.').collect());
    fn go(p: &[&str], s: &[&str]) -> bool {
        match (p.split_first(), s.split_first()) {
            (None, _) => true,
            (Some((&"**", rest)), _) => go(rest, s) || s.split_first().is_some_and(|(_, more)| go(p, more)),
            (Some((a, rest)), Some((b, more))) => glob(a, b) && go(rest, more),
            (Some(_), None) => false,
        }
    }
    go(&p, &s)
}

/// A path as the body of the detector at `home` says it: what is inside by the name that it has there, what that detector was given
/// by the name that its owner has for it.
pub fn seen_from<'p>(home: &str, path: &'p str) -> &'p str {
    path.strip_prefix(home).and_then(|p| p.strip_prefix('.')).filter(|_| !home.is_empty()).unwrap_or(path)
}

/// `*` stands for any run of characters of one segment.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(head) = parts.next() else { return text.is_empty() };
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let tail: Vec<&str> = parts.collect();
    let Some((last, middle)) = tail.split_last() else { return rest.is_empty() };
    for m in middle {
        match rest.find(m) {
            Some(n) => rest = &rest[n + m.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Which values depend on such a node.
fn depends(g: &Graph, on: impl Fn(&Op) -> bool) -> Vec<bool> {
    let mut flags: Vec<bool> = Vec::with_capacity(g.nodes.len());
    for n in &g.nodes {
        flags.push(on(&n.op) || n.args.iter().any(|a| flags[a.0 as usize]));
    }
    flags
}

impl<'a> Ev<'a> {
    /// A fresh entry: an empty graph and the detector with nothing evaluated.
    pub(crate) fn begin(&mut self, name: &str, entry: EntryKind<'a>) -> R<Rc<Part<'a>>> {
        self.cur = 0;
        self.levels.clear();
        let level = self.level(name, false);
        self.levels = vec![level];
        self.traced.clear();
        self.draws.clear();
        self.collected.clear();
        self.thawed.clear();
        self.averages.clear();
        self.replaced.clear();
        self.turn.clear();
        self.carried.clear();
        self.own = false;
        self.evaluated.clear();
        self.made.clear();
        self.changed.drain(..).for_each(|o| o.changed.borrow_mut().clear());
        self.training = matches!(&entry, EntryKind::Stage { trains: Some(_), .. });
        self.entry = entry;
        self.frozen = 0;
        let part = self.outermost()?;
        self.inner = Self::inner_of(&part.fields);
        self.chosen = part.fields.iter().map(|f| f.1).filter(|p| !self.of_library(p.file)).collect();
        let owner = Owner::at(String::new(), None, None);
        self.open_part(&part, owner)?;
        self.start_from_common(&part);
        Ok(part)
    }

    /// The outermost detector, before anything of it is evaluated.
    pub(super) fn outermost(&mut self) -> R<Rc<Part<'a>>> {
        let at = Place { file: self.modules[0].file, span: Default::default() };
        let fields = self.outermost_fields();
        self.part(0, self.detector, fields, at, None, 0)
    }

    /// Drops what nobody reads and hands the graph over.
    pub(crate) fn finish(&mut self) -> Graph {
        let g = std::mem::take(&mut self.levels[0].graph);
        let places = std::mem::take(&mut self.levels[0].places);
        self.pruned(g, &places)
    }

    pub(super) fn pruned(&mut self, mut g: Graph, places: &[Place]) -> Graph {
        let live = prune(&mut g);
        let kept = places.iter().zip(live).filter(|p| p.1).map(|p| *p.0).collect();
        self.facts.places.insert(g.name.clone(), kept);
        g
    }

    /// The entry `score`.
    pub(crate) fn score_entry(&mut self) -> Option<Graph> {
        let root = self.begin("score", EntryKind::Score).ok()?;
        let at = self.detector_place(&root);
        // What must hold is what the rest relies on: nothing is said of a rest without it.
        let errors = self.errors;
        self.requirements(&root);
        if self.errors != errors {
            self.stopped = true;
            return None;
        }
        let outputs = self.outputs_of(&root, at).ok();
        for (name, v, place) in outputs.iter().flat_map(|o| o.iter()) {
            if matches!(v, Value::Poison) {
                continue;
            }
            let Ok(t) = self.lift(v, DType::F32, *place) else { continue };
            if self.output_rank(name, &t, *place).is_err() {
                continue;
            }
            let Ok(node) = self.here(&t, *place) else { continue };
            self.levels[0].graph.outputs.push((name.to_string(), node));
            self.facts.outputs.push((name.to_string(), *place));
        }
        self.keep_common(&root);
        Some(self.finish())
    }

    /// Reports and metrics read `map` and `sample`: the one has axes beside the samples, the other none.
    fn output_rank(&mut self, name: &str, t: &Tensor<'a>, place: Place) -> R<()> {
        let ty = self.ty(t);
        let (what, help) = match (name, ty.shape.len()) {
            ("map", 4..) => {
                ("a `map` is one number per pixel", "make one of its channels: `norm(x, axis: 1)` or a mean")
            }
            ("map", 0 | 1) => ("a `map` is one number per pixel", "a number per picture is the output `sample`"),
            ("sample", 0) => ("`sample` is one number per picture", "keep the axis of samples, the first"),
            ("sample", 2..) => {
                ("`sample` is one number per picture", "make one of all: `max(x, axis: [1, 2])` or a mean")
            }
            _ => return Ok(()),
        };
        self.err(Diagnostic::new("E0204", what, place, format!("is {ty}")).help(help));
        Err(Bad)
    }

    /// `require`s of a detector's body.
    fn requirements(&mut self, part: &Rc<Part<'a>>) {
        let Some((env, _)) = part.open.borrow().clone() else { return };
        for s in part.body {
            if matches!(s.kind, StmtKind::Require { .. }) {
                let _ = self.statement(s, &env);
            }
        }
    }

    /// Everything that no entry has reached: checked, and thrown away.
    pub(crate) fn rest_entry(&mut self) {
        let Ok(root) = self.outermost() else { return };
        let all_reached = root.body.iter().all(|s| {
            super::detector::declared(s).is_empty() || self.reached.contains(&(std::ptr::from_ref(s) as usize))
        });
        if all_reached {
            return;
        }
        let Ok(root) = self.begin("rest", EntryKind::Scratch) else { return };
        let Some((env, _)) = root.open.borrow().clone() else { return };
        self.scratch = true;
        for s in root.body {
            if self.reached.contains(&(std::ptr::from_ref(s) as usize)) {
                continue;
            }
            if let Some(n) = super::detector::declared(s).first()
                && let Some(slot) = env.slot(&n.text)
            {
                self.unreached.insert(std::ptr::from_ref(s) as usize);
                let _ = self.read_slot(&slot, &n.text, &env);
            }
        }
        self.scratch = false;
    }

    /// A stage of the detector at a path of the outermost.
    pub(crate) fn stage_entry(&mut self, path: &str, name: &'a str, parts: &'a [StagePart]) {
        let full = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
        let mut patterns: Vec<&'a str> = Vec::new();
        let mut minimises = false;
        for p in parts {
            if let StagePart::Minimise { groups, .. } = p {
                minimises = true;
                for g in groups {
                    if g.over.is_empty() {
                        patterns.push("rest");
                    }
                    patterns.extend(g.over.iter().map(|n| n.text.as_str()));
                }
                if groups.is_empty() {
                    patterns.push("rest");
                }
            }
        }
        let trains = minimises.then_some(patterns);
        let Some((part, frame)) = self.stage_frame(&full, path, trains) else { return };
        let place = part
            .body
            .iter()
            .find_map(|s| match &s.kind {
                StmtKind::Stage { name: n, .. } if n.text == name => Some(n.span),
                _ => None,
            })
            .unwrap_or_default();
        let place = self.at(part.module, place);
        let mut info = StageInfo {
            name: full.clone(),
            place,
            minimise: None,
            settings: Vec::new(),
            writes: Vec::new(),
            replaces: Vec::new(),
            reads: Vec::new(),
            collects: Vec::new(),
            features: None,
            finish: None,
            watch: None,
        };
        let (mut training, mut with) = (None, Functions::default());
        let stmts = parts.iter().filter_map(|p| if let StagePart::Stmt(s) = p { Some(s) } else { None });
        self.declared_once(stmts, part.module);
        let mut given = self.set_outside(&part, path, name);
        for p in parts {
            let _ = match p {
                StagePart::Stmt(s) => self.statement(s, &frame),
                StagePart::Minimise { loss, groups, span } => {
                    let at = self.at(part.module, *span);
                    self.minimise(loss, groups, at, &frame, &mut info).map(|t| training = Some(t))
                }
                StagePart::Setting { name, value, .. } => {
                    let own = Set {
                        name: &name.text,
                        place: self.at(part.module, name.span),
                        value: FieldValue::Written(value, part.module),
                    };
                    let set = given.iter().position(|g| g.name == name.text).map(|n| given.remove(n));
                    self.setting(set.unwrap_or(own), &frame, &mut info, &mut with)
                }
            };
        }
        for g in given {
            let _ = self.setting(g, &frame, &mut info, &mut with);
        }
        if let Some(t) = training {
            let _ = self.train(t, &with, &mut info);
        }
        if std::mem::take(&mut self.apart) {
            self.common = None;
            return self.stage_entry(path, name, parts);
        }
        let collected = std::mem::take(&mut self.collected);
        for (name, t, place) in &collected {
            if let Ok(n) = self.here(t, *place) {
                self.levels[0].graph.outputs.push((name.clone(), n));
            }
            info.collects.push(name.clone());
        }
        self.stage_graphs(info, !collected.is_empty());
        self.watch_entry(path, name, parts);
    }

    /// A fresh entry with the frame in which a stage's statements stand.
    pub(super) fn stage_frame(
        &mut self,
        entry: &str,
        path: &str,
        trains: Option<Vec<&'a str>>,
    ) -> Option<(Rc<Part<'a>>, Env<'a>)> {
        let root = self.begin(entry, EntryKind::Stage { home: path.to_string(), trains }).ok()?;
        let part = self.part_at(&root, path)?;
        let (env, owner) = part.open.borrow().clone()?;
        let frame = Frame::new(Some(env), part.module, Kind::Entry, Some(owner));
        Some((part, frame))
    }

    /// The entries of a stage: what a batch does, and what is done once at the end.
    fn stage_graphs(&mut self, mut info: StageInfo, collects: bool) {
        let mut g = std::mem::take(&mut self.levels[0].graph);
        let places = std::mem::take(&mut self.levels[0].places);
        let replaced: Vec<(String, NodeId)> =
            std::mem::take(&mut self.replaced).into_iter().map(|r| (r.0, r.1.node)).collect();
        info.replaces = replaced.iter().map(|r| r.0.clone()).collect();
        info.writes = g.writes.iter().chain(&replaced).map(|w| w.0.clone()).collect();
        // What a value depends on is asked only of stages that collect.
        let of = |all: bool| {
            let input = move |op: &Op| matches!(op, Op::Input(n) if n.starts_with("all.") == all);
            if collects { depends(&g, input) } else { vec![false; g.nodes.len()] }
        };
        let (whole, batch) = (of(true), of(false));
        let (late, now): (Vec<_>, Vec<_>) =
            std::mem::take(&mut g.writes).into_iter().partition(|w| whole[w.1.0 as usize]);
        let (late_new, new): (Vec<_>, Vec<_>) = replaced.into_iter().partition(|w| whole[w.1.0 as usize]);
        for (path, n) in late.iter().chain(&late_new) {
            if batch[n.0 as usize] {
                let at = places.get(n.0 as usize).copied().unwrap_or(info.place);
                self.err(
                    Diagnostic::new("E0410", format!("`{path}` mixes all samples with one batch"), at, "made here")
                        .help("after the pass there is no batch: put `all(…)` around what it needs of the samples"),
                );
            }
        }
        let averages = std::mem::take(&mut self.averages);
        let mut last = None;
        if collects || !averages.is_empty() {
            let mut end = g.clone();
            end.name = format!("{}.finish", info.name);
            end.outputs = late_new;
            end.named.clear();
            end.writes = late;
            let mut places = places.clone();
            for (weight, state) in averages {
                let found = self.stored.iter().find(|s| s.path == state).map(|s| s.ty.clone());
                let Some(ty) = found else { continue };
                // cannot fail: a leaf takes any declared type.
                let Ok(n) = end.add(Op::State(state), &[], ty, ScopeId(0)) else { continue };
                places.push(info.place);
                end.writes.push((weight, n));
            }
            info.finish = Some(end.name.clone());
            last = Some(self.pruned(end, &places));
        }
        g.writes = now;
        g.outputs.extend(new);
        let g = self.pruned(g, &places);
        self.stages.push(info);
        self.graphs.push(g);
        self.graphs.extend(last);
    }

    /// The detector at a path, in the frames of this entry.
    fn part_at(&mut self, root: &Rc<Part<'a>>, path: &str) -> Option<Rc<Part<'a>>> {
        if path.is_empty() {
            return Some(root.clone());
        }
        let (env, _) = root.open.borrow().clone()?;
        self.found.clear();
        for s in root.body {
            if self.found.iter().any(|f| f.0 == path) {
                break;
            }
            if let StmtKind::Let { .. } | StmtKind::Slot { .. } = &s.kind
                && let Some(n) = super::detector::declared(s).first()
                && let Some(slot) = env.slot(&n.text)
            {
                let _ = self.read_slot(&slot, &n.text, &env);
            }
        }
        self.found.iter().find(|f| f.0 == path).map(|f| f.1.clone())
    }

    fn minimise(
        &mut self,
        loss: &'a Expr,
        groups: &'a [Group],
        place: Place,
        env: &Env<'a>,
        info: &mut StageInfo,
    ) -> R<Training<'a>> {
        let mut rows = Vec::new();
        let mut bad = false;
        for g in groups {
            let at = self.at(env.module, g.with.span);
            let Ok(f) = self.optimiser(&g.with, at, env) else {
                bad = true;
                continue;
            };
            let name = self.text(at).to_string();
            let row = GroupInfo {
                over: g.over.iter().map(|n| n.text.clone()).collect(),
                places: g.over.iter().map(|n| self.at(env.module, n.span)).collect(),
                optimiser: RuleInfo::of(&f).unwrap_or(RuleInfo { name, args: Vec::new() }),
                weights: Vec::new(),
            };
            rows.push((row, f));
        }
        if info.minimise.is_some() {
            self.err(Diagnostic::new("E0413", "a stage minimises one loss", place, "the second"));
            return Err(Bad);
        }
        let at = self.at(env.module, loss.span);
        let v = self.eval(loss, env);
        info.minimise = Some(self.minimised(self.text(at).to_string(), at, &rows));
        let t = self.lift(&v?, DType::F32, at)?;
        let ty = self.ty(&t);
        if ty != TensorType::new(DType::F32, vec![]) {
            let code = if ty.dtype == DType::F32 { "E0204" } else { "E0202" };
            self.err(
                Diagnostic::new(code, "a loss is one number", at, format!("is {ty}"))
                    .help("`mean(x)` makes one number of many"),
            );
            return Err(Bad);
        }
        let node = self.here(&t, at)?;
        self.levels[0].graph.outputs.push(("loss".into(), node));
        if bad { Err(Bad) } else { Ok(Training { loss: t, groups: rows, place: at }) }
    }

    /// A block or function of weight, gradient, number of the update and rate.
    fn optimiser(&mut self, e: &'a Expr, at: Place, env: &Env<'a>) -> R<Func<'a>> {
        match self.eval(e, env)? {
            Value::Func(f @ (Func::Instance(_) | Func::Typed(_) | Func::Partial(_) | Func::Lambda(_))) => Ok(f),
            Value::Func(Func::Fn(f)) if f.decl.hyper.is_none() || f.hyper.is_some() => Ok(Func::Fn(f)),
            Value::Func(Func::Block(..) | Func::Fn(_)) => {
                self.err(
                    Diagnostic::new("E0201", "expected an optimiser, found a function", at, "not called")
                        .help("give its arguments: `adam(lr: 1e-3)`"),
                );
                Err(Bad)
            }
            v => {
                let is = self.describe(&v);
                self.err(Diagnostic::new("E0201", "expected an optimiser", at, format!("this is {is}")));
                Err(Bad)
            }
        }
    }
}
