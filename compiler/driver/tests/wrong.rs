//! What is said about specs that a newcomer gets wrong: every file of `tests/wrong`, checked by the built binary.
//!
//! In: specs. Out: snapshots of standard error. Invariants: no spec is left out; each is refused or warned about, and one
//! mistake gives one message. Imports: nothing of this project; it runs the binary.

mod uadc;

#[test]
fn messages() {
    let folder = uadc::root().join("compiler/driver/tests/wrong");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.ends_with(".uad"))
        .collect();
    names.sort();
    assert!(names.len() > 90);
    let scratch = uadc::Scratch::new("wrong");
    for name in names {
        scratch.file(&name, &std::fs::read_to_string(folder.join(&name)).unwrap());
        let run = scratch.uadc(&["check", &name]);
        assert!(matches!(run.code, 0 | 1) && !run.err.is_empty() && run.out.is_empty(), "{name}: {run:?}");
        insta::assert_snapshot!(name.trim_end_matches(".uad"), run.err);
    }
}

#[test]
fn wrong_sets() {
    let scratch = uadc::Scratch::new("sets");
    scratch.file("small.uad", include_str!("wrong/unused_names.uad"));
    let mut text = String::new();
    for set in [
        "hiden=3",
        "hidden=3.5",
        "hidden=",
        "hidden=3 +",
        "hidden=\"x\"",
        "train.epoch=3",
        "trian.epochs=3",
        "train.epochs=-3",
        "head.train.epochs=3",
        "inner.head.train.epochs=3",
        "encoder=resnet18(taps: [9])",
        "encoder=resnet34(taps: [9])",
        "train.schedule=cosine(warmp: 0.05)",
    ] {
        let run = scratch.uadc(&["check", "small.uad", "--set", "size=64", "--set", set]);
        text += &format!("--set {set}: exit code {}\n{}\n", run.code, run.err);
    }
    insta::assert_snapshot!(text);
}
