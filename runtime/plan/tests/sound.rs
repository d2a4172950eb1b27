//! What binds stays inside its buffers, and computes what its definition says.
//!
//! In: random kernels with guards and indices over small buffers. Out: assertions: the interpreter, which would panic
//! outside of a buffer, agrees with a plain walk over all points that follows the definitions of the format.
//! Invariants: a case is made from one number. Imports: the crate from outside.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uad_plan::interp::{Draw, run_f64};
use uad_plan::*;

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n.max(1)
    }
    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as usize) as i64
    }
}

type Access64 = Access<i64>;

fn dims(v: &[i64]) -> Vec<Dim> {
    v.iter().map(|v| Dim::int(*v)).collect()
}

fn symbolic(a: &Access64) -> Access<Dim> {
    let guard =
        |g: &Guard<i64>| Guard { offset: Dim::int(g.offset), strides: dims(&g.strides), extent: Dim::int(g.extent) };
    let via = |v: &Via<i64>| Via { read: v.read, stride: Dim::int(v.stride), extent: Dim::int(v.extent) };
    Access {
        buffer: a.buffer,
        offset: Dim::int(a.offset),
        strides: dims(&a.strides),
        guards: a.guards.iter().map(guard).collect(),
        fill: a.fill,
        via: a.via.iter().map(via).collect(),
    }
}

/// An operand of 24 elements seen over the axes (none of those that it may not see), with guards that often are the
/// rows and columns of a padded window, and now and then an index.
fn operand(dice: &mut Dice, buffer: u32, visible: &[bool]) -> Access64 {
    let strides = |dice: &mut Dice, low, high| -> Vec<i64> {
        visible.iter().map(|v| if *v && dice.below(3) > 0 { dice.between(low, high) } else { 0 }).collect()
    };
    let mut a =
        Access { buffer: BufferId(buffer), offset: 0, strides: vec![], guards: vec![], fill: -1.5, via: vec![] };
    let (rows, columns) = (strides(dice, -1, 2), strides(dice, -1, 2));
    let (r, c) = (dice.between(-2, 2), dice.between(-2, 2));
    a.offset = 6 * r + c;
    a.strides = rows.iter().zip(&columns).map(|(r, c)| 6 * r + c).collect();
    if dice.below(4) > 0 {
        a.guards.push(Guard { offset: r, strides: rows, extent: 4 });
    }
    if dice.below(4) > 0 {
        a.guards.push(Guard { offset: c, strides: columns, extent: 6 });
    }
    if dice.below(6) == 0 {
        (a.offset, a.strides) = (0, vec![0; visible.len()]);
        a.via.push(Via { read: 0, stride: dice.between(1, 6), extent: dice.between(1, 5) });
    }
    a
}

/// Row-major over the visible axes.
fn target(buffer: u32, axes: &[i64], visible: &[bool]) -> (Access64, Vec<i64>) {
    let mut strides = vec![0; axes.len()];
    let mut step = 1;
    for i in (0..axes.len()).rev().filter(|i| visible[*i]) {
        strides[i] = step;
        step *= axes[i];
    }
    let shape = axes.iter().zip(visible).filter(|(_, v)| **v).map(|(e, _)| *e).collect();
    (Access { buffer: BufferId(buffer), offset: 0, strides, guards: vec![], fill: 0.0, via: vec![] }, shape)
}

struct Case {
    axes: Vec<i64>,
    reads: Vec<Access64>,
    write: Access64,
    template: usize,
    visible: Vec<bool>,
    plan: Plan<Dim>,
}

/// `sum over the axes that the write does not see of $1 * $2`, plus the index of axis 0, by one of three templates.
fn case(dice: &mut Dice) -> Case {
    let n = dice.below(5);
    let mut axes = Vec::new();
    for _ in 0..n {
        let least = i64::from(dice.below(9) > 0);
        axes.push(dice.between(least, 4));
    }
    let template = if n == 0 { 0 } else { dice.below(3) };
    let inner = 1 + dice.below(n);
    let all = vec![true; n];
    let roles: Vec<DotRole> =
        (0..n).map(|_| [DotRole::Batch, DotRole::M, DotRole::N, DotRole::K][dice.below(4)]).collect();
    let not = |role: DotRole| roles.iter().map(|r| *r != role).collect::<Vec<_>>();
    let (sees, visible) = match template {
        0 => ([all.clone(), all.clone()], all.clone()),
        1 => ([all.clone(), all.clone()], (0..n).map(|i| i + inner < n).collect()),
        _ => ([not(DotRole::N), not(DotRole::M)], not(DotRole::K)),
    };
    let index_sees: Vec<bool> = sees[0].iter().zip(&sees[1]).map(|(a, b)| *a && *b).collect();
    let mut index = operand(dice, 0, &index_sees);
    (index.via, index.fill) = (vec![], 2.0);
    let reads = vec![index, operand(dice, 1, &sees[0]), operand(dice, 2, &sees[1])];
    let (write, shape) = target(3, &axes, &visible);
    let op = |code: &mut Hole<Dim>, op, args: &[Reg]| code.push(Inst::Op(op, args.to_vec()));
    let mut product = Hole::default();
    let (a, b) = (product.push(Inst::Load(1)), product.push(Inst::Load(2)));
    let r = op(&mut product, ScalarOp::Mul, &[a, b]);
    product.results = vec![r];
    let body = match template {
        0 => Body::Map(product),
        1 => {
            let stages = vec![RowStage::Reduce(ReduceOp::Sum, product), RowStage::Emit(0, Hole::slot(0))];
            Body::Rows { inner: inner as u32, stages }
        }
        _ => Body::Dot { roles, a: Hole::load(1), b: Hole::load(2), out: Hole::slot(0) },
    };
    let buffer = |name: &str, kind, dtype, shape: &[i64]| {
        let shape = dims(shape);
        Buffer { name: name.into(), kind, dtype, strides: extent::row_major(&shape).unwrap(), shape }
    };
    let buffers = vec![
        buffer("i", BufferKind::Input, DType::I32, &[4, 6]),
        buffer("a", BufferKind::Input, DType::F32, &[4, 6]),
        buffer("b", BufferKind::Input, DType::F32, &[24]),
        buffer("y", BufferKind::Output, DType::F32, &shape),
    ];
    let kernel = Kernel {
        scope: "case".into(),
        axes: dims(&axes),
        reads: reads.iter().map(symbolic).collect(),
        writes: vec![symbolic(&write)],
        body,
    };
    let entry = Entry { name: "e".into(), buffers, kernels: vec![kernel], ..Entry::<Dim>::default() };
    let plan = Plan { name: "case".into(), stored: vec![], entries: vec![entry] };
    Case { axes, reads, write, template, visible, plan }
}

/// The operand's value by definition; `None` outside of its buffer.
fn value(case: &Case, memory: &[Vec<f64>], n: usize, point: &[i64]) -> Option<f64> {
    let a = &case.reads[n];
    let at = |offset: i64, strides: &[i64]| offset + strides.iter().zip(point).map(|(s, i)| s * i).sum::<i64>();
    if !a.guards.iter().all(|g| (0..g.extent).contains(&at(g.offset, &g.strides))) {
        return Some(a.fill);
    }
    let mut e = at(a.offset, &a.strides);
    for v in &a.via {
        e += (value(case, memory, v.read as usize, point)? as i64).clamp(0, v.extent - 1) * v.stride;
    }
    memory[n].get(usize::try_from(e).ok()?).copied()
}

/// All by definition; `None` if some point is outside of a buffer.
fn plain(case: &Case, memory: &[Vec<f64>], elements: usize) -> Option<Vec<f64>> {
    let mut out = vec![if case.template == 0 { f64::NAN } else { 0.0 }; elements];
    let mut written = BTreeSet::new();
    for p in 0..case.axes.iter().product::<i64>() {
        let mut rest = p;
        let mut point = vec![0; case.axes.len()];
        for i in (0..point.len()).rev() {
            (point[i], rest) = (rest % case.axes[i], rest / case.axes[i]);
        }
        value(case, memory, 0, &point)?;
        let product = value(case, memory, 1, &point)? * value(case, memory, 2, &point)?;
        let to = case.write.strides.iter().zip(&point).map(|(s, i)| s * i).sum::<i64>() as usize;
        if case.template == 0 {
            assert!(written.insert(to), "written twice");
            out[to] = product;
        } else {
            out[to] += product;
        }
    }
    Some(out)
}

/// Whether it bound, and whether the walk stays inside.
fn check(seed: u64) -> (bool, bool) {
    let mut dice = Dice(seed);
    let case = case(&mut dice);
    let plan = verify(case.plan.clone()).expect("the plan is right");
    // Whole numbers, so that the order of a sum does not matter.
    let mut numbers = |low, high| -> Vec<f64> { (0..24).map(|_| dice.between(low, high) as f64).collect() };
    let memory = [numbers(-3, 30), numbers(-9, 9), numbers(-9, 9)];
    let elements = case.axes.iter().zip(&case.visible).filter(|(_, v)| **v).map(|(e, _)| *e as usize).product();
    let want = plain(&case, &memory, elements);
    let Ok(bound) = bind(&plan, "e", &Binding::new()) else { return (false, want.is_some()) };
    let want = want.unwrap_or_else(|| panic!("bound, but leaves a buffer: seed {seed}\n{}", case.plan));
    let inputs = bound.inputs.iter().zip(&memory).map(|(port, data)| {
        (port.name.clone(), ndarray::ArrayD::from_shape_vec(port.shape.clone(), data.clone()).unwrap())
    });
    let found = run_f64(&bound, &inputs.collect(), &mut BTreeMap::new(), Draw::default()).unwrap().remove("y").unwrap();
    assert_eq!(found.iter().copied().collect::<Vec<_>>(), want, "seed {seed}\n{}", case.plan);
    (true, true)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_binds_is_right(seed: u64) {
        check(seed);
    }
}

#[test]
fn most_of_what_is_right_binds() {
    let (mut bound, mut right) = (0, 0);
    for seed in 0..4000 {
        let (b, r) = check(seed * 7919);
        bound += usize::from(b);
        right += usize::from(r);
    }
    eprintln!("{bound} of {right} right cases of 4000 bind");
    assert!(bound * 10 > right * 9);
}
