//! One CUDA function under construction.
//!
//! In: a bound kernel, coordinates, holes. Out: [`Function`] and what to call it with. Invariants: a buffer is one
//! parameter, `x` and the number of the first operand that reads it, or `y` and the number of the first write; what is
//! only read says so; indices are `int` where 31 bits hold them, else `long long`. Imports: code, index, hole.

use std::collections::BTreeSet;

use uad_plan::{Access, BufferId, DType, Entry, Kernel};

use super::code::Code;
use super::hole::{Value, fill, int, register};
use super::index;

/// What a launch gives to a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// The address of a buffer.
    Buffer(BufferId),
    /// The address of this byte of the workspace.
    Work(usize),
    /// The address of what draws depend on: three words, the folded seed, the step, the first sample.
    Draw,
    /// The number of the current round of the innermost loop, by value.
    Round,
    /// An i32 by value.
    Int(i32),
    /// The address of this word of the program's tables.
    Table(usize),
}

/// A function's text, complete but for its name, which stands as [`Function::NAME`].
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// From the comment to the closing brace.
    pub text: String,
    /// Threads of a block.
    pub block: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
}

impl Function {
    /// Stands for the name.
    pub const NAME: &'static str = "@@";
}

/// The function under construction.
pub struct Func<'a> {
    /// The entry of the kernel.
    pub entry: &'a Entry<i64>,
    /// The kernel.
    pub kernel: &'a Kernel<i64>,
    /// The body.
    pub code: Code,
    /// The expression of the coordinate on each axis.
    pub at: Vec<String>,
    /// Are indices `long long`?
    pub wide: bool,
    notes: Vec<String>,
    params: Vec<(Arg, String)>,
    written: BTreeSet<u32>,
    names: usize,
    shared: u32,
    resident: u32,
}

impl<'a> Func<'a> {
    /// A function over points of which at most `linear` are numbered.
    pub fn new(entry: &'a Entry<i64>, kernel: &'a Kernel<i64>, linear: i64) -> Func<'a> {
        let wide =
            linear >= 1 << 30 || kernel.reads.iter().chain(&kernel.writes).any(|a| index::is_wide(a, &kernel.axes));
        let written = kernel.writes.iter().map(|w| w.buffer.0).collect();
        let at = vec!["0".to_owned(); kernel.axes.len()];
        let (code, notes, params) = (Code::default(), Vec::new(), Vec::new());
        let mut f = Func { entry, kernel, code, at, wide, notes, params, written, names: 0, shared: 0, resident: 0 };
        f.code.open("");
        f
    }

    /// So many blocks are to run on a multiprocessor at once. The compiler aims at more of its own accord, and spills.
    pub fn resident(&mut self, blocks: u32) {
        self.resident = blocks;
    }

    /// A line of the comment above the function.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The type of indices.
    pub fn index_type(&self) -> &'static str {
        if self.wide { "long long" } else { "int" }
    }

    /// Types of the operands.
    pub fn load_types(&self) -> Vec<DType> {
        self.kernel.reads.iter().map(|a| self.dtype(a)).collect()
    }

    /// Type of what an access reaches.
    pub fn dtype(&self, a: &Access<i64>) -> DType {
        self.entry.buffers.get(a.buffer.0 as usize).map_or(DType::F32, |b| b.dtype)
    }

    /// The parameter that an argument fills.
    pub fn param(&mut self, arg: Arg, declared: impl FnOnce() -> String) {
        if !self.params.iter().any(|(a, _)| *a == arg) {
            let text = declared();
            self.params.push((arg, text));
        }
    }

    /// Draws need their parameter.
    pub fn needs_draw(&mut self) {
        self.param(Arg::Draw, || "const Draw* __restrict__ draw".to_owned());
    }

    /// The workspace from a byte on, as an array of `of`.
    pub fn work(&mut self, from: usize, of: &str, name: &str) {
        self.param(Arg::Work(from), || format!("{of}* __restrict__ {name}"));
    }

    /// Shared memory: `float rows[16][68]`.
    pub fn share(&mut self, of: &str, bytes: usize, name: &str, extents: &[usize]) {
        let dims: String = extents.iter().map(|e| format!("[{e}]")).collect();
        let count: usize = extents.iter().product();
        self.shared += ((count * bytes) as u32).next_multiple_of(16);
        self.code.line(format!("__shared__ __align__(16) {of} {name}{dims};"));
    }

    /// The parameter of a buffer.
    pub fn buffer(&mut self, id: BufferId) -> String {
        let stored = match self.entry.buffers.get(id.0 as usize).map_or(DType::F32, |b| b.dtype) {
            DType::F32 => "float",
            DType::I32 => "int",
            DType::Bool => "unsigned char",
        };
        let read = self.kernel.reads.iter().position(|a| a.buffer == id);
        let write = self.kernel.writes.iter().position(|a| a.buffer == id);
        let (name, text) = match (write, read) {
            (Some(w), None) => (format!("y{w}"), format!("{stored}* __restrict__ y{w}")),
            // Read and written at the same point.
            (Some(w), Some(_)) => (format!("y{w}"), format!("{stored}* y{w}")),
            (None, r) => {
                let r = r.unwrap_or(0);
                (format!("x{r}"), format!("const {stored}* __restrict__ x{r}"))
            }
        };
        self.param(Arg::Buffer(id), || text);
        name
    }

    /// The coordinate on an axis, as a hole sees it.
    pub fn coordinate(&self, axis: usize) -> Value {
        let text = &self.at[axis];
        if self.wide && text != "0" {
            Value::atom(format!("int({text})"), DType::I32)
        } else {
            Value::atom(text, DType::I32)
        }
    }

    /// A new name for a value.
    pub fn name(&mut self, stem: &str, value: &Value) -> Value {
        let name = if stem.is_empty() { self.fresh("v") } else { stem.to_owned() };
        self.code.line(format!("const {} {name} = {};", register(value.dtype), value.text));
        Value::atom(name, value.dtype)
    }

    /// A name that no other has.
    pub fn fresh(&mut self, stem: &str) -> String {
        self.names += 1;
        format!("{stem}{}", self.names)
    }

    /// Declares coordinates of the axes from the number of a point, row-major. The number is that of the only axis, if it is
    /// one; it keeps its value as long as the coordinates are used.
    pub fn spread(&mut self, linear: &str, axes: &[usize]) {
        let moving: Vec<usize> = axes.iter().copied().filter(|a| self.kernel.axes[*a] != 1).collect();
        axes.iter().for_each(|a| self.at[*a] = "0".to_owned());
        if let [only] = moving[..] {
            linear.clone_into(&mut self.at[only]);
            return;
        }
        let of = self.index_type();
        let mut below: i64 = 1;
        let mut lines = Vec::new();
        for (n, axis) in moving.iter().enumerate().rev() {
            let extent = self.kernel.axes[*axis].max(1);
            let part = if below == 1 { linear.to_owned() } else { format!("{linear} / {below}") };
            let text = if n == 0 { part } else { format!("{part} % {extent}") };
            lines.push(format!("i{axis} = {text}"));
            self.at[*axis] = format!("i{axis}");
            below = below.saturating_mul(extent);
        }
        lines.reverse();
        if !lines.is_empty() {
            self.code.line(format!("const {of} {};", lines.join(", ")));
        }
    }

    /// Takes one of `count` tiles of `size` points off the number in `block`.
    pub fn peel(&mut self, first: &str, count: i64, size: i64) {
        let of = self.index_type();
        if count == 1 {
            self.code.line(format!("const {of} {first} = 0;"));
            return;
        }
        self.code.line(format!("const {of} {first} = block % {count} * {size};"));
        self.code.line(format!("block /= {count};"));
    }

    /// The index of an access at the current point, its indices by data included.
    pub fn place(&mut self, a: &Access<i64>) -> Result<String, String> {
        let (mut text, _) = index::sum(a.offset, &a.strides, &self.at);
        for v in &a.via {
            let read = self.load(v.read as usize)?;
            let top = (v.extent - 1).clamp(0, i64::from(i32::MAX));
            let mut step = format!("clamp_index({}, {top})", read.text);
            if v.stride != 1 {
                step = format!("{}*{step}", v.stride);
                if self.wide {
                    step = format!("(long long){step}");
                }
            }
            text = if text == "0" { step } else { format!("{text} + {step}") };
        }
        Ok(text)
    }

    /// The element of operand `n` at the current point.
    pub fn load(&mut self, n: usize) -> Result<Value, String> {
        let a = self.kernel.reads.get(n).ok_or("no such operand")?;
        let dtype = self.dtype(a);
        let array = self.buffer(a.buffer);
        let place = self.place(a)?;
        let element = match dtype {
            DType::Bool => format!("{array}[{place}] != 0"),
            _ => format!("{array}[{place}]"),
        };
        let guards: Vec<String> =
            a.guards.iter().filter_map(|g| index::guard(g, &self.kernel.axes, &self.at)).collect();
        if guards.is_empty() {
            let value = Value { text: element, dtype, atom: dtype != DType::Bool };
            // What the kernel also writes is read before anything is stored.
            return Ok(if self.writes(a.buffer) { self.name("", &value) } else { value });
        }
        let text = format!("{} ? {element} : {}", guards.join(" && "), fill(a.fill, dtype).text);
        Ok(self.name("", &Value { text, dtype, atom: false }))
    }

    /// Stores a value at the current point of write `n`.
    pub fn store(&mut self, n: usize, value: &Value) -> Result<(), String> {
        let a = self.kernel.writes.get(n).ok_or("no such write")?;
        let array = self.buffer(a.buffer);
        let place = self.place(a)?;
        self.code.line(format!("{array}[{place}] = {};", value.text));
        Ok(())
    }

    /// Is this buffer written?
    pub fn writes(&self, id: BufferId) -> bool {
        self.written.contains(&id.0)
    }

    /// An index literal.
    pub fn number(&self, v: i64) -> String {
        if v > i64::from(i32::MAX) { format!("{v}LL") } else { int(v).text }
    }

    /// Parameters of the function, and their names.
    pub fn names(&self) -> Vec<(Arg, String)> {
        let name = |declared: &str| declared.rsplit([' ', '*']).next().unwrap_or_default().to_owned();
        self.params.iter().map(|(arg, declared)| (*arg, name(declared))).collect()
    }

    /// The function, and what it is called with. A loop that stops early sets `stop`, which is looked at first.
    pub fn finish(mut self, block: u32, stop: Option<usize>) -> (Function, Vec<Arg>) {
        self.code.close();
        if let Some(from) = stop {
            self.param(Arg::Work(from), || "const int* __restrict__ stop".to_owned());
        }
        let mut text = String::new();
        for note in &self.notes {
            text.push_str(&format!("// {note}\n"));
        }
        let params: Vec<&str> = self.params.iter().map(|p| p.1.as_str()).collect();
        let bounds = if self.resident > 0 { format!("{block}, {}", self.resident) } else { block.to_string() };
        let head = format!("extern \"C\" __global__ void __launch_bounds__({bounds})\n{}(", Function::NAME);
        text.push_str(&head);
        text.push_str(&params.join(", "));
        text.push_str(") ");
        let body = self.code.text();
        match stop {
            Some(_) => {
                let body = body.strip_prefix("{\n").unwrap_or(body);
                text.push_str("{\n  if (*stop != 0) return;\n");
                text.push_str(body);
            }
            None => text.push_str(body),
        }
        (Function { text, block, shared: self.shared }, self.params.into_iter().map(|p| p.0).collect())
    }
}
