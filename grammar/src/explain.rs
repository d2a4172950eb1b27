//! From the place where pest gave up to a message that helps.
//!
//! In: the laid-out text, the place, what the grammar would have taken there. Out: [`SyntaxError`]. Invariants: the
//! place lies in the source on a character boundary. Imports: layout, rules of the grammar.

use crate::ast::Span;
use crate::error::SyntaxError;
use crate::layout::{ITEM_WORDS, Mark, STATEMENT_WORDS};
use crate::reserved::RESERVED;
use crate::rules::Rule;

/// What is known about a failure.
pub(crate) struct Failure<'t> {
    /// The source.
    pub(crate) source: &'t str,
    /// The text that was parsed.
    pub(crate) text: &'t [u8],
    /// The chunk in it.
    pub(crate) chunk: (usize, usize),
    /// Where parsing stopped.
    pub(crate) at: usize,
    /// What could have stood there.
    pub(crate) expected: &'t [Rule],
    /// Brackets, to know what is open at the place.
    pub(crate) marks: &'t [(usize, Mark)],
}

/// What stands at the place.
enum Found<'t> {
    Word(&'t str),
    Sign(&'t str),
    Unknown(char),
    End,
}

/// Words of other languages at the beginning of a statement, and what to do instead.
const FOREIGN: [(&str, &str); 16] = [
    ("return", "a body ends with its value; there is no `return`"),
    ("for", "loops are `iterate n with a = x { … }`; lists are made by `[f(x) for x in list]`"),
    ("while", "loops are bounded: `iterate n with a = x until cond { … }`"),
    ("def", "functions are written `fn name(x: T) -> T { … }`, local ones `let name = fn (x) { … }`"),
    ("class", "layers with weights are written `block name(…)(x: T) -> T { … }`"),
    ("var", "values are named with `let`, what changes is a `state`"),
    ("const", "a value known when compiling is a `param`, any other a `let`"),
    ("import", "write `use module.{name}`"),
    ("loss", "a loss is a `let`, named after `minimise` in a stage"),
    ("minimize", "write `minimise`"),
    ("else", "`else` follows the `}` of an `if`"),
    ("from", "write `use module.{name}`"),
    ("elif", "write `} else { if … { … } else { … } }`"),
    ("assert", "write `require cond, \"why\"`"),
    ("async", "functions are written `fn name(x: T) -> T { … }`"),
    ("with", "`with` follows `minimise LOSS` or `iterate n`"),
];

/// Characters that look like something of the language.
fn lookalike(c: char) -> Option<&'static str> {
    Some(match c {
        '→' => "->",
        '←' => "<-",
        '×' | '·' | '∗' => "*",
        '÷' => "/",
        '−' | '–' | '—' => "-",
        '“' | '”' | '„' | '«' | '»' | '\'' | '‘' | '’' | '`' => "\"",
        '≤' => "<=",
        '≥' => ">=",
        '≠' => "!=",
        '…' => "...",
        '！' | '!' | '¬' => "not",
        '&' | '∧' => "and",
        '|' | '∨' => "or",
        '#' => "//",
        '（' => "(",
        '）' => ")",
        '，' => ",",
        '：' => ":",
        '；' => ";",
        _ => return None,
    })
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Two-character signs.
const SIGNS: [&str; 8] = ["|>", "->", "<-", "==", "!=", "<=", ">=", ".."];

impl<'t> Failure<'t> {
    /// The message.
    pub(crate) fn explain(&self) -> SyntaxError {
        let found = self.found();
        let (from, before) = self.before();
        let length = match &found {
            Found::Word(word) => word.len(),
            Found::Sign(sign) => sign.len(),
            Found::Unknown(c) => c.len_utf8(),
            Found::End => 0,
        };
        let at = if length == 0 { (from + before.len()).min(self.source.len()) } else { self.at };
        let span = Span::new(at, at + length);
        if let Some(error) = self.unknown(&found, span).or_else(|| self.special(&found, before, span)) {
            return error;
        }
        let expected = self.expectation();
        let after = if before.is_empty() { String::new() } else { format!(" after {}", quote(before)) };
        let label = match &found {
            Found::Word(word) if RESERVED.contains(word) => format!("found the keyword `{word}`"),
            Found::Word(word) => format!("found `{word}`"),
            Found::Sign("\"") => "found a text".to_string(),
            Found::Sign(sign) => format!("found `{sign}`"),
            Found::Unknown(c) => format!("found `{c}`"),
            Found::End if self.text.get(self.at) == Some(&b'}') => "but the body ends here".to_string(),
            Found::End if self.at >= self.source.trim_end().len() => "but the text ends here".to_string(),
            Found::End => "but the statement ends here".to_string(),
        };
        let error = SyntaxError::new(span, format!("expected {expected}{after}"), label);
        match self.advice(&found) {
            Some(help) => error.help(help),
            None => error,
        }
    }

    fn found(&self) -> Found<'t> {
        let Some(&byte) = self.text.get(self.at).filter(|_| self.at < self.chunk.1.min(self.source.len())) else {
            return Found::End;
        };
        let rest = self.source.get(self.at..).unwrap_or("");
        if is_letter(byte) {
            let length = rest.bytes().position(|b| !is_letter(b)).unwrap_or(rest.len());
            return Found::Word(&rest[..length]);
        }
        if matches!(byte, b'\n' | b';' | b'}') {
            return Found::End;
        }
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            return Found::Sign(&rest[..sign.len()]);
        }
        match rest.chars().next() {
            Some(c) if "()[]{}<>+-*/%@=,:.\"".contains(c) => Found::Sign(&rest[..1]),
            Some(c) => Found::Unknown(c),
            None => Found::End,
        }
    }

    /// Where the token before the place begins, and the token; empty if the chunk begins here.
    fn before(&self) -> (usize, &'t str) {
        let start = self.chunk.0.min(self.at);
        let text = self.text[start..self.at].trim_ascii_end();
        let end = (start + text.len()).min(self.source.len());
        let Some(&last) = text.last() else { return (end, "") };
        let length = if is_letter(last) {
            text.iter().rev().take_while(|b| is_letter(**b)).count()
        } else if SIGNS.iter().any(|sign| text.ends_with(sign.as_bytes())) {
            2
        } else {
            1
        };
        let mut begin = end.saturating_sub(length);
        while !self.source.is_char_boundary(begin) {
            begin -= 1;
        }
        (begin, self.source.get(begin..end).unwrap_or(""))
    }

    fn unknown(&self, found: &Found<'t>, span: Span) -> Option<SyntaxError> {
        let Found::Unknown(c) = found else { return None };
        let (c, double) = (*c, self.source[span.start as usize..].starts_with(&format!("{c}{c}")));
        let shown = if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
        let error = SyntaxError::new(span, format!("unknown character `{}`", shown), "not part of the language");
        Some(match lookalike(c) {
            Some(known) => error.help(format!("write `{known}`{}", if double { " (once)" } else { "" })),
            None if c.is_alphabetic() => error.help("names consist of a to z, A to Z, 0 to 9 and `_`"),
            None => error,
        })
    }

    /// Mistakes that deserve words of their own.
    fn special(&self, found: &Found<'t>, before: &str, span: Span) -> Option<SyntaxError> {
        let open = self.innermost();
        let first = self.first_word();
        match found {
            Found::Sign("=") if open == Some(b'(') && !self.wants(Rule::colon) && is_word(before) => Some(
                SyntaxError::new(span, "`=` in an argument list", "an argument is named with `:`")
                    .help(format!("write `{before}: …`")),
            ),
            _ if self.wants_only_a_type() && is_word(before) && !RESERVED.contains(&before) => Some(
                SyntaxError::new(span, format!("`{before}` has no type"), "expected `: TYPE` first")
                    .help(format!("write `{before}: int`, `{before}: f32[b, c]` or the like")),
            ),
            Found::Sign("=") if "+-*/%".contains(before) && before.len() == 1 && self.begins_with_a_name() => {
                let at = (span.start as usize).saturating_sub(1);
                Some(
                    SyntaxError::new(
                        Span::new(at, span.end as usize),
                        format!("`{before}=` changes a value"),
                        "there is no such operator",
                    )
                    .help(format!(
                        "a name has one value: `let more = {first} {before} …`; a state changes by `{first} <- {first} {before} …`"
                    )),
                )
            }
            Found::Sign("*") if before == "*" => Some(
                SyntaxError::new(
                    Span::new((span.start as usize).saturating_sub(1), span.end as usize),
                    "there is no power operator",
                    "`**` is not part of the language",
                )
                .help("write `x * x`, `square(x)` of module `norms`, or `exp(p * log(x))`"),
            ),
            Found::Sign("==") if first == "let" => {
                Some(SyntaxError::new(span, "`==` compares", "a `let` is written with `=`").help("write `=`"))
            }
            Found::Sign("=") if first == "input" && self.wants(Rule::k_from) => Some(
                SyntaxError::new(span, "an input comes from a source", "expected `from`")
                    .help("write `input x: f32[b, 3] from tensor`: sources are what the data loader gives"),
            ),
            Found::Sign("(") if self.before_is_a_type(before) => Some(
                SyntaxError::new(span, "the axes of a type stand in `[ ]`", "found `(`")
                    .help(format!("write `{before}[…]`; a value is given with `=`, as `let x = {before}(…)`")),
            ),
            Found::Sign("->") if open == Some(b'[') && !self.text[self.chunk.0..self.at].contains(&b';') => Some(
                SyntaxError::new(span, "a view has no commas", "the axes before it are separated by `,`")
                    .help("axes of a view are separated by spaces: `x[b c h w -> b (h w) c]`"),
            ),
            Found::Sign("\"") if before == "\"" => Some(
                SyntaxError::new(span, "a text is not a statement", "found a text in `\"\"\"`")
                    .help("comments begin with `//`, what documents an item stands before it after `///`"),
            ),
            Found::Word(name)
                if ["int", "float", "bool", "str", "f32", "i32"].contains(&before) && self.wants(Rule::colon) =>
            {
                let ty = match before {
                    "float" => "f32",
                    "str" => "text",
                    t => t,
                };
                Some(
                    SyntaxError::new(span, "the type follows the name", format!("`{before}` stands before it"))
                        .help(format!("write `{name}: {ty}`")),
                )
            }
            Found::Sign(",") if self.begins_like_an_output() => Some(
                SyntaxError::new(
                    Span::new(self.chunk.0, self.chunk.0 + first.len()),
                    format!("`{first} = …` in a list"),
                    "set with `=`, and more follows",
                )
                .help(format!("fields of a variant and settings of a stage are written `{first}: …`")),
            ),
            Found::Sign("=") if open != Some(b'(') && self.wants(Rule::becomes) => Some(
                SyntaxError::new(span, "`=` outside of a declaration", "not an assignment")
                    .help("name a value with `let NAME = …`; change a state with `NAME <- …`"),
            ),
            Found::Sign(":") if open == Some(b'[') => Some(
                SyntaxError::new(span, "`:` within an index", "ranges are written with `..`")
                    .help("write `x[a..b]`; `:` alone is the whole axis"),
            ),
            Found::Sign("{") if self.wants(Rule::EOI) && first == "detector" => None,
            Found::Word(word) if RESERVED.contains(word) && self.wants_name() && !self.wants_expression() => Some(
                SyntaxError::new(span, format!("`{word}` is a keyword and cannot be a name"), "expected a name")
                    .help(format!("call it something else, such as `{word}_`")),
            ),
            Found::Word(word) if before.bytes().all(|b| b.is_ascii_digit()) && !before.is_empty() => {
                let glued = self.text.get(self.at.wrapping_sub(1)).is_some_and(|b| is_letter(*b));
                glued.then(|| {
                    SyntaxError::new(
                        span,
                        format!("`{before}{word}` is neither a number nor a name"),
                        "stands in a number",
                    )
                })
            }
            Found::Word(word) if word.as_bytes()[0].is_ascii_digit() => {
                let digits = word.bytes().take_while(u8::is_ascii_digit).count();
                let mixed = digits < word.len();
                if self.wants_name() && !self.wants_expression() {
                    Some(SyntaxError::new(span, format!("`{word}` is not a name"), "a name begins with a letter"))
                } else {
                    mixed.then(|| {
                        SyntaxError::new(span, format!("`{word}` is neither a number nor a name"), "not understood")
                            .help("a name begins with a letter; numbers are `12`, `0.5`, `1e-4`")
                    })
                }
            }
            _ => None,
        }
    }

    fn advice(&self, found: &Found<'t>) -> Option<String> {
        let first = self.first_word();
        if let Some((_, help)) = FOREIGN.iter().find(|(word, _)| *word == first) {
            return Some(help.to_string());
        }
        if self.is_setting(found) {
            return Some(format!("a setting of a stage is written `{first}: …`"));
        }
        if matches!(found, Found::Sign("{")) && first == "if" {
            return Some("the condition of `if` is followed by its body".to_string());
        }
        if matches!(found, Found::Sign("=")) && first == "let" {
            return None;
        }
        let begins = self.text[self.chunk.0..self.at.max(self.chunk.0)].trim_ascii().len() == first.len();
        if begins && !first.is_empty() && !RESERVED.contains(&first) {
            return nearest(first, &STATEMENT_WORDS).map(|word| format!("did you mean `{word}`?"));
        }
        if self.before().1 == "lambda" {
            return Some("local functions are written `fn (x) { … }`".to_string());
        }
        if matches!(found, Found::Word("if")) {
            return Some(
                "`if … { … } else { … }` chooses when compiling, `select(cond, a, b)` when running".to_string(),
            );
        }
        None
    }

    /// `epochs 100`.
    fn is_setting(&self, found: &Found<'t>) -> bool {
        const SETTINGS: [&str; 11] =
            ["epochs", "steps", "batch", "data", "drop_last", "skip", "clip", "schedule", "patience", "keep", "seed"];
        let first = self.first_word();
        matches!(found, Found::Word(_)) && SETTINGS.contains(&first) && self.before().0 == self.chunk.0
    }

    fn first_word(&self) -> &'t str {
        let end = self.chunk.1.min(self.source.len());
        let text = self.source.get(self.chunk.0..end).unwrap_or("");
        let length = text.bytes().position(|b| !is_letter(b)).unwrap_or(text.len());
        &text[..length]
    }

    /// The bracket that is open at the place, within the chunk.
    fn innermost(&self) -> Option<u8> {
        let first = self.marks.partition_point(|m| m.0 < self.chunk.0);
        let mut open = Vec::new();
        for &(at, mark) in self.marks[first..].iter().take_while(|m| m.0 < self.at) {
            match mark {
                Mark::Begin | Mark::Open => open.push(self.text[at]),
                Mark::Finish | Mark::Close => drop(open.pop()),
                Mark::Separator => {}
            }
        }
        open.pop()
    }

    fn wants(&self, rule: Rule) -> bool {
        self.expected.contains(&rule)
    }

    /// Nothing but the colon before a type could have stood here.
    fn wants_only_a_type(&self) -> bool {
        self.wants(Rule::colon) && self.expected.iter().all(|r| *r == Rule::colon || phrase(*r) == Phrase::Nothing)
    }

    /// `NAME = …`.
    fn begins_like_an_output(&self) -> bool {
        let first = self.first_word();
        let after = self.source.get(self.chunk.0 + first.len()..).unwrap_or("").trim_start();
        !first.is_empty() && !RESERVED.contains(&first) && after.starts_with('=') && !after.starts_with("==")
    }

    fn begins_with_a_name(&self) -> bool {
        let first = self.first_word();
        !first.is_empty() && !RESERVED.contains(&first)
    }

    /// `image` in `image: image(b, 3)`: what follows the first colon of a declaration.
    fn before_is_a_type(&self, before: &str) -> bool {
        let head = &self.text[self.chunk.0..self.at.max(self.chunk.0)].trim_ascii_end();
        let head = head.strip_suffix(before.as_bytes()).unwrap_or(b"").trim_ascii_end();
        is_word(before) && head.last() == Some(&b':') && STATEMENT_WORDS.contains(&self.first_word())
    }

    fn wants_name(&self) -> bool {
        self.expected.iter().any(|r| matches!(r, Rule::name | Rule::pattern | Rule::param | Rule::binding))
    }

    fn wants_expression(&self) -> bool {
        self.expected.iter().any(|r| phrase(*r) == Phrase::Expression)
    }

    fn expectation(&self) -> String {
        let has = |phrase: Phrase| self.expected.iter().any(|r| self::phrase(*r) == phrase);
        let mut parts: Vec<String> = Vec::new();
        let words = [
            (Phrase::Item, "an item"),
            (Phrase::Expression, "an expression"),
            (Phrase::Type, "a type"),
            (Phrase::Name, "a name"),
            (Phrase::Text, "a text in `\"`"),
            (Phrase::Axes, "the names of axes"),
        ];
        let wanted = if has(Phrase::Statement) {
            Some((Phrase::Statement, "a statement"))
        } else {
            words.into_iter().find(|(phrase, _)| has(*phrase))
        };
        parts.extend(wanted.map(|(_, words)| words.to_string()));
        let mut tokens: Vec<&str> = Vec::new();
        if !matches!(wanted, Some((Phrase::Statement | Phrase::Expression | Phrase::Type, _))) {
            for rule in self.expected {
                if let Phrase::Token(token) = phrase(*rule)
                    && !tokens.contains(&token)
                {
                    tokens.push(token);
                }
            }
        }
        if has(Phrase::Operator) {
            // Where an operator may stand, a call or a variant may too.
            tokens.retain(|t| !matches!(*t, "(" | "{"));
        }
        let ends = has(Phrase::End);
        let first = self.first_word();
        let after = self.source.get(self.chunk.0 + first.len()..).unwrap_or("").trim_start();
        if ends && !STATEMENT_WORDS.contains(&first) && !after.starts_with(':') {
            // The alternative of a chunk that is the fields of a variant is not worth words.
            tokens.retain(|t| !matches!(*t, "," | ":" | "." | "=" | "<-"));
        }
        parts.extend(tokens.iter().map(|t| format!("`{t}`")));
        if has(Phrase::Operator) && (ends || parts.is_empty()) {
            parts.push("an operator".to_string());
        }
        if ends {
            parts.push("the end of the statement".to_string());
        }
        match parts.as_slice() {
            [] => "something else".to_string(),
            [one] => one.clone(),
            [first @ .., last] => format!("{} or {last}", first.join(", ")),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phrase {
    Item,
    Statement,
    Expression,
    Type,
    Name,
    Text,
    Axes,
    Operator,
    End,
    Token(&'static str),
    Nothing,
}

fn phrase(rule: Rule) -> Phrase {
    use Phrase::*;
    match rule {
        Rule::use_item | Rule::type_item | Rule::unit_item | Rule::source_item => Item,
        Rule::function_item | Rule::detector_item => Item,
        Rule::let_stmt | Rule::param_stmt | Rule::slot_stmt | Rule::input_stmt | Rule::weight_stmt => Statement,
        Rule::state_stmt | Rule::require_stmt | Rule::iterate_stmt | Rule::stage_stmt | Rule::score_stmt => Statement,
        Rule::minimise_stmt | Rule::settings | Rule::output | Rule::expr_stmt => Statement,
        Rule::expr | Rule::head | Rule::operand | Rule::head_operand | Rule::arg | Rule::int | Rule::float => {
            Expression
        }
        Rule::value | Rule::lambda | Rule::choice | Rule::paren | Rule::contraction | Rule::list => Expression,
        Rule::until_end | Rule::prefix | Rule::carried => Expression,
        Rule::k_list | Rule::ty | Rule::ty_one | Rule::ty_name | Rule::ty_paren | Rule::ty_field => Type,
        Rule::name | Rule::word | Rule::pattern | Rule::record_pattern | Rule::binding | Rule::param => Name,
        Rule::lambda_param | Rule::field | Rule::fields | Rule::path | Rule::setting | Rule::index_name => Name,
        Rule::string => Text,
        Rule::axis_name | Rule::axis_group | Rule::axis_rest | Rule::side => Axes,
        Rule::infix | Rule::pipe | Rule::or | Rule::and | Rule::eq | Rule::ne | Rule::le | Rule::ge | Rule::lt => {
            Operator
        }
        Rule::gt | Rule::plus | Rule::minus | Rule::times | Rule::over | Rule::rem | Rule::matmul | Rule::dots => {
            Operator
        }
        Rule::EOI | Rule::separator => End,
        Rule::comma => Token(","),
        Rule::colon => Token(":"),
        Rule::equals => Token("="),
        Rule::arrow => Token("->"),
        Rule::result => Token("->"),
        Rule::becomes => Token("<-"),
        Rule::open | Rule::params | Rule::lambda_params => Token("("),
        Rule::close => Token(")"),
        Rule::right => Token("]"),
        Rule::begin | Rule::body => Token("{"),
        Rule::finish => Token("}"),
        Rule::k_from => Token("from"),
        Rule::k_in => Token("in"),
        Rule::k_with | Rule::group => Token("with"),
        Rule::k_fn => Token("fn"),
        Rule::k_block => Token("block"),
        _ => Nothing,
    }
}

fn quote(token: &str) -> String {
    if token == "\"" { "the text".to_string() } else { format!("`{token}`") }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_letter) && !text.as_bytes()[0].is_ascii_digit()
}

/// The word that `text` is probably meant to be.
pub(crate) fn nearest(text: &str, words: &[&'static str]) -> Option<&'static str> {
    let allowed = if text.len() <= 4 { 1 } else { 2 };
    let near = words.iter().map(|word| (distance(text, word), *word)).filter(|(d, _)| *d <= allowed);
    near.min().map(|(_, word)| word)
}

/// Help for a line outside of all items.
pub(crate) fn stray_help(first: &str) -> String {
    if let Some(word) = nearest(first, &ITEM_WORDS) {
        return format!("did you mean `{word}`?");
    }
    if let Some((_, help)) = FOREIGN.iter().find(|(word, _)| *word == first) {
        return help.to_string();
    }
    if STATEMENT_WORDS.contains(&first) {
        return format!(
            "`{first}` stands in the body of a `fn`, `block` or `detector`; is there a `}}` too many above?"
        );
    }
    "a file consists of `use`, `type`, `unit`, `source`, `fn`, `block` and `detector`".to_string()
}

/// Edits between two short words: insertions, deletions, changes and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(24).collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j - 1] + changed).min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
