//! Entries: one run of the evaluator per stage and for the score.
//!
//! In: a detector. Out: a graph per entry, and what each stage minimises, writes and is set to. Invariants: an entry
//! starts from fresh frames; nodes that nobody reads are dropped at its end. Imports: detectors, values.

use std::rc::Rc;

use uad_grammar::ast::{Expr, ExprKind, Group, Name, StagePart, StmtKind};
use uad_plan::DType;

use crate::diag::nearest::did_you_mean;
use crate::diag::{Diagnostic, Place};
use crate::graph::{Graph, NodeId, Op, ScopeId, TensorType};

use super::train::{Functions, Training};
use super::value::{Bad, Env, FieldValue, Frame, Func, Kind, Owner, Part, R, Value};
use super::{EntryKind, Ev, GroupInfo, RuleInfo, StageInfo, Static, prune};

/// Settings of a stage.
const SETTINGS: [&str; 11] =
    ["epochs", "steps", "batch", "data", "drop_last", "skip", "clip", "schedule", "average", "patience", "keep"];

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
        self.training = matches!(&entry, EntryKind::Stage { trains: Some(_), .. });
        self.entry = entry;
        self.frozen = 0;
        let fields: Vec<(&'a str, Place, FieldValue<'a>)> = self
            .set
            .iter()
            .filter(|(n, _)| !n.contains('.'))
            .map(|(n, e)| {
                (n.as_str(), Place { file: self.set_file, span: e.span }, FieldValue::Written(e, self.set_module))
            })
            .collect();
        let detector = self.detector;
        let at = Place { file: self.modules[0].file, span: Default::default() };
        let part = self.part(0, detector, fields, at, None, 0)?;
        let owner = Owner::at(String::new(), None, None);
        self.open_part(&part, owner)?;
        Ok(part)
    }

    /// Drops what nobody reads and hands the graph over.
    pub(crate) fn finish(&mut self) -> Graph {
        let g = std::mem::take(&mut self.levels[0].graph);
        let places = std::mem::take(&mut self.levels[0].places);
        self.pruned(g, &places)
    }

    fn pruned(&mut self, mut g: Graph, places: &[Place]) -> Graph {
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
            let Ok(node) = self.here(&t, *place) else { continue };
            self.levels[0].graph.outputs.push((name.to_string(), node));
            self.facts.outputs.push((name.to_string(), *place));
        }
        Some(self.finish())
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
        let Ok(root) = self.begin(&full, EntryKind::Stage { trains }) else { return };
        let Some(part) = self.part_at(&root, path) else { return };
        let Some((env, owner)) = part.open.borrow().clone() else { return };
        let frame = Frame::new(Some(env), part.module, Kind::Entry, Some(owner));
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
        };
        let (mut training, mut with) = (None, Functions::default());
        for p in parts {
            let _ = match p {
                StagePart::Stmt(s) => self.statement(s, &frame),
                StagePart::Minimise { loss, groups, span } => {
                    let at = self.at(part.module, *span);
                    self.minimise(loss, groups, at, &frame, &mut info).map(|t| training = Some(t))
                }
                StagePart::Setting { name, value, .. } => self.setting(name, value, &frame, &mut info, &mut with),
            };
        }
        if let Some(t) = training {
            let _ = self.train(t, &with, &mut info);
        }
        let collected = std::mem::take(&mut self.collected);
        for (name, t, place) in &collected {
            if let Ok(n) = self.here(t, *place) {
                self.levels[0].graph.outputs.push((name.clone(), n));
            }
            info.collects.push(name.clone());
        }
        self.stage_graphs(info, !collected.is_empty());
    }

    /// The entries of a stage: what a batch does, and what is done once at the end.
    fn stage_graphs(&mut self, mut info: StageInfo, collects: bool) {
        let mut g = std::mem::take(&mut self.levels[0].graph);
        let places = std::mem::take(&mut self.levels[0].places);
        let replaced: Vec<(String, NodeId)> =
            std::mem::take(&mut self.replaced).into_iter().map(|r| (r.0, r.1.node)).collect();
        info.replaces = replaced.iter().map(|r| r.0.clone()).collect();
        info.writes = g.writes.iter().chain(&replaced).map(|w| w.0.clone()).collect();
        let whole = depends(&g, |op| matches!(op, Op::Input(n) if n.starts_with("all.")));
        let batch = depends(&g, |op| matches!(op, Op::Input(n) if !n.starts_with("all.")));
        let (late, now): (Vec<_>, Vec<_>) = g.writes.iter().cloned().partition(|w| whole[w.1.0 as usize]);
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

    fn setting(
        &mut self,
        name: &'a Name,
        value: &'a Expr,
        env: &Env<'a>,
        info: &mut StageInfo,
        with: &mut Functions<'a>,
    ) -> R<()> {
        let at = self.at(env.module, name.span);
        if !SETTINGS.contains(&name.text.as_str()) {
            let mut d = Diagnostic::new("E0413", format!("a stage has no setting `{}`", name.text), at, "unknown");
            d.help = did_you_mean(&name.text, SETTINGS).or_else(|| Some(format!("it has {}", SETTINGS.join(", "))));
            self.err(d);
            return Err(Bad);
        }
        let key = format!("{}.{}", info.name, name.text);
        let set = self.set.iter().find(|s| s.0 == key).map(|s| &s.1);
        let value = set.unwrap_or(value);
        let place = self.at(if set.is_some() { self.set_module } else { env.module }, value.span);
        let v = match name.text.as_str() {
            "schedule" | "clip" | "average" => {
                let v = self.eval(value, env)?;
                let shown = match &v {
                    Value::Func(f) => Static::Rule(
                        RuleInfo::of(f).unwrap_or(RuleInfo { name: self.text(place).to_string(), args: Vec::new() }),
                    ),
                    v => Static::of(v),
                };
                match (name.text.as_str(), v) {
                    ("clip", v @ (Value::Int(_) | Value::Float(_) | Value::Ratio(_) | Value::Func(_))) => {
                        with.clip = Some((self.clip_function(v, place)?, place));
                    }
                    ("schedule", Value::Func(f)) => with.schedule = Some((f, place)),
                    ("average", Value::Func(f)) => with.average = Some((f, place)),
                    _ => {}
                }
                shown
            }
            _ => self.setting_value(&name.text, value, env)?,
        };
        let wrong = match (name.text.as_str(), &v) {
            ("epochs" | "steps" | "batch" | "skip" | "patience", Static::Int(n)) => (*n < 0).then_some("not negative"),
            ("epochs" | "steps" | "batch" | "skip" | "patience", _) => Some("a known integer"),
            ("data", Static::Word(w)) => (!["train", "validation", "test", "calibration"].contains(&w.as_str()))
                .then_some("train, validation, test or calibration"),
            ("data", _) => Some("train, validation, test or calibration"),
            ("drop_last", Static::Bool(_)) => None,
            ("drop_last", _) => Some("true or false"),
            ("clip", Static::Float(_) | Static::Int(_) | Static::Rule(_)) => None,
            ("clip", _) => Some("a number, or a function of all gradients"),
            ("schedule", Static::Rule(_)) => None,
            ("schedule", _) => Some("a call, as `step(every: 800, by: 0.1)`"),
            ("average", Static::Rule(_)) => None,
            ("average", _) => Some("a call, as `ema(decay: 0.999)`"),
            ("keep", Static::Rule(_)) => None,
            ("keep", _) => Some("a call, as `lowest(e, on: validation)`"),
            _ => None,
        };
        if let Some(want) = wrong {
            self.err(Diagnostic::new("E0413", format!("`{}` is {want}", name.text), place, "is not"));
            return Err(Bad);
        }
        if info.settings.iter().any(|s| s.0 == name.text) {
            self.err(Diagnostic::new("E0413", format!("`{}` is set twice", name.text), at, "again here"));
            return Err(Bad);
        }
        info.settings.push((name.text.clone(), v));
        Ok(())
    }

    fn setting_value(&mut self, key: &str, e: &'a Expr, env: &Env<'a>) -> R<Static> {
        match &e.kind {
            ExprKind::Name(n) if key == "data" => Ok(Static::Word(n.clone())),
            ExprKind::Call(f, args) if key == "keep" => {
                let ExprKind::Name(n) = &f.kind else { return Err(Bad) };
                let mut out = Vec::new();
                for (k, a) in args.iter().enumerate() {
                    let label = a.name.as_ref().map_or_else(|| k.to_string(), |n| n.text.clone());
                    let v = match &a.value.kind {
                        ExprKind::Name(w) if ["train", "validation", "test", "calibration"].contains(&w.as_str()) => {
                            Static::Word(w.clone())
                        }
                        _ => {
                            let at = self.at(env.module, a.value.span);
                            match self.eval(&a.value, env)? {
                                Value::Tensor(t) => {
                                    // What is watched is a result of the stage.
                                    let name = self.text(at).to_string();
                                    let node = self.here(&t, at)?;
                                    let g = &mut self.levels[0].graph;
                                    if !g.outputs.iter().any(|o| o.0 == name) {
                                        g.outputs.push((name.clone(), node));
                                    }
                                    Static::Word(name)
                                }
                                v => Static::of(&v),
                            }
                        }
                    };
                    out.push((label, v));
                }
                Ok(Static::Rule(RuleInfo { name: n.clone(), args: out }))
            }
            _ => self.eval(e, env).map(|v| Static::of(&v)),
        }
    }
}
