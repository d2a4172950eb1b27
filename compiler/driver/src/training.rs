//! A training run on the terminal.
//!
//! In: events of the loop. Out: one bar that is redrawn, and one line per stage that stays. Invariants: where standard error is no
//! terminal, nothing is redrawn and a line is written now and then; words are for people, the log is for programs.
//! Imports: the terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use uad_runtime::learn::{Event, Report};

use crate::terminal::{Look, bytes, err, grouped};

/// Lines of a stage where nothing is redrawn come at most so often.
const BETWEEN: Duration = Duration::from_secs(10);

/// Tells of a run.
pub struct Teller {
    stages: usize,
    noun: &'static str,
    look: Look,
    drawn: bool,
    bar: Option<ProgressBar>,
    name: String,
    batch: usize,
    steps: u64,
    /// Where this process took the stage over, for the time that is left.
    from: Option<(u64, Instant)>,
    last: Option<Instant>,
    /// Losses of past passes, for the little curve.
    losses: Vec<f64>,
    shown: Option<f32>,
    epoch: (u64, u64),
}

impl Teller {
    /// Of a run of so many stages on samples of this name.
    pub fn new(stages: usize, noun: &'static str) -> Teller {
        Teller {
            stages,
            noun,
            look: Look::stderr(),
            drawn: std::io::stderr().is_terminal(),
            bar: None,
            name: String::new(),
            batch: 1,
            steps: 0,
            from: None,
            last: None,
            losses: Vec::new(),
            shown: None,
            epoch: (0, 0),
        }
    }

    /// Tells of an event.
    pub fn hear(&mut self, event: &Event<'_>) {
        match event {
            Event::Resumed { stage, step } => {
                let text = format!("{} stage `{stage}` at step {}\n", self.look.bold("resumed"), grouped(*step));
                self.line(&text);
            }
            Event::Stage { stage, number, samples, epochs, steps } => {
                self.end();
                let of = if self.stages > 1 { format!(" ({} of {})", number + 1, self.stages) } else { String::new() };
                let noun = self.noun;
                let passes = if *epochs == 1 { "1 pass".to_owned() } else { format!("{} epochs", grouped(*epochs)) };
                let text = format!(
                    "{} {}{of}: {} {noun}s, {passes} of batches of {}, {} steps\n",
                    self.look.bold("stage"),
                    self.look.paint("36", &stage.name),
                    grouped(*samples as u64),
                    stage.batch,
                    grouped(*steps)
                );
                err(&text);
                (self.name, self.batch, self.steps) = (stage.name.clone(), stage.batch, *steps);
                (self.from, self.last, self.shown) = (None, None, None);
                self.losses.clear();
                self.epoch = (0, *epochs);
                self.draw(*steps);
            }
            Event::Features { done, of } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("features {done}/{of}"));
                }
            }
            Event::Cached { bytes: n, found } => {
                let what = if *found { "found on disk" } else { "computed once, kept on disk" };
                self.line(&self.look.dim(&format!("  features: {}, {what}\n", bytes(*n))));
            }
            Event::Step { step, epoch, loss, samples, .. } => self.step(*step, *epoch, *loss, *samples),
            Event::Epoch { epoch, epochs, loss, watched, best, rate } => {
                self.losses.extend(loss);
                self.pass(*epoch, *epochs, *loss, *watched, *best, *rate);
            }
            Event::Done(report) => self.done(report),
            Event::Saved => {}
            Event::Warning(text) => {
                let text = format!("{}: {text}\n", self.look.paint("1;33", "warning"));
                self.line(&text);
            }
        }
    }

    fn draw(&mut self, steps: u64) {
        if !self.drawn {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
        // The template is a constant; a bar without it still counts.
        let template =
            if self.look.color { "  {bar:24.cyan/dim} {pos}/{len}  {msg}" } else { "  {bar:24} {pos}/{len}  {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            let signs = self.look.sign("━╸─", "=> ");
            bar.set_style(style.progress_chars(signs));
        }
        self.bar = Some(bar);
    }

    fn step(&mut self, step: u64, epoch: u64, loss: Option<f32>, samples: usize) {
        self.epoch.0 = epoch;
        let (before, since) = *self.from.get_or_insert_with(|| (step.saturating_sub(1), Instant::now()));
        let Some(bar) = &self.bar else { return };
        bar.set_position(step);
        // A mean over the last twenty steps or so is readable; the last value alone is not.
        let shown = loss.map(|l| self.shown.map_or(l, |s| s + (l - s) * 0.05));
        self.shown = shown;
        let done = (step - before).max(1) as f64;
        let per_step = since.elapsed().as_secs_f64() / done;
        let rate = samples as f64 / per_step.max(1e-9);
        let left = per_step * self.steps.saturating_sub(step) as f64;
        let epoch = if self.epoch.1 > 1 { format!("epoch {}/{}  ", epoch + 1, self.epoch.1) } else { String::new() };
        let loss = shown.map_or_else(String::new, |l| format!("loss {}  ", self.look.bold(&number(l.into()))));
        let curve = curve(&self.losses, 12, self.look);
        bar.set_message(format!("{epoch}{loss}{curve}{} {}s/s  {} left", short(rate), self.noun, duration(left)));
    }

    /// A pass is done: a line, where nothing is redrawn.
    fn pass(&mut self, epoch: u64, epochs: u64, loss: Option<f64>, watched: Option<f64>, best: bool, rate: f64) {
        if self.bar.is_some() || epochs == 1 {
            return;
        }
        let last = epoch + 1 == epochs;
        if !last && self.last.is_some_and(|l| l.elapsed() < BETWEEN) {
            return;
        }
        self.last = Some(Instant::now());
        let loss = loss.map_or_else(String::new, |l| format!("  loss {}", number(l)));
        let watched = watched.map_or_else(String::new, |w| {
            let mark = if best { " (best)" } else { "" };
            format!("  kept by {}{mark}", number(w))
        });
        err(&format!("  epoch {}/{epochs}{loss}{watched}  {} {}s/s\n", epoch + 1, short(rate), self.noun));
    }

    fn done(&mut self, r: &Report) {
        let curve = curve(&self.losses, 40, self.look);
        self.end();
        let tick = self.look.paint("32", self.look.sign("✓", "*"));
        let loss = r.loss.map_or_else(String::new, |l| format!(", loss {}", self.look.bold(&number(l))));
        let kept = match (r.kept, r.best) {
            (Some(e), Some(v)) => format!(", epoch {} kept ({})", e + 1, number(v)),
            _ => String::new(),
        };
        let steps = if r.steps == 1 { "1 step".to_owned() } else { format!("{} steps", grouped(r.steps)) };
        let time = duration(r.seconds);
        err(&format!("  {tick} {}: {steps}{loss}{kept}, {time}  {curve}\n", self.look.paint("36", &r.stage)));
    }

    /// Writes a line above the bar.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| err(text)),
            None => err(text),
        }
    }

    /// Removes the bar.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Four significant digits.
pub fn number(v: f64) -> String {
    let size = v.abs();
    if size == 0.0 || !size.is_finite() {
        return v.to_string();
    }
    if !(1e-4..1e5).contains(&size) {
        return format!("{v:.3e}");
    }
    let digits = (3 - size.log10().floor() as i32).clamp(0, 8);
    format!("{v:.*}", digits as usize)
}

fn short(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// Seconds as people say them: `8 s`, `3 min 20 s`, `2 h 05 min`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0 => format!("{seconds:.1} s"),
        1..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

/// Losses as a little curve, on a logarithmic scale where they allow it.
fn curve(losses: &[f64], width: usize, look: Look) -> String {
    if losses.len() < 2 || !look.unicode {
        return String::new();
    }
    let signs = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let each = losses.len().div_ceil(width).max(1);
    let means: Vec<f64> = losses.chunks(each).map(|c| c.iter().sum::<f64>() / c.len() as f64).collect();
    let log = means.iter().all(|m| *m > 0.0);
    let values: Vec<f64> = means.iter().map(|m| if log { m.ln() } else { *m }).collect();
    let (lo, hi) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    let place = |v: &f64| (((v - lo) / (hi - lo).max(1e-12)) * 7.0).round().clamp(0.0, 7.0) as usize;
    let line: String = values.iter().filter_map(|v| signs.get(place(v))).collect();
    format!("{}  ", look.paint("36", &line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times() {
        let told: Vec<String> = [0.0, 1.0, 123.456, 0.012_346, 3.2e-7, f64::NAN].into_iter().map(number).collect();
        assert_eq!(told, ["0", "1.000", "123.5", "0.01235", "3.200e-7", "NaN"]);
        let told: Vec<String> = [0.25, 8.2, 200.0, 7500.0].into_iter().map(duration).collect();
        assert_eq!(told, ["0.2 s", "8 s", "3 min 20 s", "2 h 05 min"]);
    }

    #[test]
    fn curves_fall() {
        let look = Look { color: false, unicode: true, width: 80 };
        assert_eq!(curve(&[100.0, 10.0, 1.0], 12, look), "█▅▁  ");
        assert_eq!(curve(&[1.0], 12, look), "");
        assert_eq!(curve(&vec![1.0; 100], 10, look).trim().chars().count(), 10);
    }
}
