//! `uadc verify`: replays the probe that was stored when a bundle was built.
//!
//! In: a bundle. Out: the largest difference per output. Invariants: exits 1 where one is beyond [`TOLERANCE`] of the output's
//! range; where the bundle has a calibration, the difference of normalised scores is said too. Imports: engine; bundles, calibration.

use serde_json::json;
use uad_runtime::bundle::Bundle;
use uad_runtime::calibrate::Boundary;

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
    let calibration = bundle.card.calibration.clone();
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
    // On the scale of the calibration: does this machine judge as the one that built the bundle?
    let judged = calibration.and_then(|c| {
        let boundary = Boundary::new(&c.sample?, None).ok()?;
        let pairs = found.get("sample")?.as_f32()?.iter().zip(wanted.get("sample")?.as_f32()?);
        Some(pairs.map(|(a, b)| (boundary.normalised(*a) - boundary.normalised(*b)).abs()).fold(0.0f32, f32::max))
    });
    if let Some(off) = judged.filter(|_| !args.json) {
        out(&format!("  normalised scores differ by {off:.1e}; 0.5 is the boundary\n"));
    }
    if args.json {
        out(&format!("{}\n", json!({ "ok": !bad, "outputs": rows, "normalised_max_abs": judged })));
    }
    if bad { Err(Failure::Reported) } else { Ok(()) }
}
