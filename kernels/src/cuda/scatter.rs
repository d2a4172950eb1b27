//! The `scatter_add` template: no float atomics.
//!
//! In: a bound kernel whose write has indices from data. Out: launches. Invariants: what lands on one element is added
//! in the order of the points, so the bits never change: points are sorted by their target (the sort is stable), and
//! one thread adds those of one target. Axes along which targets are provably apart are not sorted but give each target
//! group a thread of its own. Imports: program, func, hole, sort.

use uad_plan::{Access, DType, Hole, Kernel};

use super::func::Func;
use super::hole;
use super::index::{Cut, points};
use super::program::Emitter;
use super::rows::one;
use super::sort::{RUN, merge};

/// Threads of a block.
const BLOCK: i64 = 256;

/// Do different coordinates on `axis` never reach one element?
fn apart(axis: usize, axes: &[i64], write: &Access<i64>, reads: &[Access<i64>]) -> bool {
    let moves = |n: u32| {
        let r = &reads[n as usize];
        r.strides[axis] != 0 || !r.via.is_empty() || r.guards.iter().any(|g| g.strides[axis] != 0)
    };
    if write.strides[axis] == 0 || write.via.iter().any(|v| moves(v.read)) {
        return false;
    }
    // Every way of moving, as (step, how many): steps that nest like digits reach each element once.
    let mut digits: Vec<(i64, i64)> = write.via.iter().map(|v| (v.stride.abs(), v.extent)).collect();
    digits.extend(
        (0..axes.len()).filter(|a| write.strides[*a] != 0 && axes[*a] > 1).map(|a| (write.strides[a].abs(), axes[a])),
    );
    digits.sort_unstable();
    digits.windows(2).all(|w| w[1].0 >= w[0].0.saturating_mul(w[0].1))
}

/// Emits `scatter_add`.
pub fn emit(e: &mut Emitter<'_>, k: &Kernel<i64>, add: &Hole<i64>) -> Result<(), String> {
    let write = k.writes.first().ok_or("a scatter writes nothing")?;
    let (free, sorted): (Vec<usize>, Vec<usize>) =
        (0..k.axes.len()).partition(|a| k.axes[*a] > 1 && apart(*a, &k.axes, write, &k.reads));
    let (apart_points, length) = (points(&k.axes, &free), points(&k.axes, &sorted));
    if apart_points * length == 0 {
        return Ok(());
    }
    let targets = e.entry.buffers.get(write.buffer.0 as usize).map_or(0, |b| b.shape.iter().product::<i64>());
    if length > i64::from(i32::MAX) || targets > i64::from(u32::MAX) {
        return Err("more points or targets than 32 bits can number".to_owned());
    }
    let runs = length.pieces(RUN);
    let size = if runs == 1 { (length as u64).next_power_of_two().max(2) as i64 } else { RUN };
    let (first, second) = (e.scratch(length * 8)?, if runs > 1 { e.scratch(length * 8)? } else { 0 });
    // Keys: target above point, sorted in runs.
    let mut f = Func::new(e.entry, k, runs * RUN);
    f.note(format!("scatter_add {:?}: sorts {length} points by target, {runs} runs", k.axes));
    let of = f.index_type();
    f.share("unsigned long long", 8, "keys", &[size as usize]);
    f.work(first, "unsigned long long", "sorted");
    f.code.line(format!("const {of} from = blockIdx.x * {size};"));
    f.code.open(format!("for (int at = threadIdx.x; at < {size}; at += {BLOCK})"));
    f.code.line(format!("const {of} j = from + at;"));
    f.code.line("unsigned long long made = 0xffffffffffffffffull;");
    f.code.open(format!("if (j < {length})"));
    f.spread("j", &sorted);
    let place = f.place(&based(write, &k.axes, &free))?;
    f.code.line(format!("made = (unsigned long long)(unsigned)({place}) << 32 | (unsigned)j;"));
    f.code.close();
    f.code.line("keys[at] = made;");
    f.code.close();
    f.code.line(format!("block_sort<{size}, {BLOCK}>(keys);"));
    f.code.line(format!(
        "for (int at = threadIdx.x; at < {size} && from + at < {length}; at += {BLOCK}) sorted[from + at] = keys[at];"
    ));
    e.launch(f, "targets", BLOCK as u32, runs)?;
    let from = if runs > 1 { merge(e, 1, length, first, second)? } else { first };
    // One thread adds what lands on one target.
    let total = apart_points * length;
    let mut f = Func::new(e.entry, k, total);
    f.note(format!("scatter_add {:?}: a thread adds what lands on one element, in the order of the points", k.axes));
    super::map::number(&mut f, total);
    f.work(from, "const unsigned long long", "sorted");
    f.code.line(format!(
        "{} first = {};",
        f.index_type(),
        if apart_points == 1 { "p".to_owned() } else { format!("p / {apart_points}") }
    ));
    f.code.line("const unsigned target = (unsigned)(sorted[first] >> 32);");
    f.code.line("if (first > 0 && (unsigned)(sorted[first - 1] >> 32) == target) return;");
    if apart_points > 1 {
        f.code.line(format!("const {} other = p % {apart_points};", f.index_type()));
        f.spread("other", &free);
    }
    let array = f.buffer(write.buffer);
    let dtype = f.dtype(write);
    let steps: Vec<String> = free.iter().filter_map(|a| step(write.strides[*a], &f.at[*a])).collect();
    let near = if steps.is_empty() { String::new() } else { format!(" + {}", steps.join(" + ")) };
    let origin = lowest(write, &k.axes, &free);
    let of = f.index_type();
    let target = if origin == 0 { format!("({of})target{near}") } else { format!("({of})target{near} - {origin}") };
    f.code.line(format!("const {of} to = {target};"));
    f.code.line(format!("{} sum = {array}[to];", super::hole::register(dtype)));
    f.code.open(format!("for (; first < {length} && (unsigned)(sorted[first] >> 32) == target; ++first)"));
    f.code.line(format!("const {of} j = ({of})(unsigned)sorted[first];"));
    f.spread("j", &sorted);
    let value = one(hole::emit(&mut f, add, &[])?)?;
    let sum = if dtype == DType::F32 {
        format!("sum += {};", value.text)
    } else {
        format!("sum = wrap_add(sum, {});", value.text)
    };
    f.code.line(sum);
    f.code.close();
    f.code.line(format!("{array}[to] = sum;"));
    e.launch(f, "scatter", BLOCK as u32, total.pieces(BLOCK))
}

fn step(stride: i64, at: &str) -> Option<String> {
    (stride != 0 && at != "0").then(|| format!("{stride}*{at}"))
}

/// What is added so that targets, without the free axes, are not negative.
fn lowest(write: &Access<i64>, axes: &[i64], free: &[usize]) -> i64 {
    let mut low = write.offset;
    for (a, s) in write.strides.iter().enumerate().filter(|(a, _)| !free.contains(a)) {
        low += (s * (axes[a] - 1)).min(0);
    }
    for v in &write.via {
        low += (v.stride * (v.extent - 1)).min(0);
    }
    (-low).max(0)
}

/// The write without the free axes, from 0 on.
fn based(write: &Access<i64>, axes: &[i64], free: &[usize]) -> Access<i64> {
    let mut a = write.clone();
    a.offset += lowest(write, axes, free);
    free.iter().for_each(|axis| a.strides[*axis] = 0);
    a
}
