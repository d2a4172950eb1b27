//! Softmax rows that a constant mask leaves empty.
//!
//! In: graphs. Out: E0408. Invariants: only masks made of constants are looked at, of at most a million elements;
//! everything else is left to the run. Imports: graphs, scalar operations.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use uad_plan::{DType, ReduceOp, ScalarOp};

use crate::diag::Diagnostic;
use crate::graph::{Graph, NodeId, Op};
use crate::model::{Facts, Model};

/// Largest mask that is computed.
const LARGEST: usize = 1 << 20;

/// A constant: values that are read with a stride per axis. Views of it share them.
#[derive(Clone)]
struct Known {
    shape: Vec<usize>,
    first: usize,
    strides: Vec<isize>,
    values: Rc<[f64]>,
}

/// Looks at every `select(mask, x, -inf)`.
pub(crate) fn check(model: &Model, facts: &Facts, out: &mut Vec<Diagnostic>) {
    let mut told = HashSet::new();
    for g in &model.entries {
        let mut memo: HashMap<NodeId, Option<Known>> = HashMap::new();
        for (i, n) in g.nodes.iter().enumerate() {
            let Op::Map(ScalarOp::Select) = n.op else { continue };
            let (mask, low) = (stripped(g, n.args[0]), stripped(g, n.args[2]));
            if !matches!(g.node(low).op, Op::Const(c) if c == f64::NEG_INFINITY)
                || g.ty(mask).shape.is_empty()
                || memo.contains_key(&mask)
            {
                continue;
            }
            let Some(known) = value(g, mask, &mut memo, 0) else { continue };
            let row = known.shape.last().copied().unwrap_or(1).max(1);
            let empty = known.in_order().chunks(row).position(|r| r.iter().all(|v| *v == 0.0));
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

fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut s = vec![1; shape.len()];
    for n in (0..shape.len().saturating_sub(1)).rev() {
        s[n] = s[n + 1] * shape[n + 1] as isize;
    }
    s
}

impl Known {
    fn new(shape: Vec<usize>, values: Rc<[f64]>) -> Known {
        Known { first: 0, strides: row_major(&shape), shape, values }
    }

    /// All values, row-major.
    fn in_order(&self) -> Rc<[f64]> {
        let size: usize = self.shape.iter().product();
        if self.first == 0 && size == self.values.len() && self.strides == row_major(&self.shape) {
            return self.values.clone();
        }
        let mut at = vec![0; self.shape.len()];
        let mut from = self.first as isize;
        let mut next = || {
            let v = usize::try_from(from).ok().and_then(|n| self.values.get(n)).copied().unwrap_or(0.0);
            for n in (0..at.len()).rev() {
                at[n] += 1;
                from += self.strides[n];
                if at[n] < self.shape[n] {
                    break;
                }
                from -= self.strides[n] * at[n] as isize;
                at[n] = 0;
            }
            v
        };
        (0..size).map(|_| next()).collect()
    }
}

fn value(g: &Graph, id: NodeId, memo: &mut HashMap<NodeId, Option<Known>>, depth: usize) -> Option<Known> {
    if let Some(k) = memo.get(&id) {
        return k.clone();
    }
    let r = if depth > 200 { None } else { compute(g, id, memo, depth) };
    memo.insert(id, r.clone());
    r
}

fn compute(g: &Graph, id: NodeId, memo: &mut HashMap<NodeId, Option<Known>>, depth: usize) -> Option<Known> {
    let n = g.node(id);
    let shape = closed(g, id)?;
    let size: usize = shape.iter().product();
    match n.op {
        Op::Const(_) | Op::Literal(_) | Op::Iota { .. } | Op::Map(_) | Op::Reduce { .. } => {}
        Op::Permute(_) | Op::Reshape | Op::Expand { .. } | Op::Slice { .. } => {}
        _ => return None,
    }
    let mut args = Vec::with_capacity(n.args.len());
    for a in &n.args {
        args.push(value(g, *a, memo, depth + 1)?);
    }
    let values = match &n.op {
        Op::Const(c) => [*c].into(),
        Op::Literal(v) => v.as_slice().into(),
        Op::Iota { axis } => {
            let mut strides = vec![0; shape.len()];
            strides[*axis] = 1;
            let values = (0..shape[*axis]).map(|i| i as f64).collect();
            return Some(Known { shape, first: 0, strides, values });
        }
        Op::Map(f) => {
            let floors = n.ty.dtype == DType::I32 && matches!(f, ScalarOp::Div);
            // Where no argument differs along an axis, one value does for all of it.
            let same = |k: usize| args.iter().all(|a| a.strides[k] == 0);
            let few: Vec<usize> =
                shape.iter().enumerate().map(|(k, n)| if same(k) { (*n).min(1) } else { *n }).collect();
            let mut strides = row_major(&few);
            (0..few.len()).filter(|k| same(*k)).for_each(|k| strides[k] = 0);
            let size: usize = few.iter().product();
            args.iter_mut().for_each(|a| a.shape.clone_from(&few));
            let args: Vec<Rc<[f64]>> = args.iter().map(Known::in_order).collect();
            let mut point = vec![0.0; args.len()];
            let mut at = |i: usize| {
                for (p, a) in point.iter_mut().zip(&args) {
                    *p = a.get(i).copied().unwrap_or(0.0);
                }
                let v = f.eval(&point);
                if floors { v.floor() } else { v }
            };
            let values = (0..size).map(&mut at).collect();
            return Some(Known { shape, first: 0, strides, values });
        }
        Op::Reshape => args.first()?.in_order(),
        Op::Permute(perm) => {
            let x = args.pop()?;
            let strides = perm.iter().map(|p| x.strides[*p]).collect();
            return Some(Known { shape, strides, ..x });
        }
        Op::Expand { axes } => {
            let x = args.pop()?;
            let mut strides = vec![0; shape.len()];
            for (k, axis) in axes.iter().enumerate().filter(|(k, _)| x.shape[*k] != 1) {
                strides[*axis] = x.strides[k];
            }
            return Some(Known { shape, strides, ..x });
        }
        Op::Slice { start, step } => {
            let x = args.pop()?;
            let mut first = x.first as isize;
            let mut strides = x.strides.clone();
            for (k, s) in strides.iter_mut().enumerate() {
                first += *s * isize::try_from(start[k].as_int()?).ok()?;
                *s *= isize::try_from(step[k]).ok()?;
            }
            return Some(Known { shape, first: usize::try_from(first).ok()?, strides, ..x });
        }
        Op::Reduce { op, axes } => {
            let x = args.first()?;
            let (start, join): (f64, fn(f64, f64) -> f64) = match op {
                ReduceOp::Sum => (0.0, |a, b| a + b),
                ReduceOp::Prod => (1.0, |a, b| a * b),
                ReduceOp::Max => (f64::NEG_INFINITY, f64::max),
                ReduceOp::Min => (f64::INFINITY, f64::min),
                ReduceOp::ArgMax | ReduceOp::ArgMin => return None,
            };
            // Reduced axes come last, so that each result joins a run of values.
            let kept = (0..x.shape.len()).filter(|k| !axes.contains(k));
            let order: Vec<usize> = kept.chain(axes.iter().copied()).collect();
            let turned = Known {
                shape: order.iter().map(|k| x.shape[*k]).collect(),
                strides: order.iter().map(|k| x.strides[*k]).collect(),
                ..x.clone()
            };
            let run: usize = axes.iter().map(|k| x.shape[*k]).product();
            match run {
                0 => vec![start; size].into(),
                _ => turned.in_order().chunks(run).map(|r| r.iter().copied().fold(start, join)).collect(),
            }
        }
        _ => return None,
    };
    Some(Known::new(shape, values))
}
