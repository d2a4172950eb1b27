//! Where in an image the picture that a detector sees was taken from.
//!
//! In: the image's size, the pipeline's steps. Out: a rectangle in parts of the image. Invariants: a map that is drawn over the rectangle
//! lies on what it is about; the rectangle may reach beyond the image, where a crop was larger than it.
//! Imports: pipelines, resizing, heat maps.

use super::pipeline::Step;
use super::resize;
use crate::heatmap::{Over, WHOLE};

/// The part of an image of `height` and `width` that is left after the steps.
pub fn covered((height, width): (u32, u32), steps: &[Step]) -> Over {
    let (mut size, mut over) = ((height.max(1), width.max(1)), WHOLE);
    for step in steps {
        match step {
            Step::Resize(h, w) => size = (*h, *w),
            Step::ResizeShorter(s) => size = resize::shorter_size(size, *s),
            Step::CentreCrop(h, w) => {
                let part = |extent: u32, kept: u32| {
                    let extent = f64::from(extent);
                    let start = resize::crop_start(extent as i64, i64::from(kept)) as f64;
                    ((start / extent) as f32, (f64::from(kept) / extent) as f32)
                };
                let ((top, tall), (left, wide)) = (part(size.0, *h), part(size.1, *w));
                over = Over {
                    top: over.top + top * over.height,
                    left: over.left + left * over.width,
                    height: over.height * tall,
                    width: over.width * wide,
                };
                size = (*h, *w);
            }
        }
    }
    over
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_take_the_middle() {
        assert_eq!(covered((50, 90), &[Step::Resize(224, 224)]), WHOLE);
        let cut = covered((100, 200), &[Step::ResizeShorter(50), Step::CentreCrop(40, 40)]);
        assert_eq!((cut.top, cut.left, cut.height, cut.width), (0.1, 0.3, 0.8, 0.4));
        let beyond = covered((10, 10), &[Step::CentreCrop(20, 20)]);
        let wide = covered((50, 100), &[Step::CentreCrop(50, 60)]);
        assert_eq!((wide.top, wide.left, wide.height, wide.width), (0.0, 0.2, 1.0, 0.6));
        assert_eq!((beyond.top, beyond.height), (-0.5, 2.0));
    }
}
