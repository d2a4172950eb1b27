//! The texts of one check, parsed once: what every detector of the root file is elaborated from.
//!
//! In: texts, and what a user chose. Out: [`Program`], models of its detectors. Invariants: a detector's elaboration depends on no
//! other, so that all may run at once; evaluation has a deep stack of its own. Imports: modules, the evaluator.

use uad_grammar::ast::File;

use crate::diag::{Diagnostic, Severity};
use crate::source::{Files, Loader};

use super::modules::{self, Lost, Module};
use super::set::{self, Setting};
use super::{Called, Choice, Facts, Model, evaluate, evaluate_uncalled, evaluator, uncalled};

/// A file by its lines, for messages.
pub(crate) struct Lines<'f> {
    /// Display path.
    pub name: &'f str,
    /// Where lines begin.
    pub starts: Vec<u32>,
    /// All of it.
    pub text: &'f str,
}

/// Parsed texts.
pub(crate) struct Program<'f> {
    pub(super) files: &'f Files,
    pub(crate) modules: Vec<Module>,
    pub(super) lines: Vec<Lines<'f>>,
    /// What `--set` gives.
    pub(super) set: Vec<Setting>,
    pub(super) lost: Lost,
    root: &'f str,
    /// What is wrong with the texts themselves.
    pub found: Vec<Diagnostic>,
}

impl<'f> Program<'f> {
    /// Parses the root, what it imports and what is set.
    pub fn read(files: &'f mut Files, loader: &dyn Loader, root: &'f str, set: &[(String, String)]) -> Program<'f> {
        let modules::Loaded { mut modules, mut found, lost, extra } =
            modules::load(files, loader, root, &set::of_library(set));
        let set = set::read(set, files, &mut modules, &extra, &mut found);
        let files: &'f Files = files;
        let lines = files.files.iter().map(|(name, text)| {
            let mut starts = vec![0u32];
            starts.extend(text.bytes().enumerate().filter(|b| b.1 == b'\n').map(|b| b.0 as u32 + 1));
            Lines { name, starts, text }
        });
        Program { files, lines: lines.collect(), modules, set, lost, root, found }
    }

    /// Is something wrong with the texts themselves?
    pub fn broken(&self) -> bool {
        self.found.iter().any(|d| d.severity == Severity::Error)
    }

    /// Does a text not parse?
    pub fn unparsed(&self) -> bool {
        self.found.iter().any(|d| d.code == "E0001")
    }

    /// Trees of the files that are not of the library, with their positions.
    pub fn own(&self) -> impl Iterator<Item = (usize, &File)> {
        let own = |m: &&Module| !self.lines[m.file].name.starts_with("stdlib/");
        self.modules.iter().filter(own).map(|m| (m.file, &m.ast))
    }

    /// The detector to elaborate where none is chosen.
    pub fn main(&self) -> Option<&str> {
        modules::main_detector(&self.modules.first()?.ast, self.root)
    }

    /// The root's detectors, the main one first.
    pub fn detectors(&self) -> Vec<&str> {
        let main = self.main();
        let all = self.modules.first().map_or(Vec::new(), |m| modules::detectors(&m.ast));
        main.into_iter().chain(all.into_iter().map(|d| d.0).filter(|d| Some(*d) != main)).collect()
    }

    /// A detector's model, what is wrong with it, and what the analyses read. On a deep stack: see [`super::stacks`].
    pub fn elaborate(&self, choice: &Choice, detector: &str) -> (Option<Model>, Vec<Diagnostic>, Facts) {
        let (model, mut out, mut facts) = evaluate(evaluator(self, choice, detector));
        facts.own = self.own().map(|t| t.0).collect();
        super::tell::without_consequences(&mut out, self);
        (model, out, facts)
    }

    /// Is a function or block of the root not among the called?
    pub fn has_uncalled(&self, called: &Called) -> bool {
        self.modules.first().is_some_and(|root| uncalled::left(root, called).next().is_some())
    }

    /// What is wrong with functions and blocks of the root that nobody calls. On a deep stack.
    pub fn uncalled(&self, called: &Called) -> Vec<Diagnostic> {
        let mut out = evaluate_uncalled(self, &Choice::default(), called);
        super::tell::without_consequences(&mut out, self);
        out
    }
}
