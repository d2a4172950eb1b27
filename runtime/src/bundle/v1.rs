//! The saved form of what a bundle says about itself, version 1.
//!
//! In: JSON. Out: [`Card`]. Invariants: fields are only ever added, each with a default; what is saved here is not what is
//! worked on. Imports: nothing of this project.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Number;

/// What a bundle says about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The detector's name.
    pub detector: String,
    /// Who wrote the bundle: `uadc 0.1.0`.
    pub producer: String,
    /// Parameters and slots as they were, name to text.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// What it takes.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// What `score` gives: names in order.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Stages in order, and whether each has run.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// The seed of weights that no file gave.
    #[serde(default)]
    pub seed: u64,
    /// Files that weights came from, with the names file.
    #[serde(default)]
    pub weights: Vec<String>,
    /// Names and texts of the user's files that it was compiled from; their texts are the tensor `uad.spec`.
    #[serde(default)]
    pub files: Vec<String>,
    /// How its stages were run; the last training last.
    #[serde(default)]
    pub training: Vec<Training>,
    /// Classes of the peers that it keeps, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
    /// What its scores mean, learnt from normal samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// One run of stages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The data set, as the user named it.
    pub data: String,
    /// A digest over the names and contents of the samples that were used.
    #[serde(default)]
    pub digest: String,
    /// Categories of the data set.
    #[serde(default)]
    pub classes: Vec<String>,
    /// The seed of the order of samples and of draws.
    #[serde(default)]
    pub seed: u64,
    /// What became of each stage.
    #[serde(default)]
    pub stages: Vec<Trained>,
    /// Who ran them: `uadc 0.1.0`.
    #[serde(default)]
    pub producer: String,
}

/// What became of a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// Its name.
    pub stage: String,
    /// Passes over the data.
    #[serde(default)]
    pub epochs: u64,
    /// Updates.
    #[serde(default)]
    pub steps: u64,
    /// Samples of a pass.
    #[serde(default)]
    pub samples: usize,
    /// Mean loss of the last pass.
    #[serde(default)]
    pub loss: Option<f64>,
    /// The best value of what was watched.
    #[serde(default)]
    pub best: Option<f64>,
    /// The epoch that was kept, from 0.
    #[serde(default)]
    pub kept: Option<u64>,
    /// Seconds.
    #[serde(default)]
    pub seconds: f64,
}

/// Where normal ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What it was learnt from, for people: `mvtec_bottle, calibration`.
    pub data: String,
    /// For scores of samples.
    #[serde(default)]
    pub sample: Option<Threshold>,
    /// For values of maps, from the highest value of each normal map.
    #[serde(default)]
    pub map: Option<Threshold>,
}

/// A threshold on scores, with what is needed to move it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// Scores above it are anomalous.
    pub threshold: f32,
    /// The lowest normal score.
    pub low: f32,
    /// The false-alarm rate that was asked for.
    pub rate: f64,
    /// How the threshold was found: `quantile`, `pareto`, `gumbel`, `set`.
    pub method: String,
    /// Normal scores that it was learnt from.
    pub scores: u64,
    /// Of these, how many lie above it.
    pub above: u64,
    /// The 95 % interval of the false-alarm rate that this stands for (Clopper and Pearson).
    pub interval: [f64; 2],
    /// The highest normal scores, falling; all of them where there are few.
    #[serde(default)]
    pub highest: Vec<f32>,
    /// Generalised Pareto distribution of the highest scores.
    #[serde(default)]
    pub pareto: Option<Pareto>,
    /// Gumbel distribution of all scores: location and scale.
    #[serde(default)]
    pub gumbel: Option<[f64; 2]>,
}

/// A tail: the part `share` of scores lies above `from`, and beyond it is Pareto-distributed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pareto {
    /// Where the tail begins.
    pub from: f64,
    /// The part of scores in it.
    pub share: f64,
    /// Shape: below 0 the scores have an end.
    pub shape: f64,
    /// Scale.
    pub scale: f64,
}

/// An input of the detector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Where samples come from: `rgb`, `tensor`.
    pub source: String,
    /// Element type.
    pub dtype: String,
    /// Dims as text, `["b", "3", "224", "224"]`.
    pub dims: Vec<String>,
    /// What the loader does to a sample, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Of a `peer`: is it of the sample's class?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_class: bool,
}

/// A step of an input's pipeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its name, as in `@loader("resize")`.
    pub name: String,
    /// Its arguments in order; whole numbers stay so.
    #[serde(default)]
    pub args: Vec<Number>,
}

impl Step {
    /// Name and arguments, as loaders take them.
    pub fn call(&self) -> (&str, Vec<f64>) {
        (&self.name, self.args.iter().filter_map(Number::as_f64).collect())
    }
}

/// A stage of the detector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Has it run to its end?
    #[serde(default)]
    pub done: bool,
    /// Does `score` need it?
    #[serde(default)]
    pub needed: bool,
}
