//! Samples of a data set through a detector, read ahead of it.
//!
//! In: a scorer, a data set, positions of samples. Out: for every sample its score, map and mask, in order. Invariants: memory is bounded
//! whatever the number of samples; a sample that cannot be read is named and left out; masks went through the steps of the
//! sample, with the nearest place, and lie on the map. Imports: progress, scorer; data sets.

use std::sync::Arc;

use uad_runtime::data::ReadError;
use uad_runtime::data::kind::{Pipeline, Raw, Value};
use uad_runtime::data::load::Loader;
use uad_runtime::data::mask::Mask;
use uad_runtime::data::set::{Dataset, Sample};
use uad_runtime::heatmap::OwnMap;

use crate::failure::{Done, Failure};
use crate::progress::Progress;
use crate::scorer::{Scored, Scorer};

/// A sample that was scored.
pub struct Tested<'a> {
    /// Its position in the data set.
    pub n: usize,
    /// What is known of it.
    pub sample: &'a Sample,
    /// What its file holds.
    pub raw: &'a Raw,
    /// What the detector says, but for the map.
    pub scored: Scored,
    /// Its map.
    pub map: Option<OwnMap>,
    /// What is anomalous, at the size of the map. `None` where nobody said.
    pub mask: Option<Mask>,
}

/// A sample that was read.
struct Ready {
    raw: Raw,
    value: Value,
    mask: Option<Mask>,
}

/// Scores samples and hands them on one by one. Gives the files that could not be used.
pub fn each(
    scorer: &mut Scorer,
    set: &Arc<Dataset>,
    order: Vec<usize>,
    batch: u16,
    doing: &str,
    mut take: impl FnMut(Tested<'_>) -> Done,
) -> Done<Vec<ReadError>> {
    let (batch, threads) = (usize::from(batch), crate::engine::default_threads());
    let progress = Progress::new(order.len(), doing);
    let (from, pipeline) = (set.clone(), scorer.pipeline.clone());
    let make = move |n: usize| Some(ready(from.samples.get(n)?, &pipeline));
    let loader = Loader::new(order.into_iter(), threads, batch + threads, make);
    let (mut broken, mut waiting) = (Vec::new(), Vec::new());
    let mut flush = |waiting: &mut Vec<(usize, Ready)>| -> Done {
        let now = std::mem::take(waiting);
        let given: Vec<_> = now
            .iter()
            .map(|(n, r)| {
                let sample = &set.samples[*n];
                (&r.value, set.class_number(sample), Some(sample.class.as_str()))
            })
            .collect();
        let found = scorer.score(&given)?;
        for ((n, ready), mut scored) in now.into_iter().zip(found) {
            let map = scored.map.take().map(|m| scorer.pipeline.placed(&ready.raw, m));
            let mask =
                ready.mask.map(|m| map.as_ref().map_or_else(|| m.clone(), |own| m.nearest(own.height, own.width)));
            take(Tested { n, sample: &set.samples[n], raw: &ready.raw, scored, map, mask })?;
        }
        Ok(())
    };
    for (n, made) in loader {
        progress.advance(1);
        match made {
            None => {}
            Some(Ok(ready)) => waiting.push((n, ready)),
            Some(Err(e)) => {
                progress.suspend(|| Failure::input(e.to_string()).say(false));
                broken.push(e);
            }
        }
        if waiting.len() == batch {
            flush(&mut waiting)?;
        }
    }
    if !waiting.is_empty() {
        flush(&mut waiting)?;
    }
    progress.finish();
    Ok(broken)
}

fn ready(sample: &Sample, pipeline: &Pipeline) -> Result<Ready, ReadError> {
    let raw = pipeline.read(&sample.path)?;
    let mask = match (&sample.mask, sample.label) {
        (Some(path), _) => Some(pipeline.mask(&raw, path)?),
        // A normal sample has no anomalous place.
        (None, Some(false)) => Some(pipeline.clear(&raw)),
        (None, _) => None,
    };
    Ok(Ready { value: pipeline.prepare(&raw, &sample.path)?, raw, mask })
}
