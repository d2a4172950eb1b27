//! Signals: channels over time, from the files that recorders and programs write.
//!
//! In: WFDB records (`.hea` with its `.dat` files), CSV and other tables, NPY arrays. Out: [`Signal`], in physical units. Invariants: every
//! channel has the same length, at least one sample, and numbers only; sizes are looked at before anything is read, so a header asks
//! for no more memory than [`MOST_VALUES`]; a file that does not do is named with the reason. Imports: memory, [`super::ReadError`].

pub mod array;
pub mod filter;
pub mod formats;
pub mod header;
pub mod resample;
pub mod steps;
pub mod table;
pub mod wfdb;

use std::path::{Path, PathBuf};

use super::ReadError;
use super::mask::Mask;
use crate::device::memory::fits;

/// Larger signals are refused: 64 million values, half a GiB.
pub const MOST_VALUES: u64 = 1 << 26;

/// So are signals of more channels.
pub const MOST_CHANNELS: usize = 4096;

/// Endings of their names that are looked for in folders.
pub const ENDINGS: [&str; 4] = ["hea", "csv", "tsv", "npy"];

/// Endings of files that hold truths about them.
pub const MASK_ENDINGS: [&str; 3] = ["npy", "csv", "tsv"];

/// Channels over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signal {
    /// Samples per second, where the file says it.
    pub rate: Option<f64>,
    /// Names of the channels; may be empty texts.
    pub names: Vec<String>,
    /// Units of the values, as `mV`; may be empty texts.
    pub units: Vec<String>,
    /// Channels.
    pub values: Vec<Vec<f64>>,
}

impl Signal {
    /// Samples of a channel.
    pub fn len(&self) -> usize {
        self.values.first().map_or(0, Vec::len)
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a channel is called, for messages: its name or its number.
    pub fn name(&self, channel: usize) -> String {
        let named = self.names.get(channel).filter(|n| !n.is_empty());
        named.map_or_else(|| format!("channel {}", channel + 1), |n| format!("channel {} (`{n}`)", channel + 1))
    }

    /// The signal, if it is one.
    fn checked(self) -> Result<Signal, String> {
        if self.is_empty() {
            return Err("holds no samples".to_owned());
        }
        for (n, channel) in self.values.iter().enumerate() {
            if channel.len() != self.len() {
                let (name, has, all) = (self.name(n), channel.len(), self.len());
                return Err(format!("{name} has {has} samples, the first channel {all}"));
            }
            if let Some(at) = channel.iter().position(|v| !v.is_finite()) {
                return Err(format!("{} has no number at sample {at}", self.name(n)));
            }
        }
        Ok(self)
    }
}

/// Reads a signal. `FILE.npy#7` is the eighth record of an array of records.
pub fn read(path: &Path) -> Result<Signal, ReadError> {
    let (file, record) = numbered(path);
    let fail = |why: String| ReadError::new(path, why);
    super::is_plain(&file).map_err(|e| fail(e.why))?;
    let ending = file.extension().and_then(|e| e.to_str()).map(str::to_lowercase).unwrap_or_default();
    if record.is_some() && ending != "npy" {
        return Err(fail("`#` and a number name a record of an .npy file".to_owned()));
    }
    let signal = match ending.as_str() {
        "hea" => wfdb::read(&file),
        "dat" if file.with_extension("hea").is_file() => wfdb::read(&file.with_extension("hea")),
        "dat" => Err("a .dat file is read by its header, and there is no .hea file beside it".to_owned()),
        "npy" => array::signal(&file, record),
        "csv" | "tsv" | "txt" => table::read(&file),
        other => Err(format!("signals are read from .hea, .csv, .tsv, .txt and .npy files, not from .{other}")),
    };
    signal.and_then(Signal::checked).map_err(fail)
}

/// All files that a signal is in; the one that is named first.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let (mut file, _) = numbered(path);
    if file.extension().is_some_and(|e| e == "dat") {
        file.set_extension("hea");
    }
    let more = if file.extension().is_some_and(|e| e == "hea") { wfdb::files(&file) } else { Vec::new() };
    std::iter::once(file).chain(more).collect()
}

/// The file, and the number after `#`.
pub fn numbered(path: &Path) -> (PathBuf, Option<u64>) {
    let whole = || (path.to_owned(), None);
    if path.exists() {
        return whole();
    }
    let Some((file, number)) = path.to_str().and_then(|p| p.rsplit_once('#')) else { return whole() };
    number.parse().map_or_else(|_| whole(), |n| (PathBuf::from(file), Some(n)))
}

/// Is there memory for so many values of so many channels?
fn room(channels: u64, length: u64) -> Result<(), String> {
    let all = channels.checked_mul(length).filter(|n| *n <= MOST_VALUES);
    if channels > MOST_CHANNELS as u64 || all.is_none() {
        return Err(format!("a signal of {channels} channels of {length} samples is not handled"));
    }
    let bytes = all.and_then(|n| usize::try_from(n).ok()).and_then(|n| n.checked_mul(8));
    if bytes.is_some_and(fits) { Ok(()) } else { Err(format!("no memory for {channels} channels of {length} samples")) }
}

/// The truths about a signal: what is not 0 in a file of as many samples, with a row for all channels or one for each.
pub fn truth(path: &Path, signal: &Signal) -> Result<Mask, ReadError> {
    let fail = |why: String| ReadError::new(path, why);
    let found = read(path)?;
    let (rows, columns, channels) = (found.values.len(), found.len(), signal.values.len());
    if columns != signal.len() || (rows != 1 && rows != channels) {
        let (n, len) = (channels, signal.len());
        return Err(fail(format!("the mask has {rows} x {columns} values, its signal {n} x {len}")));
    }
    let row =
        |n: usize| found.values.get(if rows == 1 { 0 } else { n }).into_iter().flatten().map(|v| u8::from(*v != 0.0));
    Ok(Mask { height: channels, width: columns, values: (0..channels).flat_map(row).collect() })
}
