//! Parses kernels and holes.
//!
//! In: tokens. Out: kernels. Invariants: nesting is bounded. Imports: [`super::dims`], [`super::reader`],
//! [`crate::plan`].

use super::dims::Affine;
use super::lex::Kind;
use super::reader::{Out, Parser};
use crate::dim::Dim;
use crate::hole::{Hole, Inst, Reg};
use crate::plan::*;
use crate::scalar::ScalarOp;

/// Nested loops.
const DEEPEST_LOOP: usize = 16;

impl Parser<'_> {
    pub fn kernels(&mut self, out: &mut Vec<Kernel<Dim>>, depth: usize) -> Out<()> {
        self.need("{")?;
        while !self.eat("}") {
            let template = self.word("a template")?;
            out.push(self.kernel(template, depth)?);
        }
        Ok(())
    }

    fn kernel(&mut self, template: &str, depth: usize) -> Out<Kernel<Dim>> {
        let axes = self.dims()?;
        let n = axes.len();
        let mut k = Kernel { scope: String::new(), axes, reads: vec![], writes: vec![], body: Body::Eigh };
        let mut body = match template {
            "map" => Body::Map(Hole::default()),
            "rows" => {
                self.need_word("inner")?;
                Body::Rows { inner: self.u32()?, stages: vec![] }
            }
            "dot" => {
                let roles = self.roles(&[DotRole::Batch, DotRole::M, DotRole::N, DotRole::K], DotRole::name)?;
                Body::Dot { roles, a: Hole::default(), b: Hole::default(), out: Hole::default() }
            }
            "attention" => {
                use AttentionRole as R;
                let roles = self.roles(&[R::Batch, R::T, R::S, R::D, R::E], R::name)?;
                let (q, k, score) = (Hole::default(), Hole::default(), Hole::default());
                Body::Attention { roles, q, k, score, v: Hole::default(), out: Hole::default() }
            }
            "scatter_add" => Body::ScatterAdd(Hole::default()),
            "argsort" => {
                let falling = match self.word("`rising` or `falling`")? {
                    "rising" => false,
                    "falling" => true,
                    other => return Err(format!("expected `rising` or `falling`, found `{other}`")),
                };
                Body::ArgSort { key: Hole::default(), falling }
            }
            "scan" => Body::Scan { op: self.reduce_op()?, value: Hole::default() },
            "loop" => {
                self.need_word("count")?;
                Body::Loop { count: self.dim()?, index: None, carried: vec![], until: None, body: vec![] }
            }
            "eigh" => Body::Eigh,
            "cholesky" => Body::Cholesky,
            other => return Err(format!("`{other}` is no template")),
        };
        k.scope = self.string()?;
        self.need("{")?;
        while !self.eat("}") {
            if self.is("$") {
                self.step();
                let number = self.u32()?;
                if number as usize != k.reads.len() {
                    return Err(format!("expected operand ${}, found ${number}", k.reads.len()));
                }
                self.need("=")?;
                k.reads.push(self.access(n)?);
            } else if self.eat_word("write") {
                k.writes.push(self.access(n)?);
            } else {
                let part = self.word("a part of a kernel")?;
                self.part(&mut body, part, depth)?;
            }
        }
        k.body = body;
        Ok(k)
    }

    fn roles<R: Copy>(&mut self, all: &[R], name: fn(R) -> &'static str) -> Out<Vec<R>> {
        self.need_word("as")?;
        self.need("[")?;
        let mut out = Vec::new();
        while !self.eat("]") {
            if !out.is_empty() {
                self.need(",")?;
            }
            let w = self.word("a role")?;
            out.push(*all.iter().find(|r| name(**r) == w).ok_or_else(|| format!("`{w}` is no role here"))?);
        }
        Ok(out)
    }

    fn reduce_op(&mut self) -> Out<ReduceOp> {
        let w = self.word("a reduction")?;
        ReduceOp::ALL.into_iter().find(|o| o.name() == w).ok_or_else(|| format!("`{w}` is no reduction"))
    }

    fn buffer_id(&mut self) -> Out<BufferId> {
        self.need("%")?;
        let name = self.name()?;
        self.buffers.get(&name).copied().ok_or_else(|| format!("there is no buffer `{name}`"))
    }

    fn part(&mut self, body: &mut Body<Dim>, part: &str, depth: usize) -> Out<()> {
        match (body, part) {
            (Body::Map(hole), "at")
            | (Body::Dot { a: hole, .. }, "a")
            | (Body::Dot { b: hole, .. }, "b")
            | (Body::Dot { out: hole, .. }, "out")
            | (Body::Attention { q: hole, .. }, "q")
            | (Body::Attention { k: hole, .. }, "k")
            | (Body::Attention { score: hole, .. }, "score")
            | (Body::Attention { v: hole, .. }, "v")
            | (Body::Attention { out: hole, .. }, "out")
            | (Body::ScatterAdd(hole), "add")
            | (Body::ArgSort { key: hole, .. }, "key")
            | (Body::Scan { value: hole, .. }, "value") => *hole = self.hole()?,
            (Body::Rows { stages, .. }, "reduce") => {
                let op = self.reduce_op()?;
                stages.push(RowStage::Reduce(op, self.hole()?));
            }
            (Body::Rows { stages, .. }, "at") => {
                let n = self.u32()?;
                stages.push(RowStage::Map(n, self.hole()?));
            }
            (Body::Rows { stages, .. }, "emit") => {
                let n = self.u32()?;
                stages.push(RowStage::Emit(n, self.hole()?));
            }
            (Body::Loop { index, .. }, "index") => *index = Some(self.buffer_id()?),
            (Body::Loop { carried, .. }, "carry") => {
                let to = self.buffer_id()?;
                self.need_word("from")?;
                let first = self.buffer_id()?;
                self.need_word("then")?;
                carried.push((first, to, self.buffer_id()?));
            }
            (Body::Loop { until, .. }, "until") => {
                let id = self.buffer_id()?;
                self.need_word("every")?;
                *until = Some((id, self.dim()?));
            }
            (Body::Loop { body, .. }, template) => {
                if depth >= DEEPEST_LOOP {
                    return Err("loops are nested too deeply".into());
                }
                body.push(self.kernel(template, depth + 1)?);
            }
            (body, part) => return Err(format!("`{part}` is no part of `{}`", body.name())),
        }
        Ok(())
    }

    fn access(&mut self, axes: usize) -> Out<Access<Dim>> {
        let buffer = self.buffer_id()?;
        self.need("[")?;
        let Affine { offset, strides, via } = self.affine(axes)?;
        self.need("]")?;
        let mut guards = Vec::new();
        if self.eat_word("if") {
            loop {
                if self.number()? != "0" {
                    return Err("a guard starts with `0 <=`".into());
                }
                self.need("<=")?;
                let Affine { offset, strides, via } = self.affine(axes)?;
                if !via.is_empty() {
                    return Err("a guard sees axes only".into());
                }
                self.need("<")?;
                guards.push(Guard { offset, strides, extent: self.dim()? });
                if !self.eat(",") {
                    break;
                }
            }
        }
        let fill = if self.eat_word("else") { self.real(false)? } else { 0.0 };
        Ok(Access { buffer, offset, strides, guards, fill, via })
    }

    fn hole(&mut self) -> Out<Hole<Dim>> {
        self.need("{")?;
        let mut hole = Hole::default();
        while !self.eat_word("yield") {
            let r = self.register()?;
            if r.0 as usize != hole.code.len() {
                return Err(format!("expected r{}, found r{}", hole.code.len(), r.0));
            }
            self.need("=")?;
            let inst = self.inst()?;
            hole.code.push(inst);
            self.eat(";");
        }
        while !self.eat("}") {
            hole.results.push(self.register()?);
        }
        Ok(hole)
    }

    fn peek_register(&self) -> Option<Reg> {
        let digits = self.peek_word()?.strip_prefix('r')?;
        (digits.bytes().all(|c| c.is_ascii_digit())).then(|| digits.parse().ok().map(Reg))?
    }

    fn register(&mut self) -> Out<Reg> {
        let r = self.peek_register().ok_or_else(|| format!("expected a register, found {}", self.found()))?;
        self.step();
        Ok(r)
    }

    fn inst(&mut self) -> Out<Inst<Dim>> {
        if self.eat("$") {
            return Ok(Inst::Load(self.u32()?));
        }
        if self.starts_special() || self.is("-") || matches!(self.kind(), Kind::Number(_)) {
            return self.literal();
        }
        let word = self.word("an instruction")?;
        Ok(match word {
            "index" => Inst::Index(self.u32()?),
            "slot" => Inst::Slot(self.u32()?),
            "size" => Inst::Size(self.dim()?),
            "true" => Inst::Bool(true),
            "false" => Inst::Bool(false),
            "draw" => {
                let site = self.hex()?;
                self.need_word("lane")?;
                let lane = u8::try_from(self.u32()?).map_err(|e| e.to_string())?;
                self.need_word("element")?;
                let element = self.register()?;
                self.need_word("sample")?;
                Inst::Draw { site, lane, element, sample: self.register()? }
            }
            name => {
                let op = ScalarOp::from_name(name).ok_or_else(|| format!("`{name}` is no instruction"))?;
                let mut args = Vec::new();
                // A register before `=` starts the next instruction.
                while self.peek_register().is_some() && !self.next_is("=") {
                    args.push(self.register()?);
                }
                Inst::Op(op, args)
            }
        })
    }

    /// An i32 without, an f32 with point, exponent or name.
    fn literal(&mut self) -> Out<Inst<Dim>> {
        let negative = self.eat("-");
        let sign = if negative { "-" } else { "" };
        if let Some(bits) = self.special_bits()? {
            return u32::try_from(bits).map(|b| Inst::F32(f32::from_bits(b))).map_err(|e| e.to_string());
        }
        let text = match self.peek_word() {
            Some("nan") => {
                self.step();
                return Ok(Inst::F32(f32::NAN));
            }
            Some("inf") => {
                self.step();
                "inf"
            }
            _ => self.number()?,
        };
        let bad = format!("`{sign}{text}` is neither an f32 nor an i32");
        let text = format!("{sign}{text}");
        if text.bytes().all(|c| c.is_ascii_digit() || c == b'-') {
            text.parse().map(Inst::I32).map_err(|_| bad)
        } else {
            text.parse().map(Inst::F32).map_err(|_| bad)
        }
    }
}
