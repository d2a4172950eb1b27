//! What plan kernels cost, computed from the plan.
//!
//! In: a bound entry with its program. Out: operations, bytes and launches of every kernel. Invariants: an operation of a
//! hole counts as one, a fused multiply-add as two; bytes are those of the elements that a kernel must read and write at
//! least, each once. Nothing is measured. Imports: program.

use uad_plan::{Access, AttentionRole, Body, Bound, DotRole, Entry, Hole, Inst, Kernel, RowStage};

use super::program::{Program, Step};

/// The cost of a plan kernel in one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Where it comes from.
    pub scope: String,
    /// The template.
    pub template: &'static str,
    /// Functions that are launched for it.
    pub functions: Vec<String>,
    /// Launches.
    pub launches: u64,
    /// Operations on scalars.
    pub operations: u128,
    /// Bytes of memory that are read and written.
    pub bytes: u128,
}

/// The costs of the kernels of a call, in order; those in loops are counted with all rounds.
pub fn of_call(bound: &Bound, program: &Program) -> Vec<Cost> {
    let before = count(&bound.entry.setup);
    let mut costs = Vec::new();
    listed(&bound.entry, &bound.entry.kernels, 1, &mut costs);
    launched(program, &program.kernels, 1, before, &mut costs);
    costs
}

fn count(kernels: &[Kernel<i64>]) -> usize {
    let inner = |k: &Kernel<i64>| if let Body::Loop { body, .. } = &k.body { count(body) } else { 0 };
    kernels.iter().map(|k| 1 + inner(k)).sum()
}

/// Kernels in the order in which the emitter numbers them: those of a loop before the loop.
fn listed(entry: &Entry<i64>, kernels: &[Kernel<i64>], rounds: u128, out: &mut Vec<Cost>) {
    for k in kernels {
        if let Body::Loop { count, body, .. } = &k.body {
            listed(entry, body, rounds * (*count).max(0) as u128, out);
        }
        let (operations, bytes) = (operations(k) * rounds, bytes(entry, k) * rounds);
        let (scope, template) = (k.scope.clone(), k.body.name());
        out.push(Cost { scope, template, operations, bytes, ..Cost::default() });
    }
}

fn launched(program: &Program, steps: &[Step], rounds: u64, before: usize, out: &mut [Cost]) {
    for step in steps {
        match step {
            Step::Loop(l) => launched(program, &l.round, rounds * u64::from(l.count), before, out),
            Step::Launch(l) => {
                let Some(cost) = l.kernel.checked_sub(before).and_then(|n| out.get_mut(n)) else { continue };
                cost.launches += rounds;
                if let Some(f) = program.functions.get(l.function)
                    && !cost.functions.contains(&f.name)
                {
                    cost.functions.push(f.name.clone());
                }
            }
        }
    }
}

fn product(extents: impl Iterator<Item = i64>) -> u128 {
    extents.map(|e| e.max(0) as u128).product()
}

fn work(hole: &Hole<i64>) -> u128 {
    hole.code.iter().filter(|i| matches!(i, Inst::Op(..) | Inst::Draw { .. })).count() as u128
}

fn operations(k: &Kernel<i64>) -> u128 {
    let all = product(k.axes.iter().copied());
    let n = k.axes.last().map_or(0, |n| (*n).max(0) as u128);
    match &k.body {
        Body::Map(h) | Body::ScatterAdd(h) => all * work(h).max(1),
        Body::Scan { value: h, .. } => all * (work(h) + 1),
        Body::ArgSort { key, .. } => all * (work(key) + u128::from(n.max(2).ilog2())),
        Body::Rows { inner, stages } => {
            let rows = product(k.axes.iter().take(k.axes.len() - *inner as usize).copied());
            let one = |s: &RowStage<i64>| match s {
                RowStage::Reduce(_, h) => all * (work(h) + 1),
                RowStage::Map(_, h) => all * work(h),
                RowStage::Emit(_, h) => rows * work(h),
            };
            stages.iter().map(one).sum()
        }
        Body::Dot { roles, a, b, out } => {
            let but = |not: DotRole| product(k.axes.iter().zip(roles).filter(|(_, r)| **r != not).map(|(e, _)| *e));
            2 * all + but(DotRole::N) * work(a) + but(DotRole::M) * work(b) + but(DotRole::K) * work(out)
        }
        Body::Attention { roles, q, k: keys, score, v, out } => {
            use AttentionRole as R;
            let over = |want: &[R]| {
                product(k.axes.iter().zip(roles).filter(|(_, r)| **r == R::Batch || want.contains(r)).map(|(e, _)| *e))
            };
            2 * (over(&[R::T, R::S, R::D]) + over(&[R::T, R::S, R::E]))
                + over(&[R::T, R::S]) * (work(score) + 4)
                + over(&[R::T, R::D]) * work(q)
                + over(&[R::S, R::D]) * work(keys)
                + over(&[R::S, R::E]) * work(v)
                + over(&[R::T, R::E]) * (work(out) + 1)
        }
        Body::Loop { .. } => 0,
        // About ten sweeps of n^2 / 2 rotations of 12 n operations.
        Body::Eigh => all * n * 60,
        Body::Cholesky => all * n / 3,
    }
}

/// Elements that an access reaches, at most those of its buffer.
fn reached(entry: &Entry<i64>, k: &Kernel<i64>, a: &Access<i64>) -> u128 {
    let Some(b) = entry.buffers.get(a.buffer.0 as usize) else { return 0 };
    let moves = |axis: usize| a.strides.get(axis).is_some_and(|s| *s != 0);
    let points = product(k.axes.iter().enumerate().filter(|(n, _)| moves(*n)).map(|(_, e)| *e));
    let indexed = product(a.via.iter().map(|v| v.extent));
    points.saturating_mul(indexed).min(product(b.shape.iter().copied())) * b.dtype.bytes() as u128
}

fn bytes(entry: &Entry<i64>, k: &Kernel<i64>) -> u128 {
    let written: u128 = k.writes.iter().map(|a| reached(entry, k, a)).sum();
    // What is added to is read as well.
    let times = if matches!(k.body, Body::ScatterAdd(_)) { 2 } else { 1 };
    k.reads.iter().map(|a| reached(entry, k, a)).sum::<u128>() + times * written
}

#[cfg(test)]
mod tests {
    use super::*;
    use uad_plan::{bind, text, verify};

    #[test]
    fn a_product_and_a_map() {
        let text = r#"uadp 1 plan "t" stored { } entry score() { input %x f32[20, 30] input %w f32[40, 30] temp %t f32[20, 40]
            output %y f32[20, 40] kernels {
            dot [20, 40, 30] as [m, n, k] "product" { $0 = %x[30*i0 + i2] $1 = %w[30*i1 + i2] a { r0 = $0; yield r0 }
                b { r0 = $1; yield r0 } out { r0 = slot 0; r1 = exp r0; yield r1 } write %t[40*i0 + i1] }
            map [20, 40] "double" { $0 = %t[40*i0 + i1] at { r0 = $0; r1 = add r0 r0; yield r1 } write %y[40*i0 + i1] } } }"#;
        let plan = verify(text::parse(text).unwrap()).unwrap();
        let bound = bind(&plan, "score", &Default::default()).unwrap();
        let program = Program::emit(&bound, Default::default()).unwrap();
        let costs = of_call(&bound, &program);
        assert_eq!(costs.len(), 2);
        assert_eq!((costs[0].operations, costs[1].operations), (2 * 20 * 40 * 30 + 800, 800));
        assert_eq!((costs[0].bytes, costs[1].bytes), (4 * (600 + 1200 + 800), 4 * 1600));
        assert_eq!((costs[0].launches, costs[1].launches), (1, 1));
        assert_eq!(costs[1].functions, ["map_1"]);
    }
}
