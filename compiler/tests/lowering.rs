//! Real detectors, lowered: few kernels, no copies.
//!
//! In: the specs and the library of this repository. Out: verified plans in both forms, numbers of kernels.
//! `UAD_PLANS=DIR` writes graphs and plans to a folder. Imports: the compiler, `uad-plan`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use uad_compiler::graph::{Graph, verify};
use uad_compiler::lower::{LowerOptions, lower};
use uad_compiler::model::{Choice, Model, StoredInfo, elaborate};
use uad_compiler::pass::{PassOptions, optimise};
use uad_compiler::source::{Files, Loader};
use uad_plan::{Binding, Body, DType, Dim, Kernel, Plan, Stored, Tensor, Verified, interp};

struct Folder(PathBuf);

impl Loader for Folder {
    fn load(&self, path: &str) -> Option<String> {
        let name = path.trim_end_matches(".uad");
        std::fs::read_to_string(self.0.join("stdlib").join(format!("{name}.uad"))).ok()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn model(spec: &str, choice: &Choice) -> Model {
    let text = std::fs::read_to_string(root().join("specs").join(format!("{spec}.uad"))).expect("a spec");
    let mut files = Files::one(format!("{spec}.uad"), text);
    let (model, said) = elaborate(&mut files, &Folder(root()), &format!("{spec}.uad"), choice);
    let said: Vec<String> = said.iter().map(|d| format!("{}: {}", d.code, d.message)).collect();
    model.unwrap_or_else(|| panic!("{spec}: {}", said.join("\n")))
}

fn stored(s: &StoredInfo) -> Stored<Dim> {
    Stored { path: s.path.clone(), kind: s.kind, dtype: s.ty.dtype, shape: s.ty.shape.to_vec() }
}

fn lowered(model: &Model, g: &Graph, fuse: bool) -> Verified<Plan<Dim>> {
    let verified = verify(g).unwrap_or_else(|v| panic!("{}", v[0]));
    let entry = lower(&verified, LowerOptions { fuse }).unwrap_or_else(|e| panic!("{e}"));
    let plan =
        Plan { name: model.name.clone(), stored: model.stored.iter().map(stored).collect(), entries: vec![entry] };
    if let Ok(folder) = std::env::var("UAD_PLANS")
        && fuse
    {
        let path = Path::new(&folder).join(format!("{}.{}", model.name, g.name));
        std::fs::write(path.with_extension(format!("{}.uadp", g.name)), plan.to_string()).expect("written");
        std::fs::write(path.with_extension(format!("{}.uadg", g.name)), g.to_string()).expect("written");
    }
    uad_plan::verify(plan).unwrap_or_else(|v| panic!("{}.{}: {}", model.name, g.name, v[0]))
}

fn template(k: &Kernel<Dim>) -> &'static str {
    match &k.body {
        Body::Map(h) if h.as_load().is_some() && k.reads[0].via.is_empty() => "copy",
        Body::Map(_) => "map",
        Body::Rows { .. } => "rows",
        Body::Dot { .. } => "dot",
        Body::Attention { .. } => "attention",
        Body::Loop { .. } => "loop",
        _ => "other",
    }
}

/// The score of a detector: how many kernels of each template run at every call.
fn score(spec: &str, detector: Option<&str>) -> BTreeMap<&'static str, usize> {
    let mut model = model(spec, &Choice { detector: detector.map(str::to_owned), ..Choice::default() });
    let mut counts = BTreeMap::new();
    for g in std::mem::take(&mut model.entries) {
        let g = optimise(g, &PassOptions::default()).unwrap_or_else(|e| panic!("{}", e.pass.unwrap_or("graph")));
        lowered(&model, &g, false);
        let plan = lowered(&model, &g, true);
        if g.name == "score" {
            for k in &plan.entries[0].kernels {
                *counts.entry(template(k)).or_insert(0) += 1;
            }
        }
    }
    eprintln!("{spec} {detector:?}: {counts:?}");
    counts
}

#[test]
fn uniad_is_few_kernels() {
    let counts = score("uniad", None);
    assert_eq!(counts.get("copy"), None);
    assert_eq!(counts["attention"], 12);
    // Two contractions and a reduction per excitation, eight kernels and one attention per layer, little else.
    assert!(counts["map"] <= 12, "{counts:?}");
    assert!(counts.values().sum::<usize>() <= 245, "{counts:?}");
}

#[test]
fn encoders_copy_nothing() {
    for detector in ["resnet50_levels", "mobilenet_v2_levels", "squeezenet1_1_levels", "efficientnet_b0_levels"] {
        let counts = score("encoders", Some(detector));
        assert_eq!(counts.get("copy"), None, "{detector}: {counts:?}");
        assert_eq!(counts["map"], 1, "{detector}: only the normalisation of the image\n{counts:?}");
    }
}

/// Values in -1 to 1 that look random.
fn values(name: &str, dtype: DType, shape: &[Dim], dims: &Binding) -> Tensor {
    let shape: Vec<usize> = shape.iter().map(|d| d.eval(dims).expect("a bound dim") as usize).collect();
    let mut state = name.bytes().fold(17u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
    let values = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / f64::from(1u32 << 30) - 1.0
    });
    let count = shape.iter().product();
    // Counts of steps, and means of squares, are not negative.
    let signed = dtype == DType::F32 && !name.starts_with('@') && !name.ends_with(".v");
    Tensor::from_f64(dtype, &shape, values.take(count).map(|v| if signed { v } else { v.abs() })).expect("a tensor")
}

#[test]
fn uniad_gives_the_same_in_both_forms() {
    let set = [("hidden", "16"), ("heads", "2"), ("layers", "1"), ("window", "3")];
    let mut choice = Choice { set: set.map(|(k, v)| (k.into(), v.into())).to_vec(), ..Choice::default() };
    choice.feed.insert("target".into(), (DType::F32, vec![2, 6, 5, 4]));
    let mut model = model("uniad", &choice);
    let dims = Binding::from([("b".to_string(), 2)]);
    for g in std::mem::take(&mut model.entries).into_iter().filter(|g| g.name != "init") {
        let g = optimise(g, &PassOptions::default()).unwrap_or_else(|e| panic!("{}", e.pass.unwrap_or("graph")));
        let run = |fuse: bool| {
            let plan = lowered(&model, &g, fuse);
            let bound = uad_plan::bind(&plan, &g.name, &dims).unwrap_or_else(|e| panic!("{e}"));
            let named = |kind: fn(&uad_plan::BufferKind) -> bool| {
                let buffers = plan.entries[0].buffers.iter().filter(move |b| kind(&b.kind));
                buffers.map(|b| (b.name.clone(), values(&b.name, b.dtype, &b.shape, &dims)))
            };
            let inputs = named(|k| *k == uad_plan::BufferKind::Input).collect();
            let mut stored: BTreeMap<_, _> = named(|k| *k == uad_plan::BufferKind::Stored).collect();
            let draw = interp::Draw { seed: 1, step: 2, first_sample: 3 };
            let out = interp::run(&bound, &inputs, &mut stored, draw).unwrap_or_else(|e| panic!("{e}"));
            (out, stored)
        };
        let (a, b) = (run(false), run(true));
        for (left, right) in [(&a.0, &b.0), (&a.1, &b.1)] {
            assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
            for (name, x) in left {
                let of = |t: &Tensor, i: usize| t.get(i).expect("in range");
                assert!((0..x.len()).all(|i| of(x, i).is_finite()), "{}: `{name}` is not finite", g.name);
                let apart = |i: usize| (of(x, i) - of(&right[name], i)).abs();
                let worst = (0..x.len()).map(apart).fold(0.0, |w: f64, d| if d > w || d.is_nan() { d } else { w });
                assert!(worst < 1e-4, "{}: `{name}` differs by {worst}", g.name);
            }
        }
    }
}
