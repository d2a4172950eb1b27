//! Pictures of a report: the sample, its truth, its heat map, both together.
//!
//! In: an image, its mask, its map. Out: data URIs of JPEGs. Invariants: a picture has at most [`WIDEST`] pixels on a side; outlines are one
//! pixel of the small picture wide, light on dark, so that they show on any ground. Imports: heat maps.

use base64::Engine;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use crate::heatmap::{self, Map};

/// The longer side of a picture: twice the pixels of its place on a page, for fine screens.
const WIDEST: u32 = 288;
const QUALITY: u8 = 84;

/// Outline of what is truly anomalous.
const TRUE: Rgb<u8> = Rgb([64, 255, 128]);
/// Outline of what is found.
const FOUND: Rgb<u8> = Rgb([255, 255, 255]);

/// A picture that stands in the page itself.
pub fn uri(picture: &RgbImage) -> Result<String, String> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    picture.write_with_encoder(encoder).map_err(|e| format!("cannot encode a picture: {e}"))?;
    Ok(format!("data:image/jpeg;base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes)))
}

/// The image at the size of the page.
pub fn small(picture: &RgbImage) -> RgbImage {
    let (w, h) = picture.dimensions();
    let longer = w.max(h).max(1);
    if longer <= WIDEST {
        return picture.clone();
    }
    let to = |v: u32| (u64::from(v) * u64::from(WIDEST)).div_ceil(u64::from(longer)).max(1) as u32;
    imageops::resize(picture, to(w), to(h), FilterType::Triangle)
}

/// The image with an outline around what is truly anomalous. `mask` has the size of `full`, which `picture` shows.
pub fn truth(picture: &RgbImage, mask: &[bool], full: (u32, u32)) -> RgbImage {
    let (w, h) = picture.dimensions();
    let at = |x: u32, y: u32| {
        let place =
            |v: u32, of: u32, to: u32| (u64::from(2 * v + 1) * u64::from(to) / u64::from(2 * of.max(1))) as usize;
        mask.get(place(y, h, full.1) * full.0 as usize + place(x, w, full.0)).copied().unwrap_or(false)
    };
    outlined(picture.clone(), at, TRUE, 0.25)
}

/// The map alone.
pub fn heat(size: (u32, u32), map: &Map<'_>, range: (f32, f32)) -> RgbImage {
    heatmap::colours(size, map, range)
}

/// The image under its map, with an outline around what lies above the threshold.
pub fn overlay(picture: &RgbImage, map: &Map<'_>, range: (f32, f32), threshold: Option<f32>) -> RgbImage {
    let drawn = heatmap::overlay(picture, map, range);
    let Some(threshold) = threshold else { return drawn };
    let (w, h) = picture.dimensions();
    let above = |x: u32, y: u32| {
        map.at((y as f32 + 0.5) / h as f32, (x as f32 + 0.5) / w as f32).is_some_and(|v| v > threshold)
    };
    outlined(drawn, above, FOUND, 0.0)
}

/// Draws the border of a set of pixels and tints its inside.
fn outlined(mut picture: RgbImage, inside: impl Fn(u32, u32) -> bool, color: Rgb<u8>, tint: f32) -> RgbImage {
    let (w, h) = picture.dimensions();
    let within: Vec<bool> = (0..h).flat_map(|y| (0..w).map(move |x| (x, y))).map(|(x, y)| inside(x, y)).collect();
    let at = |x: i64, y: i64| {
        let known = u32::try_from(x).ok().filter(|x| *x < w).zip(u32::try_from(y).ok().filter(|y| *y < h));
        known.is_some_and(|(x, y)| within[(y * w + x) as usize])
    };
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let (x, y) = (i64::from(x), i64::from(y));
        let round = |own: bool| (-1..=1).any(|dy| (-1..=1).any(|dx| at(x + dx, y + dy) != own));
        match at(x, y) {
            true if round(true) => *pixel = color,
            true => *pixel = Rgb([0, 1, 2].map(|c| mixed(pixel.0[c], color.0[c], tint))),
            // A dark line outside the light one.
            false if round(false) => *pixel = Rgb(pixel.0.map(|v| mixed(v, 0, 0.7))),
            false => {}
        }
    }
    picture
}

fn mixed(a: u8, b: u8, part: f32) -> u8 {
    (f32::from(a) * (1.0 - part) + f32::from(b) * part).round() as u8
}
