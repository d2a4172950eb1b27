//! What errors say, and what trees look like: snapshots.
//!
//! In: `tests/errors/*.uad`, and small sources here. Out: `tests/snapshots`. Invariants: files are found, never listed.
//! Imports: the public API.

use std::path::Path;
use uad_grammar::{SyntaxError, parse, parse_expr, print};

/// `line:column: message`, with the text of the place, the label and the help.
fn told(text: &str, error: &SyntaxError) -> String {
    let (start, end) = (error.span.start as usize, error.span.end as usize);
    let before = &text[..start];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    let help = error.help.as_ref().map_or(String::new(), |help| format!("\n    help: {help}"));
    format!("{line}:{column}: {}\n    `{}` {}{help}\n", error.message, &text[start..end], error.label)
}

#[test]
fn errors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "uad"));
    paths.sort();
    assert!(paths.len() >= 5);
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let (file, errors) = parse(&text);
        print(&file);
        let shown: String = errors.iter().map(|error| told(&text, error)).collect();
        insta::assert_snapshot!(format!("errors_{}", path.file_stem().unwrap().to_string_lossy()), shown);
    }
}

#[test]
fn trees() {
    let sources = [
        (
            "items",
            "use a.b.{c}\n\
            unit image: f32 in [0, 1]\n\
            source rgb: image[3, H, W]\n\
            /// What slots ask.\n\
            type s = (f32[b, ...]) -> list f32[b, _]\n",
        ),
        (
            "block",
            "@weights(\"w\") block l(out: int, bias: bool = true)(x: f32[..., in]) -> f32[..., out] {\n\
            \x20\x20weight w: f32[out, in] = xavier\n\
            \x20\x20if bias { x @ w[out in -> in out] + b } else { x }\n\
            }\n",
        ),
        (
            "pipe",
            "fn f(x: f32) { x\n\
            \x20\x20|> @train jitter(scale: 20)\n\
            \x20\x20|> repeat(n) layer(h)(pos) as \"a.b\"\n\
            \x20\x20// why\n\
            \x20\x20|> each g }\n",
        ),
        (
            "stage",
            "detector d {\n\
            \x20\x20state s: f32[n] = 0,  t: f32\n\
            \x20\x20stage a { s <- all(x); minimise l over **.w, b with adam(lr: 1e-3) over rest with sgd()\n\
            \x20\x20\x20\x20epochs: 3,  batch: 8 }\n\
            \x20\x20score { let (m, _) = f(x)\n\
            \x20\x20\x20\x20map = -m[:, new, 1..] }\n\
            }\n\
            detector e = d { n: 3, slot_a }\n",
        ),
        ("precedence", "fn f() { not a == b and c or -x.y * 2 + 3 @ d |> g }\n"),
        ("iterate", "fn f() { iterate j in 0..n with a = x, b = y until c > 1 every 10 { a[i] <- b } }\n"),
    ];
    for (name, text) in sources {
        let (file, errors) = parse(text);
        assert!(errors.is_empty(), "{name}: {errors:?}");
        insta::assert_snapshot!(format!("tree_{name}"), format!("{text}\n{file:#?}\n\n{}", print(&file)));
    }
}

#[test]
fn one_expression() {
    for text in
        ["384", "wide_resnet50(taps: [1, 2, 3])", "[0.5, -1e-4]", "(size - 1) / 2", "\"train\"", "train", "true"]
    {
        assert!(parse_expr(text).is_ok(), "{text}");
    }
    let bad = ["", "1 +", "f(", "a b", "let x = 3", "1; 2", "x = 3", "\"a", "$", "99999999999999999999"];
    let shown: Vec<String> = bad
        .iter()
        .map(|text| match parse_expr(text) {
            Ok(expr) => format!("{text}: parsed as {expr:?}\n"),
            Err(error) => format!("{text}: {}", told(text, &error)),
        })
        .collect();
    insta::assert_snapshot!("one_expression", shown.join(""));
}
