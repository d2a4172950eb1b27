//! Diagnostics as text on a terminal, or as JSON.
//!
//! In: [`Diagnostic`]s and the texts they point into. Out: text. Invariants: every label is shown, whichever file it is in;
//! nothing but this file and the language server knows how a diagnostic looks. Imports: the terminal; `uad_compiler::diag`.

use std::fmt::Write;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, MietteError, MietteSpanContents, SourceCode,
    SourceSpan, SpanContents,
};
use serde_json::{Value, json};
use uad_compiler::diag::{Diagnostic, Label, Severity};

use crate::terminal::{Look, count};

/// A text that diagnostics point into: path and content.
pub type SourceText = (String, String);

/// Diagnostics of which text is shown; more scroll by.
const MOST_SHOWN: usize = 100;

/// A longer line is not shown whole, but this many bytes of it around the mark.
const LONGEST_LINE: usize = 400;

/// A longer place is marked as far as this, in bytes.
const LONGEST_MARK: usize = 400;

/// Stands where miette prints a message; the header is ours, so everything up to this is cut off.
const CUT: &str = "\u{1}";

/// Tells what was found, worst last (nearest to the prompt), and a summary line.
pub fn render(found: &[Diagnostic], files: &[SourceText], look: Look) -> String {
    let mut order: Vec<&Diagnostic> = found.iter().collect();
    order.sort_by_key(|d| (std::cmp::Reverse(d.severity), d.labels.first().map(|l| l.place)));
    let mut text = String::new();
    for d in order.iter().take(MOST_SHOWN) {
        one(&mut text, d, files, look);
        text.push('\n');
    }
    if let Some(left) = order.len().checked_sub(MOST_SHOWN).filter(|n| *n > 0) {
        let _ = writeln!(text, "{left} more are not shown");
    }
    if let Some(line) = summary(found, look) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// `2 errors and 1 warning in 1 file`; nothing where nothing was found.
fn summary(found: &[Diagnostic], look: Look) -> Option<String> {
    let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
    let warnings = found.len() - errors;
    let mut files: Vec<usize> = found.iter().filter_map(|d| Some(d.labels.first()?.place.file)).collect();
    files.sort_unstable();
    files.dedup();
    let what = match (errors, warnings) {
        (0, 0) => return None,
        (0, w) => look.paint("1;33", &count(w, "warning")),
        (e, 0) => look.paint("1;31", &count(e, "error")),
        (e, w) => {
            format!("{} and {}", look.paint("1;31", &count(e, "error")), look.paint("1;33", &count(w, "warning")))
        }
    };
    Some(format!("{what} in {}", count(files.len().max(1), "file")))
}

fn one(text: &mut String, d: &Diagnostic, files: &[SourceText], look: Look) {
    let (word, color) = match d.severity {
        Severity::Error => ("error", "1;31"),
        Severity::Warning => ("warning", "1;33"),
    };
    let _ =
        writeln!(text, "{}: {}", look.paint(color, &format!("{word}[{}]", d.code)), look.bold(&one_line(&d.message)));
    let mut shown: Vec<usize> = Vec::new();
    for label in &d.labels {
        if !shown.contains(&label.place.file) {
            shown.push(label.place.file);
            let here: Vec<&Label> = d.labels.iter().filter(|l| l.place.file == label.place.file).collect();
            if let Some(file) = files.get(label.place.file) {
                snippet(text, d, &here, file, look);
            }
        }
    }
    for note in &d.notes {
        paragraph(text, "note", note, look);
    }
    if let Some(help) = &d.help {
        paragraph(text, "help", help, look);
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn paragraph(text: &mut String, title: &str, body: &str, look: Look) {
    let indent = " ".repeat(title.len() + 4);
    let mut lines = body.lines();
    let _ = writeln!(text, "  {}: {}", look.paint("36", title), lines.next().unwrap_or_default());
    for line in lines {
        let _ = writeln!(text, "{}", format!("{indent}{line}").trim_end());
    }
}

/// The marked lines of one file.
fn snippet(text: &mut String, d: &Diagnostic, labels: &[&Label], (path, source): &SourceText, look: Look) {
    let span = |l: &&Label| clip(source, l.place.span.start as usize, l.place.span.end as usize);
    let primary = labels.first().map_or(0, |l| span(l).0);
    // Marks far apart on one line cannot be shown together.
    let is_near = |start: usize| {
        let (from, to) = (start.min(primary), start.max(primary));
        to - from <= LONGEST_LINE / 2 || source.get(from..to).is_none_or(|t| t.contains('\n'))
    };
    let near = labels.iter().map(|l| (l, span(l))).filter(|(_, (start, _))| is_near(*start));
    let spans = near.enumerate().map(|(i, (l, (start, end)))| {
        let end = if end - start > LONGEST_MARK { clip(source, start + LONGEST_MARK, end).0 } else { end };
        let words = (!l.text.is_empty()).then(|| l.text.clone());
        if i == 0 {
            LabeledSpan::new_primary_with_span(words, start..end)
        } else {
            LabeledSpan::new_with_span(words, start..end)
        }
    });
    let severity = match d.severity {
        Severity::Error => miette::Severity::Error,
        Severity::Warning => miette::Severity::Warning,
    };
    let report = Report {
        inner: MietteDiagnostic::new(CUT).with_severity(severity).with_labels(spans),
        source: WholeLines { path, source },
    };
    let mut theme = match (look.unicode, look.color) {
        (true, true) => GraphicalTheme::unicode(),
        (true, false) => GraphicalTheme::unicode_nocolor(),
        (false, true) => GraphicalTheme::ascii(),
        (false, false) => GraphicalTheme::none(),
    };
    if let Some(first) = theme.styles.highlights.first_mut()
        && look.color
    {
        *first = match d.severity {
            Severity::Error => theme.styles.error.bold(),
            Severity::Warning => theme.styles.warning.bold(),
        };
    }
    let mut drawn = String::new();
    let handler = GraphicalReportHandler::new_themed(theme).with_width(look.width).with_context_lines(1);
    if handler.render_report(&mut drawn, &report).is_ok() {
        let from = drawn.find(CUT).and_then(|at| Some(at + drawn.get(at..)?.find('\n')? + 1)).unwrap_or(0);
        for line in drawn.get(from..).unwrap_or_default().lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
}

/// A span that lies in the text, on character boundaries, and shows something: at the end of the text the last character.
fn clip(source: &str, start: usize, end: usize) -> (usize, usize) {
    let down = |mut i: usize| {
        i = i.min(source.len());
        while !source.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let (start, end) = (down(start), down(end.max(start)));
    if start == end && start == source.len() {
        let text = source.trim_end();
        return (text.len() - text.chars().next_back().map_or(0, char::len_utf8), text.len());
    }
    (start, end)
}

/// A diagnostic with its text, which miette wants in one value.
#[derive(Debug)]
struct Report<'a> {
    inner: MietteDiagnostic,
    source: WholeLines<'a>,
}

/// A text of which the marked lines are shown, whole unless they are very long, and no others.
#[derive(Debug)]
struct WholeLines<'a> {
    path: &'a str,
    source: &'a str,
}

impl SourceCode for WholeLines<'_> {
    /// miette asks without context for the place in the header, and with context for the lines to draw.
    fn read_span<'b>(
        &'b self,
        span: &SourceSpan,
        before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'b> + 'b>, MietteError> {
        let (mut start, mut end) = (span.offset(), span.offset() + span.len());
        if before > 0 {
            let from = self.source.get(..start).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
            let to = end + self.source.get(end..).map_or(0, |t| t.find('\n').unwrap_or(t.len()));
            let far = LONGEST_LINE / 2;
            if start - from > far || to - end > far {
                start = from.max(clip(self.source, start.saturating_sub(far), 0).0);
                end = to.min(clip(self.source, end + far, end + far).1);
            } else {
                (start, end) = (from, to);
            }
        }
        let data = self.source.get(start..end).ok_or(MietteError::OutOfBounds)?;
        let (line, column) = position(self.source, start);
        let lines = data.lines().count().max(1);
        Ok(Box::new(MietteSpanContents::new_named(
            self.path.to_owned(),
            data.as_bytes(),
            SourceSpan::from(start..end),
            line - 1,
            column - 1,
            lines,
        )))
    }
}

impl std::fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.inner)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        self.inner.severity
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.inner.labels()
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }
}

/// Diagnostics for machines. Lines and columns count from 1, columns in characters; `start` and `end` are bytes.
pub fn to_json(found: &[Diagnostic], files: &[SourceText]) -> Value {
    let label = |l: &Label, primary: bool| {
        let (path, source) = files.get(l.place.file).map_or(("", ""), |f| (f.0.as_str(), f.1.as_str()));
        let (start, end) = (l.place.span.start as usize, l.place.span.end as usize);
        let (line, column) = position(source, start);
        let (end_line, end_column) = position(source, end);
        json!({
            "file": path, "start": start, "end": end, "line": line, "column": column,
            "end_line": end_line, "end_column": end_column, "text": l.text, "primary": primary,
        })
    };
    Value::Array(
        found
            .iter()
            .map(|d| {
                let severity = match d.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                };
                let labels: Vec<Value> = d.labels.iter().enumerate().map(|(i, l)| label(l, i == 0)).collect();
                json!({
                    "code": d.code, "severity": severity, "message": one_line(&d.message),
                    "labels": labels, "help": d.help, "notes": d.notes,
                })
            })
            .collect(),
    )
}

fn position(source: &str, byte: usize) -> (usize, usize) {
    let (at, _) = clip(source, byte, byte);
    let before = source.get(..byte.min(source.len())).or_else(|| source.get(..at)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uad_compiler::diag::Place;
    use uad_grammar::ast::Span;

    const PLAIN: Look = Look { color: false, unicode: true, width: 100 };

    fn place(file: usize, text: &str, part: &str) -> Place {
        let at = text.find(part).unwrap();
        Place { file, span: Span::new(at, at + part.len()) }
    }

    fn files() -> Vec<SourceText> {
        vec![
            ("my.uad".into(), "let recon = linear(256)\n\nlet a = 1\nlet b = 2\nlet loss = recon - target\n".into()),
            ("encoders.uad".into(), "block taps() { 24 + 32 + 56 + 160 }\n".into()),
        ]
    }

    fn found() -> Vec<Diagnostic> {
        let f = files();
        vec![
            Diagnostic::new("E0203", "dimensions differ", place(0, &f[0].1, "target"), "f32[b, 196, 272]")
                .label(place(0, &f[0].1, "linear(256)"), "gives f32[b, 196, 256]")
                .label(place(1, &f[1].1, "24 + 32 + 56 + 160"), "272 is this sum")
                .note("the taps of `encoder`")
                .help("project back to the encoder's channels: `linear(c)`"),
            Diagnostic::new("W0501", "`a` is never used", place(0, &f[0].1, "a = 1"), "").help("remove it"),
        ]
    }

    #[test]
    fn several_labels_in_several_files() {
        insta::assert_snapshot!(render(&found(), &files(), PLAIN));
    }

    #[test]
    fn ascii_terminals_get_ascii() {
        let text = render(&found(), &files(), Look { unicode: false, ..PLAIN });
        assert!(text.is_ascii(), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn colour_only_where_asked() {
        assert!(!render(&found(), &files(), PLAIN).contains('\x1b'));
        assert!(render(&found(), &files(), Look { color: true, ..PLAIN }).contains("\x1b[1;31merror[E0203]\x1b[0m"));
    }

    #[test]
    fn spans_outside_the_text_are_clipped() {
        for (text, start, end) in [("", 0, 9), ("é", 1, 1), ("let x = (\n", 10, 10), ("ab", 7, 3)] {
            let files = vec![("x.uad".to_owned(), text.to_owned())];
            let d = Diagnostic::new("E0001", "expected `)`", Place { file: 0, span: Span::new(start, end) }, "here");
            assert!(render(std::slice::from_ref(&d), &files, PLAIN).contains("error[E0001]: expected `)`"));
            to_json(&[d], &files);
        }
    }

    #[test]
    fn long_lines_and_many_errors_are_cut() {
        let text = format!("let x = {}y{}\n", "é + ".repeat(50_000), " + z".repeat(50_000));
        let files = vec![("x.uad".to_owned(), text.clone())];
        let d = Diagnostic::new("E0101", "there is no `y`", place(0, &text, "y"), "unknown")
            .label(place(0, &text, "let"), "in this")
            .label(place(0, &text, text.trim_end()), "all of it");
        let shown = render(&vec![d; 3 * MOST_SHOWN], &files, PLAIN);
        assert!(shown.contains("x.uad:1:200009") && shown.contains("200 more are not shown"), "{shown}");
        assert_eq!(shown.matches("unknown").count(), MOST_SHOWN);
        assert!(shown.len() < MOST_SHOWN * 6 * LONGEST_LINE, "{}", shown.len());
    }

    #[test]
    fn machines_get_lines_and_columns() {
        let json = to_json(&found(), &files());
        assert_eq!(json[0]["labels"][0]["line"], 5);
        assert_eq!(json[0]["labels"][0]["column"], 20);
        assert_eq!(json[0]["labels"][2]["file"], "encoders.uad");
        assert_eq!(json[0]["labels"][0]["primary"], true);
        assert_eq!(json[1]["severity"], "warning");
    }
}
