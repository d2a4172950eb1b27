//! The program format.
//!
//! In: made by the compiler's lowering or read from text. Out: taken by `bind`, the interpreter and the back ends.
//! Invariants (checked by `verify`): ids exist; every read buffer was written before; a kernel's accesses have one
//! stride per axis; write accesses of one kernel do not overlap; `setup` reads nothing that depends on an input.
//!
//! A kernel is a **template** over iteration axes with **holes**. Every operand is reached through an [`Access`]:
//! a strided view with guards, so that transposed, sliced, padded, overlapping (convolution windows) and gathered
//! operands need no copy and no template of their own. A convolution is a `dot` whose `a` operand has window strides.
//!
//! `D` is [`crate::dim::Dim`] in a plan and `i64` in a bound plan.

use crate::dtype::DType;
use crate::hole::Hole;

/// A program: everything that a detector can do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan<D> {
    /// The detector's name.
    pub name: String,
    /// Weights and states by path, in a fixed order. Entries refer to them by path.
    pub stored: Vec<Stored<D>>,
    /// `init` (fills weights and states from the seed), one per stage, and `score`.
    pub entries: Vec<Entry<D>>,
}

/// A tensor that lives in the bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<D> {
    /// Instance path, `encode.2.attend.q.w`.
    pub path: String,
    /// Weight or state.
    pub kind: StoredKind,
    /// Element type.
    pub dtype: DType,
    /// Shape, row-major.
    pub shape: Vec<D>,
}

/// What a stored tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredKind {
    /// Trained by `minimise`.
    Weight,
    /// Changed by `<-`.
    State,
}

/// A straight-line program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry<D> {
    /// `score`, `init`, or a stage's name.
    pub name: String,
    /// Open dims, in order; a binding gives each a value.
    pub dims: Vec<String>,
    /// The dim along which samples do not depend on each other: what an entry makes of them together is what it makes of them
    /// part by part. The first axis of every input and output that has it.
    pub samples: Option<String>,
    /// All buffers; [`BufferId`] is the position.
    pub buffers: Vec<Buffer<D>>,
    /// Runs once after weights are loaded: depends on constants and on weights and states that the entry does not
    /// change. What it writes persists.
    pub setup: Vec<Kernel<D>>,
    /// Runs at every call, in order.
    pub kernels: Vec<Kernel<D>>,
    /// What must hold of the dims: `left == right` or `left >= right`, with the reason and place for the message.
    pub requires: Vec<Require<D>>,
}

/// A condition on dims.
#[derive(Clone, Debug, PartialEq)]
pub struct Require<D> {
    /// Left side.
    pub left: D,
    /// Comparison.
    pub relation: Relation,
    /// Right side.
    pub right: D,
    /// Message with its place, `the grid must divide (uniad.uad:12)`.
    pub why: String,
}

/// How two dims are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
}

/// The number of a buffer in its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(
    /// Position in [`Entry::buffers`].
    pub u32,
);

/// A piece of memory with one element type.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer<D> {
    /// Name in the text form and in traces; unique in the entry.
    pub name: String,
    /// Who provides or takes it.
    pub kind: BufferKind,
    /// Element type.
    pub dtype: DType,
    /// Logical shape.
    pub shape: Vec<D>,
    /// Elements between neighbours on each logical axis. Dense: a permutation of row-major. All but temporary
    /// buffers are row-major.
    pub strides: Vec<D>,
}

/// Who provides or takes a buffer.
#[derive(Clone, Debug, PartialEq)]
pub enum BufferKind {
    /// An input of the entry, by the buffer's name.
    Input,
    /// A result of the entry, by the buffer's name.
    Output,
    /// A stored tensor, read, or written, or both; the buffer's name is its path.
    Stored,
    /// Literal values, row-major; bool is 0 or 1.
    Const(Vec<f64>),
    /// Scratch between kernels.
    Temp,
}

/// A strided, guarded view of a buffer over the axes of a kernel.
///
/// The element at point `i` is `buffer[offset + sum(strides[n] * i[n]) + sum(via)]`; where a guard fails, `fill`.
#[derive(Clone, Debug, PartialEq)]
pub struct Access<D> {
    /// Which buffer.
    pub buffer: BufferId,
    /// Element offset at the origin (may be negative when guards keep it from being read).
    pub offset: D,
    /// Elements per step on each axis of the kernel; 0 repeats.
    pub strides: Vec<D>,
    /// All must hold for the element to be read.
    pub guards: Vec<Guard<D>>,
    /// The value where a guard fails.
    pub fill: f64,
    /// Data-dependent offsets (gather, scatter).
    pub via: Vec<Via<D>>,
}

/// `0 <= offset + sum(strides[n] * i[n]) < extent`.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard<D> {
    /// Constant part.
    pub offset: D,
    /// Part per axis.
    pub strides: Vec<D>,
    /// Exclusive upper bound.
    pub extent: D,
}

/// An offset read from another operand: `clamp(value, 0, extent - 1) * stride`.
#[derive(Clone, Debug, PartialEq)]
pub struct Via<D> {
    /// Read operand (i32) that gives the index at the current point.
    pub read: u32,
    /// Elements per unit of the index.
    pub stride: D,
    /// Exclusive upper bound of the index.
    pub extent: D,
}

/// A template with its axes, operands and holes.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel<D> {
    /// Where it comes from, outermost first: `encode.2.attend (uniad.uad:38)`.
    pub scope: String,
    /// Extents of the iteration axes.
    pub axes: Vec<D>,
    /// What it reads. `Inst::Load(n)` is the element of `reads[n]`.
    pub reads: Vec<Access<D>>,
    /// What it writes (no guards).
    pub writes: Vec<Access<D>>,
    /// Which template.
    pub body: Body<D>,
}

/// The templates.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<D> {
    /// At every point: result `n` of the hole goes to `writes[n]`.
    Map(Hole<D>),
    /// The last `inner` axes are the row. Stages run in order for every point of the outer axes.
    Rows {
        /// Number of row axes, at least 1.
        inner: u32,
        /// Reductions and writes.
        stages: Vec<RowStage<D>>,
    },
    /// `out(sum over K of a * b)` at every point of the Batch, M and N axes.
    Dot {
        /// One role per axis.
        roles: Vec<DotRole>,
        /// One result; sees Batch, M, K axes.
        a: Hole<D>,
        /// One result; sees Batch, N, K axes.
        b: Hole<D>,
        /// `Slot(0)` is the sum; result `n` goes to `writes[n]`; sees Batch, M, N axes.
        out: Hole<D>,
    },
    /// `out(sum over S of softmax over S(score(sum over D of q * k)) * v)`, streamed.
    Attention {
        /// One role per axis.
        roles: Vec<AttentionRole>,
        /// One result; sees Batch, T, D.
        q: Hole<D>,
        /// One result; sees Batch, S, D.
        k: Hole<D>,
        /// `Slot(0)` is q·k; sees Batch, T, S. A row that is all -inf gives NaN.
        score: Hole<D>,
        /// One result; sees Batch, S, E.
        v: Hole<D>,
        /// `Slot(0)` is the mixed value; sees Batch, T, E; result `n` goes to `writes[n]`.
        out: Hole<D>,
    },
    /// Adds the hole's result to `writes[0]` (which has a `via`), in the order of the points: repeated targets sum in
    /// a fixed order. The target is not cleared first.
    ScatterAdd(Hole<D>),
    /// Sorts the last axis by the hole's result, stable. `writes[0]`: positions (i32) of the sorted order.
    ArgSort {
        /// Key at every point.
        key: Hole<D>,
        /// Largest first; NaN is last in either order.
        falling: bool,
    },
    /// Inclusive running reduction along the last axis, in order: `writes[0]`.
    Scan {
        /// Sum, product, max or min.
        op: ReduceOp,
        /// Value at every point.
        value: Hole<D>,
    },
    /// Runs kernels a number of times.
    Loop {
        /// Bound on the number of rounds.
        count: D,
        /// Receives the round's number (i32 scalar) before each round.
        index: Option<BufferId>,
        /// `(first, carried, next)`: before round 0 `carried <- first`; after each round `carried <- next`. The three
        /// have one dtype, shape and layout; no `next` is another triple's `carried`. After the loop nothing else that
        /// the body has written may be read.
        carried: Vec<(BufferId, BufferId, BufferId)>,
        /// Stop when this bool scalar is true, looked at after every `every` rounds, when their results are carried.
        until: Option<(BufferId, D)>,
        /// One round.
        body: Vec<Kernel<D>>,
    },
    /// Eigenvalues rising (`writes[0]`, last axis n) and unit eigenvectors as columns (`writes[1]`) of symmetric
    /// matrices `reads[0]`; the last two axes are the matrix. Sign: the entry of largest magnitude is positive.
    Eigh,
    /// Lower triangular factor of positive definite matrices; the last two axes are the matrix.
    Cholesky,
}

/// One stage of `rows`.
#[derive(Clone, Debug, PartialEq)]
pub enum RowStage<D> {
    /// Reduces the hole's result over the row into the next slot.
    Reduce(ReduceOp, Hole<D>),
    /// At every point of the row: the hole's result goes to `writes[n]`.
    Map(u32, Hole<D>),
    /// Once per row, after the slots before it: the hole's result goes to `writes[n]` (strides 0 on row axes).
    Emit(u32, Hole<D>),
}

/// Reductions. Sums are made in an order that depends on shapes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Sum; 0 of nothing.
    Sum,
    /// Product; 1 of nothing.
    Prod,
    /// Largest; of nothing -inf (f32), the least i32, false. NaN wins.
    Max,
    /// Smallest; of nothing inf, the greatest i32, true. NaN wins.
    Min,
    /// Row-major position (i32) of the first largest; 0 of nothing. NaN counts as largest.
    ArgMax,
    /// Row-major position (i32) of the first smallest; 0 of nothing. NaN counts as smallest.
    ArgMin,
}

/// Role of an axis of `dot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DotRole {
    /// In a, b and the result.
    Batch,
    /// In a and the result.
    M,
    /// In b and the result.
    N,
    /// In a and b, summed.
    K,
}

/// Role of an axis of `attention`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttentionRole {
    /// In all.
    Batch,
    /// Queries.
    T,
    /// Keys.
    S,
    /// Features of queries and keys, summed.
    D,
    /// Features of values.
    E,
}

impl<D> Body<D> {
    /// The holes of the template (not those of a loop's body), in the order of the text form.
    pub fn holes(&self) -> Vec<&Hole<D>> {
        match self {
            Body::Map(h) | Body::ScatterAdd(h) | Body::ArgSort { key: h, .. } | Body::Scan { value: h, .. } => vec![h],
            Body::Rows { stages, .. } => stages
                .iter()
                .map(|s| match s {
                    RowStage::Reduce(_, h) | RowStage::Map(_, h) | RowStage::Emit(_, h) => h,
                })
                .collect(),
            Body::Dot { a, b, out, .. } => vec![a, b, out],
            Body::Attention { q, k, score, v, out, .. } => vec![q, k, score, v, out],
            Body::Loop { .. } | Body::Eigh | Body::Cholesky => vec![],
        }
    }
}

impl ReduceOp {
    /// The name in text forms.
    pub fn name(self) -> &'static str {
        match self {
            ReduceOp::Sum => "sum",
            ReduceOp::Prod => "prod",
            ReduceOp::Max => "max",
            ReduceOp::Min => "min",
            ReduceOp::ArgMax => "argmax",
            ReduceOp::ArgMin => "argmin",
        }
    }

    /// All reductions.
    pub const ALL: [ReduceOp; 6] =
        [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min, ReduceOp::ArgMax, ReduceOp::ArgMin];

    /// The dtype of the result for elements of `d`.
    pub fn result(self, d: DType) -> DType {
        match self {
            ReduceOp::ArgMax | ReduceOp::ArgMin => DType::I32,
            ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min => d,
        }
    }
}
