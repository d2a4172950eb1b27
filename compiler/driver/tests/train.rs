//! `uadc train` with the built binary: learning, stopping, killing, resuming, bad data, full disks.
//!
//! In: a small detector with a rule, a loss and a memory, pictures that are written. Out: nothing. Invariants: however often a run is
//! killed, its bundle has the bytes of the run that was never disturbed, times aside.
//! Imports: bundles.

mod uadc;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use uad_runtime::bundle::Bundle;
use uadc::Scratch;
use uadc::learning::{SPEC, TRAIN, learned, log, same, tiny, train};

#[test]
fn all_stages_run_and_the_result_scores() {
    let s = tiny("train-all");
    let ran = train(&s, &["-o", "a.uadx"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    for told in ["measure", "train", "remember", "wrote a.uadx", "kept"] {
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
    let bundle = Bundle::open(&s.path("a.uadx")).unwrap();
    assert!(bundle.card.stages.iter().all(|s| s.done), "{:?}", bundle.card.stages);
    let training = &bundle.card.training[0];
    assert_eq!(training.stages.iter().map(|t| t.stage.as_str()).collect::<Vec<_>>(), ["measure", "train", "remember"]);
    assert!(training.stages[1].loss.unwrap() < 0.5 && training.stages[1].kept.is_some());
    let stored = bundle.all_stored();
    assert!(!stored.keys().any(|n| n.starts_with("train.")), "{:?}", stored.keys());
    // 22 pictures, of which a quarter or so is held out.
    let seen = stored["seen"].as_f32().unwrap()[0];
    assert!(seen == training.stages[0].samples as f32 && (10.0..22.0).contains(&seen), "{seen}");
    let epochs: Vec<_> =
        log(&s, "a.train").into_iter().filter(|l| l["stage"] == "train" && l["epoch"].is_u64()).collect();
    assert_eq!(epochs.len(), 6);
    assert!(!s.path("a.train/checkpoint").exists());
    let ran = s.uadc(&["run", "a.uadx", "data/test", "--json"]);
    assert!(ran.code == 0 && ran.out.lines().count() == 2 && !ran.err.contains("warning"), "{ran:?}");
    // Nothing is left to do.
    let again = s.uadc(&["train", "a.uadx", "--data", "data"]);
    assert!(again.code == 1 && again.err.contains("no stage that has not run"), "{again:?}");
}

#[test]
fn threads_and_bundles_change_no_bit() {
    let s = tiny("train-threads");
    for (threads, to) in [("1", "one.uadx"), ("2", "two.uadx")] {
        let ran = train(&s, &["-o", to, "--threads", threads]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    same(&s, "one.uadx", "two.uadx");
    // What `build` wrote is trained to the same.
    assert_eq!(s.uadc(&["build", "tiny.uad", "-o", "three.uadx"]).code, 0);
    let ran = s.uadc(&["train", "three.uadx", "--data", "data", "--validation", "0.25"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    same(&s, "one.uadx", "three.uadx");
    let other = train(&s, &["-o", "other.uadx", "--seed", "1"]);
    assert_eq!(other.code, 0);
    assert_ne!(learned(&s, "one.uadx").0, learned(&s, "other.uadx").0);
}

fn start(s: &Scratch, to: &str, resume: bool) -> Child {
    let mut c = Command::new(env!("CARGO_BIN_EXE_uadc"));
    c.args(TRAIN).args(["-o", to, "--checkpoint", "0", "--epochs", "40"]).current_dir(s.path("."));
    if resume {
        c.arg("--resume");
    }
    c.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills a run `times` times, at moments that a small generator picks, and lets it end: the same bytes as undisturbed.
fn killed(name: &str, times: u32) {
    let s = tiny(name);
    let began = Instant::now();
    let calm = train(&s, &["-o", "calm.uadx", "--checkpoint", "0", "--epochs", "40"]);
    assert_eq!(calm.code, 0, "{calm:?}");
    let whole = began.elapsed();
    let (mut draw, mut kills, mut round) = (0x9e37_79b9_u64 ^ u64::from(times), 0, 0);
    let mut late = 0;
    while kills < times {
        let to = format!("killed-{round}.uadx");
        round += 1;
        let mut resume = false;
        loop {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let wait = whole.mul_f64((draw >> 40) as f64 / f64::from(1 << 24) * 0.8);
            let mut child = start(&s, &to, resume);
            let begin = Instant::now();
            let mut ended = None;
            while begin.elapsed() < wait && ended.is_none() && kills < times {
                std::thread::sleep(Duration::from_millis(1));
                ended = child.try_wait().unwrap();
            }
            if kills < times && ended.is_none() {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                late += u32::from(s.path(&to.replace("uadx", "train/checkpoint")).exists());
                resume = true;
                continue;
            }
            let status = match ended {
                Some(status) => status,
                None => child.wait().unwrap(),
            };
            assert!(status.success(), "{status}");
            break;
        }
        same(&s, "calm.uadx", &to);
        assert_eq!(log(&s, "calm.train"), log(&s, &to.replace("uadx", "train")));
    }
    assert!(late > 0, "no kill came after the first checkpoint");
}

#[test]
fn killed_and_resumed_five_times() {
    killed("train-killed", 5);
}

#[test]
#[ignore = "takes minutes; run with --ignored"]
fn killed_and_resumed_sixty_times() {
    killed("train-killed-long", 60);
}

#[test]
#[cfg(unix)]
fn a_signal_stops_cleanly() {
    let s = tiny("train-signal");
    let calm = train(&s, &["-o", "calm.uadx", "--epochs", "40"]);
    assert_eq!(calm.code, 0, "{calm:?}");
    let line = format!(
        "$UADC {} -o a.uadx --epochs 4000 & p=$!; for i in $(seq 400); do \
         grep -q '\"stage\":\"train\"' a.train/log.jsonl 2>/dev/null && break; sleep 0.05; done; kill -INT $p; wait $p",
        TRAIN.join(" ")
    );
    let ran = s.shell(&line);
    assert!(ran.code == 1 && ran.err.contains("--resume") && !s.path("a.uadx").exists(), "{ran:?}");
    // Another command is another run.
    let other = train(&s, &["-o", "a.uadx", "--epochs", "40", "--resume"]);
    assert!(other.code == 1 && other.err.contains("the stage `train`"), "{other:?}");
    let not_asked = train(&s, &["-o", "a.uadx", "--epochs", "40"]);
    assert!(not_asked.code == 1 && not_asked.err.contains("--restart"), "{not_asked:?}");
    let again = train(&s, &["-o", "a.uadx", "--epochs", "40", "--restart"]);
    assert_eq!(again.code, 0, "{again:?}");
    same(&s, "calm.uadx", "a.uadx");
}

#[test]
#[cfg(unix)]
fn a_full_disk_loses_nothing() {
    let s = tiny("train-full");
    let calm = train(&s, &["-o", "calm.uadx"]);
    assert_eq!(calm.code, 0, "{calm:?}");
    // In KiB, what a file may have: with 3 features do not fit, with 4 checkpoints of the stage that trains and the bundle.
    for (most, told) in [(3, "features are not kept"), (4, "the checkpoint before it stays")] {
        let to = format!("full-{most}.uadx");
        let line = format!("trap '' XFSZ; ulimit -f {most}; $UADC {} -o {to} --checkpoint 0", TRAIN.join(" "));
        let room = s.shell(&line);
        assert!(room.code == 1 && room.err.contains("cannot write the bundle") && room.err.contains(told), "{room:?}");
        assert!(!s.path(&to).exists() && s.path(&format!("full-{most}.train/checkpoint")).exists());
        let resumed = train(&s, &["-o", &to, "--resume"]);
        assert_eq!(resumed.code, 0, "{resumed:?}");
        same(&s, "calm.uadx", &to);
    }
    let all = std::fs::read_dir(s.path(".")).unwrap().map(|e| e.unwrap().file_name());
    assert_eq!(all.filter(|n| n.to_string_lossy().ends_with(".part")).count(), 0);
    // Nothing fits: said before anything is learned.
    let none = s.shell(&format!("trap '' XFSZ; ulimit -f 0; $UADC {} -o b.uadx", TRAIN.join(" ")));
    assert!(none.code == 1 && none.err.contains("cannot write b.train/checkpoint"), "{none:?}");
}

#[test]
fn bad_data_is_named() {
    let s = tiny("train-bad");
    s.file("data/train/good/half.png", "\u{89}PNG but not really").file("empty/readme.txt", "nothing");
    let broken = train(&s, &["-o", "a.uadx"]);
    assert!(broken.code == 1 && broken.err.contains("half.png") && broken.err.contains("1 of 23 images"), "{broken:?}");
    assert!(!s.path("a.uadx").exists() && !s.path("a.train/checkpoint").exists());
    let left_out = train(&s, &["-o", "a.uadx", "--skip-broken", "--epochs", "1"]);
    assert!(left_out.code == 0 && left_out.err.contains("left out: data/train/good/half.png"), "{left_out:?}");
    let case = |args: &[&str], why: &str| {
        let ran = s.uadc(args);
        assert!(ran.code == 1 && ran.err.contains(why), "{why}: {ran:?}");
    };
    case(&["train", "tiny.uad", "--data", "empty"], "train/good");
    case(&["train", "tiny.uad", "--data", "none"], "none");
    case(&["train", "tiny.uad", "--data", "tiny.uad"], "no column `path`");
    case(&["train", "tiny.uad", "--data", "data", "--validation", "0", "--skip-broken"], "the split `validation`");
    s.file("list.csv", "path,split\ndata/train/good/00.bmp,train\ngone.png,train\n");
    case(&["train", "tiny.uad", "--data", "list.csv"], "gone.png");
}

#[test]
fn numbers_that_are_none_have_a_place() {
    let s = tiny("train-nan");
    let spec = SPEC.replace(
        "mean(square(recon - shifted))\n",
        "mean(square(recon - shifted)) + mean(log(0.09 - mean(square(recon))))\n",
    );
    s.file("tiny.uad", &spec.replace("1e-2", "3e-1"));
    let ran = train(&s, &["-o", "a.uadx", "--epochs", "200"]);
    assert!(ran.code == 1 && ran.err.contains("stage `train`, step"), "{ran:?}");
    assert!(ran.err.contains("a value that is no number is made in tiny, first seen in `loss`"), "{ran:?}");
    assert!(!s.path("a.uadx").exists());
}

#[test]
fn a_variant_goes_on_from_a_bundle() {
    let s = tiny("train-on");
    assert_eq!(train(&s, &["-o", "a.uadx"]).code, 0);
    let more = SPEC.replace(
        "  score {\n",
        "  state most: f32\n  stage judge { most <- max(all(far)) }\n\n  score {\n    part = max(far, axis: [1, 2]) / most\n",
    );
    s.file("more.uad", &more);
    let words = ["train", "more.uad", "--weights", "a.uadx", "--data", "data", "--validation", "0.25", "-o", "b.uadx"];
    let ran = s.uadc(&words);
    assert!(ran.code == 0 && ran.err.contains("stage judge") && !ran.err.contains("stage train"), "{ran:?}");
    let [a, b] = ["a.uadx", "b.uadx"].map(|f| Bundle::open(&s.path(f)).unwrap().all_stored());
    assert!(a.iter().all(|(path, value)| b[path] == *value) && b["most"].as_f32().unwrap()[0] > 0.0);
    // What does not fit is named.
    let refused = |change: (&str, &str), why: &str| {
        s.file("other.uad", &SPEC.replace(change.0, change.1));
        let ran = s.uadc(&["build", "other.uad", "--weights", "a.uadx", "-o", "c.uadx"]);
        assert!(ran.code == 1 && ran.err.contains(why) && !s.path("c.uadx").exists(), "{why}: {ran:?}");
    };
    refused(("conv(6)", "conv(7)"), "`first.w` is f32[7, 3, 3, 3] here, and f32[6, 3, 3, 3] in the bundle");
    refused(("as last", "as end"), "the bundle has no `end.w`");
}
