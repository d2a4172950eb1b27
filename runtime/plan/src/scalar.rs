//! Scalar operations: the one table that holes, graphs, interpreter and both back ends read.
//!
//! In: nothing. Out: [`ScalarOp`] with, per row, name, number of arguments, typing rule, meaning in f64, meaning in
//! words and a domain to sample from in tests. Invariants: a row is the only place that names an operation; the
//! enum, the parser and the tests are made from the rows. Imports: [`crate::dtype`].

use crate::dtype::DType;

/// How an operation types its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// All arguments and the result are one of f32, i32.
    Number,
    /// All arguments and the result are f32.
    Float,
    /// Arguments of one dtype, result bool.
    Compare,
    /// All arguments and the result are bool.
    Logic,
    /// All arguments and the result are i32.
    Bits,
    /// `bool, T, T -> T`.
    Select,
    /// Any dtype to this one.
    Cast(DType),
}

/// Where tests sample the arguments of an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Domain(
    /// Smallest sampled value.
    pub f64,
    /// Largest sampled value.
    pub f64,
);

macro_rules! scalar_ops {
    ($($variant:ident $name:literal $arity:literal $rule:expr, $lo:literal .. $hi:literal, |$($x:ident),*| $eval:expr, $doc:literal;)*) => {
        /// An operation on scalars.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ScalarOp { $(#[doc = $doc] $variant),* }

        /// All operations, in table order.
        pub const SCALAR_OPS: &[ScalarOp] = &[$(ScalarOp::$variant),*];

        impl ScalarOp {
            /// The name in text forms and in `.uad`.
            pub fn name(self) -> &'static str { match self { $(ScalarOp::$variant => $name),* } }
            /// Number of arguments.
            pub fn arity(self) -> usize { match self { $(ScalarOp::$variant => $arity),* } }
            /// Typing rule.
            pub fn rule(self) -> Rule { match self { $(ScalarOp::$variant => $rule),* } }
            /// Where tests sample.
            pub fn domain(self) -> Domain { match self { $(ScalarOp::$variant => Domain($lo, $hi)),* } }
            /// One sentence.
            pub fn doc(self) -> &'static str { match self { $(ScalarOp::$variant => $doc),* } }
            /// The value in f64; bool is 0 or 1, i32 is an integer. `args` holds at least `arity` values, else NaN.
            pub fn eval(self, args: &[f64]) -> f64 {
                match self { $(ScalarOp::$variant => { if let [$($x),*, ..] = *args { $eval } else { f64::NAN } }),* }
            }
        }
    };
}

fn truth(c: bool) -> f64 {
    f64::from(u8::from(c))
}

scalar_ops! {
    Add "add" 2 Rule::Number, -4.0 .. 4.0, |a, b| a + b, "Sum.";
    Sub "sub" 2 Rule::Number, -4.0 .. 4.0, |a, b| a - b, "Difference.";
    Mul "mul" 2 Rule::Number, -4.0 .. 4.0, |a, b| a * b, "Product.";
    Div "div" 2 Rule::Number, 0.5 .. 4.0, |a, b| a / b, "Quotient; of integers rounded towards minus infinity, and 0 where the divisor is 0.";
    Rem "rem" 2 Rule::Number, 0.5 .. 4.0, |a, b| a - b * libm::floor(a / b), "Remainder of floored division: has the sign of the divisor; of integers 0 where the divisor is 0.";
    Min "min" 2 Rule::Number, -4.0 .. 4.0, |a, b| if b < a || b.is_nan() { b } else { a }, "The smaller; NaN if either is NaN.";
    Max "max" 2 Rule::Number, -4.0 .. 4.0, |a, b| if b > a || b.is_nan() { b } else { a }, "The larger; NaN if either is NaN.";
    Neg "neg" 1 Rule::Number, -4.0 .. 4.0, |a| -a, "Negation.";
    Abs "abs" 1 Rule::Number, 0.1 .. 4.0, |a| libm::fabs(a), "Magnitude.";
    Fma "fma" 3 Rule::Float, -4.0 .. 4.0, |a, b, c| libm::fma(a, b, c), "a * b + c, rounded once.";
    Floor "floor" 1 Rule::Float, -4.0 .. 4.0, |a| libm::floor(a), "Largest integer that is not larger.";
    Round "round" 1 Rule::Float, -4.0 .. 4.0, |a| libm::rint(a), "Nearest integer, halves to even.";
    Sqrt "sqrt" 1 Rule::Float, 0.1 .. 4.0, |a| libm::sqrt(a), "Square root.";
    Exp "exp" 1 Rule::Float, -4.0 .. 4.0, |a| libm::exp(a), "e to the power a.";
    Log "log" 1 Rule::Float, 0.1 .. 4.0, |a| libm::log(a), "Natural logarithm.";
    Sin "sin" 1 Rule::Float, -4.0 .. 4.0, |a| libm::sin(a), "Sine of radians.";
    Cos "cos" 1 Rule::Float, -4.0 .. 4.0, |a| libm::cos(a), "Cosine of radians.";
    Tanh "tanh" 1 Rule::Float, -4.0 .. 4.0, |a| libm::tanh(a), "Hyperbolic tangent.";
    Erf "erf" 1 Rule::Float, -2.0 .. 2.0, |a| libm::erf(a), "Error function.";
    Eq "eq" 2 Rule::Compare, -4.0 .. 4.0, |a, b| truth(a == b), "Are they equal?";
    Lt "lt" 2 Rule::Compare, -4.0 .. 4.0, |a, b| truth(a < b), "Is a smaller?";
    Le "le" 2 Rule::Compare, -4.0 .. 4.0, |a, b| truth(a <= b), "Is a not larger?";
    And "and" 2 Rule::Logic, 0.0 .. 1.0, |a, b| truth(a != 0.0 && b != 0.0), "Both.";
    Or "or" 2 Rule::Logic, 0.0 .. 1.0, |a, b| truth(a != 0.0 || b != 0.0), "At least one.";
    Not "not" 1 Rule::Logic, 0.0 .. 1.0, |a| truth(a == 0.0), "Negation of truth.";
    Xor "xor" 2 Rule::Bits, 0.0 .. 100.0, |a, b| f64::from(a as i32 ^ b as i32), "Bitwise exclusive or.";
    Shl "shl" 2 Rule::Bits, 0.0 .. 20.0, |a, b| f64::from((a as i32).wrapping_shl(b as i32 as u32)), "Bits shifted up; the count is taken modulo 32.";
    Shr "shr" 2 Rule::Bits, 0.0 .. 20.0, |a, b| f64::from(((a as i32 as u32).wrapping_shr(b as i32 as u32)) as i32), "Bits shifted down, zeros in; the count is taken modulo 32.";
    Select "select" 3 Rule::Select, 0.0 .. 1.0, |c, a, b| if c != 0.0 { a } else { b }, "a where the condition holds, else b.";
    ToF32 "f32" 1 Rule::Cast(DType::F32), -4.0 .. 4.0, |a| a, "As f32.";
    ToI32 "i32" 1 Rule::Cast(DType::I32), -4.0 .. 4.0, |a| if a.is_nan() { 0.0 } else { f64::from(libm::trunc(a) as i32) }, "As i32, rounded towards zero, held to the range; NaN is 0.";
    ToBool "bool" 1 Rule::Cast(DType::Bool), -4.0 .. 4.0, |a| truth(a != 0.0), "Is it other than 0?";
}

impl ScalarOp {
    /// The operation of this name.
    pub fn from_name(name: &str) -> Option<ScalarOp> {
        SCALAR_OPS.iter().copied().find(|o| o.name() == name)
    }

    /// The result's dtype, or `None` where the arguments do not fit the rule.
    pub fn result(self, args: &[DType]) -> Option<DType> {
        if args.len() != self.arity() {
            return None;
        }
        let one = |want: &[DType]| args.iter().all(|a| *a == args[0] && want.contains(a)).then_some(args[0]);
        match self.rule() {
            Rule::Number => one(&[DType::F32, DType::I32]),
            Rule::Float => one(&[DType::F32]),
            Rule::Compare => one(&[DType::F32, DType::I32, DType::Bool]).map(|_| DType::Bool),
            Rule::Logic => one(&[DType::Bool]),
            Rule::Bits => one(&[DType::I32]),
            Rule::Select => (args[0] == DType::Bool && args[1] == args[2]).then_some(args[1]),
            Rule::Cast(to) => Some(to),
        }
    }

    /// Does exchanging the two arguments change nothing?
    pub fn commutes(self) -> bool {
        matches!(
            self,
            ScalarOp::Add
                | ScalarOp::Mul
                | ScalarOp::Min
                | ScalarOp::Max
                | ScalarOp::Eq
                | ScalarOp::And
                | ScalarOp::Or
                | ScalarOp::Xor
        )
    }
}
