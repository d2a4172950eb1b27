//! Connected regions of a mask.
//!
//! In: a mask. Out: its regions as horizontal strokes. Invariants: pixels that touch, corners included (8-connected, as SciPy labels with
//! a structure of ones), are one region; regions are numbered by their first pixel. Imports: nothing of this project.

/// A horizontal stroke of anomalous pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stroke {
    /// Its first pixel, counted row by row.
    pub from: usize,
    /// The pixel after its last.
    pub to: usize,
    /// Its region.
    pub region: usize,
}

/// The regions of one mask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regions {
    /// All strokes, row by row.
    pub strokes: Vec<Stroke>,
    /// Pixels of each region.
    pub sizes: Vec<u32>,
}

/// Finds the regions; what is not 0 is anomalous. The mask has whole rows of `width` pixels.
pub fn regions(mask: &[u8], width: usize) -> Regions {
    let mut strokes: Vec<Stroke> = Vec::new();
    // `parent[r] <= r`; a region whose parent is itself is a root.
    let mut parent: Vec<usize> = Vec::new();
    let mut above = 0..0;
    for (y, row) in mask.chunks(width.max(1)).enumerate() {
        let begin = strokes.len();
        let mut touching = above.clone();
        let mut x = 0;
        while let Some(start) = row[x..].iter().position(|v| *v != 0).map(|n| x + n) {
            let end = row[start..].iter().position(|v| *v == 0).map_or(row.len(), |n| start + n);
            let (from, to) = (y * width + start, y * width + end);
            let mut region = None;
            // Strokes of the row above from the column before to the column after touch this one. The last of them may touch the
            // next as well.
            while let Some(s) = strokes.get(touching.start).filter(|_| !touching.is_empty()) {
                if s.from >= to + 1 - width {
                    break;
                }
                if s.to + 1 > from - width {
                    let other = root(&mut parent, s.region);
                    let now = region.map_or(other, |own| join(&mut parent, own, other));
                    region = Some(now);
                }
                if s.to > to - width {
                    break;
                }
                touching.start += 1;
            }
            let region = region.unwrap_or_else(|| {
                parent.push(parent.len());
                parent.len() - 1
            });
            strokes.push(Stroke { from, to, region });
            x = end;
        }
        above = begin..strokes.len();
    }
    // Roots come before the others of their region, so numbers are given in the order of first pixels.
    let (mut number, mut sizes) = (vec![0; parent.len()], Vec::new());
    for r in 0..parent.len() {
        let root = root(&mut parent, r);
        if root == r {
            number[r] = sizes.len();
            sizes.push(0);
        } else {
            number[r] = number[root];
        }
    }
    for s in &mut strokes {
        s.region = number[s.region];
        sizes[s.region] += (s.to - s.from) as u32;
    }
    Regions { strokes, sizes }
}

fn root(parent: &mut [usize], mut r: usize) -> usize {
    while parent[r] != r {
        parent[r] = parent[parent[r]];
        r = parent[r];
    }
    r
}

/// Makes two roots one; the smaller stays.
fn join(parent: &mut [usize], a: usize, b: usize) -> usize {
    let (a, b) = (root(parent, a), root(parent, b));
    parent[a.max(b)] = a.min(b);
    a.min(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By flooding, pixel by pixel.
    fn flooded(mask: &[u8], width: usize) -> Vec<u32> {
        let (height, mut seen, mut sizes) = (mask.len() / width, vec![false; mask.len()], Vec::new());
        for start in 0..mask.len() {
            if mask[start] == 0 || seen[start] {
                continue;
            }
            let (mut size, mut open) = (0, vec![start]);
            seen[start] = true;
            while let Some(p) = open.pop() {
                size += 1;
                let (y, x) = (p / width, p % width);
                for ny in y.saturating_sub(1)..=(y + 1).min(height - 1) {
                    for nx in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                        let q = ny * width + nx;
                        if mask[q] != 0 && !seen[q] {
                            seen[q] = true;
                            open.push(q);
                        }
                    }
                }
            }
            sizes.push(size);
        }
        sizes
    }

    #[test]
    fn equal_to_flooding() {
        let mut seed = 3u64;
        for n in 0..400 {
            let (h, w) = (1 + n % 9, 1 + n % 13);
            let mut draw = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                u8::from((seed >> 33) % 100 < 20 + (n as u64 % 50))
            };
            let mask: Vec<u8> = (0..h * w).map(|_| draw()).collect();
            assert_eq!(regions(&mask, w).sizes, flooded(&mask, w), "{h} x {w}: {mask:?}");
        }
    }

    #[test]
    fn corners_touch_and_nothing_is_nothing() {
        assert_eq!(regions(&[1, 0, 0, 1], 2).sizes, [2]);
        assert_eq!(regions(&[1, 0, 1, 0, 0, 0, 1, 0, 1], 3).sizes, [1, 1, 1, 1]);
        assert_eq!(regions(&[], 0), Regions::default());
    }
}
