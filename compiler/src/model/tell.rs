//! Telling what is wrong: once, at the place where the user can act.
//!
//! In: diagnostics of the evaluator. Out: the same, with the call that leads into the library in front, and without those
//! that only follow from another. Invariants: one message per code and place. Imports: diagnostics, modules, sources.

use std::sync::Arc;

use uad_grammar::ast::{Expr, ExprKind, Function, Param, Span, TypeKind};

use crate::diag::nearest::{did_you_mean, nearest};
use crate::diag::{Diagnostic, Label, Place};

use super::Ev;
use super::program::Program;
use super::value::{Arg, Bad, Env, R, Value};

/// Names of Python and its libraries, and what they are here.
const FOREIGN: &[(&[&str], &str)] = &[
    (&["True"], "write `true`"),
    (&["False"], "write `false`"),
    (&["None"], "there is no `None`: give the parameter a value of its type, and test that"),
    (&["range"], "write `0..n`"),
    (
        &["rearrange", "reshape", "view", "permute", "transpose", "flatten", "squeeze", "unsqueeze", "expand"],
        "shapes are changed by views: `x[b c h w -> b (h w) c]`",
    ),
    (&["einsum"], "write `dot(a, b, [b i k, b k j -> b i j])`"),
    (&["matmul", "mm", "bmm"], "write `a @ b`, or `dot(a, b, [b i k, b k j -> b i j])`"),
    (&["cat", "stack", "hstack", "vstack"], "write `concat([a, b], axis: 1)`"),
    (&["where"], "write `select(cond, a, b)`"),
    (&["pow", "power"], "write `x * x`, or `exp(p * log(x))`"),
    (&["clip"], "`use norms.clamp` brings `clamp(x, lo, hi)`"),
    (&["interpolate"], "`use maps.upsample` brings `upsample(x, h, w)`, for features `resample`"),
    (&["detach", "no_grad", "stop_gradient"], "write `stop(x)`, or `frozen` before an instance"),
    (&["backward", "autograd", "gradient"], "write `grad(loss, wrt: x)`"),
    (&["float", "double"], "write `cast(x, f32)`"),
    (&["torch", "np", "numpy", "F", "tf", "jax"], "functions are called by name alone, as `mean(x, axis: 1)`"),
    (&["self"], "weights and instances are named directly"),
    (&["Linear"], "`use nn.linear` brings `linear(out)`; the input's width is known"),
    (&["Conv2d", "conv2d"], "`use nn.conv` brings `conv(out, k: 3)`; the input's channels are known"),
    (&["LayerNorm", "layernorm"], "`use nn.layer_norm` brings it"),
    (&["BatchNorm2d", "batchnorm"], "`use nn.batch_norm` brings it"),
    (&["ReLU"], "`use nn.relu` brings it"),
    (&["MultiheadAttention"], "`use attention.attend` brings `attend(heads)(q, k, v)`"),
    (&["Adam", "AdamW", "SGD"], "optimisers are `adam`, `adamw`, `sgd` of module `optim`"),
    (&["print"], "values are shown by `uadc run … --trace NAME`"),
];

impl<'a> Ev<'a> {
    /// Reports an error, once per code and place.
    pub(crate) fn err(&mut self, mut d: Diagnostic) {
        self.errors += 1;
        let first = d.labels.first().map(|l| l.place);
        let key = (d.code, first.unwrap_or(Place { file: 0, span: Span::default() }));
        if self.scratch && d.code == "E0410" || self.only.is_some_and(|guessed| !telling(&d, guessed)) {
            return;
        }
        if self.seen.insert(key) {
            // A mistake inside a library function is the caller's more often than not.
            if first.is_some_and(|p| self.of_library(p.file))
                && let Some((call, made)) = self.caller()
            {
                d.labels.insert(0, Label { place: call, text: "in this call".into() });
                if let Some(made) = made.filter(|m| *m != call) {
                    d.labels.insert(1, Label { place: made, text: "of what is made here".into() });
                }
            }
            // In a variant of the library's detectors it is what the variant chose.
            if d.labels.iter().all(|l| self.of_library(l.place.file)) {
                for (n, place) in self.chosen.iter().take(3).enumerate() {
                    d.labels.insert(n, Label { place: *place, text: "chosen here".into() });
                }
            }
            self.out.push(d);
        }
    }

    pub(crate) fn warn(&mut self, d: Diagnostic) {
        let key = (d.code, d.labels.first().map_or(Place { file: 0, span: Span::default() }, |l| l.place));
        if self.seen.insert(key) {
            self.out.push(d);
        }
    }

    /// Gives up on the whole elaboration, with one message.
    pub(crate) fn stop<T>(&mut self, place: Place, why: &str) -> R<T> {
        if !self.stopped {
            self.stopped = true;
            self.err(Diagnostic::new("E0215", why, place, "given up here"));
        }
        Err(Bad)
    }

    /// A new list or record, unless it is too large.
    pub(crate) fn bounded(&mut self, v: Value<'a>, place: Place) -> R<Value<'a>> {
        if v.is_bounded() {
            return Ok(v);
        }
        let what = format!("{} of more than a million values, or nested more than 64 deep", v.kind());
        self.err(Diagnostic::new("E0215", what, place, "made here"));
        Err(Bad)
    }

    /// What is in the language and not in the compiler yet.
    pub(crate) fn not_yet<T>(&mut self, what: &str, place: Place) -> R<T> {
        self.err(Diagnostic::new("E0701", format!("{what} is not executable yet"), place, "reached here"));
        Err(Bad)
    }

    /// `uniad.uad:21`.
    pub(crate) fn where_is(&mut self, place: Place) -> Arc<str> {
        // Blocks are inlined: the same places again and again.
        let lines = self.lines;
        let text = || match lines.get(place.file) {
            Some(l) => {
                let line = l.starts.partition_point(|s| *s <= place.span.start);
                [l.name, ":", &line.max(1).to_string()].concat().into()
            }
            None => "".into(),
        };
        self.told.entry(place).or_insert_with(text).clone()
    }

    /// The text at a place.
    pub(crate) fn text(&self, place: Place) -> &'a str {
        let Some(l) = self.lines.get(place.file) else { return "" };
        l.text.get(place.span.start as usize..place.span.end as usize).unwrap_or("")
    }

    /// Is a file the library's?
    pub(crate) fn of_library(&self, file: usize) -> bool {
        self.lines.get(file).is_some_and(|l| l.name.starts_with("stdlib/"))
    }

    /// Remembers a call, to lead from a scope of the graph back to the text.
    pub(crate) fn remember(&mut self, label: &Arc<str>, at: &Arc<str>, place: Place, made: Option<Place>) {
        if !self.of_library(place.file) && place.span.end > place.span.start {
            let made = made.filter(|m| !self.of_library(m.file));
            self.facts.calls.entry((label.clone(), at.clone())).or_insert((place, made));
        }
    }

    /// The innermost call from a file of the user on the way to what is being evaluated.
    fn caller(&self) -> Option<(Place, Option<Place>)> {
        let l = self.levels.get(self.cur)?;
        let mut at = Some(l.scope);
        while let Some(s) = at {
            let scope = &l.graph.scopes[s.0 as usize];
            if let Some(c) = self.facts.calls.get(&(scope.label.clone(), scope.place.clone())) {
                return Some(*c);
            }
            at = scope.parent;
        }
        None
    }

    /// `linear(hidden, x)`: inputs come in parentheses of their own.
    pub(crate) fn inputs_among_parameters(
        &mut self,
        decl: &'a Function,
        module: usize,
        params: &[Param],
        args: &[Arg<'a>],
    ) -> R<()> {
        let takes = |p: &Param| matches!(p.ty.as_ref().map(|t| &t.kind), Some(TypeKind::Tensor(..)));
        let input = args.iter().find(|a| matches!(&a.value, Value::Tensor(t) if !self.type_of(t).shape.is_empty()));
        let Some(a) = input.filter(|_| !params.iter().any(takes)) else { return Ok(()) };
        let (name, given) = (&decl.name.text, self.text(a.place));
        let given = if given.is_empty() || given.len() > 40 { "x" } else { given };
        let inner: Vec<&str> =
            args.iter().filter(|a| !matches!(a.value, Value::Tensor(_))).map(|a| self.text(a.place)).collect();
        let inner = inner.join(", ");
        let d = Diagnostic::new(
            "E0206",
            format!("`{name}` takes its parameters first, then its inputs"),
            a.place,
            "an input among the parameters",
        )
        .help(format!("write `{given} |> {name}({inner})`, or `{name}({inner})({given})`"));
        self.err(d.label(self.at(module, decl.name.span), "declared here"));
        Err(Bad)
    }

    /// `d is 32` for every name within an expression that has more to it.
    pub(crate) fn parts_of(&mut self, e: &'a Expr, env: &Env<'a>, out: &mut Vec<String>) {
        match &e.kind {
            ExprKind::Binary(_, a, b) => {
                for e in [a, b] {
                    let place = self.at(env.module, e.span);
                    if let ExprKind::Name(n) = &e.kind
                        && let Ok(Value::Int(d)) = self.name(n, env, place)
                    {
                        let text = format!("`{n}` is {d}");
                        if !out.contains(&text) {
                            out.push(text);
                        }
                    } else {
                        self.parts_of(e, env, out);
                    }
                }
            }
            ExprKind::Call(_, args) => args.iter().for_each(|a| self.parts_of(&a.value, env, out)),
            _ => {}
        }
    }

    /// Help for a name that is not known: an import, a word of another language, or a name near it.
    pub(crate) fn name_help(&self, n: &str, known: Vec<&str>) -> Option<String> {
        if let Some((module, _)) = exports().find(|e| e.1 == n) {
            return Some(format!("`use {module}.{n}` brings it"));
        }
        if let Some((_, help)) = FOREIGN.iter().find(|f| f.0.contains(&n)) {
            return Some((*help).to_string());
        }
        if let Some(help) = did_you_mean(n, known) {
            return Some(help);
        }
        let near = nearest(n, exports().map(|e| e.1)).or_else(|| {
            let begins = |e: &str| n.len() > 3 && e.len() > n.len() && e.starts_with(n);
            exports().map(|e| e.1).find(|e| begins(e))
        })?;
        let (module, _) = exports().find(|e| e.1 == near)?;
        Some(format!("did you mean `{near}`? `use {module}.{near}` brings it"))
    }
}

/// Names that modules of the library declare: module and name.
pub(crate) fn exports() -> impl Iterator<Item = (&'static str, &'static str)> {
    crate::source::LIBRARY.iter().flat_map(|(module, text)| {
        text.lines().filter_map(move |l| {
            let rest = ["fn ", "block ", "unit ", "type ", "source "].iter().find_map(|h| l.strip_prefix(h))?;
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            Some((*module, &rest[..end]))
        })
    })
}

/// Where the library has a name.
pub(crate) fn elsewhere(n: &str) -> Option<String> {
    exports().find(|e| e.1 == n).map(|(module, _)| format!("it is in `{module}`: `use {module}.{n}`"))
}

/// Is a finding in a body that nobody calls sure, its arguments being made up (`guessed`: even its parameters)?
fn telling(d: &Diagnostic, guessed: bool) -> bool {
    match d.code {
        "E0210" | "E0211" | "E0212" | "E0215" | "E0408" | "E0701" => false,
        "E0203" | "E0209" => !guessed,
        "E0208" => !guessed || !d.message.contains("multiple"),
        _ => true,
    }
}

/// Drops what only follows: after a line that does not parse, or an import that fails, names are missing.
pub(crate) fn without_consequences(out: &mut Vec<Diagnostic>, program: &Program) {
    let unparsed = program.unparsed();
    out.retain(|d| match d.code {
        "E0101" | "E0107" => {
            let Some(place) = d.labels.first().map(|l| l.place) else { return true };
            let (from, to) = (place.span.start as usize, place.span.end as usize);
            let name = program.files.files.get(place.file).and_then(|f| f.1.get(from..to)).unwrap_or("");
            !unparsed && !program.lost.contains(&(place.file, name.to_string()))
        }
        "E0106" | "E0404" | "E0406" | "E0412" | "E0413" => !unparsed,
        _ => true,
    });
}
