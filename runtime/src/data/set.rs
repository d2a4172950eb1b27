//! Data sets: which files there are, and what each is for.
//!
//! In: a folder in the MVTec layout (`train/good`, `test/KIND`, `ground_truth/KIND/*_mask.png`), a folder of such categories, a
//! plain folder of normal images, or a CSV manifest. Out: [`Dataset`]. Invariants: samples are sorted by class, split, kind and
//! name, whatever the file system says; which training samples are held out depends on their names alone, so that adding
//! files moves none; every problem is named. Imports: files, manifests, [`super::ReadError`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::kind::Kind;
pub use super::sample::{Sample, Split};
use super::{ReadError, files, manifest};

/// How to open a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Part of the training samples that is held out for validation, where the data set has no such split.
    pub validation: f64,
    /// Part of the training samples that is held out for calibration, where the data set has no such split.
    pub calibration: f64,
    /// What it is made of.
    pub kind: Kind,
}

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// What it is made of.
    pub kind: Kind,
    /// Where it was opened.
    pub path: PathBuf,
    /// All samples.
    pub samples: Vec<Sample>,
    /// Categories, sorted; the number of a class is its position.
    pub classes: Vec<String>,
    /// What was left out and why.
    pub problems: Vec<ReadError>,
}

impl Dataset {
    /// Opens a data set.
    pub fn open(path: &Path, options: &Options) -> Result<Dataset, ReadError> {
        let meta = std::fs::metadata(path).map_err(|e| ReadError::new(path, e))?;
        let mut set = Dataset { kind: options.kind, path: path.to_owned(), ..Dataset::default() };
        if meta.is_file() {
            (set.samples, set.problems) = manifest::read(path)?;
        } else if meta.is_dir() {
            folder(path, options.kind, &mut set)?;
        } else {
            return Err(ReadError::new(path, "neither a folder nor a CSV manifest"));
        }
        if set.samples.is_empty() {
            let why = set.problems.first().map_or_else(|| layouts(options.kind), |p| format!("no samples: {p}"));
            return Err(ReadError::new(path, why));
        }
        set.hold_out(options);
        let key = |s: &Sample| (s.class.clone(), s.split, s.kind.clone(), s.name.clone());
        set.samples.sort_by_cached_key(key);
        let classes: BTreeSet<&String> = set.samples.iter().map(|s| &s.class).collect();
        set.classes = classes.into_iter().cloned().collect();
        Ok(set)
    }

    /// Positions of the samples of a split.
    pub fn of(&self, split: Split) -> Vec<usize> {
        let numbered = self.samples.iter().enumerate();
        numbered.filter(|(_, s)| s.split == split).map(|(i, _)| i).collect()
    }

    /// The number of a sample's class.
    pub fn class_number(&self, sample: &Sample) -> i32 {
        self.classes.binary_search(&sample.class).map_or(-1, |n| n as i32)
    }

    /// Moves training samples to splits that are asked for and that the data set does not have.
    fn hold_out(&mut self, options: &Options) {
        let asked = [(Split::Validation, options.validation), (Split::Calibration, options.calibration)];
        let has = |split: Split| self.samples.iter().any(|s| s.split == split);
        let asked = asked.map(|(split, part)| (split, if has(split) { 0.0 } else { part.clamp(0.0, 1.0) }));
        for s in self.samples.iter_mut().filter(|s| s.split == Split::Train) {
            let place = place_of(&s.name);
            let mut from = 0.0;
            for (split, part) in asked {
                if (from..from + part).contains(&place) {
                    s.split = split;
                    break;
                }
                from += part;
            }
        }
    }
}

/// A number in [0, 1) that depends on the name alone.
fn place_of(name: &str) -> f64 {
    let digest = Sha256::digest(name.as_bytes());
    let head = digest.iter().take(4).fold(0u32, |n, b| n << 8 | u32::from(*b));
    f64::from(head) / 4_294_967_296.0
}

/// What can be opened.
fn layouts(kind: Kind) -> String {
    let (noun, mask) = (kind.noun(), kind.mask_endings()[0]);
    format!(
        "no {noun}s found. A data set is a folder with `train/good` and `test/KIND` (and \
         `ground_truth/KIND/NAME_mask.{mask}`), a folder of such folders, one per class, a plain folder of normal {noun}s, or a CSV \
         manifest with the columns path,split,label,mask,class"
    )
}

/// The parts of a category that are looked for.
const PARTS: [&str; 4] = ["train", "validation", "calibration", "test"];

fn is_category(path: &Path) -> bool {
    PARTS.iter().any(|p| path.join(p).is_dir())
}

fn folder(path: &Path, of: Kind, set: &mut Dataset) -> Result<(), ReadError> {
    if is_category(path) {
        let class = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let class = class.file_name().map_or_else(|| "all".to_owned(), |n| n.to_string_lossy().into_owned());
        return category(path, "", &class, of, set);
    }
    let below: Vec<PathBuf> = entries(path)?.into_iter().filter(|p| p.is_dir()).collect();
    if below.iter().any(|p| is_category(p)) {
        for p in below {
            let class = file_name(&p);
            if is_category(&p) {
                category(&p, &format!("{class}/"), &class, of, set)?;
            } else {
                set.problems.push(ReadError::new(&p, "left out: it has neither `train` nor `test`"));
            }
        }
        return Ok(());
    }
    // A plain folder: all of it is normal and for training.
    let Ok(found) = files::of(of, &[path.to_owned()]) else { return Ok(()) };
    let class = path.file_name().map_or_else(|| "all".to_owned(), |n| n.to_string_lossy().into_owned());
    for file in found {
        let name = relative(&file, path);
        set.samples.push(Sample {
            name,
            path: file,
            class: class.clone(),
            split: Split::Train,
            label: Some(false),
            kind: "good".to_owned(),
            mask: None,
        });
    }
    Ok(())
}

/// One category of the MVTec layout.
fn category(path: &Path, prefix: &str, class: &str, of: Kind, set: &mut Dataset) -> Result<(), ReadError> {
    let before = set.samples.len();
    for part in PARTS {
        let home = path.join(part);
        let (Some(split), true) = (Split::of(part), home.is_dir()) else { continue };
        let mut kinds: Vec<(String, PathBuf)> = Vec::new();
        let (mut loose, below) = (Vec::new(), entries(&home)?);
        for p in below {
            if p.is_dir() {
                kinds.push((file_name(&p), p));
            } else if of.looks_so(&p) {
                loose.push(p);
            }
        }
        for (kind, folder) in &kinds {
            let Ok(found) = files::of(of, std::slice::from_ref(folder)) else {
                set.problems.push(ReadError::new(folder, format!("no {}s in this folder", of.noun())));
                continue;
            };
            for file in found {
                let good = kind == "good";
                if !good && split != Split::Test {
                    let why = "left out: an anomalous sample outside `test`";
                    set.problems.push(ReadError::new(&file, why));
                    continue;
                }
                let mask = if good { None } else { mask_of(path, kind, &file, of) };
                if !good && mask.is_none() && path.join("ground_truth").is_dir() {
                    set.problems.push(ReadError::new(&file, "has no mask in `ground_truth`"));
                }
                let name = format!("{prefix}{}", relative(&file, path));
                let (class, kind) = (class.to_owned(), kind.clone());
                set.samples.push(Sample { path: file, name, class, split, label: Some(!good), kind, mask });
            }
        }
        // `train/*.png`: normal, as nothing else stands in these folders. In `test` nobody knows.
        for file in loose {
            let name = format!("{prefix}{}", relative(&file, path));
            let label = (split != Split::Test).then_some(false);
            let kind = if label.is_some() { "good" } else { "unknown" }.to_owned();
            set.samples.push(Sample { path: file, name, class: class.to_owned(), split, label, kind, mask: None });
        }
    }
    if set.samples.len() == before {
        set.problems.push(ReadError::new(path, format!("no {}s in this category", of.noun())));
    }
    Ok(())
}

/// `ground_truth/KIND/NAME_mask.png`, or the same name without `_mask`, or with another ending.
fn mask_of(category: &Path, kind: &str, sample: &Path, of: Kind) -> Option<PathBuf> {
    let home = category.join("ground_truth").join(kind);
    let stem = sample.file_stem()?.to_str()?;
    let named = [format!("{stem}_mask"), stem.to_owned()];
    let tried = named.iter().flat_map(|s| of.mask_endings().iter().map(move |e| format!("{s}.{e}")));
    tried.map(|n| home.join(n)).find(|p| p.is_file())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let fail = |e: std::io::Error| ReadError::new(folder, e);
    let listed = std::fs::read_dir(folder).map_err(fail)?;
    let mut found = listed.map(|e| e.map(|e| e.path()).map_err(fail)).collect::<Result<Vec<_>, _>>()?;
    found.retain(|p| !file_name(p).starts_with('.'));
    found.sort();
    Ok(found)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn relative(path: &Path, to: &Path) -> String {
    let rest = path.strip_prefix(to).unwrap_or(path);
    let parts: Vec<_> = rest.components().map(|c| c.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[&str]) -> Folder {
            let home = std::env::temp_dir().join(format!("uad-set-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&home);
            std::fs::create_dir_all(&home).unwrap();
            for f in files {
                let path = home.join(f);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, []).unwrap();
            }
            Folder(home)
        }
        fn open(&self) -> Dataset {
            Dataset::open(&self.0, &Options::default()).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const ONE: [&str; 7] = [
        "train/good/1.png",
        "train/good/0.png",
        "test/good/2.png",
        "test/crack/3.png",
        "test/crack/4.png",
        "ground_truth/crack/3_mask.png",
        "readme.txt",
    ];

    #[test]
    fn mvtec_layout() {
        let folder = Folder::new("mvtec", &ONE);
        let set = folder.open();
        let told: Vec<(&str, Split, Option<bool>, bool)> =
            set.samples.iter().map(|s| (s.name.as_str(), s.split, s.label, s.mask.is_some())).collect();
        let wanted = [
            ("train/good/0.png", Split::Train, Some(false), false),
            ("train/good/1.png", Split::Train, Some(false), false),
            ("test/crack/3.png", Split::Test, Some(true), true),
            ("test/crack/4.png", Split::Test, Some(true), false),
            ("test/good/2.png", Split::Test, Some(false), false),
        ];
        assert_eq!(told, wanted);
        assert_eq!(set.problems.len(), 1);
        assert!(set.problems[0].to_string().contains("4.png: has no mask"));
    }

    #[test]
    fn folders_of_categories_give_classes() {
        let below: Vec<String> = ["b", "a"].iter().flat_map(|c| ONE.map(|f| format!("{c}/{f}"))).collect();
        let below: Vec<&str> = below.iter().map(String::as_str).chain(["notes/x.txt"]).collect();
        let folder = Folder::new("classes", &below);
        let set = folder.open();
        assert_eq!((set.classes.clone(), set.samples.len()), (vec!["a".to_owned(), "b".to_owned()], 10));
        assert_eq!(set.class_number(&set.samples[9]), 1);
        assert!(set.problems.iter().any(|p| p.to_string().contains("notes: left out")));
    }

    #[test]
    fn plain_folders_are_normal() {
        let folder = Folder::new("plain", &["x/1.jpg", "0.png", "notes.txt"]);
        let set = folder.open();
        assert!(set.samples.iter().all(|s| s.split == Split::Train && s.label == Some(false)));
        assert_eq!(set.samples.len(), 2);
    }

    #[test]
    fn what_is_held_out_depends_on_names() {
        let names: Vec<String> = (0..400).map(|n| format!("train/good/{n}.png")).collect();
        let few = Folder::new("few", &names.iter().take(300).map(String::as_str).collect::<Vec<_>>());
        let all = Folder::new("all", &names.iter().map(String::as_str).collect::<Vec<_>>());
        let options = Options { validation: 0.2, calibration: 0.1, ..Options::default() };
        let (few, all) = (Dataset::open(&few.0, &options).unwrap(), Dataset::open(&all.0, &options).unwrap());
        let split = |set: &Dataset, name: &str| set.samples.iter().find(|s| s.name == name).map(|s| s.split);
        for s in &few.samples {
            assert_eq!(split(&all, &s.name), Some(s.split));
        }
        let n = |s| all.of(s).len();
        assert!((60..100).contains(&n(Split::Validation)) && (20..60).contains(&n(Split::Calibration)));
        assert_eq!(n(Split::Train) + n(Split::Validation) + n(Split::Calibration), 400);
    }

    #[test]
    fn nothing_to_learn_from_is_said() {
        let empty = Folder::new("empty", &[]);
        let e = Dataset::open(&empty.0, &Options::default()).unwrap_err();
        assert!(e.to_string().contains("train/good"), "{e}");
        let hollow = Folder::new("hollow", &["train/good/readme.txt"]);
        let e = Dataset::open(&hollow.0, &Options::default()).unwrap_err();
        assert!(e.to_string().contains("no images in this folder"), "{e}");
        assert!(Dataset::open(&empty.0.join("none"), &Options::default()).is_err());
    }
}
