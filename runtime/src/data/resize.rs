//! Resizing as PIL does it: bilinear with antialiasing, rounded to 8 bits after each direction.
//!
//! In: an RGB image and a size. Out: an RGB image. Invariants: equal to `PIL.Image.resize(size, BILINEAR)` bit for bit (compared in
//! the tests); cropping takes `round((extent - size) / 2)` as torchvision does. Imports: nothing of this project.

use image::RgbImage;

/// Bits after the binary point of a weight.
const BITS: u32 = 22;

/// The image at `height` x `width`; both are at least 1.
///
/// Resizing libraries keep 14 or 15 bits of a weight and differ from PIL in one pixel of ten by one step; scores that are to
/// equal those of Python cannot afford that, so the arithmetic is spelt out: 22 bits, rounded after each direction.
pub fn bilinear(image: &RgbImage, height: u32, width: u32) -> RgbImage {
    let (h, w) = (image.height() as usize, image.width() as usize);
    let (height, width) = (height.max(1) as usize, width.max(1) as usize);
    if (h, w) == (height, width) {
        return image.clone();
    }
    let (across, down) = (taps(w, width), taps(h, height));
    let rows = down.first().map_or(0, |t| t.from)..down.last().map_or(0, |t| t.from + t.weights.len());
    let mut middle = vec![0u8; rows.len() * width * 3];
    let source = image.as_raw().chunks_exact(w * 3).skip(rows.start);
    for (line, out) in source.zip(middle.chunks_exact_mut(width * 3)) {
        for (pixel, tap) in out.chunks_exact_mut(3).zip(&across) {
            let mut sums = [1i32 << (BITS - 1); 3];
            for (v, k) in line[tap.from * 3..].chunks_exact(3).zip(&tap.weights) {
                (0..3).for_each(|c| sums[c] += i32::from(v[c]) * k);
            }
            (0..3).for_each(|c| pixel[c] = clip(sums[c]));
        }
    }
    let mut target = RgbImage::new(width as u32, height as u32);
    let mut sums = vec![0i32; width * 3];
    for (line, tap) in target.chunks_exact_mut(width * 3).zip(&down) {
        sums.fill(1 << (BITS - 1));
        let lines = middle.chunks_exact(width * 3).skip(tap.from - rows.start);
        for (from, k) in lines.zip(&tap.weights) {
            sums.iter_mut().zip(from).for_each(|(s, v)| *s += i32::from(*v) * k);
        }
        line.iter_mut().zip(&sums).for_each(|(out, s)| *out = clip(*s));
    }
    target
}

fn clip(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// What one output pixel is made of.
struct Tap {
    from: usize,
    weights: Vec<i32>,
}

/// Triangle filter, as wide as the scale where the image shrinks.
fn taps(extent: usize, out: usize) -> Vec<Tap> {
    let scale = extent as f64 / out as f64;
    let stretch = scale.max(1.0);
    let tap = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let from = (centre - stretch + 0.5).max(0.0) as usize;
        let to = ((centre + stretch + 0.5).max(0.0) as usize).min(extent);
        let at = |x: usize| (1.0 - ((x as f64 - centre + 0.5) / stretch).abs()).max(0.0);
        let sum: f64 = (from..to).map(at).sum();
        // The sum is positive: the pixel at the centre has a weight of at least one half.
        let weights = (from..to).map(|x| (at(x) / sum * f64::from(1 << BITS) + 0.5) as i32).collect();
        Tap { from, weights }
    };
    (0..out).map(tap).collect()
}

/// The shorter side becomes `size`, the other keeps the ratio, rounded down (torchvision's `Resize(int)`).
pub fn shorter(image: &RgbImage, size: u32) -> RgbImage {
    let (h, w) = shorter_size((image.height(), image.width()), size);
    bilinear(image, h, w)
}

/// Height and width of [`shorter`].
pub fn shorter_size((h, w): (u32, u32), size: u32) -> (u32, u32) {
    // Images have at most 2^28 pixels, so an extent beyond 2^16 in the other direction is cut off there.
    let long = |a: u32, b: u32| (u64::from(size) * u64::from(a) / u64::from(b.max(1))).clamp(1, 1 << 16) as u32;
    if h <= w { (size, long(w, h)) } else { (long(h, w), size) }
}

/// The middle of this height and width; what lies outside the image is black.
pub fn centre_crop(image: &RgbImage, height: u32, width: u32) -> RgbImage {
    let (top, left) =
        (crop_start(image.height().into(), height.into()), crop_start(image.width().into(), width.into()));
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (i64::from(x) + left, i64::from(y) + top);
        match (u32::try_from(x), u32::try_from(y)) {
            (Ok(x), Ok(y)) if x < image.width() && y < image.height() => *image.get_pixel(x, y),
            _ => image::Rgb([0; 3]),
        }
    })
}

/// Where the middle begins; negative where it is larger than the image.
pub fn crop_start(extent: i64, size: i64) -> i64 {
    // Python rounds halves to even.
    let (half, odd) = ((extent - size).div_euclid(2), (extent - size).rem_euclid(2));
    if odd == 1 && half.rem_euclid(2) == 1 { half + 1 } else { half }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_pil_on_a_ramp() {
        // PIL 12: Image.fromarray(u8 of (7x + 13y + 29xy) % 256 at 7 x 5).resize((3, 4), BILINEAR), first channel.
        let image = RgbImage::from_fn(7, 5, |x, y| image::Rgb([((7 * x + 13 * y + 29 * x * y) % 256) as u8; 3]));
        let found: Vec<u8> = bilinear(&image, 4, 3).chunks_exact(3).map(|p| p[0]).collect();
        assert_eq!(found, RAMP);
    }

    const RAMP: [u8; 12] = [16, 46, 77, 60, 131, 159, 104, 143, 145, 107, 114, 105];

    #[test]
    fn crops_the_middle() {
        let image = RgbImage::from_fn(5, 4, |x, y| image::Rgb([x as u8, y as u8, 0]));
        let cut = centre_crop(&image, 3, 3);
        assert_eq!(cut.get_pixel(0, 0).0, [1, 0, 0]);
        let low = centre_crop(&image, 2, 5);
        assert_eq!((low.dimensions(), low.get_pixel(0, 0).0), ((5, 2), [0, 1, 0]));
        assert_eq!(centre_crop(&image, 7, 7).get_pixel(0, 0).0, [0, 0, 0]);
    }
}
