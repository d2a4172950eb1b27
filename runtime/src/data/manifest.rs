//! CSV manifests of data sets.
//!
//! In: a file whose first line names columns: `path` and any of `split`, `label`, `mask`, `class`, `kind`. Out: samples. Invariants:
//! paths are relative to the manifest; fields may be quoted as in RFC 4180; a wrong line is named by its number and ends the
//! reading. Imports: samples, [`super::ReadError`].

use std::path::Path;

use super::ReadError;
use super::sample::{Sample, Split};

const COLUMNS: [&str; 6] = ["path", "split", "label", "mask", "class", "kind"];
/// Manifests are read whole.
const MOST_BYTES: u64 = 1 << 28;

/// Reads a manifest: its samples, and what was left out.
pub fn read(path: &Path) -> Result<(Vec<Sample>, Vec<ReadError>), ReadError> {
    let fail = |e: &dyn std::fmt::Display| ReadError::new(path, e);
    super::is_plain(path)?;
    if std::fs::metadata(path).is_ok_and(|m| m.len() > MOST_BYTES) {
        return Err(fail(&"too large for a manifest"));
    }
    let bytes = std::fs::read(path).map_err(|e| fail(&e))?;
    let text = String::from_utf8(bytes).map_err(|_| fail(&"neither a folder nor a CSV manifest: it is not text"))?;
    let home = path.parent().unwrap_or(Path::new(""));
    let mut rows = rows(text.trim_start_matches('\u{feff}')).into_iter();
    let head = rows.next().map(|r| r.1).unwrap_or_default();
    let head: Vec<String> = head.iter().map(|n| n.trim().to_lowercase()).collect();
    if !head.iter().any(|n| n == "path") {
        return Err(fail(&format!("its first line names no column `path`; known are {}", COLUMNS.join(", "))));
    }
    let (mut samples, mut problems) = (Vec::new(), Vec::new());
    for (line, fields) in rows {
        let wrong = |why: String| fail(&format!("line {line}: {why}"));
        if fields.len() != head.len() {
            return Err(wrong(format!("{} fields, but {} columns", fields.len(), head.len())));
        }
        let get = |name: &str| {
            let n = head.iter().position(|h| h == name)?;
            Some(fields[n].trim()).filter(|v| !v.is_empty())
        };
        let name = get("path").ok_or_else(|| wrong("no path".to_owned()))?;
        let label = match get("label").map(str::to_lowercase).as_deref() {
            None => None,
            Some("0" | "false" | "good" | "normal") => Some(false),
            Some("1" | "true" | "anomalous" | "anomaly" | "defect") => Some(true),
            Some(other) => return Err(wrong(format!("the label `{other}` is neither 0 nor 1"))),
        };
        let split = match get("split") {
            None => Split::Train,
            Some(s) => Split::of(&s.to_lowercase()).ok_or_else(|| {
                wrong(format!("the split `{s}` is none of {}", Split::ALL.map(Split::name).join(", ")))
            })?,
        };
        if split != Split::Test && label == Some(true) {
            problems.push(fail(&format!("line {line}: left out: an anomalous sample outside `test`")));
            continue;
        }
        let usual = if label == Some(true) { "anomalous" } else { "good" };
        samples.push(Sample {
            path: home.join(name),
            name: name.replace('\\', "/"),
            class: get("class").unwrap_or("all").to_owned(),
            split,
            label: label.or((split != Split::Test).then_some(false)),
            kind: get("kind")
                .unwrap_or(if label.is_none() && split == Split::Test { "unknown" } else { usual })
                .to_owned(),
            mask: get("mask").map(|m| home.join(m)),
        });
    }
    Ok((samples, problems))
}

/// Lines with their numbers, as fields. Empty lines are left out.
fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut rows = Vec::new();
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let (mut line, mut first) = (1, 1);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            ('"', true) => quoted = false,
            ('"', false) if field.trim().is_empty() => {
                field.clear();
                quoted = true;
            }
            (',', false) => fields.push(std::mem::take(&mut field)),
            ('\r', false) => {}
            ('\n', false) => {
                line += 1;
                fields.push(std::mem::take(&mut field));
                let row = std::mem::take(&mut fields);
                if row.iter().any(|f| !f.trim().is_empty()) {
                    rows.push((first, row));
                }
                first = line;
            }
            ('\n', true) => {
                line += 1;
                field.push(c);
            }
            _ => field.push(c),
        }
    }
    fields.push(field);
    if fields.iter().any(|f| !f.trim().is_empty()) {
        rows.push((first, fields));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Sample>, ReadError> {
        let path = std::env::temp_dir().join(format!("uad-manifest-{}-{}.csv", std::process::id(), text.len()));
        std::fs::write(&path, text).unwrap();
        let result = read(&path);
        std::fs::remove_file(path).unwrap();
        result.map(|r| r.0)
    }

    #[test]
    fn columns_in_any_order() {
        let set = read_text(
            "\u{feff}class,path,split,label,mask\r\n\
             nut,a.png,,,\r\n\
             \r\n\
             nut,\"b, \"\"c\"\".png\",test,1,m/b.png\r\n\
             nut,d.png,test,,",
        )
        .unwrap();
        let told: Vec<_> = set.iter().map(|s| (s.name.as_str(), s.split, s.label)).collect();
        assert_eq!(
            told,
            [
                ("a.png", Split::Train, Some(false)),
                ("b, \"c\".png", Split::Test, Some(true)),
                ("d.png", Split::Test, None)
            ]
        );
        assert!(set[1].mask.as_ref().unwrap().ends_with("m/b.png"));
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, why) in [
            ("a,b\n1,2\n", "no column `path`"),
            ("path,split\nx.png,trian\n", "line 2: the split `trian`"),
            ("path,label\nx.png,0\n\ny.png,maybe\n", "line 4: the label `maybe`"),
            ("path,label\nx.png\n", "line 2: 1 fields, but 2 columns"),
            ("path,label\n,0\n", "line 2: no path"),
        ] {
            let e = read_text(text).unwrap_err().to_string();
            assert!(e.contains(why), "{e}");
        }
    }
}
