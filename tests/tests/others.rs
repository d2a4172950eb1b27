//! What other implementations read, compute and measure: images (PIL), signals (wfdb, SciPy), clouds, metrics (scikit-learn).
//!
//! In: golden values and data beside the project. Out: nothing. Invariants: values agree to rounding; where the material is
//! absent a test is ignored. Imports: the runtime.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use uad_runtime::data::cloud::Cloud;
use uad_runtime::data::set::{Dataset, Options, Split};
use uad_runtime::data::signal::steps::{Step, run};
use uad_runtime::data::signal::{self, Signal};
use uad_runtime::data::{cloud_file, image, resize};
use uad_runtime::metrics::{PixelMetrics, samples};
use uad_tests::shared;

#[test]
#[cfg_attr(not(all(golden, data)), ignore = "needs ../shared/golden and ../shared/data")]
fn equals_pil_on_photographs() {
    let (images, golden) = (shared("data/images"), shared("golden/encoder/resnet18_real/inputs.safetensors"));
    let bytes = std::fs::read(golden).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let wanted = tensors.tensor("pixels").unwrap().data().to_vec();
    let mut found = Vec::new();
    for name in ["train/good/000.jpg", "test/broken_large/000.jpg"] {
        let picture = image::read(&images.join("mvtec_bottle").join(name)).unwrap();
        found.extend(resize::bilinear(&picture, 128, 128).into_raw());
    }
    let far = wanted.iter().zip(&found).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    let off = wanted.iter().zip(&found).filter(|(a, b)| a != b).count();
    // The resize is exact; the JPEG decoder differs from libjpeg in 0.7 % of the pixels of these files, by 3 at most.
    assert!(far <= 1 && off * 100 < wanted.len(), "{off} of {} differ, by {far} at most", wanted.len());
}

#[test]
#[cfg_attr(not(data), ignore = "needs ../shared/data")]
fn a_data_set_of_photographs() {
    let path = shared("data/images/mvtec_bottle");
    let set = Dataset::open(&path, &Options::default()).unwrap();
    assert_eq!((set.of(Split::Train).len(), set.of(Split::Test).len()), (209, 83));
    assert_eq!(set.samples.iter().filter(|s| s.mask.is_some()).count(), 63);
    assert_eq!((set.classes.len(), set.problems.len()), (1, 0));
}

/// A tensor of a file as f64 with its shape.
fn tensor(path: &Path, name: &str) -> (Vec<usize>, Vec<f64>) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let of = |width: usize, f: &dyn Fn(&[u8]) -> f64| view.data().chunks_exact(width).map(f).collect::<Vec<f64>>();
    let values = match view.dtype() {
        Dtype::F64 => of(8, &|b| f64::from_le_bytes(b.try_into().unwrap())),
        Dtype::I16 => of(2, &|b| f64::from(i16::from_le_bytes(b.try_into().unwrap()))),
        Dtype::I32 => of(4, &|b| f64::from(i32::from_le_bytes(b.try_into().unwrap()))),
        other => panic!("{other:?}"),
    };
    (view.shape().to_vec(), values)
}

/// The largest difference between the first samples of channels and columns of a table.
fn apart(signal: &Signal, channels: &[usize], (shape, values): &(Vec<usize>, Vec<f64>)) -> f64 {
    let (rows, columns) = (shape[0], shape[1]);
    assert_eq!(columns, channels.len());
    let at = |r: usize, c: usize| (signal.values[channels[c]][r] - values[r * columns + c]).abs();
    (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))).map(|(r, c)| at(r, c)).fold(0.0, f64::max)
}

#[test]
#[cfg_attr(not(all(golden, data)), ignore = "needs ../shared/golden and ../shared/data")]
fn signals_equal_wfdb() {
    let (golden, data) = (shared("golden/ecg/decode/outputs.safetensors"), shared("data/ecg"));
    for (name, file, gains) in [
        ("binformats", "wfdb_formats/binformats.hea", 200.0),
        ("a103l", "wfdb_formats/a103l.hea", 0.0),
        ("mitbih_100", "mitbih/100.hea", 0.0),
        ("ptbxl_00001_lr", "ptbxl_sample/00001_lr.hea", 1000.0),
        ("s0010_re", "ptbdb/s0010_re.hea", 2000.0),
    ] {
        let signal = signal::read(&data.join(file)).unwrap_or_else(|e| panic!("{e}"));
        let all: Vec<usize> = (0..signal.values.len()).collect();
        let physical = tensor(&golden, &format!("physical_first64.{name}"));
        assert!(apart(&signal, &all, &physical) < 1e-12, "{name}");
        // All stored samples, where the baseline is 0.
        let (shape, digital) = tensor(&golden, &format!("digital.{name}"));
        if gains > 0.0 {
            let scaled = (shape, digital.iter().map(|v| v / gains).collect());
            assert!(apart(&signal, &all, &scaled) < 1e-9, "{name}");
        }
    }
    let other = signal::read(&data.join("wfdb_formats/test01_00s.dat")).unwrap();
    assert_eq!((other.values.len(), other.len(), other.rate, other.names[1].as_str()), (4, 4000, Some(500.0), "ECG 2"));
}

#[test]
#[cfg_attr(not(all(golden, data)), ignore = "needs ../shared/golden and ../shared/data")]
fn signals_equal_the_chain_of_scipy() {
    let (golden, data) = (shared("golden/ecg"), shared("data/ecg/ludb/data"));
    for (record, leads, high) in
        [("1", vec![0, 1, 6], vec![0]), ("101", vec![3, 8], vec![]), ("58", vec![1, 11], vec![])]
    {
        let signal = signal::read(&data.join(format!("{record}.hea"))).unwrap();
        let file = golden.join(format!("ludb_{record}/outputs.safetensors"));
        assert!(apart(&signal, &leads, &tensor(&file, "physical")) < 1e-12);
        let steps = Step::new("band_pass", &[1.0, 25.0, 2.0]).unwrap();
        if !high.is_empty() {
            assert!(apart(&run(&signal, &steps[..1]).unwrap(), &high, &tensor(&file, "highpassed")) < 1e-9);
        }
        let filtered = run(&signal, &steps).unwrap();
        assert!(apart(&filtered, &leads, &tensor(&file, "filtered")) < 1e-9);
        for (name, pick) in [("lead_min", f64::min as fn(f64, f64) -> f64), ("lead_max", f64::max)] {
            let (_, wanted) = tensor(&file, name);
            for (channel, wanted) in filtered.values.iter().zip(wanted) {
                assert!((channel.iter().copied().reduce(pick).unwrap() - wanted).abs() < 1e-9);
            }
        }
    }
    let file = golden.join("flat_leads");
    let (shape, values) = tensor(&file.join("inputs.safetensors"), "signal");
    let column = |c: usize| values.iter().skip(c).step_by(shape[1]).copied().collect();
    let flat = Signal { rate: Some(500.0), values: (0..3).map(column).collect(), ..Signal::default() };
    let steps = Step::new("band_pass", &[1.0, 25.0, 2.0]).unwrap();
    let made = run(&flat, &steps).unwrap();
    assert!(apart(&made, &[0, 1, 2], &tensor(&file.join("outputs.safetensors"), "filtered")) < 1e-9);
}

fn every(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { every(&path, found) } else { found.push(path) }
    }
}

#[test]
#[cfg_attr(not(data), ignore = "needs ../shared/data")]
fn clouds_of_other_projects() {
    let folder = shared("data/pointcloud");
    let get = |name: &str| -> Cloud { cloud_file::read(&folder.join(name)).unwrap_or_else(|e| panic!("{e}")) };
    let bunny = get("trimesh/bunny.ply");
    assert_eq!((bunny.points.len(), bunny.faces.len()), (8171, 16301));
    assert_eq!(bunny.points[0], [-0.036872, 0.127727, 0.00440925]);
    assert_eq!(get("pcl/ism_train_cat.pcd").points.len(), 3400);
    let room = get("pcl/pairwise_capture0001.pcd");
    assert_eq!((room.grid, room.points.len()), (Some((480, 640)), 307_200));
    let seen = room.points.iter().filter(|p| p.iter().all(|v| v.is_finite())).count();
    assert!(seen > 100_000 && seen < 307_200, "{seen}");
    // Its labels number objects, and are no marks.
    assert!(get("pcl/mOSD_test0.pcd").marks.is_none());
    assert_eq!(get("pcu/duplicated_pcloud.ply").points.len(), 5395);
    assert_eq!(get("trimesh/fuze_ascii.ply").faces.len(), 1000);
    let mut files = Vec::new();
    every(&folder, &mut files);
    for path in
        files.iter().filter(|p| p.extension().is_some_and(|e| ["ply", "pcd", "xyz"].contains(&&*e.to_string_lossy())))
    {
        let name = path.display().to_string();
        // Some have no points, and the header of one counts 12 of its 13.
        let wrong = name.contains("ply_empty") || name.contains("points_emptyascii");
        match cloud_file::read(path) {
            Ok(cloud) => assert!(!cloud.points.is_empty() && !wrong, "{name}"),
            Err(e) => assert!(wrong, "{e}"),
        }
    }
}

fn near(name: &str, found: Option<f64>, wanted: f64) {
    let found = found.unwrap_or_else(|| panic!("{name} is not there"));
    assert!((found - wanted).abs() < 1e-9, "{name}: {found}, wanted {wanted}");
}

#[test]
#[cfg_attr(not(golden), ignore = "needs ../shared/golden")]
fn metrics_equal_scikit_learn_and_the_exact_overlap() {
    let golden = shared("golden/metrics");
    for case in ["synth20_64", "synth20_64_strong", "synth20_64_ties"] {
        let text = std::fs::read_to_string(golden.join(case).join("case.json")).unwrap();
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        let wanted = |name: &str| told["values"][name].as_f64().unwrap();
        let bytes = std::fs::read(golden.join(case).join("inputs.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let floats = |name: &str| -> Vec<f32> {
            let all = file.tensor(name).unwrap().data().to_vec();
            all.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        };
        let truths: Vec<bool> = file.tensor("image_labels").unwrap().data().iter().map(|v| *v != 0).collect();
        let image = samples(&floats("image_scores"), &truths).unwrap();
        near("image AUROC", image.auroc, wanted("image_auroc"));
        near("image AP", image.ap, wanted("image_ap"));
        near("image F1", image.f1_max, wanted("image_f1max"));
        near("image F1 threshold", image.f1_threshold.map(f64::from), wanted("image_f1max_threshold"));
        let (maps, masks) = (floats("maps"), file.tensor("masks").unwrap().data().to_vec());
        for (limit, name) in [(0.3, "0.3"), (0.05, "0.05"), (1.0, "1.0")] {
            let mut pixels = PixelMetrics::default();
            for (map, mask) in maps.chunks(64 * 64).zip(masks.chunks(64 * 64)) {
                pixels.add(map, mask, 64).unwrap();
            }
            let pixels = pixels.measure(limit, 2).unwrap();
            near("AUPRO", pixels.aupro, wanted(&format!("aupro_exact_8conn_{name}")));
            near("pixel AUROC", pixels.auroc, wanted("pixel_auroc"));
            near("pixel AP", pixels.ap, wanted("pixel_ap"));
            near("pixel F1", pixels.f1_max, wanted("pixel_f1max"));
            near("pixel F1 threshold", pixels.f1_threshold.map(f64::from), wanted("pixel_f1max_threshold"));
            assert_eq!((pixels.regions, pixels.within), (told["regions_8conn"].as_u64().unwrap(), 0.0));
        }
    }
}
