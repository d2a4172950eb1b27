//! Kernels of every spec through NVRTC, for the architectures that are supported.
//!
//! In: the detectors of `specs`, bound to a batch of two. In every run: all functions of the entries that are measured most
//! ([`WHOLE`]), those on tensor cores in every precision ([`CORES`]), and of every other spec one function of each template;
//! with `UAD_CUDA_ALL=1` every function of every entry. Out: no errors, no warnings, no local memory in contractions and
//! attention; registers, shared and local memory as `tests/cases/cuda_resources.txt` has them (`UADC_BLESS=1` compiles all
//! and writes it). Invariants: equal functions are compiled once; where NVRTC is absent the tests are ignored, and where it is
//! not of the file's version the comparison is. Imports: all crates.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use uad_compiler::model::Choice;
use uad_kernels::cuda::nvrtc::Nvrtc;
use uad_kernels::cuda::program::Named;
use uad_kernels::cuda::{Function, Precision, Program, cubin, limits};
use uad_plan::{Binding, bind};
use uad_tests::stages::Learner;
use uad_tests::{files, root};

/// Architectures.
const ARCHS: [&str; 2] = ["sm_80", "sm_90"];

/// Entries of which every function is compiled in every run.
const WHOLE: [&str; 4] = ["uniad score", "uniad train", "pradot score", "pbas score"];

/// Entries whose contractions and attention are compiled for tensor cores, in every precision.
const CORES: [&str; 3] = ["uniad score", "uniad train", "pradot score"];

/// What functions take.
const FIGURES: &str = "tests/cases/cuda_resources.txt";

/// Functions that are compiled at a time: a compilation starts slowly.
const TOGETHER: usize = 32;

/// An entry.
struct Entry {
    /// `spec entry`, and the precision where it is not f32.
    name: String,
    /// Its functions; of other precisions those on tensor cores.
    functions: Vec<Named>,
    /// Are all of them compiled?
    whole: bool,
}

/// What compiled functions take: by architecture, by text.
type Usage = BTreeMap<&'static str, HashMap<String, cubin::Usage>>;

/// Is every function to be compiled?
fn all_entries() -> bool {
    std::env::var_os("UAD_CUDA_ALL").is_some() || blessing()
}

fn blessing() -> bool {
    std::env::var_os("UADC_BLESS").is_some()
}

/// All entries of all specs, for all tests.
fn entries() -> &'static [Entry] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    ENTRIES.get_or_init(emitted)
}

fn emitted() -> Vec<Entry> {
    let mut all = Vec::new();
    for path in files("uad") {
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        let Some(spec) = name.strip_prefix("specs/").and_then(|n| n.strip_suffix(".uad")) else { continue };
        if spec == "encoders" {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("the spec");
        let l = match Learner::new(spec, &text, &Choice::default()) {
            Ok(l) => l,
            Err(e) => panic!("{spec}: {e}"),
        };
        for graph in l.model.entries.iter().filter(|g| g.name != "init") {
            let plan = l.plan(&graph.name).unwrap_or_else(|e| panic!("{spec} {}: {e}", graph.name));
            // Sizes that must fit each other: FPFH has 33 numbers.
            let size = |dim: &String| match (spec, dim.as_str()) {
                (_, "b") => 2,
                (_, "H" | "W") => 224,
                ("btf", "c") => 33,
                _ => 64,
            };
            let dims: Binding = plan.entries[0].dims.iter().map(|d| (d.clone(), size(d))).collect();
            let bound = bind(&plan, &graph.name, &dims).unwrap_or_else(|e| panic!("{spec} {}: {e}", graph.name));
            let name = format!("{spec} {}", graph.name);
            let emit = |precision| {
                let program = Program::emit(&bound, precision).unwrap_or_else(|e| panic!("{name}: {e}"));
                limits::check(&program).unwrap_or_else(|e| panic!("{name}: {e}"));
                program.functions
            };
            let functions = emit(Precision::F32);
            let whole = all_entries() || WHOLE.contains(&name.as_str());
            for precision in [Precision::Tf32, Precision::Bf16, Precision::F16] {
                if CORES.contains(&name.as_str()) {
                    let mut functions = emit(precision);
                    functions.retain(|f| f.function.text.contains("mma_"));
                    all.push(Entry { name: format!("{name} {precision}"), functions, whole: true });
                }
            }
            all.push(Entry { name, functions, whole });
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// The stem of a function's name: its template.
fn stem(name: &str) -> &str {
    name.rsplit_once('_').map_or(name, |n| n.0)
}

/// The functions to compile, each text once: of entries that are not compiled whole one of each template of a spec.
fn distinct(entries: &[Entry]) -> Vec<&Named> {
    let (mut texts, mut covered) = (BTreeSet::new(), BTreeSet::new());
    let (whole, parts): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|e| e.whole);
    let mut chosen = Vec::new();
    for entry in whole.into_iter().chain(parts) {
        let spec = entry.name.split(' ').next();
        for f in &entry.functions {
            let first = covered.insert((spec, stem(&f.name)));
            if (entry.whole || first) && texts.insert(f.function.text.as_str()) {
                chosen.push(f);
            }
        }
    }
    chosen
}

/// Compiles functions for all architectures, on all cores.
fn compile(nvrtc: &Nvrtc, functions: &[&Named]) -> Usage {
    let jobs: Vec<(&str, &[&Named])> =
        functions.chunks(TOGETHER).flat_map(|part| ARCHS.map(|arch| (arch, part))).collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Usage::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((arch, part)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let texts: Vec<&str> = part.iter().map(|f| f.function.text.as_str()).collect();
                    let mut text = Program::prelude(&texts);
                    for (n, f) in texts.iter().enumerate() {
                        text.push_str(&f.replace(Function::NAME, &format!("kernel_{n}")));
                    }
                    let compiled = nvrtc.compile(&text, arch).unwrap_or_else(|e| panic!("{e}"));
                    assert!(compiled.log.is_empty(), "{}", compiled.log);
                    let used = cubin::usage(&compiled.cubin).expect("a cubin");
                    let used = texts.iter().enumerate().map(|(n, f)| ((*f).to_owned(), used[&format!("kernel_{n}")]));
                    found.lock().unwrap().entry(arch).or_default().extend(used);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// What was compiled in this run, for all tests.
struct Compiled {
    usage: Usage,
    version: String,
}

fn compiled() -> &'static Compiled {
    static COMPILED: OnceLock<Compiled> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let nvrtc = Nvrtc::find().unwrap_or_else(|e| panic!("{e}"));
        let functions = distinct(entries());
        let begun = std::time::Instant::now();
        let usage = compile(&nvrtc, &functions);
        eprintln!("{} functions in {:.0} s", functions.len(), begun.elapsed().as_secs_f64());
        let compiled = Compiled { usage, version: format!("NVRTC {}.{}", nvrtc.version.0, nvrtc.version.1) };
        if blessing() {
            let text = format!("{}\n{}\n", compiled.version, lines(&compiled).join("\n"));
            std::fs::write(root().join(FIGURES), text).expect("the file can be written");
        }
        compiled
    })
}

/// A line for each template of an entry: how many functions, and the most that one of them takes.
fn summary(entry: &Entry, arch: &str, usage: &HashMap<String, cubin::Usage>) -> Vec<String> {
    let mut by_stem: BTreeMap<&str, Vec<cubin::Usage>> = BTreeMap::new();
    for f in &entry.functions {
        by_stem.entry(stem(&f.name)).or_default().push(usage[&f.function.text]);
    }
    let line = |(stem, used): (&str, Vec<cubin::Usage>)| {
        let most = |of: fn(&cubin::Usage) -> u32| used.iter().map(of).max().unwrap_or(0);
        let (registers, shared, local) = (most(|u| u.registers), most(|u| u.shared), most(|u| u.local));
        format!(
            "{:<28} {arch} {stem:<10} {:>3} functions, registers {registers:>3}, shared {shared:>5}, local {local}",
            entry.name,
            used.len()
        )
    };
    by_stem.into_iter().map(line).collect()
}

/// Lines of all entries that were compiled whole.
fn lines(compiled: &Compiled) -> Vec<String> {
    let whole = entries().iter().filter(|e| e.whole);
    whole.flat_map(|e| ARCHS.iter().flat_map(|arch| summary(e, arch, &compiled.usage[arch]))).collect()
}

#[test]
fn every_kernel_of_every_spec_can_be_launched() {
    let entries = entries();
    let functions: usize = entries.iter().map(|e| e.functions.len()).sum();
    assert!(entries.len() > 20 && functions > 500, "{} entries, {functions} functions", entries.len());
    let different: BTreeSet<&str> =
        entries.iter().flat_map(|e| &e.functions).map(|f| f.function.text.as_str()).collect();
    eprintln!("{} entries, {functions} functions, {} of them different", entries.len(), different.len());
}

#[test]
#[cfg_attr(not(nvrtc), ignore = "needs NVRTC: pip install nvidia-cuda-nvrtc-cu12")]
fn every_template_of_every_spec_compiles() {
    let compiled = compiled();
    let mut wrong = BTreeSet::new();
    for entry in entries() {
        for f in entry.functions.iter().filter(|f| matches!(stem(&f.name), "dot" | "attention")) {
            for arch in ARCHS {
                let local = compiled.usage[arch].get(&f.function.text).map_or(0, |u| u.local);
                if local > 0 {
                    wrong.insert(format!("{} {arch} {}: {local} bytes\n{}", entry.name, f.name, f.text()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "registers are spilled:\n{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
#[cfg_attr(not(nvrtc_recorded), ignore = "needs the NVRTC whose figures tests/cases/cuda_resources.txt has")]
fn resources_are_as_recorded() {
    let compiled = compiled();
    let text = std::fs::read_to_string(root().join(FIGURES)).expect("the file");
    let mut recorded = text.lines();
    assert_eq!(recorded.next(), Some(compiled.version.as_str()));
    let of = |e: &Entry| format!("{:<28} sm_", e.name);
    let names: BTreeSet<String> = entries().iter().filter(|e| e.whole).map(of).collect();
    let want: BTreeSet<&str> = recorded.filter(|l| names.iter().any(|n| l.starts_with(n))).collect();
    let have = lines(compiled);
    let new: Vec<&str> = have.iter().map(String::as_str).filter(|l| !want.contains(l)).take(30).collect();
    assert!(
        new.is_empty() && want.len() == have.len(),
        "{} lines, {} in the file; UADC_BLESS=1 takes the new ones:\n{}",
        have.len(),
        want.len(),
        new.join("\n")
    );
}
