//! Code for GPUs from the command line: beside a bundle, in an executable, and what is said of it where there is no GPU.
//!
//! In: a spec of two layers, built for two architectures; files that are altered, cut or of another detector. Out: nothing.
//! Invariants: what is refused is refused by name, before a device is looked for. Imports: nothing of this project; it runs
//! the binary.

mod uadc;

use uadc::{Ran, Scratch, TWO_LAYERS};

/// Two layers wide enough for tiles.
fn spec() -> String {
    let wide = [
        ("side: int = 16", "side: int = 32"),
        ("width: int = 4", "width: int = 16"),
        ("ends: int = 2", "ends: int = 16"),
    ];
    wide.iter().fold(TWO_LAYERS.to_owned(), |text, (from, to)| text.replace(from, to))
}

const TARGET: [&str; 6] = ["--target", "cuda", "--arch", "sm_80,sm_90", "--batch", "1,2"];

fn build(s: &Scratch, more: &[&str]) -> Ran {
    s.file("tiny.uad", &spec());
    s.uadc(&[&["build", "tiny.uad"], &TARGET[..], more].concat())
}

/// What `bench`, which needs no input, says of a bundle on a device.
fn bench(s: &Scratch, bundle: &str, device: &str, more: &[&str]) -> Ran {
    s.uadc(&[&["bench", bundle, "--iters", "1", "--device", device], more].concat())
}

#[test]
#[cfg_attr(not(nvrtc), ignore = "needs NVRTC: pip install nvidia-cuda-nvrtc-cu12")]
fn beside_a_bundle() {
    let s = Scratch::new("gpu-beside");
    let built = build(&s, &["-o", "t.uadx"]);
    assert_eq!(built.code, 0, "{built:?}");
    let told = "sm_80, sm_90; batches of 1, 2; f32";
    assert!(built.err.contains("t.uadx.cuda") && built.err.contains(told), "{built:?}");
    let inspected = s.uadc(&["inspect", "t.uadx"]);
    assert!(inspected.out.contains(&format!("GPU code      {told}")), "{inspected:?}");
    let json = s.uadc(&["inspect", "t.uadx", "--json"]).json();
    assert_eq!((&json["gpu_code"]["detector"], &json["gpu_code"]["batches"][1]), (&"tiny".into(), &2.into()));

    // The same text gives the same code.
    let whole = std::fs::read(s.path("t.uadx.cuda")).unwrap();
    assert_eq!(build(&s, &["-o", "again.uadx"]).code, 0);
    assert_eq!(std::fs::read(s.path("again.uadx.cuda")).unwrap(), whole);

    // Altered and cut in several places, and no code at all.
    for at in [9, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        std::fs::write(s.path("altered.cuda"), altered).unwrap();
        std::fs::write(s.path("cut.cuda"), &whole[..at]).unwrap();
        for file in ["altered.cuda", "cut.cuda"] {
            let ran = bench(&s, "t.uadx", "auto", &["--code", file]);
            assert!(ran.code == 1 && ran.err.contains(file), "{at}: {ran:?}");
            assert!(ran.err.contains("damaged or altered") || ran.err.contains("no code for GPUs"), "{at}: {ran:?}");
        }
    }
    for (file, says) in [("t.uadx", "no code for GPUs"), ("none.cuda", "cannot read none.cuda")] {
        let ran = bench(&s, "t.uadx", "auto", &["--code", file]);
        assert!(ran.code == 1 && ran.err.contains(says), "{ran:?}");
    }

    // Of another detector.
    assert_eq!(build(&s, &["-o", "wide.uadx", "--set", "width=24"]).code, 0);
    let ran = bench(&s, "t.uadx", "auto", &["--code", "wide.uadx.cuda"]);
    assert!(ran.code == 1 && ran.err.contains("wide.uadx.cuda: the code is for another plan"), "{ran:?}");
    std::fs::copy(s.path("wide.uadx.cuda"), s.path("t.uadx.cuda")).unwrap();
    let inspected = s.uadc(&["inspect", "t.uadx"]);
    assert!(
        inspected.code == 0 && inspected.out.contains("GPU code      none: the code is for another"),
        "{inspected:?}"
    );
}

#[test]
#[cfg_attr(not(nvrtc), ignore = "needs NVRTC: pip install nvidia-cuda-nvrtc-cu12")]
#[cfg_attr(gpu, ignore = "this machine has a GPU")]
fn without_a_gpu_its_absence_has_a_name() {
    let s = Scratch::new("gpu-absent");
    assert_eq!(build(&s, &["-o", "t.uadx"]).code, 0);
    let code = ["--code", "t.uadx.cuda"];
    let ran = bench(&s, "t.uadx", "cuda", &code);
    assert!(ran.code == 1 && ran.out.is_empty() && ran.err.contains("no NVIDIA driver"), "{ran:?}");
    let ran = bench(&s, "t.uadx", "auto", &code);
    assert!(ran.code == 0 && ran.err.contains("runs on the processor: this machine has no NVIDIA driver"), "{ran:?}");
    let ran = bench(&s, "t.uadx", "auto", &["--precision", "bf16"]);
    assert!(ran.code == 0 && ran.err.contains("runs on the processor, in f32: "), "{ran:?}");
}

#[test]
#[cfg_attr(not(nvrtc), ignore = "needs NVRTC: pip install nvidia-cuda-nvrtc-cu12")]
fn in_an_executable() {
    let s = Scratch::new("gpu-exe");
    let built = build(&s, &["--exe", "tiny", "--precision", "tf32"]);
    assert_eq!(built.code, 0, "{built:?}");
    assert!(!s.path("tiny.cuda").exists());
    let told = "GPU code      sm_80, sm_90; batches of 1, 2; tf32";
    let inspected = s.shell("./tiny inspect");
    assert!(inspected.out.contains(told), "{inspected:?}");
    let ran = s.shell("./tiny bench --iters 1 --device auto --precision tf32");
    assert_eq!(ran.code, 0, "{ran:?}");
    // The code stands between the bundle and the footer of 24 bytes.
    let mut bytes = std::fs::read(s.path("tiny")).unwrap();
    let at = bytes.len() - 100;
    bytes[at] ^= 1;
    std::fs::write(s.path("altered"), bytes).unwrap();
    let ran = bench(&s, "altered", "auto", &[]);
    assert!(ran.code == 1 && ran.err.contains("altered: damaged or altered"), "{ran:?}");
}

#[test]
fn a_precision_needs_a_gpu() {
    let s = Scratch::new("gpu-precision");
    s.file("tiny.uad", &spec());
    for line in ["bench tiny.uad --precision tf32", "bench tiny.uad --device reference --precision f16"] {
        let ran = s.uadc(&line.split(' ').collect::<Vec<_>>());
        assert!(ran.code == 2 && ran.err.contains("is for GPUs: --device cuda, or auto"), "{ran:?}");
    }
    let ran = s.uadc(&["build", "tiny.uad", "--precision", "tf32"]);
    assert!(ran.code == 2 && ran.err.contains("--target cuda"), "{ran:?}");
    let ran = s.uadc(&["bench", "tiny.uad", "--precision", "fp8"]);
    assert!(ran.code == 2 && ran.err.contains("a precision is f32, tf32, bf16, f16"), "{ran:?}");
}
