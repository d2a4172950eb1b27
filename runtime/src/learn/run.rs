//! A run: stages in order, with checkpoints between and within them.
//!
//! In: a job, first values, a plan per stage. Out: values after the last stage, or where it was stopped. Invariants: as of
//! [`super`]. Imports: checkpoints, journals, stages, stores.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uad_plan::tensor::Tensor;
use uad_plan::{Body, BufferKind, DType, Dim, Entry, Kernel, Plan, Verified};

use super::checkpoint::{self, Checkpoint, Position, State, stored, views};
use super::journal::Journal;
use super::stage::{End, Runner, samples_of};
use super::{Event, Job, Outcome, Plans, Prepared, Report, Run, Stage, Tensors, Trouble, hunt};
use crate::device::executor::StoredBytes;
use crate::device::store::Store;

/// Tensors by name, in order.
type Named = Vec<(String, Tensor)>;

/// What lasts longer than a stage.
pub(super) struct Session<'j, 't> {
    job: &'j Job,
    identity: BTreeMap<String, String>,
    done: Vec<Report>,
    changed: Tensors,
    journal: Journal,
    log: PathBuf,
    saved: Instant,
    tell: &'t mut dyn FnMut(Event<'_>),
    /// The last checkpoint could not be written, which was said.
    failed: bool,
    /// Finding a fault: nothing is told or saved.
    quiet: bool,
}

impl Session<'_, '_> {
    pub(super) fn tell(&mut self, event: Event<'_>) {
        if !self.quiet {
            (self.tell)(event);
        }
    }

    /// Adds a line to the log.
    pub(super) fn log(&mut self, line: &Value) {
        if !self.quiet
            && let Some(trouble) = self.journal.line(line, &self.log)
        {
            (self.tell)(Event::Warning(trouble));
        }
    }

    /// Is it time for a checkpoint?
    pub(super) fn due(&self) -> bool {
        self.saved.elapsed() >= self.job.every
    }

    /// Writes a checkpoint. Where that fails the one before stays, and the run goes on.
    pub(super) fn save(&mut self, position: &Position, now: checkpoint::Views<'_>, best: &Tensors) {
        match self.try_save(position, now, best) {
            Ok(()) => self.failed = false,
            Err(e) => {
                if !std::mem::replace(&mut self.failed, true) {
                    let path = checkpoint::path(&self.job.folder);
                    let text = format!("{}: {e}; the checkpoint before it stays, the run goes on", path.display());
                    self.tell(Event::Warning(text));
                }
            }
        }
    }

    fn try_save(&mut self, position: &Position, now: checkpoint::Views<'_>, best: &Tensors) -> std::io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        self.saved = Instant::now();
        let state = State {
            done: self.done.clone(),
            position: position.clone(),
            log: self.journal.bytes(),
            ..State::default()
        };
        let groups = [("changed:", views(&self.changed)), ("now:", now), ("best:", views(best))];
        checkpoint::write(&self.job.folder, &self.identity, &state, groups)?;
        (self.tell)(Event::Saved);
        Ok(())
    }
}

/// Values of a stage: what it keeps for itself stands before what the detector has.
struct Layers {
    own: Tensors,
    detector: Arc<Tensors>,
}

impl StoredBytes for Layers {
    fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.own.get(path).or_else(|| self.detector.get(path)).map(Tensor::as_bytes)
    }

    fn shape(&self, path: &str) -> Option<Vec<usize>> {
        self.own.get(path).or_else(|| self.detector.get(path)).map(|t| t.shape().to_vec())
    }
}

/// Stored tensors that an entry writes.
fn writes(entry: &Entry<Dim>) -> BTreeSet<String> {
    fn all(kernels: &[Kernel<Dim>], into: &mut BTreeSet<u32>) {
        for k in kernels {
            into.extend(k.writes.iter().map(|w| w.buffer.0));
            if let Body::Loop { carried, body, .. } = &k.body {
                into.extend(carried.iter().map(|c| c.1.0));
                all(body, into);
            }
        }
    }
    let mut written = BTreeSet::new();
    all(&entry.kernels, &mut written);
    let stored = entry.buffers.iter().enumerate().filter(|(_, b)| b.kind == BufferKind::Stored);
    stored.filter(|(i, _)| written.contains(&(*i as u32))).map(|(_, b)| b.name.clone()).collect()
}

fn changing(plan: &Plan<Dim>) -> Run<Vec<(String, DType, Vec<usize>)>> {
    let written: BTreeSet<String> = plan.entries.iter().flat_map(writes).collect();
    let mut found = Vec::new();
    for s in plan.stored.iter().filter(|s| written.contains(&s.path)) {
        let shape: Option<Vec<usize>> = s.shape.iter().map(|d| usize::try_from(d.as_int()?).ok()).collect();
        let shape = shape.ok_or_else(|| Trouble::Fault(format!("`{}` has open dims", s.path)))?;
        found.push((s.path.clone(), s.dtype, shape));
    }
    Ok(found)
}

/// A digest of these parts, in order.
pub fn digest(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hasher = Sha256::new();
    for p in parts {
        hasher.update((p.as_ref().len() as u64).to_le_bytes());
        hasher.update(p.as_ref());
    }
    hasher.finalize().iter().take(12).map(|b| format!("{b:02x}")).collect()
}

/// What makes two runs the same.
fn identity(job: &Job, values: &Tensors) -> BTreeMap<String, String> {
    let mut all = job.identity.clone();
    all.insert("the seed".to_owned(), job.seed.to_string());
    all.insert("the device".to_owned(), job.device.kind());
    for s in &job.stages {
        all.insert(format!("the stage `{}`", s.name), digest([format!("{s:?}")]));
    }
    let samples = job.samples.set().samples.iter().enumerate();
    let used = samples.filter(|(n, _)| job.digests.contains_key(n) && job.broken.binary_search(n).is_err());
    let sample = |(n, s): (usize, &crate::data::set::Sample)| {
        format!("{} {} {} {}", s.name, s.class, s.split, job.digests.get(&n).map_or("", String::as_str))
    };
    all.insert("the data".to_owned(), digest(used.map(sample)));
    all.insert("the inputs".to_owned(), digest([format!("{:?}", job.samples.takes())]));
    let tensors = values.iter().flat_map(|(n, t)| [n.as_bytes(), t.as_bytes()]);
    all.insert("the weights".to_owned(), digest(tensors));
    all
}

/// Runs all stages that have not run. `tell` hears what happens.
pub fn run(
    job: &Job,
    values: Tensors,
    plans: &mut dyn Plans,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, Trouble> {
    let folder = &job.folder;
    std::fs::create_dir_all(folder).map_err(|e| Trouble::input(format!("{}: {e}", folder.display())))?;
    let identity = identity(job, &values);
    let found = if job.resume { checkpoint::read(folder, &identity)? } else { None };
    let log = folder.join("log.jsonl");
    let (journal, trouble) = Journal::open(&log, found.as_ref().map_or(0, |c| c.state.log));
    if let Some(text) = trouble {
        tell(Event::Warning(text));
    }
    let mut session = Session {
        job,
        identity,
        done: Vec::new(),
        changed: Tensors::new(),
        journal,
        log,
        saved: Instant::now(),
        tell,
        failed: false,
        quiet: false,
    };
    for stage in &job.stages {
        for split in [Some(stage.data), stage.keep.as_ref().map(|k| k.on)].into_iter().flatten() {
            samples_of(job, stage, split)?;
        }
    }
    let mut detector = values;
    let mut checkpoint = found;
    if let Some(c) = &mut checkpoint {
        session.done.clone_from(&c.state.done);
        session.changed = std::mem::take(&mut c.changed);
        detector.extend(session.changed.clone());
        let step = c.state.position.step;
        if let Some(stage) = job.stages.get(session.done.len()) {
            session.tell(Event::Resumed { stage: &stage.name, step });
        }
    }
    while let Some(stage) = job.stages.get(session.done.len()) {
        let prepared = plans.stage(stage)?;
        let own: BTreeSet<String> = prepared.first.keys().cloned().collect();
        let shared = Arc::new(detector);
        let from = checkpoint.take().unwrap_or_default();
        let ended = one(&mut session, stage, &prepared, &shared, from, plans);
        detector = Arc::try_unwrap(shared).map_err(|_| Trouble::Fault("values are still in use".to_owned()))?;
        let Some((report, now)) = ended? else {
            return Ok(Outcome { values: detector, done: session.done, stopped: true });
        };
        let now = now.into_iter().filter(|(path, _)| !own.contains(path));
        for (path, tensor) in now {
            detector.insert(path.clone(), tensor.clone());
            session.changed.insert(path, tensor);
        }
        session.log(&json!({ "stage": report.stage, "done": true, "seconds": report.seconds, "loss": report.loss }));
        session.tell(Event::Done(&report));
        session.done.push(report);
        session.save(&Position::default(), Vec::new(), &Tensors::new());
    }
    Ok(Outcome { values: detector, done: session.done, stopped: false })
}

/// A stage's runner, where a checkpoint says.
fn runner<'j>(
    job: &'j Job,
    stage: &'j Stage,
    prepared: &Prepared,
    detector: &Arc<Tensors>,
    from: Checkpoint,
) -> Run<Runner<'j>> {
    let plan = &prepared.plan;
    let changing = changing(plan)?;
    let mut own = prepared.first.clone();
    let (made, now): (Tensors, Tensors) = from.now.into_iter().partition(|(path, _)| stage.replaces.contains(path));
    own.extend(now);
    for (path, dtype, shape) in &changing {
        if !own.contains_key(path) && !detector.contains_key(path) {
            // A state without a first value: the stage writes it before anybody reads it.
            let zeros = Tensor::zeros(*dtype, shape).map_err(|e| Trouble::input(format!("`{path}`: {e}")))?;
            own.insert(path.clone(), zeros);
        }
    }
    let layers = Layers { own, detector: detector.clone() };
    let store = Store::new(changing, Arc::new(layers), &job.device)?;
    Runner::new(job, stage, plan.clone(), store, from.state.position, from.best, made)
}

/// Runs a stage to its end, or to where it is stopped (`None`).
fn one(
    session: &mut Session<'_, '_>,
    stage: &Stage,
    prepared: &Prepared,
    detector: &Arc<Tensors>,
    from: Checkpoint,
    plans: &mut dyn Plans,
) -> Run<Option<(Report, Named)>> {
    let job = session.job;
    let fresh = from.now.is_empty();
    let mut runner = runner(job, stage, prepared, detector, from)?;
    let sizes = runner.sizes()?;
    let (number, samples) = (session.done.len(), runner.samples());
    session.tell(Event::Stage { stage, number, samples, epochs: sizes.epochs, steps: sizes.steps });
    if fresh {
        // Written at once: a folder that cannot be written is known before hours are spent.
        if number == 0 {
            let now = runner.store.changing()?;
            let path = checkpoint::path(&job.folder);
            let written = session.try_save(&runner.position, stored(&now), &runner.best);
            written.map_err(|e| Trouble::input(format!("cannot write {}: {e}", path.display())))?;
        } else {
            runner.save(session)?;
        }
    }
    match runner.run(session) {
        Ok(End::Done) => Ok(Some((runner.report(), runner.left()?))),
        Ok(End::Stopped) => Ok(None),
        Ok(End::NotFinite { step, epoch, loss }) => {
            drop(runner);
            session.log(&json!({ "stage": stage.name, "step": step, "epoch": epoch, "loss": loss.to_string() }));
            let traced = plans.traced(stage);
            Err(born(session, stage, prepared, detector, (step, epoch, loss), traced))
        }
        Err(e) => {
            // Between two steps, so what is saved is whole. A device that was lost has nothing left to save: the checkpoint before
            // it stands.
            if stage.collects.is_empty() {
                let _ = runner.save(session);
            }
            Err(e)
        }
    }
}

/// Goes back to the last checkpoint and looks at every step from there.
fn born(
    session: &mut Session<'_, '_>,
    stage: &Stage,
    prepared: &Prepared,
    detector: &Arc<Tensors>,
    (step, epoch, loss): (u64, u64, f32),
    traced: Option<Verified<Plan<Dim>>>,
) -> Trouble {
    let plain = hunt::plain(stage, step, epoch, loss);
    let Ok(Some(from)) = checkpoint::read(&session.job.folder, &session.identity) else { return plain };
    if from.state.done.len() != session.done.len() || from.state.position.step > step {
        return plain;
    }
    session.tell(Event::Warning(format!(
        "the loss is {loss} at step {}; looking for the place from step {} on",
        step + 1,
        from.state.position.step + 1
    )));
    let job = session.job;
    session.quiet = true;
    let found = runner(job, stage, prepared, detector, from).and_then(|mut r| {
        r.hunting = true;
        r.traced = traced;
        r.run(session)
    });
    session.quiet = false;
    match found {
        Err(t @ Trouble::Input(..)) => t,
        _ => plain,
    }
}
