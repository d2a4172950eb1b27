//! The `attention` template, streamed: scores are never stored.
//!
//! In: a bound kernel. Out: a launch. Invariants: a block takes some queries and goes through the keys in order, a tile
//! at a time, with a running greatest score and a running sum per query; earlier sums are scaled when the greatest
//! grows. A row that is all -inf gives NaN, as the definition does. Imports: program, func, hole, attention_cores.

use uad_plan::{AttentionRole, DType, Hole, Inst, Kernel};

use super::attention_cores;
use super::func::Func;
use super::hole::{self, Value};
use super::index::{Cut, points};
use super::map::by_stride;
use super::precision::Precision;
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

/// Axes of one role, and how many points they have.
pub struct Role {
    /// The axes.
    pub axes: Vec<usize>,
    /// Their points.
    pub size: i64,
}

/// An attention with its axes by role.
pub struct Mix<'a> {
    /// The kernel.
    pub k: &'a Kernel<i64>,
    /// Its holes.
    pub parts: &'a Parts<'a>,
    /// Independent mixtures.
    pub batch: Role,
    /// Queries.
    pub t: Role,
    /// Keys.
    pub s: Role,
    /// Features of queries and keys.
    pub d: Role,
    /// Features of values.
    pub e: Role,
}

/// What a block has in shared memory at a time, and how its threads share it. Loops over a thread's results have the
/// counters `i`, queries, and `j`, keys or features of values.
pub struct Tile {
    /// What is multiplied.
    pub precision: Precision,
    /// Threads of a block.
    pub threads: i64,
    /// Queries of a block.
    pub t: i64,
    /// Features of queries and keys.
    pub d: i64,
    /// Features of values that a block makes.
    pub e: i64,
    /// Queries of a thread.
    pub each: i64,
    /// The query of result `i` in the tile.
    pub row: &'static str,
    /// The key, or the feature, of result `j`.
    pub column: &'static str,
    /// Keys of a thread, and the score of `i`, `j`.
    pub scores: (i64, &'static str),
    /// Features of a thread, and the mixture of `i`, `j`.
    pub mixed: (i64, &'static str),
    /// Neighbouring lanes that have the scores of one query.
    pub lanes: i64,
    /// What is done with the `weight` of `i`, `j`.
    pub weight: String,
}

/// Threads of a block without tensor cores: 16 x 16.
const BLOCK: i64 = 256;
/// Keys of a tile.
pub const KEYS: i64 = 32;
/// Features that are in shared memory at a time, at most.
pub const DEPTH: i64 = 64;
/// Features of values that a block makes, at most.
pub const WIDTH: i64 = 128;

/// A tile of an operand in shared memory: `rows` by `columns`, filled from `own` and `deep` axes.
pub struct Load<'a> {
    name: &'static str,
    hole: &'a Hole<i64>,
    /// First index: variable, its axes, extent of the tile.
    rows: (&'static str, &'a Role, i64),
    /// Second index.
    columns: (&'static str, &'a Role, i64),
}

impl<'a> Mix<'a> {
    fn of(k: &'a Kernel<i64>, parts: &'a Parts<'a>) -> Mix<'a> {
        let role = |r: AttentionRole, sorted: bool| {
            let all: Vec<usize> = (0..parts.roles.len()).filter(|i| parts.roles[*i] == r).collect();
            let axes = if sorted { by_stride(k.writes.first(), &all) } else { all };
            Role { size: points(&k.axes, &axes), axes }
        };
        use AttentionRole as R;
        let (batch, e) = (role(R::Batch, true), role(R::E, true));
        let [t, s, d] = [R::T, R::S, R::D].map(|r| role(r, false));
        Mix { k, parts, batch, t, s, d, e }
    }

    /// Tiles of queries, and of features of values.
    fn tiles(&self, tile: &Tile) -> (i64, i64) {
        (self.t.size.pieces(tile.t), self.e.size.pieces(tile.e))
    }

    /// Queries, a tile of them.
    pub fn queries(&self, tile: &Tile) -> Load<'_> {
        Load { name: "q_tile", hole: self.parts.q, rows: ("d", &self.d, tile.d), columns: ("t", &self.t, tile.t) }
    }

    /// Keys.
    pub fn keys(&self, tile: &Tile) -> Load<'_> {
        Load { name: "k_tile", hole: self.parts.k, rows: ("d", &self.d, tile.d), columns: ("s", &self.s, KEYS) }
    }

    /// Values.
    pub fn values(&self, tile: &Tile) -> Load<'_> {
        Load { name: "v_tile", hole: self.parts.v, rows: ("s", &self.s, KEYS), columns: ("e", &self.e, tile.e) }
    }

    /// Are all features of queries in shared memory at once?
    pub fn is_whole(&self) -> bool {
        self.d.size <= DEPTH
    }

    fn title(&self) -> String {
        let one = |(name, role): (&str, &Role)| {
            let each: Vec<String> = role.axes.iter().map(|a| format!("i{a}({})", self.k.axes[*a])).collect();
            format!("{name}: {}", if each.is_empty() { "-".to_owned() } else { each.join(" ") })
        };
        let all = [("batch", &self.batch), ("t", &self.t), ("s", &self.s), ("d", &self.d), ("e", &self.e)];
        all.map(one).join(",  ")
    }
}

/// Emits `attention`.
pub fn emit(e: &mut Emitter<'_>, k: &Kernel<i64>, parts: &Parts<'_>) -> Result<(), String> {
    let m = Mix::of(k, parts);
    if m.batch.size * m.t.size * m.e.size == 0 {
        return Ok(());
    }
    match attention_cores::Warps::of(&m, e.precision) {
        Some(warps) => attention_cores::emit(e, &m, warps),
        None => tiled(e, &m),
    }
}

/// The function with its tile's coordinates declared.
pub fn begin<'a>(
    e: &Emitter<'a>,
    m: &Mix<'a>,
    tile: &Tile,
    share: impl FnOnce(&mut Func<'a>),
    names: &str,
) -> Func<'a> {
    let (over, across) = m.tiles(tile);
    let linear = m.batch.size * over * tile.t * across * tile.e;
    let mut f = Func::new(e.entry, m.k, linear.max(m.s.size + KEYS).max(m.d.size + DEPTH));
    f.resident(2);
    f.note(format!("attention, {}", m.title()));
    let cores = if tile.precision == Precision::F32 { String::new() } else { format!(", {}", tile.precision) };
    f.note(format!("a block takes {} queries and {} features of values, {KEYS} keys at a time{cores}", tile.t, tile.e));
    share(&mut f);
    f.code.line(format!("const int thread = threadIdx.x, {names};"));
    f.code.line(format!("{} block = blockIdx.x;", f.index_type()));
    f.peel("e0", across, tile.e);
    f.peel("t0", over, tile.t);
    f.spread("block", &m.batch.axes);
    f
}

/// Without tensor cores.
fn tiled(e: &mut Emitter<'_>, m: &Mix<'_>) -> Result<(), String> {
    let few = m.batch.size * m.t.size.pieces(32) < 128;
    let t = if few || m.t.size <= 16 { 16 } else { 32 };
    let (d, width) = (m.d.size.clamp(1, DEPTH), m.e.size.min(WIDTH).padded(16));
    let (tm, ts, te) = (t / 16, KEYS / 16, width / 16);
    let tile = Tile {
        precision: Precision::F32,
        threads: BLOCK,
        t,
        d,
        e: width,
        each: tm,
        row: if tm == 1 { "row" } else { "row * 2 + i" },
        column: "column + 16 * j",
        scores: (ts, "score[i][j]"),
        mixed: (te, "mixed[i][j]"),
        lanes: 16,
        weight: format!("p_tile[column + 16 * j][{}] = weight;", if tm == 1 { "row" } else { "row * 2 + i" }),
    };
    let share = |f: &mut Func<'_>| {
        f.share("float", 4, "q_tile", &[d as usize, t as usize + 4]);
        f.share("float", 4, "k_tile", &[d as usize, KEYS as usize + 4]);
        f.share("float", 4, "p_tile", &[KEYS as usize, t as usize + 4]);
        f.share("float", 4, "v_tile", &[KEYS as usize, width as usize + 4]);
    };
    let mut f = begin(e, m, &tile, share, "row = thread / 16, column = thread % 16");
    let of = f.index_type();
    f.code.line(format!("float mixed[{tm}][{te}] = {{}}, greatest[{tm}], total[{tm}] = {{}};"));
    f.code.line(format!("for (int i = 0; i < {tm}; ++i) greatest[i] = -INFINITE;"));
    if m.is_whole() {
        f.code.line(format!("const {of} d0 = 0;"));
        load(&mut f, &m.queries(&tile), &tile)?;
    }
    let last = f.number(m.s.size);
    f.code.open(format!("for ({of} s0 = 0; s0 < {last}; s0 += {KEYS})"));
    f.code.line(format!("float score[{tm}][{ts}] = {{}};"));
    if !m.is_whole() {
        let last = f.number(m.d.size);
        f.code.open(format!("for ({of} d0 = 0; d0 < {last}; d0 += {d})"));
        f.code.line("__syncthreads();");
        load(&mut f, &m.queries(&tile), &tile)?;
    }
    load(&mut f, &m.keys(&tile), &tile)?;
    f.code.line("__syncthreads();");
    multiply(&mut f, &tile, ("dd", d), "q_tile", "k_tile", tile.scores);
    if !m.is_whole() {
        f.code.close();
    }
    m.d.axes.iter().for_each(|a| f.at[*a] = "0".to_owned());
    softmax(&mut f, m, &tile)?;
    load(&mut f, &m.values(&tile), &tile)?;
    f.code.line("__syncthreads();");
    multiply(&mut f, &tile, ("ss", KEYS), "p_tile", "v_tile", tile.mixed);
    f.code.line("__syncthreads();");
    f.code.close();
    results(e, f, m, &tile)
}

/// Adds the product of two tiles in shared memory to registers.
fn multiply(f: &mut Func<'_>, tile: &Tile, (at, depth): (&str, i64), a: &str, b: &str, (count, sum): (i64, &str)) {
    f.code.line("#pragma unroll 8");
    f.code.line(format!("for (int {at} = 0; {at} < {depth}; ++{at})"));
    f.code.line("#pragma unroll");
    f.code.line(format!("  for (int i = 0; i < {}; ++i)", tile.each));
    f.code.line("#pragma unroll");
    f.code.line(format!("    for (int j = 0; j < {count}; ++j)"));
    f.code.line(format!("      {sum} = fmaf({a}[{at}][{}], {b}[{at}][{}], {sum});", tile.row, tile.column));
}

/// From q·k to the weights of this tile of keys, with what that does to the running sums.
pub fn softmax(f: &mut Func<'_>, m: &Mix<'_>, tile: &Tile) -> Result<(), String> {
    let of = f.index_type();
    let ((scores, score), (features, mixed)) = (tile.scores, tile.mixed);
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int i = 0; i < {}; ++i)", tile.each));
    f.code.line(format!("const {of} t = t0 + {};", tile.row));
    f.spread("t", &m.t.axes);
    f.code.line("float most_here = -INFINITE;");
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int j = 0; j < {scores}; ++j)"));
    f.code.line(format!("const {of} s = s0 + {};", tile.column));
    f.code.line("float here = -INFINITE;");
    let (last_t, last_s) = (f.number(m.t.size), f.number(m.s.size));
    f.code.open(format!("if (t < {last_t} && s < {last_s})"));
    f.spread("s", &m.s.axes);
    let value = one(hole::emit(f, m.parts.score, &[Value::atom(score, DType::F32)])?)?;
    f.code.line(format!("here = {};", value.text));
    f.code.close();
    f.code.line(format!("{score} = here;"));
    f.code.line("most_here = most(most_here, here);");
    f.code.close();
    let from = tile.lanes / 2;
    f.code.line("#pragma unroll");
    f.code
        .line(format!("for (int by = {from}; by > 0; by >>= 1) most_here = most(most_here, lane_xor(most_here, by));"));
    f.code.line("const float now = most(greatest[i], most_here);");
    f.code.line("// Nothing but -inf so far: weights are 0, not NaN.");
    f.code.line("const float base = now == -INFINITE ? 0.0f : now;");
    f.code.line("const float before = exp_of(greatest[i] - base);");
    f.code.line("greatest[i] = now;");
    f.code.line("float sum = 0.0f;");
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int j = 0; j < {scores}; ++j)"));
    f.code.line(format!("const float weight = exp_of({score} - base);"));
    f.code.line(&tile.weight);
    f.code.line("sum += weight;");
    f.code.close();
    f.code.line("#pragma unroll");
    f.code.line(format!("for (int by = {from}; by > 0; by >>= 1) sum += lane_xor(sum, by);"));
    f.code.line("total[i] = fmaf(total[i], before, sum);");
    f.code.line("#pragma unroll");
    f.code.line(format!("for (int j = 0; j < {features}; ++j) {mixed} *= before;"));
    f.code.close();
    Ok(())
}

/// Stores the mixtures, and launches.
pub fn results(e: &mut Emitter<'_>, mut f: Func<'_>, m: &Mix<'_>, tile: &Tile) -> Result<(), String> {
    let of = f.index_type();
    let (features, mixed) = tile.mixed;
    m.s.axes.iter().for_each(|a| f.at[*a] = "0".to_owned());
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int i = 0; i < {}; ++i)", tile.each));
    f.code.line(format!("const {of} t = t0 + {};", tile.row));
    let size = f.number(m.t.size);
    f.code.line(format!("if (t >= {size}) break;"));
    f.spread("t", &m.t.axes);
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int j = 0; j < {features}; ++j)"));
    f.code.line(format!("const {of} e = e0 + {};", tile.column));
    let size = f.number(m.e.size);
    f.code.line(format!("if (e >= {size}) break;"));
    f.spread("e", &m.e.axes);
    // Of no keys the mixture is 0.
    let mixed = if m.s.size == 0 { "0.0f".to_owned() } else { format!("{mixed} / total[i]") };
    f.code.line(format!("const float value = {mixed};"));
    let values = hole::emit(&mut f, m.parts.out, &[Value::atom("value", DType::F32)])?;
    for (n, v) in values.iter().enumerate() {
        f.store(n, v)?;
    }
    f.code.close();
    f.code.close();
    let (over, across) = m.tiles(tile);
    e.launch(f, "attention", tile.threads as u32, m.batch.size * over * across)
}

/// Fills a tile; elements outside of the operand are 0.
pub fn load(f: &mut Func<'_>, l: &Load<'_>, tile: &Tile) -> Result<(), String> {
    let of = f.index_type();
    let ((row, row_role, rows), (column, column_role, columns)) = (l.rows, l.columns);
    // Neighbouring threads go along the axis on which the operand steps least.
    let read =
        l.hole.code.iter().find_map(|i| if let Inst::Load(n) = i { f.kernel.reads.get(*n as usize) } else { None });
    let least = |role: &Role| {
        let moving = role.axes.iter().filter(|i| f.kernel.axes[**i] > 1);
        let steps = moving.filter_map(|i| read.map(|a| a.strides[*i].abs()));
        steps.filter(|s| *s > 0).min().unwrap_or(i64::MAX)
    };
    let (at_row, at_column) = if least(row_role) < least(column_role) {
        (format!("at % {rows}"), format!("at / {rows}"))
    } else {
        (format!("at / {columns}"), format!("at % {columns}"))
    };
    f.code.open(format!("for (int at = thread; at < {}; at += {})", rows * columns, tile.threads));
    f.code.line(format!("const {of} {row} = {row}0 + {at_row}, {column} = {column}0 + {at_column};"));
    f.code.line("float read = 0.0f;");
    let (last_row, last_column) = (f.number(row_role.size), f.number(column_role.size));
    f.code.open(format!("if ({row} < {last_row} && {column} < {last_column})"));
    f.spread(row, &row_role.axes);
    f.spread(column, &column_role.axes);
    let value = one(hole::emit(f, l.hole, &[])?)?;
    f.code.line(format!("read = {};", value.text));
    f.code.close();
    let put = match tile.precision {
        Precision::F32 => format!("{}[{at_row}][{at_column}] = read", l.name),
        p => super::dot_cores::put(p, l.name, &at_column, &at_row, "read"),
    };
    f.code.line(format!("{put};"));
    f.code.close();
    Ok(())
}
