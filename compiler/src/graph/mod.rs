//! The graph of one entry: what is computed, before any decision about memory, layout or kernels.
//!
//! In: built by elaboration through [`build`], or read from text. Out: rewritten by passes, lowered to a plan.
//! Invariants: a node's arguments have smaller ids, so index order is topological order and no cycle can be written;
//! every node's type follows from its operation and arguments by [`build::infer`]; no implicit broadcasting: the
//! arguments of a map have one shape. Imports: `uad-plan` for dims, dtypes and scalar operations.

pub mod build;
pub mod groups;
pub mod op;
pub mod picture;
pub mod random;
pub mod samples;
pub mod shape;
pub mod text;
pub mod verify;

use std::fmt;

use std::sync::Arc;

use smallvec::SmallVec;
use uad_plan::{DType, Dim, Require};

pub use op::Op;
pub use shape::Shape;
pub use verify::{Verified, Violation, verify};

/// The number of a node in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(
    /// Position in [`Graph::nodes`].
    pub u32,
);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// The number of a scope in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeId(
    /// Position in [`Graph::scopes`].
    pub u32,
);

/// Element type and shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Extents; empty for a scalar.
    pub shape: Shape,
}

impl TensorType {
    /// A tensor type.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> TensorType {
        TensorType { dtype, shape: shape.into() }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dtype)?;
        if !self.shape.is_empty() {
            let dims: Vec<String> = self.shape.iter().map(Dim::to_string).collect();
            write!(f, "[{}]", dims.join(", "))?;
        }
        Ok(())
    }
}

/// Where a node comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The enclosing scope; `None` for the detector itself.
    pub parent: Option<ScopeId>,
    /// Instance or function name: `attend`, `softmax`, `encode.2`.
    pub label: Arc<str>,
    /// Where it was called: `uniad.uad:21`.
    pub place: Arc<str>,
    /// Is it a block's instance (a cluster in drawings), or a function call?
    pub instance: bool,
    /// `@kernel("…")` of the function: permission to replace the whole scope.
    pub kernel: Option<String>,
}

/// Arguments of a node; most have few.
pub type Args = SmallVec<[NodeId; 4]>;

/// One operation applied to earlier nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// Arguments, all with smaller ids.
    pub args: Args,
    /// Type of the value. Operations with several results have the first one's type here; [`Op::Part`] has each its own.
    pub ty: TensorType,
    /// Where it comes from.
    pub scope: ScopeId,
}

/// One entry's graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Entry name: `score`, `init`, a stage.
    pub name: String,
    /// Open dims in a fixed order.
    pub dims: Vec<String>,
    /// Nodes in topological order.
    pub nodes: Vec<Node>,
    /// Scopes; a parent has a smaller id.
    pub scopes: Vec<Scope>,
    /// Results by name.
    pub outputs: Vec<(String, NodeId)>,
    /// Stored tensors that the entry writes, by path.
    pub writes: Vec<(String, NodeId)>,
    /// Every named `let` by its path: what a trace can show.
    pub named: Vec<(String, NodeId)>,
    /// Conditions that could not be decided when compiling.
    pub requires: Vec<Require<Dim>>,
}

impl Graph {
    /// The node of this id. Ids of one graph are always valid in it.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The type of the value of this id.
    pub fn ty(&self, id: NodeId) -> &TensorType {
        &self.node(id).ty
    }

    /// All ids in topological order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// The path of a scope, outermost first, joined by dots: instances only.
    pub fn path(&self, scope: ScopeId) -> String {
        let mut labels = Vec::new();
        let mut at = Some(scope);
        while let Some(s) = at {
            let scope = &self.scopes[s.0 as usize];
            if scope.instance && scope.parent.is_some() {
                labels.push(&*scope.label);
            }
            at = scope.parent;
        }
        labels.reverse();
        labels.join(".")
    }

    /// The labels of a scope and those around it, outermost first, without the detector itself.
    pub fn chain(&self, scope: ScopeId) -> Vec<&str> {
        let mut labels = Vec::new();
        let mut at = self.scopes.get(scope.0 as usize);
        // A parent has a smaller id; the bound holds for tables that nobody has verified.
        while let Some(s) = at.filter(|s| s.parent.is_some() && labels.len() < self.scopes.len()) {
            labels.push(&*s.label);
            at = s.parent.and_then(|p| self.scopes.get(p.0 as usize));
        }
        labels.reverse();
        labels
    }
}
