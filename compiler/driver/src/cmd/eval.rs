//! `uadc eval`: how good a detector is, on labelled samples.
//!
//! In: a bundle, a data set. Out: a table of metrics per class, and if asked for: a report, figures as JSON, heat maps. Invariants: test
//! samples only; a broken file is named and the exit code is 1; samples that nobody labelled are scored and not measured; pixels
//! are compared at the size of the map. Imports: run, scorer, testing; bundles, metrics, reports.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use uad_runtime::bundle::Bundle;
use uad_runtime::data::kind::{Kind, Pipeline};
use uad_runtime::data::set::{Dataset, Options, Split};
use uad_runtime::heatmap::OwnMap;
use uad_runtime::metrics::{Measured, PixelMetrics, mean, samples};
use uad_runtime::report::{self, Case, Class, Report, Why};
use uad_runtime::show;

use super::run::{Boundaries, picture_name};
use crate::args::Eval;
use crate::engine::default_threads;
use crate::failure::{Done, Failure};
use crate::scorer::{Scorer, warn_untrained};
use crate::terminal::{Look, count, err, out};
use crate::testing::{self, Tested};

/// Cases of each kind in a report, per class.
const CASES: usize = 4;

/// Runs it.
pub fn run(args: &Eval) -> Done {
    let bundle = Bundle::open(&args.bundle).map_err(Failure::input)?;
    let warnings: Vec<String> = warn_untrained(&bundle.card).into_iter().collect();
    let boundaries = Boundaries::new(&bundle, &args.judge)?;
    let facts = facts(&bundle, args);
    let detector = bundle.card.detector.clone();
    let calibrated = bundle.card.calibration.as_ref().map(super::calibrate::lines);
    let mut scorer = Scorer::new(bundle, &args.engine, true, args.peer.as_deref())?;
    let pipeline = scorer.pipeline.clone();
    let options = Options { kind: pipeline.kind(), ..Options::default() };
    let set = Arc::new(Dataset::open(&args.data, &options).map_err(Failure::input)?);
    let order = set.of(Split::Test);
    if order.is_empty() {
        return Err(Failure::input(format!("{} has no test samples", set.path.display()))
            .help("test samples are `test/good` and `test/KIND`, or rows with the split `test` in a manifest"));
    }
    for problem in &set.problems {
        err(&format!("{}: {problem}\n", Look::stderr().paint("1;33", "warning")));
    }
    if let Some(folder) = &args.maps {
        std::fs::create_dir_all(folder).map_err(|e| Failure::file("create", folder, e))?;
    }
    let mut classes: Vec<Gathered> = Vec::new();
    let (mut rows, mut taken) = (Vec::new(), BTreeSet::new());
    let mut measured = Vec::new();
    let broken = testing::each(&mut scorer, &set, order, args.batch, "scoring", |t| {
        // Classes come one after another, so that the pixels of one class are in memory at a time.
        if classes.last().is_none_or(|c| c.name != t.sample.class) {
            measured.extend(classes.last_mut().map(|c| c.measure(args)).transpose()?);
            classes.push(Gathered::new(&t.sample.class));
        }
        rows.push(row(&t, &boundaries));
        if let (Some(folder), Some(map)) = (&args.maps, &t.map) {
            draw(folder, &t, map, &boundaries, &mut taken)?;
        }
        match classes.last_mut() {
            Some(class) => class.add(&t, args.report.is_some()),
            None => Ok(()),
        }
    })?;
    measured.extend(classes.last_mut().map(|c| c.measure(args)).transpose()?);
    let notes = notes(args, pipeline.kind(), &classes, calibrated.as_deref(), broken.len());
    let made: Vec<Class> = classes.iter().zip(measured).map(|(c, m)| c.class(m, &boundaries)).collect();
    let data = name_of(&set.path);
    out(&table(&made, pipeline.kind(), Look::stdout()));
    let mut report =
        Report { detector, data, facts, notes, warnings, of: pipeline.kind(), limit: args.limit, classes: made };
    if let Some(path) = &args.json {
        let text = format!("{:#}\n", json_of(&report, &boundaries, &rows));
        uad_runtime::whole::write(path, text.as_bytes()).map_err(|e| Failure::file("write", path, e))?;
        err(&format!("{} {}\n", Look::stderr().bold("figures in"), path.display()));
    }
    if let Some(path) = &args.report {
        for (class, gathered) in report.classes.iter_mut().zip(&mut classes) {
            class.cases = gathered.cases(&set, &pipeline, &boundaries)?;
        }
        let text = report::page(&report).map_err(Failure::Fault)?;
        uad_runtime::whole::write(path, text.as_bytes()).map_err(|e| Failure::file("write", path, e))?;
        err(&format!("{} {}\n", Look::stderr().bold("report in"), path.display()));
    }
    if broken.is_empty() { Ok(()) } else { Err(Failure::Reported) }
}

fn name_of(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    path.file_name().map_or_else(|| "data".to_owned(), |n| n.to_string_lossy().into_owned())
}

fn facts(bundle: &Bundle, args: &Eval) -> Vec<(String, String)> {
    let mut facts = vec![
        ("bundle".to_owned(), name_of(&args.bundle)),
        ("digest".to_owned(), bundle.digest.clone()),
        ("built by".to_owned(), bundle.card.producer.clone()),
        ("measured by".to_owned(), format!("uadc {}", env!("CARGO_PKG_VERSION"))),
    ];
    let params = bundle.card.params.iter().map(|(n, v)| (format!("set {n}"), v.clone()));
    facts.extend(params);
    facts
}

fn notes(args: &Eval, kind: Kind, classes: &[Gathered], calibrated: Option<&[String]>, broken: usize) -> Vec<String> {
    let sum = |f: fn(&Gathered) -> usize| classes.iter().map(f).sum::<usize>();
    let mut notes = vec![
        "AUROC, average precision and the best F1 count equal scores as one step, as scikit-learn does; the mean is that of \
         the classes."
            .to_owned(),
        format!(
            "{}s are compared at the size of the detector's map; masks went through the same resizing and cropping as the \
             {}s, with the nearest {}. AUPRO averages the overlap over 8-connected regions, integrates over all distinct \
             thresholds up to a false positive rate of {} and divides by it.",
            capital(kind.place()),
            kind.noun(),
            kind.place(),
            args.limit
        ),
    ];
    match calibrated {
        Some(lines) => notes.extend(lines.iter().map(|l| format!("Calibration: {l}."))),
        None => notes.push("The bundle has no calibration, so no sample is judged.".to_owned()),
    }
    if args.judge.moves() {
        notes.push("The thresholds were moved for this evaluation.".to_owned());
    }
    for (n, what) in [
        (sum(|c| c.unlabelled), "without a label: scored, not measured"),
        (sum(|c| c.unmasked), "anomalous without a mask: measured as samples, not place by place"),
        (broken, "that could not be read: left out"),
    ] {
        if n > 0 {
            notes.push(format!("{} {what}.", count(n, "sample")));
        }
    }
    notes
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// What is kept of a class while its samples come.
struct Gathered {
    name: String,
    normal: Vec<f32>,
    anomalous: Vec<f32>,
    pixels: PixelMetrics,
    /// Places are beside each other: a cloud's points are not, and have no regions.
    beside: bool,
    range: (f32, f32),
    kept: Vec<Kept>,
    unlabelled: usize,
    unmasked: usize,
}

/// A sample worth looking at.
struct Kept {
    why: Why,
    n: usize,
    score: f32,
    map: Option<OwnMap>,
}

impl Gathered {
    fn new(name: &str) -> Gathered {
        Gathered {
            name: name.to_owned(),
            normal: Vec::new(),
            anomalous: Vec::new(),
            pixels: PixelMetrics::default(),
            beside: true,
            range: (f32::INFINITY, f32::NEG_INFINITY),
            kept: Vec::new(),
            unlabelled: 0,
            unmasked: 0,
        }
    }

    fn add(&mut self, t: &Tested<'_>, keep: bool) -> Done {
        let path = t.sample.path.display();
        let Some(score) = t.scored.score else { return Err(Failure::input("the detector gives no scores")) };
        if score.is_nan() {
            return Err(Failure::input(format!("the score of {path} is not a number (NaN), so it has no rank")));
        }
        if let Some(map) = &t.map {
            let (low, high) = map.map().range();
            self.beside &= t.raw.has_neighbours();
            self.range = (self.range.0.min(low), self.range.1.max(high));
            let nan = |e| Failure::input(format!("the map of {path}: {e}"));
            match &t.mask {
                Some(mask) => self.pixels.add(&map.values, &mask.values, map.width).map_err(nan)?,
                None if t.sample.label == Some(true) => self.unmasked += 1,
                None => {}
            }
        }
        let reasons: &[Why] = match t.sample.label {
            Some(true) => &[Why::Missed, Why::Clear],
            Some(false) => &[Why::Alarming],
            None => &[],
        };
        match t.sample.label {
            Some(true) => self.anomalous.push(score),
            Some(false) => self.normal.push(score),
            None => self.unlabelled += 1,
        }
        for why in reasons.iter().filter(|_| keep) {
            self.keep(Kept { why: *why, n: t.n, score, map: None }, t.map.as_ref());
        }
        Ok(())
    }

    /// Keeps the first few of each kind.
    fn keep(&mut self, mut new: Kept, map: Option<&OwnMap>) {
        let better = |a: &Kept, b: &Kept| if a.why == Why::Missed { a.score < b.score } else { a.score > b.score };
        let same: Vec<usize> = (0..self.kept.len()).filter(|i| self.kept[*i].why == new.why).collect();
        if same.len() == CASES {
            // The worst of those that are kept makes room.
            let worst = same.into_iter().reduce(|a, b| if better(&self.kept[a], &self.kept[b]) { b } else { a });
            match worst.filter(|w| better(&new, &self.kept[*w])) {
                Some(w) => drop(self.kept.remove(w)),
                None => return,
            }
        }
        new.map = map.cloned();
        self.kept.push(new);
    }

    fn measure(&mut self, args: &Eval) -> Done<(Measured, Option<Measured>)> {
        let scores: Vec<f32> = self.normal.iter().chain(&self.anomalous).copied().collect();
        let truths: Vec<bool> = (0..scores.len()).map(|n| n >= self.normal.len()).collect();
        let fault = |e: uad_runtime::metrics::MetricError| Failure::Fault(e.to_string());
        let sample = samples(&scores, &truths).map_err(fault)?;
        let pixels = std::mem::take(&mut self.pixels);
        let threads = args.engine.threads.map_or_else(default_threads, usize::from);
        let pixels = if pixels.pixels() > 0 { Some(pixels.measure(args.limit, threads).map_err(fault)?) } else { None };
        let beside = self.beside;
        let regions =
            |p: Measured| if beside { p } else { Measured { aupro: None, regions: 0, pro: Default::default(), ..p } };
        Ok((sample, pixels.filter(|p| p.anomalous > 0).map(regions)))
    }

    fn class(&self, (samples, pixels): (Measured, Option<Measured>), boundaries: &Boundaries) -> Class {
        Class {
            name: self.name.clone(),
            samples,
            pixels,
            normal: self.normal.clone(),
            anomalous: self.anomalous.clone(),
            boundary: boundaries.sample,
            cases: Vec::new(),
        }
    }

    /// The samples worth looking at, with their pictures.
    fn cases(&mut self, set: &Dataset, pipeline: &Pipeline, boundaries: &Boundaries) -> Done<Vec<Case>> {
        let look = boundaries.look(boundaries.range().unwrap_or(self.range));
        let mut cases = Vec::new();
        for k in std::mem::take(&mut self.kept) {
            let sample = &set.samples[k.n];
            let raw = pipeline.read(&sample.path).map_err(Failure::input)?;
            let mask = sample.mask.as_ref().map(|m| pipeline.truth(&raw, m)).transpose().map_err(Failure::input)?;
            let panels = show::panels(&raw, k.map.as_ref(), mask.as_ref(), &look);
            let (name, kind) = (sample.name.clone(), sample.kind.clone());
            cases.push(Case { why: k.why, name, kind, score: k.score, panels });
        }
        let key = |c: &Case| if c.why == Why::Missed { c.score } else { -c.score };
        cases.sort_by(|a, b| key(a).total_cmp(&key(b)));
        Ok(cases)
    }
}

fn row(t: &Tested<'_>, boundaries: &Boundaries) -> Value {
    let s = t.sample;
    let mut fields =
        json!({ "name": s.name, "class": s.class, "kind": s.kind, "anomalous": s.label, "score": t.scored.score });
    if let (Some(boundary), Some(score), Some(fields)) = (boundaries.sample, t.scored.score, fields.as_object_mut()) {
        fields.insert("pred_score".to_owned(), json!(boundary.normalised(score)));
        fields.insert("pred_label".to_owned(), json!(boundary.anomalous(score)));
    }
    fields
}

fn draw(folder: &Path, t: &Tested<'_>, map: &OwnMap, boundaries: &Boundaries, taken: &mut BTreeSet<String>) -> Done {
    // `test/crack/000.png` becomes `test_crack_000`, with its class where there are several.
    let name = picture_name(Path::new(&t.sample.name.replace('/', "_")), taken);
    let look = boundaries.look(boundaries.range().unwrap_or_else(|| map.map().range()));
    let written = show::write(t.raw, map, &look, |end| folder.join(format!("{name}{end}")));
    written.map(drop).map_err(|(file, e)| Failure::file("write", &file, e))
}

/// Metrics of a class in the order of the table.
fn figures(c: &Class) -> [Option<f64>; 7] {
    let (s, p) = (&c.samples, c.pixels.as_ref());
    let of = |f: fn(&Measured) -> Option<f64>| p.and_then(f);
    [s.auroc, s.ap, s.f1_max, of(|p| p.auroc), of(|p| p.ap), of(|p| p.f1_max), of(|p| p.aupro)]
}

const NAMES: [&str; 7] = ["AUROC", "AP", "F1-max", "AUROC", "AP", "F1-max", "AUPRO"];

fn means(classes: &[Class]) -> [Option<f64>; 7] {
    let all: Vec<[Option<f64>; 7]> = classes.iter().map(figures).collect();
    std::array::from_fn(|n| mean(all.iter().map(|f| f[n])))
}

/// The table for the terminal.
fn table(classes: &[Class], kind: Kind, look: Look) -> String {
    let widest = classes.iter().map(|c| c.name.chars().count()).chain([5]).max().unwrap_or(5).min(32);
    let judged = classes.iter().any(|c| c.judged().is_some());
    let cells = |values: [Option<f64>; 7]| -> String {
        let cell = |v: &Option<f64>| v.map_or_else(|| format!("{:>8}", look.sign("–", "-")), |v| format!("{v:8.4}"));
        let (samples, pixels) = values.split_at(3);
        let part = |p: &[Option<f64>]| p.iter().map(cell).collect::<String>();
        format!("{}  {}", part(samples), part(pixels))
    };
    let head = |names: &[&str]| names.iter().map(|n| format!("{n:>8}")).collect::<String>();
    let mut text = look.dim(&format!("{:widest$}  {:>11}  {:>24}  {:>32}\n", "", "samples", kind.noun(), kind.place()));
    let tail = if judged { "  found, false alarms" } else { "" };
    text += &look.bold(&format!(
        "{:widest$}  {:>5} {:>5}  {}  {}{tail}\n",
        "class",
        "good",
        "bad",
        head(&NAMES[..3]),
        head(&NAMES[3..])
    ));
    for c in classes {
        let verdict = c.judged().map_or_else(String::new, |(alarms, caught)| {
            format!("  {caught} of {}, {alarms} of {}", c.anomalous.len(), c.normal.len())
        });
        let name: String = c.name.chars().take(widest).collect();
        let counts = format!("{:>5} {:>5}", c.normal.len(), c.anomalous.len());
        text += &format!("{name:widest$}  {counts}  {}{verdict}\n", cells(figures(c)));
    }
    if classes.len() > 1 {
        text += &look.bold(&format!("{:widest$}  {:11}  {}\n", "mean", "", cells(means(classes))));
    }
    text
}

fn json_of(report: &Report, boundaries: &Boundaries, rows: &[Value]) -> Value {
    let one = |m: &Measured| {
        json!({ "normal": m.normal, "anomalous": m.anomalous, "auroc": m.auroc, "ap": m.ap, "f1_max": m.f1_max,
                "f1_threshold": m.f1_threshold, "within": m.within })
    };
    let class = |c: &Class| {
        let pixels = c.pixels.as_ref().map(|p| {
            let mut told = one(p);
            if let Some(fields) = told.as_object_mut() {
                fields.insert("aupro".to_owned(), json!(p.aupro));
                fields.insert("regions".to_owned(), json!(p.regions));
            }
            told
        });
        let judged = c.judged().map(
            |(alarms, caught)| json!({ "found": caught, "missed": c.anomalous.len() - caught, "false_alarms": alarms }),
        );
        json!({ "class": c.name, "image": one(&c.samples), "pixel": pixels, "judged": judged })
    };
    let m = means(&report.classes);
    json!({
        "detector": report.detector, "data": report.data, "aupro_limit": report.limit,
        "facts": report.facts.iter().map(|(n, v)| (n.clone(), json!(v))).collect::<serde_json::Map<_, _>>(),
        "notes": report.notes, "warnings": report.warnings,
        "threshold": boundaries.sample.map(|b| b.threshold), "map_threshold": boundaries.map.map(|b| b.threshold),
        "mean": { "image_auroc": m[0], "image_ap": m[1], "image_f1_max": m[2],
                  "pixel_auroc": m[3], "pixel_ap": m[4], "pixel_f1_max": m[5], "aupro": m[6] },
        "classes": report.classes.iter().map(class).collect::<Vec<_>>(), "samples": rows,
    })
}
