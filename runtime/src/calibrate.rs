//! Where normal ends: thresholds learnt from normal scores, and scores on a scale where 0.5 is the boundary.
//!
//! In: scores of normal samples, a false-alarm rate that one is ready to bear. Out: [`v1::Threshold`], which a bundle stores, and
//! [`Boundary`], which judges. Invariants: only normal samples are looked at; the rate that a threshold stands for comes with its
//! interval; a normalised score rises with the score, lies in [0, 1], and is above 0.5 exactly where the score is above the
//! threshold. Imports: the saved form of bundles.
//!
//! anomalib maps scores to `(score - threshold) / (max - min) + 0.5`, cut at 0 and 1. Here 0 is the lowest normal score and 0.5 the
//! threshold, in between the map is linear as theirs; above, it bends, with the same slope at the boundary, towards 1 instead of
//! being cut there, as most anomalies lie far beyond the normal range and would all become 1: their order is kept.

use statrs::function::beta::inv_beta_reg;

use crate::bundle::v1;

/// Normal scores that a threshold is learnt from, at least.
pub const FEWEST: usize = 5;
/// So many normal scores are kept in a bundle, so that a threshold can be moved.
const KEPT: usize = 4096;
/// Where so many normal scores are to lie above the threshold, they are counted; where fewer, a tail is fitted.
const COUNTED: f64 = 5.0;
/// Scores that a tail is fitted to, at least.
const TAIL: usize = 10;

/// How a threshold is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// By counting where enough scores lie above, else by the tail.
    #[default]
    Auto,
    /// The score that the asked part of normal scores exceeds.
    Quantile,
    /// From a generalised Pareto distribution of the highest tenth.
    Pareto,
    /// From a Gumbel distribution of all scores.
    Gumbel,
}

/// Moves a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// To this score.
    To(f32),
    /// To where this part of normal samples lies above.
    Rate(f64),
}

/// Learns a threshold above which the part `rate` of normal scores lies.
pub fn learn(scores: &[f32], rate: f64, method: Method) -> Result<v1::Threshold, String> {
    if let Some(at) = scores.iter().position(|s| !s.is_finite()) {
        return Err(format!("score {at} of the normal samples is {}, so no threshold can be set", scores[at]));
    }
    if scores.len() < FEWEST {
        return Err(format!("a threshold is learnt from at least {FEWEST} normal samples, not {}", scores.len()));
    }
    let mut falling = scores.to_vec();
    falling.sort_by(|a, b| b.total_cmp(a));
    let mut made = v1::Threshold {
        low: falling.last().copied().unwrap_or(0.0),
        scores: falling.len() as u64,
        pareto: pareto(&falling),
        gumbel: Some(gumbel(&falling)),
        highest: falling.iter().take(KEPT).copied().collect(),
        ..v1::Threshold::default()
    };
    place(&mut made, rate, method)?;
    Ok(made)
}

/// The threshold moved.
pub fn changed(threshold: &v1::Threshold, change: Change) -> Result<v1::Threshold, String> {
    let mut made = threshold.clone();
    match change {
        Change::Rate(rate) => place(&mut made, rate, Method::Auto)?,
        Change::To(score) if score.is_finite() => {
            made.threshold = score;
            made.method = "set".to_owned();
            count(&mut made);
            made.rate = made.above as f64 / made.scores.max(1) as f64;
        }
        Change::To(score) => return Err(format!("{score} is not a threshold")),
    }
    Ok(made)
}

/// Puts the threshold where the rate wants it.
fn place(made: &mut v1::Threshold, rate: f64, method: Method) -> Result<(), String> {
    if !(rate > 0.0 && rate < 1.0) {
        return Err(format!("{rate} is not a false-alarm rate: above 0 and below 1"));
    }
    // A new normal score is above the k-th highest of n in k - 1 of n + 1 cases... so with k = rate (n + 1), rounded down,
    // it exceeds the k-th highest with at most that chance.
    let rank = rate * (made.scores as f64 + 1.0);
    let method = match method {
        Method::Auto if rank >= COUNTED => Method::Quantile,
        Method::Auto if made.pareto.as_ref().is_some_and(|p| rate < p.share) => Method::Pareto,
        Method::Auto => Method::Gumbel,
        other => other,
    };
    let (name, threshold) = match method {
        Method::Auto | Method::Quantile => {
            let found = made.highest.get((rank.floor() as usize).max(1) - 1);
            let most = made.highest.len() as f64 / made.scores.max(1) as f64;
            let found =
                found.ok_or_else(|| format!("the bundle keeps scores for false-alarm rates up to {most:.3}"))?;
            ("quantile", f64::from(*found))
        }
        Method::Pareto => {
            let tail = made.pareto.as_ref().filter(|p| rate < p.share);
            let tail = tail.ok_or_else(|| format!("too few normal samples for a tail at the rate {rate}"))?;
            ("pareto", beyond(tail, rate))
        }
        Method::Gumbel => {
            let [location, scale] = made.gumbel.ok_or("the bundle has no Gumbel distribution")?;
            ("gumbel", location - scale * (-(-rate).ln_1p()).ln())
        }
    };
    (made.method, made.rate, made.threshold) = (name.to_owned(), rate, threshold as f32);
    count(made);
    Ok(())
}

/// Counts the normal scores above the threshold.
fn count(made: &mut v1::Threshold) {
    made.above = made.highest.iter().take_while(|s| **s > made.threshold).count() as u64;
    made.interval = interval(made.above, made.scores);
}

/// The 95 % interval of a rate of which `k` of `n` cases were seen (Clopper and Pearson).
pub fn interval(k: u64, n: u64) -> [f64; 2] {
    let (a, b) = (k as f64, n.saturating_sub(k) as f64);
    let low = if k == 0 { 0.0 } else { inv_beta_reg(a, b + 1.0, 0.025) };
    let high = if k >= n { 1.0 } else { inv_beta_reg(a + 1.0, b, 0.975) };
    [low, high]
}

/// The tail of scores, falling, by probability-weighted moments (Hosking and Wallis 1987).
fn pareto(falling: &[f32]) -> Option<v1::Pareto> {
    let n = falling.len();
    let m = n.div_ceil(10).max(TAIL);
    if 2 * m > n {
        return None;
    }
    let from = f64::from(falling[m]);
    let (mut a0, mut a1) = (0.0, 0.0);
    for (i, s) in falling[..m].iter().enumerate() {
        let y = f64::from(*s) - from;
        // The chance to exceed the i-th highest.
        let above = (i as f64 + 0.35) / m as f64;
        a0 += y / m as f64;
        a1 += above * y / m as f64;
    }
    let gap = a0 - 2.0 * a1;
    let (shape, scale) = if gap <= 0.0 { (0.5, a0) } else { (2.0 - a0 / gap, 2.0 * a0 * a1 / gap) };
    // Few scores now and then give a shape for which the moments do not exist.
    let (shape, scale) = if shape > 0.5 { (0.5, 0.5 * a0) } else { (shape.max(-1.0), scale) };
    Some(v1::Pareto { from, share: m as f64 / n as f64, shape, scale })
}

/// The score that the part `rate` of all scores exceeds.
fn beyond(tail: &v1::Pareto, rate: f64) -> f64 {
    let reach = (tail.share / rate).ln();
    let grown = if tail.shape.abs() < 1e-9 { reach } else { (tail.shape * reach).exp_m1() / tail.shape };
    tail.from + tail.scale * grown
}

/// Location and scale by L-moments.
fn gumbel(falling: &[f32]) -> [f64; 2] {
    let n = falling.len() as f64;
    let mean = falling.iter().map(|s| f64::from(*s)).sum::<f64>() / n;
    let rising = falling.iter().rev().enumerate();
    let weighted = rising.map(|(i, s)| i as f64 / (n - 1.0) * f64::from(*s)).sum::<f64>() / n;
    let scale = (2.0 * weighted - mean).max(0.0) / std::f64::consts::LN_2;
    [mean - EULER * scale, scale]
}

/// The mean of the standard Gumbel distribution.
const EULER: f64 = 0.577_215_664_901_532_9;

/// Judges scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boundary {
    /// Scores above it are anomalous.
    pub threshold: f32,
    /// Scores that are this far below the threshold have the normalised score 0.
    pub span: f32,
}

impl Boundary {
    /// The boundary of a bundle, where `change` has moved it. The scale stays that of the bundle.
    pub fn new(threshold: &v1::Threshold, change: Option<Change>) -> Result<Boundary, String> {
        let moved = change.map(|c| changed(threshold, c)).transpose()?;
        let span = threshold.threshold - threshold.low;
        // Normal scores that are all the same leave no scale.
        let span = if span > 0.0 { span } else { threshold.threshold.abs().max(1.0) * 1e-3 };
        Ok(Boundary { threshold: moved.map_or(threshold.threshold, |m| m.threshold), span })
    }

    /// Is a sample or pixel of this score anomalous?
    pub fn anomalous(&self, score: f32) -> bool {
        score > self.threshold
    }

    /// The score in [0, 1], 0.5 at the threshold.
    pub fn normalised(&self, score: f32) -> f32 {
        let off = (f64::from(score) - f64::from(self.threshold)) / f64::from(self.span);
        if off <= 0.0 {
            return (0.5 + 0.5 * off).max(0.0) as f32;
        }
        // In f32 a score just above the threshold must not be 0.5.
        let above = (0.5 - 0.5 * (-off).exp_m1()) as f32;
        above.max(0.5f32.next_up())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance, "{a}, wanted {b}");
    }

    #[test]
    fn intervals_equal_scipy() {
        // scipy.stats.binomtest(k, n).proportion_ci(0.95, "exact")
        for (k, n, low, high) in INTERVALS {
            let found = interval(k, n);
            near(found[0], low, 1e-9);
            near(found[1], high, 1e-9);
        }
    }

    const INTERVALS: [(u64, u64, f64, f64); 4] = [
        (0, 20, 0.000000000000000, 0.168433470983085),
        (3, 50, 0.012548587835334, 0.165481946603773),
        (10, 10, 0.691502892181237, 1.000000000000000),
        (41, 1000, 0.029580168534036, 0.055212459315170),
    ];

    /// Scores that lie where a distribution expects them.
    fn expected(n: usize, quantile: impl Fn(f64) -> f64) -> Vec<f32> {
        (0..n).map(|i| quantile((i as f64 + 0.5) / n as f64) as f32).collect()
    }

    #[test]
    fn distributions_are_found_again() {
        let scores = expected(2000, |q| 3.0 - 0.7 * (-q.ln()).ln());
        let [location, scale] = gumbel(&scores.iter().rev().copied().collect::<Vec<_>>());
        near(location, 3.0, 5e-3);
        near(scale, 0.7, 5e-3);
        // The tail of 1 - 0.2 ((1 - q)^0.2 - 1) / 0.2 is Pareto with shape -0.2 everywhere.
        let scores = expected(2000, |q| 1.0 - ((1.0 - q).powf(0.2) - 1.0));
        let made = learn(&scores, 0.001, Method::Pareto).unwrap();
        near(made.pareto.as_ref().unwrap().shape, -0.2, 0.03);
        near(f64::from(made.threshold), 2.0 - 0.001f64.powf(0.2), 5e-3);
        let gumbel = learn(&scores, 0.001, Method::Gumbel).unwrap();
        assert!(gumbel.threshold > made.threshold);
    }

    #[test]
    fn quantiles_are_counted() {
        let scores: Vec<f32> = (1..=99).map(|v| v as f32).collect();
        let made = learn(&scores, 0.1, Method::Auto).unwrap();
        // A hundredth score exceeds the tenth highest of 99 in one case of ten.
        assert_eq!((made.threshold, made.above, made.method.as_str()), (90.0, 9, "quantile"));
        assert!(made.interval[0] < 0.1 && made.interval[1] > 0.1);
        let fine = changed(&made, Change::Rate(0.01)).unwrap();
        assert_eq!(fine.method, "pareto");
        assert!((95.0..101.0).contains(&fine.threshold), "{fine:?}");
        let set = changed(&made, Change::To(97.5)).unwrap();
        assert_eq!((set.above, set.method.as_str()), (2, "set"));
    }

    #[test]
    fn the_boundary_is_a_half() {
        let scores: Vec<f32> = (1..=99).map(|v| v as f32).collect();
        let made = learn(&scores, 0.1, Method::Auto).unwrap();
        let boundary = Boundary::new(&made, None).unwrap();
        assert_eq!([1.0, -5.0, 90.0].map(|s| boundary.normalised(s)), [0.0, 0.0, 0.5]);
        let rising = [0.0, 45.0, 90.0, 90.000_01, 91.0, 200.0, 800.0];
        for pair in rising.windows(2) {
            let (a, b) = (boundary.normalised(pair[0]), boundary.normalised(pair[1]));
            assert!(a < b, "{pair:?}: {a} {b}");
        }
        assert!(rising.iter().all(|s| boundary.anomalous(*s) == (boundary.normalised(*s) > 0.5)));
        assert_eq!(boundary.normalised(f32::INFINITY), 1.0);
        let moved = Boundary::new(&made, Some(Change::To(50.0))).unwrap();
        assert_eq!((moved.normalised(50.0), moved.span), (0.5, boundary.span));
        let flat = Boundary::new(&learn(&[2.0; 8], 0.1, Method::Auto).unwrap(), None).unwrap();
        assert!(!flat.anomalous(2.0) && flat.normalised(2.1) > 0.9 && flat.normalised(1.0) == 0.0);
    }

    #[test]
    fn what_is_no_score_gives_no_threshold() {
        let told = |scores: &[f32], rate: f64| learn(scores, rate, Method::Auto).unwrap_err();
        assert!(told(&[1.0, f32::NAN, 2.0, 3.0, 4.0], 0.1).contains("score 1 of the normal samples is NaN"));
        assert!(told(&[1.0; 4], 0.1).contains("at least 5 normal samples, not 4"));
        assert!(told(&[1.0; 9], 0.0).contains("not a false-alarm rate"));
    }
}
