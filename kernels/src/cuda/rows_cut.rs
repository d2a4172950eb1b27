//! Few long rows: each is cut into pieces that blocks reduce, and the pieces are joined in order.
//!
//! In: a bound `rows` kernel of which every stage reduces without looking at another, or emits. Out: two launches.
//! Invariants: pieces are cut by shapes alone. Imports: program, func, hole, rows.

use uad_plan::{Inst, Kernel, RowStage};

use super::func::Func;
use super::hole::{self, Value};
use super::index::{Cut, points};
use super::map::by_stride;
use super::program::Emitter;
use super::rows::{Reduction, one, reduced};

/// Threads of a block.
const BLOCK: i64 = 256;
/// Elements that a block takes at least.
const PIECE: i64 = 4096;
/// Blocks that are wanted.
const BLOCKS: i64 = 512;

fn pieces(rows: i64, length: i64) -> i64 {
    (BLOCKS / rows.max(1)).min(length / PIECE).clamp(1, 256)
}

/// Are the rows few and long enough, and the stages fit for pieces?
pub fn fits(rows: i64, length: i64, stages: &[RowStage<i64>]) -> bool {
    let plain = |s: &RowStage<i64>| match s {
        RowStage::Reduce(_, h) => !h.code.iter().any(|i| matches!(i, Inst::Slot(_))),
        RowStage::Emit(..) => true,
        RowStage::Map(..) => false,
    };
    pieces(rows, length) > 1 && stages.iter().all(plain)
}

/// Emits the two launches.
pub fn emit(
    e: &mut Emitter<'_>,
    k: &Kernel<i64>,
    outer: &[usize],
    row: &[usize],
    stages: &[RowStage<i64>],
) -> Result<(), String> {
    let (rows, length) = (points(&k.axes, outer), points(&k.axes, row));
    let pieces = pieces(rows, length);
    let piece = length.pieces(pieces);
    let order = by_stride(k.writes.first(), outer);
    // Reduces each piece.
    let mut f = Func::new(e.entry, k, rows.saturating_mul(pieces).max(length) + piece);
    f.note(format!("rows {:?}: {rows} rows of {length} in {pieces} pieces of {piece}, a block a piece", k.axes));
    let of = f.index_type();
    f.code.line(format!("const {of} r = blockIdx.x / {pieces}, piece = blockIdx.x % {pieces};"));
    f.code.line(format!(
        "const {of} from = piece * {piece}, to = from + {piece} < {length} ? from + {piece} : {length};"
    ));
    f.spread("r", &order);
    let mut states = Vec::new();
    for stage in stages {
        let RowStage::Reduce(op, h) = stage else { continue };
        let n = states.len();
        let r = Reduction::new(*op, reduced(&f, h, &[])?);
        let name = format!("s{n}");
        f.code.line(format!("{} {name} = {};", r.state(), r.nothing()));
        f.code.open(format!("for ({of} j = from + threadIdx.x; j < to; j += {BLOCK})"));
        f.spread("j", row);
        let value = one(hole::emit(&mut f, h, &[])?)?;
        f.code.line(r.more(&name, &value, "j"));
        f.code.close();
        f.share(&r.state(), r.bytes(), &format!("parts{n}"), &[BLOCK as usize / 32]);
        f.code.line(format!("{name} = block_all<{}, {}>({name}, parts{n});", r.join(), BLOCK / 32));
        let from = e.scratch(rows * pieces * r.bytes() as i64)?;
        f.work(from, &r.state(), &format!("w{n}"));
        f.code.line(format!("if (threadIdx.x == 0) w{n}[blockIdx.x] = {name};"));
        states.push((r, from));
    }
    e.launch(f, "pieces", BLOCK as u32, rows * pieces)?;
    // Joins them.
    let mut f = Func::new(e.entry, k, rows);
    f.note(format!("rows {:?}: joins {pieces} pieces of each row, a warp a row", k.axes));
    f.code.line("const int r = blockIdx.x, lane = threadIdx.x;");
    f.spread("r", &order);
    row.iter().for_each(|a| f.at[*a] = "0".to_owned());
    let mut slots: Vec<Value> = Vec::new();
    for (n, (r, from)) in states.iter().enumerate() {
        let name = format!("s{n}");
        f.work(*from, &r.state(), &format!("w{n}"));
        f.code.line(format!("{} {name} = {};", r.state(), r.nothing()));
        f.code.line(format!(
            "for (int p = lane; p < {pieces}; p += 32) {name} = {}::join({name}, w{n}[r * {pieces} + p]);",
            r.join()
        ));
        f.code.line(format!("{name} = warp_all<{}>({name});", r.join()));
        let result = r.result(&name);
        slots.push(if result.atom { result } else { f.name(&format!("at{n}"), &result) });
    }
    f.code.line("if (lane != 0) return;");
    let mut seen = 0;
    for stage in stages {
        match stage {
            RowStage::Reduce(..) => seen += 1,
            RowStage::Emit(w, h) => {
                f.code.open("");
                let value = one(hole::emit(&mut f, h, &slots[..seen])?)?;
                f.store(*w as usize, &value)?;
                f.code.close();
            }
            RowStage::Map(..) => {}
        }
    }
    e.launch(f, "join", 32, rows)
}
