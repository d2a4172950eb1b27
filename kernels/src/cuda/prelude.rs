//! Device functions that kernels call.
//!
//! In: kernel texts. Out: the functions that they use, with those that these use. Invariants: a section of
//! `prelude.cuh` begins with `//-` and what it defines; a section stands after those that it needs.
//! Imports: nothing.

/// All device functions.
const TEXT: &str = include_str!("prelude.cuh");

struct Section {
    names: Vec<&'static str>,
    text: &'static str,
}

fn sections() -> Vec<Section> {
    let one = |part: &'static str| {
        let (names, text) = part.split_once('\n').unwrap_or((part, ""));
        Section { names: names.split_whitespace().collect(), text: text.trim_end() }
    };
    TEXT.split("//- ").skip(1).map(one).collect()
}

/// Does the text hold this word?
fn says(text: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (text.get(..at).unwrap_or(""), text.get(at + word.len()..).unwrap_or(""));
        !part(before.chars().next_back()) && !part(after.chars().next())
    })
}

/// The functions that these texts use.
pub fn used(texts: &[&str]) -> String {
    let all = sections();
    let mut needed = vec![false; all.len()];
    for (n, section) in all.iter().enumerate().rev() {
        let by_kernels = section.names.iter().any(|name| texts.iter().any(|t| says(t, name)));
        let by_others =
            (n + 1..all.len()).any(|m| needed[m] && section.names.iter().any(|name| says(all[m].text, name)));
        needed[n] = by_kernels || by_others;
    }
    let texts: Vec<&str> = all.iter().zip(needed).filter(|(_, n)| *n).map(|(s, _)| s.text).collect();
    if texts.is_empty() { String::new() } else { format!("{}\n", texts.join("\n\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_comes_along() {
        assert_eq!(used(&["float y = x;"]), "");
        let text = used(&["y = sin_of(x); z = my_exp_of(x);"]);
        assert!(text.contains("float circle(") && text.contains("float sin_of(") && !text.contains("exp_of("));
        assert!(used(&["block_all<ArgMax, 8>(v, parts)"]).contains("struct Best"));
    }

    #[test]
    fn sections_stand_after_what_they_need() {
        let all = sections();
        for (n, section) in all.iter().enumerate() {
            for later in &all[n + 1..] {
                assert!(!later.names.iter().any(|name| says(section.text, name)), "{:?} is too early", section.names);
            }
        }
    }
}
