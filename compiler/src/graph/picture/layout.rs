//! Layers: where boxes of one level stand, and how lines run between them.
//!
//! In: sizes of boxes and lines between them. Out: places and points of lines. Invariants: boxes do not overlap, lines
//! go downwards unless they close a circle; deterministic. Imports: nothing.

/// Space between boxes of one layer.
const BESIDE: f64 = 26.0;
/// Space between layers.
const BELOW: f64 = 44.0;
/// Width of a line that passes a layer.
const LINE: f64 = 12.0;

/// Boxes and lines of one level.
#[derive(Clone, Debug, Default)]
pub struct Level {
    /// Width and height of each box.
    pub sizes: Vec<(f64, f64)>,
    /// Lines by box numbers.
    pub lines: Vec<(usize, usize)>,
}

/// Where everything is.
#[derive(Clone, Debug, Default)]
pub struct Placed {
    /// Left upper corner of each box.
    pub at: Vec<(f64, f64)>,
    /// Points of each line, top to bottom: pairs (end of a straight part, begin of the next).
    pub lines: Vec<Vec<(f64, f64)>>,
    /// Does the line close a circle?
    pub back: Vec<bool>,
    /// Extent of all.
    pub size: (f64, f64),
}

/// A place in a layer: a box, or a line that passes.
#[derive(Clone, Copy)]
struct Slot {
    layer: usize,
    width: f64,
    height: f64,
}

/// Places all boxes.
pub fn place(level: &Level) -> Placed {
    let n = level.sizes.len();
    let back = circles(n, &level.lines);
    let forward: Vec<(usize, usize)> = level.lines.iter().zip(&back).filter(|(_, b)| !**b).map(|(l, _)| *l).collect();
    let layer = layers(n, &forward);
    let slot = |i: usize| Slot { layer: layer[i], width: level.sizes[i].0, height: level.sizes[i].1 };
    let mut slots: Vec<Slot> = (0..n).map(slot).collect();
    // Each line as a path through one slot per layer.
    let mut paths: Vec<Vec<usize>> = Vec::new();
    for (line, b) in level.lines.iter().zip(&back) {
        let (from, to) = if *b { (line.1, line.0) } else { *line };
        let mut path = vec![from];
        for l in layer[from] + 1..layer[to] {
            slots.push(Slot { layer: l, width: LINE, height: 0.0 });
            path.push(slots.len() - 1);
        }
        path.push(to);
        paths.push(path);
    }
    let count = layer.iter().max().map_or(0, |m| m + 1);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (i, s) in slots.iter().enumerate() {
        rows[s.layer].push(i);
    }
    let mut near: Vec<[Vec<usize>; 2]> = vec![[Vec::new(), Vec::new()]; slots.len()];
    for w in paths.iter().flat_map(|p| p.windows(2)) {
        near[w[1]][0].push(w[0]);
        near[w[0]][1].push(w[1]);
    }
    order(&mut rows, &near);
    let x = columns(&rows, &slots, &near);
    let mut y = 0.0;
    let mut tops = Vec::new();
    for row in &rows {
        let height = row.iter().map(|s| slots[*s].height).fold(0.0, f64::max);
        tops.push((y, height));
        y += height + BELOW;
    }
    let left = rows.iter().flatten().map(|s| x[*s] - slots[*s].width / 2.0).fold(f64::INFINITY, f64::min);
    let left = if left.is_finite() { left } else { 0.0 };
    let width = rows.iter().flatten().map(|s| x[*s] + slots[*s].width / 2.0 - left).fold(0.0, f64::max);
    let corner = |i: usize| {
        let (top, height) = tops[slots[i].layer];
        (x[i] - slots[i].width / 2.0 - left, top + (height - slots[i].height) / 2.0)
    };
    let at: Vec<(f64, f64)> = (0..n).map(corner).collect();
    let lines = paths
        .iter()
        .enumerate()
        .map(|(p, path)| {
            let (from, to) = (path[0], path[path.len() - 1]);
            let out = port(&paths, p, from, true, &x, slots[from].width);
            let into = port(&paths, p, to, false, &x, slots[to].width);
            let mut points = vec![(out - left, at[from].1 + slots[from].height)];
            for s in &path[1..path.len() - 1] {
                let (top, height) = tops[slots[*s].layer];
                points.push((x[*s] - left, top));
                points.push((x[*s] - left, top + height));
            }
            points.push((into - left, at[to].1));
            points
        })
        .collect();
    Placed { at, lines, back, size: (width, (y - BELOW).max(0.0)) }
}

/// Where a line leaves or enters a box: lines of one side are spread by where they go.
fn port(paths: &[Vec<usize>], p: usize, of: usize, leaves: bool, x: &[f64], width: f64) -> f64 {
    let next = |path: &Vec<usize>| if leaves { path[1] } else { path[path.len() - 2] };
    let own = |path: &Vec<usize>| if leaves { path[0] } else { path[path.len() - 1] };
    let mut all: Vec<(f64, usize)> =
        paths.iter().enumerate().filter(|(_, q)| own(q) == of).map(|(i, q)| (x[next(q)], i)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let at = all.iter().position(|a| a.1 == p).unwrap_or(0);
    let room = (width * 0.7).min(28.0 * (all.len() as f64 - 1.0));
    let step = if all.len() > 1 { room / (all.len() as f64 - 1.0) } else { 0.0 };
    x[of] - room.max(0.0) / 2.0 + step * at as f64
}

/// Which lines close a circle, by a walk in the order of the boxes.
fn circles(n: usize, lines: &[(usize, usize)]) -> Vec<bool> {
    let mut out: Vec<Vec<(usize, usize)>> = vec![Vec::new(); n];
    for (i, (a, b)) in lines.iter().enumerate() {
        out[*a].push((*b, i));
    }
    let mut back = vec![false; lines.len()];
    // 0 unseen, 1 on the way, 2 done
    let mut state = vec![0u8; n];
    for start in 0..n {
        let mut stack = vec![(start, 0)];
        if state[start] != 0 {
            continue;
        }
        state[start] = 1;
        while let Some((at, next)) = stack.pop() {
            match out[at].get(next) {
                None => state[at] = 2,
                Some((to, line)) => {
                    stack.push((at, next + 1));
                    match state[*to] {
                        0 => {
                            state[*to] = 1;
                            stack.push((*to, 0));
                        }
                        1 => back[*line] = true,
                        _ => {}
                    }
                }
            }
        }
    }
    back
}

/// Longest way from the top; what nothing feeds stands just above what it feeds.
fn layers(n: usize, lines: &[(usize, usize)]) -> Vec<usize> {
    let mut layer = vec![0usize; n];
    for _ in 0..n {
        let mut any = false;
        for (a, b) in lines {
            if layer[*b] <= layer[*a] {
                layer[*b] = layer[*a] + 1;
                any = true;
            }
        }
        if !any {
            break;
        }
    }
    for i in 0..n {
        let fed = lines.iter().any(|l| l.1 == i);
        let first = lines.iter().filter(|l| l.0 == i).map(|l| layer[l.1]).min();
        if let (false, Some(first)) = (fed, first) {
            layer[i] = first.saturating_sub(1);
        }
    }
    layer
}

/// Puts each layer in an order with few crossings.
fn order(rows: &mut [Vec<usize>], near: &[[Vec<usize>; 2]]) {
    let mut rank = vec![0.0; near.len()];
    let number = |row: &[usize], rank: &mut [f64]| row.iter().enumerate().for_each(|(i, s)| rank[*s] = i as f64);
    rows.iter().for_each(|r| number(r, &mut rank));
    for sweep in 0..12 {
        let down = sweep % 2 == 0;
        let side = usize::from(!down);
        let all: Vec<usize> = if down { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
        for r in all {
            let mean = |s: usize| {
                let of = &near[s][side];
                if of.is_empty() { rank[s] } else { of.iter().map(|o| rank[*o]).sum::<f64>() / of.len() as f64 }
            };
            let mut keyed: Vec<(f64, usize)> = rows[r].iter().map(|s| (mean(*s), *s)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            rows[r] = keyed.into_iter().map(|k| k.1).collect();
            number(&rows[r], &mut rank);
        }
    }
}

/// Middles of all slots: near their neighbours, in order, without overlap.
fn columns(rows: &[Vec<usize>], slots: &[Slot], near: &[[Vec<usize>; 2]]) -> Vec<f64> {
    let mut x = vec![0.0; slots.len()];
    for row in rows {
        let mut at = 0.0;
        for s in row {
            x[*s] = at + slots[*s].width / 2.0;
            at += slots[*s].width + BESIDE;
        }
    }
    // First from layer to layer, then between both neighbours, at last straight down.
    for sweep in 0..28 {
        let down = sweep % 2 == 0 || sweep >= 24;
        let all: Vec<usize> = if down { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
        for r in all {
            let want = |s: usize| {
                let of: Vec<usize> = if !(16..24).contains(&sweep) {
                    near[s][usize::from(!down)].clone()
                } else {
                    near[s].iter().flatten().copied().collect()
                };
                if of.is_empty() { x[s] } else { of.iter().map(|o| x[*o]).sum::<f64>() / of.len() as f64 }
            };
            let wanted: Vec<f64> = rows[r].iter().map(|s| want(*s)).collect();
            let widths: Vec<f64> = rows[r].iter().map(|s| slots[*s].width).collect();
            for (s, place) in rows[r].iter().zip(apart(&wanted, &widths)) {
                x[*s] = place;
            }
        }
    }
    x
}

/// The places nearest to those wanted that keep order and distance (pooling of neighbours that want to cross).
fn apart(wanted: &[f64], widths: &[f64]) -> Vec<f64> {
    let mut offset = Vec::with_capacity(wanted.len());
    let mut sum = 0.0;
    for n in 0..wanted.len() {
        if n > 0 {
            sum += (widths[n - 1] + widths[n]) / 2.0 + BESIDE;
        }
        offset.push(sum);
    }
    // (sum of what is wanted, count)
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (w, o) in wanted.iter().zip(&offset) {
        pools.push((w - o, 1));
        while let [.., a, b] = pools.as_slice()
            && a.0 / a.1 as f64 >= b.0 / b.1 as f64
        {
            let joined = (a.0 + b.0, a.1 + b.1);
            pools.truncate(pools.len() - 2);
            pools.push(joined);
        }
    }
    let means = pools.iter().flat_map(|p| std::iter::repeat_n(p.0 / p.1 as f64, p.1));
    means.zip(&offset).map(|(m, o)| m + o).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_do_not_overlap() {
        let level = Level {
            sizes: vec![(50.0, 20.0); 9],
            lines: vec![(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4), (0, 4), (4, 5), (5, 1), (6, 5), (7, 8)],
        };
        let placed = place(&level);
        for i in 0..9 {
            for j in 0..i {
                let (a, b) = (placed.at[i], placed.at[j]);
                assert!((a.0 - b.0).abs() >= 50.0 || (a.1 - b.1).abs() >= 20.0, "{i} {j} {placed:?}");
            }
        }
        assert_eq!(placed.back.iter().filter(|b| **b).count(), 1);
    }
}
