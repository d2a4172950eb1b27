//! `uadc` as a user meets it: the built binary is run, and exit codes, streams and files are looked at.
//!
//! In: arguments, specs in a temporary folder. Out: nothing. Invariants: exit codes are 0 done, 1 wrong input, 2 wrong usage;
//! standard output holds results only. Imports: nothing of this project; it runs the binary.

mod uadc;

use uadc::{Scratch, root, uadc};

#[test]
fn wrong_usage_is_2() {
    for args in
        [vec![], vec!["frobnicate"], vec!["check"], vec!["explain", "E0203", "E0204"], vec!["build", "--set", "x"]]
    {
        let run = uadc(&args);
        assert_eq!(run.code, 2, "{args:?}: {run:?}");
        assert!(run.out.is_empty() && run.err.contains("--help") | run.err.contains("Usage"), "{run:?}");
    }
}

#[test]
fn help_and_version_are_results() {
    let help = uadc(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for command in [
        "check",
        "fmt",
        "build",
        "emit",
        "run",
        "calibrate",
        "eval",
        "inspect",
        "compare",
        "bench",
        "explain",
        "doctor",
    ] {
        assert!(help.out.contains(command), "{command} is not in the help");
        assert_eq!(uadc(&[command, "--help"]).code, 0);
    }
    assert!(uadc(&["--version"]).out.starts_with("uadc "));
}

#[test]
#[cfg_attr(gpu, ignore = "this machine has a GPU")]
fn a_gpu_that_is_missing_has_a_name() {
    let spec = root().join("specs/first.uad").display().to_string();
    let asked = uadc(&["bench", &spec, "--device", "cuda"]);
    assert_eq!((asked.code, asked.out.as_str()), (1, ""), "{asked:?}");
    assert!(asked.err.contains("no NVIDIA driver") && asked.err.contains("--device auto"), "{asked:?}");
    let auto = uadc(&["bench", &spec, "--device", "auto", "--iters", "1"]);
    assert_eq!(auto.code, 0, "{auto:?}");
    assert!(auto.err.contains("runs on the processor: this machine has no NVIDIA driver"), "{auto:?}");
    let doctor = uadc(&["doctor"]);
    assert!(doctor.out.contains("GPU") && doctor.out.contains("code cache"), "{doctor:?}");
}

#[test]
fn architectures_are_checked() {
    for (arch, says) in [("80", "written sm_80"), ("sm_70", "oldest")] {
        let run = uadc(&["build", "x.uad", "--target", "cuda", "--arch", arch]);
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.err.contains(says), "{run:?}");
    }
}

#[test]
fn cuda_text_is_emitted_for_every_entry() {
    let spec = root().join("specs/uniad.uad").display().to_string();
    let score = uadc(&["emit", &spec, "--form", "cuda"]);
    assert_eq!(score.code, 0, "{}", score.err);
    for part in ["extern \"C\" __global__", "attention_", "// encode.0.attend", "__syncthreads()"] {
        assert!(score.out.contains(part), "{part}");
    }
    let table = uadc(&["emit", &spec, "--form", "launches"]);
    assert!(table.out.starts_with("uniad, entry score, b = 1") && table.out.contains("attention_"), "{table:?}");
}

#[test]
fn explain_knows_every_code_it_lists() {
    let list = uadc(&["explain"]);
    let codes: Vec<&str> = list.out.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert!(codes.len() > 20 && codes.contains(&"E0203"));
    for code in codes {
        let page = uadc(&["explain", code]);
        assert_eq!(page.code, 0);
        assert!(page.out.starts_with(code), "{}", page.out);
    }
    let unknown = uadc(&["explain", "E0230"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("did you mean"), "{}", unknown.err);
}

#[test]
fn doctor_reports_in_both_forms() {
    let text = uadc(&["doctor"]);
    assert_eq!(text.code, 0);
    assert!(text.out.contains("kernels use"));
    let run = uadc(&["doctor", "--json"]);
    let json = run.json();
    assert!(json["cpu"]["threads"].as_u64().is_some_and(|n| n > 0));
    assert!(json["cpu"]["isas"].as_array().is_some_and(|a| a.contains(&json["cpu"]["isa"])));
}

#[test]
fn colour_only_when_asked() {
    assert!(!uadc(&["explain", "E0203"]).out.contains('\x1b'));
    assert!(uadc(&["--color", "always", "explain", "E0203"]).out.contains('\x1b'));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let run = Scratch::new("pipe").shell("$UADC explain | head -1; echo ${PIPESTATUS[0]}");
    assert!(run.out.ends_with("\n0\n"), "{run:?}");
    assert_eq!(run.err, "");
}
