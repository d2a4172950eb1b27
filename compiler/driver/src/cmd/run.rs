//! `uadc run`: scores of samples, or of tensors.
//!
//! In: a bundle; images, signals, folders of them, or a file of tensors. Out: one line (or JSON object) per sample, heat maps, masks, a file of
//! tensors. Invariants: a broken file is named, the others are scored, and the exit code is 1; heat maps of one run share one
//! range of colours; heat maps and masks have the size of the image; with a calibration, `pred_score` is normalised (0.5 is the
//! boundary) and `score` is what the detector gave. Imports: engine, progress, scorer; bundles, calibration, data, what is shown of samples.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uad_runtime::bundle::{Bundle, v1};
use uad_runtime::calibrate::{Boundary, Change};
use uad_runtime::data::kind::{Raw, Value as Sample};
use uad_runtime::data::{ReadError, files};
use uad_runtime::heatmap::OwnMap;
use uad_runtime::show;
use uad_runtime::tensors::{self, TensorFile};

use crate::args::{Judge, Run};
use crate::engine::Engine;
use crate::failure::{Done, Failure};
use crate::progress::Progress;
use crate::scorer::{Scorer, warn_untrained};
use crate::terminal::{Look, count, err, out};

/// Heat maps wait for this many others before the range of colours is fixed.
const WAITING: usize = 256;

/// Runs it.
pub fn run(args: &Run) -> Done {
    let bundle = Bundle::open(&args.bundle).map_err(Failure::input)?;
    warn_untrained(&bundle.card);
    if let (Some(input), Some(output)) = (&args.tensors, &args.output) {
        return run_tensors(args, bundle, input, output);
    }
    if args.inputs.is_empty() {
        return Err(Failure::Usage("name files, folders of them, or --tensors FILE".to_owned()));
    }
    let runner = Runner::new(args, bundle)?;
    let paths = files::of(runner.scorer.pipeline.kind(), &args.inputs).map_err(Failure::input)?;
    runner.all(args, &paths)
}

fn run_tensors(args: &Run, bundle: Bundle, input: &Path, output: &Path) -> Done {
    let file = TensorFile::open(input).map_err(Failure::input)?;
    let mut given = BTreeMap::new();
    for name in file.shapes().keys() {
        given.insert(name.clone(), file.get(name).map_err(Failure::input)?);
    }
    let mut engine = Engine::of_bundle(bundle, &args.engine, &args.trace)?;
    let values = engine.call(&args.entry, &given)?;
    tensors::write(output, &values).map_err(Failure::input)?;
    let look = Look::stderr();
    err(&format!("{} {} in {}\n", look.bold("wrote"), count(values.len(), "tensor"), output.display()));
    Ok(())
}

/// Boundaries of samples and of map values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Boundaries {
    /// Of samples.
    pub sample: Option<Boundary>,
    /// Of values of maps.
    pub map: Option<Boundary>,
}

impl Boundaries {
    /// Those of a bundle, where the user has moved them.
    pub fn new(bundle: &Bundle, judge: &Judge) -> Done<Boundaries> {
        let Some(calibration) = &bundle.card.calibration else {
            if judge.moves() {
                return Err(Failure::input(format!("{} has no calibration", bundle.path().display()))
                    .help("`uadc calibrate F.uadx --data DIR` learns one from normal samples"));
            }
            return Ok(Boundaries::default());
        };
        let of = |t: &Option<v1::Threshold>, change| {
            t.as_ref().map(|t| Boundary::new(t, change)).transpose().map_err(Failure::input)
        };
        let rate = judge.false_alarm_rate.map(Change::Rate);
        let sample = of(&calibration.sample, judge.threshold.map(Change::To).or(rate))?;
        Ok(Boundaries { sample, map: of(&calibration.map, judge.map_threshold.map(Change::To).or(rate))? })
    }

    /// How values of maps are shown.
    pub fn look(&self, range: (f32, f32)) -> show::Look {
        show::Look { range, threshold: self.map.map(|b| b.threshold) }
    }

    /// The range of colours in which the threshold lies in the middle.
    pub fn range(&self) -> Option<(f32, f32)> {
        self.map.map(|b| (b.threshold - b.span, b.threshold + b.span))
    }
}

/// What is known of a scored sample.
struct Known {
    path: PathBuf,
    score: Option<f32>,
    extra: Vec<(String, f32)>,
    heat: Option<(Raw, OwnMap)>,
}

struct Runner {
    scorer: Scorer,
    boundaries: Boundaries,
    out: Option<PathBuf>,
    json: bool,
    range: Option<(f32, f32)>,
    waiting: VecDeque<Known>,
    log: Vec<Value>,
    taken: BTreeSet<String>,
    widest: usize,
}

impl Runner {
    fn new(args: &Run, bundle: Bundle) -> Done<Runner> {
        let boundaries = Boundaries::new(&bundle, &args.judge)?;
        let scorer = Scorer::new(bundle, &args.engine, false, args.peer.as_deref())?;
        if let Some(folder) = &args.out {
            std::fs::create_dir_all(folder).map_err(|e| Failure::file("create", folder, e))?;
        }
        Ok(Runner {
            scorer,
            boundaries,
            out: args.out.clone(),
            json: args.json,
            range: boundaries.range(),
            waiting: VecDeque::new(),
            log: Vec::new(),
            taken: BTreeSet::new(),
            widest: 0,
        })
    }

    fn all(mut self, args: &Run, paths: &[PathBuf]) -> Done {
        let progress = Progress::new(paths.len(), "scoring");
        self.widest = paths.iter().map(|p| p.display().to_string().chars().count()).max().unwrap_or(0).min(60);
        let mut broken = 0;
        for batch in paths.chunks(usize::from(args.batch)) {
            let mut samples: Vec<(PathBuf, Raw, Sample)> = Vec::new();
            let pipeline = &self.scorer.pipeline;
            let ready = |path: &Path| {
                let raw = pipeline.read(path)?;
                let value = pipeline.prepare(&raw, path)?;
                Ok((path.to_owned(), raw, value))
            };
            for path in batch {
                match ready(path) {
                    Ok(sample) => samples.push(sample),
                    Err::<_, ReadError>(e) => {
                        broken += 1;
                        progress.suspend(|| Failure::input(e.to_string()).say(false));
                        if self.json {
                            out(&format!("{}\n", json!({ "path": path, "error": e.why })));
                        }
                    }
                }
            }
            self.score(samples, &progress)?;
            progress.advance(batch.len());
        }
        self.flush(&progress)?;
        progress.finish();
        if let Some(folder) = &self.out {
            let lines: String = self.log.iter().map(|l| format!("{l}\n")).collect();
            let path = folder.join("scores.jsonl");
            uad_runtime::whole::write(&path, lines.as_bytes()).map_err(|e| Failure::file("write", &path, e))?;
            err(&format!("{} {}\n", Look::stderr().bold("maps and scores in"), folder.display()));
        }
        if broken > 0 { Err(Failure::Reported) } else { Ok(()) }
    }

    fn score(&mut self, samples: Vec<(PathBuf, Raw, Sample)>, progress: &Progress) -> Done {
        let ready: Vec<(&Sample, i32, Option<&str>)> = samples.iter().map(|s| (&s.2, 0, None)).collect();
        let found = self.scorer.score(&ready)?;
        for ((path, raw, _), scored) in samples.into_iter().zip(found) {
            let map = scored.map.filter(|_| self.out.is_some());
            let heat = map.map(|m| self.scorer.pipeline.placed(&raw, m)).map(|m| (raw, m));
            self.waiting.push_back(Known { path, score: scored.score, extra: scored.extra, heat });
        }
        let wait = self.out.is_some() && self.range.is_none() && self.waiting.len() < WAITING;
        if wait { Ok(()) } else { self.flush(progress) }
    }

    /// Prints and draws what waits.
    fn flush(&mut self, progress: &Progress) -> Done {
        if self.range.is_none() {
            let ranges = self.waiting.iter().filter_map(|s| Some(s.heat.as_ref()?.1.map().range()));
            let all = ranges.fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), (lo, hi)| (a.min(lo), b.max(hi)));
            self.range = (all.0 < all.1).then_some(all);
        }
        while let Some(known) = self.waiting.pop_front() {
            let line = self.line(&known)?;
            progress.suspend(|| self.print(&known, &line));
            if self.out.is_some() {
                self.log.push(line);
            }
        }
        Ok(())
    }

    /// What is said of a sample; draws its pictures.
    fn line(&mut self, known: &Known) -> Done<Value> {
        let mut fields = serde_json::Map::new();
        fields.insert("path".to_owned(), json!(known.path));
        match (self.boundaries.sample, known.score) {
            (Some(boundary), Some(score)) => {
                fields.insert("pred_score".to_owned(), json!(boundary.normalised(score)));
                fields.insert("pred_label".to_owned(), json!(boundary.anomalous(score)));
                fields.insert("score".to_owned(), json!(score));
                fields.insert("threshold".to_owned(), json!(boundary.threshold));
            }
            _ => {
                fields.insert("pred_score".to_owned(), json!(known.score));
            }
        }
        for (name, v) in &known.extra {
            fields.insert(name.clone(), json!(v));
        }
        let (Some((raw, map)), Some(folder)) = (&known.heat, &self.out) else { return Ok(Value::Object(fields)) };
        let name = picture_name(&known.path, &mut self.taken);
        let look = self.boundaries.look(self.range.unwrap_or((0.0, 1.0)));
        let written = show::write(raw, map, &look, |end| folder.join(format!("{name}{end}")));
        for (field, file) in written.map_err(|(file, e)| Failure::file("write", &file, e))? {
            fields.insert(field.to_owned(), json!(file));
        }
        if let Some(boundary) = self.boundaries.map {
            fields.insert("map_threshold".to_owned(), json!(boundary.threshold));
        }
        let (lo, hi) = map.map().range();
        fields.insert("map_range".to_owned(), json!([lo, hi]));
        Ok(Value::Object(fields))
    }

    fn print(&self, known: &Known, line: &Value) {
        if self.json {
            return out(&format!("{line}\n"));
        }
        let look = Look::stdout();
        let score = match (known.score, self.boundaries.sample) {
            (Some(s), Some(b)) => {
                let verdict =
                    if b.anomalous(s) { look.paint("1;31", "anomalous") } else { look.paint("32", "normal   ") };
                format!(
                    "{}  {verdict}{}",
                    look.bold(&format!("{:.4}", b.normalised(s))),
                    look.dim(&format!("  score {s:.4}"))
                )
            }
            (Some(s), None) => look.bold(&format!("{s:.4}")),
            (None, _) => look.bold("no score"),
        };
        let path = known.path.display().to_string();
        let extra: String = known.extra.iter().map(|(n, v)| format!("  {n} {v:.4}")).collect();
        let map =
            line.get("anomaly_map").and_then(Value::as_str).map(|m| look.dim(&format!("  {m}"))).unwrap_or_default();
        out(&format!("{path:width$}  {score}{extra}{map}\n", width = self.widest));
    }
}

/// `good/000.jpg` becomes `000`, where that is taken `good_000`, where that is taken it gets a number. The picture and its mask
/// are files of their own, so both names are taken.
pub fn picture_name(path: &Path, taken: &mut BTreeSet<String>) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().and_then(Path::file_name).map(|f| f.to_string_lossy().into_owned());
    let longer = folder.map_or(stem.clone(), |f| format!("{f}_{stem}"));
    let free = |name: &str, taken: &BTreeSet<String>| !taken.contains(name) && !taken.contains(&format!("{name}_mask"));
    let mut name = if free(&stem, taken) { stem } else { longer.clone() };
    let mut number = 2u64;
    while !free(&name, taken) {
        name = format!("{longer}_{number}");
        number += 1;
    }
    taken.insert(format!("{name}_mask"));
    taken.insert(name.clone());
    name
}
