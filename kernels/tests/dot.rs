//! The contractions against loops written down plainly, on every instruction set of this machine.
//!
//! In: kernels built here. Out: agreement with f64 sums; bit-equal results for any number of threads.
//! Imports: `uad-kernels`, `uad-plan`.

#![allow(unsafe_code)]

#[allow(dead_code)]
mod naive;

use naive::*;
use uad_plan::DotRole::{Batch, K, M, N};
use uad_plan::*;

#[test]
fn linear_layers_of_awkward_sizes() {
    for (m, n, k) in [(1, 1, 1), (1, 17, 5), (7, 1, 33), (13, 48, 3), (49, 65, 40), (97, 130, 77), (5, 64, 200), (3, 0, 4), (4, 5, 0)] {
        for transposed in [false, true] {
            check(&linear(m, n, k, transposed, Ending::Plain), true);
            check(&linear(m, n, k, transposed, Ending::Plain), false);
            check(&linear(m, n, k, transposed, Ending::BiasRelu), true);
            check(&linear(m, n, k, transposed, Ending::BiasResidual), true);
        }
    }
}

#[test]
fn a_long_sum_is_cut_into_pieces() {
    check(&linear(9, 20, 7001, true, Ending::BiasRelu), true);
    check(&linear(9, 20, 7001, false, Ending::Plain), false);
}

#[test]
fn convolutions() {
    for (b, c, h, w, o, k, stride, pad) in [
        (1, 3, 17, 15, 20, 7, 2, 3),
        (2, 16, 9, 7, 33, 3, 1, 1),
        (1, 20, 8, 8, 64, 3, 2, 1),
        (2, 32, 7, 7, 70, 1, 1, 0),
        (1, 24, 8, 8, 17, 1, 2, 0),
        (1, 5, 6, 6, 3, 5, 1, 2),
        (1, 4, 3, 3, 3, 3, 1, 3),
    ] {
        for channels_last in [true, false] {
            for ending in [Ending::Plain, Ending::BiasRelu, Ending::BiasResidual] {
                check(&conv(b, c, h, w, o, k, stride, pad, channels_last, ending), true);
            }
        }
    }
}

#[test]
fn batched_products() {
    for (b, m, n, k) in [(3, 7, 9, 5), (2, 20, 32, 17), (4, 1, 16, 8), (5, 3, 1, 9)] {
        // a[b m k], b[b n k] and b[b k n], out[b m n]
        for b_by_columns in [false, true] {
            let axes = vec![b, m, n, k];
            let sb = if b_by_columns { vec![k * n, 0, 1, n] } else { vec![n * k, 0, k, 1] };
            let reads = vec![plain(0, vec![m * k, k, 0, 1]), plain(1, sb)];
            let writes = vec![plain(2, vec![m * n, n, 1, 0])];
            let buffers = vec![buffer(&[b, m, k]), buffer(&[b, n, k]), buffer(&[b, m, n])];
            check(&dot(axes, vec![Batch, M, N, K], reads, writes, buffers, Hole::slot(0)), false);
        }
    }
}

#[test]
fn heads_are_split_in_the_result() {
    // x[t c] @ w[h d c] -> [h t d], and the result of the same transposed
    let (t, h, d, c) = (11, 3, 8, 20);
    let buffers = vec![buffer(&[t, c]), buffer(&[h, d, c]), buffer(&[h, t, d])];
    for strides in [vec![d, t * d, 1, 0], vec![1, t * d, t, 0]] {
        let reads = vec![plain(0, vec![c, 0, 0, 1]), plain(1, vec![0, d * c, c, 1])];
        let case = dot(vec![t, h, d, c], vec![M, N, N, K], reads, vec![plain(2, strides)], buffers.clone(), Hole::slot(0));
        let _ = &case;
        if COMPILED_HOLES {
            check(&case, true);
        }
    }
}

#[test]
fn depthwise_convolutions() {
    for (b, c, h, w, k, stride, pad) in [
        (1, 32, 9, 9, 3, 1, 1),
        (2, 40, 8, 11, 3, 2, 1),
        (1, 96, 7, 7, 5, 1, 2),
        (1, 17, 10, 6, 5, 2, 2),
        (2, 16, 6, 6, 7, 1, 3),
        (1, 5, 6, 6, 3, 1, 1),
        (1, 33, 3, 3, 3, 1, 0),
        (1, 16, 2, 2, 3, 1, 1),
    ] {
        for ending in [Ending::Plain, Ending::BiasRelu, Ending::BiasResidual] {
            check(&depthwise(b, c, h, w, k, stride, pad, ending), true);
            check(&depthwise(b, c, h, w, k, stride, pad, ending), false);
        }
    }
}
