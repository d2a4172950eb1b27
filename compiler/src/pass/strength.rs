//! Pass `strength`: a division by a power of two is a multiplication.
//!
//! In: a graph. Out: the same, bit for bit. Invariants: only f32, and only where the reciprocal is exact and neither
//! of the two is subnormal. Imports: `graph`.

use uad_plan::{DType, ScalarOp};

use super::rewrite::{filled, literal, rebuild};
use crate::graph::{Graph, Op};

/// The pass. Did it change anything?
pub fn run(graph: &mut Graph) -> bool {
    rebuild(graph, |out, _, node| {
        if !matches!(node.op, Op::Map(ScalarOp::Div)) || node.ty.dtype != DType::F32 {
            return None;
        }
        let c = literal(out, node.args[1])? as f32;
        let exact = c.is_normal() && (1.0 / c).is_normal() && c.to_bits() & 0x007f_ffff == 0;
        if !exact {
            return None;
        }
        let r = filled(out, f64::from(1.0 / c), &node.ty, node.scope)?;
        out.map(ScalarOp::Mul, &[node.args[0], r], node.scope).ok()
    })
}
