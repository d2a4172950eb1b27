//! Running the built binary in a folder of its own.
//!
//! In: arguments and files. Out: [`Ran`]. Invariants: no environment variable of the caller changes what is printed; the folder
//! is removed when its [`Scratch`] goes. Imports: nothing of this project.

#![allow(dead_code)]

pub mod learning;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A detector that needs no weights from elsewhere.
pub const TWO_LAYERS: &str = "\
use data.{image, rgb, resize}
use nn.{conv, relu}

detector tiny {
  param side: int = 16,  width: int = 4,  ends: int = 2
  input image: image[b, 3, side, side] from rgb |> resize(side, side)
  let first = image |> frozen conv(width, stride: 2) as first |> relu
  let last  = first |> frozen conv(ends) as last
  let rough = sum(last * last, axis: 1)
  score {
    map    = rough
    sample = max(rough, axis: [1, 2])
  }
}
";

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }
}

fn command(program: &str) -> Command {
    let mut c = Command::new(program);
    for name in ["NO_COLOR", "LC_CTYPE", "LANG", "RUST_BACKTRACE", "UAD_ISA"] {
        c.env_remove(name);
    }
    c.env("LC_ALL", "C.UTF-8").env("COLUMNS", "100").env("UADC", env!("CARGO_BIN_EXE_uadc"));
    c
}

/// Runs `uadc` in the workspace's root.
pub fn uadc(args: &[&str]) -> Ran {
    Ran::of(command(env!("CARGO_BIN_EXE_uadc")).args(args).current_dir(root()).output().unwrap())
}

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `part` of the reference material beside the workspace. Tests that need it are ignored where it was not there when they
/// were compiled (`tests/build.rs`).
pub fn shared(part: &str) -> PathBuf {
    let path = root().join("../shared").join(part);
    path.canonicalize().unwrap_or_else(|e| panic!("../shared/{part}: {e}"))
}

/// A folder for one test.
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder.
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("uadc-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    /// Writes a file.
    pub fn file(&self, name: &str, text: &str) -> &Scratch {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Runs `uadc` in it.
    pub fn uadc(&self, args: &[&str]) -> Ran {
        Ran::of(command(env!("CARGO_BIN_EXE_uadc")).args(args).current_dir(&self.0).output().unwrap())
    }

    /// Runs a line of Bash in it; `$UADC` is the binary.
    pub fn shell(&self, line: &str) -> Ran {
        Ran::of(command("bash").args(["-c", line]).current_dir(&self.0).output().unwrap())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
