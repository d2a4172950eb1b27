//! The command line: every subcommand with its options.
//!
//! In: the process's arguments. Out: [`Args`]. Invariants: the text of `--help` is made from this file and `args/` alone; what a combination
//! of options means is decided by the commands. Imports: the terminal's colour choice.

mod engine;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use uad_kernels::cuda::Precision;

pub use engine::{DeviceName, Engine};

use crate::terminal::ColorChoice;

/// Compiler and runner for anomaly detectors written in .uad
#[derive(Debug, Parser)]
#[command(name = "uadc", version, max_term_width = 100, arg_required_else_help = true, infer_subcommands = false)]
#[command(after_help = "Exit codes: 0 done, 1 the input is wrong, 2 wrong usage, 3 a fault of uadc.")]
pub struct Args {
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub color: ColorChoice,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Draw data, train a small detector on it, evaluate it, write a report
    Demo(Demo),
    /// Write a spec to start from
    New(New),
    /// Check specs; print diagnostics only
    Check(Check),
    /// Bring specs into the one layout
    Fmt(Fmt),
    /// Compile a spec, with weights, into a runnable bundle
    Build(Build),
    /// Print a form that the compiler passes through
    Emit(Emit),
    /// Score images, signals, folders of them, or tensors
    Run(Run),
    /// Train a detector: run its stages over a folder of normal data
    Train(Train),
    /// Learn from normal samples where normal ends, and write it into the bundle
    Calibrate(Calibrate),
    /// Evaluate a detector on labelled data
    Eval(Eval),
    /// Make anomalies with the synthesiser of a spec: samples with masks, or pictures of a sweep
    Synth(Synth),
    /// Say what a bundle holds
    Inspect(Inspect),
    /// Compare with another implementation's dump, tensor by tensor
    Compare(Compare),
    /// Replay the probe tensors that are stored in a bundle
    Verify(Verify),
    /// Measure how fast a detector scores
    Bench(Bench),
    /// Explain a diagnostic's code
    Explain(Explain),
    /// Say what this machine offers
    Doctor(Doctor),
}

impl Command {
    /// How it executes, if it does.
    pub fn engine(&self) -> Option<&Engine> {
        match self {
            Command::Run(c) => Some(&c.engine),
            Command::Calibrate(c) => Some(&c.engine),
            Command::Eval(c) => Some(&c.engine),
            Command::Compare(c) => Some(&c.engine),
            Command::Verify(c) => Some(&c.engine),
            Command::Bench(c) => Some(&c.engine),
            _ => None,
        }
    }

    /// Was `--json` given?
    pub fn json(&self) -> bool {
        match self {
            Command::Check(c) => c.json,
            Command::Run(c) => c.json,
            Command::Compare(c) => c.json,
            Command::Verify(c) => c.json,
            Command::Bench(c) => c.json,
            Command::Inspect(c) => c.json,
            Command::Doctor(c) => c.json,
            Command::Demo(_)
            | Command::New(_)
            | Command::Fmt(_)
            | Command::Build(_)
            | Command::Emit(_)
            | Command::Train(_)
            | Command::Calibrate(_)
            | Command::Eval(_)
            | Command::Synth(_)
            | Command::Explain(_) => false,
        }
    }
}

/// Which detector of a spec, and its parameters.
#[derive(Clone, Debug, Default, Group)]
pub struct Choice {
    /// Which detector of the file; needed where it has several that are not variants of the first
    #[arg(long, value_name = "NAME")]
    pub detector: Option<String>,
    /// Set a parameter, a slot or a stage's setting, as in a variant: `--set hidden=384`, `--set train.epochs=10`
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
}

/// `uadc demo`
#[derive(Debug, Group)]
pub struct Demo {
    /// The folder to write into
    #[arg(long, value_name = "DIR", default_value = "uad-demo")]
    pub out: PathBuf,
}

/// `uadc new`
#[derive(Debug, Group)]
pub struct New {
    /// Name of the detector; the file is NAME.uad
    #[arg(required_unless_present = "data", conflicts_with = "data")]
    pub name: Option<String>,
    /// The spec to copy
    #[arg(long, value_name = "SPEC", default_value = "uniad", conflicts_with = "data")]
    pub from: String,
    /// Make a data set instead: generated surfaces with defects and masks, in the MVTec layout
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// What it is made of: pictures of surfaces, or point clouds of parts
    #[arg(long, value_enum, default_value_t = Drawn::Surfaces, requires = "data")]
    pub of: Drawn,
    /// Classes: of surfaces the first are cloth, stone, wood, tiles, pebbles, mesh; of parts knob, pear, pillow, ring
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(1..=1000), requires = "data")]
    pub classes: u32,
    /// Pixels of a picture's side; a cloud has a quarter of their square as points
    #[arg(long, value_name = "PIXELS", default_value = "128", value_parser = clap::value_parser!(u32).range(16..=4096), requires = "data")]
    pub size: u32,
    /// Training pictures of each class
    #[arg(long, value_name = "N", default_value = "40", value_parser = clap::value_parser!(u32).range(0..=100_000), requires = "data")]
    pub train: u32,
    /// Flawless test pictures of each class, and about as many with a defect
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(0..=100_000), requires = "data")]
    pub test: u32,
    /// Another seed, other pictures
    #[arg(long, value_name = "N", default_value = "0", requires = "data")]
    pub seed: u64,
}

/// What a drawn data set is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Drawn {
    /// Pictures of textured surfaces
    Surfaces,
    /// Point clouds of solid parts
    Clouds,
}

/// `uadc check`
#[derive(Debug, Group)]
pub struct Check {
    /// Specs to check
    #[arg(required = true, value_name = "SPEC")]
    pub specs: Vec<PathBuf>,
    #[command(flatten)]
    pub choice: Choice,
    /// Print the path, shape and kind of every weight and state
    #[arg(long)]
    pub paths: bool,
    /// One JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `uadc fmt`
#[derive(Debug, Group)]
pub struct Fmt {
    /// Files to format; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Change nothing; fail where a file is not in the one layout
    #[arg(long)]
    pub check: bool,
}

/// What a bundle is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Processors
    Cpu,
    /// GPUs too: compiled code goes to a file beside the bundle, F.uadx.cuda, or into the executable
    Cuda,
    /// The same
    All,
}

/// `sm_80`, `sm_90a`.
fn architecture(text: &str) -> Result<String, String> {
    let number = text.strip_prefix("sm_").map(|n| n.trim_end_matches('a')).and_then(|n| n.parse::<u32>().ok());
    match number {
        Some(80..) => Ok(text.to_owned()),
        Some(_) => Err("sm_80 is the oldest architecture".to_owned()),
        None => Err("an architecture is written sm_80".to_owned()),
    }
}

/// `uadc build`
#[derive(Debug, Group)]
pub struct Build {
    /// The spec
    pub spec: PathBuf,
    #[command(flatten)]
    pub choice: Choice,
    /// Foreign weights, with the names file that maps them: `model.safetensors:ports/uniad.toml`
    #[arg(long, value_name = "FILE[:MAP]")]
    pub weights: Vec<String>,
    /// The seed of weights that no file gives
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// What the bundle is to run on; it holds no machine code, so one file runs on all
    #[arg(long, value_enum, default_value_t = Target::Cpu)]
    pub target: Target,
    /// Architectures of GPUs that code is compiled for
    #[arg(long, value_name = "sm_NN", value_delimiter = ',', default_values = ["sm_80", "sm_90"], value_parser = architecture)]
    pub arch: Vec<String>,
    /// What contractions multiply in that code, as in `run`, which must be given the same
    #[arg(long, value_name = "f32|tf32|bf16|f16", default_value_t = Precision::F32, value_parser = Precision::from_str)]
    pub precision: Precision,
    /// Sizes of batches that code is compiled for
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1u32], value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Vec<u32>,
    /// The bundle to write; default: the detector's name with .uadx
    #[arg(short, long, value_name = "F.uadx", conflicts_with = "exe")]
    pub output: Option<PathBuf>,
    /// Write one executable file instead: runner and bundle, and with --target cuda their code
    #[arg(long, value_name = "FILE")]
    pub exe: Option<PathBuf>,
}

/// A form that the compiler passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Syntax tree
    Ast,
    /// Checked model: parameters, types, instance paths
    Typed,
    /// Graph of primitives
    Graph,
    /// Plan: kernels and buffers
    Plan,
    /// Code generator's input for the CPU
    Clif,
    /// CUDA C++ for a batch of one
    Cuda,
    /// What is launched on a GPU, with operations and bytes computed from the plan
    Launches,
    /// Graph in the DOT language
    Dot,
    /// Picture of the graph
    Svg,
}

/// `uadc emit`
#[derive(Debug, Group)]
pub struct Emit {
    /// The spec, or a bundle for the plan
    pub spec: PathBuf,
    #[command(flatten)]
    pub choice: Choice,
    /// Which form
    #[arg(long, value_enum, default_value_t = Form::Plan)]
    pub form: Form,
    /// Which entry: `score`, `init`, or a stage; default: all, `score` for pictures
    #[arg(long, value_name = "NAME")]
    pub entry: Option<String>,
    /// What contractions multiply in the forms `cuda` and `launches`
    #[arg(long, value_name = "f32|tf32|bf16|f16", default_value_t = Precision::F32, value_parser = Precision::from_str)]
    pub precision: Precision,
}

/// `uadc run`
#[derive(Debug, Group)]
pub struct Run {
    /// The bundle
    pub bundle: PathBuf,
    /// Images or signals, or folders of them
    #[arg(value_name = "INPUT", conflicts_with = "tensors")]
    pub inputs: Vec<PathBuf>,
    /// Write what was found in every sample into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// One JSON object per input, one per line
    #[arg(long)]
    pub json: bool,
    /// Samples per call
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    #[command(flatten)]
    pub judge: Judge,
    /// The normal image that a detector with a second input looks at beside each; default: what the bundle keeps
    #[arg(long, value_name = "FILE")]
    pub peer: Option<PathBuf>,
    #[command(flatten)]
    pub engine: Engine,
    /// Take inputs by their names in the spec from this file
    #[arg(long, value_name = "IN.safetensors", requires = "output")]
    pub tensors: Option<PathBuf>,
    /// Where to write the outputs of `--tensors`
    #[arg(short, long, value_name = "OUT.safetensors", requires = "tensors")]
    pub output: Option<PathBuf>,
    /// Which entry to run with `--tensors`
    #[arg(long, value_name = "NAME", default_value = "score", requires = "tensors")]
    pub entry: String,
    /// Also write inner values: `all`, or their paths
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', requires = "tensors")]
    pub trace: Vec<String>,
}

/// `uadc train`
#[derive(Debug, Group)]
pub struct Train {
    /// The spec, or a bundle whose stages have not all run
    #[arg(value_name = "SPEC|F.uadx")]
    pub spec: PathBuf,
    #[command(flatten)]
    pub choice: Choice,
    /// A folder in the MVTec layout, one of such folders, a plain folder of normal samples, or a CSV manifest
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Foreign weights, with the names file that maps them, as for `build`
    #[arg(long, value_name = "FILE[:MAP]")]
    pub weights: Vec<String>,
    /// The bundle to write; default: the detector's name with .uadx, or the bundle that is trained
    #[arg(short, long, value_name = "F.uadx")]
    pub output: Option<PathBuf>,
    /// The seed of first weights, of the order of samples and of all draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Go on where a run was stopped or killed: the result has the same bits as without a stop
    #[arg(long, conflicts_with = "restart")]
    pub resume: bool,
    /// Begin again although a stopped run could go on
    #[arg(long)]
    pub restart: bool,
    /// Passes over the data of stages with a loss, in place of what the spec says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: Option<u32>,
    /// Samples in a batch of stages with a loss, in place of what the spec says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: Option<u16>,
    /// Part of the training samples that is held out for validation; default: a tenth where a stage needs it
    #[arg(long, value_name = "PART", value_parser = part)]
    pub validation: Option<f64>,
    /// Leave out samples that cannot be read, instead of refusing to begin
    #[arg(long)]
    pub skip_broken: bool,
    /// Where checkpoints, features and the log are kept; default: the bundle's name with .train
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Seconds between two checkpoints; 0: after every step
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub checkpoint: u32,
    /// Where to run
    #[arg(long, value_enum, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
    /// What contractions and attention multiply on a GPU; sums are f32. All but f32 round their operands and use tensor cores
    #[arg(long, value_name = "f32|tf32|bf16|f16", default_value_t = Precision::F32, value_parser = Precision::from_str)]
    pub precision: Precision,
    /// Worker threads; default: one per core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// Where normal ends, other than the bundle says.
#[derive(Clone, Debug, Default, Group)]
pub struct Judge {
    /// Judge samples by this score instead of the calibrated one
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true, conflicts_with = "false_alarm_rate")]
    pub threshold: Option<f32>,
    /// Mark pixels above this value of the map instead of the calibrated one
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true, conflicts_with = "false_alarm_rate")]
    pub map_threshold: Option<f32>,
    /// Move the thresholds to where this part of normal samples gives an alarm
    #[arg(long, value_name = "PART", value_parser = rate)]
    pub false_alarm_rate: Option<f64>,
}

impl Judge {
    /// Was anything given?
    pub fn moves(&self) -> bool {
        self.threshold.is_some() || self.map_threshold.is_some() || self.false_alarm_rate.is_some()
    }
}

/// How a threshold is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// By counting where enough normal scores lie above, else by a fitted tail
    #[default]
    Auto,
    /// By counting
    Quantile,
    /// By a generalised Pareto distribution of the highest tenth
    Pareto,
    /// By a Gumbel distribution of all scores
    Gumbel,
}

/// `uadc calibrate`
#[derive(Debug, Group)]
pub struct Calibrate {
    /// The bundle
    pub bundle: PathBuf,
    /// A data set: folders in the MVTec layout, a plain folder of normal samples, or a CSV manifest
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Take normal samples of this split: `calibration`, `validation`, `train` or `test`; default: the first that is there
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,
    /// Part of the training samples that was held out for validation when the detector was trained
    #[arg(long, value_name = "PART", value_parser = part, default_value_t = 0.0)]
    pub validation: f64,
    /// The part of normal samples that may give an alarm
    #[arg(long, value_name = "PART", default_value_t = 0.01, value_parser = rate)]
    pub false_alarm_rate: f64,
    /// How the threshold is found
    #[arg(long, value_enum, default_value_t = Method::Auto)]
    pub method: Method,
    /// The bundle to write; default: the same
    #[arg(short, long, value_name = "F.uadx")]
    pub output: Option<PathBuf>,
    /// Samples per call
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// The normal image that a detector with a second input looks at beside each; default: what the bundle keeps
    #[arg(long, value_name = "FILE")]
    pub peer: Option<PathBuf>,
    #[command(flatten)]
    pub engine: Engine,
}

/// `uadc eval`
#[derive(Debug, Group)]
pub struct Eval {
    /// The bundle
    pub bundle: PathBuf,
    /// A data set with labelled test samples: folders in the MVTec layout, or a CSV manifest
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Write a report: one HTML file that needs nothing else
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write all figures and the score of every sample
    #[arg(long, value_name = "FILE.json")]
    pub json: Option<PathBuf>,
    /// Write the heat map of every sample into this folder
    #[arg(long, value_name = "DIR")]
    pub maps: Option<PathBuf>,
    /// The false positive rate up to which AUPRO integrates
    #[arg(long, value_name = "FPR", default_value_t = 0.3, value_parser = limit)]
    pub limit: f64,
    /// Samples per call
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    #[command(flatten)]
    pub judge: Judge,
    /// The normal image that a detector with a second input looks at beside each; default: what the bundle keeps
    #[arg(long, value_name = "FILE")]
    pub peer: Option<PathBuf>,
    #[command(flatten)]
    pub engine: Engine,
}

/// `uadc inspect`
#[derive(Debug, Group)]
pub struct Inspect {
    /// The bundle
    pub bundle: PathBuf,
    /// One JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `uadc compare`
#[derive(Debug, Group)]
pub struct Compare {
    /// The spec
    pub spec: PathBuf,
    /// Folder with case.json and inputs, params, outputs and grads as safetensors
    #[arg(value_name = "CASE_DIR")]
    pub case: PathBuf,
    #[command(flatten)]
    pub choice: Choice,
    /// The names file; default: ports/SPEC.toml beside the spec
    #[arg(long, value_name = "FILE")]
    pub names: Option<PathBuf>,
    /// Largest absolute difference, relative to the tensor's largest value where that is above 1
    #[arg(long, default_value_t = 2e-5)]
    pub tol: f64,
    /// Values alone, no gradients
    #[arg(long)]
    pub values: bool,
    #[command(flatten)]
    pub engine: Engine,
    /// One JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `uadc verify`
#[derive(Debug, Group)]
pub struct Verify {
    /// The bundle
    pub bundle: PathBuf,
    #[command(flatten)]
    pub engine: Engine,
    /// One JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `uadc bench`
#[derive(Debug, Group)]
pub struct Bench {
    /// The bundle, or a spec (then with weights from its initialisers)
    pub bundle: PathBuf,
    #[command(flatten)]
    pub choice: Choice,
    /// Samples per call
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// Timed calls; default: at least 15 and up to 2 seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub iters: Option<u32>,
    /// Values of further open dims: `--dim n=100`
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub dim: Vec<(String, String)>,
    /// What to measure: `score`, or of a spec the step of a stage
    #[arg(long, value_name = "STAGE", default_value = "score")]
    pub entry: String,
    /// Print the time of every kernel
    #[arg(long)]
    pub profile: bool,
    #[command(flatten)]
    pub engine: Engine,
    /// One JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `uadc explain`
#[derive(Debug, Group)]
pub struct Explain {
    /// The code, as E0203; without it: the list of all
    pub code: Option<String>,
}

/// `uadc doctor`
#[derive(Debug, Group)]
pub struct Doctor {
    /// One JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

fn part(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number from 0 to 1".to_owned())?;
    if (0.0..1.0).contains(&value) { Ok(value) } else { Err("expected a number from 0 to below 1".to_owned()) }
}

fn rate(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|v| *v > 0.0 && *v < 1.0);
    value.ok_or_else(|| "expected a number above 0 and below 1".to_owned())
}

fn limit(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|v| *v > 0.0 && *v <= 1.0);
    value.ok_or_else(|| "expected a number above 0 and at most 1".to_owned())
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "expected NAME=VALUE".to_owned())?;
    if name.trim().is_empty() || value.trim().is_empty() {
        return Err("expected NAME=VALUE".to_owned());
    }
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}

/// `uadc synth`
#[derive(Debug, Group)]
pub struct Synth {
    /// A spec with a synthesiser: a slot from a sample to a changed one and its mask
    pub spec: PathBuf,
    #[command(flatten)]
    pub choice: Choice,
    /// Normal samples: a folder as for `train`
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The folder to write into: samples and masks in the MVTec layout, and a sheet of some
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Which slot, where several make anomalies
    #[arg(long, value_name = "NAME")]
    pub slot: Option<String>,
    /// How many samples
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub count: u32,
    /// Another seed, other anomalies
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Pictures of one sample instead, under these values of a parameter of the synthesiser or the spec: `--sweep octaves=1,2,4`; twice for rows and columns, a third time for sheets
    #[arg(long, value_name = "NAME=A,B,…", value_parser = series)]
    pub sweep: Vec<(String, Vec<String>)>,
    #[command(flatten)]
    pub engine: Engine,
}

/// `NAME=A,B`: a name and values. Commas in brackets part nothing.
fn series(text: &str) -> Result<(String, Vec<String>), String> {
    let (name, values) = text.split_once('=').ok_or("write NAME=A,B,…")?;
    let (mut all, mut depth) = (vec![String::new()], 0i32);
    for c in values.chars() {
        depth += i32::from("([{".contains(c)) - i32::from(")]}".contains(c));
        match all.last_mut() {
            Some(_) if c == ',' && depth == 0 => all.push(String::new()),
            Some(last) => last.push(c),
            None => {}
        }
    }
    let all: Vec<String> = all.iter().map(|v| v.trim().to_owned()).collect();
    if name.trim().is_empty() || all.iter().any(String::is_empty) {
        return Err("write NAME=A,B,… with a value between all commas".to_owned());
    }
    if all.len() > 16 {
        return Err("16 values at most".to_owned());
    }
    Ok((name.trim().to_owned(), all))
}
