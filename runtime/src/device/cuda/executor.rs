//! Running a bound entry on a CUDA device.
//!
//! In: a bound entry, stored tensors, input values. Out: output values. Invariants: all memory is one piece, taken when the
//! executor is made; weights stay on the device; a call copies inputs from pinned memory, launches in order on one stream
//! and copies outputs back, all of it recorded once as a CUDA graph where it is not too long; what draws depend on is read
//! from memory, so that the recording fits every call. Imports: driver, layout, code.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{result, sys};
use uad_kernels::cuda::program::{FLAGS, walk};
use uad_kernels::cuda::{Arg, Launch, Precision, Program, Step, limits};
use uad_plan::tensor::Tensor;
use uad_plan::{Bound, Port, philox};

use super::CudaError;
use super::code;
use super::driver::{Device, Memory, Module, Pinned, named};
use super::layout::{DRAW, Layout};
use super::sidecar::Sidecar;
use crate::device::executor::StoredBytes;
use crate::device::frame::{Draw, content_for};

/// Longer calls are launched one by one.
const RECORDED: u64 = 20_000;

/// How an entry's kernels are made.
#[derive(Clone, Copy, Default)]
pub struct Compiled<'a> {
    /// What contractions multiply.
    pub precision: Precision,
    /// Code that was compiled before.
    pub sidecar: Option<&'a Sidecar>,
}

/// A bound entry on a device, ready to run.
pub struct CudaExecutor {
    bound: Bound,
    program: Program,
    layout: Layout,
    functions: Vec<sys::CUfunction>,
    stream: sys::CUstream,
    graph: Option<sys::CUgraphExec>,
    given: Pinned,
    made: Pinned,
    memory: Memory,
    _module: Module,
    device: Arc<Device>,
}

// SAFETY: handles that any thread may use after entering the device; `&mut self` keeps calls apart.
unsafe impl Send for CudaExecutor {}

impl CudaExecutor {
    /// Takes memory, finds code, copies stored tensors, runs what needs to run once.
    pub fn new(
        bound: Bound,
        stored: &dyn StoredBytes,
        device: &Arc<Device>,
        how: &Compiled<'_>,
    ) -> Result<CudaExecutor, CudaError> {
        let program = Program::emit(&bound, how.precision).map_err(CudaError::Other)?;
        limits::check(&program).map_err(CudaError::Other)?;
        let layout = Layout::of(&bound, &program);
        let cubin = code::find(&program, &device.arch, how.sidecar)?;
        let module = Module::new(device, &cubin)?;
        let functions = program.functions.iter().map(|f| module.function(&f.name, f.function.block));
        let functions = functions.collect::<Result<Vec<_>, _>>()?;
        let memory = Memory::new(device, layout.bytes)?;
        let (given, made) = (Pinned::new(device, layout.given.1)?, Pinned::new(device, layout.made.1)?);
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(named)?;
        let device = device.clone();
        let graph = None;
        let mut e = CudaExecutor {
            bound,
            program,
            layout,
            functions,
            stream,
            graph,
            given,
            made,
            memory,
            _module: module,
            device,
        };
        e.prepare(stored)?;
        Ok(e)
    }

    fn address(&self, at: usize) -> sys::CUdeviceptr {
        self.memory.address + at as sys::CUdeviceptr
    }

    fn upload(&self, at: usize, bytes: &[u8]) -> Result<(), CudaError> {
        // SAFETY: the layout has that many bytes from `at` on.
        unsafe { result::memcpy_htod_sync(self.address(at), bytes) }.map_err(named)
    }

    /// Stored tensors, constants, setup, the recording.
    fn prepare(&mut self, stored: &dyn StoredBytes) -> Result<(), CudaError> {
        self.device.enter()?;
        for port in &self.bound.stored {
            let i = port.buffer.0 as usize;
            let bytes = stored.bytes(&port.name).filter(|b| b.len() == self.bound.buffer_bytes(i));
            let bytes = bytes.ok_or_else(|| CudaError::Other(format!("`{}` has no values", port.name)))?;
            self.upload(self.layout.buffers[i], bytes)?;
        }
        for i in 0..self.bound.entry.buffers.len() {
            if let Some(bytes) = self.bound.const_bytes(i) {
                self.upload(self.layout.buffers[i], &bytes)?;
            }
        }
        self.clear_flags()?;
        self.launch(&self.program.setup)?;
        self.wait()?;
        if self.program.launches() <= RECORDED {
            self.graph = match self.record() {
                Ok(graph) => Some(graph),
                Err(e @ (CudaError::Lost(_) | CudaError::NoMemory { .. })) => return Err(e),
                // What cannot be recorded is launched one by one, which is slower and the same.
                Err(_) => None,
            };
        }
        Ok(())
    }

    fn clear_flags(&self) -> Result<(), CudaError> {
        let bytes = FLAGS.min(self.program.workspace);
        // SAFETY: the workspace has that many bytes.
        unsafe { result::memset_d8_async(self.address(self.layout.work), 0, bytes, self.stream) }.map_err(named)
    }

    fn launch(&self, steps: &[Step]) -> Result<(), CudaError> {
        let mut failed = None;
        let done = walk(steps, None, &mut |l, round| {
            self.start(l, round).map_err(|e| {
                failed = Some(e);
                String::new()
            })
        });
        match (done, failed) {
            (_, Some(e)) => Err(e),
            (Err(e), None) => Err(CudaError::Other(e)),
            (Ok(()), None) => Ok(()),
        }
    }

    fn start(&self, l: &Launch, round: u32) -> Result<(), CudaError> {
        let one = |a: &Arg| -> u64 {
            match a {
                Arg::Buffer(id) => self.address(self.layout.buffers[id.0 as usize]),
                Arg::Work(at) => self.address(self.layout.work + at),
                Arg::Draw => self.address(self.layout.draw),
                Arg::Round => u64::from(round),
                Arg::Int(v) => u64::from(*v as u32),
            }
        };
        let mut values: Vec<u64> = l.args.iter().map(one).collect();
        // The driver copies as many bytes as the parameter has; all machines are little-endian.
        let mut pointers: Vec<*mut c_void> = values.iter_mut().map(|v| std::ptr::from_mut(v).cast()).collect();
        let (Some(function), Some(f)) = (self.functions.get(l.function), self.program.functions.get(l.function)) else {
            return Err(CudaError::Other("a launch of a function that is not there".to_owned()));
        };
        let block = (f.function.block, 1, 1);
        // SAFETY: as many parameters as the function has, made by the same emission; their memory is that of the layout,
        // whose sizes the proofs of `bind` keep the kernels in.
        unsafe { result::launch_kernel(*function, (l.grid, 1, 1), block, 0, self.stream, &mut pointers) }.map_err(named)
    }

    /// Inputs, launches, outputs.
    fn call(&self) -> Result<(), CudaError> {
        let (given, made) = (self.layout.given.0, self.layout.made);
        // SAFETY: pinned memory of the same sizes, alive as long as the stream.
        unsafe { result::memcpy_htod_async(self.address(given), self.given.bytes(), self.stream) }.map_err(named)?;
        self.clear_flags()?;
        self.launch(&self.program.kernels)?;
        if made.1 == 0 {
            return Ok(());
        }
        // SAFETY: as above; nobody reads the bytes before the stream is waited for.
        unsafe {
            let to = self.made.bytes().as_ptr().cast_mut().cast();
            sys::cuMemcpyDtoHAsync_v2(to, self.address(made.0), made.1, self.stream).result().map_err(named)
        }
    }

    fn record(&self) -> Result<sys::CUgraphExec, CudaError> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is this executor's own; a capture that has begun is ended whatever happens between.
        unsafe {
            result::stream::begin_capture(self.stream, mode).map_err(named)?;
            let called = self.call();
            let graph = result::stream::end_capture(self.stream).map_err(named);
            called?;
            let graph = graph?;
            let mut exec = std::ptr::null_mut();
            let made = sys::cuGraphInstantiateWithFlags(&mut exec, graph, 0).result().map_err(named);
            let _ = result::graph::destroy(graph);
            made.map(|()| exec)
        }
    }

    fn wait(&self) -> Result<(), CudaError> {
        // SAFETY: the stream is alive.
        unsafe { result::stream::synchronize(self.stream) }.map_err(named)
    }

    /// One call.
    pub fn run(&mut self, draw: Draw) -> Result<(), CudaError> {
        self.device.enter()?;
        let words = [philox::key(draw.seed, 0)[0], draw.step as u32, draw.sample as u32];
        let at = self.layout.draw - self.layout.given.0;
        for (n, word) in words.iter().enumerate() {
            self.given.bytes_mut()[at + 4 * n..at + 4 * n + 4].copy_from_slice(&word.to_le_bytes());
        }
        const { assert!(DRAW == 12) }
        match self.graph {
            // SAFETY: recorded on this stream over this memory.
            Some(graph) => unsafe { result::graph::launch(graph, self.stream) }.map_err(named)?,
            None => self.call()?,
        }
        self.wait()
    }

    /// The entry as bound.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Bytes of device memory.
    pub fn memory(&self) -> usize {
        self.layout.bytes
    }

    /// Sets an input.
    pub fn set_input(&mut self, name: &str, value: &Tensor) -> Result<(), String> {
        let content = content_for(&self.bound, name, value)?;
        match self.input_mut(name) {
            Some(bytes) if bytes.len() == content.len() => bytes.copy_from_slice(content),
            _ => return Err(format!("no input `{name}`")),
        }
        Ok(())
    }

    /// The bytes of an input, to be filled.
    pub fn input_mut(&mut self, name: &str) -> Option<&mut [u8]> {
        let i = self.bound.inputs.iter().find(|p| p.name == name)?.buffer.0 as usize;
        let (at, n) = (self.layout.buffers[i] - self.layout.given.0, self.bound.buffer_bytes(i));
        self.given.bytes_mut().get_mut(at..at + n)
    }

    /// The bytes of an output of the last call.
    pub fn output_bytes(&self, name: &str) -> Option<&[u8]> {
        let i = self.bound.outputs.iter().find(|p| p.name == name)?.buffer.0 as usize;
        let (at, n) = (self.layout.buffers[i] - self.layout.made.0, self.bound.buffer_bytes(i));
        self.made.bytes().get(at..at + n)
    }

    /// An output of the last call.
    pub fn output(&self, name: &str) -> Option<Tensor> {
        let port = self.bound.outputs.iter().find(|p| p.name == name)?;
        Tensor::from_bytes(port.dtype, &port.shape, self.output_bytes(name)?).ok()
    }

    /// Stored tensors as the entry has left them, of those that it writes.
    pub fn written(&self) -> Result<Vec<(String, Tensor)>, CudaError> {
        self.device.enter()?;
        let one = |port: &Port| {
            let i = port.buffer.0 as usize;
            let mut bytes = vec![0u8; self.bound.buffer_bytes(i)];
            // SAFETY: the buffer has as many bytes.
            unsafe { result::memcpy_dtoh_sync(&mut bytes, self.address(self.layout.buffers[i])) }.map_err(named)?;
            let tensor = Tensor::from_bytes(port.dtype, &port.shape, &bytes);
            Ok((port.name.clone(), tensor.map_err(|e| CudaError::Other(e.to_string()))?))
        };
        self.bound.stored.iter().filter(|p| p.written).map(one).collect()
    }
}

impl Drop for CudaExecutor {
    fn drop(&mut self) {
        if self.device.enter().is_err() {
            return;
        }
        // Nothing may run on memory that is about to be freed. Errors at the end change nothing.
        let _ = self.wait();
        // SAFETY: made in `new` and `prepare`, destroyed once.
        unsafe {
            if let Some(graph) = self.graph {
                let _ = result::graph::exec_destroy(graph);
            }
            let _ = result::stream::destroy(self.stream);
        }
    }
}
