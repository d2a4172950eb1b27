//! From graphs to a verified plan.
//!
//! In: a detector's name, its stored tensors, the graphs of its entries. Out: the plan. Invariants: what leaves is verified; a
//! failure here is a fault of the compiler, not of the spec, and names the stage that failed. Imports: graph, pass, lower.

use std::collections::HashSet;
use std::fmt;

use uad_plan::{Dim, Plan, Stored, Verified};

use crate::graph::{Graph, samples, verify};
use crate::lower::{LowerOptions, lower};
use crate::pass::{PassOptions, optimise};

/// How to compile.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Join operations into few kernels.
    pub fuse: bool,
    /// Which passes run, and when graphs are verified.
    pub passes: PassOptions,
}

impl Default for CompileOptions {
    fn default() -> CompileOptions {
        CompileOptions { fuse: true, passes: PassOptions::default() }
    }
}

/// A fault of the compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The entry.
    pub entry: String,
    /// What went wrong, with the stage.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry `{}`: {}", self.entry, self.message)
    }
}
impl std::error::Error for Fault {}

/// Compiles entries. Their graphs name stored tensors by path; those of `stored` that no entry needs are left out.
pub fn compile(
    name: &str,
    stored: &[Stored<Dim>],
    graphs: &[Graph],
    options: &CompileOptions,
) -> Result<Verified<Plan<Dim>>, Fault> {
    let mut plan = Plan { name: name.to_owned(), stored: Vec::new(), entries: Vec::new() };
    for graph in graphs {
        let fault = |message: String| Fault { entry: graph.name.clone(), message };
        let better = optimise(graph.clone(), &options.passes).map_err(|e| fault(e.to_string()))?;
        let sound = verify(&better).map_err(|v| {
            let first = v.first().map_or(String::new(), ToString::to_string);
            fault(format!("the graph is wrong: {first}"))
        })?;
        let mut entry =
            lower(&sound, LowerOptions { fuse: options.fuse }).map_err(|e| fault(format!("lowering: {e}")))?;
        entry.samples = samples::apart(graph).then(|| samples::BATCH.to_owned());
        plan.entries.push(entry);
    }
    let buffers = plan.entries.iter().flat_map(|e| &e.buffers).filter(|b| b.kind == uad_plan::BufferKind::Stored);
    let used: HashSet<&str> = buffers.map(|b| b.name.as_str()).collect();
    plan.stored = stored.iter().filter(|s| used.contains(s.path.as_str())).cloned().collect();
    uad_plan::verify(plan).map_err(|violations| {
        let lines: Vec<String> = violations.iter().take(8).map(ToString::to_string).collect();
        Fault { entry: name.to_owned(), message: format!("the plan is not valid:\n  {}", lines.join("\n  ")) }
    })
}

/// The graph with these named values as further outputs; all of them where `names` is `all`. Names that are unknown come back.
pub fn trace(graph: &mut Graph, names: &[String]) -> Vec<String> {
    let all = names.iter().any(|n| n == "all");
    let mut unknown = Vec::new();
    let named = graph.named.clone();
    let wanted = named.iter().filter(|(n, _)| all || names.contains(n));
    for (name, node) in wanted {
        if !graph.outputs.iter().any(|(o, _)| o == name) {
            graph.outputs.push((name.clone(), *node));
        }
    }
    for name in names.iter().filter(|n| *n != "all") {
        if !graph.outputs.iter().any(|(o, _)| o == name) {
            unknown.push(name.clone());
        }
    }
    unknown
}
