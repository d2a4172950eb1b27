//! Scores of samples, through a bundle.
//!
//! In: a bundle, samples that went through its pipeline. Out: scores and maps. Invariants: samples of one call have one size; results are in the
//! order of the samples; a detector without `sample` is scored by the highest value of its map. Imports: engine, peers; bundles.

use std::collections::BTreeMap;
use std::path::Path;

use uad_plan::tensor::Tensor;
use uad_runtime::bundle::{Bundle, v1};
use uad_runtime::data::kind::{Kind, Pipeline, Value};

use crate::args;
use crate::engine::Engine;
use crate::failure::{Done, Failure};
use crate::peers::Seconds;
use crate::terminal::{Look, count, err};

/// A detector on samples of one kind.
pub struct Scorer {
    engine: Engine,
    input: String,
    /// Inputs that take the number of the sample's class.
    classes: Vec<String>,
    seconds: Seconds,
    /// What happens to a sample before it is scored.
    pub pipeline: Pipeline,
}

/// What a detector says of a sample.
#[derive(Clone, Debug, Default)]
pub struct Scored {
    /// Its score.
    pub score: Option<f32>,
    /// Other outputs that are one number.
    pub extra: Vec<(String, f32)>,
    /// Height, width and values of its map: rows and columns of a picture, channels and time of a signal.
    pub map: Option<(usize, usize, Vec<f32>)>,
}

/// Says which stages have not run.
pub fn warn_untrained(card: &v1::Card) -> Option<String> {
    let left: Vec<String> =
        card.stages.iter().filter(|s| s.needed && !s.done).map(|s| format!("`{}`", s.name)).collect();
    if left.is_empty() {
        return None;
    }
    let (stages, have) = if left.len() == 1 { ("stage", "has") } else { ("stages", "have") };
    let text = format!(
        "{stages} {} {have} not run: weights that no file gave are as initialised, and scores mean nothing yet",
        left.join(", ")
    );
    err(&format!("{}: {text}\n", Look::stderr().paint("1;33", "warning")));
    Some(text)
}

impl Scorer {
    /// Of which kind the samples are that a bundle's inputs come from.
    pub fn kind_of(bundle: &Bundle) -> Kind {
        bundle.card.inputs.iter().find_map(|i| Kind::of(&i.source)).unwrap_or_default()
    }

    /// A bundle whose inputs come from samples of one kind; `labelled` where the classes of samples are known too.
    pub fn new(bundle: Bundle, how: &args::Engine, labelled: bool, peer: Option<&Path>) -> Done<Scorer> {
        let kind_of = |i: &v1::Input| Kind::of(&i.source);
        let inputs = || bundle.card.inputs.iter().filter_map(|i| Some((kind_of(i)?, i.clone())));
        let found: Vec<_> = inputs().collect();
        let [(kind, input)] = found.as_slice() else {
            let n = count(found.len(), "input");
            let what = format!("`{}` has {n} from files; only detectors with one run on them", bundle.card.detector);
            return Err(Failure::input(what)
                .help("give its inputs as tensors: uadc run --tensors IN.safetensors -o OUT.safetensors"));
        };
        let others = bundle.card.inputs.iter().filter(|i| kind_of(i).is_none() && i.source != "peer");
        let seconds = Seconds::new(&bundle, peer)?;
        let (classes, others): (Vec<_>, Vec<_>) = others.partition(|i| labelled && i.source == "class");
        if let Some(other) = others.first() {
            return Err(Failure::input(format!("the input `{}` does not come from {}s", other.name, kind.noun()))
                .help("give all inputs as tensors: uadc run --tensors IN.safetensors -o OUT.safetensors"));
        }
        let classes = classes.into_iter().map(|i| i.name.clone()).collect();
        let pipeline = kind.pipeline(input.steps.iter().map(v1::Step::call)).map_err(Failure::input)?;
        let input = input.name.clone();
        Ok(Scorer { engine: Engine::of_bundle(bundle, how, &[])?, input, classes, seconds, pipeline })
    }

    /// Scores samples, each with the number and the name of its class.
    pub fn score(&mut self, samples: &[(&Value, i32, Option<&str>)]) -> Done<Vec<Scored>> {
        let mut found: Vec<Scored> = vec![Scored::default(); samples.len()];
        let mut left: Vec<usize> = (0..samples.len()).collect();
        while let Some(first) = left.first() {
            let size = samples[*first].0.shape();
            let (now, later): (Vec<_>, Vec<_>) = left.into_iter().partition(|n| samples[*n].0.shape() == size);
            left = later;
            let shape: Vec<usize> = [now.len()].into_iter().chain(size).collect();
            let mut values = vec![0.0; shape.iter().product()];
            let each = shape[1..].iter().product::<usize>().max(1);
            for (n, slot) in now.iter().zip(values.chunks_exact_mut(each)) {
                if !samples[*n].0.write(slot) {
                    return Err(Failure::Fault("a sample is not of the size that it says".to_owned()));
                }
            }
            let fault = |e: uad_plan::tensor::TensorError| Failure::Fault(e.to_string());
            let mut given = BTreeMap::from([(self.input.clone(), Tensor::f32(&shape, values).map_err(fault)?)]);
            for name in &self.classes {
                let numbers = now.iter().map(|n| f64::from(samples[*n].1));
                let tensor = Tensor::from_f64(uad_plan::DType::I32, &[now.len()], numbers).map_err(fault)?;
                given.insert(name.clone(), tensor);
            }
            let classes: Vec<Option<&str>> = now.iter().map(|n| samples[*n].2).collect();
            given.extend(self.seconds.of(&classes)?);
            let results = self.engine.call("score", &given)?;
            for (row, n) in now.into_iter().enumerate() {
                found[n] = one(row, &results);
            }
        }
        Ok(found)
    }
}

/// Sample `n` of a call.
fn one(n: usize, results: &BTreeMap<String, Tensor>) -> Scored {
    let mut scored = Scored::default();
    for (name, tensor) in results {
        let Some(values) = tensor.as_f32() else { continue };
        let Some((_, shape)) = tensor.shape().split_first() else { continue };
        let each = shape.iter().product::<usize>();
        let Some(own) = values.get(n * each..(n + 1) * each) else { continue };
        match (name.as_str(), shape, own) {
            ("sample", _, [v]) => scored.score = Some(*v),
            (_, _, [v]) => scored.extra.push((name.clone(), *v)),
            ("map", [h, w], _) => scored.map = Some((*h, *w, own.to_vec())),
            ("map", [n], _) => scored.map = Some((1, *n, own.to_vec())),
            _ => {}
        }
    }
    if let (None, Some((_, _, values))) = (scored.score, &scored.map) {
        scored.score = values.iter().copied().reduce(|a, b| if b > a || b.is_nan() { b } else { a });
    }
    scored
}
