//! Operations with several results: loops, whose bodies are kernel lists over the entry's buffers, and eigenproblems.
//!
//! In: a node. Out: kernels, and the places of the results. Invariants: what a loop carries lies row-major in buffers
//! of its own; what it captures lies where it is. Imports: the graph, `uad-plan`.

use uad_plan::{Body, BufferId, BufferKind, DType, Dim, Kernel};

use super::affine::row_major;
use super::expr::Place;
use super::{LowerError, Lowering};
use crate::graph::{NodeId, Op};
use crate::hash::FxHashMap;

impl Lowering<'_> {
    /// Emits the node's kernels and notes the places of its results; gives the first.
    pub(super) fn store_several(&mut self, n: NodeId) -> Result<Place, LowerError> {
        let node = self.graph.node(n);
        let constant = self.facts.constant[n.0 as usize];
        match &node.op {
            Op::Eigh => {
                let arg = node.args[0];
                let (values, vectors) = (self.scratch(n, n)?, self.scratch(n, arg)?);
                let places = [self.whole(values), self.whole(vectors)];
                self.factor(n, arg, Body::Eigh, &places, constant)?;
                for (k, p) in places.iter().enumerate() {
                    self.parts.insert((n, k), p.clone());
                }
                Ok(places[0].clone())
            }
            Op::Loop { count, carried, every, body } => {
                for a in &node.args {
                    if self.lies(*a)?.is_none() {
                        self.store(*a)?;
                    }
                }
                let mut places: Vec<Place> = Vec::new();
                let mut triples = Vec::new();
                for (k, a) in node.args.iter().enumerate() {
                    let place = self.lies(*a)?.ok_or_else(|| LowerError(format!("{a} has no place")))?;
                    if k >= *carried {
                        places.push(place);
                        continue;
                    }
                    let first = self.first(n, *a, place, constant)?;
                    let at = self.scratch(n, *a)?;
                    places.push(self.whole(at));
                    self.parts.insert((n, k), self.whole(at));
                    triples.push((first, at));
                }
                let round = body.nodes.iter().any(|b| matches!(&b.op, Op::Input(name) if name == "round"));
                let index = round.then(|| {
                    let name = format!("{}.round", self.label(n));
                    self.memory.add(&name, BufferKind::Temp, DType::I32, &[], Vec::new())
                });
                let known: FxHashMap<String, Place> = places
                    .iter()
                    .enumerate()
                    .map(|(k, p)| (k.to_string(), p.clone()))
                    .chain(index.map(|b| ("round".to_string(), self.whole(b))))
                    .collect();
                let mut inner = Lowering::new(body, self.options, &mut *self.memory, true);
                for b in body.ids() {
                    if let Op::Input(name) = &body.node(b).op {
                        let p =
                            known.get(name).ok_or_else(|| LowerError(format!("a loop lacks its input `{name}`")))?;
                        inner.places[b.0 as usize] = Some(p.clone());
                    }
                }
                inner.run()?;
                let (outputs, mut kernels) = (inner.outputs, inner.setup);
                kernels.append(&mut inner.kernels);
                let requires = inner.requires.into_iter().chain(body.requires.iter().cloned());
                self.requires.extend(requires.collect::<Vec<_>>());
                let until = match (outputs.get(*carried), every) {
                    (Some(b), Some(e)) => Some((*b, e.clone())),
                    (Some(b), None) => Some((*b, Dim::int(1))),
                    _ => None,
                };
                let carried = triples.iter().zip(&outputs).map(|((first, at), next)| (*first, *at, *next)).collect();
                let body = Body::Loop { count: count.clone(), index, carried, until, body: kernels };
                let kernel: Kernel<Dim> = self.kernel(n, Vec::new(), body);
                self.emit(kernel, constant);
                let first = self.parts.get(&(n, 0)).cloned();
                first.ok_or_else(|| LowerError(format!("{n} carries nothing")))
            }
            _ => Err(LowerError(format!("{n} (`{}`) has one result", node.op.name()))),
        }
    }

    /// A row-major buffer of the type of `like`, named after `n`.
    fn scratch(&mut self, n: NodeId, like: NodeId) -> Result<BufferId, LowerError> {
        let t = self.graph.ty(like);
        Ok(self.memory.add(&self.label(n), BufferKind::Temp, t.dtype, &t.shape, row_major(&t.shape)?))
    }

    /// A whole row-major buffer with the value of `a`.
    fn first(&mut self, n: NodeId, a: NodeId, place: Place, constant: bool) -> Result<BufferId, LowerError> {
        let t = self.graph.ty(a);
        let b = &self.memory.buffers[place.buffer.0 as usize];
        let row = row_major(&t.shape)?;
        if t.shape == b.shape && b.strides == row && place.strides == row && place.offset.is(0) {
            return Ok(place.buffer);
        }
        let to = self.scratch(n, a)?;
        let whole = self.whole(to);
        self.compute(a, whole, constant)?;
        Ok(to)
    }
}
