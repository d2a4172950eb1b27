//! Units as SVG.
//!
//! In: units. Out: one self-contained SVG. Boxes in boxes are laid out from the inside; a line from a box to a box further
//! outside ends at the border, and goes on inside. Invariants: deterministic; every text is escaped.
//! Imports: units and layout.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::layout::{Level, Placed, place};
use super::units::{Kind, Unit, Units};
use crate::graph::Graph;

/// Space inside a box around its boxes.
const MARGIN: f64 = 18.0;
/// Height of a box's title.
const TITLE: f64 = 34.0;

const STYLE: &str = "\
text{font-family:ui-sans-serif,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:#0f172a}\
.t{font-size:12.5px;font-weight:600}.s{font-size:10px;fill:#64748b}\
.e{font-size:9.5px;fill:#475569}.w{font-size:9.5px;stroke:#fff;stroke-width:3px;stroke-linejoin:round}\
.o{font-size:11px;font-weight:500;fill:#334155}\
.n{font-size:11px;font-weight:700;fill:#fff}.h{font-size:17px;font-weight:700}\
.l{fill:none;stroke:#94a3b8;stroke-width:1.4}.p{fill:none;stroke:#cbd5e1;stroke-width:1.2}\
.b{fill:none;stroke:#f59e0b;stroke-width:1.3;stroke-dasharray:5 3}";

/// Fill and border of blocks.
const COLOURS: [(&str, &str); 8] = [
    ("#eef2ff", "#6366f1"),
    ("#ecfeff", "#0891b2"),
    ("#fdf4ff", "#c026d3"),
    ("#fff7ed", "#ea580c"),
    ("#f0fdfa", "#0d9488"),
    ("#fef2f2", "#dc2626"),
    ("#f5f3ff", "#7c3aed"),
    ("#fefce8", "#ca8a04"),
];

fn colours(unit: &Unit) -> (&'static str, &'static str) {
    match unit.kind {
        Kind::Input => ("#dbeafe", "#2563eb"),
        Kind::Output => ("#dcfce7", "#15803d"),
        Kind::Writes => ("#fef9c3", "#a16207"),
        Kind::Function => ("#f8fafc", "#64748b"),
        Kind::Operations | Kind::Root => ("#ffffff", "#cbd5e1"),
        Kind::Block => COLOURS[unit.colour % COLOURS.len()],
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A count in three digits: `17.5 M`.
fn amount(n: f64) -> String {
    match n {
        n if n >= 1e9 => format!("{:.1} G", n / 1e9),
        n if n >= 1e6 => format!("{:.1} M", n / 1e6),
        n if n >= 1e4 => format!("{:.0} k", n / 1e3),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

/// The second line of a box.
fn subtitle(unit: &Unit) -> String {
    let weights = if unit.weights > 0.0 { format!("{} weights", amount(unit.weights)) } else { String::new() };
    match unit.kind {
        Kind::Input | Kind::Output | Kind::Writes => unit.place.clone(),
        Kind::Block if !weights.is_empty() => weights,
        Kind::Block | Kind::Function if unit.constant => "constant".into(),
        Kind::Block => format!("{} operations", unit.operations),
        Kind::Function | Kind::Operations | Kind::Root => String::new(),
    }
}

/// About how wide a text is.
fn width(text: &str, size: f64) -> f64 {
    let wide = |c: char| match c {
        'i' | 'l' | 'j' | 't' | 'f' | 'r' | '.' | '·' | ' ' | '[' | ']' | ',' => 0.36,
        'm' | 'w' | 'M' | 'W' | '×' | '…' => 0.86,
        c if c.is_ascii_uppercase() => 0.72,
        _ => 0.62,
    };
    text.chars().map(wide).sum::<f64>() * size
}

/// The badge `×4` behind a title, and its width.
fn badge(unit: &Unit) -> (String, f64) {
    if unit.times < 2 {
        return (String::new(), 0.0);
    }
    let text = format!("×{}", unit.times);
    let w = width(&text, 11.0) + 12.0;
    (text, w + 8.0)
}

/// A box with everything in it, placed relative to its corner.
struct Drawn {
    size: (f64, f64),
    inside: Option<Inside>,
}

struct Inside {
    level: Vec<usize>,
    placed: Placed,
    /// Which line of the level is which edge: (from, to, text).
    lines: Vec<(Option<usize>, Option<usize>, String)>,
}

struct Drawing<'u> {
    units: &'u Units,
    drawn: BTreeMap<usize, Drawn>,
    out: String,
}

/// The whole picture.
pub fn draw(graph: &Graph, units: &Units) -> String {
    let mut d = Drawing { units, drawn: BTreeMap::new(), out: String::new() };
    d.measure(0);
    let (w, h) = d.drawn.get(&0).map_or((0.0, 0.0), |r| r.size);
    let (w, h) = ((w + 2.0 * MARGIN).max(320.0), h + 2.0 * MARGIN + 46.0);
    let title = units.all[0].label.clone();
    let about = format!("{} operations, {} weights", graph.nodes.len(), amount(units.all[0].weights));
    let _ = writeln!(
        d.out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w:.0}\" height=\"{h:.0}\" viewBox=\"0 0 {w:.0} {h:.0}\">\n\
         <style>{STYLE}</style>\n\
         <defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path d=\"M0 0.8 7.4 4 0 7.2z\" fill=\"#94a3b8\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text class=\"h\" x=\"{MARGIN}\" y=\"32\">{}</text>\n\
         <text class=\"s\" x=\"{MARGIN}\" y=\"48\">{}</text>",
        escaped(&title),
        escaped(&about),
    );
    let inner = d.drawn.get(&0).map_or(0.0, |r| r.size.0);
    d.contents(0, ((w - inner) / 2.0, MARGIN + 46.0));
    d.out += "</svg>\n";
    d.out
}

impl Drawing<'_> {
    /// The child of `around` that holds `unit`, or `None` where it stands outside.
    fn child(&self, around: usize, unit: usize) -> Option<usize> {
        let mut at = unit;
        while let Some(p) = self.units.all[at].parent {
            if p == around {
                return Some(at);
            }
            at = p;
        }
        None
    }

    /// Sizes of a box and all in it.
    fn measure(&mut self, unit: usize) {
        let u = &self.units.all[unit];
        if u.children.is_empty() {
            let sub = subtitle(u);
            let text = width(&u.label, if u.kind == Kind::Operations { 11.0 } else { 12.5 }) + badge(u).1;
            let w = text.max(width(&sub, 10.0)) + 26.0;
            let h = if sub.is_empty() { 26.0 } else { 40.0 };
            let least = if u.kind == Kind::Operations { 40.0 } else { 84.0 };
            self.drawn.insert(unit, Drawn { size: (w.max(least), h), inside: None });
            return;
        }
        let level: Vec<usize> = u.children.clone();
        for k in &level {
            self.measure(*k);
        }
        // Lines of this level; what comes from outside enters at the top, what leaves goes at the bottom.
        let mut lines: Vec<(Option<usize>, Option<usize>, String)> = Vec::new();
        let mut seen = BTreeSet::new();
        for e in &self.units.edges {
            let ends = (self.child(unit, e.from), self.child(unit, e.to));
            let wanted = match ends {
                (Some(a), Some(b)) => a != b,
                (None, None) => false,
                _ => unit != 0,
            };
            if wanted && seen.insert(ends) {
                let more = if e.values > 1 { format!(" +{}", e.values - 1) } else { String::new() };
                let text =
                    if ends.0.is_some() && ends.1.is_some() { format!("{}{more}", e.label) } else { String::new() };
                lines.push((ends.0, ends.1, text));
            }
        }
        let number = |k: &usize| level.iter().position(|l| l == k);
        let (top, bottom) = (level.len(), level.len() + 1);
        let mut sizes: Vec<(f64, f64)> =
            level.iter().map(|k| self.drawn.get(k).map_or((0.0, 0.0), |d| d.size)).collect();
        sizes.extend([(8.0, 0.0), (8.0, 0.0)]);
        let end = |e: &Option<usize>, outside: usize| e.as_ref().map_or(Some(outside), number).unwrap_or(outside);
        let all = lines.iter().map(|l| (end(&l.0, top), end(&l.1, bottom))).collect();
        let placed = place(&Level { sizes, lines: all });
        let title = width(&u.label, 12.5) + badge(u).1 + width(&subtitle(u), 10.0) + 44.0;
        let head = if unit == 0 { 0.0 } else { TITLE };
        let margin = if unit == 0 { 0.0 } else { MARGIN };
        let size = ((placed.size.0 + 2.0 * margin).max(title), placed.size.1 + head + margin);
        self.drawn.insert(unit, Drawn { size, inside: Some(Inside { level, placed, lines }) });
    }

    /// A box at a place.
    fn unit(&mut self, unit: usize, at: (f64, f64)) {
        let u = &self.units.all[unit];
        let Some(drawn) = self.drawn.get(&unit) else { return };
        let (w, h) = drawn.size;
        let open = drawn.inside.is_some();
        let (fill, stroke) = colours(u);
        let dash = if u.constant { " stroke-dasharray=\"4 3\"" } else { "" };
        let round = match u.kind {
            Kind::Operations | Kind::Input | Kind::Output | Kind::Writes => h.min(40.0) / 2.0,
            Kind::Block | Kind::Function | Kind::Root => 8.0,
        };
        let place = if u.place.is_empty() { String::new() } else { format!(" ({})", u.place) };
        let tip = format!("{}{place}: {} operations", u.label, u.operations);
        let (x, y) = at;
        // A pile of cards for a run.
        if u.times > 1 {
            for n in [2.0, 1.0] {
                let _ = writeln!(
                    self.out,
                    "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"{round:.1}\" \
                     fill=\"{fill}\" stroke=\"{stroke}\" stroke-opacity=\"0.45\"/>",
                    x + 4.0 * n,
                    y + 4.0 * n,
                );
            }
        }
        let opacity = if open { " fill-opacity=\"0.75\"" } else { "" };
        let _ = writeln!(
            self.out,
            "<g><title>{}</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" \
             rx=\"{round:.1}\" fill=\"{}\" stroke=\"{stroke}\" stroke-width=\"1.3\"{dash}/>",
            escaped(&tip),
            if open && u.times > 1 { "#fff" } else { fill },
        );
        if open && u.times > 1 {
            let _ = writeln!(
                self.out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"{round:.1}\" \
                 fill=\"{fill}\"{opacity}/>"
            );
        }
        let sub = subtitle(u);
        let (times, room) = badge(u);
        let size = if u.kind == Kind::Operations { 11.0 } else { 12.5 };
        let class = if u.kind == Kind::Operations { "o" } else { "t" };
        let text = width(&u.label, size);
        let line = match (open, sub.is_empty()) {
            (true, _) => y + 21.0,
            (false, true) => y + h / 2.0 + 4.3,
            (false, false) => y + 17.0,
        };
        // Widths are estimates: a text is held where it must not move.
        let (hold, anchor) = if open { (x + 14.0, "start") } else { (x + (w - room) / 2.0, "middle") };
        let start = if open { hold } else { hold - text / 2.0 };
        let _ = writeln!(
            self.out,
            "<text class=\"{class}\" x=\"{hold:.1}\" y=\"{line:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escaped(&u.label)
        );
        if !times.is_empty() {
            let left = start + text + 7.0;
            let _ = writeln!(
                self.out,
                "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"16\" rx=\"8\" fill=\"{stroke}\"/>\
                 <text class=\"n\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{times}</text>",
                line - 12.2,
                room - 8.0,
                left + (room - 8.0) / 2.0,
                line - 0.3,
            );
        }
        if !sub.is_empty() {
            let (sx, sy, anchor) = if open { (x + w - 14.0, line, "end") } else { (x + w / 2.0, y + 31.5, "middle") };
            let _ = writeln!(
                self.out,
                "<text class=\"s\" x=\"{sx:.1}\" y=\"{sy:.1}\" text-anchor=\"{anchor}\">{}</text>",
                escaped(&sub)
            );
        }
        self.out += "</g>\n";
        if open {
            let inner = self.drawn.get(&unit).and_then(|d| d.inside.as_ref()).map_or(0.0, |i| i.placed.size.0);
            self.contents(unit, (x + (w - inner) / 2.0, y + TITLE));
        }
    }

    /// Lines and boxes of a level.
    fn contents(&mut self, unit: usize, origin: (f64, f64)) {
        let Some(inside) = self.drawn.get_mut(&unit).and_then(|d| d.inside.take()) else { return };
        let move_to = |p: (f64, f64)| (p.0 + origin.0, p.1 + origin.1);
        for (n, line) in inside.lines.iter().enumerate() {
            let points: Vec<(f64, f64)> = inside.placed.lines[n].iter().copied().map(move_to).collect();
            let class = match (inside.placed.back[n], line.0.is_some() && line.1.is_some()) {
                (true, _) => "b",
                (false, true) => "l",
                (false, false) => "p",
            };
            let arrow = if line.1.is_some() { " marker-end=\"url(#a)\"" } else { "" };
            let _ = writeln!(self.out, "<path class=\"{class}\" d=\"{}\"{arrow}/>", curve(&points));
        }
        for (n, k) in inside.level.iter().enumerate() {
            self.unit(*k, move_to(inside.placed.at[n]));
        }
        // Texts over everything, one for all lines of a box with the same shape.
        let mut told = BTreeSet::new();
        for (n, (from, _, text)) in inside.lines.iter().enumerate() {
            if text.is_empty() || !told.insert((*from, text.as_str())) {
                continue;
            }
            let points: Vec<(f64, f64)> = inside.placed.lines[n].iter().copied().map(move_to).collect();
            if let [a, b, ..] = points.as_slice() {
                // Beside the line, on the side that it goes to.
                let left = b.0 < a.0 - 6.0;
                let (x, y) = (a.0 + (b.0 - a.0) * 0.6 + if left { -6.0 } else { 6.0 }, a.1 + (b.1 - a.1) * 0.5 + 3.0);
                let side = if left { "end" } else { "start" };
                // White below, so that a line does not cross the letters.
                let text = escaped(text);
                for class in ["w", "e"] {
                    let _ = writeln!(
                        self.out,
                        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{side}\">{text}</text>"
                    );
                }
            }
        }
        if let Some(d) = self.drawn.get_mut(&unit) {
            d.inside = Some(inside);
        }
    }
}

/// A line through points that leaves and enters vertically.
fn curve(points: &[(f64, f64)]) -> String {
    let mut out = String::new();
    for (n, (x, y)) in points.iter().enumerate() {
        let Some((px, py)) = n.checked_sub(1).map(|p| points[p]) else {
            let _ = write!(out, "M{x:.1} {y:.1}");
            continue;
        };
        if (px - x).abs() < 0.1 {
            let _ = write!(out, "L{x:.1} {y:.1}");
        } else {
            let middle = (py + y) / 2.0;
            let _ = write!(out, "C{px:.1} {middle:.1} {x:.1} {middle:.1} {x:.1} {y:.1}");
        }
    }
    out
}
