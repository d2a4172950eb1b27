//! `uadc check`: diagnostics of specs, nothing else.
//!
//! In: specs. Out: diagnostics on standard error, or one JSON object; with `--paths` the stored tensors. Invariants: every spec is
//! looked at, whatever is wrong with those before it; warnings alone are no failure. Imports: compiled, render.

use serde_json::{Value, json};
use uad_compiler::diag::Severity;
use uad_compiler::model::{Model, StoredInfo};

use crate::args::Check;
use crate::compiled::{Checked, look_at_all};
use crate::failure::{Done, Failure};
use crate::render;
use crate::terminal::{Look, count, err, grouped, out};

/// Runs it.
pub fn run(args: &Check) -> Done {
    let (mut bad, mut reports) = (false, Vec::new());
    for spec in &args.specs {
        let checked = match look_at_all(spec, &args.choice) {
            Ok(c) => c,
            Err(e) if args.specs.len() > 1 && !args.json => {
                bad = true;
                e.say(false);
                continue;
            }
            Err(e) => return Err(e),
        };
        bad |= checked.found.iter().any(|d| d.severity == Severity::Error);
        if args.json {
            reports.push(report(&checked, args.paths));
        } else {
            err(&render::render(&checked.found, &checked.files.files, Look::stderr()));
            if args.paths {
                out(&paths(&checked));
            }
        }
    }
    if args.json {
        out(&format!("{}\n", json!({ "ok": !bad, "specs": reports })));
    }
    if bad { Err(Failure::Reported) } else { Ok(()) }
}

fn report(checked: &Checked, paths: bool) -> Value {
    let name = checked.files.files.first().map_or("", |f| f.0.as_str());
    let ok = !checked.found.iter().any(|d| d.severity == Severity::Error);
    let found = render::to_json(&checked.found, &checked.files.files);
    let mut value = json!({ "spec": name, "ok": ok, "diagnostics": found });
    if let (true, Some(model), Some(object)) = (paths, &checked.model, value.as_object_mut()) {
        let one =
            |s: &StoredInfo| json!({ "path": s.path, "type": s.ty.to_string(), "kind": kind(s), "frozen": s.frozen });
        object.insert("stored".to_owned(), own(model).map(one).collect());
    }
    value
}

fn kind(s: &StoredInfo) -> &'static str {
    match s.kind {
        uad_plan::StoredKind::Weight => "weight",
        uad_plan::StoredKind::State => "state",
    }
}

/// Stored tensors of the detector, without what optimisers keep.
fn own(model: &Model) -> impl Iterator<Item = &StoredInfo> + Clone {
    model.stored.iter().filter(|s| s.stage.is_none())
}

/// Path, kind and type of every stored tensor, and sums.
fn paths(checked: &Checked) -> String {
    let Some(model) = &checked.model else { return String::new() };
    let width = own(model).map(|s| s.path.chars().count()).max().unwrap_or(0);
    let look = Look::stdout();
    let mut text = String::new();
    let (mut trained, mut frozen) = (0u64, 0u64);
    for s in own(model) {
        let n = s.ty.shape.iter().map(|d| d.as_int().unwrap_or(0).unsigned_abs()).product::<u64>();
        *if s.frozen || kind(s) == "state" { &mut frozen } else { &mut trained } += n;
        let note = if s.frozen { look.dim("  frozen") } else { String::new() };
        text.push_str(&format!("{:width$}  {:6}  {}{note}\n", s.path, kind(s), s.ty));
    }
    text.push_str(&format!(
        "{}: {}, {} values trained, {} fixed\n",
        model.name,
        count(own(model).count(), "tensor"),
        grouped(trained),
        grouped(frozen)
    ));
    text
}
