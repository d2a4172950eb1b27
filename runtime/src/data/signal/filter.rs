//! Filters without delay: forwards, then backwards.
//!
//! In: a channel, a filter. Out: the channel, filtered in f64. Invariants: equal to SciPy's `sosfiltfilt` with its defaults, which for one
//! section is `filtfilt`: odd extension by three times the number of taps, and initial states of a steady input; a channel that is
//! not longer than the extension is refused. Imports: nothing of this project.

use std::f64::consts::PI;

/// A second-order section: `b` over `1, a1, a2`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Section {
    /// Of inputs.
    pub b: [f64; 3],
    /// Of outputs; the first is 1.
    pub a: [f64; 2],
}

/// A Butterworth filter of an even order with this edge, as parts of the sampling rate.
pub fn butterworth(high: bool, edge: f64, order: u32) -> Vec<Section> {
    let k = (PI * edge).tan();
    let section = |n: u32| {
        let damping = 2.0 * (f64::from(2 * n + 1) * PI / f64::from(2 * order)).sin();
        let norm = 1.0 / (1.0 + damping * k + k * k);
        let b = if high { [norm, -2.0 * norm, norm] } else { [1.0, 2.0, 1.0].map(|c| c * k * k * norm) };
        Section { b, a: [2.0 * (k * k - 1.0) * norm, (1.0 - damping * k + k * k) * norm] }
    };
    (0..order / 2).map(section).collect()
}

/// A filter that removes one frequency, a part of the sampling rate; `q` is the frequency by the width at half power.
pub fn notch(at: f64, q: f64) -> Section {
    let (w, width) = (2.0 * PI * at, 2.0 * PI * at / q);
    let gain = 1.0 / (1.0 + (width / 2.0).tan());
    let c = -2.0 * w.cos();
    Section { b: [gain, gain * c, gain], a: [gain * c, 2.0 * gain - 1.0] }
}

/// Both ways.
pub fn both_ways(x: &[f64], sections: &[Section]) -> Result<Vec<f64>, String> {
    let edge = 3 * (2 * sections.len() + 1);
    let (Some(first), Some(last)) = (x.first(), x.last()) else { return Err("holds no samples".to_owned()) };
    if x.len() <= edge {
        return Err(format!("has {} samples; this filter takes more than {edge}", x.len()));
    }
    let before = x[1..=edge].iter().rev().map(|v| 2.0 * first - v);
    let after = x[x.len() - 1 - edge..x.len() - 1].iter().rev().map(|v| 2.0 * last - v);
    let mut y: Vec<f64> = before.chain(x.iter().copied()).chain(after).collect();
    for _ in 0..2 {
        one_way(&mut y, sections);
        y.reverse();
    }
    Ok(y[edge..edge + x.len()].to_vec())
}

fn one_way(y: &mut [f64], sections: &[Section]) {
    // What all samples before the first would have left, had they equalled it.
    let mut level = y.first().copied().unwrap_or(0.0);
    for s in sections {
        let gain = s.b.iter().sum::<f64>() / (1.0 + s.a[0] + s.a[1]);
        let (mut z0, mut z1) = ((gain - s.b[0]) * level, (s.b[2] - s.a[1] * gain) * level);
        level *= gain;
        for v in y.iter_mut() {
            let x = *v;
            *v = s.b[0] * x + z0;
            z0 = s.b[1] * x - s.a[0] * *v + z1;
            z1 = s.b[2] * x - s.a[1] * *v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_are_those_of_scipy() {
        // scipy.signal.butter(2, 1, "highpass", fs=500), butter(2, 25, fs=500), iirnotch(50, 30, 500).
        let near = |a: &[f64], b: &[f64]| assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-11), "{a:?} {b:?}");
        let high = butterworth(true, 1.0 / 500.0, 2)[0];
        near(&high.b, &[0.991153595102, -1.982307190203, 0.991153595102]);
        near(&high.a, &[-1.982228929793, 0.982385450614]);
        let low = butterworth(false, 25.0 / 500.0, 2)[0];
        near(&low.b, &[0.020083365564, 0.040166731128, 0.020083365564]);
        near(&low.a, &[-1.561018075801, 0.641351538058]);
    }

    #[test]
    fn a_constant_passes_or_goes() {
        let x = vec![3.0; 64];
        let low = both_ways(&x, &butterworth(false, 0.1, 4)).unwrap();
        assert!(low.iter().all(|v| (v - 3.0).abs() < 1e-9));
        let high = both_ways(&x, &butterworth(true, 0.1, 4)).unwrap();
        assert!(high.iter().all(|v| v.abs() < 1e-9));
        assert!(both_ways(&x[..9], &butterworth(true, 0.1, 2)).unwrap_err().contains("9 samples"));
    }
}
