//! A bound entry as compiled kernels.
//!
//! In: [`Bound`], an instruction set; at a run, the pool, a pointer per buffer, what draws depend on. Out: values in the
//! buffers. Invariants: everything is allocated when compiling or in `setup`; a run allocates nothing; results do not
//! depend on the number of threads. Imports: the templates of this folder, `uad-plan`.

use super::attention::AttentionKernel;
use super::contract;
use super::dot::DotKernel;
use super::hole_jit::{HoleCode, HoleCompiler};
use super::isa::Isa;
use super::linalg::Matrices;
use super::map::{Map, Site};
use super::pool::Pool;
use super::rows::Rows;
use super::run::{Compiled, Lines, RunContext};
use super::scatter::Scatter;
use super::sort::{Along, Work};
use super::strip::DrawKey;
use std::time::Instant;
use uad_plan::bind::{Bound, BufferPlace};
use uad_plan::{Access, Body, Buffer, BufferId, DType, Hole, Kernel};

/// One kernel of a program.
struct Step {
    scope: String,
    template: &'static str,
    work: StepWork,
}

enum StepWork {
    Plain(Box<dyn Compiled>),
    Loop(Box<Rounds>),
}

/// A compiled `loop`.
struct Rounds {
    count: i64,
    index: Option<usize>,
    before: Vec<Map>,
    after: Vec<Map>,
    until: Option<(usize, i64)>,
    body: Vec<Step>,
}

/// Time of a kernel, in a profile.
#[derive(Clone, Debug)]
pub struct KernelTime {
    /// Where it comes from.
    pub scope: String,
    /// Its template.
    pub template: &'static str,
    /// Seconds.
    pub seconds: f64,
}

/// One bound entry, compiled.
pub struct Program {
    isa: Isa,
    code: HoleCode,
    setup: Vec<Step>,
    kernels: Vec<Step>,
    /// Literal values, to be written to their buffers at `setup`.
    constants: Vec<(usize, Vec<u8>)>,
    buffers: usize,
    /// Memory of the program's own buffers.
    own: Vec<Lines>,
    scratch: Lines,
    scratch_bytes: usize,
    shared: Lines,
    shared_bytes: usize,
    packed: Lines,
    workers: usize,
    /// Pointers of a run: the caller's, then the program's own.
    table: Lines,
}

// SAFETY: raw memory in `scratch`, `shared`, `own` and `table` is used by one run at a time, as `run` demands.
unsafe impl Sync for Program {}
// SAFETY: as above.
unsafe impl Send for Program {}

/// The dtype of a hole's first result.
fn hole_type(site: &Site<'_>, reads: &[Access<i64>], hole: &Hole<i64>) -> Result<DType, String> {
    let loads: Vec<DType> = reads.iter().map(|r| site.dtypes[r.buffer.0 as usize]).collect();
    let types = hole.types(&loads, &[])?;
    hole.results
        .first()
        .and_then(|r| types.get(r.0 as usize))
        .copied()
        .ok_or_else(|| "a hole without result".to_owned())
}

/// Copies a buffer to one of the same type and layout.
fn copy_of(site: &mut Site<'_>, buffers: &[Buffer<i64>], from: BufferId, to: BufferId) -> Result<Map, String> {
    let of = |id: BufferId| buffers.get(id.0 as usize).ok_or("a loop names a buffer that is not there");
    let access = |id: BufferId| {
        let strides = of(id)?.strides.clone();
        Ok::<_, String>(Access { buffer: id, offset: 0, strides, guards: Vec::new(), fill: 0.0, via: Vec::new() })
    };
    Map::new(site, &of(to)?.shape, &[access(from)?], &[access(to)?], &Hole::load(0))
}

fn rounds(site: &mut Site<'_>, buffers: &[Buffer<i64>], body: &Body<i64>) -> Result<Rounds, String> {
    let Body::Loop { count, index, carried, until, body } = body else { return Err("not a loop".to_owned()) };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (first, carry, next) in carried {
        // As verified, no copy reads what another writes.
        for (from, list) in [(*first, &mut before), (*next, &mut after)] {
            if from != *carry {
                list.push(copy_of(site, buffers, from, *carry)?);
            }
        }
    }
    Ok(Rounds {
        count: *count,
        index: index.map(|i| i.0 as usize),
        before,
        after,
        until: until.as_ref().map(|(b, every)| (b.0 as usize, *every)),
        body: steps(site, buffers, body)?,
    })
}

fn step(site: &mut Site<'_>, buffers: &[Buffer<i64>], kernel: &Kernel<i64>) -> Result<Step, String> {
    let Kernel { scope, axes, reads, writes, body } = kernel;
    let plain = |template: &'static str, work: Box<dyn Compiled>| Step {
        scope: scope.clone(),
        template,
        work: StepWork::Plain(work),
    };
    Ok(match body {
        Body::Map(hole) => plain("map", Box::new(Map::new(site, axes, reads, writes, hole)?)),
        Body::Rows { inner, stages } => {
            plain("rows", Box::new(Rows::new(site, axes, reads, writes, *inner as usize, stages)?))
        }
        Body::Dot { roles, a, b, out } => {
            match DotKernel::compile(kernel, buffers, |b| site.constant[b.0 as usize], site.holes, site.isa) {
                Ok(mut dot) => {
                    dot.place(site.place_packed(dot.packed_bytes()));
                    site.need(dot.scratch().worker);
                    site.need_shared(dot.scratch().shared);
                    plain("dot", Box::new(dot))
                }
                Err(_) => plain("dot", Box::new(contract::dot(site, axes, reads, writes, roles, [a, b, out])?)),
            }
        }
        Body::Attention { roles, q, k, score, v, out } => {
            let holes = [q, k, score, v, out];
            match AttentionKernel::compile(kernel, buffers, site.holes, site.isa) {
                Ok(attention) => {
                    site.need(attention.scratch().worker);
                    site.need_shared(attention.scratch().shared);
                    plain("attention", Box::new(attention))
                }
                Err(_) => plain("attention", Box::new(contract::attention(site, axes, reads, writes, roles, holes)?)),
            }
        }
        Body::ScatterAdd(hole) => plain("scatter", Box::new(Scatter::new(site, axes, reads, writes, hole)?)),
        Body::ArgSort { key, falling } => {
            let dtype = hole_type(site, reads, key)?;
            let work = Work::Sort { falling: *falling };
            plain("sort", Box::new(Along::new(site, axes, reads, writes, key, dtype, work)?))
        }
        Body::Scan { op, value } => {
            let dtype = hole_type(site, reads, value)?;
            plain("scan", Box::new(Along::new(site, axes, reads, writes, value, dtype, Work::Scan(*op))?))
        }
        Body::Eigh => plain("eigh", Box::new(Matrices::new(site, axes, reads, writes, false)?)),
        Body::Cholesky => plain("cholesky", Box::new(Matrices::new(site, axes, reads, writes, true)?)),
        Body::Loop { .. } => Step {
            scope: scope.clone(),
            template: "loop",
            work: StepWork::Loop(Box::new(rounds(site, buffers, body)?)),
        },
    })
}

fn steps(site: &mut Site<'_>, buffers: &[Buffer<i64>], kernels: &[Kernel<i64>]) -> Result<Vec<Step>, String> {
    kernels.iter().map(|k| step(site, buffers, k).map_err(|e| format!("{}: {e}", k.scope))).collect()
}

/// Which buffers no kernel writes between two calls of `setup`.
fn constants(bound: &Bound) -> Vec<bool> {
    let entry = &bound.entry;
    let kept = |i: usize| matches!(bound.places.get(i), Some(BufferPlace::Stored | BufferPlace::Persistent(_)));
    let mut constant: Vec<bool> = (0..entry.buffers.len()).map(kept).collect();
    fn written(kernels: &[Kernel<i64>], constant: &mut [bool]) {
        for k in kernels {
            k.writes.iter().for_each(|w| constant[w.buffer.0 as usize] = false);
            if let Body::Loop { index, carried, body, .. } = &k.body {
                index.iter().for_each(|i| constant[i.0 as usize] = false);
                carried.iter().for_each(|c| constant[c.1.0 as usize] = false);
                written(body, constant);
            }
        }
    }
    written(&entry.kernels, &mut constant);
    constant
}

fn request(bound: &Bound, isa: Isa) -> Result<(HoleCompiler, Built), String> {
    let mut holes = HoleCompiler::new(isa)?;
    let entry = &bound.entry;
    let dtypes = entry.buffers.iter().map(|b| b.dtype).collect();
    let constant = vec![false; entry.buffers.len()];
    let mut site = Site { dtypes, own: Vec::new(), holes: &mut holes, scratch: 0, shared: 0, packed: 0, isa, constant };
    let setup = steps(&mut site, &entry.buffers, &entry.setup)?;
    site.constant = constants(bound);
    let kernels = steps(&mut site, &entry.buffers, &entry.kernels)?;
    let sizes: Vec<DType> = site.dtypes[entry.buffers.len()..].to_vec();
    let own = site.own.iter().zip(sizes).map(|(n, d)| n * d.bytes()).collect();
    let built = Built { setup, kernels, own, scratch: site.scratch, shared: site.shared, packed: site.packed };
    Ok((holes, built))
}

/// Kernels whose holes are asked for but not compiled yet.
struct Built {
    setup: Vec<Step>,
    kernels: Vec<Step>,
    own: Vec<usize>,
    scratch: usize,
    shared: usize,
    packed: usize,
}

impl Program {
    /// Compiles a bound entry.
    pub fn compile(bound: &Bound, isa: Isa) -> Result<Program, String> {
        let (holes, built) = request(bound, isa)?;
        let code = holes.finish()?;
        let entry = &bound.entry;
        let constants: Vec<(usize, Vec<u8>)> =
            (0..entry.buffers.len()).filter_map(|i| bound.const_bytes(i).map(|b| (i, b))).collect();
        let own: Vec<Lines> = built.own.iter().map(|n| Lines::new(*n)).collect::<Result<_, _>>()?;
        let scratch_bytes = built.scratch.next_multiple_of(64);
        let table = Lines::new((entry.buffers.len() + own.len()) * size_of::<*mut u8>())?;
        Ok(Program {
            isa,
            code,
            setup: built.setup,
            kernels: built.kernels,
            constants,
            buffers: entry.buffers.len(),
            own,
            scratch: Lines::new(scratch_bytes)?,
            scratch_bytes,
            shared: Lines::new(built.shared)?,
            shared_bytes: built.shared,
            packed: Lines::new(built.packed)?,
            workers: 1,
            table,
        })
    }

    /// The Cranelift code of every distinct hole of an entry.
    pub fn clif(bound: &Bound, isa: Isa) -> Result<String, String> {
        Ok(request(bound, isa)?.0.clif())
    }

    /// Number of distinct compiled holes.
    pub fn holes(&self) -> usize {
        self.code.count()
    }

    /// Makes room for a pool of this many threads. `setup` does it too.
    pub fn reserve(&mut self, threads: usize) -> Result<(), String> {
        if threads > self.workers {
            self.scratch = Lines::new(self.scratch_bytes * threads)?;
            self.workers = threads;
        }
        Ok(())
    }

    fn context<'a>(&'a self, pool: &'a Pool, pointers: &[*mut u8], draw: DrawKey) -> RunContext<'a> {
        assert!(pool.threads() <= self.workers, "`setup` ran with a smaller pool");
        assert!(pointers.len() == self.buffers, "one pointer per buffer");
        let table = self.table.pointer().cast::<*mut u8>();
        let count = self.buffers + self.own.len();
        // SAFETY: the table has room for that many, and one run at a time uses it.
        let pointers = unsafe {
            std::ptr::copy_nonoverlapping(pointers.as_ptr(), table, self.buffers);
            for (i, lines) in self.own.iter().enumerate() {
                *table.add(self.buffers + i) = lines.pointer();
            }
            std::slice::from_raw_parts(table, count)
        };
        RunContext {
            pool,
            pointers,
            code: &self.code,
            draw,
            isa: self.isa,
            scratch: self.scratch.pointer(),
            scratch_bytes: self.scratch_bytes,
            shared: self.shared.pointer(),
            shared_bytes: self.shared_bytes,
            packed: self.packed.pointer(),
        }
    }

    /// Writes literal values, runs the setup kernels and packs constant operands. Again when stored tensors changed.
    ///
    /// # Safety
    /// One pointer per buffer of the entry, in order, valid for its extent; those of persistent buffers stay the same
    /// for later runs. Nobody else uses the program or the buffers meanwhile.
    pub unsafe fn setup(&mut self, pool: &Pool, pointers: &[*mut u8]) -> Result<(), String> {
        // SAFETY: the caller's contract.
        unsafe {
            self.prepare(pool, pointers)?;
            self.pack(pool, pointers);
        }
        Ok(())
    }

    /// The first half of `setup`: all but packing. What only setup kernels read is not needed after it.
    ///
    /// # Safety
    /// As for [`Program::setup`].
    pub unsafe fn prepare(&mut self, pool: &Pool, pointers: &[*mut u8]) -> Result<(), String> {
        self.reserve(pool.threads())?;
        for (buffer, bytes) in &self.constants {
            // SAFETY: the buffer holds its literal values.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), pointers[*buffer], bytes.len()) };
        }
        let cx = self.context(pool, pointers, DrawKey::default());
        // A contraction of setup packs what depends on no buffer; its turn comes before its run.
        // SAFETY: the caller's contract.
        self.setup.iter().for_each(|s| unsafe {
            pack(std::slice::from_ref(s), &cx);
            run_step(s, &cx);
        });
        Ok(())
    }

    /// The second half of `setup`: packs constant operands.
    ///
    /// # Safety
    /// As for [`Program::setup`]; [`Program::prepare`] ran before.
    pub unsafe fn pack(&self, pool: &Pool, pointers: &[*mut u8]) {
        let cx = self.context(pool, pointers, DrawKey::default());
        // SAFETY: the caller's contract.
        unsafe { pack(&self.kernels, &cx) };
    }

    /// Runs the entry; allocates nothing. `draw` is seed, step and number of the first sample.
    ///
    /// # Safety
    /// As for [`Program::setup`], which ran before with a pool of at least as many threads.
    pub unsafe fn run(&self, pool: &Pool, pointers: &[*mut u8], draw: (u64, u64, u64)) {
        let cx = self.context(pool, pointers, DrawKey { seed: draw.0, step: draw.1, first_sample: draw.2, site: 0 });
        // SAFETY: the caller's contract.
        self.kernels.iter().for_each(|s| unsafe { run_step(s, &cx) });
    }

    /// Runs the entry and measures every kernel.
    ///
    /// # Safety
    /// As for [`Program::run`].
    pub unsafe fn profile(&self, pool: &Pool, pointers: &[*mut u8], draw: (u64, u64, u64)) -> Vec<KernelTime> {
        let cx = self.context(pool, pointers, DrawKey { seed: draw.0, step: draw.1, first_sample: draw.2, site: 0 });
        let time = |s: &Step| {
            let start = Instant::now();
            // SAFETY: the caller's contract.
            unsafe { run_step(s, &cx) };
            let seconds = start.elapsed().as_secs_f64();
            KernelTime { scope: s.scope.clone(), template: s.template, seconds }
        };
        self.kernels.iter().map(time).collect()
    }

    /// Runs the entry; after each kernel `look` is called with its position and says whether to go on.
    ///
    /// # Safety
    /// As for [`Program::run`].
    pub unsafe fn watch(
        &self,
        pool: &Pool,
        pointers: &[*mut u8],
        draw: (u64, u64, u64),
        look: &mut dyn FnMut(usize) -> bool,
    ) {
        let cx = self.context(pool, pointers, DrawKey { seed: draw.0, step: draw.1, first_sample: draw.2, site: 0 });
        for (n, s) in self.kernels.iter().enumerate() {
            // SAFETY: the caller's contract.
            unsafe { run_step(s, &cx) };
            if !look(n) {
                return;
            }
        }
    }
}

/// Packs the constant operands of all these kernels in one call of the pool.
unsafe fn pack(steps: &[Step], cx: &RunContext<'_>) {
    fn list<'a>(steps: &'a [Step], tasks: &mut Vec<(&'a dyn Compiled, usize)>) {
        for step in steps {
            match &step.work {
                StepWork::Plain(kernel) => tasks.extend((0..kernel.pack_tasks()).map(|t| (&**kernel, t))),
                StepWork::Loop(rounds) => list(&rounds.body, tasks),
            }
        }
    }
    let mut tasks = Vec::new();
    list(steps, &mut tasks);
    cx.pool.run(tasks.len(), &|worker, t| {
        let (kernel, task) = tasks[t];
        // SAFETY: the caller's contract; the pool gives every worker to one thread.
        unsafe { kernel.pack_task(cx, worker, task) }
    });
}

unsafe fn run_step(step: &Step, cx: &RunContext<'_>) {
    // SAFETY: the caller's contract.
    unsafe {
        match &step.work {
            StepWork::Plain(kernel) => kernel.run(cx),
            StepWork::Loop(rounds) => {
                rounds.before.iter().for_each(|m| m.run(cx));
                for round in 0..rounds.count {
                    if let Some(i) = rounds.index {
                        cx.pointers[i].cast::<i32>().write_unaligned(round as i32);
                    }
                    rounds.body.iter().for_each(|s| run_step(s, cx));
                    rounds.after.iter().for_each(|m| m.run(cx));
                    let over = |(flag, every): (usize, i64)| (round + 1) % every.max(1) == 0 && *cx.pointers[flag] != 0;
                    if rounds.until.is_some_and(over) {
                        break;
                    }
                }
            }
        }
    }
}
