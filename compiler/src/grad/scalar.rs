//! Derivatives of the scalar operations: one row each.
//!
//! In: an operation with arguments, result and cotangent. Out: what it adds to the cotangent of an argument.
//! Invariants: the match has no default, so an operation without a row does not compile; what a condition switches off
//! is selected away, never multiplied by 0, so that no `0 * inf` appears, in the
//! second derivative neither. Imports: shorthands, the graph, `uad-plan`.

use uad_plan::{DType, ScalarOp};

use super::{Reverse, Step};
use crate::graph::{NodeId, Op};

/// An operation at work.
pub(super) struct Site<'a> {
    pub args: &'a [NodeId],
    pub y: NodeId,
    pub dy: NodeId,
}

/// What goes to argument number `k`.
type Partial = fn(&mut Reverse, &Site, usize) -> Step<NodeId>;

/// The derivative of an operation by its f32 arguments; `None` where it is 0 wherever it exists.
pub(super) fn rule(op: ScalarOp) -> Option<Partial> {
    Some(match op {
        ScalarOp::Add => |_, s, _| Ok(s.dy),
        ScalarOp::Sub => |r, s, k| if k == 0 { Ok(s.dy) } else { r.neg(s.dy) },
        ScalarOp::Mul => |r, s, k| r.mul(s.dy, s.args[1 - k]),
        ScalarOp::Div => |r, s, k| {
            let part = r.map(ScalarOp::Div, &[s.dy, s.args[1]])?;
            if k == 0 {
                return Ok(part);
            }
            let part = r.mul(part, s.y)?;
            r.neg(part)
        },
        ScalarOp::Rem => |r, s, k| {
            if k == 0 {
                return Ok(s.dy);
            }
            let times = r.map(ScalarOp::Div, &[s.args[0], s.args[1]])?;
            let times = r.map(ScalarOp::Floor, &[times])?;
            let part = r.mul(s.dy, times)?;
            r.neg(part)
        },
        ScalarOp::Min => |r, s, k| r.extreme(s, s.args[k], s.args[1 - k]),
        ScalarOp::Max => |r, s, k| r.extreme(s, s.args[1 - k], s.args[k]),
        ScalarOp::Neg => |r, s, _| r.neg(s.dy),
        ScalarOp::Abs => |r, s, _| {
            let (x, zero) = (s.args[0], r.like(0.0, s.dy)?);
            let (above, below) = (r.map(ScalarOp::Lt, &[zero, x])?, r.map(ScalarOp::Lt, &[x, zero])?);
            let minus = r.neg(s.dy)?;
            let rest = r.select(below, minus, zero)?;
            r.select(above, s.dy, rest)
        },
        ScalarOp::Fma => |r, s, k| if k == 2 { Ok(s.dy) } else { r.mul(s.dy, s.args[1 - k]) },
        ScalarOp::Sqrt => |r, s, _| {
            let (half, zero, never) = (r.like(0.5, s.dy)?, r.like(0.0, s.dy)?, r.like(f64::INFINITY, s.dy)?);
            let part = r.mul(s.dy, half)?;
            let at_zero = r.map(ScalarOp::Eq, &[s.y, zero])?;
            let by = r.select(at_zero, never, s.y)?;
            r.map(ScalarOp::Div, &[part, by])
        },
        // Where the power is infinite and nothing depends on it (`1 / (1 + exp(-x))` of a very negative x), it is 0.
        ScalarOp::Exp => |r, s, _| {
            let zero = r.like(0.0, s.dy)?;
            let none = r.map(ScalarOp::Eq, &[s.dy, zero])?;
            let part = r.mul(s.dy, s.y)?;
            r.select(none, zero, part)
        },
        ScalarOp::Log => |r, s, _| r.map(ScalarOp::Div, &[s.dy, s.args[0]]),
        ScalarOp::Sin => |r, s, _| {
            let cos = r.map(ScalarOp::Cos, &[s.args[0]])?;
            r.mul(s.dy, cos)
        },
        ScalarOp::Cos => |r, s, _| {
            let sin = r.map(ScalarOp::Sin, &[s.args[0]])?;
            let part = r.mul(s.dy, sin)?;
            r.neg(part)
        },
        ScalarOp::Tanh => |r, s, _| {
            let square = r.mul(s.y, s.y)?;
            let one = r.like(1.0, s.dy)?;
            let slope = r.map(ScalarOp::Sub, &[one, square])?;
            r.mul(s.dy, slope)
        },
        ScalarOp::Erf => |r, s, _| {
            let square = r.mul(s.args[0], s.args[0])?;
            let minus = r.neg(square)?;
            let bell = r.map(ScalarOp::Exp, &[minus])?;
            let scale = r.like(std::f64::consts::FRAC_2_SQRT_PI, s.dy)?;
            let slope = r.mul(bell, scale)?;
            r.mul(s.dy, slope)
        },
        // The condition is no f32: argument 0 is never asked for.
        ScalarOp::Select => |r, s, k| {
            let zero = r.like(0.0, s.dy)?;
            if k == 1 { r.select(s.args[0], s.dy, zero) } else { r.select(s.args[0], zero, s.dy) }
        },
        ScalarOp::ToF32 => |_, s, _| Ok(s.dy),
        ScalarOp::Floor
        | ScalarOp::Round
        | ScalarOp::Eq
        | ScalarOp::Lt
        | ScalarOp::Le
        | ScalarOp::And
        | ScalarOp::Or
        | ScalarOp::Not
        | ScalarOp::Xor
        | ScalarOp::Shl
        | ScalarOp::Shr
        | ScalarOp::ToI32
        | ScalarOp::ToBool => return None,
    })
}

impl Reverse<'_> {
    pub(super) fn scalar(&mut self, op: ScalarOp, site: &Site) -> Step<()> {
        let Some(partial) = rule(op) else { return Ok(()) };
        for (k, arg) in site.args.iter().enumerate() {
            if self.wants(*arg) && self.g.ty(*arg).dtype == DType::F32 {
                let part = partial(self, site, k)?;
                self.give(*arg, part);
            }
        }
        Ok(())
    }

    /// The share of one argument of `max` or `min`: all where `small < large` says that it is taken; half where both
    /// are equal, but nothing there where the other is a constant: relu is flat at 0.
    fn extreme(&mut self, s: &Site, small: NodeId, large: NodeId) -> Step<NodeId> {
        let zero = self.like(0.0, s.dy)?;
        let taken = self.map(ScalarOp::Lt, &[small, large])?;
        let rest = if self.constant(small) || self.constant(large) {
            zero
        } else {
            let tie = self.map(ScalarOp::Eq, &[small, large])?;
            let half = self.like(0.5, s.dy)?;
            let half = self.mul(s.dy, half)?;
            self.select(tie, half, zero)?
        };
        self.select(taken, s.dy, rest)
    }

    /// Is it a literal, maybe repeated?
    fn constant(&self, id: NodeId) -> bool {
        let node = self.g.node(id);
        match &node.op {
            Op::Const(_) => true,
            Op::Expand { .. } | Op::Reshape | Op::Permute(_) => self.constant(node.args[0]),
            _ => false,
        }
    }
}
