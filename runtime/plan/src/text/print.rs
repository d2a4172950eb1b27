//! Prints plans as text.
//!
//! In: plans and entries, symbolic or bound. Out: the text that [`super::parse`] reads. Invariants: total; an id that
//! does not exist prints as `%?n`, which does not parse. Imports: [`crate::plan`].

use std::fmt::{self, Display, Formatter};

use crate::dtype::DType;
use crate::extent::{Extent, is_row_major, row_major};
use crate::hole::{Hole, Inst};
use crate::plan::*;

/// Longest hole that is printed on one line.
const LINE: usize = 96;

impl<D: Extent> Display for Plan<D> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "uadp 1\nplan {}", Quoted(&self.name))?;
        if !self.stored.is_empty() {
            writeln!(f, "stored {{")?;
            for s in &self.stored {
                let kind = match s.kind {
                    StoredKind::Weight => "weight",
                    StoredKind::State => "state",
                };
                writeln!(f, "  {kind} {} {}{}", Name(&s.path), s.dtype, List(&s.shape))?;
            }
            writeln!(f, "}}")?;
        }
        self.entries.iter().try_for_each(|e| Display::fmt(e, f))
    }
}

impl<D: Extent> Display for Entry<D> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "entry {}({}) {{", Name(&self.name), self.dims.join(", "))?;
        if let Some(dim) = &self.samples {
            writeln!(f, "  samples {dim}")?;
        }
        for r in &self.requires {
            writeln!(f, "  require {} {} {} {}", r.left, r.relation.symbol(), r.right, Quoted(&r.why))?;
        }
        for b in &self.buffers {
            let (kind, values) = match &b.kind {
                BufferKind::Input => ("input", None),
                BufferKind::Output => ("output", None),
                BufferKind::Stored => ("stored", None),
                BufferKind::Temp => ("temp", None),
                BufferKind::Const(values) => ("const", Some(values)),
            };
            write!(f, "  {kind} %{} {}{}", Name(&b.name), b.dtype, List(&b.shape))?;
            // Left out only where reading the text gives exactly these strides again.
            if !is_row_major(&b.shape, &b.strides) || row_major(&b.shape).as_ref() != Some(&b.strides) {
                write!(f, " strides {}", List(&b.strides))?;
            }
            if let Some(values) = values {
                write!(f, " =")?;
                print_values(f, b.dtype, values)?;
            }
            writeln!(f)?;
        }
        for (name, kernels) in [("setup", &self.setup), ("kernels", &self.kernels)] {
            if !kernels.is_empty() {
                writeln!(f, "  {name} {{")?;
                kernels.iter().try_for_each(|k| print_kernel(f, self, k, 4))?;
                writeln!(f, "  }}")?;
            }
        }
        writeln!(f, "}}")
    }
}

impl Relation {
    /// The symbol in text forms.
    pub fn symbol(self) -> &'static str {
        match self {
            Relation::Eq => "==",
            Relation::Ne => "!=",
            Relation::Lt => "<",
            Relation::Le => "<=",
        }
    }
}

impl<D> Body<D> {
    /// The template's name in text forms.
    pub fn name(&self) -> &'static str {
        match self {
            Body::Map(_) => "map",
            Body::Rows { .. } => "rows",
            Body::Dot { .. } => "dot",
            Body::Attention { .. } => "attention",
            Body::ScatterAdd(_) => "scatter_add",
            Body::ArgSort { .. } => "argsort",
            Body::Scan { .. } => "scan",
            Body::Loop { .. } => "loop",
            Body::Eigh => "eigh",
            Body::Cholesky => "cholesky",
        }
    }
}

impl DotRole {
    /// The name in text forms.
    pub fn name(self) -> &'static str {
        match self {
            DotRole::Batch => "batch",
            DotRole::M => "m",
            DotRole::N => "n",
            DotRole::K => "k",
        }
    }
}

impl AttentionRole {
    /// The name in text forms.
    pub fn name(self) -> &'static str {
        match self {
            AttentionRole::Batch => "batch",
            AttentionRole::T => "t",
            AttentionRole::S => "s",
            AttentionRole::D => "d",
            AttentionRole::E => "e",
        }
    }
}

/// A string in quotes.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// A name: bare if it is dotted words, else in quotes.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let starts = self.0.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if starts && self.0.chars().all(word) { f.write_str(self.0) } else { Quoted(self.0).fmt(f) }
    }
}

/// `[a, b, c]`.
struct List<'a, T>(&'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, v) in self.0.iter().enumerate() {
            write!(f, "{}{v}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

/// An f64 exactly.
fn f64_text(v: f64) -> String {
    if v.is_nan() {
        return if v.to_bits() == f64::NAN.to_bits() { "nan".into() } else { format!("bits({:#x})", v.to_bits()) };
    }
    let text = format!("{v:?}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// A constant's element: the nearest f32's shortest form where that is exact.
fn element_text(dtype: DType, v: f64) -> String {
    if dtype != DType::F32 || v.is_nan() || !v.is_finite() {
        return f64_text(v);
    }
    if f64::from(v as f32).to_bits() == v.to_bits() {
        let text = format!("{:?}", v as f32);
        return text.strip_suffix(".0").map(str::to_owned).unwrap_or(text);
    }
    format!("{}d", f64_text(v))
}

/// An f32 literal of a hole: always with a point, an exponent or a name, so that it is not taken for an integer.
fn f32_text(v: f32) -> String {
    if v.is_nan() {
        return if v.to_bits() == f32::NAN.to_bits() { "nan".into() } else { format!("bits({:#x})", v.to_bits()) };
    }
    format!("{v:?}")
}

fn print_values(f: &mut Formatter<'_>, dtype: DType, values: &[f64]) -> fmt::Result {
    let (mut i, mut column) = (0, 0);
    while i < values.len() {
        let run = values[i..].iter().take_while(|v| v.to_bits() == values[i].to_bits()).count();
        let text = element_text(dtype, values[i]);
        // A run is shorter than its elements written one by one.
        let (text, used) = if run > 2 { (format!("{text}*{run}"), run) } else { (text, 1) };
        let comma = if i == 0 { "" } else { "," };
        if column + text.len() > LINE {
            write!(f, "{comma}\n      {text}")?;
            column = 0;
        } else {
            write!(f, "{comma} {text}")?;
        }
        column += text.len() + 2;
        i += used;
    }
    Ok(())
}

/// Prints a sum one term at a time: `3*i0 - i1 + b - 1`.
struct Sum<'a, 'f> {
    f: &'a mut Formatter<'f>,
    first: bool,
}

impl Sum<'_, '_> {
    fn term(&mut self, text: &str) -> fmt::Result {
        let first = std::mem::replace(&mut self.first, false);
        match (first, text.strip_prefix('-')) {
            (true, _) => self.f.write_str(text),
            (false, Some(rest)) => write!(self.f, " - {rest}"),
            (false, None) => write!(self.f, " + {text}"),
        }
    }

    fn scaled<D: Extent>(&mut self, by: &D, what: &str) -> fmt::Result {
        let text = by.to_string();
        if by.is(0) {
            Ok(())
        } else if by.is(1) {
            self.term(what)
        } else if by.is(-1) {
            self.term(&format!("-{what}"))
        } else if text.contains(" + ") || text.contains(" - ") {
            self.term(&format!("({text})*{what}"))
        } else {
            self.term(&format!("{text}*{what}"))
        }
    }

    fn affine<D: Extent>(&mut self, offset: &D, strides: &[D]) -> fmt::Result {
        for (n, s) in strides.iter().enumerate() {
            self.scaled(s, &format!("i{n}"))?;
        }
        if !offset.is(0) { self.term(&offset.to_string()) } else { Ok(()) }
    }
}

fn print_access<D: Extent>(f: &mut Formatter<'_>, entry: &Entry<D>, a: &Access<D>) -> fmt::Result {
    match entry.buffers.get(a.buffer.0 as usize) {
        Some(b) => write!(f, "%{}[", Name(&b.name))?,
        None => write!(f, "%?{}[", a.buffer.0)?,
    }
    let mut sum = Sum { f, first: true };
    for v in &a.via {
        let what = format!("clamp(${}, {})", v.read, v.extent);
        // A factor of 0 is written, so that it is read back.
        if v.stride.is(0) { sum.term(&format!("0*{what}"))? } else { sum.scaled(&v.stride, &what)? }
    }
    sum.affine(&a.offset, &a.strides)?;
    if sum.first {
        f.write_str("0")?;
    }
    f.write_str("]")?;
    for (n, g) in a.guards.iter().enumerate() {
        f.write_str(if n == 0 { " if 0 <= " } else { ", 0 <= " })?;
        let mut sum = Sum { f, first: true };
        sum.affine(&g.offset, &g.strides)?;
        if sum.first {
            f.write_str("0")?;
        }
        write!(f, " < {}", g.extent)?;
    }
    if !a.guards.is_empty() || a.fill.to_bits() != 0 {
        write!(f, " else {}", f64_text(a.fill))?;
    }
    Ok(())
}

fn inst_text<D: Extent>(inst: &Inst<D>) -> String {
    match inst {
        Inst::Load(n) => format!("${n}"),
        Inst::Index(n) => format!("index {n}"),
        Inst::Slot(n) => format!("slot {n}"),
        Inst::F32(v) => f32_text(*v),
        Inst::I32(v) => v.to_string(),
        Inst::Bool(v) => v.to_string(),
        Inst::Size(d) => format!("size {d}"),
        Inst::Op(op, args) => args.iter().fold(op.name().to_string(), |t, a| format!("{t} r{}", a.0)),
        Inst::Draw { site, lane, element, sample } => {
            format!("draw {site:#x} lane {lane} element r{} sample r{}", element.0, sample.0)
        }
    }
}

fn print_hole<D: Extent>(f: &mut Formatter<'_>, label: &str, hole: &Hole<D>, indent: usize) -> fmt::Result {
    let mut lines: Vec<String> =
        hole.code.iter().enumerate().map(|(i, inst)| format!("r{i} = {}", inst_text(inst))).collect();
    lines.push(hole.results.iter().fold("yield".to_string(), |t, r| format!("{t} r{}", r.0)));
    if lines.iter().map(|l| l.len() + 2).sum::<usize>() <= LINE {
        return writeln!(f, "{:indent$}{label} {{ {} }}", "", lines.join("; "));
    }
    writeln!(f, "{:indent$}{label} {{", "")?;
    for line in lines {
        writeln!(f, "{:indent$}  {line}", "")?;
    }
    writeln!(f, "{:indent$}}}", "")
}

fn print_kernel<D: Extent>(f: &mut Formatter<'_>, entry: &Entry<D>, k: &Kernel<D>, indent: usize) -> fmt::Result {
    write!(f, "{:indent$}{} {}", "", k.body.name(), List(&k.axes))?;
    match &k.body {
        Body::Rows { inner, .. } => write!(f, " inner {inner}")?,
        Body::Dot { roles, .. } => write!(f, " as {}", List(&roles.iter().map(|r| r.name()).collect::<Vec<_>>()))?,
        Body::Attention { roles, .. } => {
            write!(f, " as {}", List(&roles.iter().map(|r| r.name()).collect::<Vec<_>>()))?;
        }
        Body::ArgSort { falling, .. } => write!(f, "{}", if *falling { " falling" } else { " rising" })?,
        Body::Scan { op, .. } => write!(f, " {}", op.name())?,
        Body::Loop { count, .. } => write!(f, " count {count}")?,
        Body::Map(_) | Body::ScatterAdd(_) | Body::Eigh | Body::Cholesky => {}
    }
    writeln!(f, " {} {{", Quoted(&k.scope))?;
    let inside = indent + 2;
    for (n, a) in k.reads.iter().enumerate() {
        write!(f, "{:inside$}${n} = ", "")?;
        print_access(f, entry, a)?;
        writeln!(f)?;
    }
    print_body(f, entry, &k.body, inside)?;
    for a in &k.writes {
        write!(f, "{:inside$}write ", "")?;
        print_access(f, entry, a)?;
        writeln!(f)?;
    }
    writeln!(f, "{:indent$}}}", "")
}

fn print_body<D: Extent>(f: &mut Formatter<'_>, entry: &Entry<D>, body: &Body<D>, indent: usize) -> fmt::Result {
    let name = |id: &BufferId| match entry.buffers.get(id.0 as usize) {
        Some(b) => format!("%{}", Name(&b.name)),
        None => format!("%?{}", id.0),
    };
    match body {
        Body::Map(hole) => print_hole(f, "at", hole, indent),
        Body::Rows { stages, .. } => stages.iter().try_for_each(|s| match s {
            RowStage::Reduce(op, hole) => print_hole(f, &format!("reduce {}", op.name()), hole, indent),
            RowStage::Map(n, hole) => print_hole(f, &format!("at {n}"), hole, indent),
            RowStage::Emit(n, hole) => print_hole(f, &format!("emit {n}"), hole, indent),
        }),
        Body::Dot { a, b, out, .. } => {
            print_hole(f, "a", a, indent)?;
            print_hole(f, "b", b, indent)?;
            print_hole(f, "out", out, indent)
        }
        Body::Attention { q, k, score, v, out, .. } => {
            print_hole(f, "q", q, indent)?;
            print_hole(f, "k", k, indent)?;
            print_hole(f, "score", score, indent)?;
            print_hole(f, "v", v, indent)?;
            print_hole(f, "out", out, indent)
        }
        Body::ScatterAdd(hole) => print_hole(f, "add", hole, indent),
        Body::ArgSort { key, .. } => print_hole(f, "key", key, indent),
        Body::Scan { value, .. } => print_hole(f, "value", value, indent),
        Body::Loop { index, carried, until, body, .. } => {
            if let Some(id) = index {
                writeln!(f, "{:indent$}index {}", "", name(id))?;
            }
            for (first, carried, next) in carried {
                writeln!(f, "{:indent$}carry {} from {} then {}", "", name(carried), name(first), name(next))?;
            }
            if let Some((id, every)) = until {
                writeln!(f, "{:indent$}until {} every {every}", "", name(id))?;
            }
            body.iter().try_for_each(|k| print_kernel(f, entry, k, indent))
        }
        Body::Eigh | Body::Cholesky => Ok(()),
    }
}
