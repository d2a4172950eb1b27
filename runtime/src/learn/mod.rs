//! Learning: stages run in order over a data set until a detector's weights and states are what they are to be.
//!
//! In: a [`Job`] (stages, samples, a folder to work in), first values, a plan for each stage. Out: values, checkpoints, a log of
//! JSON lines, [`Event`]s. Invariants: the loop knows no operation and no compiler; the same job gives the same bits on one kind of device,
//! whatever the number of threads, and however often it is stopped or killed and resumed; what was saved stays whole.
//! Imports: plans, devices, data, whole files.

mod cached;
mod checkpoint;
mod features;
mod feed;
mod hunt;
mod journal;
mod order;
mod run;
mod stage;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use uad_plan::tensor::Tensor;
use uad_plan::{Dim, Plan, Verified};

use crate::data::ReadError;
use crate::data::load::Samples;
use crate::data::set::Split;
use crate::device::{Device, DeviceError};

pub use checkpoint::{forget, unfinished};
pub use run::{digest, run};

/// Stored tensors by path.
pub type Tensors = BTreeMap<String, Tensor>;

/// How long a stage runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Passes over its data.
    Epochs(u64),
    /// Batches in all.
    Steps(u64),
}

/// Which moment of a stage is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// An output of the stage's entry.
    pub value: String,
    /// Over which samples its mean is taken.
    pub on: Split,
    /// The lowest or the highest.
    pub lowest: bool,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name and that of its entry.
    pub name: String,
    /// The entry that makes of a batch what does not change while the stage runs: inputs `@0`, `@1`, … of the step.
    pub features: Option<String>,
    /// The entry that runs after the last batch.
    pub finish: Option<String>,
    /// Outputs of every batch of the last pass that `finish` takes, stacked over the pass.
    pub collects: Vec<String>,
    /// Outputs that are the new values of the stored tensors of these paths, whose shapes the stage gives.
    pub replaces: Vec<String>,
    /// How long.
    pub length: Length,
    /// Samples in a batch.
    pub batch: usize,
    /// Which samples.
    pub data: Split,
    /// Is a last batch that is not full left out?
    pub drop_last: bool,
    /// Batches at the beginning that are left out.
    pub skip: u64,
    /// The end comes after so many epochs without a better value.
    pub patience: Option<u64>,
    /// What is kept.
    pub keep: Option<Keep>,
    /// The entry that gives what is watched on other samples than the stage's.
    pub watch: Option<String>,
    /// Has it a loss, its entry's output `loss`?
    pub trains: bool,
}

/// What a stage needs beside its description.
pub struct Prepared {
    /// Its entries.
    pub plan: Verified<Plan<Dim>>,
    /// First values of what the stage alone keeps, as moments of optimisers.
    pub first: Tensors,
}

/// Whoever has the stages' plans.
pub trait Plans {
    /// The plan of a stage that is about to run.
    fn stage(&mut self, stage: &Stage) -> Result<Prepared, Trouble>;

    /// The stage's entry with all its named values as outputs, asked for where a loss is no number.
    fn traced(&mut self, stage: &Stage) -> Option<Verified<Plan<Dim>>> {
        let _ = stage;
        None
    }
}

/// All that decides what is learned, and where.
pub struct Job {
    /// Stages, in order.
    pub stages: Vec<Stage>,
    /// The samples, as the detector's inputs.
    pub samples: Arc<Samples>,
    /// Positions of samples that cannot be used.
    pub broken: Vec<usize>,
    /// A digest of each sample's file.
    pub digests: BTreeMap<usize, String>,
    /// The seed.
    pub seed: u64,
    /// Checkpoints, features and the log are kept here.
    pub folder: PathBuf,
    /// Time between two checkpoints; with zero one after every step.
    pub every: Duration,
    /// What must be the same for a run to be resumed: names with digests or values.
    pub identity: BTreeMap<String, String>,
    /// Go on from the checkpoint?
    pub resume: bool,
    /// Where entries run.
    pub device: Device,
    /// Threads that load samples.
    pub loaders: usize,
    /// Set from outside to end early, with a checkpoint.
    pub stop: Arc<AtomicBool>,
}

/// What happens, for people.
#[derive(Debug)]
pub enum Event<'a> {
    /// A run goes on from a checkpoint.
    Resumed {
        /// Stage that goes on.
        stage: &'a str,
        /// Updates that it has done.
        step: u64,
    },
    /// A stage begins or goes on.
    Stage {
        /// Which.
        stage: &'a Stage,
        /// Its position.
        number: usize,
        /// Samples of one pass.
        samples: usize,
        /// Passes.
        epochs: u64,
        /// Updates.
        steps: u64,
    },
    /// Features are computed: samples done, of how many.
    Features {
        /// Done.
        done: usize,
        /// Of.
        of: usize,
    },
    /// Features are on disk.
    Cached {
        /// Bytes.
        bytes: u64,
        /// Were they there before?
        found: bool,
    },
    /// A step is done.
    Step {
        /// Updates done in the stage.
        step: u64,
        /// Of.
        steps: u64,
        /// Epoch, from 0.
        epoch: u64,
        /// Its loss.
        loss: Option<f32>,
        /// Samples of the batch.
        samples: usize,
    },
    /// A pass is done.
    Epoch {
        /// From 0.
        epoch: u64,
        /// Of.
        epochs: u64,
        /// Mean loss.
        loss: Option<f64>,
        /// The value that decides what is kept.
        watched: Option<f64>,
        /// Was it the best so far?
        best: bool,
        /// Samples per second.
        rate: f64,
    },
    /// A stage is done.
    Done(&'a Report),
    /// A checkpoint was written.
    Saved,
    /// Something that does not end the run.
    Warning(String),
}

/// What a stage has come to.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// Which.
    pub stage: String,
    /// Passes that were made.
    pub epochs: u64,
    /// Updates.
    pub steps: u64,
    /// Samples of a pass.
    pub samples: usize,
    /// Mean loss of the last pass.
    pub loss: Option<f64>,
    /// The best value of what is watched.
    pub best: Option<f64>,
    /// The epoch that was kept, from 0.
    pub kept: Option<u64>,
    /// Seconds, summed over interruptions.
    pub seconds: f64,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// All stored tensors of the detector, as they are now.
    pub values: Tensors,
    /// Stages that are done.
    pub done: Vec<Report>,
    /// Was it stopped before its end? Then the checkpoint holds where.
    pub stopped: bool,
}

/// Why a run cannot go on.
#[derive(Debug)]
pub enum Trouble {
    /// The user can do something about it: what is wrong, what helps.
    Input(String, Option<String>),
    /// A fault of ours.
    Fault(String),
}

impl Trouble {
    pub(crate) fn input(what: impl fmt::Display) -> Trouble {
        Trouble::Input(what.to_string(), None)
    }

    pub(crate) fn help(self, text: impl Into<String>) -> Trouble {
        match self {
            Trouble::Input(what, _) => Trouble::Input(what, Some(text.into())),
            Trouble::Fault(_) => self,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Input(what, None) | Trouble::Fault(what) => f.write_str(what),
            Trouble::Input(what, Some(help)) => write!(f, "{what} ({help})"),
        }
    }
}
impl std::error::Error for Trouble {}

impl From<DeviceError> for Trouble {
    fn from(e: DeviceError) -> Trouble {
        let lost = matches!(e, DeviceError::Lost(_));
        let said = Trouble::input(e);
        if lost { said.help("the last checkpoint stands: --resume goes on from there") } else { said }
    }
}

impl From<ReadError> for Trouble {
    fn from(e: ReadError) -> Trouble {
        Trouble::input(e)
    }
}

/// The result of a part of a run.
pub(crate) type Run<T = ()> = Result<T, Trouble>;
