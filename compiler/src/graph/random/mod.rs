//! Random well-typed graphs, and values for their inputs: what executors and passes are compared on.
//!
//! In: a seed and a size. Out: a graph that verifies, with every primitive and the usual patterns (softmax, attention,
//! convolution with norm, layer norm) over small odd extents and one open dim `b`. Invariants: one seed, one graph, on
//! every machine; values stay finite and small; what has steps or ties (comparisons, floor, sorting, arg-reductions)
//! reads only values that f32 computes exactly, so that executors cannot disagree on a discrete choice.
//! Imports: the graph, `uad-plan`.

mod facts;
mod loss;
mod patterns;
mod steps;

use uad_plan::{DType, Dim};

use super::{Graph, NodeId, Op, Scope, ScopeId, TensorType};
use facts::{Fact, fact};

pub use loss::loss;

/// Extents that find mistakes.
const EXTENTS: [i64; 8] = [1, 2, 3, 5, 7, 4, 2, 3];

/// The most elements of a value, with `b` counted as [`LARGEST_B`].
const LARGEST: f64 = 3000.0;

/// What `b` is bound to at most: bounds of values count on it.
pub const LARGEST_B: i64 = 4;

/// Numbers from a seed: splitmix64.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 where `n` is 0.
    fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() >> 11) as usize % n }
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let n = self.below(from.len());
        from.get(n).cloned()
    }

    /// True once in `n`.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

/// A graph in the making.
struct Maker {
    graph: Graph,
    facts: Vec<Fact>,
    random: Random,
    scope: ScopeId,
    names: usize,
}

/// A graph of about `size` steps, each of one node or one pattern. It verifies.
pub fn random(seed: u64, size: usize) -> Graph {
    let graph = Graph { name: format!("random_{seed}"), dims: vec!["b".into()], ..Graph::default() };
    let mut m = Maker { graph, facts: Vec::new(), random: Random(seed), scope: ScopeId(0), names: 0 };
    m.graph.scope(Scope { parent: None, label: "random".into(), place: "".into(), instance: true, kernel: None });
    for _ in 0..2 {
        m.leaf(DType::F32, None);
    }
    let mut tries = 0;
    let mut made = 0;
    while made < size && tries < 20 * size {
        tries += 1;
        if m.random.once_in(4) {
            m.enter();
        }
        let before = m.graph.nodes.len();
        let result = m.step();
        match result {
            Some(id) if id.0 as usize >= before => {
                m.calm(id);
                made += 1;
            }
            _ => {
                m.graph.nodes.truncate(before);
                m.facts.truncate(before);
            }
        }
    }
    m.finish()
}

/// Values for an input or stored tensor of a random graph, row-major: f32 are multiples of 1/8 up to 2 in
/// magnitude, i32 go a little beyond what an index may be.
pub fn values(seed: u64, name: &str, dtype: DType, count: usize) -> Vec<f64> {
    let salt = name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut random = Random(salt);
    let one = |r: &mut Random| match dtype {
        DType::F32 => (r.below(33) as f64 - 16.0) / 8.0,
        DType::I32 => r.below(12) as f64 - 2.0,
        DType::Bool => r.below(2) as f64,
    };
    (0..count).map(|_| one(&mut random)).collect()
}

impl Maker {
    /// Adds a node; `None` where it does not type, grows too large or leaves the range of values.
    fn put(&mut self, op: Op, args: &[NodeId], declared: TensorType) -> Option<NodeId> {
        let before = self.graph.nodes.len();
        let id = self.graph.add(op, args, declared, self.scope).ok()?;
        let node = self.graph.node(id);
        let of: Vec<(&TensorType, Fact)> = args.iter().map(|a| (self.graph.ty(*a), self.facts[a.0 as usize])).collect();
        let fact = fact(&node.op, &of, &node.ty);
        if !(fact.bound <= 1e6 || node.ty.dtype == DType::I32 && fact.bound <= 2147483648.0)
            || facts::count(&node.ty.shape) > LARGEST
        {
            self.graph.nodes.truncate(before);
            return None;
        }
        self.facts.push(fact);
        Some(id)
    }

    fn op(&mut self, op: Op, args: &[NodeId]) -> Option<NodeId> {
        self.put(op, args, TensorType::new(DType::F32, vec![]))
    }

    fn map(&mut self, op: uad_plan::ScalarOp, args: &[NodeId]) -> Option<NodeId> {
        self.op(Op::Map(op), args)
    }

    fn shape(&self, id: NodeId) -> Vec<Dim> {
        self.graph.ty(id).shape.to_vec()
    }

    fn rank(&self, id: NodeId) -> usize {
        self.graph.ty(id).shape.len()
    }

    fn fact(&self, id: NodeId) -> Fact {
        self.facts[id.0 as usize]
    }

    fn name(&mut self, word: &str) -> String {
        self.names += 1;
        format!("{word}{}", self.names)
    }

    /// A scalar literal repeated to a shape.
    fn fill(&mut self, dtype: DType, value: f64, shape: &[Dim]) -> Option<NodeId> {
        let c = self.put(Op::Const(value), &[], TensorType::new(dtype, vec![]))?;
        self.broadcast(c, shape)
    }

    fn broadcast(&mut self, x: NodeId, shape: &[Dim]) -> Option<NodeId> {
        let ty = self.graph.ty(x).clone();
        if ty.shape == *shape {
            return Some(x);
        }
        let lead = shape.len().checked_sub(ty.shape.len())?;
        let axes = (lead..shape.len()).collect();
        self.put(Op::Expand { axes }, &[x], TensorType::new(ty.dtype, shape.to_vec()))
    }

    /// An input, weight, state, literal or draw. Stored tensors have no open dim.
    fn leaf(&mut self, dtype: DType, shape: Option<Vec<Dim>>) -> Option<NodeId> {
        let shape = shape.unwrap_or_else(|| {
            let rank = 1 + self.random.below(4);
            (0..rank)
                .map(|n| {
                    if n == 0 && !self.random.once_in(3) {
                        return Dim::name("b");
                    }
                    Dim::int(EXTENTS[self.random.below(EXTENTS.len())])
                })
                .collect()
        });
        let open = shape.iter().any(|d| d.as_int().is_none());
        let ty = TensorType::new(dtype, shape);
        let op = match self.random.below(if open { 2 } else { 6 }) {
            1 if dtype == DType::F32 => Op::Draw {
                site: self.name("site"),
                lane: self.random.below(4) as u8,
                sample: (ty.shape.first() == Some(&Dim::name("b"))).then_some(0),
            },
            2 | 3 => Op::Weight(self.name("weight")),
            4 => Op::State(self.name("state")),
            5 if facts::count(&ty.shape) < 40.0 => {
                let n = facts::count(&ty.shape) as usize;
                let seed = self.random.next();
                Op::Literal(values(seed, "", dtype, n))
            }
            _ => Op::Input(self.name("input")),
        };
        self.put(op, &[], ty)
    }

    /// A value that exists and fits, mostly a late one.
    fn find(&mut self, fits: impl Fn(&Maker, NodeId) -> bool) -> Option<NodeId> {
        let all: Vec<NodeId> = self
            .graph
            .ids()
            .filter(|id| !several(&self.graph, *id) && self.fact(*id).bound.is_finite() && fits(self, *id))
            .collect();
        let late = all.len() - all.len().min(6);
        if self.random.once_in(3) { self.random.pick(&all) } else { self.random.pick(&all[late..]) }
    }

    fn float(&mut self) -> Option<NodeId> {
        self.find(|m, id| m.graph.ty(id).dtype == DType::F32)
    }

    /// An f32 that executors compute exactly, a new leaf if there is none.
    fn exact(&mut self) -> Option<NodeId> {
        let found = self.find(|m, id| m.graph.ty(id).dtype == DType::F32 && m.fact(id).exact());
        found.or_else(|| self.leaf(DType::F32, None)).filter(|id| self.fact(*id).exact())
    }

    /// Values that grow are brought back: the pool stays near 1.
    fn calm(&mut self, id: NodeId) {
        if self.graph.ty(id).dtype != DType::F32 || self.fact(id).bound <= 8.0 || several(&self.graph, id) {
            return;
        }
        let shape = self.shape(id);
        if self.random.once_in(2) {
            self.map(uad_plan::ScalarOp::Tanh, &[id]);
        } else {
            let by = 0.5f64.powi((self.fact(id).bound / 4.0).log2().ceil() as i32);
            if let Some(c) = self.fill(DType::F32, by, &shape) {
                self.map(uad_plan::ScalarOp::Mul, &[id, c]);
            }
        }
    }

    /// A new scope, inside one that exists.
    fn enter(&mut self) {
        let parent = Some(ScopeId(self.random.below(self.graph.scopes.len()) as u32));
        let label = self.name("part").into();
        let instance = self.random.once_in(2);
        self.scope = self.graph.scope(Scope { parent, label, place: "random.uad:1".into(), instance, kernel: None });
    }

    /// What nothing reads is a result; some inner values are results and names, too.
    fn finish(mut self) -> Graph {
        let mut read = vec![false; self.graph.nodes.len()];
        self.graph.nodes.iter().flat_map(|n| &n.args).for_each(|a| read[a.0 as usize] = true);
        for id in self.graph.ids().collect::<Vec<_>>() {
            let leaf = self.graph.node(id).args.is_empty();
            if several(&self.graph, id) || leaf {
                continue;
            }
            if !read[id.0 as usize] || self.random.once_in(12) {
                self.graph.outputs.push((format!("y{}", id.0), id));
            }
            if self.random.once_in(8) {
                self.graph.named.push((format!("value.{}", id.0), id));
            }
        }
        let states: Vec<(String, TensorType)> = self
            .graph
            .nodes
            .iter()
            .filter_map(|n| if let Op::State(path) = &n.op { Some((path.clone(), n.ty.clone())) } else { None })
            .collect();
        for (path, ty) in states {
            let found = self.find(|m, id| *m.graph.ty(id) == ty && !m.graph.node(id).args.is_empty());
            if let Some(id) = found {
                self.graph.writes.push((path, id));
            }
        }
        self.graph
    }
}

fn several(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).op, Op::Loop { .. } | Op::Eigh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Violation, op::OPS, text, verify};

    #[test]
    fn graphs_verify_and_round_trip() {
        for seed in 0..300 {
            let graph = random(seed, 5 + seed as usize % 40);
            if let Err(v) = verify(&graph) {
                let all: Vec<String> = v.iter().map(Violation::to_string).collect();
                panic!("seed {seed}:\n{}\n{graph}", all.join("\n"));
            }
            assert_eq!(text::parse(&graph.to_string()).unwrap(), graph, "seed {seed}");
            assert!(!graph.outputs.is_empty(), "seed {seed}");
        }
    }

    #[test]
    fn one_seed_is_one_graph() {
        insta::assert_snapshot!(random(7, 12).to_string());
    }

    #[test]
    fn every_primitive_and_every_scalar_operation_comes() {
        let (mut ops, mut maps) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        for seed in 0..400 {
            for node in random(seed, 30).nodes {
                ops.insert(node.op.name());
                if let Op::Map(op) = node.op {
                    maps.insert(op);
                }
            }
        }
        let missing: Vec<&str> = OPS.iter().map(|r| r.name).filter(|n| !ops.contains(n)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let missing: Vec<&str> =
            uad_plan::scalar::SCALAR_OPS.iter().filter(|o| !maps.contains(o)).map(|o| o.name()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
