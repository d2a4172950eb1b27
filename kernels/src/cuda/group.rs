//! Launches of one function that do not look at each other's results, as one launch: an optimiser's updates, norms of gradients.
//!
//! In: a program, the entry that it is of. Out: the program with fewer launches. Invariants: what is computed stays the same, bit for bit:
//! every block does what it did, with the same operands; a launch moves ahead of those alone that touch none of the memory that
//! it touches, unless both only read; addresses are data (a row of [`Program::tables`] for each launch), so that the function does
//! not depend on how many are together. Imports: program, func.

use std::collections::BTreeMap;

use uad_plan::bind::BufferPlace;
use uad_plan::{Bound, BufferId};

use super::func::{Arg, Function};
use super::program::{FLAGS, Launch, Named, Program, Step};

/// Functions that may be launched together, by the stems of their names: those with little to do.
const KINDS: [&str; 4] = ["map", "rows", "pieces", "join"];
/// A kernel with a workspace of so many bytes at most gets one of its own, so that others need not wait for it.
const OWN: usize = 64 << 10;
/// The largest state of a reduction: a value, and where it was.
const STATE: usize = 16;

/// A part of memory that a launch touches.
#[derive(Clone, Copy)]
struct Touch {
    space: Space,
    from: usize,
    to: usize,
    written: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    Arena,
    Persistent,
    Work,
    Buffer(BufferId),
}

impl Touch {
    fn meets(&self, other: &Touch) -> bool {
        self.space == other.space && (self.written || other.written) && self.from < other.to && other.from < self.to
    }
}

/// Launches at one place in the order.
struct Slot {
    step: Step,
    /// The others that are launched with it.
    more: Vec<Launch>,
    /// `None`: nothing moves past it.
    touches: Option<Vec<Touch>>,
    /// Its function, where it may be launched with others.
    function: Option<usize>,
}

impl Slot {
    /// May what touches this memory run before it, or with it?
    fn lets_pass(&self, touches: &[Touch]) -> bool {
        self.touches.as_ref().is_some_and(|own| !own.iter().any(|a| touches.iter().any(|b| a.meets(b))))
    }
}

/// The types and names of a function's parameters.
fn params(f: &Function) -> Option<Vec<&str>> {
    let list = f.text.split_once(Function::NAME)?.1.strip_prefix('(')?.split_once(')')?.0;
    Some(list.split(", ").collect())
}

/// All that a launch touches; `None` where that is not known.
fn touches(program: &Program, bound: &Bound, own: &[(usize, usize)], l: &Launch) -> Option<Vec<Touch>> {
    let f = &program.functions.get(l.function)?.function;
    let params = params(f).filter(|p| p.len() == l.args.len())?;
    let mut all = Vec::new();
    for (arg, param) in l.args.iter().zip(params) {
        let written = !param.starts_with("const ");
        match arg {
            Arg::Buffer(id) => {
                let bytes = bound.buffer_bytes(id.0 as usize);
                let (space, from) = match bound.places.get(id.0 as usize)? {
                    BufferPlace::Arena(at) => (Space::Arena, *at),
                    BufferPlace::Persistent(at) => (Space::Persistent, *at),
                    BufferPlace::Input(_) | BufferPlace::Output(_) | BufferPlace::Stored => (Space::Buffer(*id), 0),
                };
                all.push(Touch { space, from, to: from + bytes, written });
            }
            Arg::Work(at) => {
                // Of the common workspace nobody knows who uses how much.
                let (from, to) =
                    own.iter().find(|w| (w.0..w.1).contains(at)).copied().unwrap_or((0, program.workspace));
                all.push(Touch { space: Space::Work, from, to, written: true });
            }
            Arg::Draw | Arg::Int(_) => {}
            Arg::Round | Arg::Table(_) => return None,
        }
    }
    Some(all)
}

/// May this function be launched together with itself?
fn fits(program: &Program, l: &Launch) -> bool {
    let Some(f) = program.functions.get(l.function) else { return false };
    let stem = f.name.split('_').next().unwrap_or_default();
    let addresses = |a: &Arg| matches!(a, Arg::Buffer(_) | Arg::Work(_) | Arg::Draw);
    KINDS.contains(&stem) && l.args.iter().all(addresses) && !f.function.text.contains("gridDim")
}

/// Gives kernels that cut rows into pieces, if small, a workspace each, behind the common one; where each begins and ends.
fn separated(program: &Program, steps: &mut [Step]) -> Vec<(usize, usize)> {
    let mut sizes: BTreeMap<usize, Option<usize>> = BTreeMap::new();
    for step in steps.iter() {
        let Step::Launch(l) = step else { continue };
        let last = l.args.iter().filter_map(|a| if let Arg::Work(at) = a { Some(*at) } else { None }).max();
        let Some(last) = last else { continue };
        let bytes = last.checked_sub(FLAGS).map(|at| at + l.grid as usize * STATE);
        let bytes = bytes.filter(|b| *b <= OWN && fits(program, l));
        let size = sizes.entry(l.kernel).or_insert(Some(0));
        *size = size.zip(bytes).map(|(a, b)| a.max(b));
    }
    let (mut own, mut of_kernel) = (Vec::new(), BTreeMap::new());
    let mut end = program.workspace.next_multiple_of(256);
    for (kernel, bytes) in sizes {
        let Some(bytes) = bytes else { continue };
        own.push((end, end + bytes));
        of_kernel.insert(kernel, end);
        end = (end + bytes).next_multiple_of(256);
    }
    for step in steps {
        let Step::Launch(l) = step else { continue };
        let Some(start) = of_kernel.get(&l.kernel) else { continue };
        for a in &mut l.args {
            if let Arg::Work(at) = a {
                *at = *at - FLAGS + start;
            }
        }
    }
    own
}

/// The function that does for each row of a table what this one does for its arguments, with so many blocks a row.
fn together(f: &Named, grid: u32) -> Option<Named> {
    let (notes, rest) = f.function.text.split_once(Function::NAME)?;
    let (list, body) = rest.strip_prefix('(')?.split_once(") {\n")?;
    let list: Vec<&str> = list.split(", ").collect();
    let (row, block) = match grid {
        1 => ("blockIdx.x".to_owned(), "0u".to_owned()),
        _ => (format!("blockIdx.x / {grid}u"), format!("(blockIdx.x % {grid}u)")),
    };
    let words = list.len();
    let mut text = format!(
        "// a launch for many: {grid} blocks for each row of addresses\n{notes}{}(const unsigned long long* __restrict__ table) {{\n  \
         const unsigned long long* const row = table + (long long)({row}) * {words};\n",
        Function::NAME
    );
    for (n, param) in list.iter().enumerate() {
        let of = param.replace("__restrict__ ", "");
        let of = of.rsplit_once(' ')?.0;
        text.push_str(&format!("  {param} = ({of})row[{n}];\n"));
    }
    text.push_str(&body.replace("blockIdx.x", &block));
    let function = Function { text, ..f.function.clone() };
    Some(Named { name: format!("{}_all", f.name), function, ..f.clone() })
}

/// The program with launches together where that changes nothing.
pub fn grouped(program: Program, bound: &Bound) -> Program {
    let mut steps = program.kernels.clone();
    let own = separated(&program, &mut steps);
    let mut order: Vec<Slot> = Vec::with_capacity(steps.len());
    for step in steps {
        let Step::Launch(l) = step else {
            order.push(Slot { step, more: Vec::new(), touches: None, function: None });
            continue;
        };
        let touched = touches(&program, bound, &own, &l);
        let function = touched.as_ref().filter(|_| fits(&program, &l)).map(|_| l.function);
        // The earliest launch of the function that nothing stands in the way to.
        let mut place = None;
        if let (Some(f), Some(touched)) = (function, &touched) {
            for (n, slot) in order.iter().enumerate().rev().take_while(|(_, s)| s.lets_pass(touched)) {
                let same =
                    slot.function == Some(f) && matches!(&slot.step, Step::Launch(first) if first.grid == l.grid);
                if same {
                    place = Some(n);
                }
            }
        }
        match place.and_then(|n| order.get_mut(n)) {
            Some(slot) => {
                slot.touches.iter_mut().for_each(|t| t.extend(touched.iter().flatten()));
                slot.more.push(l);
            }
            None => order.push(Slot { step: Step::Launch(l), more: Vec::new(), touches: touched, function }),
        }
    }
    let workspace = own.last().map_or(program.workspace, |w| w.1);
    rebuilt(Program { workspace, kernels: Vec::new(), ..program }, order)
}

/// Writes functions and tables of launches that are together; functions that nobody starts any more are left out.
fn rebuilt(mut program: Program, order: Vec<Slot>) -> Program {
    let mut made: BTreeMap<(usize, u32), usize> = BTreeMap::new();
    for slot in order {
        let Step::Launch(first) = &slot.step else {
            program.kernels.push(slot.step);
            continue;
        };
        let known = made.get(&(first.function, first.grid)).copied();
        let all = || together(program.functions.get(first.function)?, first.grid);
        let found = match known {
            _ if slot.more.is_empty() => None,
            Some(n) => Some(n),
            None => all().map(|f| {
                program.functions.push(f);
                program.functions.len() - 1
            }),
        };
        let members = slot.more.len() as u64 + 1;
        let grid = u32::try_from(u64::from(first.grid) * members).ok().filter(|g| *g <= i32::MAX as u32);
        let (Some(function), Some(grid)) = (found, grid) else {
            program.kernels.push(slot.step.clone());
            program.kernels.extend(slot.more.into_iter().map(Step::Launch));
            continue;
        };
        made.insert((first.function, first.grid), function);
        let table = program.tables.len();
        program.tables.extend(std::iter::once(first).chain(&slot.more).flat_map(|l| l.args.iter().copied()));
        program.kernels.push(Step::Launch(Launch {
            function,
            grid,
            args: vec![Arg::Table(table)],
            kernel: first.kernel,
        }));
    }
    started_only(program)
}

fn started_only(mut program: Program) -> Program {
    fn each(steps: &mut [Step], f: &mut impl FnMut(&mut usize)) {
        for step in steps {
            match step {
                Step::Launch(l) => f(&mut l.function),
                Step::Loop(l) => each(&mut l.round, f),
            }
        }
    }
    let mut used = vec![false; program.functions.len()];
    each(&mut program.setup, &mut |n| used[*n] = true);
    each(&mut program.kernels, &mut |n| used[*n] = true);
    let mut numbers = Vec::with_capacity(used.len());
    let mut next = 0;
    for u in &used {
        numbers.push(next);
        next += usize::from(*u);
    }
    each(&mut program.setup, &mut |n| *n = numbers[*n]);
    each(&mut program.kernels, &mut |n| *n = numbers[*n]);
    let mut keep = used.iter();
    program.functions.retain(|_| keep.next().copied().unwrap_or(false));
    program
}
