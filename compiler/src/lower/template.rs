//! From a node to the kernel that computes it.
//!
//! In: a node, where its value shall lie, and what is stored already. Out: a kernel. Invariants: the kernel writes
//! every element of the node once; where a value cannot be reached by an affine access it is stored first, and the
//! kernel is tried again. Imports: coordinates, pulling, merging, the graph, `uad-plan`.

use uad_plan::{Body, Dim, DotRole, Hole, Kernel, RowStage};

use super::affine::{Coord, Reshaped, Space, reshape, reshape_strides, rough};
use super::expr::{Frame, Place, Point, RowWork};
use super::{Halt, LowerError, Lowering, merge};
use crate::graph::{NodeId, Op};

/// How the next attempt is made.
#[derive(Clone, Debug)]
enum Template {
    /// One point per element, axes in this order.
    Map(Vec<usize>),
    /// One point per element of a reshape's argument.
    Source,
    /// One point per element, and a row; `new`: the row's extents, if its axes are not among the element's.
    Rows { new: Vec<Dim> },
    /// Around this contraction.
    Dot(NodeId),
    /// Around the second contraction of an attention.
    Attention(NodeId),
}

type Attempt = Result<Kernel<Dim>, Halt>;

impl Lowering<'_> {
    /// Emits the kernels that write the node's value to a place.
    pub(super) fn compute(&mut self, n: NodeId, place: Place, constant: bool) -> Result<(), LowerError> {
        if self.places[n.0 as usize].is_none() && self.compute_special(n, &place, constant)? {
            return Ok(());
        }
        if let Op::Literal(_) = self.graph.node(n).op {
            self.store(n)?;
            if let Some(own) = self.places[n.0 as usize].clone() {
                let kernel = self.copy(n, &own, &place)?;
                self.emit(merge::tidy(kernel)?, constant);
                return Ok(());
            }
        }
        let mut template = self.template(n)?;
        let mut space = self.space(n, &template)?;
        // Every attempt stores a node or splits an axis: both end.
        loop {
            let attempt = match &template {
                Template::Map(order) => self.map(n, order, &place, &space),
                Template::Source => self.source(n, &place, &space),
                Template::Rows { new } => self.rows(n, new, &place, &space),
                Template::Dot(anchor) => self.dot(n, *anchor, &place, &space),
                Template::Attention(anchor) => self.attention(n, *anchor, &place, &space),
            };
            let next = match attempt {
                Ok(kernel) if merge::reads_what_it_writes(&kernel) => {
                    // By way of a buffer of its own.
                    let order = self.facts.order[n.0 as usize].clone();
                    let own = self.fresh(n, &order)?;
                    self.compute(n, own.clone(), constant)?;
                    let kernel = self.copy(n, &own, &place)?;
                    self.emit(merge::tidy(kernel)?, constant);
                    return Ok(());
                }
                Ok(kernel) => {
                    self.emit(merge::tidy(kernel)?, constant);
                    return Ok(());
                }
                Err(Halt::Failed(e)) => return Err(e),
                Err(Halt::Split(axis, inner)) => {
                    if !space.split(axis, inner) {
                        return Err(LowerError(format!("{n}: an axis does not split")));
                    }
                    continue;
                }
                Err(Halt::Probe(reduce, at)) => match self.row_of(reduce, &at, &space)? {
                    Some(new) => Template::Rows { new },
                    None => {
                        self.store(reduce)?;
                        self.template(n)?
                    }
                },
                Err(Halt::Store(m)) if m == n => match (&template, &self.graph.node(n).op) {
                    (Template::Map(_), Op::Reshape) => Template::Source,
                    _ => return Err(LowerError(format!("{n} (`{}`) has no kernel", self.graph.node(n).op.name()))),
                },
                Err(Halt::Store(m)) => {
                    self.store(m)?;
                    match &template {
                        Template::Dot(a) | Template::Attention(a) if *a == m => self.template(n)?,
                        Template::Attention(a) => Template::Dot(*a),
                        other => other.clone(),
                    }
                }
            };
            space = self.space(n, &next)?;
            template = next;
        }
    }

    /// From one place of the node's value to another.
    fn copy(&self, n: NodeId, from: &Place, to: &Place) -> Result<Kernel<Dim>, LowerError> {
        let space = Space::new(&self.graph.ty(n).shape);
        let at = Point::at(space.coords()?);
        let axes = space.extents().len();
        let (read, write) = (from.access(&at, axes)?, to.access(&at, axes)?);
        let body = Body::Map(Hole::load(0));
        Ok(Kernel { reads: vec![read], writes: vec![write], ..self.kernel(n, space.extents(), body) })
    }

    /// The first attempt's template.
    fn template(&self, n: NodeId) -> Result<Template, LowerError> {
        let anchor = self.choice.anchor[n.0 as usize]
            .filter(|a| self.places[a.0 as usize].is_none() && self.places[n.0 as usize].is_none());
        Ok(match anchor.map(|a| (a, &self.graph.node(a).op)) {
            Some((a, Op::Dot { .. })) if self.choice.attention.contains_key(&a) => Template::Attention(a),
            Some((a, Op::Dot { .. })) => Template::Dot(a),
            Some((_, Op::Reduce { .. })) => Template::Rows { new: Vec::new() },
            _ => Template::Map(self.facts.order[n.0 as usize].clone()),
        })
    }

    fn space(&self, n: NodeId, template: &Template) -> Result<Space, LowerError> {
        let node = self.graph.node(n);
        let shape = &node.ty.shape;
        Ok(match template {
            Template::Map(order) => Space::new(&order.iter().map(|k| shape[*k].clone()).collect::<Vec<_>>()),
            Template::Source => Space::new(&self.graph.ty(node.args[0]).shape),
            Template::Rows { new } => {
                let order = &self.facts.order[n.0 as usize];
                Space::new(&order.iter().map(|k| shape[*k].clone()).chain(new.iter().cloned()).collect::<Vec<_>>())
            }
            Template::Dot(a) => Space::new(&Contraction::new(self, *a)?.dims),
            Template::Attention(a) => self.attention_space(*a)?,
        })
    }

    pub(super) fn frame(&self, space: &Space) -> Frame<'_> {
        Frame::new(self.graph, &self.places, space.extents())
    }

    fn map(&self, n: NodeId, order: &[usize], place: &Place, space: &Space) -> Attempt {
        let mut at = space.coords()?;
        at.truncate(order.len());
        let mut coords = at.clone();
        for (c, k) in at.into_iter().zip(order) {
            coords[*k] = c;
        }
        let at = Point::at(coords);
        let mut frame = self.frame(space);
        let hole = frame.hole(n, &at)?;
        let write = place.access(&at, frame.extents.len())?;
        let reads = frame.reads;
        Ok(Kernel { reads, writes: vec![write], ..self.kernel(n, space.extents(), Body::Map(hole)) })
    }

    /// A reshape whose argument cannot be cut along the result's axes: written in the argument's order.
    fn source(&self, n: NodeId, place: &Place, space: &Space) -> Attempt {
        let node = self.graph.node(n);
        let from = &self.graph.ty(node.args[0]).shape;
        let at = Point::at(space.coords()?);
        let mut frame = self.frame(space);
        let hole = frame.hole(node.args[0], &at)?;
        let Some(strides) = reshape_strides(&node.ty.shape, &place.strides, from)? else {
            return Err(Halt::Failed(LowerError(format!("{n}: the place of a reshape is not row-major"))));
        };
        let write = Place { strides, ..place.clone() }.access(&at, frame.extents.len())?;
        let reads = frame.reads;
        Ok(Kernel { reads, writes: vec![write], ..self.kernel(n, space.extents(), Body::Map(hole)) })
    }

    /// The extents of a new row if the reduction is wanted once per element, none of them if its row is among the
    /// element's axes, `None` if neither.
    fn row_of(&self, reduce: NodeId, at: &[Coord], space: &Space) -> Result<Option<Vec<Dim>>, LowerError> {
        let extents = space.extents();
        let idle: Vec<usize> =
            (0..extents.len()).filter(|a| !extents[*a].is(1) && at.iter().all(|c| !c.moves(*a))).collect();
        let node = self.graph.node(reduce);
        let Op::Reduce { axes, .. } = &node.op else { return Ok(None) };
        let along: Vec<Dim> = axes.iter().map(|a| self.graph.ty(node.args[0]).shape[*a].clone()).collect();
        if idle.is_empty() && !along.is_empty() {
            return Ok(Some(along));
        }
        Ok(None)
    }

    fn rows(&self, n: NodeId, new: &[Dim], place: &Place, space: &Space) -> Attempt {
        let order = self.facts.order[n.0 as usize].clone();
        let at = space.coords()?;
        let mut coords = at[..order.len()].to_vec();
        for (c, k) in at.iter().zip(&order) {
            coords[*k] = c.clone();
        }
        let at = Point::at(coords);
        let extents = space.extents();
        let allowed = |m: NodeId| m == n || self.choice.inside[m.0 as usize] == Some(n);
        let mut frame = self.frame(space);
        frame.reduces = &allowed;
        let row: Vec<usize> = if new.is_empty() {
            // Which axes are the row? Those on which the first reduction does not depend.
            frame.probe = true;
            match frame.hole(n, &at) {
                Ok(_) => return self.map(n, &order, place, space),
                Err(Halt::Probe(r, c)) => {
                    let idle = |a: &usize| !extents[*a].is(1) && c.iter().all(|c| !c.moves(*a));
                    let row: Vec<usize> = (0..extents.len()).filter(idle).collect();
                    if row.is_empty() {
                        return Err(Halt::Probe(r, c));
                    }
                    row
                }
                Err(e) => return Err(e),
            }
        } else {
            (space.axes(order.len()).start..extents.len()).collect()
        };
        frame.probe = false;
        frame.reads.clear();
        frame.rows = Some(RowWork { axes: row.clone(), ..RowWork::default() });
        let hole = frame.hole(n, &at)?;
        let write = place.access(&at, extents.len())?;
        let whole = row.iter().any(|a| at.coords.iter().any(|c| c.moves(*a)));
        let mut stages = frame.rows.take().map(|r| r.stages).unwrap_or_default();
        stages.push(if whole { RowStage::Map(0, hole) } else { RowStage::Emit(0, hole) });
        let body = Body::Rows { inner: row.len() as u32, stages };
        let kernel = Kernel { reads: frame.reads, writes: vec![write], ..self.kernel(n, extents.clone(), body) };
        let outer = (0..extents.len()).filter(|a| !row.contains(a));
        Ok(merge::reorder(kernel, &outer.chain(row.iter().copied()).collect::<Vec<_>>()))
    }

    fn dot(&self, n: NodeId, anchor: NodeId, place: &Place, space: &Space) -> Attempt {
        let c = Contraction::new(self, anchor)?;
        let at = space.coords()?;
        let mut frame = self.frame(space);
        let (a, b) = (self.graph.node(anchor).args[0], self.graph.node(anchor).args[1]);
        let pick = |dims: &[usize]| Point::at(dims.iter().map(|d| at[*d].clone()).collect());
        let a = frame.hole(a, &pick(&c.a))?;
        let main = a.as_load();
        let b = frame.hole(b, &pick(&c.b))?;
        let identity: Vec<Coord> = at[..c.out].to_vec();
        let root = Point::at(self.follow(anchor, n, identity.clone(), &space.extents())?);
        frame.anchor = Some((anchor, Some(identity)));
        let out = frame.hole(n, &root)?;
        let write = place.access(&root, frame.extents.len())?;
        let mut roles = Vec::new();
        for (d, role) in c.roles.iter().enumerate() {
            roles.extend(space.axes(d).map(|_| *role));
        }
        // Rank the axes: results in the order in which they lie, sums in the order in which `a` lies.
        let steps = main.map(|m| frame.reads[m as usize].strides.clone());
        let key = |axis: &usize| {
            let role = roles[*axis];
            let s = if role == DotRole::K {
                steps.as_ref().map(|s| rough(&s[*axis]))
            } else {
                Some(rough(&write.strides[*axis]))
            };
            (role_rank(role), -s.unwrap_or(0))
        };
        let mut order: Vec<usize> = (0..roles.len()).collect();
        order.sort_by_key(key);
        let body = Body::Dot { roles, a, b, out };
        let kernel = Kernel { reads: frame.reads, writes: vec![write], ..self.kernel(n, space.extents(), body) };
        Ok(merge::reorder(kernel, &order))
    }

    /// The coordinates of `n` where those of `anchor`, from which it comes by maps and views, are these.
    pub(super) fn follow(
        &self,
        anchor: NodeId,
        n: NodeId,
        at: Vec<Coord>,
        extents: &[Dim],
    ) -> Result<Vec<Coord>, Halt> {
        let mut path = vec![n];
        let mut last = n;
        while last != anchor {
            let node = self.graph.node(last);
            let step = node.args.iter().find(|a| **a == anchor || self.choice.inside[a.0 as usize] == Some(n));
            let Some(step) = step else { return Err(Halt::Store(anchor)) };
            last = *step;
            path.push(last);
        }
        let mut at = at;
        path.pop();
        for v in path.into_iter().rev() {
            let node = self.graph.node(v);
            match &node.op {
                Op::Permute(perm) => at = perm.iter().map(|p| at[*p].clone()).collect(),
                Op::Reshape => match reshape(&self.graph.ty(node.args[0]).shape, &at, &node.ty.shape, extents)? {
                    Reshaped::Coords(c) => at = c,
                    Reshaped::Split(axis, inner) => return Err(Halt::Split(axis, inner)),
                    Reshaped::No => return Err(Halt::Store(anchor)),
                },
                _ => {}
            }
        }
        Ok(at)
    }
}

/// The axes of a contraction: Batch, M, N, K.
pub(super) struct Contraction {
    /// Extents.
    pub dims: Vec<Dim>,
    /// One per extent.
    pub roles: Vec<DotRole>,
    /// Which of them the axes of the first argument are.
    pub a: Vec<usize>,
    /// Those of the second.
    pub b: Vec<usize>,
    /// How many are the result's.
    pub out: usize,
}

impl Contraction {
    pub fn new(l: &Lowering, n: NodeId) -> Result<Contraction, LowerError> {
        let node = l.graph.node(n);
        let Op::Dot { batch, contract } = &node.op else {
            return Err(LowerError(format!("{n} is not a contraction")));
        };
        let (a, b) = (&l.graph.ty(node.args[0]).shape, &l.graph.ty(node.args[1]).shape);
        let mut dims: Vec<Dim> = batch.iter().map(|p| a[p.0].clone()).collect();
        let mut roles = vec![DotRole::Batch; dims.len()];
        let (mut of_a, mut of_b) = (vec![0; a.len()], vec![0; b.len()]);
        for (k, p) in batch.iter().enumerate() {
            (of_a[p.0], of_b[p.1]) = (k, k);
        }
        let mut free = |shape: &[Dim], of: &mut [usize], role: DotRole, paired: &dyn Fn(usize) -> bool| {
            for k in (0..shape.len()).filter(|k| !paired(*k)) {
                of[k] = dims.len();
                dims.push(shape[k].clone());
                roles.push(role);
            }
        };
        let pairs = || batch.iter().chain(contract);
        free(a, &mut of_a, DotRole::M, &|k| pairs().any(|p| p.0 == k));
        free(b, &mut of_b, DotRole::N, &|k| pairs().any(|p| p.1 == k));
        let out = dims.len();
        for (x, y) in contract {
            (of_a[*x], of_b[*y]) = (dims.len(), dims.len());
            dims.push(a[*x].clone());
            roles.push(DotRole::K);
        }
        Ok(Contraction { dims, roles, a: of_a, b: of_b, out })
    }
}

fn role_rank(r: DotRole) -> u8 {
    match r {
        DotRole::Batch => 0,
        DotRole::M => 1,
        DotRole::N => 2,
        DotRole::K => 3,
    }
}
