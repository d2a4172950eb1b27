//! Procedural surfaces: cloth, stone, wood, tiles, pebbles, mesh, and as many more as there are seeds.
//!
//! In: a class of surface, the seed of one sample. Out: its light and colour at any point. Invariants: the same arguments give
//! the same picture on every machine: integer hashing and f32 arithmetic that IEEE 754 fixes (no sin, exp or pow of libm).
//! Imports: nothing of this project.

/// The classes with names; further ones are `kind_06`, `kind_07`, …
pub const NAMES: [&str; 6] = ["cloth", "stone", "wood", "tiles", "pebbles", "mesh"];

/// The name of a class.
pub fn class_name(class: u32) -> String {
    NAMES.get(class as usize).map_or_else(|| format!("kind_{class:02}"), |n| (*n).to_owned())
}

/// What is repeated over the surface.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pattern {
    /// Threads over and under each other; every thread goes over this many.
    Cloth(i64),
    /// Noise of four octaves.
    Stone,
    /// Warped rings with fine fibres.
    Wood,
    /// Bricks: each row starts at this part of a brick.
    Tiles(f32),
    /// Cells around scattered points.
    Pebbles,
    /// A lattice of round holes of this radius.
    Mesh(f32),
}

/// A class of surface: what all its samples have in common.
#[derive(Clone, Copy, Debug)]
pub struct Surface {
    pattern: Pattern,
    /// Pixels per repetition.
    pitch: f32,
    /// Direction, as a unit vector.
    turn: (f32, f32),
    dark: [f32; 3],
    light: [f32; 3],
    /// Strength of the finest noise.
    grain: f32,
}

/// One sample of a surface: its own place, direction and light.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    surface: Surface,
    seed: u64,
    shift: (f32, f32),
    turn: (f32, f32),
    gain: f32,
}

impl Surface {
    /// The surface of a class. The first six are chosen by hand, the others drawn.
    pub fn of(class: u32) -> Surface {
        let named = |pattern, pitch, turn, dark, light, grain| Surface { pattern, pitch, turn, dark, light, grain };
        match class {
            0 => named(Pattern::Cloth(2), 7.0, unit(1.0, 0.08), [0.16, 0.24, 0.38], [0.66, 0.76, 0.88], 0.05),
            1 => named(Pattern::Stone, 26.0, unit(1.0, 0.0), [0.30, 0.29, 0.28], [0.82, 0.79, 0.74], 0.10),
            2 => named(Pattern::Wood, 15.0, unit(0.1, 1.0), [0.36, 0.20, 0.10], [0.80, 0.58, 0.36], 0.05),
            3 => named(Pattern::Tiles(0.5), 32.0, unit(1.0, 0.0), [0.34, 0.32, 0.32], [0.78, 0.42, 0.32], 0.06),
            4 => named(Pattern::Pebbles, 17.0, unit(1.0, 0.3), [0.14, 0.15, 0.16], [0.76, 0.74, 0.66], 0.05),
            5 => named(Pattern::Mesh(0.34), 13.0, unit(1.0, 1.0), [0.08, 0.09, 0.10], [0.70, 0.73, 0.76], 0.03),
            _ => Surface::drawn(class),
        }
    }

    fn drawn(class: u32) -> Surface {
        let u = |n: u64| part(mix(u64::from(class), n, 0x7375_7266));
        let pattern = match mix(u64::from(class), 1, 0) % 6 {
            0 => Pattern::Cloth(1 + (3.0 * u(2)) as i64),
            1 => Pattern::Stone,
            2 => Pattern::Wood,
            3 => Pattern::Tiles(0.5 * (u(2) * 3.0).floor()),
            4 => Pattern::Pebbles,
            _ => Pattern::Mesh(0.2 + 0.25 * u(2)),
        };
        let dark = [0.05 + 0.35 * u(3), 0.05 + 0.35 * u(4), 0.05 + 0.35 * u(5)];
        let light = [dark[0] + 0.25 + 0.35 * u(6), dark[1] + 0.25 + 0.35 * u(7), dark[2] + 0.25 + 0.35 * u(8)];
        let pitch = 5.0 + 23.0 * u(9);
        Surface { pattern, pitch, turn: unit(1.0, 2.0 * u(10) - 1.0), dark, light, grain: 0.02 + 0.08 * u(11) }
    }

    /// One sample.
    pub fn sample(self, seed: u64) -> Sample {
        let u = |n: u64| part(mix(seed, n, 0x7361_6d70));
        let lean = unit(1.0, 0.1 * (u(1) - 0.5));
        let turn = (self.turn.0 * lean.0 - self.turn.1 * lean.1, self.turn.0 * lean.1 + self.turn.1 * lean.0);
        Sample { surface: self, seed, shift: (4096.0 * u(2), 4096.0 * u(3)), turn, gain: 0.94 + 0.12 * u(4) }
    }
}

impl Sample {
    /// Colour in [0, 1] at a point, in pixels.
    pub fn at(&self, x: f32, y: f32) -> [f32; 3] {
        let s = &self.surface;
        let (u, v) =
            (self.turn.0 * x - self.turn.1 * y + self.shift.0, self.turn.1 * x + self.turn.0 * y + self.shift.1);
        let (u, v) = (u / s.pitch, v / s.pitch);
        let light = match s.pattern {
            Pattern::Cloth(over) => self.cloth(u, v, over),
            Pattern::Stone => 0.5 + 0.5 * self.octaves(u, v),
            Pattern::Wood => self.wood(u, v),
            Pattern::Tiles(start) => self.tiles(u, v, start),
            Pattern::Pebbles => self.pebbles(u, v),
            Pattern::Mesh(radius) => self.mesh(u, v, radius),
        };
        let fine = s.grain * (part(mix(self.seed, x.to_bits().into(), y.to_bits().into())) - 0.5);
        let light = ((light + fine) * self.gain).clamp(0.0, 1.0);
        [0, 1, 2].map(|c| s.dark[c] + (s.light[c] - s.dark[c]) * light)
    }

    fn cloth(&self, u: f32, v: f32, over: i64) -> f32 {
        let (i, j) = (u.floor() as i64, v.floor() as i64);
        let (a, b) = (u - u.floor() - 0.5, v - v.floor() - 0.5);
        // Round threads: bright along the middle, dark where one dips under the other.
        let upper = (i + j).rem_euclid(2 * over) < over;
        let (across, along) = if upper { (a, b) } else { (b, a) };
        let thread = if upper { i } else { j + 7919 };
        let own = 0.12 * (part(mix(self.seed, thread as u64, 3)) - 0.5);
        0.85 - 2.2 * across * across - 0.9 * along * along + own
    }

    fn wood(&self, u: f32, v: f32) -> f32 {
        let rings = wave(v + 1.4 * self.noise(0.12 * u, 0.35 * v, 5) + 0.3 * self.noise(0.4 * u, v, 6));
        let fibre = self.noise(0.3 * u, 9.0 * v, 7);
        0.55 + 0.32 * rings + 0.13 * fibre
    }

    fn tiles(&self, u: f32, v: f32, start: f32) -> f32 {
        let row = v.floor();
        let u = 0.5 * u + start * row;
        let (a, b) = (2.0 * edge(u), edge(v));
        let own = 0.3 * (part(mix(self.seed, u.floor() as i64 as u64, row as i64 as u64)) - 0.5);
        let inside = smooth((a.min(b) - 0.05) / 0.05);
        inside * (0.72 + own + 0.12 * self.octaves(3.0 * u, 1.5 * v))
    }

    fn pebbles(&self, u: f32, v: f32) -> f32 {
        let (mut first, mut second, mut own) = (f32::MAX, f32::MAX, 0.0);
        for dj in -1..=1 {
            for di in -1..=1 {
                let (i, j) = (u.floor() as i64 + di, v.floor() as i64 + dj);
                let h = |n: u64| part(mix(self.seed ^ n, i as u64, j as u64));
                let (x, y) = (i as f32 + 0.15 + 0.7 * h(1), j as f32 + 0.15 + 0.7 * h(2));
                let far = ((x - u) * (x - u) + (y - v) * (y - v)).sqrt();
                if far < first {
                    (second, first, own) = (first, far, h(3));
                } else {
                    second = second.min(far);
                }
            }
        }
        smooth((second - first) / 0.28) * (0.5 + 0.5 * own) * (1.0 - 0.45 * first)
    }

    fn mesh(&self, u: f32, v: f32, radius: f32) -> f32 {
        let (a, b) = (u - u.floor() - 0.5, v - v.floor() - 0.5);
        let far = (a * a + b * b).sqrt();
        smooth((far - radius) / 0.08) * (0.8 + 0.1 * self.octaves(0.5 * u, 0.5 * v))
    }

    /// Noise of four octaves, about [-1, 1].
    pub fn octaves(&self, x: f32, y: f32) -> f32 {
        (0..4).map(|n| self.noise(x * (1 << n) as f32, y * (1 << n) as f32, n) / (1 << n) as f32).sum::<f32>() * 0.9
    }

    /// Value noise in [-1, 1]: hashed corners of a lattice, blended smoothly.
    fn noise(&self, x: f32, y: f32, layer: u64) -> f32 {
        let (i, j) = (x.floor(), y.floor());
        let (u, v) = (smooth(x - i), smooth(y - j));
        let corner = |dx: f32, dy: f32| {
            let key = mix(self.seed ^ (layer << 32), (i + dx) as i64 as u64, (j + dy) as i64 as u64);
            2.0 * part(key) - 1.0
        };
        let row = |dy: f32| corner(0.0, dy) + (corner(1.0, dy) - corner(0.0, dy)) * u;
        row(0.0) + (row(1.0) - row(0.0)) * v
    }
}

fn unit(x: f32, y: f32) -> (f32, f32) {
    let length = (x * x + y * y).sqrt();
    (x / length, y / length)
}

/// Distance to the nearest whole number.
fn edge(x: f32) -> f32 {
    0.5 - (x - x.floor() - 0.5).abs()
}

/// A smooth wave of period 1 in [-1, 1].
fn wave(x: f32) -> f32 {
    2.0 * smooth(2.0 * edge(x)) - 1.0
}

/// 0 below 0, 1 above 1, smooth between.
pub fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// 64 well mixed bits of three numbers.
pub fn mix(a: u64, b: u64, c: u64) -> u64 {
    let mut h = 0x9e37_79b9_7f4a_7c15u64;
    for v in [a, b, c] {
        h = (h ^ v).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        h = (h ^ (h >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
        h ^= h >> 32;
    }
    h
}

/// A hash as a number in [0, 1).
pub fn part(hash: u64) -> f32 {
    (hash >> 40) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::{Surface, class_name};

    #[test]
    fn colours_are_colours_and_samples_differ() {
        for class in 0..24 {
            let (a, b) = (Surface::of(class).sample(1), Surface::of(class).sample(2));
            let mut differs = false;
            for n in 0..400u16 {
                let (x, y) = (f32::from(n % 20), f32::from(n / 20));
                assert!(a.at(x, y).iter().all(|c| (0.0..=1.0).contains(c)), "{}", class_name(class));
                differs |= a.at(x, y) != b.at(x, y);
            }
            assert!(differs);
        }
    }
}
