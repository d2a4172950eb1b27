//! Specs and files that mean harm, or are broken: each ends in a message, soon, and within bounds of memory.
//!
//! In: arguments, specs and files in a temporary folder. Out: nothing. Invariants: exit code 1 or 2 and something on standard error;
//! never a fault (3), a signal, or a file that is half written. Imports: nothing of this project; it runs the binary.

mod uadc;

use uadc::{Ran, Scratch};

/// Virtual memory of a run in KiB: 256 MiB of stack for the checker are among it.
const MEMORY: u32 = 3 << 20;

/// Seconds of processor time until a run is killed: a debug build takes many times what a release build does.
const WORK: u32 = 20;

/// Seconds until a run is killed that waits for something.
const WAIT: u32 = 300;

/// Runs a line of Bash within the bounds, and expects it to fail with a message.
fn refused(scratch: &Scratch, line: &str) -> Ran {
    let run = scratch.shell(&format!("ulimit -v {MEMORY}; ulimit -t {WORK}; timeout -s KILL {WAIT} {line}"));
    assert!(matches!(run.code, 1 | 2), "{line}: {run:?}");
    assert!(!run.err.trim().is_empty() && !run.err.contains("internal fault"), "{line}: {run:?}");
    assert!(run.err.len() < 1 << 20, "{line}: {} bytes of messages", run.err.len());
    run
}

/// A detector with this in its body.
fn spec(items: &str, body: &str) -> String {
    format!(
        "use data.tensor\n{items}\ndetector d {{\n  input x: f32[b, 4] from tensor\n  {body}\n  score {{ map = x }}\n}}\n"
    )
}

const TINY: &str = "use data.tensor\ndetector tiny {\n  input x: f32[b, 4] from tensor\n  state w: f32[4] = normal(0, 1)\n  \
                    score { map = x * w }\n}\n";

#[test]
fn hostile_bodies() {
    let bodies = [
        "let a = repeat(1000000000000) half",
        "let a = x |> repeat(1000000000000) half",
        "let a = x |> repeat(0 - 1) half",
        "let a = zeros[1000000000000, 1000000000000]",
        "let a = zeros[9223372036854775807] + ones[9223372036854775807]",
        "let a = 9223372036854775807 + 1",
        "let a = 9223372036854775807 * 9223372036854775807 * x",
        "let a = (0 - 9223372036854775807 - 1) / (0 - 1)",
        "let a = (0 - 9223372036854775807 - 1) % (0 - 1)",
        "let a = x[:, 9223372036854775807]",
        "let a = x[:, 9223372036854775807..9223372036854775807]",
        "let a = x[b d -> b (d d d d d d d d)]",
        "let a = pad(x, 1, 9223372036854775807, 9223372036854775807)",
        "let a = window(x, 1, 9223372036854775807, 9223372036854775807)",
        "let a = window(x, 1, 2, 0)",
        "let a = [i for i in 0..9000000000]",
        "let a = [[[[i for i in 0..1000] for j in 0..1000] for k in 0..1000] for l in 0..1000]",
        "let a = forever(1)",
        "let a = ping(1)",
        "let a = fib(70, x)",
        "let a = double(double(double(double(double(double([x, x]))))))",
        "let a = a",
        "iterate 1000000000000 with a = x { a <- a + nothing }",
        "let a = sum([i * i for i in 0..100000], axis: 7)",
        "weight w: f32[1000000000000, 1000000000000] = zeros",
        "weight w: f32[9223372036854775807, 2] = zeros",
        "param n: int = 9223372036854775808",
        "param n: int = 99999999999999999999999999999999999999",
        "let a = iota[1000000000000000]",
        "let a = random.permutation[0 - 5]",
        "let a = concat([x for i in 0..100000], 1)[:, 1000000]",
    ];
    let items = "fn half(x: f32[...]) -> f32[...] { x / 2 }\nfn forever(n: int) -> f32 { forever(n + 1) }\n\
                 fn ping(n: int) -> f32 { pong(n + 1) }\nfn pong(n: int) -> f32 { ping(n + 1) }\n\
                 fn double(l: list f32[...]) -> list f32[...] { [[a, a] for a in l] }\n\
                 fn fib(n: int, x: f32[...]) -> f32[...] { if n < 2 { x } else { fib(n - 1, x) + fib(n - 2, x) } }";
    let scratch = Scratch::new("hostile-bodies");
    for body in bodies {
        scratch.file("d.uad", &spec(items, body));
        refused(&scratch, "$UADC check d.uad");
    }
}

#[test]
fn huge_expansions() {
    let scratch = Scratch::new("hostile-expansions");
    // Each level doubles what the one before it made: 2^60 in the end.
    let lists: String = (0..60).map(|n| format!("let a{} = [a{n}, a{n}]\n  ", n + 1)).collect();
    let flat: String = (0..60).map(|n| format!("let a{} = concat([a{n}, a{n}], 1)\n  ", n + 1)).collect();
    let functions: String =
        (0..60).map(|n| format!("fn f{}(x: f32[...]) -> f32[...] {{ f{n}(f{n}(x)) }}\n", n + 1)).collect();
    let types: String = (0..60).map(|n| format!("let a{} = a{n}[b d -> b d new]\n  ", n + 1)).collect();
    let within: String = (0..3000).map(|n| format!("let a{} = [a{n}]\n  ", n + 1)).collect();
    let zips: String = (0..60).map(|n| format!("let a{} = zip(a{n}, a{n})\n  ", n + 1)).collect();
    let texts = [
        spec("", &format!("let a0 = [x]\n  {lists}let z = a60[0] + nothing")),
        spec("", &format!("let a0 = [1]\n  {lists}let z = a60[0] + nothing")),
        spec("", &format!("let a0 = x\n  {within}let z = nothing")),
        spec("", &format!("let a0 = [x]\n  {zips}let z = nothing")),
        spec("", &format!("let a0 = x\n  {flat}let z = nothing")),
        spec(&format!("fn f0(x: f32[...]) -> f32[...] {{ x * 2 }}\n{functions}"), "let z = f60(x)"),
        spec("", &format!("let a0 = x\n  {types}let z = nothing")),
        spec("block k(n: int)(x: f32[...]) -> f32[...] { k(n + 1)(k(n + 1)(x)) }", "let z = k(0)(x)"),
        spec("", "let z = (x |> repeat(10000) repeat(10000) repeat(10000) half)"),
    ];
    for text in texts {
        scratch.file("d.uad", &text);
        refused(&scratch, "$UADC check d.uad");
    }
}

#[test]
fn deep_nesting() {
    let scratch = Scratch::new("hostile-nesting");
    for n in [300, 10_000, 300_000] {
        let pairs =
            [("(", ")"), ("[", "]"), ("-", ""), ("not ", ""), ("{", "}"), ("if x { ", " }"), ("f(", ")"), ("x[", "]")];
        for (open, close) in pairs {
            scratch.file("d.uad", &spec("", &format!("let a = {}x{}", open.repeat(n), close.repeat(n))));
            refused(&scratch, "$UADC check d.uad");
        }
        for text in [
            spec("", &format!("let a = x{}", " + x".repeat(n))).replace("map = x", "map = y"),
            spec("", &format!("let a = x{} + y", " |> f".repeat(n))),
            spec("", &format!("let a: {}f32 = x", "list ".repeat(n))),
            spec("", &format!("let a = x[{}b{} -> b]", "(".repeat(n), ")".repeat(n))),
            spec("", &"if true { ".repeat(n)),
            spec("", &format!("{}let a = x", "@train ".repeat(n))),
        ] {
            scratch.file("d.uad", &text);
            refused(&scratch, "$UADC check d.uad");
        }
    }
    refused(&scratch, "$UADC fmt --check d.uad");
    refused(&scratch, "$UADC emit --form ast d.uad");
}

#[test]
fn things_that_are_no_specs() {
    let scratch = Scratch::new("hostile-files");
    let line = "mkdir folder.uad; mkfifo pipe.uad; ln -s loop.uad loop.uad; printf '\\xff\\xfe\\x00d' > latin.uad; : > empty.uad; \
                head -c 1000000 /dev/urandom > noise.uad; head -c 5000000 /dev/zero > long.uad; head -c 1000000 /dev/zero > zero.uad; \
                yes 'let { ( [ \"' | head -c 1000000 > junk.uad; yes | tr -d '\\n' | head -c 1000000 > word.uad; \
                yes 'detector d { score { map = x } }' | head -c 300000 > many.uad";
    assert_eq!(scratch.shell(line).code, 0);
    for name in ["folder", "pipe", "loop", "latin", "noise", "long", "zero", "junk", "word", "many", "empty", "missing"]
    {
        let file = format!("{name}.uad");
        // A file without a detector is a module.
        let first = usize::from(name == "empty");
        for command in &["check", "emit --form graph", "build -o out.uadx"][first..] {
            let run = refused(&scratch, &format!("$UADC {command} {file}"));
            assert!(run.err.contains(&file), "{run:?}");
        }
        if name != "empty" && name != "many" {
            refused(&scratch, &format!("$UADC fmt {file}"));
        }
    }
    refused(&scratch, "$UADC check /dev/zero");
    refused(&scratch, "$UADC check /dev/null");
    assert!(!scratch.path("out.uadx").exists());
}

#[test]
fn imports_that_go_nowhere() {
    let scratch = Scratch::new("hostile-imports");
    scratch.file("a.uad", &format!("use b.{{f}}\nfn g(x: f32) -> f32 {{ f(x) }}\n{}", spec("", "let y = g(1)")));
    scratch.file("b.uad", "use a.{g}\nfn f(x: f32) -> f32 { g(x) }\n");
    scratch.file("own.uad", &format!("use own.{{f}}\n{}", spec("", "let y = f(1)")));
    scratch.file("up.uad", &format!("use .. .secret.{{f}}\n{}", spec("", "let y = f(1)")));
    scratch.file("none.uad", &format!("use nothing.{{f}}\n{}", spec("", "let y = f(1)")));
    for n in 0..400 {
        scratch.file(&format!("m{n}.uad"), &format!("use m{}.{{f}}\nfn g(x: f32) -> f32 {{ f(x) }}\n", n + 1));
    }
    scratch.file("chain.uad", &format!("use m0.{{f}}\n{}", spec("", "let y = f(1)")));
    for name in ["a", "own", "up", "none", "chain"] {
        refused(&scratch, &format!("$UADC check {name}.uad"));
    }
}

#[test]
fn settings_that_make_no_sense() {
    let scratch = Scratch::new("hostile-set");
    scratch.file(
        "d.uad",
        "use data.tensor\ndetector d {\n  param n: int = 4\n  input x: f32[b, n] from tensor\n  score { map = x }\n}\n",
    );
    let deep = format!("n={}1{}", "(".repeat(20_000), ")".repeat(20_000));
    for set in [
        "n",
        "=",
        "=4",
        "n=",
        "n=x",
        "n=-1",
        "n=9223372036854775807",
        "n=9223372036854775808",
        "n=1e300",
        "n=1/0",
        "n=[1]",
        "n=\"t\"",
        "n=4;",
        "n=4)",
        "m=4",
        "n=fn",
        "n={",
        "n=\u{1F600}",
        "n=9223372036854775807*2",
        "n=4 // x\n)",
        &deep,
    ] {
        let run = refused(&scratch, &format!("$UADC build d.uad -o out.uadx --set '{set}'"));
        assert!(!scratch.path("out.uadx").exists(), "{set}: {run:?}");
    }
    refused(&scratch, "$UADC check d.uad --set n=3 --set n=nothing");
    refused(&scratch, "$UADC check d.uad --detector nothing");
}

#[test]
fn sizes_beyond_memory() {
    let scratch = Scratch::new("hostile-sizes");
    for size in ["1000000, 1000000", "200000, 200000", "50000, 50000"] {
        let text = TINY
            .replace("score", &format!("state v: f32[{size}] = normal(0, 1)\n  score"))
            .replace("x * w", "x * w + sum(v)");
        scratch.file("tiny.uad", &text);
        refused(&scratch, "$UADC build tiny.uad -o out.uadx");
    }
    for body in [
        "let v = zeros[200000, 200000] + x[0, 0]",
        "let v = concat([x for i in 0..90000], 1)[b n -> b n new] * iota[50000]",
    ] {
        scratch
            .file("tiny.uad", &TINY.replace("score", &format!("{body}\n  score")).replace("x * w", "x * w + max(v)"));
        refused(&scratch, "$UADC build tiny.uad -o out.uadx");
    }
    assert!(!scratch.path("out.uadx").exists());
}

/// A folder with a bundle, tensors, and broken forms of them.
fn broken(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    scratch.file("tiny.uad", TINY).file("note.txt", "this is a text\n").file("map.toml", "[weights]\n\"w\" = \"w\"\n");
    scratch.file("bad.toml", "[weights\n").file("case/case.json", "{").file("empty-case/case.json", "{}");
    let line = "$UADC build tiny.uad -o good.uadx && head -c 300 good.uadx > cut.uadx && head -c -1 good.uadx > short.uadx && \
                cp good.uadx altered.uadx && printf X | dd of=altered.uadx bs=1 seek=200 conv=notrunc status=none && : > empty.uadx && \
                mkdir folder.uadx case.uadx && mkfifo pipe.uadx && head -c 100000 /dev/urandom > noise.uadx && cp note.txt text.uadx && \
                cp note.txt picture.png && printf 'PK\\003\\004xxxxxxxxxxxxxxxx' > w.pth && cp good.uadx case/outputs.safetensors";
    let run = scratch.shell(line);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(scratch.shell("$UADC verify good.uadx").code, 0);
    scratch
}

#[test]
fn broken_bundles_are_refused_by_name() {
    let scratch = broken("hostile-bundles");
    for name in ["cut", "short", "altered", "empty", "folder", "pipe", "noise", "text", "missing"] {
        let file = format!("{name}.uadx");
        for command in [
            format!("verify {file}"),
            format!("bench {file}"),
            format!("emit {file}"),
            format!("run {file} picture.png"),
            format!("run {file} --tensors good.uadx -o out.safetensors"),
        ] {
            let run = refused(&scratch, &format!("$UADC {command}"));
            assert!(run.err.contains(&file), "{command}: {run:?}");
        }
        let run = scratch.shell(&format!("$UADC verify {file} --json"));
        assert!(run.code == 1 && run.out.contains(&file) && run.json()["error"].is_object(), "{run:?}");
    }
    assert!(!scratch.path("out.safetensors").exists());
}

#[test]
fn wrong_kinds_of_files() {
    let scratch = broken("hostile-kinds");
    for command in [
        "run good.uadx --tensors note.txt -o out.safetensors",
        "run good.uadx --tensors good.uadx -o out.safetensors --entry nothing",
        "run good.uadx --tensors w.pth -o out.safetensors",
        "run good.uadx --tensors pipe.uadx -o out.safetensors",
        "run good.uadx --tensors good.uadx -o out.safetensors --trace nothing",
        "run good.uadx picture.png",
        "run good.uadx missing.png",
        "run good.uadx",
        "verify tiny.uad",
        "check good.uadx",
        "build good.uadx",
        "build tiny.uad -o out.uadx --weights note.txt:map.toml",
        "build tiny.uad -o out.uadx --weights w.pth:map.toml",
        "build tiny.uad -o out.uadx --weights pipe.uadx:map.toml",
        "build tiny.uad -o out.uadx --weights folder.uadx:map.toml",
        "build tiny.uad -o out.uadx --weights missing:map.toml",
        "build tiny.uad -o out.uadx --weights good.uadx:bad.toml",
        "build tiny.uad -o out.uadx --weights good.uadx:note.txt",
        "build tiny.uad -o out.uadx --weights good.uadx:pipe.uadx",
        "build tiny.uad -o out.uadx --weights pipe.uadx",
        "build tiny.uad -o out.uadx --weights folder.uadx",
        "build tiny.uad -o out.uadx --weights :",
        "compare tiny.uad case --names map.toml",
        "compare tiny.uad empty-case --names map.toml",
        "compare tiny.uad missing --names map.toml",
        "compare tiny.uad note.txt --names map.toml",
        "compare tiny.uad case --names bad.toml",
        "compare tiny.uad case --names good.uadx",
        "emit tiny.uad --entry nothing",
        "explain E99999999999999999999",
        "new ../outside",
        "new 'a b'",
        "new tiny",
    ] {
        refused(&scratch, &format!("$UADC {command}"));
    }
    assert!(!scratch.path("out.safetensors").exists() && !scratch.path("out.uadx").exists());
}

/// A PNG of this size with 16 bits in four channels, and no pixels.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut head = b"IHDR".to_vec();
    head.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
    head.extend([16, 6, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(&head);
    bytes.extend(crc(&head).to_be_bytes());
    bytes.extend(b"\0\0\x10\0IDATx\x01");
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |c: u32, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 };
    !bytes.iter().fold(!0, |c, b| (0..8).fold(c ^ u32::from(*b), step))
}

#[test]
fn images_that_unfold() {
    let scratch = Scratch::new("hostile-images");
    scratch.file(
        "d.uad",
        "use data.{rgb, resize, image}\ndetector d {\n  input x: image[b, 3, 8, 8] from rgb |> resize(8, 8)\n  \
         score { map = mean(x, axis: 1) }\n}\n",
    );
    let run = scratch.shell("$UADC build d.uad -o d.uadx");
    assert_eq!(run.code, 0, "{run:?}");
    let bmp = |w: i32, h: i32, depth: u8| {
        let head: &[u8] = b"BM\xff\xff\xff\x7f\0\0\0\0\x36\0\0\0\x28\0\0\0";
        [head, &w.to_le_bytes(), &h.to_le_bytes(), &[1, 0, depth, 0], &[0; 24]].concat()
    };
    let jpeg = b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x22\0\x02\x11\x01\x03\x11\x01\xff\xd9";
    let entry = |tag: u8, value: u32| [&[tag, 1, 4, 0, 1, 0, 0, 0][..], &value.to_le_bytes()].concat();
    let tiff = |w: u32, h: u32| {
        let entries = [entry(0, w), entry(1, h), entry(6, 1), entry(17, 8), entry(23, 9)].concat();
        [&b"II*\0\x08\0\0\0\x05\0"[..], &entries, &[0; 4]].concat()
    };
    let webp = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\xff\xff\xff\xff\xff\xff";
    let images = [
        ("widest.png", png(u32::MAX >> 1, u32::MAX >> 1)),
        ("wide.png", png(1 << 16, 1 << 16)),
        ("most.png", png(1 << 14, 1 << 14)),
        ("long.png", png(1 << 28, 1)),
        ("none.png", png(0, 5)),
        ("wide.bmp", bmp(i32::MAX, i32::MIN, 32)),
        ("most.bmp", bmp(1 << 14, 1 << 14, 24)),
        ("packed.bmp", bmp(1 << 14, -(1 << 14), 1)),
        ("wide.jpg", jpeg.to_vec()),
        ("wide.tif", tiff(u32::MAX, u32::MAX)),
        ("most.tif", tiff(1 << 14, 1 << 14)),
        ("wide.webp", webp.to_vec()),
        ("cut.png", png(9, 9)),
        ("gif.png", b"GIF89a\xff\xff\xff\xff\0\0\0;".to_vec()),
        ("svg.png", b"<svg width='1e9' height='1e9'/>".to_vec()),
    ];
    for (name, bytes) in images {
        std::fs::write(scratch.path(name), bytes).unwrap();
        let run = refused(&scratch, &format!("$UADC run d.uadx {name} -o out"));
        assert!(run.err.contains(name), "{run:?}");
    }
}

#[test]
fn tensors_that_unfold() {
    let scratch = broken("hostile-tensors");
    let safe = |name: &str, header: &str| {
        let length = (header.len() as u64).to_le_bytes();
        std::fs::write(scratch.path(name), [&length[..], header.as_bytes()].concat()).unwrap();
    };
    safe("holes", r#"{"x":{"dtype":"F32","shape":[134217728,4],"data_offsets":[0,2147483648]}}"#);
    safe("narrow", r#"{"x":{"dtype":"U8","shape":[268435456,4],"data_offsets":[0,1073741824]}}"#);
    safe("endless", r#"{"x":{"dtype":"F32","shape":[68719476736,4],"data_offsets":[0,1099511627776]}}"#);
    let line = "truncate -s $((2147483648 + 8 + 73)) holes; truncate -s $((1073741824 + 8 + 72)) narrow; \
                truncate -s $((1099511627776 + 8 + 78)) endless";
    assert_eq!(scratch.shell(line).code, 0);
    safe("wraps", r#"{"x":{"dtype":"F32","shape":[9223372036854775808,4],"data_offsets":[0,0]}}"#);
    safe("beyond", r#"{"x":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}"#);
    safe("deep", &"{\"x\":".repeat(200_000));
    safe("many", &"[".repeat(1_000_000));
    let files: [(&str, &[u8]); 9] = [
        ("length", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"),
        ("short", b"\x02\0\0\0"),
        ("marks.pth", &[b"\x80\x02".to_vec(), vec![b'('; 1_000_000]].concat()),
        ("lists.pth", &[b"\x80\x02".to_vec(), b"](".repeat(500_000), b"e".repeat(500_000)].concat()),
        ("string.pth", b"\x80\x02X\xff\xff\xff\x7fabc"),
        ("bytes.pth", b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc"),
        ("number.pth", b"\x80\x02\x8b\xff\xff\xff\x7fabc"),
        ("code.pth", b"\x80\x02cos\nsystem\nX\x0b\0\0\0touch owned\x85R."),
        ("end.zip", b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f\xff\xff\xff\x7f\0\0"),
    ];
    for (name, bytes) in files {
        std::fs::write(scratch.path(name), bytes).unwrap();
    }
    let safe = ["holes", "narrow", "endless", "wraps", "beyond", "deep", "many"];
    for name in safe.into_iter().chain(files.iter().map(|f| f.0)) {
        let run = refused(&scratch, &format!("$UADC run good.uadx --tensors {name} -o out.safetensors"));
        assert!(run.err.contains(name), "{run:?}");
        let run = refused(&scratch, &format!("$UADC build tiny.uad -o out.uadx --weights {name}:map.toml"));
        assert!(run.err.contains(name), "{run:?}");
    }
    assert!(!scratch.path("out.safetensors").exists() && !scratch.path("out.uadx").exists());
    assert!(!scratch.path("owned").exists());
}

#[test]
fn names_files_that_mean_harm() {
    let scratch = broken("hostile-names");
    let texts = [
        format!("[weights]\n\"w\" = \"w[{}0{}]\"", "(".repeat(100_000), ")".repeat(100_000)),
        format!("[weights]\n\"{}\" = \"w\"", "{i}".repeat(20_000)),
        format!("[weights]\n\"{}w\" = \"w\"", "*".repeat(20_000)),
        format!("x = {}", "[".repeat(200_000)),
        "[weights]\n\"w\" = \"w.view(9223372036854775807, 9223372036854775807)\"".to_owned(),
        "[weights]\n\"w\" = \"w[9223372036854775807:-9223372036854775807]\"".to_owned(),
        "[weights]\n\"w\" = \"v\"".to_owned(),
        "[weights]\n".to_owned(),
        "[weights]\n\"nothing\" = \"w\"".to_owned(),
        "root = \"..\"\n[weights]\n\"w\" = \"w\"".to_owned(),
        "\u{0}".to_owned(),
    ];
    for text in texts {
        scratch.file("hostile.toml", &format!("{text}\n").replace("[weights]", "ignore = [\"uad.*\"]\n[weights]"));
        refused(&scratch, "$UADC build tiny.uad -o out.uadx --weights good.uadx:hostile.toml");
    }
    assert!(!scratch.path("out.uadx").exists());
}

#[test]
fn outputs_that_cannot_be_written() {
    let scratch = broken("hostile-outputs");
    let before = scratch.shell("ls -A; sha256sum good.uadx").out;
    for command in [
        "build tiny.uad -o /dev/full",
        "build tiny.uad -o missing/out.uadx",
        "build tiny.uad -o folder.uadx",
        "build tiny.uad -o note.txt/out.uadx",
        "build tiny.uad -o ''",
        "build tiny.uad -o /proc/out.uadx",
        "build tiny.uad --exe missing/out",
        "build tiny.uad --exe folder.uadx",
        "emit tiny.uad > /dev/full",
        "check tiny.uad --paths > /dev/full",
        "explain > /dev/full",
        "demo --out note.txt",
        "demo --out /proc/demo",
    ] {
        refused(&scratch, &format!("$UADC {command}"));
    }
    // A file system that is full: the old bundle stays, and no part of the new one does.
    refused(&scratch, "bash -c 'ulimit -f 1; trap \"\" XFSZ; exec $UADC build tiny.uad -o good.uadx --seed 7'");
    assert_eq!(scratch.shell("ls -A; sha256sum good.uadx").out, before);
    assert!(scratch.shell("test -c /dev/full").code == 0);
}
