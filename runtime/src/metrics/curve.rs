//! Curves to draw.
//!
//! In: points of a curve in order, any number. Out: few enough to draw. Invariants: no corner is further than [`STEP`] from the line
//! that is drawn; first and last point are kept. Imports: nothing of this project.

/// Corners closer than this, along both axes together, are left out.
const STEP: f64 = 1.0 / 400.0;

/// A line through points of the unit square.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Its points.
    pub points: Vec<(f64, f64)>,
    /// The newest point, where it was left out.
    waiting: Option<(f64, f64)>,
}

impl Curve {
    /// A curve through these points.
    pub fn through(points: &[(f64, f64)]) -> Curve {
        Curve { points: points.to_vec(), waiting: None }
    }

    /// The next point.
    pub fn add(&mut self, x: f64, y: f64) {
        match self.points.last() {
            Some(last) if (x - last.0).abs() + (y - last.1).abs() < STEP => self.waiting = Some((x, y)),
            _ => {
                // A long step begins where the short ones before it ended.
                self.points.extend(self.waiting.take());
                self.points.push((x, y));
            }
        }
    }

    /// The last point has been added.
    pub fn end(&mut self) {
        self.points.extend(self.waiting.take());
    }
}
