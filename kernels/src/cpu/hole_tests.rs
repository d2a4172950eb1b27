//! Compiled holes against the meaning of the scalar table.
//!
//! In: holes, values. Out: agreement with a plain evaluation in f64 that rounds after every operation. Invariants: every
//! operation, dtype, movement and length of strip up to beyond one piece. Imports: what it tests.

use super::hole_jit::HoleCompiler;
use super::isa::Isa;
use super::strip::{DrawKey, Move, Port, StripArgs, StripOperand, StripSpec};
use uad_plan::scalar::{Rule, SCALAR_OPS};
use uad_plan::{DType, Hole, Inst, Reg, ScalarOp};

/// The value of `op` on elements, rounded to the result's dtype.
fn meaning(op: ScalarOp, dtypes: &[DType], args: &[f64]) -> f64 {
    let result = op.result(dtypes).unwrap();
    let ints: Vec<i64> = args.iter().map(|a| *a as i64).collect();
    let v = match (op, dtypes[0]) {
        (ScalarOp::Div, DType::I32) => {
            if ints[1] == 0 {
                0.0
            } else {
                (args[0] / args[1]).floor()
            }
        }
        (ScalarOp::Rem, DType::I32) => {
            if ints[1] == 0 {
                0.0
            } else {
                (ints[0] - ints[1] * (args[0] / args[1]).floor() as i64) as f64
            }
        }
        (ScalarOp::Rem, DType::F32) => {
            let q = f64::from((args[0] / args[1]) as f32).floor();
            let p = f64::from((args[1] * q) as f32);
            args[0] - p
        }
        // The count is taken modulo 32, also where it is negative.
        (ScalarOp::Shl | ScalarOp::Shr, _) => op.eval(&[args[0], (ints[1] & 31) as f64]),
        _ => op.eval(args),
    };
    match result {
        DType::F32 => f64::from(v as f32),
        // Beyond i32 arithmetic wraps.
        DType::I32 if matches!(op.rule(), Rule::Number) => f64::from(v as i64 as i32),
        DType::I32 => f64::from(v as i32),
        DType::Bool => f64::from(u8::from(v != 0.0)),
    }
}

/// Elements of a dtype in memory.
struct Memory {
    dtype: DType,
    bytes: Vec<u8>,
}

impl Memory {
    fn new(dtype: DType, values: &[f64]) -> Memory {
        let bytes = values
            .iter()
            .flat_map(|v| match dtype {
                DType::F32 => (*v as f32).to_le_bytes().to_vec(),
                DType::I32 => (*v as i32).to_le_bytes().to_vec(),
                DType::Bool => vec![u8::from(*v != 0.0)],
            })
            .collect();
        Memory { dtype, bytes }
    }

    fn get(&self, i: usize) -> f64 {
        let at = i * self.dtype.bytes();
        let four = || <[u8; 4]>::try_from(&self.bytes[at..at + 4]).unwrap();
        match self.dtype {
            DType::F32 => f64::from(f32::from_le_bytes(four())),
            DType::I32 => f64::from(i32::from_le_bytes(four())),
            DType::Bool => f64::from(self.bytes[at]),
        }
    }
}

fn stride_of(moves: Move) -> usize {
    match moves {
        Move::Fixed => 0,
        Move::Unit => 1,
        Move::Strided => 3,
    }
}

/// Runs a hole with these operands over `n` points, results strided as asked.
fn run(
    hole: &Hole<i64>,
    reads: &[(&Memory, Move)],
    slots: &[(&Memory, Move)],
    results: &[(DType, Move)],
    n: usize,
    isa: Isa,
) -> Vec<Memory> {
    let mut compiler = HoleCompiler::new(isa).unwrap();
    let port = |x: &(&Memory, Move)| Port::new(x.0.dtype, x.1);
    let spec = StripSpec {
        hole,
        reads: reads.iter().map(port).collect(),
        slots: slots.iter().map(port).collect(),
        results: results.iter().map(|r| Port::new(r.0, r.1)).collect(),
        moving: Some(1),
    };
    let id = compiler.request(&spec).unwrap();
    let text = compiler.clif();
    let code = compiler.finish().unwrap_or_else(|e| panic!("{e}\n{text}"));
    let operand = |x: &(&Memory, Move)| StripOperand::new(x.0.bytes.as_ptr(), stride_of(x.1) as isize);
    let reads: Vec<StripOperand> = reads.iter().map(operand).collect();
    let slots: Vec<StripOperand> = slots.iter().map(operand).collect();
    let mut out: Vec<Memory> = results.iter().map(|r| Memory::new(r.0, &vec![77.0; n * stride_of(r.1) + 1])).collect();
    let targets: Vec<StripOperand> = out
        .iter_mut()
        .zip(results)
        .map(|(m, r)| StripOperand::new(m.bytes.as_mut_ptr(), stride_of(r.1) as isize))
        .collect();
    let base = [5, 7, 11];
    let draw = DrawKey { seed: 1, step: 2, first_sample: 3, site: 0 };
    let args = StripArgs {
        n,
        reads: reads.as_ptr(),
        slots: slots.as_ptr(),
        results: targets.as_ptr(),
        base: base.as_ptr(),
        draw: &draw,
    };
    // SAFETY: the operands hold as many elements as their movement needs.
    unsafe { code.get(id)(&args) };
    out
}

fn close(got: f64, want: f64, op: ScalarOp) -> bool {
    let exact =
        !matches!(op, ScalarOp::Exp | ScalarOp::Log | ScalarOp::Sin | ScalarOp::Cos | ScalarOp::Tanh | ScalarOp::Erf);
    (got.is_nan() && want.is_nan()) || got == want || (!exact && (got - want).abs() <= 1e-6 * want.abs().max(0.1))
}

/// Values of a dtype for an operation: its domain, and what is special.
fn values(op: ScalarOp, dtype: DType, n: usize, salt: u64) -> Vec<f64> {
    let domain = op.domain();
    let mut state = salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let special = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0, -1.0, 2.5, -2.5, 3e9, -3e9];
    let ints = [0.0, -1.0, 1.0, f64::from(i32::MIN), f64::from(i32::MAX), 7.0, -7.0, 33.0];
    (0..n)
        .map(|_| {
            let (pick, v) = (next(), domain.0 + (domain.1 - domain.0) * next());
            match dtype {
                DType::F32 if pick < 0.3 => special[(next() * special.len() as f64) as usize],
                DType::F32 => f64::from(v as f32),
                DType::I32 if pick < 0.3 => ints[(next() * ints.len() as f64) as usize],
                DType::I32 => (v * 10.0).floor(),
                DType::Bool => f64::from(u8::from(pick < 0.5)),
            }
        })
        .collect()
}

fn typings(op: ScalarOp) -> Vec<Vec<DType>> {
    let all = [DType::F32, DType::I32, DType::Bool];
    let mut found = Vec::new();
    for a in all {
        for b in all {
            for c in all {
                let args = [a, b, c][..op.arity()].to_vec();
                if op.result(&args).is_some() && !found.contains(&args) {
                    found.push(args);
                }
            }
        }
    }
    found
}

#[test]
fn every_operation_means_what_the_table_says() {
    let n = 45;
    for op in SCALAR_OPS {
        for dtypes in typings(*op) {
            let data: Vec<Vec<f64>> =
                dtypes.iter().enumerate().map(|(i, d)| values(*op, *d, n * 3, i as u64 + 1)).collect();
            let memory: Vec<Memory> = dtypes.iter().zip(&data).map(|(d, v)| Memory::new(*d, v)).collect();
            let mut hole = Hole { code: Vec::new(), results: Vec::new() };
            let args: Vec<Reg> = (0..dtypes.len()).map(|i| hole.push(Inst::Load(i as u32))).collect();
            let r = hole.push(Inst::Op(*op, args));
            hole.results = vec![r];
            let result = op.result(&dtypes).unwrap();
            for moves in
                [[Move::Unit; 3], [Move::Strided; 3], [Move::Fixed, Move::Unit, Move::Strided], [Move::Fixed; 3]]
            {
                let reads: Vec<(&Memory, Move)> = memory.iter().zip(moves).collect();
                for out in [Move::Unit, Move::Strided] {
                    for isa in Isa::all() {
                        let got = &run(&hole, &reads, &[], &[(result, out)], n, isa)[0];
                        for i in 0..n {
                            let args: Vec<f64> = reads.iter().map(|(m, mv)| m.get(i * stride_of(*mv))).collect();
                            let want = meaning(*op, &dtypes, &args);
                            let got = got.get(i * stride_of(out));
                            assert!(
                                close(got, want, *op),
                                "{op:?} {dtypes:?} {args:?} gives {got}, not {want}; {moves:?} {out:?} point {i}"
                            );
                        }
                    }
                }
            }
        }
    }
}

/// A hole of `n` random operations over two f32, an i32 and a bool operand, a slot and two indices.
fn random_hole(size: usize, seed: u64) -> Hole<i64> {
    let mut state = seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let mut hole = Hole { code: Vec::new(), results: Vec::new() };
    let mut dtypes = Vec::new();
    for (inst, d) in [
        (Inst::Load(0), DType::F32),
        (Inst::Load(1), DType::F32),
        (Inst::Load(2), DType::I32),
        (Inst::Load(3), DType::Bool),
        (Inst::Slot(0), DType::F32),
        (Inst::Index(0), DType::I32),
        (Inst::Index(1), DType::I32),
        (Inst::F32(0.75), DType::F32),
        (Inst::I32(3), DType::I32),
        (Inst::Bool(true), DType::Bool),
    ] {
        hole.push(inst);
        dtypes.push(d);
    }
    while hole.code.len() < size + 10 {
        let op = SCALAR_OPS[next(SCALAR_OPS.len())];
        // Those whose error grows, or whose value jumps, would make the comparison loose.
        if matches!(op, ScalarOp::Rem | ScalarOp::Div | ScalarOp::ToI32 | ScalarOp::Floor | ScalarOp::Round) {
            continue;
        }
        let args: Vec<Reg> = (0..op.arity()).map(|_| Reg(next(hole.code.len()) as u32)).collect();
        let types: Vec<DType> = args.iter().map(|a| dtypes[a.0 as usize]).collect();
        if let Some(d) = op.result(&types) {
            hole.push(Inst::Op(op, args));
            dtypes.push(d);
        }
    }
    let last = hole.code.len() as u32;
    hole.results = vec![Reg(last - 1), Reg(last - 2), Reg(10 + next(size) as u32)];
    hole
}

/// The hole on one point, with the f32 of exp and others as the microkernels give it.
fn evaluate(
    hole: &Hole<i64>,
    loads: &[f64],
    slot: f64,
    index: [i32; 2],
    dtypes: &mut Vec<DType>,
    exact: &Exact,
) -> Vec<f64> {
    let mut v: Vec<f64> = Vec::new();
    dtypes.clear();
    let types = [DType::F32, DType::F32, DType::I32, DType::Bool];
    for inst in &hole.code {
        let (x, d) = match inst {
            Inst::Load(n) => (loads[*n as usize], types[*n as usize]),
            Inst::Slot(_) => (slot, DType::F32),
            Inst::Index(n) => (f64::from(index[*n as usize]), DType::I32),
            Inst::F32(x) => (f64::from(*x), DType::F32),
            Inst::I32(x) => (f64::from(*x), DType::I32),
            Inst::Bool(x) => (f64::from(u8::from(*x)), DType::Bool),
            Inst::Size(_) | Inst::Draw { .. } => (0.0, DType::F32),
            Inst::Op(op, args) => {
                let t: Vec<DType> = args.iter().map(|a| dtypes[a.0 as usize]).collect();
                let a: Vec<f64> = args.iter().map(|a| v[a.0 as usize]).collect();
                (exact(*op, &t, &a), op.result(&t).unwrap())
            }
        };
        v.push(x);
        dtypes.push(d);
    }
    hole.results.iter().map(|r| v[r.0 as usize]).collect()
}

type Exact<'a> = dyn Fn(ScalarOp, &[DType], &[f64]) -> f64 + 'a;

#[test]
fn random_holes_are_bit_equal_to_their_operations() {
    let isa = Isa::detect();
    let table = super::math::unary(isa);
    let exact = |op: ScalarOp, t: &[DType], a: &[f64]| match table.iter().find(|(o, _)| *o == op) {
        Some((_, f)) => {
            let mut x = a[0] as f32;
            // SAFETY: one value, in place.
            unsafe { f(&mut x, &x, 1) };
            f64::from(x)
        }
        None => meaning(op, t, a),
    };
    for seed in 0..120u64 {
        let hole = random_hole(4 + (seed as usize % 40), seed + 1);
        let n = [1, 3, 4, 9, 100, 511, 512, 513, 1100][seed as usize % 9];
        let moves = [Move::Unit, Move::Strided, Move::Fixed];
        let m = |k: u64| moves[((seed / 3 + k * seed) % 3) as usize];
        let data: Vec<Memory> = [DType::F32, DType::F32, DType::I32, DType::Bool]
            .into_iter()
            .enumerate()
            .map(|(i, d)| Memory::new(d, &values(ScalarOp::Add, d, 3 * n + 1, seed * 7 + i as u64 + 1)))
            .collect();
        let slot = Memory::new(DType::F32, &values(ScalarOp::Add, DType::F32, 3 * n + 1, seed + 99));
        let mut dtypes = Vec::new();
        let reads: Vec<(&Memory, Move)> = data.iter().enumerate().map(|(i, d)| (d, m(i as u64))).collect();
        evaluate(&hole, &[0.0; 4], 0.0, [0; 2], &mut dtypes, &exact);
        let results: Vec<(DType, Move)> = hole
            .results
            .iter()
            .enumerate()
            .map(|(i, r)| (dtypes[r.0 as usize], if (seed + i as u64) % 4 == 3 { Move::Strided } else { Move::Unit }))
            .collect();
        let got = run(&hole, &reads, &[(&slot, m(5))], &results, n, isa);
        for i in 0..n {
            let loads: Vec<f64> = reads.iter().map(|(d, mv)| d.get(i * stride_of(*mv))).collect();
            let s = slot.get(i * stride_of(m(5)));
            let want = evaluate(&hole, &loads, s, [5, 7 + i as i32], &mut dtypes, &exact);
            for (k, want) in want.iter().enumerate() {
                let got = got[k].get(i * stride_of(results[k].1));
                assert!(
                    got == *want || (got.is_nan() && want.is_nan()),
                    "seed {seed}, result {k} at {i} of {n}: {got}, not {want}\n{hole:?}"
                );
            }
        }
    }
}

#[test]
fn equal_holes_compile_once() {
    let hole = Hole::<i64>::load(1);
    let mut compiler = HoleCompiler::new(Isa::detect()).unwrap();
    let mut ask = |other: Move, moves: Move| {
        let reads = vec![Port::new(DType::F32, other), Port::new(DType::F32, moves)];
        let results = vec![Port::new(DType::F32, Move::Unit)];
        compiler.request(&StripSpec { hole: &hole, reads, slots: vec![], results, moving: None }).unwrap()
    };
    let a = ask(Move::Unit, Move::Unit);
    assert_eq!(a, ask(Move::Fixed, Move::Unit));
    assert_ne!(a, ask(Move::Unit, Move::Strided));
    assert_eq!(compiler.count(), 2);
    assert!(compiler.clif().contains("function"));
}
