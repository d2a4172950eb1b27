//! How fast the templates of the CPU back end are: `cargo test -p uad-kernels --release --test speed -- --ignored --nocapture`.
//!
//! In: plans as text. Out: a table. Invariants: none; nothing is asserted. Imports: the harness.
#![allow(unsafe_code)]

mod harness;
use harness::{Memory, Random, Tensors, bound, tensor};
use std::time::Instant;
use uad_kernels::cpu::{Isa, Pool, Program};

fn measure(name: &str, body: &str, bytes: usize, elements: usize) {
    if std::env::var("UAD_SPEED").is_ok_and(|only| !name.contains(&only)) {
        return;
    }
    let b = bound("", body);
    let mut random = Random(1);
    let inputs: Tensors = b.inputs.iter().map(|p| (p.name.clone(), tensor(p, &mut random))).collect();
    let start = Instant::now();
    let mut program = Program::compile(&b, Isa::detect()).unwrap();
    let compile = start.elapsed().as_secs_f64();
    for threads in [1, 2] {
        let pool = Pool::new(threads);
        let memory = Memory::new(&b, &inputs, &Tensors::new());
        let mut best = f64::INFINITY;
        // SAFETY: the memory is that of the bound entry.
        unsafe {
            program.setup(&pool, &memory.pointers).unwrap();
            for _ in 0..30 {
                let start = Instant::now();
                program.run(&pool, &memory.pointers, (1, 2, 3));
                best = best.min(start.elapsed().as_secs_f64());
            }
        }
        println!(
            "{name:28} {threads} threads {:9.1} us {:7.2} GB/s {:7.3} ns/element   compiled in {:5.2} ms",
            best * 1e6,
            bytes as f64 / best / 1e9,
            best * 1e9 / elements as f64,
            compile * 1e3
        );
    }
}

#[test]
#[ignore = "measures"]
fn table() {
    // A plain copy, to compare with.
    let n = 8 << 20;
    let (x, mut y) = (vec![1f32; n], vec![0f32; n]);
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        y.copy_from_slice(&x);
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("copy of 32 MiB: {:.2} GB/s on one thread ({})", 8.0 * n as f64 / best / 1e9, y[5]);
    for n in [16 << 10, 8 << 20] {
        let relu = format!(
            r#"input %x f32[{n}] input %z f32[{n}] output %y f32[{n}] kernels {{ map [{n}] "m" {{ $0 = %x[i0] $1 = %z[i0]
            at {{ r0 = $0; r1 = $1; r2 = add r0 r1; r3 = 0.0; r4 = max r2 r3; yield r4 }} write %y[i0] }} }}"#
        );
        measure(&format!("add relu {n}"), &relu, 12 * n, n);
        for op in ["exp", "tanh", "erf", "log", "sin"] {
            let body = format!(
                r#"input %x f32[{n}] output %y f32[{n}] kernels {{ map [{n}] "m" {{ $0 = %x[i0]
                at {{ r0 = $0; r1 = {op} r0; yield r1 }} write %y[i0] }} }}"#
            );
            measure(&format!("{op} {n}"), &body, 8 * n, n);
        }
        let silu = format!(
            r#"input %x f32[{n}] output %y f32[{n}] kernels {{ map [{n}] "m" {{ $0 = %x[i0]
            at {{ r0 = $0; r1 = neg r0; r2 = exp r1; r3 = 1.0; r4 = add r3 r2; r5 = div r0 r4; yield r5 }} write %y[i0] }} }}"#
        );
        measure(&format!("silu {n}"), &silu, 8 * n, n);
        let gelu = format!(
            r#"input %x f32[{n}] output %y f32[{n}] kernels {{ map [{n}] "m" {{ $0 = %x[i0]
            at {{ r0 = $0; r1 = 0.70710678; r2 = mul r0 r1; r3 = erf r2; r4 = 1.0; r5 = add r3 r4; r6 = 0.5; r7 = mul r0 r6
            r8 = mul r7 r5; yield r8 }} write %y[i0] }} }}"#
        );
        measure(&format!("gelu {n}"), &gelu, 8 * n, n);
    }
    let soft = |rows: usize, n: usize| {
        format!(
            r#"input %x f32[{rows}, {n}] output %y f32[{rows}, {n}] kernels {{ rows [{rows}, {n}] inner 1 "softmax" {{
            $0 = %x[{n}*i0 + i1]
            reduce max {{ r0 = $0; yield r0 }}
            reduce sum {{ r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; yield r3 }}
            at 0 {{ r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; r4 = slot 1; r5 = div r3 r4; yield r5 }}
            write %y[{n}*i0 + i1] }} }}"#
        )
    };
    for (rows, n) in [(20000, 49), (1568, 196), (2000, 1000)] {
        measure(&format!("softmax {rows} x {n}"), &soft(rows, n), 8 * rows * n, rows * n);
    }
    let norm = r#"input %x f32[6272, 256] input %g f32[256] output %y f32[6272, 256] kernels { rows [6272, 256] inner 1 "norm" {
            $0 = %x[256*i0 + i1] $1 = %g[i1]
            reduce sum { r0 = $0; yield r0 }
            reduce sum { r0 = $0; r1 = slot 0; r2 = 0.00390625; r3 = mul r1 r2; r4 = sub r0 r3; r5 = mul r4 r4; yield r5 }
            at 0 { r0 = $0; r1 = slot 0; r2 = 0.00390625; r3 = mul r1 r2; r4 = sub r0 r3; r5 = slot 1; r6 = mul r5 r2
                   r7 = 0.00001; r8 = add r6 r7; r9 = sqrt r8; r10 = div r4 r9; r11 = $1; r12 = mul r10 r11; yield r12 }
            write %y[256*i0 + i1] } }"#;
    measure("layer norm 6272 x 256", norm, 8 * 6272 * 256, 6272 * 256);
    let pool = r#"input %x f32[8, 112, 112, 64] output %y f32[8, 56, 56, 64] kernels {
        rows [8, 56, 56, 64, 3, 3] inner 2 "pool" {
        $0 = %x[802816*i0 + 14336*i1 + 128*i2 + i3 + 7168*i4 + 64*i5 - 7232] if 0 <= 2*i1 + i4 - 1 < 112, 0 <= 2*i2 + i5 - 1 < 112 else -inf
        reduce max { r0 = $0; yield r0 } emit 0 { r0 = slot 0; yield r0 }
        write %y[200704*i0 + 3584*i1 + 64*i2 + i3] } }"#;
    measure("max pool 3x3/2 8x112x112x64", pool, 4 * 8 * 802816 * 5 / 4, 8 * 200704);
    let mean = r#"input %x f32[8, 49, 1280] output %y f32[8, 1280] kernels { rows [8, 1280, 49] inner 1 "mean" {
        $0 = %x[62720*i0 + i1 + 1280*i2] reduce sum { r0 = $0; yield r0 }
        emit 0 { r0 = slot 0; r1 = 0.020408163; r2 = mul r0 r1; yield r2 } write %y[1280*i0 + i1] } }"#;
    measure("mean of 49 x 1280, 8", mean, 4 * 8 * 62720, 8 * 62720);
    let transpose = r#"input %x f32[8, 64, 3136] output %y f32[8, 3136, 64] kernels { map [8, 3136, 64] "t" {
        $0 = %x[200704*i0 + i1 + 3136*i2] at { r0 = $0; yield r0 } write %y[200704*i0 + 64*i1 + i2] } }"#;
    measure("transpose 64 x 3136, 8", transpose, 8 * 8 * 200704, 8 * 200704);
    let image = r#"input %x f32[8, 3, 224, 224] output %y f32[8, 224, 224, 3] kernels { map [8, 224, 224, 3] "t" {
        $0 = %x[150528*i0 + 224*i1 + i2 + 50176*i3] at { r0 = $0; r1 = 0.5; r2 = mul r0 r1; yield r2 }
        write %y[150528*i0 + 672*i1 + 3*i2 + i3] } }"#;
    measure("image to channels last", image, 8 * 8 * 150528, 8 * 150528);
    let sort = r#"input %x f32[100, 1000] output %y i32[100, 1000] kernels { argsort [100, 1000] rising "sort" {
        $0 = %x[1000*i0 + i1] key { r0 = $0; yield r0 } write %y[1000*i0 + i1] } }"#;
    measure("argsort 100 x 1000", sort, 800_000, 100_000);
    let draw = r#"output %y f32[64, 4096] kernels { map [64, 4096] "draw" {
            at { r0 = index 0; r1 = index 1; r2 = draw 0x7 lane 2 element r1 sample r0; yield r2 } write %y[4096*i0 + i1] } }"#;
    measure("draws 64 x 4096", draw, 4 * 64 * 4096, 64 * 4096);
}

/// User time of this process in hundredths of a second, where the system tells it.
fn ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    text.split(' ').nth(13).and_then(|t| t.parse().ok()).unwrap_or(0)
}

/// Many different kernels: how long the code takes.
#[test]
#[ignore = "measures"]
fn compile_time() {
    let mut kernels = String::new();
    let mut buffers = String::new();
    for k in 0..200 {
        buffers += &format!("temp %t{k} f32[64, 300] ");
        let from = if k == 0 { "x".to_owned() } else { format!("t{}", k - 1) };
        kernels += &match k % 3 {
            0 => format!(
                r#"rows [64, 300] inner 1 "s{k}" {{ $0 = %{from}[300*i0 + i1]
                reduce max {{ r0 = $0; r1 = {k}.5; r2 = mul r0 r1; yield r2 }}
                reduce sum {{ r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; r4 = {k}.5; r5 = mul r3 r4; yield r5 }}
                at 0 {{ r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; r4 = slot 1; r5 = div r3 r4; r6 = {k}.5; r7 = add r6 r5; yield r7 }}
                write %t{k}[300*i0 + i1] }} "#
            ),
            _ => format!(
                r#"map [64, 300] "m{k}" {{ $0 = %{from}[300*i0 + i1] $1 = %x[i1]
                at {{ r0 = $0; r1 = $1; r2 = add r0 r1; r3 = {k}.5; r4 = max r2 r3; r5 = mul r4 r0; r6 = tanh r5; r7 = add r6 r3; yield r7 }}
                write %t{k}[300*i0 + i1] }} "#
            ),
        };
    }
    let body = format!(
        r#"input %x f32[64, 300] output %y f32[64, 300] {buffers} kernels {{ {kernels}
        map [64, 300] "end" {{ $0 = %t199[300*i0 + i1] at {{ r0 = $0; yield r0 }} write %y[300*i0 + i1] }} }}"#
    );
    let b = bound("", &body);
    for _ in 0..3 {
        let start = Instant::now();
        let program = Program::compile(&b, Isa::detect()).unwrap();
        println!(
            "200 kernels, {} holes: {:.1} ms, {} ticks of processor time so far",
            program.holes(),
            start.elapsed().as_secs_f64() * 1e3,
            ticks()
        );
    }
}
