//! What a picture shows as one thing.
//!
//! In: a graph and a depth. Out: a tree of units (boxes and boxes in boxes) with the values that go between them.
//! Invariants: every operation that is not a constant or a view on its own belongs to one unit; members of a run
//! of equal blocks (`encode.0` to `encode.3`) share the units of the first. Imports: the graph.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{Graph, NodeId, Op, ScopeId, TensorType};

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The whole graph.
    Root,
    /// An input.
    Input,
    /// A block's instance, or a run of equal ones.
    Block,
    /// A function call.
    Function,
    /// Operations of a body itself.
    Operations,
    /// A result.
    Output,
    /// All stored tensors that are written.
    Writes,
}

/// One box.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What it is.
    pub kind: Kind,
    /// What stands in it.
    pub label: String,
    /// Blocks of one stem have one number: their colour.
    pub colour: usize,
    /// Members of a run.
    pub times: usize,
    /// Where it was called.
    pub place: String,
    /// Operations in it, in one member.
    pub operations: usize,
    /// Elements of weights and states in it, in all members.
    pub weights: f64,
    /// Does it depend on no input?
    pub constant: bool,
    /// The box around it.
    pub parent: Option<usize>,
    /// The boxes in it, by first operation.
    pub children: Vec<usize>,
}

/// Values that go from one unit to another.
#[derive(Clone, Debug)]
pub struct Edge {
    /// From this unit.
    pub from: usize,
    /// To this unit.
    pub to: usize,
    /// Shape of the largest value.
    pub label: String,
    /// How many values.
    pub values: usize,
}

/// The units of a graph; the first is the whole.
#[derive(Clone, Debug)]
pub struct Units {
    /// All units.
    pub all: Vec<Unit>,
    /// Between units without children.
    pub edges: Vec<Edge>,
}

/// A shape in few characters: `b·196·256`.
pub fn short(ty: &TensorType) -> String {
    let dims: Vec<String> = ty.shape.iter().map(|d| d.to_string()).collect();
    let shape = if dims.is_empty() { "scalar".to_owned() } else { dims.join("·") };
    if ty.dtype == uad_plan::DType::F32 { shape } else { format!("{} {shape}", ty.dtype) }
}

/// How the members of runs are named: scope to (label of the run, members, number of the member).
type Runs = BTreeMap<ScopeId, (String, usize, usize)>;

/// Runs of neighbouring `stem.n` with equal contents.
fn runs(graph: &Graph) -> Runs {
    let mut contents: Vec<BTreeMap<&'static str, usize>> = vec![BTreeMap::new(); graph.scopes.len()];
    for node in &graph.nodes {
        let mut at = Some(node.scope);
        while let Some(s) = at {
            let Some(scope) = graph.scopes.get(s.0 as usize) else { break };
            // Constants differ between members that are one to a reader.
            if !matches!(node.op, Op::Const(_) | Op::Literal(_) | Op::Size(_)) {
                *contents[s.0 as usize].entry(node.op.name()).or_default() += 1;
            }
            at = scope.parent.filter(|p| p.0 < s.0);
        }
    }
    let mut families: BTreeMap<(ScopeId, &str), Vec<(usize, ScopeId)>> = BTreeMap::new();
    for (n, s) in graph.scopes.iter().enumerate() {
        if let (true, Some(parent), Some((stem, number))) = (s.instance, s.parent, s.label.rsplit_once('.'))
            && let Ok(number) = number.parse()
            && !contents[n].is_empty()
        {
            families.entry((parent, stem)).or_default().push((number, ScopeId(n as u32)));
        }
    }
    let mut out = Runs::new();
    for ((_, stem), mut members) in families {
        members.sort_unstable();
        let same = |a: ScopeId, b: ScopeId| contents[a.0 as usize] == contents[b.0 as usize];
        let mut at = 0;
        while at < members.len() {
            let mut end = at + 1;
            while end < members.len()
                && same(members[at].1, members[end].1)
                && members[end].0.saturating_sub(members[end - 1].0) <= 1
            {
                end += 1;
            }
            let whole = at == 0 && end == members.len();
            let label = match (end - at, whole) {
                (1, _) => format!("{stem}.{}", members[at].0),
                (_, true) => stem.to_owned(),
                (_, false) => format!("{stem}.{}–{}", members[at].0, members[end - 1].0),
            };
            for (n, m) in members[at..end].iter().enumerate() {
                out.insert(m.1, (label.clone(), end - at, n));
            }
            at = end;
        }
    }
    out
}

/// Where a node is shown.
struct Home {
    unit: usize,
    /// The blocks that it is in, with its member's number where the block is a run, outermost first.
    members: Vec<(usize, usize)>,
    /// Is the unit the body itself, in which it stands as an operation of its own?
    bare: bool,
}

/// Is it shown as the value that it views?
fn view(op: &Op) -> bool {
    matches!(
        op,
        Op::Permute(_)
            | Op::Reshape
            | Op::Expand { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Part(_)
            | Op::Stop
            | Op::Map(uad_plan::ScalarOp::ToF32)
    )
}

struct Collapse<'g> {
    graph: &'g Graph,
    depth: usize,
    runs: Runs,
    units: Vec<Unit>,
    keys: BTreeMap<(usize, String), usize>,
    stems: BTreeMap<String, usize>,
}

impl<'g> Collapse<'g> {
    fn unit(&mut self, parent: usize, key: String, kind: Kind, label: &str) -> usize {
        if let Some(u) = self.keys.get(&(parent, key.clone())) {
            return *u;
        }
        let id = self.units.len();
        self.units.push(Unit {
            kind,
            label: label.to_owned(),
            colour: 0,
            times: 1,
            place: String::new(),
            operations: 0,
            weights: 0.0,
            constant: true,
            parent: Some(parent),
            children: Vec::new(),
        });
        self.units[parent].children.push(id);
        self.keys.insert((parent, key), id);
        id
    }

    /// The scopes around a scope, outermost first, without the graph's own.
    fn around(&self, scope: ScopeId) -> Vec<ScopeId> {
        let mut out = Vec::new();
        let mut at = Some(scope);
        while let Some(s) = at {
            let Some(scope) = self.graph.scopes.get(s.0 as usize) else { break };
            if scope.parent.is_some() {
                out.push(s);
            }
            at = scope.parent.filter(|p| p.0 < s.0);
        }
        out.reverse();
        out
    }

    fn home(&mut self, id: NodeId) -> Home {
        let graph = self.graph;
        let chain = self.around(graph.node(id).scope);
        let (mut unit, mut level, mut members) = (0, 0, Vec::new());
        let mut rest = chain.as_slice();
        while level < self.depth {
            let Some(n) = rest.iter().position(|s| graph.scopes[s.0 as usize].instance) else { break };
            let (s, scope) = (rest[n], &graph.scopes[rest[n].0 as usize]);
            let (label, times, member) = match self.runs.get(&s) {
                Some(r) => r.clone(),
                None => (scope.label.to_string(), 1, 0),
            };
            unit = self.unit(unit, format!("block {label}"), Kind::Block, &label);
            let stems = self.stems.len();
            let stem = scope.label.split('.').next().unwrap_or_default().to_owned();
            self.units[unit].colour = *self.stems.entry(stem).or_insert(stems);
            self.units[unit].times = times;
            self.units[unit].place = scope.place.to_string();
            members.push((unit, member));
            rest = &rest[n + 1..];
            level += 1;
        }
        if level == self.depth {
            return Home { unit, members, bare: false };
        }
        match rest.first() {
            Some(s) => {
                let scope = &graph.scopes[s.0 as usize];
                // The same call in each member of a run: the call's number in its body.
                let siblings = graph.scopes[..s.0 as usize].iter().filter(|o| o.parent == scope.parent);
                let nth = siblings.filter(|o| o.label == scope.label && o.place == scope.place).count();
                let key = format!("call {} {} {nth}", scope.label, scope.place);
                let unit = self.unit(unit, key, Kind::Function, &scope.label);
                self.units[unit].place = scope.place.to_string();
                Home { unit, members, bare: false }
            }
            None => Home { unit, members, bare: true },
        }
    }
}

/// The units of a graph.
pub fn collapse(graph: &Graph, depth: usize) -> Units {
    let root = Unit {
        kind: Kind::Root,
        label: match graph.scopes.first().filter(|s| *s.label != *graph.name) {
            Some(s) => format!("{} · {}", s.label, graph.name),
            None => graph.name.clone(),
        },
        colour: 0,
        times: 1,
        place: String::new(),
        operations: graph.nodes.len(),
        weights: 0.0,
        constant: false,
        parent: None,
        children: Vec::new(),
    };
    let mut c =
        Collapse { graph, depth, runs: runs(graph), units: vec![root], keys: BTreeMap::new(), stems: BTreeMap::new() };
    // A graph that nobody split into blocks shows its calls and operations.
    c.depth = c.depth.max(usize::from(!graph.scopes.iter().any(|s| s.instance && s.parent.is_some())));
    let mut constant = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let leaf = !matches!(node.op, Op::Input(_) | Op::Draw { .. });
        constant.push(leaf && node.args.iter().all(|a| constant[a.0 as usize]));
    }
    // Numbers that stand in the text: shared between blocks by chance.
    let mut literal = Vec::with_capacity(graph.nodes.len());
    for (node, constant) in graph.nodes.iter().zip(&constant) {
        let stored = matches!(node.op, Op::Weight(_) | Op::State(_));
        literal.push(*constant && !stored && node.args.iter().all(|a| literal[a.0 as usize]));
    }
    let mut homes: Vec<Home> = Vec::with_capacity(graph.nodes.len());
    for id in graph.ids() {
        let home = if let Op::Input(name) = &graph.node(id).op {
            let unit = c.unit(0, format!("input {name}"), Kind::Input, name);
            c.units[unit].place = short(graph.ty(id));
            Home { unit, members: vec![], bare: false }
        } else {
            c.home(id)
        };
        homes.push(home);
    }
    // A block that is constant as a whole is shown; single constants of a body are not.
    let mut varies: BTreeSet<usize> = BTreeSet::from([0]);
    for (home, _) in homes.iter().zip(&constant).filter(|(_, c)| !**c) {
        varies.insert(home.unit);
    }
    homes.iter_mut().filter(|h| !varies.contains(&h.unit)).for_each(|h| h.bare = false);
    let whole = |h: &Home| !varies.contains(&h.unit);
    let literal: Vec<bool> = literal.iter().zip(&homes).map(|(l, h)| *l && !whole(h)).collect();
    // Values behind views and constants of a body: what is shown in their place.
    let mut source: Vec<Option<NodeId>> = Vec::with_capacity(graph.nodes.len());
    for id in graph.ids() {
        let (n, node) = (id.0 as usize, graph.node(id));
        source.push(match (homes[n].bare, constant[n]) {
            (false, _) => Some(id),
            (true, _) if view(&node.op) => node.args.first().and_then(|a| source[a.0 as usize]),
            (true, true) => None,
            (true, false) => Some(id),
        });
    }
    group(graph, &mut c, &mut homes, &source);
    // A weight belongs to what reads it first.
    let mut reader: Vec<Option<usize>> = vec![None; graph.nodes.len()];
    for (n, node) in graph.nodes.iter().enumerate() {
        node.args.iter().for_each(|a| reader[a.0 as usize] = reader[a.0 as usize].or(Some(n)));
    }
    for id in graph.ids() {
        let (n, node) = (id.0 as usize, graph.node(id));
        let mut owner = n;
        while let (Op::Weight(_) | Op::State(_) | Op::Permute(_) | Op::Reshape | Op::Expand { .. }, Some(r)) =
            (&graph.nodes[owner].op, reader[owner])
            && matches!(node.op, Op::Weight(_) | Op::State(_))
        {
            owner = r;
        }
        let home = &homes[owner];
        let mut at = Some(home.unit);
        while let Some(u) = at {
            let unit = &mut c.units[u];
            if let Op::Weight(_) | Op::State(_) = node.op {
                unit.weights += node.ty.shape.iter().map(|d| d.as_int().unwrap_or(1) as f64).product::<f64>();
            } else if u != 0 && home.members.iter().all(|m| m.1 == 0) && !matches!(node.op, Op::Const(_)) {
                unit.operations += 1;
            }
            unit.constant &= constant[n];
            at = unit.parent;
        }
    }
    let edges = edges(graph, &mut c, &homes, &source, &literal);
    tidy(c.units, edges)
}

/// Operations of a body that feed only one another are one unit.
fn group(graph: &Graph, c: &mut Collapse, homes: &mut [Home], source: &[Option<NodeId>]) {
    let mut users: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); graph.nodes.len()];
    let mut leaves: Vec<bool> = vec![false; graph.nodes.len()];
    for id in graph.ids().filter(|id| source[id.0 as usize] == Some(*id)) {
        for s in graph.node(id).args.iter().filter_map(|a| source[a.0 as usize]) {
            users[s.0 as usize].insert(id.0 as usize);
        }
    }
    for (_, id) in graph.outputs.iter().chain(&graph.writes) {
        source[id.0 as usize].iter().for_each(|s| leaves[s.0 as usize] = true);
    }
    // Group numbers, by last member.
    let mut of: BTreeMap<usize, usize> = BTreeMap::new();
    let bare = |n: usize, homes: &[Home]| homes[n].bare && source[n] == Some(NodeId(n as u32));
    for n in (0..graph.nodes.len()).rev().filter(|n| bare(*n, homes)) {
        let groups: BTreeSet<Option<usize>> = users[n].iter().map(|u| of.get(u).copied()).collect();
        let one = match groups.iter().next() {
            Some(Some(g)) if groups.len() == 1 && !leaves[n] => Some(*g),
            _ => None,
        };
        let g = one.filter(|g| homes[*g].unit == homes[n].unit && homes[*g].members == homes[n].members);
        of.insert(n, g.unwrap_or(n));
    }
    // In order, so that units stand in order; in each member of a run the groups have the same numbers.
    let mut labels: BTreeMap<usize, Vec<&'static str>> = BTreeMap::new();
    for (n, g) in &of {
        labels.entry(*g).or_default().push(word(&graph.nodes[*n].op));
    }
    let mut numbers: BTreeMap<(usize, Vec<(usize, usize)>), usize> = BTreeMap::new();
    let mut units: BTreeMap<usize, usize> = BTreeMap::new();
    for (g, words) in &labels {
        let home = &homes[*g];
        let number = numbers.entry((home.unit, home.members.clone())).or_default();
        let mut shown: Vec<&str> = words.clone();
        shown.dedup();
        let label = if shown.len() > 5 {
            format!("{} … {}", shown[..3].join(" · "), shown[shown.len() - 1])
        } else {
            shown.join(" · ")
        };
        let key = format!("operations {number} {}", words.len());
        *number += 1;
        let unit = c.unit(home.unit, key, Kind::Operations, &label);
        units.insert(*g, unit);
    }
    for (n, g) in of {
        if let Some(u) = units.get(&g) {
            homes[n].unit = *u;
            homes[n].bare = false;
        }
    }
}

fn word(op: &Op) -> &'static str {
    match op {
        Op::Map(op) => op.name(),
        Op::Reduce { op, .. } => op.name(),
        other => other.name(),
    }
}

/// Values between two units, by the member of a run that reads them.
type Values<'g> = BTreeMap<(Vec<(usize, usize)>, NodeId), &'g TensorType>;

fn edges(graph: &Graph, c: &mut Collapse, homes: &[Home], source: &[Option<NodeId>], literal: &[bool]) -> Vec<Edge> {
    let mut between: BTreeMap<(usize, usize), Values> = BTreeMap::new();
    for id in graph.ids().filter(|id| !homes[id.0 as usize].bare) {
        let to = &homes[id.0 as usize];
        for a in &graph.node(id).args {
            let Some(s) = source[a.0 as usize] else { continue };
            let from = &homes[s.0 as usize];
            // What one member of a run hands to the next is what its number stands for.
            let carried = from.members.iter().zip(&to.members).any(|(a, b)| a.0 == b.0 && a.1 != b.1);
            if from.unit != to.unit && !carried && !from.bare && !literal[s.0 as usize] {
                between.entry((from.unit, to.unit)).or_default().insert((to.members.clone(), s), graph.ty(*a));
            }
        }
    }
    for (name, id) in &graph.outputs {
        let unit = c.unit(0, format!("output {name}"), Kind::Output, name);
        c.units[unit].place = short(graph.ty(*id));
        c.units[unit].constant = false;
        if let Some(s) = source[id.0 as usize] {
            between.entry((homes[s.0 as usize].unit, unit)).or_default().insert((vec![], s), graph.ty(*id));
        }
    }
    if !graph.writes.is_empty() {
        let unit = c.unit(0, "writes".into(), Kind::Writes, "stored");
        c.units[unit].place = format!("{} tensors", graph.writes.len());
        c.units[unit].constant = false;
        for (_, id) in &graph.writes {
            if let Some(s) = source[id.0 as usize] {
                between.entry((homes[s.0 as usize].unit, unit)).or_default().insert((vec![], s), graph.ty(*id));
            }
        }
    }
    let size = |t: &TensorType| t.shape.iter().map(|d| d.as_int().unwrap_or(16) as f64).product::<f64>();
    let edge = |((from, to), values): ((usize, usize), Values)| {
        let largest = values.values().max_by(|a, b| size(a).total_cmp(&size(b)));
        // Each member of a run reads its own: one stands for all.
        let mut count: BTreeMap<&[(usize, usize)], usize> = BTreeMap::new();
        values.keys().for_each(|(members, _)| *count.entry(members).or_default() += 1);
        let values = count.values().max().copied().unwrap_or(0);
        Edge { from, to, label: largest.map(|t| short(t)).unwrap_or_default(), values }
    };
    between.into_iter().filter(|(k, _)| k.0 != k.1).map(edge).collect()
}

/// Boxes without blocks in them are plain boxes; units that nothing reads and that hold nothing go.
fn tidy(mut units: Vec<Unit>, edges: Vec<Edge>) -> Units {
    let mut into: Vec<usize> = (0..units.len()).collect();
    for u in (1..units.len()).rev() {
        let blocks = units[u].children.iter().any(|k| units[*k].kind == Kind::Block);
        if units[u].kind == Kind::Block && !blocks {
            for k in std::mem::take(&mut units[u].children) {
                into[k] = u;
            }
        }
    }
    let place = |mut u: usize| {
        while into[u] != u {
            u = into[u];
        }
        u
    };
    let mut merged: BTreeMap<(usize, usize), Edge> = BTreeMap::new();
    for e in edges {
        let (from, to) = (place(e.from), place(e.to));
        if from != to {
            let known = merged.entry((from, to)).or_insert_with(|| Edge { from, to, label: e.label, values: 0 });
            known.values += e.values;
        }
    }
    let mut used = vec![false; units.len()];
    for e in merged.values() {
        for mut u in [e.from, e.to] {
            used[u] = true;
            while let Some(p) = units[u].parent {
                used[p] = true;
                u = p;
            }
        }
    }
    for u in &mut units {
        u.children.retain(|k| used[*k] && into[*k] == *k);
    }
    Units { all: units, edges: merged.into_values().collect() }
}
