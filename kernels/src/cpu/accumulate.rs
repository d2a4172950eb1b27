//! Accumulators of `rows`: 64 partial results of one row, or one result for each of neighbouring rows.
//!
//! In: runs of values. Out: results of reductions. Invariants: the layout depends on the template's shape alone; of
//! extremes a NaN wins, of equals the first. Imports: [`super::reduce`], `uad-plan`.

use super::isa::Isa;
use super::reduce::{self, Fold, PARTS};
use uad_plan::DType;

/// How a stage reduces.
#[derive(Clone, Copy)]
pub enum How {
    /// To one value.
    Fold(Fold),
    /// To the position of the largest, or of the smallest.
    Position(bool),
}

/// The layout of accumulators: 64 f32 along; across `width` f32 or i32; for positions `width` f64, then as many i32.
#[derive(Clone, Copy)]
pub struct Accumulators {
    /// One row at a time?
    pub along: bool,
    /// Results.
    pub width: usize,
}

impl Accumulators {
    /// Bytes, a multiple of 64.
    pub fn bytes(self) -> usize {
        (if self.along { 4 * PARTS } else { 12 * self.width }).next_multiple_of(64)
    }

    /// Makes them the result of nothing.
    pub fn clear(self, acc: *mut u8, how: How, dtype: DType) {
        let lanes = if self.along { PARTS } else { self.width };
        // SAFETY: accumulators have room for 64 f32, or for `width` of f64 and i32.
        unsafe {
            match (how, dtype) {
                (How::Fold(f), DType::F32) => (0..lanes).for_each(|i| acc.cast::<f32>().add(i).write(f.nothing())),
                (How::Fold(f), d) => {
                    let v = f.nothing_i32(d == DType::Bool);
                    (0..self.width).for_each(|i| acc.cast::<i32>().add(i).write(v));
                }
                (How::Position(_), _) => {
                    (0..self.width).for_each(|i| acc.cast::<i32>().add(2 * self.width + i).write(-1));
                }
            }
        }
    }

    /// Folds `n` values into the accumulators.
    ///
    /// # Safety
    /// `n` values at `v`; accumulators as laid out.
    pub unsafe fn fold(self, isa: Isa, acc: *mut u8, how: How, dtype: DType, v: *const u8, n: usize, position: usize) {
        // SAFETY: the caller vouches for `n` values; accumulators as in `clear`.
        unsafe {
            match (how, dtype) {
                (How::Fold(fold), DType::F32) if self.along => reduce::along(isa, acc.cast(), v.cast(), n, fold),
                (How::Fold(fold), DType::F32) => reduce::across(isa, acc.cast(), v.cast(), n, fold),
                (How::Fold(fold), d) => {
                    let bool = d == DType::Bool;
                    for i in 0..n {
                        let x = if bool { i32::from(*v.add(i)) } else { v.cast::<i32>().add(i).read_unaligned() };
                        let a = acc.cast::<i32>().add(if self.along { 0 } else { i });
                        *a = fold.join_i32(*a, x, bool);
                    }
                }
                (How::Position(largest), d) => {
                    for i in 0..n {
                        let x = match d {
                            DType::F32 => f64::from(v.cast::<f32>().add(i).read_unaligned()),
                            DType::I32 => f64::from(v.cast::<i32>().add(i).read_unaligned()),
                            DType::Bool => f64::from(*v.add(i)),
                        };
                        let (k, p) = if self.along { (0, position + i) } else { (i, position) };
                        self.consider(acc, k, x, p as i32, largest);
                    }
                }
            }
        }
    }

    unsafe fn consider(self, acc: *mut u8, k: usize, x: f64, position: i32, largest: bool) {
        // SAFETY: as in `clear`.
        unsafe {
            let best = acc.cast::<f64>().add(k);
            let at = acc.cast::<i32>().add(2 * self.width + k);
            let better = *at < 0 || (!(*best).is_nan() && (x.is_nan() || if largest { x > *best } else { x < *best }));
            if better {
                *best = x;
                *at = position;
            }
        }
    }

    /// Joins the accumulators of a later part to those of an earlier one.
    ///
    /// # Safety
    /// Both are accumulators as laid out.
    pub unsafe fn merge(self, acc: *mut u8, part: *const u8, how: How, dtype: DType) {
        let lanes = if self.along { PARTS } else { self.width };
        // SAFETY: as in `clear`.
        unsafe {
            match (how, dtype) {
                (How::Fold(fold), DType::F32) => {
                    for i in 0..lanes {
                        let a = acc.cast::<f32>().add(i);
                        *a = fold.join(*a, *part.cast::<f32>().add(i));
                    }
                }
                (How::Fold(fold), d) => {
                    for i in 0..self.width {
                        let a = acc.cast::<i32>().add(i);
                        *a = fold.join_i32(*a, *part.cast::<i32>().add(i), d == DType::Bool);
                    }
                }
                (How::Position(largest), _) => {
                    for i in 0..self.width {
                        let at = *part.cast::<i32>().add(2 * self.width + i);
                        if at >= 0 {
                            self.consider(acc, i, *part.cast::<f64>().add(i), at, largest);
                        }
                    }
                }
            }
        }
    }

    /// Makes the slot's values of the accumulators.
    ///
    /// # Safety
    /// A slot has room for `width` elements.
    pub unsafe fn settle(self, acc: *mut u8, slot: *mut u8, how: How, dtype: DType) {
        // SAFETY: as in `clear`; a slot has room for `width` elements.
        unsafe {
            match (how, dtype) {
                (How::Fold(fold), DType::F32) if self.along => {
                    let all = std::slice::from_raw_parts_mut(acc.cast::<f32>(), PARTS);
                    *slot.cast::<f32>() = reduce::finish(all, fold);
                }
                (How::Fold(_), DType::F32 | DType::I32) => {
                    std::ptr::copy_nonoverlapping(acc, slot, 4 * self.width);
                }
                (How::Fold(_), DType::Bool) => {
                    (0..self.width).for_each(|i| *slot.add(i) = (*acc.cast::<i32>().add(i)) as u8);
                }
                (How::Position(_), _) => {
                    for i in 0..self.width {
                        *slot.cast::<i32>().add(i) = (*acc.cast::<i32>().add(2 * self.width + i)).max(0);
                    }
                }
            }
        }
    }
}
