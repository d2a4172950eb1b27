//! `uadc synth`: what a detector's synthesiser makes of normal samples.
//!
//! In: a spec, a data set. Out: a data set in the MVTec layout (changed samples under `test/SLOT`, their masks under `ground_truth/SLOT`) and a sheet of
//! some of them; with `--sweep`, sheets of one sample under every combination of values. Invariants: sample n follows from the seed and n
//! alone; a synthesiser is whatever slot has the type of one, so that no spec is special; an existing file is never overwritten.
//! Imports: compiled, engine, weights; data, what is shown of samples.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use uad_compiler::model::{SYNTH, SynthInfo};
use uad_plan::tensor::Tensor;
use uad_runtime::data::kind::{Kind, Pipeline, Value};
use uad_runtime::data::set::{Dataset, Options, Split};
use uad_runtime::device::executor::Draw;
use uad_runtime::heatmap::write_png;
use uad_runtime::show::made::{Cell, Made};
use uad_runtime::show::sheet::Sheet;

use super::build;
use crate::args::{Choice, Synth};
use crate::compiled::{self, Compiled};
use crate::engine::{Engine, InMemory};
use crate::failure::{Done, Failure};
use crate::progress::Progress;
use crate::terminal::{Look, count, err};
use crate::weights;

/// Draws that change nothing are made again, so often.
const TRIES: u64 = 10;
/// Samples on the sheet.
const SHOWN: usize = 6;
/// Pixels of a cell.
const CELL: u32 = 240;

/// Runs it.
pub fn run(args: &Synth) -> Done {
    let mut maker = Maker::new(args, &args.choice)?;
    let options = Options { kind: maker.pipeline.kind(), ..Options::default() };
    let set = Dataset::open(&args.data, &options).map_err(Failure::input)?;
    // What is known to be normal, what is trained on first.
    let mut normal = set.of(Split::Train);
    let others = (0..set.samples.len()).filter(|n| set.samples[*n].split != Split::Train);
    normal.extend(others.filter(|n| set.samples[*n].label == Some(false)));
    if normal.is_empty() {
        return Err(Failure::input(format!("{} has no normal samples", set.path.display())));
    }
    std::fs::create_dir_all(&args.out).map_err(|e| Failure::file("create", &args.out, e))?;
    if args.sweep.is_empty() { samples(args, &mut maker, &set, &normal) } else { sweep(args, &maker, &set, normal[0]) }
}

/// A synthesiser, ready to be called.
struct Maker {
    engine: Engine,
    info: SynthInfo,
    pipeline: Pipeline,
}

impl Maker {
    fn new(args: &Synth, choice: &Choice) -> Done<Maker> {
        let (compiled, info) = compiled::synth(&args.spec, choice, args.slot.as_deref())?;
        let input = compiled.model.inputs.iter().find(|i| i.name == info.input);
        let input = input.ok_or_else(|| Failure::input(format!("`{}` does not look at its sample", info.slot)))?;
        let kind = Kind::of(&input.source).filter(|k| matches!(k, Kind::Image | Kind::Cloud)).ok_or_else(|| {
            Failure::input(format!(
                "the input `{}` comes from `{}`; synth writes images and clouds",
                input.name, input.source
            ))
        })?;
        let steps: Vec<_> = input.pipeline.iter().map(build::step).collect();
        let pipeline = kind.pipeline(steps.iter().map(|s| s.call())).map_err(Failure::input)?;
        Ok(Maker { engine: engine(&compiled, args)?, info, pipeline })
    }

    /// The sample at a position of the data set.
    fn read(&self, set: &Dataset, n: usize) -> Done<Value> {
        let path = &set.samples[n].path;
        let raw = self.pipeline.read(path).map_err(Failure::input)?;
        self.pipeline.prepare(&raw, path).map_err(Failure::input)
    }

    /// The sample changed, by the draws of this seed and number.
    fn make(&mut self, value: &Value, seed: u64, number: u64) -> Done<Made> {
        let shape = value.shape();
        let mut before = vec![0.0; shape.iter().product()];
        if !value.write(&mut before) {
            return Err(Failure::Fault("a sample is not of the size that it says".to_owned()));
        }
        let fault = |e: uad_plan::tensor::TensorError| Failure::Fault(e.to_string());
        let whole: Vec<usize> = [1].into_iter().chain(shape.iter().copied()).collect();
        let given = BTreeMap::from([(self.info.input.clone(), Tensor::f32(&whole, before.clone()).map_err(fault)?)]);
        let mut kept = None;
        for t in 0..TRIES {
            let draw = Draw { seed, step: number * TRIES + t, sample: 0 };
            let (results, _) = self.engine.call_seeded(SYNTH, &given, draw)?;
            let get = |name: &str| results.get(name).and_then(Tensor::as_f32).unwrap_or_default();
            let made = Made::new(self.pipeline.kind(), &shape, &before, get("sample"), get("mask"));
            let made = made.ok_or_else(|| {
                let what = format!(
                    "`{}` does not give a sample of the size of `{}` and a mask",
                    self.info.slot, self.info.input
                );
                Failure::input(what)
            })?;
            let some = made.share() > 0.0;
            kept = Some(made);
            if some {
                break;
            }
        }
        kept.ok_or_else(|| Failure::Fault("nothing was drawn".to_owned()))
    }
}

fn engine(compiled: &Compiled, args: &Synth) -> Done<Engine> {
    let mut values = weights::Tensors::new();
    weights::initialise(compiled, args.seed, &mut values)?;
    Ok(Engine::new(compiled.plan(SYNTH, &[])?, Arc::new(InMemory(values)), &args.engine))
}

/// Refuses what is there.
fn fresh(path: &Path) -> Done {
    if path.exists() { Err(Failure::input(format!("{} exists already", path.display()))) } else { Ok(()) }
}

fn picture(sheet: &Sheet, path: &Path) -> Done {
    fresh(path)?;
    write_png(&sheet.draw(), path).map_err(|e| Failure::file("write", path, e))
}

fn samples(args: &Synth, maker: &mut Maker, set: &Dataset, normal: &[usize]) -> Done {
    let slot = maker.info.slot.clone();
    let (home, truth) = (args.out.join("test").join(&slot), args.out.join("ground_truth").join(&slot));
    for folder in [&home, &truth] {
        std::fs::create_dir_all(folder).map_err(|e| Failure::file("create", folder, e))?;
    }
    let progress = Progress::new(args.count as usize, "making");
    let (mut shown, mut shares) = (Vec::new(), Vec::new());
    for n in 0..args.count as usize {
        let from = normal[n % normal.len()];
        let value = maker.read(set, from)?;
        let made = maker.make(&value, args.seed, n as u64)?;
        let at = |folder: &Path, end: &str| folder.join(format!("{n:03}{end}"));
        for end in [".ply", ".png"] {
            fresh(&at(&home, end))?;
        }
        let written = made.write(|end| at(&home, end), |end| at(&truth, &format!("_mask{end}")));
        written.map_err(|(file, e)| Failure::file("write", &file, e))?;
        shares.push(made.share());
        if shown.len() < SHOWN {
            shown.push((set.samples[from].name.clone(), made));
        }
        progress.advance(1);
    }
    progress.finish();
    let cells = [Cell::Before, Cell::After, Cell::Marked];
    let sheet = Sheet {
        title: format!("{slot} of {}: what it makes of normal samples", short(&args.spec.display().to_string())),
        columns: ["normal", "synthetic", "changed"].map(str::to_owned).to_vec(),
        rows: shown.iter().map(|(name, _)| short(name)).collect(),
        cells: shown.iter().map(|(_, m)| cells.iter().map(|c| m.cell(*c, &m.view(), CELL)).collect()).collect(),
    };
    let file = args.out.join("sheet.png");
    picture(&sheet, &file)?;
    let look = Look::stderr();
    let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
    let none = shares.iter().filter(|s| **s == 0.0).count();
    err(&format!(
        "{} {} in {}, {:.1} % of each is changed; sheet: {}\n",
        look.bold("wrote"),
        count(shares.len(), "sample"),
        args.out.display(),
        100.0 * mean,
        file.display()
    ));
    if none > 0 {
        let text = format!("{} came out as they went in, {TRIES} draws each", count(none, "sample"));
        err(&format!("{}: {text}\n", look.paint("1;33", "warning")));
    }
    Ok(())
}

/// The last part of a name, and not more than fits beside a picture.
fn short(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.chars().take(20).collect()
}

/// The choice in which a parameter, or a hyper-parameter of what fills the slot, has another value.
fn with(choice: &Choice, info: &SynthInfo, name: &str, value: &str) -> Done<Choice> {
    let mut choice = choice.clone();
    let params = &info.params;
    let (name, value) = if params.iter().any(|p| p == name) {
        (name.to_owned(), value.to_owned())
    } else {
        let filler = info.filler.as_ref();
        let call = filler.and_then(|f| f.with(name, value)).ok_or_else(|| {
            let known: Vec<&str> = filler
                .iter()
                .flat_map(|f| f.hyper.iter().map(|h| h.0.as_str()))
                .chain(params.iter().map(String::as_str))
                .collect();
            let help = uad_compiler::diag::nearest::did_you_mean(name, known.iter().copied())
                .unwrap_or_else(|| format!("there are {}", known.join(", ")));
            Failure::input(format!("nothing is called `{name}` that `{}` could be swept over", info.slot)).help(help)
        })?;
        (info.slot.clone(), call)
    };
    choice.set.retain(|s| s.0 != name);
    choice.set.push((name, value));
    Ok(choice)
}

fn sweep(args: &Synth, first: &Maker, set: &Dataset, sample: usize) -> Done {
    let mut axes: Vec<(String, Vec<String>)> = args.sweep.clone();
    if axes.len() > 3 {
        return Err(Failure::Usage("a sweep has rows, columns and sheets: three at most".to_owned()));
    }
    // One goes along columns, two along rows and columns, the third from sheet to sheet.
    if axes.len() == 1 {
        axes.insert(0, (String::new(), vec![String::new()]));
    }
    let (rows, columns) = (axes[0].clone(), axes[1].clone());
    let sheets = axes.get(2).cloned().unwrap_or_else(|| (String::new(), vec![String::new()]));
    let value = first.read(set, sample)?;
    let progress = Progress::new(rows.1.len() * columns.1.len() * sheets.1.len(), "making");
    for page in &sheets.1 {
        let mut cells = Vec::new();
        for row in &rows.1 {
            let mut line = Vec::new();
            for column in &columns.1 {
                let mut choice = args.choice.clone();
                let mut info = first.info.clone();
                for (name, v) in [(&sheets.0, page), (&rows.0, row), (&columns.0, column)] {
                    if name.is_empty() {
                        continue;
                    }
                    choice = with(&choice, &info, name, v)?;
                    info = compiled::synth(&args.spec, &choice, args.slot.as_deref())?.1;
                }
                line.push(Maker::new(args, &choice)?.make(&value, args.seed, 0)?);
                progress.advance(1);
            }
            cells.push(line);
        }
        // All from the side on which most was changed.
        let most = cells.iter().flatten().max_by(|a, b| a.share().total_cmp(&b.share()));
        let Some(view) = most.map(Made::view) else { continue };
        let drawn = |line: &Vec<Made>| line.iter().map(|m| m.cell(Cell::Marked, &view, CELL)).collect();
        let said = |name: &str, v: &str| if name.is_empty() { String::new() } else { format!("{name} {v}") };
        let rest = if sheets.0.is_empty() { String::new() } else { format!(", {} {page}", sheets.0) };
        let sheet = Sheet {
            title: format!("{} of {}{rest}", first.info.slot, short(&set.samples[sample].name)),
            columns: columns.1.iter().map(|v| said(&columns.0, v)).collect(),
            rows: if rows.0.is_empty() { Vec::new() } else { rows.1.iter().map(|v| said(&rows.0, v)).collect() },
            cells: cells.iter().map(drawn).collect(),
        };
        let name = if sheets.0.is_empty() { "sweep.png".to_owned() } else { format!("sweep_{}_{page}.png", sheets.0) };
        let file = args.out.join(name);
        picture(&sheet, &file)?;
        err(&format!("{} {}\n", Look::stderr().bold("wrote"), file.display()));
    }
    progress.finish();
    Ok(())
}
