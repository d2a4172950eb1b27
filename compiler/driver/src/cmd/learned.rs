//! Training steps for `uadc compare`: our steps from the same weights beside what another implementation's left.
//!
//! In: a compiled spec, its names file with [train], inputs, the foreign state after some steps. Out: pairs of tensors.
//! Invariants: as many steps as the foreign losses, all on the one batch of the case; differences are measured by how far
//! the foreign tensor has moved. Imports: compiled, engine, failure; names files.

use std::collections::BTreeMap;
use std::sync::Arc;

use uad_compiler::names::{Names, TrainRule, cover};
use uad_plan::DType;
use uad_plan::tensor::Tensor;
use uad_runtime::device::executor::Draw;
use uad_runtime::tensors::TensorFile;

use crate::args;
use crate::compiled::Compiled;
use crate::engine::{Engine, InMemory};
use crate::failure::{Done, Failure};
use crate::weights::{self, Tensors};

/// A tensor after the steps, here and there.
pub struct Pair {
    /// Foreign name, or several.
    pub foreign: String,
    /// Our path.
    pub ours: String,
    /// Theirs, as ours lies.
    pub theirs: Tensor,
    /// Ours.
    pub value: Tensor,
    /// How far theirs has moved at most.
    pub moved: f64,
}

/// What is compared.
pub struct Task<'a> {
    /// The spec, compiled with the settings of [train].
    pub compiled: &'a Compiled,
    /// How names correspond.
    pub names: &'a Names,
    /// What is trained and how.
    pub rule: &'a TrainRule,
    /// How to run.
    pub engine: &'a args::Engine,
    /// The foreign state after the steps.
    pub theirs: &'a TensorFile,
}

impl Task<'_> {
    /// Runs the steps; all weights and the losses.
    pub fn pairs(&self, given: &BTreeMap<String, Tensor>, start: &Tensors) -> Done<Vec<Pair>> {
        let losses = self.theirs.get(&self.rule.loss).map_err(Failure::input)?;
        let mut stored = start.clone();
        weights::initialise_stage(self.compiled, 0, &self.rule.stage, &mut stored)?;
        let mut ours = Vec::new();
        let plan = self.compiled.stage_plan(&self.rule.stage)?;
        let mut engine = Engine::new(plan, Arc::new(InMemory::default()), self.engine);
        for step in 0..losses.len() {
            engine.restock(Arc::new(InMemory(stored.clone())));
            ours.push(self.step(&mut engine, step, losses.len(), given, &mut stored)?);
        }
        let number =
            |v: Vec<f64>| Tensor::from_f64(DType::F32, &[v.len()], v).map_err(|e| Failure::Fault(e.to_string()));
        let first = losses.get(0).unwrap_or(0.0).abs();
        let mut pairs = vec![Pair {
            foreign: self.rule.loss.clone(),
            ours: "loss".to_owned(),
            theirs: losses,
            value: number(ours)?,
            moved: first,
        }];
        let shapes: BTreeMap<String, Vec<usize>> = self
            .theirs
            .shapes()
            .iter()
            .filter(|(n, _)| !n.starts_with('_'))
            .map(|(n, s)| (n.clone(), s.clone()))
            .collect();
        let own = |s: &&uad_compiler::model::StoredInfo| {
            let shape = s.ty.shape.iter().map(|d| usize::try_from(d.as_int().unwrap_or(0)).unwrap_or(0)).collect();
            (s.path.clone(), s.ty.dtype, shape)
        };
        let kept = self.compiled.model.stored.iter().filter(|s| s.stage.is_none());
        let ours: Vec<cover::Ours> = kept.map(|s| own(&s)).collect();
        let params = |n: &str| self.compiled.int_param(n);
        let read = |name: &str| self.theirs.get(name).map_err(|e| e.to_string());
        let found = cover::assign(self.names, &ours, &shapes, &params).map_err(|e| Failure::input(e.join("\n  ")))?;
        for a in found {
            if self.rule.ignore.iter().any(|p| p.matches(&a.path).is_some()) {
                continue;
            }
            let theirs = a.value(&params, &read).map_err(Failure::input)?;
            let (Some(value), Some(before)) = (stored.get(&a.path), start.get(&a.path)) else { continue };
            let moved = theirs.iter().zip(before.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let foreign = a.foreign.clone().unwrap_or_default();
            pairs.push(Pair { foreign, ours: a.path, theirs, value: value.clone(), moved });
        }
        Ok(pairs)
    }

    /// One step: the loss before it.
    fn step(
        &self,
        engine: &mut Engine,
        step: usize,
        steps: usize,
        given: &BTreeMap<String, Tensor>,
        stored: &mut Tensors,
    ) -> Done<f64> {
        let stage = &self.rule.stage;
        let mut given = given.clone();
        for (name, value) in [("@step", step), ("@steps", steps), ("@epoch", 0), ("@epochs", 1)] {
            let value = Tensor::from_f64(DType::F32, &[], [value as f64]).map_err(|e| Failure::Fault(e.to_string()))?;
            given.insert(name.to_owned(), value);
        }
        let info = self.compiled.model.stages.iter().find(|s| s.name == *stage);
        if let Some(features) = info.and_then(|s| s.features.as_ref()) {
            given.extend(engine.call(features, &given)?);
        }
        let draw = Draw { seed: 0, step: step as u64, sample: 0 };
        let (out, written) = engine.call_seeded(stage, &given, draw)?;
        stored.extend(written);
        let loss = out.get("loss").and_then(|t| t.get(0));
        loss.ok_or_else(|| Failure::input(format!("the stage `{stage}` has no loss")))
    }
}
