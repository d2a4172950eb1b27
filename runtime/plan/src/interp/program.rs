//! The hole interpreter.
//!
//! In: holes, points, slots, memory. Out: values of the hole's registers at the points, in f64.
//! Invariants: f32 arithmetic is done in f64; i32 wraps. Works on slices of points, one instruction after another.
//! Imports: [`crate::hole`], [`crate::scalar`], [`crate::philox`], [`super::memory`].

use super::memory::Memory;
use super::points::Points;
use super::whole::whole_op;
use super::{Draw, InterpError};
use crate::dtype::DType;
use crate::hole::{Hole, Inst, Reg};
use crate::philox;
use crate::plan::Access;
use crate::scalar::Rule;

/// A value of a reduction that the hole takes.
#[derive(Clone, Copy)]
pub(super) enum Slot<'a> {
    /// The same at all points.
    One(f64),
    /// One per point.
    Each(&'a [f64]),
}

/// A hole with the dtypes of its instructions.
pub(super) struct Program {
    code: Vec<Inst<i64>>,
    types: Vec<DType>,
    pub results: Vec<usize>,
}

impl Program {
    pub fn new(hole: &Hole<i64>, loads: &[DType], slots: &[DType]) -> Result<Program, InterpError> {
        let types = hole.types(loads, slots).map_err(InterpError)?;
        Ok(Program { code: hole.code.clone(), types, results: hole.results.iter().map(|r| r.0 as usize).collect() })
    }

    /// The dtype of result `n`.
    pub fn result_type(&self, n: usize) -> DType {
        self.results.get(n).map_or(DType::F32, |r| self.types[*r])
    }

    /// Fills `registers`: one slice of values per instruction.
    pub fn eval(
        &self,
        memory: &Memory,
        reads: &[Access<i64>],
        points: &Points,
        slots: &[Slot<'_>],
        draw: Draw,
        registers: &mut Vec<Vec<f64>>,
    ) {
        let n = points.len();
        registers.resize_with(registers.len().max(self.code.len()), Vec::new);
        for (i, inst) in self.code.iter().enumerate() {
            let (before, rest) = registers.split_at_mut(i);
            let out = &mut rest[0];
            out.resize(n, 0.0);
            let arg = |r: &Reg| &before[r.0 as usize][..n];
            match inst {
                Inst::Load(operand) => memory.fetch(reads, *operand as usize, points, out),
                Inst::Index(axis) => {
                    let mut at = 0;
                    for run in points.runs() {
                        let step = i64::from(points.along() == Some(*axis as usize));
                        let first = run.coordinates[*axis as usize];
                        let part = &mut out[at..at + run.len];
                        part.iter_mut().enumerate().for_each(|(k, o)| *o = (first + step * k as i64) as f64);
                        at += run.len;
                    }
                }
                Inst::Slot(s) => match slots[*s as usize] {
                    Slot::One(v) => out.fill(v),
                    Slot::Each(v) => out.copy_from_slice(v),
                },
                Inst::F32(v) => out.fill(f64::from(*v)),
                Inst::I32(v) => out.fill(f64::from(*v)),
                Inst::Bool(v) => out.fill(f64::from(u8::from(*v))),
                Inst::Size(v) => out.fill(*v as f64),
                Inst::Op(op, args) => {
                    // Conversions and comparisons have one meaning for all dtypes.
                    let whole = self.types[i] == DType::I32 && matches!(op.rule(), Rule::Number);
                    match args.as_slice() {
                        [a] if whole => unary(out, arg(a), |a| whole_op(*op, a, 0.0)),
                        [a, b] if whole => binary(out, arg(a), arg(b), |a, b| whole_op(*op, a, b)),
                        [a] => unary(out, arg(a), |a| op.eval(&[a])),
                        [a, b] => binary(out, arg(a), arg(b), |a, b| op.eval(&[a, b])),
                        [a, b, c] => {
                            let (a, b, c) = (arg(a), arg(b), arg(c));
                            for k in 0..n {
                                out[k] = op.eval(&[a[k], b[k], c[k]]);
                            }
                        }
                        _ => out.fill(f64::NAN),
                    }
                }
                Inst::Draw { site, lane, element, sample } => {
                    let key = philox::key(draw.seed, *site);
                    binary(out, arg(element), arg(sample), |element, sample| {
                        let sample = (sample as i64 as u64).wrapping_add(draw.first_sample) as u32;
                        f64::from(philox::uniform(key, *lane, element as i64 as u32, sample, draw.step))
                    });
                }
            }
        }
    }
}

fn unary(out: &mut [f64], a: &[f64], f: impl Fn(f64) -> f64) {
    out.iter_mut().zip(a).for_each(|(o, a)| *o = f(*a));
}

fn binary(out: &mut [f64], a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) {
    out.iter_mut().zip(a).zip(b).for_each(|((o, a), b)| *o = f(*a, *b));
}
