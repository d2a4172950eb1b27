//! Passes over graphs, and the one runner.
//!
//! In: a graph. Out: a graph that computes the same with less, or the pass that broke it. Invariants: a pass is one
//! file, one function and one row of [`PASSES`]; only the runner logs, times and verifies; passes keep every type, and
//! values up to rounding (`x + 0` may lose the sign of a zero, equal constants are folded in f64); gradients are taken
//! before, so `stop` is a copy here. Imports: `graph`.

mod algebra;
mod broadcast;
mod cse;
mod dead;
mod fold;
mod merge;
mod reduce;
mod rewrite;
mod scale;
mod separate;
mod stored;
mod strength;
mod views;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use crate::graph::{Graph, Op, Violation, verify};

pub use stored::depends_only_on_stored;

/// One pass.
pub struct Pass {
    /// Name in options and logs.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Rewrites one graph and tells whether it changed anything; the runner takes care of loop bodies.
    pub run: fn(&mut Graph) -> bool,
}

/// All passes in the order in which they run. A round runs all of them; rounds end when one changes nothing.
pub const PASSES: &[Pass] = &[
    Pass { name: "dead", doc: "Removes what no result needs, inputs included.", run: dead::run },
    Pass { name: "fold", doc: "Computes what is known: constants, sizes, small literals.", run: fold::run },
    Pass { name: "algebra", doc: "Removes operations that change nothing: x + 0, x * 1, --x.", run: algebra::run },
    Pass { name: "strength", doc: "Divides by a power of two with a multiplication.", run: strength::run },
    Pass { name: "views", doc: "Composes views and removes those that change nothing.", run: views::run },
    Pass { name: "broadcast", doc: "Computes before repeating instead of after.", run: broadcast::run },
    Pass { name: "reduce", doc: "Merges reductions of reductions and reduces before views.", run: reduce::run },
    Pass { name: "separate", doc: "Reduces windows over two axes one axis at a time.", run: separate::run },
    Pass { name: "scale", doc: "Scales the smaller operand of a contraction, not its result.", run: scale::run },
    Pass { name: "merge", doc: "Merges scales and shifts after a contraction into its weights.", run: merge::run },
    Pass { name: "cse", doc: "Computes equal things once.", run: cse::run },
];

/// The most rounds. Each round ends smaller or equal; more than a few only shift single nodes.
const ROUNDS: usize = 16;

/// When the runner verifies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerifyLevel {
    /// Never.
    Off,
    /// Before the first and after the last pass.
    #[default]
    Ends,
    /// After each pass.
    Each,
}

impl VerifyLevel {
    /// `off`, `ends` or `each`.
    pub fn from_name(name: &str) -> Option<VerifyLevel> {
        Some(match name {
            "off" => VerifyLevel::Off,
            "ends" => VerifyLevel::Ends,
            "each" => VerifyLevel::Each,
            _ => return None,
        })
    }
}

/// How the runner runs.
#[derive(Clone, Debug, Default)]
pub struct PassOptions {
    /// Passes that do not run, by name.
    pub off: BTreeSet<String>,
    /// When to verify.
    pub verify: VerifyLevel,
    /// Stop after this many pass runs: a bisection finds the run that breaks something.
    pub fuel: Option<usize>,
    /// Nanoseconds of some clock, for the log. The compiler itself looks at no clock.
    pub clock: Option<fn() -> u64>,
}

impl PassOptions {
    /// No passes at all.
    pub fn none() -> PassOptions {
        PassOptions { off: PASSES.iter().map(|p| p.name.to_owned()).collect(), ..PassOptions::default() }
    }
}

/// One line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassRun {
    /// The pass.
    pub pass: &'static str,
    /// From 1.
    pub round: usize,
    /// Nodes before, those of loop bodies included.
    pub before: usize,
    /// Nodes after.
    pub after: usize,
    /// Did it change anything?
    pub changed: bool,
    /// Time it took, if there is a clock.
    pub nanos: u64,
}

impl fmt::Display for PassRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>2} {:<10}", self.round, self.pass)?;
        if self.changed {
            write!(f, " {:>6} -> {:<6}", self.before, self.after)?
        } else {
            write!(f, " {:18}", "(unchanged)")?
        }
        if self.nanos > 0 {
            write!(f, " {:>8.2} ms", self.nanos as f64 / 1e6)?;
        }
        Ok(())
    }
}

/// A graph that does not verify.
#[derive(Clone, Debug)]
pub struct PassFailure {
    /// The pass, or `None` where the graph was wrong before any.
    pub pass: Option<&'static str>,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// The graph before the pass, as text (empty where the runner verified at the ends only).
    pub before: String,
    /// The graph that is wrong, as text.
    pub after: String,
}

impl fmt::Display for PassFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pass {
            Some(p) => writeln!(f, "the graph is wrong after pass `{p}`:")?,
            None => writeln!(f, "the graph is wrong:")?,
        }
        for v in &self.violations {
            writeln!(f, "  {v}")?;
        }
        if !self.before.is_empty() {
            write!(f, "before:\n{}", self.before)?;
        }
        write!(f, "after:\n{}", self.after)
    }
}
impl std::error::Error for PassFailure {}

/// Runs all passes that are not off.
pub fn optimise(graph: Graph, options: &PassOptions) -> Result<Graph, PassFailure> {
    optimise_logged(graph, options, &mut |_, _| {})
}

/// Runs all passes that are not off, and tells of each run with the graph after it.
pub fn optimise_logged(
    mut graph: Graph,
    options: &PassOptions,
    log: &mut dyn FnMut(&PassRun, &Graph),
) -> Result<Graph, PassFailure> {
    let now = || options.clock.map_or(0, |c| c());
    let right = |graph: &Graph, pass, before: &dyn Fn() -> String| match verify(graph) {
        Ok(_) => Ok(()),
        Err(violations) => Err(PassFailure { pass, violations, before: before(), after: graph.to_string() }),
    };
    if options.verify != VerifyLevel::Off {
        right(&graph, None, &String::new)?;
    }
    let (mut runs, mut last) = (0, None);
    // How often the graph changed, and at which count each pass last found nothing to do.
    let (mut version, mut idle) = (0usize, [usize::MAX; PASSES.len()]);
    'rounds: for round in 1..=ROUNDS {
        let begun = version;
        for (pass, idle) in PASSES.iter().zip(&mut idle).filter(|p| !options.off.contains(p.0.name)) {
            if options.fuel.is_some_and(|f| runs >= f) {
                break 'rounds;
            }
            runs += 1;
            let (before, start) = (count(&graph), now());
            let copy = if options.verify == VerifyLevel::Each { Some(graph.clone()) } else { None };
            let changed = *idle != version && everywhere(&mut graph, pass.run, 0);
            let nanos = now().saturating_sub(start);
            if changed {
                version += 1;
                last = Some(pass.name);
                if let Some(copy) = copy {
                    right(&graph, last, &|| copy.to_string())?;
                }
            } else {
                *idle = version;
            }
            log(&PassRun { pass: pass.name, round, before, after: count(&graph), changed, nanos }, &graph);
        }
        if version == begun {
            break;
        }
    }
    if options.verify == VerifyLevel::Ends && last.is_some() {
        right(&graph, last, &String::new)?;
    }
    Ok(graph)
}

/// Runs a pass in loop bodies, innermost first, then in the graph.
fn everywhere(graph: &mut Graph, run: fn(&mut Graph) -> bool, depth: usize) -> bool {
    let mut changed = false;
    for node in &mut graph.nodes {
        if let Op::Loop { body, .. } = &mut node.op
            && depth < 64
        {
            changed |= everywhere(body, run, depth + 1);
        }
    }
    run(graph) || changed
}

/// Nodes, those of loop bodies included.
fn count(graph: &Graph) -> usize {
    let inner = |op: &Op| if let Op::Loop { body, .. } = op { count(body) } else { 0 };
    graph.nodes.iter().map(|n| 1 + inner(&n.op)).sum()
}
