//! Softmax rows that a constant mask leaves empty.
//!
//! In: graphs. Out: E0408. Invariants: only masks made of constants are looked at, of at most a million elements;
//! everything else is left to the run. Imports: graphs, scalar operations.

use std::rc::Rc;

use uad_plan::{DType, ReduceOp, ScalarOp};

use crate::diag::Diagnostic;
use crate::graph::{Graph, NodeId, Op};
use crate::hash::{FxHashMap, FxHashSet};
use crate::model::{Facts, Model};

/// Largest mask that is computed.
const LARGEST: usize = 1 << 20;
/// Values at the start of a row that are looked at before all of the mask is computed.
const GLANCE: usize = 16;

/// A constant: values that are read with a stride per axis. Views of it share them.
#[derive(Clone)]
struct Known {
    shape: Vec<usize>,
    first: usize,
    strides: Vec<isize>,
    values: Values,
}

/// Values in a row.
#[derive(Clone)]
enum Values {
    Stored(Rc<[f64]>),
    /// Computed when read: most rows of a mask show with their first values that they are not empty.
    Mapped(Rc<Mapped>),
}

/// A scalar operation at every element, row-major.
struct Mapped {
    op: ScalarOp,
    /// Quotients of integers are floored.
    floors: bool,
    shape: Vec<usize>,
    /// Of this shape, their values stored.
    args: Vec<Known>,
}

/// Looks at every `select(mask, x, -inf)`.
pub(crate) fn check(model: &Model, facts: &Facts, out: &mut Vec<Diagnostic>) {
    let mut told = FxHashSet::default();
    for g in &model.entries {
        let mut memo: FxHashMap<NodeId, Option<Known>> = FxHashMap::default();
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
            let rows = known.shape.iter().product::<usize>() / row;
            let shows = |r: &usize| (r * row..r * row + row.min(GLANCE)).any(|n| known.at(n) != 0.0);
            let open: Vec<usize> = (0..rows).filter(|r| !shows(r)).collect();
            let all = if open.is_empty() { Rc::default() } else { known.in_order() };
            let empty = open.into_iter().find(|r| all[r * row..(r + 1) * row].iter().all(|v| *v == 0.0));
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

/// Where element `n` of a shape stands, counted row by row.
fn place(mut n: usize, shape: &[usize], first: usize, strides: &[isize]) -> usize {
    let mut at = first as isize;
    for (extent, stride) in shape.iter().zip(strides).rev() {
        let extent = (*extent).max(1);
        at += (n % extent) as isize * stride;
        n /= extent;
    }
    usize::try_from(at).unwrap_or(usize::MAX)
}

impl Values {
    fn at(&self, n: usize) -> f64 {
        match self {
            Values::Stored(v) => v.get(n).copied().unwrap_or(0.0),
            Values::Mapped(m) => m.of(|k| m.args[k].at(n)),
        }
    }
}

impl Mapped {
    /// The value at an element, from what argument `k` is there.
    fn of(&self, arg: impl Fn(usize) -> f64) -> f64 {
        // No scalar operation takes more.
        let mut point = [0.0; 4];
        let count = self.args.len().min(point.len());
        for (k, p) in point[..count].iter_mut().enumerate() {
            *p = arg(k);
        }
        let v = self.op.eval(&point[..count]);
        if self.floors { v.floor() } else { v }
    }

    /// All of them.
    fn stored(&self) -> Rc<[f64]> {
        let args: Vec<Rc<[f64]>> = self.args.iter().map(Known::in_order).collect();
        (0..self.shape.iter().product()).map(|n| self.of(|k| args[k][n])).collect()
    }
}

impl Known {
    fn new(shape: Vec<usize>, values: Rc<[f64]>) -> Known {
        Known { first: 0, strides: row_major(&shape), shape, values: Values::Stored(values) }
    }

    /// Element `n`, counted row by row.
    fn at(&self, n: usize) -> f64 {
        self.values.at(place(n, &self.shape, self.first, &self.strides))
    }

    /// Are these all the values, row by row?
    fn is_in_order(&self, length: usize) -> bool {
        self.first == 0 && self.shape.iter().product::<usize>() == length && self.strides == row_major(&self.shape)
    }

    /// All values, row-major.
    fn in_order(&self) -> Rc<[f64]> {
        let values = match &self.values {
            Values::Stored(v) => v.clone(),
            Values::Mapped(m) => m.stored(),
        };
        if self.is_in_order(values.len()) {
            return values;
        }
        let size: usize = self.shape.iter().product();
        let value = |n: isize| usize::try_from(n).ok().and_then(|n| values.get(n)).copied().unwrap_or(0.0);
        let (run, step) = (self.shape.last().copied().unwrap_or(1), self.strides.last().copied().unwrap_or(0));
        let mut all = Vec::with_capacity(size);
        let mut at = vec![0; self.shape.len().saturating_sub(1)];
        let mut from = self.first as isize;
        while all.len() < size {
            all.extend((0..run as isize).map(|i| value(from + i * step)));
            for n in (0..at.len()).rev() {
                at[n] += 1;
                from += self.strides[n];
                if at[n] < self.shape[n] {
                    break;
                }
                from -= self.strides[n] * at[n] as isize;
                at[n] = 0;
            }
        }
        all.into()
    }
}

fn value(g: &Graph, id: NodeId, memo: &mut FxHashMap<NodeId, Option<Known>>, depth: usize) -> Option<Known> {
    if let Some(k) = memo.get(&id) {
        return k.clone();
    }
    let r = if depth > 200 { None } else { compute(g, id, memo, depth) };
    memo.insert(id, r.clone());
    r
}

fn compute(g: &Graph, id: NodeId, memo: &mut FxHashMap<NodeId, Option<Known>>, depth: usize) -> Option<Known> {
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
            let values = Values::Stored((0..shape[*axis]).map(|i| i as f64).collect());
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
            for a in &mut args {
                a.shape.clone_from(&few);
                if let Values::Mapped(m) = &a.values {
                    a.values = Values::Stored(m.stored());
                }
            }
            let mapped = Mapped { op: *f, floors, shape: few, args };
            return Some(Known { shape, first: 0, strides, values: Values::Mapped(Rc::new(mapped)) });
        }
        Op::Reshape => {
            let x = args.pop()?;
            match &x.values {
                Values::Mapped(m) if x.is_in_order(m.shape.iter().product()) => {
                    return Some(Known { first: 0, strides: row_major(&shape), shape, values: x.values });
                }
                _ => x.in_order(),
            }
        }
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
