//! Where everything of a bound entry lies in one piece of device memory.
//!
//! In: a bound entry, its program. Out: [`Layout`]. Invariants: pure; areas begin on 256-byte boundaries and share no
//! byte; what the host writes stands together, and so does what it reads. Imports: `uad-plan`, `uad-kernels`.

use uad_kernels::cuda::Program;
use uad_plan::{Bound, BufferPlace};

/// Alignment of areas.
pub const ALIGNED: usize = 256;
/// Bytes of what draws depend on.
pub const DRAW: usize = 12;

/// Offsets in the memory of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Per buffer.
    pub buffers: Vec<usize>,
    /// What draws depend on.
    pub draw: usize,
    /// The workspace of launches.
    pub work: usize,
    /// Inputs and what draws depend on, which every call copies: first byte and size.
    pub given: (usize, usize),
    /// Outputs, which every call copies back: first byte and size.
    pub made: (usize, usize),
    /// All bytes.
    pub bytes: usize,
}

impl Layout {
    /// The layout of an entry.
    pub fn of(bound: &Bound, program: &Program) -> Layout {
        let mut end = 0usize;
        let mut take = |bytes: usize| {
            let at = end;
            end = (at + bytes).next_multiple_of(ALIGNED);
            at
        };
        let draw = take(DRAW);
        let n = bound.entry.buffers.len();
        let mut buffers = vec![0; n];
        let mut place = |take: &mut dyn FnMut(usize) -> usize, wanted: fn(&BufferPlace) -> bool| {
            let mut last = 0;
            for (i, p) in bound.places.iter().enumerate().filter(|(_, p)| wanted(p)) {
                let _ = p;
                buffers[i] = take(bound.buffer_bytes(i));
                last = buffers[i] + bound.buffer_bytes(i);
            }
            last
        };
        let given = place(&mut take, |p| matches!(p, BufferPlace::Input(_))).max(draw + DRAW);
        let first_made = take(0);
        let made = place(&mut take, |p| matches!(p, BufferPlace::Output(_))).max(first_made);
        place(&mut take, |p| matches!(p, BufferPlace::Stored));
        let (arena, persistent) = (take(bound.arena), take(bound.persistent));
        let work = take(program.workspace);
        for (i, p) in bound.places.iter().enumerate() {
            match p {
                BufferPlace::Arena(at) => buffers[i] = arena + at,
                BufferPlace::Persistent(at) => buffers[i] = persistent + at,
                BufferPlace::Input(_) | BufferPlace::Output(_) | BufferPlace::Stored => {}
            }
        }
        let made = (first_made, made - first_made);
        Layout { buffers, draw, work, given: (draw, given - draw), made, bytes: end.max(ALIGNED) }
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
            let program = Program::emit(&bound, Default::default()).unwrap();
            let layout = Layout::of(&bound, &program);
            let mut areas = vec![(layout.draw, DRAW), (layout.work, program.workspace)];
            areas.extend((0..bound.entry.buffers.len()).map(|i| (layout.buffers[i], bound.buffer_bytes(i))));
            areas.sort_unstable();
            assert!(areas.iter().all(|a| a.0 + a.1 <= layout.bytes && a.0 % 64 == 0));
            assert!(areas.windows(2).all(|w| w[0].0 + w[0].1 <= w[1].0), "{areas:?}");
            for (i, buffer) in bound.entry.buffers.iter().enumerate() {
                let (from, to) = (layout.buffers[i], layout.buffers[i] + bound.buffer_bytes(i));
                let within = |area: (usize, usize)| area.0 <= from && to <= area.0 + area.1;
                assert_eq!(within(layout.given), buffer.kind == BufferKind::Input, "{}", buffer.name);
                assert_eq!(within(layout.made), buffer.kind == BufferKind::Output, "{}", buffer.name);
            }
        }
    }
}
