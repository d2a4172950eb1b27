//! Holes: the small scalar programs inside plan kernels.
//!
//! In: made by the compiler's fusion or read from text. Out: run by the interpreter, compiled by both back ends.
//! Invariants (checked by `verify`): straight-line code in SSA form; an argument names an earlier instruction; operand,
//! axis and slot numbers exist; types fit the scalar table. A hole sees scalars and indices only, never memory.

use crate::dtype::DType;
use crate::scalar::ScalarOp;

/// The number of an instruction in its hole, and of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(
    /// Position in [`Hole::code`].
    pub u32,
);

/// One instruction. `D` is a symbolic [`crate::dim::Dim`] before `bind` and an `i64` after it.
#[derive(Clone, Debug, PartialEq)]
pub enum Inst<D> {
    /// The element of read operand `n` at the current point.
    Load(u32),
    /// The coordinate on axis `n` of the kernel (i32).
    Index(u32),
    /// A running or finished reduction of the template, by number: the accumulator of `dot`, the results of earlier
    /// stages of `rows`.
    Slot(u32),
    /// A literal f32.
    F32(f32),
    /// A literal i32.
    I32(i32),
    /// A literal bool.
    Bool(bool),
    /// A dimension as i32.
    Size(D),
    /// A scalar operation.
    Op(ScalarOp, Vec<Reg>),
    /// A uniform draw in [0, 1) with 24 bits: word `element % 4` of Philox4x32-10, key (seed, site), counter
    /// (element / 4, sample, step, lane). `element` and `sample` are i32 registers; seed, step and the number of the
    /// first sample come from the run. [`crate::philox::uniform`] is the definition.
    Draw {
        /// Which draw of the detector (hash of its path).
        site: u64,
        /// Which of a site's draws for one element, 0 to 3.
        lane: u8,
        /// Element number within one sample's draw.
        element: Reg,
        /// Sample number.
        sample: Reg,
    },
}

/// A scalar program with one or more results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hole<D> {
    /// Instructions; instruction `i` defines `Reg(i)`.
    pub code: Vec<Inst<D>>,
    /// What it yields.
    pub results: Vec<Reg>,
}

impl<D> Hole<D> {
    /// The hole that yields operand `n` unchanged.
    pub fn load(n: u32) -> Hole<D> {
        Hole { code: vec![Inst::Load(n)], results: vec![Reg(0)] }
    }

    /// The hole that yields slot `n` unchanged.
    pub fn slot(n: u32) -> Hole<D> {
        Hole { code: vec![Inst::Slot(n)], results: vec![Reg(0)] }
    }

    /// Appends an instruction and gives its register.
    pub fn push(&mut self, inst: Inst<D>) -> Reg {
        self.code.push(inst);
        Reg(self.code.len() as u32 - 1)
    }

    /// The operand, if the hole is nothing but one load.
    pub fn as_load(&self) -> Option<u32> {
        match (self.code.as_slice(), self.results.as_slice()) {
            ([Inst::Load(n)], [Reg(0)]) => Some(*n),
            _ => None,
        }
    }

    /// The dtype of every instruction, for read operands and slots of these dtypes; or what breaks the rules.
    pub fn types(&self, loads: &[DType], slots: &[DType]) -> Result<Vec<DType>, String> {
        let mut types: Vec<DType> = Vec::with_capacity(self.code.len());
        for (i, inst) in self.code.iter().enumerate() {
            let of = |r: &Reg| {
                types.get(r.0 as usize).copied().ok_or_else(|| format!("r{i} uses r{}, which is not before it", r.0))
            };
            let found = match inst {
                Inst::Load(n) => *loads
                    .get(*n as usize)
                    .ok_or_else(|| format!("r{i} loads operand {n}, there are {}", loads.len()))?,
                Inst::Slot(n) => {
                    *slots.get(*n as usize).ok_or_else(|| format!("r{i} takes slot {n}, there are {}", slots.len()))?
                }
                Inst::Index(_) | Inst::I32(_) | Inst::Size(_) => DType::I32,
                Inst::F32(_) => DType::F32,
                Inst::Bool(_) => DType::Bool,
                Inst::Op(op, args) => {
                    let args = args.iter().map(of).collect::<Result<Vec<_>, _>>()?;
                    op.result(&args).ok_or_else(|| {
                        let args: Vec<_> = args.iter().map(|a| a.name()).collect();
                        format!("r{i}: `{}` does not take ({})", op.name(), args.join(", "))
                    })?
                }
                Inst::Draw { lane, element, sample, .. } => {
                    if *lane > 3 {
                        return Err(format!("r{i} draws word {lane} of four"));
                    }
                    if of(element)? != DType::I32 || of(sample)? != DType::I32 {
                        return Err(format!("r{i}: the element and the sample of a draw are i32"));
                    }
                    DType::F32
                }
            };
            types.push(found);
        }
        if let Some(r) = self.results.iter().find(|r| r.0 as usize >= types.len()) {
            return Err(format!("the result r{} does not exist", r.0));
        }
        Ok(types)
    }

    /// The same hole with every dimension mapped.
    pub fn map_dims<E, Err>(&self, f: &mut impl FnMut(&D) -> Result<E, Err>) -> Result<Hole<E>, Err> {
        let code = self
            .code
            .iter()
            .map(|i| {
                Ok(match i {
                    Inst::Load(n) => Inst::Load(*n),
                    Inst::Index(n) => Inst::Index(*n),
                    Inst::Slot(n) => Inst::Slot(*n),
                    Inst::F32(v) => Inst::F32(*v),
                    Inst::I32(v) => Inst::I32(*v),
                    Inst::Bool(v) => Inst::Bool(*v),
                    Inst::Size(d) => Inst::Size(f(d)?),
                    Inst::Op(o, a) => Inst::Op(*o, a.clone()),
                    Inst::Draw { site, lane, element, sample } => {
                        Inst::Draw { site: *site, lane: *lane, element: *element, sample: *sample }
                    }
                })
            })
            .collect::<Result<_, Err>>()?;
        Ok(Hole { code, results: self.results.clone() })
    }
}
