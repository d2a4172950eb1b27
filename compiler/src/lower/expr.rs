//! Pulling: the scalar program that gives one element of a node at a point of a kernel.
//!
//! In: a node and the coordinates of one of its elements, affine over the kernel's axes. Out: instructions of a hole,
//! and the accesses they load from. Invariants: views never become instructions but change the coordinates; an element
//! outside a padded argument is never read; equal (node, point) pairs are evaluated once per hole.
//! Imports: coordinates, the graph, `uad-plan`.

use uad_plan::{Access, BufferId, DType, Dim, DimError, Guard, Hole, Inst, ReduceOp, Reg, RowStage, ScalarOp, Via};

use super::affine::{Coord, Reshaped, reshape, reshape_strides};
use super::{Halt, LowerError};
use crate::graph::{Graph, NodeId, Op};
use crate::hash::FxHashMap;

/// Where a node's value lives: element `i` at `offset + sum(strides[n] * i[n])`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub buffer: BufferId,
    pub offset: Dim,
    pub strides: Vec<Dim>,
}

impl Place {
    /// The access of the element at `at`.
    pub fn access(&self, at: &Point, axes: usize) -> Result<Access<Dim>, DimError> {
        let mut sum = Coord::fixed(self.offset.clone(), axes);
        for (c, s) in at.coords.iter().zip(&self.strides) {
            sum = sum.add(&c.scale(s)?)?;
        }
        sum.vias.retain(|v| !v.stride.is(0));
        Ok(Access {
            buffer: self.buffer,
            offset: sum.offset,
            strides: sum.strides,
            guards: at.guards.clone(),
            fill: if at.guards.is_empty() { 0.0 } else { at.fill.unwrap_or(0.0) },
            via: sum.vias,
        })
    }
}

/// An element of a node: its coordinates, when it may be read, and what stands for it elsewhere (`None`: the reader
/// does not care).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub coords: Vec<Coord>,
    pub guards: Vec<Guard<Dim>>,
    pub fill: Option<f64>,
}

impl Point {
    pub fn at(coords: Vec<Coord>) -> Point {
        Point { coords, guards: Vec::new(), fill: None }
    }

    fn moved(&self, coords: Vec<Coord>) -> Point {
        Point { coords, ..self.clone() }
    }
}

/// A hole while it is written.
pub(super) struct Code {
    hole: Hole<Dim>,
    seen: FxHashMap<NodeId, Vec<(Point, Reg)>>,
}

impl Code {
    fn op(&mut self, op: ScalarOp, args: &[Reg]) -> Reg {
        self.push(Inst::Op(op, args.to_vec()))
    }

    /// The register of an instruction, which may be there already.
    fn push(&mut self, inst: Inst<Dim>) -> Reg {
        // 0 and -0 are equal, but not the same.
        let same = |i: &Inst<Dim>| match (i, &inst) {
            (Inst::F32(a), Inst::F32(b)) => a.to_bits() == b.to_bits(),
            _ => *i == inst,
        };
        match self.hole.code.iter().position(same) {
            Some(n) => Reg(n as u32),
            None => self.hole.push(inst),
        }
    }
}

/// The row reductions of a kernel while they are found.
#[derive(Default)]
pub(super) struct RowWork {
    /// Axes of the row, in order.
    pub axes: Vec<usize>,
    /// Stages so far.
    pub stages: Vec<RowStage<Dim>>,
    /// Which slot holds which reduction.
    pub slots: Vec<(NodeId, Vec<Coord>, u32)>,
}

/// A kernel while its holes are written.
pub(super) struct Frame<'a> {
    pub graph: &'a Graph,
    pub places: &'a [Option<Place>],
    pub extents: Vec<Dim>,
    pub reads: Vec<Access<Dim>>,
    /// The node that stands in `Slot(0)`, at these coordinates (or where it is reached first).
    pub anchor: Option<(NodeId, Option<Vec<Coord>>)>,
    /// Reductions that may become stages.
    pub reduces: &'a dyn Fn(NodeId) -> bool,
    /// Stages, or none where the kernel has no row.
    pub rows: Option<RowWork>,
    /// Stop at the first reduction and tell where it was reached.
    pub probe: bool,
}

type Pulled<T> = Result<T, Halt>;

impl<'a> Frame<'a> {
    pub fn new(graph: &'a Graph, places: &'a [Option<Place>], extents: Vec<Dim>) -> Frame<'a> {
        Frame { graph, places, extents, reads: Vec::new(), anchor: None, reduces: &|_| false, rows: None, probe: false }
    }

    /// A hole that yields the node.
    pub fn hole(&mut self, n: NodeId, at: &Point) -> Pulled<Hole<Dim>> {
        let mut code = Code { hole: Hole { code: Vec::new(), results: Vec::new() }, seen: FxHashMap::default() };
        let r = self.eval(&mut code, n, at)?;
        code.hole.results.push(r);
        Ok(code.hole)
    }

    /// The operand number of an access.
    fn read(&mut self, a: Access<Dim>) -> u32 {
        let n = self.reads.iter().position(|r| *r == a).unwrap_or_else(|| {
            self.reads.push(a);
            self.reads.len() - 1
        });
        n as u32
    }

    /// Where the node's value lives, seen through views that are strides alone.
    pub fn place(&self, n: NodeId) -> Pulled<Option<Place>> {
        let mut chain = vec![n];
        let mut at = n;
        let mut place = loop {
            if let Some(p) = &self.places[at.0 as usize] {
                break p.clone();
            }
            let node = self.graph.node(at);
            match &node.op {
                Op::Permute(_) | Op::Reshape | Op::Slice { .. } | Op::Expand { .. } | Op::Stop => at = node.args[0],
                Op::Reduce { axes, .. } if axes.is_empty() => at = node.args[0],
                _ => return Ok(None),
            }
            chain.push(at);
        };
        chain.pop();
        for v in chain.into_iter().rev() {
            let node = self.graph.node(v);
            let from = self.graph.ty(node.args[0]);
            match &node.op {
                Op::Permute(perm) => {
                    place.strides = perm.iter().map(|p| place.strides[*p].clone()).collect();
                }
                Op::Reshape => match reshape_strides(&from.shape, &place.strides, &node.ty.shape)? {
                    Some(s) => place.strides = s,
                    None => return Ok(None),
                },
                Op::Slice { start, step } => {
                    for k in 0..step.len() {
                        place.offset = place.offset.add(&start[k].mul(&place.strides[k])?)?;
                        place.strides[k] = place.strides[k].mul(&Dim::int(step[k]))?;
                    }
                }
                Op::Expand { axes } => {
                    let mut strides = vec![Dim::int(0); node.ty.shape.len()];
                    for (k, axis) in axes.iter().enumerate() {
                        if from.shape[k] == node.ty.shape[*axis] {
                            strides[*axis] = place.strides[k].clone();
                        }
                    }
                    place.strides = strides;
                }
                _ => {}
            }
        }
        Ok(Some(place))
    }

    /// The access that reads the node, whose value must be in memory.
    pub fn access(&mut self, n: NodeId, at: &Point) -> Pulled<Access<Dim>> {
        let (mut n, mut at) = (n, at.clone());
        loop {
            if let Some(p) = self.place(n)? {
                return Ok(p.access(&at, self.extents.len())?);
            }
            if self.conflicts(n, &at) {
                return Err(Halt::Store(n));
            }
            match self.through(n, &at)? {
                Some((arg, point)) => (n, at) = (arg, point),
                None => return Err(Halt::Store(n)),
            }
        }
    }

    /// The offset that an index gives.
    pub fn via(&mut self, index: NodeId, at: &Point, extent: &Dim) -> Pulled<Via<Dim>> {
        let a = self.access(index, at)?;
        Ok(Via { read: self.read(a), stride: Dim::int(1), extent: extent.clone() })
    }

    /// Is the node a padding of another value than stands outside already?
    fn conflicts(&self, n: NodeId, at: &Point) -> bool {
        match &self.graph.node(n).op {
            Op::Pad { value, .. } | Op::Window { value, .. } => {
                !at.guards.is_empty() && at.fill.is_some_and(|f| f != *value)
            }
            _ => false,
        }
    }

    fn guard(&self, n: NodeId, at: &mut Point, coord: &Coord, extent: &Dim) -> Pulled<()> {
        if !coord.vias.is_empty() {
            return Err(Halt::Store(n));
        }
        let g = Guard { offset: coord.offset.clone(), strides: coord.strides.clone(), extent: extent.clone() };
        if !at.guards.contains(&g) {
            // The last one is about the buffer itself: whoever checks the reach looks there first.
            at.guards.insert(0, g);
        }
        Ok(())
    }

    /// The argument and its point, if the node is a view.
    pub fn through(&mut self, n: NodeId, at: &Point) -> Pulled<Option<(NodeId, Point)>> {
        let node = self.graph.node(n);
        let axes = self.extents.len();
        let Some(&arg) = node.args.first() else { return Ok(None) };
        let from = &self.graph.ty(arg).shape;
        let point = match &node.op {
            Op::Stop => at.clone(),
            Op::Reduce { axes, .. } if axes.is_empty() => at.clone(),
            Op::Permute(perm) => {
                let mut coords = at.coords.clone();
                for (k, p) in perm.iter().enumerate() {
                    coords[*p] = at.coords[k].clone();
                }
                at.moved(coords)
            }
            Op::Reshape => match reshape(&node.ty.shape, &at.coords, from, &self.extents)? {
                Reshaped::Coords(c) => at.moved(c),
                Reshaped::Split(axis, inner) => return Err(Halt::Split(axis, inner)),
                Reshaped::No => return Err(Halt::Store(n)),
            },
            Op::Expand { axes: to } => {
                let coord = |(k, axis): (usize, &usize)| {
                    let repeats = from[k] != node.ty.shape[*axis];
                    if repeats { Coord::fixed(Dim::int(0), axes) } else { at.coords[*axis].clone() }
                };
                at.moved(to.iter().enumerate().map(coord).collect())
            }
            Op::Slice { start, step } => {
                let coord = |k: usize| at.coords[k].scale(&Dim::int(step[k]))?.shift(&start[k]);
                at.moved((0..step.len()).map(coord).collect::<Result<_, DimError>>()?)
            }
            Op::Pad { lo, hi, interior, value } => {
                if interior.iter().any(|i| *i != 0) {
                    return Err(Halt::Store(n));
                }
                let mut point = at.clone();
                for k in 0..lo.len() {
                    if lo[k].is(0) && hi[k].is(0) {
                        continue;
                    }
                    let c = at.coords[k].shift(&lo[k].mul(&Dim::int(-1))?)?;
                    self.guard(n, &mut point, &c, &from[k])?;
                    point.coords[k] = c;
                }
                point.fill = Some(*value);
                point
            }
            Op::Window { axis, stride, dilation, lo, hi, value, .. } => {
                let inside = at.coords[from.len()].scale(&Dim::int(*dilation))?.shift(&Dim::int(-lo))?;
                let c = at.coords[*axis].scale(&Dim::int(*stride))?.add(&inside)?;
                let mut point = at.moved(at.coords[..from.len()].to_vec());
                if *lo != 0 || *hi != 0 {
                    self.guard(n, &mut point, &c, &from[*axis])?;
                    point.fill = Some(*value);
                }
                point.coords[*axis] = c;
                point
            }
            Op::Gather { axis, batch } => {
                let index = node.args[1];
                let rank = self.graph.ty(index).shape.len();
                let end = axis + rank - batch;
                let at_index = at.coords[..*batch].iter().chain(&at.coords[*axis..end]).cloned().collect();
                let mut c = Coord::fixed(Dim::int(0), axes);
                c.vias.push(self.via(index, &Point { fill: None, ..at.moved(at_index) }, &from[*axis])?);
                at.moved(
                    at.coords[..*axis].iter().cloned().chain([c]).chain(at.coords[end..].iter().cloned()).collect(),
                )
            }
            _ => return Ok(None),
        };
        Ok(Some((arg, point)))
    }

    /// The register that holds the node's element.
    pub fn eval(&mut self, code: &mut Code, n: NodeId, at: &Point) -> Pulled<Reg> {
        if let Some((_, r)) = code.seen.get(&n).and_then(|s| s.iter().find(|(p, _)| p == at)) {
            return Ok(*r);
        }
        let r = self.fresh(code, n, at)?;
        code.seen.entry(n).or_default().push((at.clone(), r));
        Ok(r)
    }

    fn fresh(&mut self, code: &mut Code, n: NodeId, at: &Point) -> Pulled<Reg> {
        if let Some(p) = self.place(n)? {
            let a = p.access(at, self.extents.len())?;
            let read = self.read(a);
            return Ok(code.push(Inst::Load(read)));
        }
        if !self.conflicts(n, at)
            && let Some((arg, point)) = self.through(n, at)?
        {
            return self.eval(code, arg, &point);
        }
        let (node, inner) = (self.graph.node(n), Point { fill: None, ..at.clone() });
        let r = match &node.op {
            _ if self.conflicts(n, at) => self.eval(code, n, &inner)?,
            Op::Const(v) => {
                let r = constant(code, node.ty.dtype, *v);
                if at.fill == Some(*v) {
                    return Ok(r);
                }
                r
            }
            Op::Size(d) => code.push(Inst::Size(d.clone())),
            Op::Iota { axis } => self.number(code, &at.coords[*axis])?,
            Op::Draw { site, lane, sample } => {
                let mut element = Coord::fixed(Dim::int(0), self.extents.len());
                for (k, d) in node.ty.shape.iter().enumerate().filter(|(k, _)| Some(*k) != *sample) {
                    element = element.scale(d)?.add(&at.coords[k])?;
                }
                let element = self.number(code, &element)?;
                let sample = match sample {
                    Some(k) => self.number(code, &at.coords[*k])?,
                    None => code.push(Inst::I32(0)),
                };
                code.push(Inst::Draw { site: fnv(site), lane: *lane, element, sample })
            }
            Op::Map(op) => {
                let args = node.args.iter().map(|a| self.eval(code, *a, &inner)).collect::<Pulled<Vec<_>>>()?;
                code.op(*op, &args)
            }
            Op::Dot { contract, .. } if contract.is_empty() && !self.is_anchor(n) => {
                let (pa, pb) = self.outer_product(n, &inner);
                let args = [self.eval(code, node.args[0], &pa)?, self.eval(code, node.args[1], &pb)?];
                code.op(ScalarOp::Mul, &args)
            }
            _ => self.slot(code, n, &inner)?,
        };
        match at.fill {
            Some(f) if !at.guards.is_empty() => {
                let c = self.holds(code, &at.guards)?;
                let f = constant(code, node.ty.dtype, f);
                Ok(code.op(ScalarOp::Select, &[c, r, f]))
            }
            _ => Ok(r),
        }
    }

    fn is_anchor(&self, n: NodeId) -> bool {
        self.anchor.as_ref().is_some_and(|a| a.0 == n)
    }

    fn outer_product(&self, n: NodeId, at: &Point) -> (Point, Point) {
        let node = self.graph.node(n);
        let Op::Dot { batch, .. } = &node.op else { return (at.clone(), at.clone()) };
        let mut free = batch.len();
        let mut side = |arg: NodeId, left: bool| {
            let coords = (0..self.graph.ty(arg).shape.len()).map(|k| {
                let pair = batch.iter().position(|p| if left { p.0 == k } else { p.1 == k });
                let from = pair.unwrap_or(free);
                free += usize::from(pair.is_none());
                at.coords[from].clone()
            });
            coords.collect::<Vec<_>>()
        };
        let (a, b) = (side(node.args[0], true), side(node.args[1], false));
        (at.moved(a), at.moved(b))
    }

    /// A node that the kernel's template computes.
    fn slot(&mut self, code: &mut Code, n: NodeId, at: &Point) -> Pulled<Reg> {
        if let Some((anchor, coords)) = &mut self.anchor
            && *anchor == n
        {
            // Guards protect reads; a slot can be looked at anywhere.
            let same = *coords.get_or_insert_with(|| at.coords.clone()) == at.coords;
            return if same { Ok(code.push(Inst::Slot(0))) } else { Err(Halt::Store(n)) };
        }
        let node = self.graph.node(n);
        let Op::Reduce { op, axes } = &node.op else { return Err(Halt::Store(n)) };
        if !(self.reduces)(n) || !at.guards.is_empty() || at.coords.iter().any(|c| !c.vias.is_empty()) {
            return Err(Halt::Store(n));
        }
        if self.probe {
            return Err(Halt::Probe(n, at.coords.clone()));
        }
        let Some(rows) = &self.rows else { return Err(Halt::Store(n)) };
        if let Some((_, _, s)) = rows.slots.iter().find(|(m, c, _)| *m == n && *c == at.coords) {
            return Ok(code.push(Inst::Slot(*s)));
        }
        let row = rows.axes.clone();
        let used = |axis: usize| at.coords.iter().any(|c| c.moves(axis));
        // One pass per point of the outer axes: each must matter, and no row axis may.
        if (0..self.extents.len()).any(|a| !self.extents[a].is(1) && used(a) == row.contains(&a)) {
            return Err(Halt::Store(n));
        }
        let source = self.graph.ty(node.args[0]).shape.clone();
        let along: Vec<Dim> = axes.iter().map(|a| source[*a].clone()).collect();
        let across: Vec<Dim> = row.iter().map(|a| self.extents[*a].clone()).collect();
        if Dim::product(&along)? != Dim::product(&across)? {
            return Err(Halt::Store(n));
        }
        let total = self.extents.len();
        let moving = |a: &usize| {
            let mut c = Coord::fixed(Dim::int(0), total);
            c.strides[*a] = Dim::int(i64::from(!self.extents[*a].is(1)));
            c
        };
        let inside = match reshape(&across, &row.iter().map(moving).collect::<Vec<_>>(), &along, &self.extents)? {
            Reshaped::Coords(c) => c,
            Reshaped::Split(axis, inner) => return Err(Halt::Split(axis, inner)),
            Reshaped::No => return Err(Halt::Store(n)),
        };
        let (mut outer, mut inside) = (at.coords.iter(), inside.into_iter());
        let coords = (0..source.len())
            .filter_map(|k| if axes.contains(&k) { inside.next() } else { outer.next().cloned() })
            .collect();
        let (op, arg): (ReduceOp, NodeId) = (*op, node.args[0]);
        let hole = self.hole(arg, &Point::at(coords))?;
        let Some(rows) = &mut self.rows else { return Err(Halt::Store(n)) };
        rows.stages.push(RowStage::Reduce(op, hole));
        let s = rows.slots.len() as u32;
        rows.slots.push((n, at.coords.clone(), s));
        Ok(code.push(Inst::Slot(s)))
    }

    /// A coordinate as an i32.
    fn number(&mut self, code: &mut Code, c: &Coord) -> Pulled<Reg> {
        let mut sum: Option<Reg> = None;
        let mut plus = |code: &mut Code, r: Reg| {
            sum = Some(match sum {
                Some(s) => code.op(ScalarOp::Add, &[s, r]),
                None => r,
            });
        };
        for (axis, s) in c.strides.iter().enumerate().filter(|(_, s)| !s.is(0)) {
            let i = code.push(Inst::Index(axis as u32));
            let r = scaled(code, i, s);
            plus(code, r);
        }
        for v in &c.vias {
            let (i, zero) = (code.push(Inst::Load(v.read)), code.push(Inst::I32(0)));
            let last = size(code, &v.extent.sub(&Dim::int(1))?);
            let i = code.op(ScalarOp::Min, &[i, last]);
            let i = code.op(ScalarOp::Max, &[i, zero]);
            let r = scaled(code, i, &v.stride);
            plus(code, r);
        }
        if !c.offset.is(0) || sum.is_none() {
            let r = size(code, &c.offset);
            let mut plus = |r: Reg| match sum {
                Some(s) => code.op(ScalarOp::Add, &[s, r]),
                None => r,
            };
            return Ok(plus(r));
        }
        sum.ok_or_else(|| Halt::Failed(LowerError("a coordinate has no value".into())))
    }

    /// Do all guards hold?
    fn holds(&mut self, code: &mut Code, guards: &[Guard<Dim>]) -> Pulled<Reg> {
        let mut all: Option<Reg> = None;
        for g in guards {
            let c = Coord { offset: g.offset.clone(), strides: g.strides.clone(), vias: Vec::new() };
            let (v, zero) = (self.number(code, &c)?, code.push(Inst::I32(0)));
            let (low, end) = (code.op(ScalarOp::Le, &[zero, v]), size(code, &g.extent));
            let high = code.op(ScalarOp::Lt, &[v, end]);
            let both = code.op(ScalarOp::And, &[low, high]);
            all = Some(all.map_or(both, |a| code.op(ScalarOp::And, &[a, both])));
        }
        Ok(all.unwrap_or_else(|| code.push(Inst::Bool(true))))
    }
}

fn constant(code: &mut Code, dtype: DType, v: f64) -> Reg {
    code.push(match dtype {
        DType::F32 => Inst::F32(v as f32),
        DType::I32 => Inst::I32(v as i32),
        DType::Bool => Inst::Bool(v != 0.0),
    })
}

fn size(code: &mut Code, d: &Dim) -> Reg {
    let inst = match d.as_int().and_then(|v| i32::try_from(v).ok()) {
        Some(v) => Inst::I32(v),
        None => Inst::Size(d.clone()),
    };
    code.push(inst)
}

fn scaled(code: &mut Code, r: Reg, by: &Dim) -> Reg {
    if by.is(1) {
        return r;
    }
    let s = size(code, by);
    code.op(ScalarOp::Mul, &[r, s])
}

/// The key of a draw: FNV-1a of its path.
pub(super) fn fnv(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}
