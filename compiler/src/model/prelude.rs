//! The prelude: functions that need no `use`.
//!
//! In: a name. Out: what it is. Invariants: one table of names; a name that is here and declared by a file is the file's.
//! Imports: values.

use std::sync::LazyLock;

use crate::hash::FxHashMap;

use super::value::{Func, Value};

/// Functions of the prelude with their parameters, in order; a trailing `?` marks one that may be left out.
pub(crate) const FUNCTIONS: &[(&str, &[&str])] = &[
    ("exp", &["x"]),
    ("log", &["x"]),
    ("sqrt", &["x"]),
    ("sin", &["x"]),
    ("cos", &["x"]),
    ("tanh", &["x"]),
    ("erf", &["x"]),
    ("abs", &["x"]),
    ("floor", &["x"]),
    ("ceil", &["x"]),
    ("round", &["x"]),
    ("minimum", &["a", "b"]),
    ("maximum", &["a", "b"]),
    ("select", &["cond", "a", "b"]),
    ("cast", &["x", "to"]),
    ("fma", &["a", "b", "c"]),
    ("sum", &["x", "axis?", "keep?"]),
    ("mean", &["x", "axis?", "keep?"]),
    ("max", &["x", "axis?", "keep?"]),
    ("min", &["x", "axis?", "keep?"]),
    ("prod", &["x", "axis?", "keep?"]),
    ("any", &["x", "axis?", "keep?"]),
    ("argmax", &["x", "axis?", "keep?"]),
    ("argmin", &["x", "axis?", "keep?"]),
    ("concat", &["parts", "axis?"]),
    ("gather", &["x", "index", "axis"]),
    ("take", &["x", "index"]),
    ("scatter_add", &["target", "index", "updates", "axis?"]),
    ("argsort", &["x", "axis?", "falling?"]),
    ("cumsum", &["x", "axis?"]),
    ("window", &["x", "axis", "size", "stride?", "dilation?", "lo?", "hi?", "value?"]),
    ("pad", &["x", "axis", "lo", "hi", "value?"]),
    ("dot", &["a", "b", "pattern"]),
    ("eigen_symmetric", &["a"]),
    ("cholesky", &["a"]),
    ("steps", &["x", "parts"]),
    ("len", &["x"]),
    ("stop", &["x"]),
    ("grad", &["loss", "wrt"]),
    ("all", &["x"]),
    ("peer", &["x", "by"]),
    ("zip", &["a", "b", "c?", "d?"]),
    ("enumerate", &["a", "b?", "c?"]),
    ("zeros", &[]),
    ("ones", &[]),
    ("iota", &[]),
    ("full", &["v"]),
    ("random.normal", &["mean?", "std?"]),
    ("random.uniform", &["lo?", "hi?"]),
    ("random.bernoulli", &["p"]),
    ("random.int", &["lo", "hi"]),
    ("random.permutation", &[]),
    ("random.choice", &["list"]),
    ("fixed.permutation", &["seed?"]),
    ("init.zeros", &["shape"]),
    ("init.ones", &["shape"]),
    ("init.constant", &["shape", "v"]),
    ("init.uniform", &["shape", "lo", "hi"]),
    ("init.normal", &["shape", "mean?", "std?"]),
];

/// The row of a name: every call of the library asks for one.
fn function(name: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    static ROWS: LazyLock<FxHashMap<&str, usize>> =
        LazyLock::new(|| FUNCTIONS.iter().enumerate().map(|(n, f)| (f.0, n)).collect());
    ROWS.get(name).map(|n| &FUNCTIONS[*n])
}

/// The parameters of a function of the prelude.
pub(crate) fn parameters(name: &str) -> &'static [&'static str] {
    function(name).map_or(&[], |f| f.1)
}

/// The value of a name of the prelude.
pub(crate) fn value<'a>(name: &str) -> Option<Value<'a>> {
    match name {
        "inf" => return Some(Value::Float(f64::INFINITY)),
        "pi" => return Some(Value::Float(std::f64::consts::PI)),
        "constant" | "uniform" | "normal" => return initialiser(name).map(|n| Value::Func(Func::Builtin(n))),
        // The element types that `cast` takes.
        "f32" | "i32" | "bool" => return Some(Value::Text(name.into())),
        _ => {}
    }
    if name.starts_with("init.") {
        return None;
    }
    function(name).map(|f| Value::Func(Func::Builtin(f.0)))
}

/// The initialiser of a name.
pub(crate) fn initialiser(name: &str) -> Option<&'static str> {
    Some(match name {
        "zeros" => "init.zeros",
        "ones" => "init.ones",
        "constant" => "init.constant",
        "uniform" => "init.uniform",
        "normal" => "init.normal",
        _ => return None,
    })
}

/// The function of this name takes a shape in brackets.
pub(crate) fn shaped(name: &str) -> Option<&'static str> {
    [
        "zeros",
        "ones",
        "full",
        "iota",
        "random.normal",
        "random.uniform",
        "random.bernoulli",
        "random.int",
        "random.permutation",
        "random.choice",
        "fixed.permutation",
    ]
    .into_iter()
    .find(|n| *n == name)
}

/// All names, for suggestions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS
        .iter()
        .map(|f| f.0)
        .filter(|n| !n.starts_with("init."))
        .chain(["inf", "constant", "uniform", "normal", "training"])
}
