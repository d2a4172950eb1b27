//! Checks a spec and prints what the compiler says. In: a path, `--set name=value`, `--detector name`, `--graph entry`.
//! Out: diagnostics, then the typed model. Invariants: none but that it ends.

use uad_compiler::check::check;
use uad_compiler::model::Choice;
use uad_compiler::source::{Files, LibraryOnly};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut choice = Choice::default();
    let mut path = String::new();
    let mut graph = None;
    let mut it = args.into_iter();
    while let Some(a) = it.next() {
        match a.as_str() {
            "--set" => {
                let s = it.next().unwrap();
                let (n, v) = s.split_once('=').unwrap();
                choice.set.push((n.into(), v.into()));
            }
            "--detector" => choice.detector = it.next(),
            "--graph" => graph = it.next(),
            _ => path = a,
        }
    }
    let mut files = Files::one(&path, std::fs::read_to_string(&path).unwrap());
    let t = std::time::Instant::now();
    let (model, out) = check(&mut files, &LibraryOnly, &path, &choice);
    let t = t.elapsed();
    for d in &out {
        println!("{}: {}", d.code, d.message);
        for l in &d.labels {
            let (line, col) = files.line(l.place.file, l.place.span.start as usize);
            let (name, text) = &files.files[l.place.file];
            let piece = &text[l.place.span.start as usize..l.place.span.end as usize];
            println!("    {name}:{line}:{col}: `{}` {}", piece.lines().next().unwrap_or(""), l.text);
        }
        if let Some(h) = &d.help {
            println!("    help: {h}");
        }
        for n in &d.notes {
            println!("    note: {n}");
        }
    }
    if let Some(m) = model {
        match graph {
            Some(g) => {
                if let Some(g) = m.entry(&g) {
                    for (i, n) in g.nodes.iter().enumerate() {
                        println!(
                            "%{i} = {:?} {:?}: {}  @{}",
                            n.op,
                            n.args.iter().map(|a| a.0).collect::<Vec<_>>(),
                            n.ty,
                            g.path(n.scope)
                        );
                    }
                    println!("{:?}\n{:?}\n{:?}", g.outputs, g.writes, g.requires);
                }
            }
            None => println!("{m}"),
        }
    }
    println!("{} findings, {t:?}", out.len());
}
