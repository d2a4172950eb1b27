//! The strip ABI: how a template calls a compiled hole.
//!
//! A *strip* is `n` points along one axis of a kernel (or along a run of axes that behave as one). A hole is compiled
//! for the way its operands move along the strip, and called with pointers. Guards and data-dependent offsets never
//! reach it: the template splits ranges, or fetches the operand into a buffer first.
//!
//! In: [`StripSpec`]s. Out: [`StripFn`]s. Invariants: a strip function touches exactly the elements that its operands
//! name for `n` points (none when `n` is 0), allocates nothing and may run on any thread; a result may share its
//! elements with an operand only point by point (same pointer, same movement). Imports: `uad-plan`.

use uad_plan::{DType, Hole};

/// How an operand moves from one point of the strip to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    /// Stays at one element.
    Fixed,
    /// Goes to the next element.
    Unit,
    /// Goes [`StripOperand::stride`] elements further.
    Strided,
}

impl Move {
    /// The movement of this stride in elements.
    pub fn of(stride: i64) -> Move {
        match stride {
            0 => Move::Fixed,
            1 => Move::Unit,
            _ => Move::Strided,
        }
    }
}

/// Element type and movement of one operand, slot or result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Port {
    /// Element type in memory: f32 and i32 take 4 bytes, bool one byte, 0 or 1.
    pub dtype: DType,
    /// How it moves.
    pub moves: Move,
}

impl Port {
    /// A port.
    pub fn new(dtype: DType, moves: Move) -> Port {
        Port { dtype, moves }
    }
}

/// What a strip function is compiled from.
#[derive(Clone, Debug)]
pub struct StripSpec<'a> {
    /// The scalar program.
    pub hole: &'a Hole<i64>,
    /// One per read operand of the kernel (`Inst::Load(n)` reads port `n`); those that the hole does not load are
    /// looked at by nobody.
    pub reads: Vec<Port>,
    /// One per slot that the hole may read.
    pub slots: Vec<Port>,
    /// One per result of the hole: [`Move::Unit`], [`Move::Strided`], or [`Move::Fixed`] for the last point to win.
    pub results: Vec<Port>,
    /// The kernel axis along which the strip moves, if the hole may read its index: `Inst::Index(axis)` is
    /// `base[axis] + i` at point `i`; all others are `base[axis]`.
    pub moving: Option<u32>,
}

/// Where an operand of a strip is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StripOperand {
    /// The element at the first point.
    pub pointer: *mut u8,
    /// Elements (not bytes) from point to point; read only where the port is [`Move::Strided`].
    pub stride: isize,
}

impl StripOperand {
    /// An operand that is never looked at.
    pub const NONE: StripOperand = StripOperand { pointer: std::ptr::null_mut(), stride: 0 };

    /// An operand.
    pub fn new<T>(pointer: *const T, stride: isize) -> StripOperand {
        StripOperand { pointer: pointer.cast_mut().cast(), stride }
    }
}

/// What random draws depend on beside the hole.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct DrawKey {
    /// The seed of the run.
    pub seed: u64,
    /// The step of the run.
    pub step: u64,
    /// The number of the batch's first sample.
    pub first_sample: u64,
    /// What the sites in the code differ from those that are meant, bit by bit.
    pub site: u64,
}

/// Arguments of a strip function.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StripArgs {
    /// Points.
    pub n: usize,
    /// By number of the read operand.
    pub reads: *const StripOperand,
    /// By number of the slot.
    pub slots: *const StripOperand,
    /// By number of the result.
    pub results: *const StripOperand,
    /// The coordinate of the first point on every kernel axis; may be null if the hole reads no index.
    pub base: *const i32,
    /// May be null if the hole draws nothing.
    pub draw: *const DrawKey,
}

/// A compiled hole.
///
/// # Safety
/// The arguments fit the spec it was compiled from, and every element they name is valid.
pub type StripFn = unsafe extern "C" fn(args: *const StripArgs);

/// The number of a strip function in its [`super::hole_jit::HoleCompiler`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StripId(pub(crate) u32);
