//! Dimensions: integer polynomials over named open dims, in a normal form.
//!
//! In: integers, names (`b`, `n`), arithmetic. Out: normal forms, values under a binding, text that parses back.
//! Invariants: two dims are equal for all positive values of their names if their normal forms are equal (the converse
//! holds for polynomials; atoms with division are compared by form). Arithmetic saturates never: an overflow of `i64`
//! is [`DimError::Overflow`]. Imports: nothing of this project.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What cannot be split further inside a monomial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Atom {
    /// An open dim by name.
    Name(Arc<str>),
    /// `floor(a / b)`.
    FloorDiv(Dim, Dim),
    /// The smaller of two.
    Min(Dim, Dim),
    /// The larger of two.
    Max(Dim, Dim),
}

/// A product of atoms, sorted; the empty product is 1.
type Monomial = Vec<Atom>;

/// A coefficient with its monomial.
type Term = (Monomial, i64);

/// A dimension or any other integer that is known when building or when bound. The default is 0.
///
/// Graphs and plans hold many and copy them often; most are integers. An integer takes no memory of its own, and copies of the
/// others share theirs.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Dim {
    /// The term without a name.
    constant: i64,
    /// Sum of `coefficient * monomial`; no coefficient is 0, no monomial is empty; sorted by monomial. `None` for no terms.
    open: Option<Arc<Vec<Term>>>,
}

impl PartialOrd for Dim {
    fn partial_cmp(&self, other: &Dim) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Term by term, the constant first where it is not 0.
impl Ord for Dim {
    fn cmp(&self, other: &Dim) -> Ordering {
        let constant = |d: &Dim| Some(d.constant).filter(|c| *c != 0);
        match (constant(self), constant(other)) {
            (Some(a), Some(b)) => a.cmp(&b).then_with(|| self.terms().cmp(other.terms())),
            (None, None) => self.terms().cmp(other.terms()),
            // A constant comes before every other term, and nothing before a constant.
            (Some(_), None) if other.terms().is_empty() => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) if self.terms().is_empty() => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        }
    }
}

/// Why a dimension has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DimError {
    /// A name without a value.
    Unbound(String),
    /// Division by zero.
    DivisionByZero,
    /// Beyond 64 bits.
    Overflow,
}

impl fmt::Display for DimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DimError::Unbound(n) => write!(f, "the dimension `{n}` has no value yet"),
            DimError::DivisionByZero => write!(f, "division by zero in a dimension"),
            DimError::Overflow => write!(f, "a dimension is beyond 64 bits"),
        }
    }
}
impl std::error::Error for DimError {}

/// Values of open dims.
pub type Binding = BTreeMap<String, i64>;

impl Dim {
    /// A known integer.
    pub const fn int(v: i64) -> Dim {
        Dim { constant: v, open: None }
    }

    /// An open dim.
    pub fn name(n: &str) -> Dim {
        Dim::atom(Atom::Name(n.into()))
    }

    fn atom(a: Atom) -> Dim {
        Dim::of(0, vec![(vec![a], 1)])
    }

    fn of(constant: i64, open: Vec<Term>) -> Dim {
        Dim { constant, open: if open.is_empty() { None } else { Some(Arc::new(open)) } }
    }

    /// The terms with names.
    fn terms(&self) -> &[Term] {
        self.open.as_ref().map_or(&[], |t| t.as_slice())
    }

    /// The value, if it has no open dim.
    pub fn as_int(&self) -> Option<i64> {
        if self.open.is_none() { Some(self.constant) } else { None }
    }

    /// The name, if it is nothing but one open dim.
    pub fn as_name(&self) -> Option<&str> {
        match self.terms() {
            [(m, 1)] if self.constant == 0 => match m.as_slice() {
                [Atom::Name(n)] => Some(n),
                _ => None,
            },
            _ => None,
        }
    }

    /// Is it the integer `v`?
    pub fn is(&self, v: i64) -> bool {
        self.as_int() == Some(v)
    }

    fn from_map(constant: i64, map: BTreeMap<Monomial, i64>) -> Dim {
        Dim::of(constant, map.into_iter().filter(|(_, c)| *c != 0).collect())
    }

    /// `self + other`.
    pub fn add(&self, other: &Dim) -> Result<Dim, DimError> {
        let constant = self.constant.checked_add(other.constant).ok_or(DimError::Overflow)?;
        let open = match (&self.open, &other.open) {
            (open, None) | (None, open) => open.clone(),
            (Some(a), Some(b)) => {
                let mut map: BTreeMap<Monomial, i64> = a.iter().cloned().collect();
                for (m, c) in b.iter() {
                    let e = map.entry(m.clone()).or_insert(0);
                    *e = e.checked_add(*c).ok_or(DimError::Overflow)?;
                }
                return Ok(Dim::from_map(constant, map));
            }
        };
        Ok(Dim { constant, open })
    }

    /// `self - other`.
    pub fn sub(&self, other: &Dim) -> Result<Dim, DimError> {
        self.add(&other.mul(&Dim::int(-1))?)
    }

    /// `self * factor`.
    fn times(&self, factor: i64) -> Result<Dim, DimError> {
        if factor == 1 {
            return Ok(self.clone());
        }
        let times = |c: i64| c.checked_mul(factor).ok_or(DimError::Overflow);
        let open = match self.terms() {
            _ if factor == 0 => Vec::new(),
            terms => terms.iter().map(|(m, c)| Ok((m.clone(), times(*c)?))).collect::<Result<_, _>>()?,
        };
        Ok(Dim::of(times(self.constant)?, open))
    }

    /// `self * other`.
    pub fn mul(&self, other: &Dim) -> Result<Dim, DimError> {
        if let Some(v) = other.as_int() {
            return self.times(v);
        }
        if let Some(v) = self.as_int() {
            return other.times(v);
        }
        let mut map: BTreeMap<Monomial, i64> = BTreeMap::new();
        for (m, c) in self.all() {
            for (n, d) in other.all() {
                let mut p: Monomial = m.iter().chain(n).cloned().collect();
                p.sort();
                let e = map.entry(p).or_insert(0);
                *e = c.checked_mul(d).and_then(|v| e.checked_add(v)).ok_or(DimError::Overflow)?;
            }
        }
        let constant = map.remove(&Vec::new()).unwrap_or(0);
        Ok(Dim::from_map(constant, map))
    }

    /// All terms; that of no name first, where it is not 0.
    fn all(&self) -> impl Iterator<Item = (&[Atom], i64)> {
        let constant = Some((&[][..], self.constant)).filter(|t| t.1 != 0);
        constant.into_iter().chain(self.terms().iter().map(|(m, c)| (m.as_slice(), *c)))
    }

    /// The quotient when `other` divides `self` term by term, else `None`: `4*b*h / (2*b)` is `2*h`.
    pub fn exact_div(&self, other: &Dim) -> Option<Dim> {
        if self == other && !self.is(0) {
            return Some(Dim::int(1));
        }
        let mut of = other.all();
        let (Some((d, dc)), None) = (of.next(), of.next()) else { return None };
        // Checked: the least integer divided by -1 has no value.
        let quotient = |c: i64| if c.checked_rem(dc)? == 0 { c.checked_div(dc) } else { None };
        if self.constant != 0 && !d.is_empty() {
            return None;
        }
        let mut constant = quotient(self.constant)?;
        let mut terms = Vec::new();
        for (m, c) in self.terms() {
            let c = quotient(*c)?;
            let mut rest = m.clone();
            for a in d {
                let i = rest.iter().position(|x| x == a)?;
                rest.remove(i);
            }
            if rest.is_empty() {
                constant = constant.checked_add(c)?;
            } else {
                terms.push((rest, c));
            }
        }
        terms.sort();
        Some(Dim::of(constant, terms))
    }

    /// `floor(self / other)`.
    pub fn floor_div(&self, other: &Dim) -> Result<Dim, DimError> {
        if other.is(0) {
            return Err(DimError::DivisionByZero);
        }
        if let (Some(a), Some(b)) = (self.as_int(), other.as_int()) {
            return a
                .checked_div_euclid(b)
                .map(|q| Dim::int(if b < 0 && a.rem_euclid(b) != 0 { q - 1 } else { q }))
                .ok_or(DimError::Overflow);
        }
        if let Some(q) = self.exact_div(other) {
            return Ok(q);
        }
        // The terms that divide leave the floor: (4*b + 3) / 4 = b + floor(3 / 4). True for positive divisors.
        if let Some(k) = other.as_int().filter(|k| *k > 0) {
            let (mut whole, mut rest) = (Vec::new(), Vec::new());
            for (m, c) in self.terms() {
                if c % k == 0 {
                    whole.push((m.clone(), c / k));
                } else {
                    rest.push((m.clone(), *c));
                }
            }
            let whole = Dim::of(self.constant.div_euclid(k), whole);
            let rest = Dim::of(self.constant.rem_euclid(k), rest);
            if let Some(r) = rest.as_int() {
                return whole.add(&Dim::int(r.div_euclid(k)));
            }
            return whole.add(&Dim::atom(Atom::FloorDiv(rest, other.clone())));
        }
        Ok(Dim::atom(Atom::FloorDiv(self.clone(), other.clone())))
    }

    /// `ceil(self / other)`.
    pub fn ceil_div(&self, other: &Dim) -> Result<Dim, DimError> {
        let m = Dim::int(-1);
        self.mul(&m)?.floor_div(other)?.mul(&m)
    }

    /// `self - other * floor(self / other)`.
    pub fn rem(&self, other: &Dim) -> Result<Dim, DimError> {
        self.sub(&other.mul(&self.floor_div(other)?)?)
    }

    /// The smaller.
    pub fn lesser(&self, other: &Dim) -> Dim {
        match (self.as_int(), other.as_int()) {
            (Some(a), Some(b)) => Dim::int(a.min(b)),
            _ if self == other => self.clone(),
            _ => Dim::atom(Atom::Min(self.min_of(other), self.max_of(other))),
        }
    }

    /// The larger.
    pub fn greater(&self, other: &Dim) -> Dim {
        match (self.as_int(), other.as_int()) {
            (Some(a), Some(b)) => Dim::int(a.max(b)),
            _ if self == other => self.clone(),
            _ => Dim::atom(Atom::Max(self.min_of(other), self.max_of(other))),
        }
    }

    // Arguments of a symmetric atom are put in order, so that min(a, b) and min(b, a) are one form.
    fn min_of(&self, o: &Dim) -> Dim {
        if self <= o { self.clone() } else { o.clone() }
    }
    fn max_of(&self, o: &Dim) -> Dim {
        if self > o { self.clone() } else { o.clone() }
    }

    /// The value under a binding.
    pub fn eval(&self, binding: &Binding) -> Result<i64, DimError> {
        let mut sum = self.constant;
        for (m, c) in self.terms() {
            let mut p = *c;
            for a in m {
                let v = match a {
                    Atom::Name(n) => *binding.get(&**n).ok_or_else(|| DimError::Unbound(n.to_string()))?,
                    Atom::FloorDiv(a, b) => {
                        let q = Dim::int(a.eval(binding)?).floor_div(&Dim::int(b.eval(binding)?))?;
                        q.as_int().ok_or(DimError::Overflow)?
                    }
                    Atom::Min(a, b) => a.eval(binding)?.min(b.eval(binding)?),
                    Atom::Max(a, b) => a.eval(binding)?.max(b.eval(binding)?),
                };
                p = p.checked_mul(v).ok_or(DimError::Overflow)?;
            }
            sum = sum.checked_add(p).ok_or(DimError::Overflow)?;
        }
        Ok(sum)
    }

    /// Do they differ whatever positive values their names have? False where that is not known: `b` and `2*b` differ, `b` and
    /// `n` may be equal.
    pub fn differs(&self, other: &Dim) -> bool {
        if let (Some(a), Some(b)) = (self.as_int(), other.as_int()) {
            return a != b;
        }
        let Ok(d) = self.sub(other) else { return false };
        // Terms of one sign have no sum of 0.
        let names = |m: &[Atom]| m.iter().all(|a| matches!(a, Atom::Name(_)));
        let one_sign = |sign: i64| d.all().all(|(m, c)| c.signum() == sign && names(m));
        !d.is(0) && (one_sign(1) || one_sign(-1))
    }

    /// Replaces names by dims.
    pub fn substitute(&self, with: &BTreeMap<String, Dim>) -> Result<Dim, DimError> {
        let mut sum = Dim::int(self.constant);
        for (m, c) in self.terms() {
            let mut p = Dim::int(*c);
            for a in m {
                let v = match a {
                    Atom::Name(n) => with.get(&**n).cloned().unwrap_or_else(|| Dim::name(n)),
                    Atom::FloorDiv(a, b) => a.substitute(with)?.floor_div(&b.substitute(with)?)?,
                    Atom::Min(a, b) => a.substitute(with)?.lesser(&b.substitute(with)?),
                    Atom::Max(a, b) => a.substitute(with)?.greater(&b.substitute(with)?),
                };
                p = p.mul(&v)?;
            }
            sum = sum.add(&p)?;
        }
        Ok(sum)
    }

    /// All open dims in it, each once, sorted.
    pub fn names(&self) -> Vec<String> {
        fn walk(d: &Dim, out: &mut Vec<String>) {
            for (m, _) in d.terms() {
                for a in m {
                    match a {
                        Atom::Name(n) => out.push(n.to_string()),
                        Atom::FloorDiv(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => {
                            walk(a, out);
                            walk(b, out);
                        }
                    }
                }
            }
        }
        let mut out = Vec::new();
        walk(self, &mut out);
        out.sort();
        out.dedup();
        out
    }

    /// How much there is of it: terms, factors and what is inside of them. Readers of foreign text bound it.
    pub(crate) fn weight(&self) -> usize {
        let inside = |a: &Atom| match a {
            Atom::Name(_) => 1,
            Atom::FloorDiv(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => 1 + a.weight() + b.weight(),
        };
        self.all().map(|(m, _)| 1 + m.iter().map(inside).sum::<usize>()).sum()
    }

    /// Product of many.
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Result<Dim, DimError> {
        // Integers first: every product with an open dim makes new terms.
        let (mut known, mut open) = (1i64, None);
        for d in dims {
            match (d.as_int(), open.take()) {
                (Some(v), before) => {
                    known = known.checked_mul(v).ok_or(DimError::Overflow)?;
                    open = before;
                }
                (None, None) => open = Some(d.clone()),
                (None, Some(p)) => open = Some(Dim::mul(&p, d)?),
            }
        }
        open.map_or(Ok(Dim::int(known)), |p| p.times(known))
    }

    /// Is it plain that these have one product: equal products of integers, and the same open dims in the same order?
    pub fn plainly_one_product(a: &[Dim], b: &[Dim]) -> bool {
        let known = |dims: &[Dim]| dims.iter().filter_map(Dim::as_int).try_fold(1i64, i64::checked_mul);
        let open = |d: &&Dim| d.open.is_some();
        known(a).is_some_and(|n| known(b) == Some(n)) && a.iter().filter(open).eq(b.iter().filter(open))
    }
}

impl From<i64> for Dim {
    fn from(v: i64) -> Dim {
        Dim::int(v)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.open.is_none() {
            return write!(f, "{}", self.constant);
        }
        // Constants last: `4*b + 3`.
        let constant = (Vec::new(), self.constant);
        let last = Some(&constant).filter(|t| t.1 != 0);
        for (i, (m, c)) in self.terms().iter().chain(last).enumerate() {
            let sign = if *c < 0 { "-" } else { "+" };
            match (i, *c < 0) {
                (0, false) => {}
                (0, true) => write!(f, "-")?,
                _ => write!(f, " {sign} ")?,
            }
            let c = c.unsigned_abs();
            let mut first = true;
            if c != 1 || m.is_empty() {
                write!(f, "{c}")?;
                first = false;
            }
            for a in m {
                if !first {
                    write!(f, "*")?;
                }
                first = false;
                match a {
                    Atom::Name(n) => write!(f, "{n}")?,
                    Atom::FloorDiv(a, b) => write!(f, "floor({a}, {b})")?,
                    Atom::Min(a, b) => write!(f, "min({a}, {b})")?,
                    Atom::Max(a, b) => write!(f, "max({a}, {b})")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Dim {
    type Err = String;

    /// Reads what `Display` writes (and any `+ - *` expression over ints, names, `floor(,)`, `min(,)`, `max(,)`).
    fn from_str(s: &str) -> Result<Dim, String> {
        let mut p = Reader { s: s.as_bytes(), at: 0, depth: 0 };
        let d = p.sum()?;
        p.blank();
        if p.at == p.s.len() { Ok(d) } else { Err(format!("`{s}` is not a dimension: trailing text at byte {}", p.at)) }
    }
}

/// Terms and factors of a dim that is read.
const HEAVIEST: usize = 1 << 12;

/// Recursive descent over the text form of a dim.
struct Reader<'a> {
    s: &'a [u8],
    at: usize,
    depth: u32,
}

impl Reader<'_> {
    fn blank(&mut self) {
        while self.s.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
    }
    fn eat(&mut self, c: u8) -> bool {
        self.blank();
        let hit = self.s.get(self.at) == Some(&c);
        self.at += usize::from(hit);
        hit
    }
    fn sum(&mut self) -> Result<Dim, String> {
        self.depth += 1;
        if self.depth > 64 {
            return Err("a dimension is nested too deeply".into());
        }
        let e = |e: DimError| e.to_string();
        let mut d = if self.eat(b'-') { self.product()?.mul(&Dim::int(-1)).map_err(e)? } else { self.product()? };
        loop {
            if self.eat(b'+') {
                d = d.add(&self.product()?).map_err(e)?;
            } else if self.eat(b'-') {
                d = d.sub(&self.product()?).map_err(e)?;
            } else {
                self.depth -= 1;
                return Ok(d);
            }
        }
    }
    fn product(&mut self) -> Result<Dim, String> {
        let mut d = self.factor()?;
        while self.eat(b'*') {
            let factor = self.factor()?;
            // A product of sums has as many terms as the product of their numbers.
            if d.weight().saturating_mul(factor.weight()) > HEAVIEST {
                return Err("a dimension has too many terms".into());
            }
            d = d.mul(&factor).map_err(|e| e.to_string())?;
        }
        Ok(d)
    }
    fn factor(&mut self) -> Result<Dim, String> {
        self.blank();
        let start = self.at;
        while self.s.get(self.at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'_') {
            self.at += 1;
        }
        let word = std::str::from_utf8(self.s.get(start..self.at).unwrap_or_default()).unwrap_or_default().to_string();
        if word.is_empty() {
            return Err(format!("expected a number or a name at byte {start}"));
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.parse().map(Dim::int).map_err(|_| format!("`{word}` is not an integer of 64 bits"));
        }
        if !matches!(word.as_str(), "floor" | "min" | "max") || !self.eat(b'(') {
            return Ok(Dim::name(&word));
        }
        let a = self.sum()?;
        if !self.eat(b',') {
            return Err(format!("`{word}` takes two dimensions"));
        }
        let b = self.sum()?;
        if !self.eat(b')') {
            return Err(format!("`{word}(` is not closed"));
        }
        match word.as_str() {
            "floor" => a.floor_div(&b).map_err(|e| e.to_string()),
            "min" => Ok(a.lesser(&b)),
            _ => Ok(a.greater(&b)),
        }
    }
}

impl Serialize for Dim {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dim {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Dim, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(s: &str) -> Dim {
        s.parse().expect("a dim")
    }

    #[test]
    fn normal_form() {
        assert_eq!(d("b*h + h*b"), d("2*b*h"));
    }

    #[test]
    fn constants_come_first_in_the_order() {
        let rising = ["-1", "-1 + b", "0", "3", "3 + b", "3 + n", "b", "2*b", "2*b + n", "n"];
        let mut order: Vec<Dim> = rising.iter().map(|s| d(s)).collect();
        // Nothing comes before everything.
        order[..3].rotate_right(1);
        for (i, a) in order.iter().enumerate() {
            for (j, b) in order.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a} and {b}");
            }
        }
        assert_eq!(d("b - b + 2*n - n*2"), Dim::default());
        assert_eq!(d("b + 1").mul(&d("b - 1")).unwrap(), d("b*b - 1"));
        assert_eq!(d("6*b + 4").exact_div(&Dim::int(2)), Some(d("3*b + 2")));
        assert_eq!(d("6*b + 4").exact_div(&d("b")), None);
        assert_eq!(d("6*b").exact_div(&d("2*b")), Some(Dim::int(3)));
    }

    #[test]
    fn divides_and_floors() {
        assert_eq!(d("4*b*h").exact_div(&d("2*b")), Some(d("2*h")));
        assert_eq!(d("4*b + 3").floor_div(&d("4")).unwrap(), d("b"));
        assert_eq!(d("h + 7").floor_div(&d("4")).unwrap(), d("1 + floor(h + 3, 4)"));
        assert_eq!(d("h").ceil_div(&d("16")).unwrap().eval(&Binding::from([("h".into(), 33)])), Ok(3));
        assert_eq!(d("h").rem(&d("16")).unwrap().eval(&Binding::from([("h".into(), 33)])), Ok(1));
        assert_eq!(Dim::int(-7).floor_div(&Dim::int(2)).unwrap(), Dim::int(-4));
        assert_eq!(Dim::int(7).floor_div(&Dim::int(-2)).unwrap(), Dim::int(-4));
    }

    #[test]
    fn differs_for_all_positive_names() {
        for (a, b) in [("3", "4"), ("b", "2*b"), ("33*b", "b"), ("b + n", "b"), ("b", "b + 1"), ("b*n + 1", "-b")] {
            assert!(d(a).differs(&d(b)) && d(b).differs(&d(a)), "{a} and {b}");
        }
        for (a, b) in [("b", "b"), ("b", "n"), ("2*b", "b + 1"), ("b", "3"), ("b + floor(n, 2)", "b"), ("b*b", "b")] {
            assert!(!d(a).differs(&d(b)) && !d(b).differs(&d(a)), "{a} and {b}");
        }
        assert!(Dim::int(i64::MIN).differs(&Dim::int(i64::MAX)));
    }

    #[test]
    fn text_round_trip() {
        for s in ["0", "-3", "b", "-b + 2", "4*b*h - 3", "floor(h + 3, 4)*b + 1", "max(b, n)", "min(2*b, n) - n"] {
            assert_eq!(d(s).to_string().parse::<Dim>().unwrap(), d(s), "{s}");
        }
        assert!("9223372036854775808".parse::<Dim>().is_err());
        assert!("b +".parse::<Dim>().is_err());
        assert!(vec!["floor(2*a + 2*b, 2)"; 60].join("*").parse::<Dim>().is_err());
    }

    #[test]
    fn overflow_is_an_error() {
        assert_eq!(Dim::int(i64::MAX).add(&Dim::int(1)), Err(DimError::Overflow));
        assert_eq!(
            Dim::int(i64::MAX).mul(&Dim::name("b")).unwrap().eval(&Binding::from([("b".into(), 2)])),
            Err(DimError::Overflow)
        );
    }
}
