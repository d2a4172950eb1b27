//! Kernels made simple: axes dropped, merged and ordered; stored tensors written in place; unused buffers removed.
//!
//! In: kernels. Out: kernels that write the same. Invariants: points keep their row-major order where it matters.
//! Imports: `uad-plan`.

use std::collections::BTreeSet;

use uad_plan::{
    Access, AttentionRole, Body, Buffer, BufferId, BufferKind, Dim, DimError, DotRole, Hole, Inst, Kernel, RowStage,
};

/// The holes of a body (not of a loop's kernels).
fn holes(body: &mut Body<Dim>) -> Vec<&mut Hole<Dim>> {
    match body {
        Body::Map(h) | Body::ScatterAdd(h) | Body::ArgSort { key: h, .. } | Body::Scan { value: h, .. } => vec![h],
        Body::Rows { stages, .. } => stages
            .iter_mut()
            .map(|s| match s {
                RowStage::Reduce(_, h) | RowStage::Map(_, h) | RowStage::Emit(_, h) => h,
            })
            .collect(),
        Body::Dot { a, b, out, .. } => vec![a, b, out],
        Body::Attention { q, k, score, v, out, .. } => vec![q, k, score, v, out],
        Body::Loop { .. } | Body::Eigh | Body::Cholesky => Vec::new(),
    }
}

/// Every list of strides of a kernel.
fn strides(k: &mut Kernel<Dim>) -> impl Iterator<Item = &mut Vec<Dim>> {
    k.reads
        .iter_mut()
        .chain(&mut k.writes)
        .flat_map(|a| std::iter::once(&mut a.strides).chain(a.guards.iter_mut().map(|g| &mut g.strides)))
}

fn renumber(k: &mut Kernel<Dim>, to: impl Fn(usize) -> Option<usize>) {
    for h in holes(&mut k.body) {
        for i in &mut h.code {
            if let Inst::Index(n) = i {
                *i = to(*n as usize).map_or(Inst::I32(0), |n| Inst::Index(n as u32));
            }
        }
    }
}

/// Axis `n` of the result is axis `order[n]`.
pub(super) fn reorder(mut k: Kernel<Dim>, order: &[usize]) -> Kernel<Dim> {
    for s in strides(&mut k) {
        *s = order.iter().map(|a| s[*a].clone()).collect();
    }
    k.axes = order.iter().map(|a| k.axes[*a].clone()).collect();
    renumber(&mut k, |n| order.iter().position(|a| *a == n));
    match &mut k.body {
        Body::Dot { roles, .. } => *roles = order.iter().map(|a| roles[*a]).collect(),
        Body::Attention { roles, .. } => *roles = order.iter().map(|a| roles[*a]).collect(),
        _ => {}
    }
    k
}

/// What may not be mixed: the class of each axis, or nothing where axes stay as they are.
fn classes(k: &Kernel<Dim>) -> Option<Vec<u8>> {
    let count = k.axes.len();
    match &k.body {
        Body::Map(_) | Body::ScatterAdd(_) => Some(vec![0; count]),
        Body::Rows { inner, .. } => Some((0..count).map(|n| u8::from(n + *inner as usize >= count)).collect()),
        Body::Dot { roles, .. } => Some(
            roles
                .iter()
                .map(|r| match r {
                    DotRole::Batch => 0,
                    DotRole::M => 2,
                    DotRole::N => 4,
                    DotRole::K => 1,
                })
                .collect(),
        ),
        Body::Attention { roles, .. } => Some(
            roles
                .iter()
                .map(|r| match r {
                    AttentionRole::Batch => 0,
                    AttentionRole::T => 2,
                    AttentionRole::E => 4,
                    AttentionRole::S => 1,
                    AttentionRole::D => 3,
                })
                .collect(),
        ),
        _ => None,
    }
}

fn remove(k: &mut Kernel<Dim>, axis: usize) {
    for s in strides(k) {
        s.remove(axis);
    }
    k.axes.remove(axis);
    let count = k.axes.len();
    match &mut k.body {
        Body::Dot { roles, .. } => {
            roles.remove(axis);
        }
        Body::Attention { roles, .. } => {
            roles.remove(axis);
        }
        Body::Rows { inner, .. } if axis + *inner as usize > count => *inner -= 1,
        _ => {}
    }
    renumber(k, |n| match n.cmp(&axis) {
        std::cmp::Ordering::Less => Some(n),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(n - 1),
    });
}

/// Drops axes of extent 1 and merges neighbours that every operand crosses evenly.
pub(super) fn tidy(mut k: Kernel<Dim>) -> Result<Kernel<Dim>, DimError> {
    let Some(mut class) = classes(&k) else { return Ok(k) };
    for axis in (0..k.axes.len()).rev() {
        // A sum or a row keeps one axis (odd classes).
        let alone = class[axis] % 2 == 1 && class.iter().filter(|c| **c == class[axis]).count() == 1;
        if k.axes[axis].is(1) && !alone {
            remove(&mut k, axis);
            class.remove(axis);
        }
    }
    let mut indexed = BTreeSet::new();
    for h in holes(&mut k.body) {
        indexed.extend(h.code.iter().filter_map(|i| if let Inst::Index(n) = i { Some(*n as usize) } else { None }));
    }
    for axis in (1..k.axes.len()).rev() {
        let (outer, extent) = (axis - 1, k.axes[axis].clone());
        if class[outer] != class[axis] || indexed.contains(&outer) || indexed.contains(&axis) {
            continue;
        }
        let mut even = true;
        for s in strides(&mut k) {
            even &= s[outer] == s[axis].mul(&extent)?;
        }
        if even {
            let joined = k.axes[outer].mul(&extent)?;
            // The inner strides stay, so the outer axis leaves.
            remove(&mut k, outer);
            k.axes[outer] = joined;
            class.remove(outer);
            indexed = indexed.into_iter().map(|n| if n > outer { n - 1 } else { n }).collect();
        }
    }
    Ok(k)
}

/// Calls `f` for every buffer that a kernel names, with whether it is written.
pub(super) fn visit(k: &mut Kernel<Dim>, f: &mut impl FnMut(&mut BufferId, bool)) {
    k.reads.iter_mut().for_each(|a| f(&mut a.buffer, false));
    k.writes.iter_mut().for_each(|a| f(&mut a.buffer, true));
    if let Body::Loop { index, carried, until, body, .. } = &mut k.body {
        index.iter_mut().for_each(|b| f(b, true));
        for (first, at, next) in carried {
            f(first, false);
            f(at, true);
            f(next, false);
        }
        until.iter_mut().for_each(|u| f(&mut u.0, false));
        body.iter_mut().for_each(|k| visit(k, f));
    }
}

/// Does it read a buffer that it writes, otherwise than at the very element that is written?
pub(super) fn reads_what_it_writes(k: &Kernel<Dim>) -> bool {
    let own = |r: &Access<Dim>, w: &Access<Dim>| matches!(k.body, Body::Map(_)) && r == w;
    k.writes.iter().any(|w| k.reads.iter().any(|r| r.buffer == w.buffer && !own(r, w)))
}

fn names(k: &mut Kernel<Dim>, b: BufferId) -> bool {
    let mut hit = false;
    visit(k, &mut |x, _| hit |= *x == b);
    hit
}

/// The temporary and the stored tensor, if the kernel does nothing but copy one to the other, element by element.
fn copies(k: &Kernel<Dim>, buffers: &[Buffer<Dim>]) -> Option<(BufferId, BufferId)> {
    let Body::Map(h) = &k.body else { return None };
    let ([r], [w], Some(0)) = (k.reads.as_slice(), k.writes.as_slice(), h.as_load()) else { return None };
    let (from, to) = (&buffers[r.buffer.0 as usize], &buffers[w.buffer.0 as usize]);
    let alike = from.kind == BufferKind::Temp
        && to.kind == BufferKind::Stored
        && from.shape == to.shape
        && from.strides == to.strides
        && Access { buffer: w.buffer, ..r.clone() } == *w;
    alike.then_some((r.buffer, w.buffer))
}

/// Lets a kernel write a stored tensor where its result would only be copied there: an update rule works in place.
pub(super) fn write_in_place(kernels: &mut Vec<Kernel<Dim>>, buffers: &mut [Buffer<Dim>]) {
    let mut at = 0;
    while at < kernels.len() {
        let Some((temp, stored)) = copies(&kernels[at], buffers) else {
            at += 1;
            continue;
        };
        let writer = kernels.iter().position(|k| k.writes.iter().any(|w| w.buffer == temp));
        let free = writer.is_some_and(|w| {
            let writers = kernels.iter().filter(|k| k.writes.iter().any(|x| x.buffer == temp)).count();
            let looped = kernels.iter_mut().any(|k| matches!(k.body, Body::Loop { .. }) && names(k, temp));
            let late = (w + 1..kernels.len()).any(|k| k != at && names(&mut kernels[k], stored));
            let k = &kernels[w];
            // Reading the old value at the very element that is written is safe.
            let own = k.reads.iter().filter(|r| r.buffer == stored).all(|r| {
                matches!(k.body, Body::Map(_)) && k.writes.iter().any(|x| *r == Access { buffer: stored, ..x.clone() })
            });
            w < at && writers == 1 && !looped && !late && own && k.writes.iter().all(|x| x.buffer != stored)
        });
        if !free {
            at += 1;
            continue;
        }
        kernels.remove(at);
        for k in kernels.iter_mut() {
            visit(k, &mut |b, _| {
                if *b == temp {
                    *b = stored;
                }
            });
        }
    }
}

/// Removes scratch and literals that nothing names.
pub(super) fn drop_unused(buffers: &mut Vec<Buffer<Dim>>, setup: &mut [Kernel<Dim>], kernels: &mut [Kernel<Dim>]) {
    let mut used = vec![false; buffers.len()];
    for k in setup.iter_mut().chain(kernels.iter_mut()) {
        visit(k, &mut |b, _| used[b.0 as usize] = true);
    }
    for (n, b) in buffers.iter().enumerate() {
        used[n] |= !matches!(b.kind, BufferKind::Temp | BufferKind::Const(_));
    }
    let mut to = vec![0; buffers.len()];
    let mut next = 0;
    for (n, u) in used.iter().enumerate() {
        to[n] = next;
        next += u32::from(*u);
    }
    let mut n = 0;
    buffers.retain(|_| {
        n += 1;
        used[n - 1]
    });
    for k in setup.iter_mut().chain(kernels.iter_mut()) {
        visit(k, &mut |b, _| *b = BufferId(to[b.0 as usize]));
    }
}
