//! Drawn solids: point clouds of parts, without and with something wrong.
//!
//! In: a class, a sample's seed, a number of points, perhaps a defect. Out: points on the surface, and 1 for each that the defect moved.
//! Invariants: points are spread evenly over the surface; without a defect no mark is set; equal seeds give equal bits on one
//! machine. Imports: drawn numbers.

use super::cloud::steps::Stream;

type V3 = [f64; 3];

/// What can be wrong with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Material stands out.
    Bulge,
    /// It was hit.
    Dent,
    /// A groove.
    Scratch,
    /// A flat face where there was none.
    Cut,
}

impl Flaw {
    /// All kinds.
    pub const ALL: [Flaw; 4] = [Flaw::Bulge, Flaw::Dent, Flaw::Scratch, Flaw::Cut];

    /// Its name, as in folders.
    pub fn name(self) -> &'static str {
        match self {
            Flaw::Bulge => "bulge",
            Flaw::Dent => "dent",
            Flaw::Scratch => "scratch",
            Flaw::Cut => "cut",
        }
    }
}

/// Names of the first classes.
const NAMES: [&str; 4] = ["knob", "pear", "pillow", "ring"];

/// The name of a class.
pub fn class_name(class: u32) -> String {
    NAMES.get(class as usize).map_or_else(|| format!("solid{class}"), |n| (*n).to_owned())
}

/// A class of parts.
#[derive(Clone, Copy, Debug)]
struct Solid {
    ring: bool,
    /// Half sizes.
    size: V3,
    /// 2 is round, more is box-like.
    power: f64,
    lobes: f64,
    depth: f64,
    /// How much narrower one end is, and the waist.
    taper: f64,
    waist: f64,
}

impl Solid {
    fn of(class: u32) -> Solid {
        let plain = Solid { ring: false, size: [1.0; 3], power: 2.0, lobes: 0.0, depth: 0.0, taper: 0.0, waist: 0.0 };
        match class {
            0 => Solid { size: [1.0, 1.0, 0.55], power: 3.2, lobes: 6.0, depth: 0.09, ..plain },
            1 => Solid { size: [0.62, 0.62, 1.0], taper: 0.28, waist: 0.22, ..plain },
            2 => Solid { size: [1.0, 0.72, 0.34], power: 3.6, ..plain },
            3 => Solid { ring: true, size: [0.74, 0.26, 0.2], ..plain },
            _ => {
                let mut s = Stream(u64::from(class) ^ 0x736f_6c69_6473);
                let mut u = |lo: f64, hi: f64| lo + (hi - lo) * s.share();
                let size = [1.0, u(0.5, 1.0), u(0.3, 1.0)];
                let (power, lobes) = (u(2.0, 4.0), u(2.0, 8.0).floor());
                Solid { size, power, lobes, depth: u(0.0, 0.1), taper: u(0.0, 0.3), waist: u(0.0, 0.2), ring: false }
            }
        }
    }

    /// The surface at two numbers from 0 to 1.
    fn at(&self, u: f64, v: f64) -> V3 {
        let turn = u * std::f64::consts::TAU;
        if self.ring {
            let (c, s) = (v * std::f64::consts::TAU).sin_cos();
            let r = self.size[0] + self.size[1] * s;
            return [r * turn.cos(), r * turn.sin(), self.size[2] * c];
        }
        let (z, c) = (v * std::f64::consts::PI).sin_cos();
        let d = [z * turn.cos(), z * turn.sin(), c];
        let far: f64 = (0..3).map(|k| (d[k] / self.size[k]).abs().powf(self.power)).sum();
        let r = far.powf(-1.0 / self.power) * (1.0 + self.depth * z * z * (self.lobes * turn).cos());
        let narrow = (1.0 - self.taper * c) * (1.0 - self.waist * (-(c - 0.3) * (c - 0.3) * 14.0).exp());
        [r * narrow * d[0], r * narrow * d[1], r * d[2]]
    }

    /// The normal, outwards, and how much surface a step of the two numbers covers.
    fn normal(&self, u: f64, v: f64) -> (V3, f64) {
        let h = 1e-5;
        let (a, b) = (sub(self.at(u + h, v), self.at(u - h, v)), sub(self.at(u, v + h), self.at(u, v - h)));
        let n = cross(b, a);
        let area = dot(n, n).sqrt();
        let out = if self.ring {
            let p = self.at(u, v);
            let r = (p[0] * p[0] + p[1] * p[1]).sqrt().max(1e-9);
            sub(p, [p[0] / r * self.size[0], p[1] / r * self.size[0], 0.0])
        } else {
            self.at(u, v)
        };
        let sign = if dot(n, out) < 0.0 { -1.0 } else { 1.0 };
        (n.map(|x| sign * x / area.max(1e-30)), area / (4.0 * h * h))
    }
}

fn dot(a: V3, b: V3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn sub(a: V3, b: V3) -> V3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn cross(a: V3, b: V3) -> V3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn length(a: V3) -> f64 {
    dot(a, a).sqrt()
}

/// Where a defect is and how it moves a point.
struct Hurt {
    flaw: Flaw,
    middle: V3,
    /// Out of the surface there.
    out: V3,
    /// Along the surface.
    along: V3,
    reach: f64,
    deep: f64,
}

impl Hurt {
    fn new(flaw: Flaw, solid: &Solid, stream: &mut Stream) -> Hurt {
        let (u, v) = place(solid, stream);
        let (middle, (out, _)) = (solid.at(u, v), solid.normal(u, v));
        let other = if out[2].abs() < 0.8 { [0.0, 0.0, 1.0] } else { [1.0, 0.0, 0.0] };
        let (a, b) = (cross(out, other), stream.share() * std::f64::consts::TAU);
        let a = a.map(|x| x / length(a).max(1e-9));
        let c = cross(out, a);
        let along = std::array::from_fn(|k| a[k] * b.cos() + c[k] * b.sin());
        let mut between = |lo: f64, hi: f64| lo + (hi - lo) * stream.share();
        let (reach, deep) = match flaw {
            Flaw::Bulge | Flaw::Dent => (between(0.18, 0.34), between(0.05, 0.1)),
            Flaw::Scratch => (between(0.3, 0.55), between(0.035, 0.06)),
            Flaw::Cut => (0.0, between(0.05, 0.1)),
        };
        Hurt { flaw, middle, out, along, reach, deep }
    }

    /// The point moved, and by how much.
    fn move_point(&self, p: V3, normal: V3) -> (V3, f64) {
        let d = sub(p, self.middle);
        let bump = |far: f64| (1.0 - far * far).max(0.0).powi(2);
        let by = match self.flaw {
            Flaw::Bulge => self.deep * bump(length(d) / self.reach),
            Flaw::Dent => -self.deep * bump(length(d) / self.reach),
            Flaw::Scratch => {
                let on = dot(d, self.along).clamp(-self.reach, self.reach);
                let off = length(sub(d, self.along.map(|x| x * on)));
                -self.deep * bump(off / 0.07) * if dot(normal, self.out) > 0.0 { 1.0 } else { 0.0 }
            }
            // What stands out of a plane below the place is gone.
            Flaw::Cut => {
                let over = dot(d, self.out) + self.deep;
                let near = length(d) < 0.6;
                return if over > 0.0 && near { (sub(p, self.out.map(|x| x * over)), over) } else { (p, 0.0) };
            }
        };
        (std::array::from_fn(|k| p[k] + by * normal[k]), by.abs())
    }
}

/// A place on the surface, all equally likely.
fn place(solid: &Solid, stream: &mut Stream) -> (f64, f64) {
    // No step covers more than this on any of the solids.
    let most = 24.0;
    for _ in 0..10_000 {
        let (u, v) = (stream.share(), 0.001 + 0.998 * stream.share());
        if stream.share() * most < solid.normal(u, v).1 {
            return (u, v);
        }
    }
    (stream.share(), 0.5)
}

/// Points of one part, and 1 for those that the defect moved by a tenth of its depth or more.
pub fn draw(class: u32, seed: u64, count: usize, flaw: Option<Flaw>) -> (Vec<[f32; 3]>, Vec<u8>) {
    let mut stream = Stream(seed ^ (u64::from(class) << 48));
    let mut solid = Solid::of(class);
    // Parts of one class differ a little, as castings do.
    solid.size = solid.size.map(|s| s * (1.0 + 0.03 * (2.0 * stream.share() - 1.0)));
    let hurt = flaw.map(|f| Hurt::new(f, &solid, &mut stream));
    let (mut points, mut marks) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        let (u, v) = place(&solid, &mut stream);
        let (p, (normal, _)) = (solid.at(u, v), solid.normal(u, v));
        let (q, by) = hurt.as_ref().map_or((p, 0.0), |h| h.move_point(p, normal));
        // What a scanner adds.
        let noise = 0.003 * (stream.share() + stream.share() + stream.share() - 1.5);
        points.push(std::array::from_fn(|k| (q[k] + noise * normal[k]) as f32));
        marks.push(u8::from(hurt.as_ref().is_some_and(|h| by > 0.1 * h.deep)));
    }
    (points, marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_repeat_and_flaws_stay_where_they_are() {
        for class in 0..6 {
            let (whole, none) = draw(class, 7, 800, None);
            assert_eq!(whole, draw(class, 7, 800, None).0);
            assert!(none.iter().all(|m| *m == 0));
            assert!(whole.iter().flatten().all(|v| v.is_finite() && v.abs() < 1.6));
            for flaw in Flaw::ALL {
                let shares: Vec<f64> = (0..8)
                    .map(|seed| draw(class, seed, 800, Some(flaw)).1.iter().map(|m| f64::from(*m)).sum::<f64>() / 800.0)
                    .collect();
                let mean = shares.iter().sum::<f64>() / 8.0;
                assert!((0.004..0.25).contains(&mean), "{} {flaw:?}: {shares:?}", class_name(class));
            }
        }
    }

    #[test]
    fn points_are_even() {
        // Halves of a ring's upper side have areas that are known: outside more than inside.
        let (points, _) = draw(3, 1, 20_000, None);
        let radius = |p: &[f32; 3]| f64::from(p[0]).hypot(f64::from(p[1]));
        let outside = points.iter().filter(|p| radius(p) > 0.74).count() as f64 / 20_000.0;
        assert!((0.58..0.66).contains(&outside), "{outside}");
    }
}
