//! The `map` template: a hole at every point.
//!
//! In: a bound kernel. Out: [`Map`]. Invariants: the strip is the axis along which the result is contiguous; tasks are
//! cut by shape alone; kernels that draw and differ in numbers alone have one function: first values of weights are many, and each
//! runs once. Imports: [`super::nest`], [`super::run`], [`super::hole_jit`], [`super::strip`], `uad-plan`.

use super::hole_jit::HoleCompiler;
use super::hole_split::is_call;
use super::isa::Isa;
use super::nest::{FETCH, Nest, block_of, indices, loads};
use super::run::{Compiled, RunContext, tasks_of};
use super::strip::{DrawKey, Move, Port, StripId, StripOperand, StripSpec};
use uad_plan::{Access, BufferId, DType, Hole, Inst};

/// What templates get when they are compiled.
pub struct Site<'a> {
    /// Element types of the entry's buffers, then of the program's own.
    pub dtypes: Vec<DType>,
    /// Elements of the program's own buffers.
    pub own: Vec<usize>,
    /// Takes requests for holes.
    pub holes: &'a mut HoleCompiler,
    /// Grows to the largest scratch that a worker needs.
    pub scratch: usize,
    /// Grows to the largest scratch that a kernel's workers share.
    pub shared: usize,
    /// Bytes of packed constant operands.
    pub packed: usize,
    /// What the kernels will run on.
    pub isa: Isa,
    /// By buffer of the entry: does it stay the same between runs?
    pub constant: Vec<bool>,
}

impl Site<'_> {
    /// A buffer of the program's own.
    pub fn own_buffer(&mut self, dtype: DType, elements: usize) -> BufferId {
        self.dtypes.push(dtype);
        self.own.push(elements);
        BufferId(self.dtypes.len() as u32 - 1)
    }

    /// Asks for scratch per worker.
    pub fn need(&mut self, bytes: usize) {
        self.scratch = self.scratch.max(bytes);
    }

    /// A place of its own for a kernel's packed operands.
    pub fn place_packed(&mut self, bytes: usize) -> usize {
        let at = self.packed;
        self.packed += bytes.next_multiple_of(64);
        at
    }

    /// Asks for scratch that workers share.
    pub fn need_shared(&mut self, bytes: usize) {
        self.shared = self.shared.max(bytes);
    }
}

/// A compiled `map`.
pub struct Map {
    nest: Nest,
    strip: StripId,
    /// Points per strip.
    block: usize,
    /// Strips along the strip axis.
    blocks: usize,
    tasks: usize,
    numbers: Numbers,
}

/// What a function is given instead of having it in its code.
#[derive(Default)]
struct Numbers {
    /// By number of the slot.
    values: Vec<[u8; 4]>,
    site: u64,
}

/// A hole that draws without its numbers: they become slots, and its sites are told from the first one's.
fn without_numbers(hole: &Hole<i64>) -> Option<(Hole<i64>, Vec<Port>, Numbers)> {
    let site = hole.code.iter().find_map(|i| if let Inst::Draw { site, .. } = i { Some(*site) } else { None })?;
    let (mut ports, mut numbers) = (Vec::new(), Numbers { values: Vec::new(), site });
    let mut slot = |dtype: DType, value: [u8; 4]| {
        ports.push(Port::new(dtype, Move::Fixed));
        numbers.values.push(value);
        Inst::Slot(ports.len() as u32 - 1)
    };
    let code = hole.code.iter().map(|inst| match inst {
        Inst::F32(v) => slot(DType::F32, v.to_ne_bytes()),
        Inst::I32(v) => slot(DType::I32, v.to_ne_bytes()),
        Inst::Size(v) => slot(DType::I32, (*v as i32).to_ne_bytes()),
        Inst::Draw { site: own, lane, element, sample } => {
            Inst::Draw { site: own ^ site, lane: *lane, element: *element, sample: *sample }
        }
        other => other.clone(),
    });
    let code = code.collect();
    Some((Hole { code, results: hole.results.clone() }, ports, numbers))
}

/// Axes in the order of the strides of an access, largest first; `last` goes to the end.
pub fn by_stride(axes: &[usize], access: &Access<i64>) -> Vec<usize> {
    let mut order = axes.to_vec();
    order.sort_by_key(|a| std::cmp::Reverse(access.strides[*a].unsigned_abs()));
    order
}

/// About what a hole costs at a point, as a multiple of a load and a store.
pub fn cost_of(hole: &Hole<i64>) -> usize {
    1 + hole.code.len() / 6 + 2 * hole.code.iter().filter(|i| is_call(i)).count()
}

impl Map {
    /// Compiles a kernel.
    pub fn new(
        site: &mut Site<'_>,
        axes: &[i64],
        reads: &[Access<i64>],
        writes: &[Access<i64>],
        hole: &Hole<i64>,
    ) -> Result<Map, String> {
        let first = writes.first().ok_or("a map writes nothing")?;
        let pinned = indices(hole);
        let all: Vec<usize> = (0..axes.len()).collect();
        let mut order = by_stride(&all, first);
        // A short contiguous axis makes poor strips: the longest axis does better.
        let merged = Nest::new(&site.dtypes, axes, reads, writes, &[order.clone()], &pinned, &loads(hole))?.0;
        let inner = merged.extents[merged.strip()];
        let longest = (0..order.len()).max_by_key(|i| axes[order[*i]]);
        if let Some(longest) = longest.filter(|l| inner < 8 && axes[order[*l]] >= 4 * inner) {
            let a = order.remove(longest);
            order.push(a);
        }
        let (nest, _) = Nest::new(&site.dtypes, axes, reads, writes, &[order], &pinned, &loads(hole))?;
        let (general, slots, numbers) = match without_numbers(hole) {
            Some((general, slots, numbers)) => (Some(general), slots, numbers),
            None => Default::default(),
        };
        let spec = StripSpec {
            hole: general.as_ref().unwrap_or(hole),
            reads: nest.read_ports(),
            slots,
            results: (0..writes.len()).map(|w| nest.write_port(w)).collect(),
            moving: nest.moving(),
        };
        let strip = site.holes.request(&spec)?;
        let length = nest.points(nest.strip()..nest.strip() + 1);
        let outer = nest.points(0..nest.strip());
        let block = block_of(length, if nest.fetches() { FETCH } else { 8192 });
        let blocks = length.div_ceil(block);
        let tasks = tasks_of(outer * length, cost_of(hole), outer * blocks);
        site.need(nest.scratch() + 128 + (writes.len() + numbers.values.len()) * 16);
        Ok(Map { nest, strip, block, blocks, tasks, numbers })
    }
}

impl Compiled for Map {
    unsafe fn run(&self, cx: &RunContext<'_>) {
        let nest = &self.nest;
        let function = cx.code.get(self.strip);
        let strip = nest.strip();
        let length = nest.points(strip..strip + 1);
        let items = nest.points(0..strip) * self.blocks;
        if items == 0 || length == 0 {
            return;
        }
        cx.pool.run(self.tasks, &|worker, task| {
            let mut bump = cx.bump(worker);
            let mut walk = nest.walk(&mut bump);
            let results = bump.take(nest.writes.len(), StripOperand::NONE);
            let slots = bump.take(self.numbers.values.len(), StripOperand::NONE);
            for (s, v) in slots.iter_mut().zip(&self.numbers.values) {
                *s = StripOperand::new(v, 0);
            }
            let draw = DrawKey { site: self.numbers.site, ..cx.draw };
            let (from, to) = (items * task / self.tasks, items * (task + 1) / self.tasks);
            nest.seek(&mut walk, 0..strip, from / self.blocks);
            let mut block = from % self.blocks;
            for _ in from..to {
                let first = block * self.block;
                let n = self.block.min(length - first);
                // SAFETY: the context's contract; `first..first + n` are points of the strip.
                unsafe {
                    nest.fetch(&mut walk, cx, first, n);
                    for (w, r) in results.iter_mut().enumerate() {
                        *r = nest.target(&walk, cx, w, first);
                    }
                    walk.call(function, n, slots, results, &draw);
                }
                block += 1;
                if block == self.blocks {
                    block = 0;
                    nest.next(&mut walk, 0..strip);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uad_plan::{Reg, ScalarOp};

    #[test]
    fn first_values_that_differ_in_numbers_have_one_function() {
        let isa = Isa::detect();
        let mut holes = HoleCompiler::new(isa).unwrap();
        let mut site = Site {
            dtypes: vec![DType::F32],
            own: Vec::new(),
            holes: &mut holes,
            scratch: 0,
            shared: 0,
            packed: 0,
            isa,
            constant: vec![false],
        };
        let mut map = |rows: i64, columns: i64, scale: f32, site_of: u64, op: ScalarOp| {
            let hole = Hole {
                code: vec![
                    Inst::Index(0),
                    Inst::I32(columns as i32),
                    Inst::Op(ScalarOp::Mul, vec![Reg(0), Reg(1)]),
                    Inst::Index(1),
                    Inst::Op(ScalarOp::Add, vec![Reg(2), Reg(3)]),
                    Inst::I32(0),
                    Inst::Draw { site: site_of, lane: 0, element: Reg(4), sample: Reg(5) },
                    Inst::F32(scale),
                    Inst::Op(op, vec![Reg(6), Reg(7)]),
                ],
                results: vec![Reg(8)],
            };
            let write = Access {
                buffer: BufferId(0),
                offset: 0,
                strides: vec![columns, 1],
                guards: Vec::new(),
                fill: 0.0,
                via: Vec::new(),
            };
            Map::new(&mut site, &[rows, columns], &[], &[write], &hole).unwrap().strip
        };
        let first = map(40, 30, 0.5, 7, ScalarOp::Mul);
        assert_eq!(map(64, 32, 0.25, 9, ScalarOp::Mul), first);
        assert_ne!(map(64, 32, 0.25, 9, ScalarOp::Add), first);
    }
}
