//! What was found in a cloud: its points in the colours of their scores, as a picture and as a file.
//!
//! In: a cloud, its map (one value for every point of the file), its truth. Out: panels, and files. Invariants: all panels of a cloud show it from
//! one side; a colour means the same value in all that was given one range.
//! Imports: clouds, heat maps, shaded surfaces.

use std::path::PathBuf;

use image::RgbImage;

use super::relief::{self, CLAY, View};
use super::{Drawing, Failed, Look, Panel, Written};
use crate::data::cloud::Cloud;
use crate::data::cloud::write::{self, ply};
use crate::data::mask::Mask;
use crate::heatmap::{self, OwnMap, write_png};

/// Pixels of a panel's side.
const PANEL: u32 = 288;
/// Pixels of the side of a picture that stands alone.
const ALONE: u32 = 640;

/// What is truly anomalous.
const TRUE: [f32; 3] = [0.16, 0.72, 0.36];
/// What lies above the threshold.
const FOUND: [f32; 3] = [0.87, 0.29, 0.16];

/// The colour of a value: clay where it is low, so that the surface is seen.
fn colour(value: f32, range: (f32, f32)) -> [f32; 3] {
    if !value.is_finite() {
        return [0.5; 3];
    }
    let t = heatmap::heat(value, range);
    let c = colorous::YELLOW_ORANGE_RED.eval_continuous(f64::from(0.2 + 0.7 * t));
    let w = ((t - 0.15) / 0.35).clamp(0.0, 1.0);
    let w = w * w * (3.0 - 2.0 * w);
    let c = [c.r, c.g, c.b];
    std::array::from_fn(|k| CLAY[k] * (1.0 - w) + f32::from(c[k]) / 255.0 * w)
}

/// Colours of the values of a map.
pub fn heat(values: &[f32], range: (f32, f32)) -> Vec<[f32; 3]> {
    values.iter().map(|v| colour(*v, range)).collect()
}

/// Clay, and another colour where the mask is.
fn marked(count: usize, is: impl Fn(usize) -> bool, colour: [f32; 3]) -> Vec<[f32; 3]> {
    (0..count).map(|n| if is(n) { colour } else { CLAY }).collect()
}

fn at(mask: &Mask, n: usize) -> bool {
    mask.values.get(n).is_some_and(|v| *v != 0)
}

/// From where a cloud is seen: from the side of what is anomalous, or is said to be.
fn view(cloud: &Cloud, map: Option<&OwnMap>, mask: Option<&Mask>) -> View {
    let weight = |n: usize| match (mask, map) {
        (Some(m), _) if m.any() => f32::from(u8::from(at(m, n))),
        (_, Some(map)) => map.values.get(n).copied().unwrap_or(0.0).max(0.0),
        _ => 0.0,
    };
    View::towards(&cloud.points, cloud.grid.is_some(), weight)
}

/// Panels of a report.
pub fn panels(cloud: &Cloud, map: Option<&OwnMap>, mask: Option<&Mask>, look: &Look) -> Vec<Panel> {
    let view = view(cloud, map, mask);
    let draw = |colours: &[[f32; 3]]| Drawing::Picture(relief::draw(&cloud.points, colours, &view, PANEL));
    let count = cloud.points.len();
    let mut panels: Vec<Panel> = vec![("input", draw(&vec![CLAY; count]))];
    panels.extend(mask.map(|m| ("truth", draw(&marked(count, |n| at(m, n), TRUE)))));
    if let Some(map) = map {
        panels.push(("heat map", draw(&heat(&map.values, look.range))));
        if let Some(t) = look.threshold {
            let above = |n: usize| map.values.get(n).is_some_and(|v| *v > t);
            panels.push(("overlay", draw(&marked(count, above, FOUND))));
        }
    }
    panels
}

/// The picture of a cloud alone, in the colours of its map.
pub fn picture(cloud: &Cloud, map: &OwnMap, look: &Look) -> RgbImage {
    relief::draw(&cloud.points, &heat(&map.values, look.range), &view(cloud, Some(map), None), ALONE)
}

/// Writes `STEM.png`, the shaded cloud in the colours of its map, and `STEM.ply`, its points with `score` and, with a threshold, `mask`.
pub fn write(cloud: &Cloud, map: &OwnMap, look: &Look, to: impl Fn(&str) -> PathBuf) -> Result<Written, Failed> {
    let file = to(".png");
    write_png(&picture(cloud, map, look), &file).map_err(|e| (file.clone(), e))?;
    let mut written = vec![("anomaly_map", file)];
    let bytes = |c: [f32; 3]| c.map(|v| (255.0 * v).round() as u8);
    let colours: Vec<[u8; 3]> = map.values.iter().map(|v| bytes(colour(*v, look.range))).collect();
    let above: Vec<u8> = map.values.iter().map(|v| u8::from(look.threshold.is_some_and(|t| *v > t))).collect();
    let marks: &[(&str, &[u8])] = if look.threshold.is_some() { &[("mask", &above)] } else { &[] };
    let bytes = ply(&write::Written {
        points: &cloud.points,
        shift: cloud.shift,
        colours: &colours,
        marks,
        values: &[("score", &map.values)],
    });
    let file = to(".ply");
    crate::whole::write(&file, &bytes).map_err(|e| (file.clone(), e.to_string()))?;
    written.push(("cloud", file));
    Ok(written)
}
