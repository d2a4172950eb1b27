//! Names with placeholders: `layers.{i}.norm`, `fc.*`.
//!
//! In: text. Out: [`Pattern`], which matches names and captures what stands for each placeholder. Invariants: a placeholder
//! captures one or more characters without a dot, `*` any characters; the shortest capture wins; the same placeholder
//! captures the same text everywhere in a name. Imports: nothing of this project.

use std::collections::BTreeMap;

/// What placeholders stand for.
pub type Captures = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Hole(String),
    Any,
}

/// A name with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '*']) {
            if at > 0 {
                pieces.push(Piece::Text(rest[..at].to_owned()));
            }
            if rest[at..].starts_with('*') {
                pieces.push(Piece::Any);
                rest = &rest[at + 1..];
                continue;
            }
            let end = rest[at..].find('}').ok_or_else(|| format!("`{{` is not closed in `{text}`"))? + at;
            let name = rest[at + 1..end].trim();
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(format!("`{{{name}}}` is not a placeholder; on the left side only names stand in braces"));
            }
            pieces.push(Piece::Hole(name.to_owned()));
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Pattern { pieces })
    }

    /// What the placeholders stand for if `name` is of this form.
    pub fn matches(&self, name: &str) -> Option<Captures> {
        let mut captures = Captures::new();
        // Every failed try costs a step; names of hostile files do not get more than this.
        let mut steps = 10_000;
        fit(&self.pieces, name, &mut captures, &mut steps).then_some(captures)
    }

    /// The pattern as written.
    pub fn text(&self) -> String {
        let piece = |p: &Piece| match p {
            Piece::Text(t) => t.clone(),
            Piece::Hole(n) => format!("{{{n}}}"),
            Piece::Any => "*".to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }
}

fn fit(pieces: &[Piece], name: &str, captures: &mut Captures, steps: &mut u32) -> bool {
    if *steps == 0 {
        return false;
    }
    *steps -= 1;
    let Some((first, rest)) = pieces.split_first() else { return name.is_empty() };
    match first {
        Piece::Text(t) => name.strip_prefix(t.as_str()).is_some_and(|n| fit(rest, n, captures, steps)),
        Piece::Any => {
            let ends = name.char_indices().map(|(i, _)| i).chain([name.len()]);
            ends.into_iter().any(|end| fit(rest, &name[end..], captures, steps))
        }
        Piece::Hole(h) => {
            if let Some(known) = captures.get(h).cloned() {
                return name.strip_prefix(known.as_str()).is_some_and(|n| fit(rest, n, captures, steps));
            }
            for (i, c) in name.char_indices() {
                if c == '.' {
                    break;
                }
                let end = i + c.len_utf8();
                captures.insert(h.clone(), name[..end].to_owned());
                if fit(rest, &name[end..], captures, steps) {
                    return true;
                }
                captures.remove(h);
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures() {
        let p = Pattern::parse("encode.{i}.{part}_w").unwrap();
        let c = p.matches("encode.12.q_w").unwrap();
        assert_eq!((c["i"].as_str(), c["part"].as_str()), ("12", "q"));
        assert!(p.matches("encode.1.2.q_w").is_none() && p.matches("encode..q_w").is_none());
        assert!(Pattern::parse("a.{i}.b{i}").unwrap().matches("a.3.b4").is_none());
        assert!(Pattern::parse("*.n").unwrap().matches("a.b.n").is_some());
        assert!(Pattern::parse("a{i").is_err() && Pattern::parse("a{i+1}").is_err());
    }
}
