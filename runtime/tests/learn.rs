//! The loop over stages, with plans written by hand: it needs no compiler.
//!
//! In: a folder of grey pictures, three stages as text. Out: nothing. Invariants: results are those of the arithmetic done by hand; a
//! run that is stopped after any step and resumed has the same bits. Imports: `uad-plan`, `uad-kernels`, `uad-runtime`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use uad_kernels::cpu::{Isa, Pool};
use uad_plan::tensor::Tensor;
use uad_runtime::data::kind::Pipeline;
use uad_runtime::data::load::{Samples, Source, Take, check};
use uad_runtime::data::pipeline::Step;
use uad_runtime::data::set::{Dataset, Options, Split};
use uad_runtime::device::Device;
use uad_runtime::learn::{Event, Job, Keep, Length, Outcome, Plans, Prepared, Stage, Tensors, Trouble, run};

/// Adds the sum of a batch to `w`; the features entry halves what the pictures hold.
const SUM: &str = "\
uadp 1
plan \"t\"
stored { state w f32[] }
entry sum.features(b) {
  input %image f32[b, 3, 2, 2]
  output %\"@0\" f32[b, 12]
  kernels {
    map [b, 12] \"half\" {
      $0 = %image[12*i0 + i1]
      at { r0 = $0; r1 = 0.5; r2 = mul r0 r1; yield r2 }
      write %\"@0\"[12*i0 + i1]
    }
  }
}
entry sum(b) {
  input %\"@0\" f32[b, 12]
  stored %w f32[]
  temp %m f32[]
  kernels {
    dot [b, 12] as [k, k] \"sum\" {
      $0 = %\"@0\"[12*i0 + i1]
      a { r0 = $0; yield r0 }
      b { r0 = 1.0; yield r0 }
      out { r0 = slot 0; yield r0 }
      write %m[0]
    }
    map [] \"add\" {
      $0 = %w[0]
      $1 = %m[0]
      at { r0 = $0; r1 = $1; r2 = add r0 r1; yield r2 }
      write %w[0]
    }
  }
}
";

/// Collects the first pixel of every sample; at the end the sum of their squares replaces `all`.
const ALL: &str = "\
uadp 1
plan \"t\"
stored { state squares f32[] }
entry all(b) {
  input %image f32[b, 3, 2, 2]
  output %first f32[b]
  kernels {
    map [b] \"first\" {
      $0 = %image[12*i0]
      at { r0 = $0; yield r0 }
      write %first[i0]
    }
  }
}
entry all.finish(N) {
  input %first f32[N]
  stored %squares f32[]
  output %list f32[N]
  kernels {
    dot [N] as [k] \"squares\" {
      $0 = %first[i0]
      a { r0 = $0; yield r0 }
      b { r0 = $0; yield r0 }
      out { r0 = slot 0; yield r0 }
      write %squares[0]
    }
    map [N] \"list\" {
      $0 = %first[i0]
      at { r0 = $0; yield r0 }
      write %list[i0]
    }
  }
}
";

/// The mean of a batch's first pixels, and how far `v` is from it.
const MEAN_AND_LOSS: &str = "\
    dot [b] as [k] \"mean\" {
      $0 = %image[12*i0]
      a { r0 = $0; yield r0 }
      b { r0 = 1.0; yield r0 }
      out { r0 = slot 0; r1 = size b; r2 = f32 r1; r3 = div r0 r2; yield r3 }
      write %m[0]
    }
    map [] \"loss\" {
      $0 = %v[0]
      $1 = %m[0]
      at { r0 = $0; r1 = $1; r2 = sub r0 r1; r3 = LOSS r2; yield r3 }
      write %loss[0]
    }
";

/// `v` goes a tenth of the way to the mean of a batch's first pixels, more slowly from step to step; the loss is the distance.
const FOLLOW: &str = "\
uadp 1
plan \"t\"
stored { weight v f32[] }
entry follow(b) {
  input %image f32[b, 3, 2, 2]
  input %\"@step\" f32[]
  stored %v f32[]
  temp %m f32[]
  output %loss f32[]
  kernels {
MEAN_AND_LOSS    map [] \"move\" {
      $0 = %v[0]
      $1 = %m[0]
      $2 = %\"@step\"[0]
      at {
        r0 = $0
        r1 = $1
        r2 = $2
        r3 = 10.0
        r4 = add r2 r3
        r5 = sub r1 r0
        r6 = div r5 r4
        r7 = add r0 r6
        yield r7
      }
      write %v[0]
    }
  }
}
entry follow.watch(b) {
  input %image f32[b, 3, 2, 2]
  stored %v f32[]
  temp %m f32[]
  output %loss f32[]
  kernels {
MEAN_AND_LOSS  }
}
";

struct Home(PathBuf);

impl Home {
    /// Eleven pictures of one shade each.
    fn new(name: &str) -> Home {
        let home = std::env::temp_dir().join(format!("uad-learn-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&home);
        std::fs::create_dir_all(home.join("data")).unwrap();
        for n in 0..11u8 {
            let path = home.join(format!("data/{n:02}.png"));
            image::RgbImage::from_pixel(2, 2, image::Rgb([shade(n); 3])).save(path).unwrap();
        }
        Home(home)
    }

    fn job(&self, stages: Vec<Stage>, resume: bool) -> Job {
        let options = Options { validation: 0.3, ..Options::default() };
        let set = Dataset::open(&self.0.join("data"), &options).unwrap();
        let take = Take { input: "image".into(), source: Source::File(Pipeline::Image(vec![Step::Resize(2, 2)])) };
        let samples = Arc::new(Samples::new(Arc::new(set), vec![take], 100));
        let mut digests = BTreeMap::new();
        let all: Vec<usize> = (0..11).collect();
        check(&samples, &all, 2, |n, d| drop(digests.insert(n, d.unwrap())));
        Job {
            stages,
            samples,
            broken: Vec::new(),
            digests,
            seed: 5,
            folder: self.0.join("work"),
            every: Duration::ZERO,
            identity: BTreeMap::new(),
            resume,
            device: Device::Cpu { pool: Arc::new(Pool::new(2)), isa: Isa::detect() },
            loaders: 2,
            stop: Arc::new(AtomicBool::new(false)),
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn shade(n: u8) -> u8 {
    10 + 20 * n
}

fn stage(name: &str, epochs: u64) -> Stage {
    Stage {
        name: name.to_owned(),
        features: None,
        finish: None,
        collects: Vec::new(),
        replaces: Vec::new(),
        length: Length::Epochs(epochs),
        batch: 3,
        data: Split::Train,
        drop_last: false,
        skip: 0,
        patience: None,
        keep: None,
        watch: None,
        trains: false,
    }
}

fn stages() -> Vec<Stage> {
    let sum = Stage { features: Some("sum.features".into()), skip: 1, ..stage("sum", 2) };
    let finish = Some("all.finish".to_owned());
    let all = Stage { finish, collects: vec!["first".into()], replaces: vec!["list".into()], ..stage("all", 1) };
    let keep = Some(Keep { value: "loss".into(), on: Split::Validation, lowest: true });
    let watch = Some("follow.watch".to_owned());
    let follow = Stage { keep, watch, trains: true, drop_last: true, ..stage("follow", 8) };
    vec![sum, all, follow]
}

fn first() -> Tensors {
    let zero = || Tensor::f32(&[], vec![0.0]).unwrap();
    ["w", "squares", "v"].into_iter().map(|n| (n.to_owned(), zero())).collect()
}

/// The texts above; the loss is this operation of the distance.
struct Written<'a>(&'a str);

impl Plans for Written<'_> {
    fn stage(&mut self, s: &Stage) -> Result<Prepared, Trouble> {
        let text = match s.name.as_str() {
            "sum" => SUM.to_owned(),
            "all" => ALL.to_owned(),
            _ => FOLLOW.replace("MEAN_AND_LOSS", MEAN_AND_LOSS).replace("LOSS", self.0),
        };
        let plan = uad_plan::parse(&text).unwrap_or_else(|e| panic!("{e}"));
        let plan = uad_plan::verify(plan).unwrap_or_else(|v| panic!("{v:?}"));
        Ok(Prepared { plan, first: Tensors::new() })
    }
}

/// Runs a job; `told` sees events and may stop it.
fn go(job: &Job, loss: &str, told: &mut dyn FnMut(&Event<'_>)) -> Result<Outcome, Trouble> {
    run(job, first(), &mut Written(loss), &mut |e| told(&e))
}

fn value(values: &Tensors, name: &str) -> f32 {
    values[name].as_f32().unwrap()[0]
}

#[test]
fn stages_do_their_arithmetic() {
    let home = Home::new("arithmetic");
    let job = home.job(stages(), false);
    let (mut steps, mut best) = (Vec::new(), Vec::new());
    let out = go(&job, "abs", &mut |e| match e {
        Event::Step { step, .. } => steps.push(*step),
        Event::Epoch { best: b, watched: Some(w), .. } => best.push((*b, *w)),
        _ => {}
    })
    .unwrap();
    assert!(!out.stopped && out.done.len() == 3);
    let set = job.samples.set();
    let (train, held) = (set.of(Split::Train), set.of(Split::Validation));
    assert!(held.len() >= 2 && train.len() + held.len() == 11, "{held:?}");
    // Samples stand in the order of their splits; a picture's number is its name.
    let number = |n: usize| set.samples[n].path.file_stem().unwrap().to_string_lossy().parse::<u8>().unwrap();
    let of = |n: &usize| f32::from(shade(number(*n))) / 255.0;
    // Two passes but for the first batch.
    let twice: f32 = 2.0 * train.iter().map(of).sum::<f32>() * 6.0;
    let batches = train.len().div_ceil(3) as u64;
    let w = value(&out.values, "w");
    assert!(w < twice && w > twice - 6.0 * 3.0, "{w} {twice}");
    assert_eq!(out.done[0].steps, 2 * batches - 1);
    let squares: f32 = train.iter().map(|n| of(n) * of(n)).sum();
    assert!((value(&out.values, "squares") - squares).abs() < 1e-4);
    let list: Vec<f32> = train.iter().map(of).collect();
    assert_eq!(out.values["list"].as_f32().unwrap(), list);
    assert_eq!(out.done[2].steps, 8 * (train.len() / 3) as u64);
    // What is kept is what was there when the held out samples were nearest.
    let mean: f32 = held.iter().map(of).sum::<f32>() / held.len() as f32;
    let kept = out.done[2].kept.unwrap() as usize;
    let lowest = best.iter().map(|b| b.1).fold(f64::INFINITY, f64::min);
    assert!(best[kept].0 && (best[kept].1 - lowest).abs() < 1e-12);
    assert!(value(&out.values, "v") > 0.1 && mean > 0.0);
}

#[test]
fn stopped_after_any_step_and_resumed() {
    let home = Home::new("stopped");
    let places = Cell::new(0);
    let calm = go(&home.job(stages(), false), "abs", &mut |e| {
        places.set(places.get() + usize::from(matches!(e, Event::Step { .. } | Event::Features { .. })));
    })
    .unwrap();
    let mut stops = 0;
    for at in 0..200 {
        let work = home.0.join("work");
        let _ = std::fs::remove_dir_all(&work);
        let (job, seen) = (home.job(stages(), false), Cell::new(0));
        let out = go(&job, "abs", &mut |e| {
            if matches!(e, Event::Step { .. } | Event::Features { .. }) {
                if seen.get() == at {
                    job.stop.store(true, Ordering::Relaxed);
                }
                seen.set(seen.get() + 1);
            }
        })
        .unwrap();
        if out.stopped {
            stops += 1;
        } else if seen.get() <= at {
            break;
        }
        let out = if out.stopped { go(&home.job(stages(), true), "abs", &mut |_| {}).unwrap() } else { out };
        assert!(!out.stopped);
        let bits = |o: &Outcome| o.values.iter().map(|(n, t)| (n.clone(), t.to_bytes())).collect::<Vec<_>>();
        assert_eq!(bits(&out), bits(&calm), "stopped after {at}");
        assert_eq!(
            out.done.iter().map(|r| (r.steps, r.kept)).collect::<Vec<_>>(),
            calm.done.iter().map(|r| (r.steps, r.kept)).collect::<Vec<_>>()
        );
    }
    // Wherever it can be stopped; after the last step there is nothing left to do.
    assert!(places.get() > 10 && stops + 1 >= places.get(), "{stops} of {}", places.get());
}

#[test]
fn a_loss_that_is_no_number_has_a_place() {
    let home = Home::new("nan");
    let trouble = go(&home.job(stages(), false), "sqrt", &mut |_| {}).unwrap_err().to_string();
    assert!(trouble.contains("stage `follow`") && trouble.contains("is made in loss"), "{trouble}");
    // The checkpoint is that of the last good step: the same again, at once.
    let again = go(&home.job(stages(), true), "sqrt", &mut |_| {}).unwrap_err().to_string();
    assert_eq!(trouble, again);
}

#[test]
fn another_job_is_not_resumed() {
    let home = Home::new("other");
    let job = home.job(stages(), false);
    let stop = job.stop.clone();
    let out = go(&job, "abs", &mut |e| {
        stop.store(matches!(e, Event::Step { step: 2, .. }) || stop.load(Ordering::Relaxed), Ordering::Relaxed)
    });
    assert!(out.unwrap().stopped);
    let mut longer = stages();
    longer[2].length = Length::Epochs(9);
    let trouble = go(&home.job(longer, true), "abs", &mut |_| {}).unwrap_err().to_string();
    assert!(trouble.contains("differs") && trouble.contains("the stage `follow`"), "{trouble}");
    let mut seed = home.job(stages(), true);
    seed.seed = 6;
    let trouble = go(&seed, "abs", &mut |_| {}).unwrap_err().to_string();
    assert!(trouble.contains("the seed"), "{trouble}");
    let checkpoint = home.0.join("work/checkpoint");
    let bytes = std::fs::read(&checkpoint).unwrap();
    for n in [0, 7, 40, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&checkpoint, &bytes[..n]).unwrap();
        let trouble = go(&home.job(stages(), true), "abs", &mut |_| {}).unwrap_err().to_string();
        assert!(trouble.contains("checkpoint"), "{n}: {trouble}");
    }
}

#[test]
fn patience_ends_a_stage() {
    let home = Home::new("patience");
    let all = vec![Stage { trains: true, patience: Some(2), drop_last: true, ..stage("follow", 500) }];
    let out = go(&home.job(all, false), "abs", &mut |_| {}).unwrap();
    assert!(out.done[0].epochs < 500, "{:?}", out.done);
}
