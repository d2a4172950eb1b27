//! Every method at its tiny size, and variants that mix their parts: drawn pictures are learned from, scored and measured.
//!
//! In: `specs/tiny.uad`, `tests/cases/variants`, drawn data. Out: nothing. Invariants: every detector of the two files is trained for
//! a few steps by the built binary; no detector of `specs/tiny.uad` is without a run. Imports: nothing of this project.

mod uadc;

use std::path::PathBuf;
use std::sync::OnceLock;

use uadc::{Scratch, root, uadc};

/// Pictures of two classes, drawn once.
fn data() -> &'static PathBuf {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    DATA.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("uadc-tiny-data-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let to = folder.display().to_string();
        let made = uadc(&["new", "--data", &to, "--classes", "2", "--size", "64", "--train", "12", "--test", "2"]);
        assert_eq!(made.code, 0, "{made:?}");
        folder
    })
}

/// Detectors of a spec that begin with a name.
fn detectors(spec: &str, begin: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(spec)).unwrap();
    let named = text.lines().filter_map(|l| l.strip_prefix("detector ")?.split(' ').next());
    named.filter(|n| n.starts_with(begin)).map(str::to_owned).collect()
}

/// Trains, evaluates and scores.
fn learn(spec: &str, detector: &str) {
    let scratch = Scratch::new(detector);
    let (data, bundle) = (data().display().to_string(), scratch.path("t.uadx").display().to_string());
    let spec = root().join(spec).display().to_string();
    let trained = uadc(&[
        "train",
        &spec,
        "--detector",
        detector,
        "--data",
        &data,
        "--validation",
        "0.3",
        "--epochs",
        "1",
        "-o",
        &bundle,
    ]);
    assert_eq!(trained.code, 0, "{detector}: {trained:?}");
    let figures = scratch.path("f.json").display().to_string();
    let judged = uadc(&["eval", &bundle, "--data", &data, "--json", &figures]);
    assert_eq!(judged.code, 0, "{detector}: {judged:?}");
    let told: serde_json::Value = serde_json::from_slice(&std::fs::read(&figures).unwrap()).unwrap();
    let text = told.to_string();
    assert!(text.contains("auroc") && !text.contains("NaN"), "{detector}: {text}");
    let one = first(&std::path::Path::new(&data).join("checks/test/good"))
        .or_else(|| std::fs::read_dir(&data).unwrap().find_map(|c| first(&c.unwrap().path().join("test/good"))))
        .unwrap();
    let mut words = vec!["run", &bundle, &one, "--json"];
    if detector.contains("onenip") {
        words.extend(["--peer", &one]);
    }
    let ran = uadc(&words);
    assert_eq!(ran.code, 0, "{detector}: {ran:?}");
    assert!(ran.json()["pred_score"].is_number(), "{detector}: {ran:?}");
}

fn first(folder: &std::path::Path) -> Option<String> {
    let mut files: Vec<_> = std::fs::read_dir(folder).ok()?.map(|e| e.unwrap().path()).collect();
    files.sort();
    files.first().map(|p| p.display().to_string())
}

macro_rules! methods {
    ($($name:ident)*) => {
        $(#[test] fn $name() { learn("specs/tiny.uad", stringify!($name)); })*

        #[test]
        fn every_tiny_detector_is_trained() {
            let known: Vec<&str> = vec![$(stringify!($name)),*];
            let all = detectors("specs/tiny.uad", "tiny_");
            let missing: Vec<&String> = all.iter().filter(|d| !known.contains(&d.as_str())).collect();
            assert!(missing.is_empty() && all.len() == known.len(), "without a test: {missing:?}");
        }
    };
}

methods! {
    tiny_uniad tiny_pradot tiny_hetnet tiny_onenip tiny_pbas tiny_ascent tiny_glass tiny_fader tiny_padim tiny_patchcore
    tiny_stfpm tiny_rd4ad tiny_simplenet tiny_draem tiny_efficientad tiny_dinomaly
    tiny_refined tiny_whitened
}

#[test]
fn variants_learn() {
    let spec = "tests/cases/variants/right.uad";
    let all = detectors(spec, "");
    assert!(all.len() > 10);
    for detector in all {
        learn(spec, &detector);
    }
}

/// HetNet draws its noise from the features of all normal pictures; its score does not look at them.
#[test]
fn states_of_learning_alone_leave_with_it() {
    let scratch = Scratch::new("bank");
    let (data, bundle) = (data().display().to_string(), scratch.path("t.uadx").display().to_string());
    let spec = root().join("specs/tiny.uad").display().to_string();
    let of = |detector: &str, state: &str| {
        let made = uadc(&["train", &spec, "--detector", detector, "--data", &data, "--epochs", "1", "-o", &bundle]);
        assert_eq!(made.code, 0, "{made:?}");
        let bytes = std::fs::read(&bundle).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        String::from_utf8_lossy(&bytes[8..8 + header]).contains(&format!("{state}\":{{\"dtype"))
    };
    assert!(!of("tiny_hetnet", "bank.0"));
    assert!(of("tiny_patchcore", "bank"));
}

/// The detector looks at a normal picture of the class beside each: the bundle has one per class, or the user names one.
#[test]
fn second_pictures() {
    let scratch = Scratch::new("peers");
    let (data, bundle) = (data().display().to_string(), scratch.path("t.uadx").display().to_string());
    let spec = root().join("specs/tiny.uad").display().to_string();
    let train = |to: &str, seed: &str| {
        uadc(&["train", &spec, "--detector", "tiny_onenip", "--data", &data, "--epochs", "1", "--seed", seed, "-o", to])
    };
    assert_eq!(train(&bundle, "1").code, 0);
    // Of two classes nobody says which a lone picture is.
    let one = std::fs::read_dir(&data).unwrap().find_map(|c| first(&c.unwrap().path().join("test/good"))).unwrap();
    let lone = uadc(&["run", &bundle, &one]);
    assert!(lone.code == 1 && lone.err.contains("--peer FILE"), "{lone:?}");
    let with = uadc(&["run", &bundle, &one, "--peer", &one, "--json"]);
    let again = uadc(&["run", &bundle, &one, "--peer", &one, "--json"]);
    assert_eq!((with.code, &with.out), (0, &again.out), "{with:?}");
    // The same seed draws the same peers.
    let other = scratch.path("u.uadx").display().to_string();
    assert_eq!(train(&other, "1").code, 0);
    let score = |b: &str| uadc(&["run", b, &one, "--peer", &one, "--json"]).json()["pred_score"].clone();
    assert_eq!(score(&bundle), score(&other));
    // A detector without a second input has no use for one.
    let padim = scratch.path("p.uadx").display().to_string();
    let made = uadc(&["train", &spec, "--detector", "tiny_padim", "--data", &data, "-o", &padim]);
    assert_eq!(made.code, 0, "{made:?}");
    let refused = uadc(&["run", &padim, &one, "--peer", &one]);
    assert!(refused.code == 1 && refused.err.contains("takes no second image"), "{refused:?}");
}
