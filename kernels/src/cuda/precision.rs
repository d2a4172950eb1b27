//! The numbers that contractions multiply.
//!
//! In: nothing. Out: [`Precision`], one row each. Invariants: sums are f32 whatever is multiplied; what is no contraction
//! is f32 throughout. Imports: nothing.

use std::fmt;
use std::str::FromStr;

/// What the operands of a contraction are rounded to before they are multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// 24 bits: nothing is rounded, and no tensor core is used.
    #[default]
    F32,
    /// 11 bits and the range of f32, on tensor cores.
    Tf32,
    /// 8 bits and the range of f32, on tensor cores.
    Bf16,
    /// 11 bits up to 65504, on tensor cores: larger operands become infinite.
    F16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 4] = [Precision::F32, Precision::Tf32, Precision::Bf16, Precision::F16];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
        }
    }

    /// Operands in a word of 32 bits.
    pub fn in_word(self) -> i64 {
        match self {
            Precision::F32 | Precision::Tf32 => 1,
            Precision::Bf16 | Precision::F16 => 2,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Precision, String> {
        let found = Precision::ALL.into_iter().find(|p| p.name() == text);
        found.ok_or_else(|| format!("a precision is {}", Precision::ALL.map(Precision::name).join(", ")))
    }
}
