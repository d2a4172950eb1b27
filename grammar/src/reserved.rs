//! Words that are no names.
//!
//! In: nothing. Out: the list. Invariants: equal to `reserved` of the grammar. Imports: nothing.

/// All of them.
pub(crate) const RESERVED: [&str; 37] = [
    "use", "from", "type", "unit", "source", "fn", "block", "detector", "param", "slot", "input", "weight", "state",
    "let", "stage", "minimise", "over", "with", "score", "iterate", "until", "if", "else", "for", "new", "frozen",
    "as", "require", "training", "all", "true", "false", "and", "or", "not", "repeat", "each",
];

#[cfg(test)]
mod tests {
    use pest::Parser;

    use super::RESERVED;
    use crate::rules::{Grammar, Rule};

    #[test]
    fn the_grammar_reserves_the_same_words() {
        let is_name = |word: &str| Grammar::parse(Rule::name, word).is_ok_and(|p| p.as_str() == word);
        for word in RESERVED {
            assert!(!is_name(word), "{word}");
            assert!(is_name(&format!("{word}s")), "{word}s");
        }
        let words = include_str!("../uad.pest").split('"').skip(1).step_by(2);
        for word in words.filter(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphabetic())) {
            assert_eq!(is_name(word), !RESERVED.contains(&word), "{word}");
        }
    }
}
