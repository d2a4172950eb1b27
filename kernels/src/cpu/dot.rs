//! Compiled contractions: the `dot` template.
//!
//! In: a bound kernel with `Body::Dot`. Out: [`DotKernel`]. Invariants: the result depends on shapes and inputs alone.
//! Roles are put right first: a batch axis that one side does not see belongs to the other side; the side whose axis is
//! fastest in the result is N. Imports: the plans of the contraction in this folder, `uad-plan`.

use super::axes::{Space, loads, sees};
use super::depthwise::DepthwisePlan;
use super::dot_gemm::{DotParts, GemmPlan};
use super::dot_pad::Pad;
use super::hole_jit::HoleCompiler;
use super::isa::Isa;
use super::run::{Compiled, RunContext};
use super::scratch::Scratch;
use uad_plan::{Access, Body, Buffer, BufferId, DotRole, Hole, Kernel};

/// A compiled `dot`.
pub struct DotKernel {
    path: Path,
}

enum Path {
    Gemm(Box<GemmPlan>),
    Depthwise(Box<DepthwisePlan>),
}

impl DotKernel {
    /// Compiles a kernel whose body is `Body::Dot`. `constant` says which buffers stay the same from [`DotKernel::pack`]
    /// to the last run after it.
    pub fn compile(
        kernel: &Kernel<i64>,
        buffers: &[Buffer<i64>],
        constant: impl Fn(BufferId) -> bool,
        holes: &mut HoleCompiler,
        isa: Isa,
    ) -> Result<DotKernel, String> {
        let Body::Dot { roles, a, b, out } = &kernel.body else { return Err("not a dot".to_owned()) };
        let mut roles = roles.clone();
        let (mut a, mut b) = (a, b);
        let reads = &kernel.reads;
        for (axis, role) in roles.iter_mut().enumerate() {
            if *role == DotRole::Batch {
                if !sees(b, reads, axis) {
                    *role = DotRole::M;
                } else if !sees(a, reads, axis) {
                    *role = DotRole::N;
                }
            }
        }
        let fixed = |h: &Hole<i64>| {
            let loaded = loads(h);
            let draws = h.code.iter().any(|i| matches!(i, uad_plan::Inst::Draw { .. }));
            !draws && loaded.iter().all(|n| all_constant(reads, *n, &constant))
        };
        let points = |roles: &[DotRole], role: DotRole| -> i64 {
            (0..roles.len()).filter(|i| roles[*i] == role).map(|i| kernel.axes[i]).product()
        };
        let write = kernel.writes.first().ok_or("a dot without a result")?;
        let fastest = (0..roles.len())
            .filter(|i| matches!(roles[*i], DotRole::M | DotRole::N) && kernel.axes[*i] > 1)
            .min_by_key(|i| write.strides[*i].abs());
        let turned = fastest.is_some_and(|i| roles[i] == DotRole::M);
        let keeps = fixed(b) && !fixed(a);
        if turned && !write_is_batched(kernel, &roles) && (!keeps || points(&roles, DotRole::N) == 1) {
            std::mem::swap(&mut a, &mut b);
            for r in &mut roles {
                *r = match *r {
                    DotRole::M => DotRole::N,
                    DotRole::N => DotRole::M,
                    other => other,
                };
            }
        }
        let b_constant = fixed(b);
        let first_load = loads(a).first().copied();
        let plan = |reads: &[Access<i64>], pad: Option<Pad>, holes: &mut HoleCompiler| {
            let weight = |role: DotRole, axis: usize| match role {
                DotRole::K => first_load.map_or(0, |n| reads[n as usize].strides[axis].abs()),
                _ => write.strides[axis].abs(),
            };
            let order = [DotRole::Batch, DotRole::M, DotRole::N, DotRole::K];
            let space = Space::new(&kernel.axes, &roles, &order, reads, &kernel.writes, &[a, b, out], weight)?;
            let (a, b, out) = (space.hole(a), space.hole(b), space.hole(out));
            let parts = DotParts { space: &space, a: &a, b: &b, out: &out, b_constant, pad, buffers };
            let narrow = points(&roles, DotRole::N) == 1 && parts.pad.is_none();
            if let Some(p) = if narrow { DepthwisePlan::compile(&parts, isa, holes)? } else { None } {
                return Ok(Path::Depthwise(Box::new(p)));
            }
            Ok::<_, String>(Path::Gemm(Box::new(GemmPlan::compile(parts, isa, holes)?)))
        };
        let batched = write_is_batched(kernel, &roles);
        // Guards on the innermost summed axis (a window axis) would be checked for every few elements: a padded copy
        // has none.
        if let Some(n) = a.as_load().filter(|_| !batched) {
            let r = &reads[n as usize];
            let innermost = (0..roles.len())
                .filter(|i| roles[*i] == DotRole::K && kernel.axes[*i] > 1)
                .min_by_key(|i| r.strides[*i].abs());
            let short = innermost.is_some_and(|i| kernel.axes[i] < 16);
            let inside = innermost.is_some_and(|i| r.guards.iter().any(|g| g.strides[i] != 0));
            let others = [b, out].iter().any(|h| loads(h).contains(&n));
            if !r.guards.is_empty() && (inside || short) && !others {
                let work = kernel.axes.iter().product::<i64>() / 4;
                let only: Vec<i64> = kernel.axes.clone();
                if let Some((pad, copy)) = Pad::plan(r, &only, work) {
                    let mut reads = reads.clone();
                    reads[n as usize] = copy;
                    if let Ok(path) = plan(&reads, Some(pad), holes) {
                        return Ok(DotKernel { path });
                    }
                }
            }
        }
        Ok(DotKernel { path: plan(reads, None, holes)? })
    }

    /// Scratch of a call.
    pub fn scratch(&self) -> Scratch {
        match &self.path {
            Path::Gemm(p) => p.scratch(),
            Path::Depthwise(p) => p.scratch(),
        }
    }

    /// Bytes of packed constant operands.
    pub fn packed_bytes(&self) -> usize {
        match &self.path {
            Path::Gemm(p) => p.packed_bytes(),
            Path::Depthwise(p) => p.packed_bytes(),
        }
    }

    /// Where in the context's packed memory the constant operands are kept: a multiple of 64.
    pub fn place(&mut self, at: usize) {
        match &mut self.path {
            Path::Gemm(p) => p.place(at),
            Path::Depthwise(p) => p.place(at),
        }
    }

    /// Packs constant operands; again when they changed.
    ///
    /// # Safety
    /// The context's pointers, scratch and packed memory are valid.
    pub unsafe fn pack(&self, ctx: &RunContext<'_>) {
        // SAFETY: the caller's contract; the pool gives every worker to one thread.
        ctx.pool.run(self.pack_tasks(), &|worker, task| unsafe { self.pack_task(ctx, worker, task) });
    }

    /// Computes the result.
    ///
    /// # Safety
    /// The context's pointers and scratch are valid, and [`DotKernel::pack`] ran since constant operands changed.
    pub unsafe fn run(&self, ctx: &RunContext<'_>) {
        match &self.path {
            // SAFETY: the caller's contract.
            Path::Gemm(p) => unsafe { p.run(ctx) },
            // SAFETY: as above.
            Path::Depthwise(p) => unsafe { p.run(ctx) },
        }
    }
}

impl Compiled for DotKernel {
    unsafe fn run(&self, cx: &RunContext<'_>) {
        // SAFETY: the caller's contract.
        unsafe { DotKernel::run(self, cx) }
    }
    fn pack_tasks(&self) -> usize {
        match &self.path {
            Path::Gemm(p) => p.pack_tasks(),
            Path::Depthwise(p) => p.pack_tasks(),
        }
    }
    unsafe fn pack_task(&self, cx: &RunContext<'_>, worker: usize, task: usize) {
        match &self.path {
            // SAFETY: the caller's contract.
            Path::Gemm(p) => unsafe { p.pack_task(cx, worker, task) },
            // SAFETY: as above.
            Path::Depthwise(p) => unsafe { p.pack_task(cx, worker, task) },
        }
    }
}

fn all_constant(reads: &[Access<i64>], n: u32, constant: &impl Fn(BufferId) -> bool) -> bool {
    let Some(r) = reads.get(n as usize) else { return false };
    constant(r.buffer) && r.via.iter().all(|v| v.read != n && all_constant(reads, v.read, constant))
}

/// Is a batch axis the fastest in the result?
fn write_is_batched(kernel: &Kernel<i64>, roles: &[DotRole]) -> bool {
    let strides = kernel.writes.first().map(|w| &w.strides);
    let fastest = (0..roles.len()).filter(|i| roles[*i] != DotRole::K && kernel.axes[*i] > 1);
    let fastest = fastest.min_by_key(|i| strides.map_or(0, |s| s[*i].abs()));
    fastest.is_some_and(|i| roles[i] == DotRole::Batch)
}
