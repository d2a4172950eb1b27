//! The nearest of many points.
//!
//! In: points. Out: for any place, the position of the nearest of them. Invariants: of equally near ones the first; every point is at
//! numbers. Imports: nothing of this project.

type V3 = [f32; 3];

/// Points in boxes of equal size.
pub struct Near<'p> {
    points: &'p [V3],
    low: V3,
    /// Side of a box.
    side: f32,
    boxes: [usize; 3],
    /// Where each box begins in `order`.
    starts: Vec<u32>,
    order: Vec<u32>,
}

impl<'p> Near<'p> {
    /// Boxes for these points: a few points in each that has some.
    pub fn new(points: &'p [V3]) -> Near<'p> {
        let (mut low, mut high) = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
        for p in points {
            (0..3).for_each(|k| (low[k], high[k]) = (low[k].min(p[k]), high[k].max(p[k])));
        }
        let longest = (0..3).map(|k| high[k] - low[k]).fold(0.0, f32::max);
        // Points of a surface: boxes along a side grow with the root of their number.
        let along = ((points.len() as f32 / 2.0).sqrt()).clamp(1.0, 128.0);
        let side = if longest > 0.0 && longest.is_finite() { longest / along } else { 1.0 };
        let boxes = std::array::from_fn(|k| (((high[k] - low[k]) / side) as usize + 1).min(130));
        let mut near = Near { points, low, side, boxes, starts: Vec::new(), order: Vec::new() };
        let mut count = vec![0u32; boxes.iter().product::<usize>() + 1];
        let own: Vec<usize> = points.iter().map(|p| near.flat(near.place(p))).collect();
        own.iter().for_each(|b| count[b + 1] += 1);
        (1..count.len()).for_each(|i| count[i] += count[i - 1]);
        near.starts.clone_from(&count);
        near.order = vec![0; points.len()];
        for (n, b) in own.iter().enumerate() {
            near.order[count[*b] as usize] = n as u32;
            count[*b] += 1;
        }
        near
    }

    fn place(&self, p: &V3) -> [usize; 3] {
        std::array::from_fn(|k| (((p[k] - self.low[k]) / self.side).max(0.0) as usize).min(self.boxes[k] - 1))
    }

    fn flat(&self, b: [usize; 3]) -> usize {
        (b[2] * self.boxes[1] + b[1]) * self.boxes[0] + b[0]
    }

    /// The nearest point to a place, if there is any.
    pub fn find(&self, at: &V3) -> Option<usize> {
        if !at.iter().all(|v| v.is_finite()) {
            return None;
        }
        let middle = self.place(at).map(|v| v as isize);
        let mut best: Option<(f32, usize)> = None;
        let widest = self.boxes.iter().copied().max().unwrap_or(1) as isize;
        for ring in 0..=widest {
            // What lies in this ring or beyond is at least so far away.
            let least = (ring - 1).max(0) as f32 * self.side;
            if best.is_some_and(|(d, _)| least > 0.0 && d < least * least) {
                break;
            }
            self.ring(middle, ring, |n| {
                let d = (0..3).map(|k| (self.points[n][k] - at[k]).powi(2)).sum::<f32>();
                if best.is_none_or(|(b, i)| d < b || d == b && n < i) {
                    best = Some((d, n));
                }
            });
        }
        best.map(|b| b.1)
    }

    /// Calls `see` with every point of the boxes that are `ring` boxes away from the middle.
    fn ring(&self, middle: [isize; 3], ring: isize, mut see: impl FnMut(usize)) {
        let range = |k: usize| (middle[k] - ring).max(0)..=(middle[k] + ring).min(self.boxes[k] as isize - 1);
        for z in range(2) {
            for y in range(1) {
                let edge = (z - middle[2]).abs() == ring || (y - middle[1]).abs() == ring;
                let step = if edge || ring == 0 { 1 } else { 2 * ring };
                let mut x = middle[0] - ring;
                while x <= middle[0] + ring {
                    if x >= 0 && x < self.boxes[0] as isize {
                        let b = self.flat([x as usize, y as usize, z as usize]);
                        let own = self.starts[b] as usize..self.starts[b + 1] as usize;
                        self.order[own].iter().for_each(|n| see(*n as usize));
                    }
                    x += step;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::steps::Stream;
    use super::Near;

    #[test]
    fn as_looking_at_all() {
        let mut stream = Stream(5);
        let mut draw = |n: usize, flat: f32| -> Vec<[f32; 3]> {
            let mut one = || [stream.share() as f32, stream.share() as f32, flat * stream.share() as f32];
            (0..n).map(|_| one()).collect()
        };
        for flat in [0.0, 1.0] {
            let (points, places) = (draw(700, flat), draw(200, 2.0));
            let near = Near::new(&points);
            for at in places.iter().chain(&points).chain(&[[-3.0, 9.0, 0.5]]) {
                let far = |p: &[f32; 3]| (0..3).map(|k| (p[k] - at[k]).powi(2)).sum::<f32>();
                let all = (0..points.len()).min_by(|a, b| far(&points[*a]).total_cmp(&far(&points[*b])));
                assert_eq!(near.find(at), all);
            }
        }
        assert_eq!(Near::new(&[[1.0; 3], [1.0; 3]]).find(&[0.0; 3]), Some(0));
        assert_eq!(Near::new(&[]).find(&[0.0; 3]), None);
    }
}
