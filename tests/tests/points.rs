//! Descriptors of point clouds against their definition.
//!
//! In: points on a bent ball. Out: agreement. Invariants: normals are taken from the library, so that the descriptor alone is tried.
//! Imports: all crates.

use uad_compiler::model::Choice;
use uad_plan::{DType, Tensor};
use uad_tests::execute::Tensors;
use uad_tests::stages::Learner;

type V3 = [f64; 3];

const SPEC: &str = "\
use data.tensor
use points.{fpfh, outward_normals}
detector bends {
  input cloud: f32[b, n, 3] from tensor
  let rise = cloud |> each fn (p: f32[n, 3]) { outward_normals(p, 14) }
  let bend = cloud |> each fn (p: f32[n, 3]) { fpfh(p, outward_normals(p, 14), 12) }
  score { rise = rise; bend = bend }
}
";

fn dot(a: V3, b: V3) -> f64 {
    (0..3).map(|k| a[k] * b[k]).sum()
}

fn cross(a: V3, b: V3) -> V3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn unit(a: V3) -> V3 {
    let n = dot(a, a).sqrt().max(1e-12);
    a.map(|v| v / n)
}

/// Each 11 numbers to a sum of 100.
fn hundreds(row: &mut [f64]) {
    for part in row.chunks_exact_mut(11) {
        let sum: f64 = part.iter().sum();
        part.iter_mut().for_each(|v| *v *= 100.0 / sum.max(1e-12));
    }
}

/// Rusu et al., 2009, in f64.
fn fpfh(p: &[V3], normal: &[V3], k: usize) -> Vec<[f64; 33]> {
    let apart = |a: usize, b: usize| (0..3).map(|i| (p[a][i] - p[b][i]).powi(2)).sum::<f64>();
    let near = |i: usize| {
        let mut all: Vec<usize> = (0..p.len()).collect();
        all.sort_by(|a, b| apart(i, *a).total_cmp(&apart(i, *b)));
        all[1..=k].to_vec()
    };
    let bin = |v: f64, low: f64, high: f64| (((v - low) * 11.0 / (high - low)).floor().clamp(0.0, 10.0)) as usize;
    let plain: Vec<[f64; 33]> = (0..p.len())
        .map(|i| {
            let mut row = [0.0; 33];
            for j in near(i) {
                let line = unit(std::array::from_fn(|x| p[j][x] - p[i][x]));
                let swap = dot(normal[j], line).abs() > dot(normal[i], line).abs();
                let (s, t, to) =
                    if swap { (normal[j], normal[i], line.map(|v| -v)) } else { (normal[i], normal[j], line) };
                let v = unit(cross(s, to));
                let w = cross(s, v);
                let theta = dot(w, t).atan2(dot(s, t));
                row[bin(dot(v, t), -1.0, 1.0)] += 100.0 / k as f64;
                row[11 + bin(dot(s, to), -1.0, 1.0)] += 100.0 / k as f64;
                row[22 + bin(theta, -std::f64::consts::PI, std::f64::consts::PI)] += 100.0 / k as f64;
            }
            row
        })
        .collect();
    (0..p.len())
        .map(|i| {
            let mut row = [0.0; 33];
            for j in near(i) {
                row.iter_mut().zip(plain[j]).for_each(|(r, v)| *r += v / apart(i, j));
            }
            hundreds(&mut row);
            row.iter_mut().zip(plain[i]).for_each(|(r, v)| *r += v);
            hundreds(&mut row);
            row
        })
        .collect()
}

#[test]
fn histograms_of_angles_are_those_of_the_definition() {
    let points: Vec<V3> = (0..150)
        .map(|i| {
            let (z, turn) = (1.0 - 2.0 * (f64::from(i) + 0.5) / 150.0, f64::from(i) * 2.399_963);
            let r = (1.0 - z * z).sqrt() * (1.0 + 0.2 * (3.0 * z).sin());
            [r * turn.cos(), r * turn.sin(), z].map(|v| f64::from(v as f32))
        })
        .collect();
    let mut learner = Learner::new("bends", SPEC, &Choice::default()).unwrap_or_else(|e| panic!("{e}"));
    learner.init().unwrap();
    let cloud = Tensor::from_f64(DType::F32, &[1, 150, 3], points.iter().flatten().copied()).unwrap();
    let found = learner.computed("score", &[Tensors::from([("cloud".to_owned(), cloud)])], 2).unwrap();
    let values = |name: &str| found[0][name].as_f32().unwrap().to_vec();
    let normal: Vec<V3> = values("rise").chunks_exact(3).map(|n| [n[0], n[1], n[2]].map(f64::from)).collect();
    let wanted = fpfh(&points, &normal, 12);
    let bend = values("bend");
    // An angle on the border of two bins may fall to either side: that moves a share of one neighbour.
    let rows = bend.chunks_exact(33).zip(&wanted);
    let same = rows.filter(|(a, b)| a.iter().zip(b.iter()).all(|(x, y)| (f64::from(*x) - y).abs() < 0.01)).count();
    assert!(same >= 148, "{same} of 150 points");
}
