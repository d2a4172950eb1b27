//! Neighbouring maps over the same points become one: what one writes, the next takes from a register.
//!
//! In: kernels in order. Out: fewer kernels that write the same. Invariants: at every point the first map's part runs
//! before the second's, and neither reads what the other writes at any other point. Imports: `uad-plan`.

use std::collections::BTreeSet;

use uad_plan::{Access, Body, Buffer, BufferId, BufferKind, Dim, Hole, Inst, Kernel, Reg};

use super::merge::visit;

/// Most instructions, operands and writes of a joined kernel.
const LARGEST: usize = 96;
const MOST_READS: usize = 16;
const MOST_WRITES: usize = 6;

/// Joins neighbours, then drops writes to scratch that nothing reads any more.
pub(super) fn join_all(kernels: &mut Vec<Kernel<Dim>>, buffers: &[Buffer<Dim>]) {
    let mut joined = BTreeSet::new();
    let mut at = 0;
    while at + 1 < kernels.len() {
        match join(&kernels[at], &kernels[at + 1]) {
            Some(k) => {
                joined.extend(k.writes.iter().map(|w| w.buffer));
                kernels[at] = k;
                kernels.remove(at + 1);
            }
            None => at += 1,
        }
    }
    let mut read = BTreeSet::new();
    for k in kernels.iter_mut() {
        visit(k, &mut |b, written| {
            if !written {
                read.insert(*b);
            }
        });
    }
    let idle = |b: &BufferId| joined.contains(b) && !read.contains(b) && buffers[b.0 as usize].kind == BufferKind::Temp;
    for k in kernels.iter_mut() {
        let Body::Map(hole) = &mut k.body else { continue };
        let keep: Vec<bool> = k.writes.iter().map(|w| !idle(&w.buffer)).collect();
        if keep.iter().any(|k| *k) {
            let mut n = 0..;
            hole.results.retain(|_| keep[n.next().unwrap_or(0)]);
            let mut n = 0..;
            k.writes.retain(|_| keep[n.next().unwrap_or(0)]);
        }
    }
}

/// Both as one kernel, if that is right and saves a read.
fn join(a: &Kernel<Dim>, b: &Kernel<Dim>) -> Option<Kernel<Dim>> {
    let (Body::Map(first), Body::Map(second)) = (&a.body, &b.body) else { return None };
    let small = first.code.len() + second.code.len() <= LARGEST
        && a.reads.len() + b.reads.len() <= MOST_READS
        && a.writes.len() + b.writes.len() <= MOST_WRITES;
    if !small || a.axes != b.axes {
        return None;
    }
    // What `b` reads of what `a` writes must be the very element.
    let mut taken: Vec<Option<usize>> = Vec::new();
    for r in &b.reads {
        let same = |w: &Access<Dim>| {
            (w.buffer, &w.offset, &w.strides) == (r.buffer, &r.offset, &r.strides)
                && r.guards.is_empty()
                && r.via.is_empty()
        };
        let from = a.writes.iter().position(same);
        if from.is_none() && a.writes.iter().any(|w| w.buffer == r.buffer) {
            return None;
        }
        taken.push(from);
    }
    let indexes: BTreeSet<usize> = b.reads.iter().flat_map(|r| r.via.iter().map(|v| v.read as usize)).collect();
    if indexes.iter().any(|n| taken[*n].is_some()) {
        return None;
    }
    for w in &b.writes {
        let again = a.writes.iter().any(|x| x.buffer == w.buffer);
        if again || a.reads.iter().any(|r| r.buffer == w.buffer && r != w) {
            return None;
        }
    }
    let mut shared = taken.iter().any(Option::is_some);
    let mut reads = a.reads.clone();
    let mut to = Vec::new();
    for (r, t) in b.reads.iter().zip(&taken) {
        let mut r = r.clone();
        for v in &mut r.via {
            v.read = to[v.read as usize];
        }
        let known = reads.iter().position(|x| *x == r);
        shared |= known.is_some();
        let n = match known {
            Some(n) => n,
            None if t.is_some() => 0,
            None => {
                reads.push(r);
                reads.len() - 1
            }
        };
        to.push(n as u32);
    }
    if !shared {
        return None;
    }
    let mut hole = Hole { code: first.code.clone(), results: first.results.clone() };
    let mut regs: Vec<Reg> = Vec::new();
    for i in &second.code {
        let at = |r: &Reg| regs[r.0 as usize];
        let inst = match i {
            Inst::Load(n) => match taken[*n as usize] {
                Some(k) => {
                    regs.push(first.results[k]);
                    continue;
                }
                None => Inst::Load(to[*n as usize]),
            },
            Inst::Op(op, args) => Inst::Op(*op, args.iter().map(at).collect()),
            Inst::Draw { site, lane, element, sample } => {
                Inst::Draw { site: *site, lane: *lane, element: at(element), sample: at(sample) }
            }
            other => other.clone(),
        };
        let known = hole.code.iter().position(|x| match (x, &inst) {
            // 0 and -0 are equal, but not the same.
            (Inst::F32(a), Inst::F32(b)) => a.to_bits() == b.to_bits(),
            _ => *x == inst,
        });
        regs.push(known.map_or_else(|| hole.push(inst), |n| Reg(n as u32)));
    }
    hole.results.extend(second.results.iter().map(|r| regs[r.0 as usize]));
    let writes = a.writes.iter().chain(&b.writes).cloned().collect();
    Some(Kernel { scope: a.scope.clone(), axes: a.axes.clone(), reads, writes, body: Body::Map(hole) })
}
