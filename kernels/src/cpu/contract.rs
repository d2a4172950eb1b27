//! Contractions and attention as row reductions: right for every plan, fast for none.
//!
//! In: bound kernels that no matrix kernel takes. Out: compiled `rows`. Invariants: the same axes, operands and holes;
//! scores of attention lie in a buffer of the program's own. Imports: [`super::rows`], [`super::map`], `uad-plan`.

use super::map::Site;
use super::rows::Rows;
use super::run::Compiled;
use uad_plan::{Access, AttentionRole, BufferId, DType, DotRole, Guard, Hole, Inst, ReduceOp, Reg, RowStage, ScalarOp};

/// An access over the axes `order` of the ones it had.
fn pick_access(a: &Access<i64>, order: &[usize]) -> Access<i64> {
    let pick = |s: &[i64]| order.iter().map(|i| s[*i]).collect::<Vec<i64>>();
    let guard = |g: &Guard<i64>| Guard { offset: g.offset, strides: pick(&g.strides), extent: g.extent };
    Access { strides: pick(&a.strides), guards: a.guards.iter().map(guard).collect(), ..a.clone() }
}

/// Puts the code of `hole` behind that of `into`, its axes renamed and its slots replaced; gives the results.
fn append(into: &mut Hole<i64>, hole: &Hole<i64>, order: &[usize], slot: Option<Reg>) -> Vec<Reg> {
    let mut regs: Vec<Reg> = Vec::new();
    for inst in &hole.code {
        let reg = |r: &Reg| regs[r.0 as usize];
        let new = match inst {
            Inst::Slot(_) if slot.is_some() => {
                regs.extend(slot);
                continue;
            }
            Inst::Index(a) => match order.iter().position(|o| o == &(*a as usize)) {
                Some(n) => Inst::Index(n as u32),
                None => Inst::I32(0),
            },
            Inst::Op(op, args) => Inst::Op(*op, args.iter().map(reg).collect()),
            Inst::Draw { site, lane, element, sample } => {
                Inst::Draw { site: *site, lane: *lane, element: reg(element), sample: reg(sample) }
            }
            other => other.clone(),
        };
        regs.push(into.push(new));
    }
    hole.results.iter().map(|r| regs[r.0 as usize]).collect()
}

/// `sum(left * right)` and then what `out` makes of it.
fn product_stages(left: &Hole<i64>, right: &Hole<i64>, out: &Hole<i64>, order: &[usize]) -> Vec<RowStage<i64>> {
    let mut product = Hole::default();
    let x = append(&mut product, left, order, None);
    let y = append(&mut product, right, order, None);
    let r = product.push(Inst::Op(ScalarOp::Mul, vec![x[0], y[0]]));
    product.results = vec![r];
    let mut stages = vec![RowStage::Reduce(ReduceOp::Sum, product)];
    for n in 0..out.results.len() {
        let mut emit = Hole::default();
        let results = append(&mut emit, out, order, None);
        emit.results = vec![results[n]];
        stages.push(RowStage::Emit(n as u32, emit));
    }
    stages
}

/// Appends a row axis of one point, so that there is a row.
fn with_row(axes: &mut Vec<i64>, accesses: &mut [Vec<Access<i64>>], inner: &mut usize) {
    if *inner == 0 {
        *inner = 1;
        axes.push(1);
        for a in accesses.iter_mut().flatten() {
            a.strides.push(0);
            a.guards.iter_mut().for_each(|g| g.strides.push(0));
        }
    }
}

fn rows_over(
    site: &mut Site<'_>,
    axes: &[i64],
    order: &[usize],
    mut inner: usize,
    reads: &[Access<i64>],
    writes: &[Access<i64>],
    stages: &[RowStage<i64>],
) -> Result<Rows, String> {
    let mut picked: Vec<i64> = order.iter().map(|a| axes[*a]).collect();
    let mut accesses: Vec<Vec<Access<i64>>> =
        [reads, writes].iter().map(|l| l.iter().map(|a| pick_access(a, order)).collect()).collect();
    with_row(&mut picked, &mut accesses, &mut inner);
    Rows::new(site, &picked, &accesses[0], &accesses[1], inner, stages)
}

/// A `dot` as row reductions.
pub fn dot(
    site: &mut Site<'_>,
    axes: &[i64],
    reads: &[Access<i64>],
    writes: &[Access<i64>],
    roles: &[DotRole],
    [a, b, out]: [&Hole<i64>; 3],
) -> Result<Rows, String> {
    let of = |k: bool| (0..axes.len()).filter(move |i| (roles[*i] == DotRole::K) == k);
    let order: Vec<usize> = of(false).chain(of(true)).collect();
    let stages = product_stages(a, b, out, &order);
    rows_over(site, axes, &order, of(true).count(), reads, writes, &stages)
}

/// Kernels that run one after another.
pub struct Several(Vec<Rows>);

impl Compiled for Several {
    unsafe fn run(&self, cx: &super::run::RunContext<'_>) {
        // SAFETY: the caller's contract.
        self.0.iter().for_each(|k| unsafe { k.run(cx) });
    }
}

/// `attention` as a `dot`, a softmax and another `dot`.
pub fn attention(
    site: &mut Site<'_>,
    axes: &[i64],
    reads: &[Access<i64>],
    writes: &[Access<i64>],
    roles: &[AttentionRole],
    [q, k, score, v, out]: [&Hole<i64>; 5],
) -> Result<Several, String> {
    use AttentionRole::{Batch, D, E, S, T};
    let of =
        |wanted: &[AttentionRole]| -> Vec<usize> { (0..axes.len()).filter(|i| wanted.contains(&roles[*i])).collect() };
    let (outer, s, d, e) = (of(&[Batch, T]), of(&[S]), of(&[D]), of(&[E]));
    let join = |lists: &[&Vec<usize>]| lists.iter().flat_map(|l| l.iter().copied()).collect::<Vec<usize>>();
    let scored = join(&[&outer, &s]);
    let elements: i64 = scored.iter().map(|a| axes[*a]).product();
    let buffer = site.own_buffer(DType::F32, elements.max(0) as usize);
    let mut strides = vec![0; axes.len()];
    let mut step = 1;
    for a in scored.iter().rev() {
        strides[*a] = step;
        step *= axes[*a];
    }
    let scores = |buffer: BufferId| Access {
        buffer,
        offset: 0,
        strides: strides.clone(),
        guards: Vec::new(),
        fill: 0.0,
        via: Vec::new(),
    };
    let order = join(&[&outer, &s, &d]);
    let stages = product_stages(q, k, score, &order);
    let first = rows_over(site, axes, &order, d.len(), reads, &[scores(buffer)], &stages)?;
    let soft = softmax();
    let own = [scores(buffer)];
    let second = rows_over(site, axes, &scored, s.len(), &own, &own, &soft)?;
    let order = join(&[&outer, &e, &s]);
    let mut all = reads.to_vec();
    all.push(scores(buffer));
    let weight = Hole::load(reads.len() as u32);
    let stages = product_stages(&weight, v, out, &order);
    let third = rows_over(site, axes, &order, s.len(), &all, writes, &stages)?;
    Ok(Several(vec![first, second, third]))
}

/// Stages that make a softmax of operand 0 in write 0.
fn softmax() -> Vec<RowStage<i64>> {
    let raised = || {
        let mut h = Hole::default();
        let x = h.push(Inst::Load(0));
        let m = h.push(Inst::Slot(0));
        let x = h.push(Inst::Op(ScalarOp::Sub, vec![x, m]));
        let e = h.push(Inst::Op(ScalarOp::Exp, vec![x]));
        h.results = vec![e];
        h
    };
    let mut weight = raised();
    let sum = weight.push(Inst::Slot(1));
    let r = weight.push(Inst::Op(ScalarOp::Div, vec![weight.results[0], sum]));
    weight.results = vec![r];
    vec![
        RowStage::Reduce(ReduceOp::Max, Hole::load(0)),
        RowStage::Reduce(ReduceOp::Sum, raised()),
        RowStage::Map(0, weight),
    ]
}
