//! Contractions as register tiles over shared memory.
//!
//! In: a product and its tile. Out: a launch, or two where the sums are cut. Invariants: operands are read through their
//! accesses and holes as they are brought to shared memory, so a convolution needs no copy of its windows; the next tile
//! is fetched into registers while the current one is multiplied, by fused multiply-adds or on tensor cores; results go
//! through the epilogue and are stored once. Every sum is in the order of the terms (within a product of tensor cores, in
//! theirs), and where it is cut, the parts are added in order. Imports: dot, dot_cores, func, hole.

use uad_plan::{DType, Hole, Inst};

use super::dot::{Product, Side};
use super::dot_cores::{self, Cores};
use super::dot_thin::multiply_add;
use super::func::Func;
use super::hole::{self, Value, register};
use super::index::Cut;
use super::precision::Precision;
use super::program::Emitter;
use super::rows::one;

/// Threads of a block that multiplies without tensor cores: 16 x 16, each with its part of the tile.
const BLOCK: i64 = 256;
const SIDE: i64 = 16;

/// The shape of a block's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Rows of a block's tile, a multiple of 16.
    pub rows: i64,
    /// Columns of it.
    pub columns: i64,
    /// Terms that are in shared memory at a time.
    pub depth: i64,
    /// Into how many parts the sums are cut.
    pub parts: i64,
    /// What is multiplied.
    pub precision: Precision,
}

/// How the threads of a block share its tile.
struct Share {
    /// Threads of a block.
    threads: i64,
    /// Results of a thread, down and across.
    each: (i64, i64),
    /// What a thread needs to know of itself besides its number `t`.
    names: String,
    /// The row of result `i` in the tile.
    row: String,
    /// The column of result `j`.
    column: String,
    /// The array of sums.
    sums: String,
    /// The sum of result `i`, `j`.
    sum: String,
}

/// Blocks that keep a device busy.
const BUSY: i64 = 128;

impl Tile {
    /// The tile of a product; `None` where it is too thin for one.
    pub fn of(p: &Product<'_>, precision: Precision) -> Option<Tile> {
        let (rows, columns, terms, batches) = (p.rows.size, p.columns.size, p.terms(), p.batches());
        if rows.min(columns) < 8 || terms < 4 {
            return None;
        }
        let fit = |n: i64| [16, 32, 64].into_iter().find(|t| n <= *t).unwrap_or(128);
        let (mut r, mut c) = (fit(rows), fit(columns));
        let blocks = |r: i64, c: i64| batches * rows.pieces(r) * columns.pieces(c);
        // Smaller tiles where the large ones would leave the device idle.
        while blocks(r, c) < BUSY && r.max(c) > 32 {
            if r >= c { r /= 2 } else { c /= 2 }
        }
        // Tensor cores multiply floats alone, and eight words of a sum at a time.
        let precision = if p.dtype == DType::F32 { precision } else { Precision::F32 };
        let depth = match (precision, r + c >= 192) {
            (Precision::F32, true) => 8,
            (Precision::F32 | Precision::Tf32, _) | (_, true) => 16,
            (_, false) => 32,
        };
        let parts = (BUSY / blocks(r, c).max(1)).min(terms / 256).clamp(1, 32);
        Some(Tile { rows: r, columns: c, depth, parts, precision })
    }

    /// Its warps on tensor cores.
    fn cores(self) -> Cores {
        Cores::new(self.precision, self.rows, self.columns)
    }

    /// How threads share it.
    fn share(self) -> Share {
        if self.precision != Precision::F32 {
            let cores = self.cores();
            let ((first_row, first_column), (row, column)) = (cores.first("t"), cores.place("row", "column"));
            return Share {
                threads: cores.threads(),
                each: cores.each(),
                names: format!("group = t % 32 / 4, quarter = t % 4, row = {first_row}, column = {first_column}"),
                row,
                column,
                sums: cores.sums("acc"),
                sum: cores.sum("acc"),
            };
        }
        let (tm, tn) = (self.rows / SIDE, self.columns / SIDE);
        Share {
            threads: BLOCK,
            each: (tm, tn),
            names: "row = t / 16, column = t % 16".to_owned(),
            row: format!("row * {tm} + i"),
            column: "column + 16 * j".to_owned(),
            sums: format!("acc[{tm}][{tn}]"),
            sum: "acc[i][j]".to_owned(),
        }
    }
}

/// Do neighbours in memory lie along the summed axes? Of two ways to go, as in a window, the longer one counts.
fn along_depth(p: &Product<'_>, side: &Side<'_>) -> bool {
    let loads = side.hole.code.iter().filter_map(|i| if let Inst::Load(n) = i { Some(*n as usize) } else { None });
    let largest = loads.filter_map(|n| p.k.reads.get(n)).max_by_key(|a| a.strides.iter().filter(|s| **s != 0).count());
    let Some(a) = largest else { return false };
    let least = |axes: &[usize]| {
        let moving = axes.iter().filter(|i| p.k.axes[**i] > 1 && a.strides[**i] != 0);
        moving.map(|i| (a.strides[*i].unsigned_abs(), -p.k.axes[*i])).min().unwrap_or((u64::MAX, 0))
    };
    least(&p.depth) <= least(&side.axes)
}

/// Emits the launches.
pub fn emit(e: &mut Emitter<'_>, p: &Product<'_>, tile: Tile) -> Result<(), String> {
    let (rows, columns, terms, batches) = (p.rows.size, p.columns.size, p.terms(), p.batches());
    let (over, across) = (rows.pieces(tile.rows), columns.pieces(tile.columns));
    let total = batches * rows * columns;
    let linear =
        (batches * over * tile.rows * across * tile.columns).saturating_mul(tile.parts).max(terms + tile.depth);
    let mut f = Func::new(e.entry, p.k, linear);
    f.resident(2);
    f.note(format!("dot, {}", p.title()));
    let cut = if tile.parts > 1 { format!(", sums in {} parts", tile.parts) } else { String::new() };
    let share = tile.share();
    let (tm, tn) = share.each;
    let cores = if tile.precision == Precision::F32 { String::new() } else { format!(", {}", tile.precision) };
    f.note(format!("tile {} x {} x {}, {tm} x {tn} results a thread{cut}{cores}", tile.rows, tile.columns, tile.depth));
    let of = f.index_type();
    let sum = register(p.dtype);
    for (name, extent) in [("a_tile", tile.rows), ("b_tile", tile.columns)] {
        match tile.precision {
            // Four of a row stay aligned, and columns of one warp fall into different banks.
            Precision::F32 => f.share(sum, 4, name, &[tile.depth as usize, extent as usize + 4]),
            p => dot_cores::share(&mut f, p, name, tile.depth, extent + dot_cores::PAD),
        }
    }
    f.code.line(format!("const int t = threadIdx.x, {};", share.names));
    f.code.line(format!("{of} block = blockIdx.x;"));
    f.peel(&format!("{}0", p.columns.name), across, tile.columns);
    f.peel(&format!("{}0", p.rows.name), over, tile.rows);
    let (first, last) = if tile.parts > 1 {
        let part = terms.pieces(tile.parts).padded(tile.depth);
        f.code.line(format!("const {of} part = block % {};", tile.parts));
        f.code.line(format!("block /= {};", tile.parts));
        f.code
            .line(format!("const {of} from = part * {part}, to = from + {part} < {terms} ? from + {part} : {terms};"));
        ("from".to_owned(), "to".to_owned())
    } else {
        ("0".to_owned(), f.number(terms))
    };
    f.spread("block", &p.batch);
    f.code.line(format!("{sum} {} = {{}};", share.sums));
    let each = |extent: i64| (extent * tile.depth).pieces(share.threads);
    let (each_a, each_b) = (each(tile.rows), each(tile.columns));
    f.code.line(format!("{sum} a_next[{each_a}], b_next[{each_b}];"));
    let begin = if first == "0" { format!("-{}", tile.depth) } else { format!("{first} - {}", tile.depth) };
    f.code.open(format!("for ({of} k0 = {begin}; k0 < {last}; k0 += {})", tile.depth));
    // The next tile, into registers.
    f.code.open(format!("if (k0 + {} < {last})", tile.depth));
    fetch(&mut f, p, &p.rows, tile, "a", tile.rows, each_a, &last)?;
    fetch(&mut f, p, &p.columns, tile, "b", tile.columns, each_b, &last)?;
    f.code.close();
    // The current tile, from shared memory.
    f.code.open(if first == "0" { "if (k0 >= 0)".to_owned() } else { format!("if (k0 >= {first})") });
    match tile.precision {
        Precision::F32 => multiply(&mut f, tile, p.dtype),
        _ => tile.cores().multiply(&mut f, tile.depth, ("a_tile", "b_tile"), ("row", "column"), "acc"),
    }
    f.code.close();
    f.code.line("__syncthreads();");
    put(&mut f, p, &p.rows, tile, "a", tile.rows, each_a);
    put(&mut f, p, &p.columns, tile, "b", tile.columns, each_b);
    f.code.line("__syncthreads();");
    f.code.close();
    p.depth.iter().for_each(|axis| f.at[*axis] = "0".to_owned());
    results(e, f, p, tile, batches * over * across * tile.parts, total)
}

/// Multiplies the tile in shared memory, without tensor cores.
fn multiply(f: &mut Func<'_>, tile: Tile, dtype: DType) {
    let (sum, (tm, tn)) = (register(dtype), tile.share().each);
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int kk = 0; kk < {}; ++kk)", tile.depth));
    f.code.line(format!("{sum} a[{tm}], b[{tn}];"));
    f.code.line("#pragma unroll");
    f.code.line(format!("for (int i = 0; i < {tm}; ++i) a[i] = a_tile[kk][row * {tm} + i];"));
    f.code.line("#pragma unroll");
    f.code.line(format!("for (int j = 0; j < {tn}; ++j) b[j] = b_tile[kk][column + 16 * j];"));
    f.code.line("#pragma unroll");
    f.code.line(format!("for (int i = 0; i < {tm}; ++i)"));
    f.code.line("#pragma unroll");
    f.code.line(format!("  for (int j = 0; j < {tn}; ++j) {}", multiply_add("acc[i][j]", "a[i]", "b[j]", dtype)));
    f.code.close();
}

/// How element `e` of a thread lies in the tile: its place along the side, and along the depth.
fn lies(p: &Product<'_>, side: &Side<'_>, tile: Tile, extent: i64) -> (String, String) {
    let along = along_depth(p, side);
    let (slow, fast) = divided(tile.share().threads, if along { tile.depth } else { extent });
    if along { (slow, fast) } else { (fast, slow) }
}

/// Quotient and remainder of `t + e * threads` by `length`. What does not depend on `e` is kept apart where it can be: the
/// compiler then computes it once, and needs fewer registers.
fn divided(threads: i64, length: i64) -> (String, String) {
    if threads % length == 0 {
        (format!("(t / {length} + e * {})", threads / length), format!("t % {length}"))
    } else if length % threads == 0 {
        let times = length / threads;
        (format!("e / {times}"), format!("(t + e % {times} * {threads})"))
    } else {
        (format!("(t + e * {threads}) / {length}"), format!("(t + e * {threads}) % {length}"))
    }
}

fn fetch(
    f: &mut Func<'_>,
    p: &Product<'_>,
    side: &Side<'_>,
    tile: Tile,
    name: &str,
    extent: i64,
    each: i64,
    last: &str,
) -> Result<(), String> {
    let of = f.index_type();
    let (own, deep) = lies(p, side, tile, extent);
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int e = 0; e < {each}; ++e)"));
    let s = side.name;
    f.code.line(format!("const {of} {s} = {s}0 + {own}, k = k0 + {} + {deep};", tile.depth));
    f.code.line(format!("{name}_next[e] = 0;"));
    let mut bounds = Vec::new();
    if extent * tile.depth % tile.share().threads != 0 {
        bounds.push(format!("{deep} < {}", tile.depth));
    }
    if side.size % extent != 0 {
        bounds.push(format!("{s} < {}", f.number(side.size)));
    }
    if tile.parts > 1 || p.terms() % tile.depth != 0 {
        bounds.push(format!("k < {last}"));
    }
    f.code.open(if bounds.is_empty() { String::new() } else { format!("if ({})", bounds.join(" && ")) });
    f.spread(s, &side.axes);
    f.spread("k", &p.depth);
    let value = one(hole::emit(f, side.hole, &[])?)?;
    f.code.line(format!("{name}_next[e] = {};", value.text));
    f.code.close();
    f.code.close();
    Ok(())
}

fn put(f: &mut Func<'_>, p: &Product<'_>, side: &Side<'_>, tile: Tile, name: &str, extent: i64, each: i64) {
    let (own, deep) = lies(p, side, tile, extent);
    let whole = extent * tile.depth % tile.share().threads == 0;
    let bound = if whole { String::new() } else { format!("if ({deep} < {}) ", tile.depth) };
    f.code.line("#pragma unroll");
    let next = format!("{name}_next[e]");
    let put = match tile.precision {
        Precision::F32 => format!("{name}_tile[{deep}][{own}] = {next}"),
        p => dot_cores::put(p, &format!("{name}_tile"), &own, &deep, &next),
    };
    f.code.line(format!("for (int e = 0; e < {each}; ++e) {bound}{put};"));
}

/// Stores results, or parts of sums that a second launch adds.
fn results(
    e: &mut Emitter<'_>,
    mut f: Func<'_>,
    p: &Product<'_>,
    tile: Tile,
    grid: i64,
    total: i64,
) -> Result<(), String> {
    let of = f.index_type();
    let share = tile.share();
    let ((tm, tn), threads) = (share.each, share.threads as u32);
    let (m, n) = (p.rows.name, p.columns.name);
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int i = 0; i < {tm}; ++i)"));
    f.code.line(format!("const {of} {m} = {m}0 + {};", share.row));
    if p.rows.size % tile.rows != 0 {
        let size = f.number(p.rows.size);
        f.code.line(format!("if ({m} >= {size}) break;"));
    }
    f.spread(m, &p.rows.axes);
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int j = 0; j < {tn}; ++j)"));
    f.code.line(format!("const {of} {n} = {n}0 + {};", share.column));
    if p.columns.size % tile.columns != 0 {
        let size = f.number(p.columns.size);
        f.code.line(format!("if ({n} >= {size}) break;"));
    }
    if tile.parts > 1 {
        let from = e.scratch(total.saturating_mul(tile.parts * 4))?;
        f.work(from, register(p.dtype), "w");
        let (rows, columns) = (f.number(p.rows.size), f.number(p.columns.size));
        f.code.line(format!("w[((block * {} + part) * {rows} + {m}) * {columns} + {n}] = {};", tile.parts, share.sum));
        f.code.close();
        f.code.close();
        e.launch(f, "dot", threads, grid)?;
        return join(e, p, tile, from, total);
    }
    f.spread(n, &p.columns.axes);
    store(&mut f, p.out, Value { text: share.sum, dtype: p.dtype, atom: true })?;
    f.code.close();
    f.code.close();
    e.launch(f, "dot", threads, grid)
}

fn store(f: &mut Func<'_>, out: &Hole<i64>, sum: Value) -> Result<(), String> {
    let values = hole::emit(f, out, &[sum])?;
    for (n, v) in values.iter().enumerate() {
        f.store(n, v)?;
    }
    Ok(())
}

/// Adds the parts of every sum, in order.
fn join(e: &mut Emitter<'_>, p: &Product<'_>, tile: Tile, from: usize, total: i64) -> Result<(), String> {
    let mut f = Func::new(e.entry, p.k, total.saturating_mul(tile.parts));
    f.note(format!("dot, {}: adds {} parts of each sum", p.title(), tile.parts));
    super::map::number(&mut f, total);
    let of = f.index_type();
    let (rows, columns) = (p.rows.size, p.columns.size);
    let (m, n) = (p.rows.name, p.columns.name);
    f.code
        .line(format!("const {of} {n} = p % {columns}, {m} = p / {columns} % {rows}, block = p / {};", rows * columns));
    f.work(from, register(p.dtype), "w");
    f.code.line(format!("{} sum = 0;", register(p.dtype)));
    let add = if p.dtype == DType::F32 { "sum += w[at]" } else { "sum = wrap_add(sum, w[at])" };
    f.code.open(format!("for (int part = 0; part < {}; ++part)", tile.parts));
    f.code.line(format!("const {of} at = ((block * {} + part) * {rows} + {m}) * {columns} + {n};", tile.parts));
    f.code.line(format!("{add};"));
    f.code.close();
    f.spread("block", &p.batch);
    f.spread(m, &p.rows.axes);
    f.spread(n, &p.columns.axes);
    store(&mut f, p.out, Value::atom("sum", p.dtype))?;
    e.launch(f, "join", BLOCK as u32, total.pieces(super::map::BLOCK))
}
