//! Maps and sets with a hash that is fast on small keys.
//!
//! In: nothing. Out: types. Invariants: only what the compiler makes itself is a key in number, and elaboration is bounded, so a
//! hash without secrets does. Imports: nothing of this project.

use std::collections::{HashMap, HashSet};

use rustc_hash::FxBuildHasher;

/// A map.
pub(crate) type FxHashMap<K, V> = HashMap<K, V, FxBuildHasher>;
/// A set.
pub(crate) type FxHashSet<K> = HashSet<K, FxBuildHasher>;
