//! Graphs run by the reference interpreter and by the CPU back end.
//!
//! In: graphs with values for what they read. Out: every output and every stored tensor after it, by name; the first
//! difference of two results. Invariants: both executors get the same bound plan and the same values, rounded to f32
//! before either sees them. Imports: the compiler, `uad-plan`, `uad-kernels`, `uad-runtime`.

use std::collections::BTreeMap;
use std::sync::Arc;

use uad_compiler::graph::random::values;
use uad_compiler::graph::{Graph, Op, TensorType, verify};
use uad_compiler::lower::{LowerOptions, lower};
use uad_kernels::cpu::{Isa, Pool};
use uad_plan::{Binding, Bound, DType, Dim, Plan, Stored, StoredKind, Tensor, Verified, bind, interp};
use uad_runtime::device::executor::{Draw, Executor, StoredBytes};
use uad_runtime::device::{Device, DeviceError};

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Seed of the run.
pub const SEED: u64 = 3;
/// Step of the training.
pub const STEP: u64 = 5;
/// First sample of the batch.
pub const FIRST_SAMPLE: u64 = 2;

/// Values for what a graph reads.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Inputs of the entry.
    pub inputs: Tensors,
    /// Weights and states.
    pub stored: Tensors,
}

impl Given {
    /// Values of [`uad_compiler::graph::random`] for every leaf of a graph.
    pub fn random(graph: &Graph, seed: u64, binding: &Binding) -> Result<Given, String> {
        let mut given = Given::default();
        for node in &graph.nodes {
            let (name, into) = match &node.op {
                Op::Input(name) => (name, &mut given.inputs),
                Op::Weight(name) | Op::State(name) => (name, &mut given.stored),
                _ => continue,
            };
            let shape = closed(&node.ty.shape, binding)?;
            let data = values(seed, name, node.ty.dtype, shape.iter().product());
            let tensor = Tensor::from_f64(node.ty.dtype, &shape, data).map_err(|e| e.to_string())?;
            into.insert(name.clone(), tensor);
        }
        Ok(given)
    }

    /// Every f32 moved by up to 1/64. Multiples of 1/8 meet each other: on a tie a derivative jumps, and rewriting may break the tie.
    pub fn off_the_grid(mut self) -> Given {
        let mut state = 1u64;
        let mut moved = |v: f64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            v + ((state >> 40) as f64 / f64::from(1 << 24) - 0.5) / 32.0
        };
        for tensor in self.inputs.values_mut().chain(self.stored.values_mut()).filter(|t| t.dtype() == DType::F32) {
            let values: Vec<f64> = tensor.iter().map(&mut moved).collect();
            if let Ok(new) = Tensor::from_f64(DType::F32, tensor.shape(), values) {
                *tensor = new;
            }
        }
        self
    }
}

fn closed(shape: &[Dim], binding: &Binding) -> Result<Vec<usize>, String> {
    let one = |d: &Dim| d.eval(binding).map(|v| v.max(0) as usize).map_err(|e| e.to_string());
    shape.iter().map(one).collect()
}

/// A plan of one graph, verified, with the stored tensors that the graph names.
pub fn plan(graph: &Graph, fuse: bool) -> Result<Verified<Plan<Dim>>, String> {
    let verified = verify(graph).map_err(|v| format!("the graph is wrong: {}", lines(&v)))?;
    let entry = lower(&verified, LowerOptions { fuse }).map_err(|e| format!("lowering: {e}"))?;
    let mut stored: BTreeMap<&String, (StoredKind, &TensorType)> = BTreeMap::new();
    for node in &graph.nodes {
        match &node.op {
            Op::Weight(path) => stored.insert(path, (StoredKind::Weight, &node.ty)),
            Op::State(path) => stored.insert(path, (StoredKind::State, &node.ty)),
            _ => continue,
        };
    }
    for (path, id) in &graph.writes {
        stored.entry(path).or_insert((StoredKind::State, graph.ty(*id)));
    }
    let of = |(path, (kind, ty)): (&String, (StoredKind, &TensorType))| Stored {
        path: path.clone(),
        kind,
        dtype: ty.dtype,
        shape: ty.shape.to_vec(),
    };
    let plan = Plan { name: graph.name.clone(), stored: stored.into_iter().map(of).collect(), entries: vec![entry] };
    let text = plan.to_string();
    uad_plan::verify(plan).map_err(|v| format!("the plan is wrong: {}\n{text}", lines(&v)))
}

/// The only entry of a plan, bound.
pub fn bound(plan: &Verified<Plan<Dim>>, binding: &Binding) -> Result<Bound, String> {
    let entry = plan.entries.first().ok_or("no entry")?;
    bind(plan, &entry.name, binding).map_err(|e| format!("binding: {e}"))
}

fn lines<T: ToString>(all: &[T]) -> String {
    all.iter().map(T::to_string).collect::<Vec<_>>().join("\n")
}

/// Results of the reference, which computes in f64.
pub fn reference(bound: &Bound, given: &Given) -> Result<Tensors, String> {
    let mut after = given.stored.clone();
    let draw = interp::Draw { seed: SEED, step: STEP, first_sample: FIRST_SAMPLE };
    let mut out = interp::run(bound, &given.inputs, &mut after, draw).map_err(|e| format!("reference: {e}"))?;
    out.extend(after.into_iter().map(|(path, t)| (format!("after {path}"), t)));
    Ok(out)
}

/// Values of stored tensors, as the executor reads them.
pub struct Kept(BTreeMap<String, (usize, Vec<u8>)>);

impl Kept {
    /// Copies, on boundaries that every element type fits.
    pub fn new(stored: &Tensors) -> Kept {
        let aligned = |t: &Tensor| {
            let bytes = t.to_bytes();
            let mut room = vec![0u8; bytes.len() + 64];
            let at = room.as_ptr().align_offset(64);
            room[at..at + bytes.len()].copy_from_slice(&bytes);
            room.truncate(at + bytes.len());
            (at, room)
        };
        Kept(stored.iter().map(|(name, t)| (name.clone(), aligned(t))).collect())
    }
}

impl StoredBytes for Kept {
    fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.0.get(path).map(|(at, room)| &room[*at..])
    }
}

/// Results of the CPU. Everything is run twice: the second run must not depend on what the first left in memory.
pub fn computed(bound: &Bound, given: &Given, isa: Isa, pool: &Arc<Pool>) -> Result<Tensors, String> {
    let once = |runs: usize| -> Result<Tensors, String> {
        let device = Device::Cpu { pool: pool.clone(), isa };
        let fail = |e: DeviceError| e.to_string();
        let mut executor = Executor::new(bound.clone(), Arc::new(Kept::new(&given.stored)), &device).map_err(fail)?;
        for port in &bound.inputs {
            let value = given.inputs.get(&port.name).ok_or_else(|| format!("`{}` has no value", port.name))?;
            executor.set_input(&port.name, value)?;
        }
        for _ in 0..runs {
            executor.run(Draw { seed: SEED, step: STEP, sample: FIRST_SAMPLE }).map_err(fail)?;
        }
        let mut out = Tensors::new();
        for port in &bound.outputs {
            out.insert(port.name.clone(), executor.output(&port.name).ok_or("an output is lost")?);
        }
        // What an entry does not write stays as it was.
        let after = given.stored.clone().into_iter().chain(executor.written().map_err(fail)?);
        out.extend(after.map(|(path, t)| (format!("after {path}"), t)));
        Ok(out)
    };
    // States move on with every run.
    once(if bound.stored.iter().any(|p| p.written) { 1 } else { 2 })
}

/// Are these the same bits?
pub fn same_bits(a: &Tensors, b: &Tensors) -> bool {
    let bits = |t: &Tensors| t.iter().map(|(n, t)| (n.clone(), t.to_bytes())).collect::<Vec<_>>();
    bits(a) == bits(b)
}

/// The distance of two f32 numbers, as a part of the larger of 1 and the first's magnitude. Equal infinities and two
/// NaNs are no distance apart.
pub fn apart(want: f64, got: f64) -> f64 {
    if want == got || (want.is_nan() && got.is_nan()) {
        return 0.0;
    }
    let d = (want - got).abs() / want.abs().max(1.0);
    if d.is_nan() { f64::INFINITY } else { d }
}

/// The largest distance, and where it is. Integers and truths count as infinitely far apart where they differ;
/// so do results of different names or types.
pub fn farthest(want: &Tensors, got: &Tensors) -> (f64, String) {
    let mut worst = (0.0, String::new());
    let mut take = |d: f64, what: &dyn Fn() -> String| {
        if d > worst.0 {
            worst = (d, what());
        }
    };
    for (name, w) in want {
        let Some(g) = got.get(name) else {
            take(f64::INFINITY, &|| format!("`{name}` is missing"));
            continue;
        };
        if (w.shape(), w.dtype()) != (g.shape(), g.dtype()) {
            take(f64::INFINITY, &|| format!("`{name}` has another type"));
            continue;
        }
        let exact = w.dtype() != DType::F32;
        for (i, (a, b)) in w.iter().zip(g.iter()).enumerate() {
            let d = if exact && a != b { f64::INFINITY } else { apart(a, b) };
            take(d, &|| format!("`{name}`[{i}] is {b}, not {a}"));
        }
    }
    worst
}
