//! Plans from any text: what parses prints and parses back; what is verified binds to small dims, or is refused.
//!
//! In: bytes. Out: nothing. Invariants: nothing is run. Imports: the plan.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let Ok(plan) = uad_plan::parse(source) else { return };
    let printed = plan.to_string();
    let again = uad_plan::parse(&printed).map(|p| p.to_string());
    assert_eq!(again.as_ref(), Ok(&printed));
    let Ok(plan) = uad_plan::verify(plan) else { return };
    for entry in &plan.entries {
        for size in [1, 3] {
            let dims = entry.dims.iter().map(|d| (d.clone(), size)).collect();
            let _ = uad_plan::bind(&plan, &entry.name, &dims);
        }
    }
});
