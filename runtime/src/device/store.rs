//! Stored tensors that several entries share and change in place, and entries over them.
//!
//! In: tensors by path, which of them change, bound entries, a device. Out: [`Store`] and executors over it. Invariants: each tensor is
//! on the device once, for all entries; one entry runs at a time, as a run needs the store itself (`&mut Store`); whoever reads
//! values holds the store too; what an entry made once of tensors that others change is made again before its next run; tensors
//! that do not change stay where they are, where the device can use them there; a store on which a run failed gives no values any more.
//! Imports: executors' bytes, frames, places.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use uad_kernels::cpu::program::KernelTime;
use uad_plan::tensor::{Tensor, elements};
use uad_plan::{Bound, DType, Port};

use super::error::DeviceError;
use super::executor::{StoredBytes, content};
use super::frame::{Birth, Draw, Frame, Pointer, content_for, size};
use super::place::{Device, Piece};

/// Type and place of a stored tensor that changes.
struct Cell {
    path: String,
    dtype: DType,
    shape: Vec<usize>,
    piece: Piece,
}

/// What executors keep alive.
struct Cells {
    changing: Vec<Cell>,
    by_path: HashMap<String, usize>,
    fixed: Arc<dyn StoredBytes>,
    device: Device,
}

/// All stored tensors of a detector while stages run.
pub struct Store {
    cells: Arc<Cells>,
    /// How often each changing tensor was changed.
    versions: Vec<u64>,
    scratch: Option<Arc<Piece>>,
    /// A run failed half way: nobody knows what is in the tensors.
    spoilt: bool,
}

/// A stored tensor that changes, as it is now.
pub struct Value<'s> {
    /// Its path.
    pub path: &'s str,
    /// Its element type.
    pub dtype: DType,
    /// Its shape.
    pub shape: &'s [usize],
    /// Its bytes.
    pub bytes: Cow<'s, [u8]>,
}

/// Executors of which one, with the store, runs at a time.
pub struct StoreExecutor {
    frame: Box<dyn Frame>,
    cells: Arc<Cells>,
    /// Tensors that do not change, on devices that cannot use them where they lie.
    _resident: Vec<Arc<Piece>>,
    /// Changing tensors that this entry only reads, with the versions that its constants were made of.
    reads: Vec<(usize, u64)>,
    writes: Vec<usize>,
}

impl Store {
    /// A store of these changing tensors, with first values from `values`; all others are read where `values` has them.
    pub fn new(
        changing: impl IntoIterator<Item = (String, DType, Vec<usize>)>,
        values: Arc<dyn StoredBytes>,
        device: &Device,
    ) -> Result<Store, DeviceError> {
        let (mut cells, mut by_path) = (Vec::new(), HashMap::new());
        for (path, dtype, shape) in changing {
            let bytes = elements(&shape).map_err(|e| e.to_string())? * dtype.bytes();
            let content = values.bytes(&path).filter(|b| b.len() == bytes);
            let content = content.ok_or_else(|| format!("`{path}` has no values"))?;
            let piece = device.take(bytes)?;
            // SAFETY: nobody else knows the piece yet.
            unsafe { piece.write(content)? };
            if by_path.insert(path.clone(), cells.len()).is_some() {
                return Err(DeviceError::Other(format!("`{path}` is stored twice")));
            }
            cells.push(Cell { path, dtype, shape, piece });
        }
        let versions = vec![0; cells.len()];
        let cells = Cells { changing: cells, by_path, fixed: values, device: device.clone() };
        Ok(Store { cells: Arc::new(cells), versions, scratch: None, spoilt: false })
    }

    /// The bytes of a stored tensor; `None` where it has none.
    pub fn bytes(&self, path: &str) -> Result<Option<Cow<'_, [u8]>>, DeviceError> {
        match self.cells.by_path.get(path).and_then(|n| self.cells.changing.get(*n)) {
            Some(cell) => self.read(cell).map(Some),
            None => Ok(self.cells.fixed.bytes(path).map(Cow::Borrowed)),
        }
    }

    /// The shape of a stored tensor, where it is known.
    pub fn shape(&self, path: &str) -> Option<Vec<usize>> {
        match self.cells.by_path.get(path) {
            Some(n) => Some(self.cells.changing.get(*n)?.shape.clone()),
            None => self.cells.fixed.shape(path),
        }
    }

    fn read<'s>(&'s self, cell: &'s Cell) -> Result<Cow<'s, [u8]>, DeviceError> {
        if self.spoilt {
            return Err(DeviceError::Other("a run broke off: what is stored is not known any more".to_owned()));
        }
        // SAFETY: it is written by runs and by `set` only, which need `&mut Store`.
        unsafe { cell.piece.read() }
    }

    /// Tensors that change, in the order in which they were given.
    pub fn changing(&self) -> Result<Vec<Value<'_>>, DeviceError> {
        let mut all = Vec::with_capacity(self.cells.changing.len());
        for c in &self.cells.changing {
            all.push(Value { path: &c.path, dtype: c.dtype, shape: &c.shape, bytes: self.read(c)? });
        }
        Ok(all)
    }

    /// The tensors that change, copied.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>, DeviceError> {
        let of = |v: Value<'_>| {
            let tensor = Tensor::from_bytes(v.dtype, v.shape, &v.bytes).map_err(|e| e.to_string())?;
            Ok((v.path.to_owned(), tensor))
        };
        self.changing()?.into_iter().map(of).collect()
    }

    /// Gives a changing tensor other values.
    pub fn set(&mut self, path: &str, bytes: &[u8]) -> Result<(), DeviceError> {
        let n = self.cells.by_path.get(path).copied();
        let cell = n.and_then(|n| self.cells.changing.get(n)).filter(|c| c.piece.bytes() == bytes.len());
        let cell = cell.ok_or_else(|| format!("`{path}` is no changing tensor of {} bytes", bytes.len()))?;
        // SAFETY: `&mut self` keeps runs and readers away.
        unsafe { cell.piece.write(bytes)? };
        if let Some(v) = n.and_then(|n| self.versions.get_mut(n)) {
            *v += 1;
        }
        Ok(())
    }

    /// An executor over this store. Executors of one store share their scratch memory.
    pub fn executor(&mut self, bound: Bound) -> Result<StoreExecutor, DeviceError> {
        let (mut reads, mut writes, mut resident) = (Vec::new(), Vec::new(), Vec::new());
        let (cells, versions) = (&self.cells, &self.versions);
        let mut place = |_: usize, port: &Port| {
            let Some(n) = cells.by_path.get(&port.name).copied() else {
                if port.written {
                    let text = format!("`{}` is written, but not among the tensors that change", port.name);
                    return Err(DeviceError::Other(text));
                }
                let content = content(&*cells.fixed, port)?;
                return Ok(match cells.device.resident(content)? {
                    Some(piece) => {
                        let start = piece.start();
                        resident.push(piece);
                        start
                    }
                    // Only read: no kernel writes a buffer that is not marked as written.
                    None => Pointer(content.as_ptr().cast_mut()),
                });
            };
            let cell = cells.changing.get(n).filter(|c| c.piece.bytes() == size(port) && c.dtype == port.dtype);
            let cell = cell.ok_or_else(|| format!("`{}` is of another size", port.name))?;
            if port.written {
                writes.push(n);
            } else {
                reads.push((n, versions.get(n).copied().unwrap_or(0)));
            }
            Ok(cell.piece.start())
        };
        let mut frame = cells.device.frame(bound, self.scratch.clone(), &mut place)?;
        if self.scratch.as_ref().is_none_or(|s| s.bytes() < frame.scratch().bytes()) {
            self.scratch = Some(frame.scratch().clone());
        }
        // SAFETY: what the frame shares belongs to this store, which is borrowed for this call alone.
        unsafe { frame.setup(&|| self.cells.fixed.release())? };
        Ok(StoreExecutor { frame, cells: self.cells.clone(), _resident: resident, reads, writes })
    }
}

impl StoreExecutor {
    /// The entry as bound.
    pub fn bound(&self) -> &Bound {
        self.frame.bound()
    }

    /// Bytes taken, beside packed weights and stored tensors.
    pub fn memory(&self) -> usize {
        self.frame.memory()
    }

    /// The bytes of an input, to be filled.
    pub fn input_mut(&mut self, name: &str) -> Option<&mut [u8]> {
        let n = self.bound().inputs.iter().position(|p| p.name == name)?;
        self.frame.input_mut(n)
    }

    /// The values of an f32 input, to be filled.
    pub fn input_f32_mut(&mut self, name: &str) -> Option<&mut [f32]> {
        let port = self.bound().inputs.iter().find(|p| p.name == name)?;
        if port.dtype != DType::F32 {
            return None;
        }
        let bytes = self.input_mut(name)?;
        // SAFETY: every bit pattern is an f32, so whatever part of the bytes is aligned may be seen as such.
        let (before, values, after) = unsafe { bytes.align_to_mut::<f32>() };
        (before.is_empty() && after.is_empty()).then_some(values)
    }

    /// Sets an input.
    pub fn set_input(&mut self, name: &str, value: &Tensor) -> Result<(), String> {
        let content = content_for(self.bound(), name, value)?;
        match self.input_mut(name) {
            Some(bytes) if bytes.len() == content.len() => bytes.copy_from_slice(content),
            _ => return Err(format!("no input `{name}`")),
        }
        Ok(())
    }

    /// The bytes of an output of the last call.
    pub fn output_bytes(&self, name: &str) -> Option<&[u8]> {
        let n = self.bound().outputs.iter().position(|p| p.name == name)?;
        self.frame.output(n)
    }

    /// An output of the last call.
    pub fn output(&self, name: &str) -> Option<Tensor> {
        let port = self.bound().outputs.iter().find(|p| p.name == name)?;
        Tensor::from_bytes(port.dtype, &port.shape, self.output_bytes(name)?).ok()
    }

    /// One run on the store that it was made over.
    pub fn run(&mut self, store: &mut Store, draw: Draw) -> Result<(), DeviceError> {
        self.prepare(store)?;
        // SAFETY: all that the frame shares belongs to `store`, which is borrowed for this call alone.
        let ran = unsafe { self.frame.run(draw) };
        self.wrote(store, ran.is_err());
        ran
    }

    /// One run, kernel by kernel, up to the first that makes a number that is none. Leaves the store changed as far as it came.
    pub fn birth(&mut self, store: &mut Store, draw: Draw) -> Result<Option<Birth>, DeviceError> {
        self.prepare(store)?;
        // SAFETY: as in `run`.
        let found = unsafe { self.frame.birth(draw) };
        self.wrote(store, found.is_err());
        found
    }

    /// The time of every kernel in one run, where the device tells.
    pub fn profile(&mut self, store: &mut Store) -> Result<Vec<KernelTime>, DeviceError> {
        self.prepare(store)?;
        // SAFETY: as in `run`.
        let times = unsafe { self.frame.profile() };
        self.wrote(store, false);
        Ok(times)
    }

    /// Stored tensors that the entry writes, as they are.
    pub fn written(&self, store: &Store) -> Result<Vec<(String, Tensor)>, DeviceError> {
        let mut all = Vec::with_capacity(self.writes.len());
        for cell in self.writes.iter().filter_map(|n| store.cells.changing.get(*n)) {
            let tensor = Tensor::from_bytes(cell.dtype, &cell.shape, &store.read(cell)?).map_err(|e| e.to_string())?;
            all.push((cell.path.clone(), tensor));
        }
        Ok(all)
    }

    fn prepare(&mut self, store: &mut Store) -> Result<(), DeviceError> {
        if !Arc::ptr_eq(&self.cells, &store.cells) {
            let text = "an entry was called on a store that it was not made for";
            return Err(DeviceError::Other(text.to_owned()));
        }
        let now = |n: &usize| store.versions.get(*n).copied().unwrap_or(0);
        if self.reads.iter().any(|(n, seen)| now(n) != *seen) {
            // SAFETY: as in `run`.
            unsafe { self.frame.setup(&|| ())? };
            self.reads.iter_mut().for_each(|r| r.1 = now(&r.0));
        }
        Ok(())
    }

    fn wrote(&self, store: &mut Store, failed: bool) {
        store.spoilt |= failed && !self.writes.is_empty();
        for n in &self.writes {
            if let Some(v) = store.versions.get_mut(*n) {
                *v += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use uad_kernels::cpu::{Isa, Pool};
    use uad_plan::{bind, text, verify};

    const MOVES: &str = r#"uadp 1 plan "t" stored { state w f32[3] } entry step() { stored %w f32[3] kernels {
        map [3] "add" { $0 = %w[i0] at { r0 = $0; r1 = 1.0; r2 = add r0 r1; yield r2 } write %w[i0] } } }"#;

    struct Zeros([u8; 12]);

    impl StoredBytes for Zeros {
        fn bytes(&self, _: &str) -> Option<&[u8]> {
            Some(&self.0)
        }
    }

    /// A frame whose device falls away in the middle of a call.
    struct Lost(Box<dyn Frame>);

    impl Frame for Lost {
        fn bound(&self) -> &Bound {
            self.0.bound()
        }
        fn memory(&self) -> usize {
            self.0.memory()
        }
        fn scratch(&self) -> &Arc<Piece> {
            self.0.scratch()
        }
        fn input_mut(&mut self, n: usize) -> Option<&mut [u8]> {
            self.0.input_mut(n)
        }
        fn output(&self, n: usize) -> Option<&[u8]> {
            self.0.output(n)
        }
        unsafe fn setup(&mut self, _: &dyn Fn()) -> Result<(), DeviceError> {
            Ok(())
        }
        unsafe fn run(&mut self, draw: Draw) -> Result<(), DeviceError> {
            // SAFETY: the caller's contract.
            unsafe { self.0.run(draw)? };
            Err(DeviceError::Lost("it fell away".to_owned()))
        }
        unsafe fn birth(&mut self, _: Draw) -> Result<Option<Birth>, DeviceError> {
            Ok(None)
        }
        unsafe fn profile(&mut self) -> Vec<KernelTime> {
            Vec::new()
        }
    }

    #[test]
    fn what_a_broken_run_left_is_not_given() {
        let plan = verify(text::parse(MOVES).unwrap()).unwrap();
        let bound = bind(&plan, "step", &BTreeMap::new()).unwrap();
        let device = Device::Cpu { pool: Arc::new(Pool::new(1)), isa: Isa::detect() };
        let changing = [("w".to_owned(), DType::F32, vec![3])];
        let mut store = Store::new(changing, Arc::new(Zeros([0; 12])), &device).unwrap();
        let mut executor = store.executor(bound).unwrap();
        executor.run(&mut store, Draw::default()).unwrap();
        assert_eq!(store.tensors().unwrap()[0].1.as_f32().unwrap(), [1.0; 3]);
        let mut executor = StoreExecutor { frame: Box::new(Lost(executor.frame)), ..executor };
        let lost = executor.run(&mut store, Draw::default()).unwrap_err();
        assert!(matches!(lost, DeviceError::Lost(_)));
        assert!(store.tensors().is_err() && store.changing().is_err() && store.bytes("w").is_err());
    }
}
