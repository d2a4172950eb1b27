//! A bound entry as CUDA functions and launches.
//!
//! In: a bound entry. Out: [`Program`]: one text, launches in order, bytes of workspace. Invariants: pure; kernels that
//! differ in operands only share one function; the launches alone define what runs, so that a device and an emulation of
//! one walk the same steps; nothing is launched over no points. Imports: the templates.

use std::collections::HashMap;

use uad_plan::{Body, Bound, BufferId, Entry, Kernel};

use super::func::{Arg, Func, Function};
use super::precision::Precision;
use super::{attention, dot, group, linalg, loops, map, prelude, rows, scan, scatter, sort};

/// What a device does, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Starts a function.
    Launch(Launch),
    /// Repeats steps.
    Loop(Loop),
}

/// One start of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Which of [`Program::functions`].
    pub function: usize,
    /// Blocks, along x.
    pub grid: u32,
    /// One per parameter.
    pub args: Vec<Arg>,
    /// The plan kernel that it belongs to, counted through setup, kernels and the bodies of loops.
    pub kernel: usize,
}

/// Rounds of the same steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// How many rounds at most.
    pub count: u32,
    /// Steps of one round; [`Arg::Round`] is its number.
    pub round: Vec<Step>,
    /// The byte of the workspace where an i32 other than 0 says that no further round does anything.
    pub stop: Option<usize>,
}

/// A function with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Unique in the program.
    pub name: String,
    /// The function.
    pub function: Function,
    /// Scopes of the plan kernels that use it.
    pub scopes: Vec<String>,
    /// What its parameters are at its first launch.
    pub params: Vec<String>,
}

/// A bound entry for CUDA.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Functions, each used at least once.
    pub functions: Vec<Named>,
    /// Runs once, and again when stored tensors change.
    pub setup: Vec<Step>,
    /// Runs at every call.
    pub kernels: Vec<Step>,
    /// Bytes of memory that launches use besides buffers. Its first bytes are zero at the start of a call.
    pub workspace: usize,
    /// Addresses that launches read from memory, a word each, written there once they are known ([`Arg::Table`]).
    pub tables: Vec<Arg>,
}

/// Where flags of loops end and scratch begins.
pub const FLAGS: usize = 1024;

/// A program under construction.
pub struct Emitter<'a> {
    /// The entry.
    pub entry: &'a Entry<i64>,
    /// What contractions multiply.
    pub precision: Precision,
    /// Where launches go.
    pub steps: Vec<Step>,
    /// The flag of the innermost loop that may stop early.
    pub stop: Option<usize>,
    functions: Vec<Named>,
    known: HashMap<String, usize>,
    scope: String,
    kernel: usize,
    used: usize,
    workspace: usize,
}

impl Program {
    /// Emits a bound entry whose contractions multiply such numbers.
    pub fn emit(bound: &Bound, precision: Precision) -> Result<Program, String> {
        let mut e = Emitter {
            entry: &bound.entry,
            precision,
            steps: Vec::new(),
            stop: None,
            functions: Vec::new(),
            known: HashMap::new(),
            scope: String::new(),
            kernel: 0,
            used: FLAGS,
            workspace: FLAGS,
        };
        e.kernels(&bound.entry.setup)?;
        let setup = std::mem::take(&mut e.steps);
        e.kernels(&bound.entry.kernels)?;
        let kernels = std::mem::take(&mut e.steps);
        Ok(Program { functions: e.functions, setup, kernels, workspace: e.workspace, tables: Vec::new() })
    }

    /// Emits a bound entry, small launches of one function together.
    pub fn grouped(bound: &Bound, precision: Precision) -> Result<Program, String> {
        Ok(group::grouped(Program::emit(bound, precision)?, bound))
    }

    /// The device functions that these texts use.
    pub fn prelude(texts: &[&str]) -> String {
        prelude::used(texts)
    }

    /// The text that is compiled.
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.functions.iter().map(|f| f.function.text.as_str()).collect();
        let mut out = prelude::used(&texts);
        for f in &self.functions {
            out.push('\n');
            out.push_str(&f.text());
        }
        out
    }

    /// Functions that setup uses; they stand first.
    pub fn of_setup(&self) -> usize {
        let mut most = 0;
        let _ = walk(&self.setup, None, &mut |l, _| {
            most = most.max(l.function + 1);
            Ok::<(), ()>(())
        });
        most
    }

    /// Launches of one call, loops counted with all their rounds.
    pub fn launches(&self) -> u64 {
        count(&self.kernels)
    }
}

fn count(steps: &[Step]) -> u64 {
    let one = |s: &Step| match s {
        Step::Launch(_) => 1,
        Step::Loop(l) => u64::from(l.count).saturating_mul(count(&l.round)),
    };
    steps.iter().map(one).fold(0, u64::saturating_add)
}

impl Named {
    /// The function's text with its name and what it is for.
    pub fn text(&self) -> String {
        let mut out = String::new();
        if let Some(first) = self.scopes.first() {
            let more = self.scopes.len() - 1;
            let more = if more == 0 { String::new() } else { format!(", and {more} more") };
            out.push_str(&format!("// {first}{more}\n"));
        }
        if !self.params.is_empty() {
            out.push_str(&format!("// {}\n", self.params.join(", ")));
        }
        out.push_str(&self.function.text.replace(Function::NAME, &self.name));
        out
    }
}

impl<'a> Emitter<'a> {
    /// Emits kernels in order.
    pub fn kernels(&mut self, kernels: &'a [Kernel<i64>]) -> Result<(), String> {
        for k in kernels {
            self.scope.clone_from(&k.scope);
            self.used = FLAGS;
            self.one(k).map_err(|e| format!("{}: {e}", k.scope))?;
            self.kernel += 1;
        }
        Ok(())
    }

    fn one(&mut self, k: &'a Kernel<i64>) -> Result<(), String> {
        match &k.body {
            Body::Map(hole) => map::emit(self, k, hole),
            Body::Rows { inner, stages } => rows::emit(self, k, *inner as usize, stages),
            Body::Dot { roles, a, b, out } => dot::emit(self, k, roles, a, b, out),
            Body::Attention { roles, q, k: keys, score, v, out } => {
                attention::emit(self, k, &attention::Parts { roles, q, k: keys, score, v, out })
            }
            Body::ScatterAdd(hole) => scatter::emit(self, k, hole),
            Body::ArgSort { key, falling } => sort::emit(self, k, key, *falling),
            Body::Scan { op, value } => scan::emit(self, k, *op, value),
            Body::Loop { count, index, carried, until, body } => {
                loops::emit(self, &loops::Parts { count: *count, index: *index, carried, until: *until, body })
            }
            Body::Eigh => linalg::eigh(self, k),
            Body::Cholesky => linalg::cholesky(self, k),
        }
    }

    /// Bytes of scratch for the current kernel.
    pub fn scratch(&mut self, bytes: i64) -> Result<usize, String> {
        let bytes = usize::try_from(bytes).ok().filter(|b| *b <= 1 << 40).ok_or("the scratch is too large")?;
        let from = self.used;
        self.used += bytes.next_multiple_of(256);
        self.workspace = self.workspace.max(self.used);
        Ok(from)
    }

    /// A launch of a finished function.
    pub fn launch(&mut self, f: Func<'_>, stem: &str, block: u32, grid: i64) -> Result<(), String> {
        let grid = u32::try_from(grid).ok().filter(|g| *g <= i32::MAX as u32).ok_or("the grid is too large")?;
        if grid == 0 {
            return Ok(());
        }
        let stop = self.stop;
        let params = self.described(&f.names());
        let (function, args) = f.finish(block, stop);
        self.push(function, args, params, stem, grid);
        Ok(())
    }

    /// A launch of a function that is written as a whole.
    pub fn push(&mut self, function: Function, args: Vec<Arg>, params: Vec<String>, stem: &str, grid: u32) {
        let n = match self.known.get(&function.text) {
            Some(n) => *n,
            None => {
                let n = self.functions.len();
                self.known.insert(function.text.clone(), n);
                let name = format!("{stem}_{n}");
                self.functions.push(Named { name, function, scopes: Vec::new(), params });
                n
            }
        };
        if let Some(f) = self.functions.get_mut(n)
            && !f.scopes.contains(&self.scope)
        {
            f.scopes.push(self.scope.clone());
        }
        self.steps.push(Step::Launch(Launch { function: n, grid, args, kernel: self.kernel }));
    }

    /// `x0 = %image f32[2, 3, 224, 224]`
    fn described(&self, names: &[(Arg, String)]) -> Vec<String> {
        let one = |(arg, name): &(Arg, String)| match arg {
            Arg::Buffer(id) => Some(format!("{name} = {}", self.described_buffer(*id)?)),
            _ => None,
        };
        names.iter().filter_map(one).collect()
    }

    fn described_buffer(&self, id: BufferId) -> Option<String> {
        let b = self.entry.buffers.get(id.0 as usize)?;
        Some(format!("%{} {}{:?}", b.name, b.dtype, b.shape))
    }
}

/// Goes through launches in order, loops round by round; `call` gets each with the number of its round.
pub fn walk<E>(
    steps: &[Step],
    round: Option<u32>,
    call: &mut impl FnMut(&Launch, u32) -> Result<(), E>,
) -> Result<(), E> {
    for step in steps {
        match step {
            Step::Launch(l) => call(l, round.unwrap_or(0))?,
            Step::Loop(l) => (0..l.count).try_for_each(|n| walk(&l.round, Some(n), call))?,
        }
    }
    Ok(())
}
