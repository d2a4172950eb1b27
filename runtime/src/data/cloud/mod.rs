//! Point clouds from the bytes of files.
//!
//! In: PLY, PCD or text (XYZ, TXT, CSV, PTS), told apart by content, not by name. Out: [`Cloud`]. Invariants: a file is
//! refused with a reason or read whole: counts in headers are held against what is there before memory is asked for; no file
//! makes it panic; points keep the order of the file. Imports: nothing of this project.

pub mod lzf;
pub mod near;
pub mod number;
pub mod pcd;
pub mod ply;
pub mod steps;
pub mod text;
pub mod write;

/// Larger clouds are refused: 16 million points.
pub const MOST_POINTS: usize = 1 << 24;

/// Endings that are looked for in folders.
pub const ENDINGS: [&str; 8] = ["ply", "pcd", "xyz", "txt", "csv", "pts", "tiff", "tif"];

/// Endings of files that hold masks.
pub const MASK_ENDINGS: [&str; 7] = ["txt", "csv", "ply", "pcd", "png", "tif", "tiff"];

/// Coordinates beyond this lose too much in 32 bits: they are then counted from the first point.
const FAR: f64 = 65536.0;

/// Points, and what their file says of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cloud {
    /// Where they are, less `shift`.
    pub points: Vec<[f32; 3]>,
    /// What was taken off every point: not 0 where coordinates are large, as those of surveys are.
    pub shift: [f64; 3],
    /// Triangles between points, by position.
    pub faces: Vec<[u32; 3]>,
    /// Rows and columns of an organised cloud.
    pub grid: Option<(usize, usize)>,
    /// 1 for the points that the file marks as anomalous, where it marks any.
    pub marks: Option<Vec<u8>>,
}

/// Reads a cloud from the bytes of a file that is no TIFF.
pub fn parse(bytes: &[u8]) -> Result<Cloud, String> {
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    let cloud = if bytes.starts_with(b"ply\n") || bytes.starts_with(b"ply\r") {
        ply::parse(bytes)?
    } else if pcd::looks_like(bytes) {
        pcd::parse(bytes)?
    } else {
        text::parse(bytes)?
    };
    if cloud.points.is_empty() {
        return Err("has no points".to_owned());
    }
    Ok(cloud)
}

/// Is a point at numbers?
pub fn finite(p: &[f32; 3]) -> bool {
    p.iter().all(|v| v.is_finite())
}

/// Takes points as a reader finds them.
#[derive(Default)]
pub struct Gather {
    cloud: Cloud,
    based: bool,
}

impl Gather {
    /// Room for so many points; refuses what is too many or does not fit in memory.
    pub fn new(count: usize) -> Result<Gather, String> {
        if count > MOST_POINTS {
            return Err(format!("{count} points: more than {MOST_POINTS} are not handled"));
        }
        let mut gather = Gather::default();
        gather.cloud.points.try_reserve_exact(count).map_err(|_| format!("no memory for {count} points"))?;
        Ok(gather)
    }

    /// One point more.
    pub fn point(&mut self, at: [f64; 3]) -> Result<(), String> {
        if self.cloud.points.len() >= MOST_POINTS {
            return Err(format!("more than {MOST_POINTS} points are not handled"));
        }
        if !self.based && at.iter().all(|v| v.is_finite()) {
            self.based = true;
            // Whole numbers, so that taking them off is exact. What no f32 can hold stays as it is and is no number then.
            if at.iter().any(|v| v.abs() > FAR) && at.iter().all(|v| v.abs() < f64::from(f32::MAX)) {
                self.cloud.shift = at.map(f64::trunc);
            }
        }
        let s = self.cloud.shift;
        self.cloud.points.push([(at[0] - s[0]) as f32, (at[1] - s[1]) as f32, (at[2] - s[2]) as f32]);
        Ok(())
    }

    /// The last point is marked as anomalous, or not.
    pub fn mark(&mut self, anomalous: bool) {
        self.cloud.marks.get_or_insert_default().push(u8::from(anomalous));
    }

    /// A face with its corners, cut into triangles.
    pub fn face(&mut self, corners: &[u32]) -> Result<(), String> {
        let Some((first, rest)) = corners.split_first() else { return Ok(()) };
        for pair in rest.windows(2) {
            if self.cloud.faces.len() >= 2 * MOST_POINTS {
                return Err(format!("more than {} triangles are not handled", 2 * MOST_POINTS));
            }
            self.cloud.faces.push([*first, pair[0], pair[1]]);
        }
        Ok(())
    }

    /// The cloud; every face must be between points that are there.
    pub fn done(self) -> Result<Cloud, String> {
        let count = self.cloud.points.len();
        let wrong = self.cloud.faces.iter().flatten().find(|i| **i as usize >= count);
        match wrong {
            Some(i) => Err(format!("a face has the corner {i}, but there are {count} points")),
            None => Ok(self.cloud),
        }
    }
}
