//! Rules of entries: names, dims, buffers, and the order in which buffers are written and read.
//!
//! In: an entry and its plan. Out: findings. Invariants: total: an entry that breaks one rule is still checked for the
//! others. Imports: [`super::kernel`], [`crate::plan`].

use std::collections::BTreeSet;

use super::{Findings, kernel};
use crate::dim::Dim;
use crate::extent::{is_dense, is_row_major};
use crate::hole::{Hole, Inst};
use crate::plan::*;

/// Nested loops.
const DEEPEST_LOOP: usize = 16;
/// Axes of a kernel or a shape.
const MOST_AXES: usize = 64;

pub(super) fn check(plan: &Plan<Dim>, entry: &Entry<Dim>, findings: &mut Findings) {
    let place = format!("entry `{}`", entry.name);
    findings.place.clone_from(&place);
    let mut declared = BTreeSet::new();
    for d in &entry.dims {
        findings.check(is_dim_name(d), || format!("`{d}` cannot name a dim"));
        findings.check(declared.insert(d.clone()), || format!("two dims `{d}`"));
    }
    if let Some(dim) = &entry.samples {
        findings.check(declared.contains(dim), || format!("its samples lie along `{dim}`, which is no dim of it"));
        let of = |d: &Dim| d.names().contains(dim);
        for b in entry.buffers.iter().filter(|b| matches!(b.kind, BufferKind::Input | BufferKind::Output)) {
            let first = b.shape.first().is_some_and(|d| d.as_name() == Some(dim));
            let apart = !b.shape.iter().skip(usize::from(first)).any(of);
            findings.check(apart, || format!("`{}` does not have its samples along its first axis alone", b.name));
        }
        let mut changes = false;
        let stored = |id: BufferId| entry.buffers.get(id.0 as usize).is_some_and(|b| b.kind == BufferKind::Stored);
        each_write(&entry.kernels, 0, &mut |id| changes |= stored(id));
        findings.check(!changes, || "its samples are apart, but it changes what is stored".into());
    }
    let mut names = BTreeSet::new();
    for b in &entry.buffers {
        findings.check(names.insert(&b.name), || format!("two buffers `{}`", b.name));
        check_buffer(plan, b, findings);
    }
    let mut scope = Scope::new(entry, findings);
    scope.dims_declared(&declared);
    // What setup writes is written before the kernels run.
    let mut written = scope.given();
    scope.run(&entry.setup, &mut written, Section::Setup, 0);
    scope.run(&entry.kernels, &mut written, Section::Kernels, 0);
    findings.place = place;
    for (i, b) in entry.buffers.iter().enumerate() {
        if b.kind == BufferKind::Output && !written.contains(&(i as u32)) {
            findings.say(format!("the output `{}` is never written", b.name));
        }
    }
}

fn is_dim_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let axis = name.strip_prefix('i').is_some_and(|d| !d.is_empty() && d.bytes().all(|c| c.is_ascii_digit()));
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(word)
        && !axis
        && !matches!(name, "floor" | "min" | "max" | "clamp")
}

fn check_buffer(plan: &Plan<Dim>, b: &Buffer<Dim>, findings: &mut Findings) {
    let name = &b.name;
    if b.shape.len() != b.strides.len() || b.shape.len() > MOST_AXES {
        return findings.say(format!("`{name}` has {} axes and {} strides", b.shape.len(), b.strides.len()));
    }
    if b.kind == BufferKind::Temp {
        findings.check(is_dense(&b.shape, &b.strides), || format!("`{name}` is not dense"));
    } else {
        findings.check(is_row_major(&b.shape, &b.strides), || format!("`{name}` is not row-major"));
    }
    match &b.kind {
        BufferKind::Const(values) => {
            let product = Dim::product(&b.shape).ok().and_then(|d| d.as_int());
            findings.check(product == i64::try_from(values.len()).ok(), || {
                format!("the constant `{name}` has {} elements, its shape another number", values.len())
            });
            let right = values.iter().all(|v| kernel::is_value(b.dtype, *v));
            findings.check(right, || format!("the constant `{name}` has an element that is no {}", b.dtype));
        }
        BufferKind::Stored => match plan.stored.iter().find(|s| s.path == *name) {
            None => findings.say(format!("the plan has no stored tensor `{name}`")),
            Some(s) => findings.check(s.dtype == b.dtype && s.shape == b.shape, || {
                format!("the stored tensor `{name}` has another type here than in the plan")
            }),
        },
        BufferKind::Input | BufferKind::Output | BufferKind::Temp => {}
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Section {
    Setup,
    Kernels,
}

/// Walks kernels in order.
struct Scope<'a> {
    entry: &'a Entry<Dim>,
    findings: &'a mut Findings,
    /// Buffers that a kernel of `setup` writes.
    by_setup: BTreeSet<u32>,
    /// Buffers that another kernel writes.
    by_kernels: BTreeSet<u32>,
}

impl<'a> Scope<'a> {
    fn new(entry: &'a Entry<Dim>, findings: &'a mut Findings) -> Scope<'a> {
        let written = |kernels: &[Kernel<Dim>]| {
            let mut out = BTreeSet::new();
            each_write(kernels, 0, &mut |id| {
                out.insert(id.0);
            });
            out
        };
        let (by_setup, by_kernels) = (written(&entry.setup), written(&entry.kernels));
        Scope { entry, findings, by_setup, by_kernels }
    }

    fn buffer(&self, id: BufferId) -> Option<&'a Buffer<Dim>> {
        self.entry.buffers.get(id.0 as usize)
    }

    fn name(&self, id: BufferId) -> &'a str {
        self.buffer(id).map_or("?", |b| b.name.as_str())
    }

    /// What nobody needs to write.
    fn given(&self) -> BTreeSet<u32> {
        let given = |b: &Buffer<Dim>| !matches!(b.kind, BufferKind::Output | BufferKind::Temp);
        let buffers = self.entry.buffers.iter().enumerate();
        buffers.filter(|(_, b)| given(b)).map(|(i, _)| i as u32).collect()
    }

    fn dims_declared(&mut self, declared: &BTreeSet<String>) {
        let mut unknown = BTreeSet::new();
        each_dim(self.entry, &mut |d| {
            if d.as_int().is_none() {
                unknown.extend(d.names().into_iter().filter(|n| !declared.contains(n)));
            }
        });
        for name in unknown {
            self.findings.say(format!("the dim `{name}` is not declared"));
        }
    }

    fn run(&mut self, kernels: &[Kernel<Dim>], written: &mut BTreeSet<u32>, section: Section, depth: usize) {
        let part = if section == Section::Setup { "setup of " } else { "" };
        for (n, k) in kernels.iter().enumerate() {
            let place = format!("{part}entry `{}`, kernel {n} `{}`", self.entry.name, k.scope);
            self.findings.place.clone_from(&place);
            if k.axes.len() > MOST_AXES || depth > DEEPEST_LOOP {
                self.findings.say("too many axes or nested loops");
                continue;
            }
            kernel::check(self.entry, k, self.findings);
            for a in &k.reads {
                self.read(a.buffer, written, section);
            }
            let draws = |h: &Hole<Dim>| h.code.iter().any(|i| matches!(i, Inst::Draw { .. }));
            if section == Section::Setup && k.body.holes().into_iter().any(draws) {
                self.findings.say("setup draws random numbers");
            }
            if let Body::Loop { .. } = k.body {
                self.run_loop(k, written, section, depth);
                continue;
            }
            // Added to, not overwritten.
            if let (Body::ScatterAdd(_), Some(a)) = (&k.body, k.writes.first()) {
                self.read(a.buffer, written, section);
            }
            for a in &k.writes {
                self.write(a.buffer, written, section);
            }
        }
    }

    fn run_loop(&mut self, k: &Kernel<Dim>, written: &mut BTreeSet<u32>, section: Section, depth: usize) {
        let Body::Loop { count: _, index, carried, until, body } = &k.body else { return };
        let place = self.findings.place.clone();
        for (first, _, _) in carried {
            self.read(*first, written, section);
        }
        let mut inside = written.clone();
        for (_, to, _) in carried {
            self.write(*to, &mut inside, section);
        }
        if let Some(id) = index {
            self.write(*id, &mut inside, section);
        }
        self.run(body, &mut inside, section, depth + 1);
        self.findings.place = place;
        for (_, _, next) in carried {
            self.read(*next, &inside, section);
        }
        if let Some((id, _)) = until {
            self.read(*id, &inside, section);
        }
        written.extend(carried.iter().map(|(_, to, _)| to.0));
    }

    fn read(&mut self, id: BufferId, written: &BTreeSet<u32>, section: Section) {
        let Some(b) = self.buffer(id) else { return };
        if !written.contains(&id.0) {
            self.findings.say(format!("reads `{}`, which nothing has written before", b.name));
        }
        if section == Section::Setup {
            if b.kind == BufferKind::Input {
                self.findings.say(format!("setup reads the input `{}`", b.name));
            }
            if b.kind == BufferKind::Stored && self.by_kernels.contains(&id.0) {
                self.findings.say(format!("setup reads `{}`, which the entry changes", b.name));
            }
        }
    }

    fn write(&mut self, id: BufferId, written: &mut BTreeSet<u32>, section: Section) {
        let Some(b) = self.buffer(id) else { return };
        match (&b.kind, section) {
            (BufferKind::Input | BufferKind::Const(_), _) => {
                self.findings.say(format!("writes `{}`, which is given", b.name));
            }
            (BufferKind::Output | BufferKind::Stored, Section::Setup) => {
                self.findings.say(format!("setup writes `{}`, which is not temporary", b.name));
            }
            (_, Section::Kernels) if self.by_setup.contains(&id.0) => {
                self.findings.say(format!("writes `{}`, which setup has made", self.name(id)));
            }
            _ => {}
        }
        written.insert(id.0);
    }
}

fn each_write(kernels: &[Kernel<Dim>], depth: usize, f: &mut impl FnMut(BufferId)) {
    for k in kernels {
        k.writes.iter().for_each(|a| f(a.buffer));
        if let Body::Loop { index, carried, body, .. } = &k.body {
            carried.iter().for_each(|c| f(c.1));
            index.iter().for_each(|i| f(*i));
            if depth < DEEPEST_LOOP {
                each_write(body, depth + 1, f);
            }
        }
    }
}

fn each_dim<'d>(entry: &'d Entry<Dim>, f: &mut impl FnMut(&'d Dim)) {
    entry.requires.iter().for_each(|r| [&r.left, &r.right].into_iter().for_each(&mut *f));
    entry.buffers.iter().for_each(|b| b.shape.iter().chain(&b.strides).for_each(&mut *f));
    for kernels in [&entry.setup, &entry.kernels] {
        each_kernel_dim(kernels, 0, f);
    }
}

fn each_kernel_dim<'d>(kernels: &'d [Kernel<Dim>], depth: usize, f: &mut impl FnMut(&'d Dim)) {
    for k in kernels {
        k.axes.iter().for_each(&mut *f);
        for a in k.reads.iter().chain(&k.writes) {
            a.strides.iter().chain([&a.offset]).for_each(&mut *f);
            for g in &a.guards {
                g.strides.iter().chain([&g.offset, &g.extent]).for_each(&mut *f);
            }
            a.via.iter().flat_map(|v| [&v.stride, &v.extent]).for_each(&mut *f);
        }
        for inst in k.body.holes().into_iter().flat_map(|h| &h.code) {
            if let Inst::Size(d) = inst {
                f(d);
            }
        }
        if let Body::Loop { count, until, body, .. } = &k.body {
            [count].into_iter().chain(until.iter().map(|u| &u.1)).for_each(&mut *f);
            if depth < DEEPEST_LOOP {
                each_kernel_dim(body, depth + 1, f);
            }
        }
    }
}
