//! The `argsort` template, and sorting for `scatter_add`.
//!
//! In: a bound kernel. Out: launches. Invariants: a key is the value's bits above the position, so all keys differ and
//! any way of sorting is stable; rows that fit shared memory are sorted by one block, longer ones in runs that are
//! merged pairwise, each element finding its place by bisection. Imports: program, func, hole.

use uad_plan::{Hole, Kernel};

use super::func::{Arg, Func, Function};
use super::hole::{self, Value};
use super::index::{Cut, points};
use super::program::Emitter;
use super::rows::one;

/// Threads of a block.
const BLOCK: i64 = 256;
/// Keys that a block sorts in shared memory.
pub const RUN: i64 = 2048;

/// Emits `argsort`.
pub fn emit(e: &mut Emitter<'_>, k: &Kernel<i64>, key: &Hole<i64>, falling: bool) -> Result<(), String> {
    let last = k.axes.len() - 1;
    let outer: Vec<usize> = (0..last).collect();
    let (rows, length) = (points(&k.axes, &outer), k.axes[last]);
    if rows * length == 0 {
        return Ok(());
    }
    let runs = length.pieces(RUN);
    let size = if runs == 1 { (length as u64).next_power_of_two().max(2) as i64 } else { RUN };
    let mut f = Func::new(e.entry, k, (rows * runs).saturating_mul(RUN));
    let way = if falling { "falling" } else { "rising" };
    let how = if runs == 1 { "a block a row".to_owned() } else { format!("runs of {RUN}, then merged") };
    f.note(format!("argsort {:?}, {way}: {how}", k.axes));
    let of = f.index_type();
    f.share("unsigned long long", 8, "keys", &[size as usize]);
    f.code.line(format!("const {of} r = blockIdx.x / {runs}, from = blockIdx.x % {runs} * {size};"));
    f.spread("r", &outer);
    f.code.open(format!("for (int at = threadIdx.x; at < {size}; at += {BLOCK})"));
    f.code.line(format!("const {of} j = from + at;"));
    f.code.line("unsigned long long made = 0xffffffffffffffffull;");
    f.code.open(format!("if (j < {length})"));
    f.spread("j", &[last]);
    let value = one(hole::emit(&mut f, key, &[])?)?;
    f.code.line(format!("made = (unsigned long long)sort_key({}, {falling}) << 32 | (unsigned)j;", value.text));
    f.code.close();
    f.code.line("keys[at] = made;");
    f.code.close();
    f.code.line(format!("block_sort<{size}, {BLOCK}>(keys);"));
    f.code.open(format!("for (int at = threadIdx.x; at < {size}; at += {BLOCK})"));
    f.code.line(format!("const {of} j = from + at;"));
    f.code.open(format!("if (j < {length})"));
    if runs == 1 {
        f.spread("j", &[last]);
        f.store(0, &Value::atom("int((unsigned)keys[at])", uad_plan::DType::I32))?;
        f.code.close();
        f.code.close();
        return e.launch(f, "argsort", BLOCK as u32, rows);
    }
    let (first, second) = (e.scratch(rows * length * 8)?, e.scratch(rows * length * 8)?);
    f.work(first, "unsigned long long", "sorted");
    f.code.line(format!("sorted[(long long)r * {length} + j] = keys[at];"));
    f.code.close();
    f.code.close();
    e.launch(f, "runs", BLOCK as u32, rows * runs)?;
    let sorted = merge(e, rows, length, first, second)?;
    // Positions from the sorted keys.
    let mut f = Func::new(e.entry, k, (rows * length).max(1));
    f.note(format!("argsort {:?}: positions of the sorted keys", k.axes));
    super::map::number(&mut f, rows * length);
    f.work(sorted, "unsigned long long", "sorted");
    let axes: Vec<usize> = (0..k.axes.len()).collect();
    f.spread("p", &axes);
    f.store(0, &Value::atom("int((unsigned)sorted[p])", uad_plan::DType::I32))?;
    e.launch(f, "positions", BLOCK as u32, (rows * length).pieces(BLOCK))
}

/// Merges sorted runs of every row; gives the byte of the workspace where the result is.
pub fn merge(e: &mut Emitter<'_>, rows: i64, length: i64, first: usize, second: usize) -> Result<usize, String> {
    let (mut from, mut to, mut run) = (first, second, RUN);
    while run < length {
        let stop = e.stop.map(|s| (Arg::Work(s), "const int* __restrict__ stop"));
        let leave = if stop.is_some() { "  if (*stop != 0) return;\n" } else { "" };
        let mut params = vec![
            (Arg::Work(from), "const unsigned long long* __restrict__ from"),
            (Arg::Work(to), "unsigned long long* __restrict__ to"),
        ];
        params.extend(stop);
        let declared: Vec<&str> = params.iter().map(|p| p.1).collect();
        let text = format!(
            "// merges sorted runs of {run} keys in rows of {length}: each key finds its place among the other run's\n\
             extern \"C\" __global__ void __launch_bounds__({BLOCK})\n{name}({declared}) {{\n{leave}\
             \x20 const long long p = (long long)blockIdx.x * {BLOCK} + threadIdx.x;\n\
             \x20 if (p >= {total}) return;\n\
             \x20 const long long row = p / {length} * {length};\n\
             \x20 const int j = int(p % {length}), pair = j / {twice} * {twice}, middle = pair + {run};\n\
             \x20 const int other = j < middle ? middle : pair;\n\
             \x20 const int end = j < middle ? (middle + {run} < {length} ? middle + {run} : {length}) : middle;\n\
             \x20 const unsigned long long key = from[p];\n\
             \x20 const int before = other < end ? rank_among(from + row + other, end - other, key) : 0;\n\
             \x20 const int own = j < middle ? j - pair : j - middle;\n\
             \x20 to[row + pair + own + before] = key;\n}}\n",
            name = Function::NAME,
            declared = declared.join(", "),
            total = rows * length,
            twice = 2 * run,
        );
        let grid = u32::try_from((rows * length).pieces(BLOCK)).map_err(|_| "the grid is too large")?;
        let function = Function { text, block: BLOCK as u32, shared: 0 };
        e.push(function, params.iter().map(|p| p.0).collect(), Vec::new(), "merge", grid);
        std::mem::swap(&mut from, &mut to);
        run *= 2;
    }
    Ok(from)
}
