//! Every template of the CUDA back end, as text run on the host, against the reference interpreter.
//!
//! In: plans as text, of every template, dtype and awkward size: 1, primes, no multiple of a tile, nothing at all. Out:
//! agreement within a tolerance, and the same bits for every order of threads and blocks. Invariants: all kernels are
//! one translation unit. Imports: the emulation.

mod templates;

use templates::{Case, DRAW, bound, cases, difference, reference, values};
use uad_kernels::cuda::emulate::{Emulation, ORDERS, Tensors};
use uad_kernels::cuda::{Precision, Program};
use uad_plan::Bound;
use uad_tests::cxx;

#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn every_template_agrees_with_the_reference() {
    let cases = cases();
    let bounds: Vec<Bound> = cases.iter().map(bound).collect();
    let emit = |b: &Bound, c: &Case| Program::emit(b, Precision::F32).unwrap_or_else(|e| panic!("{}: {e}", c.body));
    let programs: Vec<Program> = bounds.iter().zip(&cases).map(|(b, c)| emit(b, c)).collect();
    let emulation = Emulation::new(cxx(), &programs.iter().collect::<Vec<_>>()).unwrap_or_else(|e| panic!("{e}"));
    let mut wrong = Vec::new();
    for ((case, bound), program) in cases.iter().zip(&bounds).zip(&programs) {
        let (inputs, stored) = values(case, bound);
        let want = reference(bound, &inputs, &stored);
        let mut first: Option<Tensors> = None;
        for order in ORDERS {
            let got = emulation.run(program, bound, &inputs, &stored, DRAW, order, 1);
            let got = match got {
                Ok(got) => got,
                Err(e) => {
                    wrong.push(format!("{order:?}: {e}\n{}", case.body));
                    break;
                }
            };
            let found = difference(&got, &want, case.tolerance);
            let bits = |t: &Tensors| t.iter().map(|(n, t)| (n.clone(), t.to_bytes())).collect::<Vec<_>>();
            let before = first.get_or_insert_with(|| got.clone());
            if let Some(found) = found {
                wrong.push(format!("{order:?}: {found}\n{}", case.body));
                break;
            }
            if bits(before) != bits(&got) {
                wrong.push(format!("{order:?}: the order of threads changes bits\n{}", case.body));
                break;
            }
        }
    }
    eprintln!("{} plans, {} functions", cases.len(), programs.iter().map(|p| p.functions.len()).sum::<usize>());
    assert!(wrong.is_empty(), "{} of {} plans are wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn a_race_a_lost_thread_and_a_wrong_index_are_found() {
    use uad_kernels::cuda::{Arg, Function, Launch, Named, Step};
    let case =
        Case::new("output %y f32[64] kernels { map [64] \"m\" { at { r0 = 1.0; yield r0 } write %y[i0] } }", 0.0);
    let bound = bound(&case);
    let with = |body: &str| {
        let text =
            format!("extern \"C\" __global__ void __launch_bounds__(64)\n{}(float* y0) {body}\n", Function::NAME);
        let mut program = Program::emit(&bound, Precision::F32).unwrap();
        let args = vec![Arg::Buffer(uad_plan::BufferId(0))];
        let function = Function { text, block: 64, shared: 0 };
        program.functions = vec![Named { name: "f".into(), function, scopes: vec![], params: vec![] }];
        program.kernels = vec![Step::Launch(Launch { function: 0, grid: 1, args, kernel: 0 })];
        program
    };
    let race = with("{ __shared__ float s[64]; s[threadIdx.x] = threadIdx.x; y0[threadIdx.x] = s[63 - threadIdx.x]; }");
    let right = with(
        "{ __shared__ float s[64]; s[threadIdx.x] = threadIdx.x; __syncthreads(); y0[threadIdx.x] = s[63 - threadIdx.x]; }",
    );
    let lost = with("{ if (threadIdx.x > 40) return; __syncthreads(); y0[threadIdx.x] = 1; }");
    let apart = with("{ if (threadIdx.x > 40)\n __syncthreads();\n else\n __syncthreads();\n y0[threadIdx.x] = 1; }");
    let beyond = with("{ y0[threadIdx.x + 64] = 1; }");
    let outside = with("{ __shared__ float s[63]; s[threadIdx.x] = 1; y0[threadIdx.x] = s[0]; }");
    let emulation = Emulation::new(cxx(), &[&race, &right, &lost, &apart, &beyond, &outside]).unwrap();
    let none = Tensors::new();
    let run = |p: &Program, order| emulation.run(p, &bound, &none, &none, DRAW, order, 1);
    let all = |p: &Program| ORDERS.map(|o| run(p, o).unwrap()["y"].to_bytes());
    let [a, b, c] = all(&race);
    assert!(a != b && b != c);
    let [a, b, c] = all(&right);
    assert!(a == b && b == c);
    assert!(run(&lost, ORDERS[0]).unwrap_err().contains("have left while"));
    assert!(run(&apart, ORDERS[0]).unwrap_err().contains("threads wait at lines"));
    assert!(run(&beyond, ORDERS[0]).unwrap_err().contains("outside of its memory"));
    assert!(run(&outside, ORDERS[0]).unwrap_err().contains("index 63 is outside of its array"));
}

/// Plans whose text is kept, by what stands in them.
const KEPT: [&str; 8] =
    ["\"pad2\"", "[13, 49] inner 1", "\"cut\"", "\"conv\"", "\"mix\"", "\"add\"", "5000] rising", "\"outer\""];

#[test]
fn the_text_is_the_one_that_was_looked_at() {
    let cases = cases();
    let mut text = String::new();
    for part in KEPT {
        let case = cases.iter().find(|c| c.body.contains(part)).unwrap_or_else(|| panic!("no plan has {part}"));
        let program = Program::emit(&bound(case), Precision::F32).unwrap();
        program.functions.iter().for_each(|f| text.push_str(&format!("{}\n", f.text())));
    }
    let path = uad_tests::root().join("tests/cases/cuda_text.cu");
    if std::env::var_os("UADC_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = want.lines().zip(text.lines()).position(|(a, b)| a != b).unwrap_or(want.lines().count());
    let (old, new) = (want.lines().nth(differs), text.lines().nth(differs));
    assert!(want == text, "line {} was {old:?} and is {new:?}; UADC_BLESS=1 takes the new text", differs + 1);
}
