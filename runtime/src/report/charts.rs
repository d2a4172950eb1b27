//! Charts of a report, as SVG.
//!
//! In: curves, scores. Out: SVG elements. Invariants: every colour is one of a few stand-ins that the page's style sheet replaces, so that charts
//! follow light and dark mode; a chart scales with its place; nothing is loaded from elsewhere. Imports: curves.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::metrics::Curve;

/// Stand-ins; `page.css` has a rule for each.
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const NORMAL: RGBColor = RGBColor(3, 3, 3);
const ANOMALOUS: RGBColor = RGBColor(4, 4, 4);
const SAMPLES: RGBColor = RGBColor(5, 5, 5);
const PIXELS: RGBColor = RGBColor(6, 6, 6);
const LIMIT: RGBColor = RGBColor(7, 7, 7);

/// Units of the drawing: wide enough for the labels on a phone, where a chart takes the whole width.
const SIZE: (u32, u32) = (360, 264);
/// Bars of a histogram.
const BARS: usize = 24;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn drawn(draw: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn std::error::Error>>) -> Result<String, String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(&area).and_then(|()| Ok(area.present()?)).map_err(|e| format!("cannot draw a chart: {e}"))?;
    }
    Ok(text)
}

/// What a curve is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Samples.
    Samples,
    /// Pixels.
    Pixels,
}

/// Curves in the unit square; beyond `limit` the square is shaded.
pub fn curves(lines: &[(&Curve, Of)], names: (&str, &str), limit: Option<f64>) -> Result<String, String> {
    drawn(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(14)
            .x_label_area_size(44)
            .y_label_area_size(54)
            .build_cartesian_2d(0.0..1.0f64, 0.0..1.0f64)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(("sans-serif", 14).into_font().color(&INK))
            .axis_desc_style(("sans-serif", 15).into_font().color(&INK))
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|v| format!("{v:.1}"))
            .y_label_formatter(&|v| format!("{v:.1}"))
            .x_desc(names.0)
            .y_desc(names.1)
            .draw()?;
        if let Some(limit) = limit.filter(|l| *l < 1.0) {
            chart.draw_series([Rectangle::new([(limit, 0.0), (1.0, 1.0)], LIMIT.filled())])?;
        }
        for (curve, of) in lines {
            let color = if *of == Of::Samples { SAMPLES } else { PIXELS };
            let clip = |p: &(f64, f64)| (p.0.clamp(0.0, 1.0), p.1.clamp(0.0, 1.0));
            chart.draw_series(LineSeries::new(curve.points.iter().map(clip), color.stroke_width(2)))?;
        }
        Ok(())
    })
}

/// How many samples have which score, with the threshold as a line.
pub fn histogram(normal: &[f32], anomalous: &[f32], threshold: Option<f32>) -> Result<String, String> {
    let finite = || normal.iter().chain(anomalous).chain(&threshold).copied().filter(|v| v.is_finite()).map(f64::from);
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let (low, high) = if low < high { (low, high) } else { (low.min(0.0) - 0.5, low.max(0.0) + 0.5) };
    let (low, high) = if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
    let step = (high - low) / BARS as f64;
    let counted = |scores: &[f32]| {
        let mut bars = [0u32; BARS];
        for s in scores.iter().filter(|s| s.is_finite()) {
            bars[(((f64::from(*s) - low) / step) as usize).min(BARS - 1)] += 1;
        }
        bars
    };
    let (normal, anomalous) = (counted(normal), counted(anomalous));
    let most = normal.iter().chain(&anomalous).copied().max().unwrap_or(1).max(1);
    let digits = if high - low >= 100.0 { 0 } else { (1.7 - (high - low).log10()).clamp(0.0, 6.0) as usize };
    drawn(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(14)
            .x_label_area_size(44)
            .y_label_area_size(54)
            .build_cartesian_2d(low..high, 0.0..f64::from(most) * 1.06)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(("sans-serif", 14).into_font().color(&INK))
            .axis_desc_style(("sans-serif", 15).into_font().color(&INK))
            .x_labels(5)
            .y_labels(5)
            .x_label_formatter(&|v| format!("{v:.digits$}"))
            .y_label_formatter(&|v| format!("{v:.0}"))
            .x_desc("score")
            .y_desc("samples")
            .draw()?;
        // Both kinds stand side by side within a bar, so that none hides the other.
        for (bars, color, part) in [(&normal, NORMAL, (0.06, 0.5)), (&anomalous, ANOMALOUS, (0.5, 0.94))] {
            let bar = |(i, n): (usize, &u32)| {
                let at = |part: f64| low + (i as f64 + part) * step;
                Rectangle::new([(at(part.0), 0.0), (at(part.1), f64::from(*n))], color.filled())
            };
            chart.draw_series(bars.iter().enumerate().filter(|b| *b.1 > 0).map(bar))?;
        }
        if let Some(at) = threshold.filter(|t| t.is_finite()).map(f64::from) {
            let line = [(at, 0.0), (at, f64::from(most) * 1.06)];
            chart.draw_series(DashedLineSeries::new(line, 5, 4, INK.stroke_width(2)))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_have_only_colours_of_the_sheet_and_load_nothing() {
        let sheet = include_str!("page.css");
        let curve = Curve::through(&[(0.0, 0.0), (0.2, 0.8), (1.0, 1.0)]);
        let charts = [
            curves(&[(&curve, Of::Samples), (&curve, Of::Pixels)], ("false positive rate", "overlap"), Some(0.3))
                .unwrap(),
            histogram(&[0.1, 0.2, f32::INFINITY], &[0.9], Some(0.5)).unwrap(),
            histogram(&[], &[], None).unwrap(),
            histogram(&[2.0], &[2.0], None).unwrap(),
        ];
        for chart in charts {
            assert!(chart.starts_with("<svg") && chart.contains("viewBox"), "{chart}");
            for color in chart.match_indices("=\"#").map(|m| &chart[m.0 + 2..m.0 + 9]) {
                assert!(sheet.contains(color), "{color}");
            }
            assert_eq!(chart.matches("http").count(), chart.matches("http://www.w3.org/2000/svg").count());
        }
    }
}
