//! Headers of WFDB records.
//!
//! In: the text of a `.hea` file. Out: [`Header`]. Invariants: what is left out has the value that WFDB gives it (250 samples per
//! second, 200 units per millivolt, the baseline at the converter's zero); a line that does not do is named by its number.
//! Imports: nothing of this project.

use std::str::FromStr;

use super::MOST_CHANNELS;

/// What a header says.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Samples per second of a channel.
    pub rate: f64,
    /// Samples of a channel, where it is said.
    pub length: Option<u64>,
    /// Channels in order.
    pub channels: Vec<Channel>,
}

/// A channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// The file that it is in.
    pub file: String,
    /// The number of its format.
    pub format: u32,
    /// Samples per frame.
    pub per_frame: usize,
    /// Bytes before the samples of the file.
    pub offset: u64,
    /// Steps of the converter per unit.
    pub gain: f64,
    /// The step that is 0 units.
    pub baseline: f64,
    /// The unit.
    pub unit: String,
    /// The first sample, from which formats of differences count.
    pub first: i64,
    /// The sum of all samples, of which 16 bits are kept.
    pub checksum: Option<i64>,
    /// Its name.
    pub name: String,
}

/// Reads a header.
pub fn parse(text: &str) -> Result<Header, String> {
    let lines = text.lines().enumerate().map(|(n, l)| (n + 1, l.trim()));
    let mut lines = lines.filter(|(_, l)| !l.is_empty() && !l.starts_with('#'));
    let (line, record) = lines.next().ok_or("the header is empty")?;
    let wrong = |line: usize, why: String| format!("line {line}: {why}");
    let (count, rate, length) = record_line(record).map_err(|e| wrong(line, e))?;
    let mut channels = Vec::new();
    for (line, text) in lines {
        if channels.len() == count {
            return Err(wrong(line, format!("more lines than the {count} channels of the first line")));
        }
        channels.push(channel_line(text).map_err(|e| wrong(line, e))?);
    }
    if channels.len() < count {
        let have = channels.len();
        return Err(format!("the header is cut off: it announces {count} channels and describes {have}"));
    }
    Ok(Header { rate, length, channels })
}

fn number<T: FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{}` is not {what}", text.chars().take(40).collect::<String>()))
}

/// `NAME CHANNELS RATE/COUNTER(BASE) LENGTH TIME DATE`
fn record_line(text: &str) -> Result<(usize, f64, Option<u64>), String> {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    if name.contains('/') {
        return Err("a record of several segments; name one of them".to_owned());
    }
    let count: usize = number(words.next().ok_or("no number of channels")?, "a number of channels")?;
    if count == 0 || count > MOST_CHANNELS {
        return Err(format!("{count} channels are not handled"));
    }
    let rate = match words.next() {
        Some(word) => number(word.split('/').next().unwrap_or(word), "a sampling rate")?,
        None => 250.0,
    };
    if !(rate > 0.0 && f64::is_finite(rate)) {
        return Err(format!("the sampling rate is {rate}"));
    }
    let length = words.next().map(|w| number(w, "a number of samples")).transpose()?;
    Ok((count, rate, length.filter(|n| *n > 0)))
}

/// `FILE FORMATxPER_FRAME:SKEW+OFFSET GAIN(BASELINE)/UNIT RESOLUTION ZERO FIRST CHECKSUM BLOCK NAME`
fn channel_line(text: &str) -> Result<Channel, String> {
    let mut rest = text;
    let mut word = || {
        let from = rest.trim_start();
        let (word, left) = from.split_once(char::is_whitespace).unwrap_or((from, ""));
        rest = left;
        (!word.is_empty()).then_some(word)
    };
    let file = word().ok_or("no file")?.to_owned();
    if file.contains(['/', '\\']) || file == ".." {
        return Err(format!("`{file}` is not beside the header"));
    }
    let format = word().ok_or("no format")?;
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (own, mut marks) = format.split_at(digits(format));
    let (mut per_frame, mut skew, mut offset) = (1, 0, 0);
    let format: u32 = number(own, "a format")?;
    while let Some(mark) = marks.chars().next() {
        let after = &marks[mark.len_utf8()..];
        let (value, left) = after.split_at(digits(after));
        match mark {
            'x' => per_frame = number(value, "a number of samples per frame")?,
            ':' => skew = number(value, "a skew")?,
            '+' => offset = number(value, "an offset")?,
            _ => return Err(format!("`{own}{marks}` is not a format")),
        }
        marks = left;
    }
    if per_frame == 0 || per_frame > 1024 {
        return Err(format!("{per_frame} samples per frame are not handled"));
    }
    if skew != 0u64 {
        return Err(format!("the channel is {skew} samples late; skewed channels are not read"));
    }
    let (mut gain, mut baseline, mut unit) = (0.0, None, "mV".to_owned());
    if let Some(word) = word() {
        let (scale, named) = word.split_once('/').unwrap_or((word, "mV"));
        unit = named.to_owned();
        let (steps, zero) = match scale.split_once('(') {
            Some((g, b)) => (g, Some(b.trim_end_matches(')'))),
            None => (scale, None),
        };
        gain = number(steps, "a gain")?;
        baseline = zero.map(|b| number::<f64>(b, "a baseline")).transpose()?;
    }
    if gain == 0.0 {
        gain = 200.0;
    }
    if !f64::is_finite(gain) || baseline.is_some_and(|b| !b.is_finite()) {
        return Err("the gain and the baseline are to be numbers".to_owned());
    }
    let mut whole = |what: &str| word().map(|w| number::<i64>(w, what)).transpose();
    let (_, zero) = (whole("a resolution")?, whole("the converter's zero")?.unwrap_or(0));
    let (first, checksum) = (whole("a first value")?, whole("a checksum")?);
    let _block = whole("a block size")?;
    Ok(Channel {
        file,
        format,
        per_frame,
        offset,
        gain,
        baseline: baseline.unwrap_or(zero as f64),
        unit,
        first: first.unwrap_or(zero),
        checksum,
        name: rest.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_its_usual_value() {
        let h = parse("# of 1980\n\n100 2 360 650000 0:0:0\n100.dat 212\n100.dat 16x4+24 1e3(-5)/uV 11 1024 995 -22131 0 V5 left\n").unwrap();
        assert_eq!((h.rate, h.length), (360.0, Some(650_000)));
        let (a, b) = (&h.channels[0], &h.channels[1]);
        assert_eq!((a.gain, a.baseline, a.unit.as_str(), a.checksum), (200.0, 0.0, "mV", None));
        assert_eq!((b.gain, b.baseline, b.unit.as_str(), b.name.as_str()), (1e3, -5.0, "uV", "V5 left"));
        assert_eq!((b.per_frame, b.offset, b.first, b.checksum), (4, 24, 995, Some(-22131)));
        assert_eq!(parse("r 1\nr.dat 16 0 0 7").unwrap().channels[0].baseline, 7.0);
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, why) in [
            ("", "empty"),
            ("# only words", "empty"),
            ("r", "line 1: no number of channels"),
            ("r x", "line 1: `x` is not a number of channels"),
            ("r 99999999999", "not handled"),
            ("r 1 nan\nr.dat 16", "sampling rate"),
            ("r/3 1", "several segments"),
            ("r 2 250 10\nr.dat 16\n", "announces 2 channels and describes 1"),
            ("r 1\nr.dat 16\nr.dat 16", "line 3: more lines"),
            ("r 1\n../../etc/passwd 16", "not beside the header"),
            ("r 1\nr.dat 16y2", "not a format"),
            ("r 1\nr.dat 16:3", "skewed"),
            ("r 1\nr.dat 16 inf", "to be numbers"),
        ] {
            let e = parse(text).unwrap_err();
            assert!(e.contains(why), "{text:?}: {e}");
        }
    }
}
