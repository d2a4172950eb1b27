//! PLY: Stanford's format of polygons.
//!
//! In: bytes that begin with `ply`. Out: points from the element `vertex`; triangles from the list `vertex_indices` of the element
//! `face`; marks from a property `mask`, `label` or `anomaly`. Other elements and properties are passed over. Invariants: one line per
//! row in text files; a count that does not fit what follows is refused. Imports: numbers.

use super::number::{Kind, count, shown, word};
use super::{Cloud, Gather};

/// Longer headers are refused.
const LONGEST_HEADER: usize = 1 << 20;

/// Longer lists in a row are refused.
const LONGEST_LIST: usize = 1 << 16;

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Text,
    Binary { big: bool },
}

struct Property {
    name: String,
    kind: Kind,
    /// The type of the list's length.
    list: Option<Kind>,
}

struct Element {
    name: String,
    count: usize,
    properties: Vec<Property>,
}

/// What a row of an element is used for.
enum Role {
    Points { at: [usize; 3], mark: Option<usize> },
    Faces { corners: usize },
    Nothing,
}

/// Reads one.
pub fn parse(bytes: &[u8]) -> Result<Cloud, String> {
    let (format, elements, body) = header(bytes)?;
    let vertex = elements.iter().find(|e| e.name == "vertex").ok_or("the header has no element `vertex`")?;
    let vertices = vertex.count;
    role(vertex)?;
    // A row takes two bytes of text at least, and in binary what its numbers take.
    let least = |e: &Element| match format {
        Format::Text => 2 * e.properties.len().max(1),
        Format::Binary { .. } => e.properties.iter().map(|p| p.list.unwrap_or(p.kind).size()).sum(),
    };
    for e in &elements {
        let enough = e.count.checked_mul(least(e)).is_some_and(|n| n <= body.len() + 1);
        if !enough {
            return Err(format!("the header counts {} of `{}`, but {} bytes follow it", e.count, e.name, body.len()));
        }
    }
    let mut gather = Gather::new(vertices)?;
    match format {
        Format::Text => text(body, &elements, &mut gather)?,
        Format::Binary { big } => binary(body, &elements, big, &mut gather)?,
    }
    gather.done()
}

fn header(bytes: &[u8]) -> Result<(Format, Vec<Element>, &[u8]), String> {
    let head = bytes.get(..LONGEST_HEADER).unwrap_or(bytes);
    let (mut format, mut elements): (Option<Format>, Vec<Element>) = (None, Vec::new());
    let mut at = 0;
    for number in 1.. {
        let Some(end) = head[at..].iter().position(|b| *b == b'\n') else {
            let long = if bytes.len() > LONGEST_HEADER { " within a megabyte" } else { "" };
            return Err(format!("the header has no `end_header`{long}"));
        };
        let line = head[at..at + end].trim_ascii();
        at += end + 1;
        let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).take(8).collect();
        let wrong = |why: &str| format!("line {number} of the header: {why}");
        let name = |w: &[u8]| String::from_utf8_lossy(w).into_owned();
        match words.as_slice() {
            [b"ply"] if number == 1 => {}
            [b"format", how, ..] => {
                format = Some(match *how {
                    b"ascii" => Format::Text,
                    b"binary_little_endian" => Format::Binary { big: false },
                    b"binary_big_endian" => Format::Binary { big: true },
                    _ => return Err(wrong(&format!("{} is no format of PLY", shown(how)))),
                });
            }
            [b"comment" | b"obj_info", ..] | [] => {}
            [b"element", of, n] => {
                let n = word(n).and_then(count).ok_or_else(|| wrong(&format!("{} is no count", shown(n))))?;
                if elements.len() == 64 {
                    return Err(wrong("more than 64 elements"));
                }
                elements.push(Element { name: name(of), count: n as usize, properties: Vec::new() });
            }
            [b"property", rest @ ..] => {
                let own = elements.last_mut().ok_or_else(|| wrong("a property before any element"))?;
                let kind = |w: &[u8]| {
                    let known = std::str::from_utf8(w).ok().and_then(Kind::of_ply);
                    known.ok_or_else(|| wrong(&format!("{} is no type of PLY", shown(w))))
                };
                if own.properties.len() == 256 {
                    return Err(wrong("more than 256 properties"));
                }
                own.properties.push(match rest {
                    [b"list", length, of, n] => {
                        let length = kind(length)?;
                        if matches!(length, Kind::F32 | Kind::F64) {
                            return Err(wrong("the length of a list is an integer"));
                        }
                        Property { name: name(n), kind: kind(of)?, list: Some(length) }
                    }
                    [of, n] => Property { name: name(n), kind: kind(of)?, list: None },
                    _ => return Err(wrong("not a property")),
                });
            }
            [b"end_header"] => {
                let format = format.ok_or("the header names no format")?;
                return Ok((format, elements, &bytes[at..]));
            }
            [first, ..] => return Err(wrong(&format!("{} is not known", shown(first)))),
        }
    }
    Err("the header has no `end_header`".to_owned())
}

fn role(e: &Element) -> Result<Role, String> {
    let scalar = |name: &str| e.properties.iter().position(|p| p.name == name && p.list.is_none());
    match e.name.as_str() {
        "vertex" => {
            let missing = |name: &str| format!("the element `vertex` has no property `{name}`");
            let one = |name: &str| scalar(name).ok_or_else(|| missing(name));
            let at = [one("x")?, one("y")?, one("z")?];
            Ok(Role::Points { at, mark: ["mask", "label", "anomaly"].iter().find_map(|n| scalar(n)) })
        }
        "face" => {
            let list = |p: &Property| p.list.is_some() && matches!(p.name.as_str(), "vertex_indices" | "vertex_index");
            Ok(e.properties.iter().position(list).map_or(Role::Nothing, |corners| Role::Faces { corners }))
        }
        _ => Ok(Role::Nothing),
    }
}

/// One row: numbers of its scalars in `values`, the corners of a face in `corners`.
struct Row {
    values: Vec<f64>,
    corners: Vec<u32>,
}

impl Row {
    fn use_for(&self, role: &Role, gather: &mut Gather) -> Result<(), String> {
        let value = |n: &usize| self.values.get(*n).copied().unwrap_or(f64::NAN);
        match role {
            Role::Points { at, mark } => {
                gather.point([value(&at[0]), value(&at[1]), value(&at[2])])?;
                if let Some(mark) = mark {
                    gather.mark(value(mark) > 0.5);
                }
            }
            Role::Faces { .. } => gather.face(&self.corners)?,
            Role::Nothing => {}
        }
        Ok(())
    }
}

/// Is the list of this property the corners of a face?
fn is_corners(role: &Role, n: usize) -> bool {
    matches!(role, Role::Faces { corners } if *corners == n)
}

fn text(body: &[u8], elements: &[Element], gather: &mut Gather) -> Result<(), String> {
    let lines = body.split(|b| *b == b'\n').enumerate().map(|(n, l)| (n + 1, l.trim_ascii()));
    let mut lines = lines.filter(|(_, l)| !l.is_empty());
    let mut row = Row { values: Vec::new(), corners: Vec::new() };
    for e in elements {
        let role = role(e)?;
        for k in 0..e.count {
            let Some((number, line)) = lines.next() else {
                return Err(format!("the header counts {} of `{}`, but {k} are there", e.count, e.name));
            };
            let wrong = |why: &str| format!("line {number} after the header (`{}` {}): {why}", e.name, k + 1);
            let mut words = line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
            let mut next = || -> Result<f64, String> {
                let w = words.next().ok_or_else(|| wrong("has too few values"))?;
                word(w).ok_or_else(|| wrong(&format!("{} is not a number", shown(w))))
            };
            row.values.clear();
            row.corners.clear();
            for (n, p) in e.properties.iter().enumerate() {
                let first = next()?;
                row.values.push(first);
                if p.list.is_none() {
                    continue;
                }
                let length = count(first).filter(|l| *l as usize <= LONGEST_LIST);
                for _ in 0..length.ok_or_else(|| wrong("a list without a sensible length"))? {
                    let v = next()?;
                    if is_corners(&role, n) {
                        row.corners.push(count(v).ok_or_else(|| wrong("a corner that is no position"))?);
                    }
                }
            }
            // Some writers end their faces with values that they do not declare.
            if words.next().is_some() && matches!(role, Role::Points { .. }) {
                return Err(wrong("has too many values"));
            }
            row.use_for(&role, gather)?;
        }
    }
    match lines.next() {
        Some((number, _)) => Err(format!("line {number} after the header: the header counts fewer rows")),
        None => Ok(()),
    }
}

fn binary(body: &[u8], elements: &[Element], big: bool, gather: &mut Gather) -> Result<(), String> {
    let mut at = 0;
    let mut row = Row { values: Vec::new(), corners: Vec::new() };
    for e in elements {
        let role = role(e)?;
        // Rows of nothing take no bytes, and there may be billions of them.
        let rows = if e.properties.is_empty() { 0 } else { e.count };
        for k in 0..rows {
            let ends = || format!("ends in `{}` {} of {}", e.name, k + 1, e.count);
            let mut next = |kind: Kind| -> Result<f64, String> {
                let v = kind.read(body, at, big).ok_or_else(ends)?;
                at += kind.size();
                Ok(v)
            };
            row.values.clear();
            row.corners.clear();
            for (n, p) in e.properties.iter().enumerate() {
                let first = next(p.list.unwrap_or(p.kind))?;
                row.values.push(first);
                if p.list.is_none() {
                    continue;
                }
                let wrong = |why: &str| format!("`{}` {}: {why}", e.name, k + 1);
                let length = count(first).filter(|l| *l as usize <= LONGEST_LIST);
                for _ in 0..length.ok_or_else(|| wrong("a list without a sensible length"))? {
                    let v = next(p.kind)?;
                    if is_corners(&role, n) {
                        row.corners.push(count(v).ok_or_else(|| wrong("a corner that is no position"))?);
                    }
                }
            }
            row.use_for(&role, gather)?;
        }
    }
    let left = body.get(at..).unwrap_or_default().trim_ascii().len();
    if left > 0 { Err(format!("{left} bytes follow the last row: the header counts too few")) } else { Ok(()) }
}
