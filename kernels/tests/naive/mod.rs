//! Plain loops over the points of a kernel, in f64, and kernels to try them on.
//!
//! In: kernels. Out: what they should give. Invariants: no use of the code under test but to run it.
//! Imports: `uad-kernels`, `uad-plan`.

use uad_kernels::cpu::dot::DotKernel;
use uad_kernels::cpu::hole_jit::{HoleCode, HoleCompiler};
use uad_kernels::cpu::run::RunContext;
use uad_kernels::cpu::scratch::Scratch;
use uad_kernels::cpu::strip::DrawKey;
use uad_kernels::cpu::{Isa, Pool};
use uad_plan::DotRole::{Batch, K, M, N};
use uad_plan::*;

/// Are holes compiled yet?
pub const COMPILED_HOLES: bool = true;

/// A kernel with its buffers.
pub struct Case {
    pub kernel: Kernel<i64>,
    pub buffers: Vec<Buffer<i64>>,
}

#[derive(Clone, Copy, Debug)]
pub enum Ending {
    Plain,
    BiasRelu,
    BiasResidual,
    /// `x / (1 + exp(-x))`, which no epilogue of the register tiles knows.
    BiasSilu,
}

pub fn buffer(shape: &[i64]) -> Buffer<i64> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    Buffer { name: String::new(), kind: BufferKind::Temp, dtype: DType::F32, shape: shape.to_vec(), strides }
}

pub fn plain(buffer: u32, strides: Vec<i64>) -> Access<i64> {
    Access { buffer: BufferId(buffer), offset: 0, strides, guards: vec![], fill: 0.0, via: vec![] }
}

pub fn dot(
    axes: Vec<i64>,
    roles: Vec<DotRole>,
    reads: Vec<Access<i64>>,
    writes: Vec<Access<i64>>,
    buffers: Vec<Buffer<i64>>,
    out: Hole<i64>,
) -> Case {
    let body = Body::Dot { roles, a: Hole::load(0), b: Hole::load(1), out };
    Case { kernel: Kernel { scope: String::new(), axes, reads, writes, body }, buffers }
}

/// The epilogue and its operands: bias is read 2, residual is read 3 (laid out as the result).
fn ending(
    e: Ending,
    reads: &mut Vec<Access<i64>>,
    buffers: &mut Vec<Buffer<i64>>,
    bias: Vec<i64>,
    n: i64,
) -> Hole<i64> {
    let out = buffers.len() as u32 - 1;
    let mut h = Hole::default();
    let s = h.push(Inst::Slot(0));
    let mut v = s;
    if !matches!(e, Ending::Plain) {
        buffers.push(buffer(&[n]));
        reads.push(plain(out + 1, bias));
        let b = h.push(Inst::Load(2));
        v = h.push(Inst::Op(ScalarOp::Add, vec![v, b]));
    }
    if matches!(e, Ending::BiasResidual) {
        buffers.push(buffers[out as usize].clone());
        let mut r = plain(out + 2, vec![]);
        r.strides.clear();
        reads.push(r);
        let b = h.push(Inst::Load(3));
        v = h.push(Inst::Op(ScalarOp::Add, vec![b, v]));
    }
    if matches!(e, Ending::BiasRelu) {
        let zero = h.push(Inst::F32(0.0));
        v = h.push(Inst::Op(ScalarOp::Max, vec![v, zero]));
    }
    if matches!(e, Ending::BiasSilu) {
        let minus = h.push(Inst::Op(ScalarOp::Neg, vec![v]));
        let power = h.push(Inst::Op(ScalarOp::Exp, vec![minus]));
        let one = h.push(Inst::F32(1.0));
        let below = h.push(Inst::Op(ScalarOp::Add, vec![one, power]));
        v = h.push(Inst::Op(ScalarOp::Div, vec![v, below]));
    }
    h.results = vec![v];
    h
}

/// Scales the rows of A by a gate over the summed axis (read `n`): squeeze and excitation.
pub fn gated(mut case: Case, k: i64) -> Case {
    let n = case.kernel.reads.len() as u32;
    let mut strides = vec![0; case.kernel.axes.len()];
    *strides.last_mut().unwrap() = 1;
    case.kernel.reads.push(plain(case.buffers.len() as u32, strides));
    case.buffers.push(buffer(&[k]));
    let mut h = Hole::default();
    let (x, g) = (h.push(Inst::Load(0)), h.push(Inst::Load(n)));
    let y = h.push(Inst::Op(ScalarOp::Mul, vec![x, g]));
    h.results = vec![y];
    if let Body::Dot { a, .. } = &mut case.kernel.body {
        *a = h;
    }
    case
}

pub fn linear(m: i64, n: i64, k: i64, transposed: bool, e: Ending) -> Case {
    let mut buffers = vec![buffer(&[m, k]), buffer(&[n, k]), buffer(&[m, n])];
    let w = if transposed { vec![0, k, 1] } else { vec![0, 1, n] };
    let mut reads = vec![plain(0, vec![k, 0, 1]), plain(1, w)];
    let writes = vec![plain(2, vec![n, 1, 0])];
    let out = ending(e, &mut reads, &mut buffers, vec![0, 1, 0], n);
    if let Some(r) = reads.get_mut(3) {
        r.strides = writes[0].strides.clone();
    }
    dot(vec![m, n, k], vec![M, N, K], reads, writes, buffers, out)
}

pub fn conv(
    b: i64,
    c: i64,
    h: i64,
    w: i64,
    o: i64,
    k: i64,
    stride: i64,
    pad: i64,
    channels_last: bool,
    e: Ending,
) -> Case {
    let (oh, ow) = ((h + 2 * pad - k) / stride + 1, (w + 2 * pad - k) / stride + 1);
    // b oh ow o kh kw c
    let axes = vec![b, oh, ow, o, k, k, c];
    let (sh, sw, sc) = if channels_last { (w * c, c, 1) } else { (w, 1, h * w) };
    let mut x = plain(0, vec![c * h * w, stride * sh, stride * sw, 0, sh, sw, sc]);
    x.offset = -pad * (sh + sw);
    if pad > 0 {
        x.guards = vec![
            Guard { offset: -pad, strides: vec![0, stride, 0, 0, 1, 0, 0], extent: h },
            Guard { offset: -pad, strides: vec![0, 0, stride, 0, 0, 1, 0], extent: w },
        ];
    }
    let weight = plain(1, vec![0, 0, 0, c * k * k, k, 1, k * k]);
    let mut buffers = vec![buffer(&[b, c, h, w]), buffer(&[o, c, k, k]), buffer(&[b, oh, ow, o])];
    let mut reads = vec![x, weight];
    let writes = vec![plain(2, vec![oh * ow * o, ow * o, o, 1, 0, 0, 0])];
    let out = ending(e, &mut reads, &mut buffers, vec![0, 0, 0, 1, 0, 0, 0], o);
    if let Some(r) = reads.get_mut(3) {
        r.strides = writes[0].strides.clone();
    }
    dot(axes, vec![M, M, M, N, K, K, K], reads, writes, buffers, out)
}

/// Depthwise: `multiplier` is 1.
pub fn depthwise(b: i64, c: i64, h: i64, w: i64, k: i64, stride: i64, pad: i64, e: Ending) -> Case {
    let (oh, ow) = ((h + 2 * pad - k) / stride + 1, (w + 2 * pad - k) / stride + 1);
    // c b oh ow kh kw
    let axes = vec![c, b, oh, ow, k, k];
    let mut x = plain(0, vec![1, c * h * w, stride * w * c, stride * c, w * c, c]);
    x.offset = -pad * (w * c + c);
    if pad > 0 {
        x.guards = vec![
            Guard { offset: -pad, strides: vec![0, 0, stride, 0, 1, 0], extent: h },
            Guard { offset: -pad, strides: vec![0, 0, 0, stride, 0, 1], extent: w },
        ];
    }
    let weight = plain(1, vec![k * k, 0, 0, 0, k, 1]);
    let mut buffers = vec![buffer(&[b, h, w, c]), buffer(&[c, k, k]), buffer(&[b, oh, ow, c])];
    let mut reads = vec![x, weight];
    let writes = vec![plain(2, vec![1, oh * ow * c, ow * c, c, 0, 0])];
    let out = ending(e, &mut reads, &mut buffers, vec![1, 0, 0, 0, 0, 0], c);
    if let Some(r) = reads.get_mut(3) {
        r.strides = writes[0].strides.clone();
    }
    dot(axes, vec![Batch, M, M, M, K, K], reads, writes, buffers, out)
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scores {
    Plain,
    Scaled,
    Masked,
}

/// q[b t h d], k[b s h d], v[b s h e], mask[t s] -> [b t h e], axes b h t s d e.
pub fn attention(b: i64, h: i64, (t, s): (i64, i64), (d, e): (i64, i64), scores: Scores, doubled: bool) -> Case {
    let axes = vec![b, h, t, s, d, e];
    let roles = {
        use AttentionRole::{Batch, D, E, S, T};
        vec![Batch, Batch, T, S, D, E]
    };
    let buffers = vec![
        buffer(&[b, t, h, d]),
        buffer(&[b, s, h, d]),
        buffer(&[b, s, h, e]),
        buffer(&[t, s]),
        buffer(&[b, t, h, e]),
    ];
    let reads = vec![
        plain(0, vec![t * h * d, d, h * d, 0, 1, 0]),
        plain(1, vec![s * h * d, d, 0, h * d, 1, 0]),
        plain(2, vec![s * h * e, e, 0, h * e, 0, 1]),
        plain(3, vec![0, 0, s, 1, 0, 0]),
    ];
    let writes = vec![plain(4, vec![t * h * e, e, h * e, 0, 0, 1])];
    let mut score = Hole::default();
    let mut v = score.push(Inst::Slot(0));
    if scores != Scores::Plain {
        let c = score.push(Inst::F32(0.25));
        v = score.push(Inst::Op(ScalarOp::Mul, vec![v, c]));
    }
    if scores == Scores::Masked {
        let m = score.push(Inst::Load(3));
        let zero = score.push(Inst::F32(0.75));
        let keep = score.push(Inst::Op(ScalarOp::Lt, vec![m, zero]));
        let gone = score.push(Inst::F32(f32::NEG_INFINITY));
        v = score.push(Inst::Op(ScalarOp::Select, vec![keep, v, gone]));
    }
    score.results = vec![v];
    let mut out = Hole::slot(0);
    if doubled {
        let two = out.push(Inst::F32(2.0));
        let v = out.push(Inst::Op(ScalarOp::Mul, vec![Reg(0), two]));
        out.results = vec![v];
    }
    let body = Body::Attention { roles, q: Hole::load(0), k: Hole::load(1), score, v: Hole::load(2), out };
    Case { kernel: Kernel { scope: String::new(), axes, reads, writes, body }, buffers }
}

pub fn element(r: &Access<i64>, reads: &[Access<i64>], data: &[Vec<f32>], at: &[i64]) -> f64 {
    let sum = |o: i64, s: &[i64]| o + s.iter().zip(at).map(|(a, b)| a * b).sum::<i64>();
    if !r.guards.iter().all(|g| (0..g.extent).contains(&sum(g.offset, &g.strides))) {
        return r.fill;
    }
    let mut o = sum(r.offset, &r.strides);
    for v in &r.via {
        o += (element(&reads[v.read as usize], reads, data, at) as i64).clamp(0, v.extent - 1) * v.stride;
    }
    f64::from(data[r.buffer.0 as usize][o as usize])
}

pub fn eval(h: &Hole<i64>, reads: &[Access<i64>], data: &[Vec<f32>], at: &[i64], slots: &[f64]) -> Vec<f64> {
    let mut v: Vec<f64> = Vec::new();
    for i in &h.code {
        let x = match i {
            Inst::Load(n) => element(&reads[*n as usize], reads, data, at),
            Inst::Index(n) => at[*n as usize] as f64,
            Inst::Slot(n) => slots[*n as usize],
            Inst::F32(x) => f64::from(*x),
            Inst::I32(x) => f64::from(*x),
            Inst::Op(o, a) => o.eval(&a.iter().map(|r| v[r.0 as usize]).collect::<Vec<_>>()),
            other => panic!("{other:?}"),
        };
        v.push(x);
    }
    h.results.iter().map(|r| v[r.0 as usize]).collect()
}

fn each(extents: &[i64], mut f: impl FnMut(&[i64])) {
    if extents.contains(&0) {
        return;
    }
    let mut at = vec![0; extents.len()];
    'points: loop {
        f(&at);
        for i in (0..at.len()).rev() {
            at[i] += 1;
            if at[i] < extents[i] {
                continue 'points;
            }
            at[i] = 0;
        }
        return;
    }
}

/// The result in f64, and the sum of magnitudes, by the write's offsets.
fn reference(case: &Case, data: &[Vec<f32>]) -> Vec<(usize, f64, f64)> {
    let Body::Dot { roles, a, b, out } = &case.kernel.body else { panic!() };
    let k = &case.kernel;
    let of = |role: bool| -> Vec<i64> {
        (0..roles.len()).map(|i| if (roles[i] == K) == role { k.axes[i] } else { 1 }).collect()
    };
    let mut all = Vec::new();
    let summed = of(true);
    each(&of(false), |p| {
        let (mut sum, mut size) = (0.0, 0.0);
        each(&summed, |q| {
            let at: Vec<i64> = p.iter().zip(q).map(|(x, y)| x + y).collect();
            let v = eval(a, &k.reads, data, &at, &[])[0] * eval(b, &k.reads, data, &at, &[])[0];
            sum += v;
            size += v.abs();
        });
        let o = k.writes[0].offset + k.writes[0].strides.iter().zip(p).map(|(s, c)| s * c).sum::<i64>();
        all.push((o as usize, eval(out, &k.reads, data, p, &[sum])[0], size));
    });
    all
}

/// Random values from a seed, each a small multiple of 1/16.
pub fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut s = seed.wrapping_mul(2654435761) | 1;
    (0..len)
        .map(|_| {
            s ^= s << 13;
            s ^= s >> 17;
            s ^= s << 5;
            ((s % 41) as f32 - 20.0) / 16.0
        })
        .collect()
}

/// Runs the case on every instruction set with one and three threads, against the loops above.
pub fn check(case: &Case, b_constant: bool) {
    let lens: Vec<usize> = case.buffers.iter().map(|b| b.shape.iter().product::<i64>() as usize).collect();
    let mut data: Vec<Vec<f32>> = lens.iter().enumerate().map(|(i, n)| noise(*n, i as u32 + 1)).collect();
    let expected = reference(case, &data);
    let result = case.kernel.writes[0].buffer.0 as usize;
    for isa in Isa::all() {
        let mut first: Option<Vec<u32>> = None;
        for threads in [1, 3] {
            data[result].iter_mut().for_each(|v| *v = f32::NAN);
            let pool = Pool::new(threads);
            let mut holes = HoleCompiler::new(isa).unwrap();
            let constant = |id: BufferId| b_constant && id.0 == 1;
            let dot = DotKernel::compile(&case.kernel, &case.buffers, constant, &mut holes, isa).unwrap();
            let code = holes.finish().unwrap();
            let (need, packed) = (dot.scratch(), dot.packed_bytes());
            let mut memory = Memory::new(need, packed, threads);
            let pointers: Vec<*mut u8> = data.iter_mut().map(|d| d.as_mut_ptr().cast()).collect();
            let ctx = memory.context(&pool, &code, &pointers, isa);
            // SAFETY: buffers are as long as their shapes say.
            unsafe {
                dot.pack(&ctx);
                dot.run(&ctx);
            }
            for (o, want, size) in &expected {
                let got = f64::from(data[result][*o]);
                let near = (got - want).abs() <= 1e-5 * (1.0 + size);
                assert!(near, "{}: at {o} {got} not {want}, axes {:?}", isa.name(), case.kernel.axes);
            }
            let bits: Vec<u32> = data[result].iter().map(|v| v.to_bits()).collect();
            match &first {
                None => first = Some(bits),
                Some(f) => assert!(*f == bits, "{}: {threads} threads differ", isa.name()),
            }
        }
    }
}

/// Scratch memory of a call.
pub struct Memory {
    bytes: Vec<u8>,
    packed: Vec<u8>,
    need: Scratch,
}

impl Memory {
    pub fn new(need: Scratch, packed: usize, threads: usize) -> Memory {
        let need = Scratch { shared: need.shared.next_multiple_of(64), worker: need.worker.next_multiple_of(64) };
        Memory { bytes: vec![0xff; need.shared + need.worker * threads + 64], packed: vec![0xff; packed + 64], need }
    }

    pub fn context<'a>(
        &'a mut self,
        pool: &'a Pool,
        code: &'a HoleCode,
        pointers: &'a [*mut u8],
        isa: Isa,
    ) -> RunContext<'a> {
        let shift = self.bytes.as_ptr().align_offset(64);
        let shared = self.bytes[shift..].as_mut_ptr();
        let scratch = shared.wrapping_add(self.need.shared);
        let (scratch_bytes, shared_bytes) = (self.need.worker, self.need.shared);
        let shift = self.packed.as_ptr().align_offset(64);
        let packed = self.packed[shift..].as_mut_ptr();
        let draw = DrawKey::default();
        RunContext { pool, pointers, code, draw, isa, scratch, scratch_bytes, shared, shared_bytes, packed }
    }
}
