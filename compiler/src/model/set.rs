//! What the command line sets: `--set name=value`, read like any other text.
//!
//! In: names and values as they were given. Out: expressions that point into a text of their own, under the name
//! [`COMMAND_LINE`], and a module in which the root's names are seen, and those of the library that mean one thing. Invariants: the last of equal names comes first,
//! and so wins. Imports: the grammar, modules.

use uad_grammar::ast::{Expr, Name, Span};

use crate::diag::{Diagnostic, Place};
use crate::hash::FxHashMap;
use crate::source::{COMMAND_LINE, Files};

use super::modules::{Found, Module};
use super::reach;
use super::tell::exports;

/// One `--set`.
pub(crate) struct Setting {
    /// A parameter or slot, or a setting of a stage (`train.epochs`).
    pub name: Name,
    /// Its value.
    pub value: Expr,
}

/// Functions and blocks of the library that values may name without a `use`: those that one module alone has; for a schedule, those of
/// `optim`.
pub(crate) fn of_library(given: &[(String, String)]) -> Vec<(&'static str, &'static str)> {
    let mut all = Vec::new();
    for (name, value) in given {
        let schedule = name.ends_with(".schedule");
        for word in reach::words(value) {
            let mut found = exports().filter(|e| e.1 == word);
            match (found.next(), found.next()) {
                (Some(one), None) => all.push(one),
                (Some(_), Some(_)) if schedule => all.extend(exports().filter(|e| *e == ("optim", word))),
                _ => {}
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Parses all of them. The module they stand in is added at the end.
pub(crate) fn read(
    given: &[(String, String)],
    files: &mut Files,
    modules: &mut Vec<Module>,
    extra: &FxHashMap<String, Found>,
    out: &mut Vec<Diagnostic>,
) -> Vec<Setting> {
    let Some(root) = modules.first().filter(|_| !given.is_empty()) else { return Vec::new() };
    let lines: Vec<String> = given.iter().map(|(name, value)| format!("--set {name}={value}")).collect();
    let text = lines.join("\n");
    let file = match files.position(COMMAND_LINE) {
        Some(file) => {
            files.files[file].1 = text;
            file
        }
        None => files.add(COMMAND_LINE, text),
    };
    let mut all = Vec::new();
    let mut at = 0;
    for ((name, value), line) in given.iter().zip(&lines) {
        let from = at + "--set ".len();
        let to = from + name.len();
        // Behind so many blanks a value has its place in the whole text.
        match uad_grammar::parse_expr(&format!("{:1$}{value}", "", to + 1)) {
            Ok(value) => all.push(Setting { name: Name { text: name.clone(), span: Span::new(from, to) }, value }),
            Err(e) => {
                let mut d = Diagnostic::new("E0001", e.message, Place { file, span: e.span }, e.label);
                d.help = e.help;
                out.push(d);
            }
        }
        at += line.len() + 1;
    }
    all.reverse();
    let mut values = extra.clone();
    values.extend(root.values.iter().map(|(name, item)| (name.clone(), *item)));
    let module = Module {
        file,
        ast: uad_grammar::parse("").0,
        values,
        types: root.types.clone(),
        sources: root.sources.clone(),
        imports: Vec::new(),
        name: COMMAND_LINE.into(),
    };
    modules.push(module);
    all
}
