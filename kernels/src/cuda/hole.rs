//! Holes as C++ expressions.
//!
//! In: a hole, the expressions of what it loads, takes and indexes. Out: statements, and an expression per result.
//! Invariants: one instruction, one operation of the scalar table: nothing is reordered or contracted, so that CPU and
//! GPU do the same arithmetic; a value that is used once and short stands where it is used. Imports: [`super::func`].

use uad_plan::{DType, Hole, Inst, ScalarOp};

use super::func::Func;

/// An expression with its type.
#[derive(Clone, Debug)]
pub struct Value {
    /// C++.
    pub text: String,
    /// Type.
    pub dtype: DType,
    /// Needs no parentheses inside another expression.
    pub atom: bool,
}

impl Value {
    /// A name, or a call.
    pub fn atom(text: impl Into<String>, dtype: DType) -> Value {
        Value { text: text.into(), dtype, atom: true }
    }

    fn term(text: String, dtype: DType) -> Value {
        Value { text, dtype, atom: false }
    }

    /// With parentheses where it needs them.
    pub fn inner(&self) -> String {
        if self.atom { self.text.clone() } else { format!("({})", self.text) }
    }
}

/// The C++ type of a value in a register.
pub fn register(d: DType) -> &'static str {
    match d {
        DType::F32 => "float",
        DType::I32 => "int",
        DType::Bool => "bool",
    }
}

/// A literal f32.
pub fn float(v: f32) -> Value {
    let text = if v.is_nan() {
        "NOT_A_NUMBER".to_owned()
    } else if v.is_infinite() {
        (if v > 0.0 { "INFINITE" } else { "-INFINITE" }).to_owned()
    } else {
        format!("{v:?}f")
    };
    Value { atom: v.is_nan() || v.is_sign_positive(), text, dtype: DType::F32 }
}

/// A literal i32.
pub fn int(v: i64) -> Value {
    if v == i64::from(i32::MIN) {
        return Value::term("-2147483647 - 1".to_owned(), DType::I32);
    }
    Value { text: v.to_string(), dtype: DType::I32, atom: v >= 0 }
}

/// The fill of an access.
pub fn fill(v: f64, dtype: DType) -> Value {
    match dtype {
        DType::F32 => float(v as f32),
        DType::I32 => int(i64::from(v as i32)),
        DType::Bool => Value::atom(if v != 0.0 { "true" } else { "false" }, DType::Bool),
    }
}

/// Expressions longer than this get a name.
const LONG: usize = 56;

/// Emits a hole at the current point and gives its results.
pub fn emit(f: &mut Func<'_>, hole: &Hole<i64>, slots: &[Value]) -> Result<Vec<Value>, String> {
    let slot_types: Vec<DType> = slots.iter().map(|s| s.dtype).collect();
    let types = hole.types(&f.load_types(), &slot_types)?;
    let mut uses = vec![0u32; hole.code.len()];
    for inst in &hole.code {
        match inst {
            Inst::Op(_, args) => args.iter().for_each(|r| uses[r.0 as usize] += 1),
            // A draw names its arguments once, but they are clearer as names.
            Inst::Draw { element, sample, .. } => {
                uses[element.0 as usize] += 1;
                uses[sample.0 as usize] += 1;
            }
            _ => {}
        }
    }
    hole.results.iter().for_each(|r| uses[r.0 as usize] += 1);
    let mut loaded: Vec<(u32, usize)> = Vec::new();
    let mut values: Vec<Value> = Vec::with_capacity(hole.code.len());
    for (i, inst) in hole.code.iter().enumerate() {
        let dtype = types[i];
        if uses[i] == 0 {
            values.push(Value::atom("0", dtype));
            continue;
        }
        let arg = |r: &uad_plan::Reg| values[r.0 as usize].clone();
        let value = match inst {
            Inst::Load(n) => match loaded.iter().find(|(m, _)| m == n) {
                Some((_, before)) => values[*before].clone(),
                None => {
                    let read = f.load(*n as usize)?;
                    let again = hole.code.iter().filter(|o| **o == Inst::Load(*n)).count() > 1;
                    loaded.push((*n, i));
                    if again && !read.is_name() { f.name("", &read) } else { read }
                }
            },
            Inst::Index(axis) => f.coordinate(*axis as usize),
            Inst::Slot(n) => slots[*n as usize].clone(),
            Inst::F32(v) => float(*v),
            Inst::I32(v) => int(i64::from(*v)),
            Inst::Bool(v) => Value::atom(if *v { "true" } else { "false" }, DType::Bool),
            Inst::Size(v) => int(*v),
            Inst::Op(op, args) => {
                let args: Vec<Value> = args.iter().map(arg).collect();
                operation(*op, &args, dtype)
            }
            Inst::Draw { site, lane, element, sample } => {
                f.needs_draw();
                let site = uad_plan::philox::key(0, *site)[1];
                let (element, sample) = (arg(element).text, arg(sample).text);
                Value::atom(format!("draw_uniform(draw, {site:#010x}u, {lane}u, {element}, {sample})"), dtype)
            }
        };
        let constant = matches!(inst, Inst::F32(_) | Inst::I32(_) | Inst::Bool(_) | Inst::Size(_) | Inst::Index(_));
        let named = !constant && !value.is_name() && (uses[i] > 1 || value.text.len() > LONG);
        values.push(if named { f.name("", &value) } else { value });
    }
    Ok(hole.results.iter().map(|r| values[r.0 as usize].clone()).collect())
}

impl Value {
    /// Is it a name, which costs nothing to repeat?
    pub fn is_name(&self) -> bool {
        self.text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }
}

fn operation(op: ScalarOp, args: &[Value], dtype: DType) -> Value {
    use ScalarOp as S;
    let of = args.first().map_or(DType::F32, |a| a.dtype);
    let whole = of == DType::I32;
    let plain = |n: usize| args[n].text.clone();
    let inner = |n: usize| args[n].inner();
    let call = |name: &str| {
        let all: Vec<&str> = args.iter().map(|a| a.text.as_str()).collect();
        Value::atom(format!("{name}({})", all.join(", ")), dtype)
    };
    let infix = |sign: &str| Value::term(format!("{} {sign} {}", inner(0), inner(1)), dtype);
    match op {
        S::Add if whole => call("wrap_add"),
        S::Sub if whole => call("wrap_sub"),
        S::Mul if whole => call("wrap_mul"),
        S::Div if whole => call("floor_div"),
        S::Rem if whole => call("floor_rem"),
        S::Neg if whole => Value::atom(format!("wrap_sub(0, {})", plain(0)), dtype),
        S::Abs if whole => call("wrap_abs"),
        S::Add => infix("+"),
        S::Sub => infix("-"),
        S::Mul => infix("*"),
        S::Div => infix("/"),
        S::Rem => call("floor_rem"),
        S::Min => call("least"),
        S::Max => call("most"),
        S::Neg => Value::term(format!("-{}", inner(0)), dtype),
        S::Abs => call("fabsf"),
        S::Fma => call("fmaf"),
        S::Floor => call("floorf"),
        S::Round => call("rintf"),
        S::Sqrt => call("sqrtf"),
        S::Exp => call("exp_of"),
        S::Log => call("log_of"),
        S::Sin => call("sin_of"),
        S::Cos => call("cos_of"),
        S::Tanh => call("tanh_of"),
        S::Erf => call("erf_of"),
        S::Eq => infix("=="),
        S::Lt => infix("<"),
        S::Le => infix("<="),
        S::And => infix("&&"),
        S::Or => infix("||"),
        S::Not => Value::term(format!("!{}", inner(0)), dtype),
        S::Xor => infix("^"),
        S::Shl => call("shift_up"),
        S::Shr => call("shift_down"),
        S::Select => Value::term(format!("{} ? {} : {}", inner(0), inner(1), inner(2)), dtype),
        S::ToF32 => match of {
            DType::F32 => args[0].clone(),
            DType::I32 => Value::atom(format!("float({})", plain(0)), dtype),
            DType::Bool => Value::term(format!("{} ? 1.0f : 0.0f", inner(0)), dtype),
        },
        S::ToI32 => match of {
            DType::F32 => call("__float2int_rz"),
            DType::I32 => args[0].clone(),
            DType::Bool => Value::atom(format!("int({})", plain(0)), dtype),
        },
        S::ToBool => match of {
            DType::Bool => args[0].clone(),
            DType::I32 => Value::term(format!("{} != 0", inner(0)), dtype),
            DType::F32 => Value::term(format!("{} != 0.0f", inner(0)), dtype),
        },
    }
}
