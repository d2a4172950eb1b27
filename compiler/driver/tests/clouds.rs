//! Point clouds with the built binary: drawing, making anomalies, training, evaluating, running; and files that are broken.
//!
//! In: drawn parts, written here. Out: nothing. Invariants: equal seeds give equal files; what is broken is named. Imports: the runtime's clouds.

mod uadc;

use std::path::Path;

use uad_runtime::data::cloud_file::read;
use uadc::{Scratch, root};

/// A spec of the project.
fn spec(name: &str) -> String {
    root().join(format!("specs/{name}.uad")).display().to_string()
}

/// Parts of 576 points.
fn drawn(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    let args =
        ["new", "--data", "parts", "--of", "clouds", "--classes", "1", "--size", "48", "--train", "4", "--test", "4"];
    let ran = scratch.uadc(&args);
    assert_eq!(ran.code, 0, "{ran:?}");
    scratch
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn a_detector_of_clouds_learns_measures_and_shows() {
    let scratch = drawn("clouds-learn");
    let data = "parts/knob";
    let pnas = spec("pnas3d");
    let steps = ["train", &pnas, "--detector", "pnas3d_tiny", "--set", "train.steps=4", "--data", data, "-o", "p.uadx"];
    let ran = scratch.uadc(&steps);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = scratch.uadc(&["train", &spec("btf"), "--detector", "btf_tiny", "--data", data, "-o", "b.uadx"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for bundle in ["p.uadx", "b.uadx"] {
        let ran = scratch.uadc(&["eval", bundle, "--data", data, "--json", "r.json", "--report", "r.html"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let found: serde_json::Value = serde_json::from_slice(&bytes(&scratch.path("r.json"))).unwrap();
        let class = &found["classes"][0];
        // Points are measured, and have no regions.
        assert!(class["pixel"]["auroc"].as_f64().is_some_and(|v| v > 0.4), "{class}");
        assert!(class["pixel"]["aupro"].is_null(), "{class}");
        if bundle == "b.uadx" {
            assert!(class["pixel"]["auroc"].as_f64().is_some_and(|v| v > 0.7), "{class}");
        }
    }
    let ran = scratch.uadc(&["run", "b.uadx", "parts/knob/test/cut", "--out", "maps", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let cloud = read(&scratch.path("maps/000.ply")).unwrap();
    assert_eq!(cloud.points, read(&scratch.path("parts/knob/test/cut/000.ply")).unwrap().points);
    let head = String::from_utf8_lossy(&bytes(&scratch.path("maps/000.ply"))).into_owned();
    assert!(head.contains("property float score"));
    assert!(bytes(&scratch.path("maps/000.png")).starts_with(b"\x89PNG"));
}

#[test]
fn synthesisers_make_data_sets_that_are_read_again() {
    let scratch = drawn("clouds-synth");
    let pnas = spec("pnas3d");
    let make = |out: &str, seed: &str| {
        let args = [
            "synth",
            &pnas,
            "--detector",
            "pnas3d_tiny",
            "--data",
            "parts",
            "--out",
            out,
            "--count",
            "3",
            "--seed",
            seed,
        ];
        let ran = scratch.uadc(&args);
        assert_eq!(ran.code, 0, "{ran:?}");
    };
    make("a", "1");
    make("b", "1");
    make("c", "2");
    let of = |out: &str| bytes(&scratch.path(&format!("{out}/test/synth/001.ply")));
    assert!(of("a") == of("b") && of("a") != of("c"));
    let cloud = read(&scratch.path("a/test/synth/001.ply")).unwrap();
    let marks = String::from_utf8(bytes(&scratch.path("a/ground_truth/synth/001_mask.txt"))).unwrap();
    let marks: Vec<u8> = marks.lines().map(|l| l.parse().unwrap()).collect();
    assert!(marks.contains(&1) && marks.contains(&0) && cloud.marks == Some(marks));
    let again =
        scratch.uadc(&["synth", &pnas, "--detector", "pnas3d_tiny", "--data", "parts", "--out", "a", "--count", "1"]);
    assert!(again.code == 1 && again.err.contains("exists already"), "{again:?}");
    // Any spec with a synthesiser, whatever its samples are.
    let ran =
        scratch.uadc(&["new", "--data", "cloth", "--classes", "1", "--size", "32", "--train", "2", "--test", "0"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let args = ["synth", &spec("draem"), "--set", "size=32", "--data", "cloth", "--out", "d", "--count", "2"];
    let ran = scratch.uadc(&args);
    assert_eq!(ran.code, 0, "{ran:?}");
    let mask = image::open(scratch.path("d/ground_truth/synth/000_mask.png")).unwrap().into_luma8();
    assert!(mask.pixels().all(|p| p.0[0] == 0 || p.0[0] == 255) && mask.pixels().any(|p| p.0[0] == 255));
    assert_eq!(image::open(scratch.path("d/test/synth/000.png")).unwrap().into_rgb8().dimensions(), (32, 32));
}

#[test]
fn sweeps_are_sheets_and_say_what_can_be_swept() {
    let scratch = drawn("clouds-sweep");
    let pnas = spec("pnas3d");
    let sweep = |more: &[&str]| {
        let args = ["synth", &pnas, "--detector", "pnas3d_tiny", "--data", "parts", "--out", "s"];
        scratch.uadc(&[&args[..], more].concat())
    };
    let ran = sweep(&["--sweep", "height=0.01,0.04", "--sweep", "octaves=1,5"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let sheet = image::open(scratch.path("s/sweep.png")).unwrap();
    assert!(sheet.width() > 480 && sheet.height() > 480);
    let ran = sweep(&["--sweep", "hight=0.01,0.04"]);
    assert!(ran.code == 1 && ran.err.contains("height"), "{ran:?}");
    let ran = scratch.uadc(&["synth", &spec("btf"), "--data", "parts", "--out", "s"]);
    assert!(ran.code == 1 && ran.err.contains("has no synthesiser"), "{ran:?}");
}

#[test]
fn broken_clouds_are_named_and_the_others_are_scored() {
    let scratch = drawn("clouds-broken");
    let btf = spec("btf");
    let ran = scratch.uadc(&["train", &btf, "--detector", "btf_tiny", "--data", "parts/knob", "-o", "b.uadx"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let whole = bytes(&scratch.path("parts/knob/test/good/000.ply"));
    std::fs::write(scratch.path("cut.ply"), &whole[..whole.len() - 5]).unwrap();
    std::fs::write(scratch.path("few.xyz"), "0 0 0\n1 1 1\n").unwrap();
    std::fs::write(scratch.path("none.ply"), "ply\nformat ascii 1.0\nend_header\n").unwrap();
    std::fs::write(scratch.path("empty.pcd"), "").unwrap();
    std::fs::write(
        scratch.path("huge.pcd"),
        "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 4000000000\nHEIGHT 9\nDATA binary\n",
    )
    .unwrap();
    let files = ["cut.ply", "few.xyz", "none.ply", "empty.pcd", "huge.pcd"];
    let ran = scratch.uadc(&[&["run", "b.uadx"][..], &files, &["parts/knob/test/good/000.ply"]].concat());
    assert_eq!(ran.code, 1, "{ran:?}");
    let told = [
        "cut.ply: the header counts 576 of `vertex`, but 6907 bytes follow it",
        "few.xyz: 512 points are wanted of it, 1 are there",
        "none.ply: the header has no element `vertex`",
        "empty.pcd: is empty",
        "huge.pcd: 4000000000 x 9 points",
    ];
    for said in told {
        assert!(ran.err.contains(said), "{said} in {ran:?}");
    }
    assert!(ran.out.contains("000.ply"), "{ran:?}");
}
