//! The reference and the CPU agree on random graphs, with each pass on and off, fused and not.
//!
//! In: seeds: a few hundred, or `UAD_SEEDS=COUNT` or `UAD_SEEDS=FROM..TO`. Out: agreement, or the seed, the variant and
//! the value that differs, with graph and plan. Invariants: the definition is the reference's result for the plan of
//! single operations of the graph as it was made; the number of threads changes no bit. Every seed runs with all passes
//! fused, with none unfused and with one more variant in turn; every 48th with all variants on all instruction sets.
//! Every fourth is the graph of a smaller one's gradients.
//! Imports: all crates.
//!
//! One seed alone: `UAD_SEEDS=17..18 cargo test -p uad-tests --test agreement`. A long run:
//! `UAD_SEEDS=10000 cargo test --release -p uad-tests --test agreement`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use uad_compiler::graph::Graph;
use uad_compiler::graph::random::random;
use uad_compiler::pass::{PASSES, PassOptions, optimise};
use uad_kernels::cpu::{Isa, Pool};
use uad_plan::Binding;
use uad_tests::derived::derived;
use uad_tests::execute::{Given, bound, computed, farthest, plan, reference, same_bits};

/// Seeds of a run that nobody asked to be long.
const SEEDS: u64 = 240;

/// How far f64 after rewriting may be from f64 before: passes reorder sums and products, results are rounded to f32.
const REWRITTEN: f64 = 2e-5;

/// How far f32 may be from f64, over graphs of up to 28 steps. Each step alone is held to much less by `rows.rs`.
const ROUNDED: f64 = 5e-4;

/// One way to compile a graph.
struct Variant {
    name: String,
    options: PassOptions,
    fuse: bool,
}

/// No passes, all of them, all but one; fused and not.
fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for fuse in [true, false] {
        let form = if fuse { "fused" } else { "one operation a kernel" };
        let mut add = |name: String, options| all.push(Variant { name: format!("{name}, {form}"), options, fuse });
        add("all passes".into(), PassOptions::default());
        add("no passes".into(), PassOptions::none());
        for pass in PASSES {
            let off = BTreeSet::from([pass.name.to_owned()]);
            add(format!("all passes but `{}`", pass.name), PassOptions { off, ..PassOptions::default() });
        }
    }
    all
}

/// Every so many seeds, all variants run on all instruction sets; of the others, three variants on one.
const THOROUGH: u64 = 48;

/// Is this variant of this seed compared?
fn due(seed: u64, variant: usize, of: usize) -> bool {
    // All passes fused, and no passes with one operation a kernel, which stand first and in the middle.
    let always = variant == 0 || variant == of / 2 + 1;
    seed.is_multiple_of(THOROUGH) || always || seed % of as u64 == variant as u64
}

/// The instruction sets that a seed runs on.
fn isas(seed: u64) -> Vec<Isa> {
    let all = Isa::all();
    if seed.is_multiple_of(THOROUGH) { all } else { vec![all[seed as usize % all.len()]] }
}

/// What a run counts.
#[derive(Default)]
struct Counts {
    graphs: AtomicU64,
    plans: AtomicU64,
    runs: AtomicU64,
    /// Largest distances seen, in units of 1e-9.
    rewritten: AtomicU64,
    rounded: AtomicU64,
}

impl Counts {
    fn show(&self) -> String {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        format!(
            "{} graphs, {} different plans, {} runs on the CPU; farthest by rewriting {:.1e}, by rounding to f32 {:.1e}",
            of(&self.graphs),
            of(&self.plans),
            of(&self.runs),
            of(&self.rewritten) as f64 * 1e-9,
            of(&self.rounded) as f64 * 1e-9,
        )
    }
}

fn note(worst: &AtomicU64, distance: f64) {
    worst.fetch_max((distance * 1e9) as u64, Ordering::Relaxed);
}

/// Every so many seeds, the graph of the gradients of a smaller random graph.
const GRADIENTS: u64 = 4;

/// The graph of a seed.
fn made(seed: u64) -> Graph {
    let small = (seed % GRADIENTS == GRADIENTS - 1).then(|| random(seed, 2 + seed as usize % 10));
    small.as_ref().and_then(derived).unwrap_or_else(|| random(seed, 4 + seed as usize % 24))
}

/// Compares all variants of one graph; what differs, if anything does.
fn compare(seed: u64, pools: &[Arc<Pool>], counts: &Counts) -> Result<(), String> {
    let graph = made(seed);
    let binding = Binding::from([("b".to_owned(), 1 + seed as i64 % 4)]);
    let given = Given::random(&graph, seed, &binding)?;
    let given = if seed % GRADIENTS == GRADIENTS - 1 { given.off_the_grid() } else { given };
    let defined = plan(&graph, false).and_then(|p| reference(&bound(&p, &binding)?, &given));
    let defined = defined.map_err(|e| format!("as it was made: {e}\n{graph}"))?;
    counts.graphs.fetch_add(1, Ordering::Relaxed);
    let mut seen = BTreeSet::new();
    let all = variants();
    for variant in all.iter().enumerate().filter(|(n, _)| due(seed, *n, all.len())).map(|(_, v)| v) {
        let wrong = |better: &Graph, plan: &str, what: &str| {
            format!("{}: {what}\n\nmade:\n{graph}\ncompiled:\n{better}\nplan:\n{plan}", variant.name)
        };
        let better = optimise(graph.clone(), &variant.options).map_err(|e| format!("{}: {e}", variant.name))?;
        let plan = plan(&better, variant.fuse).map_err(|e| wrong(&better, "", &e))?;
        let text = plan.to_string();
        // Most passes find nothing in most graphs: equal plans are compared once.
        if !seen.insert(text.clone()) {
            continue;
        }
        counts.plans.fetch_add(1, Ordering::Relaxed);
        let wrong = |what: String| wrong(&better, &text, &what);
        let bound = bound(&plan, &binding).map_err(&wrong)?;
        let want = reference(&bound, &given).map_err(&wrong)?;
        let (distance, place) = farthest(&defined, &want);
        note(&counts.rewritten, distance);
        if distance > REWRITTEN {
            return Err(wrong(format!("the reference differs from the definition: {place}")));
        }
        for isa in isas(seed) {
            let mut first = None;
            // Threads matter to large kernels most, which are fused ones.
            let several = variant.fuse || seed.is_multiple_of(THOROUGH);
            for pool in &pools[..if several { pools.len() } else { 1 }] {
                let got = computed(&bound, &given, isa, pool).map_err(&wrong)?;
                counts.runs.fetch_add(1, Ordering::Relaxed);
                let (distance, place) = farthest(&defined, &got);
                note(&counts.rounded, distance);
                if distance > ROUNDED {
                    let (isa, threads) = (isa.name(), pool.threads());
                    return Err(wrong(format!(
                        "the CPU ({isa}, threads: {threads}) differs by {distance:.1e}: {place}"
                    )));
                }
                if !same_bits(first.get_or_insert_with(|| got.clone()), &got) {
                    return Err(wrong(format!("the number of threads changes bits on {}", isa.name())));
                }
            }
        }
    }
    Ok(())
}

/// `COUNT` or `FROM..TO`.
fn asked() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("UAD_SEEDS") else { return 0..SEEDS };
    let number = |t: &str| t.trim().parse().unwrap_or_else(|_| panic!("UAD_SEEDS is COUNT or FROM..TO, not `{text}`"));
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(&text),
    }
}

#[test]
fn reference_and_cpu_agree_on_random_graphs() {
    let seeds = asked();
    let (next, counts, failed) = (AtomicU64::new(seeds.start), Counts::default(), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let pools = [1, 3].map(|n| Arc::new(Pool::new(n)));
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let done = catch_unwind(AssertUnwindSafe(|| compare(seed, &pools, &counts)));
                    if let Err(e) = done.unwrap_or_else(|_| Err("panics".into())) {
                        eprintln!("seed {seed}: {}", e.lines().next().unwrap_or_default());
                        failed.lock().unwrap().push((seed, e));
                    }
                }
            });
        }
    });
    eprintln!("{}", counts.show());
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    if let Some((seed, first)) = failed.first() {
        let mut text = String::new();
        for (seed, e) in &failed {
            let _ = writeln!(text, "seed {seed}: {}", e.lines().next().unwrap_or_default());
        }
        panic!(
            "{} of {} graphs disagree:\n{text}\nthe first, alone: UAD_SEEDS={seed}..{} cargo test -p uad-tests \
             --test agreement\n\nseed {seed}: {first}",
            failed.len(),
            seeds.end - seeds.start,
            seed + 1,
        );
    }
}
