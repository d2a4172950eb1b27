//! How long the metrics of 20 million pixels take: `cargo run --release -p uad-runtime --example pixel_metrics [THREADS] [DIR]`.
//!
//! In: a number of threads; a folder. Out: times and values; in the folder `maps.bin` (f32) and `masks.bin` (u8), 400 x 224 x 224, for
//! other implementations to measure (docs/benchmarks.md). Invariants: the maps are the same on every machine. Imports: metrics.

use std::time::Instant;

use uad_runtime::metrics::PixelMetrics;

const MAPS: usize = 400;
const SIDE: usize = 224;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let threads = args.next().and_then(|t| t.parse().ok()).unwrap_or(2);
    let maps: Vec<(Vec<f32>, Vec<u8>)> = (0..MAPS).map(map).collect();
    if let Some(folder) = args.next().map(std::path::PathBuf::from) {
        let floats: Vec<u8> = maps.iter().flat_map(|m| m.0.iter().flat_map(|v| v.to_le_bytes())).collect();
        std::fs::write(folder.join("maps.bin"), floats)?;
        std::fs::write(folder.join("masks.bin"), maps.iter().flat_map(|m| m.1.iter().copied()).collect::<Vec<u8>>())?;
    }
    for _ in 0..3 {
        let start = Instant::now();
        let mut pixels = PixelMetrics::default();
        for (scores, mask) in &maps {
            pixels.add(scores, mask, SIDE).map_err(std::io::Error::other)?;
        }
        let found = pixels.measure(0.3, threads).map_err(std::io::Error::other)?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{seconds:.3} s, {threads} threads: AUROC {:?} AP {:?} F1-max {:?} AUPRO {:?} of {} regions in {} pixels",
            found.auroc,
            found.ap,
            found.f1_max,
            found.aupro,
            found.regions,
            found.normal + found.anomalous
        );
    }
    Ok(())
}

/// Noise on a slow wave; in every other map some discs that stand out.
fn map(n: usize) -> (Vec<f32>, Vec<u8>) {
    let mut state = n as u64 + 1;
    let mut draw = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let discs: Vec<[f32; 3]> = (0..if n.is_multiple_of(2) { 0 } else { 1 + n % 4 })
        .map(|_| [20.0 + 180.0 * draw(), 20.0 + 180.0 * draw(), 4.0 + 14.0 * draw()])
        .collect();
    let mask = (0..SIDE * SIDE).map(|i| {
        let (y, x) = ((i / SIDE) as f32, (i % SIDE) as f32);
        u8::from(discs.iter().any(|[cy, cx, r]| (y - cy) * (y - cy) + (x - cx) * (x - cx) < r * r))
    });
    let mask: Vec<u8> = mask.collect();
    let scores = mask.iter().enumerate().map(|(i, m)| {
        let slow = ((i / SIDE * 7 + i % SIDE * 3 + n * 11) % 97) as f32 / 97.0;
        0.3 * slow + 0.7 * (draw() + draw() + draw()) / 3.0 + 0.22 * f32::from(*m)
    });
    (scores.collect(), mask)
}
