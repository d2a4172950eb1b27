//! Plans of every template for tests of back ends.
//!
//! In: nothing. Out: [`cases`]. Invariants: made by rules from lists of sizes and dtypes; values come from a seed alone.
//! Imports: `uad-plan`.

mod contractions;
mod maps;
mod others;

use uad_kernels::cuda::emulate::Tensors;
use uad_plan::DType;
use uad_plan::bind::Port;
use uad_plan::tensor::Tensor;

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
