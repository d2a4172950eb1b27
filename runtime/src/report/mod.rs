//! The report of an evaluation: one HTML file that needs nothing else.
//!
//! In: what was measured, and the samples worth looking at. Out: the text of a page. Invariants: nothing is loaded from elsewhere and no script
//! runs; all text is escaped; every picture and chart has an alternative text; equal results give equal bytes.
//! Imports: metrics, calibration, what is shown of samples.

mod charts;
mod page;

use crate::calibrate::Boundary;
use crate::data::kind::Kind;
use crate::metrics::Measured;
use crate::show::Panel;

pub use page::page;

/// What a report tells.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The detector's name.
    pub detector: String,
    /// The data set's name.
    pub data: String,
    /// Facts in words, name and value: the bundle, its digest, the producer.
    pub facts: Vec<(String, String)>,
    /// How it was measured, one sentence each.
    pub notes: Vec<String>,
    /// What the reader must know first, as stages that have not run.
    pub warnings: Vec<String>,
    /// What the samples are.
    pub of: Kind,
    /// The limit of AUPRO.
    pub limit: f64,
    /// Classes in order.
    pub classes: Vec<Class>,
}

/// One class.
#[derive(Clone, Debug, Default)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Metrics of samples.
    pub samples: Measured,
    /// Metrics of pixels, where there are maps and masks.
    pub pixels: Option<Measured>,
    /// Scores of normal samples.
    pub normal: Vec<f32>,
    /// Scores of anomalous samples.
    pub anomalous: Vec<f32>,
    /// How samples are judged.
    pub boundary: Option<Boundary>,
    /// Samples worth looking at.
    pub cases: Vec<Case>,
}

/// Why a sample is worth looking at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Anomalous, with the lowest scores.
    Missed,
    /// Normal, with the highest scores.
    Alarming,
    /// Anomalous, with the highest scores.
    Clear,
}

/// A sample worth looking at.
#[derive(Clone, Debug)]
pub struct Case {
    /// Why.
    pub why: Why,
    /// Its file within the data set.
    pub name: String,
    /// `good`, or the kind of defect.
    pub kind: String,
    /// Its score.
    pub score: f32,
    /// The sample, what is truly anomalous, its map.
    pub panels: Vec<Panel>,
}

impl Class {
    /// Normal and anomalous samples above the threshold.
    pub fn judged(&self) -> Option<(usize, usize)> {
        let boundary = self.boundary?;
        let above = |scores: &[f32]| scores.iter().filter(|s| boundary.anomalous(**s)).count();
        Some((above(&self.normal), above(&self.anomalous)))
    }
}
