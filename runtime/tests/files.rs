//! Files that are cut short, altered or something else than they say are refused by name; none of them panics.
//!
//! In: bundles, tensors and images made here, then damaged. Out: nothing. Invariants: every cut and every changed byte of a bundle is
//! noticed. Imports: the runtime.

use std::io::Cursor;
use std::path::PathBuf;

use image::{DynamicImage, ImageFormat, RgbImage};
use proptest::prelude::*;
use uad_plan::tensor::Tensor;
use uad_runtime::bundle::{Bundle, Content, v1};
use uad_runtime::data::image::read;
use uad_runtime::data::{pipeline, resize};
use uad_runtime::tensors::TensorFile;

/// A folder of one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("uad-files-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
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

const PLAN: &str = r#"uadp 1
plan "tiny"
stored {
  weight w f32[2, 2]
}
entry score(b) {
  input %x f32[b, 2]
  output %y f32[b, 2]
  kernels {
    map [b, 2] "copy" {
      $0 = %x[2*i0 + i1]
      at { r0 = $0; yield r0 }
      write %y[2*i0 + i1]
    }
  }
}
"#;

fn bundle() -> Vec<u8> {
    let tensor = |v: f32| Tensor::f32(&[2, 2], vec![v; 4]).unwrap();
    let one = |name: &str, v: f32| [(name.to_owned(), tensor(v))].into_iter().collect();
    let card = v1::Card {
        detector: "tiny".into(),
        producer: "test".into(),
        stages: vec![v1::Stage { name: "train".into(), ..v1::Stage::default() }],
        ..v1::Card::default()
    };
    let content = Content {
        card,
        plan: PLAN.into(),
        spec: "//# tiny.uad\ndetector tiny {}\n".into(),
        stored: one("w", 1.0),
        peers: one("second", 0.25),
        probe_inputs: one("x", 0.5),
        probe_outputs: one("y", 0.5),
    };
    content.to_bytes().unwrap()
}

fn refused(path: &std::path::Path, what: &str) {
    let e = Bundle::open(path).err().unwrap_or_else(|| panic!("{} is accepted: {what}", path.display()));
    assert!(e.to_string().contains("d.uadx"), "{e}");
}

#[test]
fn every_cut_of_a_bundle_is_refused() {
    let (folder, bytes) = (Folder::new("cut"), bundle());
    let whole = Bundle::open(&folder.file("d.uadx", &bytes));
    assert!(whole.as_ref().is_ok_and(|b| b.probe().1.contains_key("y")), "{:?}", whole.err());
    for n in 0..bytes.len() {
        refused(&folder.file("d.uadx", &bytes[..n]), "cut");
    }
    refused(&folder.file("d.uadx", &[&bytes[..], b"\0"].concat()), "a byte more");
}

#[test]
fn every_changed_byte_of_a_bundle_is_refused() {
    let (folder, bytes) = (Folder::new("changed"), bundle());
    let mut changed = bytes.clone();
    for n in 0..bytes.len() {
        for flip in [1, 0x20, 0x80] {
            changed[n] = bytes[n] ^ flip;
            refused(&folder.file("d.uadx", &changed), &format!("byte {n} ^ {flip}"));
        }
        changed[n] = bytes[n];
    }
}

#[test]
fn other_things_are_no_bundles() {
    let folder = Folder::new("other");
    let others =
        [("empty", &b""[..]), ("text", b"detector d {}"), ("zeros", &[0; 4096]), ("json", b"\x02\0\0\0\0\0\0\0{}")];
    for (what, bytes) in others {
        refused(&folder.file("d.uadx", bytes), what);
    }
    refused(&folder.0.join("d.uadx.missing"), "missing");
    let inside = folder.0.join("folder.d.uadx");
    std::fs::create_dir(&inside).unwrap();
    refused(&inside, "a folder");
}

#[test]
fn absurd_headers_of_tensors_are_refused() {
    let folder = Folder::new("headers");
    let headers = [
        r#"{"a":{"dtype":"F32","shape":[18446744073709551615,18446744073709551615],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551615]}}"#,
        r#"{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
        r#"{"a":1}"#,
        "[]",
        "null",
    ];
    for header in headers {
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
        let e = TensorFile::open(&folder.file("w.safetensors", &bytes)).err().unwrap_or_else(|| panic!("{header}"));
        assert!(e.to_string().contains("w.safetensors"), "{e}");
    }
    for length in [0u64, 7, 1 << 20, 1 << 40, u64::MAX] {
        let bytes = [&length.to_le_bytes()[..], b"{}"].concat();
        assert!(TensorFile::open(&folder.file("w.safetensors", &bytes)).is_err());
    }
}

#[test]
fn broken_checkpoints_are_refused() {
    let folder = Folder::new("torch");
    let nested: Vec<u8> = [&b"\x80\x02"[..], &b"]".repeat(100_000)[..], b"."].concat();
    let tuples: Vec<u8> = [&b"\x80\x02)"[..], &b"\x85".repeat(200_000)[..], b"."].concat();
    let cases: [(&str, &[u8]); 8] = [
        ("an empty archive", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("a cut archive", b"PK\x03\x04"),
        ("a pickle of nothing", b"\x80\x02."),
        ("a pickle that ends early", b"\x80\x02}q\x00"),
        ("nested lists", &nested),
        ("nested tuples", &tuples),
        ("a text of 2 GiB", b"\x80\x02X\xff\xff\xff\x7fabc."),
        ("an unknown operation", b"\x80\x02\xff\xff\xff"),
    ];
    for (what, bytes) in cases {
        let e = TensorFile::open(&folder.file("w.pth", bytes)).err().unwrap_or_else(|| panic!("{what} is accepted"));
        assert!(e.to_string().contains("w.pth"), "{what}: {e}");
    }
}

const FORMATS: [ImageFormat; 5] =
    [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP];

fn encoded(format: ImageFormat) -> Vec<u8> {
    let picture = RgbImage::from_fn(9, 7, |x, y| image::Rgb([(x * 20) as u8, (y * 30) as u8, (x * y) as u8]));
    let mut to = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture).write_to(&mut to, format).unwrap();
    to.into_inner()
}

#[test]
fn cut_images_are_refused_or_read() {
    let folder = Folder::new("images");
    for format in FORMATS {
        let bytes = encoded(format);
        assert_eq!(read(&folder.file("i.png", &bytes)).unwrap().dimensions(), (9, 7), "{format:?}");
        let mut refused = 0;
        for n in 0..bytes.len() {
            match read(&folder.file("i.png", &bytes[..n])) {
                // Some decoders do without the last bytes.
                Ok(i) => assert_eq!(i.dimensions(), (9, 7)),
                Err(e) => {
                    refused += 1;
                    assert!(e.to_string().contains("i.png") && !e.to_string().contains('\n'), "{e}");
                }
            }
        }
        assert!(refused * 4 > bytes.len(), "{format:?}: {refused} of {} cuts are refused", bytes.len());
    }
}

#[test]
fn what_is_no_image_is_refused() {
    let folder = Folder::new("no-image");
    let mut bmp = encoded(ImageFormat::Bmp);
    bmp[18..26].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]);
    let mut long = encoded(ImageFormat::Bmp);
    long[18..26].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 8]);
    let mut png = encoded(ImageFormat::Png);
    png[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let cases: [(&str, &[u8]); 7] = [
        ("empty", b""),
        ("text", b"this is a text"),
        ("zeros", &[0; 1000]),
        ("signature alone", b"\x89PNG\r\n\x1a\n"),
        ("2^31 square, BMP", &bmp),
        ("2^31 square, PNG", &png),
        ("1 x 2^27, BMP", &long),
    ];
    for (what, bytes) in cases {
        let e = read(&folder.file("i.png", bytes)).err().unwrap_or_else(|| panic!("{what} is accepted"));
        assert!(e.to_string().contains("i.png"), "{e}");
    }
    assert!(read(&folder.0).err().is_some_and(|e| e.to_string().contains("a folder")));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_not_waited_for() {
    let folder = Folder::new("pipe");
    let path = folder.0.join("d.uadx");
    // POSIX has it everywhere.
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    refused(&path, "a pipe");
    assert!(read(&path).is_err() && TensorFile::open(&path).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn devices_stay_devices() {
    use std::os::unix::fs::FileTypeExt;
    let full = std::path::Path::new("/dev/full");
    let e = uad_runtime::whole::write(full, b"x").unwrap_err();
    assert_eq!(e.kind(), std::io::ErrorKind::StorageFull);
    assert!(std::fs::metadata(full).unwrap().file_type().is_char_device());
    uad_runtime::whole::write(std::path::Path::new("/dev/null"), b"x").unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn altered_bundles_are_refused(edits in prop::collection::vec((0usize..1 << 20, 1u8..), 1..8)) {
        let (folder, whole) = (Folder::new("altered"), bundle());
        let mut bytes = whole.clone();
        for (at, flip) in edits {
            let n = at % bytes.len();
            bytes[n] ^= flip;
        }
        if bytes != whole {
            refused(&folder.file("d.uadx", &bytes), "altered");
        }
    }

    #[test]
    fn altered_images_are_read_or_refused(
        format in 0usize..5,
        edits in prop::collection::vec((0usize..1 << 20, any::<u8>()), 1..8),
    ) {
        let folder = Folder::new("altered-images");
        let mut bytes = encoded(FORMATS[format]);
        for (at, to) in edits {
            let n = at % bytes.len();
            bytes[n] = to;
        }
        if let Err(e) = read(&folder.file("i.png", &bytes)) {
            prop_assert!(e.to_string().contains("i.png"));
        }
    }

    #[test]
    fn noise_is_refused_by_name(
        head in prop::sample::select(
            vec![&b""[..], b"PK\x03\x04", b"\x80\x02", b"\x80\x02}q\0(X", b"\x10\0\0\0\0\0\0\0{\""]
        ),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let folder = Folder::new("noise");
        let path = folder.file("d.uadx", &[head, &body[..]].concat());
        if let Err(e) = TensorFile::open(&path) {
            prop_assert!(e.to_string().contains("d.uadx"));
        }
        refused(&path, "noise");
    }

    #[test]
    fn any_size_becomes_any_size(
        (w, h) in prop_oneof![(1u32..2000, 1u32..4), (1u32..4, 1u32..2000), (1u32..40, 1u32..40)],
        (width, height) in prop_oneof![(1u32..2000, 1u32..4), (1u32..4, 1u32..2000), (1u32..40, 1u32..40)],
        value in any::<u8>(),
    ) {
        let image = RgbImage::from_pixel(w, h, image::Rgb([value; 3]));
        let out = resize::bilinear(&image, height, width);
        prop_assert_eq!(out.dimensions(), (width, height));
        // What is the same everywhere stays so.
        prop_assert!(out.as_raw().iter().all(|v| *v == value));
        let side = width.min(64);
        let shorter = resize::shorter(&image, side);
        prop_assert_eq!(shorter.width().min(shorter.height()), side);
        prop_assert_eq!(resize::centre_crop(&image, side, 2 * side).dimensions(), (2 * side, side));
    }

    #[test]
    fn steps_have_bounds(
        name in prop::sample::select(vec!["resize", "resize_shorter", "centre_crop", "turn"]),
        args in prop::collection::vec(any::<f64>(), 0..3),
    ) {
        if let Ok(step) = pipeline::Step::new(name, &args) {
            let extent = match step {
                pipeline::Step::Resize(h, w) | pipeline::Step::CentreCrop(h, w) => h.max(w),
                pipeline::Step::ResizeShorter(s) => s,
            };
            prop_assert!((1..=16384).contains(&extent));
        }
    }
}
