//! The `map` template: one thread a point.
//!
//! In: a bound kernel. Out: a launch. Invariants: neighbouring threads are neighbours in what is written, whatever the
//! order of the axes. Imports: program, func, hole.

use uad_plan::{Access, Hole, Kernel};

use super::func::Func;
use super::hole;
use super::index::{Cut, points};
use super::program::Emitter;

/// Threads of a block.
pub const BLOCK: i64 = 256;

/// Axes so that the smallest steps of an access are last; axes on which it stands still come first.
pub fn by_stride(a: Option<&Access<i64>>, axes: &[usize]) -> Vec<usize> {
    let mut order = axes.to_vec();
    let step = |axis: &usize| a.and_then(|a| a.strides.get(*axis)).map_or(0, |s| s.unsigned_abs());
    order.sort_by_key(|axis| std::cmp::Reverse(if step(axis) == 0 { u64::MAX } else { step(axis) }));
    order
}

/// Emits a `map`.
pub fn emit(e: &mut Emitter<'_>, k: &Kernel<i64>, body: &Hole<i64>) -> Result<(), String> {
    let axes: Vec<usize> = (0..k.axes.len()).collect();
    let total = points(&k.axes, &axes);
    if total == 0 {
        return Ok(());
    }
    let mut f = Func::new(e.entry, k, total);
    f.note(format!("map {:?}", k.axes));
    number(&mut f, total);
    f.spread("p", &by_stride(k.writes.first(), &axes));
    let values = hole::emit(&mut f, body, &[])?;
    for (n, v) in values.iter().enumerate() {
        f.store(n, v)?;
    }
    e.launch(f, "map", BLOCK as u32, total.pieces(BLOCK))
}

/// Declares `p`, the number of this thread among `total`; others leave.
pub fn number(f: &mut Func<'_>, total: i64) {
    let of = f.index_type();
    let block = if f.wide { "(long long)blockIdx.x" } else { "blockIdx.x" };
    let total = f.number(total);
    f.code.line(format!("const {of} p = {block} * {BLOCK} + threadIdx.x;"));
    f.code.line(format!("if (p >= {total}) return;"));
}
