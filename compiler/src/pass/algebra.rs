//! Pass `algebra`: operations that change nothing, and one form for what can be written in several.
//!
//! In: a graph. Out: the same with fewer scalar operations. Invariants: holds for every value of f32 except that
//! `x + 0` keeps a -0; nothing is assumed away (`x * 0` and `x - x` stay: x may be NaN). Constants stand second.
//! Imports: `graph`.

use uad_plan::{DType, ScalarOp};

use super::rewrite::{filled, literal, ordinary, rebuild};
use crate::graph::{Args, Graph, Node, NodeId, Op};

/// The pass. Did it change anything?
pub fn run(graph: &mut Graph) -> bool {
    rebuild(graph, |out, _, node| match node.op {
        // Gradients were taken before.
        Op::Stop => Some(node.args[0]),
        Op::Map(op) => rule(out, node, op),
        _ => None,
    })
}

/// The operation of a node, if it is a scalar one, and its arguments.
fn map_of(graph: &Graph, id: NodeId) -> Option<(ScalarOp, Args)> {
    let node = graph.node(id);
    if let Op::Map(op) = node.op { Some((op, node.args.clone())) } else { None }
}

fn rule(out: &mut Graph, node: &Node, op: ScalarOp) -> Option<NodeId> {
    use ScalarOp as S;
    let args = node.args.as_slice();
    let values: Vec<Option<f64>> = args.iter().map(|a| literal(out, *a)).collect();
    let inner: Vec<_> = args.iter().map(|a| map_of(out, *a)).collect();
    let value = |n: usize| values.get(n).copied().flatten();
    let inner = |n: usize| inner.get(n).and_then(|i| i.as_ref()).map(|i| (i.0, i.1.as_slice()));
    let negated = |n: usize| inner(n).filter(|i| i.0 == S::Neg).map(|i| i.1[0]);
    let float = node.ty.dtype == DType::F32;
    let make = |out: &mut Graph, op: ScalarOp, args: &[NodeId]| out.map(op, args, node.scope).ok();
    match op {
        // c + x == x + c; sorted, so that equal sums are found equal
        _ if op.commutes() && value(0).is_some() && value(1).is_none() => make(out, op, &[args[1], args[0]]),
        _ if op.commutes() && value(0).is_none() && value(1).is_none() && args[1] < args[0] => {
            make(out, op, &[args[1], args[0]])
        }
        // x + 0 == x
        S::Add if value(1) == Some(0.0) => Some(args[0]),
        // x + -y == x - y
        S::Add if negated(1).is_some() => make(out, S::Sub, &[args[0], negated(1)?]),
        // -x + y == y - x
        S::Add if negated(0).is_some() => make(out, S::Sub, &[args[1], negated(0)?]),
        // x - 0 == x
        S::Sub if value(1) == Some(0.0) => Some(args[0]),
        // x - -y == x + y
        S::Sub if negated(1).is_some() => make(out, S::Add, &[args[0], negated(1)?]),
        // 0 - x == -x
        S::Sub if value(0) == Some(0.0) => make(out, S::Neg, &args[1..]),
        // x * 1 == x
        S::Mul | S::Div if value(1) == Some(1.0) => Some(args[0]),
        // x * -1 == -x
        S::Mul if value(1) == Some(-1.0) => make(out, S::Neg, &args[..1]),
        // -x * -y == x * y
        S::Mul if negated(0).is_some() && negated(1).is_some() => make(out, S::Mul, &[negated(0)?, negated(1)?]),
        // x * c * d == x * (c * d)
        S::Mul if float && value(1).is_some() => {
            let (S::Mul, [x, c]) = inner(0)? else { return None };
            let (x, product) = (*x, literal(out, *c)? * value(1)?);
            if !ordinary(product) {
                return None;
            }
            let c = filled(out, product, &node.ty, node.scope)?;
            make(out, S::Mul, &[x, c])
        }
        // --x == x
        S::Neg => negated(0),
        // not not x == x
        S::Not => inner(0).filter(|i| i.0 == S::Not).map(|i| i.1[0]),
        // | |x| | == |x|, |-x| == |x|
        S::Abs => match inner(0)? {
            (S::Abs, _) => Some(args[0]),
            (S::Neg, [x]) => {
                let x = *x;
                make(out, S::Abs, &[x])
            }
            _ => None,
        },
        // floor(floor(x)) == floor(x)
        S::Floor | S::Round => inner(0).filter(|i| matches!(i.0, S::Floor | S::Round)).map(|_| args[0]),
        // min(x, x) == x
        S::Min | S::Max | S::And | S::Or if args[0] == args[1] => Some(args[0]),
        // x and true == x, x or false == x
        S::And if value(1) == Some(1.0) => Some(args[0]),
        S::Or if value(1) == Some(0.0) => Some(args[0]),
        // x and false == false, x or true == true
        S::And if value(1) == Some(0.0) => Some(args[1]),
        S::Or if value(1) == Some(1.0) => Some(args[1]),
        // select(true, a, b) == a
        S::Select if value(0).is_some() => Some(args[if value(0) == Some(0.0) { 2 } else { 1 }]),
        // select(c, a, a) == a
        S::Select if args[1] == args[2] => Some(args[1]),
        // select(not c, a, b) == select(c, b, a)
        S::Select => match inner(0)? {
            (S::Not, [c]) => {
                let c = *c;
                make(out, S::Select, &[c, args[2], args[1]])
            }
            _ => None,
        },
        // a cast to what it is
        S::ToF32 | S::ToI32 | S::ToBool if out.ty(args[0]).dtype == node.ty.dtype => Some(args[0]),
        // bool(f32(c)) == c, i32(f32(c)) == i32(c) for a truth c
        S::ToBool | S::ToI32 => {
            let (cast, from) = inner(0)?;
            let from = *from.first()?;
            let truth = out.ty(from).dtype == DType::Bool && matches!(cast, S::ToF32 | S::ToI32);
            match op {
                S::ToBool if truth => Some(from),
                S::ToI32 if truth => make(out, S::ToI32, &[from]),
                _ => None,
            }
        }
        S::Add | S::Sub | S::Mul | S::Div | S::Rem | S::Min | S::Max | S::Fma | S::Sqrt | S::Exp | S::Log => None,
        S::Sin | S::Cos | S::Tanh | S::Erf | S::Eq | S::Lt | S::Le | S::And | S::Or | S::Xor | S::Shl | S::Shr => None,
        S::ToF32 => None,
    }
}
