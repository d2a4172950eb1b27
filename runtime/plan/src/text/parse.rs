//! Parses the text form.
//!
//! In: text. Out: a plan, not yet verified, or the first error with its line and column. Invariants: never panics;
//! nesting, numbers of axes, sizes of dims and lengths of constants are bounded.
//! Imports: [`super::kernels`], [`super::dims`], [`super::reader`], [`crate::plan`].

use std::collections::BTreeMap;
use std::fmt;

use super::lex::{Kind, lex};
use super::reader::{Out, Parser};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::extent::row_major;
use crate::plan::*;

/// Elements of all constants: a short text may stand for many.
const MOST_ELEMENTS: usize = 1 << 24;

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

impl Parser<'_> {
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
                "samples" if e.samples.is_none() => e.samples = Some(self.word("a dim")?.to_owned()),
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

    /// Whether they fill their shape is for the verifier; what they may fill is bounded here.
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
            // Before a run is written out.
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
}
