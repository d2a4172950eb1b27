//! Every golden case through `uadc compare`: operations, UniAD, backbones, encoders.
//!
//! In: the index files of `tests/cases`, the golden tensors beside the project. Out: nothing. Invariants: a case folder without a
//! row of the index is a failure, so that none is forgotten; where the golden tensors are absent the tests are ignored.
//! Imports: nothing of this project; it runs the binary.

mod uadc;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

const NETWORKS: &str = "tests/cases/index.toml";

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
    index.1.iter().filter_map(one).collect()
}

fn check(index_file: &str, part: &str, device: &str) {
    let index = index(index_file);
    let failed = failures(&index, &shared("golden").join(part), device);
    assert!(failed.is_empty(), "{} of {} cases fail:\n  {}", failed.len(), index.1.len(), failed.join("\n  "));
}

#[test]
#[cfg_attr(not(golden), ignore = "needs ../shared/golden")]
fn operations_on_the_processor() {
    check("tests/cases/ops/index.toml", "ops", "cpu");
}

#[test]
#[cfg_attr(not(golden), ignore = "needs ../shared/golden")]
fn operations_in_the_reference() {
    check("tests/cases/ops/index.toml", "ops", "reference");
}

#[test]
#[cfg_attr(not(golden), ignore = "needs ../shared/golden")]
fn networks_on_the_processor() {
    check(NETWORKS, "", "cpu");
}

#[test]
#[cfg_attr(not(golden), ignore = "needs ../shared/golden")]
fn every_operation_has_a_row() {
    let (_, index) = index("tests/cases/ops/index.toml");
    let folders =
        std::fs::read_dir(shared("golden/ops")).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    let missing: Vec<String> = folders.filter(|f| !index.contains_key(f)).collect();
    assert!(missing.is_empty(), "cases without a row: {}", missing.join(", "));
}
