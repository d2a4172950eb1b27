//! Runs bound plans on the CPU back end beside the reference interpreter.
//!
//! In: plans as text, or plans. Out: results of both; assertions that they agree. Invariants: inputs are made from a
//! seed alone. Imports: `uad-plan`, `uad-kernels`.
#![allow(dead_code)] // each test uses a part

use std::collections::BTreeMap;
use uad_kernels::cpu::{Isa, Pool, Program};
use uad_plan::bind::{Bound, BufferPlace, Port};
use uad_plan::interp::{self, Draw};
use uad_plan::tensor::{Data, Tensor};
use uad_plan::{BufferKind, DType, bind, text, verify};

/// Numbers from a seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below.max(1)
    }

    pub fn unit(&mut self) -> f32 {
        self.next(1 << 20) as f32 / (1 << 20) as f32
    }
}

/// A tensor for a port: f32 in (-2, 2), small i32, bool.
pub fn tensor(port: &Port, random: &mut Random) -> Tensor {
    let n: usize = port.shape.iter().product();
    match port.dtype {
        DType::F32 => Tensor::f32(&port.shape, (0..n).map(|_| random.unit() * 4.0 - 2.0).collect()).unwrap(),
        DType::I32 => Tensor::i32(&port.shape, (0..n).map(|_| random.next(9) as i32 - 1).collect()).unwrap(),
        DType::Bool => Tensor::bool(&port.shape, (0..n).map(|_| random.next(2) as u8).collect()).unwrap(),
    }
}

pub type Tensors = BTreeMap<String, Tensor>;

/// A bound entry from the text of its body.
pub fn bound(stored: &str, body: &str) -> Bound {
    let text = format!("uadp 1 plan \"t\" stored {{ {stored} }} entry score() {{ {body} }}");
    let plan = text::parse(&text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let plan = verify(plan).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    bind(&plan, "score", &BTreeMap::new()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Memory of a bound entry: every buffer has its place.
pub struct Memory {
    stored: Vec<Vec<u64>>,
    arena: Vec<u64>,
    persistent: Vec<u64>,
    pub pointers: Vec<*mut u8>,
}

fn room(bytes: usize) -> Vec<u64> {
    vec![0x7fc0_0000_7fc0_0000; bytes.div_ceil(8) + 16]
}

impl Memory {
    pub fn new(bound: &Bound, inputs: &Tensors, stored: &Tensors) -> Memory {
        let mut m = Memory {
            stored: Vec::new(),
            arena: room(bound.arena),
            persistent: room(bound.persistent),
            pointers: Vec::new(),
        };
        let align = |v: &mut Vec<u64>| {
            let p = v.as_mut_ptr().cast::<u8>();
            p.wrapping_add(p.align_offset(64))
        };
        let (arena, persistent) = (align(&mut m.arena), align(&mut m.persistent));
        for (i, b) in bound.entry.buffers.iter().enumerate() {
            let p = match bound.places[i] {
                BufferPlace::Arena(at) => arena.wrapping_add(at),
                BufferPlace::Persistent(at) => persistent.wrapping_add(at),
                _ => {
                    let mut v = room(bound.buffer_bytes(i));
                    let given = match b.kind {
                        BufferKind::Input => inputs.get(&b.name),
                        _ => stored.get(&b.name),
                    };
                    if let Some(t) = given {
                        let bytes = t.to_bytes();
                        // SAFETY: there is room for them.
                        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), v.as_mut_ptr().cast(), bytes.len()) };
                    }
                    let p = v.as_mut_ptr().cast();
                    m.stored.push(v);
                    p
                }
            };
            m.pointers.push(p);
        }
        m
    }

    pub fn tensor(&self, bound: &Bound, port: &Port) -> Tensor {
        let i = port.buffer.0 as usize;
        // SAFETY: the buffer holds that many bytes.
        let bytes = unsafe { std::slice::from_raw_parts(self.pointers[i], bound.buffer_bytes(i)) };
        Tensor::from_bytes(port.dtype, &port.shape, bytes).unwrap()
    }
}

/// Runs on the CPU; outputs and written stored tensors by name.
pub fn run_cpu(bound: &Bound, inputs: &Tensors, stored: &Tensors, draw: Draw, isa: Isa, threads: usize) -> Tensors {
    let mut program = Program::compile(bound, isa).unwrap();
    let pool = Pool::new(threads);
    let memory = Memory::new(bound, inputs, stored);
    // SAFETY: the memory is that of the bound entry.
    unsafe {
        program.setup(&pool, &memory.pointers).unwrap();
        program.run(&pool, &memory.pointers, (draw.seed, draw.step, draw.first_sample));
    }
    let written = bound.outputs.iter().chain(bound.stored.iter().filter(|p| p.written));
    written.map(|p| (p.name.clone(), memory.tensor(bound, p))).collect()
}

/// Runs on the reference; the same names.
pub fn run_reference(bound: &Bound, inputs: &Tensors, stored: &Tensors, draw: Draw) -> Tensors {
    let mut kept = stored.clone();
    let mut out = interp::run(bound, inputs, &mut kept, draw).unwrap();
    for p in bound.stored.iter().filter(|p| p.written) {
        out.insert(p.name.clone(), kept[&p.name].clone());
    }
    out
}

fn near(got: f64, want: f64, tolerance: f64) -> bool {
    (got.is_nan() && want.is_nan()) || got == want || (got - want).abs() <= tolerance * want.abs().max(1.0)
}

/// Asserts that every instruction set and number of threads gives the reference's result, and that the number of
/// threads changes no bit.
pub fn check_with(bound: &Bound, inputs: &Tensors, stored: &Tensors, tolerance: f64, what: &str) {
    let draw = Draw { seed: 77, step: 3, first_sample: 5 };
    let want = run_reference(bound, inputs, stored, draw);
    for isa in Isa::all() {
        let one = run_cpu(bound, inputs, stored, draw, isa, 1);
        let three = run_cpu(bound, inputs, stored, draw, isa, 3);
        for (name, want) in &want {
            let got = &one[name];
            let bits = |t: &Tensor| t.to_bytes();
            assert!(bits(got) == bits(&three[name]), "{what}: threads change `{name}` on {}", isa.name());
            for (i, (g, w)) in got.iter().zip(want.iter()).enumerate() {
                let exact = !matches!(want.data(), Data::F32(_));
                let t = if exact { 0.0 } else { tolerance };
                assert!(near(g, w, t), "{what}: `{name}`[{i}] is {g}, not {w}, on {}", isa.name());
            }
        }
    }
}

/// As [`check_with`], with random tensors.
pub fn check(bound: &Bound, seed: u64, tolerance: f64, what: &str) {
    let mut random = Random(seed);
    let inputs: Tensors = bound.inputs.iter().map(|p| (p.name.clone(), tensor(p, &mut random))).collect();
    let stored: Tensors = bound.stored.iter().map(|p| (p.name.clone(), tensor(p, &mut random))).collect();
    check_with(bound, &inputs, &stored, tolerance, what);
}
