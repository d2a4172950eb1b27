//! Products of tiles in shared memory on tensor cores.
//!
//! In: the extents of a tile of results, the precision. Out: the text that multiplies, and how results lie in the registers
//! of the warps. Invariants: operands are words of 32 bits, one number or two neighbours along the sum, so that all
//! precisions have one layout: that of PTX's `mma` of 16 x 8 by 8 x 8 words; sums are f32. Imports: func, precision.

use super::func::Func;
use super::precision::Precision;

/// Rows of the results that a warp multiplies at once.
pub const ROWS: i64 = 16;
/// Columns of it.
pub const COLUMNS: i64 = 8;
/// Words of its sums.
pub const WORDS: i64 = 8;

/// Elements that rows of shared memory have besides the tile's: the four rows and eight columns that a warp reads at once
/// fall into different banks.
pub const PAD: i64 = 8;

/// The warps of a block over a tile of results.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    precision: Precision,
    /// Warps that have a part.
    warps: i64,
    /// How many of them stand side by side.
    beside: i64,
    /// Products of a warp, down and across.
    products: (i64, i64),
}

impl Cores {
    /// Over a tile of so many rows, a multiple of 16, and columns, of 8. As many warps as divide it, up to eight, and the part
    /// of each as square as can be: so it loads least.
    pub fn new(precision: Precision, rows: i64, columns: i64) -> Cores {
        let (down, across) = (rows / ROWS, columns / COLUMNS);
        let splits = (1..=8).flat_map(|over| (1..=8 / over).map(move |beside| (over, beside)));
        let fits = |(over, beside): &(i64, i64)| down % over == 0 && across % beside == 0;
        let best = |(over, beside): &(i64, i64)| (-over * beside, rows / over + columns / beside);
        let (over, beside) = splits.filter(fits).min_by_key(best).unwrap_or((1, 1));
        Cores { precision, warps: over * beside, beside, products: (down / over, across / beside) }
    }

    /// Threads that have a part.
    pub fn threads(self) -> i64 {
        self.warps * 32
    }

    /// Results of a thread, down and across.
    pub fn each(self) -> (i64, i64) {
        (2 * self.products.0, 2 * self.products.1)
    }

    /// The first row of thread `t` and the first column of its warp.
    pub fn first(self, t: &str) -> (String, String) {
        let (rows, columns) = (self.products.0 * ROWS, self.products.1 * COLUMNS);
        (
            format!("{t} / 32 / {} * {rows} + {t} % 32 / 4", self.beside),
            format!("{t} / 32 % {} * {columns}", self.beside),
        )
    }

    /// The row of result `i` and the column of result `j`, from the first ones.
    pub fn place(self, row: &str, column: &str) -> (String, String) {
        (format!("{row} + 8 * i"), format!("{column} + 8 * (j / 2) + 2 * quarter + j % 2"))
    }

    /// The declaration of an array of sums.
    pub fn sums(self, name: &str) -> String {
        format!("{name}[{}][{}][4]", self.products.0, self.products.1)
    }

    /// The sum of result `i`, `j`.
    pub fn sum(self, name: &str) -> String {
        format!("{name}[i / 2][j / 2][i % 2 * 2 + j % 2]")
    }

    /// Adds the product of tiles `a` and `b`, over `depth` terms, to `sums`.
    pub fn multiply(self, f: &mut Func<'_>, depth: i64, (a, b): (&str, &str), (row, column): (&str, &str), sums: &str) {
        let (down, across) = self.products;
        let word = |text: String| if self.precision.in_word() == 1 { text } else { format!("pair_of({text})") };
        f.code.line("#pragma unroll");
        f.code.open(format!("for (int w = 0; w < {}; w += {WORDS})", depth / self.precision.in_word()));
        f.code.line(format!("unsigned a[{down}][4], b[{across}][2];"));
        f.code.line("#pragma unroll");
        f.code.line(format!("for (int i = 0; i < {down}; ++i)"));
        f.code.line("#pragma unroll");
        let left = word(format!("{a}[w + quarter + n / 2 * 4][{row} + 16 * i + n % 2 * 8]"));
        f.code.line(format!("  for (int n = 0; n < 4; ++n) a[i][n] = {left};"));
        f.code.line("#pragma unroll");
        f.code.line(format!("for (int j = 0; j < {across}; ++j)"));
        f.code.line("#pragma unroll");
        let right = word(format!("{b}[w + quarter + n * 4][{column} + 8 * j + group]"));
        f.code.line(format!("  for (int n = 0; n < 2; ++n) b[j][n] = {right};"));
        f.code.line("#pragma unroll");
        f.code.line(format!("for (int i = 0; i < {down}; ++i)"));
        f.code.line("#pragma unroll");
        f.code.line(format!("  for (int j = 0; j < {across}; ++j) mma_{}({sums}[i][j], a[i], b[j]);", self.precision));
        f.code.close();
    }
}

/// Declares a tile of operands in shared memory: `depth` terms of rows or columns, which have `pitch` places.
pub fn share(f: &mut Func<'_>, precision: Precision, name: &str, depth: i64, pitch: i64) {
    let (depth, pitch) = (depth as usize, pitch as usize);
    match precision.in_word() {
        1 => f.share("unsigned", 4, name, &[depth, pitch]),
        _ => f.share("unsigned short", 2, name, &[depth / 2, pitch, 2]),
    }
}

/// Stores a value, rounded, as term `deep` of row or column `own`.
pub fn put(precision: Precision, name: &str, own: &str, deep: &str, value: &str) -> String {
    match precision.in_word() {
        1 => format!("{name}[{deep}][{own}] = to_{precision}({value})"),
        _ => format!("{name}[({deep}) / 2][{own}][({deep}) % 2] = to_{precision}({value})"),
    }
}
