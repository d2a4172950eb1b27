//! Properties of plans, over random ones.
//!
//! In: random plans: any at all for the text form, right ones for `bind`. Out: assertions.
//! Invariants: a case is made from one number, so a failure repeats. Imports: the crate from outside.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uad_plan::*;

/// A sequence of numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n.max(1)
    }
    fn some<T>(&mut self, most: usize, mut f: impl FnMut(&mut Dice) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| f(self)).collect()
    }
    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
    fn dim(&mut self) -> Dim {
        let texts = [
            "0",
            "1",
            "-1",
            "3",
            "-7",
            "b",
            "-b",
            "2*b + 1",
            "b*n - 3",
            "floor(b + 3, 4)",
            "max(b, n)",
            "min(2*b, n)*b - n",
            "1152921504606846976*n",
            "-9223372036854775807",
            "floor(n, b)*floor(b, n) + 2",
            "r0",
            "clamp",
            "bits",
        ];
        self.pick(&texts).parse().unwrap()
    }
    fn f64(&mut self) -> f64 {
        let values = [0.0, -0.0, 1.0, 0.1, f64::from(0.1f32), -1e300, 5e-324, f64::INFINITY, -2.5e-7, 16777217.0];
        self.pick(&values)
    }
    fn name(&mut self, n: usize) -> String {
        let forms = ["x", "encode.2.w", "two words", "quote\"back\\slash\n", "0number", "", "true", "ä", "i0", "\u{7}"];
        format!("{}{n}", self.pick(&forms))
    }
    fn dtype(&mut self) -> DType {
        self.pick(&[DType::F32, DType::I32, DType::Bool])
    }
    fn inst(&mut self) -> Inst<Dim> {
        let n = self.below(4) as u32;
        match self.below(9) {
            0 => Inst::Load(n),
            1 => Inst::Index(n),
            2 => Inst::Slot(n),
            3 => Inst::F32(self.f64() as f32),
            4 => Inst::I32(self.pick(&[0, -1, 7, i32::MIN, i32::MAX])),
            5 => Inst::Bool(n > 1),
            6 => Inst::Size(self.dim()),
            7 => Inst::Op(self.pick(scalar::SCALAR_OPS), self.some(3, |d| Reg(d.below(9) as u32))),
            _ => Inst::Draw { site: self.0, lane: n as u8, element: Reg(n), sample: Reg(0) },
        }
    }
    fn hole(&mut self) -> Hole<Dim> {
        Hole { code: self.some(8, Dice::inst), results: self.some(2, |d| Reg(d.below(9) as u32)) }
    }
    fn access(&mut self, axes: usize, buffers: usize) -> Access<Dim> {
        Access {
            buffer: BufferId(self.below(buffers) as u32),
            offset: self.dim(),
            strides: (0..axes).map(|_| self.dim()).collect(),
            guards: self.some(2, |d| Guard {
                offset: d.dim(),
                strides: (0..axes).map(|_| d.dim()).collect(),
                extent: d.dim(),
            }),
            fill: self.f64(),
            via: self.some(2, |d| Via { read: d.below(3) as u32, stride: d.dim(), extent: d.dim() }),
        }
    }
    fn kernel(&mut self, buffers: usize, depth: usize) -> Kernel<Dim> {
        let axes = self.some(4, Dice::dim);
        let n = axes.len();
        let id = |d: &mut Dice| BufferId(d.below(buffers) as u32);
        let body = match self.below(if depth < 2 { 10 } else { 9 }) {
            0 => Body::Map(self.hole()),
            1 => Body::Rows {
                inner: self.below(3) as u32,
                stages: self.some(3, |d| match d.below(3) {
                    0 => RowStage::Reduce(d.pick(&ReduceOp::ALL), d.hole()),
                    1 => RowStage::Map(d.below(2) as u32, d.hole()),
                    _ => RowStage::Emit(d.below(2) as u32, d.hole()),
                }),
            },
            2 => Body::Dot {
                roles: self.some(4, |d| d.pick(&[DotRole::Batch, DotRole::M, DotRole::N, DotRole::K])),
                a: self.hole(),
                b: self.hole(),
                out: self.hole(),
            },
            3 => Body::Attention {
                roles: self.some(4, |d| {
                    use AttentionRole as R;
                    d.pick(&[R::Batch, R::T, R::S, R::D, R::E])
                }),
                q: self.hole(),
                k: self.hole(),
                score: self.hole(),
                v: self.hole(),
                out: self.hole(),
            },
            4 => Body::ScatterAdd(self.hole()),
            5 => Body::ArgSort { key: self.hole(), falling: self.below(2) == 0 },
            6 => Body::Scan { op: self.pick(&ReduceOp::ALL), value: self.hole() },
            7 => Body::Eigh,
            8 => Body::Cholesky,
            _ => Body::Loop {
                count: self.dim(),
                index: (self.below(2) == 0).then(|| id(self)),
                carried: self.some(2, |d| (id(d), id(d), id(d))),
                until: (self.below(2) == 0).then(|| (id(self), self.dim())),
                body: self.some(3, |d| d.kernel(buffers, depth + 1)),
            },
        };
        let (reads, writes) = (self.some(3, |d| d.access(n, buffers)), self.some(2, |d| d.access(n, buffers)));
        Kernel { scope: self.name(0), axes, reads, writes, body }
    }
    /// A plan that is right in form only.
    fn plan(&mut self) -> Plan<Dim> {
        let entry = |d: &mut Dice, n| {
            let buffers: Vec<Buffer<Dim>> = (0..1 + d.below(5))
                .map(|i| {
                    let shape = d.some(3, |d| d.pick(&["2", "b", "3*n", "1"]).parse::<Dim>().unwrap());
                    let strides =
                        if d.below(2) == 0 { extent::row_major(&shape).unwrap() } else { d.some(3, Dice::dim) };
                    let kind = match d.below(5) {
                        0 => BufferKind::Input,
                        1 => BufferKind::Output,
                        2 => BufferKind::Stored,
                        3 => {
                            let mut values = d.some(9, Dice::f64);
                            values.extend(vec![d.f64(); d.below(9)]);
                            BufferKind::Const(values)
                        }
                        _ => BufferKind::Temp,
                    };
                    Buffer { name: d.name(i), kind, dtype: d.dtype(), shape, strides }
                })
                .collect();
            let k = buffers.len();
            Entry {
                name: d.name(n),
                dims: vec!["b".into(), "n".into()],
                samples: (d.below(3) == 0).then(|| d.pick(&["b", "n"]).to_owned()),
                setup: d.some(2, |d| d.kernel(k, 0)),
                kernels: d.some(3, |d| d.kernel(k, 0)),
                requires: d.some(2, |d| Require {
                    left: d.dim(),
                    relation: d.pick(&[Relation::Eq, Relation::Ne, Relation::Lt, Relation::Le]),
                    right: d.dim(),
                    why: d.name(7),
                }),
                buffers,
            }
        };
        Plan {
            name: self.name(1),
            entries: (0..2).map(|n| entry(self, n)).collect(),
            stored: (0..self.below(3))
                .map(|n| Stored {
                    path: self.name(n),
                    kind: self.pick(&[StoredKind::Weight, StoredKind::State]),
                    dtype: self.dtype(),
                    shape: self.some(3, Dice::dim),
                })
                .collect(),
        }
    }

    /// A right entry: pointwise kernels, some in loops, on buffers of several sizes; the last adds all up.
    fn right(&mut self) -> Plan<Dim> {
        let sizes = [1, 3, 16, 40];
        let mut right = Right { dice: self, buffers: Vec::new(), sizes };
        let input = right.buffer(BufferKind::Input, "x", 40);
        let first = right.buffer(BufferKind::Temp, "t", 40);
        let setup_made = right.buffer(BufferKind::Temp, "s", 16);
        let kept = right.buffer(BufferKind::Temp, "s", 3);
        let setup = vec![right.map(&[], setup_made), right.map(&[setup_made], kept)];
        let mut known = vec![input, first, kept];
        let mut kernels = vec![right.map(&[input], first)];
        right.fill(&mut kernels, &mut known, 0);
        let output = right.buffer(BufferKind::Output, "y", 16);
        let last = known[known.len().saturating_sub(4)..].to_vec();
        kernels.push(right.map(&last, output));
        let entry = Entry { name: "e".into(), buffers: right.buffers, setup, kernels, ..Entry::<Dim>::default() };
        Plan { name: "random".into(), entries: vec![entry], stored: vec![] }
    }
}

struct Right<'a> {
    dice: &'a mut Dice,
    buffers: Vec<Buffer<Dim>>,
    sizes: [i64; 4],
}

impl Right<'_> {
    fn buffer(&mut self, kind: BufferKind, name: &str, size: i64) -> BufferId {
        let id = self.buffers.len() as u32;
        let (shape, strides) = (vec![Dim::int(size)], vec![Dim::int(1)]);
        self.buffers.push(Buffer { name: format!("{name}{id}"), kind, dtype: DType::F32, shape, strides });
        BufferId(id)
    }

    fn access(&self, id: BufferId) -> Access<Dim> {
        Access { buffer: id, offset: Dim::int(0), strides: vec![Dim::int(1)], guards: vec![], fill: 0.0, via: vec![] }
    }

    /// Adds up the operands, each with zeros behind its end.
    fn map(&mut self, from: &[BufferId], to: BufferId) -> Kernel<Dim> {
        let mut hole = Hole::default();
        let mut sum = hole.push(Inst::F32(1.0));
        let reads = from.iter().enumerate().map(|(n, id)| {
            let extent = self.buffers[id.0 as usize].shape[0].clone();
            let guard = Guard { offset: Dim::int(0), strides: vec![Dim::int(1)], extent };
            let load = hole.push(Inst::Load(n as u32));
            sum = hole.push(Inst::Op(ScalarOp::Add, vec![sum, load]));
            Access { guards: vec![guard], ..self.access(*id) }
        });
        let reads = reads.collect();
        hole.results = vec![sum];
        let axes = self.buffers[to.0 as usize].shape.clone();
        Kernel { scope: "map".into(), axes, reads, writes: vec![self.access(to)], body: Body::Map(hole) }
    }

    fn fill(&mut self, kernels: &mut Vec<Kernel<Dim>>, known: &mut Vec<BufferId>, depth: usize) {
        for _ in 0..1 + self.dice.below(8) {
            let from: Vec<BufferId> = self.dice.some(3, |d| d.pick(known));
            let size = self.dice.pick(&self.sizes);
            if depth < 2 && self.dice.below(5) == 0 {
                let first = self.dice.pick(known);
                let size = self.buffers[first.0 as usize].shape[0].as_int().unwrap();
                let (carried, next) =
                    (self.buffer(BufferKind::Temp, "c", size), self.buffer(BufferKind::Temp, "n", size));
                let mut inside = known.clone();
                inside.push(carried);
                let mut body = Vec::new();
                self.fill(&mut body, &mut inside, depth + 1);
                let all = [inside[inside.len() - 1], carried];
                let all = if all[0] == next { vec![carried] } else { all.to_vec() };
                body.push(self.map(&all, next));
                let count = Dim::int(self.dice.below(4) as i64);
                let carries = vec![(first, carried, next)];
                let body = Body::Loop { count, index: None, carried: carries, until: None, body };
                kernels.push(Kernel { scope: "loop".into(), axes: vec![], reads: vec![], writes: vec![], body });
                known.push(carried);
            } else {
                let to = self.buffer(BufferKind::Temp, "t", size);
                kernels.push(self.map(&from, to));
                known.push(to);
            }
        }
    }
}

/// Runs the kernels on a memory that knows which buffer wrote each byte last.
struct Owners<'a> {
    bound: &'a Bound,
    bytes: BTreeMap<(bool, usize), usize>,
}

impl Owners<'_> {
    fn range(&self, id: BufferId) -> Vec<(bool, usize)> {
        let size = self.bound.buffer_bytes(id.0 as usize);
        match self.bound.places[id.0 as usize] {
            BufferPlace::Arena(at) => (at..at + size).map(|b| (false, b)).collect(),
            BufferPlace::Persistent(at) => (at..at + size).map(|b| (true, b)).collect(),
            _ => Vec::new(),
        }
    }
    fn write(&mut self, id: BufferId) {
        for b in self.range(id) {
            let end = if b.0 { self.bound.persistent } else { self.bound.arena };
            assert!(b.1 < end);
            self.bytes.insert(b, id.0 as usize);
        }
    }
    fn read(&self, id: BufferId) {
        assert!(self.range(id).iter().all(|b| self.bytes.get(b) == Some(&(id.0 as usize))), "{id:?} was overwritten");
    }
    fn run(&mut self, kernels: &[Kernel<i64>]) {
        for k in kernels {
            if let Body::Loop { count, carried, body, .. } = &k.body {
                for (first, to, _) in carried {
                    self.read(*first);
                    self.write(*to);
                }
                for _ in 0..*count {
                    self.run(body);
                    for (_, to, next) in carried {
                        self.read(*next);
                        self.write(*to);
                    }
                }
                continue;
            }
            // Writes go to their memory while operands are still read.
            k.writes.iter().for_each(|a| self.write(a.buffer));
            k.reads.iter().for_each(|a| self.read(a.buffer));
        }
    }
}

const SEEDS: &str = include_str!("random.rs");

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_is_exact(seed: u64) {
        let plan = Dice(seed).plan();
        let text = plan.to_string();
        let read = parse(&text);
        prop_assert!(read.is_ok(), "{:?}\n{text}", read);
        let read = read.unwrap();
        prop_assert_eq!(read.to_string(), text);
        prop_assert_eq!(format!("{read:?}"), format!("{plan:?}"));
    }

    #[test]
    fn any_plan_is_verified_without_a_panic(seed: u64) {
        let _ = verify(Dice(seed).plan());
    }

    #[test]
    fn changed_text_never_panics(seed: u64) {
        let mut dice = Dice(seed);
        let mut text = if dice.below(2) == 0 { dice.plan() } else { dice.right() }.to_string().into_bytes();
        for _ in 0..1 + dice.below(6) {
            let at = dice.below(text.len());
            match dice.below(4) {
                0 => drop(text.remove(at)),
                1 => text[at] = dice.below(256) as u8,
                2 => {
                    let from = dice.below(text.len());
                    let part = text[from..(from + dice.below(40)).min(text.len())].to_vec();
                    drop(text.splice(at..at, part));
                }
                _ => drop(text.drain(at..(at + dice.below(40)).min(text.len()))),
            }
            if text.is_empty() {
                break;
            }
        }
        if let Ok(plan) = parse(&String::from_utf8_lossy(&text))
            && let Ok(plan) = verify(plan)
        {
            let dims = Binding::from([("b".to_string(), 3), ("n".to_string(), 2)]);
            for e in &plan.entries {
                let _ = bind(&plan, &e.name, &dims);
            }
        }
    }

    #[test]
    fn noise_never_panics(text in "[ -~\\n]{0,200}", at in 0usize..4000) {
        let _ = parse(&text);
        let source: String = SEEDS.chars().skip(at).take(300).collect();
        let _ = parse(&format!("uadp 1 plan \"x\" entry e(b) {{ kernels {{ {source}"));
    }

    #[test]
    fn live_buffers_do_not_overlap(seed: u64) {
        let plan = verify(Dice(seed).right()).expect("the plan is right");
        let bound = bind(&plan, "e", &Binding::new()).expect("the plan binds");
        let mut owners = Owners { bound: &bound, bytes: BTreeMap::new() };
        owners.run(&bound.entry.setup);
        for _ in 0..2 {
            owners.run(&bound.entry.kernels);
        }
    }
}

#[test]
fn large_plans_bind_fast() {
    // As many kernels as the largest detectors have.
    let mut dice = Dice(1);
    let mut right = Right { dice: &mut dice, buffers: Vec::new(), sizes: [1, 3, 16, 40] };
    let first = right.buffer(BufferKind::Input, "x", 40);
    let (mut known, mut kernels) = (vec![first], Vec::new());
    for _ in 0..1500 {
        let from: Vec<BufferId> =
            (0..3).map(|_| known[known.len() - 1 - right.dice.below(known.len().min(30))]).collect();
        let to = right.buffer(BufferKind::Temp, "t", 40);
        kernels.push(right.map(&from, to));
        known.push(to);
    }
    let entry = Entry { name: "e".into(), buffers: right.buffers, kernels, ..Entry::<Dim>::default() };
    let plan = verify(Plan { name: "large".into(), entries: vec![entry], stored: vec![] }).unwrap();
    let start = std::time::Instant::now();
    bind(&plan, "e", &Binding::new()).unwrap();
    let took = start.elapsed();
    eprintln!("1500 kernels bound in {took:?}");
    // Far above what it takes, so that a busy machine does not fail it.
    assert!(took.as_millis() < 1000, "{took:?}");
}
