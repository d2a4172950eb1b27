//! Contractions and attention on tensor cores, as text run on the host, against the reference interpreter.
//!
//! In: the plans of contractions and attention of every awkward size, for each precision. Out: with operands that the precision holds,
//! agreement as in f32; with others, as near as their rounding explains; numbers rounded as IEEE 754 (ties of tf32: away
//! from zero) says; the same bits for every order of threads. Invariants: one translation unit. Imports: the emulation.

mod templates;

use templates::{Case, DRAW, bound, difference, reference, values};
use uad_kernels::cuda::emulate::{Emulation, ORDERS, Tensors};
use uad_kernels::cuda::{Precision, Program};
use uad_plan::{Bound, DType, Tensor};
use uad_tests::cxx;

const CORES: [Precision; 3] = [Precision::Tf32, Precision::Bf16, Precision::F16];

/// Bits of the fraction.
fn fraction(p: Precision) -> i32 {
    match p {
        Precision::F32 => 23,
        Precision::Tf32 | Precision::F16 => 10,
        Precision::Bf16 => 7,
    }
}

/// Values of a tensor cut to what a precision holds.
fn held(t: &Tensor, p: Precision) -> Tensor {
    if t.dtype() != DType::F32 {
        return t.clone();
    }
    let cut = |v: f64| if v == 0.0 { v } else { place(v, fraction(p)) };
    Tensor::from_f64(DType::F32, t.shape(), t.iter().map(cut)).unwrap()
}

/// The value without what lies below so many bits of its fraction.
fn place(v: f64, bits: i32) -> f64 {
    let unit = 2f64.powi(v.abs().log2().floor() as i32 - bits);
    (v / unit).trunc() * unit
}

/// How near a plan must be, and whether its operands are first cut to what the precision holds.
fn near(case: &Case, p: Precision) -> (f64, bool) {
    let unit = 2f64.powi(-fraction(p));
    if case.body.contains("attention [") {
        // Weights are rounded by half a unit of theirs; values are below 2.
        return (case.tolerance + unit, true);
    }
    if case.body.contains("0.01") {
        // What is multiplied is computed, and rounded: a product of two numbers below 4 is off by a unit in the last place
        // of each, in a random direction.
        return (case.tolerance + 3.0 * terms(case).sqrt() * unit, false);
    }
    (case.tolerance, true)
}

/// The number of terms in `dot [b, m, n, k]`.
fn terms(case: &Case) -> f64 {
    let sizes = case.body.split_once("dot [").and_then(|s| s.1.split_once(']')).expect("a dot").0;
    sizes.rsplit(", ").next().and_then(|k| k.parse().ok()).expect("a size")
}

struct Job {
    bound: Bound,
    program: Program,
    inputs: Tensors,
    tolerance: f64,
    name: String,
}

fn jobs() -> Vec<Job> {
    let mut all = Vec::new();
    for case in templates::contractions() {
        for p in CORES {
            let bound = bound(&case);
            let program = Program::emit(&bound, p).unwrap_or_else(|e| panic!("{p}: {e}\n{}", case.body));
            // Thin products and integers are as in f32.
            if !program.text().contains("mma_") {
                continue;
            }
            let (tolerance, exact) = near(&case, p);
            let cut = |(n, t): (&String, &Tensor)| (n.clone(), if exact { held(t, p) } else { t.clone() });
            let inputs = values(&case, &bound).0.iter().map(cut).collect();
            all.push(Job { inputs, tolerance, name: format!("{p}\n{}", case.body), bound, program });
        }
    }
    all
}

#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn tensor_cores_agree_with_the_reference() {
    let jobs = jobs();
    let emulation = Emulation::new(cxx(), &jobs.iter().map(|j| &j.program).collect::<Vec<_>>());
    let emulation = emulation.unwrap_or_else(|e| panic!("{e}"));
    let none = Tensors::new();
    let mut wrong = Vec::new();
    for job in &jobs {
        let want = reference(&job.bound, &job.inputs, &none);
        let run = |order| emulation.run(&job.program, &job.bound, &job.inputs, &none, DRAW, order, 1);
        let mut bits: Vec<Vec<Vec<u8>>> = Vec::new();
        for order in ORDERS {
            match run(order) {
                Err(e) => wrong.push(format!("{order:?}, {}: {e}", job.name)),
                Ok(got) => {
                    let found = difference(&got, &want, job.tolerance);
                    wrong.extend(found.map(|w| format!("{order:?}, {}: {w}", job.name)));
                    bits.push(got.values().map(Tensor::to_bytes).collect());
                }
            }
        }
        if bits.windows(2).any(|w| w[0] != w[1]) {
            wrong.push(format!("{}: the order of threads changes bits", job.name));
        }
    }
    eprintln!("{} plans on tensor cores", jobs.len());
    assert!(jobs.len() >= 63, "{} plans are on tensor cores", jobs.len());
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong[..wrong.len().min(8)].join("\n\n"));
}

/// Numbers and what they are in tf32, bf16 and f16: ties, the ends of ranges, what is no number.
const ROUNDED: [(f32, [f32; 3]); 12] = [
    (0.0, [0.0; 3]),
    (1.0 + 1.0 / 2048.0, [1.0 + 1.0 / 1024.0, 1.0, 1.0]),
    (1.0 + 3.0 / 2048.0, [1.0 + 2.0 / 1024.0, 1.0, 1.0 + 2.0 / 1024.0]),
    (-1.0 - 1.0 / 256.0, [-1.0 - 1.0 / 256.0, -1.0, -1.0 - 1.0 / 256.0]),
    (1.0 + 3.0 / 256.0, [1.0 + 3.0 / 256.0, 1.0 + 2.0 / 128.0, 1.0 + 3.0 / 256.0]),
    (0.1, [0.099_975_586, 0.100_097_656, 0.099_975_586]),
    (65_519.0, [65_504.0, 65_536.0, 65_504.0]),
    (65_520.0, [65_536.0, 65_536.0, f32::INFINITY]),
    (2.980_232_3e-8, [2.980_232_3e-8, 2.980_232_3e-8, 0.0]),
    (8.940_697e-8, [8.940_697e-8, 8.940_697e-8, 1.192_092_9e-7]),
    (f32::INFINITY, [f32::INFINITY; 3]),
    (f32::NAN, [f32::NAN; 3]),
];

#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn operands_are_rounded_to_the_nearest() {
    let rows = ROUNDED.len();
    // The first column of x is the numbers, that of w is 1: no other product is there.
    let case = Case::new(
        format!(
            "input %x f32[{rows}, 4] input %w f32[8, 4] output %y f32[{rows}, 8] kernels {{ dot [{rows}, 8, 4] as [m, n, k] \"r\" {{ \
             $0 = %x[4*i0 + i2] $1 = %w[4*i1 + i2] a {{ r0 = $0; yield r0 }} b {{ r0 = $1; yield r0 }} \
             out {{ r0 = slot 0; yield r0 }} write %y[8*i0 + i1] }} }}"
        ),
        0.0,
    );
    let first =
        |n: usize, of: &dyn Fn(usize) -> f32| (0..4 * n).map(|i| if i % 4 == 0 { of(i / 4) } else { 0.0 }).collect();
    let x = Tensor::f32(&[rows, 4], first(rows, &|n| ROUNDED[n].0)).unwrap();
    let w = Tensor::f32(&[8, 4], first(8, &|_| 1.0)).unwrap();
    let inputs = Tensors::from([("x".to_owned(), x), ("w".to_owned(), w)]);
    let bound = bound(&case);
    let programs = CORES.map(|p| Program::emit(&bound, p).unwrap());
    let emulation = Emulation::new(cxx(), &programs.each_ref()).unwrap_or_else(|e| panic!("{e}"));
    for (n, program) in programs.iter().enumerate() {
        let got = emulation.run(program, &bound, &inputs, &Tensors::new(), DRAW, ORDERS[0], 1).unwrap();
        for (row, (value, want)) in ROUNDED.iter().enumerate() {
            let got = got["y"].iter().nth(8 * row).unwrap() as f32;
            assert!(
                got == want[n] || (got.is_nan() && want[n].is_nan()),
                "{}: {value} is {got}, not {}",
                CORES[n],
                want[n]
            );
        }
    }
}
