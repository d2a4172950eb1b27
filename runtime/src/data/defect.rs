//! Defects of procedural surfaces, with the pixels that they change.
//!
//! In: a sample of a surface, a kind of defect, a seed. Out: a picture and its mask. Invariants: outside the mask the picture
//! is that of the flawless sample; the mask is never empty for pictures of 16 pixels or more; as reproducible as [`super::texture`].
//! Imports: textures.

use image::{GrayImage, Luma, Rgb, RgbImage};

use super::texture::{Sample, mix, part, smooth};

/// What can be wrong with a surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A thin, bright, curved line.
    Scratch,
    /// Something spilt: darker, with a ragged edge.
    Stain,
    /// A piece is missing.
    Hole,
    /// The pattern itself is out of place; colours are those of the surface.
    Shift,
}

impl Defect {
    /// All kinds.
    pub const ALL: [Defect; 4] = [Defect::Scratch, Defect::Stain, Defect::Hole, Defect::Shift];

    /// Its name, as in folders.
    pub fn name(self) -> &'static str {
        match self {
            Defect::Scratch => "scratch",
            Defect::Stain => "stain",
            Defect::Hole => "hole",
            Defect::Shift => "shift",
        }
    }
}

/// How much a defect is present at a point: 0 or less is not at all, 1 is fully.
struct Shape {
    centre: (f32, f32),
    along: (f32, f32),
    length: f32,
    width: f32,
    bend: f32,
    kind: Defect,
}

impl Shape {
    fn new(kind: Defect, size: f32, seed: u64) -> Shape {
        let u = |n: u64| part(mix(seed, n, 0x6465_6665));
        let centre = (size * (0.25 + 0.5 * u(1)), size * (0.25 + 0.5 * u(2)));
        let (x, y) = (2.0 * u(3) - 1.0, 2.0 * u(4) - 1.0);
        let norm = (x * x + y * y).sqrt().max(1e-3);
        let (length, width) = match kind {
            Defect::Scratch => (0.18 + 0.16 * u(5), 0.008 + 0.007 * u(6)),
            Defect::Stain => (0.08 + 0.08 * u(5), 0.07 + 0.06 * u(6)),
            Defect::Hole => (0.05 + 0.05 * u(5), 0.04 + 0.04 * u(6)),
            Defect::Shift => (0.12 + 0.07 * u(5), 0.09 + 0.05 * u(6)),
        };
        let (along, bend) = ((x / norm, y / norm), 0.5 * (u(7) - 0.5));
        Shape { centre, along, length: size * length, width: (size * width).max(1.0), bend, kind }
    }

    fn presence(&self, x: f32, y: f32, sample: &Sample) -> f32 {
        let (dx, dy) = (x - self.centre.0, y - self.centre.1);
        let a = (dx * self.along.0 + dy * self.along.1) / self.length;
        let b = (dy * self.along.0 - dx * self.along.1) / self.width;
        match self.kind {
            Defect::Scratch => {
                let off = b - self.bend * (1.0 - a * a) * self.length / self.width;
                if a.abs() < 1.0 { 1.0 - off.abs() * (1.0 + a * a) } else { 0.0 }
            }
            Defect::Stain => 1.0 - (a * a + b * b).sqrt() + 0.35 * sample.octaves(0.1 * x + 11.0, 0.1 * y + 5.0),
            Defect::Hole | Defect::Shift => 1.0 - (a * a + b * b).sqrt(),
        }
    }
}

/// The picture of a sample, and the mask of the defect if it has one.
pub fn picture(sample: &Sample, size: u32, defect: Option<(Defect, u64)>) -> (RgbImage, GrayImage) {
    let mut mask = GrayImage::new(size, size);
    let shape = defect.map(|(kind, seed)| Shape::new(kind, size as f32, seed));
    let image = RgbImage::from_fn(size, size, |px, py| {
        let (x, y) = (px as f32, py as f32);
        let whole = sample.at(x, y);
        let presence = shape.as_ref().map_or(0.0, |s| s.presence(x, y, sample));
        let Some(shape) = shape.as_ref().filter(|_| presence > 0.0) else { return Rgb(bytes(whole)) };
        let wrong = match shape.kind {
            Defect::Scratch => whole.map(|c| 0.35 * c + 0.62),
            Defect::Stain => [0.5 * whole[0], 0.44 * whole[1], 0.4 * whole[2]],
            Defect::Hole => [0.05, 0.05, 0.06].map(|c| c + 0.06 * part(mix(px.into(), py.into(), 9))),
            // The same surface, turned a quarter and pulled apart.
            Defect::Shift => sample.at(y * 1.25 + 31.0, -x * 1.25 + 17.0),
        };
        let strength = smooth(presence * 4.0);
        let mixed = [0, 1, 2].map(|c| whole[c] + (wrong[c] - whole[c]) * strength);
        if strength > 0.25 {
            mask.put_pixel(px, py, Luma([255]));
            Rgb(bytes(mixed))
        } else {
            Rgb(bytes(whole))
        }
    });
    (image, mask)
}

fn bytes(colour: [f32; 3]) -> [u8; 3] {
    colour.map(|c| (255.0 * c.clamp(0.0, 1.0) + 0.5) as u8)
}

#[cfg(test)]
mod tests {
    use super::{Defect, picture};
    use crate::data::texture::Surface;

    #[test]
    fn the_mask_covers_what_changed_and_is_never_empty() {
        for class in 0..6 {
            for (n, kind) in Defect::ALL.into_iter().enumerate() {
                for seed in 0..10 {
                    let sample = Surface::of(class).sample(seed);
                    let (whole, none) = picture(&sample, 64, None);
                    let (broken, mask) = picture(&sample, 64, Some((kind, seed + n as u64)));
                    assert!(none.as_raw().iter().all(|m| *m == 0));
                    let marked = mask.as_raw().iter().filter(|m| **m > 0).count();
                    assert!((4..64 * 64 / 4).contains(&marked), "{} {seed}: {marked}", kind.name());
                    for ((a, b), m) in whole.pixels().zip(broken.pixels()).zip(mask.pixels()) {
                        assert!(a == b || m.0[0] == 255);
                    }
                }
            }
        }
    }
}
