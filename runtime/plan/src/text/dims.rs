//! Parses dims and the affine sums of accesses.
//!
//! In: tokens. Out: dims; sums of dims, axes and clamped indices. Invariants: nesting and sizes are bounded.
//! Imports: [`super::reader`], [`crate::dim`].

use super::lex::Kind;
use super::reader::{Out, Parser};
use crate::dim::Dim;
use crate::plan::Via;

/// Nested parentheses in a dim.
const DEEPEST_DIM: usize = 64;
/// Axes of a kernel or a shape.
const MOST_AXES: usize = 64;
/// Terms and factors of a dim.
const HEAVIEST_DIM: usize = 1 << 12;

/// A sum of dims, axes and clamped indices.
pub(super) struct Affine {
    pub offset: Dim,
    pub strides: Vec<Dim>,
    pub via: Vec<Via<Dim>>,
}

/// What a product may have besides dims.
enum Unit {
    None,
    Axis(usize),
    Via(u32, Dim),
}

impl Parser<'_> {
    pub fn dims(&mut self) -> Out<Vec<Dim>> {
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

    pub fn dim(&mut self) -> Out<Dim> {
        self.dim_within(0)
    }

    fn dim_within(&mut self, depth: usize) -> Out<Dim> {
        let mut sum = Affine { offset: Dim::int(0), strides: vec![], via: vec![] };
        self.sum(None, depth, &mut sum)?;
        Ok(sum.offset)
    }

    pub fn affine(&mut self, axes: usize) -> Out<Affine> {
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
