//! The per-sample pipeline of signals: from what a file holds to the numbers that a detector reads.
//!
//! In: a signal, the pipeline's steps with their arguments. Out: f32, channel by channel. Invariants: everything is calculated in f64 and rounded once;
//! a file that does not say its rate has the one that `resample_rate` asks for; a signal that a step cannot take is refused with
//! the reason. Imports: filters, resampling, masks, heat maps.

use super::filter::{self, Section};
use super::resample::{Resampler, length, ratio};
use super::{Signal, room};
use crate::data::mask::Mask;
use crate::heatmap::{Over, WHOLE};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// To samples per second.
    Rate(f64),
    /// Keeps what is faster than this many Hz; an even order.
    HighPass(f64, u32),
    /// Keeps what is slower.
    LowPass(f64, u32),
    /// Removes one frequency; its sharpness.
    Notch(f64, f64),
    /// So many samples, from this one on.
    Crop(usize, usize),
    /// The first so many channels.
    Channels(usize),
}

impl Step {
    /// The steps of this name with these arguments, or why there are none.
    pub fn new(name: &str, args: &[f64]) -> Result<Vec<Step>, String> {
        let arg = |n: usize| args.get(n).copied().ok_or_else(|| format!("`{name}` lacks an argument"));
        let positive = |n: usize, what: &str| {
            let v = arg(n)?;
            if v > 0.0 && v < 1e9 { Ok(v) } else { Err(format!("`{name}`: {v} is no {what}")) }
        };
        let whole = |n: usize, least: f64, most: f64, what: &str| {
            let v = arg(n)?;
            let fits = (least..=most).contains(&v) && v.fract() == 0.0;
            if fits { Ok(v) } else { Err(format!("`{name}`: {v} is no {what} from {least} to {most}")) }
        };
        let order = |at: usize| {
            let n = whole(at, 2.0, 12.0, "order")?;
            if n % 2.0 == 0.0 { Ok(n as u32) } else { Err(format!("`{name}`: the order {n} is odd")) }
        };
        let most = super::MOST_VALUES as f64;
        if name == "band_pass" {
            let (low, high, order) = (positive(0, "frequency in Hz")?, positive(1, "frequency in Hz")?, order(2)?);
            return Ok(vec![Step::HighPass(low, order), Step::LowPass(high, order)]);
        }
        Ok(vec![match name {
            "resample_rate" => Step::Rate(positive(0, "rate in Hz")?),
            "high_pass" => Step::HighPass(positive(0, "frequency in Hz")?, order(1)?),
            "low_pass" => Step::LowPass(positive(0, "frequency in Hz")?, order(1)?),
            "notch" => Step::Notch(positive(0, "frequency in Hz")?, positive(1, "sharpness")?),
            "crop" => Step::Crop(whole(0, 1.0, most, "length")? as usize, whole(1, 0.0, most, "start")? as usize),
            "channels" => Step::Channels(whole(0, 1.0, super::MOST_CHANNELS as f64, "number of channels")? as usize),
            _ => return Err(format!("this version has no loader step `{name}` of signals")),
        }])
    }
}

/// Runs the steps. The shape is channels and samples.
pub fn prepare(signal: &Signal, steps: &[Step]) -> Result<(Vec<usize>, Vec<f32>), String> {
    let signal = run(signal, steps)?;
    let values: Vec<f32> = signal.values.iter().flatten().map(|v| *v as f32).collect();
    if values.iter().any(|v| !v.is_finite()) {
        return Err("has values too large for the detector".to_owned());
    }
    Ok((vec![signal.values.len(), signal.len()], values))
}

/// The signal after the steps.
pub fn run(signal: &Signal, steps: &[Step]) -> Result<Signal, String> {
    let mut now = signal.clone();
    for step in steps {
        match *step {
            Step::Rate(to) => {
                let from = *now.rate.get_or_insert(to);
                let by = ratio(from, to)?;
                room(now.values.len() as u64, length(now.len(), by) as u64)?;
                if by.0 != by.1 {
                    let resampler = Resampler::new(by);
                    now.values.iter_mut().for_each(|c| *c = resampler.channel(c));
                }
                now.rate = Some(to);
            }
            Step::HighPass(hz, order) => filtered(&mut now, hz, |edge| filter::butterworth(true, edge, order))?,
            Step::LowPass(hz, order) => filtered(&mut now, hz, |edge| filter::butterworth(false, edge, order))?,
            Step::Notch(hz, q) => filtered(&mut now, hz, |edge| vec![filter::notch(edge, q)])?,
            Step::Crop(take, from) => {
                let (have, to) = (now.len(), from.saturating_add(take));
                if to > have {
                    let all = if from == 0 { String::new() } else { format!(" from {from} on") };
                    return Err(format!("has {have} samples; `crop` takes {take}{all}"));
                }
                now.values.iter_mut().for_each(|c| *c = c[from..to].to_vec());
            }
            Step::Channels(take) => {
                let have = now.values.len();
                if take > have {
                    return Err(format!("has {have} channels; `channels` takes {take}"));
                }
                now.values.truncate(take);
            }
        }
    }
    Ok(now)
}

fn filtered(signal: &mut Signal, hz: f64, make: impl Fn(f64) -> Vec<Section>) -> Result<(), String> {
    let rate = signal
        .rate
        .ok_or("does not say its sampling rate, which a filter must know; `resample_rate` before it names one")?;
    if hz >= rate / 2.0 {
        return Err(format!("has {rate} samples per second, so there is no frequency of {hz} Hz to filter at"));
    }
    let sections = make(hz / rate);
    for channel in &mut signal.values {
        *channel = filter::both_ways(channel, &sections)?;
    }
    Ok(())
}

/// A mask of a signal after the steps: rows are channels, columns samples.
pub fn mask(mask: &Mask, rate: Option<f64>, steps: &[Step]) -> Mask {
    let (mut now, mut rate) = (mask.clone(), rate);
    for step in steps {
        match *step {
            Step::Rate(to) => {
                if let Some(by) = rate.and_then(|from| ratio(from, to).ok()) {
                    now = now.nearest(now.height, length(now.width, by));
                }
                rate = Some(to);
            }
            Step::Crop(take, from) => {
                let rows = now.values.chunks_exact(now.width.max(1));
                let at = |row: &[u8]| {
                    (from..from.saturating_add(take)).map(|i| row.get(i).copied().unwrap_or(0)).collect::<Vec<_>>()
                };
                now = Mask { height: now.height, width: take, values: rows.flat_map(at).collect() };
            }
            Step::Channels(take) => {
                now.values.truncate(take * now.width);
                now.height = now.height.min(take);
            }
            Step::HighPass(..) | Step::LowPass(..) | Step::Notch(..) => {}
        }
    }
    now
}

/// The part of a signal that is left after the steps: channels from the top, time from the left.
pub fn covered(signal: &Signal, steps: &[Step]) -> Over {
    let (mut over, mut rate, mut samples, mut channels) = (WHOLE, signal.rate, signal.len(), signal.values.len());
    for step in steps {
        match *step {
            Step::Rate(to) => {
                samples = rate.and_then(|from| ratio(from, to).ok()).map_or(samples, |by| length(samples, by));
                rate = Some(to);
            }
            Step::Crop(take, from) => {
                let all = samples.max(1) as f32;
                over.left += over.width * from as f32 / all;
                over.width *= take as f32 / all;
                samples = take;
            }
            Step::Channels(take) => {
                over.height *= take.min(channels) as f32 / channels.max(1) as f32;
                channels = channels.min(take);
            }
            Step::HighPass(..) | Step::LowPass(..) | Step::Notch(..) => {}
        }
    }
    over
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(n: usize, rate: Option<f64>) -> Signal {
        let channel = |k: f64| (0..n).map(|i| (i as f64 * 0.1 + k).sin()).collect();
        Signal {
            rate,
            names: vec!["a".into(), "b".into()],
            units: Vec::new(),
            values: vec![channel(0.0), channel(1.0)],
        }
    }

    #[test]
    fn steps_of_signals() {
        let steps = [
            ("resample_rate", vec![500.0]),
            ("high_pass", vec![1.0, 2.0]),
            ("low_pass", vec![25.0, 2.0]),
            ("crop", vec![100.0, 50.0]),
        ];
        let steps: Vec<Step> = steps.iter().flat_map(|(n, a)| Step::new(n, a).unwrap()).collect();
        let (shape, values) = prepare(&two(400, Some(1000.0)), &steps).unwrap();
        assert_eq!((shape, values.len()), (vec![2, 100], 200));
        let over = covered(&two(400, Some(1000.0)), &steps);
        assert_eq!((over.left, over.width, over.height), (0.25, 0.5, 1.0));
        let mut all = Mask::clear(2, 400);
        all.values[400 + 110] = 1;
        all.values[400 + 111] = 1;
        let cut = mask(&all, Some(1000.0), &steps);
        assert_eq!((cut.height, cut.width, cut.values.iter().position(|v| *v != 0)), (2, 100, Some(105)));
        let no_rate = prepare(&two(400, None), &steps).unwrap();
        assert_eq!(no_rate.0, [2, 100]);
    }

    #[test]
    fn what_does_not_do_is_said() {
        let run = |n: usize, rate: Option<f64>, name: &str, args: &[f64]| {
            prepare(&two(n, rate), &Step::new(name, args).unwrap()).unwrap_err()
        };
        assert!(run(40, None, "high_pass", &[1.0, 2.0]).contains("does not say its sampling rate"));
        assert!(run(40, Some(30.0), "low_pass", &[25.0, 2.0]).contains("no frequency of 25 Hz"));
        assert!(run(9, Some(500.0), "low_pass", &[25.0, 2.0]).contains("has 9 samples"));
        assert!(run(40, None, "crop", &[30.0, 20.0]).contains("has 40 samples; `crop` takes 30 from 20 on"));
        assert!(run(40, None, "channels", &[3.0]).contains("has 2 channels"));
        for (name, args, why) in [
            ("crop", vec![0.0, 0.0], "0 is no length"),
            ("crop", vec![1.0], "lacks an argument"),
            ("high_pass", vec![1.0, 3.0], "odd"),
            ("high_pass", vec![f64::NAN, 2.0], "no frequency"),
            ("resize", vec![1.0], "no loader step `resize` of signals"),
        ] {
            assert!(Step::new(name, &args).unwrap_err().contains(why), "{name} {args:?}");
        }
    }
}
