//! Looking at a value without changing anything: the part of a step that a value depends on.
//!
//! In: a stage's plan, the value's name. Out: a plan with one more entry that computes the value alone. Invariants: kernels keep their
//! order; what remains writes a stored tensor only where the value itself is made by the same kernel. Imports: plans.

use std::collections::BTreeSet;

use uad_plan::{Body, BufferKind, Dim, Entry, Kernel, Plan, Verified, verify};

/// The name of the entry that gives a value of `entry` alone.
pub(super) fn name(entry: &str) -> String {
    format!("{entry}.watch")
}

/// The plan with that entry.
pub(super) fn with_watch(plan: &Verified<Plan<Dim>>, entry: &str, value: &str) -> Result<Verified<Plan<Dim>>, String> {
    let found = plan.entries.iter().find(|e| e.name == entry);
    let found = found.ok_or_else(|| format!("the plan has no entry `{entry}`"))?;
    let mut own = (**plan).clone();
    own.entries.push(alone(found, value)?);
    verify(own).map_err(|v| v.first().map_or_else(String::new, ToString::to_string))
}

fn alone(entry: &Entry<Dim>, value: &str) -> Result<Entry<Dim>, String> {
    let is_value = |b: &uad_plan::Buffer<Dim>| b.kind == BufferKind::Output && b.name == value;
    let wanted = entry.buffers.iter().position(is_value);
    let wanted = wanted.ok_or_else(|| format!("`{}` has no output `{value}`", entry.name))?;
    let mut needed = BTreeSet::from([wanted as u32]);
    let keep = |kernels: &[Kernel<Dim>], needed: &mut BTreeSet<u32>| {
        let mut kept = Vec::new();
        for k in kernels.iter().rev() {
            let (mut reads, mut writes) = (BTreeSet::new(), BTreeSet::new());
            touched(k, &mut reads, &mut writes);
            if !writes.is_disjoint(needed) {
                needed.extend(reads);
                kept.push(k.clone());
            }
        }
        kept.reverse();
        kept
    };
    let mut own = Entry { name: name(&entry.name), ..entry.clone() };
    own.kernels = keep(&entry.kernels, &mut needed);
    own.setup = keep(&entry.setup, &mut needed);
    let mut written = BTreeSet::new();
    for k in own.kernels.iter().chain(&own.setup) {
        touched(k, &mut BTreeSet::new(), &mut written);
    }
    for (i, b) in own.buffers.iter_mut().enumerate() {
        if b.kind == BufferKind::Output && !written.contains(&(i as u32)) {
            b.kind = BufferKind::Temp;
        }
    }
    Ok(own)
}

/// Buffers that a kernel reads and writes, with all that stands in a loop.
fn touched(kernel: &Kernel<Dim>, reads: &mut BTreeSet<u32>, writes: &mut BTreeSet<u32>) {
    reads.extend(kernel.reads.iter().map(|a| a.buffer.0));
    writes.extend(kernel.writes.iter().map(|a| a.buffer.0));
    match &kernel.body {
        // Its target is added to.
        Body::ScatterAdd(_) => reads.extend(kernel.writes.iter().map(|a| a.buffer.0)),
        Body::Loop { index, carried, until, body, .. } => {
            for (first, carry, next) in carried {
                reads.extend([first.0, next.0]);
                writes.insert(carry.0);
            }
            writes.extend(index.iter().map(|i| i.0));
            reads.extend(until.iter().map(|u| u.0.0));
            body.iter().for_each(|k| touched(k, reads, writes));
        }
        _ => {}
    }
}
