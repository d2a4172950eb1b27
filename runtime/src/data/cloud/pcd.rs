//! PCD: the format of the Point Cloud Library.
//!
//! In: bytes that begin as a PCD's do. Out: points from the fields `x y z`; marks from a field `mask`, `label` or `anomaly` where it
//! holds nothing but 0 and 1; rows and columns of organised clouds. Invariants: sizes are held against the file before memory is
//! asked for. Imports: numbers, LZF.

use super::number::{Kind, count, shown, word};
use super::{Cloud, Gather, MOST_POINTS, lzf};

/// Longer headers are refused.
const LONGEST_HEADER: usize = 1 << 16;

#[derive(Default)]
struct Header {
    fields: Vec<String>,
    sizes: Vec<usize>,
    types: Vec<String>,
    counts: Vec<usize>,
    width: Option<usize>,
    height: Option<usize>,
    points: Option<usize>,
}

struct Field {
    kind: Kind,
    count: usize,
    /// Bytes before it in a row, and values before it.
    offset: usize,
    values: usize,
}

/// Does the file begin with a comment or an entry of PCD?
pub fn looks_like(bytes: &[u8]) -> bool {
    let head = bytes.get(..512).unwrap_or(bytes);
    head.split(|b| *b == b'\n').any(|l| l.starts_with(b"VERSION ") || l.starts_with(b"FIELDS "))
}

/// Reads one.
pub fn parse(bytes: &[u8]) -> Result<Cloud, String> {
    let (header, data, body) = header(bytes)?;
    let (width, height) = (header.width.ok_or("the header has no WIDTH")?, header.height.unwrap_or(1));
    let product = width.checked_mul(height).filter(|n| *n <= MOST_POINTS);
    let product = product.ok_or_else(|| format!("{width} x {height} points are more than {MOST_POINTS}"))?;
    let points = header.points.unwrap_or(product);
    if points != product {
        return Err(format!("the header counts {points} POINTS, but WIDTH x HEIGHT is {product}"));
    }
    let (fields, size) = fields(&header)?;
    let find = |name: &str| header.fields.iter().position(|f| f == name).and_then(|n| fields.get(n));
    let one = |name: &str| find(name).ok_or_else(|| format!("the header has no field `{name}`"));
    let at = [one("x")?, one("y")?, one("z")?];
    let mark = ["mask", "label", "anomaly"].iter().find_map(|n| find(n));
    let rows = Rows { points, at, mark };
    let mut cloud = match data {
        b"ascii" => rows.text(body, fields.iter().map(|f| f.count).sum())?,
        b"binary" => {
            let need = points * size;
            let whole = body.get(..need);
            let whole = whole.ok_or_else(|| format!("{points} points take {need} bytes, {} are there", body.len()))?;
            rows.packed(whole, |f, n| n * size + f.offset)?
        }
        b"binary_compressed" => {
            let length = |at: usize| Kind::U32.read(body, at, false).map(|v| v as usize);
            let (Some(packed), Some(whole)) = (length(0), length(4)) else {
                return Err("ends before its compressed points".to_owned());
            };
            if whole != points * size {
                return Err(format!("{points} points take {} bytes, {whole} were compressed", points * size));
            }
            let own = body.get(8..).and_then(|b| b.get(..packed));
            let own = own.ok_or_else(|| format!("{packed} compressed bytes are declared, fewer are there"))?;
            // Field by field, not point by point.
            rows.packed(&lzf::unpack(own, whole)?, |f, n| points * f.offset + n * f.kind.size() * f.count)?
        }
        other => return Err(format!("{} is no form of DATA", shown(other))),
    };
    cloud.grid = (height > 1).then_some((height, width));
    Ok(cloud)
}

fn header(bytes: &[u8]) -> Result<(Header, &[u8], &[u8]), String> {
    let mut header = Header::default();
    let head = bytes.get(..LONGEST_HEADER).unwrap_or(bytes);
    let mut at = 0;
    for number in 1.. {
        let Some(end) = head[at..].iter().position(|b| *b == b'\n') else { break };
        let line = head[at..at + end].trim_ascii();
        at += end + 1;
        let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).take(257).collect();
        let Some((first, rest)) = words.split_first() else { continue };
        if first.starts_with(b"#") {
            continue;
        }
        let wrong = |why: &str| format!("line {number} of the header: {why}");
        if rest.len() > 255 {
            return Err(wrong("more than 255 fields"));
        }
        let names = || rest.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect::<Vec<_>>();
        let numbers = || -> Result<Vec<usize>, String> {
            let one = |w: &&[u8]| word(w).and_then(count).ok_or_else(|| wrong(&format!("{} is no count", shown(w))));
            rest.iter().map(|w| one(w).map(|n| n as usize)).collect()
        };
        let single = || numbers()?.first().copied().map(Some).ok_or_else(|| wrong("has no number"));
        match *first {
            b"VERSION" | b"VIEWPOINT" => {}
            b"FIELDS" | b"COLUMNS" => header.fields = names(),
            b"SIZE" => header.sizes = numbers()?,
            b"TYPE" => header.types = names(),
            b"COUNT" => header.counts = numbers()?,
            b"WIDTH" => header.width = single()?,
            b"HEIGHT" => header.height = single()?,
            b"POINTS" => header.points = single()?,
            b"DATA" => return Ok((header, rest.first().copied().unwrap_or_default(), &bytes[at..])),
            other => return Err(wrong(&format!("{} is not known", shown(other)))),
        }
    }
    Err("the header has no line `DATA`".to_owned())
}

/// The fields, and the bytes of a row.
fn fields(header: &Header) -> Result<(Vec<Field>, usize), String> {
    let n = header.fields.len();
    for (name, len) in [("SIZE", header.sizes.len()), ("TYPE", header.types.len())] {
        if len != n {
            return Err(format!("the header has {n} FIELDS, but {len} of {name}"));
        }
    }
    if !header.counts.is_empty() && header.counts.len() != n {
        return Err(format!("the header has {n} FIELDS, but {} of COUNT", header.counts.len()));
    }
    let (mut fields, mut offset, mut values) = (Vec::with_capacity(n), 0, 0);
    for (k, (kind, size)) in header.types.iter().zip(&header.sizes).enumerate() {
        let known = Kind::of_pcd(kind, *size);
        let kind =
            known.ok_or_else(|| format!("the field {} of type {} is not known", k + 1, shown(kind.as_bytes())))?;
        let count = header.counts.get(k).copied().unwrap_or(1);
        if count > 1 << 16 {
            return Err(format!("the field {} has {count} values in a point", k + 1));
        }
        fields.push(Field { kind, count, offset, values });
        offset += kind.size() * count;
        values += count;
    }
    Ok((fields, offset))
}

struct Rows<'a> {
    points: usize,
    at: [&'a Field; 3],
    mark: Option<&'a Field>,
}

impl Rows<'_> {
    /// Points from bytes; `place` says where the value of a field for a point begins.
    fn packed(&self, bytes: &[u8], place: impl Fn(&Field, usize) -> usize) -> Result<Cloud, String> {
        let value = |f: &Field, n: usize| f.kind.read(bytes, place(f, n), false);
        self.gather(|n| {
            let ends = || format!("ends in point {} of {}", n + 1, self.points);
            let mut row = [0.0; 4];
            for (slot, f) in row.iter_mut().zip(self.at.iter().copied().chain(self.mark)) {
                *slot = value(f, n).ok_or_else(ends)?;
            }
            Ok(row)
        })
    }

    fn text(&self, body: &[u8], values: usize) -> Result<Cloud, String> {
        let least = self.points.checked_mul(2 * values.max(1)).is_some_and(|n| n <= body.len() + 1);
        if !least {
            return Err(format!("the header counts {} points, but {} bytes follow it", self.points, body.len()));
        }
        let lines = body.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
        let mut lines = lines.filter(|l| !l.is_empty());
        let cloud = self.gather(|n| {
            let wrong = |why: &str| format!("point {}: {why}", n + 1);
            let line = lines.next();
            let line = line.ok_or_else(|| format!("the header counts {} points, but {n} are there", self.points))?;
            let mut row = [0.0; 4];
            let mut found = 0;
            for (k, w) in line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).enumerate() {
                found = k + 1;
                let wanted = self.at.iter().copied().chain(self.mark).enumerate().filter(|(_, f)| f.values == k);
                for (slot, _) in wanted {
                    row[slot] = word(w).ok_or_else(|| wrong(&format!("{} is not a number", shown(w))))?;
                }
            }
            if found != values {
                return Err(wrong(&format!("has {found} values, not {values}")));
            }
            Ok(row)
        })?;
        if lines.next().is_some() {
            return Err(format!("the header counts {} points, but more are there", self.points));
        }
        Ok(cloud)
    }

    fn gather(&self, mut row: impl FnMut(usize) -> Result<[f64; 4], String>) -> Result<Cloud, String> {
        let mut gather = Gather::new(self.points)?;
        let mut plain = true;
        for n in 0..self.points {
            let [x, y, z, mark] = row(n)?;
            gather.point([x, y, z])?;
            if self.mark.is_some() {
                gather.mark(mark > 0.5);
                plain &= mark == 0.0 || mark == 1.0;
            }
        }
        let mut cloud = gather.done()?;
        // Segments are labelled with other numbers, and are no anomalies.
        if !plain {
            cloud.marks = None;
        }
        Ok(cloud)
    }
}
