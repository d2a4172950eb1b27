//! Images from files.
//!
//! In: PNG, JPEG, BMP, TIFF or WebP, told apart by content, not by name. Out: 8-bit RGB. Invariants: alpha is dropped and grey is
//! repeated, as PIL's `convert("RGB")` does; the size is looked at before anything is decoded, and what it takes in memory is asked
//! for. Imports: [`super::ReadError`], memory.

use std::io::{BufReader, Seek, SeekFrom};
use std::path::Path;

pub use image::RgbImage;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use super::ReadError;
use crate::device::memory::fits;

/// Larger images are refused: 256 million pixels.
pub const MOST_PIXELS: u64 = 1 << 28;

/// So are images with a longer side: 65536 pixels. Resizing a line of pixels in its other direction would multiply its size.
pub const LONGEST_SIDE: u32 = 1 << 16;

/// Endings of their names that are looked for in folders.
pub const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "jpe"];

/// Reads one image.
pub fn read(path: &Path) -> Result<RgbImage, ReadError> {
    super::is_plain(path)?;
    super::foreign::contained(path, || decode(path))
}

fn decode(path: &Path) -> Result<RgbImage, ReadError> {
    let fail = |e: &dyn std::fmt::Display| ReadError::new(path, e);
    let file = std::fs::File::open(path).map_err(|e| fail(&e))?;
    let mut file = BufReader::new(file);
    let size = ImageReader::new(&mut file).with_guessed_format().map_err(|e| fail(&e))?;
    let Some(format) = size.format() else {
        return Err(fail(&"not a PNG, JPEG, BMP, TIFF or WebP image"));
    };
    let (width, height) = size.into_dimensions().map_err(|e| fail(&told(&e)))?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > MOST_PIXELS || width.max(height) > LONGEST_SIDE {
        return Err(fail(&format!("an image of {width} x {height} pixels is not handled")));
    }
    file.seek(SeekFrom::Start(0)).map_err(|e| fail(&e))?;
    let mut reader = ImageReader::with_format(file, format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(16 * MOST_PIXELS);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|e| fail(&told(&e)))?;
    // At once: what the file holds, and it again as 8-bit RGB.
    if !usize::try_from(decoder.total_bytes() + 3 * pixels).is_ok_and(fits) {
        return Err(fail(&format!("no memory for an image of {width} x {height} pixels")));
    }
    Ok(DynamicImage::from_decoder(decoder).map_err(|e| fail(&told(&e)))?.into_rgb8())
}

/// The decoder's words in one line.
fn told(e: &image::ImageError) -> String {
    e.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
