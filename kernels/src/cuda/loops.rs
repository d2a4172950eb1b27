//! The `loop` template: launches of the body, round after round.
//!
//! In: a loop's parts. Out: a [`Loop`]. Invariants: the host never waits for the device: a loop that may stop early has a
//! flag in the workspace that its kernels look at first, so that rounds after the end change nothing and a whole entry
//! can be captured; carried values are copied. Imports: program, func.

use uad_plan::{BufferId, Kernel};

use super::func::{Arg, Function};
use super::index::Cut;
use super::program::{Emitter, FLAGS, Loop, Step};

/// A loop.
pub struct Parts<'a> {
    /// Most rounds.
    pub count: i64,
    /// Gets the round's number.
    pub index: Option<BufferId>,
    /// `(first, carried, next)`.
    pub carried: &'a [(BufferId, BufferId, BufferId)],
    /// When to stop, looked at every so many rounds.
    pub until: Option<(BufferId, i64)>,
    /// One round.
    pub body: &'a [Kernel<i64>],
}

/// Emits `loop`.
pub fn emit<'a>(e: &mut Emitter<'a>, l: &Parts<'a>) -> Result<(), String> {
    let count = u32::try_from(l.count).map_err(|_| "too many rounds")?;
    for (first, to, _) in l.carried {
        copy(e, *first, *to)?;
    }
    let outer = e.stop;
    if l.until.is_some() {
        let flag = outer.map_or(0, |o| o + 4);
        if flag + 4 > FLAGS {
            return Err("loops in loops in loops".to_owned());
        }
        // The flag begins as that of the loop around.
        let (text, args) = match outer {
            None => ("(int* __restrict__ flag) {\n  *flag = 0;\n}\n", vec![Arg::Work(flag)]),
            Some(o) => {
                let text = "(int* __restrict__ flag, const int* __restrict__ around) {\n  *flag = *around;\n}\n";
                (text, vec![Arg::Work(flag), Arg::Work(o)])
            }
        };
        single(e, "begin", text, args);
        e.stop = Some(flag);
    }
    let before = std::mem::take(&mut e.steps);
    if let Some(id) = l.index {
        guarded(e, "round", "int* __restrict__ index, int round", "*index = round;", vec![Arg::Buffer(id), Arg::Round]);
    }
    e.kernels(l.body)?;
    for (_, to, next) in l.carried {
        copy(e, *next, *to)?;
    }
    if let (Some((id, every)), Some(flag)) = (l.until, e.stop) {
        let text = "(int* __restrict__ flag, const unsigned char* __restrict__ until, int every, int round) {\n\
                    \x20 if ((round + 1) % every == 0 && *until != 0) *flag = 1;\n}\n";
        let every = i32::try_from(every).unwrap_or(i32::MAX);
        // Looked at by a loop that has stopped as well: its `until` stays as it was.
        single(e, "until", text, vec![Arg::Work(flag), Arg::Buffer(id), Arg::Int(every), Arg::Round]);
    }
    let round = std::mem::replace(&mut e.steps, before);
    let stop = if l.until.is_some() { e.stop } else { None };
    e.stop = outer;
    if !round.is_empty() && count > 0 {
        e.steps.push(Step::Loop(Loop { count, round, stop }));
    }
    Ok(())
}

/// A function of one thread.
fn single(e: &mut Emitter<'_>, stem: &str, rest: &str, args: Vec<Arg>) {
    let text = format!("extern \"C\" __global__ void __launch_bounds__(1)\n{}{rest}", Function::NAME);
    e.push(Function { text, block: 1, shared: 0 }, args, Vec::new(), stem, 1);
}

/// A function of one thread that a stopped loop skips.
fn guarded(e: &mut Emitter<'_>, stem: &str, params: &str, line: &str, mut args: Vec<Arg>) {
    let rest = match e.stop {
        Some(flag) => {
            args.push(Arg::Work(flag));
            format!("({params}, const int* __restrict__ stop) {{\n  if (*stop != 0) return;\n  {line}\n}}\n")
        }
        None => format!("({params}) {{\n  {line}\n}}\n"),
    };
    single(e, stem, &rest, args);
}

/// Copies a buffer, word by word where its size allows.
fn copy(e: &mut Emitter<'_>, from: BufferId, to: BufferId) -> Result<(), String> {
    if from == to {
        return Ok(());
    }
    let b = e.entry.buffers.get(from.0 as usize).ok_or("no such buffer")?;
    let elements = b.shape.iter().map(|d| (*d).max(0)).fold(1i64, i64::saturating_mul);
    if elements == 0 {
        return Ok(());
    }
    let of = if b.dtype.bytes() == 4 { "int" } else { "unsigned char" };
    let grid = u32::try_from(elements.pieces(256)).map_err(|_| "the grid is too large")?;
    let mut args = vec![Arg::Buffer(from), Arg::Buffer(to)];
    let (param, leave) = match e.stop {
        Some(flag) => {
            args.push(Arg::Work(flag));
            (", const int* __restrict__ stop", "  if (*stop != 0) return;\n")
        }
        None => ("", ""),
    };
    let text = format!(
        "// carries {elements} elements\nextern \"C\" __global__ void __launch_bounds__(256)\n\
         {}(const {of}* __restrict__ from, {of}* __restrict__ to{param}) {{\n{leave}\
         \x20 const long long p = (long long)blockIdx.x * 256 + threadIdx.x;\n\
         \x20 if (p < {elements}) to[p] = from[p];\n}}\n",
        Function::NAME
    );
    let params = Vec::new();
    e.push(Function { text, block: 256, shared: 0 }, args, params, "copy", grid);
    Ok(())
}
