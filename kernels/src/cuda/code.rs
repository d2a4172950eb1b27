//! Lines of C++ with their indentation.
//!
//! In: lines, blocks. Out: text. Invariants: what is opened is closed by who opened it. Imports: nothing.

/// Text under construction.
#[derive(Clone, Debug, Default)]
pub struct Code {
    text: String,
    depth: usize,
}

impl Code {
    /// One line, or several.
    pub fn line(&mut self, text: impl AsRef<str>) {
        for line in text.as_ref().lines() {
            if !line.is_empty() {
                self.text.extend(std::iter::repeat_n("  ", self.depth));
                self.text.push_str(line);
            }
            self.text.push('\n');
        }
    }

    /// `head {`, or `{` alone.
    pub fn open(&mut self, head: impl AsRef<str>) {
        let head = head.as_ref();
        self.line(if head.is_empty() { "{".to_owned() } else { format!("{head} {{") });
        self.depth += 1;
    }

    /// `}`
    pub fn close(&mut self) {
        self.close_with("}");
    }

    /// What closes a block and goes on: `} else {`, `};`.
    pub fn close_with(&mut self, tail: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.line(tail);
        if tail.ends_with('{') {
            self.depth += 1;
        }
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }
}
