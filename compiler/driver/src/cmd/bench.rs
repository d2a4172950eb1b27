//! `uadc bench`: how fast a detector scores, or a stage makes its steps.
//!
//! In: a bundle, or a spec. Out: times per call, per image, memory; with `--profile` the time of every kernel. Invariants: inputs
//! are set before the clock starts; at least 15 calls are timed, after warm-up; memory is the process's peak.
//! Imports: build, compiled, device, engine; bundles.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use uad_kernels::cpu::program::KernelTime;
use uad_plan::tensor::Tensor;
use uad_plan::{Binding, DType};
use uad_runtime::bundle::Bundle;
use uad_runtime::device::executor::{Draw, Executor};

use super::build;
use crate::args::Bench;
use crate::compiled::{self, Feed};
use crate::engine::{Engine, InMemory, default_threads};
use crate::failure::{Done, Failure};
use crate::terminal::{Look, bytes, out};
use crate::weights;

/// Calls before the clock starts.
const WARM: usize = 5;
/// Without `--iters`: calls until this time is over, but not fewer than [`FEWEST`].
const TIME: Duration = Duration::from_secs(2);
const FEWEST: usize = 15;

/// Runs it.
pub fn run(args: &Bench) -> Done {
    let start = Instant::now();
    let mut engine = open(args)?;
    let opened = start.elapsed();
    let dims = args.dim.iter().map(|(n, v)| {
        let value = v.parse::<i64>().ok().filter(|v| *v > 0);
        value
            .map(|v| (n.clone(), v))
            .ok_or_else(|| Failure::Usage(format!("--dim {n}={v}: expected a positive integer")))
    });
    let dims = dims.collect::<Done<Vec<_>>>()?;
    let binding = build::sizes(&engine, &args.entry, i64::from(args.batch), &dims)?;
    let executor = engine.executor(&args.entry, &binding)?;
    let ready = start.elapsed();
    fill(executor)?;
    executor.run(Draw::default())?;
    let first = start.elapsed();
    let times = measure(args, executor)?;
    let kernels = if args.profile { profile(executor)? } else { Vec::new() };
    report(args, &binding, [opened, ready, first], times, &kernels, executor)
}

fn open(args: &Bench) -> Done<Engine> {
    if args.bundle.extension().is_some_and(|e| e == "uad") {
        let compiled = compiled::check(&args.bundle, &args.choice, Feed::new())?;
        if args.entry == "score" {
            return Ok(Engine::new(compiled.plan("score", &[])?, build::seeded(&compiled, 0)?, &args.engine));
        }
        // A stage: its step, also with what it keeps for each weight.
        let stage = args.entry.split('.').next().unwrap_or_default();
        let mut stored = weights::Tensors::new();
        weights::initialise(&compiled, 0, &mut stored)?;
        weights::initialise_stage(&compiled, 0, stage, &mut stored)?;
        return Ok(Engine::new(compiled.stage_plan(stage)?, Arc::new(InMemory(stored)), &args.engine));
    }
    if args.entry != "score" {
        return Err(Failure::Usage("a bundle holds `score` alone; give the spec to measure a stage".to_owned()));
    }
    if args.choice.detector.is_some() || !args.choice.set.is_empty() {
        return Err(Failure::Usage("--detector and --set belong to a spec; a bundle is built already".to_owned()));
    }
    Engine::of_bundle(Bundle::open(Path::new(&args.bundle)).map_err(Failure::input)?, &args.engine, &[])
}

/// Values as of a photograph: spread over [0, 1].
fn fill(executor: &mut Executor) -> Done {
    for port in executor.bound().inputs.clone().iter().filter(|p| p.dtype == DType::F32) {
        let value = |i: u64| (i.wrapping_mul(2_654_435_761) % 1024) as f32 / 1024.0;
        let values = (0..port.shape.iter().product::<usize>() as u64).map(value).collect();
        let tensor = Tensor::f32(&port.shape, values).map_err(|e| Failure::Fault(e.to_string()))?;
        executor.set_input(&port.name, &tensor).map_err(Failure::Fault)?;
    }
    Ok(())
}

fn measure(args: &Bench, executor: &mut Executor) -> Done<Vec<f64>> {
    (0..WARM).try_for_each(|_| executor.run(Draw::default()))?;
    let (mut times, start) = (Vec::new(), Instant::now());
    let more = |done: usize| match args.iters {
        Some(n) => done < n as usize,
        None => done < FEWEST || start.elapsed() < TIME,
    };
    while more(times.len()) {
        let call = Instant::now();
        executor.run(Draw::default())?;
        times.push(call.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Median nanoseconds per kernel over a few runs.
fn profile(executor: &mut Executor) -> Done<Vec<(String, u64)>> {
    let runs = (0..9).map(|_| executor.profile()).collect::<Result<Vec<Vec<KernelTime>>, _>>()?;
    let Some(first) = runs.first() else { return Ok(Vec::new()) };
    let middle = |k: usize| {
        let mut times: Vec<u64> = runs.iter().filter_map(|r| Some((r.get(k)?.seconds * 1e9) as u64)).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or(0)
    };
    Ok(first.iter().enumerate().map(|(k, t)| (format!("{:9} {}", t.template, t.scope), middle(k))).collect())
}

fn report(
    args: &Bench,
    binding: &Binding,
    [opened, ready, first]: [Duration; 3],
    times: Vec<f64>,
    kernels: &[(String, u64)],
    executor: &Executor,
) -> Done {
    let at = |q: f64| times.get(((times.len() - 1) as f64 * q) as usize).copied().unwrap_or(f64::NAN);
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    let (median, batch) = (at(0.5), f64::from(args.batch));
    let threads = args.engine.threads.map_or_else(default_threads, usize::from);
    let peak = peak_memory();
    if args.json {
        let kernels: Vec<_> = kernels.iter().map(|(n, t)| json!({ "kernel": n, "us": *t as f64 / 1e3 })).collect();
        out(&format!(
            "{}\n",
            json!({ "median_ms": median, "min_ms": at(0.0), "p90_ms": at(0.9), "calls": times.len(), "batch": args.batch,
                    "per_image_ms": median / batch, "threads": threads, "dims": binding, "open_ms": ms(opened),
                    "ready_ms": ms(ready), "first_score_ms": ms(first), "buffers_bytes": executor.memory(),
                    "peak_rss_bytes": peak, "kernels": kernels })
        ));
        return Ok(());
    }
    let look = Look::stdout();
    let dims: Vec<String> = binding.iter().map(|(n, v)| format!("{n} = {v}")).collect();
    let row = |name: &str, value: String| out(&format!("{}  {value}\n", look.bold(&format!("{name:14}"))));
    row("per call", format!("{median:.2} ms (min {:.2}, p90 {:.2}; {} calls)", at(0.0), at(0.9), times.len()));
    row("per image", format!("{:.2} ms, {:.1} images/s", median / batch, 1e3 * batch / median));
    row("threads", threads.to_string());
    row("dims", dims.join(", "));
    row("first score", format!("{:.1} ms after start (open {:.1}, ready {:.1})", ms(first), ms(opened), ms(ready)));
    row("buffers", bytes(executor.memory() as u64));
    row("peak memory", peak.map_or_else(|| "unknown".to_owned(), bytes));
    let total: u64 = kernels.iter().map(|k| k.1).sum();
    let mut slowest: Vec<&(String, u64)> = kernels.iter().collect();
    slowest.sort_by_key(|k| std::cmp::Reverse(k.1));
    for (name, time) in slowest {
        let share = 100.0 * *time as f64 / total.max(1) as f64;
        out(&format!("{:>10.1} us {share:>5.1} %  {name}\n", *time as f64 / 1e3));
    }
    Ok(())
}

/// The most memory that this process has held, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
