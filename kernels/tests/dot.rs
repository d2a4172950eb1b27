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
    for (m, n, k) in [
        (1, 1, 1),
        (1, 17, 5),
        (7, 1, 33),
        (13, 48, 3),
        (49, 65, 40),
        (97, 130, 77),
        (5, 64, 200),
        (3, 0, 4),
        (4, 5, 0),
    ] {
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
            for ending in [Ending::Plain, Ending::BiasRelu, Ending::BiasResidual, Ending::BiasSilu] {
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
        let case =
            dot(vec![t, h, d, c], vec![M, N, N, K], reads, vec![plain(2, strides)], buffers.clone(), Hole::slot(0));
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
        for ending in [Ending::Plain, Ending::BiasRelu, Ending::BiasResidual, Ending::BiasSilu] {
            check(&depthwise(b, c, h, w, k, stride, pad, ending), true);
            check(&depthwise(b, c, h, w, k, stride, pad, ending), false);
        }
    }
}

fn op(h: &mut Hole<i64>, op: ScalarOp, args: &[Reg]) -> Reg {
    h.push(Inst::Op(op, args.to_vec()))
}

#[test]
fn holes_before_and_after() {
    // (x * gate[m] + 1) @ (w - k), then silu and a scale per column; and again with what is read changed about.
    let (m, n, k) = (23, 70, 19);
    for (stride_x, stride_out) in [(vec![k, 0, 1], vec![n, 1, 0]), (vec![1, 0, m], vec![1, m, 0])] {
        let buffers = vec![buffer(&[m, k]), buffer(&[n, k]), buffer(&[m, n]), buffer(&[m]), buffer(&[n])];
        let reads = vec![plain(0, stride_x), plain(1, vec![0, k, 1]), plain(3, vec![1, 0, 0]), plain(4, vec![0, 1, 0])];
        let writes = vec![plain(2, stride_out)];
        let mut a = Hole::default();
        let (x, g, one) = (a.push(Inst::Load(0)), a.push(Inst::Load(2)), a.push(Inst::F32(1.0)));
        let y = op(&mut a, ScalarOp::Mul, &[x, g]);
        let y = op(&mut a, ScalarOp::Add, &[y, one]);
        a.results = vec![y];
        let mut b = Hole::default();
        let (w, i) = (b.push(Inst::Load(1)), b.push(Inst::Index(2)));
        let i = op(&mut b, ScalarOp::ToF32, &[i]);
        let w = op(&mut b, ScalarOp::Sub, &[w, i]);
        b.results = vec![w];
        let mut out = Hole::default();
        let s = out.push(Inst::Slot(0));
        let tenth = out.push(Inst::F32(0.01));
        let s = op(&mut out, ScalarOp::Mul, &[s, tenth]);
        let minus = op(&mut out, ScalarOp::Neg, &[s]);
        let e = op(&mut out, ScalarOp::Exp, &[minus]);
        let one = out.push(Inst::F32(1.0));
        let d = op(&mut out, ScalarOp::Add, &[e, one]);
        let v = op(&mut out, ScalarOp::Div, &[s, d]);
        let c = out.push(Inst::Load(3));
        let v = op(&mut out, ScalarOp::Mul, &[v, c]);
        out.results = vec![v];
        let mut case = dot(vec![m, n, k], vec![M, N, K], reads, writes, buffers, out);
        if let Body::Dot { a: x, b: y, .. } = &mut case.kernel.body {
            (*x, *y) = (a, b);
        }
        check(&case, true);
        check(&case, false);
    }
}

#[test]
fn results_with_channels_first() {
    for ending in [Ending::Plain, Ending::BiasRelu] {
        let mut case = conv(2, 5, 9, 8, 37, 3, 1, 1, true, ending);
        // b oh ow o kh kw c -> [b o oh ow]
        case.kernel.writes[0].strides = vec![9 * 8 * 37, 8, 1, 9 * 8, 0, 0, 0];
        check(&case, true);
        check(&case, false);
    }
}

#[test]
fn fills_gathers_and_reversed_axes() {
    // A convolution whose padding is 0.5, one with a guard of its own on channels, a gathered row, a flipped row.
    for channels_last in [true, false] {
        let mut case = conv(1, 6, 7, 5, 9, 3, 1, 1, channels_last, Ending::Plain);
        case.kernel.reads[0].fill = 0.5;
        check(&case, true);
        case.kernel.reads[0].guards.push(Guard { offset: -1, strides: vec![0, 0, 0, 0, 0, 0, 1], extent: 4 });
        check(&case, true);
        let mut case = conv(1, 20, 7, 5, 9, 3, 1, 1, channels_last, Ending::Plain);
        case.kernel.reads[0].guards.push(Guard { offset: -1, strides: vec![0, 0, 0, 0, 0, 0, 1], extent: 14 });
        check(&case, true);
    }
    let (m, n, k) = (11, 18, 21);
    let mut flipped = linear(m, n, k, true, Ending::BiasRelu);
    flipped.kernel.reads[0].strides = vec![-k, 0, -1];
    flipped.kernel.reads[0].offset = m * k - 1;
    check(&flipped, true);
    // A step through every second row of x, with a guard that cuts the last rows off.
    let mut cut = linear(m, n, k, true, Ending::Plain);
    cut.kernel.reads[0].guards.push(Guard { offset: 0, strides: vec![2, 0, 0], extent: m });
    cut.kernel.reads[0].strides = vec![2 * k, 0, 1];
    check(&cut, false);
}

#[test]
fn products_of_gradients() {
    // dw[o c] = sum over m of y[m o] * x[m c]; dx[m c] = sum over o of y[m o] * w[o c]
    for (m, o, c) in [(50, 20, 33), (300, 64, 48), (7, 3, 5)] {
        let buffers = vec![buffer(&[m, o]), buffer(&[m, c]), buffer(&[o, c])];
        let reads = vec![plain(0, vec![1, 0, o]), plain(1, vec![0, 1, c])];
        check(&dot(vec![o, c, m], vec![M, N, K], reads, vec![plain(2, vec![c, 1, 0])], buffers, Hole::slot(0)), false);
        let buffers = vec![buffer(&[m, o]), buffer(&[o, c]), buffer(&[m, c])];
        let reads = vec![plain(0, vec![o, 0, 1]), plain(1, vec![0, 1, c])];
        check(&dot(vec![m, c, o], vec![M, N, K], reads, vec![plain(2, vec![c, 1, 0])], buffers, Hole::slot(0)), true);
    }
    // The weight gradient of a convolution: m = (kh kw c), n = o, k = (b oh ow), guards on the summed axes.
    let (b, c, h, o, p) = (2, 5, 6, 7, 1);
    let axes = vec![3, 3, c, o, b, h, h];
    let mut x = plain(0, vec![h * c, c, 1, 0, h * h * c, h * c, c]);
    x.offset = -p * (h * c + c);
    x.guards = vec![
        Guard { offset: -p, strides: vec![1, 0, 0, 0, 0, 1, 0], extent: h },
        Guard { offset: -p, strides: vec![0, 1, 0, 0, 0, 0, 1], extent: h },
    ];
    let y = plain(1, vec![0, 0, 0, 1, h * h * o, h * o, o]);
    let buffers = vec![buffer(&[b, h, h, c]), buffer(&[b, h, h, o]), buffer(&[o, c, 3, 3])];
    let writes = vec![plain(2, vec![3, 1, 9, 9 * c, 0, 0, 0])];
    check(&dot(axes, vec![M, M, M, N, K, K, K], vec![x, y], writes, buffers, Hole::slot(0)), false);
}

#[test]
fn grouped_convolutions() {
    // g b oh ow o kh kw c
    let (g, b, h, o, c) = (3, 2, 6, 5, 4);
    let axes = vec![g, b, h, h, o, 3, 3, c];
    let (gc, go) = (g * c, g * o);
    let mut x = plain(0, vec![c, h * h * gc, h * gc, gc, 0, h * gc, gc, 1]);
    x.offset = -(h * gc + gc);
    x.guards = vec![
        Guard { offset: -1, strides: vec![0, 0, 1, 0, 0, 1, 0, 0], extent: h },
        Guard { offset: -1, strides: vec![0, 0, 0, 1, 0, 0, 1, 0], extent: h },
    ];
    let w = plain(1, vec![o * c * 9, 0, 0, 0, c * 9, 3, 1, 9]);
    let buffers = vec![buffer(&[b, h, h, gc]), buffer(&[go, c, 3, 3]), buffer(&[b, h, h, go])];
    let writes = vec![plain(2, vec![o, h * h * go, h * go, go, 1, 0, 0, 0])];
    let roles = vec![Batch, M, M, M, N, K, K, K];
    check(&dot(axes, roles, vec![x, w], writes, buffers, Hole::slot(0)), true);
}
