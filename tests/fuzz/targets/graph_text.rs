//! Graphs from any text: what parses prints and parses back, verification ends, and what is verified is optimised and lowered.
//!
//! In: bytes. Out: nothing. Invariants: none of its own. Imports: the compiler.

#![no_main]

use libfuzzer_sys::fuzz_target;
use uad_compiler::graph::{text, verify};
use uad_compiler::lower::{LowerOptions, lower};
use uad_compiler::pass::{PassOptions, optimise};

fuzz_target!(|source: &str| {
    let Ok(graph) = text::parse(source) else { return };
    let printed = graph.to_string();
    let again = text::parse(&printed).map(|g| g.to_string());
    assert_eq!(again.as_ref(), Ok(&printed));
    if verify(&graph).is_err() || graph.nodes.len() > 500 {
        return;
    }
    match optimise(graph, &PassOptions::default()) {
        Ok(better) => {
            if let Ok(sound) = verify(&better) {
                let _ = lower(&sound, LowerOptions { fuse: true });
            }
        }
        Err(e) => panic!("{e}"),
    }
});
