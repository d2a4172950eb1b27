//! `uadc` at work on a small detector: check, fmt, emit, new, build, run, verify.
//!
//! In: a spec of two layers and generated pictures, in a folder of its own. Out: nothing. Invariants: results on standard output,
//! words on standard error; the same seed gives the same bytes. Imports: the plan's text form, bundles.

mod uadc;

use serde_json::Value;
use uad_runtime::bundle::Bundle;
use uadc::{Scratch, TWO_LAYERS};

/// A picture, 20 by 24, written without a library: BMP of 24 bits.
fn picture(scratch: &Scratch, name: &str, shade: u8) {
    let pixels = 20 * 24 * 3;
    let mut bytes = b"BM".to_vec();
    for word in [54 + pixels, 0, 54, 40, 20, 24, 1 | 24 << 16, 0, pixels, 0, 0, 0, 0u32] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend((0..pixels).map(|i| (i as u8).wrapping_mul(7).wrapping_add(shade)));
    std::fs::create_dir_all(scratch.path(name).parent().unwrap()).unwrap();
    std::fs::write(scratch.path(name), bytes).unwrap();
}

fn tiny(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    scratch.file("tiny.uad", TWO_LAYERS);
    scratch
}

#[test]
fn check_says_what_it_found() {
    let s = tiny("check");
    s.file("wrong.uad", &TWO_LAYERS.replace("axis: 1)", "axis: 7)"));
    let good = s.uadc(&["check", "tiny.uad"]);
    assert_eq!((good.code, good.out.as_str(), good.err.as_str()), (0, "", ""));
    let paths = s.uadc(&["check", "tiny.uad", "--paths"]);
    assert!(paths.code == 0 && paths.out.contains("first.w") && paths.out.contains("4 tensors"), "{paths:?}");
    let both = s.uadc(&["check", "wrong.uad", "tiny.uad", "--paths"]);
    assert!(both.code == 1 && both.out.contains("first.w") && both.err.contains("error[E0209]"), "{both:?}");
    let json = s.uadc(&["check", "wrong.uad", "tiny.uad", "--json", "--paths"]);
    assert_eq!((json.code, json.err.as_str()), (1, ""));
    let json = json.json();
    assert_eq!(json["ok"], false);
    assert_eq!(json["specs"][0]["diagnostics"][0]["code"], "E0209");
    assert_eq!(json["specs"][0]["diagnostics"][0]["labels"][0]["line"], 9);
    assert_eq!(json["specs"][1]["ok"], true);
    assert_eq!(json["specs"][1]["stored"][0]["path"], "first.w");
    let none = s.uadc(&["check", "none.uad"]);
    assert!(none.code == 1 && none.err.contains("none.uad"), "{none:?}");
}

#[test]
fn fmt_has_one_layout() {
    let s = Scratch::new("fmt");
    let untidy = "detector d{let a=1\n\n\n score{sample=a}}\n";
    s.file("a.uad", untidy).file("broken.uad", "detector {{{\n");
    let check = s.uadc(&["fmt", "--check", "a.uad"]);
    assert_eq!((check.code, check.out.as_str()), (1, "a.uad\n"));
    assert_eq!(std::fs::read_to_string(s.path("a.uad")).unwrap(), untidy);
    assert_eq!(s.uadc(&["fmt", "broken.uad", "a.uad"]).code, 1);
    assert_eq!(std::fs::read_to_string(s.path("broken.uad")).unwrap(), "detector {{{\n");
    let once = std::fs::read_to_string(s.path("a.uad")).unwrap();
    assert_ne!(once, untidy);
    assert_eq!(s.uadc(&["fmt", "a.uad"]).code, 0);
    assert_eq!(std::fs::read_to_string(s.path("a.uad")).unwrap(), once);
    assert_eq!(s.uadc(&["fmt", "--check", "a.uad"]).code, 0);
    assert_eq!(s.shell("printf 'detector d{let a=1\n\n\n score{sample=a}}\n' | $UADC fmt -").out, once);
}

#[test]
fn every_form_is_emitted() {
    let s = tiny("emit");
    for form in ["ast", "typed", "graph", "plan", "clif", "dot", "svg"] {
        let run = s.uadc(&["emit", "tiny.uad", "--form", form]);
        assert!(run.code == 0 && run.out.len() > 100 && run.err.is_empty(), "{form}: {run:?}");
        match form {
            "plan" => {
                let plan = uad_plan::parse(&run.out).unwrap();
                assert_eq!(plan.to_string(), run.out);
            }
            "svg" => assert!(run.out.starts_with("<svg") && run.out.trim_end().ends_with("</svg>")),
            "dot" => assert!(run.out.starts_with("digraph")),
            _ => {}
        }
    }
    let unknown = s.uadc(&["emit", "tiny.uad", "--entry", "scor"]);
    assert!(unknown.code == 1 && unknown.err.contains("score"), "{unknown:?}");
}

#[test]
fn new_writes_what_checks() {
    let s = Scratch::new("new");
    assert_eq!(s.uadc(&["new", "mine"]).code, 0);
    let check = s.uadc(&["check", "mine.uad"]);
    assert_eq!((check.code, check.err.as_str()), (0, ""));
    assert!(s.uadc(&["new", "mine"]).err.contains("exists already"));
    assert!(s.uadc(&["new", "Mine"]).err.contains("not a name"));
    assert!(s.uadc(&["new", "other", "--from", "uniadd"]).err.contains("did you mean `uniad`?"));
}

#[test]
fn new_draws_data() {
    let s = Scratch::new("new-data");
    let draw = |folder: &str| s.uadc(&["new", "--data", folder, "--size", "32", "--train", "2", "--test", "2"]);
    assert!(draw("drawn").err.contains("16 pictures of 2 classes"));
    for file in ["cloth/train/good/001.png", "stone/test/shift/000.png", "stone/ground_truth/shift/000_mask.png"] {
        assert!(s.path("drawn").join(file).is_file(), "{file}");
    }
    let again = draw("drawn");
    assert_eq!(again.code, 1);
    assert!(again.err.contains("exists already"));
    assert_eq!(s.uadc(&["new"]).code, 2);
    assert_eq!(s.uadc(&["new", "mine", "--data", "x"]).code, 2);
}

#[test]
fn a_detector_scores_pictures() {
    let s = tiny("run");
    for out in ["a.uadx", "b.uadx"] {
        let run = s.uadc(&["build", "tiny.uad", "--set", "width=3", "--seed", "7", "-o", out]);
        assert_eq!(run.code, 0, "{run:?}");
    }
    let bytes = |name: &str| std::fs::read(s.path(name)).unwrap();
    assert_eq!(bytes("a.uadx"), bytes("b.uadx"));
    assert_eq!(s.uadc(&["verify", "a.uadx"]).code, 0);
    picture(&s, "in/one.bmp", 0);
    picture(&s, "in/two.bmp", 90);
    s.file("in/broken.png", "not a picture");
    let run = s.uadc(&["run", "a.uadx", "in", "--json", "--out", "maps"]);
    assert_eq!(run.code, 1, "{run:?}");
    let lines: Vec<Value> = run.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{run:?}");
    let scored: Vec<&Value> = lines.iter().filter(|l| l["error"].is_null()).collect();
    assert!(scored.len() == 2 && scored.iter().all(|l| l["pred_score"].is_number()), "{run:?}");
    assert!(run.err.contains("broken.png"));
    let written = std::fs::read_dir(s.path("maps")).unwrap().count();
    assert_eq!(written, 3, "two maps and scores.jsonl");
    let one = s.uadc(&["run", "a.uadx", "in/one.bmp", "in/two.bmp", "--json", "--threads", "1"]);
    let two = s.uadc(&["run", "a.uadx", "in/one.bmp", "in/two.bmp", "--json", "--threads", "2", "--batch", "2"]);
    assert_eq!((one.code, &one.out), (0, &two.out));
    let exe = s.uadc(&["build", "tiny.uad", "--set", "width=3", "--seed", "7", "--exe", "tiny"]);
    assert_eq!(exe.code, 0, "{exe:?}");
    assert_eq!(s.shell("./tiny in/one.bmp in/two.bmp --json").out, one.out);
}

/// A student that is built as its teacher is learns from how it is drawn: weights that come from a file, or along, are the teacher's.
#[test]
fn weights_are_for_what_is_frozen() {
    let s = Scratch::new("student");
    let spec = "use encoders.surface_net\nuse specs.stfpm.stfpm\ndetector pair = stfpm { teacher: surface_net(taps: [1]), student: surface_net(taps: [1]), size: 32 }\n";
    s.file("pair.uad", spec);
    let shipped = uadc::root().join("stdlib/weights/surface_net.uadx").display().to_string();
    let mut all = Vec::new();
    for (name, more) in
        [("a", vec!["--seed", "1"]), ("b", vec!["--seed", "2"]), ("c", vec!["--seed", "1", "--weights", &shipped])]
    {
        let to = s.path(&format!("{name}.uadx"));
        let at = to.display().to_string();
        let built = s.uadc(&[&["build", "pair.uad", "-o", &at][..], &more].concat());
        assert_eq!(built.code, 0, "{built:?}");
        all.push(Bundle::open(&to).unwrap().all_stored());
    }
    let first = |n: usize, of: &str| all[n].get(&format!("{of}.first.conv.w")).unwrap();
    assert!(first(0, "student") != first(0, "teacher"));
    assert!(first(0, "teacher") == first(1, "teacher") && first(0, "student") != first(1, "student"));
    assert!(all[0] == all[2], "the weights that come along, named");
}
