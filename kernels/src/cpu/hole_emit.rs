//! Cranelift code of one scalar operation, on one point or on four.
//!
//! In: values of one or four points. Out: the same. Invariants: a bool is an `i8` of 0 or 1 for one point and an
//! `i32x4` of 0 or -1 for four; NaN, signs of zero and wrapping follow the scalar table. Imports: `uad-plan`, Cranelift.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, I8, I8X16, I32, I32X4};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value};
use cranelift_frontend::FunctionBuilder;
use uad_plan::{DType, ScalarOp};

/// Points in one vector.
pub const LANES: i64 = 4;

/// Memory that is valid but may not be aligned to a vector.
pub fn plain() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// The type of a value of this dtype.
pub fn type_of(dtype: DType, wide: bool) -> Type {
    match (dtype, wide) {
        (DType::F32, false) => F32,
        (DType::F32, true) => F32X4,
        (DType::I32, false) => I32,
        (DType::Bool, false) => I8,
        (DType::I32 | DType::Bool, true) => I32X4,
    }
}

/// Four copies of one point's value.
pub fn widen(b: &mut FunctionBuilder<'_>, dtype: DType, v: Value) -> Value {
    match dtype {
        DType::F32 => b.ins().splat(F32X4, v),
        DType::I32 => b.ins().splat(I32X4, v),
        DType::Bool => {
            let w = b.ins().uextend(I32, v);
            let w = b.ins().ineg(w);
            b.ins().splat(I32X4, w)
        }
    }
}

/// The four truths in the bytes of the low i32 of memory, as a mask.
pub fn mask_from_bytes(b: &mut FunctionBuilder<'_>, bytes: Value) -> Value {
    let v = b.ins().scalar_to_vector(I32X4, bytes);
    let v = b.ins().bitcast(I8X16, little(), v);
    let v = b.ins().uwiden_low(v);
    let v = b.ins().uwiden_low(v);
    b.ins().ineg(v)
}

/// The mask as four bytes 0 or 1 in an i32.
pub fn bytes_from_mask(b: &mut FunctionBuilder<'_>, mask: Value) -> Value {
    let v = b.ins().ineg(mask);
    let v = b.ins().snarrow(v, v);
    let v = b.ins().snarrow(v, v);
    debug_assert_eq!(b.func.dfg.value_type(v), I8X16);
    let v = b.ins().bitcast(I32X4, little(), v);
    b.ins().extractlane(v, 0)
}

fn little() -> MemFlagsData {
    MemFlagsData::new().with_endianness(cranelift_codegen::ir::Endianness::Little)
}

/// One lane of a wide value, as one point's value.
pub fn lane(b: &mut FunctionBuilder<'_>, dtype: DType, v: Value, n: u8) -> Value {
    let x = b.ins().extractlane(v, n);
    match dtype {
        DType::Bool => {
            let x = b.ins().ireduce(I8, x);
            b.ins().band_imm_s(x, 1)
        }
        _ => x,
    }
}

/// A wide value from four points' values.
pub fn join(b: &mut FunctionBuilder<'_>, dtype: DType, lanes: [Value; 4]) -> Value {
    let lanes = match dtype {
        DType::Bool => lanes.map(|l| {
            let l = b.ins().uextend(I32, l);
            b.ins().ineg(l)
        }),
        _ => lanes,
    };
    let first = b.ins().splat(type_of(dtype, true), lanes[0]);
    (1..4).fold(first, |v, n| b.ins().insertlane(v, lanes[n], n as u8))
}

fn choose(b: &mut FunctionBuilder<'_>, wide: bool, condition: Value, yes: Value, no: Value) -> Value {
    if !wide {
        return b.ins().select(condition, yes, no);
    }
    let ty = b.func.dfg.value_type(yes);
    let condition = if ty == F32X4 { b.ins().bitcast(F32X4, little(), condition) } else { condition };
    b.ins().bitselect(condition, yes, no)
}

/// `y` where `x < y` (or `x > y` for the smaller), else `x`: one instruction on x86.
fn pick(b: &mut FunctionBuilder<'_>, wide: bool, larger: bool, x: Value, y: Value) -> Value {
    let (l, r) = if larger { (x, y) } else { (y, x) };
    let condition = b.ins().fcmp(FloatCC::LessThan, l, r);
    choose(b, wide, condition, y, x)
}

/// Arguments of an operation: values, their dtype, and which are known not to be NaN.
pub struct Arguments<'a> {
    /// One per argument.
    pub values: &'a [Value],
    /// Dtype of each.
    pub dtypes: &'a [DType],
    /// Is it a literal that is a number?
    pub number: &'a [bool],
}

/// The operation on one point (`wide` false) or four.
pub fn operation(b: &mut FunctionBuilder<'_>, op: ScalarOp, args: &Arguments<'_>, wide: bool) -> Value {
    let v = args.values;
    let float = args.dtypes.last() == Some(&DType::F32);
    match op {
        ScalarOp::Add if float => b.ins().fadd(v[0], v[1]),
        ScalarOp::Add => b.ins().iadd(v[0], v[1]),
        ScalarOp::Sub if float => b.ins().fsub(v[0], v[1]),
        ScalarOp::Sub => b.ins().isub(v[0], v[1]),
        ScalarOp::Mul if float => b.ins().fmul(v[0], v[1]),
        ScalarOp::Mul => b.ins().imul(v[0], v[1]),
        ScalarOp::Div if float => b.ins().fdiv(v[0], v[1]),
        ScalarOp::Rem if float => {
            let q = b.ins().fdiv(v[0], v[1]);
            let q = b.ins().floor(q);
            let p = b.ins().fmul(v[1], q);
            b.ins().fsub(v[0], p)
        }
        ScalarOp::Div | ScalarOp::Rem if wide => by_lane(b, op, args),
        ScalarOp::Div => floored(b, v[0], v[1]).0,
        ScalarOp::Rem => floored(b, v[0], v[1]).1,
        ScalarOp::Min | ScalarOp::Max if float => {
            let larger = op == ScalarOp::Max;
            // `pick` yields its first argument where either is not a number.
            if args.number[1] {
                pick(b, wide, larger, v[0], v[1])
            } else if args.number[0] {
                pick(b, wide, larger, v[1], v[0])
            } else {
                let best = pick(b, wide, larger, v[0], v[1]);
                let lost = b.ins().fcmp(FloatCC::Unordered, v[1], v[1]);
                choose(b, wide, lost, v[1], best)
            }
        }
        ScalarOp::Min if wide => b.ins().smin(v[0], v[1]),
        ScalarOp::Max if wide => b.ins().smax(v[0], v[1]),
        ScalarOp::Min | ScalarOp::Max => {
            let cc = if op == ScalarOp::Min { IntCC::SignedLessThan } else { IntCC::SignedGreaterThan };
            let c = b.ins().icmp(cc, v[0], v[1]);
            b.ins().select(c, v[0], v[1])
        }
        ScalarOp::Neg if float => b.ins().fneg(v[0]),
        ScalarOp::Neg => b.ins().ineg(v[0]),
        ScalarOp::Abs if float => b.ins().fabs(v[0]),
        ScalarOp::Abs => b.ins().iabs(v[0]),
        ScalarOp::Fma => b.ins().fma(v[0], v[1], v[2]),
        ScalarOp::Floor => b.ins().floor(v[0]),
        ScalarOp::Round => b.ins().nearest(v[0]),
        ScalarOp::Sqrt => b.ins().sqrt(v[0]),
        ScalarOp::Eq if float => b.ins().fcmp(FloatCC::Equal, v[0], v[1]),
        ScalarOp::Lt if float => b.ins().fcmp(FloatCC::LessThan, v[0], v[1]),
        ScalarOp::Le if float => b.ins().fcmp(FloatCC::LessThanOrEqual, v[0], v[1]),
        ScalarOp::Eq => b.ins().icmp(IntCC::Equal, v[0], v[1]),
        ScalarOp::Lt | ScalarOp::Le => {
            // Truths are compared without sign: a true lane is -1.
            let cc = match (op, args.dtypes[0]) {
                (ScalarOp::Lt, DType::Bool) => IntCC::UnsignedLessThan,
                (_, DType::Bool) => IntCC::UnsignedLessThanOrEqual,
                (ScalarOp::Lt, _) => IntCC::SignedLessThan,
                _ => IntCC::SignedLessThanOrEqual,
            };
            b.ins().icmp(cc, v[0], v[1])
        }
        ScalarOp::And => b.ins().band(v[0], v[1]),
        ScalarOp::Or => b.ins().bor(v[0], v[1]),
        ScalarOp::Not if wide => b.ins().bnot(v[0]),
        ScalarOp::Not => b.ins().bxor_imm_s(v[0], 1),
        ScalarOp::Xor => b.ins().bxor(v[0], v[1]),
        ScalarOp::Shl | ScalarOp::Shr if wide => by_lane(b, op, args),
        ScalarOp::Shl => b.ins().ishl(v[0], v[1]),
        ScalarOp::Shr => b.ins().ushr(v[0], v[1]),
        ScalarOp::Select => choose(b, wide, v[0], v[1], v[2]),
        ScalarOp::ToF32 => match args.dtypes[0] {
            DType::F32 => v[0],
            DType::I32 => b.ins().fcvt_from_sint(type_of(DType::F32, wide), v[0]),
            DType::Bool => {
                let n = number_of_truth(b, v[0], wide);
                b.ins().fcvt_from_sint(type_of(DType::F32, wide), n)
            }
        },
        ScalarOp::ToI32 => match args.dtypes[0] {
            DType::F32 => b.ins().fcvt_to_sint_sat(type_of(DType::I32, wide), v[0]),
            DType::I32 => v[0],
            DType::Bool => number_of_truth(b, v[0], wide),
        },
        ScalarOp::ToBool => match args.dtypes[0] {
            DType::F32 => {
                let zero = b.ins().f32const(0.0);
                let zero = if wide { b.ins().splat(F32X4, zero) } else { zero };
                b.ins().fcmp(FloatCC::NotEqual, v[0], zero)
            }
            DType::I32 => {
                let zero = b.ins().iconst(I32, 0);
                let zero = if wide { b.ins().splat(I32X4, zero) } else { zero };
                b.ins().icmp(IntCC::NotEqual, v[0], zero)
            }
            DType::Bool => v[0],
        },
        // Calls; `Split` never hands them here.
        ScalarOp::Exp | ScalarOp::Log | ScalarOp::Sin | ScalarOp::Cos | ScalarOp::Tanh | ScalarOp::Erf => v[0],
    }
}

fn number_of_truth(b: &mut FunctionBuilder<'_>, v: Value, wide: bool) -> Value {
    if wide { b.ins().ineg(v) } else { b.ins().uextend(I32, v) }
}

/// Floored quotient and remainder of integers, both 0 where the divisor is 0.
fn floored(b: &mut FunctionBuilder<'_>, x: Value, y: Value) -> (Value, Value) {
    // Division traps on 0 and on the least integer by -1: those divide by 1 and are put right after.
    let zero = b.ins().icmp_imm_s(IntCC::Equal, y, 0);
    let minus = b.ins().icmp_imm_s(IntCC::Equal, y, -1);
    let odd = b.ins().bor(zero, minus);
    let one = b.ins().iconst(I32, 1);
    let by = b.ins().select(odd, one, y);
    let q = b.ins().sdiv(x, by);
    let p = b.ins().imul(q, by);
    let r = b.ins().isub(x, p);
    let signs = b.ins().bxor(r, by);
    let differ = b.ins().icmp_imm_s(IntCC::SignedLessThan, signs, 0);
    let some = b.ins().icmp_imm_s(IntCC::NotEqual, r, 0);
    let adjust = b.ins().band(differ, some);
    let less = b.ins().iadd_imm_s(q, -1);
    let q = b.ins().select(adjust, less, q);
    let more = b.ins().iadd(r, by);
    let r = b.ins().select(adjust, more, r);
    let negated = b.ins().ineg(x);
    let q = b.ins().select(minus, negated, q);
    let nothing = b.ins().iconst(I32, 0);
    let q = b.ins().select(zero, nothing, q);
    let r = b.ins().select(odd, nothing, r);
    (q, r)
}

/// What has no vector instruction, point by point.
fn by_lane(b: &mut FunctionBuilder<'_>, op: ScalarOp, args: &Arguments<'_>) -> Value {
    let lanes = [0u8, 1, 2, 3].map(|n| {
        let values: Vec<Value> = args.values.iter().map(|v| b.ins().extractlane(*v, n)).collect();
        operation(b, op, &Arguments { values: &values, ..*args }, false)
    });
    join(b, DType::I32, lanes)
}
