//! Machine code of programs: from a sidecar, from the user's cache, or compiled now.
//!
//! In: a program, an architecture. Out: a cubin. Invariants: code is found by a digest of the text, the architecture, the
//! options and the version of the generator, so that code of another program cannot be taken for it; a bundle holds none;
//! a file that cannot be written is no error. Imports: sidecar, whole, `uad-kernels`.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use uad_kernels::cuda::Program;
use uad_kernels::cuda::nvrtc::{Nvrtc, OPTIONS};

use super::sidecar::Sidecar;
use crate::device::error::DeviceError;
use crate::whole;

/// Changes when the same text needs other code around it.
const GENERATION: u32 = 1;

/// What stands for the code of a program on an architecture.
pub fn key(program: &Program, arch: &str) -> String {
    let mut hasher = Sha256::new();
    for part in [&GENERATION.to_string(), arch, &OPTIONS.join(" "), &program.text()] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// The folder of compiled code: `UAD_CACHE`, or the user's cache folder.
pub fn folder() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    var("UAD_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|p| p.join("uad")))
        .or_else(|| var("LOCALAPPDATA").map(|p| p.join("uad")))
        .or_else(|| var("HOME").map(|p| p.join(".cache/uad")))
        .map(|p| p.join("cuda"))
}

/// The code of a program: from the sidecar, the cache or the compiler, in this order.
pub fn find(program: &Program, arch: &str, sidecar: Option<&Sidecar>) -> Result<Vec<u8>, DeviceError> {
    let key = key(program, arch);
    if let Some(code) = sidecar.and_then(|s| s.get(&key)) {
        return Ok(code.to_vec());
    }
    let cached = folder().map(|f| f.join(format!("{key}.cubin")));
    if let Some(code) = cached.as_ref().and_then(|p| std::fs::read(p).ok()).filter(|c| c.starts_with(b"\x7fELF")) {
        return Ok(code);
    }
    let code = compile(program, arch).map_err(|e| {
        DeviceError::NoCompiler(match sidecar {
            Some(s) => format!("the code that was given is for {}, not for this call on {arch}; {e}", s.describe()),
            None => e,
        })
    })?;
    if let Some(path) = cached {
        // Without a cache it is compiled again next time.
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = whole::write(&path, &code);
    }
    Ok(code)
}

/// Compiles a program.
pub fn compile(program: &Program, arch: &str) -> Result<Vec<u8>, String> {
    Ok(Nvrtc::find()?.compile(&program.text(), arch)?.cubin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(workspace: usize) -> Program {
        let (functions, setup, kernels, tables) = Default::default();
        Program { functions, setup, kernels, workspace, tables }
    }

    #[test]
    fn a_key_is_of_text_and_architecture() {
        let key = |arch| key(&program(0), arch);
        assert_eq!(key("sm_80").len(), 64);
        assert_eq!(key("sm_80"), key("sm_80"));
        assert_ne!(key("sm_80"), key("sm_90"));
    }

    #[test]
    fn a_sidecar_is_looked_at_first() {
        let mut s = Sidecar::default();
        s.insert(key(&program(0), "sm_80"), b"\x7fELFcode".to_vec());
        // Found by its key alone, without cache and compiler.
        assert_eq!(find(&program(0), "sm_80", Some(&s)).unwrap(), b"\x7fELFcode");
    }
}
