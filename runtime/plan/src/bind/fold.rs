//! Folds the dims of an entry to integers.
//!
//! In: an entry, values of its dims. Out: the entry over i64. Invariants: extents are 0 to 2^40, strides and offsets
//! within 2^48, so that sums of their products fit 128 bits; sizes that holes see fit i32; loops run at most i32::MAX
//! rounds. Imports: [`crate::plan`], [`crate::dim`].

use std::ops::RangeInclusive;

use super::BindError;
use crate::dim::{Binding, Dim};
use crate::hole::Hole;
use crate::plan::*;

/// Extents.
const EXTENT: RangeInclusive<i64> = 0..=1 << 40;
/// Strides and offsets.
const STEP: RangeInclusive<i64> = -(1 << 48)..=1 << 48;
/// What a hole sees.
const I32: RangeInclusive<i64> = i32::MIN as i64..=i32::MAX as i64;

pub(super) struct Fold<'a> {
    pub binding: &'a Binding,
    /// What is being folded, for messages.
    pub of: String,
}

impl Fold<'_> {
    fn value(&self, d: &Dim, what: &str, within: RangeInclusive<i64>) -> Result<i64, BindError> {
        let error = |message| BindError::Size { of: self.of.clone(), message };
        let v = match d.as_int() {
            Some(v) => v,
            None => d.eval(self.binding).map_err(|e| error(format!("{what} `{d}`: {e}{}", self.values(d))))?,
        };
        if within.contains(&v) {
            Ok(v)
        } else {
            Err(error(format!("{what} `{d}` is {v}{}, beyond what a plan can have", self.values(d))))
        }
    }

    /// ` with b = 3, n = 4`.
    pub fn values(&self, d: &Dim) -> String {
        let one = |n: String| self.binding.get(&n).map(|v| format!("{n} = {v}"));
        let all: Vec<String> = d.names().into_iter().filter_map(one).collect();
        if all.is_empty() { String::new() } else { format!(" with {}", all.join(", ")) }
    }

    fn all(&self, dims: &[Dim], what: &str, within: RangeInclusive<i64>) -> Result<Vec<i64>, BindError> {
        dims.iter().map(|d| self.value(d, what, within.clone())).collect()
    }

    /// Everything but the kernels.
    pub fn head(&mut self, e: &Entry<Dim>) -> Result<Entry<i64>, BindError> {
        let mut requires = Vec::with_capacity(e.requires.len());
        for r in &e.requires {
            self.of.clone_from(&r.why);
            let any = i64::MIN..=i64::MAX;
            let (left, right) = (self.value(&r.left, "left of", any.clone())?, self.value(&r.right, "right of", any)?);
            let holds = match r.relation {
                Relation::Eq => left == right,
                Relation::Ne => left != right,
                Relation::Lt => left < right,
                Relation::Le => left <= right,
            };
            if !holds {
                let side = |d: &Dim, v: i64| if d.as_int().is_some() { v.to_string() } else { format!("{d} = {v}") };
                let (left, right) = (side(&r.left, left), side(&r.right, right));
                let condition = format!("{left} {} {right}", r.relation.symbol());
                return Err(BindError::Require { condition, why: r.why.clone() });
            }
            requires.push(Require { left, relation: r.relation, right, why: r.why.clone() });
        }
        let mut buffers = Vec::with_capacity(e.buffers.len());
        for b in &e.buffers {
            self.of = format!("buffer `{}`", b.name);
            let shape = self.all(&b.shape, "the extent", EXTENT)?;
            let strides = self.all(&b.strides, "the stride", STEP)?;
            buffers.push(Buffer { name: b.name.clone(), kind: b.kind.clone(), dtype: b.dtype, shape, strides });
        }
        Ok(Entry {
            name: e.name.clone(),
            dims: e.dims.clone(),
            samples: e.samples.clone(),
            buffers,
            setup: Vec::new(),
            kernels: Vec::new(),
            requires,
        })
    }

    pub fn kernels(&mut self, kernels: &[Kernel<Dim>]) -> Result<Vec<Kernel<i64>>, BindError> {
        kernels.iter().map(|k| self.kernel(k)).collect()
    }

    fn kernel(&mut self, k: &Kernel<Dim>) -> Result<Kernel<i64>, BindError> {
        self.of.clone_from(&k.scope);
        let accesses = |all: &[Access<Dim>]| all.iter().map(|a| self.access(a)).collect::<Result<Vec<_>, _>>();
        let (axes, reads, writes) =
            (self.all(&k.axes, "the extent", EXTENT)?, accesses(&k.reads)?, accesses(&k.writes)?);
        let body = self.body(&k.body)?;
        Ok(Kernel { scope: k.scope.clone(), axes, reads, writes, body })
    }

    fn access(&self, a: &Access<Dim>) -> Result<Access<i64>, BindError> {
        let guard = |g: &Guard<Dim>| {
            Ok(Guard {
                offset: self.value(&g.offset, "the offset", STEP)?,
                strides: self.all(&g.strides, "the stride", STEP)?,
                extent: self.value(&g.extent, "the bound", STEP)?,
            })
        };
        let via = |v: &Via<Dim>| {
            let stride = self.value(&v.stride, "the stride", STEP)?;
            Ok(Via { read: v.read, stride, extent: self.value(&v.extent, "the bound", EXTENT)? })
        };
        Ok(Access {
            buffer: a.buffer,
            offset: self.value(&a.offset, "the offset", STEP)?,
            strides: self.all(&a.strides, "the stride", STEP)?,
            guards: a.guards.iter().map(guard).collect::<Result<_, _>>()?,
            fill: a.fill,
            via: a.via.iter().map(via).collect::<Result<_, _>>()?,
        })
    }

    fn hole(&self, h: &Hole<Dim>) -> Result<Hole<i64>, BindError> {
        h.map_dims(&mut |d| self.value(d, "the size", I32))
    }

    fn body(&mut self, body: &Body<Dim>) -> Result<Body<i64>, BindError> {
        Ok(match body {
            Body::Map(h) => Body::Map(self.hole(h)?),
            Body::Rows { inner, stages } => {
                let stage = |s: &RowStage<Dim>| {
                    Ok(match s {
                        RowStage::Reduce(op, h) => RowStage::Reduce(*op, self.hole(h)?),
                        RowStage::Map(n, h) => RowStage::Map(*n, self.hole(h)?),
                        RowStage::Emit(n, h) => RowStage::Emit(*n, self.hole(h)?),
                    })
                };
                Body::Rows { inner: *inner, stages: stages.iter().map(stage).collect::<Result<_, _>>()? }
            }
            Body::Dot { roles, a, b, out } => {
                let (a, b, out) = (self.hole(a)?, self.hole(b)?, self.hole(out)?);
                Body::Dot { roles: roles.clone(), a, b, out }
            }
            Body::Attention { roles, q, k, score, v, out } => Body::Attention {
                roles: roles.clone(),
                q: self.hole(q)?,
                k: self.hole(k)?,
                score: self.hole(score)?,
                v: self.hole(v)?,
                out: self.hole(out)?,
            },
            Body::ScatterAdd(h) => Body::ScatterAdd(self.hole(h)?),
            Body::ArgSort { key, falling } => Body::ArgSort { key: self.hole(key)?, falling: *falling },
            Body::Scan { op, value } => Body::Scan { op: *op, value: self.hole(value)? },
            Body::Loop { count, index, carried, until, body } => {
                let rounds = i64::from(i32::MAX);
                let until = match until {
                    Some((id, every)) => Some((*id, self.value(every, "the rounds between looks", 1..=rounds)?)),
                    None => None,
                };
                let count = self.value(count, "the number of rounds", 0..=rounds)?;
                Body::Loop { count, index: *index, carried: carried.clone(), until, body: self.kernels(body)? }
            }
            Body::Eigh => Body::Eigh,
            Body::Cholesky => Body::Cholesky,
        })
    }
}
