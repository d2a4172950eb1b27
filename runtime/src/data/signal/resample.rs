//! To another sampling rate.
//!
//! In: a channel, two rates. Out: the channel at the second. Invariants: equal to SciPy's `resample_poly` with its Kaiser window, in f64, edges
//! held (`padtype="edge"`), so that a level stays a level; n samples become n x to / from, rounded up. Imports: nothing of this project.

use std::f64::consts::PI;

/// Ratios with larger terms are refused.
const MOST: u64 = 20_000;

/// A ratio of rates in lowest terms: (up, down).
pub fn ratio(from: f64, to: f64) -> Result<(usize, usize), String> {
    let whole = |rate: f64| (rate * 1000.0).round();
    if !(whole(from) >= 1.0 && whole(to) >= 1.0 && from < 1e9 && to < 1e9) {
        return Err(format!("{from} to {to} samples per second is not handled"));
    }
    let (up, down) = (whole(to) as u64, whole(from) as u64);
    let (mut a, mut b) = (up, down);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    let (up, down) = (up / a, down / a);
    if up.max(down) > MOST {
        return Err(format!("{from} to {to} samples per second is {up} to {down}, which is not handled"));
    }
    Ok((up as usize, down as usize))
}

/// How many samples become of n.
pub fn length(n: usize, (up, down): (usize, usize)) -> usize {
    (n as u128 * up as u128).div_ceil(down as u128) as usize
}

/// A resampler for many channels.
pub struct Resampler {
    up: usize,
    down: usize,
    half: usize,
    taps: Vec<f64>,
}

impl Resampler {
    /// For a ratio in lowest terms.
    pub fn new((up, down): (usize, usize)) -> Resampler {
        let wider = up.max(down);
        let half = 10 * wider;
        let beta = 5.0;
        let tap = |i: usize| {
            let x = i as f64 - half as f64;
            let (u, place) = (x / wider as f64, x / half as f64);
            let sinc = if u == 0.0 { 1.0 } else { (PI * u).sin() / (PI * u) };
            sinc * bessel(beta * (1.0 - place * place).max(0.0).sqrt())
        };
        let taps: Vec<f64> = (0..=2 * half).map(tap).collect();
        let scale = up as f64 / taps.iter().sum::<f64>();
        Resampler { up, down, half, taps: taps.into_iter().map(|t| t * scale).collect() }
    }

    /// A channel at the other rate.
    pub fn channel(&self, x: &[f64]) -> Vec<f64> {
        let (Some(first), Some(last)) = (x.first(), x.last()) else { return Vec::new() };
        let (up, half) = (self.up as i64, self.half as i64);
        let one = |m: usize| {
            // Taps at centre - k * up, for all k within the window.
            let centre = (m * self.down) as i64;
            let (from, to) = (
                (centre - half).div_euclid(up) + i64::from((centre - half).rem_euclid(up) > 0),
                (centre + half).div_euclid(up),
            );
            let at = |k: i64| match usize::try_from(k) {
                Err(_) => *first,
                Ok(k) => x.get(k).copied().unwrap_or(*last),
            };
            (from..=to).map(|k| self.taps[(centre - k * up + half) as usize] * at(k)).sum()
        };
        (0..length(x.len(), (self.up, self.down))).map(one).collect()
    }
}

/// The modified Bessel function of order 0.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term, q) = (1.0, 1.0, x * x / 4.0);
    for k in 1..64 {
        term *= q / f64::from(k * k);
        sum += term;
        if term < 1e-17 * sum {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_in_lowest_terms() {
        assert_eq!(ratio(360.0, 500.0).unwrap(), (25, 18));
        assert_eq!(ratio(1000.0, 500.0).unwrap(), (1, 2));
        assert_eq!(ratio(128.5, 257.0).unwrap(), (2, 1));
        assert!(ratio(499.999, 500.001).is_err() && ratio(0.0, 500.0).is_err() && ratio(f64::NAN, 1.0).is_err());
        assert_eq!((length(1000, (25, 18)), length(1, (1, 2))), (1389, 1));
    }

    #[test]
    fn a_slow_wave_stays_what_it_is() {
        let wave =
            |rate: f64, n: usize| (0..n).map(|i| 2.0 + (2.0 * PI * 3.0 * i as f64 / rate).sin()).collect::<Vec<_>>();
        let made = Resampler::new((25, 18)).channel(&wave(360.0, 720));
        let wanted = wave(500.0, 1000);
        assert_eq!(made.len(), 1000);
        assert!(made[100..900].iter().zip(&wanted[100..900]).all(|(a, b)| (a - b).abs() < 1e-2));
        assert!(Resampler::new((1, 2)).channel(&[5.0; 40]).iter().all(|v| (v - 5.0).abs() < 1e-2));
    }
}
