//! Masks of anomalous places, brought to where the detector's map lies.
//!
//! In: an image whose pixels are not 0 where the sample is anomalous, the steps of the input's pipeline. Out: a grid of truths.
//! Invariants: the same geometric steps as for the image, with the nearest pixel in place of a blend, equal to
//! `PIL.Image.resize(size, NEAREST)`; what lies outside is not anomalous. Imports: images, pipelines.

use std::path::Path;

use super::ReadError;
use super::image::{self, RgbImage};
use super::pipeline::Step;

/// A grid of truths, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 where anomalous.
    pub values: Vec<u8>,
}

impl Mask {
    /// A mask of this size without anomalies.
    pub fn clear(height: usize, width: usize) -> Mask {
        Mask { height, width, values: vec![0; height * width] }
    }

    /// Reads a mask at its own size: a pixel counts where any channel is not 0.
    pub fn read(path: &Path) -> Result<Mask, ReadError> {
        let picture = image::read(path)?;
        let values = picture.pixels().map(|p| u8::from(p.0.iter().any(|v| *v != 0))).collect();
        Ok(Mask { height: picture.height() as usize, width: picture.width() as usize, values })
    }

    /// Reads the mask of a picture, which has its size.
    pub fn of_picture(path: &Path, picture: &RgbImage) -> Result<Mask, ReadError> {
        let mask = Mask::read(path)?;
        let (height, width) = (picture.height() as usize, picture.width() as usize);
        if (mask.height, mask.width) == (height, width) {
            return Ok(mask);
        }
        let (h, w) = (mask.height, mask.width);
        Err(ReadError::new(path, format!("the mask has {w} x {h} pixels, its image {width} x {height}")))
    }

    /// Is any place anomalous?
    pub fn any(&self) -> bool {
        self.values.contains(&1)
    }

    /// The mask after the steps of a pipeline.
    pub fn prepare(&self, steps: &[Step]) -> Mask {
        steps.iter().fold(self.clone(), |m, step| match step {
            Step::Resize(h, w) => m.nearest(*h as usize, *w as usize),
            Step::ResizeShorter(s) => {
                let size = super::resize::shorter_size((m.height as u32, m.width as u32), *s);
                m.nearest(size.0 as usize, size.1 as usize)
            }
            Step::CentreCrop(h, w) => m.centre_crop(*h as usize, *w as usize),
        })
    }

    /// The mask at another size, each place from the nearest.
    pub fn nearest(&self, height: usize, width: usize) -> Mask {
        if (height, width) == (self.height, self.width) {
            return self.clone();
        }
        // PIL adds the scale up instead of multiplying; where a centre falls between two pixels the sum decides.
        let table = |extent: usize, out: usize| -> Vec<usize> {
            let scale = extent as f64 / out.max(1) as f64;
            let mut at = 0.5 * scale;
            let one = |_| {
                let now = (at as usize).min(extent.saturating_sub(1));
                at += scale;
                now
            };
            (0..out).map(one).collect()
        };
        let (rows, columns) = (table(self.height, height), table(self.width, width));
        let line = |y: &usize| {
            let from = y * self.width;
            columns.iter().map(move |x| self.values.get(from + x).copied().unwrap_or(0))
        };
        Mask { height, width, values: rows.iter().flat_map(line).collect() }
    }

    fn centre_crop(&self, height: usize, width: usize) -> Mask {
        let start = |extent: usize, size: usize| super::resize::crop_start(extent as i64, size as i64);
        let (top, left) = (start(self.height, height), start(self.width, width));
        let at = |y: usize, x: usize| {
            let (y, x) = (usize::try_from(y as i64 + top).ok()?, usize::try_from(x as i64 + left).ok()?);
            if y < self.height && x < self.width { self.values.get(y * self.width + x).copied() } else { None }
        };
        let values = (0..height * width).map(|i| at(i / width, i % width).unwrap_or(0)).collect();
        Mask { height, width, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(height: usize, width: usize) -> Mask {
        Mask { height, width, values: (0..height * width).map(|i| u8::from((i * i + i / 3) % 5 == 0)).collect() }
    }

    #[test]
    fn equals_pil() {
        // PIL 12: Image.fromarray(row, "L").resize((n, 1), NEAREST), positions of the pixels taken.
        let positions = |extent: usize, out: usize| -> Vec<usize> {
            let ids = |k: usize| {
                let m = Mask { height: 1, width: extent, values: (0..extent).map(|x| (x >> k) as u8 & 1).collect() };
                m.nearest(1, out).values
            };
            let bits: Vec<Vec<u8>> = (0..4).map(ids).collect();
            (0..out).map(|i| (0..4).map(|k| usize::from(bits[k][i]) << k).sum()).collect()
        };
        assert_eq!(positions(10, 7), [0, 2, 3, 5, 6, 7, 9]);
        assert_eq!(positions(4, 8), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(positions(9, 3), [1, 4, 7]);
    }

    #[test]
    fn steps_follow_the_image() {
        let m = ramp(6, 8);
        let both = m.prepare(&[Step::ResizeShorter(3), Step::CentreCrop(3, 3)]);
        assert_eq!((both.height, both.width), (3, 3));
        let small = m.nearest(3, 4);
        assert_eq!(both.values[0], small.values[0]);
        let wide = m.prepare(&[Step::CentreCrop(10, 10)]);
        assert_eq!((wide.values[0], wide.values[2 * 10 + 1]), (0, m.values[0]));
    }
}
