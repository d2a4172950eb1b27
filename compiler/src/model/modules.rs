//! Loading: the root file and everything it imports, parsed once each.
//!
//! In: texts by path. Out: [`Module`]s whose names lead to items. Invariants: modules are in the order they were met,
//! the root first; an import that leads back is a diagnostic and not followed. Imports: the grammar, sources.

use std::borrow::Cow;

use uad_grammar::ast::{self, Item, ItemKind, Name, Span};

use crate::diag::nearest::did_you_mean;
use crate::diag::{Diagnostic, Place};
use crate::hash::{FxHashMap, FxHashSet};
use crate::library::SPECS;
use crate::source::{self, Files, Loader};

use super::reach;

/// One parsed file.
pub(crate) struct Module {
    /// Position in [`Files`].
    pub file: usize,
    /// Its tree.
    pub ast: ast::File,
    /// Item by name, per name space.
    pub values: FxHashMap<String, Found>,
    /// Types and units by name.
    pub types: FxHashMap<String, Found>,
    /// Sources by name.
    pub sources: FxHashMap<String, Found>,
    /// Imports of one name: what and where.
    pub imports: Vec<(Name, usize)>,
    /// Module name, for messages.
    pub name: String,
}

/// An item of a module: (module, item).
pub(crate) type Found = (usize, usize);

/// Names that imports would have brought: file and name.
pub(crate) type Lost = FxHashSet<(usize, String)>;

/// Most modules of one check.
const MOST: usize = 256;

/// A tree and what did not parse.
type Parsed = (ast::File, Vec<uad_grammar::SyntaxError>);

struct Loading<'l> {
    loader: &'l dyn Loader,
    extra: &'l [(&'static str, &'static str)],
    /// Modules of the library, parsed at once.
    ahead: FxHashMap<String, Parsed>,
    /// They are parsed only as far as the root comes to them.
    cut: bool,
    modules: Vec<Option<Module>>,
    by_name: FxHashMap<String, usize>,
    open: Vec<usize>,
    out: Vec<Diagnostic>,
    lost: Lost,
}

/// What loading gives.
pub(crate) struct Loaded {
    /// The root first.
    pub modules: Vec<Module>,
    /// What is wrong with the texts.
    pub found: Vec<Diagnostic>,
    /// What imports would have brought.
    pub lost: Lost,
    /// Items of the library that were asked for, by name.
    pub extra: FxHashMap<String, Found>,
}

/// Parses the root and what it imports, and brings `extra` items of the library (module and name) beside it.
pub(crate) fn load(
    files: &mut Files,
    loader: &dyn Loader,
    root: &str,
    extra: &[(&'static str, &'static str)],
) -> Loaded {
    let mut loading = Loading {
        loader,
        extra,
        ahead: FxHashMap::default(),
        cut: false,
        modules: Vec::new(),
        by_name: FxHashMap::default(),
        open: Vec::new(),
        out: Vec::new(),
        lost: Lost::default(),
    };
    let text = files.position(root).map(|n| files.files[n].1.clone()).or_else(|| loader.load(root));
    match text {
        Some(text) => {
            let file = files.position(root).unwrap_or_else(|| files.add(root, text.clone()));
            loading.module(files, root.to_string(), file, &text);
        }
        None => {
            let file = files.add(root, "");
            let place = Place { file, span: Span::default() };
            loading.out.push(Diagnostic::new("E0102", format!("there is no file `{root}`"), place, ""));
            loading.module(files, root.to_string(), file, "");
        }
    }
    let mut brought = FxHashMap::default();
    for (module, name) in extra {
        let path = [Name { text: (*module).to_string(), span: Span::default() }];
        let from = loading.import(files, 0, &path).and_then(|n| loading.modules[n].as_ref());
        if let Some(item) = from.and_then(|m| m.values.get(*name)) {
            brought.insert((*name).to_string(), *item);
        }
    }
    let modules = loading.modules.into_iter().flatten().collect();
    Loaded { modules, found: loading.out, lost: loading.lost, extra: brought }
}

/// Parses modules at once.
fn parsed(texts: &[(&str, Cow<str>)]) -> FxHashMap<String, Parsed> {
    // The longest first: no thread is left with one at the end.
    let mut order: Vec<&(&str, Cow<str>)> = texts.iter().collect();
    order.sort_by_cached_key(|t| std::cmp::Reverse(t.1.bytes().filter(|b| !b.is_ascii_whitespace()).count()));
    let trees = super::on_deep_stacks(order.len(), |n| uad_grammar::parse(&order[n].1));
    order.iter().zip(trees).filter_map(|(t, tree)| Some((t.0.to_string(), tree?))).collect()
}

fn folder(path: &str) -> &str {
    path.rfind(['/', '\\']).map_or("", |n| &path[..=n])
}

impl Loading<'_> {
    fn module(&mut self, files: &mut Files, name: String, file: usize, text: &str) -> usize {
        let at = self.modules.len();
        self.by_name.insert(name.clone(), at);
        self.modules.push(None);
        self.open.push(at);
        let (ast, errors) = self.ahead.remove(&name).unwrap_or_else(|| uad_grammar::parse(text));
        if at == 0 {
            let texts = reach::cut(&ast, self.extra);
            self.cut = texts.is_some();
            self.ahead = parsed(&texts.unwrap_or_else(|| reach::whole(&ast)));
        }
        for e in errors {
            let mut d = Diagnostic::new("E0001", e.message, Place { file, span: e.span }, e.label);
            d.help = e.help;
            self.out.push(d);
        }
        let mut m = Module {
            file,
            values: FxHashMap::default(),
            types: FxHashMap::default(),
            sources: FxHashMap::default(),
            imports: Vec::new(),
            name,
            ast,
        };
        self.declare(&mut m, at);
        for item in &m.ast.items {
            let ItemKind::Use { path, names } = &item.kind else { continue };
            let Some(from) = self.import(files, file, path) else {
                self.lost.extend(names.iter().map(|n| (file, n.text.clone())));
                continue;
            };
            for n in names {
                m.imports.push((n.clone(), from));
            }
        }
        let wanted = std::mem::take(&mut m.imports);
        self.modules[at] = Some(m);
        for (n, from) in &wanted {
            self.bring(at, n, *from, file);
        }
        if let Some(m) = self.modules[at].as_mut() {
            m.imports = wanted;
        }
        self.open.pop();
        at
    }

    fn declare(&mut self, m: &mut Module, at: usize) {
        for (n, item) in m.ast.items.iter().enumerate() {
            let (name, space) = match &item.kind {
                ItemKind::Type { name, .. } | ItemKind::Unit { name, .. } => (name, &mut m.types),
                ItemKind::Source { name, .. } => (name, &mut m.sources),
                ItemKind::Fn(f) | ItemKind::Block(f) => (&f.name, &mut m.values),
                ItemKind::Detector { name, .. } | ItemKind::Variant { name, .. } => (name, &mut m.values),
                ItemKind::Use { .. } | ItemKind::Error => continue,
            };
            if let Some((_, old)) = space.insert(name.text.clone(), (at, n)) {
                let first = item_name(&m.ast.items[old]).map_or(Span::default(), |n| n.span);
                self.out.push(
                    Diagnostic::new(
                        "E0104",
                        format!("`{}` is declared twice", name.text),
                        Place { file: m.file, span: name.span },
                        "again here",
                    )
                    .label(Place { file: m.file, span: first }, "first here"),
                );
            }
        }
    }

    fn import(&mut self, files: &mut Files, importer: usize, path: &[Name]) -> Option<usize> {
        let (first, last) = (path.first()?, path.last()?);
        let place = Place { file: importer, span: first.span.to(last.span) };
        let dotted = path.iter().map(|n| n.text.as_str()).collect::<Vec<_>>().join(".");
        let (key, text, display) = match (path, source::library(&first.text)) {
            ([one], Some(text)) => (one.text.clone(), Some(text.to_string()), format!("stdlib/{}.uad", one.text)),
            _ => {
                let display = files.files[importer].0.clone();
                let display = format!("{}{}.uad", folder(&display), dotted.replace('.', "/"));
                if let Some((display, text)) = self.shipped(files, path, &display) {
                    (dotted.clone(), Some(text.to_string()), display)
                } else if self.by_name.contains_key(&display) {
                    (display.clone(), None, display)
                } else {
                    let known = files.position(&display).map(|n| files.files[n].1.clone());
                    let text = known.or_else(|| self.loader.load(&display));
                    // A loader may also know library modules by their bare name.
                    let text = text.or_else(|| if path.len() == 1 { self.loader.load(&dotted) } else { None });
                    (display.clone(), text, display)
                }
            }
        };
        if let Some(at) = self.by_name.get(&key) {
            if self.open.contains(at) {
                self.out.push(
                    Diagnostic::new(
                        "E0103",
                        format!("`{dotted}` imports itself in a circle"),
                        place,
                        "leads back here",
                    )
                    .help("move what both need into a third module"),
                );
                return None;
            }
            return Some(*at);
        }
        if self.modules.len() >= MOST {
            self.out.push(Diagnostic::new("E0215", format!("more than {MOST} modules"), place, "one too many"));
            return None;
        }
        let Some(text) = text else {
            let mut d = Diagnostic::new("E0102", format!("there is no module `{dotted}`"), place, "not found");
            d.help = did_you_mean(&dotted, source::LIBRARY.iter().map(|m| m.0));
            if d.help.is_none() {
                let all: Vec<&str> = source::LIBRARY.iter().map(|m| m.0).collect();
                d.help = Some(format!("there is no file `{display}` either; the library has {}", all.join(", ")));
            }
            self.out.push(d);
            return None;
        };
        let file = files.position(&display).unwrap_or_else(|| files.add(display, text.clone()));
        Some(self.module(files, key, file, &text))
    }

    /// `specs.uniad`: a detector that comes with the compiler, unless the user has a file of that path.
    fn shipped(&self, files: &Files, path: &[Name], own: &str) -> Option<(String, &'static str)> {
        let [specs, name] = path else { return None };
        if specs.text != "specs" || files.position(own).is_some() || self.loader.load(own).is_some() {
            return None;
        }
        let (_, text) = SPECS.iter().find(|s| s.0 == name.text)?;
        Some((format!("stdlib/specs/{}.uad", name.text), *text))
    }

    fn bring(&mut self, at: usize, name: &Name, from: usize, file: usize) {
        let Some(source) = self.modules[from].as_ref() else { return };
        let found = [
            source.values.get(&name.text).copied(),
            source.types.get(&name.text).copied(),
            source.sources.get(&name.text).copied(),
        ];
        let place = Place { file, span: name.span };
        if found.iter().all(Option::is_none) {
            if self.cut && at != 0 {
                return;
            }
            let declared = source.values.keys().chain(source.types.keys()).chain(source.sources.keys());
            let mut known: Vec<&str> = declared.map(String::as_str).chain(reach::names(&source.name)).collect();
            known.sort_unstable();
            known.dedup();
            let mut d = Diagnostic::new(
                "E0102",
                format!("module `{}` has no `{}`", source.name, name.text),
                place,
                "not there",
            );
            d.help = did_you_mean(&name.text, known).or_else(|| super::tell::elsewhere(&name.text));
            self.out.push(d);
            self.lost.insert((file, name.text.clone()));
            return;
        }
        let Some(m) = self.modules[at].as_mut() else { return };
        for (space, f) in [&mut m.values, &mut m.types, &mut m.sources].into_iter().zip(found) {
            let Some(f) = f else { continue };
            if space.insert(name.text.clone(), f).is_some_and(|old| old != f) {
                self.out.push(Diagnostic::new(
                    "E0104",
                    format!("`{}` is declared in this file and imported", name.text),
                    place,
                    "imported here",
                ));
            }
        }
    }
}

/// The declared name of an item.
pub(crate) fn item_name(item: &Item) -> Option<&Name> {
    match &item.kind {
        ItemKind::Type { name, .. }
        | ItemKind::Unit { name, .. }
        | ItemKind::Source { name, .. }
        | ItemKind::Detector { name, .. }
        | ItemKind::Variant { name, .. } => Some(name),
        ItemKind::Fn(f) | ItemKind::Block(f) => Some(&f.name),
        ItemKind::Use { .. } | ItemKind::Error => None,
    }
}

/// Names of the detectors of a file, and whether each is a variant.
pub(crate) fn detectors(ast: &ast::File) -> Vec<(&str, bool)> {
    let mut all = Vec::new();
    for item in &ast.items {
        match &item.kind {
            ItemKind::Detector { name, .. } => all.push((name.text.as_str(), false)),
            ItemKind::Variant { name, .. } => all.push((name.text.as_str(), true)),
            _ => {}
        }
    }
    all
}

/// The file's main detector: named like the file, else the last one that is not a variant, else the last.
pub(crate) fn main_detector<'m>(ast: &'m ast::File, path: &str) -> Option<&'m str> {
    let stem = path.rsplit(['/', '\\']).next().unwrap_or("").trim_end_matches(".uad");
    let all = detectors(ast);
    let named = all.iter().find(|d| d.0 == stem);
    named.or(all.iter().rev().find(|d| !d.1)).or(all.last()).map(|d| d.0)
}
