//! Where everything of a bound entry lies in device memory.
//!
//! In: a bound entry, its program. Out: [`Layout`]. Invariants: pure; areas begin on 256-byte boundaries and share no
//! byte; what the host writes stands together, and so does what it reads; what lives for one call only is apart, so that
//! entries that never run at the same time can share it. Imports: `uad-plan`, `uad-kernels`.

use uad_kernels::cuda::Program;
use uad_plan::{Bound, BufferPlace};

/// Alignment of areas.
pub const ALIGNED: usize = 256;
/// Bytes of what draws depend on.
pub const DRAW: usize = 12;
/// Bytes of an address.
pub const WORD: usize = 8;

/// Where a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// In the entry's own memory.
    Own(usize),
    /// In memory for one call.
    Scratch(usize),
    /// Where the stored tensor is.
    Stored,
}

/// Offsets in the memory of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Per buffer.
    pub slots: Vec<Slot>,
    /// What draws depend on, in the entry's own memory.
    pub draw: usize,
    /// Inputs and what draws depend on, which every call copies: first byte and size.
    pub given: (usize, usize),
    /// Outputs, which every call copies back: first byte and size.
    pub made: (usize, usize),
    /// Tables of addresses, in the entry's own memory.
    pub tables: usize,
    /// All bytes of the entry's own memory.
    pub own: usize,
    /// The workspace of launches, in memory for one call.
    pub work: usize,
    /// All bytes of memory for one call.
    pub scratch: usize,
}

/// Takes areas one behind another.
#[derive(Default)]
struct Area(usize);

impl Area {
    fn take(&mut self, bytes: usize) -> usize {
        let at = self.0;
        self.0 = (at + bytes).next_multiple_of(ALIGNED);
        at
    }
}

impl Layout {
    /// The layout of an entry.
    pub fn of(bound: &Bound, program: &Program) -> Layout {
        let (mut own, mut scratch) = (Area::default(), Area::default());
        let draw = own.take(DRAW);
        let mut slots = vec![Slot::Stored; bound.places.len()];
        let mut place = |own: &mut Area, wanted: fn(&BufferPlace) -> bool| {
            let mut last = 0;
            for (i, p) in bound.places.iter().enumerate() {
                if wanted(p) {
                    let at = own.take(bound.buffer_bytes(i));
                    slots[i] = Slot::Own(at);
                    last = at + bound.buffer_bytes(i);
                }
            }
            last
        };
        let given = place(&mut own, |p| matches!(p, BufferPlace::Input(_))).max(draw + DRAW);
        let first_made = own.take(0);
        let made = place(&mut own, |p| matches!(p, BufferPlace::Output(_))).max(first_made);
        let persistent = own.take(bound.persistent);
        let tables = own.take(WORD * program.tables.len());
        let arena = scratch.take(bound.arena);
        let work = scratch.take(program.workspace);
        for (slot, p) in slots.iter_mut().zip(&bound.places) {
            match p {
                BufferPlace::Arena(at) => *slot = Slot::Scratch(arena + at),
                BufferPlace::Persistent(at) => *slot = Slot::Own(persistent + at),
                BufferPlace::Input(_) | BufferPlace::Output(_) | BufferPlace::Stored => {}
            }
        }
        let made = (first_made, made - first_made);
        let scratch = scratch.0.max(ALIGNED);
        Layout { slots, draw, given: (draw, given - draw), made, tables, own: own.0, work, scratch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use uad_plan::{BufferKind, bind, text, verify};

    #[test]
    fn areas_share_no_byte() {
        let body = r#"uadp 1 plan "t" stored { weight w f32[7] } entry score(b) {
            input %x f32[b, 7] input %m bool[b] stored %w f32[7] temp %t f32[b, 7] const %c f32[3] = 1.0, 2.0, 3.0
            output %y f32[b, 7] output %z f32[b] kernels {
            map [b, 7] "a" { $0 = %x[7*i0 + i1] $1 = %w[i1] at { r0 = $0; r1 = $1; r2 = mul r0 r1; yield r2 } write %t[7*i0 + i1] }
            map [b, 7] "b" { $0 = %t[7*i0 + i1] $1 = %m[i0] $2 = %c[0] at { r0 = $0; r1 = $1; r2 = $2; r3 = select r1 r0 r2; yield r3 } write %y[7*i0 + i1] }
            map [b] "c" { $0 = %c[1] at { r0 = $0; yield r0 } write %z[i0] } } }"#;
        let plan = verify(text::parse(body).unwrap()).unwrap();
        for b in [1, 3, 100] {
            let bound = bind(&plan, "score", &BTreeMap::from([("b".to_owned(), b)])).unwrap();
            let program = Program::grouped(&bound, Default::default()).unwrap();
            let layout = Layout::of(&bound, &program);
            let mut own = vec![(layout.draw, DRAW), (layout.tables, WORD * program.tables.len())];
            let mut scratch = vec![(layout.work, program.workspace)];
            for (i, slot) in layout.slots.iter().enumerate() {
                match slot {
                    Slot::Own(at) => own.push((*at, bound.buffer_bytes(i))),
                    Slot::Scratch(at) => scratch.push((*at, bound.buffer_bytes(i))),
                    Slot::Stored => assert_eq!(bound.entry.buffers[i].kind, BufferKind::Stored),
                }
            }
            for (mut areas, bytes) in [(own, layout.own), (scratch, layout.scratch)] {
                areas.sort_unstable();
                assert!(areas.iter().all(|a| a.0 + a.1 <= bytes && a.0 % 64 == 0));
                assert!(areas.windows(2).all(|w| w[0].0 + w[0].1 <= w[1].0), "{areas:?}");
            }
            for (i, buffer) in bound.entry.buffers.iter().enumerate() {
                let within = |area: (usize, usize)| match layout.slots[i] {
                    Slot::Own(from) => area.0 <= from && from + bound.buffer_bytes(i) <= area.0 + area.1,
                    Slot::Scratch(_) | Slot::Stored => false,
                };
                assert_eq!(within(layout.given), buffer.kind == BufferKind::Input, "{}", buffer.name);
                assert_eq!(within(layout.made), buffer.kind == BufferKind::Output, "{}", buffer.name);
            }
        }
    }
}
