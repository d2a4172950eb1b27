//! Did you mean …: the known name that is nearest to a wrong one.
//!
//! In: a wrong name and the known ones. Out: the nearest, if near enough. Invariants: deterministic; an edit distance of
//! a third of the name at most, transpositions count one. Imports: nothing of this project.

/// The known name that `wrong` most likely stands for.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (wrong.chars().count() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for k in known {
        let d = if k.eq_ignore_ascii_case(wrong) { 0 } else { distance(wrong, k, limit) };
        if d <= limit && best.is_none_or(|(b, name)| (d, k) < (b, name)) {
            best = Some((d, k));
        }
    }
    best.map(|b| b.1)
}

/// ` did you mean …` as a help text.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(wrong, known).map(|n| format!("did you mean `{n}`?"))
}

/// Edits (insert, delete, replace, exchange neighbours) from `a` to `b`; more than `limit` where it is.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let keep = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut d = keep.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    d = d.min(rows[i - 2][j - 2] + 1);
                }
                d
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant() {
        let known = ["layer_norm", "linear", "batch_norm"];
        assert_eq!(nearest("layernorm", known), Some("layer_norm"));
        assert_eq!(nearest("lienar", known), Some("linear"));
        assert_eq!(nearest("conv", known), None);
    }
}
