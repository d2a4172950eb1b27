//! Signals in tables: a row per point of time, a column per channel.
//!
//! In: text with commas, semicolons, tabs or spaces between numbers, and a first line of names or not. Out: a signal. Invariants: a column
//! named `time`, `t` or `seconds` (or `ms`) is no channel and gives the sampling rate, if its steps are equal; a field that is
//! no number is named by line and column; lines are read one by one. Imports: signals.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::{MOST_CHANNELS, Signal, room};

/// Longer lines are refused.
const MOST_LINE: u64 = 1 << 20;

/// Reads a table.
pub fn read(path: &Path) -> Result<Signal, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    parse(BufReader::new(file))
}

fn parse(mut from: impl BufRead) -> Result<Signal, String> {
    let (mut signal, mut clock, mut mark) = (Signal::default(), None, None);
    let mut times = Vec::new();
    let (mut bytes, mut number, mut rows) = (Vec::new(), 0u64, 0u64);
    loop {
        bytes.clear();
        let n = from.by_ref().take(MOST_LINE).read_until(b'\n', &mut bytes).map_err(|e| e.to_string())?;
        if n == 0 {
            break;
        }
        number += 1;
        if n as u64 == MOST_LINE {
            return Err(format!("line {number} is longer than {MOST_LINE} bytes: no table of numbers"));
        }
        let line = std::str::from_utf8(&bytes).map_err(|_| format!("line {number} is no text"))?;
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mark = *mark.get_or_insert_with(|| [',', ';', '\t'].into_iter().find(|c| line.contains(*c)).unwrap_or(' '));
        let fields: Vec<&str> = match mark {
            ' ' => line.split_whitespace().collect(),
            _ => line.split(mark).map(|f| f.trim().trim_matches('"')).collect(),
        };
        if signal.values.is_empty() {
            if fields.len() > MOST_CHANNELS {
                return Err(format!("{} columns are not handled", fields.len()));
            }
            signal.values = vec![Vec::new(); fields.len()];
            if fields.iter().any(|f| f.parse::<f64>().is_err()) {
                signal.names = fields.iter().map(|f| (*f).to_owned()).collect();
                clock = signal.names.iter().position(|n| unit_of_time(n).is_some());
                continue;
            }
        }
        if fields.len() != signal.values.len() {
            let (have, all) = (fields.len(), signal.values.len());
            return Err(format!("line {number} has {have} fields, the first line {all}"));
        }
        rows += 1;
        if rows.is_multiple_of(1 << 16) {
            room(fields.len() as u64, rows)?;
        }
        for (n, field) in fields.iter().enumerate() {
            let value: f64 = field.parse().ok().filter(|v: &f64| v.is_finite()).ok_or_else(|| {
                let shown: String = field.chars().take(40).collect();
                format!("line {number}, column {}: `{shown}` is not a number", n + 1)
            })?;
            if clock == Some(n) { times.push(value) } else { signal.values[n].push(value) }
        }
    }
    if let Some(n) = clock {
        let scale = unit_of_time(&signal.names.remove(n)).unwrap_or(1.0);
        signal.values.remove(n);
        signal.rate = Some(rate(&times, scale)?);
        if signal.values.is_empty() {
            return Err("has a column of times and no other".to_owned());
        }
    }
    if signal.names.is_empty() {
        signal.names = vec![String::new(); signal.values.len()];
    }
    // `ii (mV)` is a name and a unit.
    for name in &mut signal.names {
        let unit = name.strip_suffix(')').and_then(|n| n.rsplit_once('('));
        let parts = unit.map(|(n, u)| (n.trim().to_owned(), u.to_owned()));
        signal.units.push(parts.as_ref().map_or_else(String::new, |p| p.1.clone()));
        if let Some((own, _)) = parts {
            *name = own;
        }
    }
    Ok(signal)
}

/// Seconds of one unit, if this names a column of times.
fn unit_of_time(name: &str) -> Option<f64> {
    match name.to_lowercase().as_str() {
        "time" | "t" | "seconds" | "time (s)" | "time [s]" | "time_s" => Some(1.0),
        "ms" | "milliseconds" | "time (ms)" | "time [ms]" | "time_ms" => Some(1e-3),
        _ => None,
    }
}

fn rate(times: &[f64], scale: f64) -> Result<f64, String> {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return Err("holds no samples".to_owned()) };
    let step = (last - first) / (times.len() as f64 - 1.0);
    if !(step > 0.0 && step.is_finite()) {
        return Err("its times do not grow".to_owned());
    }
    let odd = times.windows(2).position(|w| ((w[1] - w[0]) / step - 1.0).abs() > 0.1);
    if let Some(at) = odd {
        return Err(format!("its times are not evenly spaced: after sample {at} the step is another"));
    }
    // A rate is a round number that printing the times has blurred.
    let rate = 1.0 / (step * scale);
    let round = (rate * 100.0).round() / 100.0;
    Ok(if (round - rate).abs() < 1e-4 * rate { round } else { rate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_times_and_units_come_from_the_first_line() {
        let s = parse("\u{feff}time,ii (mV),\"v5\"\n0,1,2\n0.002,3,4\n0.004,5,6\n".as_bytes()).unwrap();
        assert_eq!(s.rate, Some(500.0));
        assert_eq!((s.names[0].as_str(), s.units[0].as_str(), s.names[1].as_str()), ("ii", "mV", "v5"));
        assert_eq!(s.values, [vec![1.0, 3.0, 5.0], vec![2.0, 4.0, 6.0]]);
        let bare = parse("1 2\n\n# a remark\n3\t4\n".as_bytes()).unwrap();
        assert_eq!((bare.rate, bare.values), (None, vec![vec![1.0, 3.0], vec![2.0, 4.0]]));
    }

    #[test]
    fn wrong_fields_are_named() {
        for (text, why) in [
            ("1,2\n3\n", "line 2 has 1 fields, the first line 2"),
            ("1,2\n3,NaN\n", "line 2, column 2: `NaN`"),
            ("1,2\n3,\n", "line 2, column 2: `` is not"),
            ("a,b\n1,x\n", "line 2, column 2: `x`"),
            ("t,a\n0,1\n1,1\n3,1\n", "not evenly spaced"),
            ("t,a\n1,1\n0,1\n", "do not grow"),
            ("t\n0\n1\n", "no other"),
        ] {
            let e = parse(text.as_bytes()).unwrap_err();
            assert!(e.contains(why), "{text:?}: {e}");
        }
        assert!(parse([0xffu8, 0xfe, 0].as_slice()).unwrap_err().contains("no text"));
    }
}
