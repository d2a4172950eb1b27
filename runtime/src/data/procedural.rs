//! A data set that is made, not found: surfaces with defects and their masks, in the MVTec layout.
//!
//! In: a folder and [`Recipe`]. Out: `CLASS/train/good/*.png`, `CLASS/test/{good,DEFECT}/*.png`,
//! `CLASS/ground_truth/DEFECT/*_mask.png`. Invariants: the same recipe gives the same bytes of pixels; a training picture never
//! stands in the test set; nothing that exists is overwritten. Imports: textures, defects.

use std::path::{Path, PathBuf};

use image::{GrayImage, RgbImage};

use super::ReadError;
use super::cloud::write::{Written, ply};
use super::defect::{Defect, picture};
use super::solid::{self, Flaw};
use super::texture::{Surface, class_name, mix};

/// How many pictures of what.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Classes: the first six have names (`cloth`, `stone`, `wood`, `tiles`, `pebbles`, `mesh`), others are drawn.
    pub classes: u32,
    /// Pixels of a side.
    pub size: u32,
    /// Training pictures per class.
    pub train: u32,
    /// Flawless test pictures per class; as many again with each kind of defect, a quarter of it rounded up.
    pub test: u32,
    /// Everything follows from it.
    pub seed: u64,
}

impl Recipe {
    /// Number of pictures with one kind of defect.
    fn defective(&self) -> u32 {
        self.test.div_ceil(4)
    }

    /// Number of pictures in all, masks aside.
    pub fn pictures(&self) -> u32 {
        self.classes * (self.train + self.test + 4 * self.defective())
    }
}

/// Writes the data set and tells of every picture.
pub fn write(folder: &Path, recipe: &Recipe, mut told: impl FnMut()) -> Result<(), ReadError> {
    for class in 0..recipe.classes {
        let home = folder.join(class_name(class));
        let surface = Surface::of(class);
        let mut one = |part: u64, n: u32, defect: Option<Defect>, to: PathBuf, mask_to: Option<PathBuf>| {
            let seed = mix(recipe.seed, (u64::from(class) << 8) | part, n.into());
            let (image, mask) = picture(&surface.sample(seed), recipe.size, defect.map(|d| (d, seed)));
            save_rgb(&image, &to)?;
            if let Some(path) = mask_to {
                save_grey(&mask, &path)?;
            }
            told();
            Ok(())
        };
        for n in 0..recipe.train {
            one(0, n, None, home.join(format!("train/good/{n:03}.png")), None)?;
        }
        for n in 0..recipe.test {
            one(1, n, None, home.join(format!("test/good/{n:03}.png")), None)?;
        }
        for (k, defect) in Defect::ALL.into_iter().enumerate() {
            for n in 0..recipe.defective() {
                let name = defect.name();
                let mask = home.join(format!("ground_truth/{name}/{n:03}_mask.png"));
                one(2 + k as u64, n, Some(defect), home.join(format!("test/{name}/{n:03}.png")), Some(mask))?;
            }
        }
    }
    Ok(())
}

/// Writes a data set of clouds: parts of `size * size / 4` points, with masks as text, one number a point.
pub fn write_clouds(folder: &Path, recipe: &Recipe, mut told: impl FnMut()) -> Result<(), ReadError> {
    let count = (recipe.size * recipe.size / 4) as usize;
    for class in 0..recipe.classes {
        let home = folder.join(solid::class_name(class));
        let mut one = |part: u64, n: u32, flaw: Option<Flaw>, to: PathBuf, mask_to: Option<PathBuf>| {
            let seed = mix(recipe.seed, (u64::from(class) << 8) | part, n.into());
            let (points, marks) = solid::draw(class, seed, count, flaw);
            let fail = |e: std::io::Error, path: &Path| ReadError::new(path, e);
            place(&to)?;
            let bytes = ply(&Written { points: &points, ..Written::default() });
            crate::whole::write(&to, &bytes).map_err(|e| fail(e, &to))?;
            if let Some(path) = mask_to {
                place(&path)?;
                let text: String = marks.iter().map(|m| format!("{m}\n")).collect();
                crate::whole::write(&path, text.as_bytes()).map_err(|e| fail(e, &path))?;
            }
            told();
            Ok(())
        };
        for n in 0..recipe.train {
            one(0, n, None, home.join(format!("train/good/{n:03}.ply")), None)?;
        }
        for n in 0..recipe.test {
            one(1, n, None, home.join(format!("test/good/{n:03}.ply")), None)?;
        }
        for (k, flaw) in Flaw::ALL.into_iter().enumerate() {
            for n in 0..recipe.defective() {
                let name = flaw.name();
                let mask = home.join(format!("ground_truth/{name}/{n:03}_mask.txt"));
                one(2 + k as u64, n, Some(flaw), home.join(format!("test/{name}/{n:03}.ply")), Some(mask))?;
            }
        }
    }
    Ok(())
}

fn save_rgb(image: &RgbImage, path: &Path) -> Result<(), ReadError> {
    place(path)?;
    image.save(path).map_err(|e| ReadError::new(path, e))
}

fn save_grey(image: &GrayImage, path: &Path) -> Result<(), ReadError> {
    place(path)?;
    image.save(path).map_err(|e| ReadError::new(path, e))
}

/// Makes the folder; refuses a file that is there.
fn place(path: &Path) -> Result<(), ReadError> {
    if path.exists() {
        return Err(ReadError::new(path, "exists already"));
    }
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(|e| ReadError::new(path, e))
}

#[cfg(test)]
mod tests {
    use super::{Recipe, write};

    #[test]
    fn the_layout_is_whole_and_repeats() {
        let recipe = Recipe { classes: 2, size: 32, train: 2, test: 3, seed: 1 };
        let home = std::env::temp_dir().join(format!("uad-procedural-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&home);
        let mut count = 0;
        write(&home.join("a"), &recipe, || count += 1).unwrap();
        write(&home.join("b"), &recipe, || ()).unwrap();
        assert_eq!(count, recipe.pictures());
        for file in ["cloth/train/good/001.png", "stone/test/hole/000.png", "stone/ground_truth/hole/000_mask.png"] {
            let read = |side: &str| std::fs::read(home.join(side).join(file)).unwrap();
            assert_eq!(read("a"), read("b"), "{file}");
        }
        let again = write(&home.join("a"), &recipe, || ());
        assert!(again.unwrap_err().to_string().contains("exists already"));
        std::fs::remove_dir_all(&home).unwrap();
    }
}
