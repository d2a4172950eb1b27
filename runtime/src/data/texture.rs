//! A procedural texture, whole or with a scratch: a picture to try a detector on where no photographs are at hand.
//!
//! In: a size, a seed, whether there is a defect. Out: an RGB image. Invariants: the same arguments give the same picture on every
//! machine (integer hashing, no libm beyond `f32` arithmetic). Imports: nothing of this project.

use image::{Rgb, RgbImage};

/// Woven-looking noise of `size` x `size` pixels; with `defect` a bright scratch across it.
pub fn texture(size: u32, seed: u64, defect: bool) -> RgbImage {
    let scratch = |x: f32, y: f32| {
        let along = (x - 0.3) / 0.4;
        let centre = 0.35 + 0.25 * along + 0.06 * (4.0 * along) * (1.0 - along);
        defect && (0.0..=1.0).contains(&along) && (y - centre).abs() < 0.012 + 0.01 * along * (1.0 - along)
    };
    RgbImage::from_fn(size, size, |px, py| {
        let (x, y) = (px as f32 / size.max(1) as f32, py as f32 / size.max(1) as f32);
        let mut value = 0.0;
        for octave in 0..4u32 {
            let scale = 6.0 * (1 << octave) as f32;
            value += noise(x * scale, y * scale, seed.wrapping_add(u64::from(octave))) / (1 << octave) as f32;
        }
        let weave = if (px / 3 + py / 3) % 2 == 0 { 0.06 } else { -0.06 };
        let light = (0.32 + 0.18 * value + weave).clamp(0.0, 1.0);
        let light = if scratch(x, y) { 0.75 + 0.2 * light } else { light };
        let part = |tint: f32| (255.0 * (light * tint).clamp(0.0, 1.0)) as u8;
        Rgb([part(1.0), part(0.78), part(0.6)])
    })
}

/// Value noise in [-1, 1]: hashed corners of a lattice, blended smoothly.
fn noise(x: f32, y: f32, seed: u64) -> f32 {
    let (cell_x, cell_y) = (x.floor(), y.floor());
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (ease(x - cell_x), ease(y - cell_y));
    let corner = |dx: f32, dy: f32| {
        let key = ((cell_x + dx) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ ((cell_y + dy) as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
            ^ seed.wrapping_mul(0x1656_67b1_9e37_79f9);
        let mixed = (key ^ (key >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    let row = |dy: f32| corner(0.0, dy) + (corner(1.0, dy) - corner(0.0, dy)) * u;
    row(0.0) + (row(1.0) - row(0.0)) * v
}

#[cfg(test)]
mod tests {
    use super::texture;

    #[test]
    fn a_defect_changes_only_its_place() {
        let (whole, scratched) = (texture(64, 1, false), texture(64, 1, true));
        let changed = whole.pixels().zip(scratched.pixels()).filter(|(a, b)| a != b).count();
        assert!(changed > 10 && changed < 64 * 64 / 10, "{changed}");
        assert_ne!(texture(64, 2, false), whole);
    }
}
