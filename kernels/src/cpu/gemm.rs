//! The inner loops of matrix products: one register tile, for every height and width.
//!
//! In: for every segment of the summed axis one pointer per row of A; a panel of B, `width` vectors wide; a partial
//! tile or nothing. Out: the tile, finished by [`Finish`], in place. Invariants: the sum runs over k in order, one
//! fused multiply-add at a time, so the result does not depend on how rows and columns are tiled; reads of A are
//! scalars, reads of B whole vectors. Imports: [`super::isa`], [`super::simd`].

// Loops over registers run by number: the arrays must stay in registers, and iterators hide that they do.
#![allow(clippy::needless_range_loop)]

use super::isa::{Isa, Kind, dispatch};
use super::simd::Simd;

/// Most rows of a tile for any width.
pub const MAX_ROWS: usize = 14;
/// Most vectors in a panel.
pub const MAX_WIDTH: usize = 4;

/// The most rows of a tile whose panel has `width` vectors.
pub fn tile_rows(isa: Isa, width: usize) -> usize {
    match (isa.kind(), width) {
        (Kind::Avx512 | Kind::Neon, 4) => 6,
        (Kind::Avx512 | Kind::Neon, 3) => 8,
        (Kind::Avx512 | Kind::Neon, _) => 12,
        (Kind::Avx2, 2) => 6,
        (Kind::Avx2, _) => 12,
        (Kind::Portable, _) => 4,
    }
}

/// The most vectors in a panel.
pub fn panel_width(isa: Isa) -> usize {
    match isa.kind() {
        Kind::Avx512 | Kind::Neon => 4,
        Kind::Avx2 | Kind::Portable => 2,
    }
}

/// What happens to a finished sum on its way to memory: `clamp(sum + bias[n] + residual[m][n])`.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    /// One value per column, or null.
    pub bias: *const f32,
    /// Added element by element, or null: the first element of the tile.
    pub residual: *const f32,
    /// Elements between rows of the residual.
    pub residual_row: isize,
    /// Lower bound; minus infinity for none.
    pub low: f32,
    /// Upper bound; infinity for none.
    pub high: f32,
}

impl Finish {
    /// The sum as it is.
    pub const PLAIN: Finish = Finish {
        bias: std::ptr::null(),
        residual: std::ptr::null(),
        residual_row: 0,
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
    };
}

/// One register tile's work.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    /// Per segment `1 + rows` pointers: the panel of B at the segment's first k, and each row of A, `depth` values long.
    pub table: *const *const f32,
    /// Elements between neighbours on the summed axis of A.
    pub a_step: isize,
    /// Pieces of the summed axis.
    pub segments: usize,
    /// Values per segment.
    pub depth: usize,
    /// Elements from one k to the next in B.
    pub b_step: isize,
    /// A partial tile to start from, or null to start from 0.
    pub carry: *const f32,
    /// Elements between rows of `carry`.
    pub carry_row: isize,
    /// Where the tile goes.
    pub out: *mut f32,
    /// Elements between rows of `out`.
    pub out_row: isize,
    /// Columns that are written: at most `width` vectors, more than `width - 1`.
    pub columns: usize,
    /// How it is finished.
    pub finish: Finish,
}

/// The microkernel for full tiles of `R` rows and `W` vectors.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const W: usize>(t: &Tile) {
    // SAFETY: the caller of `run_tile` vouches for the pointers.
    unsafe {
        let tail = t.columns - (W - 1) * S::LANES;
        let mut acc = [[S::zero(); W]; R];
        if !t.carry.is_null() {
            for i in 0..R {
                let p = t.carry.offset(i as isize * t.carry_row);
                for j in 0..W {
                    acc[i][j] =
                        if j + 1 == W { S::load_n(p.add(j * S::LANES), tail) } else { S::load(p.add(j * S::LANES)) };
                }
            }
        }
        for s in 0..t.segments {
            let row = t.table.add(s * (R + 1));
            let mut b = *row;
            let rows: [*const f32; R] = std::array::from_fn(|i| *row.add(1 + i));
            if t.a_step == 1 {
                for k in 0..t.depth {
                    step::<S, R, W>(&mut acc, &rows, k as isize, b);
                    b = b.offset(t.b_step);
                }
            } else {
                for k in 0..t.depth {
                    step::<S, R, W>(&mut acc, &rows, k as isize * t.a_step, b);
                    b = b.offset(t.b_step);
                }
            }
        }
        let f = &t.finish;
        if !f.bias.is_null() {
            for j in 0..W {
                let p = f.bias.add(j * S::LANES);
                let v = if j + 1 == W { S::load_n(p, tail) } else { S::load(p) };
                for row in acc.iter_mut() {
                    row[j] = S::add(row[j], v);
                }
            }
        }
        if !f.residual.is_null() {
            for i in 0..R {
                let p = f.residual.offset(i as isize * f.residual_row);
                for j in 0..W {
                    let q = p.add(j * S::LANES);
                    let v = if j + 1 == W { S::load_n(q, tail) } else { S::load(q) };
                    acc[i][j] = S::add(acc[i][j], v);
                }
            }
        }
        let (low, high) = (S::splat(f.low), S::splat(f.high));
        for i in 0..R {
            let p = t.out.offset(i as isize * t.out_row);
            for j in 0..W {
                // The second operand where either is not a number, so NaN passes through.
                let v = S::min(high, S::max(low, acc[i][j]));
                if j + 1 == W { S::store_n(p.add(j * S::LANES), v, tail) } else { S::store(p.add(j * S::LANES), v) }
            }
        }
    }
}

#[inline(always)]
unsafe fn step<S: Simd, const R: usize, const W: usize>(
    acc: &mut [[S::F; W]; R],
    rows: &[*const f32; R],
    at: isize,
    b: *const f32,
) {
    // SAFETY: as in `tile`.
    unsafe {
        let mut v = [S::zero(); W];
        for j in 0..W {
            v[j] = S::load(b.add(j * S::LANES));
        }
        for i in 0..R {
            let x = S::splat(*rows[i].offset(at));
            for j in 0..W {
                acc[i][j] = S::fma(x, v[j], acc[i][j]);
            }
        }
    }
}

macro_rules! widths {
    ($($name:ident $generic:ident $width:literal: $($rows:literal)*;)*) => {
        $(
            #[inline(always)]
            unsafe fn $generic<S: Simd>(rows: usize, t: &Tile) {
                // SAFETY: as in `tile`.
                unsafe {
                    match rows {
                        $($rows => tile::<S, $rows, $width>(t),)*
                        _ => {}
                    }
                }
            }
            dispatch! {
                unsafe fn $name(rows: usize, t: &Tile) => $generic
            }
        )*
        /// Computes one tile of `rows` rows (at most [`tile_rows`]) and `width` vectors.
        ///
        /// # Safety
        /// The pointers of `t` are valid for what it describes; B for whole vectors.
        pub unsafe fn run_tile(isa: Isa, rows: usize, width: usize, t: &Tile) {
            // SAFETY: the caller's contract.
            unsafe {
                match width {
                    $($width => $name(isa, rows, t),)*
                    _ => {}
                }
            }
        }
    };
}
widths! {
    wide1 generic1 1: 1 2 3 4 5 6 7 8 9 10 11 12;
    wide2 generic2 2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14;
    wide3 generic3 3: 1 2 3 4 5 6 7 8;
    wide4 generic4 4: 1 2 3 4 5 6;
}
