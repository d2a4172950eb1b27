//! Anomaly maps as pictures.
//!
//! In: a map, the image it was made from, the range of values that spans the colours. Out: the map over the image, at the image's
//! size; PNG files that are written whole or not at all. Invariants: what is not a number is drawn grey; a colour means the same
//! value in every picture that was given the same range. Imports: [`crate::whole`].

use std::path::Path;

use image::{Rgb, RgbImage};

/// Height, width, row-major values.
pub struct Map<'a> {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `height * width` values.
    pub values: &'a [f32],
}

impl Map<'_> {
    /// Smallest and largest value that is a number.
    pub fn range(&self) -> (f32, f32) {
        let finite = self.values.iter().copied().filter(|v| v.is_finite());
        finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)))
    }

    /// The value at a point of the unit square, between pixel centres by bilinear interpolation.
    pub fn at(&self, y: f32, x: f32) -> f32 {
        let place = |u: f32, extent: usize| {
            let p = (u * extent as f32 - 0.5).clamp(0.0, (extent - 1) as f32);
            let lo = p.floor() as usize;
            (lo, (lo + 1).min(extent - 1), p - lo as f32)
        };
        let ((y0, y1, fy), (x0, x1, fx)) = (place(y, self.height), place(x, self.width));
        let row = |y: usize| {
            let at = |x: usize| self.values.get(y * self.width + x).copied().unwrap_or(f32::NAN);
            at(x0) + (at(x1) - at(x0)) * fx
        };
        row(y0) + (row(y1) - row(y0)) * fy
    }
}

/// The map's colours alone, at a size of columns and rows.
pub fn colours(size: (u32, u32), map: &Map<'_>, range: (f32, f32)) -> RgbImage {
    if map.height == 0 || map.width == 0 {
        return RgbImage::new(size.0, size.1);
    }
    let span = (range.1 - range.0).max(f32::MIN_POSITIVE);
    RgbImage::from_fn(size.0, size.1, |x, y| {
        let value = map.at((y as f32 + 0.5) / size.1 as f32, (x as f32 + 0.5) / size.0 as f32);
        if !value.is_finite() {
            return Rgb([128; 3]);
        }
        let color = colorous::INFERNO.eval_continuous(f64::from(((value - range.0) / span).clamp(0.0, 1.0)));
        Rgb([color.r, color.g, color.b])
    })
}

/// The image under its map: cold places show the image, hot ones the colour (`inferno`), `range` from first to last colour.
pub fn overlay(image: &RgbImage, map: &Map<'_>, range: (f32, f32)) -> RgbImage {
    if map.height == 0 || map.width == 0 {
        return image.clone();
    }
    let (w, h) = (image.width().max(1) as f32, image.height().max(1) as f32);
    let span = (range.1 - range.0).max(f32::MIN_POSITIVE);
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let under = image.get_pixel(x, y).0;
        let value = map.at((y as f32 + 0.5) / h, (x as f32 + 0.5) / w);
        if !value.is_finite() {
            return Rgb([128; 3]);
        }
        let heat = ((value - range.0) / span).clamp(0.0, 1.0);
        let over = colorous::INFERNO.eval_continuous(f64::from(heat));
        // The image stays visible everywhere; at half heat and above the colour leads.
        let strength = 0.25 + 0.55 * (2.0 * heat).min(1.0);
        let mix = |a: u8, b: u8| (f32::from(a) * (1.0 - strength) + f32::from(b) * strength).round() as u8;
        Rgb([mix(under[0], over.r), mix(under[1], over.g), mix(under[2], over.b)])
    })
}

/// Writes a PNG.
pub fn write_png(image: &RgbImage, path: &Path) -> Result<(), String> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).map_err(|e| e.to_string())?;
    crate::whole::write(path, bytes.get_ref()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hot_places_are_bright_and_holes_are_grey() {
        let image = RgbImage::from_pixel(8, 8, Rgb([40; 3]));
        let mut values = vec![0.0; 16];
        values[5] = 1.0;
        values[15] = f32::NAN;
        let map = Map { height: 4, width: 4, values: &values };
        assert_eq!(map.range(), (0.0, 1.0));
        let picture = overlay(&image, &map, (0.0, 1.0));
        let light = |x: u32, y: u32| picture.get_pixel(x, y).0.iter().map(|v| u32::from(*v)).sum::<u32>();
        assert!(light(2, 2) > light(6, 1) + 100);
        assert_eq!(picture.get_pixel(7, 7).0, [128; 3]);
    }
}
