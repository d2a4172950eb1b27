//! `uadc train`, `eval`, `run` on signals: a detector learns drawn heart beats and finds those that are not.
//!
//! In: records drawn here, as WFDB, tables and arrays, with masks; `specs/mmae_ecg.uad`; the oracle's tensors. Out: nothing. Invariants: the same seed gives the
//! same bundle; a broken record is named and the others are scored. It runs the binary.

mod uadc;

use serde_json::Value;
use uad_plan::tensor::Tensor;
use uad_runtime::data::signal::steps::{Step, prepare};
use uad_runtime::data::signal::{array, read};
use uad_runtime::tensors::{self, TensorFile};
use uadc::Scratch;

const SPEC: &str = "\
use specs.mmae_ecg.mmae_ecg

detector beats = mmae_ecg {
  leads: 2,  recorded: 288,  length: 280,  segment: 14,  local: 4,  starts: 4,  d: 32,  heads: 2,  layers: 2,
  train.epochs: 60,  train.batch: 8
}
";

const LENGTH: usize = 320;

/// Two leads of beats at 500 samples per second, and where they are not what they should be.
fn record(n: usize, bad: bool) -> ([Vec<f64>; 2], Vec<f32>) {
    // A counter-based draw in [0, 1).
    let draw = |k: usize| ((n * 977 + k * 131 + 7) as f64 * 0.618_033_988_749).fract();
    let beat = 80.0;
    let start = draw(0) * 6.0;
    let at = 100.0 + draw(1) * 100.0;
    let inside = |i: f64| bad && (at..at + 40.0).contains(&i);
    let lead = |gain: f64| {
        let one = |i: usize| {
            let i = i as f64;
            let phase = ((i + start) % beat) / beat;
            let bump = |centre: f64, width: f64| (-((phase - centre) / width).powi(2)).exp();
            let beat = bump(0.4, 0.04) - 0.25 * bump(0.5, 0.05) + 0.3 * bump(0.75, 0.1);
            gain * if inside(i) { 0.5 * (i * 0.12).sin() } else { beat }
        };
        (0..LENGTH).map(one).collect::<Vec<f64>>()
    };
    let mask = (0..LENGTH).map(|i| f32::from(u8::from(inside(i as f64)))).collect();
    ([lead(1.0), lead(0.6)], mask)
}

fn write(s: &Scratch, name: &str, leads: &[Vec<f64>; 2]) {
    let digital = |v: f64| (v * 1000.0).round() as i16;
    let rows = (0..LENGTH).flat_map(|i| [digital(leads[0][i]), digital(leads[1][i])]);
    let stem = name.rsplit('/').next().unwrap();
    let sum = |k: usize| leads[k].iter().fold(0i64, |a, v| a + i64::from(digital(*v))) as i16;
    let line = |k: usize| format!("{stem}.dat 16 1000(0)/mV 16 0 {} {} 0 lead {k}\n", digital(leads[k][0]), sum(k));
    s.file(&format!("{name}.hea"), &format!("{stem} 2 500 {LENGTH}\n{}{}", line(0), line(1)));
    std::fs::write(s.path(&format!("{name}.dat")), rows.flat_map(i16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
}

fn scratch(name: &str) -> Scratch {
    let s = Scratch::new(name);
    s.file("beats.uad", SPEC);
    for n in 0..16 {
        write(&s, &format!("d/train/good/{n}"), &record(n, false).0);
    }
    for n in 16..24 {
        write(&s, &format!("d/test/good/{n}"), &record(n, false).0);
        let (leads, mask) = record(n + 100, true);
        write(&s, &format!("d/test/other/{n}"), &leads);
        let text: String = mask.iter().map(|v| format!("{v}\n")).collect();
        s.file(&format!("d/ground_truth/other/{n}_mask.csv"), &text);
    }
    s
}

fn figures(s: &Scratch, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(s.path(name)).unwrap()).unwrap()
}

#[test]
fn beats_are_learned_and_others_found() {
    let s = scratch("beats");
    for out in ["a.uadx", "b.uadx"] {
        let ran = s.uadc(&["train", "beats.uad", "--data", "d", "-o", out, "--seed", "3"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.err.contains("16 signals"), "{ran:?}");
    }
    let digest = |out: &str| s.uadc(&["inspect", out, "--json"]).json()["digest"].clone();
    let weights = |out: &str| {
        let ran = s.uadc(&["inspect", out]);
        ran.out
            .lines()
            .filter(|l| l.contains("loss"))
            .map(|l| l.rsplit(',').skip(1).collect::<String>())
            .collect::<Vec<_>>()
    };
    assert_eq!(weights("a.uadx"), weights("b.uadx"));
    assert!(digest("a.uadx").is_string());
    let ran = s.uadc(&["eval", "a.uadx", "--data", "d", "--json", "a.json", "--report", "a.html", "--maps", "maps"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("signal") && ran.out.contains("point"), "{ran:?}");
    let told = figures(&s, "a.json");
    let of = |part: &str, what: &str| told["classes"][0][part][what].as_f64().unwrap_or(0.0);
    assert!(of("image", "auroc") > 0.9, "{}", told["classes"][0]);
    assert!(of("pixel", "auroc") > 0.8, "{}", told["classes"][0]);
    let page = std::fs::read_to_string(s.path("a.html")).unwrap();
    assert!(page.contains("data:image/svg+xml") && page.contains("signal AUROC"));
    assert!(s.path("maps/test_other_16.svg").is_file() && s.path("maps/test_other_16_scores.npy").is_file());
    let ran = s.uadc(&["eval", "b.uadx", "--data", "d", "--json", "b.json", "--threads", "1", "--batch", "3"]);
    assert_eq!((ran.code, figures(&s, "b.json")["classes"].clone()), (0, told["classes"].clone()));

    // Tables and arrays of the same numbers have the same scores; a cut record is named, and the others are scored.
    let (leads, _) = record(116, true);
    let rounded = |v: f64| (v * 1000.0).round() / 1000.0;
    let rows = (0..LENGTH).map(|i| format!("{},{},{}\n", i as f64 / 500.0, rounded(leads[0][i]), rounded(leads[1][i])));
    s.file("r.csv", &format!("time,a (mV),b (mV)\n{}", rows.collect::<String>()));
    let values: Vec<f32> = leads.iter().flatten().map(|v| rounded(*v) as f32).collect();
    std::fs::write(s.path("r.npy"), uad_runtime::data::signal::array::bytes_of(&[1, 2, LENGTH], &values)).unwrap();
    write(&s, "r", &leads);
    write(&s, "cut", &leads);
    std::fs::write(s.path("cut.dat"), [0; 100]).unwrap();
    let ran = s.uadc(&["run", "a.uadx", "r.hea", "cut.hea", "r.csv", "r.npy#0", "r.dat", "--json", "--out", "out"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("cut.hea: its file `cut.dat` is cut off: 320 samples of 2 channels"), "{ran:?}");
    let lines: Vec<Value> = ran.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let scores: Vec<f64> = lines.iter().filter_map(|l| l["pred_score"].as_f64()).collect();
    assert_eq!((lines.len(), scores.len()), (5, 4), "{ran:?}");
    assert!(scores.iter().all(|v| (v - scores[0]).abs() < 1e-4 * scores[0]), "{scores:?}");
    let table = std::fs::read_to_string(s.path("out/r_scores.csv")).unwrap();
    assert_eq!(table.lines().count(), 288 + 1);
    assert!(table.starts_with("time (s),score lead 0,score lead 1\n0,"), "{}", &table[..60]);
}

/// A detector around another: its stages by the names they have there, what it computes on its way, groups by the paths inside.
#[test]
fn what_is_missed_is_measured() {
    let s = scratch("whitened");
    let base = "leads: 2,  recorded: 288,  length: 280,  segment: 14,  local: 4,  d: 32,  heads: 2,  layers: 2,";
    let rest = "inner.train.epochs: 30,  inner.train.batch: 8";
    s.file(
        "w.uad",
        &format!("use specs.whitened.whitened_ecg\n\ndetector w = whitened_ecg {{\n  {base}\n  {rest}\n}}\n"),
    );
    let ran = s.uadc(&["train", "w.uad", "--data", "d", "-o", "w.uadx"]);
    assert!(ran.code == 0 && ran.err.contains("stage inner.train (1 of 3)"), "{ran:?}");
    let ran = s.uadc(&["eval", "w.uadx", "--data", "d", "--json", "w.json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = figures(&s, "w.json");
    assert!(told["classes"][0]["image"]["auroc"].as_f64().unwrap() > 0.9, "{}", told["classes"][0]);
}

#[test]
fn records_that_do_not_fit_are_named() {
    let s = scratch("unfit");
    let (leads, _) = record(1, false);
    write(&s, "d/train/good/odd", &leads);
    s.file("d/train/good/odd.hea", "odd 2 100 50\nodd.dat 16 1000/mV\nodd.dat 16 1000/mV\n");
    let ran = s.uadc(&["train", "beats.uad", "--data", "d", "--epochs", "1"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("odd.hea: has 250 samples; `crop` takes 288"), "{ran:?}");
    assert!(ran.err.contains("1 of 17 signals cannot be read"), "{ran:?}");
    let ran = s.uadc(&["train", "beats.uad", "--data", "d", "--epochs", "1", "--skip-broken"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    // The loader ends where the graph begins.
    s.file(
        "late.uad",
        "use data.{signal, crop, z_score}\ndetector d {\n  input x: f32[b, 2, 300] from signal |> z_score |> crop(300)\n  score { map = x }\n}\n",
    );
    let ran = s.uadc(&["check", "late.uad"]);
    assert!(
        ran.code == 1 && ran.err.contains("E0410") && ran.err.contains("`crop` is a step of the loader"),
        "{ran:?}"
    );
}

#[test]
fn both_scales_equal_the_oracle() {
    let case = "tests/cases/mmae_ecg/two_scales";
    for device in ["cpu", "reference"] {
        let names = format!("{case}.toml");
        let line = ["compare", "specs/mmae_ecg.uad", case, "--names", &names, "--detector", "mmae_ecg"];
        let ran = uadc::uadc(&[&line[..], &["--set", "recorded=40", "--device", device, "--json"]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.json()["tensors"].as_array().unwrap().len(), 63, "{}", ran.out);
    }
}

#[test]
#[cfg_attr(not(all(golden, data)), ignore = "needs ../shared/golden and ../shared/data")]
fn segments_and_targets_equal_golden() {
    let (golden, data) = (uadc::shared("golden/ecg"), uadc::shared("data/ecg/ludb/data"));
    let s = Scratch::new("golden");
    let spec = uadc::root().join("specs/mmae_ecg.uad");
    let ran = s.uadc(&["build", spec.to_str().unwrap(), "--detector", "mmae_ecg", "--set", "layers=1", "-o", "m.uadx"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let steps = Step::new("band_pass", &[1.0, 25.0, 2.0]).unwrap();
    for record in ["1", "58", "101"] {
        let signal = read(&data.join(format!("{record}.hea"))).unwrap();
        let (shape, values) = prepare(&signal, &steps).unwrap();
        let input = Tensor::f32(&[1, shape[0], shape[1]], values).unwrap();
        tensors::write(&s.path("in.safetensors"), &[("record".to_owned(), input)].into_iter().collect()).unwrap();
        let line =
            ["run", "m.uadx", "--tensors", "in.safetensors", "-o", "out.safetensors", "--trace", "segments,target"];
        let ran = s.uadc(&line);
        assert_eq!(ran.code, 0, "{ran:?}");
        let ours = TensorFile::open(&s.path("out.safetensors")).unwrap();
        let theirs = TensorFile::open(&golden.join(format!("ludb_{record}/outputs.safetensors"))).unwrap();
        for (name, ours_name) in
            [("segments_first8", "segments"), ("target_first8", "target"), ("target_all", "target")]
        {
            let Ok(wanted) = theirs.get(name) else { continue };
            let (made, wanted) = (ours.get(ours_name).unwrap(), wanted);
            let worst = made.iter().zip(wanted.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-3 && wanted.iter().count() >= 8 * 300, "{record} {name}: {worst}");
        }
    }
}

#[test]
fn functions_after_the_loader_are_part_of_the_graph() {
    let s = Scratch::new("graph");
    // One of ours, for each sample; one of the library, for all at once.
    s.file(
        "own.uad",
        "use data.{signal, crop, z_score}\n\nfn turned(x: f32[k, q]) -> f32[k, q] { x * 2 - max(x) }\n\ndetector own {\n  \
         input x: f32[b, 2, 300] from signal |> crop(300, start: 20) |> turned |> z_score\n  score { map = x }\n}\n",
    );
    assert_eq!(s.uadc(&["build", "own.uad", "-o", "own.uadx"]).code, 0);
    for n in 0..3 {
        write(&s, &format!("r{n}"), &record(n, false).0);
    }
    let ran = s.uadc(&["run", "own.uadx", "r0.hea", "r1.hea", "r2.hea", "--out", "out", "--batch", "3"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for n in 0..3 {
        let (shape, made) = array::read(&s.path(&format!("out/r{n}_scores.npy"))).unwrap();
        assert_eq!(shape, [2, 300]);
        for (lead, made) in record(n, false).0.iter().zip(made.chunks_exact(300)) {
            let x = &lead[20..320];
            let mean = x.iter().sum::<f64>() / 300.0;
            let deviation = (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 300.0).sqrt();
            let worst = x.iter().zip(made).map(|(v, m)| ((v - mean) / deviation - m).abs()).fold(0.0, f64::max);
            assert!(worst < 5e-3, "{worst}");
        }
    }
}
