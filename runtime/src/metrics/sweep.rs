//! All metrics in one pass over the scores, from the highest down.
//!
//! In: how often each score occurs among the normal and the anomalous. Out: [`Measured`]. Invariants: equal scores are one step; areas under
//! the ROC curve are counted in integers. Imports: keys.

use super::Measured;
use super::curve::Curve;
use super::pile::Pile;
use super::radix::{self, Key};

/// The area under a curve that rises from (0, 0), up to a limit of x.
struct Area {
    limit: f64,
    at: (f64, f64),
    sum: f64,
}

impl Area {
    /// On to the next point, in a straight line.
    fn to(&mut self, x: f64, y: f64) {
        let (x0, y0) = std::mem::replace(&mut self.at, (x, y));
        if x0 >= self.limit || x <= x0 {
            return;
        }
        let (x1, y1) =
            if x <= self.limit { (x, y) } else { (self.limit, y0 + (y - y0) * (self.limit - x0) / (x - x0)) };
        self.sum += 0.5 * (y0 + y1) * (x1 - x0);
    }
}

/// Anomalous keys carry the number of pixels of their region.
pub(super) fn sweep(
    normals: &mut Pile<u32>,
    others: &mut Pile<u64>,
    regions: u64,
    limit: f64,
    threads: usize,
) -> Measured {
    let dropped = normals.dropped().max(others.dropped());
    normals.round(dropped);
    others.round(dropped);
    let (negative, positive) = (normals.len(), others.len());
    let mut found = Measured { normal: negative, anomalous: positive, regions, limit, ..Measured::default() };
    let (mut falling, mut hot) = (normals.sorted(threads), others.sorted(threads));
    let (n, p) = (negative as f64, positive as f64);
    let (mut fp, mut tp, mut pro) = (0u64, 0u64, 0.0);
    let (mut twice, mut ap, mut best) = (0u128, 0.0, (0u64, 1u64, 0u32));
    let mut area = Area { limit, at: (0.0, 0.0), sum: 0.0 };
    let (mut within, mut f1_above) = (0.0f64, 0.0f64);
    let (mut within_ap, mut within_pro) = (0.0, 0.0);
    let (mut roc, mut pr, mut overlap) = (Curve::default(), Curve::default(), Curve::default());
    roc.add(0.0, 0.0);
    overlap.add(0.0, 0.0);
    while let Some(first) = hot.first() {
        let rank = first.rank();
        fp += falling.pass(|k| k < rank);
        let tied = falling.pass(|k| k == rank);
        let (mut hit, mut share) = (0, 0.0);
        while let Some(key) = hot.first().filter(|k| k.rank() == rank) {
            let times = hot.pass(|k| k == key);
            hit += times;
            share += times as f64 / f64::from(key as u32);
        }
        let x = fp as f64 / n;
        roc.add(x, tp as f64 / p);
        area.to(x, pro);
        overlap.add(x, pro);
        twice += u128::from(hit) * u128::from(2 * (negative - fp - tied) + tied);
        if dropped > 0 {
            // Within a step the true order is unknown: all anomalous ones first, or all normal ones.
            within += hit as f64 * tied as f64 / (2.0 * n * p);
            let (high, low) = ((tp + hit) as f64 / (tp + hit + fp) as f64, tp as f64 / (tp + fp + tied).max(1) as f64);
            within_ap += hit as f64 / p * (high - low);
            within_pro += share / regions.max(1) as f64 * tied as f64 / n / limit;
            f1_above = f1_above.max(2.0 * (tp + hit) as f64 / (tp + hit + fp + positive) as f64);
        }
        fp += tied;
        tp += hit;
        pro = (pro + share / regions.max(1) as f64).min(1.0);
        let precision = tp as f64 / (tp + fp) as f64;
        ap += hit as f64 / p * precision;
        // 2 tp / (tp + fp + positive), compared exactly; of equal ones the lowest threshold, as scikit-learn's curves give it.
        let whole = tp + fp + positive;
        if u128::from(tp) * u128::from(best.1) >= u128::from(best.0) * u128::from(whole) {
            best = (tp, whole, rank);
        }
        let x = fp as f64 / n;
        roc.add(x, tp as f64 / p);
        area.to(x, pro);
        overlap.add(x, pro);
        pr.add(tp as f64 / p, precision);
    }
    if positive > 0 {
        found.ap = Some(ap);
        found.f1_max = Some(2.0 * best.0 as f64 / best.1 as f64);
        found.f1_threshold = Some(radix::score(best.2));
        pr.end();
        found.pr = pr;
    }
    if positive > 0 && negative > 0 {
        found.auroc = Some(twice as f64 / (2.0 * n * p));
        for (curve, slot) in [(roc, &mut found.roc), (overlap, &mut found.pro)] {
            let mut curve = curve;
            curve.add(1.0, 1.0);
            curve.end();
            *slot = curve;
        }
        if regions > 0 {
            area.to(1.0, pro);
            found.aupro = Some(area.sum / limit);
        }
    }
    if dropped > 0 {
        let f1 = (f1_above - found.f1_max.unwrap_or(0.0)).max(0.0);
        found.within = within.max(within_ap).max(within_pro).max(f1);
    }
    found
}
