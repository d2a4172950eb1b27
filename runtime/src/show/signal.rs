//! What was found in a signal: its channels over time, each on a ground that is the warmer the higher the score.
//!
//! In: a signal, its map, its truth. Out: an SVG that needs nothing else; scores as CSV and NPY. Invariants: peaks survive whatever the size,
//! as every column of the drawing shows the lowest and the highest sample of its span; names of channels are escaped.
//! Imports: signals, heat maps, whole files.

use std::fmt::Write;
use std::path::PathBuf;

use maud::Render;

use super::{Drawing, Failed, Look, Panel, Written};
use crate::data::mask::Mask;
use crate::data::signal::{Signal, array};
use crate::heatmap::OwnMap;
use crate::whole;

const LEFT: f64 = 64.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;
/// Steps of warmth that are told apart.
const LEVELS: usize = 24;
/// More channels are not drawn.
const MOST_DRAWN: usize = 64;

/// Panels of a report.
pub fn panels(signal: &Signal, map: Option<&OwnMap>, mask: Option<&Mask>, look: &Look) -> Vec<Panel> {
    vec![("signal and scores", Drawing::Svg(draw(signal, map, mask, look, 900.0)))]
}

/// Writes `STEM.svg`, the signal with its scores; `STEM_scores.npy` and `STEM_scores.csv`, the scores of every sample; and
/// `STEM_mask.npy`, 1 where they lie above the threshold.
pub fn write(signal: &Signal, map: &OwnMap, look: &Look, to: impl Fn(&str) -> PathBuf) -> Result<Written, Failed> {
    let mut written = Vec::new();
    let mut one = |field: &'static str, end: &str, bytes: &[u8]| {
        let file = to(end);
        whole::write(&file, bytes).map_err(|e| (file.clone(), e.to_string()))?;
        written.push((field, file));
        Ok(())
    };
    let shape = [map.height, map.width];
    one("anomaly_map", ".svg", draw(signal, Some(map), None, look, 1200.0).as_bytes())?;
    one("scores", "_scores.npy", &array::bytes_of(&shape, &map.values))?;
    one("scores_table", "_scores.csv", table(signal, map).as_bytes())?;
    if let Some(threshold) = look.threshold {
        let mask: Vec<f32> = map.values.iter().map(|v| f32::from(u8::from(*v > threshold))).collect();
        one("pred_mask", "_mask.npy", &array::bytes_of(&shape, &mask))?;
    }
    Ok(written)
}

/// Scores as text: a row per sample of the map, a column per channel.
fn table(signal: &Signal, map: &OwnMap) -> String {
    let mut text = String::from(if signal.rate.is_some() { "time (s)" } else { "sample" });
    for row in 0..map.height {
        let name = signal.names.get(row).filter(|n| map.height > 1 && !n.is_empty());
        let name = name.map_or_else(|| format!("{}", row + 1), |n| n.replace([',', '"', '\n', '\r'], " "));
        let _ = write!(text, ",score {name}");
    }
    text.push('\n');
    let (start, step) = clock(signal, map);
    for column in 0..map.width {
        let _ = write!(text, "{}", rounded(start + step * column as f64));
        for row in 0..map.height {
            let _ = write!(text, ",{}", map.values.get(row * map.width + column).copied().unwrap_or(f32::NAN));
        }
        text.push('\n');
    }
    text
}

/// When the first sample of a map lies, and the step to the next: seconds, or samples where the rate is not known.
fn clock(signal: &Signal, map: &OwnMap) -> (f64, f64) {
    let long = signal.len() as f64 / signal.rate.unwrap_or(1.0);
    let (left, width) = (f64::from(map.over.left), f64::from(map.over.width));
    (left * long, width * long / map.width.max(1) as f64)
}

fn rounded(v: f64) -> f64 {
    (v * 1e6).round() / 1e6
}

/// The signal with its scores and truths, `wide` pixels wide.
fn draw(signal: &Signal, map: Option<&OwnMap>, mask: Option<&Mask>, look: &Look, wide: f64) -> String {
    let channels = signal.values.len().min(MOST_DRAWN);
    let row = (640.0 / channels.max(1) as f64).clamp(22.0, 150.0);
    let (inner, high) = (wide - LEFT - RIGHT, TOP + BOTTOM + row * channels as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" width=\"{wide}\" height=\"{high}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#334155\">\n<rect width=\"{wide}\" height=\"{high}\" fill=\"#fff\"/>\n"
    );
    axis(&mut svg, signal, (inner, row * channels as f64));
    for (n, values) in signal.values.iter().take(channels).enumerate() {
        let top = TOP + row * n as f64;
        if let Some(map) = map {
            warmth(&mut svg, map, (n as f32 + 0.5) / signal.values.len() as f32, look, (top, row, inner));
        }
        if let Some(mask) = mask {
            truth(&mut svg, mask, n, (top, row, inner));
        }
        let name = escaped(signal.names.get(n).map_or("", String::as_str));
        let name = if name.is_empty() { format!("{}", n + 1) } else { name };
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" font-weight=\"600\">{name}</text>",
            LEFT - 8.0,
            top + row / 2.0 + 4.0
        );
        line(&mut svg, values, (top, row, inner));
    }
    if map.is_some() {
        legend(&mut svg, look, (wide, high));
    }
    svg + "</svg>\n"
}

/// Times and the lines that lead up from them.
fn axis(svg: &mut String, signal: &Signal, (inner, tall): (f64, f64)) {
    let long = signal.len() as f64 / signal.rate.unwrap_or(1.0);
    let about = long / 10.0;
    let ten = 10f64.powf(about.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|s| s * ten).find(|s| *s >= about).unwrap_or(10.0 * ten);
    let ticks = (long / step).floor().clamp(0.0, 20.0) as usize;
    for t in 0..=ticks {
        let at = step * t as f64;
        let x = LEFT + inner * at / long.max(f64::MIN_POSITIVE);
        let (low, words) = (TOP + tall, rounded(at));
        let unit = if signal.rate.is_some() { " s" } else { "" };
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {TOP}V{:.1}\" stroke=\"#e2e8f0\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" \
             fill=\"#64748b\">{words}{unit}</text>",
            low + 4.0,
            low + 18.0
        );
    }
}

/// The colour of a part of the range, and how much it covers.
fn color(part: f64) -> (colorous::Color, f64) {
    (colorous::YELLOW_ORANGE_RED.eval_continuous(0.15 + 0.75 * part), (0.9 * part.sqrt()).clamp(0.0, 0.9))
}

/// The ground of a channel; spans of one warmth are one rectangle.
fn warmth(svg: &mut String, map: &OwnMap, place: f32, look: &Look, (top, row, inner): (f64, f64, f64)) {
    let columns = (inner as usize).min(4096);
    let (low, span) = (look.range.0, (look.range.1 - look.range.0).max(f32::MIN_POSITIVE));
    // The highest score of the map's columns that fall into one of the drawing.
    let of = |c: usize| -> Option<usize> {
        let own = |x: f32| ((x - map.over.left) / map.over.width * map.width as f32).floor();
        let (from, to) = (own(c as f32 / columns as f32), own((c + 1) as f32 / columns as f32));
        let y = (place - map.over.top) / map.over.height;
        if !(0.0..1.0).contains(&y) || to < 0.0 || from >= map.width as f32 {
            return None;
        }
        let line = (y * map.height as f32) as usize * map.width;
        let (from, to) = (from.max(0.0) as usize, (to as usize).min(map.width.saturating_sub(1)));
        let values = map.values.get(line + from..=line + to.max(from))?;
        let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Some((((top - low) / span).clamp(0.0, 1.0) * LEVELS as f32).round() as usize)
    };
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for c in 0..columns {
        let Some(level) = of(c).filter(|l| *l > 0) else { continue };
        match runs.last_mut() {
            Some(last) if last.1 == c && last.2 == level => last.1 = c + 1,
            _ => runs.push((c, c + 1, level)),
        }
    }
    let each = inner / columns.max(1) as f64;
    for (from, to, level) in runs {
        let (c, cover) = color(level as f64 / LEVELS as f64);
        let (x, w) = (LEFT + each * from as f64, each * (to - from) as f64);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {:.1}h{w:.1}v{:.1}h-{w:.1}z\" fill=\"#{c:x}\" fill-opacity=\"{cover:.2}\"/>",
            top + 1.0,
            row - 2.0
        );
    }
}

/// A bar below what is truly anomalous.
fn truth(svg: &mut String, mask: &Mask, channel: usize, (top, row, inner): (f64, f64, f64)) {
    let from = channel * mask.width;
    let Some(values) = mask.values.get(from..from + mask.width) else { return };
    let mut at = 0;
    while let Some(first) = values[at..].iter().position(|v| *v != 0).map(|p| p + at) {
        let last = values[first..].iter().position(|v| *v == 0).map_or(values.len(), |p| p + first);
        let x = |i: usize| LEFT + inner * i as f64 / values.len() as f64;
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {:.1}H{:.1}\" stroke=\"#059669\" stroke-width=\"3\"/>",
            x(first),
            top + row - 2.5,
            x(last)
        );
        at = last;
    }
}

/// The channel: lowest and highest sample of each column.
fn line(svg: &mut String, values: &[f64], (top, row, inner): (f64, f64, f64)) {
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    let span = if high > low { high - low } else { 1.0 };
    let y = |v: f64| top + row - 4.0 - (v - low) / span * (row - 8.0);
    let n = values.len();
    let columns = inner as usize;
    let mut path = String::new();
    let mut point = |at: f64, v: f64| {
        let sign = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(path, "{sign}{:.1} {:.1}", LEFT + inner * at / n as f64, y(v));
    };
    if n <= 2 * columns {
        values.iter().enumerate().for_each(|(i, v)| point(i as f64, *v));
    } else {
        for c in 0..columns {
            let (from, to) = (c * n / columns, ((c + 1) * n / columns).min(n));
            let part = &values[from..to];
            let (mut least, mut most) = (0, 0);
            for (i, v) in part.iter().enumerate() {
                if *v < part[least] {
                    least = i;
                }
                if *v > part[most] {
                    most = i;
                }
            }
            for i in [least.min(most), least.max(most)] {
                point((from + i) as f64, part[i]);
            }
        }
    }
    let _ = writeln!(
        svg,
        "<path d=\"{path}\" fill=\"none\" stroke=\"#0f172a\" stroke-width=\"0.9\" stroke-linejoin=\"round\"/>"
    );
}

fn legend(svg: &mut String, look: &Look, (wide, high): (f64, f64)) {
    let (bar, y) = (140.0, high - 18.0);
    let x = wide - RIGHT - bar - 60.0;
    for k in 0..LEVELS {
        let (c, cover) = color((k as f64 + 0.5) / LEVELS as f64);
        let (at, w) = (x + bar * k as f64 / LEVELS as f64, bar / LEVELS as f64);
        let _ =
            write!(svg, "<path d=\"M{at:.1} {y:.1}h{w:.1}v9h-{w:.1}z\" fill=\"#{c:x}\" fill-opacity=\"{cover:.2}\"/>");
    }
    let (low, top) = look.range;
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#64748b\">score {low:.3}</text><text x=\"{:.1}\" y=\"{:.1}\" \
         fill=\"#64748b\">{top:.3}</text>",
        x - 8.0,
        y + 9.0,
        x + bar + 8.0,
        y + 9.0
    );
}

fn escaped(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(12).collect();
    text.render().into_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heatmap::Over;

    fn signal() -> Signal {
        let wave = |k: f64| (0..5000).map(|i| (i as f64 * 0.05 + k).sin()).collect();
        Signal {
            rate: Some(500.0),
            names: vec!["<i>".into(), "v1".into()],
            units: Vec::new(),
            values: vec![wave(0.0), wave(1.0)],
        }
    }

    #[test]
    fn scores_lie_where_their_samples_do() {
        let over = Over { left: 0.1, width: 0.8, ..crate::heatmap::WHOLE };
        let mut values = vec![0.0; 2 * 40];
        values[40 + 20] = 2.0;
        let map = OwnMap { height: 2, width: 40, values, over };
        let look = Look { range: (0.0, 2.0), threshold: Some(1.0) };
        let svg = draw(&signal(), Some(&map), None, &look, 1082.0);
        assert!(svg.contains("&lt;i&gt;") && !svg.contains("<i>"));
        // One hot span: of the second channel, from half the map on, for a fortieth of it.
        let hot: Vec<&str> =
            svg.lines().filter(|l| l.contains("fill-opacity=\"0.90\"/>") && l.starts_with("<path d=\"M5")).collect();
        assert_eq!(hot.len(), 1, "{hot:?}");
        // Whole columns of the drawing: the first may begin a rounding earlier.
        let (left, rest) = hot[0].strip_prefix("<path d=\"M").and_then(|t| t.split_once(" 163.0h")).unwrap();
        let wide = rest.split_once('v').unwrap().0;
        let near = |text: &str, want: f64| (text.parse::<f64>().unwrap() - want).abs() <= 1.0;
        assert!(near(left, 564.0) && near(wide, 20.0), "{hot:?}");
        let text = table(&signal(), &map);
        assert!(text.starts_with("time (s),score <i>,score v1\n1,0,0\n1.2,0,0\n"), "{}", &text[..60]);
        assert!(text.contains("\n5,0,2\n"));
    }

    #[test]
    fn peaks_survive() {
        let mut values = vec![0.0; 100_000];
        values[77_777] = 1.0;
        let mut svg = String::new();
        line(&mut svg, &values, (0.0, 100.0, 300.0));
        assert!(svg.contains(" 4.0"), "the peak is at the top of its row");
    }
}
