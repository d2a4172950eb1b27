//! Training with the whole step on a device: the kernels of a GPU, run on the host by the emulation of one, through the real loop.
//!
//! In: a small detector with a rule, a loss and a memory; methods of `specs/tiny.uad` on drawn pictures. Out: nothing. Invariants: the
//! device learns what the processor learns, as far as f32 rounds; on one kind of device, bits depend neither on how often a run
//! was killed nor on what ran before. Imports: bundles, tensors.

mod uadc;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use uad_plan::tensor::Tensor;
use uad_runtime::bundle::Bundle;
use uadc::learning::{SPEC, TRAIN, log, same, tiny, train};
use uadc::{Scratch, root};

/// All weights and states of a bundle.
fn stored(s: &Scratch, name: &str) -> BTreeMap<String, Tensor> {
    Bundle::open(&s.path(name)).unwrap_or_else(|e| panic!("{e}")).all_stored()
}

/// Biases of SimpleNet before norms that take them away again: their gradients are rounding and no more, of which Adam makes steps of
/// full length.
const TAKEN_AWAY: [&str; 2] = ["adapt.b", "judge.inner.b"];

/// The largest distance between two bundles' values, as a part of the larger of the tensor's largest value and `least`.
fn apart(s: &Scratch, a: &str, b: &str, least: f64) -> (f64, String) {
    let (a, b) = (stored(s, a), stored(s, b));
    assert!(!a.is_empty() && a.keys().eq(b.keys()), "{:?}\n{:?}", a.keys(), b.keys());
    let mut worst = (0.0, String::new());
    for (path, x) in a.iter().filter(|(path, _)| !TAKEN_AWAY.contains(&path.as_str())) {
        let y = &b[path];
        assert_eq!((x.dtype(), x.shape()), (y.dtype(), y.shape()), "{path}");
        let largest = x.iter().map(f64::abs).fold(least, f64::max);
        for (p, q) in x.iter().zip(y.iter()) {
            let d = if p == q { 0.0 } else { (p - q).abs() / largest };
            assert!(!d.is_nan(), "{path}: {p} and {q}");
            if d > worst.0 {
                worst = (d, format!("{path}: {p} and {q}"));
            }
        }
    }
    worst
}

const EMULATED: [&str; 2] = ["--device", "emulation"];

fn emulated<'a>(more: &[&'a str]) -> Vec<&'a str> {
    EMULATED.iter().chain(more).copied().collect()
}

/// Rules, draws, clipping, an optimiser with moments, validation, a memory of all samples.
#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn every_stage_learns_what_the_processor_learns() {
    let s = tiny("device-all");
    let ran = train(&s, &["-o", "cpu.uadx"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = train(&s, &emulated(&["-o", "device.uadx"]));
    assert_eq!(ran.code, 0, "{ran:?}");
    let (distance, place) = apart(&s, "cpu.uadx", "device.uadx", 1e-3);
    eprintln!("farthest after 24 steps: {distance:.1e}, {place}");
    assert!(distance < 1e-4, "{distance:.1e}: {place}");
    assert!(distance > 0.0, "the same bits as the processor: was it the processor?");
    // What was learned there scores there, and here.
    let score = |device: &str| {
        let ran = s.uadc(&["run", "device.uadx", "data/test/bent", "--json", "--device", device]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()["pred_score"].as_f64().unwrap()
    };
    let (here, there) = (score("cpu"), score("emulation"));
    assert!((here - there).abs() < 1e-4 * here.abs().max(1e-2), "{here} {there}");
}

#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn killed_and_resumed() {
    let s = tiny("device-killed");
    let more = ["--checkpoint", "0", "--epochs", "8"];
    for to in ["calm.uadx", "again.uadx"] {
        let ran = train(&s, &emulated(&[&more[..], &["-o", to]].concat()));
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    same(&s, "calm.uadx", "again.uadx");
    let lines = || std::fs::read_to_string(s.path("killed.train/log.jsonl")).map_or(0, |t| t.lines().count());
    let mut kills = 0;
    // After the first rule, within the stage with a loss twice, in the last stage or at its end.
    for reached in [1, 3, 6, 10] {
        let mut c = Command::new(env!("CARGO_BIN_EXE_uadc"));
        c.args(TRAIN).args(EMULATED).args(more).args(["-o", "killed.uadx"]).current_dir(s.path("."));
        if kills > 0 {
            c.arg("--resume");
        }
        let mut child = c.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while lines() < reached && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills >= 2, "{kills}");
    // Another device is another run.
    let cpu = train(&s, &[&more[..], &["-o", "killed.uadx", "--resume"]].concat());
    assert!(cpu.code == 1 && cpu.err.contains("the device"), "{cpu:?}");
    let ended = train(&s, &emulated(&[&more[..], &["-o", "killed.uadx", "--resume"]].concat()));
    assert_eq!(ended.code, 0, "{ended:?}");
    same(&s, "calm.uadx", "killed.uadx");
    assert_eq!(log(&s, "calm.train"), log(&s, "killed.train"));
}

#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn numbers_that_are_none_have_a_place() {
    let s = tiny("device-nan");
    let spec = SPEC.replace(
        "mean(square(recon - shifted))\n",
        "mean(square(recon - shifted)) + mean(log(0.09 - mean(square(recon))))\n",
    );
    s.file("tiny.uad", &spec.replace("1e-2", "3e-1"));
    let told = |more: &[&str]| {
        let ran = train(&s, more);
        assert_eq!(ran.code, 1, "{ran:?}");
        ran.err.lines().find(|l| l.contains("a value that is no number")).unwrap_or_default().to_owned()
    };
    let place = told(&emulated(&["-o", "device.uadx", "--epochs", "200"]));
    assert!(place.contains("is made in tiny, first seen in `loss`"), "{place}");
    assert_eq!(place, told(&["-o", "cpu.uadx", "--epochs", "200"]));
}

/// Trains a method of `specs/tiny.uad` on the processor and on the device: how far apart they end.
fn method(detector: &str, more: &[&str]) -> (f64, String) {
    let s = Scratch::new(&format!("device-{detector}"));
    let drawn = s.uadc(&["new", "--data", "data", "--classes", "1", "--size", "32", "--train", "6", "--test", "1"]);
    assert_eq!(drawn.code, 0, "{drawn:?}");
    let spec = root().join("specs/tiny.uad").display().to_string();
    for (device, to) in [("cpu", "cpu.uadx"), ("emulation", "device.uadx")] {
        let words = ["train", &spec, "--detector", detector, "--data", "data", "--device", device, "-o", to];
        let ran = s.uadc(&[&words[..], more].concat());
        assert_eq!(ran.code, 0, "{detector} on {device}: {ran:?}");
    }
    let found = apart(&s, "cpu.uadx", "device.uadx", 1e-2);
    eprintln!("{detector}: farthest {:.1e}, {}", found.0, found.1);
    found
}

#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn a_transformer_learns_by_steps() {
    let set = [
        "--set",
        "size=32",
        "--set",
        "window=3",
        "--set",
        "hidden=16",
        "--epochs",
        "1",
        "--batch",
        "3",
        "--validation",
        "0.3",
    ];
    let (distance, place) = method("tiny_uniad", &set);
    assert!(distance < 1e-3, "{distance:.1e}: {place}");
}

#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn statistics_are_made_by_a_rule() {
    let (distance, place) = method("tiny_padim", &["--set", "size=32", "--set", "channels=4"]);
    assert!(distance < 1e-3, "{distance:.1e}: {place}");
}

/// Convolutions with their gradients, norms over batches with moving statistics.
#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn a_student_follows_its_teacher() {
    let (distance, place) = method("tiny_stfpm", &["--set", "size=32", "--epochs", "1", "--batch", "3"]);
    assert!(distance < 1e-3, "{distance:.1e}: {place}");
}

#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn discriminators_learn_from_what_is_drawn() {
    let set = ["--set", "size=32", "--epochs", "1", "--batch", "3"];
    let (distance, place) = method("tiny_simplenet", &set);
    assert!(distance < 1e-3, "{distance:.1e}: {place}");
}
