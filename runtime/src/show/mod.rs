//! What was found in a sample, for people and programs: pictures and files.
//!
//! In: a sample as its file holds it, its map, its truth. Out: panels of a report; files beside each other. Invariants: a colour means the same
//! value in all that was given the same range; a kind of sample is a file here and a line in each match.
//! Imports: data, heat maps.

mod cloud;
pub mod made;
mod picture;
pub mod relief;
pub mod sheet;
mod signal;

use std::path::PathBuf;

use image::RgbImage;

use crate::data::kind::Raw;
use crate::data::mask::Mask;
use crate::heatmap::OwnMap;

/// How values of maps are read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Look {
    /// From the first to the last colour.
    pub range: (f32, f32),
    /// Above it a value is anomalous.
    pub threshold: Option<f32>,
}

/// A drawing, of pixels or of lines.
#[derive(Clone, Debug, PartialEq)]
pub enum Drawing {
    /// Pixels.
    Picture(RgbImage),
    /// The text of an SVG.
    Svg(String),
}

/// A drawing and what it shows.
pub type Panel = (&'static str, Drawing);
/// Files that were written, each by the name of its field in what is told of a sample.
pub type Written = Vec<(&'static str, PathBuf)>;
/// A file that could not be written, and why.
pub type Failed = (PathBuf, String);

/// Panels of a report about one sample. The mask is as [`crate::data::kind::Pipeline::truth`] gives it.
pub fn panels(raw: &Raw, map: Option<&OwnMap>, mask: Option<&Mask>, look: &Look) -> Vec<Panel> {
    match raw {
        Raw::Image(picture) => picture::panels(picture, map, mask, look),
        Raw::Cloud(cloud) => cloud::panels(cloud, map, mask, look),
        Raw::Signal(signal) => signal::panels(signal, map, mask, look),
    }
}

/// Writes what was found; `to` makes a file's path of what follows the sample's name in it.
pub fn write(raw: &Raw, map: &OwnMap, look: &Look, to: impl Fn(&str) -> PathBuf) -> Result<Written, Failed> {
    match raw {
        Raw::Image(picture) => picture::write(picture, map, look, to),
        Raw::Cloud(cloud) => cloud::write(cloud, map, look, to),
        Raw::Signal(signal) => signal::write(signal, map, look, to),
    }
}
