//! The `attention` template on tensor cores.
//!
//! In: an attention, a precision other than f32. Out: a launch. Invariants: a warp has 16 queries to itself and goes through
//! all keys, so scores and weights stay in its registers: what one product leaves in a lane is what the next one takes from
//! it. Queries, keys, values and weights are rounded to the precision; scores, their greatest, sums and mixtures are f32.
//! Imports: attention, dot_cores, func.

use super::attention::{self, DEPTH, KEYS, Mix, Tile, WIDTH};
use super::dot_cores::{self, COLUMNS, PAD, ROWS, WORDS};
use super::func::Func;
use super::index::Cut;
use super::precision::Precision;
use super::program::Emitter;

/// Warps of a block, at most.
const MOST: i64 = 4;
/// Blocks that keep a device busy.
const BUSY: i64 = 128;

/// The warps of a block, and what they multiply.
#[derive(Clone, Copy, Debug)]
pub struct Warps {
    count: i64,
    precision: Precision,
}

impl Warps {
    /// As many as leave enough blocks for a device; `None` where tensor cores would multiply little but padding.
    pub fn of(m: &Mix<'_>, precision: Precision) -> Option<Warps> {
        let thin = m.t.size.min(m.s.size).min(m.e.size) < COLUMNS || m.d.size < 4;
        if precision == Precision::F32 || thin {
            return None;
        }
        let blocks = |count: i64| m.batch.size * m.t.size.pieces(ROWS * count) * m.e.size.pieces(WIDTH);
        let mut count = m.t.size.pieces(ROWS).min(MOST);
        while count > 1 && blocks(count) < BUSY {
            count /= 2;
        }
        Some(Warps { count, precision })
    }

    /// What a lane does with the weight of `i`, `j`: it stays where the score was.
    fn tile(self, m: &Mix<'_>) -> Tile {
        let (d, e) =
            (m.d.size.clamp(1, DEPTH).padded(WORDS * self.precision.in_word()), m.e.size.min(WIDTH).padded(16));
        let score = "score[j / 2][2 * i + j % 2]";
        Tile {
            precision: self.precision,
            threads: 32 * self.count,
            t: ROWS * self.count,
            d,
            e,
            each: 2,
            row: "row + 8 * i",
            column: "8 * (j / 2) + 2 * quarter + j % 2",
            scores: (2 * KEYS / COLUMNS, score),
            mixed: (2 * e / COLUMNS, "mixed[j / 2][2 * i + j % 2]"),
            lanes: 4,
            weight: format!("{score} = weight;"),
        }
    }

    /// The word of a tile in shared memory.
    fn word(self, element: String) -> String {
        if self.precision.in_word() == 1 { element } else { format!("pair_of({element})") }
    }
}

/// Emits the launch.
pub fn emit(e: &mut Emitter<'_>, m: &Mix<'_>, warps: Warps) -> Result<(), String> {
    let (p, tile) = (warps.precision, warps.tile(m));
    // Lanes read neighbouring rows of queries and keys, and of values every second one where a word is one number.
    let pad = if p.in_word() == 1 { PAD / 2 } else { PAD };
    let share = |f: &mut Func<'_>| {
        dot_cores::share(f, p, "q_tile", tile.d, tile.t + PAD);
        dot_cores::share(f, p, "k_tile", tile.d, KEYS + PAD);
        dot_cores::share(f, p, "v_tile", KEYS, tile.e + pad);
    };
    let names = "group = thread % 32 / 4, quarter = thread % 4, row = thread / 32 * 16 + group";
    let mut f = attention::begin(e, m, &tile, share, names);
    let (of, words) = (f.index_type(), tile.d / p.in_word());
    f.code.line(format!("float mixed[{}][4] = {{}}, greatest[2], total[2] = {{}};", tile.e / COLUMNS));
    f.code.line("for (int i = 0; i < 2; ++i) greatest[i] = -INFINITE;");
    if m.is_whole() {
        f.code.line(format!("const {of} d0 = 0;"));
        attention::load(&mut f, &m.queries(&tile), &tile)?;
        f.code.line("__syncthreads();");
        f.code.line("// Queries stay in registers.");
        f.code.line(format!("unsigned a[{}][4];", words / WORDS));
        f.code.line("#pragma unroll");
        f.code.line(format!("for (int w = 0; w < {words}; w += {WORDS})"));
        f.code.line("#pragma unroll");
        f.code.line(format!("  for (int n = 0; n < 4; ++n) a[w / {WORDS}][n] = {};", query(warps)));
    }
    let last = f.number(m.s.size);
    f.code.open(format!("for ({of} s0 = 0; s0 < {last}; s0 += {KEYS})"));
    f.code.line(format!("float score[{}][4] = {{}};", KEYS / COLUMNS));
    attention::load(&mut f, &m.values(&tile), &tile)?;
    m.e.axes.iter().chain(&m.s.axes).for_each(|a| f.at[*a] = "0".to_owned());
    if !m.is_whole() {
        let last = f.number(m.d.size);
        f.code.open(format!("for ({of} d0 = 0; d0 < {last}; d0 += {})", tile.d));
        f.code.line("__syncthreads();");
        attention::load(&mut f, &m.queries(&tile), &tile)?;
    }
    attention::load(&mut f, &m.keys(&tile), &tile)?;
    f.code.line("__syncthreads();");
    scores(&mut f, warps, words, m.is_whole());
    if !m.is_whole() {
        f.code.close();
    }
    m.d.axes.iter().for_each(|a| f.at[*a] = "0".to_owned());
    attention::softmax(&mut f, m, &tile)?;
    mixtures(&mut f, warps, &tile);
    f.code.line("__syncthreads();");
    f.code.close();
    attention::results(e, f, m, &tile)
}

/// Word `n` of a lane's queries.
fn query(warps: Warps) -> String {
    warps.word("q_tile[w + quarter + n / 2 * 4][row + n % 2 * 8]".to_owned())
}

/// Adds the products of queries and keys in shared memory to the scores.
fn scores(f: &mut Func<'_>, warps: Warps, words: i64, kept: bool) {
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int w = 0; w < {words}; w += {WORDS})"));
    let mut a = format!("a[w / {WORDS}]");
    if !kept {
        f.code.line("unsigned a[4];");
        f.code.line("#pragma unroll");
        f.code.line(format!("for (int n = 0; n < 4; ++n) a[n] = {};", query(warps)));
        a = "a".to_owned();
    }
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int j = 0; j < {}; ++j)", KEYS / COLUMNS));
    let word = |n: i64| warps.word(format!("k_tile[w + quarter + {}][8 * j + group]", 4 * n).replace(" + 0]", "]"));
    f.code.line(format!("const unsigned b[2] = {{{}, {}}};", word(0), word(1)));
    f.code.line(format!("mma_{}(score[j], {a}, b);", warps.precision));
    f.code.close();
    f.code.close();
}

/// Adds the products of weights and values. A lane has the weights of two neighbouring keys of a query: as a word of two
/// numbers that is word `quarter`, as the product wants it. As two words they would be 2 `quarter` and 2 `quarter` + 1 and
/// are given as words `quarter` and `quarter` + 4; the values are read in the same order, and the sum is the same.
fn mixtures(f: &mut Func<'_>, warps: Warps, tile: &Tile) {
    let p = warps.precision;
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int w = 0; w < {}; w += {WORDS})", KEYS / p.in_word()));
    f.code.line("unsigned a[4];");
    f.code.line("#pragma unroll");
    let (weight, from, next) = match p.in_word() {
        1 => (format!("to_{p}(score[w / 8][n % 2 * 2 + n / 2])"), "w + 2 * quarter", 1),
        _ => {
            let one = |half: &str| format!("to_{p}(score[w / 4 + n / 2][n % 2 * 2{half}])");
            (format!("pair_of({}, {})", one(""), one(" + 1")), "w + quarter", 4)
        }
    };
    f.code.line(format!("for (int n = 0; n < 4; ++n) a[n] = {weight};"));
    f.code.line("#pragma unroll");
    f.code.open(format!("for (int j = 0; j < {}; ++j)", tile.e / COLUMNS));
    let word = |row: String| warps.word(format!("v_tile[{row}][8 * j + group]"));
    f.code.line(format!("const unsigned b[2] = {{{}, {}}};", word(from.to_owned()), word(format!("{from} + {next}"))));
    f.code.line(format!("mma_{p}(mixed[j], a, b);"));
    f.code.close();
    f.code.close();
}
