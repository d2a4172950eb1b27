//! Where a number that is none comes from.
//!
//! In: the step that fails, what its kernels made. Out: words. The loop goes back to the last checkpoint and comes to the same step with
//! the same bits, looking at every value there; nothing need be kept for it while all is well. Invariants: the step and the place
//! that are named are the first ones. Imports: frames.

use super::feed::Clock;
use super::{Stage, Trouble};
use crate::device::frame::Birth;

/// What is known of a failing step.
pub(super) fn told(stage: &Stage, clock: Clock, born: Option<Birth>, seen: Option<String>) -> Trouble {
    let (name, step, epoch) = (&stage.name, clock.step + 1, clock.epoch + 1);
    let is = |what: &str| if what == "nan" { "a value that is no number" } else { "an infinite value" };
    let place = match born {
        Some(b) if b.given && b.place.starts_with('@') => format!("the features `{}` hold {}", b.place, is(b.what)),
        Some(b) if b.given => format!("`{}` holds {} before the step", b.place, is(b.what)),
        Some(b) if b.place.is_empty() => format!("{} is made by a kernel without a name", is(b.what)),
        Some(b) => format!("{} is made in {}", is(b.what), b.place),
        None => "no kernel of the step makes it".to_owned(),
    };
    let seen = seen.map_or_else(String::new, |s| format!(", first seen in `{s}`"));
    Trouble::input(format!("stage `{name}`, step {step} (epoch {epoch}): {place}{seen}"))
        .help("a lower learning rate, `clip`, or a guard as `maximum(x, 1e-12)` at that place")
}

/// The loss alone is known.
pub(super) fn plain(stage: &Stage, step: u64, epoch: u64, loss: f32) -> Trouble {
    let (name, step, epoch) = (&stage.name, step + 1, epoch + 1);
    Trouble::input(format!("stage `{name}`, step {step} (epoch {epoch}): the loss is {loss}"))
        .help("a lower learning rate, or `clip`")
}
