//! `uadc run`: scores of images, or of tensors.
//!
//! In: a bundle; images, folders of them, or a file of tensors. Out: one line (or JSON object) per image, heat maps, a file of
//! tensors. Invariants: a broken image is named, the others are scored, and the exit code is 1; heat maps of one run share one
//! range of colours. Imports: engine, progress; bundles, images, heat maps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uad_plan::tensor::Tensor;
use uad_runtime::bundle::Bundle;
use uad_runtime::data::image::{RgbImage, read};
use uad_runtime::data::{files, pipeline};
use uad_runtime::heatmap::{Map, overlay, write_png};
use uad_runtime::tensors::{self, TensorFile};

use crate::args::Run;
use crate::engine::Engine;
use crate::failure::{Done, Failure};
use crate::progress::Progress;
use crate::terminal::{Look, count, err, out};

/// Heat maps wait for this many others before the range of colours is fixed.
const WAITING: usize = 256;

/// Runs it.
pub fn run(args: &Run) -> Done {
    let bundle = Bundle::open(&args.bundle).map_err(Failure::input)?;
    warn_untrained(&bundle);
    if let (Some(input), Some(output)) = (&args.tensors, &args.output) {
        return run_tensors(args, bundle, input, output);
    }
    if args.inputs.is_empty() {
        return Err(Failure::Usage("name images, folders of images, or --tensors FILE".to_owned()));
    }
    let paths = files::images(&args.inputs).map_err(Failure::input)?;
    Scorer::new(args, bundle)?.all(args, &paths)
}

/// Says which stages have not run.
fn warn_untrained(bundle: &Bundle) {
    let left: Vec<String> =
        bundle.card.stages.iter().filter(|s| s.needed && !s.done).map(|s| format!("`{}`", s.name)).collect();
    if !left.is_empty() {
        let look = Look::stderr();
        let (stages, have) = if left.len() == 1 { ("stage", "has") } else { ("stages", "have") };
        err(&format!(
            "{}: {stages} {} {have} not run: weights that no file gave are as initialised, and scores mean nothing yet\n",
            look.paint("1;33", "warning"),
            left.join(", ")
        ));
    }
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

/// What is known of a scored image.
struct Scored {
    path: PathBuf,
    score: Option<f32>,
    extra: Vec<(String, f32)>,
    map: Option<Heat>,
}

/// A map that waits for its colours.
struct Heat {
    picture: RgbImage,
    height: usize,
    width: usize,
    values: Vec<f32>,
}

struct Scorer {
    engine: Engine,
    input: String,
    steps: Vec<pipeline::Step>,
    out: Option<PathBuf>,
    json: bool,
    range: Option<(f32, f32)>,
    waiting: VecDeque<Scored>,
    log: Vec<Value>,
    taken: BTreeSet<String>,
    widest: usize,
}

impl Scorer {
    fn new(args: &Run, bundle: Bundle) -> Done<Scorer> {
        let images: Vec<_> = bundle.card.inputs.iter().filter(|i| i.source == "rgb").cloned().collect();
        let [input] = images.as_slice() else {
            let n = count(images.len(), "image input");
            return Err(Failure::input(format!(
                "`{}` has {n}; only detectors with one run on images",
                bundle.card.detector
            ))
            .help("give its inputs as tensors: --tensors IN.safetensors -o OUT.safetensors"));
        };
        if let Some(other) = bundle.card.inputs.iter().find(|i| i.source != "rgb") {
            return Err(Failure::input(format!("the input `{}` does not come from images", other.name))
                .help("give all inputs as tensors: --tensors IN.safetensors -o OUT.safetensors"));
        }
        let steps = input.steps.iter().map(|s| pipeline::Step::new(&s.name, &s.args));
        let steps = steps.collect::<Result<Vec<_>, String>>().map_err(Failure::input)?;
        if let Some(folder) = &args.out {
            std::fs::create_dir_all(folder).map_err(|e| Failure::file("create", folder, e))?;
        }
        let name = input.name.clone();
        Ok(Scorer {
            engine: Engine::of_bundle(bundle, &args.engine, &[])?,
            input: name,
            steps,
            out: args.out.clone(),
            json: args.json,
            range: None,
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
            let mut samples: Vec<(PathBuf, RgbImage, RgbImage)> = Vec::new();
            for path in batch {
                match read(path) {
                    Ok(picture) => {
                        let ready = pipeline::prepare(&picture, &self.steps);
                        samples.push((path.clone(), picture, ready));
                    }
                    Err(e) => {
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

    /// One call of the detector. Images of one call have one size after their pipeline.
    fn score(&mut self, samples: Vec<(PathBuf, RgbImage, RgbImage)>, progress: &Progress) -> Done {
        let mut left = samples;
        while let Some(first) = left.first() {
            let size = first.2.dimensions();
            let (now, later): (Vec<_>, Vec<_>) = left.into_iter().partition(|s| s.2.dimensions() == size);
            left = later;
            let shape = [now.len(), 3, size.1 as usize, size.0 as usize];
            let mut values = vec![0.0; shape.iter().product()];
            for (sample, planes) in now.iter().zip(values.chunks_exact_mut(shape[1..].iter().product())) {
                pipeline::write_planes(&sample.2, planes);
            }
            let tensor = Tensor::f32(&shape, values).map_err(|e| Failure::Fault(e.to_string()))?;
            let results = self.engine.call("score", &BTreeMap::from([(self.input.clone(), tensor)]))?;
            for (n, (path, picture, _)) in now.into_iter().enumerate() {
                let scored = self.one(n, path, picture, &results);
                self.waiting.push_back(scored);
            }
        }
        let wait = self.out.is_some() && self.range.is_none() && self.waiting.len() < WAITING;
        if wait { Ok(()) } else { self.flush(progress) }
    }

    /// Sample `n` of a call.
    fn one(&self, n: usize, path: PathBuf, picture: RgbImage, results: &BTreeMap<String, Tensor>) -> Scored {
        let mut scored = Scored { path, score: None, extra: Vec::new(), map: None };
        for (name, tensor) in results {
            let Some(values) = tensor.as_f32() else { continue };
            let Some((_, shape)) = tensor.shape().split_first() else { continue };
            let each = shape.iter().product::<usize>();
            let Some(own) = values.get(n * each..(n + 1) * each) else { continue };
            match (name.as_str(), shape, own) {
                ("sample", _, [v]) => scored.score = Some(*v),
                (_, _, [v]) => scored.extra.push((name.clone(), *v)),
                ("map", [h, w], _) if self.out.is_some() => {
                    let (height, width) = (*h, *w);
                    scored.map = Some(Heat { picture: picture.clone(), height, width, values: own.to_vec() });
                }
                _ => {}
            }
        }
        scored
    }

    /// Prints and draws what waits.
    fn flush(&mut self, progress: &Progress) -> Done {
        if self.range.is_none() {
            let maps = self.waiting.iter().filter_map(|s| s.map.as_ref());
            let ranges = maps.map(|m| Map { height: m.height, width: m.width, values: &m.values }.range());
            let all = ranges.fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), (lo, hi)| (a.min(lo), b.max(hi)));
            self.range = (all.0 < all.1).then_some(all);
        }
        while let Some(scored) = self.waiting.pop_front() {
            let mut fields = serde_json::Map::new();
            fields.insert("path".to_owned(), json!(scored.path));
            fields.insert("pred_score".to_owned(), json!(scored.score));
            for (name, v) in &scored.extra {
                fields.insert(name.clone(), json!(v));
            }
            if let (Some(heat), Some(folder)) = (&scored.map, &self.out) {
                let map = Map { height: heat.height, width: heat.width, values: &heat.values };
                let file = folder.join(picture_name(&scored.path, &mut self.taken));
                let drawn = overlay(&heat.picture, &map, self.range.unwrap_or((0.0, 1.0)));
                write_png(&drawn, &file).map_err(|e| Failure::file("write", &file, e))?;
                fields.insert("anomaly_map".to_owned(), json!(file));
                let (lo, hi) = map.range();
                fields.insert("map_range".to_owned(), json!([lo, hi]));
            }
            let line = Value::Object(fields);
            progress.suspend(|| self.print(&scored, &line));
            if self.out.is_some() {
                self.log.push(line);
            }
        }
        Ok(())
    }

    fn print(&self, scored: &Scored, line: &Value) {
        if self.json {
            return out(&format!("{line}\n"));
        }
        let look = Look::stdout();
        let score = scored.score.map_or_else(|| "no score".to_owned(), |s| format!("{s:.4}"));
        let path = scored.path.display().to_string();
        let extra: String = scored.extra.iter().map(|(n, v)| format!("  {n} {v:.4}")).collect();
        let map =
            line.get("anomaly_map").and_then(Value::as_str).map(|m| look.dim(&format!("  {m}"))).unwrap_or_default();
        out(&format!("{path:width$}  {}{extra}{map}\n", look.bold(&score), width = self.widest));
    }
}

/// `good/000.jpg` becomes `000.png`, where that is taken `good_000.png`, where that is taken it gets a number.
fn picture_name(path: &Path, taken: &mut BTreeSet<String>) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().and_then(Path::file_name).map(|f| f.to_string_lossy().into_owned());
    let longer = folder.map_or(stem.clone(), |f| format!("{f}_{stem}"));
    let mut free = if taken.contains(&format!("{stem}.png")) { longer.clone() } else { stem };
    let mut number = 2u64;
    while !taken.insert(format!("{free}.png")) {
        free = format!("{longer}_{number}");
        number += 1;
    }
    format!("{free}.png")
}
