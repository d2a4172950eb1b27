//! From a graph to an entry of a plan: what is stored, where it lies, and which kernel computes it.
//!
//! In: a graph. Out: an entry, symbolic in its open dims. Invariants: without fusion every operation is a kernel of its
//! own and every value lies row-major: the definition that the fused entry must equal. With fusion a value is stored
//! only where [`choose`] says so or where an access to it would not be affine. Kernels are in an order in which all
//! that is read was written before. Imports: the graph, `uad-plan`.

mod affine;
mod attention;
mod choose;
mod expr;
mod facts;
mod joins;
mod loops;
mod merge;
mod region;
mod siblings;
mod template;
#[cfg(test)]
mod tests;

use uad_plan::{Body, Buffer, BufferId, BufferKind, DType, Dim, DimError, Entry, Kernel};

use crate::graph::verify::Verified;
use crate::graph::{Graph, NodeId, Op, ScopeId};
use crate::hash::{FxHashMap, FxHashSet};
use affine::{Coord, ordered, row_major};
use choose::Choice;
use expr::{Frame, Place};
use facts::Facts;

/// How to lower.
#[derive(Clone, Copy, Debug)]
pub struct LowerOptions {
    /// Join operations into few kernels; without, each is a kernel of its own.
    pub fuse: bool,
}

/// Why a graph has no plan: a dimension beyond 64 bits, or a fault of the compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowerError(
    /// One sentence.
    pub String,
);

impl std::fmt::Display for LowerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for LowerError {}

impl From<DimError> for LowerError {
    fn from(e: DimError) -> LowerError {
        LowerError(e.to_string())
    }
}

/// Why a kernel cannot be written as tried.
#[derive(Debug)]
enum Halt {
    /// It can, if this axis is two, the inner one of this extent.
    Split(usize, Dim),
    /// It can, if this node's value is stored before.
    Store(NodeId),
    /// The first row reduction, and the coordinates at which it is wanted.
    Probe(NodeId, Vec<Coord>),
    /// It cannot.
    Failed(LowerError),
}

impl From<DimError> for Halt {
    fn from(e: DimError) -> Halt {
        Halt::Failed(e.into())
    }
}

impl From<LowerError> for Halt {
    fn from(e: LowerError) -> Halt {
        Halt::Failed(e)
    }
}

/// Lowers one entry.
pub fn lower(graph: &Verified<&Graph>, options: LowerOptions) -> Result<Entry<Dim>, LowerError> {
    let graph = graph.get();
    let mut memory = Memory::default();
    let mut work = Lowering::new(graph, options, &mut memory, false);
    work.run()?;
    let (setup, mut kernels) = (work.setup, work.kernels);
    let mut requires = graph.requires.clone();
    requires.append(&mut work.requires);
    merge::write_in_place(&mut kernels, &mut memory.buffers);
    if options.fuse {
        siblings::join_all(&mut kernels, &memory.buffers);
    }
    let (mut setup, mut buffers) = (setup, memory.buffers);
    merge::drop_unused(&mut buffers, &mut setup, &mut kernels);
    let (name, dims) = (graph.name.clone(), graph.dims.clone());
    Ok(Entry { name, dims, samples: None, buffers, setup, kernels, requires })
}

/// The buffers of an entry, shared by the bodies of its loops.
#[derive(Default)]
struct Memory {
    buffers: Vec<Buffer<Dim>>,
    names: FxHashSet<String>,
    /// Inputs and stored tensors by name.
    outside: FxHashMap<(bool, String), BufferId>,
}

impl Memory {
    /// A new buffer; its name gets a number if it is taken.
    fn add(&mut self, name: &str, kind: BufferKind, dtype: DType, shape: &[Dim], strides: Vec<Dim>) -> BufferId {
        let fixed = !matches!(kind, BufferKind::Temp | BufferKind::Const(_));
        let mut unique = name.to_string();
        let mut n = 1;
        while !fixed && self.names.contains(&unique) {
            n += 1;
            unique = format!("{name}.{n}");
        }
        self.names.insert(unique.clone());
        self.buffers.push(Buffer { name: unique, kind, dtype, shape: shape.to_vec(), strides });
        BufferId(self.buffers.len() as u32 - 1)
    }

    /// An input or stored tensor: one buffer for all nodes that name it.
    fn outside(&mut self, name: &str, kind: BufferKind, dtype: DType, shape: &[Dim]) -> Result<BufferId, LowerError> {
        let key = (kind == BufferKind::Stored, name.to_string());
        if let Some(b) = self.outside.get(&key) {
            return Ok(*b);
        }
        let b = self.add(name, kind, dtype, shape, row_major(shape)?);
        self.outside.insert(key, b);
        Ok(b)
    }
}

/// One graph on its way.
struct Lowering<'a> {
    graph: &'a Graph,
    options: LowerOptions,
    memory: &'a mut Memory,
    facts: Facts,
    choice: Choice,
    /// Where the values that are stored lie.
    places: Vec<Option<Place>>,
    /// Results of operations with several.
    parts: FxHashMap<(NodeId, usize), Place>,
    /// Buffers of the outputs, in their order.
    outputs: Vec<BufferId>,
    setup: Vec<Kernel<Dim>>,
    kernels: Vec<Kernel<Dim>>,
    requires: Vec<uad_plan::Require<Dim>>,
    /// Is this the body of a loop?
    nested: bool,
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph, options: LowerOptions, memory: &'a mut Memory, nested: bool) -> Lowering<'a> {
        let facts = Facts::new(graph, !nested, options.fuse);
        let choice = Choice::new(graph, &facts, options.fuse);
        Lowering {
            graph,
            options,
            memory,
            facts,
            choice,
            places: vec![None; graph.nodes.len()],
            parts: FxHashMap::default(),
            outputs: Vec::new(),
            setup: Vec::new(),
            kernels: Vec::new(),
            requires: Vec::new(),
            nested,
        }
    }

    fn run(&mut self) -> Result<(), LowerError> {
        // Names from outside are taken first: what is made here gets out of their way.
        for n in self.graph.ids() {
            let live = self.facts.live[n.0 as usize];
            if live && matches!(self.graph.node(n).op, Op::Input(_) | Op::Weight(_) | Op::State(_)) {
                self.store(n)?;
            }
        }
        for (path, t) in facts::stored_inside(self.graph) {
            self.memory.outside(path, BufferKind::Stored, t.dtype, &t.shape)?;
        }
        for (name, n) in &self.graph.outputs {
            let t = self.graph.ty(*n);
            let kind = if self.nested { BufferKind::Temp } else { BufferKind::Output };
            let name = if self.nested { format!("next.{name}") } else { name.clone() };
            self.outputs.push(self.memory.add(&name, kind, t.dtype, &t.shape, row_major(&t.shape)?));
        }
        for n in self.graph.ids() {
            if self.choice.stored[n.0 as usize] {
                self.store(n)?;
            }
        }
        for (k, (_, n)) in self.graph.outputs.iter().enumerate() {
            let b = self.outputs[k];
            let whole = self.whole(b);
            if self.lies(*n)?.as_ref() != Some(&whole) {
                self.compute(*n, whole, self.facts.constant[n.0 as usize] && self.nested)?;
            }
        }
        self.write()
    }

    /// Writes stored tensors. All have their old values until then: what reads one that is written before its own turn
    /// is computed first.
    fn write(&mut self) -> Result<(), LowerError> {
        for (k, (_, n)) in self.graph.writes.iter().enumerate().skip(1) {
            let early = &self.graph.writes[..k];
            let kept = self.lies(*n)?.is_some_and(|p| {
                let b = &self.memory.buffers[p.buffer.0 as usize];
                b.kind != BufferKind::Stored || early.iter().all(|w| w.0 != b.name)
            });
            if !kept {
                let order = self.facts.order[n.0 as usize].clone();
                let place = self.fresh(*n, &order)?;
                self.compute(*n, place.clone(), false)?;
                self.places[n.0 as usize] = Some(place);
            }
        }
        for (path, n) in &self.graph.writes {
            let t = self.graph.ty(*n);
            let b = self.memory.outside(path, BufferKind::Stored, t.dtype, &t.shape)?;
            let whole = self.whole(b);
            if self.lies(*n)?.as_ref() != Some(&whole) {
                self.compute(*n, whole, false)?;
            }
        }
        Ok(())
    }

    /// All of a buffer.
    fn whole(&self, b: BufferId) -> Place {
        Place { buffer: b, offset: Dim::int(0), strides: self.memory.buffers[b.0 as usize].strides.clone() }
    }

    /// Makes sure that the node's value lies in memory.
    fn store(&mut self, n: NodeId) -> Result<(), LowerError> {
        if self.places[n.0 as usize].is_some() {
            return Ok(());
        }
        let node = self.graph.node(n);
        let t = &node.ty;
        let place = match &node.op {
            Op::Input(name) => {
                let b = self.memory.outside(name, BufferKind::Input, t.dtype, &t.shape)?;
                self.whole(b)
            }
            Op::Weight(path) | Op::State(path) => {
                let b = self.memory.outside(path, BufferKind::Stored, t.dtype, &t.shape)?;
                self.whole(b)
            }
            Op::Literal(v) => {
                let kind = BufferKind::Const(v.clone());
                let b = self.memory.add(&self.label(n), kind, t.dtype, &t.shape, row_major(&t.shape)?);
                self.whole(b)
            }
            Op::Concat { .. } => return self.store_concat(n),
            Op::Loop { .. } | Op::Eigh => {
                let place = self.store_several(n)?;
                self.places[n.0 as usize] = Some(place);
                return Ok(());
            }
            Op::Part(k) => {
                self.store(node.args[0])?;
                let part = self.parts.get(&(node.args[0], *k)).cloned();
                part.ok_or_else(|| LowerError(format!("{n} has no part {k}")))?
            }
            _ => {
                let place = self.home(n)?;
                self.compute(n, place.clone(), self.facts.constant[n.0 as usize])?;
                place
            }
        };
        self.places[n.0 as usize] = Some(place);
        Ok(())
    }

    /// Where a value that is about to be computed shall lie: in an output, in a part of a concatenation, or on its own.
    fn home(&mut self, n: NodeId) -> Result<Place, LowerError> {
        if let Some(place) = self.given(n, 0)? {
            return Ok(place);
        }
        let order = self.facts.order[n.0 as usize].clone();
        self.fresh(n, &order)
    }

    /// The place that is given to a node, or to a view of it that only renames its elements.
    fn given(&mut self, n: NodeId, depth: u32) -> Result<Option<Place>, LowerError> {
        let i = n.0 as usize;
        if !self.facts.constant[i] && self.facts.result[i] {
            if let Some(k) = self.graph.outputs.iter().position(|o| o.1 == n) {
                let b = self.outputs[k];
                return Ok(Some(self.whole(b)));
            }
            // A stored tensor that nobody reads can be written at once.
            if let Some((path, _)) = self.graph.writes.iter().find(|w| w.1 == n)
                && !self.memory.outside.contains_key(&(true, path.clone()))
            {
                let t = self.graph.ty(n);
                let b = self.memory.outside(path, BufferKind::Stored, t.dtype, &t.shape)?;
                return Ok(Some(self.whole(b)));
            }
        }
        if let Some((c, arg)) = self.choice.joined[i] {
            return self.concat_part(c, arg).map(Some);
        }
        if depth > 8 || !self.options.fuse {
            return Ok(None);
        }
        for u in self.facts.users[i].clone() {
            let (node, shape) = (self.graph.node(u), &self.graph.ty(n).shape);
            let view = matches!(node.op, Op::Permute(_) | Op::Reshape | Op::Stop);
            if !view || self.facts.constant[u.0 as usize] != self.facts.constant[i] {
                continue;
            }
            let Some(mut place) = self.given(u, depth + 1)? else { continue };
            match &node.op {
                Op::Permute(perm) => {
                    let mut strides = place.strides.clone();
                    for (k, p) in perm.iter().enumerate() {
                        strides[*p] = place.strides[k].clone();
                    }
                    place.strides = strides;
                }
                Op::Reshape => match affine::reshape_strides(&node.ty.shape, &place.strides, shape)? {
                    Some(strides) => place.strides = strides,
                    None => continue,
                },
                _ => {}
            }
            return Ok(Some(place));
        }
        Ok(None)
    }

    /// Where the node's value lies, if it does.
    fn lies(&self, n: NodeId) -> Result<Option<Place>, LowerError> {
        match Frame::new(self.graph, &self.places, Vec::new()).place(n) {
            Ok(p) => Ok(p),
            Err(Halt::Failed(e)) => Err(e),
            Err(_) => Ok(None),
        }
    }

    /// A buffer of its own.
    fn fresh(&mut self, n: NodeId, order: &[usize]) -> Result<Place, LowerError> {
        let t = self.graph.ty(n);
        // What must be cut along row-major runs lies row-major.
        let strides = match self.graph.node(n).op {
            Op::Reshape => row_major(&t.shape)?,
            _ => ordered(&t.shape, order)?,
        };
        let b = self.memory.add(&self.label(n), BufferKind::Temp, t.dtype, &t.shape, strides);
        Ok(self.whole(b))
    }

    fn emit(&mut self, kernel: Kernel<Dim>, constant: bool) {
        if constant { &mut self.setup } else { &mut self.kernels }.push(kernel);
    }

    fn kernel(&self, n: NodeId, axes: Vec<Dim>, body: Body<Dim>) -> Kernel<Dim> {
        Kernel { scope: self.scope(self.graph.node(n).scope), axes, reads: Vec::new(), writes: Vec::new(), body }
    }

    /// `encode.2.attend (uniad.uad:38)`.
    fn scope(&self, scope: ScopeId) -> String {
        let Some(s) = self.graph.scopes.get(scope.0 as usize) else { return String::new() };
        let path = self.graph.path(scope);
        let path = match (path.is_empty(), s.instance) {
            (true, _) => s.label.to_string(),
            (false, true) => path,
            (false, false) => format!("{path}.{}", s.label),
        };
        if s.place.is_empty() { path } else { format!("{path} ({})", s.place) }
    }

    /// A readable name for a node's buffer.
    fn label(&self, n: NodeId) -> String {
        if let Some(name) = self.facts.name.get(&n) {
            return name.clone();
        }
        // A view of it may be what has the name.
        if let [user] = self.facts.users[n.0 as usize].as_slice()
            && matches!(self.graph.node(*user).op, Op::Permute(_) | Op::Reshape)
            && let Some(name) = self.facts.name.get(user)
        {
            return name.clone();
        }
        let node = self.graph.node(n);
        let path = match self.graph.scopes.get(node.scope.0 as usize) {
            Some(_) => self.graph.path(node.scope),
            None => String::new(),
        };
        let op = match &node.op {
            Op::Map(f) => f.name(),
            Op::Reduce { op, .. } => op.name(),
            o => o.name(),
        };
        if path.is_empty() { op.to_string() } else { format!("{path}.{op}") }
    }
}
