//! The page itself.
//!
//! In: a [`Report`]. Out: HTML. Invariants: as in the parent module. Pictures stand in the page itself.
//! Imports: charts of the parent module.

use base64::Engine;
use image::codecs::jpeg::JpegEncoder;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::charts::{self, Of};
use super::{Case, Class, Report, Why};
use crate::data::kind::Kind;
use crate::metrics::{Measured, mean};
use crate::show::{Drawing, Panel};

/// Of the JPEGs.
const QUALITY: u8 = 84;

/// The page.
pub fn page(report: &Report) -> Result<String, String> {
    let classes = report.classes.iter().map(|c| class(c, report.of)).collect::<Result<Vec<_>, String>>()?;
    let title = format!("{} on {}", report.detector, report.data);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                header {
                    h1 { (title) }
                    p.soft { (summary(report)) }
                    @for warning in &report.warnings { p { strong.tag.bad { "Note: " } (warning) } }
                }
                main {
                    (tiles(report))
                    (table(report))
                    @if report.classes.len() > 1 {
                        nav aria-label="Classes" {
                            @for (n, c) in report.classes.iter().enumerate() { a href=(format!("#class-{n}")) { (c.name) } }
                        }
                    }
                    @for (n, (c, body)) in report.classes.iter().zip(&classes).enumerate() {
                        section id=(format!("class-{n}")) {
                            @if report.classes.len() > 1 { h2 { (c.name) } }
                            (body)
                        }
                    }
                    section {
                        h2 { "How this was measured" }
                        @for note in &report.notes { p { (note) } }
                        div.table { table {
                            caption.soft hidden { "Facts" }
                            tbody { @for (name, value) in &report.facts { tr { th scope="row" { (name) } td { code { (value) } } } } }
                        } }
                    }
                }
            }
        }
    };
    Ok(page.into_string())
}

fn summary(report: &Report) -> String {
    let sum = |f: fn(&Class) -> usize| report.classes.iter().map(f).sum::<usize>();
    let (normal, anomalous) = (sum(|c| c.normal.len()), sum(|c| c.anomalous.len()));
    let classes = match report.classes.len() {
        1 => String::new(),
        n => format!(" of {n} classes"),
    };
    format!("{} test samples{classes}: {normal} normal, {anomalous} anomalous", normal + anomalous)
}

/// A share as people read it: `.984`, `1.000`; a dash where there is none.
fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |v| format!("{v:.3}"))
}

/// Metrics in the order of the table's columns.
fn figures(c: &Class) -> [Option<f64>; 7] {
    let pixels = |f: fn(&Measured) -> Option<f64>| c.pixels.as_ref().and_then(f);
    let s = &c.samples;
    [s.auroc, s.ap, s.f1_max, pixels(|p| p.auroc), pixels(|p| p.ap), pixels(|p| p.f1_max), pixels(|p| p.aupro)]
}

fn means(report: &Report) -> [Option<f64>; 7] {
    let all: Vec<[Option<f64>; 7]> = report.classes.iter().map(figures).collect();
    std::array::from_fn(|n| mean(all.iter().map(|f| f[n])))
}

fn tiles(report: &Report) -> Markup {
    let m = means(report);
    let judged: Option<Vec<(usize, usize)>> = report.classes.iter().map(Class::judged).collect();
    let of = if report.classes.len() > 1 { ", mean" } else { "" };
    html! {
        div.tiles {
            div.tile { b { (share(m[0])) } span { (report.of.noun()) " AUROC" (of) } }
            @if m[3].is_some() { div.tile { b { (share(m[3])) } span { (report.of.place()) " AUROC" (of) } } }
            @if m[6].is_some() { div.tile { b { (share(m[6])) } span { "AUPRO to " (report.limit) (of) } } }
            @if let Some(judged) = judged {
                @let (false_alarms, caught) = judged.iter().fold((0, 0), |s, j| (s.0 + j.0, s.1 + j.1));
                @let normal: usize = report.classes.iter().map(|c| c.normal.len()).sum();
                @let anomalous: usize = report.classes.iter().map(|c| c.anomalous.len()).sum();
                @if anomalous > 0 { div.tile { b { (caught) " / " (anomalous) } span { "anomalies found" } } }
                @if normal > 0 { div.tile { b { (false_alarms) " / " (normal) } span { "false alarms" } } }
            }
        }
    }
}

fn table(report: &Report) -> Markup {
    let pixels = report.classes.iter().any(|c| c.pixels.is_some());
    let columns = if pixels { 7 } else { 3 };
    let named = |what: &str| ["AUROC", "AP", "F1-max"].map(|m| format!("{what} {m}"));
    let heads = named(report.of.noun()).into_iter().chain(named(report.of.place())).chain(["AUPRO".to_owned()]);
    html! {
        div.table tabindex="0" role="region" aria-label="Metrics of each class" { table {
            thead { tr {
                th scope="col" { "class" }
                @for head in heads.take(columns) { th scope="col" { (head) } }
                th scope="col" { "normal" } th scope="col" { "anomalous" }
            } }
            tbody {
                @for c in &report.classes { tr {
                    th scope="row" { (c.name) }
                    @for v in figures(c).iter().take(columns) { td { (share(*v)) } }
                    td { (c.normal.len()) } td { (c.anomalous.len()) }
                } }
                @if report.classes.len() > 1 { tr.mean {
                    th scope="row" { "mean" }
                    @for v in means(report).iter().take(columns) { td { (share(*v)) } }
                    td { "" } td { "" }
                } }
            }
        } }
    }
}

fn class(c: &Class, kind: Kind) -> Result<Markup, String> {
    let (noun, place) = (kind.noun(), kind.place());
    let threshold = c.boundary.map(|b| b.threshold);
    let mut drawn = vec![chart(
        "Scores",
        &histogram_words(c),
        &charts::histogram(&c.normal, &c.anomalous, threshold)?,
        html! {
            span.key { i.normal {} "normal" } span.key { i.anomalous {} "anomalous" }
            @if threshold.is_some() { span.key { i.dash {} "threshold" } }
        },
    )];
    let lines = |f: fn(&Measured) -> &crate::metrics::Curve| {
        let of = |m: &'_ Measured, what| (!f(m).points.is_empty()).then(|| (f(m).clone(), what));
        let pixels = c.pixels.as_ref().and_then(|p| of(p, Of::Pixels));
        pixels.into_iter().chain(of(&c.samples, Of::Samples)).collect::<Vec<_>>()
    };
    let pixels = c.pixels.as_ref();
    let key = |samples: Option<f64>, pixels: Option<f64>| {
        html! {
            @if samples.is_some() { span.key { i.samples.line {} (noun) " " (share(samples)) } }
            @if pixels.is_some() { span.key { i.pixels.line {} (place) " " (share(pixels)) } }
        }
    };
    let figures = [
        (
            "ROC",
            lines(|m| &m.roc),
            ("false positive rate", "true positive rate"),
            c.samples.auroc,
            pixels.and_then(|p| p.auroc),
        ),
        ("Precision and recall", lines(|m| &m.pr), ("recall", "precision"), c.samples.ap, pixels.and_then(|p| p.ap)),
    ];
    for (title, lines, names, samples, pixels) in figures {
        if !lines.is_empty() {
            let refs: Vec<_> = lines.iter().map(|(l, of)| (l, *of)).collect();
            let words = format!(
                "{title}: {} over {}, area {} for {noun}s, {} for {place}s",
                names.1,
                names.0,
                share(samples),
                share(pixels)
            );
            drawn.push(chart(title, &words, &charts::curves(&refs, names, None)?, key(samples, pixels)));
        }
    }
    if let Some((p, limit)) = pixels.filter(|p| p.aupro.is_some()).map(|p| (p, p.limit)) {
        let words = format!("Per-region overlap over false positive rate, AUPRO {} up to {limit}", share(p.aupro));
        let svg = charts::curves(&[(&p.pro, Of::Pixels)], ("false positive rate", "per-region overlap"), Some(limit))?;
        drawn.push(chart(
            "Per-region overlap",
            &words,
            &svg,
            html! {
                span.key { i.pixels.line {} "AUPRO " (share(p.aupro)) } span.key { "up to a rate of " (limit) }
            },
        ));
    }
    let groups = [
        (Why::Missed, "Anomalous, lowest scores"),
        (Why::Alarming, "Normal, highest scores"),
        (Why::Clear, "Anomalous, highest scores"),
    ];
    let mut shown = Vec::new();
    for (why, title) in groups {
        let cases: Vec<Markup> =
            c.cases.iter().filter(|k| k.why == why).map(|k| case(c, k)).collect::<Result<_, _>>()?;
        if !cases.is_empty() {
            shown.push(html! { h3 { (title) } div.cases { @for k in &cases { (k) } } });
        }
    }
    Ok(html! {
        h3 { "Curves" }
        @if let Some(words) = verdict(c) { p { (words) } }
        div.charts { @for d in &drawn { (d) } }
        @for s in &shown { (s) }
    })
}

/// What the threshold does, in a sentence.
fn verdict(c: &Class) -> Option<String> {
    let ((alarms, caught), boundary) = (c.judged()?, c.boundary?);
    let part =
        |n: usize, of: usize| if of == 0 { String::new() } else { format!(" ({:.1} %)", 100.0 * n as f64 / of as f64) };
    let (normal, anomalous) = (c.normal.len(), c.anomalous.len());
    Some(format!(
        "Above the threshold {:.4} lie {caught} of {anomalous} anomalous samples{} and {alarms} of {normal} normal ones{}.",
        boundary.threshold,
        part(caught, anomalous),
        part(alarms, normal)
    ))
}

fn histogram_words(c: &Class) -> String {
    let range = |scores: &[f32]| {
        let (lo, hi) = scores.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |r, s| (r.0.min(*s), r.1.max(*s)));
        if lo <= hi { format!("from {lo:.4} to {hi:.4}") } else { "none".to_owned() }
    };
    let threshold = c.boundary.map_or_else(String::new, |b| format!("; threshold {:.4}", b.threshold));
    format!("Histogram of scores: normal {}, anomalous {}{threshold}", range(&c.normal), range(&c.anomalous))
}

fn chart(title: &str, words: &str, svg: &str, key: Markup) -> Markup {
    html! {
        figure.chart {
            figcaption { strong { (title) } (key) }
            div role="img" aria-label=(words) { (PreEscaped(svg)) }
        }
    }
}

/// A drawing that stands in the page itself.
fn uri(drawn: &Drawing) -> Result<String, String> {
    let encoded = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    match drawn {
        Drawing::Picture(picture) => {
            let mut bytes = Vec::new();
            let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
            picture.write_with_encoder(encoder).map_err(|e| format!("cannot encode a picture: {e}"))?;
            Ok(format!("data:image/jpeg;base64,{}", encoded(&bytes)))
        }
        Drawing::Svg(text) => Ok(format!("data:image/svg+xml;base64,{}", encoded(text.as_bytes()))),
    }
}

fn case(c: &Class, k: &Case) -> Result<Markup, String> {
    let panel = |(what, drawn): &Panel| Ok((*what, uri(drawn)?));
    let panels: Vec<(&str, String)> = k.panels.iter().map(panel).collect::<Result<_, String>>()?;
    let strip = if panels.len() == 1 { "strip wide" } else { "strip" };
    let normal = k.why == Why::Alarming;
    let tag = c.boundary.map(|b| match (b.anomalous(k.score), normal) {
        (true, true) => ("bad", "false alarm"),
        (false, true) => ("good", "judged normal"),
        (true, false) => ("good", "found"),
        (false, false) => ("bad", "missed"),
    });
    let words = |what: &str| format!("{what} of {}, {}, score {:.4}", k.name, k.kind, k.score);
    Ok(html! {
        article.case {
            header {
                b { (format!("{:.4}", k.score)) }
                @if let Some(b) = c.boundary { span.soft { (format!("normalised {:.3}", b.normalised(k.score))) } }
                span { (k.kind) }
                @if let Some((class, text)) = tag { span class={ "tag " (class) } { (text) } }
                code { (k.name) }
            }
            div class=(strip) {
                @for (what, uri) in &panels {
                    figure {
                        img src=(uri) alt=(words(what)) decoding="async";
                        figcaption { (what) }
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::{Boundary, Method, learn};
    use crate::data::kind::Raw;
    use crate::data::mask::Mask;
    use crate::heatmap::{OwnMap, WHOLE};
    use crate::metrics::{PixelMetrics, samples};
    use crate::show;

    fn report() -> Report {
        let (normal, anomalous) = (vec![0.1, 0.2, 0.3, 0.15, 0.12], vec![0.25, 0.9]);
        let scores: Vec<f32> = normal.iter().chain(&anomalous).copied().collect();
        let truths: Vec<bool> = (0..7).map(|n| n >= 5).collect();
        let mut pixels = PixelMetrics::default();
        pixels.add(&[0.1, 0.4, 0.2, 0.3], &[0, 1, 0, 0], 2).unwrap();
        let boundary = Boundary::new(&learn(&normal, 0.1, Method::Auto).unwrap(), None).unwrap();
        let map = OwnMap { height: 2, width: 2, values: vec![0.1, 0.4, 0.2, 0.3], over: WHOLE };
        let mask = Mask { height: 4, width: 4, values: (0..16).map(|i| u8::from(i % 4 > 1 && i < 8)).collect() };
        let look = show::Look { range: (0.0, 0.5), threshold: Some(boundary.threshold) };
        let case = |why, score| Case {
            why,
            name: "test/<b>\"quoted\"/0.png".to_owned(),
            kind: "a & b".to_owned(),
            score,
            panels: show::panels(&Raw::Image(image::RgbImage::new(4, 4)), Some(&map), Some(&mask), &look),
        };
        let class = Class {
            name: "one".to_owned(),
            samples: samples(&scores, &truths).unwrap(),
            pixels: Some(pixels.measure(0.3, 1).unwrap()),
            cases: vec![
                case(Why::Missed, anomalous[0]),
                case(Why::Alarming, normal[2]),
                case(Why::Clear, anomalous[1]),
            ],
            normal,
            anomalous,
            boundary: Some(boundary),
        };
        let empty = Class { name: "none".to_owned(), ..Class::default() };
        Report {
            detector: "<script>alert(1)</script>".to_owned(),
            limit: 0.3,
            classes: vec![class, empty],
            ..Report::default()
        }
    }

    #[test]
    fn text_is_escaped_pictures_are_described_and_nothing_is_loaded() {
        let text = page(&report()).unwrap();
        assert!(!text.contains("<script") && !text.contains("<b>\"quoted") && text.contains("a &amp; b"));
        assert_eq!(text.matches("<img").count(), 12);
        assert_eq!(text.matches("<img").count(), text.matches("alt=\"").count());
        assert_eq!(text.matches("<svg").count(), text.matches("role=\"img\" aria-label=").count());
        assert_eq!(text.matches("http").count(), text.matches("http://www.w3.org/2000/svg").count());
        assert!(text.matches("src=\"").count() == text.matches("src=\"data:image/jpeg;base64,").count());
        assert_eq!(text, page(&report()).unwrap());
    }
}
