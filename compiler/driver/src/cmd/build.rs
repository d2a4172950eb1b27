//! `uadc build`: a spec and weights as one runnable file.
//!
//! In: a spec, files of weights. Out: a bundle, or an executable that holds one; code for GPUs beside the bundle or in the executable. Invariants: nothing is written unless all of it
//! is right; the probe in the bundle is what the detector gave on this machine when it was built.
//! Imports: compiled, engine, weights; bundles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::Number;
use uad_compiler::graph::Op;
use uad_compiler::model::{InputInfo, LoaderStep, Static};
use uad_kernels::cuda::nvrtc::Nvrtc;
use uad_kernels::cuda::{Precision, Program, limits};
use uad_plan::tensor::Tensor;
use uad_plan::{Binding, Dim, Plan, Verified};
use uad_runtime::bundle::{Content, exe, v1};
use uad_runtime::device::cuda::code::key;
use uad_runtime::device::cuda::sidecar::{Card, Sidecar, digest};
use uad_runtime::device::executor::StoredBytes;
use uad_runtime::device::memory::fits;

use crate::args::{self, Build, Target};
use crate::compiled::{self, Compiled};
use crate::engine::{Engine, InMemory};
use crate::failure::{Done, Failure};
use crate::terminal::{Look, bytes, count, err};
use crate::weights::{self, Tensors};

/// Runs it.
pub fn run(args: &Build) -> Done {
    let for_gpus = args.target != Target::Cpu;
    if !for_gpus && args.precision != Precision::F32 {
        return Err(Failure::Usage(format!("--precision {} is for GPUs: --target cuda", args.precision)));
    }
    // Looked for first, so that nothing is written without it.
    let compiler = if for_gpus { Some(Nvrtc::find().map_err(Failure::input)?) } else { None };
    let compiled = compiled::check_score(&args.spec, &args.choice)?;
    let content = content(&compiled, args)?;
    let code = compiler.map(|c| gpu_code(&c, &content, args)).transpose()?;
    let look = Look::stderr();
    let path = match (&args.exe, &args.output) {
        (Some(exe_path), _) => {
            let own = std::env::current_exe().map_err(|e| Failure::input(format!("cannot find this program: {e}")))?;
            let runner = std::fs::read(&own).map_err(|e| Failure::file("read", &own, e))?;
            let bundle = content.to_bytes().map_err(Failure::Fault)?;
            let code = code.as_ref().map_or(Ok(Vec::new()), Sidecar::to_bytes).map_err(Failure::Fault)?;
            exe::write(exe_path, &runner, &bundle, &code).map_err(|e| Failure::file("write", exe_path, e))?;
            exe_path.clone()
        }
        (None, output) => {
            let path = output.clone().unwrap_or_else(|| Path::new(&compiled.model.name).with_extension("uadx"));
            content.write(&path).map_err(Failure::input)?;
            path
        }
    };
    let size = std::fs::metadata(&path).map_or(0, |m| m.len());
    let own = compiled.model.stored.iter().filter(|s| s.stage.is_none()).count();
    let seeded = own - content.given(&compiled);
    let from = match (seeded, content.card.weights.len()) {
        (0, _) => "all weights from files".to_owned(),
        (n, 0) => format!("{} from seed {}", count(n, "tensor"), args.seed),
        (n, _) => format!("{} from files, {n} from seed {}", count(content.given(&compiled), "tensor"), args.seed),
    };
    err(&format!("{} {} ({}, {from})\n", look.bold("built"), path.display(), bytes(size)));
    if let Some(code) = code {
        say_code(&code, &path, args)?;
    }
    Ok(())
}

/// Writes code beside the bundle where it is not in the executable, and says what there is.
fn say_code(code: &Sidecar, path: &Path, args: &Build) -> Done {
    let look = Look::stderr();
    if args.exe.is_some() {
        err(&format!("{} for GPUs in it: {}\n", look.bold("code"), code.describe()));
        return Ok(());
    }
    let path = Sidecar::path(path);
    code.write(&path).map_err(Failure::input)?;
    let size = std::fs::metadata(&path).map_or(0, |m| m.len());
    err(&format!("{} {} ({}, {})\n", look.bold("built"), path.display(), bytes(size), code.describe()));
    Ok(())
}

/// The kernels of the score compiled for GPUs.
fn gpu_code(compiler: &Nvrtc, built: &Built, args: &Build) -> Done<Sidecar> {
    let engine =
        Engine::new(built.verified.clone(), Arc::new(InMemory(built.stored.clone())), &args::Engine::default());
    let mut sidecar = Sidecar::new(Card {
        detector: built.card.detector.clone(),
        plan: digest(&built.plan),
        archs: args.arch.clone(),
        batches: args.batch.clone(),
        precision: args.precision.to_string(),
    });
    for batch in &args.batch {
        let bound = engine.bind("score", &sizes(&engine, "score", i64::from(*batch), &[])?)?;
        let program = Program::grouped(&bound, args.precision).map_err(Failure::Fault)?;
        limits::check(&program).map_err(Failure::Fault)?;
        for arch in &args.arch {
            let compiled = compiler.compile(&program.text(), arch).map_err(Failure::input)?;
            sidecar.insert(key(&program, arch), compiled.cubin);
        }
    }
    Ok(sidecar)
}

/// A bundle's content with what was given by files.
struct Built {
    content: Content,
    verified: Verified<Plan<Dim>>,
    given: usize,
}

impl std::ops::Deref for Built {
    type Target = Content;
    fn deref(&self) -> &Content {
        &self.content
    }
}

impl Built {
    fn given(&self, _: &Compiled) -> usize {
        self.given
    }
}

fn content(compiled: &Compiled, args: &Build) -> Done<Built> {
    let weights::Given { values: mut stored, spent } = weights::given(compiled, &args.weights)?;
    let given: Vec<String> = stored.keys().cloned().collect();
    // The first values and the plan, with its text, do not need each other.
    let plan = || compiled.plan("score", &[]).map(|plan| (plan.to_string(), plan));
    let (drawn, plan) = std::thread::scope(|s| {
        let made = std::thread::Builder::new().stack_size(crate::STACK).spawn_scoped(s, plan);
        let drawn = weights::initialise(compiled, args.seed, &mut stored);
        let plan = match made.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(plan)) => plan,
            // The hook has said what happened.
            Ok(Err(_)) => Err(Failure::Fault("the compiler broke off".to_owned())),
            Err(_) => plan(),
        };
        (drawn, plan)
    });
    drawn?;
    let (text, plan) = plan?;
    let is_given = |path: &str| given.binary_search_by(|g| g.as_str().cmp(path)).is_ok();
    let card = v1::Card {
        params: args.choice.set.iter().cloned().collect(),
        stages: stages(compiled, &is_given, &spent),
        seed: args.seed,
        weights: args.weights.clone(),
        ..v1::Card::default()
    };
    let content = packed(compiled, (text, plan.clone()), stored, card)?;
    Ok(Built { content, verified: plan, given: given.len() })
}

/// A bundle of these values and the plan with its text; what the model knows is added to the card.
pub fn packed(
    compiled: &Compiled,
    (text, plan): (String, Verified<Plan<Dim>>),
    stored: Tensors,
    card: v1::Card,
) -> Done<Content> {
    let model = &compiled.model;
    let user: Vec<(String, String)> = compiled.files.files.iter().filter(|f| is_user(&f.0)).cloned().collect();
    let card = v1::Card {
        detector: model.name.clone(),
        producer: format!("uadc {}", env!("CARGO_PKG_VERSION")),
        inputs: model.inputs.iter().map(input).collect(),
        outputs: compiled.graph("score")?.outputs.iter().map(|o| o.0.clone()).collect(),
        files: user.iter().map(|f| f.0.clone()).collect(),
        ..card
    };
    // What a stage has yet to make has no values, and then there is nothing to probe.
    let made = plan.stored.iter().all(|s| stored.contains_key(&s.path));
    let stored = Arc::new(InMemory(stored));
    let mut engine = Engine::new(plan, stored.clone(), &args::Engine::default());
    let (probe_inputs, probe_outputs) = if made { probe(&mut engine, &card)? } else { Default::default() };
    drop(engine);
    let stored = Arc::into_inner(stored).ok_or_else(|| Failure::Fault("the weights are still in use".to_owned()))?.0;
    let spec = compiled::joined(&user);
    Ok(Content { card, plan: text, spec, stored, peers: Tensors::new(), probe_inputs, probe_outputs })
}

fn input(i: &InputInfo) -> v1::Input {
    v1::Input {
        name: i.name.clone(),
        source: i.source.clone(),
        dtype: i.ty.dtype.to_string(),
        dims: i.ty.shape.iter().map(Dim::to_string).collect(),
        steps: i.pipeline.iter().map(step).collect(),
        same_class: i.peer.as_ref().is_some_and(|p| p.same_class),
    }
}

pub fn step(s: &LoaderStep) -> v1::Step {
    let number = |a: &(String, Static)| match &a.1 {
        Static::Int(v) => Some(Number::from(*v)),
        Static::Float(v) => Number::from_f64(*v),
        _ => None,
    };
    v1::Step { name: s.name.clone(), args: s.args.iter().filter_map(number).collect() }
}

/// Is this text the user's, not the library's or that of `--set`?
fn is_user(name: &str) -> bool {
    !name.starts_with("stdlib/") && name != uad_compiler::source::COMMAND_LINE
}

/// A stage is done where files gave all that it would write. What is spent counts where nobody reads it any more.
pub fn stages(compiled: &Compiled, is_given: &dyn Fn(&str) -> bool, spent: &BTreeSet<String>) -> Vec<v1::Stage> {
    let of_detector = compiled.model.stored.iter().filter(|s| s.stage.is_none());
    let own: BTreeSet<&String> = of_detector.map(|s| &s.path).collect();
    let of_score = compiled.model.entry("score").into_iter().flat_map(|g| &g.nodes).filter_map(|n| match &n.op {
        Op::Weight(p) | Op::State(p) => Some(p),
        _ => None,
    });
    let mut read: BTreeSet<&String> = of_score.collect();
    let mut all = Vec::new();
    for s in compiled.model.stages.iter().rev() {
        let mut written = s.writes.iter().filter(|p| own.contains(p)).peekable();
        let there = |p: &String| is_given(p) || spent.contains(p) && !read.contains(p);
        let done = written.peek().is_some() && written.all(there);
        if !done {
            read.extend(&s.reads);
        }
        all.push(v1::Stage { name: s.name.clone(), done, needed: true });
    }
    all.reverse();
    all
}

/// Inputs that every build of a detector gets, and what `score` gives for them.
fn probe(engine: &mut Engine, card: &v1::Card) -> Done<(Tensors, Tensors)> {
    let binding = sizes(engine, "score", 1, &[])?;
    let bound = engine.bind("score", &binding)?;
    let ports = bound.inputs.iter().chain(&bound.outputs).map(|p| bound.buffer_bytes(p.buffer.0 as usize));
    let all = ports.chain([bound.arena, bound.persistent]).fold(0, usize::saturating_add);
    if !fits(all) {
        let name = &card.detector;
        return Err(Failure::input(format!(
            "one call of `{name}` takes {all} bytes, for which this machine has no memory"
        )));
    }
    let mut inputs = BTreeMap::new();
    for (n, port) in bound.inputs.iter().enumerate() {
        // A pattern of waves in [0, 1], the same on every machine.
        let value = |i: usize| {
            let x = (i as u64).wrapping_mul(2_654_435_761).wrapping_add(n as u64 * 97) % 1024;
            x as f64 / 1024.0
        };
        let elements = port.shape.iter().product();
        let tensor = Tensor::from_f64(port.dtype, &port.shape, (0..elements).map(value));
        inputs.insert(port.name.clone(), tensor.map_err(|e| Failure::Fault(e.to_string()))?);
    }
    let outputs = engine.call("score", &inputs)?;
    let keep = outputs.into_iter().filter(|(n, _)| card.outputs.contains(n)).collect();
    Ok((inputs, keep))
}

/// Values for the open dims of an entry: `batch` for `b`, the given ones, a small size for the rest.
pub fn sizes(engine: &Engine, entry: &str, batch: i64, given: &[(String, i64)]) -> Done<Binding> {
    let mut binding = engine.stored_dims(entry)?;
    for dim in &engine.entry(entry)?.dims {
        let value = given.iter().find(|g| g.0 == *dim).map(|g| g.1);
        let usual = match dim.as_str() {
            "b" => batch,
            "H" | "W" => 224,
            _ => 64,
        };
        binding.entry(dim.clone()).or_insert(value.unwrap_or(usual));
    }
    Ok(binding)
}

/// Stored tensors of a model as its initialisers make them.
pub fn seeded(compiled: &Compiled, seed: u64) -> Done<Arc<dyn StoredBytes>> {
    let mut stored = Tensors::new();
    weights::initialise(compiled, seed, &mut stored)?;
    Ok(Arc::new(InMemory(stored)))
}
