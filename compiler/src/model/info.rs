//! The typed model as data: what the compiler knows of a detector beside its graphs.
//!
//! In: made by elaboration. Out: read by analyses, lowering and the command line. Invariants: paths are unique; entries are
//! `init`, the stages in order, `score`. Imports: graphs, places.

use std::collections::BTreeMap;

use uad_plan::{DType, StoredKind};

use crate::diag::Place;
use crate::graph::{Graph, TensorType};

use super::number;
use super::value::{Func, Slot, Value};

/// How much of a detector is made. What is wrong is found either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// All entries.
    #[default]
    Whole,
    /// First values and the score. Stages are elaborated to be checked, with one update for all weights of a type, and not kept.
    Score,
    /// What is stored, and no entry: of first values that are alike, too, one is made.
    Findings,
}

/// What a user chose beside the text.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Which detector; the file's last one if not given and there are several.
    pub detector: Option<String>,
    /// `--set name=value`: parameters and slots, as text.
    pub set: Vec<(String, String)>,
    /// Lets (by path) that are fed as inputs instead of computed, with dtype and shape.
    pub feed: BTreeMap<String, (DType, Vec<i64>)>,
    /// How much is made.
    pub depth: Depth,
}

/// A static value as data.
#[derive(Clone, Debug, PartialEq)]
pub enum Static {
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// A truth.
    Bool(bool),
    /// A text.
    Text(String),
    /// A word of a setting: `train`, the name of a value.
    Word(String),
    /// A list or record.
    List(Vec<Static>),
    /// `adam(lr: 1e-3)`.
    Rule(RuleInfo),
    /// What only a run knows, or a function: as text.
    Other(String),
}

/// A name and arguments: optimisers, schedules.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleInfo {
    /// Its name.
    pub name: String,
    /// Arguments by parameter, defaults filled in; by position (`0`, `1`) where no declaration is known.
    pub args: Vec<(String, Static)>,
}

/// A parameter with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamInfo {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Static,
}

/// One step of the loader.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderStep {
    /// The name in `@loader("…")`.
    pub name: String,
    /// Arguments by parameter name.
    pub args: Vec<(String, Static)>,
}

/// An input.
#[derive(Clone, Debug, PartialEq)]
pub struct InputInfo {
    /// Its name.
    pub name: String,
    /// Type of a batch.
    pub ty: TensorType,
    /// Source: `rgb`, `class`, …; `fed` for a `let` that is fed.
    pub source: String,
    /// Unit tag.
    pub unit: Option<String>,
    /// Steps of the loader, in order.
    pub pipeline: Vec<LoaderStep>,
    /// Of a `peer`: whose.
    pub peer: Option<PeerInfo>,
    /// Where it is declared.
    pub place: Place,
}

/// A second input: what the input `of` is for another sample, a normal one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// The input that it is like.
    pub of: String,
    /// Is it of the same class?
    pub same_class: bool,
}

/// Where foreign weights have their names from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignNames {
    /// The text of `@weights`.
    pub name: String,
    /// Path of the instance that carries it: names of the map come after it.
    pub prefix: String,
}

/// A weight or state.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredInfo {
    /// Instance path.
    pub path: String,
    /// Weight or state.
    pub kind: StoredKind,
    /// Element type and shape. Open dims, of states that a stage makes, have their values from the stored tensor.
    pub ty: TensorType,
    /// Where it is declared.
    pub place: Place,
    /// The expression of the detector that makes its instance, or the declaration.
    pub site: Place,
    /// All uses are `frozen`.
    pub frozen: bool,
    /// It has a first value.
    pub initialised: bool,
    /// The stage whose step alone keeps it, as an optimiser's moments: no bundle that scores holds it.
    pub stage: Option<String>,
    /// The map of foreign names: of the outermost block that has one.
    pub names: Option<ForeignNames>,
}

/// One optimiser group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupInfo {
    /// Patterns as written; empty: all that is not frozen.
    pub over: Vec<String>,
    /// Where they stand.
    pub places: Vec<Place>,
    /// The optimiser.
    pub optimiser: RuleInfo,
    /// Weights, by path: the first group that matches has a weight.
    pub weights: Vec<String>,
}

/// What a stage minimises.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimise {
    /// The loss as written; the entry's output is called `loss`.
    pub loss: String,
    /// Groups in order.
    pub groups: Vec<GroupInfo>,
    /// Where.
    pub place: Place,
}

/// A stage.
#[derive(Clone, Debug, PartialEq)]
pub struct StageInfo {
    /// Entry name: the stage's, after the path of its detector.
    pub name: String,
    /// Where.
    pub place: Place,
    /// What it minimises.
    pub minimise: Option<Minimise>,
    /// Settings in order, as written; [`StageInfo::settings`] has defaults for the others.
    pub settings: Vec<(String, Static)>,
    /// Weights and states that it writes.
    pub writes: Vec<String>,
    /// Of these the states of open shape: an output of this name of the step or the finishing entry replaces each.
    pub replaces: Vec<String>,
    /// Weights and states it reads.
    pub reads: Vec<String>,
    /// Outputs of every batch that the finishing entry takes as inputs, stacked over the pass.
    pub collects: Vec<String>,
    /// The entry that gives every batch what does not change in the stage, as the step's inputs `@0`, `@1`, ….
    pub features: Option<String>,
    /// The entry that runs once after the last batch: where the stage uses `all` or `average`.
    pub finish: Option<String>,
    /// The entry that gives what is watched on samples that the stage does not learn from.
    pub watch: Option<String>,
}

/// How a loop runs a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Passes over the data; `None` where `steps` is given.
    pub epochs: Option<i64>,
    /// Batches in all.
    pub steps: Option<i64>,
    /// Samples in a batch.
    pub batch: i64,
    /// `train`, `validation`, `test` or `calibration`.
    pub data: String,
    /// Leave out a last batch that is not full.
    pub drop_last: bool,
    /// Batches at the beginning that are left out.
    pub skip: i64,
    /// End after so many epochs without a better value of `keep`, or of the loss.
    pub patience: Option<i64>,
    /// Keep what was there when this was best.
    pub keep: Option<Keep>,
}

/// `keep: lowest(e, on: validation)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Keep {
    /// Lowest or highest.
    pub lowest: bool,
    /// The output of the stage's entry that is watched.
    pub value: String,
    /// On which data.
    pub on: String,
}

impl StageInfo {
    /// The path of the detector whose stage it is; that of the outermost is empty.
    pub fn home(&self) -> &str {
        self.name.rsplit_once('.').map_or("", |n| n.0)
    }

    /// Settings with defaults: rules go over the data once, a loss a hundred times, in batches of 8.
    pub fn settings(&self) -> Settings {
        let get = |name: &str| self.settings.iter().find(|s| s.0 == name).map(|s| &s.1);
        let int = |name: &str| match get(name) {
            Some(Static::Int(v)) => Some(*v),
            _ => None,
        };
        let word = |s: Option<&Static>| match s {
            Some(Static::Word(w)) => Some(w.clone()),
            _ => None,
        };
        let steps = int("steps");
        let usual = if self.minimise.is_some() { 100 } else { 1 };
        let keep = match get("keep") {
            Some(Static::Rule(r)) => r.args.iter().find(|a| a.0 == "0").map(|value| Keep {
                lowest: r.name != "highest",
                value: value.1.to_string(),
                on: word(r.args.iter().find(|a| a.0 == "on").map(|a| &a.1)).unwrap_or_else(|| "validation".into()),
            }),
            _ => None,
        };
        Settings {
            epochs: int("epochs").or(if steps.is_some() { None } else { Some(usual) }),
            steps,
            batch: int("batch").unwrap_or(8).max(1),
            data: word(get("data")).unwrap_or_else(|| "train".into()),
            drop_last: matches!(get("drop_last"), Some(Static::Bool(true))),
            skip: int("skip").unwrap_or(0),
            patience: int("patience"),
            keep,
        }
    }

    /// Its entries in the order of a pass: features, step, watch, finish.
    pub fn entries(&self) -> impl Iterator<Item = &String> {
        self.features.iter().chain([&self.name]).chain(&self.watch).chain(&self.finish)
    }
}

/// A typed detector.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The detector's name.
    pub name: String,
    /// Parameters with their values.
    pub params: Vec<ParamInfo>,
    /// Inputs that an entry reads.
    pub inputs: Vec<InputInfo>,
    /// Weights and states that an entry reads or writes.
    pub stored: Vec<StoredInfo>,
    /// Stages in the order they run.
    pub stages: Vec<StageInfo>,
    /// `init`, the stages' entries in order, `score`.
    pub entries: Vec<Graph>,
    /// Paths of instances, in the order they were met.
    pub instances: Vec<String>,
}

impl Model {
    /// The entry of a name.
    pub fn entry(&self, name: &str) -> Option<&Graph> {
        self.entries.iter().find(|g| g.name == name)
    }
}

impl RuleInfo {
    /// A function or block with its parameters, for people.
    pub(super) fn of(f: &Func) -> Option<RuleInfo> {
        let (decl, frame) = match f {
            Func::Instance(i) => (i.decl, Some(&i.hyper)),
            Func::Fn(f) => (f.decl, f.hyper.as_ref()),
            Func::Typed(t) => return RuleInfo::of(&t.0),
            Func::Partial(p) => return RuleInfo::of(&p.0),
            _ => return None,
        };
        let value = |name: &str| match frame?.slot(name)? {
            Slot::Known(v) => Some(Static::of(&v)),
            Slot::Lazy(_) => None,
        };
        let params = decl.hyper.iter().flatten();
        let args = params.filter_map(|p| Some((p.name.text.clone(), value(&p.name.text)?))).collect();
        Some(RuleInfo { name: decl.name.text.clone(), args })
    }
}

impl Static {
    pub(super) fn of(v: &Value) -> Static {
        match v {
            Value::Int(d) => d.as_int().map_or_else(|| Static::Other(d.to_string()), Static::Int),
            Value::Float(x) => Static::Float(*x),
            Value::Ratio(_) => number::as_f64(v).map_or(Static::Other("a number".into()), Static::Float),
            Value::Bool(b) => Static::Bool(*b),
            Value::Text(t) => Static::Text(t.to_string()),
            Value::List(l) => Static::List(l.iter().map(Static::of).collect()),
            Value::Record(l) => Static::List(l.iter().map(|f| Static::of(&f.1)).collect()),
            Value::Func(f) => RuleInfo::of(f).map_or_else(|| Static::Other(v.kind().to_string()), Static::Rule),
            v => Static::Other(v.kind().to_string()),
        }
    }
}
