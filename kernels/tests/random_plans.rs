//! Random maps and row reductions against the reference interpreter.
//!
//! In: seeds. Out: assertions. Invariants: plans are made so that their accesses are provably inside; operands are
//! permuted, broadcast, shifted under guards, reversed or gathered. Imports: the harness.
#![allow(unsafe_code)]

mod harness;
use harness::{Random, bound, check};

/// A read of a buffer whose dims are some of the axes, in any order, some shifted under a guard: its declaration and
/// its text.
fn read(name: &str, dtype: &str, axes: &[usize], random: &mut Random, via: Option<&str>) -> (String, String) {
    let mut order: Vec<usize> = (0..axes.len()).filter(|_| random.next(4) > 0).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, random.next(i + 1));
    }
    let mut dims: Vec<(String, usize)> = Vec::new();
    let mut guards = Vec::new();
    for a in order {
        let e = axes[a] as i64;
        match random.next(5) {
            0 => {
                // A window beyond both ends.
                let (shift, size) = (random.next(4) as i64 - 1, (e - random.next(3) as i64).max(1));
                let at = format!("i{a} - {shift}").replace("- -", "+ ");
                guards.push(format!("0 <= {at} < {size}"));
                dims.push((format!("({at})"), size as usize));
            }
            1 => dims.push((format!("({} - i{a})", e - 1), e as usize)),
            2 => dims.push((format!("(2*i{a})"), 2 * e as usize)),
            _ => dims.push((format!("i{a}"), e as usize)),
        }
    }
    if let Some(via) = via {
        let at = random.next(dims.len() + 1);
        dims.insert(at, (format!("clamp({via}, 5)"), 5));
    }
    let mut terms: Vec<String> = Vec::new();
    let mut step = 1;
    for (at, extent) in dims.iter().rev() {
        // `(a + b)*s` is written out, as sums of products are what an access has.
        terms.push(match at.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
            Some(sum) => expand(sum, step),
            None => format!("{at}*{step}"),
        });
        step *= extent;
    }
    let shape: Vec<String> = dims.iter().map(|d| d.1.to_string()).collect();
    let sum = if terms.is_empty() { "0".to_owned() } else { terms.join(" + ").replace("+ -", "- ") };
    let guard = if guards.is_empty() {
        String::new()
    } else {
        format!(" if {} else {}", guards.join(", "), if dtype == "bool" { "1" } else { "2" })
    };
    (format!("input %{name} {dtype}[{}] ", shape.join(", ")), format!("%{name}[{sum}]{guard}"))
}

/// `sum * step` for sums of two terms.
fn expand(sum: &str, step: usize) -> String {
    let times = |t: &str| match t.trim().strip_prefix("2*") {
        Some(axis) => format!("{axis}*{}", 2 * step),
        None => match t.trim().parse::<usize>() {
            Ok(n) => (n * step).to_string(),
            Err(_) => format!("{}*{step}", t.trim()),
        },
    };
    if let Some((a, b)) = sum.split_once(" - ") {
        format!("{} - {}", times(a), times(b))
    } else if let Some((a, b)) = sum.split_once(" + ") {
        format!("{} + {}", times(a), times(b))
    } else {
        times(sum)
    }
}

/// `prefix[row-major over axes]`, and its shape.
fn dense(axes: &[usize], which: &[usize]) -> (String, String) {
    let mut terms = Vec::new();
    let mut step = 1;
    for a in which.iter().rev() {
        terms.push(format!("i{a}*{step}"));
        step *= axes[*a];
    }
    let shape: Vec<String> = which.iter().map(|a| axes[*a].to_string()).collect();
    (if terms.is_empty() { "0".to_owned() } else { terms.join(" + ") }, shape.join(", "))
}

fn shuffled(n: usize, random: &mut Random) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, random.next(i + 1));
    }
    order
}

fn reads(axes: &[usize], random: &mut Random) -> (String, String) {
    let mut lines = (String::new(), String::new());
    let list = [("x", "f32", None), ("j", "i32", None), ("z", "f32", Some("$1")), ("m", "bool", None)];
    for (n, (name, dtype, via)) in list.into_iter().enumerate() {
        let via = via.filter(|_| random.next(2) == 0);
        let (declared, text) = read(name, dtype, axes, random, via);
        lines.0 += &declared;
        lines.1 += &format!("${n} = {text}\n");
    }
    lines
}

#[test]
fn maps() {
    for seed in 0..60 {
        let mut random = Random(seed * 31 + 7);
        let axes: Vec<usize> = (0..random.next(4) + 1).map(|_| [1, 2, 3, 5, 17, 40][random.next(6)]).collect();
        let (declared, reads) = reads(&axes, &mut random);
        let (at, shape) = dense(&axes, &shuffled(axes.len(), &mut random));
        let body = format!(
            "{declared} output %y f32[{shape}] kernels {{ map [{}] \"m\" {{ {reads}
            at {{ r0 = $0; r1 = $1; r2 = $2; r3 = $3; r4 = index {}; r5 = add r1 r4; r6 = f32 r5; r7 = fma r0 r2 r6; r8 = select r3 r7 r0
            r9 = tanh r8; r10 = add r9 r7; yield r10 }} write %y[{at}] }} }}",
            axes.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
            random.next(axes.len()),
        );
        check(&bound("", &body), seed + 1, 1e-5, &body);
    }
}

#[test]
fn rows() {
    for seed in 0..60 {
        let mut random = Random(seed * 77 + 3);
        let axes: Vec<usize> = (0..random.next(4) + 2).map(|_| [1, 2, 3, 6, 19, 70][random.next(6)]).collect();
        if axes.iter().product::<usize>() > 200_000 {
            continue;
        }
        let inner = random.next(axes.len() - 1) + 1;
        let outer: Vec<usize> = (0..axes.len() - inner).collect();
        let (declared, reads) = reads(&axes, &mut random);
        let (whole, whole_shape) = dense(&axes, &shuffled(axes.len(), &mut random));
        let (part, part_shape) = dense(&axes, &outer);
        let op = ["sum", "max", "min"][random.next(3)];
        let body = format!(
            "{declared} output %y f32[{whole_shape}] output %s f32[{part_shape}] output %p i32[{part_shape}]
            kernels {{ rows [{}] inner {inner} \"r\" {{ {reads}
            reduce max {{ r0 = $0; r1 = $2; r2 = add r0 r1; yield r2 }}
            reduce {op} {{ r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; yield r3 }}
            reduce argmin {{ r0 = $1; yield r0 }}
            reduce {op} {{ r0 = $0; yield r0 }}
            at 0 {{ r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; r4 = slot 1; r5 = add r3 r4; r6 = $3; r7 = f32 r6; r8 = add r5 r7; yield r8 }}
            emit 1 {{ r0 = slot 3; yield r0 }} emit 2 {{ r0 = slot 2; yield r0 }}
            write %y[{whole}] write %s[{part}] write %p[{part}] }} }}",
            axes.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
        );
        check(&bound("", &body), seed + 1, 2e-4, &body);
    }
}
