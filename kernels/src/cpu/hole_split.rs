//! Splits a hole into segments between calls of microkernels.
//!
//! Arithmetic of a hole becomes fused loops; exp, sin and the like, and random draws, are calls of microkernels on a
//! piece of the strip that lies in L1. A hole with calls is therefore cut: segment 0, calls, segment 1, calls, ...
//!
//! In: a [`StripSpec`]. Out: [`Split`]: which value is made in which segment and which wait in temporaries.
//! Invariants: a value that does not move along the strip is made once per piece; what costs less to make again than
//! to keep is made again. Imports: [`super::strip`], `uad-plan`.

use super::strip::{Move, StripSpec};
use uad_plan::{DType, Inst, Reg, ScalarOp};

/// Operations up to this many are made again in a later segment rather than kept.
const CHEAP: u32 = 2;

/// Where the value of a call, or a kept value, lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In registers only.
    None,
    /// In a temporary of this number.
    Temp(u32),
    /// In the strip of this result.
    Result(u32),
    /// In the strip of this read operand (a load that a call takes as it is).
    Read(u32),
    /// In the strip of this slot.
    Slot(u32),
}

/// One fused loop and the calls after it.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// Values to keep, by instruction.
    pub keeps: Vec<usize>,
    /// Calls after the loop, by instruction.
    pub calls: Vec<usize>,
}

/// A hole cut into segments.
#[derive(Clone, Debug)]
pub struct Split {
    /// Dtype per instruction.
    pub dtypes: Vec<DType>,
    /// Does the value stay the same along the strip?
    pub uniform: Vec<bool>,
    /// First segment in which the value can be read.
    pub ready: Vec<usize>,
    /// Where the value lies in segments after it was made.
    pub places: Vec<Place>,
    /// The segment that keeps the value; beyond the last where none does.
    pub kept: Vec<usize>,
    /// At least one; results are stored in the last.
    pub segments: Vec<Segment>,
    /// Number of temporaries.
    pub temps: u32,
}

/// Is the instruction a call of a microkernel?
pub fn is_call(inst: &Inst<i64>) -> bool {
    use ScalarOp::*;
    matches!(inst, Inst::Op(Exp | Log | Sin | Cos | Tanh | Erf, _) | Inst::Draw { .. })
}

/// Registers an instruction reads.
pub fn arguments(inst: &Inst<i64>) -> Vec<Reg> {
    match inst {
        Inst::Op(_, args) => args.clone(),
        Inst::Draw { element, sample, .. } => vec![*element, *sample],
        _ => Vec::new(),
    }
}

fn dtype_of(spec: &StripSpec<'_>, known: &[DType], i: usize, inst: &Inst<i64>) -> Result<DType, String> {
    let port = |list: &[super::strip::Port], n: u32| {
        list.get(n as usize).map(|p| p.dtype).ok_or_else(|| format!("instruction {i} reads operand {n} of too few"))
    };
    Ok(match inst {
        Inst::Load(n) => port(&spec.reads, *n)?,
        Inst::Slot(n) => port(&spec.slots, *n)?,
        Inst::Index(_) | Inst::I32(_) | Inst::Size(_) => DType::I32,
        Inst::F32(_) | Inst::Draw { .. } => DType::F32,
        Inst::Bool(_) => DType::Bool,
        Inst::Op(op, args) => {
            let args: Vec<DType> = args.iter().map(|a| known[a.0 as usize]).collect();
            op.result(&args).ok_or_else(|| format!("instruction {i}: `{}` does not take {args:?}", op.name()))?
        }
    })
}

impl Split {
    /// Cuts the hole.
    pub fn new(spec: &StripSpec<'_>) -> Result<Split, String> {
        let code = &spec.hole.code;
        let (mut dtypes, mut uniform, mut ready, mut cost) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (i, inst) in code.iter().enumerate() {
            let args = arguments(inst);
            if args.iter().any(|a| a.0 as usize >= i) {
                return Err(format!("instruction {i} reads a later one"));
            }
            dtypes.push(dtype_of(spec, &dtypes, i, inst)?);
            let fixed = match inst {
                Inst::Load(n) => spec.reads[*n as usize].moves == Move::Fixed,
                Inst::Slot(n) => spec.slots[*n as usize].moves == Move::Fixed,
                Inst::Index(axis) => spec.moving != Some(*axis),
                Inst::Draw { .. } => false,
                _ => args.iter().all(|a| uniform[a.0 as usize]),
            };
            uniform.push(fixed);
            let after = args.iter().map(|a| ready[a.0 as usize]).max().unwrap_or(0);
            ready.push(after + usize::from(is_call(inst)));
            let own: u32 = match inst {
                Inst::Op(ScalarOp::Div | ScalarOp::Rem | ScalarOp::Sqrt, _) => 4,
                Inst::Op(..) => 1,
                _ => 0,
            };
            let below: u32 = args.iter().map(|a| cost[a.0 as usize]).fold(0, u32::saturating_add);
            cost.push(if is_call(inst) { 0 } else { own.saturating_add(below) });
        }
        let results = &spec.hole.results;
        if results.len() != spec.results.len() || results.iter().any(|r| r.0 as usize >= code.len()) {
            return Err("results of a hole do not fit".to_owned());
        }
        let count = results.iter().map(|r| ready[r.0 as usize]).max().unwrap_or(0) + 1;
        let mut split = Split {
            dtypes,
            uniform,
            ready,
            places: vec![Place::None; code.len()],
            kept: vec![usize::MAX; code.len()],
            segments: vec![Segment::default(); count],
            temps: 0,
        };
        split.place(spec, &cost);
        Ok(split)
    }

    /// Walks the segments from the last to the first and notes what each must make, keep and call.
    fn place(&mut self, spec: &StripSpec<'_>, cost: &[u32]) {
        let code = &spec.hole.code;
        let last = self.segments.len() - 1;
        // Does a segment, or a call after it, read memory of the caller?
        let mut reads_memory = vec![false; last + 1];
        for s in (0..=last).rev() {
            let mut roots: Vec<usize> = Vec::new();
            if s == last {
                roots.extend(spec.hole.results.iter().map(|r| r.0 as usize));
            }
            for call in self.segments[s].calls.clone() {
                for arg in arguments(&code[call]) {
                    let a = arg.0 as usize;
                    if self.places[a] != Place::None {
                        continue;
                    }
                    let unary = matches!(code[call], Inst::Op(..));
                    let whole = |port: super::strip::Port| port.moves != Move::Strided && unary;
                    match code[a] {
                        Inst::Load(n) if whole(spec.reads[n as usize]) => {
                            self.places[a] = Place::Read(n);
                            reads_memory[s] = true;
                        }
                        Inst::Slot(n) if whole(spec.slots[n as usize]) => {
                            self.places[a] = Place::Slot(n);
                            reads_memory[s] = true;
                        }
                        _ if is_call(&code[a]) => self.want_call(a),
                        _ => self.keep(a, s),
                    }
                }
            }
            roots.extend(self.segments[s].keeps.iter().copied());
            let mut seen = vec![false; code.len()];
            while let Some(r) = roots.pop() {
                if std::mem::replace(&mut seen[r], true) {
                    continue;
                }
                let keeps_it = self.segments[s].keeps.contains(&r);
                match &code[r] {
                    Inst::Load(_) | Inst::Slot(_) => reads_memory[s] = true,
                    inst if is_call(inst) => self.want_call(r),
                    Inst::Op(_, args) => {
                        let kept = matches!(self.places[r], Place::Temp(_)) && !keeps_it;
                        if self.ready[r] < s && !self.uniform[r] && (kept || cost[r] > CHEAP) && !keeps_it {
                            self.keep(r, self.ready[r]);
                        } else {
                            roots.extend(args.iter().map(|a| a.0 as usize));
                        }
                    }
                    _ => {}
                }
            }
        }
        // The result of a call lies in the caller's strip at once, if nothing of the caller is read after it.
        for (n, r) in spec.hole.results.iter().enumerate() {
            let (r, port) = (r.0 as usize, spec.results[n]);
            if !is_call(&code[r]) || self.uniform[r] || port.moves != Move::Unit {
                continue;
            }
            // Calls side by side run one after the other: the first must not write what the second reads.
            let from = if self.segments[self.ready[r] - 1].calls.len() > 1 { self.ready[r] - 1 } else { self.ready[r] };
            if reads_memory[from..].iter().all(|m| !m) {
                self.places[r] = Place::Result(n as u32);
            }
        }
    }

    fn want_call(&mut self, r: usize) {
        let after = self.ready[r] - 1;
        if !self.segments[after].calls.contains(&r) {
            self.segments[after].calls.push(r);
            self.segments[after].calls.sort_unstable();
            self.places[r] = Place::Temp(self.temps);
            self.temps += 1;
        }
    }

    fn keep(&mut self, r: usize, segment: usize) {
        if !self.segments[segment].keeps.contains(&r) {
            self.segments[segment].keeps.push(r);
            self.kept[r] = self.kept[r].min(segment);
        }
        if self.places[r] == Place::None {
            self.places[r] = Place::Temp(self.temps);
            self.temps += 1;
        }
    }
}
