//! `uadc inspect`: what a bundle holds.
//!
//! In: a bundle, code for GPUs with it. Out: its card, its weights in numbers, its calibration, its digest, as text or as one JSON object. Invariants: the bundle was
//! verified before anything is said of it. Imports: calibrate; bundles.

use std::collections::BTreeMap;

use serde_json::json;
use uad_plan::StoredKind;
use uad_runtime::bundle::Bundle;
use uad_runtime::bundle::v1::{Trained, Training};
use uad_runtime::device::cuda::sidecar::Sidecar;

use super::calibrate;
use crate::args::Inspect;
use crate::failure::{Done, Failure};
use crate::terminal::{Look, bytes, count, grouped, out};
use crate::training::{duration, number};

/// So many of the largest tensors are named.
const LARGEST: usize = 5;

/// A stored tensor in numbers.
struct Stored {
    path: String,
    kind: &'static str,
    text: String,
    values: u64,
    bytes: u64,
}

/// The code for GPUs in an executable or beside a bundle, or what is wrong with it.
fn code(bundle: &Bundle) -> Option<Result<Sidecar, String>> {
    let beside = Sidecar::path(bundle.path());
    let read = match bundle.code() {
        Some(bytes) => Sidecar::from_bytes(bytes),
        None if beside.is_file() => Sidecar::open(&beside),
        None => return None,
    };
    Some(read.and_then(|s| s.belongs_to(&bundle.plan.to_string()).map(|()| s)))
}

/// Runs it.
pub fn run(args: &Inspect) -> Done {
    let bundle = Bundle::open(&args.bundle).map_err(Failure::input)?;
    let mut stored: Vec<Stored> = bundle.plan.stored.iter().filter_map(|s| one(&bundle, s)).collect();
    stored.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.path.cmp(&b.path)));
    if args.json {
        json_of(&bundle, &stored)
    } else {
        text_of(&bundle, &stored)
    }
    Ok(())
}

fn one(bundle: &Bundle, s: &uad_plan::Stored<uad_plan::Dim>) -> Option<Stored> {
    let kind = match s.kind {
        StoredKind::Weight => "weight",
        StoredKind::State => "state",
    };
    let bytes = bundle.stored(&s.path)?.len() as u64;
    let shape = bundle.shape(&s.path)?;
    let text = format!("{}{shape:?}", s.dtype);
    Some(Stored { path: s.path.clone(), kind, text, values: bytes / s.dtype.bytes() as u64, bytes })
}

/// Numbers by kind: tensors, values, bytes.
fn sums(stored: &[Stored]) -> BTreeMap<&'static str, (usize, u64, u64)> {
    let mut sums = BTreeMap::new();
    for s in stored {
        let sum: &mut (usize, u64, u64) = sums.entry(s.kind).or_default();
        *sum = (sum.0 + 1, sum.1 + s.values, sum.2 + s.bytes);
    }
    sums
}

fn json_of(bundle: &Bundle, stored: &[Stored]) {
    let kinds: BTreeMap<_, _> = sums(stored)
        .into_iter()
        .map(|(kind, (n, values, bytes))| (kind, json!({ "tensors": n, "values": values, "bytes": bytes })))
        .collect();
    let tensors: Vec<_> =
        stored.iter().map(|s| json!({ "path": s.path, "kind": s.kind, "type": s.text, "bytes": s.bytes })).collect();
    let entries: BTreeMap<_, _> = bundle.plan.entries.iter().map(|e| (e.name.clone(), e.kernels.len())).collect();
    let code = code(bundle).map(|c| c.map_or_else(|e| json!({ "trouble": e }), |s| json!(s.card)));
    let told = json!({
        "path": bundle.path(), "bytes": bundle.bytes(), "digest": bundle.digest, "card": bundle.card,
        "stored": kinds, "tensors": tensors, "kernels": entries, "gpu_code": code,
    });
    out(&format!("{told}\n"));
}

fn text_of(bundle: &Bundle, stored: &[Stored]) {
    let (card, look) = (&bundle.card, Look::stdout());
    let row = |name: &str, value: &str| {
        let pad = " ".repeat(14);
        out(&format!("{}{}\n", look.bold(&format!("{name:14}")), value.replace('\n', &format!("\n{pad}"))));
    };
    row("detector", &card.detector);
    row("file", &format!("{}, {}", bundle.path().display(), bytes(bundle.bytes() as u64)));
    row("digest", &format!("sha256 {}", bundle.digest));
    row("built by", &card.producer);
    if !card.params.is_empty() {
        let params: Vec<String> = card.params.iter().map(|(n, v)| format!("{n} = {v}")).collect();
        row("set", &params.join(", "));
    }
    let inputs = card.inputs.iter().map(|i| {
        let step = |s: &uad_runtime::bundle::v1::Step| {
            let args: Vec<String> = s.args.iter().map(ToString::to_string).collect();
            format!(" |> {}({})", s.name, args.join(", "))
        };
        let steps: String = i.steps.iter().map(step).collect();
        format!("{}: {}[{}] from {}{steps}", i.name, i.dtype, i.dims.join(", "), i.source)
    });
    row("inputs", &inputs.collect::<Vec<_>>().join("\n"));
    row("outputs", &card.outputs.join(", "));
    if !card.stages.is_empty() {
        let stage = |s: &uad_runtime::bundle::v1::Stage| {
            let done = match (s.done, s.needed) {
                (true, _) => "done",
                (false, true) => "has not run",
                (false, false) => "has not run, and need not",
            };
            format!("{}: {done}", s.name)
        };
        row("stages", &card.stages.iter().map(stage).collect::<Vec<_>>().join("\n"));
    }
    let kinds = sums(stored)
        .into_iter()
        .map(|(kind, (n, values, size))| format!("{}, {} values, {}", count(n, kind), grouped(values), bytes(size)));
    let largest = stored.iter().take(LARGEST).map(|s| look.dim(&format!("{} {}", s.path, s.text)));
    let told: Vec<String> = kinds.chain(largest).collect();
    row("stored", &if told.is_empty() { "nothing".to_owned() } else { told.join("\n") });
    if !card.weights.is_empty() {
        row("weights from", &card.weights.join("\n"));
    }
    row("seed", &card.seed.to_string());
    if let Some(code) = code(bundle) {
        row("GPU code", &code.map_or_else(|e| format!("none: {e}"), |s| s.describe()));
    }
    for t in &card.training {
        row("trained on", &trained(t));
    }
    match &card.calibration {
        Some(c) => {
            let told = calibrate::lines(c);
            row("calibration", &std::iter::once(format!("from {}", c.data)).chain(told).collect::<Vec<_>>().join("\n"));
        }
        None => row("calibration", "none: scores are as the detector gives them (uadc calibrate learns one)"),
    }
}

/// A run of stages in lines.
fn trained(t: &Training) -> String {
    let classes = if t.classes.len() > 1 { format!(", {} classes", t.classes.len()) } else { String::new() };
    let stage = |s: &Trained| {
        let loss = s.loss.map_or_else(String::new, |l| format!(", loss {}", number(l)));
        let kept = s.kept.map_or_else(String::new, |e| format!(", epoch {} kept", e + 1));
        let (samples, passes) = (count(s.samples, "sample"), grouped(s.epochs));
        format!("{}: {samples}, {passes} x, {} steps{loss}{kept}, {}", s.stage, grouped(s.steps), duration(s.seconds))
    };
    let head = format!("{}{classes}, seed {}", t.data, t.seed);
    std::iter::once(head).chain(t.stages.iter().map(stage)).collect::<Vec<_>>().join("\n")
}
