//! NumPy's `.npy` files.
//!
//! In: an array of numbers of any number of axes. Out: a signal, or any array as f64; and back. Invariants: of an array of records only the
//! one that is named is read; a size is compared with the file's before anything is read; objects and texts are refused.
//! Imports: signals, whole files.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::{Signal, room};

/// Longer headers are refused.
const MOST_TEXT: usize = 1 << 16;

/// What stands before the numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Axes.
    pub shape: Vec<u64>,
    kind: char,
    /// Bytes of a number.
    width: u64,
    big_endian: bool,
    fortran: bool,
    /// Where the numbers begin.
    start: u64,
}

/// One record of an array as a signal: `[time]`, or `[time, channels]` or `[channels, time]`, of which the longer axis is time. More
/// axes in front number the records.
pub fn signal(path: &Path, record: Option<u64>) -> Result<Signal, String> {
    let mut file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let size = file.metadata().map_err(|e| e.to_string())?.len();
    let head = head(&mut file, size)?;
    let rank = head.shape.len();
    let own = if record.is_some() && rank == 2 { 1 } else { 2.min(rank) };
    let (front, shape) = head.shape.split_at(rank - own);
    let records: u64 = front.iter().product();
    let n = match record {
        None if records == 1 => 0,
        None => return Err(format!("holds {records} records of {shape:?}; a manifest names one as FILE.npy#0")),
        Some(n) if n < records => n,
        Some(n) => return Err(format!("holds {records} records, so there is no #{n}")),
    };
    if head.fortran && front.iter().any(|d| *d > 1) {
        return Err("an array of records is to be in C order".to_owned());
    }
    let (rows, columns) = match shape {
        [] => (1, 1),
        [q] => (*q, 1),
        [a, b] => (*a, *b),
        _ => return Err("more than two axes".to_owned()),
    };
    room(rows.min(columns), rows.max(columns))?;
    let values = numbers(&mut file, &head, n * rows * columns, rows * columns)?;
    let (rows, columns) = (rows as usize, columns as usize);
    let at = |r: usize, c: usize| values[if head.fortran { c * rows + r } else { r * columns + c }];
    let channels: Vec<Vec<f64>> = if rows >= columns {
        (0..columns).map(|c| (0..rows).map(|r| at(r, c)).collect()).collect()
    } else {
        (0..rows).map(|r| (0..columns).map(|c| at(r, c)).collect()).collect()
    };
    let none = || vec![String::new(); channels.len()];
    Ok(Signal { rate: None, names: none(), units: none(), values: channels })
}

/// A whole array in C order.
pub fn read(path: &Path) -> Result<(Vec<usize>, Vec<f64>), String> {
    let mut file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let size = file.metadata().map_err(|e| e.to_string())?.len();
    let head = head(&mut file, size)?;
    if head.fortran && head.shape.len() > 1 {
        return Err("the array is to be in C order".to_owned());
    }
    let count = head.shape.iter().product();
    room(1, count)?;
    let values = numbers(&mut file, &head, 0, count)?;
    Ok((head.shape.iter().map(|d| *d as usize).collect(), values))
}

/// Reads what stands before the numbers of a file of `size` bytes.
fn head(file: &mut impl Read, size: u64) -> Result<Head, String> {
    let mut magic = [0; 8];
    file.read_exact(&mut magic).map_err(|_| "too short for an .npy file".to_owned())?;
    if !magic.starts_with(b"\x93NUMPY") {
        return Err("not an .npy file".to_owned());
    }
    let wide = match magic[6] {
        1 => 2,
        2 | 3 => 4,
        v => return Err(format!("an .npy file of version {v} is not read")),
    };
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes[..wide]).map_err(|_| "cut off in its header".to_owned())?;
    let length = u32::from_le_bytes(bytes) as usize;
    if length > MOST_TEXT {
        return Err(format!("a header of {length} bytes is not handled"));
    }
    let mut text = vec![0; length];
    file.read_exact(&mut text).map_err(|_| "cut off in its header".to_owned())?;
    let text = String::from_utf8_lossy(&text);
    let (mut head, order) = described(&text)?;
    head.start = 8 + wide as u64 + length as u64;
    head.fortran = order;
    let count = head.shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
    let wanted = count.and_then(|n| n.checked_mul(head.width)).and_then(|n| n.checked_add(head.start));
    match wanted {
        None => Err(format!("announces {:?} numbers, more than can be counted", head.shape)),
        Some(w) if w > size => Err(format!("is cut off: {:?} numbers take {w} bytes, and it has {size}", head.shape)),
        Some(w) if w < size => Err(format!("has {} bytes more than its {:?} numbers", size - w, head.shape)),
        Some(_) => Ok(head),
    }
}

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`
fn described(text: &str) -> Result<(Head, bool), String> {
    let after = |key: &str| {
        let at = text.find(&format!("'{key}'")).ok_or_else(|| format!("its header has no `{key}`"))?;
        let rest = text[at..].split_once(':').map_or("", |p| p.1);
        Ok::<&str, String>(rest.trim_start())
    };
    let descr = after("descr")?.strip_prefix('\'').and_then(|d| d.split_once('\'')).map(|d| d.0);
    let descr = descr.ok_or("its numbers are records of several fields; one array of numbers is read")?;
    let mut chars = descr.chars();
    let big_endian = chars.next() == Some('>');
    let kind = chars.next().unwrap_or('?');
    let width: u64 = chars.as_str().parse().unwrap_or(0);
    let known = matches!((kind, width), ('f', 2 | 4 | 8) | ('i' | 'u', 1 | 2 | 4 | 8) | ('b', 1));
    if !known {
        return Err(format!("its numbers are of the type `{descr}`, which is not read"));
    }
    let fortran = after("fortran_order")?.starts_with("True");
    let shape = after("shape")?.strip_prefix('(').and_then(|s| s.split_once(')')).ok_or("its header has no shape")?.0;
    let dims = shape.split(',').map(str::trim).filter(|d| !d.is_empty());
    let shape: Vec<u64> =
        dims.map(|d| d.parse().map_err(|_| format!("`{d}` is no extent"))).collect::<Result<_, _>>()?;
    if shape.len() > 32 {
        return Err(format!("an array of {} axes is not handled", shape.len()));
    }
    Ok((Head { shape, kind, width, big_endian, fortran, start: 0 }, fortran))
}

fn numbers(file: &mut (impl Read + Seek), head: &Head, first: u64, count: u64) -> Result<Vec<f64>, String> {
    let width = head.width as usize;
    file.seek(SeekFrom::Start(head.start + first * head.width)).map_err(|e| e.to_string())?;
    let mut bytes = vec![0; count as usize * width];
    file.read_exact(&mut bytes).map_err(|_| "is cut off".to_owned())?;
    let one = |own: &[u8]| {
        let mut b = [0u8; 8];
        for (k, v) in own.iter().enumerate() {
            b[if head.big_endian { width - 1 - k } else { k }] = *v;
        }
        let raw = u64::from_le_bytes(b);
        let unused = 64 - 8 * head.width;
        match (head.kind, width) {
            ('f', 8) => f64::from_bits(raw),
            ('f', 4) => f64::from(f32::from_bits(raw as u32)),
            ('f', _) => half(raw as u16),
            ('i', _) => ((raw << unused) as i64 >> unused) as f64,
            _ => raw as f64,
        }
    };
    Ok(bytes.chunks_exact(width).map(one).collect())
}

/// A number of 16 bits.
fn half(bits: u16) -> f64 {
    let (sign, exponent, part) = (bits >> 15, i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => part * 2f64.powi(-24),
        31 if part == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        e => (1.0 + part / 1024.0) * 2f64.powi(e - 15),
    };
    if sign == 1 { -size } else { size }
}

/// An array of f32 as bytes of an `.npy` file.
pub fn bytes_of(shape: &[usize], values: &[f32]) -> Vec<u8> {
    let dims: String = shape.iter().map(|d| format!("{d}, ")).collect();
    let dims = if shape.len() == 1 { dims.trim_end().to_owned() } else { dims.trim_end_matches(", ").to_owned() };
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims}), }}");
    // The numbers begin at a multiple of 64 bytes.
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let path = std::env::temp_dir().join(format!("uad-array-{}.npy", std::process::id()));
        let values: Vec<f32> = (0..24).map(|v| v as f32 / 4.0).collect();
        std::fs::write(&path, bytes_of(&[2, 4, 3], &values)).unwrap();
        let (shape, all) = read(&path).unwrap();
        assert_eq!((shape, all.len(), all[7]), (vec![2, 4, 3], 24, 1.75));
        let second = signal(&path, Some(1)).unwrap();
        assert_eq!((second.values.len(), second.len(), second.values[2][1]), (3, 4, 17.0 / 4.0));
        assert!(signal(&path, Some(2)).unwrap_err().contains("no #2"));
        assert!(signal(&path, None).unwrap_err().contains("2 records"));
        std::fs::write(&path, bytes_of(&[12], &values[..12])).unwrap();
        assert_eq!(signal(&path, None).unwrap().values.len(), 1);
        std::fs::write(&path, bytes_of(&[2, 12], &values)).unwrap();
        assert_eq!(signal(&path, None).unwrap().values.len(), 2);
        assert_eq!(
            signal(&path, Some(1)).unwrap().values,
            [values[12..].iter().map(|v| f64::from(*v)).collect::<Vec<_>>()]
        );
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn broken_headers_are_named() {
        let text = |t: &str| {
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            bytes.extend((t.len() as u16).to_le_bytes());
            bytes.extend(t.as_bytes());
            let n = bytes.len() as u64;
            head(&mut Cursor::new(bytes), n).unwrap_err()
        };
        let of = |d: &str, s: &str| text(&format!("{{'descr': '{d}', 'fortran_order': False, 'shape': ({s}), }}"));
        assert!(of("<f4", "3, 4").contains("is cut off: [3, 4]"));
        assert!(of("<f4", "99999999999, 99999999999").contains("more than can be counted"));
        assert!(of("|O", "3").contains("`|O`"));
        assert!(of("<f4", "-3").contains("no extent"));
        assert!(text("{}").contains("no `descr`"));
        assert!(head(&mut &b"\x93NUMPY\x09\x00"[..], 8).unwrap_err().contains("version 9"));
        assert!(head(&mut &b"PK\x03\x04aaaaaaaa"[..], 12).unwrap_err().contains("not an .npy"));
        assert_eq!([half(0x3c00), half(0xc000), half(1)], [1.0, -2.0, 2f64.powi(-24)]);
    }
}
