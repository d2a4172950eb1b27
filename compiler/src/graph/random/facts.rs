//! What is known of a value in a random graph: how large it gets, and whether f32 computes it exactly.
//!
//! In: an operation with the facts of its arguments. Out: the fact of its result. Invariants: a bound holds for every
//! input that [`super::values`] gives and every `b` up to [`super::LARGEST_B`]. Imports: the graph, `uad-plan`.

use uad_plan::{Binding, DType, Dim, ReduceOp, ScalarOp};

use crate::graph::{Op, TensorType};

/// What is known of a value.
#[derive(Clone, Copy, Debug)]
pub struct Fact {
    /// The largest magnitude.
    pub bound: f64,
    /// All values are multiples of 2 to the power of minus this; `None` if they are rounded.
    pub grain: Option<i32>,
    /// The smallest value.
    pub above: f64,
}

impl Fact {
    fn new(bound: f64, grain: Option<i32>) -> Fact {
        Fact { bound, grain, above: -bound }
    }

    /// Does f32 hold every value exactly?
    pub fn exact(self) -> bool {
        self.grain.is_some_and(|g| g < 20 && self.bound * 2f64.powi(g) < 16_777_216.0)
    }
}

/// Elements, with `b` as large as it gets.
pub fn count(shape: &[Dim]) -> f64 {
    let binding = Binding::from([("b".to_owned(), super::LARGEST_B)]);
    shape.iter().map(|d| d.eval(&binding).unwrap_or(1).max(0) as f64).product()
}

fn grain_of(v: f64) -> Option<i32> {
    (0..16).find(|g| (v * 2f64.powi(*g)).fract() == 0.0)
}

fn both(a: Option<i32>, b: Option<i32>) -> Option<i32> {
    Some(a?.max(b?))
}

/// The fact of a result.
pub fn fact(op: &Op, args: &[(&TensorType, Fact)], ty: &TensorType) -> Fact {
    let f = |n: usize| args.get(n).map_or(Fact::new(f64::INFINITY, None), |a| a.1);
    let all = || {
        let bound = args.iter().map(|a| a.1.bound).fold(0.0, f64::max);
        let above = args.iter().map(|a| a.1.above).fold(f64::INFINITY, f64::min);
        Fact { bound, grain: args.iter().map(|a| a.1.grain).fold(Some(0), both), above }
    };
    let with = |value: f64| {
        let f = all();
        // Infinities in padding stay for `max` to drop; they are no part of the bound.
        if value.is_finite() { Fact::new(f.bound.max(value.abs()), both(f.grain, grain_of(value))) } else { f }
    };
    match op {
        Op::Input(_) | Op::Weight(_) | Op::State(_) => match ty.dtype {
            DType::F32 => Fact::new(2.0, Some(3)),
            DType::I32 => Fact::new(10.0, Some(0)),
            DType::Bool => Fact::new(1.0, Some(0)),
        },
        Op::Const(v) => Fact { bound: v.abs(), grain: grain_of(*v), above: *v },
        Op::Literal(v) => {
            let bound = v.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            Fact::new(bound, v.iter().map(|v| grain_of(*v)).fold(Some(0), both))
        }
        Op::Size(d) => Fact { above: 1.0, ..Fact::new(count(std::slice::from_ref(d)), Some(0)) },
        Op::Iota { .. } => Fact { above: 0.0, ..Fact::new(count(&ty.shape), Some(0)) },
        Op::Draw { .. } => Fact::new(1.0, Some(24)),
        Op::Map(op) => scalar(*op, args, ty),
        Op::Reduce { op, axes } => {
            let over: Vec<Dim> = args.first().map_or(vec![], |a| axes.iter().map(|n| a.0.shape[*n].clone()).collect());
            let n = count(&over);
            match op {
                ReduceOp::Sum => {
                    Fact { bound: f(0).bound * n, grain: f(0).grain, above: f(0).above.min(f(0).above * n) }
                }
                ReduceOp::Prod => Fact::new(f(0).bound.max(1.0).powf(n), None),
                ReduceOp::Max | ReduceOp::Min => f(0),
                ReduceOp::ArgMax | ReduceOp::ArgMin => Fact::new(n, Some(0)),
            }
        }
        Op::Permute(_) | Op::Reshape | Op::Expand { .. } | Op::Slice { .. } | Op::Concat { .. } | Op::Stop => all(),
        Op::Pad { value, .. } | Op::Window { value, .. } => with(*value),
        Op::Gather { .. } => f(0),
        Op::ScatterAdd { .. } => {
            let n = args.get(1).map_or(1.0, |a| count(&a.0.shape));
            let grain = both(f(0).grain, f(2).grain);
            Fact::new(f(0).bound + n * f(2).bound, grain)
        }
        Op::Dot { contract, .. } => {
            let over: Vec<Dim> =
                args.first().map_or(vec![], |a| contract.iter().map(|p| a.0.shape[p.0].clone()).collect());
            let grain = f(0).grain.and_then(|a| Some(a + f(1).grain?));
            Fact::new(f(0).bound * f(1).bound * count(&over), grain)
        }
        Op::ArgSort { .. } => Fact::new(count(&ty.shape), Some(0)),
        Op::Scan(op) => {
            let n = ty.shape.last().map_or(1.0, |d| count(std::slice::from_ref(d)));
            match op {
                ReduceOp::Sum => Fact::new(f(0).bound * n, f(0).grain),
                ReduceOp::Prod => Fact::new(f(0).bound.max(1.0).powf(n), None),
                _ => f(0),
            }
        }
        // The bodies that are made end in tanh, and the matrices are small.
        Op::Loop { .. } => Fact::new(f(0).bound.max(1.0), None),
        Op::Eigh | Op::Cholesky => Fact::new(f(0).bound * 8.0, None),
        Op::Part(_) => Fact::new(f(0).bound, None),
    }
}

fn scalar(op: ScalarOp, args: &[(&TensorType, Fact)], ty: &TensorType) -> Fact {
    use ScalarOp as S;
    let f = |n: usize| args.get(n).map_or(Fact::new(f64::INFINITY, None), |a| a.1);
    let (a, b) = (f(0), f(1));
    let truth = Fact::new(1.0, Some(0));
    match op {
        S::Add => Fact { bound: a.bound + b.bound, grain: both(a.grain, b.grain), above: a.above + b.above },
        S::Sub => Fact::new(a.bound + b.bound, both(a.grain, b.grain)),
        S::Mul => {
            let grain = a.grain.and_then(|x| Some(x + b.grain?));
            let bound = a.bound * b.bound;
            Fact { bound, grain, above: if a.above >= 0.0 && b.above >= 0.0 { a.above * b.above } else { -bound } }
        }
        S::Div if ty.dtype == DType::I32 => Fact::new(a.bound, Some(0)),
        S::Div if b.above > 0.0 => Fact::new(a.bound / b.above, None),
        S::Div => Fact::new(f64::INFINITY, None),
        S::Rem if ty.dtype == DType::I32 => Fact::new(b.bound, Some(0)),
        S::Rem => Fact::new(b.bound, both(a.grain, b.grain)),
        S::Min | S::Max => {
            Fact { bound: a.bound.max(b.bound), grain: both(a.grain, b.grain), above: a.above.min(b.above) }
        }
        S::Neg => Fact { above: -a.bound, ..a },
        S::Abs => Fact { above: a.above.max(0.0), ..a },
        S::Fma => Fact::new(a.bound * b.bound + f(2).bound, None),
        S::Floor | S::Round => Fact::new(a.bound + 1.0, Some(0)),
        S::Sqrt | S::Log if a.above <= 0.0 => Fact::new(f64::INFINITY, None),
        S::Sqrt => Fact { bound: a.bound.sqrt(), grain: None, above: a.above.sqrt() },
        S::Exp => Fact { bound: a.bound.exp(), grain: None, above: a.above.exp() },
        S::Log => Fact::new(a.bound.ln().abs().max(a.above.ln().abs()), None),
        S::Sin | S::Cos | S::Tanh | S::Erf => Fact::new(1.0, None),
        S::Eq | S::Lt | S::Le | S::And | S::Or | S::Not | S::ToBool => truth,
        S::Xor => Fact::new(2.0 * a.bound.max(b.bound) + 1.0, Some(0)),
        S::Shl => Fact::new(a.bound * 2f64.powf(b.bound), Some(0)),
        S::Shr => Fact::new(2147483648.0, Some(0)),
        S::Select => {
            let (x, y) = (b, f(2));
            Fact { bound: x.bound.max(y.bound), grain: both(x.grain, y.grain), above: x.above.min(y.above) }
        }
        S::ToF32 => a,
        S::ToI32 => Fact::new(a.bound, Some(0)),
    }
}
