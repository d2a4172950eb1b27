//! A run allocates nothing: a counting allocator watches one of every template.
//!
//! In: a plan. Out: an assertion. Invariants: one test in this file, so that nothing else allocates meanwhile.
//! Imports: the harness.
#![allow(unsafe_code)]

mod harness;
use harness::{Memory, Random, Tensors, bound, tensor};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use uad_kernels::cpu::{Isa, Pool, Program};

struct Counting;
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_run_allocates_nothing() {
    let b = bound(
        "weight w f32[64, 32]",
        r#"input %x f32[200, 64] input %i i32[200] stored %w f32[64, 32] temp %a f32[200, 64] temp %h f32[200, 32]
        temp %s f32[200, 32] output %y f32[200, 32] output %o i32[200, 32] output %t f32[8, 32] output %m f32[32]
        output %e f32[4] temp %v f32[4, 4] temp %q f32[4, 4] temp %n f32[32] temp %k i32[]
        output %g f32[4, 50, 32] kernels {
        map [200, 64] "m" { $0 = %x[64*i0 + i1 - 1] if 0 <= i1 - 1 < 60 else 0
            at { r0 = $0; r1 = tanh r0; r2 = index 0; r3 = draw 0x77 lane 0 element r2 sample r2; r4 = add r1 r3; yield r4 } write %a[64*i0 + i1] }
        dot [200, 32, 64] as [m, n, k] "d" { $0 = %a[64*i0 + i2] $1 = %w[32*i2 + i1] a { r0 = $0; yield r0 }
            b { r0 = $1; yield r0 } out { r0 = slot 0; r1 = exp r0; yield r1 } write %h[32*i0 + i1] }
        rows [200, 32] inner 1 "softmax" { $0 = %h[32*i0 + i1]
            reduce max { r0 = $0; yield r0 }
            reduce sum { r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; yield r3 }
            at 0 { r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; r4 = slot 1; r5 = div r3 r4; yield r5 }
            write %s[32*i0 + i1] }
        scan [200, 32] sum "scan" { $0 = %s[32*i0 + i1] value { r0 = $0; yield r0 } write %y[32*i0 + i1] }
        argsort [200, 32] rising "sort" { $0 = %s[32*i0 + i1] key { r0 = $0; yield r0 } write %o[32*i0 + i1] }
        map [8, 32] "clear" { at { r0 = 0.0; yield r0 } write %t[32*i0 + i1] }
        scatter_add [200, 32] "add" { $0 = %i[i0] $1 = %s[32*i0 + i1] add { r0 = $1; yield r0 } write %t[clamp($0, 8)*32 + i1] }
        loop [] count 5 "rounds" { index %k carry %m from %n0 then %n
            map [32] "next" { $0 = %m[i0] at { r0 = $0; r1 = 0.5; r2 = mul r0 r1; yield r2 } write %n[i0] } }
        map [4, 4] "eye" { at { r0 = index 0; r1 = index 1; r2 = eq r0 r1; r3 = f32 r2; yield r3 } write %q[4*i0 + i1] }
        eigh [4, 4] "eigh" { $0 = %q[4*i0 + i1] write %e[i1] write %v[4*i0 + i1] }
        attention [4, 50, 50, 32, 32] as [batch, t, s, d, e] "mix" { $0 = %h[1600*i0 + 32*i1 + i3] $1 = %h[1600*i0 + 32*i2 + i3]
            $2 = %s[1600*i0 + 32*i2 + i4] q { r0 = $0; yield r0 } k { r0 = $1; yield r0 } score { r0 = slot 0; yield r0 }
            v { r0 = $2; yield r0 } out { r0 = slot 0; yield r0 } write %g[1600*i0 + 32*i1 + i4] }
        } "#
            .replace("from %n0", "from %m0")
            .replace("temp %k i32[]", "temp %k i32[] const %m0 f32[32] = 1.0*32")
            .as_str(),
    );
    let mut random = Random(9);
    let inputs: Tensors = b.inputs.iter().map(|p| (p.name.clone(), tensor(p, &mut random))).collect();
    let stored: Tensors = b.stored.iter().map(|p| (p.name.clone(), tensor(p, &mut random))).collect();
    for isa in Isa::all() {
        for threads in [1, 3] {
            let mut program = Program::compile(&b, isa).unwrap();
            let pool = Pool::new(threads);
            let memory = Memory::new(&b, &inputs, &stored);
            // SAFETY: the memory is that of the bound entry.
            unsafe {
                program.setup(&pool, &memory.pointers).unwrap();
                program.run(&pool, &memory.pointers, (1, 2, 3));
                // A thread allocates when it starts, which may be late on a busy machine: all have a task here before counting.
                let all = Barrier::new(pool.threads());
                pool.run(pool.threads(), &|_, _| {
                    all.wait();
                });
                let before = ALLOCATIONS.load(SeqCst);
                program.run(&pool, &memory.pointers, (1, 2, 4));
                assert_eq!(ALLOCATIONS.load(SeqCst) - before, 0, "{} with {threads} threads", isa.name());
            }
        }
    }
}
