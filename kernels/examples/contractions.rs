//! Speed of the contractions on this machine, layer by layer, on one and two threads.
//!
//! In: nothing, or a word that layers must contain. Out: a table of microseconds and GFLOP/s, and the machine's peak.
//! Imports: `uad-kernels`, `uad-plan`, the kernel builders of the tests.

#![allow(unsafe_code)]

#[allow(dead_code)]
#[path = "../tests/naive/mod.rs"]
mod naive;

use naive::{Case, Ending, Memory, Scores, attention, conv, depthwise, dot, gated, linear, noise, plain};
use std::time::Instant;
use uad_kernels::cpu::attention::AttentionKernel;
use uad_kernels::cpu::dot::DotKernel;
use uad_kernels::cpu::gemm::{Finish, Tile, panel_width, run_tile, tile_rows};
use uad_kernels::cpu::hole_jit::HoleCompiler;
use uad_kernels::cpu::run::Compiled;
use uad_kernels::cpu::{Isa, Pool};
use uad_plan::{Body, BufferId, DotRole, Hole};

fn best(mut f: impl FnMut()) -> f64 {
    let (start, mut best, mut runs) = (Instant::now(), f64::MAX, 0);
    while start.elapsed().as_secs_f64() < 0.4 || runs < 8 {
        let t = Instant::now();
        f();
        best = best.min(t.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

fn peak(isa: Isa) -> f64 {
    let (w, depth) = (panel_width(isa), 64);
    let (r, lanes) = (tile_rows(isa, w), isa.lanes());
    let (a, b) = (vec![0.5f32; r * depth], vec![0.5f32; w * lanes * depth]);
    let mut out = vec![0f32; r * w * lanes];
    let table: Vec<*const f32> = std::iter::once(b.as_ptr()).chain((0..r).map(|i| a[i * depth..].as_ptr())).collect();
    let row = (w * lanes) as isize;
    let tile = Tile {
        table: table.as_ptr(),
        a_step: 1,
        segments: 1,
        depth,
        b_step: row,
        carry: std::ptr::null(),
        carry_row: 0,
        out: out.as_mut_ptr(),
        out_row: row,
        columns: w * lanes,
        finish: Finish::PLAIN,
    };
    // SAFETY: the tile fits the memory above.
    let t = best(|| (0..1000).for_each(|_| unsafe { run_tile(isa, r, w, &tile) }));
    2.0 * (r * w * lanes * depth * 1000) as f64 / t / 1e9
}

fn time(case: &Case, isa: Isa, threads: usize, weights: bool) -> f64 {
    let lens: Vec<usize> = case.buffers.iter().map(|b| b.shape.iter().product::<i64>() as usize).collect();
    let mut data: Vec<Vec<f32>> = lens.iter().enumerate().map(|(i, n)| noise(*n, i as u32 + 1)).collect();
    let pool = Pool::new(threads);
    let mut holes = HoleCompiler::new(isa).expect("a compiler");
    let constant = |id: BufferId| weights && id.0 == 1;
    let (kernel, need, packed): (Box<dyn Compiled>, _, _) = if matches!(case.kernel.body, Body::Dot { .. }) {
        let k = DotKernel::compile(&case.kernel, &case.buffers, constant, &mut holes, isa).expect("a kernel");
        let (need, packed) = (k.scratch(), k.packed_bytes());
        (Box::new(k), need, packed)
    } else {
        let k = AttentionKernel::compile(&case.kernel, &case.buffers, &mut holes, isa).expect("a kernel");
        let need = k.scratch();
        (Box::new(k), need, 0)
    };
    let code = holes.finish().expect("code");
    let mut memory = Memory::new(need, packed, threads);
    let pointers: Vec<*mut u8> = data.iter_mut().map(|d| d.as_mut_ptr().cast()).collect();
    let ctx = memory.context(&pool, &code, &pointers, isa);
    // SAFETY: buffers are as long as their shapes say.
    unsafe {
        pool.run(kernel.pack_tasks(), &|worker, t| kernel.pack_task(&ctx, worker, t));
        best(|| kernel.run(&ctx))
    }
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let isa = Isa::detect();
    println!("{}: {:.0} GFLOP/s from one register tile in L1", isa.name(), peak(isa));
    let show = |name: String, case: Case| {
        if !name.contains(&wanted) {
            return;
        }
        let axes = &case.kernel.axes;
        let flops = match case.kernel.body {
            Body::Attention { .. } => 2 * axes[..4].iter().product::<i64>() * (axes[4] + axes[5]),
            _ => 2 * axes.iter().product::<i64>(),
        } as f64;
        print!("{name:36}");
        for threads in [1, 2] {
            let t = time(&case, isa, threads, !name.starts_with("step"));
            print!("  {threads}t {:9.1}us {:7.1} GF/s", t * 1e6, flops / t / 1e9);
        }
        println!();
    };
    for b in [1, 8] {
        for (c, o, k, s, hw) in [
            (3, 64, 7, 2, 224),
            (64, 64, 3, 1, 56),
            (64, 128, 3, 2, 56),
            (128, 128, 3, 1, 28),
            (256, 256, 3, 1, 14),
            (512, 512, 3, 1, 7),
            (256, 128, 1, 1, 56),
            (1024, 256, 1, 1, 14),
            (512, 2048, 1, 1, 7),
            (3, 32, 3, 2, 224),
            (32, 16, 1, 1, 112),
            (16, 96, 1, 1, 112),
            (24, 144, 1, 1, 56),
            (192, 32, 1, 1, 28),
        ] {
            let case = conv(b, c, hw, hw, o, k, s, k / 2, c != 3, Ending::BiasRelu);
            show(format!("conv {c}->{o} k{k} s{s} {hw} b{b} g1"), case);
        }
        for (c, k, s, hw) in
            [(96, 3, 2, 112), (144, 3, 1, 56), (192, 3, 1, 28), (384, 3, 1, 14), (960, 3, 1, 7), (336, 5, 1, 28)]
        {
            show(
                format!("conv {c}->{c} k{k} s{s} {hw} b{b} g{c}"),
                depthwise(b, c, hw, hw, k, s, k / 2, Ending::BiasRelu),
            );
        }
    }
    for (m, k, n) in [
        (196, 256, 1024),
        (196, 1024, 256),
        (196, 256, 256),
        (1568, 256, 1024),
        (196, 272, 256),
        (1, 1024, 256),
        (8, 256, 1024),
    ] {
        show(format!("mm {m}x{k}x{n}"), linear(m, n, k, false, Ending::Plain));
    }
    // A training step's: forward, gradient of the input, gradient of the weights. Nothing stays the same.
    for (m, k, n) in [(1568, 256, 256), (1568, 256, 1024), (1568, 1024, 256)] {
        show(format!("step forward {m}x{k}x{n}"), linear(m, n, k, true, Ending::Plain));
        show(format!("step input {m}x{n}x{k}"), linear(m, k, n, false, Ending::Plain));
        let mut weights = linear(n, k, m, false, Ending::Plain);
        weights.kernel.reads[0].strides = vec![1, 0, n];
        show(format!("step weights {n}x{m}x{k}"), weights);
    }
    for (c, o, hw) in [(24, 144, 56), (32, 192, 28), (112, 672, 14)] {
        show(format!("silu conv {c}->{o} k1 s1 {hw}"), conv(1, c, hw, hw, o, 1, 1, 0, true, Ending::BiasSilu));
        show(format!("silu conv {o}->{o} k3 s1 {hw} g{o}"), depthwise(1, o, hw, hw, 3, 1, 1, Ending::BiasSilu));
        show(
            format!("gated conv {o}->{c} k1 s1 {hw}"),
            gated(conv(1, o, hw, hw, c, 1, 1, 0, true, Ending::BiasResidual), o),
        );
    }
    for scores in [Scores::Scaled, Scores::Masked] {
        show(format!("attention 8x196x196x32 {scores:?}"), attention(1, 8, (196, 196), (32, 32), scores, false));
    }
    for (m, o, c) in [(1568, 256, 256), (1568, 1024, 256)] {
        let buffers = vec![naive::buffer(&[m, o]), naive::buffer(&[m, c]), naive::buffer(&[o, c])];
        let reads = vec![plain(0, vec![1, 0, o]), plain(1, vec![0, 1, c])];
        let roles = vec![DotRole::M, DotRole::N, DotRole::K];
        let case = dot(vec![o, c, m], roles, reads, vec![plain(2, vec![c, 1, 0])], buffers, Hole::slot(0));
        show(format!("grad dw {o}x{c} over {m}"), case);
    }
}
