//! Stub until the reverse pass is merged.

use crate::graph::{Graph, NodeId, Op, TensorType};

/// Why there is no gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct NoGradient {
    /// Where.
    pub node: NodeId,
    /// Why.
    pub why: String,
}

/// Stub.
pub fn gradients(g: &mut Graph, of: NodeId, wrt: &[NodeId]) -> Result<Vec<NodeId>, NoGradient> {
    let mut out = Vec::new();
    for w in wrt {
        let t = g.ty(*w).clone();
        let scope = g.node(*w).scope;
        let one = Op::Expand { axes: vec![] };
        let n = g.add(one, &[of], TensorType::new(t.dtype, t.shape.clone()), scope);
        out.push(n.map_err(|e| NoGradient { node: *w, why: e.0 })?);
    }
    Ok(out)
}
