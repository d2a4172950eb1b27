//! Every kernel of every spec through NVRTC, for the architectures that are supported.
//!
//! In: the detectors of `specs`, bound to a batch of two: those that are measured most ([`WATCHED`]); with `UAD_CUDA_ALL=1`
//! every entry of every spec, which takes some minutes more and is not compared with the file. Out: registers, shared and local memory of every
//! function, in `tests/cases/cuda_resources.txt` (`UADC_BLESS=1` writes it); no warnings; no local memory in
//! contractions and attention. Invariants: equal functions are compiled once; where NVRTC is absent the test is
//! ignored; numbers are compared for the version of NVRTC that the file was made with. Imports: all crates.

use std::collections::{BTreeMap, BTreeSet};

use uad_compiler::model::Choice;
use uad_kernels::cuda::nvrtc::Nvrtc;
use uad_kernels::cuda::{Function, Precision, Program, cubin, limits};
use uad_plan::{Binding, bind};
use uad_tests::stages::Learner;
use uad_tests::{files, root};

/// Architectures.
const ARCHS: [&str; 2] = ["sm_80", "sm_90"];

/// Entries whose resources are kept.
const WATCHED: [&str; 4] = ["uniad score", "uniad train", "pradot score", "pbas score"];

/// Functions that are compiled at a time.
const TOGETHER: usize = 64;

/// Is every entry to be compiled?
fn all_entries() -> bool {
    std::env::var_os("UAD_CUDA_ALL").is_some()
}

/// Programs of all entries of all specs, by `spec entry`.
fn programs() -> BTreeMap<String, Program> {
    let mut all = BTreeMap::new();
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
            let program =
                Program::emit(&bound, Precision::F32).unwrap_or_else(|e| panic!("{spec} {}: {e}", graph.name));
            limits::check(&program).unwrap_or_else(|e| panic!("{spec} {}: {e}", graph.name));
            all.insert(format!("{spec} {}", graph.name), program);
        }
    }
    all
}

/// The stem of a function's name: its template.
fn stem(name: &str) -> &str {
    name.rsplit_once('_').map_or(name, |n| n.0)
}

#[test]
fn every_kernel_of_every_spec_can_be_launched() {
    let programs = programs();
    let functions: usize = programs.values().map(|p| p.functions.len()).sum();
    assert!(programs.len() > 20 && functions > 500, "{} entries, {functions} functions", programs.len());
    let distinct: BTreeSet<&str> =
        programs.values().flat_map(|p| &p.functions).map(|f| f.function.text.as_str()).collect();
    eprintln!("{} entries, {functions} functions, {} of them different", programs.len(), distinct.len());
}

#[test]
#[cfg_attr(not(nvrtc), ignore = "needs NVRTC: pip install nvidia-cuda-nvrtc-cu12")]
fn every_kernel_of_every_spec_compiles() {
    let nvrtc = Nvrtc::find().unwrap_or_else(|e| panic!("{e}"));
    let mut programs = programs();
    programs.retain(|name, _| all_entries() || WATCHED.contains(&name.as_str()));
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut distinct: Vec<(&str, &str)> = Vec::new();
    for f in programs.values().flat_map(|p| &p.functions) {
        numbers.entry(&f.function.text).or_insert_with(|| {
            distinct.push((stem(&f.name), &f.function.text));
            distinct.len() - 1
        });
    }
    let mut usage: BTreeMap<&str, Vec<cubin::Usage>> = BTreeMap::new();
    for arch in ARCHS {
        let parts: Vec<(usize, &[(&str, &str)])> =
            distinct.chunks(TOGETHER).enumerate().map(|(n, part)| (n * TOGETHER, part)).collect();
        let next = std::sync::atomic::AtomicUsize::new(0);
        let found = std::sync::Mutex::new(vec![cubin::Usage::default(); distinct.len()]);
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    while let Some((first, part)) = parts.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                        let texts: Vec<&str> = part.iter().map(|f| f.1).collect();
                        let mut text = Program::prelude(&texts);
                        for (n, f) in texts.iter().enumerate() {
                            text.push_str(&f.replace(Function::NAME, &format!("kernel_{}", first + n)));
                        }
                        let compiled = nvrtc.compile(&text, arch).unwrap_or_else(|e| panic!("{e}"));
                        assert!(compiled.log.is_empty(), "{}", compiled.log);
                        let used = cubin::usage(&compiled.cubin).expect("a cubin");
                        let mut found = found.lock().unwrap();
                        for n in 0..part.len() {
                            found[first + n] = used[&format!("kernel_{}", first + n)];
                        }
                    }
                });
            }
        });
        usage.insert(arch, found.into_inner().unwrap());
    }
    let mut wrong = Vec::new();
    let mut text = format!("NVRTC {}.{}\n", nvrtc.version.0, nvrtc.version.1);
    for (name, program) in &programs {
        for arch in ARCHS {
            text.push_str(&summary(name, arch, program, &|f| usage[arch][numbers[f]], &mut wrong));
        }
    }
    assert!(wrong.is_empty(), "registers are spilled:\n{}", wrong.join("\n"));
    if all_entries() {
        return;
    }
    let path = root().join("tests/cases/cuda_resources.txt");
    if std::env::var_os("UADC_BLESS").is_some() {
        std::fs::write(&path, &text).expect("the file can be written");
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    if want.lines().next() != text.lines().next() {
        eprintln!("not compared: the file is of {}", want.lines().next().unwrap_or("no version"));
        return;
    }
    assert!(want == text, "resources have changed; UADC_BLESS=1 takes the new ones:\n{}", changed(&want, &text));
}

fn changed(want: &str, have: &str) -> String {
    let old: BTreeSet<&str> = want.lines().collect();
    have.lines().filter(|l| !old.contains(l)).take(30).collect::<Vec<_>>().join("\n")
}

/// A line for each template of an entry: how many functions, and the most that one of them takes.
fn summary(
    name: &str,
    arch: &str,
    program: &Program,
    usage: &dyn Fn(&str) -> cubin::Usage,
    wrong: &mut Vec<String>,
) -> String {
    let mut by_stem: BTreeMap<&str, Vec<cubin::Usage>> = BTreeMap::new();
    for f in &program.functions {
        let used = usage(&f.function.text);
        if used.local > 0 && matches!(stem(&f.name), "dot" | "attention") {
            wrong.push(format!("{name} {arch} {}: {} bytes\n{}", f.name, used.local, f.text()));
        }
        by_stem.entry(stem(&f.name)).or_default().push(used);
    }
    let line = |(stem, used): (&str, Vec<cubin::Usage>)| {
        let most = |of: fn(&cubin::Usage) -> u32| used.iter().map(of).max().unwrap_or(0);
        let (registers, shared, local) = (most(|u| u.registers), most(|u| u.shared), most(|u| u.local));
        format!(
            "{name:<28} {arch} {stem:<10} {:>3} functions, registers {registers:>3}, shared {shared:>5}, local {local}\n",
            used.len()
        )
    };
    by_stem.into_iter().map(line).collect()
}
