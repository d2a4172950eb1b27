//! Pass `views`: composes permute, reshape, expand, slice, pad and window, and removes what changes nothing.
//!
//! In: a graph. Out: chains of views as short as they get, in one form. Invariants: a repetition stands after every
//! other view of its argument where that is possible; an `expand` has no axis of extent 1 in its argument; contractions
//! do not sum over extent 1. Imports: `graph`.

use uad_plan::Dim;

use super::rewrite::{expand, groups, permute, rebuild, reshape, rising};
use crate::graph::{Graph, Node, NodeId, Op, Shape, TensorType};

/// The pass. Did it change anything?
pub fn run(graph: &mut Graph) -> bool {
    rebuild(graph, |out, _, node| match &node.op {
        Op::Permute(perm) => permutes(out, node, perm),
        Op::Reshape => reshapes(out, node),
        Op::Expand { axes } => expands(out, node, axes),
        Op::Slice { start, step } => slices(out, node, start, step),
        Op::Pad { lo, hi, interior, value } => {
            if lo.iter().chain(hi).all(|d| d.is(0)) && interior.iter().all(|i| *i == 0) {
                return Some(node.args[0]);
            }
            // pad(pad(x)) with one value
            let (x, inner) = source(out, node.args[0]);
            let Op::Pad { lo: l, hi: h, interior: i, value: v } = inner else { return None };
            if v.to_bits() != value.to_bits() || interior.iter().any(|i| *i != 0) {
                return None;
            }
            let sums = |a: &[Dim], b: &[Dim]| a.iter().zip(b).map(|(a, b)| a.add(b).ok()).collect::<Option<_>>();
            let op = Op::Pad { lo: sums(lo, &l)?, hi: sums(hi, &h)?, interior: i, value: v };
            out.op(op, &[x?], node.scope).ok()
        }
        Op::Window { axis, size: 1, stride, lo: 0, hi: 0, .. } => {
            // One element in a window: every stride-th element.
            let x = node.args[0];
            let rank = out.ty(x).shape.len();
            let mut shape = node.ty.shape.to_vec();
            shape.pop();
            let mut step = vec![1; rank];
            step[*axis] = *stride;
            let op = Op::Slice { start: vec![Dim::int(0); rank], step };
            let dtype = node.ty.dtype;
            let x = if *stride == 1 { x } else { out.add(op, &[x], TensorType::new(dtype, shape), node.scope).ok()? };
            reshape(out, x, node.ty.shape.clone(), node.scope)
        }
        Op::Concat { axis } => {
            let empty = |a: &NodeId| out.ty(*a).shape[*axis].is(0);
            let full: Vec<NodeId> = node.args.iter().copied().filter(|a| !empty(a)).collect();
            match full.as_slice() {
                [] => node.args.first().copied(),
                [one] => Some(*one),
                some if some.len() < node.args.len() => out.op(node.op.clone(), some, node.scope).ok(),
                _ => None,
            }
        }
        Op::Dot { batch, contract } => dots(out, node, batch, contract),
        _ => None,
    })
}

/// The argument of a node, and the node's operation.
fn source(graph: &Graph, id: NodeId) -> (Option<NodeId>, Op) {
    let node = graph.node(id);
    (node.args.first().copied(), node.op.clone())
}

fn permutes(out: &mut Graph, node: &Node, perm: &[usize]) -> Option<NodeId> {
    let x = node.args[0];
    if rising(perm) {
        return Some(x);
    }
    // Only axes of extent 1 change places.
    let long: Vec<usize> = perm.iter().copied().filter(|p| !out.ty(x).shape[*p].is(1)).collect();
    if long.windows(2).all(|w| w[0] < w[1]) {
        return reshape(out, x, node.ty.shape.clone(), node.scope);
    }
    match source(out, x) {
        (Some(y), Op::Permute(inner)) => permute(out, y, perm.iter().map(|p| inner[*p]).collect(), node.scope),
        (Some(y), Op::Expand { axes }) => {
            // Axis `a` of the repeated is axis `place(a)` of the result.
            let places: Vec<usize> = axes.iter().map(|a| perm.iter().position(|p| p == a)).collect::<Option<_>>()?;
            expand(out, y, &places, &node.ty.shape, node.scope)
        }
        _ => None,
    }
}

fn long(shape: &[Dim]) -> Vec<&Dim> {
    shape.iter().filter(|d| !d.is(1)).collect()
}

fn reshapes(out: &mut Graph, node: &Node) -> Option<NodeId> {
    let x = node.args[0];
    if out.ty(x).shape == node.ty.shape {
        return Some(x);
    }
    // A scalar is repeated, be it once.
    if out.ty(x).shape.is_empty() {
        return expand(out, x, &[], &node.ty.shape, node.scope);
    }
    match source(out, x) {
        (Some(y), Op::Reshape) => reshape(out, y, node.ty.shape.clone(), node.scope),
        (Some(y), Op::Expand { axes }) => {
            if axes.is_empty() {
                return expand(out, y, &[], &node.ty.shape, node.scope);
            }
            // Groups of axes that are all repeated, or none of them, change places with the repetition.
            if out.ty(y).shape.iter().zip(&axes).any(|(d, a)| *d != out.ty(x).shape[*a]) {
                return None;
            }
            let new = &node.ty.shape;
            let mut places = Vec::new();
            for (of, to) in groups(&out.ty(x).shape, new)? {
                let (lone, same) = (of.clone().all(|n| !axes.contains(&n)), of.clone().all(|n| axes.contains(&n)));
                let ones = of.clone().filter(|n| !axes.contains(n)).all(|n| out.ty(x).shape[n].is(1));
                match (lone, same || ones) {
                    (true, _) => {}
                    (false, true) => places.extend(to.filter(|n| !new[*n].is(1))),
                    (false, false) => return None,
                }
            }
            let shape: Shape = places.iter().map(|p: &usize| new[*p].clone()).collect();
            let y = reshape(out, y, shape, node.scope)?;
            expand(out, y, &places, new, node.scope)
        }
        _ => None,
    }
}

fn expands(out: &mut Graph, node: &Node, axes: &[usize]) -> Option<NodeId> {
    let x = node.args[0];
    let ty = out.ty(x).clone();
    if ty.shape == node.ty.shape {
        return Some(x);
    }
    if ty.shape.iter().any(|d| d.is(1)) {
        // An axis of extent 1 repeats as a new one does.
        let kept: Vec<usize> = (0..axes.len()).filter(|n| !ty.shape[*n].is(1)).collect();
        let places: Vec<usize> = kept.iter().map(|n| axes[*n]).collect();
        let y = reshape(out, x, kept.iter().map(|n| ty.shape[*n].clone()).collect::<Shape>(), node.scope)?;
        return expand(out, y, &places, &node.ty.shape, node.scope);
    }
    // What only adds axes of extent 1 is a reshape.
    if !ty.shape.is_empty() && long(&ty.shape) == long(&node.ty.shape) {
        return reshape(out, x, node.ty.shape.clone(), node.scope);
    }
    match source(out, x) {
        (Some(y), Op::Expand { axes: inner }) => {
            let places: Vec<usize> = inner.iter().map(|a| axes[*a]).collect();
            expand(out, y, &places, &node.ty.shape, node.scope)
        }
        _ => None,
    }
}

fn slices(out: &mut Graph, node: &Node, start: &[Dim], step: &[i64]) -> Option<NodeId> {
    let x = node.args[0];
    let ty = out.ty(x).clone();
    let whole = |n: usize| start[n].is(0) && step[n] == 1 && ty.shape[n] == node.ty.shape[n];
    if (0..start.len()).all(whole) {
        return Some(x);
    }
    match source(out, x) {
        (Some(y), Op::Slice { start: s, step: t }) => {
            let place = |n: usize| s[n].add(&start[n].mul(&Dim::int(t[n])).ok()?).ok();
            let start = (0..start.len()).map(place).collect::<Option<_>>()?;
            let step = (0..step.len()).map(|n| t[n].checked_mul(step[n])).collect::<Option<_>>()?;
            out.add(Op::Slice { start, step }, &[y], node.ty.clone(), node.scope).ok()
        }
        (Some(y), Op::Expand { axes }) => {
            // Along repeated axes every element is the same; along the others the slice moves before the repetition.
            let of: Vec<Dim> = axes.iter().map(|a| node.ty.shape[*a].clone()).collect();
            let plain = axes.iter().all(|a| whole(*a));
            let inner = Op::Slice {
                start: axes.iter().map(|a| start[*a].clone()).collect(),
                step: axes.iter().map(|a| step[*a]).collect(),
            };
            // An axis of extent 1 that was repeated has no slice to move.
            if axes.iter().zip(&out.ty(y).shape).any(|(a, d)| *d != ty.shape[*a]) {
                return None;
            }
            let narrow = TensorType::new(ty.dtype, of);
            let y = if plain { y } else { out.add(inner, &[y], narrow, node.scope).ok()? };
            expand(out, y, &axes, &node.ty.shape, node.scope)
        }
        (Some(y), Op::Reshape) => {
            // Axes of extent 1 come after the slice.
            let before = out.ty(y).shape.clone();
            let of = |shape: &[Dim]| -> Vec<usize> { (0..shape.len()).filter(|n| !shape[*n].is(1)).collect() };
            let (old, new) = (of(&before), of(&ty.shape));
            let ones = (0..ty.shape.len()).all(|n| new.contains(&n) || whole(n));
            if long(&before) != long(&ty.shape) || !ones {
                return None;
            }
            let rank = before.len();
            let (mut s, mut t, mut shape) = (vec![Dim::int(0); rank], vec![1; rank], before.to_vec());
            for (o, n) in old.iter().zip(&new) {
                (s[*o], t[*o], shape[*o]) = (start[*n].clone(), step[*n], node.ty.shape[*n].clone());
            }
            let op = Op::Slice { start: s, step: t };
            let y = out.add(op, &[y], TensorType::new(ty.dtype, shape), node.scope).ok()?;
            reshape(out, y, node.ty.shape.clone(), node.scope)
        }
        (_, Op::Concat { axis }) => {
            // Inside one piece.
            let (first, len) = (start[axis].as_int()?, node.ty.shape[axis].as_int()?);
            let last = first.checked_add((len - 1).checked_mul(step[axis])?)?;
            let pieces = out.node(x).args.clone();
            let mut from = 0;
            for piece in pieces {
                let extent = out.ty(piece).shape[axis].as_int()?;
                let inside = |i: i64| i >= from && i < from + extent;
                if len > 0 && inside(first) && inside(last) {
                    let mut start = start.to_vec();
                    start[axis] = Dim::int(first - from);
                    let op = Op::Slice { start, step: step.to_vec() };
                    return out.add(op, &[piece], node.ty.clone(), node.scope).ok();
                }
                from += extent;
            }
            None
        }
        _ => None,
    }
}

type Pairs = Vec<(usize, usize)>;

/// Axes of extent 1 need no sum, and a permutation that keeps the order of the free axes is in the axes' numbers.
fn dots(out: &mut Graph, node: &Node, batch: &[(usize, usize)], contract: &[(usize, usize)]) -> Option<NodeId> {
    let (a, b) = (node.args[0], node.args[1]);
    let one = |p: &(usize, usize)| out.ty(a).shape[p.0].is(1);
    // One pair stays: a contraction that sums nothing has no template.
    let spare = usize::from(contract.iter().all(one));
    let gone: Pairs = contract.iter().copied().filter(one).skip(spare).collect();
    if !gone.is_empty() {
        let (gone_a, gone_b): (Vec<usize>, Vec<usize>) = gone.into_iter().unzip();
        let kept = |g: &Graph, x: NodeId, gone: &[usize]| -> Vec<Dim> {
            let shape = &g.ty(x).shape;
            (0..shape.len()).filter(|n| !gone.contains(n)).map(|n| shape[n].clone()).collect()
        };
        let left: Pairs = contract.iter().copied().filter(|p| !gone_a.contains(&p.0)).collect();
        let (shape_a, shape_b) = (kept(out, a, &gone_a), kept(out, b, &gone_b));
        let moved = |n: usize, gone: &[usize]| n - gone.iter().filter(|g| **g < n).count();
        let renumber =
            |p: &[(usize, usize)]| -> Pairs { p.iter().map(|p| (moved(p.0, &gone_a), moved(p.1, &gone_b))).collect() };
        let op = Op::Dot { batch: renumber(batch), contract: renumber(&left) };
        let a = reshape(out, a, shape_a, node.scope)?;
        let b = reshape(out, b, shape_b, node.scope)?;
        return out.op(op, &[a, b], node.scope).ok();
    }
    for left in [true, false] {
        let (Some(x), Op::Permute(perm)) = source(out, if left { a } else { b }) else { continue };
        let own = |p: &(usize, usize)| if left { p.0 } else { p.1 };
        let used: Vec<usize> = batch.iter().chain(contract).map(own).collect();
        let free: Vec<usize> = (0..perm.len()).filter(|n| !used.contains(n)).map(|n| perm[n]).collect();
        if free.windows(2).any(|w| w[0] > w[1]) {
            continue;
        }
        let renumber = |p: &[(usize, usize)]| -> Pairs {
            p.iter().map(|p| if left { (perm[p.0], p.1) } else { (p.0, perm[p.1]) }).collect()
        };
        let op = Op::Dot { batch: renumber(batch), contract: renumber(contract) };
        let args = if left { [x, b] } else { [a, x] };
        return out.op(op, &args, node.scope).ok();
    }
    None
}
