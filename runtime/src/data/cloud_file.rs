//! Point clouds from files: TIFF by the reader of images, all others by ours.
//!
//! In: a file; a TIFF holds three 32-bit floats per pixel, as MVTec 3D-AD has them. Out: a cloud, from a TIFF with rows and columns; its truth; the
//! values of taken points for all. Invariants: the size is looked at before anything is decoded; another kind of TIFF is refused by name.
//! Imports: clouds, masks, heat maps, memory.

use std::io::BufReader;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::cloud::near::Near;
use super::cloud::steps::{self, Step};
use super::cloud::{Cloud, MOST_POINTS, parse, text};
use super::mask::Mask;
use super::{ReadError, foreign, is_plain};
use crate::device::memory::{FileMap, fits};
use crate::heatmap::{OwnMap, WHOLE};

/// Rows and columns of the values of a cloud's points.
fn size(cloud: &Cloud) -> (usize, usize) {
    cloud.grid.unwrap_or((1, cloud.points.len()))
}

/// The truth of a cloud in which nothing is anomalous.
pub fn clear(cloud: &Cloud) -> Mask {
    let (height, width) = size(cloud);
    Mask::clear(height, width)
}

/// Values of the points that the steps took, for all points of the file: each has that of the nearest. Points that are no numbers
/// have the lowest.
pub fn spread(cloud: &Cloud, steps: &[Step], values: &[f32]) -> OwnMap {
    let (height, width) = size(cloud);
    let taken = steps::prepare(cloud, steps).unwrap_or_default();
    let near = Near::new(&taken.from);
    let lowest = values.iter().copied().filter(|v| v.is_finite()).fold(f32::INFINITY, f32::min);
    let lowest = if lowest.is_finite() { lowest } else { 0.0 };
    let one = |p: &[f32; 3]| near.find(p).and_then(|n| values.get(n)).copied().unwrap_or(lowest);
    OwnMap { height, width, values: cloud.points.iter().map(one).collect(), over: WHOLE }
}

/// Reads one cloud.
pub fn read(path: &Path) -> Result<Cloud, ReadError> {
    is_plain(path)?;
    let map = FileMap::open(path).map_err(|e| ReadError::new(path, e))?;
    let bytes = map.bytes();
    if bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*") {
        return foreign::contained(path, || decode(path));
    }
    parse(bytes).map_err(|why| ReadError::new(path, why))
}

/// The truth of a cloud: a cloud whose file marks points, one number per line, or an image of an organised cloud's size. One value for
/// every point, in rows and columns where the cloud has them.
pub fn truth(path: &Path, of: &Cloud) -> Result<Mask, ReadError> {
    let fail = |why: &str| ReadError::new(path, why);
    is_plain(path)?;
    let map = FileMap::open(path).map_err(|e| ReadError::new(path, e))?;
    let (height, width) = size(of);
    let image = [&b"\x89PNG"[..], b"II*\0", b"MM\0*"].iter().any(|m| map.bytes().starts_with(m));
    if image {
        let mask = Mask::read(path)?;
        if (mask.height, mask.width) != (height, width) {
            let told =
                format!("the mask has {} x {} pixels, its cloud {width} x {height} points", mask.width, mask.height);
            return Err(ReadError::new(path, told));
        }
        return Ok(mask);
    }
    let marks = match text::marks(map.bytes()) {
        Some(marks) => marks,
        None => parse(map.bytes()).map_err(|e| ReadError::new(path, e))?.marks.ok_or_else(|| {
            fail("marks no points: a column `label` or `mask`, a fourth column of 0 and 1, or one number per line do")
        })?,
    };
    if marks.len() != of.points.len() {
        let told = format!("marks {} points, its cloud has {}", marks.len(), of.points.len());
        return Err(ReadError::new(path, told));
    }
    Ok(Mask { height, width, values: marks })
}

fn decode(path: &Path) -> Result<Cloud, ReadError> {
    let fail = |e: &dyn std::fmt::Display| ReadError::new(path, e.to_string().replace('\n', " "));
    let file = std::fs::File::open(path).map_err(|e| fail(&e))?;
    let mut reader = ImageReader::with_format(BufReader::new(file), ImageFormat::Tiff);
    let mut limits = Limits::default();
    limits.max_alloc = Some(32 * MOST_POINTS as u64);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|e| fail(&e))?;
    let (width, height) = decoder.dimensions();
    let points = u64::from(width) * u64::from(height);
    if points == 0 || points > MOST_POINTS as u64 {
        return Err(fail(&format!("{width} x {height} points are not handled")));
    }
    if !usize::try_from(decoder.total_bytes() + 12 * points).is_ok_and(fits) {
        return Err(fail(&format!("no memory for {width} x {height} points")));
    }
    let DynamicImage::ImageRgb32F(picture) = DynamicImage::from_decoder(decoder).map_err(|e| fail(&e))? else {
        return Err(fail(&"a TIFF without three 32-bit floats per pixel is no cloud"));
    };
    let points = picture.pixels().map(|p| p.0).collect();
    Ok(Cloud { points, grid: Some((height as usize, width as usize)), ..Cloud::default() })
}
