//! Axis orders between implementations: `(h w) b c -> b c h w`.
//!
//! In: text; a foreign tensor and the shape of ours. Out: the foreign tensor with our axes. Invariants: names on the right take
//! their extents from our shape; every name stands once on each side; nothing is broadcast. Imports: the host tensor.

use std::collections::BTreeMap;

use uad_plan::tensor::{Data, Tensor};

/// From foreign axes to ours. An axis is a product of names; none is an axis of extent 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    from: Vec<Vec<String>>,
    to: Vec<Vec<String>>,
}

impl View {
    /// Reads `b (h w) c -> b c h w`.
    pub fn parse(text: &str) -> Result<View, String> {
        let (from, to) = text.split_once("->").ok_or_else(|| format!("`{text}` is not of the form `axes -> axes`"))?;
        let view = View { from: side(from)?, to: side(to)? };
        let sorted = |s: &[Vec<String>]| {
            let mut all: Vec<String> = s.concat();
            all.sort();
            all
        };
        let (a, b) = (sorted(&view.from), sorted(&view.to));
        if a != b || a.windows(2).any(|w| w[0] == w[1]) {
            return Err(format!("`{text}`: both sides name the same axes, each once"));
        }
        Ok(view)
    }

    /// Our shape, where the foreign one alone gives it.
    pub fn shape(&self, foreign: &[usize]) -> Option<Vec<usize>> {
        if self.from.len() != foreign.len() {
            return None;
        }
        let extent = |name: &String| {
            self.from
                .iter()
                .zip(foreign)
                .find(|(names, _)| names.as_slice() == [name.clone()])
                .map(|(_, extent)| *extent)
        };
        self.to.iter().map(|names| names.iter().map(extent).product::<Option<usize>>()).collect()
    }

    /// The foreign tensor with our axes. `ours` gives the extents that the foreign shape leaves open.
    pub fn apply(&self, tensor: &Tensor, ours: &[usize]) -> Result<Tensor, String> {
        let mut extents: BTreeMap<&str, usize> = BTreeMap::new();
        for (axes, shape, who) in [(&self.from, tensor.shape(), "its"), (&self.to, ours, "our")] {
            if axes.len() != shape.len() {
                return Err(format!("{who} shape {shape:?} has not the {} axes of the view", axes.len()));
            }
            for (names, extent) in axes.iter().zip(shape) {
                if let [name] = names.as_slice() {
                    extents.insert(name, *extent);
                }
            }
        }
        // What is left stands in groups on both sides: one unknown in a group follows from the others.
        for (names, extent) in self.from.iter().zip(tensor.shape()).chain(self.to.iter().zip(ours)) {
            let unknown: Vec<&String> = names.iter().filter(|n| !extents.contains_key(n.as_str())).collect();
            if let [one] = unknown.as_slice() {
                let rest: usize = names.iter().filter_map(|n| extents.get(n.as_str())).product();
                extents.insert(one, extent.checked_div(rest).unwrap_or(0));
            }
        }
        let flat = |axes: &[Vec<String>]| -> Result<Vec<(String, usize)>, String> {
            let known = |n: &String| extents.get(n.as_str()).map(|e| (n.clone(), *e));
            axes.concat().iter().map(|n| known(n).ok_or_else(|| format!("the extent of `{n}` is not known"))).collect()
        };
        let (from, to) = (flat(&self.from)?, flat(&self.to)?);
        if from.iter().map(|f| f.1).product::<usize>() != tensor.len() {
            return Err(format!("shape {:?} does not fit our {ours:?}", tensor.shape()));
        }
        let mut strides: BTreeMap<&str, usize> = BTreeMap::new();
        let mut stride = 1;
        for (name, extent) in from.iter().rev() {
            strides.insert(name, stride);
            stride *= extent;
        }
        let order: Vec<(usize, usize)> = to.iter().map(|(n, e)| (*e, strides[n.as_str()])).collect();
        let shape: Vec<usize> =
            self.to.iter().map(|names| names.iter().filter_map(|n| extents.get(n.as_str())).product()).collect();
        permuted(tensor, &order, &shape)
    }
}

/// The elements at the points of (extent, stride) axes, row-major.
pub(super) fn permuted(tensor: &Tensor, order: &[(usize, usize)], shape: &[usize]) -> Result<Tensor, String> {
    let count: usize = order.iter().map(|o| o.0).product();
    let mut at = vec![0usize; order.len()];
    let mut index = Vec::with_capacity(count);
    for _ in 0..count {
        index.push(at.iter().zip(order).map(|(i, o)| i * o.1).sum::<usize>());
        for (i, (extent, _)) in at.iter_mut().zip(order).rev() {
            *i += 1;
            if *i < *extent {
                break;
            }
            *i = 0;
        }
    }
    fn pick<T: Copy + Default>(from: &[T], index: &[usize]) -> Vec<T> {
        index.iter().map(|i| from.get(*i).copied().unwrap_or_default()).collect()
    }
    let data = match tensor.data() {
        Data::F32(v) => Data::F32(pick(v, &index)),
        Data::I32(v) => Data::I32(pick(v, &index)),
        Data::Bool(v) => Data::Bool(pick(v, &index)),
    };
    Tensor::new(shape.to_vec(), data).map_err(|e| e.to_string())
}

fn side(text: &str) -> Result<Vec<Vec<String>>, String> {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let (mut axes, mut group): (Vec<Vec<String>>, Option<Vec<String>>) = (Vec::new(), None);
    for word in spaced.split_whitespace() {
        match (word, &mut group) {
            ("(", None) => group = Some(Vec::new()),
            (")", Some(_)) => axes.extend(group.take()),
            ("(" | ")", _) => return Err(format!("the brackets of `{}` do not match", text.trim())),
            ("1", Some(_)) => {}
            ("1", None) => axes.push(Vec::new()),
            (name, Some(g)) => g.push(name.to_owned()),
            (name, None) => axes.push(vec![name.to_owned()]),
        }
    }
    if group.is_some() { Err(format!("the brackets of `{}` do not match", text.trim())) } else { Ok(axes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_to_maps() {
        // (h w) b c with h = 2, w = 3, b = 2, c = 1; the value is 10 * token + b.
        let t = Tensor::f32(&[6, 2, 1], (0..12).map(|i| (10 * (i / 2) + i % 2) as f32).collect()).unwrap();
        let v = View::parse("(h w) b c -> b c h w").unwrap().apply(&t, &[2, 1, 2, 3]).unwrap();
        assert_eq!(v.shape(), [2, 1, 2, 3]);
        assert_eq!(v.at(&[1, 0, 1, 2]), Some(51.0));
        let squeezed = View::parse("t b 1 -> b t").unwrap().apply(&t, &[2, 6]).unwrap();
        assert_eq!(squeezed.at(&[1, 4]), Some(41.0));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert!(View::parse("a b").is_err() && View::parse("a b -> a").is_err() && View::parse("(a -> a").is_err());
        let t = Tensor::f32(&[6], vec![0.0; 6]).unwrap();
        assert!(View::parse("(a b) -> a b").unwrap().apply(&t, &[4, 2]).is_err());
    }
}
