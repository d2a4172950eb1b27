//! What was found in a picture: the picture, its truth, its heat map, both together.
//!
//! In: an image, its mask, its map. Out: pictures, and files of them. Invariants: a panel has at most [`WIDEST`] pixels on a side; outlines are one
//! pixel of the small picture wide, light on dark, so that they show on any ground.
//! Imports: heat maps.

use std::path::PathBuf;

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::{Drawing, Failed, Look, Panel, Written};
use crate::data::mask::Mask;
use crate::heatmap::{self, Map, OwnMap, write_png};

/// The longer side of a picture: twice the pixels of its place on a page, for fine screens.
const WIDEST: u32 = 288;

/// Outline of what is truly anomalous.
const TRUE: Rgb<u8> = Rgb([64, 255, 128]);
/// Outline of what is found.
const FOUND: Rgb<u8> = Rgb([255, 255, 255]);

/// Panels of a report.
pub fn panels(picture: &RgbImage, map: Option<&OwnMap>, mask: Option<&Mask>, look: &Look) -> Vec<Panel> {
    let small = small(picture);
    let mut panels: Vec<Panel> = vec![("input", Drawing::Picture(small.clone()))];
    panels.extend(mask.map(|m| ("truth", Drawing::Picture(truth(&small, m)))));
    if let Some(map) = map.map(OwnMap::map) {
        let heat = heatmap::colours(small.dimensions(), &map, look.range);
        panels.push(("heat map", Drawing::Picture(heat)));
        panels.push(("overlay", Drawing::Picture(overlay(&small, &map, look.range, look.threshold))));
    }
    panels
}

/// Writes `STEM.png`, the heat map over the picture, and `STEM_mask.png`, what lies above the threshold.
pub fn write(picture: &RgbImage, map: &OwnMap, look: &Look, to: impl Fn(&str) -> PathBuf) -> Result<Written, Failed> {
    let map = map.map();
    let file = to(".png");
    write_png(&heatmap::overlay(picture, &map, look.range), &file).map_err(|e| (file.clone(), e))?;
    let mut written = vec![("anomaly_map", file)];
    if let Some(threshold) = look.threshold {
        let file = to("_mask.png");
        let mask = heatmap::mask(picture.dimensions(), &map, |v| v > threshold);
        write_png(&mask, &file).map_err(|e| (file.clone(), e))?;
        written.push(("pred_mask", file));
    }
    Ok(written)
}

/// The image at the size of the page.
fn small(picture: &RgbImage) -> RgbImage {
    let (w, h) = picture.dimensions();
    let longer = w.max(h).max(1);
    if longer <= WIDEST {
        return picture.clone();
    }
    let to = |v: u32| (u64::from(v) * u64::from(WIDEST)).div_ceil(u64::from(longer)).max(1) as u32;
    imageops::resize(picture, to(w), to(h), FilterType::Triangle)
}

/// The image with an outline around what is truly anomalous. The mask lies over all of it.
fn truth(picture: &RgbImage, mask: &Mask) -> RgbImage {
    let (w, h) = picture.dimensions();
    let at = |x: u32, y: u32| {
        let place = |v: u32, of: u32, to: usize| (u64::from(2 * v + 1) * to as u64 / u64::from(2 * of.max(1))) as usize;
        mask.values.get(place(y, h, mask.height) * mask.width + place(x, w, mask.width)).is_some_and(|v| *v != 0)
    };
    outlined(picture.clone(), at, TRUE, 0.25)
}

/// The image under its map, with an outline around what lies above the threshold.
fn overlay(picture: &RgbImage, map: &Map<'_>, range: (f32, f32), threshold: Option<f32>) -> RgbImage {
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
