//! The `rows` template: reductions along the last axes, and what is made of them.
//!
//! In: a bound kernel. Out: launches. Invariants: a row is reduced by one thread, one warp or one block, or cut into
//! pieces, by shapes alone; the order of every sum is fixed by shapes alone. Imports: program, func, hole.

use uad_plan::{DType, Hole, Kernel, ReduceOp, RowStage};

use super::func::Func;
use super::hole::{self, Value, fill, register};
use super::index::{Cut, points};
use super::map::by_stride;
use super::program::Emitter;

/// Who reduces a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A thread; a block has this many rows.
    Thread,
    /// A warp.
    Warp,
    /// A block.
    Block,
}

/// Threads of a block, in every form.
const BLOCK: i64 = 256;
/// Warps of a block.
const WARPS: i64 = BLOCK / 32;
/// Rows up to this are a thread's.
const SHORT: i64 = 16;
/// Rows up to this are a warp's, where there are enough of them.
const MIDDLE: i64 = 1024;
/// With fewer rows than this a block takes each.
const FEW: i64 = 512;
/// Rows across memory (neighbours in different rows) are a thread's if there are so many of them.
const MANY: i64 = 4096;

fn form(k: &Kernel<i64>, outer: &[usize], row: &[usize]) -> Form {
    let (rows, length) = (points(&k.axes, outer), points(&k.axes, row));
    // Does the first operand step least along the row, as memory does?
    let step = |axes: &[usize]| {
        let strides = k.reads.first().map(|a| axes.iter().filter(|i| k.axes[**i] > 1).map(|i| a.strides[*i].abs()));
        strides.and_then(|s| s.filter(|s| *s > 0).min()).unwrap_or(i64::MAX)
    };
    let across = step(outer) < step(row);
    if length <= SHORT || (across && rows >= MANY) {
        Form::Thread
    } else if length <= MIDDLE && (rows >= FEW || length <= 128) {
        Form::Warp
    } else {
        Form::Block
    }
}

/// How a reduction begins, goes on and is joined.
pub struct Reduction {
    op: ReduceOp,
    dtype: DType,
}

impl Reduction {
    /// A reduction of values of this type.
    pub fn new(op: ReduceOp, dtype: DType) -> Reduction {
        Reduction { op, dtype }
    }

    fn is_position(&self) -> bool {
        matches!(self.op, ReduceOp::ArgMax | ReduceOp::ArgMin)
    }

    /// The type of the state.
    pub fn state(&self) -> String {
        let of = register(self.dtype);
        if self.is_position() { format!("Best<{of}>") } else { of.to_owned() }
    }

    /// Bytes of the state.
    pub fn bytes(&self) -> usize {
        if self.is_position() { 8 } else { self.dtype.bytes() }
    }

    /// The struct that joins.
    pub fn join(&self) -> &'static str {
        match self.op {
            ReduceOp::Sum => "Sum",
            ReduceOp::Prod => "Prod",
            ReduceOp::Max => "Max",
            ReduceOp::Min => "Min",
            ReduceOp::ArgMax => "ArgMax",
            ReduceOp::ArgMin => "ArgMin",
        }
    }

    /// The state of nothing.
    pub fn nothing(&self) -> String {
        let least = || match self.dtype {
            DType::F32 => "-INFINITE".to_owned(),
            DType::I32 => "-2147483647 - 1".to_owned(),
            DType::Bool => "false".to_owned(),
        };
        let greatest = || match self.dtype {
            DType::F32 => "INFINITE".to_owned(),
            DType::I32 => "2147483647".to_owned(),
            DType::Bool => "true".to_owned(),
        };
        match self.op {
            ReduceOp::Sum => fill(0.0, self.dtype).text,
            ReduceOp::Prod => fill(1.0, self.dtype).text,
            ReduceOp::Max => least(),
            ReduceOp::Min => greatest(),
            ReduceOp::ArgMax => format!("{{{}, 2147483647}}", least()),
            ReduceOp::ArgMin => format!("{{{}, 2147483647}}", greatest()),
        }
    }

    /// The state with one more value, which is number `j`.
    pub fn more(&self, state: &str, value: &Value, j: &str) -> String {
        match self.op {
            ReduceOp::ArgMax | ReduceOp::ArgMin => {
                format!("{state} = {}::join({state}, {}{{{}, int({j})}});", self.join(), self.state(), value.text)
            }
            ReduceOp::Sum if self.dtype == DType::F32 => format!("{state} += {};", value.text),
            ReduceOp::Prod if self.dtype == DType::F32 => format!("{state} *= {};", value.text),
            _ => {
                let cast = register(self.dtype);
                format!("{state} = {}::join({state}, {cast}({}));", self.join(), value.text)
            }
        }
    }

    /// The result of a state.
    pub fn result(&self, state: &str) -> Value {
        if self.is_position() {
            return Value {
                text: format!("{state}.at == 2147483647 ? 0 : {state}.at"),
                dtype: DType::I32,
                atom: false,
            };
        }
        Value::atom(state, self.dtype)
    }
}

/// Emits `rows`.
pub fn emit(e: &mut Emitter<'_>, k: &Kernel<i64>, inner: usize, stages: &[RowStage<i64>]) -> Result<(), String> {
    let outer: Vec<usize> = (0..k.axes.len() - inner).collect();
    let row: Vec<usize> = (k.axes.len() - inner..k.axes.len()).collect();
    let (rows, length) = (points(&k.axes, &outer), points(&k.axes, &row));
    if rows == 0 {
        return Ok(());
    }
    if super::rows_cut::fits(rows, length, stages) {
        return super::rows_cut::emit(e, k, &outer, &row, stages);
    }
    let form = form(k, &outer, &row);
    let mut f = Func::new(e.entry, k, rows.saturating_mul(BLOCK).max(length));
    let who = match form {
        Form::Thread => "a thread a row",
        Form::Warp => "a warp a row",
        Form::Block => "a block a row",
    };
    f.note(format!("rows {:?}, the last {inner} reduced: {rows} rows of {length}, {who}", k.axes));
    let of = f.index_type();
    let block = if f.wide { "(long long)blockIdx.x" } else { "blockIdx.x" };
    let last = f.number(rows);
    let grid = match form {
        Form::Thread => {
            f.code.line(format!("const {of} r = {block} * {BLOCK} + threadIdx.x;"));
            f.code.line(format!("if (r >= {last}) return;"));
            rows.pieces(BLOCK)
        }
        Form::Warp => {
            f.code.line(format!("const {of} r = {block} * {WARPS} + threadIdx.x / 32;"));
            f.code.line("const int lane = threadIdx.x % 32;");
            f.code.line(format!("if (r >= {last}) return;"));
            rows.pieces(WARPS)
        }
        Form::Block => {
            f.code.line(format!("const {of} r = {block};"));
            rows
        }
    };
    let store = k.writes.iter().find(|w| outer.iter().any(|a| w.strides[*a] != 0));
    f.spread("r", &by_stride(store.or(k.reads.first()), &outer));
    let head = match form {
        Form::Thread => format!("for ({of} j = 0; j < {}; ++j)", f.number(length)),
        Form::Warp => format!("for ({of} j = lane; j < {}; j += 32)", f.number(length)),
        Form::Block => format!("for ({of} j = threadIdx.x; j < {}; j += {BLOCK})", f.number(length)),
    };
    let mut slots: Vec<Value> = Vec::new();
    for stage in stages {
        match stage {
            RowStage::Reduce(op, h) => {
                let n = slots.len();
                let dtype = reduced(&f, h, &slots)?;
                let r = Reduction::new(*op, dtype);
                let name = format!("s{n}");
                f.code.line(format!("{} {name} = {};", r.state(), r.nothing()));
                f.code.open(&head);
                f.spread("j", &row);
                let value = one(hole::emit(&mut f, h, &slots)?)?;
                let more = r.more(&name, &value, "j");
                f.code.line(more);
                f.code.close();
                match form {
                    Form::Thread => {}
                    Form::Warp => f.code.line(format!("{name} = warp_all<{}>({name});", r.join())),
                    Form::Block => {
                        f.share(&r.state(), r.bytes(), &format!("parts{n}"), &[WARPS as usize]);
                        f.code.line(format!("{name} = block_all<{}, {WARPS}>({name}, parts{n});", r.join()));
                    }
                }
                let result = r.result(&name);
                slots.push(if result.atom { result } else { f.name(&format!("at{n}"), &result) });
            }
            RowStage::Map(w, h) => {
                f.code.open(&head);
                f.spread("j", &row);
                let value = one(hole::emit(&mut f, h, &slots)?)?;
                f.store(*w as usize, &value)?;
                f.code.close();
            }
            RowStage::Emit(w, h) => {
                row.iter().for_each(|a| f.at[*a] = "0".to_owned());
                match form {
                    Form::Thread => f.code.open(""),
                    Form::Warp => f.code.open("if (lane == 0)"),
                    Form::Block => f.code.open("if (threadIdx.x == 0)"),
                }
                let value = one(hole::emit(&mut f, h, &slots)?)?;
                f.store(*w as usize, &value)?;
                f.code.close();
            }
        }
    }
    e.launch(f, "rows", BLOCK as u32, grid)
}

/// The only result of a hole.
pub fn one(mut values: Vec<Value>) -> Result<Value, String> {
    let value = values.pop().ok_or("a hole without a result")?;
    if values.is_empty() { Ok(value) } else { Err("a hole with several results".to_owned()) }
}

/// The type of a hole's result.
pub fn reduced(f: &Func<'_>, h: &Hole<i64>, slots: &[Value]) -> Result<DType, String> {
    let slots: Vec<DType> = slots.iter().map(|s| s.dtype).collect();
    let types = h.types(&f.load_types(), &slots)?;
    h.results.first().and_then(|r| types.get(r.0 as usize).copied()).ok_or_else(|| "a hole without a result".to_owned())
}
