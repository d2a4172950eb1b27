//! Shapes that nodes share.
//!
//! In: extents. Out: [`Shape`], read as a slice. Invariants: a shape does not change, so that nodes, types and values hold one
//! without a copy; a scalar takes no memory. Imports: dims.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use uad_plan::Dim;

/// Extents; empty for a scalar. Most nodes have the shape of an argument: a copy shares it.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Shape(
    /// `None` where there are none.
    Option<Arc<[Dim]>>,
);

impl Shape {
    /// No axes.
    pub const SCALAR: Shape = Shape(None);
}

impl Deref for Shape {
    type Target = [Dim];

    fn deref(&self) -> &[Dim] {
        self.0.as_deref().unwrap_or(&[])
    }
}

impl From<Vec<Dim>> for Shape {
    fn from(dims: Vec<Dim>) -> Shape {
        Shape(if dims.is_empty() { None } else { Some(dims.into()) })
    }
}

impl From<&[Dim]> for Shape {
    fn from(dims: &[Dim]) -> Shape {
        Shape(if dims.is_empty() { None } else { Some(dims.into()) })
    }
}

impl FromIterator<Dim> for Shape {
    fn from_iter<I: IntoIterator<Item = Dim>>(dims: I) -> Shape {
        let dims: Arc<[Dim]> = dims.into_iter().collect();
        Shape(if dims.is_empty() { None } else { Some(dims) })
    }
}

impl<'s> IntoIterator for &'s Shape {
    type Item = &'s Dim;
    type IntoIter = std::slice::Iter<'s, Dim>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq<[Dim]> for Shape {
    fn eq(&self, other: &[Dim]) -> bool {
        **self == *other
    }
}

impl PartialEq<Vec<Dim>> for Shape {
    fn eq(&self, other: &Vec<Dim>) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
