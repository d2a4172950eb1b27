//! Memory of the interpreter, and how accesses reach it.
//!
//! In: buffers, accesses, points. Out: values read, values written. Invariants: elements are at the places that the
//! buffer's strides say. The proofs of `bind` keep every index inside. Imports: [`crate::plan`], [`super::points`].

use super::points::Points;
use super::whole::whole_op;
use crate::dtype::DType;
use crate::plan::Access;
use crate::scalar::ScalarOp;

/// The elements of every buffer.
pub(super) struct Memory {
    pub buffers: Vec<Vec<f64>>,
}

impl Memory {
    /// Values of operand `n` at the points.
    pub fn fetch(&self, reads: &[Access<i64>], n: usize, points: &Points, out: &mut [f64]) {
        let a = &reads[n];
        let buffer = &self.buffers[a.buffer.0 as usize];
        if a.guards.is_empty() && a.via.is_empty() {
            let mut at = 0;
            for run in points.runs() {
                let (first, step) = points.line(&run, a.offset, &a.strides);
                let part = &mut out[at..at + run.len];
                if step == 0 {
                    part.fill(buffer[first as usize]);
                } else {
                    part.iter_mut().enumerate().for_each(|(k, o)| *o = buffer[(first + step * k as i64) as usize]);
                }
                at += run.len;
            }
            return;
        }
        for (o, element) in out.iter_mut().zip(self.elements(reads, a, points)) {
            *o = element.map_or(a.fill, |e| buffer[e as usize]);
        }
    }

    /// The element that the access reaches at each point; `None` where a guard fails.
    pub fn elements(&self, reads: &[Access<i64>], a: &Access<i64>, points: &Points) -> Vec<Option<i64>> {
        let mut out = Vec::with_capacity(points.len());
        for run in points.runs() {
            let (first, step) = points.line(&run, a.offset, &a.strides);
            let lines: Vec<(i64, i64, i64)> = a
                .guards
                .iter()
                .map(|g| {
                    let (first, step) = points.line(&run, g.offset, &g.strides);
                    (first, step, g.extent)
                })
                .collect();
            out.extend((0..run.len as i64).map(|k| {
                let holds = |(first, step, extent): &(i64, i64, i64)| (0..*extent).contains(&(first + step * k));
                lines.iter().all(holds).then_some(first + step * k)
            }));
        }
        let mut index = vec![0.0; points.len()];
        for v in &a.via {
            self.fetch(reads, v.read as usize, points, &mut index);
            for (o, i) in out.iter_mut().zip(&index) {
                *o = o.map(|o| o + (*i as i64).clamp(0, (v.extent - 1).max(0)) * v.stride);
            }
        }
        out
    }

    /// Writes the values at the points; writes have no guards and no indices.
    pub fn store(&mut self, a: &Access<i64>, points: &Points, values: &[f64]) {
        let buffer = &mut self.buffers[a.buffer.0 as usize];
        let mut at = 0;
        for run in points.runs() {
            let (first, step) = points.line(&run, a.offset, &a.strides);
            for (k, v) in values[at..at + run.len].iter().enumerate() {
                buffer[(first + step * k as i64) as usize] = *v;
            }
            at += run.len;
        }
    }

    /// Adds the values at the points, in order.
    pub fn add(&mut self, reads: &[Access<i64>], a: &Access<i64>, points: &Points, values: &[f64], dtype: DType) {
        let elements = self.elements(reads, a, points);
        let buffer = &mut self.buffers[a.buffer.0 as usize];
        for (e, v) in elements.into_iter().zip(values) {
            let Some(e) = e else { continue };
            let target = &mut buffer[e as usize];
            *target = if dtype == DType::I32 { whole_op(ScalarOp::Add, *target, *v) } else { *target + v };
        }
    }
}
