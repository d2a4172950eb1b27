//! Both sides of `[weights]` covered: every tensor of ours has a source, every foreign tensor a use or a place in `ignore`.
//!
//! In: a names file, our paths and shapes, foreign names. Out: one [`Assignment`] per tensor of ours, or all gaps with near
//! misses. Invariants: the first rule that matches a path decides; shapes are compared when values are read.
//! Imports: formula, pattern, `diag::nearest`.

use std::collections::BTreeMap;

use uad_plan::DType;
use uad_plan::tensor::Tensor;

use super::formula::{Formula, Scope, Source};
use super::pattern::{Captures, Pattern};
use super::{Names, WeightRule};
use crate::diag::nearest::nearest;

/// A tensor of ours and where its values come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Our path.
    pub path: String,
    /// Our shape.
    pub shape: Vec<usize>,
    /// Our element type.
    pub dtype: DType,
    /// Constant or formula.
    pub source: Source,
    /// The foreign tensor's name, placeholders filled in; none for constants.
    pub foreign: Option<String>,
    captures: Captures,
}

/// A tensor of ours: path, element type, shape.
pub type Ours = (String, DType, Vec<usize>);

/// Finds a source for each of `ours` (paths relative to the names file's root).
pub fn assign(
    names: &Names,
    ours: &[Ours],
    foreign: &BTreeMap<String, Vec<usize>>,
    params: &dyn Fn(&str) -> Option<i64>,
) -> Result<Vec<Assignment>, Vec<String>> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (path, dtype, shape) in ours {
        let Some((rule, captures)) = names.weights.iter().find_map(|r| Some((r, r.ours.matches(path)?))) else {
            let sides: Vec<String> = names.weights.iter().map(|r| r.ours.text()).collect();
            let near = nearest(path, sides.iter().map(String::as_str));
            errors.push(format!("`{path}` stands on no left side of [weights]{}", mean(near)));
            continue;
        };
        let scope = Scope { captures: &captures, params };
        let name = match &rule.source {
            Source::Constant(_) => Ok(None),
            Source::Tensor(f) => scope.fill(&f.name).map(Some),
        };
        match name {
            Err(e) => errors.push(format!("`{path}`: {e}")),
            Ok(Some(n)) if !foreign.contains_key(&n) => {
                let near = nearest(&n, foreign.keys().map(String::as_str));
                errors.push(format!("`{path}` is to come from `{n}`, which the file does not hold{}", mean(near)));
            }
            Ok(foreign) => found.push(Assignment {
                path: path.clone(),
                shape: shape.clone(),
                dtype: *dtype,
                source: rule.source.clone(),
                foreign,
                captures,
            }),
        }
    }
    errors.extend(unused(names, foreign));
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

fn mean(near: Option<&str>) -> String {
    near.map_or(String::new(), |n| format!("; did you mean `{n}`?"))
}

/// Foreign tensors that no right side can name, that are no inputs, and that `ignore` does not list.
fn unused(names: &Names, foreign: &BTreeMap<String, Vec<usize>>) -> Vec<String> {
    let sides = right_sides(names);
    let used = |name: &str| {
        names.ignores(name)
            || names.inputs.iter().any(|i| i.foreign == name)
            || sides.iter().any(|s| s.matches(name).is_some())
    };
    let left = foreign.keys().filter(|n| !used(n));
    left.map(|n| format!("foreign tensor `{n}` is neither used nor listed in `ignore`")).collect()
}

/// Can a right side of [weights] name this foreign tensor?
pub fn is_weight(names: &Names, foreign: &str) -> bool {
    right_sides(names).iter().any(|s| s.matches(foreign).is_some())
}

fn right_sides(names: &Names) -> Vec<Pattern> {
    let side = |r: &WeightRule| match &r.source {
        Source::Tensor(Formula { name, .. }) => loosened(name),
        Source::Constant(_) => None,
    };
    names.weights.iter().filter_map(side).collect()
}

/// The right side as a pattern: `layers.{i+1}` may name any layer.
fn loosened(name: &str) -> Option<Pattern> {
    let mut text = String::new();
    for (n, part) in name.split('{').enumerate() {
        match (n, part.split_once('}')) {
            (0, _) => text.push_str(part),
            (_, Some((_, rest))) => {
                text.push_str(&format!("{{p{n}}}"));
                text.push_str(rest);
            }
            (_, None) => return None,
        }
    }
    Pattern::parse(&text).ok()
}

impl Assignment {
    /// The values; `read` gives a foreign tensor by name.
    pub fn value(
        &self,
        params: &dyn Fn(&str) -> Option<i64>,
        read: &dyn Fn(&str) -> Result<Tensor, String>,
    ) -> Result<Tensor, String> {
        let value = match (&self.source, &self.foreign) {
            (Source::Tensor(formula), Some(name)) => {
                let scope = Scope { captures: &self.captures, params };
                formula.apply(read(name)?, &scope).map_err(|e| format!("`{}` from `{name}`: {e}", self.path))?
            }
            (Source::Constant(v), _) => {
                let count = self.shape.iter().product();
                Tensor::from_f64(self.dtype, &self.shape, std::iter::repeat_n(*v, count)).map_err(|e| e.to_string())?
            }
            (Source::Tensor(f), None) => return Err(format!("`{}` has no tensor `{}`", self.path, f.name)),
        };
        if value.shape() != self.shape {
            let name = self.foreign.as_deref().unwrap_or("a constant");
            return Err(format!("`{}` has shape {:?}, but `{name}` gives {:?}", self.path, self.shape, value.shape()));
        }
        if value.dtype() != self.dtype {
            return Tensor::from_f64(self.dtype, &self.shape, value.iter()).map_err(|e| e.to_string());
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Names {
        Names::parse(text).unwrap()
    }

    #[test]
    fn covers_or_says_what_is_missing() {
        let n = names("ignore = [\"fc.*\"]\n[weights]\n\"l.{i}.w\" = \"layers.{i+1}.weight\"\n\"mean\" = 0.5\n");
        let ours = vec![("l.0.w".to_owned(), DType::F32, vec![2]), ("mean".to_owned(), DType::F32, vec![3])];
        let foreign = BTreeMap::from([("layers.1.weight".to_owned(), vec![2]), ("fc.weight".to_owned(), vec![9])]);
        let found = assign(&n, &ours, &foreign, &|_| None).unwrap();
        let read = |_: &str| Tensor::f32(&[2], vec![1.0, 2.0]).map_err(|e| e.to_string());
        assert_eq!(found[0].value(&|_| None, &read).unwrap().as_f32().unwrap(), [1.0, 2.0]);
        assert_eq!(found[1].value(&|_| None, &read).unwrap().as_f32().unwrap(), [0.5; 3]);

        let ours = vec![("l.4.w".to_owned(), DType::F32, vec![2]), ("men".to_owned(), DType::F32, vec![3])];
        let foreign = BTreeMap::from([("layers.4.weight".to_owned(), vec![2]), ("head".to_owned(), vec![9])]);
        let errors = assign(&n, &ours, &foreign, &|_| None).unwrap_err();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(errors[0].contains("layers.5.weight") && errors[0].contains("did you mean `layers.4.weight`"));
        assert!(errors[1].contains("did you mean `mean`") && errors[2].contains("`head`"));
    }
}
