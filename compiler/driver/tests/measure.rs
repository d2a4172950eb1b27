//! `uadc calibrate`, `eval`, `inspect` and what they change in `run`, on generated surfaces.
//!
//! In: a spec without weights, a generated data set, in a folder of its own. Out: nothing. Invariants: figures depend on neither threads nor
//! batches; a report loads nothing. Imports: the runtime's reading of images; it runs the binary.

mod uadc;

use serde_json::Value;
use uad_runtime::data::image;
use uadc::Scratch;

/// Scores by distance from a grey: no weights, so that every machine gives the same numbers.
const SPEC: &str = "\
use data.{image, rgb, resize}

detector grey {
  param level: f32 = 0.5
  input image: image[b, 3, 32, 32] from rgb |> resize(32, 32)
  let away = image - level
  let rough = sum(away * away, axis: 1)
  score {
    map    = rough
    sample = max(rough, axis: [1, 2])
  }
}
";

fn scratch(name: &str) -> Scratch {
    let s = Scratch::new(name);
    s.file("grey.uad", SPEC);
    for line in [
        &["build", "grey.uad"][..],
        &["new", "--data", "d", "--classes", "2", "--size", "48", "--train", "12", "--test", "5"],
    ] {
        let ran = s.uadc(line);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    s
}

fn json(s: &Scratch, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(s.path(name)).unwrap()).unwrap()
}

#[test]
fn eval_measures_each_class() {
    let s = scratch("eval");
    let ran = s.uadc(&["eval", "grey.uadx", "--data", "d", "--json", "a.json", "--report", "a.html", "--maps", "maps"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!("eval_table", ran.out);
    let again = s.uadc(&["eval", "grey.uadx", "--data", "d", "--json", "b.json", "--batch", "3", "--threads", "1"]);
    assert_eq!((again.code, &again.out), (0, &ran.out));
    assert_eq!(json(&s, "a.json"), json(&s, "b.json"));
    let told = json(&s, "a.json");
    let samples = told["samples"].as_array().unwrap();
    assert_eq!(told["classes"].as_array().unwrap().len(), 2);
    assert!(samples.iter().all(|v| v["score"].is_number() && v["anomalous"].is_boolean()));
    // AUROC of the first class by counting pairs.
    let class = &told["classes"][0]["class"];
    let of = |anomalous: bool| -> Vec<f64> {
        let own = samples.iter().filter(|v| v["class"] == *class && v["anomalous"] == anomalous);
        own.map(|v| v["score"].as_f64().unwrap()).collect()
    };
    let (cold, hot) = (of(false), of(true));
    let wins =
        hot.iter().flat_map(|a| cold.iter().map(move |b| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 }));
    let auroc = wins.sum::<f64>() / (hot.len() * cold.len()) as f64;
    assert!((told["classes"][0]["image"]["auroc"].as_f64().unwrap() - auroc).abs() < 1e-12);
    let page = std::fs::read_to_string(s.path("a.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("prefers-color-scheme: dark"));
    let links = ["http://www.w3.org/2000/svg"].iter().map(|l| page.matches(l).count()).sum::<usize>();
    assert_eq!(page.matches("http").count(), links, "a report loads nothing");
    assert!(!page.contains("<script") && page.matches("<img").count() == page.matches(" alt=\"").count());
    assert_eq!(std::fs::read_dir(s.path("maps")).unwrap().count(), samples.len());
}

#[test]
fn eval_says_what_it_cannot_measure() {
    let s = scratch("eval-wrong");
    for class in std::fs::read_dir(s.path("d")).unwrap() {
        let test = class.unwrap().path().join("test");
        for kind in
            std::fs::read_dir(&test).into_iter().flatten().map(Result::unwrap).filter(|k| k.file_name() != "good")
        {
            std::fs::remove_dir_all(kind.path()).unwrap();
        }
    }
    let normal = s.uadc(&["eval", "grey.uadx", "--data", "d", "--json", "n.json", "--report", "n.html"]);
    assert_eq!(normal.code, 0, "{normal:?}");
    assert!(normal.out.contains('–') && json(&s, "n.json")["mean"]["image_auroc"].is_null(), "{normal:?}");
    s.file(
        "nan.uad",
        &SPEC.replace("map    = rough", "map    = log(rough - 1)").replace("max(rough", "max(log(rough - 1)"),
    );
    assert_eq!(s.uadc(&["build", "nan.uad", "-o", "nan.uadx"]).code, 0);
    let nan = s.uadc(&["eval", "nan.uadx", "--data", "d"]);
    assert!(nan.code == 1 && nan.err.contains("is not a number (NaN)") && nan.err.contains("d/"), "{nan:?}");
    std::fs::create_dir_all(s.path("only/train/good")).unwrap();
    std::fs::copy(s.path("d/cloth/train/good/000.png"), s.path("only/train/good/a.png")).unwrap();
    let none = s.uadc(&["eval", "grey.uadx", "--data", "only"]);
    assert!(none.code == 1 && none.err.contains("has no test samples"), "{none:?}");
    let few = s.uadc(&["calibrate", "grey.uadx", "--data", "only"]);
    assert!(few.code == 1 && few.err.contains("at least 5 normal samples, not 1"), "{few:?}");
    assert_eq!(s.uadc(&["eval", "grey.uadx", "--data", "d", "--limit", "0"]).code, 2);
}

#[test]
fn calibration_is_kept_shown_and_moved() {
    let s = scratch("calibrate");
    let data = s.path("d/cloth").display().to_string();
    let picture = s.path("d/cloth/test/good/000.png").display().to_string();
    let before = s.uadc(&["run", "grey.uadx", &picture, "--json"]).json();
    assert!(before["pred_label"].is_null() && before["pred_score"].is_number());
    let early = s.uadc(&["run", "grey.uadx", &picture, "--threshold", "1"]);
    assert!(
        early.code == 1 && early.err.contains("no calibration") && early.err.contains("uadc calibrate"),
        "{early:?}"
    );
    let made = s.uadc(&["calibrate", "grey.uadx", "--data", &data, "--false-alarm-rate", "0.2"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.err.contains("learnt from training samples"), "{made:?}");
    let card = s.uadc(&["inspect", "grey.uadx", "--json"]).json();
    let kept = &card["card"]["calibration"]["sample"];
    assert_eq!((kept["scores"].as_u64(), kept["rate"].as_f64()), (Some(12), Some(0.2)));
    let threshold = kept["threshold"].as_f64().unwrap();

    let run = s.uadc(&["run", "grey.uadx", &picture, "--json", "--out", "maps"]).json();
    let (score, label) = (run["score"].as_f64().unwrap(), run["pred_label"].as_bool().unwrap());
    assert_eq!((score, label), (before["pred_score"].as_f64().unwrap(), score > threshold));
    assert_eq!(run["pred_score"].as_f64().unwrap() > 0.5, label);
    let size = image::read(picture.as_ref()).unwrap().dimensions();
    for field in ["anomaly_map", "pred_mask"] {
        assert_eq!(image::read(&s.path(run[field].as_str().unwrap())).unwrap().dimensions(), size);
    }
    for (threshold, judged) in [("-1", true), ("1000", false)] {
        let line = ["run", "grey.uadx", &picture, "--json", "--threshold", threshold];
        assert_eq!(s.uadc(&line).json()["pred_label"], judged);
    }
    let mask = |threshold: &str| {
        let run = s.uadc(&["run", "grey.uadx", &picture, "--json", "--out", "m", "--map-threshold", threshold]);
        let mask = image::read(&s.path(run.json()["pred_mask"].as_str().unwrap())).unwrap();
        mask.pixels().filter(|p| p.0 == [255; 3]).count()
    };
    assert_eq!((mask("-1"), mask("1000")), ((size.0 * size.1) as usize, 0));
    let strict = s.uadc(&["run", "grey.uadx", &picture, "--json", "--false-alarm-rate", "0.001"]).json();
    assert!(strict["threshold"].as_f64().unwrap() > threshold);
    let text = s.uadc(&["run", "grey.uadx", &picture]);
    assert!(text.out.contains(if label { "anomalous" } else { "normal" }), "{text:?}");

    assert_eq!(s.uadc(&["verify", "grey.uadx"]).code, 0);
    let shown = s.uadc(&["inspect", "grey.uadx"]);
    // The digest and size depend on the version of the compiler.
    let lines = shown.out.lines().filter(|l| !l.starts_with("digest") && !l.starts_with("file"));
    insta::assert_snapshot!("inspect_text", lines.collect::<Vec<_>>().join("\n"));
    let eval = s.uadc(&["eval", "grey.uadx", "--data", &data]);
    assert!(eval.out.contains("false alarms"), "{eval:?}");
}
