//! Binding: a verified entry with a value for every open dim, proved safe to run.
//!
//! In: a verified plan, an entry's name, values of its dims. Out: [`Bound`]: extents folded, requirements checked,
//! accesses proved inside their buffers, a place for every buffer.
//! Invariants: a pure function; a [`Bound`] is made here only and is read-only, so that back ends may rely on:
//! every element that a kernel touches at a point where the guards hold is inside its buffer (and the arithmetic of
//! offsets and guards stays within 62 bits where they do not hold); writes of one kernel do not overlap; two temporary
//! buffers in use at the same time do not share memory; indices and sizes that holes see fit i32.
//! Imports: [`crate::plan`], [`crate::verify`], [`crate::dim`].

mod arena;
mod fold;
mod proof;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use self::fold::Fold;
use crate::dim::{Binding, Dim};
use crate::dtype::DType;
use crate::plan::{Body, BufferId, BufferKind, Entry, Kernel, Plan};
use crate::tensor::Tensor;
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
    /// The entry for a few of its samples: a back end whose caches are small calls it for one part of the batch after another.
    pub slice: Option<Slice>,
}

/// A part of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// The entry bound to so many samples.
    pub bound: Box<Bound>,
    /// Samples in it.
    pub samples: u64,
    /// How many make the batch.
    pub parts: usize,
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

    /// The bytes that a constant's memory holds (little-endian, row-major), or `None` for other buffers.
    pub fn const_bytes(&self, i: usize) -> Option<Vec<u8>> {
        let b = self.0.entry.buffers.get(i)?;
        let BufferKind::Const(values) = &b.kind else { return None };
        let shape: Vec<usize> = b.shape.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
        Tensor::from_f64(b.dtype, &shape, values.iter().copied()).ok().map(|t| t.to_bytes())
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

/// Bytes of all buffers of an entry together.
const MOST_BYTES: u128 = 1 << 40;

/// Scratch that a slice of a batch stays below, unless one sample needs more. What a kernel leaves is then still in the second or third
/// cache when the next one reads it: whole batches of 8 take up to 1.7 times as long per sample.
const SLICE: usize = 4 << 20;

/// Binds an entry of a plan.
pub fn bind(plan: &Verified<Plan<Dim>>, entry: &str, binding: &Binding) -> Result<Bound, BindError> {
    bind_within(plan, entry, binding, SLICE)
}

/// Binds an entry of a plan; where its samples do not depend on each other, in slices whose scratch stays below so many bytes.
pub fn bind_within(
    plan: &Verified<Plan<Dim>>,
    entry: &str,
    binding: &Binding,
    scratch: usize,
) -> Result<Bound, BindError> {
    let found = plan.entries.iter().find(|e| e.name == entry);
    let symbolic = found.ok_or_else(|| BindError::NoEntry(entry.to_string()))?;
    let mut bound = whole(symbolic, binding)?;
    let dim = symbolic.samples.as_ref();
    if let Some((dim, batch)) = dim.and_then(|d| Some((d, *bound.dims.get(d)?))).filter(|d| d.1 > 1) {
        // What must hold of the batch may not hold of a part: then it stays whole.
        let of = |samples: i64| whole(symbolic, &with(binding, dim, samples)).ok();
        let one = of(1);
        let most = one.as_ref().map_or(batch, |one| i64::try_from(scratch / one.arena.max(1)).unwrap_or(batch));
        let samples = (1..batch).rev().find(|s| batch % s == 0 && *s <= most).unwrap_or(1);
        // Parts far smaller than what would fit cost more than they gain.
        let worth = most < batch && 2 * samples >= most;
        if let Some(part) = if samples == 1 { one } else { of(samples) }.filter(|_| worth) {
            let parts = usize::try_from(batch / samples).unwrap_or(1);
            bound.0.slice = Some(Slice { bound: Box::new(part), samples: samples.unsigned_abs(), parts });
        }
    }
    Ok(bound)
}

fn with(binding: &Binding, dim: &str, value: i64) -> Binding {
    let mut binding = binding.clone();
    binding.insert(dim.to_owned(), value);
    binding
}

fn whole(symbolic: &Entry<Dim>, binding: &Binding) -> Result<Bound, BindError> {
    let dims = values(symbolic, binding)?;
    let mut fold = Fold { binding: &dims, of: String::new() };
    let mut entry = fold.head(symbolic)?;
    let bytes = sizes(symbolic, &entry, &fold)?;
    entry.setup = fold.kernels(&symbolic.setup)?;
    entry.kernels = fold.kernels(&symbolic.kernels)?;
    for kernels in [&entry.setup, &entry.kernels] {
        proof::check(&entry, kernels)?;
    }
    let (places, arena, persistent) = places(&entry, &bytes);
    let (mut inputs, mut outputs, mut stored) = (Vec::new(), Vec::new(), Vec::new());
    let usage = Usage::of(&entry);
    for (i, b) in entry.buffers.iter().enumerate() {
        let ports = match b.kind {
            BufferKind::Input => &mut inputs,
            BufferKind::Output => &mut outputs,
            BufferKind::Stored => &mut stored,
            BufferKind::Const(_) | BufferKind::Temp => continue,
        };
        // Extents are 0 to 2^40.
        let shape = b.shape.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
        let (read, written) = (usage.read.contains(&i), usage.written.contains(&i));
        ports.push(Port { name: b.name.clone(), buffer: BufferId(i as u32), dtype: b.dtype, shape, read, written });
    }
    Ok(Bound(BoundEntry { entry, dims, places, arena, persistent, inputs, outputs, stored, slice: None }))
}

/// The values of the entry's dims.
fn values(entry: &Entry<Dim>, binding: &Binding) -> Result<Binding, BindError> {
    let one = |name: &String| {
        let error = |message: String| BindError::Dim { name: name.clone(), message };
        let v = *binding.get(name).ok_or_else(|| error("has no value".into()))?;
        // Dims that are equal in form are equal for positive values.
        if (1..=1 << 40).contains(&v) { Ok((name.clone(), v)) } else { Err(error(format!("cannot be {v}"))) }
    };
    entry.dims.iter().map(one).collect()
}

/// Bytes of every buffer.
fn sizes(symbolic: &Entry<Dim>, entry: &Entry<i64>, fold: &Fold<'_>) -> Result<Vec<usize>, BindError> {
    let (mut out, mut total) = (Vec::with_capacity(entry.buffers.len()), 0u128);
    for (b, with) in entry.buffers.iter().zip(&symbolic.buffers) {
        let product = |p: u128, d: &i64| p.saturating_mul(u128::from(d.unsigned_abs()));
        let bytes = b.shape.iter().fold(b.dtype.bytes() as u128, product);
        // Padding of every buffer counts too.
        total = total.saturating_add(bytes).saturating_add(64);
        if total > MOST_BYTES {
            let names: std::collections::BTreeSet<String> = with.shape.iter().flat_map(Dim::names).collect();
            let named: Vec<String> =
                names.iter().filter_map(|n| fold.binding.get(n).map(|v| format!("{n} = {v}"))).collect();
            let with = if named.is_empty() { String::new() } else { format!(" with {}", named.join(", ")) };
            let of = format!("buffer `{}`", b.name);
            return Err(BindError::Size { of, message: format!("{}{:?}{with} is too large", b.dtype, b.shape) });
        }
        out.push(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    Ok(out)
}

/// The place of every buffer, the size of the arena and of the persistent area.
fn places(entry: &Entry<i64>, bytes: &[usize]) -> (Vec<BufferPlace>, usize, usize) {
    let n = entry.buffers.len();
    let mut clock = 0;
    let mut in_setup = arena::lives(&entry.setup, n, &mut clock);
    let mut in_kernels = arena::lives(&entry.kernels, n, &mut clock);
    let made = Usage::of_kernels(&entry.setup).written;
    let always = arena::Life { first: 0, last: usize::MAX };
    let (mut scratch, mut kept) = (Vec::new(), Vec::new());
    for (i, b) in entry.buffers.iter().enumerate() {
        match b.kind {
            BufferKind::Const(_) => kept.push((i, always)),
            BufferKind::Temp if made.contains(&i) => {
                let mut life = in_setup[i].take().unwrap_or(always);
                if in_kernels[i].take().is_some() {
                    life.last = usize::MAX;
                }
                kept.push((i, life));
            }
            BufferKind::Temp => {
                let unused = arena::Life { first: 0, last: 0 };
                scratch.push((i, in_kernels[i].take().unwrap_or(unused)));
            }
            BufferKind::Input | BufferKind::Output | BufferKind::Stored => {}
        }
    }
    let (mut inputs, mut outputs) = (0..n, 0..n);
    let mut places: Vec<BufferPlace> = entry
        .buffers
        .iter()
        .map(|b| match b.kind {
            BufferKind::Input => BufferPlace::Input(inputs.next().unwrap_or(0)),
            BufferKind::Output => BufferPlace::Output(outputs.next().unwrap_or(0)),
            _ => BufferPlace::Stored,
        })
        .collect();
    let mut settle = |wanted: &[(usize, arena::Life)], place: fn(usize) -> BufferPlace| {
        let sized: Vec<_> = wanted.iter().map(|(i, life)| (bytes[*i], *life)).collect();
        let (offsets, total) = arena::pack(&sized);
        for ((i, _), at) in wanted.iter().zip(offsets) {
            places[*i] = place(at);
        }
        total
    };
    let arena = settle(&scratch, BufferPlace::Arena);
    let persistent = settle(&kept, BufferPlace::Persistent);
    (places, arena, persistent)
}

/// Which buffers are read and written.
#[derive(Default)]
struct Usage {
    read: std::collections::BTreeSet<usize>,
    written: std::collections::BTreeSet<usize>,
}

impl Usage {
    fn of(entry: &Entry<i64>) -> Usage {
        let mut usage = Usage::of_kernels(&entry.setup);
        usage.add(&entry.kernels);
        usage
    }

    fn of_kernels(kernels: &[Kernel<i64>]) -> Usage {
        let mut usage = Usage::default();
        usage.add(kernels);
        usage
    }

    fn add(&mut self, kernels: &[Kernel<i64>]) {
        for k in kernels {
            self.read.extend(k.reads.iter().map(|a| a.buffer.0 as usize));
            self.written.extend(k.writes.iter().map(|a| a.buffer.0 as usize));
            if matches!(k.body, Body::ScatterAdd(_)) {
                self.read.extend(k.writes.iter().map(|a| a.buffer.0 as usize));
            }
            if let Body::Loop { index, carried, until, body, .. } = &k.body {
                self.read.extend(carried.iter().flat_map(|c| [c.0.0 as usize, c.2.0 as usize]));
                self.read.extend(until.iter().map(|u| u.0.0 as usize));
                self.written.extend(carried.iter().map(|c| c.1.0 as usize));
                self.written.extend(index.iter().map(|i| i.0 as usize));
                self.add(body);
            }
        }
    }
}
