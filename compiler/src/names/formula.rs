//! Foreign formulas: `layers.{i}.self_attn.in_proj_weight[0:hidden].T`.
//!
//! In: text; captures of the left side, values of parameters, foreign tensors. Out: tensors. Invariants: a formula names one
//! tensor and cuts, transposes or reshapes it, nothing else; its size is bounded by that tensor's. Imports: pattern, view.

use uad_plan::tensor::Tensor;

use super::pattern::Captures;
use super::view::permuted;

/// Where the values of a tensor of ours come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// This number everywhere.
    Constant(f64),
    /// A foreign tensor, changed.
    Tensor(Formula),
}

/// A foreign tensor with what is done to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    /// Name; placeholders in braces may be integer expressions.
    pub name: String,
    /// In order.
    pub steps: Vec<Step>,
}

/// What is done to a foreign tensor. Numbers are expressions as text.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `[a:b, :, i]`.
    Slice(Vec<Cut>),
    /// `.T`: the last two axes exchanged.
    Transpose,
    /// `.view(a, -1)`.
    Reshape(Vec<String>),
    /// `.permute(1, 0)`.
    Permute(Vec<String>),
}

/// One axis of a slice.
#[derive(Clone, Debug, PartialEq)]
pub enum Cut {
    /// `a:b`, either may be missing.
    Range(Option<String>, Option<String>),
    /// `i`: the axis vanishes.
    At(String),
}

impl Source {
    /// Reads a formula.
    pub fn parse(text: &str) -> Result<Source, String> {
        let text = text.trim();
        let mut steps = Vec::new();
        // Steps are read from the end: a foreign name may hold dots, and `T` may be a name only where nothing follows.
        let mut rest = text;
        loop {
            if let Some(head) = rest.strip_suffix(".T") {
                steps.push(Step::Transpose);
                rest = head;
            } else if let Some(inner) = rest.strip_suffix(']') {
                let open = inner.rfind('[').ok_or_else(|| format!("`]` without `[` in `{text}`"))?;
                steps.push(Step::Slice(inner[open + 1..].split(',').map(cut).collect()));
                rest = &inner[..open];
            } else if let Some(inner) = rest.strip_suffix(')') {
                let open = inner.rfind('(').ok_or_else(|| format!("`)` without `(` in `{text}`"))?;
                let args = inner[open + 1..].split(',').map(|a| a.trim().to_owned()).collect();
                if let Some(head) = inner[..open].strip_suffix(".view") {
                    steps.push(Step::Reshape(args));
                    rest = head;
                } else if let Some(head) = inner[..open].strip_suffix(".permute") {
                    steps.push(Step::Permute(args));
                    rest = head;
                } else {
                    return Err(format!(
                        "`{text}`: only `[..]`, `.T`, `.view(..)` and `.permute(..)` may follow a name"
                    ));
                }
            } else {
                break;
            }
        }
        if rest.is_empty() || rest.contains(['[', ']', '(', ')', ' ']) {
            return Err(format!("`{text}` names no foreign tensor"));
        }
        steps.reverse();
        Ok(Source::Tensor(Formula { name: rest.to_owned(), steps }))
    }
}

fn cut(text: &str) -> Cut {
    let part = |t: &str| (!t.trim().is_empty()).then(|| t.trim().to_owned());
    match text.split_once(':') {
        Some((a, b)) => Cut::Range(part(a), part(b)),
        None => Cut::At(text.trim().to_owned()),
    }
}

/// What integer expressions may name.
pub struct Scope<'a> {
    /// Captures of the left side.
    pub captures: &'a Captures,
    /// Values of parameters.
    pub params: &'a dyn Fn(&str) -> Option<i64>,
}

impl Scope<'_> {
    /// A name with its placeholders filled in: `layers.{i+1}`.
    pub fn fill(&self, name: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = name;
        while let Some(at) = rest.find('{') {
            let end = rest[at..].find('}').ok_or_else(|| format!("`{{` is not closed in `{name}`"))? + at;
            out.push_str(&rest[..at]);
            let inside = rest[at + 1..end].trim();
            match self.captures.get(inside) {
                Some(text) => out.push_str(text),
                None => out.push_str(&self.int(inside)?.to_string()),
            }
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The value of an integer expression over `+ - * /`, brackets, captures and parameters.
    pub fn int(&self, text: &str) -> Result<i64, String> {
        let tokens = tokens(text)?;
        let mut reader = Reader { tokens: &tokens, at: 0, depth: 0, scope: self };
        let value = reader.sum()?;
        if reader.at == tokens.len() { Ok(value) } else { Err(format!("`{text}` is not an integer expression")) }
    }
}

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut out: Vec<String> = Vec::new();
    let mut word = false;
    for c in text.chars() {
        let is_word = c.is_ascii_alphanumeric() || c == '_';
        match c {
            ' ' => {}
            _ if is_word && word => {
                if let Some(last) = out.last_mut() {
                    last.push(c);
                }
            }
            _ if is_word || "+-*/()".contains(c) => out.push(c.to_string()),
            _ => return Err(format!("`{c}` does not belong in the expression `{text}`")),
        }
        word = is_word;
    }
    Ok(out)
}

struct Reader<'a> {
    tokens: &'a [String],
    at: usize,
    depth: u32,
    scope: &'a Scope<'a>,
}

impl Reader<'_> {
    fn next(&mut self, any: &[&str]) -> Option<String> {
        let t = self.tokens.get(self.at).filter(|t| any.contains(&t.as_str()))?;
        self.at += 1;
        Some(t.clone())
    }
    fn sum(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > 50 {
            return Err("an expression is nested too deeply".to_owned());
        }
        let mut v = self.product()?;
        while let Some(op) = self.next(&["+", "-"]) {
            let r = self.product()?;
            v = if op == "+" { v.checked_add(r) } else { v.checked_sub(r) }.ok_or("an expression is beyond 64 bits")?;
        }
        self.depth -= 1;
        Ok(v)
    }
    fn product(&mut self) -> Result<i64, String> {
        let mut v = self.factor()?;
        while let Some(op) = self.next(&["*", "/"]) {
            let r = self.factor()?;
            v = if op == "*" { v.checked_mul(r) } else { v.checked_div_euclid(r) }
                .ok_or("a division by zero, or a number beyond 64 bits")?;
        }
        Ok(v)
    }
    fn factor(&mut self) -> Result<i64, String> {
        let minus = self.next(&["-"]).is_some();
        let token = self.tokens.get(self.at).cloned().ok_or("a number is missing in an expression")?;
        self.at += 1;
        let v = if token == "(" {
            let v = self.sum()?;
            self.next(&[")"]).ok_or("`(` is not closed in an expression")?;
            v
        } else {
            let word = self.scope.captures.get(&token).unwrap_or(&token);
            match word.parse() {
                Ok(v) => v,
                Err(_) => (self.scope.params)(word).ok_or_else(|| format!("`{word}` is no number and no parameter"))?,
            }
        };
        if minus { v.checked_neg().ok_or_else(|| "an expression is beyond 64 bits".to_owned()) } else { Ok(v) }
    }
}

impl Formula {
    /// The tensor after all steps.
    pub fn apply(&self, tensor: Tensor, scope: &Scope<'_>) -> Result<Tensor, String> {
        self.steps.iter().try_fold(tensor, |t, step| step.apply(t, scope))
    }
}

impl Step {
    fn apply(&self, t: Tensor, scope: &Scope<'_>) -> Result<Tensor, String> {
        match self {
            Step::Slice(cuts) => slice(&t, cuts, scope),
            Step::Transpose => {
                let n = t.shape().len();
                if n < 2 {
                    return Err("`.T` needs two axes".to_owned());
                }
                let mut order: Vec<usize> = (0..n).collect();
                order.swap(n - 1, n - 2);
                permute(&t, &order)
            }
            Step::Permute(args) => {
                let order = args.iter().map(|a| usize::try_from(scope.int(a)?).map_err(|e| e.to_string()));
                permute(&t, &order.collect::<Result<Vec<_>, String>>()?)
            }
            Step::Reshape(args) => {
                let wanted = args.iter().map(|a| scope.int(a)).collect::<Result<Vec<i64>, _>>()?;
                let known: i64 =
                    wanted.iter().filter(|d| **d >= 0).try_fold(1i64, |p, d| p.checked_mul(*d)).unwrap_or(0);
                let rest = (t.len() as i64).checked_div(known).unwrap_or(0);
                let shape: Vec<usize> =
                    wanted.iter().map(|d| usize::try_from(if *d == -1 { rest } else { *d }).unwrap_or(0)).collect();
                let from = format!("{:?}", t.shape());
                t.reshaped(&shape).map_err(|_| format!("{from} has no view {shape:?}"))
            }
        }
    }
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut out = vec![1; shape.len()];
    for n in (1..shape.len()).rev() {
        out[n - 1] = out[n] * shape[n];
    }
    out
}

fn permute(t: &Tensor, order: &[usize]) -> Result<Tensor, String> {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if sorted != (0..t.shape().len()).collect::<Vec<_>>() {
        return Err(format!("{order:?} is not an order of the axes of {:?}", t.shape()));
    }
    let s = strides(t.shape());
    let axes: Vec<(usize, usize)> = order.iter().map(|o| (t.shape()[*o], s[*o])).collect();
    permuted(t, &axes, &axes.iter().map(|a| a.0).collect::<Vec<_>>())
}

fn slice(t: &Tensor, cuts: &[Cut], scope: &Scope<'_>) -> Result<Tensor, String> {
    if cuts.len() > t.shape().len() {
        return Err(format!("{:?} has fewer than {} axes", t.shape(), cuts.len()));
    }
    let s = strides(t.shape());
    let (mut axes, mut shape, mut base) = (Vec::new(), Vec::new(), 0usize);
    for (n, extent) in t.shape().iter().enumerate() {
        let place = |text: &str| -> Result<usize, String> {
            let v = scope.int(text)?;
            let v = if v < 0 { v + *extent as i64 } else { v };
            let ok = usize::try_from(v).ok().filter(|v| v <= extent);
            ok.ok_or_else(|| format!("{v} is outside axis {n} of {:?}", t.shape()))
        };
        let (from, to, keep) = match cuts.get(n) {
            None => (0, *extent, true),
            Some(Cut::Range(a, b)) => {
                let from = a.as_deref().map_or(Ok(0), place)?;
                (from, b.as_deref().map_or(Ok(*extent), place)?.max(from), true)
            }
            Some(Cut::At(i)) => {
                let at = place(i)?;
                if at == *extent {
                    return Err(format!("{at} is outside axis {n} of {:?}", t.shape()));
                }
                (at, at + 1, false)
            }
        };
        base += from * s[n];
        axes.push((to - from, s[n]));
        if keep {
            shape.push(to - from);
        }
    }
    // The base is an axis of extent 1 that begins there: cut the front off instead.
    let tail = Tensor::from_f64(t.dtype(), &[t.len() - base.min(t.len())], t.iter().skip(base));
    permuted(&tail.map_err(|e| e.to_string())?, &axes, &shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(formula: &str, tensor: &Tensor) -> Result<Tensor, String> {
        let captures = Captures::from([("i".to_owned(), "3".to_owned())]);
        let scope = Scope { captures: &captures, params: &|n| (n == "hidden").then_some(2) };
        match Source::parse(formula)? {
            Source::Tensor(f) => f.apply(tensor.clone(), &scope),
            Source::Constant(_) => Err("constant".to_owned()),
        }
    }

    #[test]
    fn cuts_and_turns() {
        let t = Tensor::f32(&[6, 2], (0..12).map(|v| v as f32).collect()).unwrap();
        assert_eq!(eval("w[hidden:2*hidden]", &t).unwrap().as_f32().unwrap(), [4.0, 5.0, 6.0, 7.0]);
        assert_eq!(eval("w[4:].T", &t).unwrap().as_f32().unwrap(), [8.0, 10.0, 9.0, 11.0]);
        assert_eq!(eval("w[1, :]", &t).unwrap().shape(), [2]);
        assert_eq!(eval("w[-1][i-2]", &t).unwrap().as_f32().unwrap(), [11.0]);
        assert_eq!(eval("w.view(3, -1)", &t).unwrap().shape(), [3, 4]);
        assert_eq!(eval("w.permute(1, 0)", &t).unwrap().shape(), [2, 6]);
        for wrong in ["w[9:10]", "w.view(5)", "w.permute(0, 0)", "w[nothing]", "w.flip(0)", "", "w[1/0]"] {
            assert!(eval(wrong, &t).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_filled_in() {
        let captures = Captures::from([("i".to_owned(), "3".to_owned()), ("p".to_owned(), "q".to_owned())]);
        let scope = Scope { captures: &captures, params: &|_| None };
        assert_eq!(scope.fill("layers.{i+1}.{p}.w").unwrap(), "layers.4.q.w");
        assert_eq!(scope.fill("conv{3*(i-1)}").unwrap(), "conv6");
        assert!(scope.fill("a{x}").is_err());
    }
}
