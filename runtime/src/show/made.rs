//! What a synthesiser made: files that a data set is read from, and pictures for people.
//!
//! In: a sample before and after, and the mask of what was changed. Out: a file of the sample and one of its mask; cells of sheets. Invariants: cells
//! of one sample are seen from one side; an image is changed nowhere else than its synthesiser changed it.
//! Imports: kinds, clouds, shaded surfaces.

use std::path::PathBuf;

use image::imageops::{self, FilterType};
use image::{GrayImage, Luma, Rgb, RgbImage};

use super::relief::{self, CLAY, View};
use super::{Failed, Written};
use crate::data::cloud::write::{self, ply};
use crate::data::kind::Kind;
use crate::heatmap::write_png;

/// Pushed out.
const OUT: [f32; 3] = [0.90, 0.33, 0.13];
/// Pushed in.
const IN: [f32; 3] = [0.10, 0.42, 0.85];

/// A sample before and after.
#[derive(Clone, Debug)]
pub struct Made {
    kind: Kind,
    /// Channels, rows, columns of an image; points and their three coordinates.
    shape: Vec<usize>,
    before: Vec<f32>,
    after: Vec<f32>,
    mask: Vec<f32>,
}

/// A cell of a sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// The sample as it was.
    Before,
    /// As it is now.
    After,
    /// As it is now, with what was changed in colour.
    Marked,
}

impl Made {
    /// One sample; `None` where sizes do not fit, or the kind cannot be written.
    pub fn new(kind: Kind, shape: &[usize], before: &[f32], after: &[f32], mask: &[f32]) -> Option<Made> {
        let places = match (kind, shape) {
            (Kind::Image, [3, h, w]) => h * w,
            (Kind::Cloud, [n, 3]) => *n,
            _ => return None,
        };
        let all = shape.iter().product::<usize>();
        let fits = before.len() == all && after.len() == all && mask.len() == places;
        let own = |v: &[f32]| v.to_vec();
        fits.then(|| Made { kind, shape: shape.to_vec(), before: own(before), after: own(after), mask: own(mask) })
    }

    /// How much of the sample is changed.
    pub fn share(&self) -> f64 {
        self.mask.iter().filter(|v| **v > 0.5).count() as f64 / self.mask.len().max(1) as f64
    }

    fn points(values: &[f32]) -> Vec<[f32; 3]> {
        values.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect()
    }

    fn picture(&self, values: &[f32]) -> RgbImage {
        let (h, w) = (self.shape[1], self.shape[2]);
        RgbImage::from_fn(w as u32, h as u32, |x, y| {
            let at = |c: usize| values.get((c * h + y as usize) * w + x as usize).copied().unwrap_or(0.0);
            Rgb(std::array::from_fn(|c| (at(c).clamp(0.0, 1.0) * 255.0).round() as u8))
        })
    }

    fn holes(&self) -> GrayImage {
        let (h, w) = (self.shape[1] as u32, self.shape[2] as u32);
        let at = |x: u32, y: u32| self.mask.get((y * w + x) as usize).is_some_and(|v| *v > 0.5);
        GrayImage::from_fn(w, h, |x, y| Luma([if at(x, y) { 255 } else { 0 }]))
    }

    /// The side of a cloud on which something was changed.
    pub fn view(&self) -> View {
        View::towards(&Made::points(&self.before), false, |n| self.mask.get(n).copied().unwrap_or(0.0))
    }

    /// A colour for every point: how far it was pushed, and which way.
    fn pushes(&self) -> Vec<[f32; 3]> {
        let (before, after) = (Made::points(&self.before), Made::points(&self.after));
        let count = before.len().max(1) as f32;
        let mean: [f32; 3] = std::array::from_fn(|k| before.iter().map(|p| p[k]).sum::<f32>() / count);
        let reach =
            before.iter().map(|p| (0..3).map(|k| (p[k] - mean[k]).powi(2)).sum::<f32>()).fold(0.0, f32::max).sqrt();
        let one = |n: usize| {
            let d: [f32; 3] = std::array::from_fn(|k| after[n][k] - before[n][k]);
            let far = d.iter().map(|v| v * v).sum::<f32>().sqrt();
            let out = (0..3).map(|k| d[k] * (before[n][k] - mean[k])).sum::<f32>() >= 0.0;
            let least = if self.mask.get(n).is_some_and(|v| *v > 0.5) { 0.6 } else { 0.0 };
            let t = (far / (0.04 * reach).max(1e-20)).sqrt().clamp(least, 1.0);
            let c = if out { OUT } else { IN };
            std::array::from_fn(|k| CLAY[k] * (1.0 - t) + c[k] * t)
        };
        (0..before.len()).map(one).collect()
    }

    /// A picture of `size` pixels a side, of a cloud from a view.
    pub fn cell(&self, cell: Cell, view: &View, size: u32) -> RgbImage {
        let values = if cell == Cell::Before { &self.before } else { &self.after };
        if self.kind == Kind::Cloud {
            let points = Made::points(values);
            let colours = if cell == Cell::Marked { self.pushes() } else { vec![CLAY; points.len()] };
            return relief::draw(&points, &colours, view, size);
        }
        let mut picture = self.picture(values);
        if cell == Cell::Marked {
            let holes = self.holes();
            for (x, y, p) in picture.enumerate_pixels_mut().filter(|(x, y, _)| holes.get_pixel(*x, *y).0[0] > 0) {
                let near = |dx: i64, dy: i64| {
                    let (x, y) = (i64::from(x) + dx, i64::from(y) + dy);
                    let inside = x >= 0 && y >= 0 && x < i64::from(holes.width()) && y < i64::from(holes.height());
                    inside && holes.get_pixel(x as u32, y as u32).0[0] > 0
                };
                let edge = [(1, 0), (-1, 0), (0, 1), (0, -1)].into_iter().any(|(a, b)| !near(a, b));
                let share = if edge { 1.0 } else { 0.35 };
                *p = Rgb(std::array::from_fn(|k| (f32::from(p.0[k]) * (1.0 - share) + 255.0 * OUT[k] * share) as u8));
            }
        }
        imageops::resize(&picture, size, size, FilterType::Triangle)
    }

    /// Writes the sample and its mask; `sample` and `mask` make paths of endings.
    pub fn write(&self, sample: impl Fn(&str) -> PathBuf, mask: impl Fn(&str) -> PathBuf) -> Result<Written, Failed> {
        if self.kind == Kind::Cloud {
            let points = Made::points(&self.after);
            let marks: Vec<u8> = self.mask.iter().map(|v| u8::from(*v > 0.5)).collect();
            let pushed: Vec<f32> = self
                .before
                .chunks_exact(3)
                .zip(&points)
                .map(|(b, a)| (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f32>().sqrt())
                .collect();
            let colours: Vec<[u8; 3]> =
                self.pushes().into_iter().map(|c| c.map(|v| (255.0 * v).round() as u8)).collect();
            let bytes = ply(&write::Written {
                points: &points,
                colours: &colours,
                marks: &[("mask", &marks)],
                values: &[("offset", &pushed)],
                ..write::Written::default()
            });
            let text: String = marks.iter().map(|m| if *m == 0 { "0\n" } else { "1\n" }).collect();
            let (file, holes) = (sample(".ply"), mask(".txt"));
            crate::whole::write(&file, &bytes).map_err(|e| (file.clone(), e.to_string()))?;
            crate::whole::write(&holes, text.as_bytes()).map_err(|e| (holes.clone(), e.to_string()))?;
            return Ok(vec![("sample", file), ("mask", holes)]);
        }
        let (file, holes) = (sample(".png"), mask(".png"));
        write_png(&self.picture(&self.after), &file).map_err(|e| (file.clone(), e))?;
        write_png(&self.holes(), &holes).map_err(|e| (holes.clone(), e))?;
        Ok(vec![("sample", file), ("mask", holes)])
    }
}
