//! A progress bar on standard error, where that is a terminal.
//!
//! In: how much there is to do and what is done. Out: a line that is redrawn. Invariants: nothing is drawn where standard error is
//! not a terminal; text printed through [`Progress::suspend`] does not mix with the bar. Imports: nothing of this project.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The bar.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar of `total` steps.
    pub fn new(total: usize, doing: &str) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
        // The template is a constant; a bar without it still counts.
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}  {per_sec}  {eta} left") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(doing.to_owned());
        Progress(if total > 1 { bar } else { ProgressBar::hidden() })
    }

    /// `n` more are done.
    pub fn advance(&self, n: usize) {
        self.0.inc(n as u64);
    }

    /// Prints something without the bar in its way.
    pub fn suspend(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
