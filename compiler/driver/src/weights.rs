//! Values for weights and states: from bundles, from foreign files through names files, the rest from their initialisers.
//!
//! In: a checked model, files of tensors, names files. Out: tensors by path. Invariants: every stored tensor has a value of its
//! shape afterwards; a missing, extra or misshapen tensor is named; what a file gives is not drawn.
//! Imports: compiled, engine, failure, source; names files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uad_compiler::diag::nearest::did_you_mean;
use uad_compiler::library::{NAMES, WEIGHTS};
use uad_compiler::model::{StageInfo, StoredInfo};
use uad_compiler::names::{Names, cover};
use uad_plan::plan::StoredKind;
use uad_plan::tensor::{Tensor, elements};
use uad_runtime::bundle::Bundle;
use uad_runtime::device::executor::Draw;
use uad_runtime::device::memory::fits;
use uad_runtime::tensors::TensorFile;

use crate::args;
use crate::compiled::Compiled;
use crate::engine::{Blank, Engine};
use crate::failure::{Done, Failure};
use crate::source;

/// Tensors by path.
pub type Tensors = BTreeMap<String, Tensor>;

/// Reads a names file.
pub fn read_names(path: &Path) -> Done<Names> {
    let mut names = parse_names(&path.display().to_string(), &source::read(path)?)?;
    if let Some(like) = &names.like {
        let other = path.with_file_name(like);
        let other = parse_names(&other.display().to_string(), &source::read(&other)?)?;
        names.config.extend(other.config);
        names.weights.extend(other.weights);
        names.root = names.root.or(other.root);
    }
    Ok(names)
}

fn parse_names(name: &str, text: &str) -> Done<Names> {
    Names::parse(text).map_err(|errors| Failure::input(format!("{name}: {}", several(&errors))))
}

/// All of these, the first on the line of the message. They quote files, whose lines may be very long.
fn several(errors: &[String]) -> String {
    let short = |line: &str| match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    };
    let one = |error: &String| error.split('\n').map(short).collect::<Vec<_>>().join("\n");
    let mut lines: Vec<String> = errors.iter().take(12).map(one).collect();
    if errors.len() > lines.len() {
        lines.push(format!("and {} more", errors.len() - lines.len()));
    }
    lines.join("\n  ")
}

/// Values that files give.
#[derive(Default)]
pub struct Given {
    /// By path.
    pub values: Tensors,
    /// States that a bundle no longer has, since only stages read them that it has run.
    pub spent: BTreeSet<String>,
}

/// All of `--weights FILE[:MAP]`.
pub fn given(compiled: &Compiled, arguments: &[String]) -> Done<Given> {
    let mut given = Given::default();
    for argument in arguments {
        load(&mut given, compiled, argument)?;
    }
    Ok(given)
}

fn load(given: &mut Given, compiled: &Compiled, argument: &str) -> Done {
    let (path, map) = split(argument);
    if map.is_none() && path.extension().is_some_and(|e| e == "uadx") {
        let bundle = Bundle::open(&path).map_err(Failure::input)?;
        // It may also be what a map reads: the encoder that comes along was a detector's.
        return from_bundle(given, compiled, &bundle).or_else(|own| {
            let file = TensorFile::open(&path).map_err(Failure::input)?;
            by_declared(&mut given.values, compiled, &file).map_err(|_| own)
        });
    }
    let into = &mut given.values;
    let file = TensorFile::open(&path).map_err(Failure::input)?;
    if let Some(map) = map {
        if let Some((name, text)) = NAMES.iter().find(|n| n.0 == map) {
            return by_block(into, compiled, &parse_names(name, text)?, &file, |_| true);
        }
        if !Path::new(&map).exists() {
            let help = did_you_mean(&map, NAMES.iter().map(|n| n.0))
                .unwrap_or_else(|| "MAP is a file, or the name of a map of the library".to_owned());
            return Err(Failure::input(format!("no names file `{map}`")).help(help));
        }
        let names = read_names(Path::new(&map))?;
        return if names.root.is_none() && names.weights.is_empty() {
            Err(Failure::input(format!("{map} has no [weights]")))
        } else {
            assign(into, compiled, &names, &file)
        };
    }
    by_declared(into, compiled, &file)
}

/// By the first of the maps that blocks declare, and of their siblings, that fits.
fn by_declared(into: &mut Tensors, compiled: &Compiled, file: &TensorFile) -> Done {
    let maps: BTreeSet<&str> =
        compiled.model.stored.iter().filter_map(|s| Some(s.names.as_ref()?.name.as_str())).collect();
    let mut refusals = Vec::new();
    for (declared, (name, text)) in maps.iter().flat_map(|m| siblings(m).map(|n| (*m, n))) {
        let names = parse_names(name, text)?;
        let mut values = Tensors::new();
        match by_block(&mut values, compiled, &names, file, |m| m == declared) {
            Ok(()) => {
                into.append(&mut values);
                return Ok(());
            }
            Err(Failure::Input { message, .. }) => {
                let lines: Vec<&str> = message.lines().take(4).collect();
                refusals.push(format!("with the map `{name}`: {}", lines.join("\n    ")));
            }
            Err(other) => return Err(other),
        }
    }
    let path = file.path().display();
    if refusals.is_empty() {
        return Err(Failure::input(format!(
            "nothing in `{}` declares @weights, so {path} needs a names file",
            compiled.model.name
        ))
        .help("give it after a colon: --weights FILE:MAP.toml"));
    }
    Err(Failure::input(format!("{path} does not fit\n  {}", refusals.join("\n  ")))
        .help("another map may be given after a colon: --weights FILE:MAP"))
}

/// Tensors of a bundle have here the paths they have there, so that a variant goes on from what another has learned. Each weight
/// must be there, unless a stage here learns it and nothing that this stage learns is there; a state that is not is left to the
/// stage that makes it, and what has no place here stays behind.
fn from_bundle(given: &mut Given, compiled: &Compiled, bundle: &Bundle) -> Done {
    let held = bundle.all_stored();
    let (mut values, mut errors) = (Tensors::new(), Vec::new());
    let new: BTreeSet<&String> = compiled
        .model
        .stages
        .iter()
        .filter(|s| !s.writes.iter().any(|p| held.contains_key(p)))
        .flat_map(|s| &s.writes)
        .collect();
    for s in compiled.model.stored.iter().filter(|s| s.stage.is_none()) {
        let Some(value) = held.get(&s.path) else {
            if s.kind == StoredKind::Weight && !new.contains(&s.path) {
                let near =
                    did_you_mean(&s.path, held.keys().map(String::as_str)).map_or(String::new(), |n| format!("; {n}"));
                errors.push(format!("the bundle has no `{}`{near}", s.path));
            }
            continue;
        };
        // Open dims, of states that a stage makes, take the sizes they have there.
        let fits = s.ty.shape.len() == value.shape().len()
            && s.ty
                .shape
                .iter()
                .zip(value.shape())
                .all(|(d, n)| d.as_int().is_none_or(|d| usize::try_from(d) == Ok(*n)));
        if fits && s.ty.dtype == value.dtype() {
            values.insert(s.path.clone(), value.clone());
        } else {
            let here: Vec<String> = s.ty.shape.iter().map(ToString::to_string).collect();
            errors.push(format!(
                "`{}` is {}[{}] here, and {}{:?} in the bundle",
                s.path,
                s.ty.dtype,
                here.join(", "),
                value.dtype(),
                value.shape()
            ));
        }
    }
    if errors.is_empty() {
        let ran = |s: &&StageInfo| bundle.card.stages.iter().any(|b| b.done && b.name == s.name);
        let written = compiled.model.stages.iter().filter(ran).flat_map(|s| &s.writes);
        given.values.append(&mut values);
        given.spent.extend(written.filter(|p| !held.contains_key(*p)).cloned());
        return Ok(());
    }
    Err(Failure::input(format!(
        "{} does not fit `{}`\n  {}",
        bundle.path().display(),
        compiled.model.name,
        several(&errors)
    ))
    .help("the names file of --weights FILE:MAP says what a tensor without a source is to be"))
}

/// Weights of the library, for frozen blocks that no file has filled.
fn shipped(into: &mut Tensors, compiled: &Compiled) -> Done {
    for (map, bytes) in WEIGHTS {
        let lacks = |s: &StoredInfo| {
            s.frozen && s.names.as_ref().is_some_and(|n| n.name == *map) && !into.contains_key(&s.path)
        };
        if !compiled.model.stored.iter().any(lacks) {
            continue;
        }
        let Some((name, text)) = NAMES.iter().find(|n| n.0 == *map) else { continue };
        let file = TensorFile::within(name, bytes).map_err(Failure::input)?;
        let mut values = Tensors::new();
        by_block(&mut values, compiled, &parse_names(name, text)?, &file, |m| m == *map)?;
        for (path, value) in values {
            into.entry(path).or_insert(value);
        }
    }
    Ok(())
}

/// The library's maps for the encoder of this map, itself first: `resnet18.torchvision`, then `resnet18.folded`.
fn siblings(map: &str) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let family = map.split('.').next().unwrap_or(map).to_owned();
    let own = NAMES.iter().filter({
        let map = map.to_owned();
        move |n| n.0 == map
    });
    let map = map.to_owned();
    own.chain(NAMES.iter().filter(move |n| n.0 != map && n.0.split('.').next() == Some(family.as_str())))
}

/// A path may hold a colon itself: what exists as a file wins.
fn split(argument: &str) -> (PathBuf, Option<String>) {
    if Path::new(argument).exists() {
        return (argument.into(), None);
    }
    match argument.rsplit_once(':') {
        Some((file, map)) if !map.is_empty() && !file.is_empty() => (file.into(), Some(map.to_owned())),
        _ => (argument.into(), None),
    }
}

/// Tensors of the blocks that declare a map: paths relative to the block. Where some of them are frozen, the others are there
/// to be trained, as the student beside its teacher, and begin as they are initialised.
fn by_block(
    into: &mut Tensors,
    compiled: &Compiled,
    names: &Names,
    file: &TensorFile,
    fits: impl Fn(&str) -> bool,
) -> Done {
    let mut prefixes: Vec<&String> = Vec::new();
    let some_frozen = compiled.model.stored.iter().any(|s| s.frozen && s.names.as_ref().is_some_and(|n| fits(&n.name)));
    for s in &compiled.model.stored {
        if let Some(n) = &s.names
            && fits(&n.name)
            && (s.frozen || !some_frozen)
            && !prefixes.contains(&&n.prefix)
        {
            prefixes.push(&n.prefix);
        }
    }
    if prefixes.is_empty() {
        return Err(Failure::input(format!("no block of `{}` declares @weights", compiled.model.name)));
    }
    for prefix in prefixes {
        let below = |s: &&StoredInfo| s.names.as_ref().is_some_and(|n| fits(&n.name) && n.prefix == *prefix);
        let ours: Vec<&StoredInfo> = compiled.model.stored.iter().filter(below).collect();
        fill(into, compiled, names, file, &ours, prefix)?;
    }
    Ok(())
}

/// Tensors below the names file's root; without one, all.
pub fn assign(into: &mut Tensors, compiled: &Compiled, names: &Names, file: &TensorFile) -> Done {
    let root = names.root.clone().unwrap_or_default();
    let under = |s: &StoredInfo| root.is_empty() || s.path.strip_prefix(&root).is_some_and(|p| p.starts_with('.'));
    let below = |s: &&StoredInfo| s.stage.is_none() && under(s);
    let ours: Vec<&StoredInfo> = compiled.model.stored.iter().filter(below).collect();
    if ours.is_empty() && !root.is_empty() {
        let known = compiled.model.stored.iter().filter_map(|s| s.path.split('.').next());
        let help = did_you_mean(&root, known).unwrap_or_else(|| "`uadc check --paths` lists the paths".to_owned());
        return Err(Failure::input(format!("the names file's root `{root}` holds no weights")).help(help));
    }
    fill(into, compiled, names, file, &ours, &root)
}

fn fill(
    into: &mut Tensors,
    compiled: &Compiled,
    names: &Names,
    file: &TensorFile,
    ours: &[&StoredInfo],
    prefix: &str,
) -> Done {
    let own = |s: &&StoredInfo| {
        let shape = s.ty.shape.iter().map(|d| usize::try_from(d.as_int().unwrap_or(0)).unwrap_or(0)).collect();
        let path = if prefix.is_empty() { &s.path } else { s.path.get(prefix.len() + 1..).unwrap_or(&s.path) };
        (path.to_owned(), s.ty.dtype, shape)
    };
    let ours: Vec<cover::Ours> = ours.iter().map(own).collect();
    let params = |n: &str| compiled.int_param(n);
    let told = |errors: Vec<String>| Failure::input(format!("{}: {}", file.path().display(), several(&errors)));
    let found = cover::assign(names, &ours, file.shapes(), &params).map_err(told)?;
    let read = |name: &str| file.get(name).map_err(|e| e.to_string());
    let mut errors = Vec::new();
    for a in found {
        match a.value(&params, &read) {
            Ok(value) => {
                let path = if prefix.is_empty() { a.path } else { format!("{prefix}.{}", a.path) };
                into.insert(path, value);
            }
            Err(e) => errors.push(e),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(told(errors)) }
}

/// Draws what no file gave and the library has not. What optimisers keep is not of the detector.
pub fn initialise(compiled: &Compiled, seed: u64, stored: &mut Tensors) -> Done {
    shipped(stored, compiled)?;
    first_values(compiled, seed, None, stored)
}

/// First values of what the step of a stage keeps: moments of optimisers, averages.
pub fn initialise_stage(compiled: &Compiled, seed: u64, stage: &str, stored: &mut Tensors) -> Done {
    first_values(compiled, seed, Some(stage), stored)
}

fn first_values(compiled: &Compiled, seed: u64, stage: Option<&str>, stored: &mut Tensors) -> Done {
    let mut graph = compiled.graph("init")?.clone();
    let of_stage = compiled.model.stored.iter().filter(|s| s.stage.as_deref() == stage);
    let wanted: BTreeSet<&str> = of_stage.map(|s| s.path.as_str()).collect();
    graph.writes.retain(|(path, _)| !stored.contains_key(path) && wanted.contains(path.as_str()));
    if graph.writes.is_empty() {
        return Ok(());
    }
    let written: BTreeSet<&str> = graph.writes.iter().map(|w| w.0.as_str()).collect();
    let mut sizes = BTreeMap::new();
    for s in compiled.model.stored.iter().filter(|s| written.contains(s.path.as_str())) {
        let shape: Vec<usize> =
            s.ty.shape.iter().map(|d| usize::try_from(d.as_int().unwrap_or(0)).unwrap_or(0)).collect();
        let elements = elements(&shape).map_err(|e| Failure::input(format!("`{}`: {e}", s.path)))?;
        sizes.insert(s.path.clone(), elements.saturating_mul(s.ty.dtype.bytes()));
    }
    let all = sizes.values().copied().fold(0, usize::saturating_add);
    // At once: in the executor, as drawn, and as bytes of the bundle.
    if !fits(all.saturating_mul(3)) {
        return Err(Failure::input(format!(
            "the weights of `{}` have {all} bytes, for which this machine has no memory",
            compiled.model.name
        )));
    }
    let plan = compiled.plan_of(&[graph])?;
    let mut engine = Engine::new(plan, Arc::new(Blank::new(sizes)), &args::Engine::default());
    let (_, written) = engine.call_seeded("init", &BTreeMap::new(), Draw { seed, step: 0, sample: 0 })?;
    stored.extend(written);
    Ok(())
}
