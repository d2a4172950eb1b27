//! Second inputs at scoring: the normal sample that a detector looks at beside the one that it judges.
//!
//! In: a bundle's card and its peers, perhaps a file of the user. Out: a picture per second input and class. Invariants: the bundle keeps
//! one peer per class (or one for all), so that a score does not change from run to run; a file of the user goes before them; a
//! class without a peer is named. Imports: failure; bundles, data sets.

use std::collections::BTreeMap;
use std::path::Path;

use uad_plan::tensor::Tensor;
use uad_runtime::bundle::{Bundle, Content, v1};
use uad_runtime::data::kind::{Kind, Pipeline};
use uad_runtime::data::peer::Peers;
use uad_runtime::data::set::Dataset;

use crate::failure::{Done, Failure};

/// The pipeline of a second input.
fn pipeline(input: &v1::Input) -> Done<Pipeline> {
    Kind::Image.pipeline(input.steps.iter().map(v1::Step::call)).map_err(Failure::input)
}

/// Reads pictures as one tensor; they must come out of the pipeline in one size.
fn stacked(paths: &[&Path], pipeline: &Pipeline) -> Done<Tensor> {
    let mut size = None;
    let mut values = Vec::new();
    for path in paths {
        let raw = pipeline.read(path).map_err(Failure::input)?;
        let picture = pipeline.prepare(&raw, path).map_err(Failure::input)?;
        let own = picture.shape();
        if *size.get_or_insert_with(|| own.clone()) != own {
            return Err(Failure::input(format!("{} differs in size from the peers before it", path.display()))
                .help("let the pipeline of the input end in one size, as `|> resize(224, 224)`"));
        }
        let from = values.len();
        values.resize(from + own.iter().product::<usize>(), 0.0);
        if !picture.write(&mut values[from..]) {
            return Err(Failure::Fault("a sample is not of the size that it says".to_owned()));
        }
    }
    let shape: Vec<usize> = [paths.len()].into_iter().chain(size.unwrap_or_default()).collect();
    Tensor::f32(&shape, values).map_err(|e| Failure::Fault(e.to_string()))
}

/// Puts peers from a data set into a bundle that takes some.
pub fn keep(content: &mut Content, set: &Dataset, seed: u64, broken: &[usize]) -> Done {
    let wanted: Vec<v1::Input> = content.card.inputs.iter().filter(|i| i.source == "peer").cloned().collect();
    let peers = Peers::new(set, seed, broken);
    for input in wanted {
        let kept = peers.kept(set, input.same_class);
        let paths: Vec<&Path> = kept.iter().map(|n| set.samples[*n].path.as_path()).collect();
        if paths.is_empty() {
            continue;
        }
        content.card.peers = kept.iter().map(|n| set.samples[*n].class.clone()).collect();
        content.peers.insert(input.name.clone(), stacked(&paths, &pipeline(&input)?)?);
    }
    Ok(())
}

/// The second inputs of a detector that is about to score.
pub struct Seconds {
    /// By input: peers stacked, and whether a sample takes that of its class.
    inputs: BTreeMap<String, (Tensor, bool)>,
    classes: Vec<String>,
}

impl Seconds {
    /// Those of a bundle, or a file of the user.
    pub fn new(bundle: &Bundle, file: Option<&Path>) -> Done<Seconds> {
        let wanted: Vec<&v1::Input> = bundle.card.inputs.iter().filter(|i| i.source == "peer").collect();
        if let (Some(file), true) = (file, wanted.is_empty()) {
            return Err(Failure::input(format!("`{}` takes no second image", bundle.card.detector))
                .help(format!("leave out --peer {}", file.display())));
        }
        let mut kept = bundle.peers();
        let mut inputs = BTreeMap::new();
        for input in wanted {
            let found = match file {
                Some(path) => (stacked(&[path], &pipeline(input)?)?, false),
                None => match kept.remove(&input.name) {
                    Some(t) => (t, input.same_class),
                    None => {
                        return Err(Failure::input(format!(
                            "{} keeps no normal image for its input `{}`",
                            bundle.path().display(),
                            input.name
                        ))
                        .help("`uadc train` and `uadc calibrate` keep one per class; --peer FILE gives one"));
                    }
                },
            };
            inputs.insert(input.name.clone(), found);
        }
        Ok(Seconds { inputs, classes: bundle.card.peers.clone() })
    }

    /// The inputs for samples of these classes (`None`: nobody knows).
    pub fn of(&self, classes: &[Option<&str>]) -> Done<BTreeMap<String, Tensor>> {
        let mut given = BTreeMap::new();
        for (name, (peers, same_class)) in &self.inputs {
            let (Some((count, shape)), Some(all)) = (peers.shape().split_first(), peers.as_f32()) else { continue };
            let each = shape.iter().product::<usize>();
            let mut values = Vec::with_capacity(classes.len() * each);
            for class in classes {
                let n = if *same_class && *count > 1 { self.row(*class)? } else { 0 };
                values.extend_from_slice(all.get(n * each..(n + 1) * each).unwrap_or_default());
            }
            let shape: Vec<usize> = [classes.len()].into_iter().chain(shape.iter().copied()).collect();
            given.insert(name.clone(), Tensor::f32(&shape, values).map_err(|e| Failure::Fault(e.to_string()))?);
        }
        Ok(given)
    }

    fn row(&self, class: Option<&str>) -> Done<usize> {
        let known = format!("it keeps normal images of {}", self.classes.join(", "));
        let Some(class) = class else {
            return Err(Failure::input(format!(
                "of which class is it? The detector looks at a normal image beside it; {known}"
            ))
            .help("--peer FILE gives a normal image"));
        };
        self.classes.iter().position(|c| c == class).ok_or_else(|| {
            Failure::input(format!("no normal image of the class `{class}`; {known}")).help("--peer FILE gives one")
        })
    }
}
