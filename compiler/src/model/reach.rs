//! What of the library a file can come to: the rest is not parsed.
//!
//! In: a tree and the texts of the library. Out: texts of the same length, with blanks for items that nobody names. Invariants: a
//! library module is in canonical form, so an item begins at a letter or `@` at a line's start (a test compares with the parser); an
//! item stays if a word of something that stays is its name, whatever that word means there. Imports: the library's texts.

use std::borrow::Cow;

use uad_grammar::ast::{File, Item, ItemKind};

use crate::hash::{FxHashMap, FxHashSet};
use crate::source::{self, LIBRARY};

/// A function that the compiler itself calls.
const CALLED: (&str, &str) = ("optim", "clip_norm");

/// A module of the library by its items.
struct Outline {
    /// Where each begins.
    items: Vec<(usize, &'static str)>,
    /// Item by name.
    named: FxHashMap<&'static str, usize>,
    /// Module that a name is brought from.
    brought: FxHashMap<&'static str, &'static str>,
}

impl Outline {
    fn of(text: &'static str) -> Outline {
        let mut out = Outline { items: Vec::new(), named: FxHashMap::default(), brought: FxHashMap::default() };
        let (mut at, mut open) = (0, false);
        for line in text.split_inclusive('\n') {
            let first = line.as_bytes()[0];
            if first.is_ascii_alphabetic() || first == b'@' {
                // What stands behind `@` is of the item that follows.
                if !open {
                    out.items.push((at, ""));
                }
                open = first == b'@';
            }
            at += line.len();
        }
        let ends: Vec<usize> = out.items.iter().skip(1).map(|i| i.0).chain([text.len()]).collect();
        for (n, (item, end)) in out.items.iter_mut().zip(ends).enumerate() {
            item.1 = &text[item.0..end];
            let head = item.1.lines().find(|l| !l.starts_with('@')).unwrap_or("");
            let mut head = words(head);
            match (head.next(), head.next()) {
                (Some("use"), Some(from)) => out.brought.extend(words(item.1).skip(2).map(|w| (w, from))),
                (Some(_), Some(name)) => drop(out.named.insert(name, n)),
                _ => {}
            }
        }
        out
    }
}

pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty())
}

/// Names of items of a module of the library.
pub(super) fn names(module: &str) -> Vec<&'static str> {
    source::library(module).map_or(Vec::new(), |text| Outline::of(text).named.into_keys().collect())
}

/// Texts by name.
type Texts = Vec<(&'static str, Cow<'static, str>)>;

/// The library modules that a file names.
pub(super) fn whole(file: &File) -> Texts {
    let names = |module: &str| {
        let one = |i: &Item| matches!(&i.kind, ItemKind::Use { path, .. } if path.len() == 1 && path[0].text == module);
        file.items.iter().any(one)
    };
    LIBRARY.iter().filter(|m| names(m.0)).map(|m| (m.0, m.1.into())).collect()
}

/// All library modules that a file and `extra` items come to, with the items that they come to. `None` where it imports something that is not of
/// the library, which may come to more.
pub(super) fn cut(file: &File, extra: &[(&'static str, &'static str)]) -> Option<Texts> {
    let mut outlines: FxHashMap<&'static str, Outline> = FxHashMap::default();
    let mut kept: FxHashMap<&'static str, FxHashSet<usize>> = FxHashMap::default();
    let mut next: Vec<(&'static str, &str)> = extra.to_vec();
    for item in &file.items {
        let ItemKind::Use { path, names } = &item.kind else { continue };
        let [one] = path.as_slice() else { return None };
        let (module, _) = LIBRARY.iter().find(|m| m.0 == one.text)?;
        next.extend(names.iter().map(|n| (*module, n.text.as_str())));
    }
    while let Some((module, name)) = next.pop() {
        let Some((module, text)) = LIBRARY.iter().find(|m| m.0 == module) else { continue };
        let outline = outlines.entry(module).or_insert_with(|| {
            next.extend(Some(CALLED).filter(|c| c.0 == *module));
            Outline::of(text)
        });
        let kept = kept.entry(module).or_default();
        if let Some(n) = outline.named.get(name).filter(|n| kept.insert(**n)) {
            for word in words(outline.items[*n].1) {
                if outline.named.contains_key(word) {
                    next.push((module, word));
                } else if let Some(from) = outline.brought.get(word) {
                    next.push((from, word));
                }
            }
        } else if let Some(from) = outline.brought.get(name) {
            next.push((from, name));
        }
    }
    let text = |(module, outline): (&'static str, Outline)| {
        let mut text = String::new();
        for (n, item) in outline.items.iter().enumerate() {
            // What stands before the first item is comments.
            text.extend(std::iter::repeat_n(' ', item.0 - text.len()));
            if kept[module].contains(&n) || item.1.starts_with("use ") {
                text.push_str(item.1);
            }
        }
        (module, Cow::Owned(text))
    };
    let mut all: Texts = outlines.into_iter().map(text).collect();
    // The longest first: they are parsed at once.
    all.sort_by_key(|t| (std::cmp::Reverse(t.1.trim().len()), t.0));
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_are_what_the_parser_finds() {
        for (module, text) in LIBRARY {
            let (file, errors) = uad_grammar::parse(text);
            assert!(errors.is_empty(), "{module}");
            let mut found: Vec<&str> = file
                .items
                .iter()
                .filter_map(|i| super::super::modules::item_name(i))
                .map(|n| n.text.as_str())
                .collect();
            let mut outlined = names(module);
            found.sort_unstable();
            outlined.sort_unstable();
            assert_eq!(found, outlined, "{module}");
            let outline = Outline::of(text);
            assert_eq!(outline.items.len(), file.items.len(), "{module}");
        }
    }

    #[test]
    fn what_is_kept_stands_where_it_stood() {
        let (file, _) = uad_grammar::parse("use nn.linear\n");
        let cut = cut(&file, &[]).expect("only the library");
        let of = |m: &str| cut.iter().find(|t| t.0 == m).map(|t| &*t.1);
        let (nn, whole) = (of("nn").expect("named"), source::library("nn").expect("there"));
        assert!(nn.len() <= whole.len() && !nn.contains("block batch_norm"));
        assert_eq!(nn.find("block linear("), whole.find("block linear("));
        assert!(of("init").is_some_and(|t| t.contains("fn xavier_uniform(")), "what it starts from");
        assert!(of("encoders").is_none());
        assert!(super::cut(&uad_grammar::parse("use specs.uniad.uniad\n").0, &[]).is_none());
    }
}
