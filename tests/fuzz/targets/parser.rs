//! Any text: the parser ends, and every error lies in the text.
//!
//! In: bytes. Out: nothing. Invariants: none of its own. Imports: the grammar.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (_, errors) = uad_grammar::parse(text);
    for e in &errors {
        let (a, z) = (e.span.start as usize, e.span.end as usize);
        assert!(a <= z && text.get(a..z).is_some(), "{e:?}");
    }
    let _ = uad_grammar::parse_expr(text);
});
