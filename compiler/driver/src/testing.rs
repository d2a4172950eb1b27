//! Samples of a data set through a detector, read ahead of it.
//!
//! In: a scorer, a data set, positions of samples. Out: for every sample its score, map and mask, in order. Invariants: memory is bounded
//! whatever the number of samples; a sample that cannot be read is named and left out; masks went through the steps of the
//! image, with the nearest pixel, and lie on the map. Imports: progress, scorer; data sets.

use std::sync::Arc;

use uad_runtime::data::ReadError;
use uad_runtime::data::image::{self, RgbImage};
use uad_runtime::data::load::Loader;
use uad_runtime::data::mask::Mask;
use uad_runtime::data::pipeline::{self, Step};
use uad_runtime::data::set::{Dataset, Sample};

use crate::failure::{Done, Failure};
use crate::progress::Progress;
use crate::scorer::{Scored, Scorer};

/// A sample that was scored.
pub struct Tested<'a> {
    /// Its position in the data set.
    pub n: usize,
    /// What is known of it.
    pub sample: &'a Sample,
    /// What the detector says.
    pub scored: Scored,
    /// What is anomalous, at the size of the map. `None` where nobody said.
    pub mask: Option<Mask>,
    /// The image's height and width.
    pub size: (u32, u32),
}

/// A sample that was read.
struct Ready {
    picture: RgbImage,
    mask: Option<Mask>,
    size: (u32, u32),
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
    let (from, steps) = (set.clone(), scorer.steps.clone());
    let loader = Loader::new(order.into_iter(), threads, batch + threads, move |n| ready(from.samples.get(n)?, &steps));
    let (mut broken, mut waiting) = (Vec::new(), Vec::new());
    let mut flush = |waiting: &mut Vec<(usize, Ready)>| -> Done {
        let now = std::mem::take(waiting);
        let given: Vec<_> = now
            .iter()
            .map(|(n, r)| {
                let sample = &set.samples[*n];
                (&r.picture, set.class_number(sample), Some(sample.class.as_str()))
            })
            .collect();
        let found = scorer.score(&given)?;
        for ((n, ready), scored) in now.into_iter().zip(found) {
            let size = scored.map.as_ref().map(|m| (m.0, m.1));
            let mask = ready.mask.map(|m| size.map_or_else(|| m.clone(), |(h, w)| m.nearest(h, w)));
            take(Tested { n, sample: &set.samples[n], scored, mask, size: ready.size })?;
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

fn ready(sample: &Sample, steps: &[Step]) -> Option<Result<Ready, ReadError>> {
    let read = || {
        let picture = image::read(&sample.path)?;
        let size = (picture.height(), picture.width());
        let mask = match (&sample.mask, sample.label) {
            (Some(path), _) => {
                let mask = Mask::read(path)?;
                if (mask.height, mask.width) != (size.0 as usize, size.1 as usize) {
                    let (h, w, (height, width)) = (mask.height, mask.width, size);
                    return Err(ReadError::new(
                        path,
                        format!("the mask has {w} x {h} pixels, its image {width} x {height}"),
                    ));
                }
                Some(mask.prepare(steps))
            }
            // A normal sample has no anomalous pixel.
            (None, Some(false)) => Some(Mask::clear(size.0 as usize, size.1 as usize).prepare(steps)),
            (None, _) => None,
        };
        Ok(Ready { picture: pipeline::prepare(&picture, steps), mask, size })
    };
    Some(read())
}
