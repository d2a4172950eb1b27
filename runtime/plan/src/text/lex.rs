//! Splits the text form into tokens.
//!
//! In: text. Out: tokens with their byte positions, closed by [`Kind::End`]. Invariants: total but for strings that do
//! not end and characters that start nothing, which are errors. Imports: nothing of this project.

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'t> {
    /// A word of letters, digits, `_` and `.`.
    Word(&'t str),
    /// Digits with what belongs to a number.
    Number(&'t str),
    /// A string without its quotes, escapes resolved.
    Text(String),
    /// A symbol.
    Symbol(&'static str),
    /// Nothing more.
    End,
}

/// A token and where it starts.
#[derive(Clone, Debug)]
pub(super) struct Token<'t> {
    pub kind: Kind<'t>,
    pub at: usize,
}

const SYMBOLS: [&str; 19] =
    ["==", "!=", "<=", "{", "}", "[", "]", "(", ")", ",", ";", "*", "+", "-", "%", "$", "<", "=", "?"];

/// All tokens, or where and why there is none.
pub(super) fn lex(text: &str) -> Result<Vec<Token<'_>>, (usize, String)> {
    let bytes = text.as_bytes();
    let byte = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let start = at;
        let kind = match byte(at) {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'/' if byte(at + 1) == b'/' => {
                while at < bytes.len() && byte(at) != b'\n' {
                    at += 1;
                }
                continue;
            }
            b'"' => {
                let (string, end) = string(text, at + 1)?;
                at = end;
                Kind::Text(string)
            }
            c if c.is_ascii_alphabetic() || c == b'_' => {
                while byte(at).is_ascii_alphanumeric() || byte(at) == b'_' || byte(at) == b'.' {
                    at += 1;
                }
                Kind::Word(text.get(start..at).unwrap_or_default())
            }
            c if c.is_ascii_digit() => {
                at = number(bytes, at);
                Kind::Number(text.get(start..at).unwrap_or_default())
            }
            _ => {
                let rest = text.get(at..).unwrap_or_default();
                let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) else {
                    let c = rest.chars().next().unwrap_or('?');
                    return Err((at, format!("no plan has the character `{}` here", c.escape_default())));
                };
                at += symbol.len();
                Kind::Symbol(symbol)
            }
        };
        tokens.push(Token { kind, at: start });
    }
    tokens.push(Token { kind: Kind::End, at: bytes.len() });
    Ok(tokens)
}

/// Where the number that starts at `at` ends: `12`, `0x1f`, `1.5`, `1e-7`.
fn number(bytes: &[u8], mut at: usize) -> usize {
    let byte = |i: usize| bytes.get(i).copied().unwrap_or(0);
    if byte(at) == b'0' && byte(at + 1) == b'x' {
        at += 2;
        while byte(at).is_ascii_hexdigit() {
            at += 1;
        }
        return at;
    }
    while byte(at).is_ascii_digit() || byte(at) == b'.' {
        at += 1;
    }
    let sign = usize::from(matches!(byte(at + 1), b'-' | b'+'));
    if byte(at) == b'e' && byte(at + 1 + sign).is_ascii_digit() {
        at += 1 + sign;
        while byte(at).is_ascii_digit() {
            at += 1;
        }
    }
    at
}

/// The string whose first character is at `at`, and where it ends.
fn string(text: &str, at: usize) -> Result<(String, usize), (usize, String)> {
    let mut out = String::new();
    let mut chars = text.get(at..).unwrap_or_default().char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((out, at + i + 1)),
            '\n' => return Err((at + i, "a string ends on its line".into())),
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 'r')) => out.push('\r'),
                Some((_, 't')) => out.push('\t'),
                Some((_, c @ ('"' | '\\'))) => out.push(c),
                Some((_, 'u')) => {
                    let digits: String = chars
                        .by_ref()
                        .map(|c| c.1)
                        .skip_while(|c| *c == '{')
                        .take_while(|c| *c != '}')
                        .take(8)
                        .collect();
                    let c = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                    out.push(c.ok_or_else(|| (at + i, format!("`{digits}` is no character")))?);
                }
                _ => return Err((at + i, "no such escape".into())),
            },
            c => out.push(c),
        }
    }
    Err((text.len(), "the string is not closed".into()))
}
