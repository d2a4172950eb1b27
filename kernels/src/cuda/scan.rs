//! The `scan` template: running reductions along the last axis.
//!
//! In: a bound kernel. Out: a launch. Invariants: a warp takes a row, 32 elements at a time; the order in which elements
//! are joined depends on their place alone. Imports: program, func, hole, rows.

use uad_plan::{Hole, Kernel, ReduceOp};

use super::func::Func;
use super::hole::{self, Value, register};
use super::index::{Cut, points};
use super::program::Emitter;
use super::rows::{Reduction, one, reduced};

/// Threads of a block.
const BLOCK: i64 = 256;

/// Emits `scan`.
pub fn emit(e: &mut Emitter<'_>, k: &Kernel<i64>, op: ReduceOp, value: &Hole<i64>) -> Result<(), String> {
    let last = k.axes.len() - 1;
    let outer: Vec<usize> = (0..last).collect();
    let (rows, length) = (points(&k.axes, &outer), k.axes[last]);
    if rows * length == 0 {
        return Ok(());
    }
    let mut f = Func::new(e.entry, k, rows.saturating_mul(32).max(length + 32));
    let dtype = reduced(&f, value, &[])?;
    let r = Reduction::new(op, dtype);
    f.note(format!("scan {:?} by {}: a warp a row", k.axes, op.name()));
    let of = f.index_type();
    let block = if f.wide { "(long long)blockIdx.x" } else { "blockIdx.x" };
    f.code.line(format!("const {of} r = {block} * {} + threadIdx.x / 32;", BLOCK / 32));
    f.code.line("const int lane = threadIdx.x % 32;");
    f.code.line(format!("if (r >= {rows}) return;"));
    f.spread("r", &outer);
    let state = register(dtype);
    f.code.line(format!("{state} before = {};", r.nothing()));
    f.code.open(format!("for ({of} from = 0; from < {length}; from += 32)"));
    f.code.line(format!("const {of} j = from + lane;"));
    f.code.line(format!("{state} here = {};", r.nothing()));
    f.code.open(format!("if (j < {length})"));
    f.spread("j", &[last]);
    let v = one(hole::emit(&mut f, value, &[])?)?;
    f.code.line(format!("here = {};", v.text));
    f.code.close();
    f.code.line(format!("here = {0}::join(before, warp_scan<{0}>(here));", r.join()));
    f.code.open(format!("if (j < {length})"));
    f.spread("j", &[last]);
    f.store(0, &Value::atom("here", dtype))?;
    f.code.close();
    f.code.line("before = lane_at(here, 31);");
    f.code.close();
    e.launch(f, "scan", BLOCK as u32, rows.pieces(BLOCK / 32))
}
