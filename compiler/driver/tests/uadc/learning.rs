//! A small detector that learns, pictures for it, and what it has learned.
//!
//! In: names of folders. Out: a folder with spec and pictures; the content of bundles and logs. Invariants: what is compared has no
//! times in it. Imports: bundles.

use super::{Ran, Scratch};
use uad_runtime::bundle::Bundle;

/// A rule, a loss and a memory.
pub const SPEC: &str = "\
use data.{image, rgb, resize}
use nn.{conv, relu}
use noise.dropout
use norms.square
use optim.{adamw, step}

detector tiny {
  input image: image[b, 3, 8, 8] from rgb |> resize(8, 8)

  state seen: f32 = 0
  state centre: f32[3] = zeros
  stage measure {
    centre <- centre + sum(mean(image, axis: [2, 3]), axis: 0)
    seen   <- seen + b
    batch: 4
  }

  let shifted = image - (centre / seen)[c -> c 1 1]
  let hidden  = shifted |> @train dropout(0.1) |> conv(6) as first |> relu
  let recon   = hidden |> conv(3) as last
  let loss    = mean(square(recon - shifted))
  stage train {
    minimise loss with adamw(lr: 1e-2)
    epochs: 6,  batch: 4,  clip: 1.0,  schedule: step(every: 3, by: 0.5),  keep: lowest(loss, on: validation)
  }

  let far = mean(square(recon - shifted), axis: 1)
  state usual: f32[8, 8]
  stage remember { usual <- mean(all(far), axis: 0) }

  score {
    map    = far - usual[h w -> 1 h w]
    sample = max(far, axis: [1, 2])
  }
}
";

/// A picture, 12 by 12, written without a library: BMP of 24 bits.
fn picture(scratch: &Scratch, name: &str, shade: u32) {
    let pixels = 12 * 12 * 3;
    let mut bytes = b"BM".to_vec();
    for word in [54 + pixels, 0, 54, 40, 12, 12, 1 | 24 << 16, 0, pixels, 0, 0, 0, 0u32] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend((0..pixels).map(|i| (i.wrapping_mul(7 + shade).wrapping_add(shade * 31) % 251) as u8));
    std::fs::create_dir_all(scratch.path(name).parent().unwrap()).unwrap();
    std::fs::write(scratch.path(name), bytes).unwrap();
}

/// A folder with the spec and its pictures.
pub fn tiny(name: &str) -> Scratch {
    let s = Scratch::new(name);
    s.file("tiny.uad", SPEC);
    for n in 0..22 {
        picture(&s, &format!("data/train/good/{n:02}.bmp"), n);
    }
    picture(&s, "data/test/good/0.bmp", 40);
    picture(&s, "data/test/bent/0.bmp", 41);
    s
}

/// The command that trains it.
pub const TRAIN: [&str; 6] = ["train", "tiny.uad", "--data", "data", "--validation", "0.25"];

/// Trains it, with more arguments.
pub fn train(s: &Scratch, more: &[&str]) -> Ran {
    s.uadc(&[&TRAIN[..], more].concat())
}

/// All weights and states of a bundle, and its card without times.
pub fn learned(s: &Scratch, name: &str) -> (Vec<(String, Vec<u8>)>, String) {
    let bundle = Bundle::open(&s.path(name)).unwrap();
    let tensors = bundle.all_stored().into_iter().map(|(n, t)| (n, t.to_bytes())).collect();
    let mut card = bundle.card.clone();
    card.training.iter_mut().flat_map(|t| &mut t.stages).for_each(|s| s.seconds = 0.0);
    (tensors, format!("{card:?}"))
}

/// Two bundles must have learned the same, bit for bit.
pub fn same(s: &Scratch, a: &str, b: &str) {
    let (a, b) = (learned(s, a), learned(s, b));
    assert_eq!(a.1, b.1);
    for (x, y) in a.0.iter().zip(&b.0) {
        assert_eq!(x, y, "{}", x.0);
    }
    assert_eq!(a.0.len(), b.0.len());
}

/// The log's lines without times.
pub fn log(s: &Scratch, folder: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(s.path(folder).join("log.jsonl")).unwrap();
    let line = |l: &str| {
        let mut v: serde_json::Value = serde_json::from_str(l).unwrap();
        let fields = v.as_object_mut().unwrap();
        fields.remove("images_per_second");
        fields.remove("seconds");
        v
    };
    text.lines().map(line).collect()
}
