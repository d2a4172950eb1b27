//! Metrics over the pixels of many maps.
//!
//! In: maps with their masks, one after another. Out: [`Measured`]. Invariants: a map with a NaN is refused whole and named by its position
//! in the set; memory is bounded by [`PixelMetrics::new`]'s `most`, whatever the number of maps, and [`Measured::within`] then says
//! how far the areas may be off. Imports: keys, regions.

use super::pile::Pile;
use super::radix::key;
use super::regions::regions;
use super::{Curve, Measured, MetricError, sweep};

/// Different scores that are told apart before the lowest bits are dropped: 64 million, 256 MiB of normal pixels.
pub const MOST: usize = 1 << 26;

/// Metrics of pixels, map by map.
pub struct PixelMetrics {
    normals: Pile<u32>,
    others: Pile<u64>,
    regions: u64,
}

impl Default for PixelMetrics {
    fn default() -> PixelMetrics {
        PixelMetrics::new(MOST)
    }
}

impl PixelMetrics {
    /// Metrics that keep at most `most` scores of normal and as many of anomalous pixels apart.
    pub fn new(most: usize) -> PixelMetrics {
        PixelMetrics { normals: Pile::new(most), others: Pile::new(most), regions: 0 }
    }

    /// The pixels so far.
    pub fn pixels(&self) -> u64 {
        self.normals.len() + self.others.len()
    }

    /// A map in which nothing is anomalous.
    pub fn add_normal(&mut self, scores: &[f32]) -> Result<(), MetricError> {
        check(scores)?;
        scores.iter().filter_map(|s| key(*s)).for_each(|k| self.normals.push(k));
        Ok(())
    }

    /// A map of `width` columns; in the mask what is not 0 is anomalous.
    pub fn add(&mut self, scores: &[f32], mask: &[u8], width: usize) -> Result<(), MetricError> {
        if scores.len() != mask.len() {
            return Err(MetricError::Lengths(scores.len(), mask.len()));
        }
        check(scores)?;
        let found = regions(mask, width);
        let mut done = 0;
        for stroke in &found.strokes {
            scores[done..stroke.from].iter().filter_map(|s| key(*s)).for_each(|k| self.normals.push(k));
            let size = u64::from(found.sizes[stroke.region]);
            let hot = scores[stroke.from..stroke.to].iter().filter_map(|s| key(*s));
            hot.for_each(|k| self.others.push(u64::from(k) << 32 | size));
            done = stroke.to;
        }
        scores[done..].iter().filter_map(|s| key(*s)).for_each(|k| self.normals.push(k));
        self.regions += found.sizes.len() as u64;
        Ok(())
    }

    /// The metrics, with AUPRO up to `limit`.
    pub fn measure(mut self, limit: f64, threads: usize) -> Result<Measured, MetricError> {
        if !(limit > 0.0 && limit <= 1.0) {
            return Err(MetricError::Limit);
        }
        let mut found = sweep::sweep(&mut self.normals, &mut self.others, self.regions, limit, threads);
        if found.aupro.is_none() {
            found.pro = Curve::default();
        }
        Ok(found)
    }
}

fn check(scores: &[f32]) -> Result<(), MetricError> {
    match scores.iter().position(|s| s.is_nan()) {
        Some(at) => Err(MetricError::NotANumber(at)),
        None => Ok(()),
    }
}
