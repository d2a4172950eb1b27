//! The `dot` template: which of its forms a contraction takes.
//!
//! In: a bound kernel. Out: launches. Invariants: the form and its tile depend on shapes and strides alone. Large
//! products are register tiles over shared memory; thin ones are a thread or a warp a result. Imports: program, forms.

use uad_plan::{DType, DotRole, Hole, Kernel};

use super::dot_thin;
use super::dot_tile::{self, Tile};
use super::index::points;
use super::program::Emitter;

/// One of the two operands with its axes.
pub struct Side<'a> {
    /// Its own axes, the smallest steps in the result last.
    pub axes: Vec<usize>,
    /// The operand.
    pub hole: &'a Hole<i64>,
    /// Points of its axes.
    pub size: i64,
    /// `m` or `n`.
    pub name: &'static str,
}

/// A contraction, seen so that neighbouring columns are neighbours in the result.
pub struct Product<'a> {
    /// The kernel.
    pub k: &'a Kernel<i64>,
    /// Axes of the result that both operands have.
    pub batch: Vec<usize>,
    /// The side whose steps in the result are larger.
    pub rows: Side<'a>,
    /// The side whose steps in the result are smaller.
    pub columns: Side<'a>,
    /// Axes that are summed.
    pub depth: Vec<usize>,
    /// What is made of the sum.
    pub out: &'a Hole<i64>,
    /// Type of the sum.
    pub dtype: DType,
}

impl Product<'_> {
    /// Number of products that are independent.
    pub fn batches(&self) -> i64 {
        points(&self.k.axes, &self.batch)
    }

    /// Terms of a sum.
    pub fn terms(&self) -> i64 {
        points(&self.k.axes, &self.depth)
    }

    /// `m: i0(2) i1(14) = 28`.
    pub fn describe(&self, name: &str, axes: &[usize]) -> String {
        let each: Vec<String> = axes.iter().map(|a| format!("i{a}({})", self.k.axes[*a])).collect();
        let each = if each.is_empty() { "-".to_owned() } else { each.join(" ") };
        format!("{name}: {each} = {}", points(&self.k.axes, axes))
    }

    /// The axes in a line.
    pub fn title(&self) -> String {
        let parts = [
            self.describe("batch", &self.batch),
            self.describe(self.rows.name, &self.rows.axes),
            self.describe(self.columns.name, &self.columns.axes),
            self.describe("k", &self.depth),
        ];
        parts.join(",  ")
    }
}

/// The least step of the first write along any of the axes.
fn step(k: &Kernel<i64>, axes: &[usize]) -> u64 {
    let write = k.writes.first();
    let steps = axes.iter().filter(|a| k.axes[**a] > 1).filter_map(|a| write.map(|w| w.strides[*a].unsigned_abs()));
    steps.filter(|s| *s > 0).min().unwrap_or(u64::MAX)
}

/// Emits a `dot`.
pub fn emit(
    e: &mut Emitter<'_>,
    k: &Kernel<i64>,
    roles: &[DotRole],
    a: &Hole<i64>,
    b: &Hole<i64>,
    out: &Hole<i64>,
) -> Result<(), String> {
    let with = |role: DotRole| -> Vec<usize> { (0..roles.len()).filter(|i| roles[*i] == role).collect() };
    let own = |role: DotRole| super::map::by_stride(k.writes.first(), &with(role));
    let side = |role: DotRole, hole, name| {
        let axes = own(role);
        Side { size: points(&k.axes, &axes), axes, hole, name }
    };
    let (m, n) = (side(DotRole::M, a, "m"), side(DotRole::N, b, "n"));
    let dtypes: Vec<DType> =
        k.reads.iter().map(|r| e.entry.buffers.get(r.buffer.0 as usize).map_or(DType::F32, |b| b.dtype)).collect();
    let types = a.types(&dtypes, &[])?;
    let dtype = a.results.first().and_then(|r| types.get(r.0 as usize).copied()).ok_or("an operand without a value")?;
    let (rows, columns) = if step(k, &m.axes) < step(k, &n.axes) { (n, m) } else { (m, n) };
    let p = Product { k, batch: own(DotRole::Batch), rows, columns, depth: with(DotRole::K), out, dtype };
    if p.batches() * p.rows.size * p.columns.size == 0 {
        return Ok(());
    }
    match Tile::of(&p, e.precision) {
        Some(tile) => dot_tile::emit(e, &p, tile),
        None => dot_thin::emit(e, &p),
    }
}
