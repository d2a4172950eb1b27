//! From a spec on disk to a checked model and its plans.
//!
//! In: a path, a choice of detector and parameters. Out: [`Compiled`]. Invariants: what is wrong with a spec is said once, through
//! `render`; a fault of the compiler is a [`Failure::Fault`]. Imports: args, failure, render, source; the compiler.

use std::collections::BTreeMap;
use std::path::Path;

use uad_compiler::check;
use uad_compiler::compile::{self, CompileOptions};
use uad_compiler::diag::{Diagnostic, Severity};
use uad_compiler::graph::Graph;
use uad_compiler::model::{self, Depth, Model, Static, SynthInfo};
use uad_compiler::source::{Files, Loader};
use uad_plan::{DType, Dim, Plan, Stored, Verified};
use uad_runtime::bundle::Bundle;

use crate::args::Choice;
use crate::failure::{Done, Failure};
use crate::render;
use crate::source;
use crate::terminal::{Look, err};

/// `let`s that are fed, with element type and shape.
pub type Feed = BTreeMap<String, (DType, Vec<i64>)>;

/// A spec that was checked.
pub struct Compiled {
    /// The texts.
    pub files: Files,
    /// What the spec says.
    pub model: Model,
}

/// What a check found, whether or not there is a model.
pub struct Checked {
    /// The texts.
    pub files: Files,
    /// What the spec says, if it has no errors.
    pub model: Option<Model>,
    /// All findings.
    pub found: Vec<Diagnostic>,
}

/// Checks a spec and says nothing.
pub fn look_at(spec: &Path, choice: &Choice, feed: Feed) -> Done<Checked> {
    set_once(choice)?;
    let text = source::read(spec)?;
    let depth = Depth::Whole;
    Ok(check_text(&spec.display().to_string(), text, &source::folder(spec), choice, feed, depth, check::check))
}

/// Checks all of a spec, also what the chosen detector does not use, and says nothing.
pub fn look_at_all(spec: &Path, choice: &Choice) -> Done<Checked> {
    set_once(choice)?;
    let (text, name) = (source::read(spec)?, spec.display().to_string());
    Ok(check_text(&name, text, &source::folder(spec), choice, Feed::new(), Depth::Score, check::check_all))
}

/// Nothing may be set twice: one of the values would be lost.
fn set_once(choice: &Choice) -> Done {
    let mut names: Vec<&str> = choice.set.iter().map(|s| s.0.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|w| w[0] == w[1]) {
        Some(w) => Err(Failure::input(format!("`--set {}` is given twice", w[0]))),
        None => Ok(()),
    }
}

/// A way to check.
type How = fn(&mut Files, &dyn Loader, &str, &model::Choice) -> (Option<Model>, Vec<Diagnostic>);

fn check_text(
    name: &str,
    text: String,
    loader: &dyn Loader,
    choice: &Choice,
    feed: Feed,
    depth: Depth,
    how: How,
) -> Checked {
    let mut files = Files::one(name, text);
    let choice = model::Choice { detector: choice.detector.clone(), set: choice.set.clone(), feed, depth };
    let (model, found) = how(&mut files, loader, name, &choice);
    let wrong = found.iter().any(|d| d.severity == Severity::Error);
    Checked { files, model: model.filter(|_| !wrong), found }
}

/// Checks a spec; findings are shown, errors end the command.
pub fn check(spec: &Path, choice: &Choice, feed: Feed) -> Done<Compiled> {
    let checked = look_at(spec, choice, feed)?;
    show(checked)
}

/// [`check`] for what needs first values and the score alone.
pub fn check_score(spec: &Path, choice: &Choice) -> Done<Compiled> {
    set_once(choice)?;
    let (text, name) = (source::read(spec)?, spec.display().to_string());
    let (feed, depth) = (Feed::new(), Depth::Score);
    show(check_text(&name, text, &source::folder(spec), choice, feed, depth, check::check))
}

/// The synthesiser of a spec's detector, and nothing else of it.
pub fn synth(spec: &Path, choice: &Choice, slot: Option<&str>) -> Done<(Compiled, SynthInfo)> {
    set_once(choice)?;
    let (text, name) = (source::read(spec)?, spec.display().to_string());
    let mut files = Files::one(&name, text);
    let (detector, set) = (choice.detector.clone(), choice.set.clone());
    let given = model::Choice { detector, set, ..model::Choice::default() };
    let (made, found) = model::elaborate_synth(&mut files, &source::folder(spec), &name, &given, slot);
    let checked = |model| Checked { files, model, found };
    match made {
        Some((model, info)) => Ok((show(checked(Some(model)))?, info)),
        None => Err(show(checked(None)).err().unwrap_or(Failure::Reported)),
    }
}

fn show(checked: Checked) -> Done<Compiled> {
    if !checked.found.is_empty() {
        err(&render::render(&checked.found, &checked.files.files, Look::stderr()));
    }
    match checked.model {
        Some(model) => Ok(Compiled { files: checked.files, model }),
        None if checked.found.iter().any(|d| d.severity == Severity::Error) => Err(Failure::Reported),
        None => {
            let name = checked.files.files.first().map_or("", |f| f.0.as_str());
            Err(Failure::input(format!("{name} has no detector")))
        }
    }
}

impl Compiled {
    /// The graph of an entry.
    pub fn graph(&self, name: &str) -> Done<&Graph> {
        let found = self.model.entries.iter().find(|g| g.name == name);
        found.ok_or_else(|| {
            let names: Vec<String> = self.model.entries.iter().map(|g| format!("`{}`", g.name)).collect();
            Failure::input(format!("`{}` has no entry `{name}` that can be executed in this version", self.model.name))
                .help(format!("it has {}", names.join(", ")))
        })
    }

    /// The value of an integer parameter.
    pub fn int_param(&self, name: &str) -> Option<i64> {
        match self.model.params.iter().find(|p| p.name == name)?.value {
            Static::Int(v) => Some(v),
            _ => None,
        }
    }

    /// The stored tensors of the model.
    pub fn stored(&self) -> Vec<Stored<Dim>> {
        let one = |s: &model::StoredInfo| Stored {
            path: s.path.clone(),
            kind: s.kind,
            dtype: s.ty.dtype,
            shape: s.ty.shape.to_vec(),
        };
        self.model.stored.iter().map(one).collect()
    }

    /// The plan of one entry, with these values as further outputs.
    pub fn plan(&self, entry: &str, trace: &[String]) -> Done<Verified<Plan<Dim>>> {
        let mut graph = self.graph(entry)?.clone();
        let unknown = compile::trace(&mut graph, trace);
        if let Some(name) = unknown.first() {
            let known = graph.named.iter().map(|(n, _)| n.as_str());
            let help = uad_compiler::diag::nearest::did_you_mean(name, known)
                .unwrap_or_else(|| "`--trace all` shows what there is".to_owned());
            return Err(Failure::input(format!("`{entry}` has no value `{name}`")).help(help));
        }
        self.plan_of(&[graph])
    }

    /// The plan of a stage: its entries in the order of a pass.
    pub fn stage_plan(&self, stage: &str) -> Done<Verified<Plan<Dim>>> {
        let Some(info) = self.model.stages.iter().find(|s| s.name == stage) else {
            let names = self.model.stages.iter().map(|s| s.name.as_str());
            let help = uad_compiler::diag::nearest::did_you_mean(stage, names.clone())
                .unwrap_or_else(|| format!("it has {}", names.collect::<Vec<_>>().join(", ")));
            return Err(Failure::input(format!("`{}` has no stage `{stage}`", self.model.name)).help(help));
        };
        let graphs: Vec<Graph> = info.entries().map(|e| self.graph(e).cloned()).collect::<Done<_>>()?;
        self.plan_of(&graphs)
    }

    /// The plan of these graphs.
    pub fn plan_of(&self, graphs: &[Graph]) -> Done<Verified<Plan<Dim>>> {
        let options = CompileOptions::default();
        compile::compile(&self.model.name, &self.stored(), graphs, &options).map_err(|e| Failure::Fault(e.to_string()))
    }
}

/// The texts of a bundle as modules.
struct Texts(Vec<(String, String)>);

impl Loader for Texts {
    fn load(&self, path: &str) -> Option<String> {
        self.0.iter().find(|f| f.0 == path || f.0.ends_with(&format!("/{path}"))).map(|f| f.1.clone())
    }
}

/// Begins each file in the text that a bundle keeps of its spec.
const MARK: &str = "//# ";

/// The user's files as one text for a bundle.
pub fn joined(files: &[(String, String)]) -> String {
    files.iter().map(|(name, text)| format!("{MARK}{name}\n{text}\n")).collect()
}

fn parted(spec: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    for line in spec.lines() {
        match (line.strip_prefix(MARK), files.last_mut()) {
            (Some(name), _) => files.push((name.to_owned(), String::new())),
            (None, Some(last)) => {
                last.1.push_str(line);
                last.1.push('\n');
            }
            (None, None) => {}
        }
    }
    files
}

/// The spec of a bundle compiled again.
pub fn of_bundle(bundle: &Bundle) -> Done<Compiled> {
    let files = parted(&bundle.spec);
    let Some((name, text)) = files.first().cloned() else {
        return Err(Failure::input(format!("{} keeps no spec", bundle.path().display())));
    };
    let set = bundle.card.params.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
    let choice = Choice { detector: Some(bundle.card.detector.clone()), set };
    let checked = check_text(&name, text, &Texts(files), &choice, Feed::new(), Depth::Whole, check::check);
    if checked.model.is_none() {
        err(&render::render(&checked.found, &checked.files.files, Look::stderr()));
        return Err(Failure::input("the spec in the bundle does not compile with this version; build it again"));
    }
    show(Checked { found: Vec::new(), ..checked })
}

/// The same, with these values as further outputs of `score`.
pub fn traced(bundle: &Bundle, trace: &[String]) -> Done<Verified<Plan<Dim>>> {
    of_bundle(bundle)?.plan("score", trace)
}
