//! Point clouds as shaded surfaces.
//!
//! In: points with a colour each, from where they are seen. Out: a picture. Invariants: no surface is needed and none is made: every point is a
//! disc, discs of one depth are blended, and light falls on the depths that come of it; points that are no numbers are not drawn;
//! pictures of one view lie over each other. Imports: nothing of this project.

use image::{Rgb, RgbImage};

/// Behind the cloud.
pub const PAPER: [f32; 3] = [0.985, 0.985, 0.98];

/// What is normal.
pub const CLAY: [f32; 3] = [0.77, 0.79, 0.83];

/// Pixels of a side are drawn so many times finer.
const FINE: usize = 2;

type V3 = [f32; 3];

fn dot(a: V3, b: V3) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: V3, b: V3) -> V3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn unit(a: V3) -> V3 {
    let n = dot(a, a).sqrt().max(1e-20);
    a.map(|v| v / n)
}

/// From where a cloud is seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// To the right, up, and towards the one who looks.
    axes: [V3; 3],
    centre: V3,
    /// Half of the picture's side, in the cloud's unit.
    reach: f32,
}

impl View {
    /// A view from the side on which most of the cloud is seen, turned a little. `camera`: the points are as a camera at 0 saw them, its
    /// rows going down.
    pub fn of(points: &[V3], camera: bool) -> View {
        View::towards(points, camera, |_| 0.0)
    }

    /// The same, of the two sides the one with more weight.
    pub fn towards(points: &[V3], camera: bool, weight: impl Fn(usize) -> f32) -> View {
        let known = || points.iter().filter(|p| p.iter().all(|v| v.is_finite()));
        let count = known().count().max(1) as f64;
        let mut mean = [0f64; 3];
        known().for_each(|p| (0..3).for_each(|k| mean[k] += f64::from(p[k]) / count));
        let mean = mean.map(|v| v as f32);
        let towards = if camera { unit(mean.map(|v| -v)) } else { View::flat_side(known(), mean) };
        let all = || points.iter().enumerate().filter(|(_, p)| p.iter().all(|v| v.is_finite()));
        let pull = all().fold([0f32; 3], |s, (n, p)| std::array::from_fn(|k| s[k] + weight(n) * (p[k] - mean[k])));
        let sign = if dot(pull, towards) < 0.0 { -1.0 } else { 1.0 };
        let heavy = dot(pull, pull) > 0.0 && !camera;
        let towards = if heavy {
            let pull = unit(pull);
            unit(std::array::from_fn(|k| sign * towards[k] + 0.9 * pull[k]))
        } else {
            towards
        };
        // Up is the axis of the world that lies best in the picture, and of two such the one along which less is seen.
        let ups = if camera { vec![[0.0, -1.0, 0.0]] } else { vec![[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]] };
        let extent = |a: V3| {
            let (low, high) =
                known().map(|p| dot(a, *p)).fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
            high - low
        };
        let fits = ups.iter().copied().filter(|u| dot(*u, towards).abs() < 0.75);
        let flat = |u: &V3| extent(*u) / extent(unit(cross(*u, towards))).max(1e-20);
        let up = fits.reduce(|a, b| if flat(&b) < 0.9 * flat(&a) { b } else { a }).unwrap_or(ups[0]);
        let right = unit(cross(up, towards));
        let up = cross(towards, right);
        let mix = |a: f32, b: f32, c: f32| unit(std::array::from_fn(|k| a * right[k] + b * up[k] + c * towards[k]));
        let towards = if camera { mix(0.12, 0.12, 1.0) } else { mix(0.42, 0.34, 1.0) };
        let right = unit(cross(up, towards));
        let axes = [right, cross(towards, right), towards];
        // The middle of what is seen, and how far it reaches.
        let (mut low, mut high) = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
        for p in known() {
            for (k, a) in axes.iter().enumerate() {
                let v = dot(*a, *p);
                (low[k], high[k]) = (low[k].min(v), high[k].max(v));
            }
        }
        if low[0] > high[0] {
            return View { axes, centre: [0.0; 3], reach: 1.0 };
        }
        let reach = 0.5 * (high[0] - low[0]).max(high[1] - low[1]).max(1e-12);
        let centre = std::array::from_fn(|k| 0.5 * (low[k] + high[k]));
        View { axes, centre, reach: 1.08 * reach }
    }

    /// The direction in which a cloud is thinnest, on the side of the world's axes.
    fn flat_side<'p>(known: impl Iterator<Item = &'p V3>, mean: V3) -> V3 {
        let mut c = [[0f64; 3]; 3];
        for p in known {
            let d: [f64; 3] = std::array::from_fn(|k| f64::from(p[k] - mean[k]));
            (0..3).for_each(|i| (0..3).for_each(|j| c[i][j] += d[i] * d[j]));
        }
        let trace = (c[0][0] + c[1][1] + c[2][2]).max(1e-300);
        // The largest direction of what is left to a ball is the smallest of the cloud.
        let rest: [[f64; 3]; 3] =
            std::array::from_fn(|i| std::array::from_fn(|j| if i == j { 1.0 } else { 0.0 } - c[i][j] / trace));
        let mut v = [0.21, 0.34, 0.91];
        for _ in 0..400 {
            let next: [f64; 3] = std::array::from_fn(|i| (0..3).map(|j| rest[i][j] * v[j]).sum());
            let n = next.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-300);
            v = next.map(|x| x / n);
        }
        let largest = (0..3).fold(0, |a, b| if v[b].abs() > v[a].abs() { b } else { a });
        let sign = if v[largest] < 0.0 { -1.0 } else { 1.0 };
        unit(v.map(|x| (sign * x) as f32))
    }
}

/// Sums under each fine pixel.
struct Canvas {
    side: usize,
    /// The nearest surface.
    front: Vec<f32>,
    weight: Vec<f32>,
    depth: Vec<f32>,
    colour: Vec<V3>,
}

/// A square picture of `size` pixels a side. `colours` has one for every point.
pub fn draw(points: &[V3], colours: &[V3], view: &View, size: u32) -> RgbImage {
    let side = size as usize * FINE;
    let scale = side as f32 / (2.0 * view.reach);
    let seen: Vec<(V3, V3)> = points
        .iter()
        .zip(colours)
        .filter(|(p, _)| p.iter().all(|v| v.is_finite()))
        .map(|(p, c)| {
            let at: V3 = std::array::from_fn(|k| (dot(view.axes[k], *p) - view.centre[k]) * scale);
            ([at[0] + 0.5 * side as f32, 0.5 * side as f32 - at[1], at[2]], *c)
        })
        .collect();
    let radius = spacing(&seen, side);
    let mut canvas = Canvas {
        side,
        front: vec![f32::NEG_INFINITY; side * side],
        weight: vec![0.0; side * side],
        depth: vec![0.0; side * side],
        colour: vec![[0.0; 3]; side * side],
    };
    for (at, _) in &seen {
        disc(side, at, 1.9 * radius, |n, _| canvas.front[n] = canvas.front[n].max(at[2]));
    }
    // What lies behind the front by more than this is another sheet.
    let thick = 3.0 * radius;
    for (at, c) in &seen {
        disc(side, at, 3.3 * radius, |n, near| {
            if canvas.front[n].is_finite() && at[2] > canvas.front[n] - thick && at[2] < canvas.front[n] + thick {
                let w = near * near;
                canvas.weight[n] += w;
                canvas.depth[n] += w * at[2];
                (0..3).for_each(|k| canvas.colour[n][k] += w * c[k]);
            }
        });
    }
    for n in 0..side * side {
        if canvas.weight[n] > 0.0 && canvas.front[n].is_finite() {
            canvas.depth[n] /= canvas.weight[n];
            let w = canvas.weight[n];
            canvas.colour[n] = canvas.colour[n].map(|v| v / w);
        } else {
            canvas.depth[n] = f32::NEG_INFINITY;
        }
    }
    [0.9, 0.6, 0.35].into_iter().for_each(|part| canvas.smooth(part * radius, thick));
    canvas.shaded(size, thick)
}

/// How far points lie from each other, in fine pixels: by how many cells of a coarse grid they fill.
fn spacing(seen: &[(V3, V3)], side: usize) -> f32 {
    let cells = ((seen.len() as f32 / 6.0).sqrt() as usize).clamp(4, side / 4);
    let mut filled = vec![false; cells * cells];
    let place = |v: f32| ((v / side as f32 * cells as f32) as usize).min(cells - 1);
    seen.iter().for_each(|(at, _)| filled[place(at[1]) * cells + place(at[0])] = true);
    let share = filled.iter().filter(|f| **f).count() as f32 / filled.len() as f32;
    // Of a closed surface half is seen.
    (share * (side * side) as f32 / (0.6 * seen.len().max(1) as f32)).sqrt().clamp(1.0, side as f32 / 24.0)
}

/// Calls `paint` with every pixel of a disc, and 1 at its middle to 0 at its rim.
fn disc(side: usize, at: &V3, radius: f32, mut paint: impl FnMut(usize, f32)) {
    let range = |v: f32| {
        let (a, b) = ((v - radius).ceil().max(0.0), (v + radius).floor().min(side as f32 - 1.0));
        a as usize..(b + 1.0).max(0.0) as usize
    };
    for y in range(at[1]) {
        for x in range(at[0]) {
            let (dx, dy) = (x as f32 - at[0], y as f32 - at[1]);
            let far = (dx * dx + dy * dy) / (radius * radius);
            if far < 1.0 {
                paint(y * side + x, 1.0 - far);
            }
        }
    }
}

impl Canvas {
    /// The depth at a place, if a surface is there.
    fn at(&self, x: isize, y: isize) -> Option<f32> {
        let inside = x >= 0 && y >= 0 && (x as usize) < self.side && (y as usize) < self.side;
        let d = if inside { self.depth[y as usize * self.side + x as usize] } else { f32::NEG_INFINITY };
        d.is_finite().then_some(d)
    }

    /// Depths become means with those around on the same sheet: discs that are seen from the side leave steps.
    fn smooth(&mut self, radius: f32, thick: f32) {
        let far = radius.round().max(1.0) as isize;
        let around = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)];
        let mut next = self.depth.clone();
        for (n, to) in next.iter_mut().enumerate() {
            let (x, y) = ((n % self.side) as isize, (n / self.side) as isize);
            let Some(here) = self.at(x, y) else { continue };
            let (mut sum, mut count) = (2.0 * here, 2.0);
            // Pairs of opposite places keep slopes and edges as they are.
            for pair in around.chunks_exact(2) {
                let on = |(dx, dy): (isize, isize)| self.at(x + far * dx, y + far * dy);
                if let (Some(a), Some(b)) = (on(pair[0]), on(pair[1]))
                    && (a - here).abs().max((b - here).abs()) < 2.0 * thick
                    && (0.5 * (a + b) - here).abs() < thick
                {
                    (sum, count) = (sum + a + b, count + 2.0);
                }
            }
            *to = sum / count;
        }
        self.depth = next;
    }

    /// How much the depth rises over one pixel, from neighbours on the same sheet.
    fn slope(&self, x: isize, y: isize, (dx, dy): (isize, isize), thick: f32) -> f32 {
        let here = self.at(x, y).unwrap_or(0.0);
        let on = |s: isize| self.at(x + s * dx, y + s * dy).filter(|d| (d - here).abs() < thick);
        match (on(-2), on(2)) {
            (Some(a), Some(b)) => 0.25 * (b - a),
            (None, Some(b)) => 0.5 * (b - here),
            (Some(a), None) => 0.5 * (here - a),
            (None, None) => 0.0,
        }
    }

    /// How much of the light from all around comes here: less in hollows and under edges.
    fn open(&self, x: isize, y: isize) -> f32 {
        let here = self.at(x, y).unwrap_or(0.0);
        let unit = self.side as f32 / 360.0;
        let mut closed = 0.0;
        for ring in [3.0f32, 7.0, 13.0] {
            for k in 0..8 {
                let turn = (k as f32 + ring * 0.13) * std::f32::consts::FRAC_PI_4;
                let r = ring * unit;
                let there = self.at(x + (r * turn.cos()).round() as isize, y + (r * turn.sin()).round() as isize);
                let rise = there.map_or(0.0, |d| (d - here) / r);
                // What rises far beyond its distance is another part of the cloud: it hides less.
                closed += rise.clamp(0.0, 1.2) / (1.0 + (rise / 3.0).powi(2));
            }
        }
        1.0 - (closed / 24.0).min(0.75)
    }

    fn light(&self, x: isize, y: isize, thick: f32) -> V3 {
        let (gx, gy) = (self.slope(x, y, (1, 0), 3.0 * thick), -self.slope(x, y, (0, 1), 3.0 * thick));
        let n = unit([-gx, -gy, 1.0]);
        let key = dot(n, unit([-0.55, 0.65, 0.62])).max(0.0);
        let fill = dot(n, unit([0.8, 0.1, 0.45])).max(0.0);
        let shine = dot(n, unit([-0.3, 0.38, 0.88])).max(0.0).powi(28);
        let open = self.open(x, y);
        let c = self.colour[y as usize * self.side + x as usize];
        // A warm lamp, a cool window, the room.
        let lit = [0.36 + 0.76 * key + 0.10 * fill, 0.36 + 0.73 * key + 0.14 * fill, 0.39 + 0.67 * key + 0.20 * fill];
        std::array::from_fn(|k| (c[k] * lit[k] * open + 0.07 * shine).min(1.0))
    }

    fn shaded(&self, size: u32, thick: f32) -> RgbImage {
        let mut picture = RgbImage::new(size, size);
        for (px, py, pixel) in picture.enumerate_pixels_mut() {
            let mut sum = [0f32; 3];
            for k in 0..FINE * FINE {
                let (x, y) = (px as usize * FINE + k % FINE, py as usize * FINE + k / FINE);
                let (x, y) = (x as isize, y as isize);
                let c = if self.at(x, y).is_some() { self.light(x, y, thick) } else { PAPER };
                (0..3).for_each(|k| sum[k] += c[k] / (FINE * FINE) as f32);
            }
            *pixel = Rgb(sum.map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8));
        }
        picture
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ball(dent: f32) -> Vec<V3> {
        let one = |i: usize| {
            let (z, turn) = (1.0 - 2.0 * (i as f32 + 0.5) / 4000.0, i as f32 * 2.399_963);
            let r = (1.0 - z * z).sqrt();
            let p = [r * turn.cos(), r * turn.sin(), z];
            let deep = if z > 0.9 { 1.0 - dent } else { 1.0 };
            p.map(|v| v * deep)
        };
        (0..4000).map(one).collect()
    }

    #[test]
    fn a_ball_is_round_and_a_dent_shows() {
        let (whole, hurt) = (ball(0.0), ball(0.15));
        let view = View::of(&whole, false);
        let clay = vec![CLAY; whole.len()];
        let (a, b) = (draw(&whole, &clay, &view, 120), draw(&hurt, &clay, &view, 120));
        let paper = Rgb(PAPER.map(|v| (v * 255.0).round() as u8));
        let covered = a.pixels().filter(|p| **p != paper).count() as f32 / (120.0 * 120.0);
        let disc = std::f32::consts::PI / 4.0 / (1.08 * 1.08);
        // Points are discs themselves, so the ball is a little larger than its points.
        assert!((0.0..0.15).contains(&(covered - disc)), "{covered} of the picture, a disc takes {disc}");
        assert!(a.pixels().zip(b.pixels()).filter(|(x, y)| x != y).count() > 100);
    }

    #[test]
    fn nothing_and_no_numbers_are_drawn_as_nothing() {
        let none = [[f32::NAN, 0.0, 0.0]];
        let view = View::of(&none, false);
        let picture = draw(&none, &[CLAY], &view, 16);
        assert!(picture.pixels().all(|p| p.0[0] > 240));
        assert_eq!(View::of(&[], true).reach, 1.0);
    }
}
