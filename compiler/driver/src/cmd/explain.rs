//! `uadc explain CODE`: the page of a diagnostic, for the terminal.
//!
//! In: a code, or none. Out: its page, or the list of all codes. Invariants: every row of the catalogue can be shown.
//! Imports: the catalogue.

use uad_compiler::diag::codes::{self, CODES};
use uad_compiler::diag::nearest::did_you_mean;

use crate::args::Explain;
use crate::failure::{Done, Failure};
use crate::terminal::{Look, out};

/// Runs it.
pub fn run(args: &Explain) -> Done {
    let look = Look::stdout();
    let Some(wanted) = &args.code else {
        for c in CODES {
            out(&format!("{}  {}\n", look.bold(c.code), c.title));
        }
        return Ok(());
    };
    let Some(code) = codes::find(wanted.trim().trim_start_matches("error[").trim_end_matches(']')) else {
        let failure = Failure::input(format!("no diagnostic has the code `{wanted}`"));
        let known = CODES.iter().map(|c| c.code);
        let hint = did_you_mean(&wanted.to_uppercase(), known)
            .unwrap_or_else(|| "`uadc explain` without a code lists all".to_owned());
        return Err(failure.help(hint));
    };
    out(&markdown(code.page, look));
    Ok(())
}

/// Markdown as plain terminal text: headings bold, code indented by four, paragraphs and list items filled.
fn markdown(page: &str, look: Look) -> String {
    let mut text = String::new();
    let mut paragraph = String::new();
    let mut code = false;
    let flush = |paragraph: &mut String, text: &mut String| {
        if !paragraph.is_empty() {
            text.push_str(&fill(paragraph, look));
            paragraph.clear();
        }
    };
    for line in page.lines() {
        if line.starts_with("```") {
            flush(&mut paragraph, &mut text);
            code = !code;
        } else if code {
            text.push_str(format!("    {}", look.paint("36", line)).trim_end());
            text.push('\n');
        } else if let Some(title) = line.strip_prefix('#') {
            flush(&mut paragraph, &mut text);
            text.push_str(&look.bold(title.trim_start_matches('#').trim()));
            text.push('\n');
        } else if line.trim().is_empty() {
            flush(&mut paragraph, &mut text);
            text.push('\n');
        } else {
            if line.trim_start().starts_with("- ") {
                flush(&mut paragraph, &mut text);
            }
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph.push_str(if paragraph.is_empty() { line } else { line.trim_start() });
        }
    }
    flush(&mut paragraph, &mut text);
    text
}

/// One paragraph in lines of the terminal's width; further lines of a list item stand under its text.
fn fill(paragraph: &str, look: Look) -> String {
    let lead = paragraph.len() - paragraph.trim_start().len();
    let indent = lead + if paragraph.trim_start().starts_with("- ") { 2 } else { 0 };
    let (mut text, mut column) = (" ".repeat(lead), lead);
    let mut first = true;
    for word in paragraph.split_whitespace() {
        let width = word.chars().count();
        if !first && column + 1 + width > look.width.min(100) {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            column = indent;
        } else if !first {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
        first = false;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_well() {
        let page = "# E0203: dimensions differ\n\nTwo tensors that\nmeet must agree.\n\n- one\n  goes on\n- two\n\n```uad\nlet x = 1\n```\n";
        let plain = Look { color: false, unicode: true, width: 80 };
        assert_eq!(
            markdown(page, plain),
            "E0203: dimensions differ\n\nTwo tensors that meet must agree.\n\n- one goes on\n- two\n\n    let x = 1\n"
        );
    }
}
