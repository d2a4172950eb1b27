//! Proofs that kernels stay inside their buffers and write no element twice.
//!
//! In: a folded entry. Out: nothing, or the first kernel that cannot be proved. Invariants: sound. What a template
//! needs beyond its accesses is checked here too: the number of points fits 62 bits, coordinates and positions that
//! are i32 fit i32. Imports: [`super::reach`], [`crate::plan`].

use super::BindError;
use super::reach::{apart, computes, injective, reach};
use crate::hole::Inst;
use crate::plan::*;

pub(super) fn check(entry: &Entry<i64>, kernels: &[Kernel<i64>]) -> Result<(), BindError> {
    for k in kernels {
        kernel(entry, k).map_err(|message| BindError::Unsafe { kernel: k.scope.clone(), message })?;
        if let Body::Loop { body, .. } = &k.body {
            check(entry, body)?;
        }
    }
    Ok(())
}

fn kernel(entry: &Entry<i64>, k: &Kernel<i64>) -> Result<(), String> {
    let points = |axes: &[i64]| axes.iter().fold(1i128, |p, e| p.saturating_mul(i128::from((*e).max(1))));
    if points(&k.axes) >= 1 << 62 {
        return Err(format!("the axes {:?} have too many points", k.axes));
    }
    let small = i128::from(i32::MAX);
    let row = match &k.body {
        Body::Rows { inner, .. } => points(&k.axes[k.axes.len().saturating_sub(*inner as usize)..]),
        Body::ArgSort { .. } => points(&k.axes[k.axes.len().saturating_sub(1)..]),
        _ => 1,
    };
    if row > small {
        return Err(format!("a row of {row} elements is beyond what an i32 can number"));
    }
    for inst in k.body.holes().into_iter().flat_map(|h| &h.code) {
        if let Inst::Index(n) = inst
            && k.axes.get(*n as usize).is_some_and(|e| i128::from(*e) > small)
        {
            return Err(format!("the axis i{n} is beyond what an i32 can number"));
        }
    }
    for (n, a) in k.reads.iter().enumerate() {
        inside(entry, k, a).map_err(|m| format!("operand ${n}: {m}"))?;
    }
    for (n, a) in k.writes.iter().enumerate() {
        inside(entry, k, a).map_err(|m| format!("write {n}: {m}"))?;
        if matches!(k.body, Body::ScatterAdd(_)) {
            continue;
        }
        if !injective(&k.axes, &a.strides, &ranged(k, n)) {
            return Err(format!("write {n} may store an element twice"));
        }
        for (m, other) in k.writes.iter().enumerate().take(n) {
            if other.buffer == a.buffer && !apart(&k.axes, a, other) {
                return Err(format!("writes {m} and {n} may store the same element"));
            }
        }
    }
    Ok(())
}

fn inside(entry: &Entry<i64>, k: &Kernel<i64>, a: &Access<i64>) -> Result<(), String> {
    let Some(b) = entry.buffers.get(a.buffer.0 as usize) else { return Err("there is no such buffer".into()) };
    if !computes(&k.axes, a) {
        return Err(format!("offsets into `{}` are beyond 62 bits", b.name));
    }
    let Some((low, high)) = reach(&k.axes, a) else { return Ok(()) };
    if a.via.iter().any(|v| v.extent < 1) {
        return Err(format!("an index into `{}` has nothing to choose from", b.name));
    }
    let elements = b.shape.iter().fold(1i128, |p, d| p.saturating_mul(i128::from(*d)));
    if low < 0 || high >= elements {
        return Err(format!("reaches the elements {low} to {high} of `{}`, which has {elements}", b.name));
    }
    Ok(())
}

/// Along which axes the template goes when it stores write `n`.
fn ranged(k: &Kernel<i64>, n: usize) -> Vec<bool> {
    let axes = k.axes.len();
    match &k.body {
        Body::Dot { roles, .. } => roles.iter().map(|r| *r != DotRole::K).collect(),
        Body::Attention { roles, .. } => {
            use AttentionRole as R;
            roles.iter().map(|r| matches!(r, R::Batch | R::T | R::E)).collect()
        }
        Body::Rows { inner, stages } => {
            let emitted = stages.iter().any(|s| matches!(s, RowStage::Emit(w, _) if *w as usize == n));
            (0..axes).map(|i| !emitted || i + (*inner as usize) < axes).collect()
        }
        Body::Eigh if n == 0 => (0..axes).map(|i| i + 2 != axes).collect(),
        _ => vec![true; axes],
    }
}
