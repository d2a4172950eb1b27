//! `uadc verify`: replays the probe that was stored when a bundle was built.
//!
//! In: a bundle. Out: the largest difference per output. Invariants: exits 1 where one is beyond [`TOLERANCE`] of the output's
//! range. Imports: engine; bundles.

use serde_json::json;
use uad_runtime::bundle::Bundle;

use crate::args::Verify;
use crate::engine::Engine;
use crate::failure::{Done, Failure};
use crate::terminal::{Look, out};

/// Differences of machines: sums in another order.
const TOLERANCE: f64 = 1e-4;

/// Runs it.
pub fn run(args: &Verify) -> Done {
    let bundle = Bundle::open(&args.bundle).map_err(Failure::input)?;
    let (inputs, wanted) = bundle.probe();
    if wanted.is_empty() {
        return Err(Failure::input(format!("{} holds no probe", args.bundle.display())));
    }
    let mut engine = Engine::of_bundle(bundle, &args.engine, &[])?;
    let found = engine.call("score", &inputs)?;
    let look = Look::stdout();
    let (mut rows, mut bad) = (Vec::new(), false);
    for (name, wanted) in &wanted {
        let largest = wanted.iter().filter(|v| v.is_finite()).fold(1.0f64, |m, v| m.max(v.abs()));
        let difference = found.get(name).filter(|f| f.shape() == wanted.shape()).map_or(f64::INFINITY, |f| {
            let pairs = f.iter().zip(wanted.iter());
            pairs.map(|(a, b)| if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() }).fold(
                0.0,
                |m, d| {
                    if d.is_nan() { f64::INFINITY } else { f64::max(m, d) }
                },
            )
        });
        let good = difference <= TOLERANCE * largest;
        bad |= !good;
        if !args.json {
            let sign = if good {
                look.paint("32", look.sign("✓", "ok"))
            } else {
                look.paint("1;31", look.sign("✗", "!!"))
            };
            out(&format!("{sign} {name}  largest difference {difference:.1e} of {largest:.3}\n"));
        }
        rows.push(json!({ "output": name, "max_abs": difference, "largest": largest, "ok": good }));
    }
    if args.json {
        out(&format!("{}\n", json!({ "ok": !bad, "outputs": rows })));
    }
    if bad { Err(Failure::Reported) } else { Ok(()) }
}
