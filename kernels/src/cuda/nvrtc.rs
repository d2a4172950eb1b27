//! NVRTC: from text to machine code, on machines with and without a device.
//!
//! In: the text of a program, an architecture. Out: a cubin, or what the compiler said. Invariants: the library is loaded
//! from a file that is found, never linked; nothing here needs a driver. The functions are bound here and not through a
//! crate, because those look for the library under fixed names, and the wheel of Python has it elsewhere.
//! Imports: nothing of this project.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

use libloading::Library;

/// The compiler.
pub struct Nvrtc {
    library: Library,
    /// Where it was found.
    pub path: PathBuf,
    /// Major and minor.
    pub version: (i32, i32),
}

/// What a compilation gives.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Machine code for one architecture.
    pub cubin: Vec<u8>,
    /// Warnings.
    pub log: String,
}

/// Options beside the architecture. No contraction of products and sums: a fused multiply-add is written where it is
/// meant, so that all back ends round alike. Coordinates that a hole does not look at are declared anyway (177).
pub const OPTIONS: [&str; 3] = ["--std=c++17", "--fmad=false", "--diag-suppress=177"];

/// How to get it, for messages.
pub const HOW: &str = "install CUDA, or `pip install nvidia-cuda-nvrtc-cu12` and set UAD_NVRTC to its libnvrtc.so.12";

type Handle = *mut c_void;
type Sized = unsafe extern "C" fn(Handle, *mut usize) -> c_int;
type Fill = unsafe extern "C" fn(Handle, *mut c_char) -> c_int;
type Create = unsafe extern "C" fn(
    *mut Handle,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Handle, c_int, *const *const c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Handle) -> c_int;
type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
type Said = unsafe extern "C" fn(c_int) -> *const c_char;

/// Files in a folder whose names begin so.
fn within(folder: &Path, begin: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let named = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(begin));
    let mut found: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(named).collect();
    found.sort();
    found
}

/// Files that may be the library: what `UAD_NVRTC` names, CUDA's folders, the wheel of an active virtual environment,
/// what the system's loader finds.
pub fn candidates() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::env::var_os("UAD_NVRTC").map(PathBuf::from).into_iter().collect();
    let roots = ["CUDA_PATH", "CUDA_HOME"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    for root in roots.chain([PathBuf::from("/usr/local/cuda")]) {
        for (folder, begin) in [("lib64", "libnvrtc.so"), ("lib", "libnvrtc.so"), ("bin", "nvrtc64_")] {
            all.extend(within(&root.join(folder), begin));
        }
    }
    if let Some(env) = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from) {
        let pythons = within(&env.join("lib"), "python").into_iter().chain([env.join("Lib")]);
        for packages in pythons.map(|p| p.join("site-packages")) {
            for (part, begin) in
                [("cuda_nvrtc/lib", "libnvrtc.so"), ("cu13/lib", "libnvrtc.so"), ("cuda_nvrtc/bin", "nvrtc64_")]
            {
                all.extend(within(&packages.join("nvidia").join(part), begin));
            }
        }
    }
    all.extend(["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"].map(PathBuf::from));
    if cfg!(windows) {
        all.extend(["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"].map(PathBuf::from));
    }
    all
}

impl Nvrtc {
    /// The first that can be loaded.
    pub fn find() -> Result<Nvrtc, String> {
        let found = candidates().iter().find_map(|p| Nvrtc::open(p).ok());
        found.ok_or_else(|| format!("no NVRTC, which compiles CUDA kernels, was found: {HOW}"))
    }

    /// The library in this file.
    pub fn open(path: &Path) -> Result<Nvrtc, String> {
        let error = |e: libloading::Error| format!("{}: {e}", path.display());
        // SAFETY: the file is NVIDIA's library, whose start does nothing but prepare itself.
        let library = unsafe { Library::new(path) }.map_err(error)?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the symbol has this type in every version.
        unsafe {
            let version = library.get::<Version>(b"nvrtcVersion\0").map_err(error)?;
            version(&mut major, &mut minor);
        }
        Ok(Nvrtc { library, path: path.to_owned(), version: (major, minor) })
    }

    /// Compiles a text for an architecture, as `sm_80`.
    pub fn compile(&self, text: &str, arch: &str) -> Result<Compiled, String> {
        let error = |e: libloading::Error| format!("{}: {e}", self.path.display());
        let text = CString::new(text).map_err(|_| "the text has a zero byte".to_owned())?;
        let options = OPTIONS.iter().map(|o| (*o).to_owned()).chain([format!("--gpu-architecture={arch}")]);
        let options: Vec<CString> = options.filter_map(|o| CString::new(o).ok()).collect();
        let pointers: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        // SAFETY: all symbols have these types in every version; strings end with a zero byte and outlive the calls; the
        // sizes are those that the library asks for.
        unsafe {
            let create = self.library.get::<Create>(b"nvrtcCreateProgram\0").map_err(error)?;
            let compile = self.library.get::<Compile>(b"nvrtcCompileProgram\0").map_err(error)?;
            let destroy = self.library.get::<Destroy>(b"nvrtcDestroyProgram\0").map_err(error)?;
            let mut program: Handle = std::ptr::null_mut();
            let none = std::ptr::null();
            self.check(create(&mut program, text.as_ptr(), c"kernels.cu".as_ptr(), 0, none, none))?;
            let done = compile(program, pointers.len() as c_int, pointers.as_ptr());
            let log = self.bytes(program, b"nvrtcGetProgramLogSize\0", b"nvrtcGetProgramLog\0");
            let cubin = match done {
                0 => self.bytes(program, b"nvrtcGetCUBINSize\0", b"nvrtcGetCUBIN\0"),
                _ => Ok(Vec::new()),
            };
            destroy(&mut program);
            let log = String::from_utf8_lossy(&log?).trim_matches(['\0', '\n', ' ']).to_owned();
            self.check(done).map_err(|e| format!("{e}: {log}"))?;
            Ok(Compiled { cubin: cubin?, log })
        }
    }

    unsafe fn bytes(&self, program: Handle, size: &[u8], fill: &[u8]) -> Result<Vec<u8>, String> {
        let error = |e: libloading::Error| format!("{}: {e}", self.path.display());
        // SAFETY: the caller's program is alive; the library writes as many bytes as it said.
        unsafe {
            let size = self.library.get::<Sized>(size).map_err(error)?;
            let fill = self.library.get::<Fill>(fill).map_err(error)?;
            let mut n = 0;
            self.check(size(program, &mut n))?;
            let mut bytes = vec![0u8; n];
            self.check(fill(program, bytes.as_mut_ptr().cast()))?;
            Ok(bytes)
        }
    }

    fn check(&self, result: c_int) -> Result<(), String> {
        if result == 0 {
            return Ok(());
        }
        // SAFETY: the symbol has this type; what it gives is a string of the library's own.
        let said = unsafe {
            let said = self.library.get::<Said>(b"nvrtcGetErrorString\0").map_err(|e| e.to_string())?;
            CStr::from_ptr(said(result)).to_string_lossy().into_owned()
        };
        Err(format!("NVRTC says {said}"))
    }
}
