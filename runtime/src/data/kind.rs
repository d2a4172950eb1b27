//! Kinds of samples. A kind is a decoder, a pipeline, and a way to show what was found (in [`crate::show`]).
//!
//! In: files. Out: [`Raw`], what a file holds; [`Value`], what an input reads. Invariants: all that differs between kinds stands in the matches of
//! this file and of [`crate::show`], one line per kind; a new kind is a file of its own and a line in each; whoever loads, trains,
//! scores or evaluates knows no kind. Imports: images, signals, masks, heat maps.

use std::path::{Path, PathBuf};

use super::cloud::{self, Cloud};
use super::image::{self, RgbImage};
use super::mask::Mask;
use super::signal::{self, Signal};
use super::{ReadError, cloud_file, covered, pipeline};
use crate::heatmap::{Over, OwnMap, WHOLE};

/// What a data set is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Pictures.
    #[default]
    Image,
    /// Points in space.
    Cloud,
    /// Channels over time.
    Signal,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Image, Kind::Cloud, Kind::Signal];

    /// The kind whose samples this source of the language gives.
    pub fn of(source: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.source() == source)
    }

    /// Its source in the language.
    pub fn source(self) -> &'static str {
        match self {
            Kind::Image => "rgb",
            Kind::Cloud => "cloud",
            Kind::Signal => "signal",
        }
    }

    /// What one sample is called; several have an `s` more.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::Image => "image",
            Kind::Cloud => "cloud",
            Kind::Signal => "signal",
        }
    }

    /// What a value of a map stands at.
    pub fn place(self) -> &'static str {
        match self {
            Kind::Image => "pixel",
            Kind::Cloud => "point",
            Kind::Signal => "point",
        }
    }

    /// Endings of files that are looked for in folders.
    pub fn endings(self) -> &'static [&'static str] {
        match self {
            Kind::Image => &image::ENDINGS,
            Kind::Cloud => &cloud::ENDINGS,
            Kind::Signal => &signal::ENDINGS,
        }
    }

    /// Endings of files that hold masks.
    pub fn mask_endings(self) -> &'static [&'static str] {
        match self {
            Kind::Image => &image::ENDINGS,
            Kind::Cloud => &cloud::MASK_ENDINGS,
            Kind::Signal => &signal::MASK_ENDINGS,
        }
    }

    /// Does the name end as those of such files do?
    pub fn looks_so(self, path: &Path) -> bool {
        path.extension().and_then(|e| e.to_str()).is_some_and(|e| self.endings().contains(&&*e.to_lowercase()))
    }

    /// All files that a sample is in; the one that is named first.
    pub fn files(self, path: &Path) -> Vec<PathBuf> {
        match self {
            Kind::Image | Kind::Cloud => vec![path.to_owned()],
            Kind::Signal => signal::files(path),
        }
    }

    /// The pipeline of these steps, or why there is none.
    pub fn pipeline<'s>(self, steps: impl IntoIterator<Item = (&'s str, Vec<f64>)>) -> Result<Pipeline, String> {
        let mut steps = steps.into_iter();
        Ok(match self {
            Kind::Signal => Pipeline::Signal(steps.try_fold(Vec::new(), |mut all, (name, args)| {
                all.extend(signal::steps::Step::new(name, &args)?);
                Ok::<_, String>(all)
            })?),
            Kind::Image => Pipeline::Image(steps.try_fold(Vec::new(), |mut all, (name, args)| {
                all.push(pipeline::Step::new(name, &args)?);
                Ok::<_, String>(all)
            })?),
            Kind::Cloud => {
                Pipeline::Cloud(steps.map(|(n, args)| cloud::steps::Step::new(n, &args)).collect::<Result<_, _>>()?)
            }
        })
    }
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// A picture.
    Image(RgbImage),
    /// Points in space.
    Cloud(Cloud),
    /// Channels over time.
    Signal(Signal),
}

impl Raw {
    /// Do the values of its map lie in rows and columns, so that they have regions?
    pub fn has_neighbours(&self) -> bool {
        match self {
            Raw::Image(_) | Raw::Signal(_) => true,
            Raw::Cloud(cloud) => cloud.grid.is_some(),
        }
    }
}

/// What happens to a sample before a detector reads it.
#[derive(Clone, Debug, PartialEq)]
pub enum Pipeline {
    /// Of pictures.
    Image(Vec<pipeline::Step>),
    /// Of points.
    Cloud(Vec<cloud::steps::Step>),
    /// Of signals.
    Signal(Vec<signal::steps::Step>),
}

/// One input's part of one sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A picture; the detector reads it in [0, 1].
    Image(RgbImage),
    /// A number.
    Number(i32),
    /// What depends on the epoch, and is not known without it: see [`super::load::Samples::drawn`].
    Later,
    /// Numbers of this shape.
    Tensor(Vec<usize>, Vec<f32>),
}

impl Pipeline {
    /// Of which kind.
    pub fn kind(&self) -> Kind {
        match self {
            Pipeline::Image(_) => Kind::Image,
            Pipeline::Cloud(_) => Kind::Cloud,
            Pipeline::Signal(_) => Kind::Signal,
        }
    }

    /// Reads a file. Memory is bounded, and nothing that stands in a file makes it panic.
    pub fn read(&self, path: &Path) -> Result<Raw, ReadError> {
        match self {
            Pipeline::Image(_) => image::read(path).map(Raw::Image),
            Pipeline::Cloud(_) => cloud_file::read(path).map(Raw::Cloud),
            Pipeline::Signal(_) => signal::read(path).map(Raw::Signal),
        }
    }

    /// What the detector reads of what a file holds. `path` names the file where it does not do.
    pub fn prepare(&self, raw: &Raw, path: &Path) -> Result<Value, ReadError> {
        Ok(match (self, raw) {
            (Pipeline::Image(steps), Raw::Image(picture)) => Value::Image(pipeline::prepare(picture, steps)),
            (Pipeline::Cloud(steps), Raw::Cloud(cloud)) => {
                let taken = cloud::steps::prepare(cloud, steps).map_err(|e| ReadError::new(path, e))?;
                Value::Tensor(vec![taken.points.len(), 3], taken.points.into_flattened())
            }
            (Pipeline::Signal(steps), Raw::Signal(s)) => {
                let made = signal::steps::prepare(s, steps).map_err(|e| ReadError::new(path, e))?;
                Value::Tensor(made.0, made.1)
            }
            _ => return Err(self.other(path)),
        })
    }

    /// A sample of another kind.
    fn other(&self, path: &Path) -> ReadError {
        ReadError::new(path, format!("is no {}", self.kind().noun()))
    }

    /// The truths in a file beside a sample, at the sample's own size.
    pub fn truth(&self, raw: &Raw, path: &Path) -> Result<Mask, ReadError> {
        match (self, raw) {
            (Pipeline::Image(_), Raw::Image(picture)) => Mask::of_picture(path, picture),
            (Pipeline::Cloud(_), Raw::Cloud(cloud)) => cloud_file::truth(path, cloud),
            (Pipeline::Signal(_), Raw::Signal(s)) => signal::truth(path, s),
            _ => Err(self.other(path)),
        }
    }

    /// The truths in a file beside a sample, brought to where the detector's map lies.
    pub fn mask(&self, raw: &Raw, path: &Path) -> Result<Mask, ReadError> {
        match (self, raw) {
            (Pipeline::Image(steps), Raw::Image(picture)) => Ok(Mask::of_picture(path, picture)?.prepare(steps)),
            // Maps of clouds are brought to the points of the file.
            (Pipeline::Cloud(_), Raw::Cloud(cloud)) => cloud_file::truth(path, cloud),
            (Pipeline::Signal(steps), Raw::Signal(s)) => {
                Ok(signal::steps::mask(&signal::truth(path, s)?, s.rate, steps))
            }
            _ => Err(self.other(path)),
        }
    }

    /// The mask of a sample in which nothing is anomalous.
    pub fn clear(&self, raw: &Raw) -> Mask {
        match (self, raw) {
            (Pipeline::Image(steps), Raw::Image(p)) => {
                Mask::clear(p.height() as usize, p.width() as usize).prepare(steps)
            }
            (_, Raw::Cloud(cloud)) => cloud_file::clear(cloud),
            (Pipeline::Signal(steps), Raw::Signal(s)) => {
                signal::steps::mask(&Mask::clear(s.values.len(), s.len()), s.rate, steps)
            }
            _ => Mask::clear(0, 0),
        }
    }

    /// The detector's map with the part of the sample that it lies over. Rows and columns are those of a picture, or channels and time.
    pub fn placed(&self, raw: &Raw, (height, width, values): (usize, usize, Vec<f32>)) -> OwnMap {
        let over: Over = match (self, raw) {
            (Pipeline::Image(steps), Raw::Image(p)) => covered::covered((p.height(), p.width()), steps),
            (Pipeline::Cloud(steps), Raw::Cloud(cloud)) => return cloud_file::spread(cloud, steps, &values),
            (Pipeline::Signal(steps), Raw::Signal(s)) => signal::steps::covered(s, steps),
            _ => WHOLE,
        };
        OwnMap { height, width, values, over }
    }
}

impl Value {
    /// The shape of the sample.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Value::Image(i) => vec![3, i.height() as usize, i.width() as usize],
            Value::Number(_) | Value::Later => Vec::new(),
            Value::Tensor(shape, _) => shape.clone(),
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Value::Image(i) => i.as_raw().len(),
            Value::Number(_) | Value::Later => 4,
            Value::Tensor(_, values) => 4 * values.len(),
        }
    }

    /// Writes it for an input of numbers; false where it has another size, or is the number of a class.
    pub fn write(&self, to: &mut [f32]) -> bool {
        match self {
            Value::Image(i) if to.len() == i.as_raw().len() => pipeline::write_planes(i, to),
            Value::Tensor(_, values) if to.len() == values.len() => to.copy_from_slice(values),
            Value::Image(_) | Value::Tensor(..) | Value::Number(_) | Value::Later => return false,
        }
        true
    }
}
