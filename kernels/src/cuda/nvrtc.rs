//! NVRTC: from text to machine code, on machines with and without a device.
//!
//! In: the text of a program, an architecture. Out: a cubin, or what the compiler said. Invariants: the library is loaded
//! from a file that is found, never linked; nothing here needs a driver. The functions are bound here and not through a
//! crate, because those look for the library under fixed names, and the wheel of Python has it elsewhere.
//! Imports: the places.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

use libloading::Library;

use super::nvrtc_places::candidates;

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
