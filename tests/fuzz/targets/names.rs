//! Names files from any text: they parse or are refused, and their rules apply to tensors or are refused.
//!
//! In: bytes. Out: nothing. Invariants: none of its own. Imports: the compiler's names files.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use uad_compiler::names::{Names, cover};
use uad_plan::DType;
use uad_plan::tensor::Tensor;

fuzz_target!(|text: &str| {
    let Ok(names) = Names::parse(text) else { return };
    let foreign: BTreeMap<String, Vec<usize>> =
        [("conv1.weight", vec![2, 3]), ("b", vec![4]), ("layers.1.w", vec![6, 2])]
            .into_iter()
            .map(|(n, s)| (n.to_owned(), s))
            .collect();
    let params = |n: &str| (n.len() == 1).then_some(i64::MAX);
    let read = |name: &str| {
        let shape = foreign.get(name).ok_or("none")?;
        Tensor::zeros(DType::F32, shape).map_err(|e| e.to_string())
    };
    for path in ["a.w", "b", "encode.0.w", "first.conv.w"] {
        let ours = [(path.to_owned(), DType::F32, vec![2, 3])];
        // Foreign tensors without a use are errors too: each is offered alone.
        for (name, shape) in &foreign {
            let one = BTreeMap::from([(name.clone(), shape.clone())]);
            for a in cover::assign(&names, &ours, &one, &params).unwrap_or_default() {
                let _ = a.value(&params, &read);
            }
        }
    }
    let t = Tensor::zeros(DType::I32, &[6, 2]).unwrap();
    for view in
        names.inputs.iter().filter_map(|i| i.view.as_ref()).chain(names.outputs.iter().filter_map(|o| o.view.as_ref()))
    {
        let _ = view.apply(&t, &[2, 3, 2]);
        if let Some(shape) = view.shape(&[6, 2]) {
            let _ = view.apply(&t, &shape);
        }
    }
});
