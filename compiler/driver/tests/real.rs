//! Real weights on real photographs, from the files on: decoding and resizing included.
//!
//! In: photographs, weights and golden features beside the project. Out: nothing. Invariants: where they are absent the tests are
//! ignored. Imports: the runtime's reading of images; it runs the binary.

mod uadc;

use std::collections::BTreeMap;

use uad_plan::tensor::Tensor;
use uad_runtime::data::{image, pipeline};
use uad_runtime::tensors::{self, TensorFile};
use uadc::{Scratch, shared, uadc};

const WEIGHTS: &str = "data/weights/resnet18_torchvision_folded_layers1-3/weights.safetensors";

#[test]
#[cfg_attr(not(all(golden, data)), ignore = "needs ../shared/golden and ../shared/data")]
fn features_of_photographs_equal_those_of_python() {
    let (images, weights, golden) =
        (shared("data/images/mvtec_bottle"), shared(WEIGHTS), shared("golden/encoder/resnet18_real"));
    let scratch = Scratch::new("real-features");
    let bundle = scratch.path("e.uadx").display().to_string();
    let built = uadc(&[
        "build",
        "specs/encoders.uad",
        "--detector",
        "resnet18_levels",
        "--set",
        "size=128",
        "--weights",
        &weights.display().to_string(),
        "-o",
        &bundle,
    ]);
    assert_eq!(built.code, 0, "{built:?}");

    // The two photographs of the golden case, through our decoder and our resize.
    let plane = 3 * 128 * 128;
    let mut values = vec![0.0; 2 * plane];
    for (name, planes) in ["train/good/000.jpg", "test/broken_large/000.jpg"].iter().zip(values.chunks_mut(plane)) {
        let picture = image::read(&images.join(name)).unwrap();
        pipeline::write_planes(&pipeline::prepare(&picture, &[pipeline::Step::Resize(128, 128)]), planes);
    }
    let input = Tensor::f32(&[2, 3, 128, 128], values).unwrap();
    tensors::write(&scratch.path("in.safetensors"), &BTreeMap::from([("image".to_owned(), input)])).unwrap();
    let ran = scratch.uadc(&["run", &bundle, "--tensors", "in.safetensors", "-o", "out.safetensors"]);
    assert_eq!(ran.code, 0, "{ran:?}");

    let ours = TensorFile::open(&scratch.path("out.safetensors")).unwrap();
    let theirs = TensorFile::open(&golden.join("outputs.safetensors")).unwrap();
    for level in 1..=3 {
        let (a, b) = (ours.get(&format!("level{level}")).unwrap(), theirs.get(&format!("layer{level}")).unwrap());
        assert_eq!(a.shape(), b.shape());
        let largest = b.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let squares: f64 = a.iter().zip(b.iter()).map(|(x, y)| (x - y) * (x - y)).sum();
        let off = (squares / b.len() as f64).sqrt() / largest;
        eprintln!("level {level}: rms difference {off:.1e} of the largest value");
        // Seven pixels in a thousand are decoded one to three steps apart (two JPEG decoders); from equal pixels on the
        // features agree to 5e-6, see the golden cases.
        assert!(off < 1e-3, "level {level}: {off}");
    }
}

#[test]
#[cfg_attr(not(data), ignore = "needs ../shared/data")]
fn uniad_scores_photographs() {
    let (images, weights) = (shared("data/images/mvtec_bottle/test/broken_large"), shared(WEIGHTS));
    let scratch = Scratch::new("real-uniad");
    let bundle = scratch.path("u.uadx").display().to_string();
    let weights = weights.display().to_string();
    let built =
        uadc(&["build", "specs/uniad.uad", "--detector", "uniad_resnet18", "--weights", &weights, "-o", &bundle]);
    assert_eq!(built.code, 0, "{built:?}");
    let photograph = images.join("000.jpg").display().to_string();
    let ran = scratch.uadc(&["run", &bundle, &photograph, "--out", "maps", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("has not run"), "an untrained detector says so: {}", ran.err);
    let score = ran.json()["pred_score"].as_f64().unwrap();
    assert!(score.is_finite() && score > 0.0);
    let map = image::read(&scratch.path("maps/000.png")).unwrap();
    let original = image::read(&images.join("000.jpg")).unwrap();
    assert_eq!(map.dimensions(), original.dimensions());
}
