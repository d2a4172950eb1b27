//! Settings of stages: what a stage writes, what a variant or the command line puts in its place.
//!
//! In: settings with their values. Out: statics in [`StageInfo`]. Invariants: the strongest of several is taken: command
//! line, variant, stage; a name that is no setting is refused wherever it stands. Imports: values.

use std::rc::Rc;

use uad_grammar::ast::{Expr, ExprKind};

use crate::diag::nearest::did_you_mean;
use crate::diag::{Diagnostic, Place};

use super::set::Setting;
use super::train::Functions;
use super::value::{Bad, Env, FieldValue, Frame, Kind, Part, R, Value};
use super::{Ev, RuleInfo, StageInfo, Static};

/// All there are.
const SETTINGS: [&str; 12] = [
    "epochs",
    "steps",
    "batch",
    "data",
    "drop_last",
    "skip",
    "clip",
    "schedule",
    "average",
    "patience",
    "keep",
    "rematerialise",
];

/// Does a field name a setting of a stage of a detector inside: has it two dots?
pub(crate) fn of_inner_stage(field: &str) -> bool {
    field.matches('.').count() > 1
}

/// A setting with its value.
pub(crate) struct Set<'a> {
    /// `epochs`.
    pub name: &'a str,
    /// Where that stands.
    pub place: Place,
    /// Its value.
    pub value: FieldValue<'a>,
}

impl<'a> Ev<'a> {
    /// The module in which `--set` stands, after all others.
    fn command_line(&self) -> usize {
        self.modules.len().saturating_sub(1)
    }

    /// What `--set` gives the outermost detector.
    pub(crate) fn outermost_fields(&self) -> Vec<(&'a str, Place, FieldValue<'a>)> {
        let module = self.command_line();
        let field = |s: &'a Setting| {
            (s.name.text.as_str(), self.at(module, s.name.span), FieldValue::Written(&s.value, module))
        };
        self.set.iter().map(field).collect()
    }

    /// Settings of stages of the detectors inside, from the fields of the outermost: `inner.train.epochs`.
    pub(crate) fn inner_of(fields: &[(&'a str, Place, FieldValue<'a>)]) -> Vec<Set<'a>> {
        let inner = fields.iter().filter(|f| of_inner_stage(f.0));
        inner.map(|(name, place, value)| Set { name, place: *place, value: value.clone() }).collect()
    }

    /// What is set from outside for a stage of the detector at a path, once each.
    pub(crate) fn set_outside(&self, part: &Rc<Part<'a>>, path: &str, stage: &str) -> Vec<Set<'a>> {
        let mut all: Vec<Set<'a>> = Vec::new();
        let mut add = |name, place, value| {
            if !all.iter().any(|g| g.name == name) {
                all.push(Set { name, place, value });
            }
        };
        if !path.is_empty() {
            for s in &self.inner {
                let inner = s.name.strip_prefix(path).and_then(|t| t.strip_prefix('.')?.strip_prefix(stage));
                if let Some(name) = inner.and_then(|t| t.strip_prefix('.')) {
                    add(name, s.place, s.value.clone());
                }
            }
        }
        for (field, place, value) in &part.fields {
            if let Some(name) = field.strip_prefix(stage).and_then(|t| t.strip_prefix('.')) {
                add(name, *place, value.clone());
            }
        }
        all
    }

    /// Is `name` a setting at all? `stage` and its dot stand before it in the text.
    pub(crate) fn is_setting(&mut self, stage: &str, name: &str, place: Place) -> R<()> {
        if SETTINGS.contains(&name) {
            return Ok(());
        }
        let mut d = Diagnostic::new("E0413", format!("a stage has no setting `{name}`"), place, "unknown");
        let whole: Vec<String> = SETTINGS.iter().map(|s| format!("{stage}{s}")).collect();
        d.help = did_you_mean(&format!("{stage}{name}"), whole.iter().map(String::as_str))
            .or_else(|| Some(format!("it has {}", SETTINGS.join(", "))));
        self.err(d);
        Err(Bad)
    }

    /// Says which `inner.train.epochs` names no stage, once all are known.
    pub(crate) fn inner_settings(&mut self) {
        if self.errors > 0 {
            return;
        }
        for Set { name, place, .. } in std::mem::take(&mut self.inner) {
            let Some((stage, setting)) = name.rsplit_once('.') else { continue };
            if self.stages.iter().any(|i| i.name == stage) {
                let _ = self.is_setting(&format!("{stage}."), setting, place);
            } else {
                let names: Vec<String> = self.stages.iter().map(|s| s.name.clone()).collect();
                let detector = self.name.clone();
                self.no_stage(&detector, stage, &names, place);
            }
        }
    }

    /// There is no such stage.
    pub(crate) fn no_stage(&mut self, detector: &str, stage: &str, known: &[String], place: Place) {
        let text = format!("`{detector}` has no stage `{stage}`");
        let mut d = Diagnostic::new("E0105", text, place, "not there");
        d.help = did_you_mean(stage, known.iter().map(String::as_str)).or_else(|| {
            let all: Vec<String> = known.iter().map(|k| format!("`{k}`")).collect();
            (!all.is_empty())
                .then(|| format!("it has {}; only settings of stages are named with a dot", all.join(", ")))
        });
        self.err(d);
    }

    /// Gives a stage a setting.
    pub(super) fn setting(
        &mut self,
        given: Set<'a>,
        env: &Env<'a>,
        info: &mut StageInfo,
        with: &mut Functions<'a>,
    ) -> R<()> {
        let Set { name, place, value } = given;
        self.is_setting("", name, place)?;
        let (v, place) = match value {
            FieldValue::Written(e, module) => {
                // What is set from outside sees the stage's names, and those of its own file.
                let env = match module == env.module {
                    true => env.clone(),
                    false => Frame::new(Some(env.clone()), module, Kind::Entry, env.owner.clone()),
                };
                let place = self.at(module, e.span);
                let v = match name {
                    "schedule" | "clip" | "average" => {
                        let v = self.eval(e, &env)?;
                        self.step_function(name, v, place, with)?
                    }
                    _ => self.setting_value(name, e, &env)?,
                };
                (v, place)
            }
            FieldValue::Known(v) if ["schedule", "clip", "average"].contains(&name) => {
                (self.step_function(name, v, place, with)?, place)
            }
            FieldValue::Known(v) => (Static::of(&v), place),
        };
        let wrong = match (name, &v) {
            ("epochs" | "steps" | "batch" | "skip" | "patience", Static::Int(n)) => (*n < 0).then_some("zero or more"),
            ("epochs" | "steps" | "batch" | "skip" | "patience", _) => Some("a known integer"),
            ("data", Static::Word(w)) => (!["train", "validation", "test", "calibration"].contains(&w.as_str()))
                .then_some("train, validation, test or calibration"),
            ("data", _) => Some("train, validation, test or calibration"),
            ("drop_last" | "rematerialise", Static::Bool(_)) => None,
            ("drop_last" | "rematerialise", _) => Some("true or false"),
            ("clip", Static::Float(_) | Static::Int(_) | Static::Rule(_)) => None,
            ("clip", _) => Some("a number, or a function of all gradients"),
            ("schedule" | "average" | "keep", Static::Rule(_)) => None,
            ("schedule", _) => Some("a call, as `step(every: 800, by: 0.1)`"),
            ("average", _) => Some("a call, as `ema(decay: 0.999)`"),
            ("keep", _) => Some("a call, as `lowest(e, on: validation)`"),
            _ => None,
        };
        if let Some(want) = wrong {
            self.err(Diagnostic::new("E0413", format!("`{name}` is {want}"), place, "is not"));
            return Err(Bad);
        }
        if info.settings.iter().any(|s| s.0 == name) {
            self.err(Diagnostic::new("E0413", format!("`{name}` is set twice"), place, "again here"));
            return Err(Bad);
        }
        info.settings.push((name.to_string(), v));
        Ok(())
    }

    /// A setting that the step itself calls: it is kept for [`Ev::train`], and shown as a rule.
    fn step_function(&mut self, name: &str, v: Value<'a>, place: Place, with: &mut Functions<'a>) -> R<Static> {
        let shown = match &v {
            Value::Func(f) => Static::Rule(
                RuleInfo::of(f).unwrap_or(RuleInfo { name: self.text(place).to_string(), args: Vec::new() }),
            ),
            v => Static::of(v),
        };
        match (name, v) {
            ("clip", v @ (Value::Int(_) | Value::Float(_) | Value::Ratio(_) | Value::Func(_))) => {
                with.clip = Some((self.clip_function(v, place)?, place));
            }
            ("schedule", Value::Func(f)) => with.schedule = Some((f, place)),
            ("average", Value::Func(f)) => with.average = Some((f, place)),
            _ => {}
        }
        Ok(shown)
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
