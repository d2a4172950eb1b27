//! `uadc compare`: tensor by tensor against another implementation's dump.
//!
//! In: a spec, a case folder (`case.json`, `inputs`, `params`, `outputs`, `grads`, `train_steps` as safetensors), a names file.
//! Out: a line per foreign output, per foreign gradient where the names file has [gradients], and per weight after training
//! steps where it has [train]. Invariants: the case folder is only read; a foreign tensor without a counterpart is a failure
//! unless the names file ignores it; differences are taken in f64. Imports: compiled, engine, source; names files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use uad_compiler::diag::nearest::did_you_mean;
use uad_compiler::model::InputInfo;
use uad_compiler::names::{ConfigRule, InputRule, Names, OutputRule, cover};
use uad_plan::tensor::Tensor;
use uad_runtime::tensors::TensorFile;

use crate::args::Compare;
use crate::cmd::{gradients, learned};
use crate::compiled::{self, Compiled};
use crate::engine::{Engine, InMemory};
use crate::failure::{Done, Failure};
use crate::terminal::{Look, count, out};
use crate::{source, weights};

/// How far weights after training steps may be apart, in units of how far the foreign ones have moved.
const STEP_TOL: f64 = 1e-3;

/// How far gradients may be apart, in units of the foreign tensor's largest element.
const GRADIENT_TOL: f64 = 1e-4;

/// Gradients so much smaller than the largest are nothing but rounding.
const NOTHING: f64 = 1e-4;

/// Runs it.
pub fn run(args: &Compare) -> Done {
    let names_path = args.names.clone().unwrap_or_else(|| default_names(&args.spec));
    let names = weights::read_names(&names_path)?;
    let case = Case::open(&args.case)?;
    let mut choice = args.choice.clone();
    choice.set.splice(0..0, settings(&names, &case.config)?);
    // Foreign inputs that are not inputs of the detector are values that are fed. The detector may only check once they are.
    let declared = compiled::look_at(&args.spec, &choice, BTreeMap::new())?.model.map(|m| m.inputs).unwrap_or_default();
    let (given, feed) = case.inputs(&names, &declared)?;
    let compiled = compiled::check(&args.spec, &choice, feed.clone())?;
    let comparison = Comparison { args, names: &names, case: &case, compiled: &compiled };
    let mut rows = comparison.rows(&given)?;
    if let (Some(rule), Some(theirs), false) = (&names.train, &case.steps, args.values) {
        choice.set.extend(rule.set.clone());
        let compiled = compiled::check(&args.spec, &choice, feed)?;
        let task = learned::Task { compiled: &compiled, names: &names, rule, engine: &args.engine, theirs };
        let pairs = task.pairs(&given, &comparison.stored()?)?;
        rows.extend(pairs.into_iter().map(stepped));
    }
    report(args, &rows)
}

/// A line per tensor after training steps: differences count in units of how far the foreign tensor has moved.
fn stepped(p: learned::Pair) -> Row {
    let foreign = format!("steps {}", p.foreign);
    if p.theirs.shape() != p.value.shape() {
        let text = format!("shapes differ: {:?} there, {:?} here", p.theirs.shape(), p.value.shape());
        return Row::trouble(&foreign, &p.ours, STEP_TOL, text);
    }
    let absolute = farthest(&p.theirs, &p.value);
    let relative = if absolute == 0.0 { 0.0 } else { absolute / p.moved };
    let shape = p.value.shape().to_vec();
    Row { foreign, ours: p.ours, shape, absolute, relative, tol: STEP_TOL, trouble: None }
}

/// `ports/SPEC.toml` beside the spec.
fn default_names(spec: &Path) -> PathBuf {
    let file = Path::new("ports").join(spec.file_name().unwrap_or_default()).with_extension("toml");
    spec.with_file_name("").join(file)
}

/// A case folder.
struct Case {
    config: Value,
    inputs: Option<TensorFile>,
    params: Option<TensorFile>,
    outputs: TensorFile,
    grads: Option<TensorFile>,
    steps: Option<TensorFile>,
}

impl Case {
    fn open(folder: &Path) -> Done<Case> {
        let path = folder.join("case.json");
        let text = source::read(&path)?;
        let config = serde_json::from_str(&text).map_err(|e| Failure::file("read", &path, e))?;
        let part = |name: &str| {
            let path = folder.join(format!("{name}.safetensors"));
            path.exists().then(|| TensorFile::open(&path)).transpose().map_err(Failure::input)
        };
        let outputs = part("outputs")?.ok_or_else(|| {
            Failure::input(format!("{} has no outputs.safetensors to compare with", folder.display()))
        })?;
        let params = match part("params")? {
            None => elsewhere(folder, &config).map(|p| TensorFile::open(&p)).transpose().map_err(Failure::input)?,
            here => here,
        };
        Ok(Case {
            config,
            inputs: part("inputs")?,
            params,
            outputs,
            grads: part("grads")?,
            steps: part("train_steps")?,
        })
    }

    /// Inputs by our names, and of these the shapes of those that are fed.
    fn inputs(&self, names: &Names, declared: &[InputInfo]) -> Done<(BTreeMap<String, Tensor>, compiled::Feed)> {
        let (mut given, mut feed) = (BTreeMap::new(), compiled::Feed::new());
        let Some(file) = &self.inputs else { return Ok((given, feed)) };
        let mut take = |foreign: &str, file: &TensorFile, rule: &InputRule| -> Done {
            let mut tensor = file.get(foreign).map_err(Failure::input)?;
            if let Some(view) = &rule.view {
                let shape = view.shape(tensor.shape()).ok_or_else(|| {
                    Failure::input(format!("`{foreign}`: its shape {:?} does not give ours", tensor.shape()))
                })?;
                tensor = view.apply(&tensor, &shape).map_err(|e| Failure::input(format!("`{foreign}`: {e}")))?;
            }
            match declared.iter().find(|i| i.name == rule.to) {
                Some(input) => tensor = exactly(tensor, input, foreign)?,
                None => {
                    let shape = tensor.shape().iter().map(|d| *d as i64).collect();
                    feed.insert(rule.to.clone(), (tensor.dtype(), shape));
                }
            }
            given.insert(rule.to.clone(), tensor);
            Ok(())
        };
        for foreign in file.shapes().keys() {
            let Some(rule) = names.inputs.iter().find(|r| r.foreign == *foreign) else {
                // Without a file of their own, weights may stand among the inputs.
                if names.ignores(foreign) || (self.params.is_none() && cover::is_weight(names, foreign)) {
                    continue;
                }
                let known = names.inputs.iter().map(|r| r.foreign.as_str());
                let failure =
                    Failure::input(format!("the foreign input `{foreign}` stands neither in [inputs] nor in `ignore`"));
                return Err(match did_you_mean(foreign, known) {
                    Some(help) => failure.help(help),
                    None => failure,
                });
            };
            take(foreign, file, rule)?;
        }
        // What the other implementation made before may be given too, as states.
        let others = names.inputs.iter().filter(|r| !file.shapes().contains_key(&r.foreign));
        for rule in others.filter(|r| self.outputs.shapes().contains_key(&r.foreign)) {
            take(&rule.foreign, &self.outputs, rule)?;
        }
        Ok((given, feed))
    }
}

/// The tensor as the element type of an input, where that loses nothing: masks are often written as bytes.
fn exactly(tensor: Tensor, input: &InputInfo, foreign: &str) -> Done<Tensor> {
    if tensor.dtype() == input.ty.dtype {
        return Ok(tensor);
    }
    let made = Tensor::from_f64(input.ty.dtype, tensor.shape(), tensor.iter());
    let same = made.ok().filter(|made| made.iter().eq(tensor.iter()));
    same.ok_or_else(|| {
        let (name, dtype) = (&input.name, input.ty.dtype);
        Failure::input(format!("`{foreign}` has values that `{name}` ({dtype}) cannot hold"))
    })
}

/// The file of weights that `case.json` names (`"weights": "data/weights/resnet18"`): a path from the case or a folder above it.
fn elsewhere(folder: &Path, config: &Value) -> Option<PathBuf> {
    let named = config.get("weights")?.as_str()?;
    let whole = std::fs::canonicalize(folder).ok()?;
    let places = whole.ancestors().map(|a| a.join(named));
    places.flat_map(|p| [p.join("weights.safetensors"), p]).find(|p| p.is_file())
}

/// The value of a dotted key, in `config` or at the top.
fn lookup<'a>(config: &'a Value, key: &str) -> Option<&'a Value> {
    let walk = |from: &'a Value| {
        key.split('.').try_fold(from, |v, part| match (v, part.parse::<usize>()) {
            // What is below null is null.
            (Value::Null, _) => Some(v),
            (Value::Array(list), Ok(n)) => list.get(n),
            _ => v.get(part),
        })
    };
    config.get("config").and_then(walk).or_else(|| walk(config))
}

/// `--set` assignments from the foreign configuration.
fn settings(names: &Names, config: &Value) -> Done<Vec<(String, String)>> {
    let mut set = Vec::new();
    for rule in &names.config {
        let Some(value) = lookup(config, &rule.foreign) else { continue };
        if let Some(text) = setting(rule, value)? {
            set.push((rule.param.clone(), text));
        }
    }
    Ok(set)
}

fn setting(rule: &ConfigRule, value: &Value) -> Done<Option<String>> {
    let spelt = match value {
        Value::Null => return Ok(rule.null.clone()),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    };
    if rule.values.is_empty() {
        return Ok(Some(if value.is_string() { format!("{spelt:?}") } else { spelt }));
    }
    match rule.values.get(&spelt) {
        Some(text) => Ok(Some(text.clone())),
        None => {
            let known: Vec<&str> = rule.values.keys().map(String::as_str).collect();
            let help = format!("the names file knows {}", known.join(", "));
            Err(Failure::input(format!("`{}` is `{spelt}` in this case", rule.foreign)).help(help))
        }
    }
}

struct Comparison<'a> {
    args: &'a Compare,
    names: &'a Names,
    case: &'a Case,
    compiled: &'a Compiled,
}

/// One foreign output.
struct Row {
    foreign: String,
    ours: String,
    shape: Vec<usize>,
    absolute: f64,
    relative: f64,
    tol: f64,
    trouble: Option<String>,
}

impl Row {
    fn trouble(foreign: &str, ours: &str, tol: f64, text: String) -> Row {
        let (absolute, relative) = (f64::NAN, f64::NAN);
        Row {
            foreign: foreign.to_owned(),
            ours: ours.to_owned(),
            shape: vec![],
            absolute,
            relative,
            tol,
            trouble: Some(text),
        }
    }

    fn good(&self) -> bool {
        self.trouble.is_none() && self.relative <= self.tol
    }
}

impl Comparison<'_> {
    /// Our values that have a foreign counterpart: foreign name to ours and its rule.
    fn pairs(&self) -> Done<BTreeMap<String, (String, &OutputRule)>> {
        let score = self.compiled.graph(self.names.entry())?;
        let ours: BTreeSet<&String> = score.outputs.iter().chain(&score.named).map(|(n, _)| n).collect();
        let params = |n: &str| self.compiled.int_param(n);
        let mut pairs = BTreeMap::new();
        for rule in &self.names.outputs {
            for name in &ours {
                let Some(captures) = rule.ours.matches(name) else { continue };
                let scope = uad_compiler::names::formula::Scope { captures: &captures, params: &params };
                let foreign = scope.fill(&rule.foreign).map_err(Failure::input)?;
                pairs.entry(foreign).or_insert(((*name).clone(), rule));
            }
        }
        Ok(pairs)
    }

    fn rows(&self, given: &BTreeMap<String, Tensor>) -> Done<Vec<Row>> {
        let pairs = self.pairs()?;
        let wanted = self.case.outputs.shapes().keys();
        let traced: Vec<String> = wanted.filter_map(|f| pairs.get(f).map(|p| p.0.clone())).collect();
        let stored = self.stored()?;
        let entry = self.names.entry();
        let given = &self.with_features(given, &stored)?;
        let plan = self.compiled.plan(entry, &traced)?;
        let mut engine = Engine::new(plan, Arc::new(InMemory(stored.clone())), &self.args.engine);
        let values = engine.call(entry, given)?;
        let known: Vec<&str> = pairs.keys().map(String::as_str).collect();
        let mut rows = Vec::new();
        for foreign in self.case.outputs.shapes().keys() {
            if let Some((ours, rule)) = pairs.get(foreign) {
                let tol = rule.tol.unwrap_or(self.args.tol);
                rows.push(self.row(foreign, ours, rule, tol, values.get(ours))?);
            } else if !self.names.ignores(foreign) {
                let near = did_you_mean(foreign, known.iter().copied()).unwrap_or_default();
                rows.push(Row::trouble(foreign, "", self.args.tol, format!("has no counterpart; {near}")));
            }
        }
        if let Some(theirs) = self.case.grads.as_ref().filter(|_| !self.names.gradients.is_empty() && !self.args.values)
        {
            rows.extend(self.gradients(theirs, given, &stored)?);
        }
        Ok(rows)
    }

    /// A stage takes what its features entry makes, and where the loop is: at its first step.
    fn with_features(
        &self,
        given: &BTreeMap<String, Tensor>,
        stored: &BTreeMap<String, Tensor>,
    ) -> Done<BTreeMap<String, Tensor>> {
        let mut given = given.clone();
        let info = self.compiled.model.stages.iter().find(|s| s.name == self.names.entry());
        let Some(info) = info else { return Ok(given) };
        for (name, value) in [("@step", 0.0), ("@steps", 1.0), ("@epoch", 0.0), ("@epochs", 1.0)] {
            let value =
                Tensor::from_f64(uad_plan::DType::F32, &[], [value]).map_err(|e| Failure::Fault(e.to_string()))?;
            given.insert(name.to_owned(), value);
        }
        if let Some(features) = &info.features {
            let plan = self.compiled.plan(features, &[])?;
            let mut engine = Engine::new(plan, Arc::new(InMemory(stored.clone())), &self.args.engine);
            given.extend(engine.call(features, &given)?);
        }
        Ok(given)
    }

    /// A line per gradient: differences count in units of the foreign tensor's largest element.
    fn gradients(
        &self,
        theirs: &TensorFile,
        given: &BTreeMap<String, Tensor>,
        stored: &BTreeMap<String, Tensor>,
    ) -> Done<Vec<Row>> {
        let (compiled, names, inputs) = (self.compiled, self.names, self.case.inputs.as_ref());
        let task = gradients::Task { compiled, names, engine: &self.args.engine, inputs, theirs };
        let (pairs, left) = task.pairs(given, stored)?;
        let tol = GRADIENT_TOL.max(self.args.tol);
        let largest = |t: &Tensor| t.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
        // Parts of one foreign tensor share its scale.
        let mut scale: BTreeMap<&str, f64> = BTreeMap::new();
        for p in &pairs {
            let s = scale.entry(&p.foreign).or_default();
            *s = s.max(largest(&p.theirs));
        }
        let most = scale.values().copied().fold(0.0, f64::max);
        let mut rows = Vec::new();
        for p in &pairs {
            let foreign = format!("gradient {}", p.foreign);
            if p.theirs.shape() != p.value.shape() {
                let text = format!("shapes differ: {:?} there, {:?} here", p.theirs.shape(), p.value.shape());
                rows.push(Row::trouble(&foreign, &p.ours, tol, text));
                continue;
            }
            let absolute = farthest(&p.theirs, &p.value);
            // What is 0 but for rounding is compared with the largest gradient of all.
            let relative = if absolute == 0.0 { 0.0 } else { absolute / scale[p.foreign.as_str()].max(NOTHING * most) };
            let (ours, shape) = (p.ours.clone(), p.value.shape().to_vec());
            rows.push(Row { foreign, ours, shape, absolute, relative, tol, trouble: None });
        }
        let lone = |n: String| Row::trouble(&format!("gradient {n}"), "", tol, "has no counterpart".to_owned());
        rows.extend(left.into_iter().map(lone));
        Ok(rows)
    }

    /// Weights from the case: from `params.safetensors`, else from among the inputs.
    fn stored(&self) -> Done<BTreeMap<String, Tensor>> {
        let mut stored = BTreeMap::new();
        let file = self.case.params.as_ref().or(self.case.inputs.as_ref().filter(|_| !self.names.weights.is_empty()));
        if let Some(file) = file {
            weights::assign(&mut stored, self.compiled, self.names, file)?;
        }
        weights::initialise(self.compiled, 0, &mut stored)?;
        if self.names.entry.is_some() {
            weights::initialise_stage(self.compiled, 0, self.names.entry(), &mut stored)?;
        }
        Ok(stored)
    }

    fn row(&self, foreign: &str, ours: &str, rule: &OutputRule, tol: f64, value: Option<&Tensor>) -> Done<Row> {
        let Some(value) = value else {
            return Ok(Row::trouble(foreign, ours, tol, format!("`{ours}` was not computed")));
        };
        let mut theirs = self.case.outputs.get(foreign).map_err(Failure::input)?;
        if let Some(view) = &rule.view {
            theirs = match view.apply(&theirs, value.shape()) {
                Ok(t) => t,
                Err(e) => return Ok(Row::trouble(foreign, ours, tol, e)),
            };
        }
        if theirs.shape() != value.shape() {
            let (a, b) = (theirs.shape(), value.shape());
            return Ok(Row::trouble(foreign, ours, tol, format!("shapes differ: {a:?} there, {b:?} here")));
        }
        let absolute = farthest(&theirs, value);
        let largest = theirs.iter().filter(|a| a.is_finite()).fold(0.0f64, |m, a| m.max(a.abs()));
        let shape = value.shape().to_vec();
        let relative = absolute / largest.max(1.0);
        Ok(Row { foreign: foreign.to_owned(), ours: ours.to_owned(), shape, absolute, relative, tol, trouble: None })
    }
}

/// The largest difference of two tensors of one shape; infinite where only one is no number.
fn farthest(theirs: &Tensor, ours: &Tensor) -> f64 {
    let mut farthest = 0.0f64;
    for (a, b) in theirs.iter().zip(ours.iter()) {
        let same = a == b || (a.is_nan() && b.is_nan());
        let d = if same { 0.0 } else { (a - b).abs() };
        farthest = if d.is_nan() { f64::INFINITY } else { farthest.max(d) };
    }
    farthest
}

fn report(args: &Compare, rows: &[Row]) -> Done {
    let bad = rows.iter().filter(|r| !r.good()).count();
    if args.json {
        let line = |r: &Row| {
            json!({ "foreign": r.foreign, "ours": r.ours, "shape": r.shape, "max_abs": r.absolute, "max_rel": r.relative,
                    "tol": r.tol, "ok": r.good(), "trouble": r.trouble })
        };
        let lines: Vec<Value> = rows.iter().map(line).collect();
        out(&format!("{}\n", json!({ "ok": bad == 0 && !rows.is_empty(), "tensors": lines })));
    } else {
        table(rows, bad);
    }
    if bad > 0 || rows.is_empty() { Err(Failure::Reported) } else { Ok(()) }
}

fn table(rows: &[Row], bad: usize) {
    let look = Look::stdout();
    let width = |f: fn(&Row) -> &String| rows.iter().map(|r| f(r).chars().count()).max().unwrap_or(0);
    let (a, b) = (width(|r| &r.foreign), width(|r| &r.ours));
    for r in rows {
        let sign = if r.good() {
            look.paint("32", look.sign("✓", "ok"))
        } else {
            look.paint("1;31", look.sign("✗", "!!"))
        };
        let what = match &r.trouble {
            Some(t) => t.clone(),
            None => format!("abs {:.1e}  rel {:.1e}  {:?}", r.absolute, r.relative, r.shape),
        };
        out(&format!("{sign} {:a$}  {:b$}  {what}\n", r.foreign, r.ours));
    }
    let summary = match (rows.len(), bad) {
        (0, _) => "nothing was compared".to_owned(),
        (n, 0) => format!("{} agree", count(n, "tensor")),
        (n, bad) => format!("{bad} of {} differ", count(n, "tensor")),
    };
    out(&format!("{}\n", look.bold(&summary)));
}
