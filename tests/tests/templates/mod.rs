//! Plans of every template for tests of back ends.
//!
//! In: nothing. Out: [`cases`], their values and what the reference makes of them. Invariants: made by rules from lists of sizes and dtypes; values come from a seed alone.
//! Imports: `uad-plan`.

#![allow(dead_code)] // Every test file takes its part.

mod contractions;
mod maps;
mod others;

use std::collections::BTreeMap;
use uad_kernels::cuda::emulate::{Draw, Tensors};

use uad_plan::bind::Port;
use uad_plan::tensor::{Data, Tensor};
use uad_plan::{Bound, DType, bind, interp, text, verify};

/// A plan with one entry, and how near a back end must be.
#[derive(Clone, Debug)]
pub struct Case {
    /// Declarations of stored tensors.
    pub stored: String,
    /// The entry's body.
    pub body: String,
    /// Of f32; other types are exact.
    pub tolerance: f64,
    /// Values that are not drawn.
    pub inputs: Tensors,
    /// What values are drawn from.
    pub seed: u64,
}

impl Case {
    /// A plan without stored tensors.
    pub fn new(body: impl Into<String>, tolerance: f64) -> Case {
        Case { stored: String::new(), body: body.into(), tolerance, inputs: Tensors::new(), seed: 1 }
    }
}

/// Plans of contractions and attention.
pub fn contractions() -> Vec<Case> {
    contractions::cases()
}

/// All plans.
pub fn cases() -> Vec<Case> {
    let mut all = maps::cases();
    all.extend(contractions::cases());
    all.extend(others::cases());
    for (n, case) in all.iter_mut().enumerate() {
        case.seed = n as u64 * 31 + 7;
    }
    all
}

/// Numbers from a seed.
pub struct Random(pub u64);

impl Random {
    /// A number below this.
    pub fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below.max(1)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f32 {
        self.next(1 << 20) as f32 / (1 << 20) as f32
    }
}

/// A tensor for a port: f32 in (-2, 2), small i32, bool.
pub fn tensor(port: &Port, random: &mut Random) -> Tensor {
    let n: usize = port.shape.iter().product();
    match port.dtype {
        DType::F32 => Tensor::f32(&port.shape, (0..n).map(|_| random.unit() * 4.0 - 2.0).collect()),
        DType::I32 => Tensor::i32(&port.shape, (0..n).map(|_| random.next(9) as i32 - 1).collect()),
        DType::Bool => Tensor::bool(&port.shape, (0..n).map(|_| random.next(2) as u8).collect()),
    }
    .unwrap()
}

/// The plan, bound.
pub fn bound(case: &Case) -> Bound {
    let text = format!("uadp 1 plan \"t\" stored {{ {} }} entry score() {{ {} }}", case.stored, case.body);
    let plan = text::parse(&text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let plan = verify(plan).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    bind(&plan, "score", &BTreeMap::new()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Values of inputs and stored tensors.
pub fn values(case: &Case, bound: &Bound) -> (Tensors, Tensors) {
    let mut random = Random(case.seed);
    let drawn: Tensors = bound.inputs.iter().map(|p| (p.name.clone(), tensor(p, &mut random))).collect();
    let inputs = if case.inputs.is_empty() { drawn } else { case.inputs.clone() };
    let stored = bound.stored.iter().map(|p| (p.name.clone(), tensor(p, &mut random))).collect();
    (inputs, stored)
}

/// What draws depend on.
pub const DRAW: Draw = Draw { seed: 77 << 32 | 5, step: 3, sample: 5 };

/// What the reference makes of it.
pub fn reference(bound: &Bound, inputs: &Tensors, stored: &Tensors) -> Tensors {
    let mut kept = stored.clone();
    let draw = interp::Draw { seed: DRAW.seed, step: DRAW.step, first_sample: DRAW.sample };
    let mut out = interp::run(bound, inputs, &mut kept, draw).unwrap();
    out.extend(kept.into_iter().map(|(path, t)| (format!("after {path}"), t)));
    out
}

fn near(got: f64, want: f64, tolerance: f64) -> bool {
    (got.is_nan() && want.is_nan()) || got == want || (got - want).abs() <= tolerance * want.abs().max(1.0)
}

/// The first element that is not what it should be.
pub fn difference(got: &Tensors, want: &Tensors, tolerance: f64) -> Option<String> {
    for (name, want) in want {
        let Some(got) = got.get(name) else { return Some(format!("`{name}` is missing")) };
        let tolerance = if matches!(want.data(), Data::F32(_)) { tolerance } else { 0.0 };
        for (i, (g, w)) in got.iter().zip(want.iter()).enumerate() {
            if !near(g, w, tolerance) {
                return Some(format!("`{name}`[{i}] is {g}, not {w}"));
            }
        }
    }
    None
}
