//! One stage: its steps, the end of each pass, its finish.
//!
//! In: a stage with its plan, a store, where it is. Out: the store as the stage leaves it. Invariants: what a step gets is a function of
//! the job and the step's number; a step is done or not done when a checkpoint is written.
//! Imports: feeding, features, order, sessions, stores.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::json;
use uad_plan::tensor::Tensor;
use uad_plan::{Binding, BufferKind, DType, Dim, Entry, Plan, Verified, bind};

use super::checkpoint::{Position, stored, views};
use super::features::Features;
use super::feed::{self, Batch, Clock, Given};
use super::run::Session;
use super::{Event, Job, Length, Report, Run, Stage, Tensors, Trouble, order};
use crate::data::ReadError;
use crate::data::kind;
use crate::data::load::Loader;
use crate::data::set::Split;
use crate::device::frame::Draw;
use crate::device::store::{Store, StoreExecutor, Value};

/// How a stage's run ended.
pub(super) enum End {
    /// All of it is done.
    Done,
    /// It was stopped between two steps.
    Stopped,
    /// The loss of this step is not finite; the store is spoilt.
    NotFinite { step: u64, epoch: u64, loss: f32 },
}

pub(super) type Loaded = Result<Arc<Vec<kind::Value>>, ReadError>;

/// A stage under way.
pub(super) struct Runner<'j> {
    pub job: &'j Job,
    pub stage: &'j Stage,
    plan: Verified<Plan<Dim>>,
    pub store: Store,
    executors: HashMap<(String, Vec<(String, i64)>), StoreExecutor>,
    /// Samples of the stage, in the order of the data set.
    pub data: Vec<usize>,
    /// Those that the kept value is watched on, if they are others.
    pub watched: Vec<usize>,
    pub features: Vec<(Split, Features)>,
    pub position: Position,
    pub best: Tensors,
    /// Values of other shapes than before, by path: see [`Stage::replaces`].
    made: Tensors,
    /// Outputs of the batches of this pass.
    collected: Vec<(String, Vec<u8>)>,
    /// Finding where a number that is none comes from: look at every step.
    pub hunting: bool,
    /// The step with all named values, for that.
    pub traced: Option<Verified<Plan<Dim>>>,
}

/// Sizes of a stage.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    /// Batches of a pass.
    pub batches: u64,
    /// Passes.
    pub epochs: u64,
    /// Updates.
    pub steps: u64,
}

impl<'j> Runner<'j> {
    pub(super) fn new(
        job: &'j Job,
        stage: &'j Stage,
        plan: Verified<Plan<Dim>>,
        store: Store,
        position: Position,
        best: Tensors,
        made: Tensors,
    ) -> Run<Runner<'j>> {
        let data = samples_of(job, stage, stage.data)?;
        let other = stage.keep.as_ref().filter(|k| k.on != stage.data);
        let watched = other.map_or(Ok(Vec::new()), |k| samples_of(job, stage, k.on))?;
        job.samples.draw_peers(job.seed, &job.broken);
        let runner = Runner {
            job,
            stage,
            plan,
            store,
            executors: HashMap::new(),
            data,
            watched,
            features: Vec::new(),
            position,
            best,
            made,
            collected: Vec::new(),
            hunting: false,
            traced: None,
        };
        runner.sizes()?;
        Ok(runner)
    }

    /// How much there is to do.
    pub(super) fn sizes(&self) -> Run<Sizes> {
        let (n, batch, stage) = (self.data.len(), self.stage.batch.max(1), self.stage);
        let batches = if stage.drop_last { n / batch } else { n.div_ceil(batch) } as u64;
        if batches == 0 {
            return Err(Trouble::input(format!(
                "the stage `{}` drops batches that are not full, and {n} samples do not fill one of {batch}",
                stage.name
            )));
        }
        Ok(match stage.length {
            Length::Epochs(epochs) => {
                let steps = epochs.saturating_mul(batches).saturating_sub(stage.skip);
                Sizes { batches, epochs, steps }
            }
            Length::Steps(steps) => {
                Sizes { batches, epochs: steps.saturating_add(stage.skip).div_ceil(batches), steps }
            }
        })
    }

    /// Samples of a pass.
    pub(super) fn samples(&self) -> usize {
        self.data.len()
    }

    pub(super) fn entry(&self, name: &str) -> Run<&Entry<Dim>> {
        let found = self.plan.entries.iter().find(|e| e.name == name);
        found.ok_or_else(|| Trouble::Fault(format!("the plan of the stage has no entry `{name}`")))
    }

    /// The samples of an epoch in their order. Stages that collect keep that of the data set.
    fn order(&self, epoch: u64) -> Vec<usize> {
        let n = self.data.len();
        if self.stage.collects.is_empty() {
            order::shuffled(self.job.seed, epoch, n).into_iter().filter_map(|i| self.data.get(i).copied()).collect()
        } else {
            self.data.clone()
        }
    }

    /// Makes an executor for these dims, at their first use.
    fn ready(&mut self, entry: &str, binding: Binding) -> Run<(String, Vec<(String, i64)>)> {
        let key = (entry.to_owned(), binding.iter().map(|(n, v)| (n.clone(), *v)).collect::<Vec<_>>());
        if !self.executors.contains_key(&key) {
            let bound = bind(&self.plan, entry, &binding).map_err(Trouble::input)?;
            let made = self.store.executor(bound)?;
            self.executors.insert(key.clone(), made);
        }
        Ok(key)
    }

    /// Calls an entry for a batch and hands its executor over.
    fn call(&mut self, entry: &str, batch: &Batch<'_>, split: Split, clock: Clock, draw: Draw) -> Run<&StoreExecutor> {
        let samples = self.job.samples.clone();
        let given = self.given(entry, batch, split)?;
        let binding = feed::binding(self.entry(entry)?, &samples, batch, &self.store)?;
        let key = self.ready(entry, binding)?;
        let lost = || Trouble::Fault("an executor vanished".to_owned());
        let features = self.features.iter().find(|f| f.0 == split).map(|f| &f.1);
        let given = given.of(features).ok_or_else(lost)?;
        let executor = self.executors.get_mut(&key).ok_or_else(lost)?;
        feed::fill(executor, &samples, batch, &given, clock)?;
        if self.hunting && entry == self.stage.name {
            let before: Tensors = self.store.tensors()?.into_iter().collect();
            executor.run(&mut self.store, draw)?;
            if !finite(executor.output("loss").as_ref()) || self.store.tensors()?.iter().any(|t| !finite(Some(&t.1))) {
                for (path, tensor) in &before {
                    self.store.set(path, tensor.as_bytes())?;
                }
                let born = executor.birth(&mut self.store, draw)?;
                let seen = self.first_seen(&before, batch, split, clock, draw);
                return Err(super::hunt::told(self.stage, clock, born, seen));
            }
        } else {
            executor.run(&mut self.store, draw)?;
        }
        self.executors.get(&key).ok_or_else(lost)
    }

    /// The first named value of a step that holds numbers that are none.
    fn first_seen(
        &mut self,
        before: &Tensors,
        batch: &Batch<'_>,
        split: Split,
        clock: Clock,
        draw: Draw,
    ) -> Option<String> {
        let plan = self.traced.take()?;
        for (path, tensor) in before {
            self.store.set(path, tensor.as_bytes()).ok()?;
        }
        let name = &self.stage.name;
        let wanted = self.given(name, batch, split).ok()?;
        let features = self.features.iter().find(|f| f.0 == split).map(|f| &f.1);
        let given = wanted.of(features)?;
        let entry = plan.entries.iter().find(|e| e.name == *name)?;
        let binding = feed::binding(entry, &self.job.samples, batch, &self.store).ok()?;
        let bound = bind(&plan, name, &binding).ok()?;
        let mut executor = self.store.executor(bound).ok()?;
        feed::fill(&mut executor, &self.job.samples, batch, &given, clock).ok()?;
        executor.run(&mut self.store, draw).ok()?;
        // The loss is an output of every step: it stands before the values that it is made of.
        let outputs = || executor.bound().outputs.iter().map(|p| p.name.as_str());
        let mut all = outputs().filter(|n| *n != "loss").chain(outputs().filter(|n| *n == "loss"));
        all.find(|n| !finite(executor.output(n).as_ref())).map(str::to_owned)
    }

    /// The features that an entry takes.
    fn given(&mut self, entry: &str, batch: &Batch<'_>, split: Split) -> Run<Wanted> {
        let Some(features) = self.stage.features.as_ref().filter(|f| *f != entry).cloned() else {
            return Ok(Wanted::Nothing);
        };
        if self.features.iter().any(|f| f.0 == split) {
            let list = if split == self.stage.data { &self.data } else { &self.watched };
            let row = |n: &usize| list.binary_search(n).ok();
            let rows: Option<Vec<usize>> = batch.rows.iter().map(row).collect();
            return rows.map(Wanted::Rows).ok_or_else(|| Trouble::Fault("a sample without features".to_owned()));
        }
        let executor = self.call_plain(&features, batch)?;
        let outputs = executor.bound().outputs.iter();
        let made = outputs.filter_map(|p| Some((p.name.clone(), executor.output_bytes(&p.name)?.to_vec())));
        Ok(Wanted::Made(made.collect()))
    }

    /// Calls an entry that takes samples alone.
    pub(super) fn call_plain(&mut self, entry: &str, batch: &Batch<'_>) -> Run<&StoreExecutor> {
        let samples = self.job.samples.clone();
        let binding = feed::binding(self.entry(entry)?, &samples, batch, &self.store)?;
        let key = self.ready(entry, binding)?;
        let lost = || Trouble::Fault("an executor vanished".to_owned());
        let executor = self.executors.get_mut(&key).ok_or_else(lost)?;
        let clock = Clock { step: 0, steps: 0, epoch: 0, epochs: 0 };
        feed::fill(executor, &samples, batch, &Given::Nothing, clock)?;
        executor.run(&mut self.store, Draw { seed: self.job.seed, ..Draw::default() })?;
        Ok(executor)
    }

    /// Runs the rest of the stage.
    pub(super) fn run(&mut self, session: &mut Session<'_, '_>) -> Run<End> {
        let sizes = self.sizes()?;
        if !self.cache(session)? {
            return Ok(End::Stopped);
        }
        let begin = Instant::now();
        let before = self.position.seconds;
        let raw = feed::reads_samples(self.entry(&self.stage.name)?, &self.job.samples)
            || (self.stage.features.is_some() && !self.features.iter().any(|f| f.0 == self.stage.data));
        let mut loader = raw.then(|| self.loader(sizes));
        let mut order = self.order(self.position.epoch);
        let mut pass = (Instant::now(), 0);
        while self.position.epoch < sizes.epochs && self.position.step < sizes.steps {
            let (epoch, n) = (self.position.epoch, self.position.batch);
            let from = n as usize * self.stage.batch;
            let to = (from + self.stage.batch).min(order.len());
            let rows = order.get(from..to).unwrap_or_default().to_vec();
            let values = match &mut loader {
                Some(l) => take(l, rows.len())?,
                None => Vec::new(),
            };
            self.position.batch += 1;
            if epoch > 0 || n >= self.stage.skip {
                let draw = Draw { seed: self.job.seed, step: self.position.step, sample: from as u64 };
                let (step, steps, epochs) = (self.position.step, sizes.steps, sizes.epochs);
                let clock = Clock { step, steps, epoch, epochs };
                let result = self.step(&Batch { rows: &rows, values: &values }, clock, draw);
                let loss = result.inspect_err(|_| self.position.batch = n)?;
                if let Some(loss) = loss.filter(|l| !l.is_finite()) {
                    return Ok(End::NotFinite { step, epoch, loss });
                }
                pass.1 += rows.len();
                self.position.step += 1;
                session.tell(Event::Step { step: self.position.step, steps, epoch, loss, samples: rows.len() });
            }
            let ends = self.position.batch >= sizes.batches || self.position.step >= sizes.steps;
            let mut enough = false;
            if ends {
                let rate = pass.1 as f64 / pass.0.elapsed().as_secs_f64().max(1e-9);
                enough = self.end_of_pass(sizes, rate, session)?;
                if self.position.epoch < sizes.epochs && !enough {
                    order = self.order(self.position.epoch);
                    pass = (Instant::now(), 0);
                }
            }
            self.position.seconds = before + begin.elapsed().as_secs_f64();
            let over = enough || self.position.epoch >= sizes.epochs || self.position.step >= sizes.steps;
            if over {
                break;
            }
            if self.stage.collects.is_empty() || ends {
                let stop = self.job.stop.load(Ordering::Relaxed);
                if stop || session.due() {
                    self.save(session)?;
                }
                if stop {
                    return Ok(End::Stopped);
                }
            } else if self.job.stop.load(Ordering::Relaxed) {
                // The checkpoint at the beginning of the pass stands.
                return Ok(End::Stopped);
            }
        }
        self.finish(sizes)?;
        self.position.seconds = before + begin.elapsed().as_secs_f64();
        Ok(End::Done)
    }

    fn loader(&self, sizes: Sizes) -> Loader<Loaded> {
        let (epoch, skip) = (self.position.epoch, self.position.batch as usize * self.stage.batch);
        let each = (sizes.batches as usize).saturating_mul(self.stage.batch).min(self.data.len());
        let (seed, data, shuffle) = (self.job.seed, self.data.clone(), self.stage.collects.is_empty());
        let pass = move |e: u64| {
            let list = if shuffle { order::shuffled(seed, e, data.len()) } else { (0..data.len()).collect() };
            let list: Vec<usize> = list.into_iter().take(each).filter_map(|i| data.get(i).copied()).collect();
            list
        };
        let samples = self.job.samples.clone();
        // What is loaded depends on the epoch too: both in one number.
        let all = samples.set().samples.len().max(1);
        let order = (epoch..sizes.epochs).flat_map(move |e| pass(e).into_iter().map(move |n| e as usize * all + n));
        Loader::new(order.skip(skip), self.job.loaders, 2 * self.stage.batch + 2, move |at| {
            samples.drawn(at % all, (at / all) as u64)
        })
    }

    /// One step: its loss.
    fn step(&mut self, batch: &Batch<'_>, clock: Clock, draw: Draw) -> Run<Option<f32>> {
        if self.position.batch == 1 {
            self.collected.clear();
        }
        let (stage, split) = (self.stage, self.stage.data);
        let executor = self.call(&stage.name, batch, split, clock, draw)?;
        let number = |name: &str| {
            let bytes = executor.output_bytes(name)?.first_chunk::<4>()?;
            Some(f32::from_le_bytes(*bytes))
        };
        let loss = if stage.trains { number("loss") } else { None };
        let watched = stage.keep.as_ref().filter(|k| k.on == split).and_then(|k| number(&k.value));
        let mut collected = Vec::new();
        for name in &stage.collects {
            let bytes = executor.output_bytes(name);
            let bytes = bytes.ok_or_else(|| Trouble::Fault(format!("the step gives no `{name}`")))?;
            collected.push((name.clone(), bytes.to_vec()));
        }
        let made: Vec<(String, Tensor)> =
            stage.replaces.iter().filter_map(|path| Some((path.clone(), executor.output(path)?))).collect();
        for (name, bytes) in collected {
            match self.collected.iter_mut().find(|c| c.0 == name) {
                Some(c) => {
                    let room = c.1.try_reserve(bytes.len());
                    room.map_err(|_| Trouble::input(format!("`{name}` of all samples does not fit into memory")))?;
                    c.1.extend_from_slice(&bytes);
                }
                None => self.collected.push((name, bytes)),
            }
        }
        self.made.extend(made);
        let n = batch.rows.len() as u64;
        Position::add(&mut self.position.sum, loss.map_or(0.0, |l| f64::from(l) * n as f64));
        Position::add(&mut self.position.watched, watched.map_or(0.0, |l| f64::from(l) * n as f64));
        self.position.count += n;
        Ok(loss)
    }

    /// The mean of what is watched, over samples that the stage does not learn from. Changes nothing.
    fn look(&mut self, value: &str, on: Split, clock: Clock) -> Run<f64> {
        let lost = || Trouble::Fault(format!("nothing gives `{value}` on other samples"));
        let entry = self.stage.watch.clone().ok_or_else(lost)?;
        let raw = feed::reads_samples(self.entry(&entry)?, &self.job.samples)
            || (self.stage.features.is_some() && !self.features.iter().any(|f| f.0 == on));
        let list = self.watched.clone();
        let samples = self.job.samples.clone();
        let make = move |n| samples.drawn(n, 0);
        let ahead = 2 * self.stage.batch + 2;
        let mut loader = raw.then(|| Loader::new(list.clone().into_iter(), self.job.loaders, ahead, make));
        let (mut sum, mut count) = (0.0, 0.0);
        for (n, rows) in list.chunks(self.stage.batch.max(1)).enumerate() {
            let values = match &mut loader {
                Some(l) => take(l, rows.len())?,
                None => Vec::new(),
            };
            // The same draws at every look, so that epochs can be compared.
            let draw = Draw { seed: self.job.seed, step: 0, sample: (n * self.stage.batch) as u64 };
            let executor = self.call(&entry, &Batch { rows, values: &values }, on, clock, draw)?;
            let bytes = executor.output_bytes(value).and_then(|b| b.first_chunk::<4>());
            let bytes = bytes.ok_or_else(|| Trouble::Fault(format!("`{value}` is not one number")))?;
            sum += f64::from(f32::from_le_bytes(*bytes)) * rows.len() as f64;
            count += rows.len() as f64;
        }
        Ok(sum / count)
    }

    /// What follows a pass: means, what is kept, whether that was enough.
    fn end_of_pass(&mut self, sizes: Sizes, rate: f64, session: &mut Session<'_, '_>) -> Run<bool> {
        let (epoch, count) = (self.position.epoch, self.position.count as f64);
        let mean = |sum: u64| (count > 0.0).then(|| f64::from_bits(sum) / count);
        let loss = if self.stage.trains { mean(self.position.sum) } else { None };
        let keep = self.stage.keep.clone();
        let watched = match &keep {
            Some(k) if k.on == self.stage.data => mean(self.position.watched),
            Some(k) => {
                let (step, steps) = (self.position.step, sizes.steps);
                Some(self.look(&k.value, k.on, Clock { step, steps, epoch, epochs: sizes.epochs })?)
            }
            None => None,
        };
        let (value, lowest) = match &keep {
            Some(k) => (watched, k.lowest),
            None => (loss.filter(|_| self.stage.patience.is_some()), true),
        };
        let better = |v: f64, old: f64| if lowest { v < old } else { v > old };
        let best = value
            .is_some_and(|v| !v.is_nan() && self.position.best.is_none_or(|(old, _)| better(v, f64::from_bits(old))));
        if let (true, Some(v)) = (best, value) {
            self.position.best = Some((v.to_bits(), epoch));
            if keep.is_some() {
                self.best = self.store.tensors()?.into_iter().collect();
            }
        }
        self.position.last = loss.map(f64::to_bits);
        (self.position.sum, self.position.watched, self.position.count) = (0, 0, 0);
        self.position.epoch += 1;
        self.position.batch = 0;
        let stage = &self.stage.name;
        session.log(&json!({
            "stage": stage, "epoch": epoch, "step": self.position.step, "loss": loss,
            "watched": watched, "best": best, "images_per_second": (rate * 10.0).round() / 10.0,
        }));
        session.tell(Event::Epoch { epoch, epochs: sizes.epochs, loss, watched, best, rate });
        let since = self.position.best.map_or(0, |(_, at)| epoch - at.min(epoch));
        Ok(self.stage.patience.is_some_and(|p| value.is_some() && since >= p))
    }

    /// What comes after the last pass.
    fn finish(&mut self, sizes: Sizes) -> Run {
        for (path, tensor) in &self.best {
            self.store.set(path, tensor.as_bytes())?;
        }
        let Some(entry) = self.stage.finish.clone() else { return self.no_nan() };
        let found = self.entry(&entry)?;
        let mut binding = Binding::new();
        let mut given = Vec::new();
        for b in found.buffers.iter().filter(|b| b.kind == BufferKind::Input) {
            let Some(bytes) = self.collected.iter().find(|c| c.0 == b.name).map(|c| &c.1) else { continue };
            // All dims but the first are closed.
            let rest: Option<i64> = b.shape.iter().skip(1).map(Dim::as_int).product();
            let row = rest.and_then(|n| usize::try_from(n).ok()).map(|n| n * b.dtype.bytes());
            let (Some(dim), Some(row)) = (b.shape.first(), row) else {
                return Err(Trouble::Fault(format!("the collected `{}` has open dims", b.name)));
            };
            let n = bytes.len() / row.max(1);
            if let Some(name) = dim.as_name() {
                binding.insert(name.to_owned(), n as i64);
            }
            given.push(b.name.clone());
        }
        feed::stored_dims(found, &self.store, &mut binding)?;
        if found.dims.iter().any(|d| d == "N") {
            binding.entry("N".to_owned()).or_insert(self.data.len() as i64);
        }
        let key = self.ready(&entry, binding)?;
        let lost = || Trouble::Fault("an executor vanished".to_owned());
        let executor = self.executors.get_mut(&key).ok_or_else(lost)?;
        for name in given {
            let from = self.collected.iter().find(|c| c.0 == name).map(|c| c.1.as_slice()).unwrap_or_default();
            match executor.input_mut(&name) {
                Some(to) if to.len() == from.len() => to.copy_from_slice(from),
                _ => return Err(Trouble::Fault(format!("`{name}` of all samples has another size"))),
            }
        }
        let clock = Clock { step: self.position.step, steps: sizes.steps, epoch: sizes.epochs, epochs: sizes.epochs };
        feed::fill_clock(executor, clock);
        let draw = Draw { seed: self.job.seed, step: self.position.step, sample: 0 };
        executor.run(&mut self.store, draw)?;
        let replaces = &self.stage.replaces;
        let made = replaces.iter().filter_map(|path| Some((path.clone(), executor.output(path)?)));
        self.made.extend(made);
        self.no_nan()
    }

    /// A rule that leaves numbers that are none is named by what it wrote.
    fn no_nan(&self) -> Run {
        for Value { path, dtype, bytes, .. } in self.store.changing()? {
            let nan = |b: &[u8; 4]| f32::from_le_bytes(*b).is_nan();
            if dtype == DType::F32 && bytes.as_chunks::<4>().0.iter().any(nan) {
                let stage = &self.stage.name;
                return Err(Trouble::input(format!(
                    "the stage `{stage}` leaves `{path}` with values that are no numbers"
                )));
            }
        }
        Ok(())
    }

    /// Writes a checkpoint.
    pub(super) fn save(&self, session: &mut Session<'_, '_>) -> Run {
        let changing = self.store.changing()?;
        let now = stored(&changing).into_iter().chain(views(&self.made)).collect();
        session.save(&self.position, now, &self.best);
        Ok(())
    }

    /// What the stage leaves.
    pub(super) fn left(&self) -> Run<Vec<(String, Tensor)>> {
        let made = self.made.iter().map(|(path, t)| (path.clone(), t.clone()));
        Ok(self.store.tensors()?.into_iter().chain(made).collect())
    }

    /// What has become of the stage.
    pub(super) fn report(&self) -> Report {
        let kept = self.stage.keep.as_ref().and(self.position.best);
        Report {
            stage: self.stage.name.clone(),
            epochs: self.position.epoch,
            steps: self.position.step,
            samples: self.data.len(),
            loss: self.position.last.map(f64::from_bits),
            best: kept.map(|b| f64::from_bits(b.0)),
            kept: kept.map(|b| b.1),
            seconds: self.position.seconds,
        }
    }
}

/// The samples of a split that can be used; none is an error.
pub(super) fn samples_of(job: &Job, stage: &Stage, split: Split) -> Run<Vec<usize>> {
    let set = job.samples.set();
    let all: Vec<usize> = set.of(split).into_iter().filter(|n| job.broken.binary_search(n).is_err()).collect();
    if !all.is_empty() {
        return Ok(all);
    }
    let (name, path) = (&stage.name, set.path.display());
    let none = Trouble::input(format!("the stage `{name}` needs samples of the split `{split}`; {path} has none"));
    Err(if split == Split::Validation { none.help("--validation 0.1 holds a tenth out") } else { none })
}

/// Where the features of a batch are to come from.
enum Wanted {
    Nothing,
    Rows(Vec<usize>),
    Made(Vec<(String, Vec<u8>)>),
}

impl Wanted {
    fn of(self, features: Option<&Features>) -> Option<Given<'_>> {
        Some(match self {
            Wanted::Nothing => Given::Nothing,
            Wanted::Made(m) => Given::Made(m),
            Wanted::Rows(rows) => Given::Rows(features?, rows),
        })
    }
}

fn finite(t: Option<&Tensor>) -> bool {
    t.and_then(Tensor::as_f32).is_none_or(|v| !v.iter().any(|x| x.is_nan()))
}

/// The next `n` samples.
pub(super) fn take(loader: &mut Loader<Loaded>, n: usize) -> Run<Vec<Arc<Vec<kind::Value>>>> {
    let one = |_| match loader.next() {
        Some((_, Ok(v))) => Ok(v),
        Some((_, Err(e))) => Err(Trouble::from(e).help("the checkpoint holds the run up to here")),
        None => Err(Trouble::Fault("a loading thread broke off".to_owned())),
    };
    (0..n).map(one).collect()
}
