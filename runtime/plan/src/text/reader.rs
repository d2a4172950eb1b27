//! A cursor over tokens.
//!
//! In: tokens. Out: words, numbers, strings, or what was expected instead. Invariants: the cursor never passes the end.
//! Imports: [`super::lex`].

use std::collections::BTreeMap;

use super::lex::{Kind, Token};
use crate::plan::BufferId;

pub(super) type Out<T> = Result<T, String>;

pub(super) struct Parser<'t> {
    pub tokens: Vec<Token<'t>>,
    pub at: usize,
    /// Buffers of the current entry by name.
    pub buffers: BTreeMap<String, BufferId>,
    /// Elements of constants so far.
    pub elements: usize,
}

const END: Token<'static> = Token { kind: Kind::End, at: usize::MAX };

impl<'t> Parser<'t> {
    pub fn token(&self) -> &Token<'t> {
        // The last token is `End` and is never passed.
        self.tokens.get(self.at).or(self.tokens.last()).unwrap_or(&END)
    }
    pub fn kind(&self) -> &Kind<'t> {
        &self.token().kind
    }
    pub fn next_is(&self, symbol: &str) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|t| matches!(t.kind, Kind::Symbol(s) if s == symbol))
    }
    pub fn step(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }
    pub fn is(&self, symbol: &str) -> bool {
        matches!(self.kind(), Kind::Symbol(s) if *s == symbol)
    }
    pub fn eat(&mut self, symbol: &str) -> bool {
        let hit = self.is(symbol);
        if hit {
            self.step();
        }
        hit
    }
    pub fn found(&self) -> String {
        match self.kind() {
            Kind::Word(w) => format!("`{w}`"),
            Kind::Number(n) => format!("`{n}`"),
            Kind::Text(_) => "a string".into(),
            Kind::Symbol(s) => format!("`{s}`"),
            Kind::End => "the end".into(),
        }
    }
    pub fn need(&mut self, symbol: &str) -> Out<()> {
        if self.eat(symbol) { Ok(()) } else { Err(format!("expected `{symbol}`, found {}", self.found())) }
    }
    pub fn peek_word(&self) -> Option<&'t str> {
        if let Kind::Word(w) = self.kind() { Some(w) } else { None }
    }
    pub fn word(&mut self, what: &str) -> Out<&'t str> {
        let w = self.peek_word().ok_or_else(|| format!("expected {what}, found {}", self.found()))?;
        self.step();
        Ok(w)
    }
    pub fn eat_word(&mut self, word: &str) -> bool {
        let hit = self.peek_word() == Some(word);
        if hit {
            self.step();
        }
        hit
    }
    pub fn need_word(&mut self, word: &str) -> Out<()> {
        if self.eat_word(word) { Ok(()) } else { Err(format!("expected `{word}`, found {}", self.found())) }
    }
    pub fn string(&mut self) -> Out<String> {
        let Kind::Text(s) = self.kind() else { return Err(format!("expected a string, found {}", self.found())) };
        let s = s.clone();
        self.step();
        Ok(s)
    }
    pub fn name(&mut self) -> Out<String> {
        if matches!(self.kind(), Kind::Text(_)) { self.string() } else { self.word("a name").map(str::to_owned) }
    }
    pub fn number(&mut self) -> Out<&'t str> {
        let Kind::Number(n) = self.kind() else { return Err(format!("expected a number, found {}", self.found())) };
        let n: &'t str = n;
        self.step();
        Ok(n)
    }
    pub fn u32(&mut self) -> Out<u32> {
        let n = self.number()?;
        n.parse().map_err(|_| format!("`{n}` is not an integer of 32 bits"))
    }

    pub fn starts_special(&self) -> bool {
        match self.peek_word() {
            Some("inf" | "nan") => true,
            // `bits` alone could be the name of a dim.
            Some("bits") => self.next_is("("),
            _ => false,
        }
    }

    /// A number of f64; where `short`, without a `d` it is the nearest f32.
    pub fn real(&mut self, short: bool) -> Out<f64> {
        let sign = if self.eat("-") { -1.0 } else { 1.0 };
        if let Some(bits) = self.special_bits()? {
            return Ok(f64::from_bits(bits));
        }
        match self.peek_word() {
            Some("inf") => {
                self.step();
                return Ok(sign * f64::INFINITY);
            }
            Some("nan") => {
                self.step();
                return Ok(f64::NAN);
            }
            _ => {}
        }
        let n = self.number()?;
        let bad = |_| format!("`{n}` is not a number");
        let value = if short && !self.eat_word("d") {
            f64::from(n.parse::<f32>().map_err(bad)?)
        } else {
            n.parse::<f64>().map_err(bad)?
        };
        Ok(sign * value)
    }

    pub fn special_bits(&mut self) -> Out<Option<u64>> {
        if self.peek_word() != Some("bits") {
            return Ok(None);
        }
        self.step();
        self.need("(")?;
        let bits = self.hex()?;
        self.need(")")?;
        Ok(Some(bits))
    }

    pub fn hex(&mut self) -> Out<u64> {
        let n = self.number()?;
        let digits = n.strip_prefix("0x").ok_or_else(|| format!("`{n}` is no hexadecimal number"))?;
        u64::from_str_radix(digits, 16).map_err(|_| format!("`{n}` is no number of 64 bits"))
    }
}
