//! Plans on which executors once differed, cut to the kernel that did.
//!
//! In: `tests/cases/plans/*.uadp`. Out: agreement of the reference and the CPU on every instruction set. Invariants:
//! plans are found, never listed; open dims are 1 and 3; values are those of random graphs. Imports: `uad-plan`,
//! `uad-kernels`.

use std::sync::Arc;

use uad_compiler::graph::random::values;
use uad_kernels::cpu::{Isa, Pool};
use uad_plan::{Binding, Port, Tensor, parse, verify};
use uad_tests::execute::{Given, Tensors, bound, computed, farthest, reference};
use uad_tests::{files, root};

#[test]
fn plans_that_once_differed_agree() {
    let pool = Arc::new(Pool::new(2));
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in files("uadp") {
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        if !name.starts_with("tests/cases/plans/") {
            continue;
        }
        count += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let plan = parse(&text).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let plan = verify(plan).unwrap_or_else(|v| panic!("{name}: {}", v[0]));
        for b in [1, 3] {
            let binding: Binding = plan.entries[0].dims.iter().map(|d| (d.clone(), b)).collect();
            let bound = bound(&plan, &binding).unwrap_or_else(|e| panic!("{name}: {e}"));
            let tensor = |p: &Port| {
                let data = values(1, &p.name, p.dtype, p.shape.iter().product());
                (p.name.clone(), Tensor::from_f64(p.dtype, &p.shape, data).unwrap())
            };
            let all = |ports: &[Port]| -> Tensors { ports.iter().map(tensor).collect() };
            let given = Given { inputs: all(&bound.inputs), stored: all(&bound.stored) };
            let want = reference(&bound, &given).unwrap_or_else(|e| panic!("{name}: {e}"));
            for isa in Isa::all() {
                let got = computed(&bound, &given, isa, &pool).unwrap_or_else(|e| panic!("{name}: {e}"));
                let (distance, place) = farthest(&want, &got);
                if distance > 1e-5 {
                    wrong.push(format!("{name} on {}: {place}", isa.name()));
                }
            }
        }
    }
    assert!(count > 0, "the plans are not where they were");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
