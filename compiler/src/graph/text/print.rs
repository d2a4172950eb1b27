//! Graph to text.
//!
//! In: a graph. Out: its `.uadg` text. Invariants: see [`super`]; prints anything, right or wrong.
//! Imports: the graph, `uad-plan`.

use std::fmt::{self, Display, Formatter};

use uad_plan::{Dim, Relation};

use crate::graph::{Graph, Node, Op, Scope, ScopeId};

impl Display for Graph {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let plain = !self.name.is_empty()
            && self.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !self.name.starts_with(|c: char| c.is_ascii_digit());
        if plain {
            write!(f, "graph {}", self.name)?
        } else {
            write!(f, "graph {:?}", self.name)?
        }
        if !self.dims.is_empty() {
            write!(f, "({})", self.dims.join(", "))?;
        }
        f.write_str(" {\n")?;
        body(f, self, 1)?;
        f.write_str("}\n")
    }
}

fn indent(f: &mut Formatter<'_>, depth: usize) -> fmt::Result {
    (0..depth).try_for_each(|_| f.write_str("  "))
}

fn body(f: &mut Formatter<'_>, graph: &Graph, depth: usize) -> fmt::Result {
    for r in &graph.requires {
        indent(f, depth)?;
        writeln!(f, "require {} {} {} : {:?}", r.left, relation(r.relation), r.right, r.why)?;
    }
    for (n, s) in graph.scopes.iter().enumerate() {
        indent(f, depth)?;
        scope(f, n, s)?;
    }
    let texts: Vec<String> = graph.nodes.iter().enumerate().map(|(n, node)| line(n, node)).collect();
    let mut before = None;
    for (node, text) in graph.nodes.iter().zip(&texts) {
        indent(f, depth)?;
        write!(f, "{text:<72} @{}", node.scope.0)?;
        if let Op::Loop { body: inner, .. } = &node.op {
            f.write_str(" {")?;
            told(f, graph, node.scope, &mut before)?;
            if !inner.name.is_empty() || !inner.dims.is_empty() {
                indent(f, depth + 1)?;
                write!(f, "body {:?}", inner.name)?;
                writeln!(f, "({})", inner.dims.join(", "))?;
            }
            body(f, inner, depth + 1)?;
            indent(f, depth)?;
            f.write_str("}\n")?;
        } else {
            told(f, graph, node.scope, &mut before)?;
        }
    }
    for (word, list) in [("output", &graph.outputs), ("write", &graph.writes), ("named", &graph.named)] {
        for (name, id) in list {
            indent(f, depth)?;
            writeln!(f, "{word} {name:?} = {id}")?;
        }
    }
    Ok(())
}

/// Names the scope in a comment where it differs from the line before.
fn told(f: &mut Formatter<'_>, graph: &Graph, at: ScopeId, before: &mut Option<ScopeId>) -> fmt::Result {
    if graph.scopes.len() > 1 && *before != Some(at) {
        let labels = graph.chain(at);
        if !labels.is_empty() {
            write!(f, " // {}", labels.join(" / "))?;
        }
    }
    *before = Some(at);
    f.write_str("\n")
}

fn relation(r: Relation) -> &'static str {
    match r {
        Relation::Eq => "==",
        Relation::Ne => "!=",
        Relation::Lt => "<",
        Relation::Le => "<=",
    }
}

fn scope(f: &mut Formatter<'_>, n: usize, s: &Scope) -> fmt::Result {
    write!(f, "scope @{n} {:?}", s.label)?;
    if let Some(p) = s.parent {
        write!(f, " in @{}", p.0)?;
    }
    if !s.place.is_empty() {
        write!(f, " at {:?}", s.place)?;
    }
    if s.instance {
        f.write_str(" instance")?;
    }
    if let Some(k) = &s.kernel {
        write!(f, " kernel {k:?}")?;
    }
    f.write_str("\n")
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    format!("[{}]", items.join(", "))
}

fn pairs(items: &[(usize, usize)]) -> String {
    list(items.iter().map(|(a, b)| format!("({a}, {b})")))
}

/// A number as it parses back: integers without a point, everything else in its shortest form.
pub(super) fn number(v: f64) -> String {
    let whole = v == v.trunc() && v.abs() < 1e15 && !(v == 0.0 && v.is_sign_negative());
    if whole {
        format!("{}", v as i64)
    } else if v.is_nan() {
        "nan".into()
    } else {
        format!("{v:?}")
    }
}

fn line(n: usize, node: &Node) -> String {
    use std::fmt::Write;
    let mut s = format!("%{n} = ");
    let mut put = |text: String| {
        // Writing to a string does not fail.
        let _ = s.write_str(&text);
    };
    match &node.op {
        Op::Map(op) => put(op.name().into()),
        Op::Reduce { op, .. } => put(format!("reduce.{}", op.name())),
        Op::Scan(op) => put(format!("scan.{}", op.name())),
        other => put(other.name().into()),
    }
    for (i, a) in node.args.iter().enumerate() {
        put(if i == 0 { format!(" {a}") } else { format!(", {a}") });
    }
    match &node.op {
        Op::Input(name) | Op::Weight(name) | Op::State(name) => put(format!(" {name:?}")),
        Op::Const(v) => put(format!(" {}", number(*v))),
        Op::Literal(v) => put(format!(" {}", list(v.iter().map(|v| number(*v))))),
        Op::Size(d) => put(format!(" [{d}]")),
        Op::Iota { axis } | Op::Concat { axis } => put(format!(" axis={axis}")),
        Op::Draw { site, lane, sample } => {
            put(format!(" {site:?} lane={lane}"));
            if let Some(s) = sample {
                put(format!(" sample={s}"));
            }
        }
        Op::Reduce { axes, .. } | Op::Expand { axes } => put(format!(" axes={}", list(axes))),
        Op::Permute(perm) => put(format!(" {}", list(perm))),
        Op::Slice { start, step } => put(format!(" start={} step={}", list(start), list(step))),
        Op::Pad { lo, hi, interior, value } => {
            put(format!(" lo={} hi={}", list(lo), list(hi)));
            if interior.iter().any(|i| *i != 0) || interior.len() != lo.len() {
                put(format!(" interior={}", list(interior)));
            }
            put(format!(" value={}", number(*value)));
        }
        Op::Window { axis, size, stride, dilation, lo, hi, value } => {
            put(format!(" axis={axis} size={size}"));
            for (name, v, usual) in [("stride", stride, 1), ("dilation", dilation, 1), ("lo", lo, 0), ("hi", hi, 0)] {
                if *v != usual {
                    put(format!(" {name}={v}"));
                }
            }
            if number(*value) != "0" {
                put(format!(" value={}", number(*value)));
            }
        }
        Op::Dot { batch, contract } => {
            if !batch.is_empty() {
                put(format!(" batch={}", pairs(batch)));
            }
            put(format!(" contract={}", pairs(contract)));
        }
        Op::Gather { axis, batch } | Op::ScatterAdd { axis, batch } => {
            put(format!(" axis={axis}"));
            if *batch != 0 {
                put(format!(" batch={batch}"));
            }
        }
        Op::ArgSort { falling } => {
            if *falling {
                put(" falling=true".into());
            }
        }
        Op::Loop { count, carried, every, .. } => {
            put(format!(" count={} carried={carried}", list([count])));
            if let Some(e) = every {
                put(format!(" every={}", list::<&Dim>([e])));
            }
        }
        Op::Part(n) => put(format!(" index={n}")),
        Op::Map(_) | Op::Reshape | Op::Scan(_) | Op::Eigh | Op::Cholesky | Op::Stop => {}
    }
    put(format!(" : {}", node.ty));
    s
}
