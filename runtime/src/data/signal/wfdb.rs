//! WFDB records: a header, and files of samples beside it.
//!
//! In: the path of a `.hea` file. Out: a signal in physical units. Invariants: a file that is shorter than the header says is
//! refused, as is one whose samples have another sum; several samples per frame become their mean. Imports: headers, formats, memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::formats::Format;
use super::header::{self, Channel, Header};
use super::{Signal, room};
use crate::device::memory::FileMap;

/// Longer headers are refused.
const MOST_TEXT: u64 = 1 << 20;

/// Reads a record.
pub fn read(path: &Path) -> Result<Signal, String> {
    let header = header_of(path)?;
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (n, c) in header.channels.iter().enumerate() {
        groups.entry(&c.file).or_default().push(n);
    }
    let mut values = vec![Vec::new(); header.channels.len()];
    let mut length = header.length;
    for (file, group) in &groups {
        let whole = path.parent().unwrap_or(Path::new("")).join(file);
        super::super::is_plain(&whole).map_err(|e| format!("its file `{file}`: {}", e.why))?;
        let map = FileMap::open(&whole).map_err(|e| format!("its file `{file}`: {e}"))?;
        let channels: Vec<&Channel> = group.iter().filter_map(|n| header.channels.get(*n)).collect();
        let made = of_file(map.bytes(), &channels, length).map_err(|e| format!("its file `{file}` {e}"))?;
        length = length.or_else(|| made.first().map(|v| v.len() as u64));
        for (n, channel) in group.iter().zip(made) {
            if let Some(slot) = values.get_mut(*n) {
                *slot = channel;
            }
        }
    }
    Ok(signal(&header, values))
}

fn header_of(path: &Path) -> Result<Header, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MOST_TEXT {
        return Err(format!("a header of {size} bytes is not handled"));
    }
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    // Names of patients are in any encoding; what is read is ASCII.
    header::parse(&String::from_utf8_lossy(&bytes))
}

/// The files that a header names, where it can be read.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(header) = header_of(path) else { return Vec::new() };
    let names: BTreeSet<String> = header.channels.into_iter().map(|c| c.file).collect();
    names.into_iter().map(|n| path.parent().unwrap_or(Path::new("")).join(n)).collect()
}

fn signal(header: &Header, values: Vec<Vec<f64>>) -> Signal {
    let of = |f: fn(&Channel) -> &String| header.channels.iter().map(|c| f(c).clone()).collect();
    Signal { rate: Some(header.rate), names: of(|c| &c.name), units: of(|c| &c.unit), values }
}

/// The channels of one file.
fn of_file(bytes: &[u8], channels: &[&Channel], length: Option<u64>) -> Result<Vec<Vec<f64>>, String> {
    let Some(first) = channels.first() else { return Ok(Vec::new()) };
    if let Some(odd) = channels.iter().find(|c| c.format != first.format || c.offset != first.offset) {
        return Err(format!("has channels of the formats {} and {}", first.format, odd.format));
    }
    let format = Format::new(first.format).map_err(|e| format!("cannot be read: {e}"))?;
    let bytes = usize::try_from(first.offset).ok().and_then(|o| bytes.get(o..)).unwrap_or_default();
    let frame: u64 = channels.iter().map(|c| c.per_frame as u64).sum();
    let there = format.samples(bytes.len() as u64);
    let length = length.unwrap_or(there / frame);
    let wanted = length.checked_mul(frame).ok_or("is said to hold more samples than can be counted")?;
    if wanted > there {
        let (n, have) = (channels.len(), there / frame);
        return Err(format!("is cut off: {length} samples of {n} channels are announced, and it holds {have}"));
    }
    room(frame, length)?;
    let mut made: Vec<Vec<f64>> = channels.iter().map(|_| Vec::with_capacity(length as usize)).collect();
    let mut sums = vec![0i64; channels.len()];
    let mut last: Vec<i64> = channels.iter().map(|c| c.first).collect();
    let mut at = 0;
    for frame in 0..length {
        for (n, c) in channels.iter().enumerate() {
            let mut mean = 0.0;
            for _ in 0..c.per_frame {
                let Some(mut value) = format.sample(bytes, at) else {
                    let name = if c.name.is_empty() { format!("channel {}", n + 1) } else { format!("`{}`", c.name) };
                    return Err(format!("has no value of {name} at sample {frame}"));
                };
                at += 1;
                if format.differences() {
                    value = last[n].saturating_add(value);
                    last[n] = value;
                }
                sums[n] = sums[n].wrapping_add(value);
                mean += value as f64;
            }
            made[n].push((mean / c.per_frame as f64 - c.baseline) / c.gain);
        }
    }
    for (c, sum) in channels.iter().zip(sums) {
        // The sum is of the whole record, whose length is then known.
        if c.checksum.is_some_and(|s| s as u16 != sum as u16) {
            let (name, said, is) = (&c.name, c.checksum.unwrap_or(0), sum as i16);
            return Err(format!("is damaged: the samples of `{name}` add up to {is}, not to {said}"));
        }
    }
    Ok(made)
}
