//! Metrics equal their definitions, and say what cannot be measured.
//!
//! In: scores made here. Out: nothing. Invariants: what is found is compared with the definitions, pair by pair and threshold by threshold. Imports: the runtime.

use std::collections::BTreeSet;

use proptest::prelude::*;
use uad_runtime::metrics::regions::regions;
use uad_runtime::metrics::{Measured, MetricError, PixelMetrics, mean, samples};

/// AUROC, AP, F1-max and AUPRO from their definitions.
fn defined(maps: &[(Vec<f32>, Vec<u8>)], width: usize, limit: f64) -> [f64; 4] {
    let all: Vec<(f32, bool)> =
        maps.iter().flat_map(|(s, m)| s.iter().copied().zip(m.iter().map(|v| *v != 0))).collect();
    let (hot, cold): (Vec<_>, Vec<_>) = all.iter().copied().partition(|v| v.1);
    let mut wins = 0.0;
    for (a, _) in &hot {
        wins += cold.iter().map(|(b, _)| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 }).sum::<f64>();
    }
    let mut thresholds: Vec<f32> = all.iter().map(|v| v.0).collect();
    thresholds.sort_by(|a, b| b.total_cmp(a));
    thresholds.dedup();
    let (mut ap, mut before, mut best) = (0.0, 0.0, 0.0f64);
    let mut curve = vec![(0.0, 0.0)];
    for t in thresholds {
        let tp = hot.iter().filter(|v| v.0 >= t).count() as f64;
        let fp = cold.iter().filter(|v| v.0 >= t).count() as f64;
        let recall = tp / hot.len() as f64;
        ap += (recall - before) * tp / (tp + fp);
        before = recall;
        best = best.max(2.0 * tp / (tp + fp + hot.len() as f64));
        let mut overlaps = Vec::new();
        for (scores, mask) in maps {
            let found = regions(mask, width);
            for r in 0..found.sizes.len() {
                let own = found.strokes.iter().filter(|s| s.region == r).flat_map(|s| s.from..s.to);
                let over = own.filter(|i| scores[*i] >= t).count();
                overlaps.push(over as f64 / f64::from(found.sizes[r]));
            }
        }
        curve.push((fp / cold.len() as f64, overlaps.iter().sum::<f64>() / overlaps.len() as f64));
    }
    let mut area = 0.0;
    for pair in curve.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        if x0 < limit && x1 > x0 {
            let x = x1.min(limit);
            area += (x - x0) * (y0 + y0 + (y1 - y0) * (x - x0) / (x1 - x0)) / 2.0;
        }
    }
    [wins / (hot.len() * cold.len()) as f64, ap, best, area / limit]
}

fn close(found: &Measured, wanted: [f64; 4]) {
    let found = [found.auroc, found.ap, found.f1_max, found.aupro].map(Option::unwrap);
    for (f, w) in found.iter().zip(wanted) {
        assert!((f - w).abs() < 1e-9, "{found:?} {wanted:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn equal_to_the_definitions(
        pixels in prop::collection::vec((-4i8..5, prop::bool::weighted(0.3)), 60..200), limit in 0.01..1.0f64
    ) {
        let width = 6;
        let maps: Vec<(Vec<f32>, Vec<u8>)> = pixels.chunks_exact(30).map(|c| {
            (c.iter().map(|p| f32::from(p.0) / 4.0).collect(), c.iter().map(|p| u8::from(p.1)).collect())
        }).collect();
        let mut found = PixelMetrics::default();
        maps.iter().for_each(|(s, m)| found.add(s, m, width).unwrap());
        let found = found.measure(limit, 2).unwrap();
        prop_assume!(found.normal > 0 && found.anomalous > 0);
        close(&found, defined(&maps, width, limit));
    }
}

/// Maps of many different scores, with a square of higher ones.
fn synthetic(n: usize, side: usize, seed: u64) -> Vec<(Vec<f32>, Vec<u8>)> {
    let mut state = seed;
    let mut draw = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let map = |i: usize| {
        let at = |p: usize| (p / side / 4 == i % 3 && p % side / 5 == 1) || p % (side * 7) == 3;
        let mask: Vec<u8> = (0..side * side).map(|p| u8::from(at(p))).collect();
        (mask.iter().map(|m| draw() + 0.3 * f32::from(*m)).collect(), mask)
    };
    (0..n).map(map).collect()
}

#[test]
fn threads_change_nothing_and_bounded_memory_says_how_much_it_changes() {
    let maps = synthetic(40, 96, 1);
    let measure = |most: usize, threads: usize| {
        let mut pixels = PixelMetrics::new(most);
        maps.iter().for_each(|(s, m)| pixels.add(s, m, 96).unwrap());
        pixels.measure(0.3, threads).unwrap()
    };
    let exact = measure(usize::MAX, 1);
    assert_eq!(exact.within, 0.0);
    assert_eq!(measure(usize::MAX, 3), exact);
    // 368 640 pixels in 20 000: some bits go.
    for most in [20_000, 1_000, 64] {
        let rough = measure(most, 2);
        assert_eq!((rough.normal, rough.anomalous, rough.regions), (exact.normal, exact.anomalous, exact.regions));
        assert!(rough.within > 0.0);
        for (name, a, b) in [
            ("AUROC", rough.auroc, exact.auroc),
            ("AP", rough.ap, exact.ap),
            ("F1", rough.f1_max, exact.f1_max),
            ("AUPRO", rough.aupro, exact.aupro),
        ] {
            let off = (a.unwrap() - b.unwrap()).abs();
            assert!(off <= rough.within, "{name} with {most}: off by {off}, said {}", rough.within);
        }
    }
    let within = measure(20_000, 2).within;
    assert!(within < 0.02, "{within}");
    // Scores that are repeated fit however many there are.
    let mut pixels = PixelMetrics::new(100);
    (0..50).for_each(|n| pixels.add(&[0.25; 64], &[u8::from(n % 2 == 0); 64], 8).unwrap());
    let tied = pixels.measure(0.3, 1).unwrap();
    assert_eq!((tied.auroc, tied.within), (Some(0.5), 0.0));
}

#[test]
fn what_cannot_be_measured_is_not_there() {
    let empty = PixelMetrics::default().measure(0.3, 1).unwrap();
    assert_eq!((empty.auroc, empty.ap, empty.f1_max, empty.aupro), (None, None, None, None));
    let mut normal = PixelMetrics::default();
    normal.add_normal(&[0.1, 0.2]).unwrap();
    normal.add(&[0.1, 0.2], &[0, 0], 2).unwrap();
    let normal = normal.measure(0.3, 1).unwrap();
    assert_eq!((normal.normal, normal.auroc, normal.ap, normal.aupro), (4, None, None, None));
    let mut all = PixelMetrics::default();
    all.add(&[0.1, 0.2], &[1, 255], 2).unwrap();
    let all = all.measure(0.3, 1).unwrap();
    assert_eq!((all.auroc, all.aupro, all.ap, all.f1_max), (None, None, Some(1.0), Some(1.0)));
    assert_eq!(all.f1_threshold, Some(0.1));
    assert_eq!(samples(&[], &[]).unwrap(), Measured::default());
    assert_eq!(samples(&[1.0], &[false]).unwrap().auroc, None);
    assert_eq!(samples(&[f32::INFINITY, 1.0, f32::NEG_INFINITY], &[true, true, false]).unwrap().auroc, Some(1.0));
    assert_eq!(samples(&[0.0, -0.0], &[true, false]).unwrap().auroc, Some(0.5));
    assert_eq!((mean([None, Some(1.0), Some(0.0)]), mean([None, None])), (Some(0.5), None));
}

#[test]
fn what_is_not_a_number_is_refused() {
    let error = samples(&[0.0, f32::NAN], &[true, false]).unwrap_err();
    assert_eq!(error.to_string(), "score 1 is not a number (NaN), so it has no rank");
    let mut pixels = PixelMetrics::default();
    assert_eq!(pixels.add(&[0.0, f32::NAN], &[0, 1], 2), Err(MetricError::NotANumber(1)));
    assert_eq!(pixels.add(&[0.0], &[0, 1], 2), Err(MetricError::Lengths(1, 2)));
    assert_eq!(pixels.pixels(), 0, "a map that is refused leaves nothing behind");
    assert_eq!(pixels.measure(0.0, 1), Err(MetricError::Limit));
}

#[test]
fn curves_are_short_and_end_where_they_must() {
    let mut pixels = PixelMetrics::default();
    synthetic(40, 96, 1).iter().for_each(|(s, m)| pixels.add(s, m, 96).unwrap());
    let found = pixels.measure(0.3, 1).unwrap();
    for curve in [&found.roc, &found.pro] {
        assert_eq!((curve.points.first(), curve.points.last()), (Some(&(0.0, 0.0)), Some(&(1.0, 1.0))));
    }
    let area: f64 = found.roc.points.windows(2).map(|p| (p[1].0 - p[0].0) * (p[0].1 + p[1].1) / 2.0).sum();
    assert!((area - found.auroc.unwrap()).abs() < 3e-3, "{area} {:?}", found.auroc);
    let levels: BTreeSet<usize> = [&found.roc, &found.pr, &found.pro].map(|c| c.points.len()).into();
    assert!(levels.iter().all(|n| (10..1700).contains(n)), "{levels:?}");
}
