//! Attention against loops written down plainly, on every instruction set of this machine.
//!
//! In: kernels built here. Out: agreement with f64 sums; bit-equal results for any number of threads.
//! Imports: `uad-kernels`, `uad-plan`.

#![allow(unsafe_code)]

#[allow(dead_code)]
mod naive;

use naive::*;
use uad_kernels::cpu::attention::AttentionKernel;
use uad_kernels::cpu::hole_jit::HoleCompiler;
use uad_kernels::cpu::{Isa, Pool};
use uad_plan::*;

fn expected(case: &Case, data: &[Vec<f32>]) -> Vec<f64> {
    let Body::Attention { score, out, .. } = &case.kernel.body else { panic!() };
    let (reads, axes) = (&case.kernel.reads, &case.kernel.axes);
    let len = data[4].len();
    let mut result = vec![0.0; len];
    for b in 0..axes[0] {
        for h in 0..axes[1] {
            for t in 0..axes[2] {
                let row: Vec<f64> = (0..axes[3])
                    .map(|s| {
                        let dot = (0..axes[4])
                            .map(|d| {
                                let at = [b, h, t, s, d, 0];
                                element(&reads[0], reads, data, &at) * element(&reads[1], reads, data, &at)
                            })
                            .sum();
                        eval(score, reads, data, &[b, h, t, s, 0, 0], &[dot])[0]
                    })
                    .collect();
                let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = row.iter().map(|x| (x - most).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for e in 0..axes[5] {
                    let value: f64 = (0..axes[3])
                        .map(|s| weights[s as usize] / sum * element(&reads[2], reads, data, &[b, h, t, s, 0, e]))
                        .sum();
                    let at = [b, h, t, 0, 0, e];
                    let o: i64 = case.kernel.writes[0].strides.iter().zip(at).map(|(s, c)| s * c).sum();
                    result[o as usize] = eval(out, reads, data, &at, &[value])[0];
                }
            }
        }
    }
    result
}

fn try_case(case: &Case) {
    let mut data: Vec<Vec<f32>> =
        (0u32..).zip(&case.buffers).map(|(i, b)| noise(b.shape.iter().product::<i64>() as usize, i + 1)).collect();
    let want = expected(case, &data);
    for isa in Isa::all() {
        let mut first: Option<Vec<u32>> = None;
        for threads in [1, 3] {
            data[4].iter_mut().for_each(|v| *v = 77.0);
            let pool = Pool::new(threads);
            let mut holes = HoleCompiler::new(isa).unwrap();
            let kernel = AttentionKernel::compile(&case.kernel, &case.buffers, &mut holes, isa).unwrap();
            let code = holes.finish().unwrap();
            let mut memory = Memory::new(kernel.scratch(), 0, threads);
            let pointers: Vec<*mut u8> = data.iter_mut().map(|d| d.as_mut_ptr().cast()).collect();
            // SAFETY: buffers are as long as their shapes say.
            unsafe { kernel.run(&memory.context(&pool, &code, &pointers, isa)) };
            for (i, (got, want)) in data[4].iter().zip(&want).enumerate() {
                let same = (got.is_nan() && want.is_nan()) || (f64::from(*got) - want).abs() < 1e-5;
                assert!(same, "{}: at {i} {got} not {want}, axes {:?}", isa.name(), case.kernel.axes);
            }
            let bits: Vec<u32> = data[4].iter().map(|v| v.to_bits()).collect();
            match &first {
                None => first = Some(bits),
                Some(f) => assert!(*f == bits, "{}: {threads} threads differ", isa.name()),
            }
        }
    }
}

#[test]
fn attention_of_awkward_sizes() {
    for (b, h, ts, de) in [
        (1, 1, (1, 1), (1, 1)),
        (2, 3, (7, 5), (4, 6)),
        (1, 2, (49, 50), (32, 32)),
        (1, 1, (70, 197), (16, 40)),
        (3, 1, (2, 300), (8, 8)),
    ] {
        for scores in [Scores::Plain, Scores::Scaled, Scores::Masked] {
            try_case(&attention(b, h, ts, de, scores, false));
        }
        try_case(&attention(b, h, ts, de, Scores::Scaled, true));
    }
}
