//! Which values are stored, and which operations share a kernel.
//!
//! In: a graph and its facts. Out: [`Choice`]. Invariants: pure; a choice is about speed, never about meaning: whatever
//! is not stored here and turns out to be needed in memory is stored then. Imports: regions, attention, the graph.
//!
//! Contractions and reductions are anchors: a kernel is built around each, and takes in the maps after it as long as
//! one value leaves it ([`super::region`]). All other maps go into the kernel that uses them, if there is one only and
//! computing them there is not computing them again and again.

use super::attention::Match;
use super::facts::Facts;
use super::{attention, region};
use crate::graph::{Graph, NodeId, Op};
use crate::hash::FxHashMap;
use uad_plan::{Dim, ScalarOp};

/// Decisions by node.
pub(super) struct Choice {
    /// Is its value stored by a kernel?
    pub stored: Vec<bool>,
    /// The contraction or reduction around which a stored value's kernel is built.
    pub anchor: Vec<Option<NodeId>>,
    /// The stored value in whose kernel it is computed.
    pub inside: Vec<Option<NodeId>>,
    /// The concatenation of which it is a part, and its number there.
    pub joined: Vec<Option<(NodeId, usize)>>,
    /// Attentions by their second contraction.
    pub attention: FxHashMap<NodeId, Match>,
}

/// Longest chain of operations in a hole, and most operations in one.
const DEEPEST: u32 = 48;
const LARGEST: u32 = 96;

impl Choice {
    /// Decides. `fuse`: share kernels at all?
    pub fn new(g: &Graph, facts: &Facts, fuse: bool) -> Choice {
        let count = g.nodes.len();
        let mut c = Choice {
            stored: vec![false; count],
            anchor: vec![None; count],
            inside: vec![None; count],
            joined: vec![None; count],
            attention: FxHashMap::default(),
        };
        for n in g.ids().filter(|n| facts.live[n.0 as usize]) {
            let i = n.0 as usize;
            c.stored[i] = !matches!(g.node(n).op, Op::Const(_) | Op::Size(_));
            c.anchor[i] = is_anchor(g, n).then_some(n);
        }
        if fuse {
            c.join(g, facts);
            c.regions(g, facts);
            c.maps(g, facts);
        }
        c
    }

    /// Arguments of concatenations are computed where they end up.
    fn join(&mut self, g: &Graph, facts: &Facts) {
        for c in g.ids().filter(|c| facts.live[c.0 as usize]) {
            let node = g.node(c);
            if !matches!(node.op, Op::Concat { .. }) {
                continue;
            }
            for (k, arg) in node.args.iter().enumerate() {
                let i = arg.0 as usize;
                let given = matches!(g.node(*arg).op, Op::Input(_) | Op::Weight(_) | Op::State(_) | Op::Literal(_));
                // A kernel may not read the buffer into which it writes another part.
                let read = |o: &NodeId| *o > *arg && region::depends(g, *o, *arg);
                let twice = node.args.iter().filter(|a| *a == arg).count() > 1;
                if given
                    || twice
                    || self.joined[i].is_some()
                    || facts.result[i]
                    || facts.constant[i] != facts.constant[c.0 as usize]
                    || node.args.iter().any(read)
                {
                    continue;
                }
                self.joined[i] = Some((c, k));
            }
        }
    }

    fn regions(&mut self, g: &Graph, facts: &Facts) {
        for m in attention::find(g, facts) {
            for n in &m.inside {
                self.inside[n.0 as usize] = Some(m.second);
            }
            self.attention.insert(m.second, m);
        }
        for a in g.ids().filter(|n| facts.live[n.0 as usize] && is_anchor(g, *n)) {
            if self.inside[a.0 as usize].is_some() {
                continue;
            }
            let keeps = |n: NodeId| facts.result[n.0 as usize] || self.joined[n.0 as usize].is_some();
            let (root, members) = region::grow(g, facts, a, &self.inside, &keeps);
            for m in members.iter().filter(|m| **m != root) {
                self.inside[m.0 as usize] = Some(root);
            }
            self.anchor[root.0 as usize] = Some(a);
            // The root belongs to this kernel: no other region takes it.
            self.inside[root.0 as usize] = Some(root);
            if let Some(m) = self.attention.get(&a) {
                for n in m.inside.clone() {
                    self.inside[n.0 as usize] = Some(root);
                }
            }
        }
    }

    fn maps(&mut self, g: &Graph, facts: &Facts) {
        let weights = Weights::new(g, &self.inside);
        // From the last node to the first: which kernels use it, and how.
        let mut uses: Vec<Uses> = vec![Uses::default(); g.nodes.len()];
        for n in g.ids().rev().filter(|n| facts.live[n.0 as usize]) {
            let i = n.0 as usize;
            let mut u = Uses::default();
            for user in &facts.users[i] {
                u.join(&self.used_by(g, n, *user, &uses));
            }
            if facts.result[i] {
                u.kernels.push(n);
            }
            self.stored[i] = match (&g.node(n).op, self.inside[i]) {
                (_, Some(root)) => root == n,
                (Op::Map(_) | Op::Draw { .. }, None) => facts.result[i] || weights.stores(n, &u, facts),
                (Op::Concat { .. } | Op::Loop { .. } | Op::Eigh | Op::Cholesky | Op::Part(_), None) => true,
                (Op::ScatterAdd { .. } | Op::ArgSort { .. } | Op::Scan(_), None) => true,
                (Op::Pad { interior, .. }, None) if interior.iter().any(|k| *k != 0) => true,
                (Op::Gather { .. }, None) if u.index => true,
                (Op::Const(_) | Op::Size(_) | Op::Iota { .. }, None) => false,
                // Chains of views end somewhere too.
                _ => weights.deep[i],
            };
            uses[i] = u;
        }
    }

    /// How `n` is used through `user`.
    fn used_by(&self, g: &Graph, n: NodeId, user: NodeId, uses: &[Uses]) -> Uses {
        let node = g.node(user);
        let i = user.0 as usize;
        let mut u = match self.inside[i] {
            Some(root) => Uses { kernels: vec![root], ..Uses::default() },
            None if self.stored[i] => Uses { kernels: vec![user], ..Uses::default() },
            None => uses[i].clone(),
        };
        let product = |n: NodeId| Dim::product(&g.ty(n).shape).ok();
        match &node.op {
            Op::Dot { .. } => u.dot = true,
            Op::Reduce { .. } => u.passes += 1,
            Op::Expand { .. } => u.again |= product(user) != product(n),
            Op::Window { size, stride, lo, hi, .. } => {
                u.again |= *size > *stride;
                u.guarded |= *lo != 0 || *hi != 0;
            }
            Op::Pad { .. } => u.guarded = true,
            Op::Gather { .. } | Op::ScatterAdd { .. } if node.args.get(1) == Some(&n) => u.index = true,
            Op::Gather { .. } => u.again = true,
            _ => {}
        }
        u
    }
}

fn is_anchor(g: &Graph, n: NodeId) -> bool {
    match &g.node(n).op {
        Op::Dot { contract, .. } => !contract.is_empty(),
        Op::Reduce { axes, .. } => !axes.is_empty(),
        _ => false,
    }
}

/// How a value is used.
#[derive(Clone, Default)]
struct Uses {
    /// In which kernels, by their stored values.
    kernels: Vec<NodeId>,
    /// By a contraction?
    dot: bool,
    /// More than once per element?
    again: bool,
    /// As an index?
    index: bool,
    /// Behind padding?
    guarded: bool,
    /// In how many reductions.
    passes: u32,
}

impl Uses {
    fn join(&mut self, o: &Uses) {
        for k in &o.kernels {
            if !self.kernels.contains(k) && self.kernels.len() < 8 {
                self.kernels.push(*k);
            }
        }
        self.dot |= o.dot;
        self.again |= o.again;
        self.index |= o.index;
        self.guarded |= o.guarded;
        self.passes += o.passes;
    }
}

/// What it takes to compute a node from stored values, if all maps before it are computed again.
struct Weights {
    ops: Vec<u32>,
    depth: Vec<u32>,
    heavy: Vec<bool>,
    /// Does it read memory?
    loads: Vec<bool>,
    /// Is it a view of too many views?
    deep: Vec<bool>,
}

impl Weights {
    fn new(g: &Graph, inside: &[Option<NodeId>]) -> Weights {
        let count = g.nodes.len();
        let no = || vec![false; count];
        let mut w = Weights { ops: vec![0; count], depth: vec![0; count], heavy: no(), loads: no(), deep: no() };
        for n in g.ids() {
            let (node, i) = (g.node(n), n.0 as usize);
            let over = |v: &[u32]| node.args.iter().map(|a| v[a.0 as usize]).collect::<Vec<_>>();
            let any = |v: &[bool]| node.args.iter().any(|a| v[a.0 as usize]);
            match &node.op {
                _ if inside[i].is_some() => w.loads[i] = true,
                Op::Map(f) => {
                    w.ops[i] = over(&w.ops).into_iter().fold(1, u32::saturating_add);
                    w.depth[i] = over(&w.depth).into_iter().max().unwrap_or(0) + 1;
                    w.heavy[i] = is_heavy(*f) || any(&w.heavy);
                    w.loads[i] = any(&w.loads);
                    if w.too_large(n) {
                        (w.ops[i], w.depth[i], w.heavy[i], w.loads[i]) = (LARGEST + 1, 0, false, true);
                    }
                }
                Op::Draw { .. } => w.heavy[i] = true,
                Op::Const(_) | Op::Size(_) | Op::Iota { .. } => {}
                Op::Permute(_)
                | Op::Reshape
                | Op::Expand { .. }
                | Op::Slice { .. }
                | Op::Stop
                | Op::Window { .. }
                | Op::Pad { .. }
                | Op::Gather { .. } => {
                    let a = node.args[0].0 as usize;
                    let stored = w.ops[a] > LARGEST;
                    w.ops[i] = if stored { 0 } else { w.ops[a] };
                    w.depth[i] = w.depth[a] + 1;
                    w.heavy[i] = w.heavy[a];
                    w.loads[i] = w.loads[a] || matches!(node.op, Op::Gather { .. });
                    if w.depth[i] > DEEPEST {
                        (w.depth[i], w.ops[i], w.deep[i]) = (0, 0, true);
                    }
                }
                _ => w.loads[i] = true,
            }
        }
        w
    }

    fn too_large(&self, n: NodeId) -> bool {
        self.ops[n.0 as usize] > LARGEST || self.depth[n.0 as usize] > DEEPEST
    }

    fn stores(&self, n: NodeId, u: &Uses, facts: &Facts) -> bool {
        let i = n.0 as usize;
        let (ops, heavy) = (self.ops[i], self.heavy[i]);
        let light = !heavy && ops <= 2;
        if ops > LARGEST || u.index {
            return true;
        }
        if !self.loads[i] && !heavy && ops <= 8 {
            return false;
        }
        // Constants are computed once, before the first run.
        if facts.constant[i] && u.kernels.iter().any(|k| !facts.constant[k.0 as usize]) {
            return true;
        }
        if u.again {
            return !light || u.dot;
        }
        if u.dot {
            return !light || u.guarded || u.kernels.len() > 2;
        }
        u.kernels.len() != 1 || (u.passes > 1 && (heavy || ops > 4))
    }
}

fn is_heavy(f: ScalarOp) -> bool {
    matches!(
        f,
        ScalarOp::Exp | ScalarOp::Log | ScalarOp::Sin | ScalarOp::Cos | ScalarOp::Tanh | ScalarOp::Erf | ScalarOp::Rem
    )
}
