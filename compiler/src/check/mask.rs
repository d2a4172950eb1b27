//! Softmax rows that a constant mask leaves empty.
//!
//! In: graphs. Out: E0408. Invariants: only masks made of constants are looked at, of at most a million elements;
//! everything else is left to the run. Imports: graphs, scalar operations.

use std::collections::{HashMap, HashSet};

use uad_plan::ReduceOp;

use crate::diag::Diagnostic;
use crate::graph::{Graph, NodeId, Op};
use crate::model::{Facts, Model};

/// Largest mask that is computed.
const LARGEST: usize = 1 << 20;

/// Row-major values of a constant.
type Known = Option<(Vec<usize>, Vec<f64>)>;

/// Looks at every `select(mask, x, -inf)`.
pub(crate) fn check(model: &Model, facts: &Facts, out: &mut Vec<Diagnostic>) {
    let mut told = HashSet::new();
    for g in &model.entries {
        let mut memo: HashMap<NodeId, Known> = HashMap::new();
        for (i, n) in g.nodes.iter().enumerate() {
            let Op::Map(uad_plan::ScalarOp::Select) = n.op else { continue };
            let (mask, low) = (stripped(g, n.args[0]), stripped(g, n.args[2]));
            if !matches!(g.node(low).op, Op::Const(c) if c == f64::NEG_INFINITY)
                || !memo.get(&mask).is_none_or(|k| k.is_some())
            {
                continue;
            }
            let (first, shape) = (memo.contains_key(&mask), g.ty(mask).shape.len());
            if first || shape == 0 {
                continue;
            }
            let Some((shape, values)) = value(g, mask, &mut memo, 0) else { continue };
            let row = shape.last().copied().unwrap_or(1).max(1);
            let empty = values.chunks(row).position(|r| r.iter().all(|v| *v == 0.0));
            if let Some(k) = empty {
                let place = super::place_of(facts, &g.name, i);
                if told.insert(place) {
                    let d = Diagnostic::new(
                        "E0408",
                        "a softmax row is empty",
                        place,
                        format!("row {k} of the mask is all false"),
                    )
                    .help("softmax of nothing is not a number: let every query look at least at one key");
                    out.push(super::with_call(d, facts, g, i));
                }
            }
        }
    }
}

fn stripped(g: &Graph, mut n: NodeId) -> NodeId {
    while let Op::Expand { .. } = g.node(n).op {
        n = g.node(n).args[0];
    }
    n
}

fn closed(g: &Graph, n: NodeId) -> Option<Vec<usize>> {
    let shape: Option<Vec<usize>> =
        g.ty(n).shape.iter().map(|d| d.as_int().and_then(|i| usize::try_from(i).ok())).collect();
    let size = shape.as_ref()?.iter().try_fold(1usize, |a, b| a.checked_mul(*b))?;
    shape.filter(|_| size <= LARGEST)
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut s = vec![1; shape.len()];
    for n in (0..shape.len().saturating_sub(1)).rev() {
        s[n] = s[n + 1] * shape[n + 1];
    }
    s
}

/// Values by position: `from` gives the source position of a coordinate.
fn read(shape: &[usize], src: &[f64], mut from: impl FnMut(&[usize]) -> usize) -> Vec<f64> {
    let size: usize = shape.iter().product();
    let mut at = vec![0; shape.len()];
    let mut out = Vec::with_capacity(size);
    for _ in 0..size {
        out.push(src.get(from(&at)).copied().unwrap_or(0.0));
        for n in (0..shape.len()).rev() {
            at[n] += 1;
            if at[n] < shape[n] {
                break;
            }
            at[n] = 0;
        }
    }
    out
}

fn value(g: &Graph, id: NodeId, memo: &mut HashMap<NodeId, Known>, depth: usize) -> Known {
    if let Some(k) = memo.get(&id) {
        return k.clone();
    }
    let r = if depth > 200 { None } else { compute(g, id, memo, depth) };
    memo.insert(id, r.clone());
    r
}

fn compute(g: &Graph, id: NodeId, memo: &mut HashMap<NodeId, Known>, depth: usize) -> Known {
    let n = g.node(id);
    let shape = closed(g, id)?;
    let size: usize = shape.iter().product();
    let mut args = Vec::with_capacity(n.args.len());
    match n.op {
        Op::Const(_)
        | Op::Literal(_)
        | Op::Iota { .. }
        | Op::Map(_)
        | Op::Permute(_)
        | Op::Reshape
        | Op::Expand { .. } => {}
        Op::Reduce { .. } | Op::Slice { .. } => {}
        _ => return None,
    }
    for a in &n.args {
        args.push(value(g, *a, memo, depth + 1)?);
    }
    let values = match &n.op {
        Op::Const(c) => vec![*c],
        Op::Literal(v) => v.clone(),
        Op::Iota { axis } => {
            let s = strides(&shape);
            (0..size).map(|i| ((i / s[*axis]) % shape[*axis]) as f64).collect()
        }
        Op::Map(f) => {
            let mut point = vec![0.0; args.len()];
            (0..size)
                .map(|i| {
                    for (p, a) in point.iter_mut().zip(&args) {
                        *p = a.1.get(i).copied().unwrap_or(0.0);
                    }
                    let v = f.eval(&point);
                    if n.ty.dtype == uad_plan::DType::I32 && matches!(f, uad_plan::ScalarOp::Div) {
                        v.floor()
                    } else {
                        v
                    }
                })
                .collect()
        }
        Op::Reshape => args.first()?.1.clone(),
        Op::Permute(perm) => {
            let (from, src) = args.first()?;
            let s = strides(from);
            read(&shape, src, |at| perm.iter().zip(at).map(|(p, i)| s[*p] * i).sum())
        }
        Op::Expand { axes } => {
            let (from, src) = args.first()?;
            let s = strides(from);
            read(&shape, src, |at| (0..from.len()).map(|k| if from[k] == 1 { 0 } else { s[k] * at[axes[k]] }).sum())
        }
        Op::Slice { start, step } => {
            let (from, src) = args.first()?;
            let s = strides(from);
            let start: Option<Vec<i64>> = start.iter().map(|d| d.as_int()).collect();
            let start = start?;
            read(&shape, src, |at| {
                (0..from.len()).map(|k| s[k] * usize::try_from(start[k] + step[k] * at[k] as i64).unwrap_or(0)).sum()
            })
        }
        Op::Reduce { op, axes } => {
            let (from, src) = args.first()?;
            let s = strides(from);
            let (first, join): (f64, fn(f64, f64) -> f64) = match op {
                ReduceOp::Sum => (0.0, |a, b| a + b),
                ReduceOp::Prod => (1.0, |a, b| a * b),
                ReduceOp::Max => (f64::NEG_INFINITY, f64::max),
                ReduceOp::Min => (f64::INFINITY, f64::min),
                ReduceOp::ArgMax | ReduceOp::ArgMin => return None,
            };
            let mut acc = vec![first; size];
            let kept: Vec<usize> = (0..from.len()).filter(|k| !axes.contains(k)).collect();
            let out = strides(&shape);
            for (i, v) in src.iter().enumerate() {
                let at: usize = kept.iter().enumerate().map(|(n, k)| ((i / s[*k]) % from[*k]) * out[n]).sum();
                if let Some(a) = acc.get_mut(at) {
                    *a = join(*a, *v);
                }
            }
            acc
        }
        _ => return None,
    };
    Some((shape, values))
}
