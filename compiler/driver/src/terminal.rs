//! What the terminal can show, and writing to it.
//!
//! In: environment variables and whether a stream is a terminal. Out: [`Look`], [`out`] and [`err`]. Invariants: colour only
//! on a terminal (or by `--color always`), never with `NO_COLOR`; a reader that has gone away ends the program quietly.
//! Imports: nothing of this project.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    // On a terminal.
    #[default]
    Auto,
    // Also into files and pipes.
    Always,
    // Not at all.
    Never,
}

/// How one stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Escape sequences for colour are understood.
    pub color: bool,
    /// Characters beyond ASCII are shown.
    pub unicode: bool,
    /// Columns.
    pub width: usize,
}

static CHOICE: OnceLock<ColorChoice> = OnceLock::new();

/// Takes `--color`; the first call counts.
pub fn choose_color(choice: ColorChoice) {
    CHOICE.get_or_init(|| choice);
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

fn look(stream: impl IsTerminal) -> Look {
    let terminal = stream.is_terminal();
    let dumb = variable("TERM").is_some_and(|t| t == "dumb");
    let color = match CHOICE.get().copied().unwrap_or_default() {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal && !dumb && variable("NO_COLOR").is_none(),
    };
    // The first of these that is set decides, as for the C library.
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
    let unicode = match locale {
        Some(l) => l.to_ascii_uppercase().contains("UTF-8") || l.to_ascii_uppercase().contains("UTF8"),
        None => cfg!(any(windows, target_os = "macos")),
    };
    let asked = variable("COLUMNS").and_then(|c| c.parse::<usize>().ok());
    let width = match (asked, terminal.then(terminal_size::terminal_size).flatten()) {
        (Some(c), _) => c,
        (None, Some((w, _))) => usize::from(w.0),
        (None, None) => 100,
    };
    Look { color, unicode, width: width.clamp(40, 140) }
}

impl Look {
    /// Standard error.
    pub fn stderr() -> Look {
        look(std::io::stderr())
    }

    /// Standard output.
    pub fn stdout() -> Look {
        look(std::io::stdout())
    }

    /// `text` between an escape sequence and its end, where colour is on.
    pub fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Bold.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Faint.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// The first where the terminal shows Unicode, else the second.
    pub fn sign(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { unicode } else { ascii }
    }
}

fn write_or_leave(mut stream: impl Write, text: &str) {
    if let Err(e) = stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        // `uadc … | head` is not an error; a full disk is.
        let code = if e.kind() == std::io::ErrorKind::BrokenPipe { 0 } else { 1 };
        if code == 1 {
            let _ = writeln!(std::io::stderr(), "error: cannot write the output: {e}");
        }
        std::process::exit(code);
    }
}

/// Writes to standard output.
pub fn out(text: &str) {
    write_or_leave(std::io::stdout().lock(), text);
}

/// Writes to standard error; what cannot be written there is lost.
pub fn err(text: &str) {
    let mut stream = std::io::stderr().lock();
    let _ = stream.write_all(text.as_bytes());
}

/// `1 error`, `2 errors`.
pub fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// `1234567` as `1 234 567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(c);
    }
    text
}

/// A number of bytes in a unit that people read.
pub fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(7_717_392), "7 717 392");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(3 << 20), "3.0 MiB");
        assert_eq!(count(1, "error"), "1 error");
        assert_eq!(count(2, "error"), "2 errors");
    }
}
