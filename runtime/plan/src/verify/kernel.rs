//! Rules of kernels.
//!
//! In: a kernel and its entry. Out: findings. Invariants: total. Imports: [`crate::plan`], [`crate::hole`].
//!
//! Accesses: the buffer exists; one stride per axis, in guards too; a fill is a value of the dtype; an index (`via`) is
//! an earlier i32 operand; writes have no guard, and no `via` but in `scatter_add`. A buffer that a kernel reads and
//! writes is reached by the same access, in a `map`. Templates: number, types and order of holes and writes; which axes
//! a hole may see: an operand it loads repeats (stride 0) on all others, a write repeats on axes that are reduced.

use super::Findings;
use crate::dim::Dim;
use crate::dtype::DType;
use crate::hole::{Hole, Inst};
use crate::plan::*;

/// Does the f64 stand for a value of the dtype?
pub(super) fn is_value(dtype: DType, v: f64) -> bool {
    match dtype {
        DType::F32 => true,
        DType::I32 => v == f64::from(v as i32),
        DType::Bool => v == 0.0 || v == 1.0,
    }
}

pub(super) fn check(entry: &Entry<Dim>, k: &Kernel<Dim>, findings: &mut Findings) {
    let Some(checker) = Checker::new(entry, k, findings) else { return };
    checker.body();
}

struct Checker<'a> {
    entry: &'a Entry<Dim>,
    k: &'a Kernel<Dim>,
    findings: &'a mut Findings,
    loads: Vec<DType>,
    stores: Vec<DType>,
    /// Per operand, the axes along which it changes.
    changes: Vec<Vec<bool>>,
}

/// Guards, and indices, of one access.
const MOST_GUARDS: usize = 64;

/// Operands that index operands that index operands ...
const DEEPEST_INDEX: usize = 4;

impl<'a> Checker<'a> {
    /// Checks the accesses; a kernel whose buffers do not exist is not looked at further.
    fn new(entry: &'a Entry<Dim>, k: &'a Kernel<Dim>, findings: &'a mut Findings) -> Option<Checker<'a>> {
        let dtypes = |accesses: &[Access<Dim>]| -> Option<Vec<DType>> {
            accesses.iter().map(|a| entry.buffers.get(a.buffer.0 as usize).map(|b| b.dtype)).collect()
        };
        let (Some(loads), Some(stores)) = (dtypes(&k.reads), dtypes(&k.writes)) else {
            findings.say("an access names a buffer that does not exist");
            return None;
        };
        for (n, (a, dtype)) in k.reads.iter().zip(&loads).enumerate() {
            check_access(k, a, &format!("operand ${n}"), findings);
            findings.check(is_value(*dtype, a.fill), || format!("the fill of operand ${n} is no {dtype}"));
            for v in &a.via {
                let right = (v.read as usize) < n && loads.get(v.read as usize) == Some(&DType::I32);
                findings.check(right, || format!("operand ${n} is indexed by ${}, no i32 operand before it", v.read));
            }
        }
        let mut depths: Vec<usize> = Vec::new();
        let mut changes: Vec<Vec<bool>> = Vec::new();
        for (n, a) in k.reads.iter().enumerate() {
            let mut moves: Vec<bool> = (0..k.axes.len()).map(|axis| !repeats_on(a, axis)).collect();
            let mut depth = 0;
            for i in a.via.iter().map(|v| v.read as usize) {
                depth = depth.max(depths.get(i).map_or(0, |d| d + 1));
                moves.iter_mut().zip(changes.get(i).into_iter().flatten()).for_each(|(m, c)| *m |= c);
            }
            findings.check(depth <= DEEPEST_INDEX, || format!("operand ${n} is indexed too deeply"));
            depths.push(depth);
            changes.push(moves);
        }
        let scatters = matches!(k.body, Body::ScatterAdd(_));
        for (n, a) in k.writes.iter().enumerate() {
            check_access(k, a, &format!("write {n}"), findings);
            findings.check(a.guards.is_empty(), || format!("write {n} has a guard"));
            findings.check(scatters || a.via.is_empty(), || format!("write {n} is indexed"));
            for v in &a.via {
                let right = loads.get(v.read as usize) == Some(&DType::I32);
                findings.check(right, || format!("write {n} is indexed by ${}, no i32 operand", v.read));
            }
            for r in k.reads.iter().filter(|r| r.buffer == a.buffer) {
                let same = matches!(k.body, Body::Map(_))
                    && (&r.offset, &r.strides) == (&a.offset, &a.strides)
                    && r.guards.is_empty()
                    && r.via.is_empty();
                findings.check(same, || format!("write {n} changes a buffer that is read elsewhere in the kernel"));
            }
        }
        Some(Checker { entry, k, findings, loads, stores, changes })
    }

    /// Types of the hole's results; checks that it sees the axes of `visible` only.
    fn hole(&mut self, name: &str, hole: &Hole<Dim>, slots: &[DType], visible: &[bool]) -> Option<Vec<DType>> {
        let types = match hole.types(&self.loads, slots) {
            Ok(types) => types,
            Err(message) => {
                self.findings.say(format!("hole `{name}`: {message}"));
                return None;
            }
        };
        for inst in &hole.code {
            match inst {
                Inst::Index(n) if visible.get(*n as usize) != Some(&true) => {
                    self.findings.say(format!("hole `{name}` sees no axis i{n}"));
                }
                Inst::Load(n) => {
                    let changes = self.changes.get(*n as usize).into_iter().flatten();
                    let seen = changes.zip(visible).all(|(changes, visible)| *visible || !changes);
                    self.findings.check(seen, || {
                        format!("hole `{name}` loads operand ${n}, which changes along an axis that it does not see")
                    });
                }
                _ => {}
            }
        }
        hole.results.iter().map(|r| types.get(r.0 as usize).copied()).collect()
    }

    /// A hole with one result of the dtype that is asked for, if any is.
    fn single(&mut self, name: &str, hole: &Hole<Dim>, slots: &[DType], visible: &[bool]) -> Option<DType> {
        let results = self.hole(name, hole, slots, visible)?;
        let one = if let [d] = results.as_slice() { Some(*d) } else { None };
        self.findings.check(one.is_some(), || format!("hole `{name}` has {} results, not one", results.len()));
        one
    }

    /// A hole whose results are the writes.
    fn storing(&mut self, name: &str, hole: &Hole<Dim>, slots: &[DType], visible: &[bool]) {
        if let Some(results) = self.hole(name, hole, slots, visible) {
            let fits = results == self.stores;
            self.findings.check(fits, || format!("the results of hole `{name}` do not fit the writes"));
        }
        for (n, a) in self.k.writes.iter().enumerate() {
            self.findings.check(access_repeats(a, visible), || format!("write {n} changes along a reduced axis"));
        }
    }

    fn writes(&mut self, want: &[DType]) {
        let fits = self.stores == want;
        self.findings.check(fits, || "number or types of the writes do not fit the template".into());
    }

    fn same(&mut self, name: &str, found: Option<DType>, wanted: &[DType]) {
        let fits = found.is_none_or(|d| wanted.contains(&d));
        self.findings.check(fits, || format!("hole `{name}` gives a type that does not fit the template"));
    }

    fn body(mut self) {
        let all = vec![true; self.k.axes.len()];
        let body = &self.k.body;
        match body {
            Body::Map(hole) => self.storing("at", hole, &[], &all),
            Body::Rows { inner, stages } => self.rows(*inner as usize, stages),
            Body::Dot { roles, a, b, out } => {
                if !self.has_roles(roles.len()) {
                    return;
                }
                let sees = |not: DotRole| -> Vec<bool> { roles.iter().map(|r| *r != not).collect() };
                let a = self.single("a", a, &[], &sees(DotRole::N));
                let b = self.single("b", b, &[], &sees(DotRole::M));
                self.same("a", a, &[DType::F32, DType::I32]);
                self.same("b", b, &[a.unwrap_or(DType::F32)]);
                self.storing("out", out, &[a.unwrap_or(DType::F32)], &sees(DotRole::K));
            }
            Body::Attention { roles, q, k, score, v, out } => {
                use AttentionRole as R;
                if !self.has_roles(roles.len()) {
                    return;
                }
                let see =
                    |want: &[R]| -> Vec<bool> { roles.iter().map(|r| *r == R::Batch || want.contains(r)).collect() };
                for (name, hole, slots, visible) in [
                    ("q", q, &[][..], see(&[R::T, R::D])),
                    ("k", k, &[][..], see(&[R::S, R::D])),
                    ("score", score, &[DType::F32][..], see(&[R::T, R::S])),
                    ("v", v, &[][..], see(&[R::S, R::E])),
                ] {
                    let found = self.single(name, hole, slots, &visible);
                    self.same(name, found, &[DType::F32]);
                }
                self.storing("out", out, &[DType::F32], &see(&[R::T, R::E]));
            }
            Body::ScatterAdd(hole) => {
                let found = self.single("add", hole, &[], &all);
                self.same("add", found, &[DType::F32, DType::I32]);
                if let Some(d) = found {
                    self.writes(&[d]);
                }
                let indexed = self.k.writes.first().is_some_and(|a| !a.via.is_empty());
                self.findings.check(indexed, || "`scatter_add` writes without an index".into());
            }
            Body::ArgSort { key, .. } => {
                self.single("key", key, &[], &all);
                self.writes(&[DType::I32]);
                self.needs_axes(1);
            }
            Body::Scan { op, value } => {
                let found = self.single("value", value, &[], &all);
                self.same("value", found, reduces(*op));
                let running = matches!(op, ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min);
                self.findings.check(running, || format!("`{}` does not run along an axis", op.name()));
                if let Some(d) = found {
                    self.writes(&[d]);
                }
                self.needs_axes(1);
            }
            Body::Loop { count: _, index, carried, until, body: _ } => {
                let bare = self.k.axes.is_empty() && self.k.reads.is_empty() && self.k.writes.is_empty();
                self.findings.check(bare, || "a loop has no axes, operands or writes of its own".into());
                let scalar = |id: &BufferId, dtype| is_scalar(self.entry, *id, dtype);
                if let Some(id) = index {
                    self.findings.check(scalar(id, DType::I32), || "the index of a loop is an i32 scalar".into());
                }
                if let Some((id, _)) = until {
                    self.findings.check(scalar(id, DType::Bool), || "a loop runs until a bool scalar".into());
                }
                self.carried(carried);
            }
            Body::Eigh => self.matrices(&[DType::F32, DType::F32]),
            Body::Cholesky => self.matrices(&[DType::F32]),
        }
    }

    /// Is there a role per axis?
    fn has_roles(&mut self, n: usize) -> bool {
        let right = n == self.k.axes.len();
        self.findings.check(right, || format!("{} axes have {n} roles", self.k.axes.len()));
        right
    }

    fn needs_axes(&mut self, n: usize) {
        let enough = self.k.axes.len() >= n;
        self.findings.check(enough, || format!("the template needs {n} axes"));
    }

    fn rows(&mut self, inner: usize, stages: &[RowStage<Dim>]) {
        let axes = self.k.axes.len();
        if inner == 0 || inner > axes {
            return self.findings.say(format!("{inner} of {axes} axes cannot be the row"));
        }
        let all = vec![true; axes];
        let outer: Vec<bool> = (0..axes).map(|i| i < axes - inner).collect();
        let mut slots = Vec::new();
        let mut stored = vec![0u32; self.stores.len()];
        for stage in stages {
            match stage {
                RowStage::Reduce(op, hole) => {
                    let found = self.single("reduce", hole, &slots, &all);
                    self.same("reduce", found, reduces(*op));
                    slots.push(op.result(found.unwrap_or(DType::F32)));
                }
                RowStage::Map(n, hole) | RowStage::Emit(n, hole) => {
                    let (name, visible) =
                        if matches!(stage, RowStage::Map(..)) { ("at", &all) } else { ("emit", &outer) };
                    let found = self.single(name, hole, &slots, visible);
                    let Some(want) = self.stores.get(*n as usize).copied() else {
                        self.findings.say(format!("stage `{name}` names write {n}, which does not exist"));
                        continue;
                    };
                    self.same(name, found, &[want]);
                    stored[*n as usize] += 1;
                    let repeats = self.k.writes.get(*n as usize).is_some_and(|a| access_repeats(a, visible));
                    self.findings.check(repeats, || format!("write {n} changes along the row"));
                }
            }
        }
        for (n, times) in stored.iter().enumerate() {
            self.findings.check(*times == 1, || format!("write {n} is stored {times} times, not once"));
        }
    }

    fn carried(&mut self, carried: &[(BufferId, BufferId, BufferId)]) {
        let mut targets = std::collections::BTreeSet::new();
        for (first, to, next) in carried {
            let get = |id: &BufferId| self.entry.buffers.get(id.0 as usize);
            let (Some(a), Some(b), Some(c)) = (get(first), get(to), get(next)) else {
                self.findings.say("a loop carries a buffer that does not exist");
                continue;
            };
            let like = |x: &Buffer<Dim>| (x.dtype, &x.shape, &x.strides) == (b.dtype, &b.shape, &b.strides);
            self.findings.check(like(a) && like(c), || {
                format!("a loop carries `{}`, whose first and next values differ in type or layout", b.name)
            });
            self.findings.check(targets.insert(to.0), || format!("a loop carries `{}` twice", b.name));
        }
        // Every value is copied from what the round left, so the order of the copies must not matter.
        for (_, to, next) in carried {
            let crossed = next != to && carried.iter().any(|(_, other, _)| other == next);
            self.findings.check(!crossed, || "a loop carries into a buffer that another carry copies from".into());
        }
    }

    fn matrices(&mut self, want: &[DType]) {
        let axes = self.k.axes.len();
        if axes < 2 {
            return self.needs_axes(2);
        }
        let square = self.k.axes[axes - 1] == self.k.axes[axes - 2];
        self.findings.check(square, || "the matrices are not square".into());
        self.findings.check(self.loads == [DType::F32], || "the template has one f32 operand".into());
        self.writes(want);
        if let (true, Some(values)) = (want.len() == 2, self.k.writes.first()) {
            let visible: Vec<bool> = (0..axes).map(|i| i != axes - 2).collect();
            self.findings.check(access_repeats(values, &visible), || "eigenvalues have one matrix axis".into());
        }
    }
}

/// Does the access stay the same along the axis?
fn repeats_on(a: &Access<Dim>, axis: usize) -> bool {
    let still = |strides: &[Dim]| strides.get(axis).is_none_or(|s| s.is(0));
    still(&a.strides) && a.guards.iter().all(|g| still(&g.strides))
}

/// Does the access stay the same along all axes that are not visible?
fn access_repeats(a: &Access<Dim>, visible: &[bool]) -> bool {
    visible.iter().enumerate().all(|(axis, v)| *v || repeats_on(a, axis))
}

/// What a reduction takes.
fn reduces(op: ReduceOp) -> &'static [DType] {
    match op {
        ReduceOp::Sum | ReduceOp::Prod => &[DType::F32, DType::I32],
        ReduceOp::Max | ReduceOp::Min | ReduceOp::ArgMax | ReduceOp::ArgMin => &[DType::F32, DType::I32, DType::Bool],
    }
}

fn check_access(k: &Kernel<Dim>, a: &Access<Dim>, what: &str, findings: &mut Findings) {
    let n = k.axes.len();
    let fits = a.strides.len() == n && a.guards.iter().all(|g| g.strides.len() == n);
    findings.check(fits, || format!("{what} has not one stride per axis"));
    let few = a.guards.len() <= MOST_GUARDS && a.via.len() <= MOST_GUARDS;
    findings.check(few, || format!("{what} has more than {MOST_GUARDS} guards or indices"));
}

/// Is the buffer a scalar of this type?
fn is_scalar(entry: &Entry<Dim>, id: BufferId, dtype: DType) -> bool {
    entry.buffers.get(id.0 as usize).is_some_and(|b| b.dtype == dtype && b.shape.iter().all(|d| d.is(1)))
}
