//! Clouds as text: XYZ, TXT, CSV, PTS.
//!
//! In: lines of numbers between spaces, commas or semicolons. Out: points from the first three columns, or those named `x y z`; marks
//! from a column named `mask`, `label` or `anomaly`, or from the last of four columns that holds nothing but 0 and 1. Invariants: all
//! lines have the same number of values; a first line with one number counts the points. Imports: numbers.

use super::number::{count, shown, word};
use super::{Cloud, Gather, MOST_POINTS};

/// Longer lines are refused: they are no points.
const LONGEST_LINE: usize = 1 << 16;

/// The words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let between = |b: &u8| b.is_ascii_whitespace() || *b == b',' || *b == b';';
    line.split(between).filter(|w| !w.is_empty())
}

/// Where a line's values are.
struct Columns {
    all: usize,
    at: [usize; 3],
    mark: Option<usize>,
    /// Without a name it is a mark only while it holds nothing but 0 and 1.
    named: bool,
}

impl Columns {
    fn unnamed(all: usize) -> Columns {
        Columns { all, at: [0, 1, 2], mark: (all == 4).then_some(3), named: false }
    }

    /// By a line of names.
    fn named(line: &[u8]) -> Option<Columns> {
        let trimmed = |w: &[u8]| String::from_utf8_lossy(w).trim_matches(['"', '\'', '#']).to_lowercase();
        let names: Vec<String> = words(line).map(trimmed).filter(|n| !n.is_empty()).take(1024).collect();
        let find = |tried: &[&str]| names.iter().position(|n| tried.contains(&n.as_str()));
        let at = [find(&["x"])?, find(&["y"])?, find(&["z"])?];
        Some(Columns { all: names.len(), at, mark: find(&["mask", "label", "anomaly"]), named: true })
    }
}

/// The lines that hold something, numbered from 1.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines = bytes.split(|b| *b == b'\n').enumerate().map(|(n, l)| (n + 1, l.trim_ascii()));
    lines.filter(|(_, l)| !l.is_empty())
}

/// Reads one.
pub fn parse(bytes: &[u8]) -> Result<Cloud, String> {
    let (mut columns, mut counted): (Option<Columns>, Option<usize>) = (None, None);
    // Names in a comment count only where the first row has as many values.
    let mut told: Option<Columns> = None;
    let mut gather = Gather::new(0)?;
    let (mut plain, mut points) = (true, 0usize);
    for (number, line) in lines(bytes) {
        if line.len() > LONGEST_LINE {
            return Err(format!("line {number} is too long for a line of numbers: no cloud as text, PLY, PCD or TIFF"));
        }
        let comment = line.starts_with(b"#") || line.starts_with(b"//");
        if comment {
            if columns.is_none() && told.is_none() {
                told = Columns::named(line);
            }
            continue;
        }
        let own = if let Some(known) = &columns {
            known
        } else {
            let all = words(line).take(1024).count();
            let first = words(line).next().unwrap_or_default();
            if word(first).is_none() {
                let named = Columns::named(line);
                let why = || format!("line {number}: {} is neither a number nor the name of a column", shown(first));
                columns = Some(named.ok_or_else(why)?);
                continue;
            }
            if all == 1 && counted.is_none() {
                let n = word(first).and_then(count).map(|n| n as usize).filter(|n| *n <= MOST_POINTS);
                counted = Some(n.ok_or_else(|| format!("line {number}: {} is no count of points", shown(first)))?);
                continue;
            }
            if all < 3 {
                return Err(format!("line {number}: {all} values are no point"));
            }
            columns.insert(told.take().filter(|c| c.all == all).unwrap_or_else(|| Columns::unnamed(all)))
        };
        let mut row = [0.0; 4];
        let mut found = 0;
        for (k, w) in words(line).enumerate() {
            found = k + 1;
            let wanted = own.at.iter().copied().chain(own.mark).enumerate().filter(|(_, c)| *c == k);
            for (slot, _) in wanted {
                row[slot] = word(w).ok_or_else(|| format!("line {number}: {} is not a number", shown(w)))?;
            }
        }
        if found != own.all {
            return Err(format!("line {number}: {found} values, where the lines before have {}", own.all));
        }
        gather.point([row[0], row[1], row[2]])?;
        points += 1;
        if own.mark.is_some() {
            gather.mark(row[3] > 0.5);
            plain &= own.named || row[3] == 0.0 || row[3] == 1.0;
        }
    }
    if let Some(n) = counted.filter(|n| *n != points) {
        return Err(format!("the first line counts {n} points, but {points} are there"));
    }
    let mut cloud = gather.done()?;
    if !plain {
        cloud.marks = None;
    }
    Ok(cloud)
}

/// One number per line, not 0 where a point is anomalous: marks without points.
pub fn marks(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut marks = Vec::new();
    for (_, line) in lines(bytes) {
        let mut own = words(line);
        let value = word(own.next()?)?;
        if own.next().is_some() || marks.len() == MOST_POINTS {
            return None;
        }
        marks.push(u8::from(value > 0.5));
    }
    (!marks.is_empty()).then_some(marks)
}
