//! What happens to a cloud before a detector reads it.
//!
//! In: a cloud, steps with their arguments. Out: [`Taken`], points with where they were. Invariants: the steps are those that the
//! stdlib marks `@loader`; an unknown one is refused when the pipeline is made; what is drawn follows from the seed and the number
//! of points alone. Imports: clouds.

use super::{Cloud, finite};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Drops points that are no numbers, and those at 0 that organised clouds have for "nothing seen".
    Valid,
    /// So many points by chance, each once.
    Random {
        /// How many.
        count: usize,
        /// Other seed, other points.
        seed: u64,
    },
    /// So many points, each the farthest from those before it.
    Farthest(usize),
    /// So many points on the faces, by their area.
    Surface {
        /// How many.
        count: usize,
        /// Other seed, other points.
        seed: u64,
    },
    /// Centre at 0, farthest point at distance 1.
    CentreUnit,
}

/// Points that were taken of a cloud.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// Where they are.
    pub points: Vec<[f32; 3]>,
    /// Where they were in the file.
    pub from: Vec<[f32; 3]>,
}

impl Step {
    /// The step of this name with these arguments, or why there is none.
    pub fn new(name: &str, args: &[f64]) -> Result<Step, String> {
        let whole = |n: usize, most: f64| args.get(n).filter(|v| (0.0..=most).contains(*v) && v.fract() == 0.0);
        let count = || {
            let n = whole(0, super::MOST_POINTS as f64).filter(|v| **v >= 1.0);
            n.map(|v| *v as usize).ok_or_else(|| format!("`{name}` needs a number of points"))
        };
        let seed = || match args.get(1) {
            None => Ok(0),
            Some(v) => whole(1, 9e15).map(|v| *v as u64).ok_or_else(|| format!("`{name}`: {v} is no seed")),
        };
        match name {
            "valid" => Ok(Step::Valid),
            "random_points" => Ok(Step::Random { count: count()?, seed: seed()? }),
            "farthest_points" => Ok(Step::Farthest(count()?)),
            "surface_points" => Ok(Step::Surface { count: count()?, seed: seed()? }),
            "centre_unit" => Ok(Step::CentreUnit),
            _ => Err(format!("this version has no loader step `{name}` for clouds")),
        }
    }
}

/// Runs the steps. What is left must be points, all of them at numbers.
pub fn prepare(cloud: &Cloud, steps: &[Step]) -> Result<Taken, String> {
    let mut taken = Taken { points: cloud.points.clone(), from: cloud.points.clone() };
    for (k, step) in steps.iter().enumerate() {
        match step {
            Step::Valid => {
                let fine = |p: &[f32; 3]| finite(p) && (*p != [0.0; 3] || cloud.shift != [0.0; 3]);
                let keep = (0..taken.points.len()).filter(|n| fine(&taken.points[*n])).collect();
                taken = pick(&taken, keep);
            }
            Step::Random { count, seed } => {
                let have = enough(taken.points.len(), *count)?;
                taken = pick(&taken, random(have, *count, *seed));
            }
            Step::Farthest(count) => {
                enough(taken.points.len(), *count)?;
                numbers(&taken.points)?;
                let keep = farthest(&taken.points, *count);
                taken = pick(&taken, keep);
            }
            Step::Surface { .. } if k > 0 => return Err("`surface_points` is the first step".to_owned()),
            Step::Surface { count, seed } => {
                let points = surface(cloud, *count, *seed)?;
                taken = Taken { from: points.clone(), points };
            }
            Step::CentreUnit => {
                numbers(&taken.points)?;
                centre_unit(&mut taken.points);
            }
        }
    }
    if taken.points.is_empty() {
        return Err("has no valid points".to_owned());
    }
    numbers(&taken.points)?;
    Ok(taken)
}

fn pick(from: &Taken, keep: Vec<usize>) -> Taken {
    let some = |all: &[[f32; 3]]| keep.iter().filter_map(|n| all.get(*n).copied()).collect();
    Taken { points: some(&from.points), from: some(&from.from) }
}

fn enough(have: usize, count: usize) -> Result<usize, String> {
    if have < count { Err(format!("{count} points are wanted of it, {have} are there")) } else { Ok(have) }
}

/// All points are at numbers, or an error says how many are not.
fn numbers(points: &[[f32; 3]]) -> Result<(), String> {
    let broken = points.iter().filter(|p| !finite(p)).count();
    match points.iter().position(|p| !finite(p)) {
        None => Ok(()),
        Some(first) => Err(format!(
            "{broken} of {} points are not numbers (the first is point {}); `|> valid` in the input's pipeline drops them",
            points.len(),
            first + 1
        )),
    }
}

/// A stream of numbers (SplitMix64).
pub struct Stream(pub u64);

impl Stream {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to 1.
    pub fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n.max(1) as u128) >> 64) as usize
    }
}

/// `count` of `have` positions in their order.
fn random(have: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut stream = Stream(seed ^ (have as u64).rotate_left(32));
    let mut keep = Vec::with_capacity(count);
    // Each position is taken with the chance that keeps all choices equally likely.
    for n in 0..have {
        if stream.below(have - n) < count - keep.len() {
            keep.push(n);
        }
    }
    keep
}

/// Begins with the point that is farthest from the middle; of equals the first.
fn farthest(points: &[[f32; 3]], count: usize) -> Vec<usize> {
    let n = points.len().max(1) as f64;
    let mean: [f32; 3] = std::array::from_fn(|k| (points.iter().map(|p| f64::from(p[k])).sum::<f64>() / n) as f32);
    let between = |a: &[f32; 3], b: &[f32; 3]| (0..3).map(|k| (a[k] - b[k]) * (a[k] - b[k])).sum::<f32>();
    let mut near: Vec<f32> = points.iter().map(|p| between(p, &mean)).collect();
    let mut keep = Vec::with_capacity(count);
    for round in 0..count {
        let next = near.iter().enumerate().fold(0, |best, (i, d)| if *d > near[best] { i } else { best });
        keep.push(next);
        for (d, p) in near.iter_mut().zip(points) {
            let now = between(p, &points[next]);
            *d = if round == 0 { now } else { d.min(now) };
        }
    }
    keep.sort_unstable();
    keep
}

fn surface(cloud: &Cloud, count: usize, seed: u64) -> Result<Vec<[f32; 3]>, String> {
    let corner = |i: u32| cloud.points.get(i as usize).copied().unwrap_or([f32::NAN; 3]);
    let mut total = 0.0;
    let mut sums = Vec::with_capacity(cloud.faces.len());
    for f in &cloud.faces {
        let [a, b, c] = f.map(corner);
        let side = |p: [f32; 3]| -> [f64; 3] { std::array::from_fn(|k| f64::from(p[k]) - f64::from(a[k])) };
        let (u, v) = (side(b), side(c));
        let n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
        let area = 0.5 * n.iter().map(|x| x * x).sum::<f64>().sqrt();
        total += if area.is_finite() { area } else { 0.0 };
        sums.push(total);
    }
    if total.is_nan() || total <= 0.0 {
        return Err("has no faces with an area, which `surface_points` takes points from".to_owned());
    }
    let mut stream = Stream(seed ^ (sums.len() as u64).rotate_left(32));
    let mut points = Vec::with_capacity(count);
    for _ in 0..count {
        let at = stream.share() * total;
        let n = sums.partition_point(|s| *s <= at).min(sums.len() - 1);
        let [a, b, c] = cloud.faces.get(n).copied().unwrap_or_default().map(corner);
        let (mut u, mut v) = (stream.share() as f32, stream.share() as f32);
        if u + v > 1.0 {
            (u, v) = (1.0 - u, 1.0 - v);
        }
        points.push(std::array::from_fn(|k| a[k] + u * (b[k] - a[k]) + v * (c[k] - a[k])));
    }
    Ok(points)
}

fn centre_unit(points: &mut [[f32; 3]]) {
    let n = points.len().max(1) as f64;
    let mean: [f64; 3] = std::array::from_fn(|k| points.iter().map(|p| f64::from(p[k])).sum::<f64>() / n);
    let from = |p: &[f32; 3]| -> [f64; 3] { std::array::from_fn(|k| f64::from(p[k]) - mean[k]) };
    let far = points.iter().map(|p| from(p).iter().map(|v| v * v).sum::<f64>()).fold(0.0, f64::max).sqrt();
    for p in points {
        *p = from(p).map(|v| (v / far.max(1e-12)) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud(n: usize) -> Cloud {
        let point = |i: usize| [i as f32, (i * i % 7) as f32, 1.0];
        Cloud { points: (0..n).map(point).collect(), ..Cloud::default() }
    }

    #[test]
    fn broken_points_are_told_and_dropped() {
        let mut c = cloud(20);
        c.points[3] = [f32::NAN; 3];
        c.points[5] = [0.0; 3];
        let told = prepare(&c, &[]).unwrap_err();
        assert!(told.contains("1 of 20") && told.contains("point 4") && told.contains("valid"), "{told}");
        assert_eq!(prepare(&c, &[Step::Valid]).unwrap().points.len(), 18);
        for steps in [[Step::Valid, Step::Random { count: 7, seed: 1 }], [Step::Valid, Step::Farthest(7)]] {
            let some = prepare(&c, &steps).unwrap();
            assert_eq!((some.points.len(), &some.points), (7, &some.from));
            assert!(some.points.windows(2).all(|w| w[0][0] < w[1][0]));
        }
        assert!(prepare(&c, &[Step::Random { count: 21, seed: 0 }]).unwrap_err().contains("20 are there"));
        assert!(prepare(&c, &[Step::Farthest(3)]).unwrap_err().contains("not numbers"));
    }

    #[test]
    fn farthest_points_spread() {
        let line: Vec<[f32; 3]> = (0..101).map(|i| [i as f32, 0.0, 0.0]).collect();
        assert_eq!(farthest(&line, 3), [0, 50, 100]);
    }

    #[test]
    fn seeds_decide_and_choices_are_even() {
        let (a, b) = (random(100, 10, 1), random(100, 10, 2));
        assert!(a != b && a == random(100, 10, 1));
        let mut seen = [0; 20];
        (0..2000).for_each(|s| random(20, 5, s).iter().for_each(|n| seen[*n] += 1));
        assert!(seen.iter().all(|n| (400..600).contains(n)), "{seen:?}");
    }

    #[test]
    fn faces_give_points_by_area() {
        let points =
            vec![[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0], [3.0, 0.0, 9.0], [0.0, 1.0, 9.0]];
        let c = Cloud { points, faces: vec![[0, 1, 2], [3, 4, 5]], ..Cloud::default() };
        let taken = prepare(&c, &[Step::Surface { count: 4000, seed: 3 }]).unwrap();
        let far = taken.points.iter().filter(|p| p[2] > 5.0).count();
        assert!((2900..3100).contains(&far));
        assert!(prepare(&cloud(9), &[Step::Surface { count: 4, seed: 3 }]).unwrap_err().contains("no faces"));
    }

    #[test]
    fn centred_and_of_unit_reach() {
        let taken = prepare(&cloud(50), &[Step::CentreUnit]).unwrap();
        let sum: f32 = taken.points.iter().map(|p| p[0]).sum();
        let far = taken.points.iter().map(|p| p.iter().map(|v| v * v).sum::<f32>().sqrt()).fold(0.0, f32::max);
        assert!(sum.abs() < 1e-4 && (far - 1.0).abs() < 1e-6);
        assert_eq!(taken.from, cloud(50).points);
    }
}
