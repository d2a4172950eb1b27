//! Contractions that are too thin for tiles: depthwise convolutions, products with a vector.
//!
//! In: a product. Out: a launch. Invariants: a thread makes one result in the order of the terms, or a warp does, each
//! lane every 32nd term. Imports: program, func, hole, dot.

use uad_plan::DType;

use super::dot::Product;
use super::func::Func;
use super::hole::{self, Value, register};
use super::index::{Cut, points};
use super::map::by_stride;
use super::program::Emitter;
use super::rows::one;

/// Threads of a block.
const BLOCK: i64 = 256;
/// A warp makes a result where sums are this long and a thread a result would leave the device idle.
const LONG: i64 = 96;
/// Results that fill a device with a thread each.
const MANY: i64 = 1 << 16;

/// Emits the launch.
pub fn emit(e: &mut Emitter<'_>, p: &Product<'_>) -> Result<(), String> {
    let k = p.k;
    let all: Vec<usize> = p.batch.iter().chain(&p.rows.axes).chain(&p.columns.axes).copied().collect();
    let axes = by_stride(k.writes.first(), &all);
    let (total, terms) = (points(&k.axes, &axes), p.terms());
    let warp = terms >= LONG && total < MANY;
    let mut f = Func::new(e.entry, k, total.saturating_mul(if warp { 32 } else { 1 }).max(terms));
    f.note(format!("dot, {}: a {} a result", p.title(), if warp { "warp" } else { "thread" }));
    let of = f.index_type();
    let block = if f.wide { "(long long)blockIdx.x" } else { "blockIdx.x" };
    let per = if warp { BLOCK / 32 } else { BLOCK };
    let thread = if warp { "threadIdx.x / 32" } else { "threadIdx.x" };
    let last = f.number(total);
    f.code.line(format!("const {of} p = {block} * {per} + {thread};"));
    f.code.line(format!("if (p >= {last}) return;"));
    f.spread("p", &axes);
    let sum = register(p.dtype);
    f.code.line(format!("{sum} sum = 0;"));
    let terms = f.number(terms);
    if warp {
        f.code.open(format!("for ({of} j = threadIdx.x % 32; j < {terms}; j += 32)"));
    } else {
        f.code.open(format!("for ({of} j = 0; j < {terms}; ++j)"));
    }
    f.spread("j", &p.depth);
    let a = one(hole::emit(&mut f, p.rows.hole, &[])?)?;
    let b = one(hole::emit(&mut f, p.columns.hole, &[])?)?;
    f.code.line(multiply_add("sum", &a.text, &b.text, p.dtype));
    f.code.close();
    p.depth.iter().for_each(|axis| f.at[*axis] = "0".to_owned());
    if warp {
        f.code.line("sum = warp_all<Sum>(sum);");
        f.code.line("if (threadIdx.x % 32 != 0) return;");
    }
    let values = hole::emit(&mut f, p.out, &[Value::atom("sum", p.dtype)])?;
    for (n, v) in values.iter().enumerate() {
        f.store(n, v)?;
    }
    e.launch(f, "dot", BLOCK as u32, total.pieces(per))
}

/// `sum += a * b`, rounded once.
pub fn multiply_add(sum: &str, a: &str, b: &str, dtype: DType) -> String {
    match dtype {
        DType::F32 => format!("{sum} = fmaf({a}, {b}, {sum});"),
        _ => format!("{sum} = wrap_add({sum}, wrap_mul({a}, {b}));"),
    }
}
