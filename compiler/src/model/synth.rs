//! Synthesisers: slots that turn a sample into a changed one with its mask, as entries of their own.
//!
//! In: a detector. Out: the entry `synth`, and what is to be known of it. Invariants: a synthesiser is known by its type alone: a slot
//! `(sample) -> (sample, …, mask)` whose sample is that of an input; nothing else of the detector is elaborated.
//! Imports: detectors, values.

use uad_grammar::ast::{Arg as Written, Expr, ExprKind, Function, ItemKind, Name, Stmt, StmtKind, Type, TypeKind};
use uad_plan::DType;

use super::types::Head;
use super::value::{Arg, FieldValue, Value};
use super::{EntryKind, Ev, prune};
use crate::diag::Diagnostic;
use crate::graph::Op;

/// The name of the entry.
pub const SYNTH: &str = "synth";

/// The output of what the synthesiser saw. It is not there where that is the input itself.
pub const SEEN: &str = "seen";

/// A synthesiser of a detector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SynthInfo {
    /// The slot.
    pub slot: String,
    /// The input whose samples it changes.
    pub input: String,
    /// Outputs of the entry, in order: the changed sample, whatever else, the mask.
    pub outputs: Vec<String>,
    /// Parameters of the detector.
    pub params: Vec<String>,
    /// What fills the slot, where it is a function with hyper-parameters.
    pub filler: Option<Filler>,
}

/// A function with what it is given, as text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filler {
    /// Its name.
    pub function: String,
    /// Arguments: their names, where they have some, and values.
    pub given: Vec<(Option<String>, String)>,
    /// Its hyper-parameters, and whether each is a list.
    pub hyper: Vec<(String, bool)>,
}

impl Filler {
    /// The text of a call with another value for one hyper-parameter. A single number for a list is a list of one.
    pub fn with(&self, name: &str, value: &str) -> Option<String> {
        let place = self.hyper.iter().position(|h| h.0 == name)?;
        let value = if self.hyper[place].1 && !value.trim_start().starts_with('[') {
            format!("[{value}]")
        } else {
            value.to_owned()
        };
        let kept = self.given.iter().enumerate().filter(|(k, (n, _))| match n {
            Some(n) => n != name,
            None => *k != place,
        });
        // Arguments behind one that is left out need their names.
        let named = |k: usize, (n, v): &(Option<String>, String)| {
            let n = n.as_ref().or_else(|| self.hyper.get(k).map(|h| &h.0));
            n.map_or_else(|| v.clone(), |n| format!("{n}: {v}"))
        };
        let mut all: Vec<String> = kept.map(|(k, g)| named(k, g)).collect();
        all.push(format!("{name}: {value}"));
        Some(format!("{}({})", self.function, all.join(", ")))
    }
}

/// What a function gives, with the names that it has.
type Results<'a> = &'a [(Option<Name>, Type)];

impl<'a> Ev<'a> {
    /// Elaborates the synthesiser of a slot, or of the first slot that has one.
    pub(crate) fn synth_entry(&mut self, wanted: Option<&str>) -> Option<SynthInfo> {
        let root = self.begin(SYNTH, EntryKind::Stage { home: String::new(), trains: None }).ok()?;
        let (env, _) = root.open.borrow().clone()?;
        let at = self.detector_place(&root);
        let found = root.body.iter().find_map(|s| match &s.kind {
            StmtKind::Slot { name, ty, value } if wanted.is_none_or(|w| w == name.text) => {
                let (parts, input) = self.synthesises(ty, root.body, root.module)?;
                Some((name, value, parts, input))
            }
            _ => None,
        });
        let Some((name, value, parts, input)) = found else {
            self.err(
                Diagnostic::new("E0105", format!("`{}` has no synthesiser", root.name), at, "no slot of it makes anomalies").help(
                    "a synthesiser is a slot from a sample of an input to a changed one and its mask, as `slot synth: image_synth = perlin_paste()`",
                ),
            );
            return None;
        };
        let place = self.at(root.module, name.span);
        let slot = env.slot(&name.text)?;
        let Value::Func(f) = self.read_slot(&slot, &name.text, &env).ok()? else { return None };
        let slot = env.slot(&input.text)?;
        let samples = self.read_slot(&slot, &input.text, &env).ok()?;
        let seen = samples.clone();
        let made = self.each(&f, vec![Arg { name: None, value: samples, place }], place).ok()?;
        let Value::Record(made) = made else { return None };
        let mut outputs = Vec::new();
        // What the synthesiser saw, where functions of the pipeline stand between it and the loader.
        if let Value::Tensor(t) = &seen {
            let node = self.here(t, place).ok()?;
            let graph = &mut self.levels[0].graph;
            if !matches!(graph.nodes[node.0 as usize].op, Op::Input(_)) {
                graph.outputs.push((SEEN.to_owned(), node));
            }
        }
        for (k, (_, v)) in made.iter().enumerate() {
            let own = parts.get(k).and_then(|p| p.0.as_ref()).map(|n| n.text.clone());
            let name = match k {
                0 => "sample".to_owned(),
                k if k + 1 == made.len() => "mask".to_owned(),
                k => own.unwrap_or_else(|| format!("extra{k}")),
            };
            let t = self.lift(v, DType::F32, place).ok()?;
            let node = self.here(&t, place).ok()?;
            self.levels[0].graph.outputs.push((name.clone(), node));
            outputs.push(name);
        }
        let set = root.fields.iter().find(|f| f.0 == name.text).map(|f| &f.2);
        let filler = match (set, value) {
            (Some(FieldValue::Written(e, m)), _) => self.filler(e, *m),
            (Some(FieldValue::Known(_)), _) => None,
            (None, value) => value.as_ref().and_then(|e| self.filler(e, root.module)),
        };
        let param = |s: &Stmt| if let StmtKind::Param(p, _) = &s.kind { Some(p.name.text.clone()) } else { None };
        let params = root.body.iter().filter_map(param).collect();
        let mut graph = std::mem::take(&mut self.levels[0].graph);
        prune(&mut graph);
        self.graphs.push(graph);
        Some(SynthInfo { slot: name.text.clone(), input: input.text.clone(), outputs, params, filler })
    }

    /// The results of a slot of this type and the input that it takes, if it is a synthesiser.
    fn synthesises(&mut self, ty: &'a Type, body: &'a [Stmt], module: usize) -> Option<(Results<'a>, &'a Name)> {
        let (mut ty, mut module) = (ty, module);
        for _ in 0..32 {
            let TypeKind::Name(n) = &ty.kind else { break };
            let place = self.at(module, n.span);
            let Ok(Head::Alias(m, to)) = self.head(&n.text, module, place) else { return None };
            (module, ty) = (m, to);
        }
        let TypeKind::Signature(takes, gives) = &ty.kind else { return None };
        let ([(_, takes)], TypeKind::Record(gives)) = (takes.as_slice(), &gives.kind) else { return None };
        let (first, last) = (gives.first()?, gives.last()?);
        let shape = |t: &'a Type| match &t.kind {
            TypeKind::Tensor(n, dims) => Some((n.text.as_str(), dims.len())),
            _ => None,
        };
        let sample = shape(takes)?;
        if gives.len() < 2 || shape(&first.1)? != sample || shape(&last.1)?.1 >= sample.1 {
            return None;
        }
        let fed = |s: &'a Stmt| match &s.kind {
            StmtKind::Input { name, ty, .. } if shape(ty) == Some((sample.0, sample.1 + 1)) => Some(name),
            _ => None,
        };
        body.iter().find_map(fed).map(|input| (gives.as_slice(), input))
    }

    /// What fills a slot, as text.
    fn filler(&self, e: &'a Expr, module: usize) -> Option<Filler> {
        let text = self.lines[self.modules[module].file].text;
        let words = |e: &Expr| text.get(e.span.start as usize..e.span.end as usize).unwrap_or_default().to_owned();
        let (name, given): (&Expr, &[Written]) = match &e.kind {
            ExprKind::Call(f, args) => (f, args),
            _ => (e, &[]),
        };
        let ExprKind::Name(function) = &name.kind else { return None };
        let (m, n) = *self.modules[module].values.get(function)?;
        let ItemKind::Fn(Function { hyper: Some(hyper), .. }) = &self.modules[m].ast.items[n].kind else { return None };
        let list = |t: &Type| matches!(t.kind, TypeKind::List(_));
        Some(Filler {
            function: function.clone(),
            given: given.iter().map(|a| (a.name.as_ref().map(|n| n.text.clone()), words(&a.value))).collect(),
            hyper: hyper.iter().map(|p| (p.name.text.clone(), p.ty.as_ref().is_some_and(list))).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Filler;

    #[test]
    fn calls_with_another_value() {
        let text = |v: &str| v.to_owned();
        let filler = Filler {
            function: text("f"),
            given: vec![(None, text("256")), (Some(text("k")), text("30"))],
            hyper: vec![(text("r"), false), (text("cells"), true), (text("k"), false)],
        };
        assert_eq!(filler.with("cells", "4").unwrap(), "f(r: 256, k: 30, cells: [4])");
        assert_eq!(filler.with("cells", "[2, 4]").unwrap(), "f(r: 256, k: 30, cells: [2, 4])");
        assert_eq!(filler.with("k", "9").unwrap(), "f(r: 256, k: 9)");
        assert_eq!(filler.with("r", "9").unwrap(), "f(k: 30, r: 9)");
        assert_eq!(filler.with("x", "9"), None);
    }
}
