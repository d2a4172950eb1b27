//! Panics of readers that are not ours, which the runtime contains.
//!
//! In: nothing. Out: a hook. Invariants: every other panic is a finding. Imports: the runtime.

use uad_runtime::data::foreign;

/// From here on a panic ends the process, unless it is on a thread for such a reader.
pub fn contain() {
    std::panic::set_hook(Box::new(|info| {
        if std::thread::current().name() != Some(foreign::THREAD) {
            eprintln!("{info}");
            std::process::abort();
        }
    }));
}
