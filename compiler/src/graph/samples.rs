//! Where the samples of a batch are in every value of a graph.
//!
//! In: a graph. Out: a [`State`] per value, and the first operation that mixes samples. Invariants: an axis is followed
//! through views as (axis, elements outside it, elements inside it); where that cannot be followed nothing is claimed.
//! Imports: the graph, dims.

use uad_plan::Dim;

use super::{Graph, Node, NodeId, Op};

/// Where the samples are in a value.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Nowhere: the value is the same for all.
    Free,
    /// Along an axis, which may hold more: `outer` elements around, `inner` inside each sample.
    Along {
        /// The axis.
        axis: usize,
        /// Elements around the samples in it.
        outer: Dim,
        /// Elements inside each sample.
        inner: Dim,
    },
    /// One sample of a loop over the samples.
    Row,
    /// Mixed already, and said so.
    Mixed,
    /// Not followed.
    Unknown,
}

/// The dim that counts the samples of a batch.
pub const BATCH: &str = "b";

fn counts_samples(d: &Dim) -> bool {
    d.names().iter().any(|n| n == BATCH)
}

/// Is what an entry makes of a batch what it makes of its samples one by one? Where that cannot be followed it is not.
pub fn apart(g: &Graph) -> bool {
    if !g.dims.iter().any(|d| d == BATCH) || !g.writes.is_empty() || numbered(g) {
        return false;
    }
    let (states, mixed) = samples(g);
    let out = |id: &NodeId| match &states[id.0 as usize] {
        State::Free => !g.ty(*id).shape.iter().any(counts_samples),
        s => *s == along(0),
    };
    let input = |n: &Node| !matches!(n.op, Op::Input(_)) || !n.ty.shape.iter().skip(1).any(counts_samples);
    mixed.is_none() && g.outputs.iter().all(|(_, id)| out(id)) && g.nodes.iter().all(input)
}

/// Does an operation go over the samples, count them, or depend on their numbers?
fn numbered(g: &Graph) -> bool {
    g.nodes.iter().any(|n| {
        let over = |arg: usize, axis: usize| {
            n.args.get(arg).and_then(|a| g.ty(*a).shape.get(axis)).is_some_and(counts_samples)
        };
        let changed = || (0..n.ty.shape.len()).any(|k| over(0, k) && n.ty.shape[k] != g.ty(n.args[0]).shape[k]);
        match &n.op {
            Op::Size(d) => counts_samples(d),
            Op::Iota { .. } | Op::Literal(_) => n.ty.shape.iter().any(counts_samples),
            Op::Draw { .. } => true,
            Op::Reduce { axes, .. } => axes.iter().any(|a| over(0, *a)),
            Op::Dot { contract, .. } => contract.iter().any(|(a, b)| over(0, *a) || over(1, *b)),
            Op::Slice { start, .. } => changed() || start.iter().enumerate().any(|(k, s)| over(0, k) && !s.is(0)),
            Op::Pad { .. } => changed(),
            Op::Window { axis, .. } | Op::Concat { axis } => (0..n.args.len()).any(|k| over(k, *axis)),
            Op::Gather { axis, .. } | Op::ScatterAdd { axis, .. } => over(0, *axis),
            Op::ArgSort { .. } | Op::Scan(_) => n.ty.shape.last().is_some_and(counts_samples),
            Op::Loop { count, body, .. } => counts_samples(count) || numbered(body),
            _ => false,
        }
    })
}

fn along(axis: usize) -> State {
    State::Along { axis, outer: Dim::int(1), inner: Dim::int(1) }
}

/// Follows the samples through an entry: the state of every value; the first node that mixes them, and how.
pub fn samples(g: &Graph) -> (Vec<State>, Option<(usize, String)>) {
    let mut w = Walk { found: None, depth: 0 };
    let states = w.graph(g, &[]);
    (states, w.found)
}

struct Walk {
    /// First node that mixes, and how.
    found: Option<(usize, String)>,
    depth: usize,
}

impl Walk {
    /// States of all nodes; `inputs` are those of a loop's inputs by number.
    fn graph(&mut self, g: &Graph, inputs: &[State]) -> Vec<State> {
        let mut states: Vec<State> = Vec::with_capacity(g.nodes.len());
        let mut parts: Vec<(usize, Vec<State>)> = Vec::new();
        let mut rounds: Vec<bool> = Vec::with_capacity(g.nodes.len());
        for (i, n) in g.nodes.iter().enumerate() {
            let round = match &n.op {
                Op::Input(name) => !inputs.is_empty() && name == "round",
                Op::Expand { .. } | Op::Reshape => n.args.first().is_some_and(|a| rounds[a.0 as usize]),
                _ => false,
            };
            rounds.push(round);
            let args: smallvec::SmallVec<[State; 4]> = n.args.iter().map(|a| states[a.0 as usize].clone()).collect();
            let by_round = n.args.get(1).is_some_and(|a| rounds[a.0 as usize]);
            let s = match &n.op {
                Op::Input(name) => {
                    if !inputs.is_empty() {
                        name.parse::<usize>().ok().and_then(|k| inputs.get(k).cloned()).unwrap_or(State::Free)
                    } else {
                        n.ty.shape.iter().position(|d| d.as_name() == Some(BATCH)).map_or(State::Free, along)
                    }
                }
                Op::Loop { body, carried, .. } => {
                    let r = self.looped(body, *carried, &args, i);
                    let first = r.first().cloned().unwrap_or(State::Unknown);
                    parts.push((i, r));
                    first
                }
                Op::Part(k) => {
                    let from = n.args.first().map_or(0, |a| a.0 as usize);
                    match parts.iter().find(|p| p.0 == from) {
                        Some(p) => p.1.get(*k).cloned().unwrap_or(State::Unknown),
                        None => args.first().cloned().unwrap_or(State::Unknown),
                    }
                }
                _ => self.node(g, n, &args, i, by_round),
            };
            states.push(s);
        }
        states
    }

    fn mix(&mut self, n: usize, how: &str) -> State {
        if self.depth == 0 && self.found.is_none() {
            self.found = Some((n, how.to_string()));
        }
        State::Mixed
    }

    fn looped(&mut self, body: &Graph, carried: usize, args: &[State], n: usize) -> Vec<State> {
        self.depth += 1;
        let mut inputs = args.to_vec();
        // Two rounds: what the first leaves in the carried values is what the second starts from.
        let mut next = Vec::new();
        for _ in 0..2 {
            if inputs.is_empty() {
                inputs.push(State::Free);
            }
            let states = self.graph(body, &inputs);
            next = body.outputs.iter().take(carried).map(|o| states[o.1.0 as usize].clone()).collect();
            for (a, b) in inputs.iter_mut().zip(&next) {
                *a = join(a, b);
            }
            if body.outputs.iter().any(|o| o.0 == "until" && matches!(states[o.1.0 as usize], State::Mixed)) {
                next.iter_mut().for_each(|s| *s = State::Mixed);
            }
        }
        self.depth -= 1;
        if next.contains(&State::Mixed) && !args.contains(&State::Mixed) {
            let _ = self.mix(n, "this loop mixes samples");
        }
        next
    }

    fn node(&mut self, g: &Graph, n: &Node, args: &[State], i: usize, by_round: bool) -> State {
        if args.contains(&State::Mixed) {
            return State::Mixed;
        }
        if args.contains(&State::Unknown) {
            return State::Unknown;
        }
        let shape = |k: usize| &g.ty(n.args[k]).shape;
        let first = args.first().cloned().unwrap_or(State::Free);
        match &n.op {
            Op::Map(_) | Op::Concat { .. } => {
                let mut s = State::Free;
                for a in args {
                    match (&s, a) {
                        (_, State::Free) => {}
                        (State::Free | State::Row, a) => s = a.clone(),
                        (s, a) if s == a || *a == State::Row => {}
                        (State::Along { axis: x, .. }, State::Along { axis: y, .. }) if x != y => {
                            return self.mix(i, "pairs every sample with the others");
                        }
                        _ => return State::Unknown,
                    }
                }
                match (&n.op, &s) {
                    (Op::Concat { axis }, State::Along { axis: a, .. }) if axis == a => State::Unknown,
                    _ => s,
                }
            }
            Op::Stop => first,
            Op::Reduce { axes, op } => match first {
                State::Along { axis, .. } if axes.contains(&axis) => {
                    self.mix(i, &format!("`{}` over the samples", op.name()))
                }
                State::Along { axis, outer, inner } => {
                    let lower = axes.iter().filter(|a| **a < axis).count();
                    State::Along { axis: axis - lower, outer, inner }
                }
                s => s,
            },
            Op::Permute(p) => moved(first, |a| p.iter().position(|x| *x == a)),
            Op::Expand { axes } => moved(first, |a| axes.get(a).copied()),
            Op::Slice { start, .. } => match &first {
                State::Along { axis, .. } if n.ty.shape[*axis] != shape(0)[*axis] || !start[*axis].is(0) => {
                    self.mix(i, "takes one sample for all")
                }
                _ => first,
            },
            Op::Pad { .. } => first,
            Op::Window { axis, .. } => match first {
                State::Along { axis: a, .. } if a == *axis => self.mix(i, "windows over the samples"),
                s => s,
            },
            Op::Reshape => match first {
                State::Along { axis, outer, inner } => reshaped(shape(0), &n.ty.shape, axis, &outer, &inner),
                s => s,
            },
            Op::Dot { batch, contract } => self.dot(g, n, args, batch, contract, i),
            Op::Gather { axis, batch } => {
                let rank = shape(1).len();
                match (&args[0], &args[1]) {
                    (State::Along { axis: a, .. }, _) if a == axis && by_round => State::Row,
                    (State::Along { axis: a, .. }, _) if a == axis => self.mix(i, "reads other samples by index"),
                    (State::Along { axis: a, .. }, State::Free | State::Row) => {
                        along(if a > axis { a + rank - batch - 1 } else { *a })
                    }
                    (State::Free | State::Row, State::Along { axis: b, .. }) => {
                        along(if b < batch { *b } else { axis + b - batch })
                    }
                    (State::Along { axis: a, .. }, State::Along { axis: b, .. }) if a == b && a < batch => along(*a),
                    (State::Along { .. }, State::Along { .. }) => self.mix(i, "reads other samples by index"),
                    (State::Row, _) | (_, State::Row) => State::Row,
                    _ => State::Free,
                }
            }
            Op::ScatterAdd { axis, batch } => match (&args[0], &args[1], &args[2]) {
                (_, _, State::Free | State::Row) if by_round => along(*axis),
                (State::Along { axis: a, .. }, _, _) if a == axis => self.mix(i, "adds into other samples"),
                (State::Along { axis: a, .. }, _, _) => along(*a),
                (State::Free, State::Along { axis: b, .. }, _) if b < batch => along(*b),
                (State::Free, State::Along { .. }, _) => self.mix(i, "adds all samples into one"),
                (State::Free, State::Free, State::Along { axis: u, .. }) if u < axis => along(*u),
                (State::Free, State::Free, State::Along { axis: u, .. }) if *u >= axis + shape(1).len() - batch => {
                    along(u + 1 + batch - shape(1).len())
                }
                (State::Free, State::Free, State::Free) => State::Free,
                _ => State::Unknown,
            },
            Op::ArgSort { .. } | Op::Scan(_) => match first {
                State::Along { axis, .. } if axis + 1 == n.ty.shape.len() => {
                    self.mix(i, "goes through the samples in order")
                }
                s => s,
            },
            Op::Eigh | Op::Cholesky => first,
            _ => State::Free,
        }
    }

    fn dot(
        &mut self,
        g: &Graph,
        n: &Node,
        args: &[State],
        batch: &[(usize, usize)],
        contract: &[(usize, usize)],
        i: usize,
    ) -> State {
        let (ra, rb) = (g.ty(n.args[0]).shape.len(), g.ty(n.args[1]).shape.len());
        let mut at = Vec::new();
        for (k, s) in args.iter().enumerate() {
            let State::Along { axis, outer, inner } = s else { continue };
            let of = |p: &(usize, usize)| if k == 0 { p.0 } else { p.1 };
            if contract.iter().any(|p| of(p) == *axis) {
                return self.mix(i, "sums over the samples");
            }
            let pos = match batch.iter().position(|p| of(p) == *axis) {
                Some(b) => b,
                None => {
                    let used = |x: usize| batch.iter().chain(contract).any(|p| of(p) == x);
                    let before = (0..*axis).filter(|x| !used(*x)).count();
                    let lead = if k == 0 { 0 } else { ra - batch.len() - contract.len() };
                    batch.len() + lead + before
                }
            };
            at.push(State::Along { axis: pos, outer: outer.clone(), inner: inner.clone() });
        }
        let _ = rb;
        match at.as_slice() {
            [] if args.contains(&State::Row) => State::Row,
            [] => State::Free,
            [s] => s.clone(),
            [a, b, ..] if a == b => a.clone(),
            _ => self.mix(i, "pairs every sample with the others"),
        }
    }
}

fn join(a: &State, b: &State) -> State {
    match (a, b) {
        (a, b) if a == b => a.clone(),
        (State::Free, x) | (x, State::Free) => x.clone(),
        (State::Mixed, _) | (_, State::Mixed) => State::Mixed,
        _ => State::Unknown,
    }
}

fn moved(s: State, f: impl Fn(usize) -> Option<usize>) -> State {
    match s {
        State::Along { axis, outer, inner } => match f(axis) {
            Some(axis) => State::Along { axis, outer, inner },
            None => State::Unknown,
        },
        s => s,
    }
}

/// The axis of the new shape that holds the samples.
fn reshaped(old: &[Dim], new: &[Dim], axis: usize, outer: &Dim, inner: &Dim) -> State {
    let whole = |dims: &[Dim], with: &Dim| Dim::product(dims).ok().and_then(|p| p.mul(with).ok());
    let (Some(before), Some(after)) = (whole(&old[..axis], outer), whole(&old[axis + 1..], inner)) else {
        return State::Unknown;
    };
    for k in 0..new.len() {
        if new[k].as_int().is_some() {
            continue;
        }
        let (Ok(p), Ok(q)) = (Dim::product(&new[..k]), Dim::product(&new[k + 1..])) else { return State::Unknown };
        if let (Some(o), Some(i)) = (before.exact_div(&p), after.exact_div(&q)) {
            return State::Along { axis: k, outer: o, inner: i };
        }
    }
    State::Unknown
}
