//! Speed of the contractions on this machine.
#![allow(unsafe_code)]
use std::time::Instant;
use uad_kernels::cpu::Isa;
use uad_kernels::cpu::gemm::*;

fn main() {
    let isa = Isa::detect();
    let lanes = isa.lanes();
    for (r, w) in [(6, 4), (8, 3), (12, 2), (14, 2), (12, 1), (5,4), (4,4), (2,4), (1,4)] {
        for k in [32usize, 64, 96, 128, 256, 576, 1152, 2304, 4608] {
            let nr = w * lanes;
            let m = r * 8;
            let a = vec![0.5f32; m * k];
            let b = vec![0.25f32; k * nr + 64];
            let b_ptr = ((b.as_ptr() as usize + 63) & !63) as *const f32;
            let mut c = vec![0f32; m * nr + 16];
            let c_ptr = ((c.as_mut_ptr() as usize + 63) & !63) as *mut f32;
            let mut best = f64::MAX;
            let reps = (20_000_000 / (m * nr * k)).max(1);
            for _ in 0..15 {
                let t0 = Instant::now();
                for _ in 0..reps {
                    for i in (0..m).step_by(r) {
                        let rows: Vec<*const f32> = (0..r).map(|x| unsafe { a.as_ptr().add((i + x) * k) }).collect();
                        let t = Tile { a: rows.as_ptr(), a_step: 1, segments: 1, depth: k, b: b_ptr, b_step: nr as isize, carry: false,
                            out: unsafe { c_ptr.add(i * nr) }, out_row: nr as isize, columns: nr, finish: Finish::PLAIN };
                        unsafe { run_tile(isa, r, w, &t) };
                    }
                }
                best = best.min(t0.elapsed().as_secs_f64() / reps as f64);
            }
            print!(" {:6.1}", 2.0 * (m * nr * k) as f64 / best / 1e9);
        }
        println!("  {r}x{w}");
    }
}
