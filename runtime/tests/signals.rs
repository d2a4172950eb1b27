//! Signals as SciPy filters and resamples them; files that are not what they say.
//!
//! In: `tests/oracles/signals.json` (SciPy); records written here, then damaged. Out: nothing.
//! Invariants: values agree to rounding; nothing panics, and what is refused is named. Imports: the runtime.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use uad_runtime::data::signal::filter::{both_ways, butterworth, notch};
use uad_runtime::data::signal::read;
use uad_runtime::data::signal::resample::Resampler;
use uad_runtime::data::signal::steps::{Step, run};

#[test]
fn equals_scipy_on_a_formula() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles/signals.json")).unwrap();
    let oracle: serde_json::Value = serde_json::from_str(&text).unwrap();
    let x: Vec<f64> =
        (0..700).map(f64::from).map(|i| (i * 0.05).sin() + 0.3 * (i * 0.9 + 1.0).sin() + 0.002 * i).collect();
    let both = |s: Vec<_>| both_ways(&x, &s).unwrap();
    let cases = [
        ("high_pass 1 order 2", both(butterworth(true, 1.0 / 500.0, 2))),
        ("low_pass 25 order 2", both(butterworth(false, 25.0 / 500.0, 2))),
        ("low_pass 40 order 6", both(butterworth(false, 40.0 / 500.0, 6))),
        ("high_pass 5 order 4", both(butterworth(true, 5.0 / 500.0, 4))),
        ("notch 50 30", both(vec![notch(50.0 / 500.0, 30.0)])),
        ("resample 25 18", Resampler::new((25, 18)).channel(&x)),
        ("resample 1 2", Resampler::new((1, 2)).channel(&x)),
        ("resample 5 1", Resampler::new((5, 1)).channel(&x)),
        ("resample 257 128", Resampler::new((257, 128)).channel(&x)),
    ];
    for (name, made) in cases {
        let wanted = &oracle[name];
        assert_eq!(made.len() as u64, wanted["length"].as_u64().unwrap(), "{name}");
        let wanted: Vec<f64> =
            wanted["every_seventh"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let worst = made.iter().step_by(7).zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-9, "{name}: {worst}");
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("uad-signals-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn broken_records_are_named() {
    let home = Folder::new("broken");
    home.file("a.dat", [1u8, 0, 2, 0, 3, 0, 4, 0]);
    home.file("low.dat", [0u8, 0x80, 2, 0]);
    home.file("none.dat", []);
    for (text, why) in [
        ("a 2 500 2\na.dat 16 200 16 0 1 4 0 i\na.dat 16 200 16 0 2 6 0 ii\n", ""),
        ("a 2 500 3\na.dat 16\na.dat 16\n", "is cut off: 3 samples of 2 channels are announced, and it holds 2"),
        ("a 1 500 4\na.dat 16 200 16 0 1 11 0 i\n", "damaged: the samples of `i` add up to 10, not to 11"),
        ("a 1 500 99999999999999\na.dat 16\n", "is cut off"),
        ("a 4000 500 99999999999999999\n", "announces 4000 channels and describes 0"),
        ("a 1 500\nb.dat 16\n", "its file `b.dat`"),
        ("a 2 500\na.dat 16\na.dat 212\n", "has channels of the formats 16 and 212"),
        ("a 1 500\na.dat 17\n", "there is no format 17"),
        ("a 1 500\na.dat 516\n", "FLAC"),
        ("a 1 500\na.dat 16+99\n", "holds no samples"),
        ("a 1 500 2\nlow.dat 16 200 16 0 0 0 0 v1\n", "has no value of `v1` at sample 0"),
        ("a 1 500\nnone.dat 16\n", "holds no samples"),
    ] {
        let made = read(&home.file("a.hea", text));
        match (why, made) {
            ("", made) => assert_eq!(made.unwrap().values, [[0.005, 0.015], [0.01, 0.02]]),
            (why, Err(e)) => assert!(e.why.contains(why) && e.path.ends_with("a.hea"), "{text:?}: {e}"),
            (why, Ok(_)) => panic!("{text:?} is not refused: {why}"),
        }
    }
    for (name, bytes, why) in [
        ("alone.dat", &b"\0\0"[..], "there is no .hea file beside it"),
        ("x.wav", b"RIFF", "not from .wav"),
        ("e.csv", b"", "holds no samples"),
        ("n.csv", b"a,b\n", "holds no samples"),
        ("z.npy", b"", "too short"),
        ("p.npy", b"\x93NUMPY\x01\x00\xff\xff", "cut off in its header"),
    ] {
        let e = read(&home.file(name, bytes)).unwrap_err();
        assert!(e.why.contains(why), "{name}: {e}");
    }
    assert!(read(&home.0).unwrap_err().why.contains("a folder"));
    assert!(read(&home.0.join("gone.csv")).is_err());
}

/// Reads and prepares; what comes out is a signal or an error that names the file.
fn survives(path: &Path) -> Result<(), TestCaseError> {
    match read(path) {
        Ok(signal) => {
            prop_assert!(!signal.is_empty() && signal.values.iter().flatten().all(|v| v.is_finite()));
            let steps = Step::new("resample_rate", &[500.0]).unwrap();
            if signal.len() < 10_000 && signal.rate.is_none_or(|r| r > 1.0) {
                let _ = run(&signal, &steps);
            }
        }
        Err(e) => prop_assert!(!e.why.is_empty() && e.path == path),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn altered_headers(at in 0usize..90, to in any::<u8>(), cut in 0usize..90, data in prop::collection::vec(any::<u8>(), 0..40)) {
        let home = Folder::new("header");
        let mut text = b"a 2 500 4\na.dat 212+3 200(5)/mV 12 0 1 4 0 lead i\na.dat 212+3 1e3/uV 12 0 2\n".to_vec();
        if let Some(b) = text.get_mut(at) {
            *b = to;
        }
        text.truncate(text.len().saturating_sub(cut / 8));
        home.file("a.dat", data);
        survives(&home.file("a.hea", text))?;
    }

    #[test]
    fn any_text_any_array(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[0-9eE+.,; \tNaInf\n-]{0,120}") {
        let home = Folder::new("any");
        survives(&home.file("b.csv", &bytes))?;
        survives(&home.file("t.csv", text))?;
        survives(&home.file("b.hea", &bytes))?;
        let mut array = b"\x93NUMPY\x01\x00".to_vec();
        array.extend(&bytes);
        survives(&home.file("b.npy", array))?;
    }

    #[test]
    fn any_array_header(shape in prop::collection::vec(any::<u64>(), 0..4), kind in "[<>|=][fiubcOSU][0-9]{1,2}", fortran: bool, data in prop::collection::vec(any::<u8>(), 0..64)) {
        let home = Folder::new("array");
        let dims: String = shape.iter().map(|d| format!("{}, ", d % 9)).collect();
        let fortran = if fortran { "True" } else { "False" };
        let text = format!("{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': ({dims}), }}");
        let mut array = b"\x93NUMPY\x01\x00".to_vec();
        array.extend((text.len() as u16).to_le_bytes());
        array.extend(text.as_bytes());
        array.extend(data);
        survives(&home.file("a.npy", array))?;
    }
}
