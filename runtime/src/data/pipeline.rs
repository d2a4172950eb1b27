//! The per-sample pipeline of an input: from an RGB image to the numbers that a detector reads.
//!
//! In: an image, the pipeline's steps with their arguments. Out: f32 in channel, row, column order, in [0, 1] (value / 255).
//! Invariants: the steps are those that the stdlib marks `@loader`; an unknown step is refused when the pipeline is made, not
//! when it runs. Imports: [`super::resize`].

use image::RgbImage;

use super::resize;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To height and width.
    Resize(u32, u32),
    /// The shorter side to this.
    ResizeShorter(u32),
    /// The middle, of this height and width.
    CentreCrop(u32, u32),
}

impl Step {
    /// The step of this name with these arguments, or why there is none.
    pub fn new(name: &str, args: &[f64]) -> Result<Step, String> {
        let extent = |n: usize| -> Result<u32, String> {
            let v = *args.get(n).ok_or_else(|| format!("`{name}` lacks an argument"))?;
            let whole = (1.0..=16384.0).contains(&v) && v.fract() == 0.0;
            if whole { Ok(v as u32) } else { Err(format!("`{name}`: {v} is not an extent from 1 to 16384")) }
        };
        match name {
            "resize" => Ok(Step::Resize(extent(0)?, extent(1)?)),
            "resize_shorter" => Ok(Step::ResizeShorter(extent(0)?)),
            "centre_crop" => Ok(Step::CentreCrop(extent(0)?, extent(1)?)),
            _ => Err(format!("this version has no loader step `{name}`")),
        }
    }
}

/// Runs the steps.
pub fn prepare(image: &RgbImage, steps: &[Step]) -> RgbImage {
    let mut now: Option<RgbImage> = None;
    for step in steps {
        let from = now.as_ref().unwrap_or(image);
        now = Some(match step {
            Step::Resize(h, w) => resize::bilinear(from, *h, *w),
            Step::ResizeShorter(s) => resize::shorter(from, *s),
            Step::CentreCrop(h, w) => resize::centre_crop(from, *h, *w),
        });
    }
    now.unwrap_or_else(|| image.clone())
}

/// Writes an image as `[3, height, width]` in [0, 1] (torchvision's `ToTensor`). `to` has room for it.
pub fn write_planes(image: &RgbImage, to: &mut [f32]) {
    let plane = image.width() as usize * image.height() as usize;
    for (i, pixel) in image.as_raw().chunks_exact(3).enumerate() {
        for (c, v) in pixel.iter().enumerate() {
            if let Some(slot) = to.get_mut(c * plane + i) {
                *slot = f32::from(*v) / 255.0;
            }
        }
    }
}
