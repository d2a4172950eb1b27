//! CUDA programs run on the host, for tests: their text compiled by the C++ compiler with the emulation header.
//!
//! In: programs of the CUDA back end, bound entries, values. Out: every output and every stored tensor after it, by name.
//! Invariants: the text is the one that NVRTC takes; all functions of all programs are one translation unit, equal ones
//! once; memory has poisoned margins that must stay as they are, and arrays are indexed inside their bounds; where no C++
//! compiler is found, tests say "ignored".
//! Imports: `uad-plan`, program.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, c_char, c_int};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{self, AtomicU64};
use std::sync::{Mutex, PoisonError};

use libloading::Library;
use uad_plan::bind::{Bound, BufferPlace, Port};
use uad_plan::tensor::Tensor;
use uad_plan::{BufferKind, philox};

use super::program::{FLAGS, walk};
use super::{Arg, Function, Named, Program};

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// In which order threads and blocks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By number.
    Normal = 0,
    /// Last first.
    Reversed = 1,
    /// Drawn.
    Shuffled = 2,
}

/// All orders.
pub const ORDERS: [Order; 3] = [Order::Normal, Order::Reversed, Order::Shuffled];

/// Seed, step and first sample of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// Step of the training.
    pub step: u64,
    /// First sample of the batch.
    pub sample: u64,
}

type Launch = unsafe extern "C" fn(u32, u32, u32, *const u64, c_int) -> *const c_char;

/// Compiled functions.
pub struct Emulation {
    library: Library,
    /// Number of a function by its text.
    numbers: HashMap<String, u32>,
    folder: PathBuf,
}

impl Drop for Emulation {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One translation unit of all functions, and their numbers.
pub fn unit(programs: &[&Program]) -> (String, HashMap<String, u32>) {
    let mut numbers = HashMap::new();
    let mut distinct: Vec<&str> = Vec::new();
    for f in programs.iter().flat_map(|p| &p.functions) {
        if !numbers.contains_key(&f.function.text) {
            numbers.insert(f.function.text.clone(), distinct.len() as u32);
            distinct.push(&f.function.text);
        }
    }
    let mut text = include_str!("emulation.h").to_owned();
    text.push_str("namespace kernels {\n");
    text.push_str(&Program::prelude(&distinct).replace("static __device__", "__device__"));
    for (n, f) in distinct.iter().enumerate() {
        let one = f.replace(Function::NAME, &format!("kernel_{n}")).replace("extern \"C\" __global__", "__global__");
        text.push('\n');
        text.push_str(&one);
    }
    text.push_str("}\n");
    let mut table = String::new();
    for n in 0..distinct.len() {
        text.push_str(&format!(
            "static void call_{n}(const std::uint64_t* a) {{ emulation::call(kernels::kernel_{n}, a); }}\n"
        ));
        table.push_str(&format!("call_{n}, "));
    }
    text.push_str(&format!(
        "const EmulatedCall emulated_calls[] = {{{table}nullptr}};\nconst unsigned emulated_count = {};\n",
        distinct.len()
    ));
    (text, numbers)
}

impl Emulation {
    /// Compiles the functions of programs.
    pub fn new(compiler: &str, programs: &[&Program]) -> Result<Emulation, String> {
        let (text, numbers) = unit(programs);
        // No library may be written where another is loaded from.
        static MADE: AtomicU64 = AtomicU64::new(0);
        let unique = format!("uad-emulation-{}-{}", std::process::id(), MADE.fetch_add(1, atomic::Ordering::Relaxed));
        let folder = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let [source, object, library] = ["kernels.cpp", "kernels.o", "kernels.so"].map(|name| folder.join(name));
        std::fs::write(&source, text).map_err(|e| e.to_string())?;
        let mut command = Command::new(compiler);
        command.args(["-std=c++17", "-O1", "-w", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing"]);
        // The header says what happens then; a library of the compiler's is not needed.
        command.arg("-fsanitize=bounds");
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("fma") {
            command.arg("-mfma");
        }
        let mut out = command.arg("-c").arg(&source).arg("-o").arg(&object).output().map_err(|e| e.to_string())?;
        if out.status.success() {
            let link = Command::new(compiler).arg("-shared").arg(&object).arg("-o").arg(&library).output();
            out = link.map_err(|e| e.to_string())?;
        }
        if !out.status.success() {
            let kept = std::env::temp_dir().join("uad-emulation-failed.cpp");
            let _ = std::fs::copy(&source, &kept);
            let said = String::from_utf8_lossy(&out.stderr);
            let said: Vec<&str> = said.lines().take(40).collect();
            return Err(format!("{} does not compile:\n{}", kept.display(), said.join("\n")));
        }
        // SAFETY: a library that was just made of text of ours, whose start does nothing.
        let library = unsafe { Library::new(&library) }.map_err(|e| e.to_string())?;
        Ok(Emulation { library, numbers, folder })
    }

    /// Runs setup and then the kernels so many times.
    pub fn run(
        &self,
        program: &Program,
        bound: &Bound,
        inputs: &Tensors,
        stored: &Tensors,
        draw: Draw,
        order: Order,
        times: usize,
    ) -> Result<Tensors, String> {
        let mut memory = Memory::new(program, bound, inputs, stored, draw);
        for n in 0..=times {
            memory.clear_flags();
            let steps = if n == 0 { &program.setup } else { &program.kernels };
            walk(steps, None, &mut |launch, round| {
                let f = &program.functions[launch.function];
                let args: Vec<u64> = launch.args.iter().map(|a| memory.address(a, round)).collect();
                // SAFETY: the arguments are those of the function, and point to memory of the sizes in the plan.
                unsafe { self.start(f, launch.grid, &args, order) }
            })?;
        }
        memory.results(bound, stored)
    }

    /// Starts one of the functions that were compiled, and waits for it.
    ///
    /// # Safety
    /// The arguments are those of the function, and point to memory of the sizes that it was made for.
    pub unsafe fn start(&self, f: &Named, grid: u32, args: &[u64], order: Order) -> Result<(), String> {
        let number = self.numbers.get(&f.function.text).ok_or_else(|| format!("{} was not compiled", f.name))?;
        // Who broke off while holding it left nothing behind: a launch begins anew.
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the symbol has this type; fibers and shared memory are used by this thread alone.
        let said = unsafe {
            let start = self.library.get::<Launch>(b"emulation_launch\0").map_err(|e| e.to_string())?;
            start(*number, grid, f.function.block, args.as_ptr(), order as c_int)
        };
        if said.is_null() {
            return Ok(());
        }
        // SAFETY: a C string that lives until the next launch.
        let said = unsafe { CStr::from_ptr(said) }.to_string_lossy();
        Err(format!("{}: {said}\n{}", f.name, f.text()))
    }
}

/// Who launches: the fibers and the shared memory of a library are there once.
static ALONE: Mutex<()> = Mutex::new(());

/// Poisoned bytes before and behind every piece of memory.
const MARGIN: usize = 1024;
const POISON: u8 = 0xff;

/// A piece of memory between margins, poisoned.
pub struct Piece(Vec<u64>, usize);

impl Piece {
    /// So many bytes.
    pub fn new(bytes: usize) -> Piece {
        let words = (bytes + 2 * MARGIN).div_ceil(8);
        Piece(vec![u64::from_ne_bytes([POISON; 8]); words + 8], bytes)
    }

    fn start(&self) -> usize {
        let at = self.0.as_ptr() as usize + MARGIN;
        at.next_multiple_of(64) - self.0.as_ptr() as usize
    }

    fn all(&mut self) -> &mut [u8] {
        // SAFETY: any bytes are u64 and the other way round.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 8) }
    }

    /// The bytes between the margins, on a boundary of 64.
    pub fn bytes(&mut self) -> &mut [u8] {
        let (at, n) = (self.start(), self.1);
        &mut self.all()[at..at + n]
    }

    /// Are the margins as they were?
    pub fn whole(&mut self) -> bool {
        let (at, n) = (self.start(), self.1);
        let all = self.all();
        all[..at].iter().chain(&all[at + n..]).all(|b| *b == POISON)
    }
}

/// Memory of a program's run.
struct Memory {
    pieces: Vec<Piece>,
    addresses: Vec<u64>,
    work: u64,
    work_piece: usize,
    draw: u64,
    tables: u64,
}

impl Memory {
    fn new(program: &Program, bound: &Bound, inputs: &Tensors, stored: &Tensors, draw: Draw) -> Memory {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut take = |bytes: usize| {
            pieces.push(Piece::new(bytes));
            let piece = pieces.last_mut().expect("it was just pushed");
            piece.bytes().as_mut_ptr() as u64
        };
        let (arena, persistent) = (take(bound.arena), take(bound.persistent));
        let work = take(program.workspace);
        let draws = take(12);
        let tables = take(8 * program.tables.len());
        let mut addresses = Vec::new();
        for i in 0..bound.entry.buffers.len() {
            addresses.push(match bound.places[i] {
                BufferPlace::Arena(at) => arena + at as u64,
                BufferPlace::Persistent(at) => persistent + at as u64,
                _ => take(bound.buffer_bytes(i)),
            });
        }
        for (i, b) in bound.entry.buffers.iter().enumerate() {
            let given = match b.kind {
                BufferKind::Input => inputs.get(&b.name).map(Tensor::to_bytes),
                BufferKind::Stored => stored.get(&b.name).map(Tensor::to_bytes),
                BufferKind::Const(_) => bound.const_bytes(i),
                _ => None,
            };
            if let Some(bytes) = given {
                // SAFETY: the buffer has that many bytes at its address.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), addresses[i] as *mut u8, bytes.len()) };
            }
        }
        let seed = philox::key(draw.seed, 0)[0];
        let words = [seed, draw.step as u32, draw.sample as u32];
        // SAFETY: twelve bytes were taken.
        unsafe { std::ptr::copy_nonoverlapping(words.as_ptr(), draws as *mut u32, 3) };
        let memory = Memory { pieces, addresses, work, work_piece: 2, draw: draws, tables };
        for (n, arg) in program.tables.iter().enumerate() {
            // SAFETY: a word for each was taken.
            unsafe { *(tables as *mut u64).add(n) = memory.address(arg, 0) };
        }
        memory
    }

    fn clear_flags(&mut self) {
        let bytes = self.pieces[self.work_piece].bytes();
        let flags = bytes.len().min(FLAGS);
        bytes[..flags].fill(0);
    }

    fn address(&self, arg: &Arg, round: u32) -> u64 {
        match arg {
            Arg::Buffer(id) => self.addresses[id.0 as usize],
            Arg::Work(at) => self.work + *at as u64,
            Arg::Draw => self.draw,
            Arg::Round => u64::from(round),
            Arg::Int(v) => *v as i64 as u64,
            Arg::Table(at) => self.tables + 8 * *at as u64,
        }
    }

    fn tensor(&self, bound: &Bound, port: &Port) -> Result<Tensor, String> {
        let i = port.buffer.0 as usize;
        // SAFETY: the buffer holds that many bytes.
        let bytes = unsafe { std::slice::from_raw_parts(self.addresses[i] as *const u8, bound.buffer_bytes(i)) };
        Tensor::from_bytes(port.dtype, &port.shape, bytes).map_err(|e| e.to_string())
    }

    fn results(&mut self, bound: &Bound, stored: &Tensors) -> Result<Tensors, String> {
        if !self.pieces.iter_mut().all(Piece::whole) {
            return Err("a kernel has written outside of its memory".to_owned());
        }
        let mut out = Tensors::new();
        for p in &bound.outputs {
            out.insert(p.name.clone(), self.tensor(bound, p)?);
        }
        // What an entry does not write stays as it was.
        out.extend(stored.iter().map(|(path, t)| (format!("after {path}"), t.clone())));
        for p in bound.stored.iter().filter(|p| p.written) {
            out.insert(format!("after {}", p.name), self.tensor(bound, p)?);
        }
        Ok(out)
    }
}
