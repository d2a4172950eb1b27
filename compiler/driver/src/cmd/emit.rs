//! `uadc emit`: every form that the compiler passes through.
//!
//! In: a spec (or a bundle, for its plan). Out: text on standard output. Invariants: graphs and plans are printed as they parse
//! back; pictures show the graph as the spec says it, before passes. Imports: compiled, engine; compiler, kernels.

use uad_compiler::graph::{Graph, picture};
use uad_compiler::pass::optimise;
use uad_kernels::cpu::{Isa, Program};
use uad_kernels::cuda::{Precision, cost};
use uad_plan::Bound;
use uad_runtime::bundle::Bundle;

use super::build;
use crate::args::{self, Emit, Form};
use crate::compiled::{self, Feed};
use crate::engine::{Engine, InMemory};
use crate::failure::{Done, Failure};
use crate::source;
use crate::terminal::out;

/// Runs it.
pub fn run(args: &Emit) -> Done {
    if args.spec.extension().is_some_and(|e| e == "uadx") {
        if args.form != Form::Plan {
            return Err(Failure::Usage("a bundle has a plan only: --form plan".to_owned()));
        }
        let bundle = Bundle::open(&args.spec).map_err(Failure::input)?;
        out(&bundle.plan.to_string());
        return Ok(());
    }
    if args.form == Form::Ast {
        let (file, errors) = uad_grammar::parse(&source::read(&args.spec)?);
        out(&format!("{file:#?}\n"));
        return if errors.is_empty() {
            Ok(())
        } else {
            Err(Failure::input("the text does not parse; see `uadc check`"))
        };
    }
    let compiled = compiled::check(&args.spec, &args.choice, Feed::new())?;
    let entry = |default: &str| args.entry.clone().unwrap_or_else(|| default.to_owned());
    match args.form {
        Form::Ast => {}
        Form::Typed => out(&compiled.model.to_string()),
        Form::Graph => {
            for graph in chosen(&compiled.model.entries, args)? {
                let better = optimise(graph.clone(), &Default::default()).map_err(|e| Failure::Fault(e.to_string()))?;
                out(&better.to_string());
            }
        }
        Form::Plan if compiled.model.stages.iter().any(|s| args.entry.as_ref() == Some(&s.name)) => {
            out(&compiled.stage_plan(&entry("score"))?.to_string());
        }
        Form::Plan => {
            let graphs: Vec<Graph> = chosen(&compiled.model.entries, args)?.into_iter().cloned().collect();
            out(&compiled.plan_of(&graphs)?.to_string());
        }
        Form::Clif | Form::Cuda | Form::Launches => {
            let name = entry("score");
            let engine = Engine::new(
                compiled.plan(&name, &[])?,
                std::sync::Arc::new(InMemory::default()),
                &args::Engine::default(),
            );
            let bound = engine.bind(&name, &build::sizes(&engine, &name, 1, &[])?)?;
            match args.form {
                Form::Cuda => out(&cuda(&bound, args.precision, &compiled.model.name)?),
                Form::Launches => out(&launches(&bound, args.precision, &compiled.model.name)?),
                _ => out(&Program::clif(&bound, Isa::detect()).map_err(Failure::Fault)?),
            }
        }
        Form::Dot => out(&picture::dot(compiled.graph(&entry("score"))?, &Default::default())),
        Form::Svg => out(&picture::svg(compiled.graph(&entry("score"))?, &Default::default())),
    }
    Ok(())
}

/// The launches of an entry, a line for each kernel of the plan.
fn launches(bound: &Bound, precision: Precision, detector: &str) -> Done<String> {
    let program = uad_kernels::cuda::Program::grouped(bound, precision).map_err(Failure::Fault)?;
    let costs = cost::of_call(bound, &program);
    let million = |n: u128| n as f64 / 1e6;
    let dims: String = bound.dims.iter().map(|(name, value)| format!(", {name} = {value}")).collect();
    let total = |of: fn(&cost::Cost) -> u128| million(costs.iter().map(of).sum());
    let mut text = format!(
        "{detector}, entry {}{dims}: {} kernels, {} launches, {:.1} million operations, {:.1} MB moved\n",
        bound.entry.name,
        costs.len(),
        program.launches(),
        total(|c| c.operations),
        total(|c| c.bytes),
    );
    text.push_str(&format!("{:>8} {:>12} {:>10}  {:<26} scope\n", "launches", "Mop", "MB", "functions"));
    for c in &costs {
        let (functions, template) = (c.functions.join(" "), c.template);
        let functions = if functions.is_empty() { template.to_owned() } else { functions };
        let (mop, mb) = (million(c.operations), million(c.bytes));
        text.push_str(&format!("{:>8} {mop:>12.3} {mb:>10.3}  {functions:<26} {}\n", c.launches, c.scope));
    }
    Ok(text)
}

/// What names in CUDA text mean.
const LEGEND: &str = "x0, x1, ... are read, y0, ... written. i0, i1, ... are coordinates on a kernel's axes; where a group of \
     axes has one alone, it is the group's number: m, n, k, r, j, p.";

/// The CUDA program of an entry.
fn cuda(bound: &Bound, precision: Precision, detector: &str) -> Done<String> {
    let program = uad_kernels::cuda::Program::grouped(bound, precision).map_err(Failure::Fault)?;
    let dims: String = bound.dims.iter().map(|(name, value)| format!(", {name} = {value}")).collect();
    let (functions, launches) = (program.functions.len(), program.launches());
    let head = format!("// {detector}, entry {}{dims}: {functions} functions, {launches} launches", bound.entry.name);
    let once = match program.of_setup() {
        0 => String::new(),
        n => format!(" The first {n} functions run once, when weights are loaded."),
    };
    Ok(format!("{head}\n// {LEGEND}{once}\n\n{}", program.text()))
}

/// The entry that was asked for, or all.
fn chosen<'a>(entries: &'a [Graph], args: &Emit) -> Done<Vec<&'a Graph>> {
    let Some(name) = &args.entry else { return Ok(entries.iter().collect()) };
    match entries.iter().find(|g| g.name == *name) {
        Some(graph) => Ok(vec![graph]),
        None => {
            let names: Vec<String> = entries.iter().map(|g| format!("`{}`", g.name)).collect();
            Err(Failure::input(format!("no entry `{name}`")).help(format!("there are {}", names.join(", "))))
        }
    }
}
