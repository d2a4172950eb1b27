//! Anomaly maps as pictures.
//!
//! In: a map, the image it was made from, the range of values that spans the colours. Out: the map over the image, at the image's
//! size; PNG files that are written whole or not at all. Invariants: what is not a number is drawn grey; a colour means the same
//! value in every picture that was given the same range. Imports: [`crate::whole`].

use std::path::Path;

use image::{GrayImage, ImageBuffer, Luma, PixelWithColorType, Rgb, RgbImage};

/// The part of an image that a map lies over, in parts of its height and width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Over {
    /// Upper edge.
    pub top: f32,
    /// Left edge.
    pub left: f32,
    /// Height.
    pub height: f32,
    /// Width.
    pub width: f32,
}

/// All of it.
pub const WHOLE: Over = Over { top: 0.0, left: 0.0, height: 1.0, width: 1.0 };

/// A map that owns its values.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnMap {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `height * width` values.
    pub values: Vec<f32>,
    /// The part of the image that it lies over.
    pub over: Over,
}

impl OwnMap {
    /// The map.
    pub fn map(&self) -> Map<'_> {
        Map { height: self.height, width: self.width, values: &self.values, over: self.over }
    }
}

/// Height, width, row-major values.
pub struct Map<'a> {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `height * width` values.
    pub values: &'a [f32],
    /// The part of the image that it lies over.
    pub over: Over,
}

impl Map<'_> {
    /// Smallest and largest value that is a number.
    pub fn range(&self) -> (f32, f32) {
        let finite = self.values.iter().copied().filter(|v| v.is_finite());
        finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)))
    }

    /// The value at a point of the image, given in parts of its height and width; between the centres of the map's points by
    /// bilinear interpolation. `None` where the map does not reach.
    pub fn at(&self, y: f32, x: f32) -> Option<f32> {
        let (y, x) = ((y - self.over.top) / self.over.height, (x - self.over.left) / self.over.width);
        let inside = |u: f32| (0.0..=1.0).contains(&u);
        (self.height > 0 && self.width > 0 && inside(y) && inside(x)).then(|| self.within(y, x))
    }

    fn within(&self, y: f32, x: f32) -> f32 {
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

/// The centre of a pixel in parts of the image, row first.
fn centre(x: u32, y: u32, size: (u32, u32)) -> (f32, f32) {
    ((y as f32 + 0.5) / size.1.max(1) as f32, (x as f32 + 0.5) / size.0.max(1) as f32)
}

/// From 0 at the beginning of the range to 1 at its end.
pub fn heat(value: f32, range: (f32, f32)) -> f32 {
    ((value - range.0) / (range.1 - range.0).max(f32::MIN_POSITIVE)).clamp(0.0, 1.0)
}

/// The map's colours alone, at a size of columns and rows; black where it does not reach.
pub fn colours(size: (u32, u32), map: &Map<'_>, range: (f32, f32)) -> RgbImage {
    RgbImage::from_fn(size.0, size.1, |x, y| {
        let (row, column) = centre(x, y, size);
        match map.at(row, column) {
            None => Rgb([0; 3]),
            Some(value) if !value.is_finite() => Rgb([128; 3]),
            Some(value) => {
                let color = colorous::INFERNO.eval_continuous(f64::from(heat(value, range)));
                Rgb([color.r, color.g, color.b])
            }
        }
    })
}

/// The image under its map: cold places show the image, hot ones the colour (`inferno`), `range` from first to last colour.
pub fn overlay(image: &RgbImage, map: &Map<'_>, range: (f32, f32)) -> RgbImage {
    let size = image.dimensions();
    RgbImage::from_fn(size.0, size.1, |x, y| {
        let under = image.get_pixel(x, y).0;
        let (row, column) = centre(x, y, size);
        let Some(value) = map.at(row, column) else { return Rgb(under) };
        if !value.is_finite() {
            return Rgb([128; 3]);
        }
        let heat = heat(value, range);
        let over = colorous::INFERNO.eval_continuous(f64::from(heat));
        // The image stays visible everywhere; at half heat and above the colour leads.
        let strength = 0.25 + 0.55 * (2.0 * heat).min(1.0);
        let mix = |a: u8, b: u8| (f32::from(a) * (1.0 - strength) + f32::from(b) * strength).round() as u8;
        Rgb([mix(under[0], over.r), mix(under[1], over.g), mix(under[2], over.b)])
    })
}

/// White where the map is above a threshold, at a size of columns and rows; black where it does not reach.
pub fn mask(size: (u32, u32), map: &Map<'_>, above: impl Fn(f32) -> bool) -> GrayImage {
    GrayImage::from_fn(size.0, size.1, |x, y| {
        let (row, column) = centre(x, y, size);
        Luma([if map.at(row, column).is_some_and(&above) { 255 } else { 0 }])
    })
}

/// Writes a PNG.
pub fn write_png<P: PixelWithColorType<Subpixel = u8>>(
    image: &ImageBuffer<P, Vec<u8>>,
    path: &Path,
) -> Result<(), String> {
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
        let map = Map { height: 4, width: 4, values: &values, over: WHOLE };
        assert_eq!(map.range(), (0.0, 1.0));
        let picture = overlay(&image, &map, (0.0, 1.0));
        let light = |x: u32, y: u32| picture.get_pixel(x, y).0.iter().map(|v| u32::from(*v)).sum::<u32>();
        assert!(light(2, 2) > light(6, 1) + 100);
        assert_eq!(picture.get_pixel(7, 7).0, [128; 3]);
        // Over the middle of the image only.
        let over = Over { top: 0.25, left: 0.25, height: 0.5, width: 0.5 };
        let map = Map { height: 4, width: 4, values: &values, over };
        assert_eq!(overlay(&image, &map, (0.0, 1.0)).get_pixel(1, 4).0, [40; 3]);
        let found = mask((8, 8), &map, |v| v > 0.5);
        let hot: Vec<(u32, u32)> = found.enumerate_pixels().filter(|p| p.2.0[0] > 0).map(|p| (p.0, p.1)).collect();
        assert_eq!(hot, [(3, 3)]);
    }
}
