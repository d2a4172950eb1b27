//! Sheets: pictures in rows and columns, with words.
//!
//! In: pictures of one size, captions. Out: one picture. Invariants: what a cell shows stands at its row and column, whatever it is; letters are of
//! the ASCII range, others are shown as `?`. Imports: nothing of this project.

use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::relief::PAPER;

/// Between cells.
const GAP: u32 = 6;
/// Height of a line of words with the room around it.
const LINE: u32 = 30;
const INK: [f32; 3] = [0.17, 0.18, 0.22];

/// A sheet to be drawn.
#[derive(Default)]
pub struct Sheet {
    /// What it shows.
    pub title: String,
    /// Captions above the columns; fewer than columns where some have none.
    pub columns: Vec<String>,
    /// Captions left of the rows.
    pub rows: Vec<String>,
    /// Cells row by row; as many in each row as in the first.
    pub cells: Vec<Vec<RgbImage>>,
}

impl Sheet {
    /// Draws it.
    pub fn draw(&self) -> RgbImage {
        let size = self.cells.iter().flatten().fold((1, 1), |s, p| (s.0.max(p.width()), s.1.max(p.height())));
        let across = self.cells.iter().map(Vec::len).max().unwrap_or(0) as u32;
        let down = self.cells.len() as u32;
        let letter = get_raster_width(FontWeight::Regular, RasterHeight::Size16) as u32;
        let widest = self.rows.iter().map(|r| r.chars().count() as u32).max().unwrap_or(0);
        let left = if widest > 0 { widest * letter + 2 * GAP } else { GAP };
        let top = GAP + if self.title.is_empty() { 0 } else { LINE } + if self.columns.is_empty() { 0 } else { LINE };
        let width = (left + across * (size.0 + GAP)).max(GAP + letter * self.title.chars().count() as u32 + GAP);
        let paper = Rgb(PAPER.map(|v| (v * 255.0).round() as u8));
        let mut sheet = RgbImage::from_pixel(width, top + down * (size.1 + GAP), paper);
        write(&mut sheet, (GAP + 4, GAP + 6), &self.title, FontWeight::Bold);
        for (k, text) in self.columns.iter().enumerate() {
            let middle = left + k as u32 * (size.0 + GAP) + size.0 / 2;
            let start = middle.saturating_sub(letter * text.chars().count() as u32 / 2);
            write(&mut sheet, (start, top - LINE + 6), text, FontWeight::Regular);
        }
        for (n, row) in self.cells.iter().enumerate() {
            let y = top + n as u32 * (size.1 + GAP);
            if let Some(text) = self.rows.get(n) {
                write(&mut sheet, (GAP, y + size.1 / 2 - 8), text, FontWeight::Regular);
            }
            for (k, cell) in row.iter().enumerate() {
                let x = left + k as u32 * (size.0 + GAP);
                image::imageops::replace(&mut sheet, cell, x.into(), y.into());
            }
        }
        sheet
    }
}

/// Writes one line, its upper left corner at `at`.
pub fn write(sheet: &mut RgbImage, at: (u32, u32), text: &str, weight: FontWeight) {
    let mut x = at.0;
    for c in text.chars() {
        let raster = get_raster(c, weight, RasterHeight::Size16);
        let Some(raster) = raster.or_else(|| get_raster('?', weight, RasterHeight::Size16)) else { continue };
        for (dy, line) in raster.rows().enumerate() {
            for (dx, ink) in line.iter().enumerate() {
                if let Some(p) = sheet.get_pixel_mut_checked(x + dx as u32, at.1 + dy as u32) {
                    let share = f32::from(*ink) / 255.0;
                    let mixed = |k: usize| f32::from(p.0[k]) * (1.0 - share) + 255.0 * INK[k] * share;
                    *p = Rgb(std::array::from_fn(|k| mixed(k).round() as u8));
                }
            }
        }
        x += raster.width() as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_at_their_places() {
        let cell = |v: u8| RgbImage::from_pixel(20, 10, Rgb([v; 3]));
        let sheet = Sheet {
            title: "ab".to_owned(),
            columns: vec!["x".to_owned(), "y".to_owned()],
            rows: vec!["r".to_owned()],
            cells: vec![vec![cell(1), cell(2)], vec![cell(3)]],
        };
        let picture = sheet.draw();
        let count = |v: u8| picture.pixels().filter(|p| p.0 == [v; 3]).count();
        assert_eq!([count(1), count(2), count(3)], [200; 3]);
        assert!(Sheet::default().draw().width() > 0);
    }
}
