//! Every golden case through `uadc compare`: operations, methods, backbones, encoders; most of them as text for GPUs too.
//!
//! In: the index files of `tests/cases`, the golden tensors beside the project. Out: nothing. Invariants: a case folder without a
//! row of the index is a failure, so that none is forgotten; where the golden tensors are absent the tests are ignored; a case
//! that is too slow under emulation says so in its row (`emulation = false`), and tolerances are the same everywhere.
//! Imports: nothing of this project; it runs the binary.

mod uadc;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use uadc::{Ran, root, shared, uadc};

/// A row of an index: case folder to what it is compared with.
type Index = BTreeMap<String, BTreeMap<String, toml::Value>>;

fn index(file: &str) -> (PathBuf, Index) {
    let path = root().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    // Names of files are relative to the index, in the index of networks to the project.
    let base = if file == NETWORKS { root() } else { path.parent().unwrap().to_owned() };
    (base, toml::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}")))
}

const OPERATIONS: &str = "tests/cases/ops/index.toml";
const NETWORKS: &str = "tests/cases/index.toml";

/// The device, and the key of rows that leave it out.
const EMULATED: &str = "emulation";

fn compare(folder: &Path, case: &Path, row: &BTreeMap<String, toml::Value>, device: &str) -> Ran {
    let text = |key: &str| row.get(key).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    let at = |name: String| folder.join(name).display().to_string();
    let mut args = vec!["compare".to_owned(), at(text("spec").unwrap()), case.display().to_string()];
    args.extend(["--json".to_owned(), "--device".to_owned(), device.to_owned()]);
    for (key, option) in [("detector", "--detector"), ("tol", "--tol")] {
        args.extend(text(key).into_iter().flat_map(|v| [option.to_owned(), v]));
    }
    args.extend(row.get("values").map(|_| "--values".to_owned()));
    args.extend(text("names").into_iter().flat_map(|v| ["--names".to_owned(), at(v)]));
    for set in row.get("set").and_then(toml::Value::as_array).into_iter().flatten().filter_map(toml::Value::as_str) {
        args.extend(["--set".to_owned(), set.to_owned()]);
    }
    uadc(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// One line per failure: case, and what the command said.
fn failures(index: &(PathBuf, Index), golden: &Path, device: &str) -> Vec<String> {
    let one = |(case, row): (&String, &BTreeMap<String, toml::Value>)| {
        // Several rows may be about one case folder.
        let folder = row.get("case").and_then(toml::Value::as_str).unwrap_or(case);
        let ran = compare(&index.0, &golden.join(folder), row, device);
        let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_default();
        let tensors = json["tensors"].as_array().map_or(0, Vec::len);
        if ran.code == 0 && tensors > 0 {
            return None;
        }
        let bad: Vec<String> = json["tensors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|t| t["ok"] != true)
            .take(4)
            .map(|t| format!("{} {} {}", t["foreign"], t["max_rel"], t["trouble"]))
            .collect();
        let said = json["error"]["message"].as_str().unwrap_or_default();
        Some(format!(
            "{case}: {said}{}{}",
            bad.join("; "),
            ran.err.lines().take(12).collect::<Vec<_>>().join("\n      ")
        ))
    };
    // Emulation keeps one core busy for each case.
    let workers = if device == EMULATED { std::thread::available_parallelism().map_or(1, usize::from) } else { 1 };
    let rows: Vec<_> = index.1.iter().filter(|(_, row)| device != EMULATED || !row.contains_key(EMULATED)).collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    failed.lock().unwrap().extend(one(*row));
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

fn check(index_file: &str, part: &str, device: &str) {
    let index = index(index_file);
    let begun = std::time::Instant::now();
    let failed = failures(&index, &shared("golden").join(part), device);
    eprintln!("{index_file} on {device}: {:.0} s", begun.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{} of {} cases fail:\n  {}", failed.len(), index.1.len(), failed.join("\n  "));
}

#[test]
#[cfg_attr(not(golden), ignore = "needs ../shared/golden")]
fn operations_on_the_processor() {
    check(OPERATIONS, "ops", "cpu");
}

#[test]
#[cfg_attr(not(golden), ignore = "needs ../shared/golden")]
fn operations_in_the_reference() {
    check(OPERATIONS, "ops", "reference");
}

#[test]
#[cfg_attr(not(golden), ignore = "needs ../shared/golden")]
fn networks_on_the_processor() {
    check(NETWORKS, "", "cpu");
}

#[test]
#[cfg_attr(not(all(golden, cxx)), ignore = "needs ../shared/golden, a C++ compiler and Linux")]
fn operations_as_text_for_gpus() {
    check(OPERATIONS, "ops", EMULATED);
}

#[test]
#[cfg_attr(not(all(golden, cxx)), ignore = "needs ../shared/golden, a C++ compiler and Linux")]
fn networks_as_text_for_gpus() {
    check(NETWORKS, "", EMULATED);
}

#[test]
#[cfg_attr(not(golden), ignore = "needs ../shared/golden")]
fn every_operation_has_a_row() {
    let (_, index) = index(OPERATIONS);
    let folders =
        std::fs::read_dir(shared("golden/ops")).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    let missing: Vec<String> = folders.filter(|f| !index.contains_key(f)).collect();
    assert!(missing.is_empty(), "cases without a row: {}", missing.join(", "));
}
