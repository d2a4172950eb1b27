//! `uadc train`: runs the stages of a detector over a data set.
//!
//! In: a spec with foreign weights, or a bundle; a data set. Out: a bundle whose stages are marked as done, with what was learned
//! from; a folder with checkpoints, features and a log. Invariants: the bundle is written whole or not at all, and the checkpoint
//! stays until it is; a stopped run says how to go on; a broken file is named before anything is learned.
//! Imports: build, compiled, device, engine, peers, training; data sets, the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use uad_compiler::graph::Op;
use uad_compiler::model::StageInfo;
use uad_kernels::cpu::Pool;
use uad_plan::{Dim, Plan, StoredKind, Verified};
use uad_runtime::bundle::{Bundle, v1};
use uad_runtime::data::kind::Kind;
use uad_runtime::data::load::{Samples, Source, Take, check};
use uad_runtime::data::set::{Dataset, Options, Split};
use uad_runtime::device::Device;
use uad_runtime::learn::{self, Job, Keep, Length, Outcome, Plans, Prepared, Report, Stage, Trouble};

use super::build;
use crate::args::{Choice, DeviceName, Train};
use crate::compiled::{self, Compiled, Feed};
use crate::device::{Chosen, Code};
use crate::engine::default_threads;
use crate::failure::{Done, Failure};
use crate::peers;
use crate::progress::Progress;
use crate::terminal::{Look, bytes, count, err};
use crate::training::{Teller, duration};
use crate::weights::{self, Tensors};

/// Prepared samples are kept in memory up to this many bytes.
const KEPT: usize = 512 << 20;

/// Runs it.
pub fn run(args: &Train) -> Done {
    let begin = Instant::now();
    let threads = args.threads.map_or_else(default_threads, usize::from);
    let device = device(args, threads)?;
    let subject = Subject::open(args)?;
    let left: Vec<&StageInfo> = subject.left();
    let look = Look::stderr();
    if left.is_empty() {
        let none = subject.compiled.model.stages.is_empty();
        let what = if none { "has no stages" } else { "has no stage that has not run" };
        return Err(Failure::input(format!("`{}` {what}", subject.compiled.model.name)));
    }
    let stages = left.iter().map(|s| stage(s, args)).collect::<Done<Vec<Stage>>>()?;
    let takes = takes(&subject.compiled)?;
    let kind = kind(&takes)?;
    let set = open_data(args, &stages, kind)?;
    let samples = Arc::new(Samples::new(Arc::new(set), takes, KEPT));
    let (digests, broken) = read_all(args, &samples, &stages, threads)?;
    let output = output(args, &subject.compiled);
    let folder = args.work.clone().unwrap_or_else(|| output.with_extension("train"));
    if !args.resume && !args.restart && learn::unfinished(&folder) {
        return Err(Failure::input(format!("{} holds a run that was not finished", folder.display()))
            .help("--resume goes on with it, --restart begins again"));
    }
    let stop = Arc::new(AtomicBool::new(false));
    heed_signals(&stop);
    let job = Job {
        stages,
        samples,
        broken,
        digests,
        seed: args.seed,
        folder,
        every: Duration::from_secs(args.checkpoint.into()),
        identity: subject.identity(),
        resume: args.resume,
        device,
        loaders: threads,
        stop: stop.clone(),
    };
    let mut teller = Teller::new(job.stages.len(), kind.noun());
    let ended = learn::run(&job, subject.values.clone(), &mut Compiling(&subject.compiled, args.seed), &mut |e| {
        teller.hear(&e)
    });
    teller.end();
    let Outcome { values, done, stopped } = ended.map_err(|t| match t {
        Trouble::Input(message, help) => Failure::Input { message, help },
        Trouble::Fault(m) => Failure::Fault(m),
    })?;
    if stopped {
        err(&format!(
            "{} the run is kept in {}; `--resume` goes on with it\n",
            look.paint("1;33", "stopped:"),
            job.folder.display()
        ));
        return Err(Failure::Reported);
    }
    finish(&subject, args, &job, values, &done, &output)?;
    let size = std::fs::metadata(&output).map_or(0, |m| m.len());
    let time = duration(begin.elapsed().as_secs_f64());
    err(&format!("{} {} ({}, {time})\n", look.bold("wrote"), output.display(), bytes(size)));
    Ok(())
}

/// Where the stages run.
fn device(args: &Train, threads: usize) -> Done<Device> {
    if args.device == DeviceName::Reference {
        return Err(Failure::Usage("`train` does not run on the interpreter: --device cpu, cuda or auto".to_owned()));
    }
    args.device.multiplies(args.precision).map_err(Failure::Usage)?;
    Chosen::new(args.device, args.precision, Code::None, Arc::new(Pool::new(threads))).for_training()
}

/// Compiles each stage as its turn comes.
struct Compiling<'a>(&'a Compiled, u64);

impl Plans for Compiling<'_> {
    fn stage(&mut self, stage: &Stage) -> Result<Prepared, Trouble> {
        let told = |f: Failure| match f {
            Failure::Input { message, help } => Trouble::Input(message, help),
            Failure::Fault(m) => Trouble::Fault(m),
            Failure::Reported | Failure::Usage(_) => Trouble::Fault("the stage does not compile".to_owned()),
        };
        let plan = self.0.stage_plan(&stage.name).map_err(told)?;
        let mut first = Tensors::new();
        weights::initialise_stage(self.0, self.1, &stage.name, &mut first).map_err(told)?;
        Ok(Prepared { plan, first })
    }

    fn traced(&mut self, stage: &Stage) -> Option<Verified<Plan<Dim>>> {
        self.0.plan(&stage.name, &["all".to_owned()]).ok()
    }
}

/// What is trained.
struct Subject {
    compiled: Compiled,
    values: Tensors,
    card: v1::Card,
}

impl Subject {
    fn open(args: &Train) -> Done<Subject> {
        if args.spec.extension().is_some_and(|e| e == "uadx") {
            return Subject::of_bundle(args);
        }
        let compiled = compiled::check(&args.spec, &args.choice, Feed::new())?;
        let weights::Given { mut values, spent } = weights::given(&compiled, &args.weights)?;
        let given: BTreeSet<String> = values.keys().cloned().collect();
        weights::initialise(&compiled, args.seed, &mut values)?;
        let card = v1::Card {
            params: args.choice.set.iter().cloned().collect(),
            stages: build::stages(&compiled, &|path| given.contains(path), &spent),
            seed: args.seed,
            weights: args.weights.clone(),
            ..v1::Card::default()
        };
        Ok(Subject { compiled, values, card })
    }

    fn of_bundle(args: &Train) -> Done<Subject> {
        let Choice { detector, set } = &args.choice;
        if detector.is_some() || !set.is_empty() || !args.weights.is_empty() {
            return Err(Failure::Usage(
                "--detector, --set and --weights go with a spec; a bundle has its own".to_owned(),
            ));
        }
        let bundle = Bundle::open(&args.spec).map_err(Failure::input)?;
        let compiled = compiled::of_bundle(&bundle)?;
        Ok(Subject { compiled, values: bundle.all_stored(), card: bundle.card.clone() })
    }

    /// Stages that have not run.
    fn left(&self) -> Vec<&StageInfo> {
        left(&self.compiled, &self.card)
    }

    /// What must be the same for a run to be resumed.
    fn identity(&self) -> BTreeMap<String, String> {
        let model = &self.compiled.model;
        let files = &self.compiled.files.files;
        let texts: Vec<String> = files.iter().filter(|f| f.0 != "--set").map(|f| f.1.clone()).collect();
        let params: Vec<String> = self.card.params.iter().map(|(n, v)| format!("{n}={v}")).collect();
        BTreeMap::from([
            ("the detector".to_owned(), model.name.clone()),
            ("the parameters".to_owned(), params.join(" ")),
            ("the spec".to_owned(), learn::digest(&texts)),
            ("uadc's version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ])
    }
}

/// Stages that have not run, by a card.
fn left<'c>(compiled: &'c Compiled, card: &v1::Card) -> Vec<&'c StageInfo> {
    let done = |s: &&StageInfo| card.stages.iter().any(|c| c.name == s.name && c.done);
    compiled.model.stages.iter().filter(|s| !done(s)).collect()
}

/// The loop's description of a stage.
fn stage(info: &StageInfo, args: &Train) -> Done<Stage> {
    let s = info.settings();
    let trains = info.minimise.is_some();
    let positive = |v: i64| u64::try_from(v).unwrap_or(0);
    let split = |name: &str| {
        Split::of(name).ok_or_else(|| Failure::Fault(format!("the stage `{}` has an unknown split", info.name)))
    };
    let length = match (args.epochs.filter(|_| trains), s.epochs, s.steps) {
        (Some(n), _, _) => Length::Epochs(n.into()),
        (None, _, Some(n)) => Length::Steps(positive(n)),
        (None, n, None) => Length::Epochs(n.map_or(1, positive)),
    };
    let batch = args.batch.filter(|_| trains).map_or(positive(s.batch) as usize, usize::from);
    let keep = match &s.keep {
        Some(k) => Some(Keep { value: k.value.clone(), on: split(&k.on)?, lowest: k.lowest }),
        None => None,
    };
    Ok(Stage {
        name: info.name.clone(),
        features: info.features.clone(),
        finish: info.finish.clone(),
        collects: info.collects.clone(),
        replaces: info.replaces.clone(),
        length,
        batch,
        data: split(&s.data)?,
        drop_last: s.drop_last,
        skip: positive(s.skip),
        patience: s.patience.map(positive),
        keep,
        watch: info.watch.clone(),
        trains,
    })
}

fn splits(stages: &[Stage]) -> BTreeSet<Split> {
    stages.iter().flat_map(|s| [s.data].into_iter().chain(s.keep.as_ref().map(|k| k.on))).collect()
}

fn open_data(args: &Train, stages: &[Stage], kind: Kind) -> Done<Dataset> {
    let used = splits(stages);
    let usual = |split: Split| if used.contains(&split) { 0.1 } else { 0.0 };
    let options = Options {
        validation: args.validation.unwrap_or_else(|| usual(Split::Validation)),
        calibration: usual(Split::Calibration),
        kind,
    };
    let set = Dataset::open(&args.data, &options).map_err(Failure::input)?;
    let look = Look::stderr();
    for problem in set.problems.iter().take(8) {
        err(&format!("{}: {problem}\n", look.paint("1;33", "warning")));
    }
    if set.problems.len() > 8 {
        err(&format!("{}: and {} more\n", look.paint("1;33", "warning"), set.problems.len() - 8));
    }
    Ok(set)
}

/// What the inputs that stages read take of a sample.
fn takes(compiled: &Compiled) -> Done<Vec<Take>> {
    let entries = || {
        let stages = compiled.model.stages.iter();
        stages.flat_map(|s| s.entries()).filter_map(|e| compiled.graph(e).ok())
    };
    let takes_it = |op: &Op, name: &str| matches!(op, Op::Input(n) if n == name);
    let read = |name: &str| entries().any(|g| g.nodes.iter().any(|n| takes_it(&n.op, name)));
    let mut takes = Vec::new();
    for input in compiled.model.inputs.iter().filter(|i| read(&i.name)) {
        let source = match input.source.as_str() {
            "class" => Source::Class,
            "peer" => {
                // It is what an input of pictures is for another sample.
                let steps: Vec<_> = input.pipeline.iter().map(build::step).collect();
                let pipeline = Kind::Image.pipeline(steps.iter().map(v1::Step::call)).map_err(Failure::input)?;
                let same_class = input.peer.as_ref().is_some_and(|p| p.same_class);
                Source::Peer { pipeline, same_class }
            }
            other => {
                let Some(kind) = Kind::of(other) else {
                    let text = format!("the input `{}` comes from `{other}`; this version trains on files", input.name);
                    return Err(Failure::input(text));
                };
                let steps: Vec<_> = input.pipeline.iter().map(build::step).collect();
                Source::File(kind.pipeline(steps.iter().map(|s| s.call())).map_err(Failure::input)?)
            }
        };
        takes.push(Take { input: input.name.clone(), source });
    }
    Ok(takes)
}

/// Of what kind the samples are.
fn kind(takes: &[Take]) -> Done<Kind> {
    let kinds = takes.iter().filter_map(|t| match &t.source {
        Source::File(pipeline) | Source::Peer { pipeline, .. } => Some(pipeline.kind()),
        Source::Class => None,
    });
    let kinds: BTreeSet<Kind> = kinds.collect();
    match kinds.len() {
        0 | 1 => Ok(kinds.first().copied().unwrap_or_default()),
        _ => {
            let told: Vec<String> = kinds.iter().map(|k| format!("`{}`", k.source())).collect();
            Err(Failure::input(format!("the inputs come from {}; a data set is of one kind", told.join(" and "))))
        }
    }
}

/// Reads every sample that a stage uses: their digests, and which cannot be used.
fn read_all(
    args: &Train,
    samples: &Arc<Samples>,
    stages: &[Stage],
    threads: usize,
) -> Done<(BTreeMap<usize, String>, Vec<usize>)> {
    let used: Vec<usize> = splits(stages).into_iter().flat_map(|s| samples.set().of(s)).collect();
    let progress = Progress::new(used.len(), "reading");
    let mut digests = BTreeMap::new();
    let mut wrong = Vec::new();
    check(samples, &used, threads, |n, result| {
        progress.advance(1);
        match result {
            Ok(digest) => {
                digests.insert(n, digest);
            }
            Err(e) => wrong.push((n, e)),
        }
    });
    progress.finish();
    if wrong.is_empty() {
        return Ok((digests, Vec::new()));
    }
    let look = Look::stderr();
    let (word, color) = if args.skip_broken { ("left out", "1;33") } else { ("error", "1;31") };
    for (_, e) in wrong.iter().take(12) {
        err(&format!("{}: {e}\n", look.paint(color, word)));
    }
    if wrong.len() > 12 {
        err(&format!("{}: and {} more\n", look.paint(color, word), wrong.len() - 12));
    }
    if !args.skip_broken {
        let text = format!("{} of {} cannot be read", wrong.len(), count(used.len(), samples.set().kind.noun()));
        return Err(Failure::input(text).help("repair or remove them, or leave them out with --skip-broken"));
    }
    let mut broken: Vec<usize> = wrong.into_iter().map(|w| w.0).collect();
    broken.sort_unstable();
    Ok((digests, broken))
}

fn output(args: &Train, compiled: &Compiled) -> PathBuf {
    let own = || {
        let bundle = args.spec.extension().is_some_and(|e| e == "uadx");
        if bundle { args.spec.clone() } else { Path::new(&compiled.model.name).with_extension("uadx") }
    };
    args.output.clone().unwrap_or_else(own)
}

/// The first signal ends the run after its step, the second at once.
fn heed_signals(stop: &Arc<AtomicBool>) {
    let stop = stop.clone();
    let heard = ctrlc::set_handler(move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        err("\nstopping after this step; once more to end at once\n");
    });
    // Without a handler a signal ends the run at once, and the last checkpoint stands.
    let _ = heard;
}

/// Writes the bundle, then removes the checkpoint.
fn finish(subject: &Subject, args: &Train, job: &Job, mut values: Tensors, done: &[Report], output: &Path) -> Done {
    let plan = subject.compiled.plan("score", &[])?;
    let mut card = subject.card.clone();
    for s in &mut card.stages {
        s.done |= done.iter().any(|d| d.stage == s.name);
    }
    // It was of the scores before.
    card.calibration = None;
    let set = job.samples.set();
    card.training.push(v1::Training {
        data: args.data.display().to_string(),
        digest: learn::digest(job.digests.values()),
        classes: set.classes.clone(),
        seed: args.seed,
        stages: done.iter().map(trained).collect(),
        producer: format!("uadc {}", env!("CARGO_PKG_VERSION")),
    });
    let model = &subject.compiled.model;
    let left = left(&subject.compiled, &card);
    let wanted =
        |path: &String| plan.stored.iter().any(|s| s.path == *path) || left.iter().any(|s| s.reads.contains(path));
    // Weights may be another detector's first values; states that were for learning alone are done with.
    values.retain(|path, _| {
        let of = model.stored.iter().find(|s| s.path == *path && s.stage.is_none());
        of.is_some_and(|s| s.kind == StoredKind::Weight || wanted(path))
    });
    let mut content = build::packed(&subject.compiled, (plan.to_string(), plan), values, card)?;
    peers::keep(&mut content, set, job.seed, &job.broken)?;
    content.write(output).map_err(|e| {
        let text = format!("cannot write the bundle: {e}");
        Failure::input(text).help("nothing is lost: with more room, the same command with --resume writes it")
    })?;
    let _ = learn::forget(&job.folder);
    Ok(())
}

fn trained(r: &Report) -> v1::Trained {
    v1::Trained {
        stage: r.stage.clone(),
        epochs: r.epochs,
        steps: r.steps,
        samples: r.samples,
        loss: r.loss,
        best: r.best,
        kept: r.kept,
        seconds: r.seconds,
    }
}
