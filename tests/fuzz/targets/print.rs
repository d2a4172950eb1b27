//! What parses prints to text that parses, and that text prints to itself.
//!
//! In: bytes. Out: nothing. Invariants: none of its own. Imports: the grammar.

#![no_main]

use libfuzzer_sys::fuzz_target;
use uad_grammar::{parse, print};

fuzz_target!(|text: &str| {
    let (file, errors) = parse(text);
    if !errors.is_empty() {
        return;
    }
    let once = print(&file);
    let (again, errors) = parse(&once);
    assert!(errors.is_empty(), "{errors:?} in\n{once}");
    assert_eq!(print(&again), once);
});
