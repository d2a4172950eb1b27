//! The inner loops of depthwise products: vectors of channels, a few output columns at a time.
//!
//! In: pointers to input rows and weights. Out: finished columns, or plain sums. Invariants: every sum runs over its
//! taps in order, so the result does not depend on how columns are tiled; channels beyond a whole vector are covered
//! by a vector that overlaps the one before. Imports: [`super::isa`], [`super::simd`], [`super::gemm::Finish`].

// Loops over registers run by number: the arrays must stay in registers, and iterators hide that they do.
#![allow(clippy::needless_range_loop)]

use super::gemm::Finish;
use super::isa::dispatch;
use super::simd::Simd;

/// Columns of one call, at most.
pub const MAX_COLUMNS: usize = 7;

/// Work of one call: `columns` outputs next to each other, all channels.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// Input pointers. Sliding: one per row of taps, at its first tap of the first column. Else one per tap and
    /// column: column `t` of tap `k` at `k * columns + t`.
    pub inputs: *const *const f32,
    /// Weights, one pointer per input row (sliding) or per tap, `channels` values per tap.
    pub weights: *const *const f32,
    /// Rows of taps (sliding) or taps.
    pub count: usize,
    /// Sliding: elements between input columns.
    pub column: isize,
    /// Sliding: input columns `low..high` of those under the window exist.
    pub low: isize,
    /// See `low`.
    pub high: isize,
    /// Channels; at least one vector.
    pub channels: usize,
    /// First output.
    pub out: *mut f32,
    /// Elements between output columns.
    pub out_column: isize,
    /// How sums are finished; `residual_row` is between columns.
    pub finish: Finish,
}

#[inline(always)]
unsafe fn finish<S: Simd, const T: usize>(args: &Columns, acc: &[S::F; T], c: usize) {
    // SAFETY: the caller of `slide` and `taps` vouches for the pointers.
    unsafe {
        let f = &args.finish;
        let bias = if f.bias.is_null() { S::zero() } else { S::load(f.bias.add(c)) };
        let (low, high) = (S::splat(f.low), S::splat(f.high));
        for t in 0..T {
            let mut v = S::add(acc[t], bias);
            if !f.residual.is_null() {
                v = S::add(v, S::load(f.residual.offset(t as isize * f.residual_row).add(c)));
            }
            S::store(args.out.offset(t as isize * args.out_column).add(c), S::min(high, S::max(low, v)));
        }
    }
}

#[inline(always)]
unsafe fn slide<S: Simd, const K: usize, const ST: usize, const T: usize, const CHECK: bool>(args: &Columns) {
    // SAFETY: as in `finish`.
    unsafe {
        let mut c = 0;
        loop {
            let mut acc = [S::zero(); T];
            for r in 0..args.count {
                let x = (*args.inputs.add(r)).wrapping_add(c);
                let from = (*args.weights.add(r)).add(c);
                let mut w = [S::zero(); K];
                for k in 0..K {
                    w[k] = S::load(from.add(k * args.channels));
                }
                macro_rules! at {
                    ($($j:literal)*) => { $(
                        if $j < (T - 1) * ST + K && (!CHECK || ($j >= args.low && $j < args.high)) {
                            let v = S::load(x.wrapping_offset($j * args.column));
                            for t in 0..T {
                                if $j >= t * ST && $j - t * ST < K {
                                    acc[t] = S::fma(v, w[$j - t * ST], acc[t]);
                                }
                            }
                        }
                    )* };
                }
                at!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
            }
            finish::<S, T>(args, &acc, c);
            if c + S::LANES >= args.channels {
                return;
            }
            c = (c + S::LANES).min(args.channels - S::LANES);
        }
    }
}

#[inline(always)]
unsafe fn taps<S: Simd, const T: usize>(args: &Columns) {
    // SAFETY: as in `finish`.
    unsafe {
        let mut c = 0;
        loop {
            let mut acc = [S::zero(); T];
            for k in 0..args.count {
                let w = S::load((*args.weights.add(k)).add(c));
                for t in 0..T {
                    let x = S::load((*args.inputs.add(k * T + t)).add(c));
                    acc[t] = S::fma(x, w, acc[t]);
                }
            }
            finish::<S, T>(args, &acc, c);
            if c + S::LANES >= args.channels {
                return;
            }
            c = (c + S::LANES).min(args.channels - S::LANES);
        }
    }
}

/// Columns that [`run_slide`] does at once for so many left.
pub fn slide_columns(left: usize) -> usize {
    match left {
        7.. => 7,
        4..7 => 4,
        2 | 3 => 2,
        _ => 1,
    }
}

/// Columns that [`run_taps`] does at once for so many left.
pub fn taps_columns(left: usize) -> usize {
    match left {
        4.. => 4,
        _ => 1,
    }
}

#[inline(always)]
unsafe fn slide_any<S: Simd>(size: usize, stride: usize, columns: usize, check: bool, args: &Columns) {
    // SAFETY: as in `finish`.
    unsafe {
        macro_rules! pick {
            ($($k:literal $s:literal;)*) => {
                match (size, stride, columns, check) {
                    $(
                        ($k, $s, 7, false) => slide::<S, $k, $s, 7, false>(args),
                        ($k, $s, 4, false) => slide::<S, $k, $s, 4, false>(args),
                        ($k, $s, 7, true) => slide::<S, $k, $s, 7, true>(args),
                        ($k, $s, 4, true) => slide::<S, $k, $s, 4, true>(args),
                        ($k, $s, 2, _) => slide::<S, $k, $s, 2, true>(args),
                        ($k, $s, 1, _) => slide::<S, $k, $s, 1, true>(args),
                    )*
                    _ => {}
                }
            };
        }
        pick! { 3 1; 3 2; 5 1; 5 2; }
    }
}

#[inline(always)]
unsafe fn taps_any<S: Simd>(columns: usize, args: &Columns) {
    // SAFETY: as in `finish`.
    unsafe {
        match columns {
            4 => taps::<S, 4>(args),
            1 => taps::<S, 1>(args),
            _ => {}
        }
    }
}

dispatch! {
    /// Windows of `size` (3 or 5) taps in a row that move by `stride` (1 or 2); `columns` is one of
    /// [`slide_columns`]. `check`: some input columns do not exist.
    ///
    /// # Safety
    /// The pointers are valid for what [`Columns`] describes.
    pub unsafe fn run_slide(size: usize, stride: usize, columns: usize, check: bool, args: &Columns) => slide_any
}

dispatch! {
    /// Any set of taps; `columns` is one of [`taps_columns`].
    ///
    /// # Safety
    /// The pointers are valid for what [`Columns`] describes.
    pub unsafe fn run_taps(columns: usize, args: &Columns) => taps_any
}
