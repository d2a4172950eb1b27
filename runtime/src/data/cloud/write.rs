//! Clouds to files: PLY with colours and numbers for every point.
//!
//! In: points, a colour and named numbers for each. Out: the bytes of a binary PLY. Invariants: what is written is read back as it was, to the
//! precision of 32 bits (64 where the cloud was shifted). Imports: nothing of this project.

use std::fmt::Write;

/// What a file is to hold.
#[derive(Default)]
pub struct Written<'a> {
    /// Where points are.
    pub points: &'a [[f32; 3]],
    /// Added to every point.
    pub shift: [f64; 3],
    /// One for each point, or none at all.
    pub colours: &'a [[u8; 3]],
    /// Whole numbers by name, such as `mask`.
    pub marks: &'a [(&'a str, &'a [u8])],
    /// Numbers by name, such as `score`.
    pub values: &'a [(&'a str, &'a [f32])],
}

/// A binary PLY.
pub fn ply(w: &Written<'_>) -> Vec<u8> {
    let far = w.shift != [0.0; 3];
    let mut head = String::from("ply\nformat binary_little_endian 1.0\ncomment uadc\n");
    // Writing to a text does not fail.
    let _ = writeln!(head, "element vertex {}", w.points.len());
    for axis in ["x", "y", "z"] {
        let _ = writeln!(head, "property {} {axis}", if far { "double" } else { "float" });
    }
    if !w.colours.is_empty() {
        head += "property uchar red\nproperty uchar green\nproperty uchar blue\n";
    }
    for (name, _) in w.marks {
        let _ = writeln!(head, "property uchar {name}");
    }
    for (name, _) in w.values {
        let _ = writeln!(head, "property float {name}");
    }
    head += "end_header\n";
    let mut bytes = head.into_bytes();
    for (n, p) in w.points.iter().enumerate() {
        for (v, s) in p.iter().zip(w.shift) {
            if far {
                bytes.extend((f64::from(*v) + s).to_le_bytes());
            } else {
                bytes.extend(v.to_le_bytes());
            }
        }
        if !w.colours.is_empty() {
            bytes.extend(w.colours.get(n).copied().unwrap_or_default());
        }
        w.marks.iter().for_each(|(_, m)| bytes.push(m.get(n).copied().unwrap_or_default()));
        w.values.iter().for_each(|(_, v)| bytes.extend(v.get(n).copied().unwrap_or(f32::NAN).to_le_bytes()));
    }
    bytes
}
