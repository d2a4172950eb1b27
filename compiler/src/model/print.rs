//! A typed model as text: parameters, inputs, stored tensors by path, stages, entries.
//!
//! In: a model. Out: lines. Invariants: one line per thing, in the model's order, so that texts can be compared.
//! Imports: the model.

use std::fmt;

use uad_plan::StoredKind;

use super::{Model, RuleInfo, Static};

impl fmt::Display for Static {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Static::Int(i) => write!(f, "{i}"),
            Static::Float(x) => write!(f, "{x}"),
            Static::Bool(b) => write!(f, "{b}"),
            Static::Text(t) => write!(f, "\"{t}\""),
            Static::Word(w) | Static::Other(w) => f.write_str(w),
            Static::List(l) => {
                f.write_str("[")?;
                for (n, v) in l.iter().enumerate() {
                    if n > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{v}")?;
                }
                f.write_str("]")
            }
            Static::Rule(r) => write!(f, "{r}"),
        }
    }
}

impl fmt::Display for RuleInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (n, (name, v)) in self.args.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            if name.starts_with(|c: char| c.is_ascii_digit()) { write!(f, "{v}")? } else { write!(f, "{name}: {v}")? }
        }
        f.write_str(")")
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "detector {}", self.name)?;
        for p in &self.params {
            writeln!(f, "  param {} = {}", p.name, p.value)?;
        }
        for i in &self.inputs {
            let ty = i.ty.to_string();
            let ty = i.unit.as_ref().map_or(ty.clone(), |u| ty.replacen(i.ty.dtype.name(), u, 1));
            write!(f, "  input {}: {ty} from {}", i.name, i.source)?;
            for s in &i.pipeline {
                let args: Vec<String> = s.args.iter().map(|(n, v)| format!("{n}: {v}")).collect();
                write!(f, " |> {}({})", s.name, args.join(", "))?;
            }
            writeln!(f)?;
        }
        for s in &self.stored {
            let kind = if s.kind == StoredKind::Weight { "weight" } else { "state" };
            write!(f, "  {kind} {}: {}", s.path, s.ty)?;
            if s.frozen {
                write!(f, "  frozen")?;
            }
            if let Some(n) = &s.names {
                write!(f, "  from \"{}\"", n.name)?;
            }
            writeln!(f)?;
        }
        for s in &self.stages {
            writeln!(f, "  stage {}", s.name)?;
            if let Some(m) = &s.minimise {
                writeln!(f, "    minimise {}", m.loss)?;
                for g in &m.groups {
                    let over = if g.over.is_empty() { "all".to_string() } else { g.over.join(", ") };
                    writeln!(f, "      over {over} with {}: {} weights", g.optimiser, g.weights.len())?;
                }
            }
            for w in &s.writes {
                writeln!(f, "    writes {w}")?;
            }
            for (n, v) in &s.settings {
                writeln!(f, "    {n}: {v}")?;
            }
            if let Some(e) = &s.features {
                writeln!(f, "    after {e}")?;
            }
            if let Some(e) = &s.watch {
                writeln!(f, "    beside {e}")?;
            }
            match &s.finish {
                Some(e) if s.collects.is_empty() => writeln!(f, "    then {e}")?,
                Some(e) => writeln!(f, "    then {e}, over {}", s.collects.join(", "))?,
                None => {}
            }
        }
        for g in &self.entries {
            writeln!(f, "  entry {}: {} nodes, dims [{}]", g.name, g.nodes.len(), g.dims.join(", "))?;
            if g.name != "init" {
                for (n, id) in &g.outputs {
                    writeln!(f, "    {n}: {}", g.ty(*id))?;
                }
            }
        }
        Ok(())
    }
}
