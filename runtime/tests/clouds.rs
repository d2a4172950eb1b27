//! Clouds from files: what is right in every format, and what is wrong in every way.
//!
//! In: files that the tests write. Out: nothing. Invariants: what is broken is an error
//! that says how; nothing panics; no header makes the reader ask for memory. Imports: the runtime's clouds.

use uad_runtime::data::cloud::parse;
use uad_runtime::data::cloud::write::{Written, ply};
use uad_runtime::data::cloud_file::read;

const PLY: &str = "ply\nformat ascii 1.0\ncomment c\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n\
                   property uchar label\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n\
                   0 0 0 0\n1 0 0 1\n0 1.5 0 0\n3 0 1 2\n";
const PCD: &str = "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 3\nHEIGHT 1\n\
                   VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 3\nDATA ascii\n0 0 0\n1 0 0\n0 1.5 0\n";

fn points() -> Vec<[f32; 3]> {
    vec![[0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.5, 0.0]]
}

/// The points as 4-byte floats.
fn floats(big: bool) -> Vec<u8> {
    let one = |v: &f32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    points().iter().flatten().flat_map(one).collect()
}

fn binary_ply(big: bool) -> Vec<u8> {
    let kind = if big { "big" } else { "little" };
    let head = format!(
        "ply\r\nformat binary_{kind}_endian 1.0\r\nelement vertex 3\r\nproperty float x\r\nproperty float y\r\nproperty float z\r\n\
         element face 1\r\nproperty list uchar ushort vertex_index\r\nend_header\r\n"
    );
    let corners: [u16; 3] = [2, 0, 1];
    let corners = corners.iter().flat_map(|c| if big { c.to_be_bytes() } else { c.to_le_bytes() });
    head.into_bytes().into_iter().chain(floats(big)).chain([3]).chain(corners).collect()
}

fn binary_pcd(compressed: bool) -> Vec<u8> {
    let (head, _) = PCD.split_once("DATA").unwrap();
    let mut bytes = head.as_bytes().to_vec();
    if !compressed {
        bytes.extend(b"DATA binary\n");
        bytes.extend(floats(false));
        return bytes;
    }
    bytes.extend(b"DATA binary_compressed\n");
    // Field by field, in literals of at most 32 bytes.
    let fields: Vec<u8> = (0..3).flat_map(|k| points().into_iter().flat_map(move |p| p[k].to_le_bytes())).collect();
    let packed: Vec<u8> = fields.chunks(32).flat_map(|c| [vec![c.len() as u8 - 1], c.to_vec()].concat()).collect();
    bytes.extend((packed.len() as u32).to_le_bytes());
    bytes.extend((fields.len() as u32).to_le_bytes());
    bytes.extend(packed);
    bytes
}

/// A file in every format, with the same three points.
fn all() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("ply", PLY.as_bytes().to_vec()),
        ("ply little", binary_ply(false)),
        ("ply big", binary_ply(true)),
        ("pcd", PCD.as_bytes().to_vec()),
        ("pcd binary", binary_pcd(false)),
        ("pcd compressed", binary_pcd(true)),
        ("xyz", b"0 0 0\n1 0 0\n0 1.5 0\n".to_vec()),
        ("csv", b"\"x\",\"y\",\"z\",\"label\"\r\n0,0,0,0\r\n1,0,0,1\r\n0,1.5,0,0\r\n".to_vec()),
        ("txt", b"# by hand\n0.0 0.0 0.0 0\n1e0;0;0;1\n0 1.5 0 0\n".to_vec()),
        ("pts", b"3\n0 0 0 17\n1 0 0 18\n0 1.5 0 19\n".to_vec()),
        ("columns", b"i z y x\n7 0 0 0\n8 0 0 1\n9 0 1.5 0\n".to_vec()),
    ]
}

#[test]
fn every_format_gives_the_points() {
    for (name, bytes) in all() {
        let cloud = parse(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(cloud.points, points(), "{name}");
    }
    assert_eq!(parse(&binary_ply(true)).unwrap().faces, [[2, 0, 1]]);
    for (name, bytes) in all() {
        let marked = ["ply", "csv", "txt"].contains(&name);
        assert_eq!(parse(&bytes).unwrap().marks, marked.then(|| vec![0, 1, 0]), "{name}");
    }
}

#[test]
fn files_that_end_early_are_refused() {
    for (name, bytes) in all() {
        let whole = parse(&bytes).unwrap().points.len();
        for n in 0..bytes.len() {
            // Text without a count ends where it ends; the others know.
            match parse(&bytes[..n]) {
                Ok(cloud) => {
                    let counted = name.starts_with("pl") || name.starts_with("pc");
                    let all =
                        bytes[n..].trim_ascii().is_empty() || name.starts_with("ply") && cloud.points.len() == whole;
                    assert!(!counted || all || name == "pcd", "{name} cut at {n} of {} is accepted", bytes.len());
                }
                Err(e) => assert!(!e.is_empty() && e.len() < 300, "{name} cut at {n}: {e}"),
            }
        }
    }
}

/// What is said of a file.
fn told(bytes: &[u8]) -> String {
    parse(bytes).expect_err(&String::from_utf8_lossy(bytes))
}

#[test]
fn wrong_counts_are_named() {
    let swap = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from));
        told(text.replacen(from, to, 1).as_bytes())
    };
    let cases = [
        (swap(PLY, "vertex 3", "vertex 4"), "1 of `face`, but 0 are there"),
        (swap(PLY, "vertex 3", "vertex 2"), "counts fewer rows"),
        (swap(PLY, "face 1", "face 2"), "2 of `face`, but 1 are there"),
        (swap(PLY, "face 1", "face 0"), "counts fewer rows"),
        (swap(PLY, "vertex 3", "vertex 4000000000"), "bytes follow"),
        (swap(PLY, "vertex 3", "vertex -3"), "`-3` is no count"),
        (swap(PLY, "3 0 1 2", "3 0 1 9"), "corner 9"),
        (swap(PLY, "1 0 0 1", "1 0 0 1 5"), "too many values"),
        (swap(PLY, "1 0 0 1", "1 0 zero 1"), "`zero` is not a number"),
        (swap(PLY, "float z", "float w"), "no property `z`"),
        (swap(PLY, "ascii", "utf9"), "`utf9` is no format"),
        (swap(PLY, "end_header", "end"), "`end` is not known"),
        (swap(PCD, "POINTS 3", "POINTS 4"), "WIDTH x HEIGHT is 3"),
        (swap(PCD, "WIDTH 3\nHEIGHT 1\n", "WIDTH 4000000000\nHEIGHT 4000000000\n"), "more than"),
        (swap(PCD, "WIDTH 3\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 3", "WIDTH 4"), "counts 4 points"),
        (swap(PCD, "WIDTH 3\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 3", "WIDTH 2"), "more are there"),
        (swap(PCD, "SIZE 4 4 4", "SIZE 4 4"), "2 of SIZE"),
        (swap(PCD, "SIZE 4 4 4", "SIZE 4 4 3"), "not known"),
        (swap(PCD, "COUNT 1 1 1", "COUNT 1 1 99999999"), "99999999 values"),
        (swap(PCD, "DATA ascii", "DATA hex"), "`hex` is no form"),
        (told(b"4\n0 0 0\n1 1 1\n"), "counts 4 points, but 2"),
        (told(b"0 0 0\n1 1\n"), "line 2: 2 values"),
        (told(b"0 0\n1 1\n"), "2 values are no point"),
        (told(b"this is no cloud\n"), "`this` is neither"),
        (told(&[0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0, 0]), "neither"),
        (told(b""), "is empty"),
        (told(b"\n\n"), "has no points"),
        (
            told(
                PLY.replace("vertex 3", "vertex 0")
                    .split("0 0 0 0")
                    .next()
                    .unwrap()
                    .replace("face 1", "face 0")
                    .as_bytes(),
            ),
            "has no points",
        ),
    ];
    for (said, part) in &cases {
        assert!(said.contains(part), "{said:?} does not say {part:?}");
    }
    let mut bomb =
        PCD.split_once("DATA").unwrap().0.replace("WIDTH 3", "WIDTH 16000000").replace("POINTS 3\n", "").into_bytes();
    bomb.extend(b"DATA binary_compressed\n\x04\0\0\0");
    bomb.extend((16_000_000u32 * 12).to_le_bytes());
    bomb.extend([0; 4]);
    assert!(told(&bomb).contains("cannot hold"), "{}", told(&bomb));
    let endless = [b"ply\nformat ascii 1.0\n".to_vec(), b"comment x\n".repeat(200_000)].concat();
    assert!(told(&endless).contains("within a megabyte"));
    assert!(told(&vec![b'7'; 1 << 17]).contains("too long"));
}

#[test]
fn far_coordinates_keep_their_digits() {
    let cloud = parse(b"665187.522077 5648349.895035 241.767693\n665187.404645 5648349.776039 244.857091\n").unwrap();
    assert_eq!(cloud.shift, [665_187.0, 5_648_349.0, 241.0]);
    assert!((cloud.points[1][1] - 0.776_039).abs() < 1e-5);
    let back = parse(&ply(&Written { points: &cloud.points, shift: cloud.shift, ..Written::default() })).unwrap();
    assert_eq!((back.points, back.shift), (cloud.points, cloud.shift));
}

#[test]
fn what_is_written_is_read() {
    let values = [0.5, -1.0, 3.0];
    let w = Written {
        points: &points(),
        colours: &[[1, 2, 3]; 3],
        marks: &[("mask", &[0, 1, 0])],
        values: &[("score", &values)],
        ..Written::default()
    };
    let cloud = parse(&ply(&w)).unwrap();
    assert_eq!((cloud.points, cloud.marks), (points(), Some(vec![0, 1, 0])));
}

#[test]
fn organised_tiffs_keep_rows_and_columns() {
    let path = std::env::temp_dir().join(format!("uad-organised-{}.tiff", std::process::id()));
    let picture = image::Rgb32FImage::from_fn(4, 3, |x, y| image::Rgb([x as f32, -(y as f32), 0.5]));
    picture.save(&path).unwrap();
    let cloud = read(&path).unwrap();
    assert_eq!((cloud.grid, cloud.points.len(), cloud.points[5]), (Some((3, 4)), 12, [1.0, -1.0, 0.5]));
    let bytes = std::fs::read(&path).unwrap();
    for n in (8..bytes.len()).step_by(7) {
        std::fs::write(&path, &bytes[..n]).unwrap();
        let e = read(&path).map(|c| c.points.len());
        assert!(e.is_err(), "cut at {n}: {e:?}");
    }
    image::RgbImage::new(4, 3).save(&path).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("three 32-bit floats"));
    std::fs::remove_file(&path).unwrap();
}
