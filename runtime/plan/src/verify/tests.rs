//! Every rule of `verify` has a plan that breaks it.
//!
//! In: a right plan with one place changed. Out: assertions. Invariants: the change gives the one violation that is
//! named (others may follow from it). Imports: [`super`].

use super::verify;
use crate::dim::Dim;
use crate::dtype::DType;
use crate::hole::{Hole, Inst, Reg};
use crate::plan::*;
use crate::text::{parse, tests::TINY};

#[track_caller]
fn breaks(text: &str, message: &str) {
    let found = verify(parse(text).unwrap()).expect_err("the plan is wrong");
    assert!(found.iter().any(|v| v.to_string().contains(message)), "{found:#?}");
}

/// [`TINY`] with a part replaced.
#[track_caller]
fn tiny(from: &str, to: &str, message: &str) {
    assert!(TINY.contains(from));
    breaks(&TINY.replacen(from, to, 1), message);
}

/// [`TINY`] changed as a value, where the text form has no such plan.
#[track_caller]
fn value(change: impl FnOnce(&mut Plan<Dim>), message: &str) {
    let mut plan = parse(TINY).unwrap();
    change(&mut plan);
    let found = verify(plan).expect_err("the plan is wrong");
    assert!(found.iter().any(|v| v.message.contains(message)), "{found:#?}");
}

/// An entry of these buffers and kernels.
#[track_caller]
fn entry(body: &str, message: &str) {
    breaks(&format!("uadp 1 plan \"t\" entry e(b, n) {{ {body} }}"), message);
}

#[test]
fn names_are_unique() {
    tiny("  state \"odd name\"", "  weight linear.w f32[]\n  state \"odd name\"", "two stored tensors `linear.w`");
    breaks("uadp 1 plan \"t\" entry e() {} entry e() {}", "two entries `e`");
    breaks("uadp 1 plan \"t\" entry e(b, b) {}", "two dims `b`");
    value(|p| p.entries[0].buffers[1].name = "x".into(), "two buffers `x`");
}

#[test]
fn dims_are_declared_and_no_axes() {
    tiny("entry score(b)", "entry score(n)", "the dim `b` is not declared");
    tiny("entry score(b)", "entry score(b, i0)", "`i0` cannot name a dim");
    value(|p| p.entries[0].dims.push("a b".into()), "`a b` cannot name a dim");
    tiny("linear.w f32[4, 3]", "linear.w f32[4, 2*b]", "neither known nor a name");
}

#[test]
fn samples_lie_along_the_first_axis() {
    tiny("entry score(b) {", "entry score(b) { samples c", "its samples lie along `c`, which is no dim of it");
    let one = |body: &str, message: &str| entry(&format!("samples b {body}"), message);
    one("input %x f32[n, b]", "`x` does not have its samples along its first axis alone");
    one("output %y f32[2*b]", "`y` does not have its samples along its first axis alone");
    let write = r#"map [] "w" { at { r0 = const f32 1; yield r0 } write %s[0] }"#;
    let state = "state s f32[]";
    breaks(
        &format!(
            "uadp 1 plan \"t\" stored {{ {state} }} entry e(b) {{ samples b stored %s f32[] kernels {{ {write} }} }}"
        ),
        "its samples are apart, but it changes what is stored",
    );
}

#[test]
fn buffers_have_a_layout() {
    tiny("strides [1, b]", "strides [1, 4]", "`t` is not dense");
    tiny("input %x f32[b, 3]", "input %x f32[b, 3] strides [1, b]", "`x` is not row-major");
    tiny("strides [1, b]", "strides [1]", "has 2 axes and 1 strides");
    tiny("%bias f32[5]", "%bias f32[6]", "the constant `bias` has 5 elements");
    tiny("%bias f32[5]", "%bias f32[b]", "the constant `bias` has 5 elements");
    tiny("%exact f32[2] = 0.1d, inf", "%exact i32[2] = 0.5, 3", "an element that is no i32");
    tiny("%exact f32[2] = 0.1d, inf", "%exact bool[2] = 1, 2", "an element that is no bool");
}

#[test]
fn stored_tensors_are_those_of_the_plan() {
    tiny("weight linear.w", "weight linear.v", "the plan has no stored tensor `linear.w`");
    tiny("stored %linear.w f32[4, 3]", "stored %linear.w f32[3, 4]", "another type here");
}

#[test]
fn what_is_read_was_written() {
    entry(
        "temp %t f32[2] output %y f32[2] kernels { map [2] \"\" { $0 = %t[i0] at { r0 = $0; yield r0 } write %y[i0] } }",
        "reads `t`, which nothing has written before",
    );
    entry("output %y f32[2]", "the output `y` is never written");
    let add = "temp %t f32[2] input %i i32[2] kernels { scatter_add [2] \"\" { $0 = %i[i0]
        add { r0 = 1.0; yield r0 } write %t[clamp($0, 2)] } }";
    entry(add, "reads `t`, which nothing has written before");
    tiny("$0 = %x[3*i0 + i2]", "$0 = %y[3*i0 + i2]", "reads `y`, which nothing has written before");
}

#[test]
fn given_buffers_are_not_written() {
    tiny("write %t[i0 + b*i1]", "write %x[i0 + b*i1]", "writes `x`, which is given");
    tiny("write %t[i0 + b*i1]", "write %bias[i0 + b*i1]", "writes `bias`, which is given");
    tiny("write %t[i0 + b*i1]", "write %w2[i0 + b*i1]", "writes `w2`, which setup has made");
}

#[test]
fn setup_depends_on_nothing_that_changes() {
    tiny("$0 = %linear.w[3*i0 + i1]", "$0 = %x[3*i0 + i1]", "setup reads the input `x`");
    tiny("write %w2[3*i0 + i1]", "write %y[3*i0 + i1]", "setup writes `y`, which is not temporary");
    tiny("write %t[i0 + b*i1]", "write %linear.w[i0 + b*i1]", "setup reads `linear.w`, which the entry changes");
    tiny(
        "at { r0 = $0; r1 = add r0 r0; yield r1 }",
        "at { r0 = index 0; r1 = draw 0x1 lane 0 element r0 sample r0; yield r1 }",
        "setup draws",
    );
}

#[test]
fn accesses_fit_their_kernel() {
    value(|p| p.entries[0].kernels[0].reads[0].buffer = BufferId(99), "a buffer that does not exist");
    value(|p| drop(p.entries[0].kernels[0].reads[0].strides.pop()), "operand $0 has not one stride per axis");
    value(|p| drop(p.entries[0].kernels[1].reads[0].guards[0].strides.pop()), "operand $0 has not one stride per axis");
    value(|p| drop(p.entries[0].kernels[0].writes[0].strides.pop()), "write 0 has not one stride per axis");
    value(|p| p.entries[0].kernels[0].axes = vec![Dim::int(1); 99], "too many axes");
    let guard = Guard { offset: Dim::int(0), strides: vec![Dim::int(1); 2], extent: Dim::int(4) };
    let many = vec![guard.clone(); 99];
    value(|p| p.entries[0].kernels[1].reads[0].guards = many, "more than 64 guards");
    value(|p| p.entries[0].kernels[1].writes[0].guards = vec![guard], "write 0 has a guard");
    entry(
        "input %x i32[2] output %y i32[2] kernels { map [2] \"\" {
            $0 = %x[i0] if 0 <= i0 < 1 else 0.5 at { r0 = $0; yield r0 } write %y[i0] } }",
        "the fill of operand $0 is no i32",
    );
}

#[test]
fn indices_are_earlier_whole_numbers() {
    let take = |read: &str| {
        format!(
            "input %x f32[2] input %i i32[2] output %y f32[2] kernels {{ map [2] \"\" {{
                $0 = %i[i0] $1 = %x[{read}] at {{ r0 = $1; yield r0 }} write %y[i0] }} }}"
        )
    };
    entry(&take("clamp($1, 2)"), "operand $1 is indexed by $1, no i32 operand before it");
    entry(&take("clamp($7, 2)"), "operand $1 is indexed by $7, no i32 operand before it");
    entry(&take("i0").replace("write %y[i0]", "write %y[clamp($0, 2)]"), "write 0 is indexed");
    let chain: String = (1..8).map(|n| format!("${n} = %i[clamp(${}, 2)] ", n - 1)).collect();
    entry(
        &format!(
            "input %i i32[2] output %y i32[2] kernels {{ map [2] \"\" {{ $0 = %i[i0] {chain}
                at {{ r0 = $7; yield r0 }} write %y[i0] }} }}"
        ),
        "operand $5 is indexed too deeply",
    );
}

#[test]
fn holes_are_typed() {
    tiny("r2 = add r0 r1; yield r2 }\n      write", "r2 = and r0 r1; yield r2 }\n      write", "`and` does not take");
    tiny("r1 = add r0 r0", "r1 = add r0 r1", "uses r1, which is not before it");
    tiny("a { r0 = $0", "a { r0 = $5", "loads operand 5, there are 3");
    tiny("r1 = slot 0; r2 = sub", "r1 = slot 1; r2 = sub", "takes slot 1, there are 1");
    tiny("r9 = index 1", "r9 = index 2", "hole `at` sees no axis i2");
    tiny("yield r1 }\n      write %w2", "yield r7 }\n      write %w2", "the result r7 does not exist");
    tiny("yield r1 }\n      write %w2", "yield r0 r1 }\n      write %w2", "do not fit the writes");
    tiny("r9 = index 1", "r9 = draw 0x1 lane 4 element r7 sample r7", "draws word 4 of four");
    tiny("r9 = index 1", "r9 = draw 0x1 lane 0 element r0 sample r7", "the element and the sample of a draw are i32");
    tiny("yield r5", "yield r7", "hole `at` gives a type that does not fit");
}

#[test]
fn a_kernel_changes_what_it_reads_only_in_place() {
    let plan = |read: &str| {
        format!(
            "uadp 1 plan \"t\" stored {{ weight w f32[4] }} entry e() {{ stored %w f32[4] kernels {{ map [4] \"\" {{
                $0 = %w[{read}] at {{ r0 = $0; yield r0 }} write %w[i0] }} }} }}"
        )
    };
    verify(parse(&plan("i0")).unwrap()).unwrap();
    breaks(&plan("-i0 + 3"), "changes a buffer that is read elsewhere");
}

#[test]
fn rows_have_stages_and_slots() {
    tiny("inner 1", "inner 0", "0 of 2 axes cannot be the row");
    tiny("inner 1", "inner 3", "3 of 2 axes cannot be the row");
    tiny("at 0 {", "at 1 {", "names write 1, which does not exist");
    tiny("at 0 {", "emit 0 {", "loads operand $0, which changes along an axis that it does not see");
    value(
        |p| {
            let a = p.entries[0].kernels[1].writes[0].clone();
            p.entries[0].kernels[1].writes.push(a);
        },
        "write 1 is stored 0 times",
    );
    tiny(
        "reduce sum { r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; yield r3 }",
        "reduce sum { r0 = true; yield r0 }",
        "hole `reduce` gives a type that does not fit",
    );
    tiny("yield r3 }", "yield r3 r3 }", "hole `reduce` has 2 results, not one");
    entry(
        "input %x f32[2, 3] output %y f32[2, 3] kernels { rows [2, 3] inner 1 \"\" {
            emit 0 { r0 = 0.5; yield r0 } write %y[3*i0 + i1] } }",
        "write 0 changes along the row",
    );
}

#[test]
fn dots_have_roles() {
    tiny("as [m, n, k]", "as [m, n]", "3 axes have 2 roles");
    tiny("as [m, n, k]", "as [n, m, k]", "hole `a` loads operand $0, which changes along an axis");
    tiny("as [m, n, k]", "as [m, k, k]", "write 0 changes along a reduced axis");
    tiny("b { r0 = $1", "b { r0 = 3", "hole `b` gives a type that does not fit");
    tiny("a { r0 = $0", "a { r0 = true", "hole `a` gives a type that does not fit");
}

#[test]
fn attention_has_roles() {
    let attention = |roles: &str, q: &str| {
        format!(
            "input %q f32[3, 4] input %k f32[5, 4] output %y f32[3, 4] kernels {{ attention [3, 5, 4, 4] as {roles} \"\" {{
                $0 = %q[4*i0 + i2] $1 = %k[4*i1 + i2] $2 = %k[4*i1 + i3]
                q {{ r0 = {q}; yield r0 }} k {{ r0 = $1; yield r0 }} score {{ r0 = slot 0; yield r0 }}
                v {{ r0 = $2; yield r0 }} out {{ r0 = slot 0; yield r0 }} write %y[4*i0 + i3] }} }}"
        )
    };
    let right = format!("uadp 1 plan \"t\" entry e() {{ {} }}", attention("[t, s, d, e]", "$0"));
    verify(parse(&right).unwrap()).unwrap();
    entry(&attention("[t, s, d]", "$0"), "4 axes have 3 roles");
    entry(&attention("[s, t, d, e]", "$0"), "hole `q` loads operand $0");
    entry(&attention("[t, s, d, e]", "1"), "hole `q` gives a type that does not fit");
    entry(&attention("[t, s, e, d]", "$0"), "write 0 changes along a reduced axis");
}

#[test]
fn the_other_templates_have_rules() {
    let with = |kernel: &str| {
        format!("input %x f32[4, 4] input %i i32[4] output %y f32[4, 4] output %z f32[4] kernels {{ {kernel} }}")
    };
    let x = "$0 = %x[4*i0 + i1]";
    entry(&with("scatter_add [4] \"\" { add { r0 = 1.0; yield r0 } write %z[i0] }"), "writes without an index");
    entry(
        &with("scatter_add [4] \"\" { $0 = %i[i0] add { r0 = true; yield r0 } write %z[clamp($0, 4)] }"),
        "hole `add`",
    );
    let key = "{ r0 = $0; yield r0 }";
    entry(&with(&format!("argsort [4, 4] rising \"\" {{ {x} key {key} write %y[4*i0 + i1] }}")), "types of the writes");
    entry(&with("argsort [] rising \"\" { key { r0 = 1; yield r0 } write %i[0] }"), "the template needs 1 axes");
    entry(&with(&format!("scan [4, 4] argmax \"\" {{ {x} value {key} write %y[4*i0 + i1] }}")), "does not run along");
    entry(
        &with(&format!("scan [4, 4] sum \"\" {{ {x} value {{ r0 = 3; yield r0 }} write %y[0] }}")),
        "types of the writes",
    );
    entry(&with("scan [4] sum \"\" { value { r0 = true; yield r0 } write %z[i0] }"), "hole `value`");
    entry(&with("cholesky [4] \"\" { $0 = %x[i0] write %y[i0] }"), "the template needs 2 axes");
    entry(&with(&format!("cholesky [2, 4] \"\" {{ {x} write %y[4*i0 + i1] }}")), "not square");
    entry(&with("cholesky [4, 4] \"\" { write %y[4*i0 + i1] }"), "one f32 operand");
    entry(&with(&format!("eigh [4, 4] \"\" {{ {x} write %z[i1] }}")), "types of the writes");
    entry(&with(&format!("eigh [4, 4] \"\" {{ {x} write %y[4*i0 + i1] write %y[4*i0 + i1] }}")), "one matrix axis");
}

const LOOP: &str = r#"uadp 1 plan "t" entry e() {
    input %x f32[2] output %y f32[2] temp %n f32[2] temp %i i32[] temp %done bool[] temp %t f32[2]
    kernels { loop [] count 9 "rounds" {
        index %i carry %y from %x then %n until %done every 2
        map [2] "n" { $0 = %y[i0] at { r0 = $0; yield r0 } write %n[i0] }
        map [] "done" { $0 = %i[0] at { r0 = 2; r1 = $0; r2 = le r0 r1; yield r2 } write %done[0] } }
    map [2] "after" { $0 = %y[i0] at { r0 = $0; yield r0 } write %t[i0] } } }"#;

#[track_caller]
fn a_loop(from: &str, to: &str, message: &str) {
    assert!(LOOP.contains(from));
    breaks(&LOOP.replacen(from, to, 1), message);
}

#[test]
fn loops_carry() {
    verify(parse(LOOP).unwrap()).unwrap();
    a_loop("loop []", "loop [2]", "a loop has no axes");
    a_loop("index %i", "index %x", "the index of a loop is an i32 scalar");
    a_loop("until %done", "until %i", "a loop runs until a bool scalar");
    a_loop("from %x", "from %i", "differ in type or layout");
    a_loop("from %x", "from %t", "reads `t`, which nothing has written before");
    a_loop("then %n", "then %t", "reads `t`, which nothing has written before");
    a_loop(
        "$0 = %y[i0] at { r0 = $0; yield r0 } write %t",
        "$0 = %n[i0] at { r0 = $0; yield r0 } write %t",
        "reads `n`",
    );
    a_loop("then %n", "then %n carry %y from %x then %n", "carries `y` twice");
    a_loop("then %n", "then %n carry %t from %x then %y", "another carry copies from");
}

#[test]
fn all_violations_are_found() {
    let text = TINY.replace("strides [1, b]", "strides [1, 4]").replace("inner 1", "inner 7");
    let found = verify(parse(&text).unwrap()).unwrap_err();
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].place, "entry `score`, kernel 1 `softmax \"x\"`");
}

#[test]
fn deep_loops_are_refused() {
    let map = Kernel::<Dim> { scope: String::new(), axes: vec![], reads: vec![], writes: vec![], body: Body::Eigh };
    let mut kernel = map.clone();
    for _ in 0..30 {
        let body = Body::Loop { count: Dim::int(1), index: None, carried: vec![], until: None, body: vec![kernel] };
        kernel = Kernel { body, ..map.clone() };
    }
    value(|p| p.entries[0].kernels.push(kernel), "nested loops");
    let hole = Hole::<Dim> { code: vec![Inst::Op(crate::ScalarOp::Add, vec![Reg(0), Reg(0)])], results: vec![Reg(0)] };
    assert!(hole.types(&[DType::F32], &[]).unwrap_err().contains("not before it"));
}
