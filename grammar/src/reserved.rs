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
    use super::RESERVED;

    #[test]
    fn the_grammar_reserves_the_same_words() {
        let grammar = include_str!("../uad.pest");
        let rule = grammar.split("reserved = _{").nth(1).and_then(|rest| rest.split('}').next()).unwrap_or("");
        let words: Vec<&str> = rule.split('"').skip(1).step_by(2).collect();
        assert_eq!(words, RESERVED);
    }
}
