//! Builds the Cranelift function of one strip: loops over points, pieces of the strip, calls of microkernels.
//!
//! In: a [`StripSpec`] with its [`Split`]. Out: a function body. Invariants: four points at a time, then one at a
//! time; values that do not move are made before the loop; operands are read at the points of the strip only.
//! Imports: [`super::hole_emit`], [`super::hole_split`], [`super::strip`], `uad-plan`, Cranelift.

use super::hole_emit::{self as emit, LANES, lane, operation, plain, type_of, widen};
use super::hole_split::{Place, Split, arguments, is_call};
use super::strip::{Move, Port, StripSpec};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I32X4, I64};
use cranelift_codegen::ir::{BlockArg, FuncRef, InstBuilder, StackSlotData, StackSlotKind, Value};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::FunctionBuilder;
use uad_plan::{DType, Inst, ScalarOp};

/// Points of one piece: a temporary takes 2 KiB, a dozen of them lie in L1.
pub const PIECE: i64 = 512;

/// Imported microkernels.
pub struct Calls {
    /// `(destination, source, points)` of exp, log, sin, cos, tanh, erf.
    pub unary: Vec<(ScalarOp, FuncRef)>,
    /// `(destination, elements, samples, points, key, site, lane)`.
    pub draw: FuncRef,
}

/// An operand in memory: the pointer at the piece's first point, and bytes from point to point if it is strided.
#[derive(Clone, Copy)]
struct Cursor {
    port: Port,
    pointer: Value,
    step: Value,
}

struct Builder<'a, 'f> {
    b: FunctionBuilder<'f>,
    spec: &'a StripSpec<'a>,
    split: &'a Split,
    reads: Vec<Option<Cursor>>,
    slots: Vec<Option<Cursor>>,
    results: Vec<Cursor>,
    temps: Vec<Value>,
    base: Option<Value>,
    draw: Option<Value>,
    /// Values of the current piece that do not move: for one point, and for four once asked for.
    fixed: Vec<Option<(Value, Option<Value>)>>,
    /// Number of the piece's first point.
    start: Value,
}

/// Fills `b`'s function with the strip loop of a hole.
pub fn build(
    b: FunctionBuilder<'_>,
    spec: &StripSpec<'_>,
    split: &Split,
    calls: &Calls,
    frontend: TargetFrontendConfig,
) {
    let mut b = b;
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let args = b.block_params(entry)[0];
    let zero = b.ins().iconst(I64, 0);
    let n = b.ins().load(I64, plain(), args, 0);
    let lists: Vec<Value> = (1..=5).map(|i| b.ins().load(I64, plain(), args, 8 * i)).collect();
    let mut live = vec![false; spec.hole.code.len()];
    let mut stack: Vec<usize> = spec.hole.results.iter().map(|r| r.0 as usize).collect();
    while let Some(r) = stack.pop() {
        if !std::mem::replace(&mut live[r], true) {
            stack.extend(arguments(&spec.hole.code[r]).iter().map(|a| a.0 as usize));
        }
    }
    let used = |want: &dyn Fn(&Inst<i64>) -> bool| spec.hole.code.iter().zip(&live).any(|(i, l)| *l && want(i));
    let cursor = |b: &mut FunctionBuilder<'_>, list: Value, n: usize, port: Port| {
        let pointer = b.ins().load(I64, plain(), list, 16 * n as i32);
        let step = if port.moves == Move::Strided {
            let stride = b.ins().load(I64, plain(), list, 16 * n as i32 + 8);
            b.ins().imul_imm_s(stride, port.dtype.bytes() as i64)
        } else {
            pointer
        };
        Cursor { port, pointer, step }
    };
    let mut reads = Vec::new();
    for (i, port) in spec.reads.iter().enumerate() {
        let loads = used(&|inst| matches!(inst, Inst::Load(k) if *k as usize == i));
        reads.push(loads.then(|| cursor(&mut b, lists[0], i, *port)));
    }
    let mut slots = Vec::new();
    for (i, port) in spec.slots.iter().enumerate() {
        let loads = used(&|inst| matches!(inst, Inst::Slot(k) if *k as usize == i));
        slots.push(loads.then(|| cursor(&mut b, lists[1], i, *port)));
    }
    let results: Vec<Cursor> =
        spec.results.iter().enumerate().map(|(i, port)| cursor(&mut b, lists[2], i, *port)).collect();
    let temps: Vec<Value> = (0..split.temps)
        .map(|_| {
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, PIECE as u32 * 4, 6);
            let slot = b.create_sized_stack_slot(data);
            b.ins().stack_addr(I64, slot, 0)
        })
        .collect();
    let base = used(&|inst| matches!(inst, Inst::Index(_))).then_some(lists[3]);
    let draw = used(&|inst| matches!(inst, Inst::Draw { .. })).then_some(lists[4]);
    let pieces = split.segments.len() > 1;
    let fixed = vec![None; spec.hole.code.len()];
    let mut f = Builder { b, spec, split, reads, slots, results, temps, base, draw, fixed, start: zero };
    if !pieces {
        f.segment(0, n);
        f.b.ins().return_(&[]);
    } else {
        f.pieces(n, zero, calls);
    }
    f.b.seal_all_blocks();
    f.b.finalize(frontend);
}

impl Builder<'_, '_> {
    /// The loop over pieces, each with its segments and calls.
    fn pieces(&mut self, n: Value, zero: Value, calls: &Calls) {
        let (head, body, done) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        self.b.append_block_param(head, I64);
        self.b.ins().jump(head, &[zero.into()]);
        self.b.switch_to_block(head);
        let start = self.b.block_params(head)[0];
        let more = self.b.ins().icmp(IntCC::SignedLessThan, start, n);
        self.b.ins().brif(more, body, &[], done, &[]);
        self.b.switch_to_block(body);
        let left = self.b.ins().isub(n, start);
        let piece = self.b.ins().iconst(I64, PIECE);
        let short = self.b.ins().icmp(IntCC::SignedLessThan, left, piece);
        let count = self.b.ins().select(short, left, piece);
        let whole = (self.reads.clone(), self.slots.clone(), self.results.clone());
        self.start = start;
        let mut ahead = |c: &mut Cursor| advance(&mut self.b, c, start);
        self.reads.iter_mut().flatten().for_each(&mut ahead);
        self.slots.iter_mut().flatten().for_each(&mut ahead);
        self.results.iter_mut().for_each(&mut ahead);
        for s in 0..self.split.segments.len() {
            self.segment(s, count);
            for call in &self.split.segments[s].calls {
                self.call(*call, count, calls);
            }
        }
        (self.reads, self.slots, self.results) = whole;
        let next = self.b.ins().iadd(start, piece);
        self.b.ins().jump(head, &[next.into()]);
        self.b.switch_to_block(done);
        self.b.ins().return_(&[]);
    }

    fn address_of(&self, r: usize) -> Value {
        let dead = self.start;
        match self.split.places[r] {
            Place::Temp(t) => self.temps[t as usize],
            Place::Result(n) => self.results[n as usize].pointer,
            Place::Read(n) => self.reads[n as usize].map_or(dead, |c| c.pointer),
            Place::Slot(n) => self.slots[n as usize].map_or(dead, |c| c.pointer),
            Place::None => dead,
        }
    }

    fn call(&mut self, r: usize, count: Value, calls: &Calls) {
        let to = self.address_of(r);
        match &self.spec.hole.code[r] {
            Inst::Op(op, args) => {
                let from = self.address_of(args[0].0 as usize);
                let one = self.b.ins().iconst(I64, 1);
                let points = if self.split.uniform[r] { one } else { count };
                if let Some((_, function)) = calls.unary.iter().find(|(o, _)| o == op) {
                    self.b.ins().call(*function, &[to, from, points]);
                }
            }
            Inst::Draw { site, lane, element, sample } => {
                let from = [element, sample].map(|a| self.address_of(a.0 as usize));
                let site = self.b.ins().iconst(I64, *site as i64);
                let lane = self.b.ins().iconst(I64, i64::from(*lane));
                let key = self.draw.unwrap_or(self.start);
                self.b.ins().call(calls.draw, &[to, from[0], from[1], count, key, site, lane]);
            }
            _ => {}
        }
    }

    /// Instructions that segment `s` makes or reads, in order.
    fn needed(&self, s: usize) -> Vec<usize> {
        let code = &self.spec.hole.code;
        let mut seen = vec![false; code.len()];
        let mut stack = self.split.segments[s].keeps.clone();
        if s + 1 == self.split.segments.len() {
            let stored = |(n, r): (usize, &uad_plan::Reg)| {
                let r = r.0 as usize;
                (self.split.places[r] != Place::Result(n as u32)).then_some(r)
            };
            stack.extend(self.spec.hole.results.iter().enumerate().filter_map(stored));
        }
        while let Some(r) = stack.pop() {
            if !std::mem::replace(&mut seen[r], true) && !self.waits(r, s) {
                stack.extend(arguments(&code[r]).iter().map(|a| a.0 as usize));
            }
        }
        (0..code.len()).filter(|r| seen[*r]).collect()
    }

    /// Does segment `s` find the value in memory?
    fn waits(&self, r: usize, s: usize) -> bool {
        is_call(&self.spec.hole.code[r]) || (self.split.kept[r] < s && !self.split.uniform[r])
    }

    /// One fused loop over `count` points.
    fn segment(&mut self, s: usize, count: Value) {
        let needed = self.needed(s);
        self.fixed.iter_mut().for_each(|f| *f = None);
        let (still, moving): (Vec<usize>, Vec<usize>) = needed.iter().partition(|r| self.split.uniform[**r]);
        for r in &still {
            let v = self.still(*r);
            self.fixed[*r] = Some((v, None));
        }
        let drawn = |r: usize| {
            self.spec.hole.code.iter().any(|i| {
                matches!(i, Inst::Draw { element, sample, .. } if element.0 as usize == r || sample.0 as usize == r)
            })
        };
        // A kept value that does not move is one element, unless a draw wants it at every point.
        let mut stores: Vec<(usize, Value)> = Vec::new();
        for r in &self.split.segments[s].keeps {
            let to = self.address_of(*r);
            if self.split.uniform[*r] && !drawn(*r) {
                if let Some((v, _)) = self.fixed[*r] {
                    self.b.ins().store(plain(), v, to, 0);
                }
            } else {
                stores.push((*r, to));
            }
        }
        let mut results: Vec<(usize, Cursor)> = Vec::new();
        if s + 1 == self.split.segments.len() {
            for (n, r) in self.spec.hole.results.iter().enumerate() {
                let r = r.0 as usize;
                if self.split.places[r] != Place::Result(n as u32) {
                    results.push((r, self.results[n]));
                }
            }
        }
        if stores.is_empty() && results.is_empty() {
            return;
        }
        for r in &still {
            let (v, _) = self.fixed[*r].unwrap_or((self.start, None));
            let outside = moving.iter().any(|m| arguments(&self.spec.hole.code[*m]).iter().any(|a| a.0 as usize == *r))
                || stores.iter().any(|x| x.0 == *r)
                || results.iter().any(|x| x.0 == *r);
            if outside {
                let wide = widen(&mut self.b, self.split.dtypes[*r], v);
                self.fixed[*r] = Some((v, Some(wide)));
            }
        }
        // Strided operands have a pointer of their own that walks.
        let walkers: Vec<Value> = self.walkers(&moving, &results);
        let copies: i64 = if moving.len() <= 10 { 2 } else { 1 };
        let (body, tail, single, done) =
            (self.b.create_block(), self.b.create_block(), self.b.create_block(), self.b.create_block());
        for block in [body, tail, single] {
            self.b.append_block_param(block, I64);
            walkers.iter().for_each(|_| {
                self.b.append_block_param(block, I64);
            });
        }
        let zero = self.b.ins().iconst(I64, 0);
        let first: Vec<BlockArg> =
            std::iter::once(zero).chain(self.walk_starts(&moving, &results)).map(BlockArg::from).collect();
        let limit = self.b.ins().iadd_imm_s(count, -LANES * copies);
        let enough = self.b.ins().icmp(IntCC::SignedLessThanOrEqual, zero, limit);
        self.b.ins().brif(enough, body, &first, tail, &first);
        for (block, points, copies) in [(body, LANES, copies), (single, 1, 1)] {
            if block == single {
                self.b.switch_to_block(tail);
                let i = self.b.block_params(tail)[0];
                let at: Vec<BlockArg> = self.b.block_params(tail).iter().map(|v| BlockArg::from(*v)).collect();
                let more = self.b.ins().icmp(IntCC::SignedLessThan, i, count);
                self.b.ins().brif(more, single, &at, done, &[]);
            }
            self.b.switch_to_block(block);
            let i = self.b.block_params(block)[0];
            let at: Vec<Value> = self.b.block_params(block)[1..].to_vec();
            for copy in 0..copies {
                self.points(s, &moving, &stores, &results, i, &at, &walkers, copy * points, points == LANES);
            }
            let next = self.b.ins().iadd_imm_s(i, points * copies);
            let mut then = vec![BlockArg::from(next)];
            for (w, step) in at.iter().zip(&walkers) {
                let by = self.b.ins().imul_imm_s(*step, points * copies);
                then.push(self.b.ins().iadd(*w, by).into());
            }
            if block == body {
                let again = self.b.ins().icmp(IntCC::SignedLessThanOrEqual, next, limit);
                self.b.ins().brif(again, body, &then, tail, &then);
            } else {
                self.b.ins().jump(tail, &then);
            }
        }
        self.b.switch_to_block(done);
    }

    /// Strided operands of a loop, in the order of their walking pointers.
    fn strided(&self, moving: &[usize], results: &[(usize, Cursor)]) -> Vec<Cursor> {
        let operands = moving.iter().filter_map(|r| match self.spec.hole.code[*r] {
            Inst::Load(n) => self.reads[n as usize],
            Inst::Slot(n) => self.slots[n as usize],
            _ => None,
        });
        operands.chain(results.iter().map(|x| x.1)).filter(|c| c.port.moves == Move::Strided).collect()
    }

    fn walkers(&self, moving: &[usize], results: &[(usize, Cursor)]) -> Vec<Value> {
        self.strided(moving, results).iter().map(|c| c.step).collect()
    }

    fn walk_starts(&self, moving: &[usize], results: &[(usize, Cursor)]) -> Vec<Value> {
        self.strided(moving, results).iter().map(|c| c.pointer).collect()
    }

    /// A value that does not move, for one point.
    fn still(&mut self, r: usize) -> Value {
        let dtype = self.split.dtypes[r];
        let ty = type_of(dtype, false);
        match &self.spec.hole.code[r] {
            Inst::F32(v) => self.b.ins().f32const(*v),
            Inst::I32(v) => self.b.ins().iconst(I32, i64::from(*v as u32)),
            Inst::Size(v) => self.b.ins().iconst(I32, i64::from(*v as i32 as u32)),
            Inst::Bool(v) => self.b.ins().iconst(ty, i64::from(*v)),
            Inst::Load(n) => {
                let at = self.reads[*n as usize].map_or(self.start, |c| c.pointer);
                self.b.ins().load(ty, plain(), at, 0)
            }
            Inst::Slot(n) => {
                let at = self.slots[*n as usize].map_or(self.start, |c| c.pointer);
                self.b.ins().load(ty, plain(), at, 0)
            }
            Inst::Index(axis) => {
                let at = self.base.unwrap_or(self.start);
                self.b.ins().load(I32, plain(), at, 4 * *axis as i32)
            }
            Inst::Op(..) if is_call(&self.spec.hole.code[r]) => {
                let at = self.address_of(r);
                self.b.ins().load(ty, plain(), at, 0)
            }
            Inst::Op(op, args) => {
                let values: Vec<Value> =
                    args.iter().map(|a| self.fixed[a.0 as usize].map_or(self.start, |f| f.0)).collect();
                self.apply(*op, args, &values, false)
            }
            // A draw moves always.
            Inst::Draw { .. } => self.start,
        }
    }

    fn apply(&mut self, op: ScalarOp, args: &[uad_plan::Reg], values: &[Value], wide: bool) -> Value {
        let code = &self.spec.hole.code;
        let number: Vec<bool> =
            args.iter().map(|a| matches!(code[a.0 as usize], Inst::F32(v) if !v.is_nan())).collect();
        let dtypes: Vec<DType> = args.iter().map(|a| self.split.dtypes[a.0 as usize]).collect();
        operation(&mut self.b, op, &emit::Arguments { values, dtypes: &dtypes, number: &number }, wide)
    }

    /// One point, or four, of a loop: `i + skip` and on.
    fn points(
        &mut self,
        s: usize,
        moving: &[usize],
        stores: &[(usize, Value)],
        results: &[(usize, Cursor)],
        i: Value,
        walking: &[Value],
        steps: &[Value],
        skip: i64,
        wide: bool,
    ) {
        let mut values: Vec<Option<Value>> =
            self.fixed.iter().map(|f| f.and_then(|f| if wide { f.1 } else { Some(f.0) })).collect();
        let mut walker = 0;
        for r in moving {
            let dtype = self.split.dtypes[*r];
            let v = match &self.spec.hole.code[*r] {
                inst @ (Inst::Load(n) | Inst::Slot(n)) => {
                    let list = if matches!(inst, Inst::Load(_)) { &self.reads } else { &self.slots };
                    let Some(cursor) = list[*n as usize] else { continue };
                    if cursor.port.moves == Move::Strided {
                        walker += 1;
                        self.gather(dtype, walking[walker - 1], steps[walker - 1], skip, wide)
                    } else {
                        self.load(dtype, cursor.pointer, i, skip, wide)
                    }
                }
                Inst::Index(axis) => {
                    let at = self.base.unwrap_or(self.start);
                    let first = self.b.ins().load(I32, plain(), at, 4 * *axis as i32);
                    let here = self.b.ins().iadd(self.start, i);
                    let here = self.b.ins().ireduce(I32, here);
                    let here = self.b.ins().iadd(first, here);
                    let here = self.b.ins().iadd_imm_s(here, skip);
                    if wide {
                        let bytes: Vec<u8> = (0..4i32).flat_map(i32::to_le_bytes).collect();
                        let constant = self.b.func.dfg.constants.insert(bytes.into());
                        let ramp = self.b.ins().vconst(I32X4, constant);
                        let here = self.b.ins().splat(I32X4, here);
                        self.b.ins().iadd(here, ramp)
                    } else {
                        here
                    }
                }
                _ if self.waits(*r, s) => {
                    let at = self.address_of(*r);
                    let at = self.element(at, i, 4);
                    if dtype == DType::Bool && !wide {
                        let v = self.b.ins().load(I32, plain(), at, 4 * skip as i32);
                        let v = self.b.ins().ireduce(I8, v);
                        self.b.ins().band_imm_s(v, 1)
                    } else {
                        self.b.ins().load(type_of(dtype, wide), plain(), at, 4 * skip as i32)
                    }
                }
                Inst::Op(op, args) => {
                    let found: Vec<Value> = args.iter().map(|a| values[a.0 as usize].unwrap_or(self.start)).collect();
                    self.apply(*op, args, &found, wide)
                }
                _ => continue,
            };
            values[*r] = Some(v);
        }
        for (r, to) in stores {
            if let Some(v) = values[*r] {
                let at = self.element(*to, i, 4);
                // A kept bool takes four bytes, a mask as in a vector.
                let v = if self.split.dtypes[*r] == DType::Bool && !wide {
                    let v = self.b.ins().uextend(I32, v);
                    self.b.ins().ineg(v)
                } else {
                    v
                };
                self.b.ins().store(plain(), v, at, 4 * skip as i32);
            }
        }
        for (r, cursor) in results {
            let Some(v) = values[*r] else { continue };
            let dtype = cursor.port.dtype;
            match cursor.port.moves {
                Move::Unit => self.store(dtype, v, cursor.pointer, i, skip, wide),
                Move::Fixed => {
                    let last = if wide { lane(&mut self.b, dtype, v, 3) } else { v };
                    self.b.ins().store(plain(), last, cursor.pointer, 0);
                }
                Move::Strided => {
                    walker += 1;
                    self.scatter(dtype, v, walking[walker - 1], steps[walker - 1], skip, wide);
                }
            }
        }
    }

    fn element(&mut self, pointer: Value, i: Value, bytes: usize) -> Value {
        let by = if bytes == 1 { i } else { self.b.ins().ishl_imm_s(i, 2) };
        self.b.ins().iadd(pointer, by)
    }

    fn load(&mut self, dtype: DType, pointer: Value, i: Value, skip: i64, wide: bool) -> Value {
        let at = self.element(pointer, i, dtype.bytes());
        let skip = (skip * dtype.bytes() as i64) as i32;
        match (dtype, wide) {
            (DType::Bool, true) => {
                let bytes = self.b.ins().load(I32, plain(), at, skip);
                emit::mask_from_bytes(&mut self.b, bytes)
            }
            _ => self.b.ins().load(type_of(dtype, wide), plain(), at, skip),
        }
    }

    fn store(&mut self, dtype: DType, v: Value, pointer: Value, i: Value, skip: i64, wide: bool) {
        let at = self.element(pointer, i, dtype.bytes());
        let skip = (skip * dtype.bytes() as i64) as i32;
        let v = if wide && dtype == DType::Bool { emit::bytes_from_mask(&mut self.b, v) } else { v };
        self.b.ins().store(plain(), v, at, skip);
    }

    /// The pointer `skip + lane` steps beyond a walking one.
    fn step(&mut self, pointer: Value, step: Value, by: i64) -> Value {
        if by == 0 {
            return pointer;
        }
        let offset = self.b.ins().imul_imm_s(step, by);
        self.b.ins().iadd(pointer, offset)
    }

    fn gather(&mut self, dtype: DType, pointer: Value, step: Value, skip: i64, wide: bool) -> Value {
        let ty = type_of(dtype, false);
        if !wide {
            return self.b.ins().load(ty, plain(), pointer, 0);
        }
        let lanes = [0i64, 1, 2, 3].map(|n| {
            let at = self.step(pointer, step, skip + n);
            self.b.ins().load(ty, plain(), at, 0)
        });
        emit::join(&mut self.b, dtype, lanes)
    }

    fn scatter(&mut self, dtype: DType, v: Value, pointer: Value, step: Value, skip: i64, wide: bool) {
        if !wide {
            self.b.ins().store(plain(), v, pointer, 0);
            return;
        }
        for n in 0..4u8 {
            let at = self.step(pointer, step, skip + i64::from(n));
            let x = lane(&mut self.b, dtype, v, n);
            self.b.ins().store(plain(), x, at, 0);
        }
    }
}

fn advance(b: &mut FunctionBuilder<'_>, c: &mut Cursor, start: Value) {
    let by = match c.port.moves {
        Move::Fixed => return,
        Move::Unit => b.ins().imul_imm_s(start, c.port.dtype.bytes() as i64),
        Move::Strided => b.ins().imul(c.step, start),
    };
    c.pointer = b.ins().iadd(c.pointer, by);
}
