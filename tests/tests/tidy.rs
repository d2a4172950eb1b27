//! The habits of this code base, checked.
//!
//! In: all source files and manifests. Out: a list of every place that breaks a habit. Invariants: files are found, never
//! listed; the table of directions is read from ARCHITECTURE.md. Imports: nothing of this project but the finder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use uad_tests::{files, root};

/// Files longer than this are split.
const LONGEST: usize = 700;

/// Crates whose code a user's input reaches.
const CAREFUL: [&str; 3] = ["grammar/", "compiler/", "runtime/"];

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn sources() -> Vec<(String, String)> {
    let found: Vec<_> = files("rs").iter().map(|p| (name(p), std::fs::read_to_string(p).unwrap())).collect();
    assert!(found.len() > 10, "the sources are not where they were");
    found
}

/// The part before the unit tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn is_product(path: &str) -> bool {
    !path.starts_with("tests/") && !path.contains("/tests/") && !path.contains("/tests.rs")
}

fn none(broken: Vec<String>, habit: &str) {
    assert!(broken.is_empty(), "{habit}:\n  {}", broken.join("\n  "));
}

#[test]
fn every_file_says_what_enters_and_what_leaves() {
    let told = |text: &str| {
        let head: String = text.lines().take_while(|l| l.starts_with("//!")).collect();
        head.len() > 40
    };
    let broken = sources().into_iter().filter(|(_, text)| !told(text)).map(|(path, _)| path).collect();
    none(
        broken,
        "these files do not open with a `//!` header that says what enters, what leaves and what always holds",
    );
}

#[test]
fn no_file_is_too_long() {
    let lines = |text: &str| text.lines().count();
    let broken = sources().into_iter().filter(|(_, t)| lines(t) > LONGEST);
    none(broken.map(|(p, t)| format!("{p}: {} lines", lines(&t))).collect(), "split these files");
}

#[test]
fn names_say_what_is_inside() {
    let vague = ["utils.rs", "util.rs", "helpers.rs", "common.rs", "misc.rs", "manager.rs"];
    let broken = sources().into_iter().map(|s| s.0).filter(|p| vague.iter().any(|v| p.ends_with(&format!("/{v}"))));
    none(broken.collect(), "these names say nothing");
}

#[test]
fn what_input_reaches_does_not_panic() {
    let words = [".unwrap()", ".expect(\"", "panic!(", "unreachable!(", "todo!(", "unimplemented!("];
    let mut broken = Vec::new();
    for (path, text) in sources() {
        if !CAREFUL.iter().any(|c| path.starts_with(c)) || !is_product(&path) {
            continue;
        }
        let lines: Vec<&str> = product(&text).lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            // A reason stands on the line itself or above it.
            let reasoned =
                [i.checked_sub(1), Some(i)].into_iter().flatten().any(|n| lines[n].contains("// cannot fail: "));
            if words.iter().any(|w| code.contains(w)) && !reasoned {
                broken.push(format!("{path}:{}: {}", i + 1, line.trim()));
            }
        }
    }
    none(broken, "these can panic; return an error, or write `// cannot fail: WHY` above");
}

#[test]
fn unsafe_code_stands_where_it_is_allowed_and_says_why() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let allowed = path.starts_with("kernels/") || path.starts_with("runtime/src/device/");
        if path.ends_with("tests/tidy.rs") {
            continue;
        }
        for (i, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            if !allowed
                && (code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("allow(unsafe_code)"))
            {
                broken.push(format!("{path}:{}: {}", i + 1, line.trim()));
            }
        }
    }
    none(broken, "unsafe code belongs in kernels and runtime/src/device");
}

#[test]
fn no_test_passes_where_it_did_not_run() {
    let words = ["ignored: ", "skipped: "];
    let mut broken = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.ends_with("tests/tidy.rs")) {
        let said = |line: &str| line.contains("eprintln!(") && words.iter().any(|w| line.contains(w));
        let lines = text.lines().enumerate().filter(|(_, line)| said(line));
        broken.extend(lines.map(|(n, line)| format!("{path}:{}: {}", n + 1, line.trim())));
    }
    none(broken, "write `#[cfg_attr(not(THING), ignore = \"needs THING\")]` (tests/build.rs) instead");
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let places: Vec<String> = ["work", "root", "home"].iter().map(|p| format!("/{p}/")).collect();
    let mut broken = Vec::new();
    for extension in ["rs", "md", "uad", "toml", "snap", "json"] {
        for path in files(extension) {
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            for (i, line) in text.lines().enumerate() {
                if places.iter().any(|p| line.split(['"', '\'', ' ', '(', '`', '=']).any(|w| w.starts_with(p.as_str())))
                {
                    broken.push(format!("{}:{}: {}", name(&path), i + 1, line.trim()));
                }
            }
        }
    }
    none(broken, "paths of one machine");
}

/// The table below `marker` in ARCHITECTURE.md: first column to the names in the second.
fn table(marker: &str) -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let after = text.split_once(marker).unwrap_or_else(|| panic!("ARCHITECTURE.md lacks `{marker}`")).1;
    let rows = after.lines().skip_while(|l| !l.starts_with("|---")).skip(1).take_while(|l| l.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let first = cells.next().unwrap_or_default().replace('`', "");
        let names = cells.next().unwrap_or_default().replace('`', "");
        (first, names.split([',', ' ']).filter(|n| !n.is_empty()).map(str::to_owned).collect())
    })
    .collect()
}

#[test]
fn crates_import_in_one_direction() {
    let table = table("<!-- tidy: crates -->");
    let (mut broken, mut seen) = (Vec::new(), BTreeSet::new());
    for manifest in files("toml").into_iter().filter(|p| p.ends_with("Cargo.toml")) {
        let text = std::fs::read_to_string(&manifest).unwrap();
        let parsed: toml::Table = text.parse().unwrap_or_else(|e| panic!("{}: {e}", name(&manifest)));
        let Some(package) = parsed.get("package").and_then(|p| p.get("name")).and_then(|n| n.as_str()) else {
            continue;
        };
        seen.insert(package.to_owned());
        let Some(allowed) = table.get(package) else {
            broken.push(format!("{package} has no row"));
            continue;
        };
        for section in ["dependencies", "build-dependencies"] {
            let names = parsed.get(section).and_then(|d| d.as_table()).into_iter().flat_map(|d| d.keys());
            for dependency in names.filter(|n| n.starts_with("uad")) {
                if !allowed.contains(dependency) {
                    broken.push(format!("{package} imports {dependency}"));
                }
            }
        }
    }
    broken.extend(table.keys().filter(|k| !seen.contains(*k)).map(|k| format!("{k} does not exist")));
    none(broken, "the table of crates in ARCHITECTURE.md says otherwise");
}

/// `crate::NAME` outside of tests, per top-level module of a crate.
fn module_imports() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let mut crates: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (path, text) in sources() {
        let Some((krate, inside)) = path.split_once("/src/") else { continue };
        let module = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        if matches!(module, "lib" | "main") || !is_product(&path) {
            continue;
        }
        let uses = crates.entry(krate.to_owned()).or_default().entry(module.to_owned()).or_default();
        for line in product(&text).lines() {
            let code = line.split("//").next().unwrap_or_default();
            for part in code.split("crate::").skip(1) {
                let used: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if !used.is_empty() && used != module {
                    uses.insert(used);
                }
            }
        }
    }
    crates
}

#[test]
fn modules_do_not_import_each_other_in_circles() {
    let mut broken = Vec::new();
    for (krate, modules) in module_imports() {
        // Peel off modules that import nothing that is left; what cannot be peeled is a circle.
        let mut left: BTreeSet<&String> = modules.keys().collect();
        loop {
            let free: Vec<&String> =
                left.iter().copied().filter(|m| !modules[*m].iter().any(|u| left.contains(u))).collect();
            if free.is_empty() {
                break;
            }
            left.retain(|m| !free.contains(m));
        }
        for m in &left {
            let into: Vec<_> = modules[*m].iter().filter(|u| left.contains(u)).cloned().collect();
            broken.push(format!("{krate}: {m} imports {}", into.join(", ")));
        }
    }
    none(broken, "modules that import each other");
}

#[test]
fn modules_import_in_the_order_of_the_table() {
    let table = table("<!-- tidy: modules -->");
    let mut broken = Vec::new();
    for (krate, modules) in module_imports() {
        let Some(order) = table.get(&krate) else { continue };
        let place = |m: &str| order.iter().position(|o| o == m);
        for (module, uses) in &modules {
            let Some(own) = place(module) else {
                broken.push(format!("{krate}: `{module}` is not in the row"));
                continue;
            };
            for used in uses.iter().filter(|u| place(u).is_some_and(|p| p > own)) {
                broken.push(format!("{krate}: `{module}` imports `{used}`, which stands after it"));
            }
        }
    }
    none(broken, "the table of modules in ARCHITECTURE.md says otherwise");
}

#[test]
fn every_module_of_the_library_is_compiled_in() {
    let modules = files("uad").into_iter().filter(|p| name(p).starts_with("stdlib/"));
    let found: BTreeSet<String> = modules.filter_map(|p| Some(p.file_stem()?.to_string_lossy().into_owned())).collect();
    let table: BTreeSet<String> = uad_compiler::source::LIBRARY.iter().map(|m| m.0.to_owned()).collect();
    assert!(!found.is_empty(), "the library is not where it was");
    assert_eq!(found, table, "left: stdlib/*.uad; right: the table of compiler/src/source");
}
