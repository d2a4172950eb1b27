//! The primitives of the graph: one row each.
//!
//! In: nothing. Out: [`Op`] and its table [`OPS`]. Invariants: an operation is primitive only if it cannot be
//! composed of others, or composing it measures at least twice as slow; a test holds the number of rows. Everything
//! else is stdlib in `.uad`. Imports: scalar table and reductions of `uad-plan`.

use uad_plan::{Dim, ReduceOp, ScalarOp};

use super::Graph;

/// A primitive with its attributes. Types: see [`super::build::infer`].
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// An input of the entry, by name. No arguments.
    Input(String),
    /// A weight, by instance path.
    Weight(String),
    /// A state, by instance path: its value before the entry.
    State(String),
    /// A scalar literal (the node's dtype says which kind; bool is 0 or 1).
    Const(f64),
    /// A literal tensor, row-major.
    Literal(Vec<f64>),
    /// A dimension as i32 scalar.
    Size(Dim),
    /// `0, 1, 2, …` along one axis of the node's shape (i32).
    Iota {
        /// The axis that counts.
        axis: usize,
    },
    /// Uniform draws in [0, 1) of the node's shape.
    Draw {
        /// Path of the site; its hash is the key.
        site: String,
        /// Word of the Philox block, 0 to 3.
        lane: u8,
        /// The axis that numbers samples: draws do not depend on how samples are batched.
        sample: Option<usize>,
    },
    /// A scalar operation at every element. Arguments of one shape.
    Map(ScalarOp),
    /// Reduction over axes, which vanish.
    Reduce {
        /// Which reduction.
        op: ReduceOp,
        /// Axes, rising. Arg-reductions take exactly one.
        axes: Vec<usize>,
    },
    /// Axis `n` of the result is axis `perm[n]` of the argument.
    Permute(Vec<usize>),
    /// The same elements in row-major order in another shape (the node's).
    Reshape,
    /// Axis `n` of the argument is axis `axes[n]` of the result; the others repeat, and so does an axis of extent 1.
    Expand {
        /// Rising positions in the result.
        axes: Vec<usize>,
    },
    /// `start[n] + step[n] * i` along each axis; extents are the node's shape. Steps may be negative.
    Slice {
        /// First element per axis.
        start: Vec<Dim>,
        /// Step per axis, not 0.
        step: Vec<i64>,
    },
    /// Puts `value` around (and `interior` copies between) the elements of each axis.
    Pad {
        /// Before.
        lo: Vec<Dim>,
        /// After.
        hi: Vec<Dim>,
        /// Between neighbours.
        interior: Vec<i64>,
        /// The value.
        value: f64,
    },
    /// Windows along one axis: the axis becomes the window's number, a last axis runs inside the window. With
    /// `n = (extent + lo + hi - dilation*(size-1) - 1) / stride + 1` windows; outside the argument stands `value`.
    Window {
        /// Which axis.
        axis: usize,
        /// Elements in a window.
        size: i64,
        /// Step between windows.
        stride: i64,
        /// Step inside a window.
        dilation: i64,
        /// Padding before.
        lo: i64,
        /// Padding after.
        hi: i64,
        /// Value of the padding.
        value: f64,
    },
    /// Arguments one after another along an axis.
    Concat {
        /// Which axis.
        axis: usize,
    },
    /// General contraction: the result has the batch axes, the rest of `a`, the rest of `b`, in this order.
    Dot {
        /// Pairs (axis of a, axis of b) that stay.
        batch: Vec<(usize, usize)>,
        /// Pairs (axis of a, axis of b) that are summed.
        contract: Vec<(usize, usize)>,
    },
    /// `x, index -> x` with axis `axis` replaced by the axes of `index` after its first `batch`, which go along with
    /// the first `batch` axes of `x`. Indices are held to the range.
    Gather {
        /// Axis of `x` that the indices address, at least `batch`.
        axis: usize,
        /// Leading axes in common.
        batch: usize,
    },
    /// `target, index, updates -> target` with the updates added where `Gather` would read; repeated indices add in
    /// row-major order.
    ScatterAdd {
        /// As in `Gather`.
        axis: usize,
        /// As in `Gather`.
        batch: usize,
    },
    /// Positions (i32) that sort the last axis; stable.
    ArgSort {
        /// Largest first.
        falling: bool,
    },
    /// Running reduction along the last axis, inclusive.
    Scan(
        /// Sum, product, max or min.
        ReduceOp,
    ),
    /// A bounded loop. Arguments: first values of the carried, then what the body captures. The body's inputs are named
    /// `0`, `1`, … in this order, and `round` if it uses the round's number; its outputs are the next carried values
    /// in order, then `until` if it has one. Results: the carried values, through [`Op::Part`].
    Loop {
        /// Bound on the rounds.
        count: Dim,
        /// Number of carried values.
        carried: usize,
        /// Look at `until` after every so many rounds.
        every: Option<Dim>,
        /// One round.
        body: Box<Graph>,
    },
    /// Eigenvalues (rising, part 0) and eigenvectors (columns, part 1) of symmetric matrices in the last two axes.
    Eigh,
    /// Lower triangular factor of positive definite matrices in the last two axes.
    Cholesky,
    /// Result number `n` of an operation with several.
    Part(usize),
    /// The argument unchanged, and no gradient through it.
    Stop,
}

/// A row of the table of primitives: what the reference page and the tests are made from.
pub struct OpRow {
    /// Name in the text form.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
}

/// All primitives.
pub const OPS: &[OpRow] = &[
    OpRow { name: "input", doc: "An input of the entry." },
    OpRow { name: "weight", doc: "A trained tensor of the bundle." },
    OpRow { name: "state", doc: "A tensor of the bundle that rules change." },
    OpRow { name: "const", doc: "A scalar literal." },
    OpRow { name: "literal", doc: "A tensor literal." },
    OpRow { name: "size", doc: "A dimension as a number." },
    OpRow { name: "iota", doc: "Counts along an axis." },
    OpRow { name: "draw", doc: "Uniform random numbers by counter." },
    OpRow { name: "map", doc: "A scalar operation at every element." },
    OpRow { name: "reduce", doc: "Reduction over axes." },
    OpRow { name: "permute", doc: "Axes in another order." },
    OpRow { name: "reshape", doc: "Another shape, same row-major order." },
    OpRow { name: "expand", doc: "Repeats along new axes." },
    OpRow { name: "slice", doc: "Every step-th element of a range per axis." },
    OpRow { name: "pad", doc: "A value around and between elements." },
    OpRow { name: "window", doc: "Overlapping windows along an axis." },
    OpRow { name: "concat", doc: "One after another along an axis." },
    OpRow { name: "dot", doc: "General contraction." },
    OpRow { name: "gather", doc: "Elements by index." },
    OpRow { name: "scatter_add", doc: "Adds to elements by index." },
    OpRow { name: "argsort", doc: "Positions that sort." },
    OpRow { name: "scan", doc: "Running reduction." },
    OpRow { name: "loop", doc: "Bounded repetition with carried values." },
    OpRow { name: "eigh", doc: "Symmetric eigenproblem." },
    OpRow { name: "cholesky", doc: "Cholesky factor." },
    OpRow { name: "part", doc: "One of several results." },
    OpRow { name: "stop", doc: "No gradient passes." },
];

impl Op {
    /// The row's name.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input(_) => "input",
            Op::Weight(_) => "weight",
            Op::State(_) => "state",
            Op::Const(_) => "const",
            Op::Literal(_) => "literal",
            Op::Size(_) => "size",
            Op::Iota { .. } => "iota",
            Op::Draw { .. } => "draw",
            Op::Map(_) => "map",
            Op::Reduce { .. } => "reduce",
            Op::Permute(_) => "permute",
            Op::Reshape => "reshape",
            Op::Expand { .. } => "expand",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
            Op::Window { .. } => "window",
            Op::Concat { .. } => "concat",
            Op::Dot { .. } => "dot",
            Op::Gather { .. } => "gather",
            Op::ScatterAdd { .. } => "scatter_add",
            Op::ArgSort { .. } => "argsort",
            Op::Scan(_) => "scan",
            Op::Loop { .. } => "loop",
            Op::Eigh => "eigh",
            Op::Cholesky => "cholesky",
            Op::Part(_) => "part",
            Op::Stop => "stop",
        }
    }
}
