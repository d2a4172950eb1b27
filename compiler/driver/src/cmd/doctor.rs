//! `uadc doctor`: what this machine offers and what of it is used.
//!
//! In: the machine. Out: a table, or JSON. Invariants: no more is loaded to find out than the libraries of CUDA; what is unknown is
//! said to be unknown, what is missing with the way to get it. Imports: kernels, the runtime's devices.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uad_kernels::cpu::Isa;
use uad_kernels::cuda::nvrtc::Nvrtc;
use uad_runtime::device::cuda::code;
use uad_runtime::device::cuda::nvidia::Nvidia;

use crate::args::Doctor;
use crate::failure::Done;
use crate::terminal::{Look, bytes, count, out};

/// Runs it.
pub fn run(args: &Doctor) -> Done {
    let facts = facts();
    if args.json {
        out(&format!("{facts}\n"));
        return Ok(());
    }
    let look = Look::stdout();
    let row = |name: &str, value: String| out(&format!("{}  {value}\n", look.bold(&format!("{name:12}"))));
    let words = |v: &Value| -> String {
        let list = v.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    row("uadc", format!("{} on {} {}", text(&facts["version"]), text(&facts["arch"]), text(&facts["os"])));
    row("processor", text(&facts["cpu"]["model"]));
    row("cores", facts["cpu"]["threads"].to_string());
    row("features", words(&facts["cpu"]["features"]));
    let lanes = facts["cpu"]["lanes"].to_string();
    let (isa, all) = (text(&facts["cpu"]["isa"]), words(&facts["cpu"]["isas"]));
    row("kernels use", format!("{isa}, {lanes} lanes of f32 (available: {all}; choose with UAD_ISA)"));
    let caches = facts["cpu"]["caches"].as_array().map(Vec::as_slice).unwrap_or_default();
    let caches: Vec<String> = caches
        .iter()
        .map(|c| format!("L{} {} {}", c["level"], text(&c["type"]), bytes(c["bytes"].as_u64().unwrap_or(0))))
        .collect();
    row("caches", if caches.is_empty() { "unknown".to_owned() } else { caches.join(", ") });
    row("memory", facts["memory_bytes"].as_u64().map_or_else(|| "unknown".to_owned(), bytes));
    let cuda = &facts["cuda"];
    let device = || format!("{} ({}), driver {}", text(&cuda["device"]), text(&cuda["arch"]), text(&cuda["driver"]));
    row("GPU", cuda["missing"].as_str().map_or_else(device, |m| format!("none: {m}")));
    let compiler = || format!("NVRTC {} from {}", text(&cuda["nvrtc_version"]), text(&cuda["nvrtc"]));
    row("GPU code", cuda["no_compiler"].as_str().map_or_else(compiler, str::to_owned));
    let files = cuda["cached"].as_u64().unwrap_or(0);
    row("code cache", format!("{} in {}", count(files as usize, "program"), text(&cuda["cache"])));
    Ok(())
}

fn text(v: &Value) -> String {
    v.as_str().unwrap_or("unknown").to_owned()
}

fn facts() -> Value {
    let isa = Isa::detect();
    let names: Vec<&str> = Isa::all().into_iter().map(Isa::name).collect();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "arch": std::env::consts::ARCH,
        "os": std::env::consts::OS,
        "cpu": {
            "model": cpu_model(), "threads": threads, "features": features(),
            "isa": isa.name(), "lanes": isa.lanes(), "isas": names, "caches": caches(),
        },
        "memory_bytes": memory(),
        "cuda": cuda(),
    })
}

/// GPU, compiler of GPU code, compiled code; what is missing and how to get it.
fn cuda() -> Value {
    let (device, nvrtc, cache) = (Nvidia::open(), Nvrtc::find(), code::folder());
    let cached = cache.as_ref().and_then(|f| std::fs::read_dir(f).ok()).map_or(0, Iterator::count);
    json!({
        "driver": library("libcuda.so.1"),
        "device": device.as_ref().ok().map(|d| d.name.clone()),
        "arch": device.as_ref().ok().map(|d| d.arch.clone()),
        "missing": device.as_ref().err().map(ToString::to_string),
        "nvrtc": nvrtc.as_ref().ok().map(|n| n.path.display().to_string()),
        "nvrtc_version": nvrtc.as_ref().ok().map(|n| format!("{}.{}", n.version.0, n.version.1)),
        "no_compiler": nvrtc.as_ref().err(),
        "cache": cache.map(|c| c.display().to_string()),
        "cached": cached,
    })
}

fn cpu_model() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|l| l.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find(|l| l.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Instruction-set extensions that matter to numerical code.
fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    macro_rules! present {
        ($($name:tt),*) => { [$(($name, is_x86_feature_detected!($name))),*] };
    }
    #[cfg(target_arch = "x86_64")]
    let found = present!(
        "sse4.2",
        "avx",
        "fma",
        "f16c",
        "avx2",
        "avx512f",
        "avx512bw",
        "avx512dq",
        "avx512vl",
        "avx512vnni",
        "avx512bf16",
        "avx512fp16"
    );
    #[cfg(target_arch = "aarch64")]
    macro_rules! present {
        ($($name:tt),*) => { [$(($name, std::arch::is_aarch64_feature_detected!($name))),*] };
    }
    #[cfg(target_arch = "aarch64")]
    let found = present!("neon", "fp16", "dotprod", "bf16", "i8mm", "sve", "sve2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: [(&'static str, bool); 0] = [];
    found.into_iter().filter(|f| f.1).map(|f| f.0).collect()
}

/// The caches of the first core, as the kernel of the system reports them.
fn caches() -> Vec<Value> {
    let root = Path::new("/sys/devices/system/cpu/cpu0/cache");
    let read = |index: usize, name: &str| -> Option<String> {
        Some(std::fs::read_to_string(root.join(format!("index{index}/{name}"))).ok()?.trim().to_owned())
    };
    (0..8)
        .filter_map(|i| {
            let size = read(i, "size")?;
            let kib: u64 = size.strip_suffix('K')?.parse().ok()?;
            let level: u64 = read(i, "level")?.parse().ok()?;
            Some(json!({ "level": level, "type": read(i, "type")?.to_lowercase(), "bytes": kib * 1024 }))
        })
        .collect()
}

/// Where the loader would find a library whose name begins so; the file is not opened.
fn library(name: &str) -> Option<String> {
    let listed = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let usual = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib",
        "/usr/local/cuda/lib64",
        "/usr/local/nvidia/lib64",
        "/usr/lib/wsl/lib",
    ];
    let folders = listed.split(':').filter(|f| !f.is_empty()).map(PathBuf::from).chain(usual.map(PathBuf::from));
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let mut found: Vec<String> =
            entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).filter(|f| f.starts_with(name)).collect();
        found.sort();
        if let Some(file) = found.first() {
            return Some(folder.join(file).display().to_string());
        }
    }
    None
}
