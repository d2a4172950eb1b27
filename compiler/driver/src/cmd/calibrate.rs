//! `uadc calibrate`: where normal ends, learnt from normal samples, into the bundle.
//!
//! In: a bundle, a data set. Out: the bundle with a calibration. Invariants: only samples that are known to be normal are used; the rest of
//! the bundle stays as it was. Imports: scorer, testing; bundles, calibration, data sets.

use std::path::Path;
use std::sync::Arc;

use uad_runtime::bundle::{Bundle, v1};
use uad_runtime::calibrate::{self, learn};
use uad_runtime::data::set::{Dataset, Options, Split};

use crate::args::{Calibrate, Method};
use crate::failure::{Done, Failure};
use crate::peers;
use crate::scorer::{Scorer, warn_untrained};
use crate::terminal::{Look, count, err};
use crate::testing;

/// Runs it.
pub fn run(args: &Calibrate) -> Done {
    let bundle = Bundle::open(&args.bundle).map_err(Failure::input)?;
    warn_untrained(&bundle.card);
    let mut content = bundle.content();
    let path: &Path = args.output.as_deref().unwrap_or(&args.bundle);
    let options = Options { validation: args.validation, kind: Scorer::kind_of(&bundle), ..Options::default() };
    let set = Arc::new(Dataset::open(&args.data, &options).map_err(Failure::input)?);
    let bundle = if content.peers.is_empty() && content.card.inputs.iter().any(|i| i.source == "peer") {
        // Nobody has trained it here: its peers are of this data set.
        let seed = content.card.seed;
        peers::keep(&mut content, &set, seed, &[])?;
        content.write(path).map_err(Failure::input)?;
        Bundle::open(path).map_err(Failure::input)?
    } else {
        bundle
    };
    let mut scorer = Scorer::new(bundle, &args.engine, true, args.peer.as_deref())?;
    let wanted = match &args.split {
        None => None,
        Some(name) => Some(Split::of(name).ok_or_else(|| {
            let names: Vec<&str> = Split::ALL.iter().map(|s| s.name()).collect();
            Failure::input(format!("no split `{name}`")).help(format!("there are {}", names.join(", ")))
        })?),
    };
    let found = calibration(&mut scorer, &set, wanted, args.false_alarm_rate, method(args.method), args.batch)?;
    let look = Look::stderr();
    for line in lines(&found) {
        err(&format!("{line}\n"));
    }
    content.card.calibration = Some(found);
    content.write(path).map_err(Failure::input)?;
    err(&format!("{} {}\n", look.bold("wrote"), path.display()));
    Ok(())
}

fn method(m: Method) -> calibrate::Method {
    match m {
        Method::Auto => calibrate::Method::Auto,
        Method::Quantile => calibrate::Method::Quantile,
        Method::Pareto => calibrate::Method::Pareto,
        Method::Gumbel => calibrate::Method::Gumbel,
    }
}

/// Learns thresholds from the normal samples of a split; without one, of the first of `calibration`, `validation` and `train`.
pub fn calibration(
    scorer: &mut Scorer,
    set: &Arc<Dataset>,
    wanted: Option<Split>,
    rate: f64,
    method: calibrate::Method,
    batch: u16,
) -> Done<v1::Calibration> {
    let normal = |split: Split| -> Vec<usize> {
        set.of(split).into_iter().filter(|n| set.samples[*n].label == Some(false)).collect()
    };
    let usual = || {
        let splits = [Split::Calibration, Split::Validation, Split::Train];
        splits.into_iter().find(|s| !normal(*s).is_empty()).unwrap_or(Split::Train)
    };
    let split = wanted.unwrap_or_else(usual);
    let order = normal(split);
    if order.is_empty() {
        return Err(Failure::input(format!("{} has no normal samples in `{split}`", set.path.display())));
    }
    if split == Split::Train {
        err(&format!(
            "{}: the threshold is learnt from training samples; scores of new ones are higher, and so is the rate of false alarms\n",
            Look::stderr().paint("1;33", "warning")
        ));
    }
    let (mut scores, mut highest) = (Vec::new(), Vec::new());
    let broken = testing::each(scorer, set, order, batch, "calibrating", |t| {
        let not = || Failure::input(format!("the score of {} is not a number", t.sample.path.display()));
        scores.extend(t.scored.score.map(|s| if s.is_nan() { Err(not()) } else { Ok(s) }).transpose()?);
        let values = t.map.iter().flat_map(|m| m.values.iter().copied());
        highest.extend(values.reduce(|a, b| if b > a || b.is_nan() { b } else { a }));
        Ok(())
    })?;
    if !broken.is_empty() {
        err(&format!("{} left out\n", count(broken.len(), "file")));
    }
    let of = |scores: &[f32]| if scores.is_empty() { Ok(None) } else { learn(scores, rate, method).map(Some) };
    let name = set.path.canonicalize().unwrap_or_else(|_| set.path.clone());
    let name = name.file_name().map_or_else(|| "data".to_owned(), |n| n.to_string_lossy().into_owned());
    let made = v1::Calibration {
        data: format!("{name}, {split}"),
        sample: of(&scores).map_err(Failure::input)?,
        map: of(&highest).map_err(Failure::input)?,
    };
    match made.sample {
        Some(_) => Ok(made),
        None => Err(Failure::input("the detector gives no scores")),
    }
}

/// A calibration as people read it.
pub fn lines(c: &v1::Calibration) -> Vec<String> {
    let percent = |v: f64| format!("{:.1}", 100.0 * v);
    let one = |what: &str, t: &v1::Threshold, counted: &str| {
        format!(
            "{what} above {:.6} ({}, asked for {} %): {} of {} {counted}, a rate of {} to {} % with 95 % confidence",
            t.threshold,
            t.method,
            percent(t.rate),
            t.above,
            t.scores,
            percent(t.interval[0]),
            percent(t.interval[1]),
        )
    };
    let sample = c.sample.iter().map(|t| one("anomalous", t, "normal samples lie above"));
    let map = c.map.iter().map(|t| one("pixels marked", t, "normal samples have such a pixel"));
    sample.chain(map).collect()
}
