//! The `attention` template, streamed: scores are never stored.
//!
//! In: a bound kernel. Out: a launch. Invariants: a block takes some queries and goes through the keys in order, a tile
//! at a time, with a running greatest score and a running sum per query; earlier sums are scaled when the greatest
//! grows. A row that is all -inf gives NaN, as the definition does. Imports: program, func, hole.

use uad_plan::{AttentionRole, DType, Hole, Inst, Kernel};

use super::func::Func;
use super::hole::{self, Value};
use super::index::{Cut, points};
use super::map::by_stride;
use super::program::Emitter;
use super::rows::one;

/// The template's holes.
pub struct Parts<'a> {
    /// One role per axis.
    pub roles: &'a [AttentionRole],
    /// Queries.
    pub q: &'a Hole<i64>,
    /// Keys.
    pub k: &'a Hole<i64>,
    /// From q·k to the score.
    pub score: &'a Hole<i64>,
    /// Values.
    pub v: &'a Hole<i64>,
    /// From the mixed value to the results.
    pub out: &'a Hole<i64>,
}

/// Threads of a block: 16 x 16.
const BLOCK: i64 = 256;
/// Keys of a tile.
const KEYS: i64 = 32;
/// Features that are in shared memory at a time, at most.
const DEPTH: i64 = 64;
/// Features of values that a block makes, at most.
const WIDTH: i64 = 128;

/// A tile of an operand in shared memory: `rows` by `columns`, filled from `own` and `deep` axes.
struct Load<'a> {
    name: &'a str,
    hole: &'a Hole<i64>,
    /// First index: variable, its first value, axes, extent of the axes, extent of the tile.
    rows: (&'a str, &'a str, &'a [usize], i64, i64),
    /// Second index.
    columns: (&'a str, &'a str, &'a [usize], i64, i64),
}

/// Emits `attention`.
pub fn emit(e: &mut Emitter<'_>, k: &Kernel<i64>, parts: &Parts<'_>) -> Result<(), String> {
    use AttentionRole as R;
    let with = |role: R| -> Vec<usize> { (0..parts.roles.len()).filter(|i| parts.roles[*i] == role).collect() };
    let [batch, t, s, d, w] = [R::Batch, R::T, R::S, R::D, R::E].map(with);
    let (batch, w) = (by_stride(k.writes.first(), &batch), by_stride(k.writes.first(), &w));
    let [batches, queries, keys, depth, width] = [&batch, &t, &s, &d, &w].map(|a| points(&k.axes, a));
    if batches * queries * width == 0 {
        return Ok(());
    }
    let few = batches * queries.pieces(32) < 128;
    let tile_t = if few || queries <= 16 { 16 } else { 32 };
    let tile_w = width.min(WIDTH).padded(16);
    let tile_d = depth.clamp(1, DEPTH);
    let (over, across) = (queries.pieces(tile_t), width.pieces(tile_w));
    let linear = batches * over * tile_t * across * tile_w;
    let mut f = Func::new(e.entry, k, linear.max(keys + KEYS).max(depth + DEPTH));
    f.resident(2);
    let axes = |name: &str, which: &[usize]| {
        let each: Vec<String> = which.iter().map(|a| format!("i{a}({})", k.axes[*a])).collect();
        format!("{name}: {}", if each.is_empty() { "-".to_owned() } else { each.join(" ") })
    };
    let all = [axes("batch", &batch), axes("t", &t), axes("s", &s), axes("d", &d), axes("e", &w)];
    f.note(format!("attention, {}", all.join(",  ")));
    f.note(format!("a block takes {tile_t} queries and {tile_w} features of values, {KEYS} keys at a time"));
    let (tm, ts, te) = (tile_t / 16, KEYS / 16, tile_w / 16);
    let of = f.index_type();
    f.share("float", 4, "q_tile", &[tile_d as usize, tile_t as usize + 4]);
    f.share("float", 4, "k_tile", &[tile_d as usize, KEYS as usize + 4]);
    f.share("float", 4, "p_tile", &[KEYS as usize, tile_t as usize + 4]);
    f.share("float", 4, "v_tile", &[KEYS as usize, tile_w as usize + 4]);
    f.code.line("const int thread = threadIdx.x, row = thread / 16, column = thread % 16;");
    f.code.line(format!("{of} block = blockIdx.x;"));
    f.peel("e0", across, tile_w);
    f.peel("t0", over, tile_t);
    f.spread("block", &batch);
    f.code.line(format!("float mixed[{tm}][{te}] = {{}}, greatest[{tm}], total[{tm}] = {{}};"));
    f.code.line(format!("for (int i = 0; i < {tm}; ++i) greatest[i] = -INFINITE;"));
    let q = Load {
        name: "q_tile",
        hole: parts.q,
        rows: ("d", "d0", &d, depth, tile_d),
        columns: ("t", "t0", &t, queries, tile_t),
    };
    let whole = depth <= DEPTH;
    if whole {
        f.code.line(format!("const {of} d0 = 0;"));
        load(&mut f, &q)?;
    }
    let last = f.number(keys);
    f.code.open(format!("for ({of} s0 = 0; s0 < {last}; s0 += {KEYS})"));
    f.code.line(format!("float score[{tm}][{ts}] = {{}};"));
    if !whole {
        let last = f.number(depth);
        f.code.open(format!("for ({of} d0 = 0; d0 < {last}; d0 += {tile_d})"));
        f.code.line("__syncthreads();");
        load(&mut f, &q)?;
    }
    let keys_of = Load {
        name: "k_tile",
        hole: parts.k,
        rows: ("d", "d0", &d, depth, tile_d),
        columns: ("s", "s0", &s, keys, KEYS),
    };
    load(&mut f, &keys_of)?;
    f.code.line("__syncthreads();");
    f.code.line("#pragma unroll 8");
    f.code.line(format!("for (int dd = 0; dd < {tile_d}; ++dd)"));
    f.code.line("#pragma unroll");
    f.code.line(format!("  for (int i = 0; i < {tm}; ++i)"));
    f.code.line("#pragma unroll");
    f.code.line(format!("    for (int j = 0; j < {ts}; ++j)"));
    f.code.line(format!(
        "      score[i][j] = fmaf(q_tile[dd][row * {tm} + i], k_tile[dd][column + 16 * j], score[i][j]);"
    ));
    if !whole {
        f.code.close();
    }
    d.iter().for_each(|a| f.at[*a] = "0".to_owned());
    softmax(&mut f, parts, (&t, queries, tm), (&s, keys, ts), te)?;
    let values = Load {
        name: "v_tile",
        hole: parts.v,
        rows: ("s", "s0", &s, keys, KEYS),
        columns: ("e", "e0", &w, width, tile_w),
    };
    load(&mut f, &values)?;
    f.code.line("__syncthreads();");
    f.code.line("#pragma unroll 8");
    f.code.line(format!("for (int ss = 0; ss < {KEYS}; ++ss)"));
    f.code.line("#pragma unroll");
    f.code.line(format!("  for (int i = 0; i < {tm}; ++i)"));
    f.code.line("#pragma unroll");
    f.code.line(format!("    for (int j = 0; j < {te}; ++j)"));
    f.code.line(format!(
        "      mixed[i][j] = fmaf(p_tile[ss][row * {tm} + i], v_tile[ss][column + 16 * j], mixed[i][j]);"
    ));
    f.code.line("__syncthreads();");
    f.code.close();
    s.iter().for_each(|a| f.at[*a] = "0".to_owned());
    // Results.
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int i = 0; i < {tm}; ++i)"));
    f.code.line(format!("const {of} t = t0 + row * {tm} + i;"));
    let size = f.number(queries);
    f.code.line(format!("if (t >= {size}) break;"));
    f.spread("t", &t);
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int j = 0; j < {te}; ++j)"));
    f.code.line(format!("const {of} e = e0 + column + 16 * j;"));
    let size = f.number(width);
    f.code.line(format!("if (e >= {size}) break;"));
    f.spread("e", &w);
    // Of no keys the mixture is 0.
    let mixed = if keys == 0 { "0.0f" } else { "mixed[i][j] / total[i]" };
    f.code.line(format!("const float value = {mixed};"));
    let values = hole::emit(&mut f, parts.out, &[Value::atom("value", DType::F32)])?;
    for (n, v) in values.iter().enumerate() {
        f.store(n, v)?;
    }
    f.code.close();
    f.code.close();
    e.launch(f, "attention", BLOCK as u32, batches * over * across)
}

/// From q·k to the weights of this tile, with what that does to the running sums.
fn softmax(
    f: &mut Func<'_>,
    parts: &Parts<'_>,
    (t, queries, tm): (&[usize], i64, i64),
    (s, keys, ts): (&[usize], i64, i64),
    te: i64,
) -> Result<(), String> {
    let of = f.index_type();
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int i = 0; i < {tm}; ++i)"));
    f.code.line(format!("const {of} t = t0 + row * {tm} + i;"));
    f.spread("t", t);
    f.code.line("float most_here = -INFINITE;");
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int j = 0; j < {ts}; ++j)"));
    f.code.line(format!("const {of} s = s0 + column + 16 * j;"));
    f.code.line("float here = -INFINITE;");
    let (last_t, last_s) = (f.number(queries), f.number(keys));
    f.code.open(format!("if (t < {last_t} && s < {last_s})"));
    f.spread("s", s);
    let value = one(hole::emit(f, parts.score, &[Value::atom("score[i][j]", DType::F32)])?)?;
    f.code.line(format!("here = {};", value.text));
    f.code.close();
    f.code.line("score[i][j] = here;");
    f.code.line("most_here = most(most_here, here);");
    f.code.close();
    f.code.line("#pragma unroll");
    f.code.line("for (int by = 8; by > 0; by >>= 1) most_here = most(most_here, lane_xor(most_here, by));");
    f.code.line("const float now = most(greatest[i], most_here);");
    f.code.line("// Nothing but -inf so far: weights are 0, not NaN.");
    f.code.line("const float base = now == -INFINITE ? 0.0f : now;");
    f.code.line("const float before = exp_of(greatest[i] - base);");
    f.code.line("greatest[i] = now;");
    f.code.line("float sum = 0.0f;");
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int j = 0; j < {ts}; ++j)"));
    f.code.line("const float weight = exp_of(score[i][j] - base);");
    f.code.line(format!("p_tile[column + 16 * j][row * {tm} + i] = weight;"));
    f.code.line("sum += weight;");
    f.code.close();
    f.code.line("#pragma unroll");
    f.code.line("for (int by = 8; by > 0; by >>= 1) sum += lane_xor(sum, by);");
    f.code.line("total[i] = fmaf(total[i], before, sum);");
    f.code.line("#pragma unroll");
    f.code.line(format!("for (int j = 0; j < {te}; ++j) mixed[i][j] *= before;"));
    f.code.close();
    Ok(())
}

/// Fills a tile; elements outside of the operand are 0.
fn load(f: &mut Func<'_>, l: &Load<'_>) -> Result<(), String> {
    let of = f.index_type();
    let (row, row0, row_axes, row_size, rows) = l.rows;
    let (column, column0, column_axes, column_size, columns) = l.columns;
    // Neighbouring threads go along the axis on which the operand steps least.
    let read =
        l.hole.code.iter().find_map(|i| if let Inst::Load(n) = i { f.kernel.reads.get(*n as usize) } else { None });
    let least = |axes: &[usize]| {
        let steps = axes.iter().filter(|i| f.kernel.axes[**i] > 1).filter_map(|i| read.map(|a| a.strides[*i].abs()));
        steps.filter(|s| *s > 0).min().unwrap_or(i64::MAX)
    };
    let (at_row, at_column) = if least(row_axes) < least(column_axes) {
        (format!("at % {rows}"), format!("at / {rows}"))
    } else {
        (format!("at / {columns}"), format!("at % {columns}"))
    };
    f.code.open(format!("for (int at = thread; at < {}; at += {BLOCK})", rows * columns));
    f.code.line(format!("const {of} {row} = {row0} + {at_row}, {column} = {column0} + {at_column};"));
    f.code.line("float read = 0.0f;");
    let (last_row, last_column) = (f.number(row_size), f.number(column_size));
    f.code.open(format!("if ({row} < {last_row} && {column} < {last_column})"));
    f.spread(row, row_axes);
    f.spread(column, column_axes);
    let value = one(hole::emit(f, l.hole, &[])?)?;
    f.code.line(format!("read = {};", value.text));
    f.code.close();
    f.code.line(format!("{}[{at_row}][{at_column}] = read;", l.name));
    f.code.close();
    Ok(())
}
