//! Files that `torch.save` wrote, as `tests/oracles/checkpoints.py` makes them.
//!
//! In: the files of `torch/`. Out: nothing. Invariants: dtypes, strides and shared storages are read as PyTorch reads
//! them; what stands around the weights is left out. Imports: the runtime.

use std::path::Path;

use uad_plan::tensor::Tensor;
use uad_runtime::tensors::TensorFile;

fn open(name: &str) -> TensorFile {
    TensorFile::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torch").join(name)).unwrap()
}

fn f32(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::f32(shape, values.to_vec()).unwrap()
}

#[test]
fn every_kind_of_tensor() {
    for name in ["kinds.pth", "legacy.pth"] {
        let file = open(name);
        let is = |tensor: &str, want: Tensor| assert_eq!(file.get(tensor).unwrap(), want, "{name}: {tensor}");
        is("f32", f32(&[2, 3], &[0., 1., 2., 3., 4., 5.]));
        is("f64", f32(&[6], &[0., 0.5, 1., 1.5, 2., 2.5]));
        is("f16", f32(&[6], &[0., 0.25, 0.5, 0.75, 1., 1.25]));
        is("bf16", f32(&[6], &[0., 0.125, 0.25, 0.375, 0.5, 0.625]));
        is("i64", Tensor::i32(&[], vec![-7]).unwrap());
        is("truth", Tensor::bool(&[2], vec![1, 0]).unwrap());
        is("turned", f32(&[3, 2], &[0., 3., 1., 4., 2., 5.]));
        is("tail", f32(&[2], &[4., 5.]));
        is("every_other", f32(&[3], &[0., 2., 4.]));
        is("learned", f32(&[3, 2], &[0., 1., 2., 3., 4., 5.]));
    }
}

#[test]
fn weights_among_other_things() {
    for name in ["state_dict.pth", "model_state_dict.pth", "model.pth", "module.pth"] {
        let file = open(name);
        assert_eq!(file.shapes().keys().collect::<Vec<_>>(), ["a.w", "b.w"], "{name}");
        assert_eq!(file.get("b.w").unwrap(), f32(&[2], &[0., 1.]), "{name}");
    }
}

#[test]
fn names_that_begin_like_a_key_stay_whole() {
    let file = open("named_model.pth");
    assert_eq!(file.shapes().keys().collect::<Vec<_>>(), ["head.w", "model.a.w", "model.b.w"]);
    assert_eq!(file.get("model.b.w").unwrap(), f32(&[2], &[0., 1.]));
}
