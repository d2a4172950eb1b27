//! Parses the text form.
//!
//! In: text. Out: a plan, not yet verified, or the first error with its line and column. Invariants: never panics;
//! nesting, numbers of axes, sizes of dims and lengths of constants are bounded. Imports: [`crate::plan`].

use std::collections::BTreeMap;
use std::fmt;

use super::lex::{Kind, Token, lex};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::extent::row_major;
use crate::hole::{Hole, Inst, Reg};
use crate::plan::*;
use crate::scalar::ScalarOp;

/// Nested loops.
const DEEPEST_LOOP: usize = 16;
/// Nested parentheses in a dim.
const DEEPEST_DIM: usize = 64;
/// Axes of a kernel or a shape.
const MOST_AXES: usize = 64;
/// Terms and factors of a dim.
const HEAVIEST_DIM: usize = 1 << 12;
/// Elements of all constants.
const MOST_ELEMENTS: usize = 1 << 26;

/// Where a text is not a plan, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
    /// One sentence.
    pub message: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}
impl std::error::Error for TextError {}

/// Reads a plan. It is not verified yet.
pub fn parse(text: &str) -> Result<Plan<Dim>, TextError> {
    let error = |(at, message): (usize, String)| {
        let before: String = text.char_indices().take_while(|(i, _)| *i < at).map(|c| c.1).collect();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        TextError { line, column, message }
    };
    let tokens = lex(text).map_err(error)?;
    let mut p = Parser { tokens, at: 0, buffers: BTreeMap::new(), elements: 0 };
    p.plan().map_err(|message| error((p.token().at, message)))
}

type Out<T> = Result<T, String>;

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    at: usize,
    /// Buffers of the current entry by name.
    buffers: BTreeMap<String, BufferId>,
    /// Elements of constants so far.
    elements: usize,
}

/// A sum of dims, axes and clamped indices.
struct Affine {
    offset: Dim,
    strides: Vec<Dim>,
    via: Vec<Via<Dim>>,
}

/// What a product may have besides dims.
enum Unit {
    None,
    Axis(usize),
    Via(u32, Dim),
}

const END: Token<'static> = Token { kind: Kind::End, at: usize::MAX };

impl<'t> Parser<'t> {
    fn token(&self) -> &Token<'t> {
        // The last token is `End` and is never passed.
        self.tokens.get(self.at).or(self.tokens.last()).unwrap_or(&END)
    }
    fn kind(&self) -> &Kind<'t> {
        &self.token().kind
    }
    fn next_is(&self, symbol: &str) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|t| matches!(t.kind, Kind::Symbol(s) if s == symbol))
    }
    fn step(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }
    fn is(&self, symbol: &str) -> bool {
        matches!(self.kind(), Kind::Symbol(s) if *s == symbol)
    }
    fn eat(&mut self, symbol: &str) -> bool {
        let hit = self.is(symbol);
        if hit {
            self.step();
        }
        hit
    }
    fn found(&self) -> String {
        match self.kind() {
            Kind::Word(w) => format!("`{w}`"),
            Kind::Number(n) => format!("`{n}`"),
            Kind::Text(_) => "a string".into(),
            Kind::Symbol(s) => format!("`{s}`"),
            Kind::End => "the end".into(),
        }
    }
    fn need(&mut self, symbol: &str) -> Out<()> {
        if self.eat(symbol) { Ok(()) } else { Err(format!("expected `{symbol}`, found {}", self.found())) }
    }
    fn peek_word(&self) -> Option<&'t str> {
        if let Kind::Word(w) = self.kind() { Some(w) } else { None }
    }
    fn word(&mut self, what: &str) -> Out<&'t str> {
        let w = self.peek_word().ok_or_else(|| format!("expected {what}, found {}", self.found()))?;
        self.step();
        Ok(w)
    }
    fn eat_word(&mut self, word: &str) -> bool {
        let hit = self.peek_word() == Some(word);
        if hit {
            self.step();
        }
        hit
    }
    fn need_word(&mut self, word: &str) -> Out<()> {
        if self.eat_word(word) { Ok(()) } else { Err(format!("expected `{word}`, found {}", self.found())) }
    }
    fn string(&mut self) -> Out<String> {
        let Kind::Text(s) = self.kind() else { return Err(format!("expected a string, found {}", self.found())) };
        let s = s.clone();
        self.step();
        Ok(s)
    }
    fn name(&mut self) -> Out<String> {
        if matches!(self.kind(), Kind::Text(_)) { self.string() } else { self.word("a name").map(str::to_owned) }
    }
    fn number(&mut self) -> Out<&'t str> {
        let Kind::Number(n) = self.kind() else { return Err(format!("expected a number, found {}", self.found())) };
        let n: &'t str = n;
        self.step();
        Ok(n)
    }
    fn u32(&mut self) -> Out<u32> {
        let n = self.number()?;
        n.parse().map_err(|_| format!("`{n}` is not an integer of 32 bits"))
    }

    fn plan(&mut self) -> Out<Plan<Dim>> {
        self.need_word("uadp")?;
        let version = self.u32()?;
        if version != 1 {
            return Err(format!("version {version} of the plan format is unknown; this reader knows 1"));
        }
        self.need_word("plan")?;
        let mut plan = Plan { name: self.string()?, ..Plan::default() };
        if self.eat_word("stored") {
            self.need("{")?;
            while !self.eat("}") {
                let kind = match self.word("`weight` or `state`")? {
                    "weight" => StoredKind::Weight,
                    "state" => StoredKind::State,
                    other => return Err(format!("expected `weight` or `state`, found `{other}`")),
                };
                let path = self.name()?;
                let (dtype, shape) = self.tensor_type()?;
                plan.stored.push(Stored { path, kind, dtype, shape });
            }
        }
        while self.eat_word("entry") {
            plan.entries.push(self.entry()?);
        }
        if !matches!(self.kind(), Kind::End) {
            return Err(format!("expected `entry`, found {}", self.found()));
        }
        Ok(plan)
    }

    fn tensor_type(&mut self) -> Out<(DType, Vec<Dim>)> {
        let name = self.word("an element type")?;
        let dtype = DType::from_name(name).ok_or_else(|| format!("`{name}` is no element type"))?;
        Ok((dtype, self.dims()?))
    }

    fn dims(&mut self) -> Out<Vec<Dim>> {
        self.need("[")?;
        let mut out = Vec::new();
        while !self.eat("]") {
            if !out.is_empty() {
                self.need(",")?;
            }
            if out.len() == MOST_AXES {
                return Err(format!("more than {MOST_AXES} axes"));
            }
            out.push(self.dim()?);
        }
        Ok(out)
    }

    fn entry(&mut self) -> Out<Entry<Dim>> {
        let mut e = Entry { name: self.name()?, ..Entry::default() };
        self.buffers.clear();
        self.need("(")?;
        while !self.eat(")") {
            if !e.dims.is_empty() {
                self.need(",")?;
            }
            e.dims.push(self.word("a dim")?.to_owned());
        }
        self.need("{")?;
        while !self.eat("}") {
            match self.word("a part of an entry")? {
                "require" => e.requires.push(self.require()?),
                "setup" => self.kernels(&mut e.setup, 0)?,
                "kernels" => self.kernels(&mut e.kernels, 0)?,
                kind @ ("input" | "output" | "stored" | "temp" | "const") => {
                    let buffer = self.buffer(kind)?;
                    let id = BufferId(u32::try_from(e.buffers.len()).map_err(|e| e.to_string())?);
                    if self.buffers.insert(buffer.name.clone(), id).is_some() {
                        return Err(format!("there are two buffers `{}`", buffer.name));
                    }
                    e.buffers.push(buffer);
                }
                other => return Err(format!("`{other}` is no part of an entry")),
            }
        }
        Ok(e)
    }

    fn require(&mut self) -> Out<Require<Dim>> {
        let left = self.dim()?;
        let relation = [Relation::Eq, Relation::Ne, Relation::Le, Relation::Lt];
        let relation = relation
            .into_iter()
            .find(|r| self.is(r.symbol()))
            .ok_or_else(|| format!("expected a comparison, found {}", self.found()))?;
        self.step();
        Ok(Require { left, relation, right: self.dim()?, why: self.string()? })
    }

    fn buffer(&mut self, kind: &str) -> Out<Buffer<Dim>> {
        self.need("%")?;
        let name = self.name()?;
        let (dtype, shape) = self.tensor_type()?;
        let strides = if self.eat_word("strides") {
            self.dims()?
        } else {
            row_major(&shape).ok_or("the strides are beyond 64 bits")?
        };
        let kind = match kind {
            "input" => BufferKind::Input,
            "output" => BufferKind::Output,
            "stored" => BufferKind::Stored,
            "temp" => BufferKind::Temp,
            _ => BufferKind::Const(self.values(dtype)?),
        };
        Ok(Buffer { name, kind, dtype, shape, strides })
    }

    fn values(&mut self, dtype: DType) -> Out<Vec<f64>> {
        self.need("=")?;
        let mut out = Vec::new();
        // A constant without elements has no value after the sign.
        while matches!(self.kind(), Kind::Number(_) | Kind::Symbol("-")) || self.starts_special() {
            let value = self.real(dtype == DType::F32)?;
            let mut count = 1;
            if self.eat("*") {
                let n = self.number()?;
                count = n.parse::<usize>().map_err(|_| format!("`{n}` is no count"))?;
            }
            self.elements = self.elements.saturating_add(count);
            if self.elements > MOST_ELEMENTS {
                return Err(format!("the constants of the plan have more than {MOST_ELEMENTS} elements"));
            }
            out.extend(std::iter::repeat_n(value, count));
            if !self.eat(",") {
                break;
            }
        }
        Ok(out)
    }

    fn starts_special(&self) -> bool {
        match self.peek_word() {
            Some("inf" | "nan") => true,
            // `bits` alone could be the name of a dim.
            Some("bits") => self.next_is("("),
            _ => false,
        }
    }

    /// A number of f64; where `short`, without a `d` it is the nearest f32.
    fn real(&mut self, short: bool) -> Out<f64> {
        let sign = if self.eat("-") { -1.0 } else { 1.0 };
        if let Some(bits) = self.special_bits()? {
            return Ok(f64::from_bits(bits));
        }
        match self.peek_word() {
            Some("inf") => {
                self.step();
                return Ok(sign * f64::INFINITY);
            }
            Some("nan") => {
                self.step();
                return Ok(f64::NAN);
            }
            _ => {}
        }
        let n = self.number()?;
        let bad = |_| format!("`{n}` is not a number");
        let value = if short && !self.eat_word("d") {
            f64::from(n.parse::<f32>().map_err(bad)?)
        } else {
            n.parse::<f64>().map_err(bad)?
        };
        Ok(sign * value)
    }

    fn special_bits(&mut self) -> Out<Option<u64>> {
        if self.peek_word() != Some("bits") {
            return Ok(None);
        }
        self.step();
        self.need("(")?;
        let bits = self.hex()?;
        self.need(")")?;
        Ok(Some(bits))
    }

    fn hex(&mut self) -> Out<u64> {
        let n = self.number()?;
        let digits = n.strip_prefix("0x").ok_or_else(|| format!("`{n}` is no hexadecimal number"))?;
        u64::from_str_radix(digits, 16).map_err(|_| format!("`{n}` is no number of 64 bits"))
    }

    fn kernels(&mut self, out: &mut Vec<Kernel<Dim>>, depth: usize) -> Out<()> {
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

    fn dim(&mut self) -> Out<Dim> {
        self.dim_within(0)
    }

    fn dim_within(&mut self, depth: usize) -> Out<Dim> {
        let mut sum = Affine { offset: Dim::int(0), strides: vec![], via: vec![] };
        self.sum(None, depth, &mut sum)?;
        Ok(sum.offset)
    }

    fn affine(&mut self, axes: usize) -> Out<Affine> {
        let mut sum = Affine { offset: Dim::int(0), strides: vec![Dim::int(0); axes], via: vec![] };
        self.sum(Some(axes), 0, &mut sum)?;
        Ok(sum)
    }

    fn sum(&mut self, axes: Option<usize>, depth: usize, sum: &mut Affine) -> Out<()> {
        if depth > DEEPEST_DIM {
            return Err("a dimension is nested too deeply".into());
        }
        let mut negative = self.eat("-");
        loop {
            let (by, unit) = self.product(axes, negative, depth)?;
            let to = match unit {
                Unit::None => &mut sum.offset,
                Unit::Axis(n) => sum.strides.get_mut(n).ok_or_else(|| format!("the kernel has no axis i{n}"))?,
                Unit::Via(read, extent) => {
                    sum.via.push(Via { read, stride: by, extent });
                    if self.ends_sum(&mut negative) {
                        return Ok(());
                    }
                    continue;
                }
            };
            *to = to.add(&by).map_err(|e| e.to_string())?;
            if to.weight() > HEAVIEST_DIM {
                return Err("a dimension has too many terms".into());
            }
            if self.ends_sum(&mut negative) {
                return Ok(());
            }
        }
    }

    fn ends_sum(&mut self, negative: &mut bool) -> bool {
        *negative = self.is("-");
        !(self.eat("+") || self.eat("-"))
    }

    fn product(&mut self, axes: Option<usize>, negative: bool, depth: usize) -> Out<(Dim, Unit)> {
        let error = |e: crate::dim::DimError| e.to_string();
        // The sign belongs to a leading number, so that the least integer can be written.
        let mut by = match self.kind() {
            Kind::Number(n) => {
                let text = format!("{}{n}", if negative { "-" } else { "" });
                let v = text.parse().map_err(|_| format!("`{text}` is not an integer of 64 bits"))?;
                self.step();
                if !self.eat("*") {
                    return Ok((Dim::int(v), Unit::None));
                }
                Dim::int(v)
            }
            _ => Dim::int(if negative { -1 } else { 1 }),
        };
        let mut unit = Unit::None;
        loop {
            match self.factor(axes, depth)? {
                (factor, Unit::None) => {
                    if by.weight().saturating_mul(factor.weight()) > HEAVIEST_DIM {
                        return Err("a dimension has too many factors".into());
                    }
                    by = by.mul(&factor).map_err(error)?;
                    if by.weight() > HEAVIEST_DIM {
                        return Err("a dimension has too many factors".into());
                    }
                }
                (_, other) if matches!(unit, Unit::None) => unit = other,
                _ => return Err("an access is linear in the axes".into()),
            }
            if !self.eat("*") {
                return Ok((by, unit));
            }
        }
    }

    fn factor(&mut self, axes: Option<usize>, depth: usize) -> Out<(Dim, Unit)> {
        if self.eat("(") {
            let d = self.dim_within(depth + 1)?;
            self.need(")")?;
            return Ok((d, Unit::None));
        }
        if let Kind::Number(n) = self.kind() {
            let v = n.parse().map_err(|_| format!("`{n}` is not an integer of 64 bits"))?;
            self.step();
            return Ok((Dim::int(v), Unit::None));
        }
        let word = self.word("a dimension")?;
        if axes.is_some() {
            let digits = word.strip_prefix('i').filter(|d| !d.is_empty() && d.bytes().all(|c| c.is_ascii_digit()));
            if let Some(digits) = digits {
                let n = digits.parse().map_err(|_| format!("`{word}` is no axis"))?;
                return Ok((Dim::int(1), Unit::Axis(n)));
            }
            if word == "clamp" && self.eat("(") {
                self.need("$")?;
                let read = self.u32()?;
                self.need(",")?;
                let extent = self.dim_within(depth + 1)?;
                self.need(")")?;
                return Ok((Dim::int(1), Unit::Via(read, extent)));
            }
        }
        if !matches!(word, "floor" | "min" | "max") || !self.eat("(") {
            if word.contains('.') {
                return Err(format!("`{word}` is no dimension"));
            }
            return Ok((Dim::name(word), Unit::None));
        }
        let a = self.dim_within(depth + 1)?;
        self.need(",")?;
        let b = self.dim_within(depth + 1)?;
        self.need(")")?;
        let d = match word {
            "floor" => a.floor_div(&b).map_err(|e| e.to_string())?,
            "min" => a.lesser(&b),
            _ => a.greater(&b),
        };
        if d.weight() > HEAVIEST_DIM {
            return Err("a dimension has too many terms".into());
        }
        Ok((d, Unit::None))
    }
}
