//! How well scores tell anomalous from normal: AUROC, AP, F1-max for samples and pixels, AUPRO for pixels.
//!
//! In: scores with truths, maps with masks. Out: [`Measured`]. Invariants: equal to scikit-learn (AUROC, AP, F1-max) and to the
//! per-region overlap over all distinct thresholds, with 8-connected regions (AUPRO), ties included; the result depends on neither
//! threads nor the order in which samples come, up to the last bits of an f64; what cannot be said, as AUROC where all is normal,
//! is `None`. Imports: nothing of this project.

pub mod curve;
mod pile;
pub mod pixels;
mod radix;
pub mod regions;
mod sweep;

use std::fmt;

pub use curve::Curve;
pub use pixels::PixelMetrics;

/// The usual limit of the false positive rate up to which AUPRO integrates.
pub const FPR_LIMIT: f64 = 0.3;

/// What a set of scores is worth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Normal samples or pixels.
    pub normal: u64,
    /// Anomalous samples or pixels.
    pub anomalous: u64,
    /// Area under the receiver operating characteristic: the chance that an anomalous one scores above a normal one.
    pub auroc: Option<f64>,
    /// Average precision.
    pub ap: Option<f64>,
    /// The best F1 that a threshold can reach.
    pub f1_max: Option<f64>,
    /// The threshold that reaches it: from this score on, anomalous.
    pub f1_threshold: Option<f32>,
    /// Area under the per-region overlap up to the limit, divided by it. For pixels only.
    pub aupro: Option<f64>,
    /// Connected anomalous regions. For pixels only.
    pub regions: u64,
    /// The limit that AUPRO was integrated to.
    pub limit: f64,
    /// How far the true areas may lie from those given; 0 unless scores had to be rounded to stay in the memory that was granted.
    pub within: f64,
    /// False positive rate to true positive rate.
    pub roc: Curve,
    /// Recall to precision.
    pub pr: Curve,
    /// False positive rate to per-region overlap.
    pub pro: Curve,
}

/// Scores that cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricError {
    /// The score at this position is not a number.
    NotANumber(usize),
    /// So many scores, so many truths.
    Lengths(usize, usize),
    /// The limit of the false positive rate is not in (0, 1].
    Limit,
}

impl fmt::Display for MetricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricError::NotANumber(n) => write!(f, "score {n} is not a number (NaN), so it has no rank"),
            MetricError::Lengths(s, t) => write!(f, "{s} scores, but {t} truths"),
            MetricError::Limit => write!(f, "the limit of the false positive rate must be above 0 and at most 1"),
        }
    }
}

impl std::error::Error for MetricError {}

/// Measures scores of samples.
pub fn samples(scores: &[f32], anomalous: &[bool]) -> Result<Measured, MetricError> {
    if scores.len() != anomalous.len() {
        return Err(MetricError::Lengths(scores.len(), anomalous.len()));
    }
    let mut normals = pile::Pile::new(usize::MAX);
    let mut others = pile::Pile::new(usize::MAX);
    for (n, (score, anomalous)) in scores.iter().zip(anomalous).enumerate() {
        let key = radix::key(*score).ok_or(MetricError::NotANumber(n))?;
        if *anomalous { others.push(u64::from(key) << 32 | 1) } else { normals.push(key) }
    }
    let mut measured = sweep::sweep(&mut normals, &mut others, 0, 1.0, 1);
    (measured.aupro, measured.pro, measured.limit) = (None, Curve::default(), 0.0);
    Ok(measured)
}

/// The mean of what is there; `None` where nothing is.
pub fn mean(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, n) = values.into_iter().flatten().fold((0.0, 0u32), |(s, n), v| (s + v, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}
