//! Entries: one run of the evaluator per stage and for the score.
//!
//! In: a detector. Out: a graph per entry, and what each stage minimises, writes and is set to. Invariants: an entry
//! starts from fresh frames; nodes that nobody reads are dropped at its end. Imports: detectors, values.

use std::rc::Rc;

use uad_grammar::ast::{Expr, ExprKind, Group, Name, StagePart, StmtKind};
use uad_plan::DType;

use crate::diag::nearest::did_you_mean;
use crate::diag::{Diagnostic, Place};
use crate::graph::{Graph, TensorType};

use super::value::{Bad, Env, FieldValue, Frame, Func, Kind, Owner, Part, R, Value};
use super::{EntryKind, Ev, GroupInfo, Minimise, RuleInfo, StageInfo, Static, prune};

/// Settings of a stage.
const SETTINGS: [&str; 10] =
    ["epochs", "steps", "batch", "data", "drop_last", "skip", "clip", "schedule", "patience", "keep"];

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
            reads: Vec::new(),
            collects: Vec::new(),
            finish: None,
        };
        for p in parts {
            let _ = match p {
                StagePart::Stmt(s) => self.statement(s, &frame),
                StagePart::Minimise { loss, groups, span } => {
                    let at = self.at(part.module, *span);
                    self.minimise(loss, groups, at, &frame, &mut info)
                }
                StagePart::Setting { name, value, .. } => self.setting(name, value, &frame, &mut info),
            };
        }
        let collected = std::mem::take(&mut self.collected);
        for (name, t, place) in &collected {
            if let Ok(n) = self.here(t, *place) {
                self.levels[0].graph.outputs.push((name.clone(), n));
            }
            info.collects.push(name.clone());
        }
        let mut g = std::mem::take(&mut self.levels[0].graph);
        let places = std::mem::take(&mut self.levels[0].places);
        info.writes = g.writes.iter().map(|w| w.0.clone()).collect();
        if !collected.is_empty() {
            // What is written depends on all samples: two entries, one per batch and one at the end.
            let mut last = g.clone();
            last.name = format!("{full}.finish");
            last.outputs.clear();
            last.named.clear();
            g.writes.clear();
            info.finish = Some(last.name.clone());
            let last = self.pruned(last, &places);
            let g = self.pruned(g, &places);
            self.stages.push(info);
            self.graphs.push(g);
            self.graphs.push(last);
            return;
        }
        let g = self.pruned(g, &places);
        self.stages.push(info);
        self.graphs.push(g);
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
    ) -> R<()> {
        let mut rows = Vec::new();
        for g in groups {
            let at = self.at(env.module, g.with.span);
            let with = match self.eval(&g.with, env) {
                Ok(Value::Rule(r)) => RuleInfo {
                    name: r.name.to_string(),
                    args: r.args.iter().map(|(n, v)| (n.to_string(), Static::of(v))).collect(),
                },
                Ok(Value::Func(Func::Fn(_))) => {
                    self.err(
                        Diagnostic::new("E0201", "expected an optimiser, found a function", at, "not called")
                            .help("give its arguments: `adam(lr: 1e-3)`"),
                    );
                    continue;
                }
                Ok(v) => {
                    let is = self.describe(&v);
                    self.err(Diagnostic::new("E0201", "expected an optimiser", at, format!("this is {is}")));
                    continue;
                }
                Err(Bad) => continue,
            };
            rows.push(GroupInfo {
                over: g.over.iter().map(|n| n.text.clone()).collect(),
                places: g.over.iter().map(|n| self.at(env.module, n.span)).collect(),
                optimiser: with,
                weights: Vec::new(),
            });
        }
        if info.minimise.is_some() {
            self.err(Diagnostic::new("E0413", "a stage minimises one loss", place, "the second"));
            return Err(Bad);
        }
        let at = self.at(env.module, loss.span);
        let v = self.eval(loss, env);
        info.minimise = Some(Minimise { loss: self.text(at).to_string(), groups: rows, place: at });
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
        Ok(())
    }

    fn setting(&mut self, name: &'a Name, value: &'a Expr, env: &Env<'a>, info: &mut StageInfo) -> R<()> {
        let at = self.at(env.module, name.span);
        if !SETTINGS.contains(&name.text.as_str()) {
            let mut d = Diagnostic::new("E0413", format!("a stage has no setting `{}`", name.text), at, "unknown");
            d.help = did_you_mean(&name.text, SETTINGS).or_else(|| Some(format!("it has {}", SETTINGS.join(", "))));
            self.err(d);
            return Err(Bad);
        }
        let key = format!("{}.{}", info.name, name.text);
        let set = self.set.iter().find(|s| s.0 == key).map(|s| &s.1);
        let v = self.setting_value(&name.text, set.unwrap_or(value), env)?;
        let place = self.at(env.module, value.span);
        let wrong = match (name.text.as_str(), &v) {
            ("epochs" | "steps" | "batch" | "skip" | "patience", Static::Int(n)) => (*n < 0).then_some("not negative"),
            ("epochs" | "steps" | "batch" | "skip" | "patience", _) => Some("a known integer"),
            ("data", Static::Word(w)) => (!["train", "validation", "test", "calibration"].contains(&w.as_str()))
                .then_some("train, validation, test or calibration"),
            ("data", _) => Some("train, validation, test or calibration"),
            ("drop_last", Static::Bool(_)) => None,
            ("drop_last", _) => Some("true or false"),
            ("clip", Static::Float(_) | Static::Int(_)) => None,
            ("clip", _) => Some("a number"),
            ("schedule" | "keep", Static::Rule(_)) => None,
            ("schedule" | "keep", _) => Some("a call, as `step(every: 800, by: 0.1)`"),
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
            ExprKind::Call(f, args) if key == "schedule" || key == "keep" => {
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
