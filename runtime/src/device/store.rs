//! Stored tensors that several entries share and change in place.
//!
//! In: tensors by path, which of them change, bound entries. Out: [`Store`] and executors over it. Invariants: one entry runs at a
//! time, as a run needs the store itself (`&mut Store`); whoever reads values holds the store too; what an entry made once of
//! tensors that others change is made again before its next run; tensors that do not change stay where they are, in a mapped
//! file or in memory. Imports: executors, frames, memory.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use uad_kernels::cpu::{Isa, Pool};
use uad_plan::tensor::{Tensor, elements};
use uad_plan::{Bound, DType, Port};

use super::executor::{StoredBytes, content};
use super::frame::{Birth, Draw, Frame, Pointer, Scratch, size};
use super::memory::Memory;

/// Type and place of a stored tensor that changes.
struct Cell {
    path: String,
    dtype: DType,
    shape: Vec<usize>,
    _memory: Memory,
    start: Pointer,
    bytes: usize,
}

/// What executors keep alive.
struct Cells {
    changing: Vec<Cell>,
    by_path: HashMap<String, usize>,
    fixed: Arc<dyn StoredBytes>,
}

/// All stored tensors of a detector while stages run.
pub struct Store {
    cells: Arc<Cells>,
    /// How often each changing tensor was changed.
    versions: Vec<u64>,
    scratch: Option<Arc<Scratch>>,
}

/// Executors of which one, with the store, runs at a time.
pub struct StoreExecutor {
    frame: Frame,
    cells: Arc<Cells>,
    /// Changing tensors that this entry only reads, with the versions that its constants were made of.
    reads: Vec<(usize, u64)>,
    writes: Vec<usize>,
}

impl Store {
    /// A store of these changing tensors, with first values from `values`; all others are read where `values` has them.
    pub fn new(
        changing: impl IntoIterator<Item = (String, DType, Vec<usize>)>,
        values: Arc<dyn StoredBytes>,
    ) -> Result<Store, String> {
        let (mut cells, mut by_path) = (Vec::new(), HashMap::new());
        for (path, dtype, shape) in changing {
            let bytes = elements(&shape).map_err(|e| e.to_string())? * dtype.bytes();
            let content = values.bytes(&path).filter(|b| b.len() == bytes);
            let content = content.ok_or_else(|| format!("`{path}` has no values"))?;
            let memory = Memory::zeroed(bytes);
            let mut memory = memory.ok_or_else(|| format!("this machine has no {bytes} bytes of memory to give"))?;
            memory.bytes_mut().copy_from_slice(content);
            if by_path.insert(path.clone(), cells.len()).is_some() {
                return Err(format!("`{path}` is stored twice"));
            }
            let start = Pointer(memory.as_mut_ptr());
            cells.push(Cell { path, dtype, shape, _memory: memory, start, bytes });
        }
        let versions = vec![0; cells.len()];
        Ok(Store { cells: Arc::new(Cells { changing: cells, by_path, fixed: values }), versions, scratch: None })
    }

    /// The bytes of a stored tensor.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        match self.cells.by_path.get(path) {
            Some(n) => Some(self.cell_bytes(self.cells.changing.get(*n)?)),
            None => self.cells.fixed.bytes(path),
        }
    }

    /// The shape of a stored tensor, where it is known.
    pub fn shape(&self, path: &str) -> Option<Vec<usize>> {
        match self.cells.by_path.get(path) {
            Some(n) => Some(self.cells.changing.get(*n)?.shape.clone()),
            None => self.cells.fixed.shape(path),
        }
    }

    fn cell_bytes<'a>(&'a self, cell: &'a Cell) -> &'a [u8] {
        // SAFETY: the memory lives as long as the cells; it is written by runs and by `set` only, which need `&mut Store`.
        unsafe { std::slice::from_raw_parts(cell.start.0, cell.bytes) }
    }

    /// Tensors that change, in the order in which they were given.
    pub fn changing(&self) -> impl Iterator<Item = (&str, DType, &[usize], &[u8])> {
        self.cells.changing.iter().map(|c| (c.path.as_str(), c.dtype, c.shape.as_slice(), self.cell_bytes(c)))
    }

    /// The tensors that change, copied.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let of = |(path, dtype, shape, bytes): (&str, DType, &[usize], &[u8])| {
            Some((path.to_owned(), Tensor::from_bytes(dtype, shape, bytes).ok()?))
        };
        self.changing().filter_map(of).collect()
    }

    /// Gives a changing tensor other values.
    pub fn set(&mut self, path: &str, bytes: &[u8]) -> Result<(), String> {
        let n = self.cells.by_path.get(path).copied();
        let cell = n.and_then(|n| self.cells.changing.get(n)).filter(|c| c.bytes == bytes.len());
        let cell = cell.ok_or_else(|| format!("`{path}` is no changing tensor of {} bytes", bytes.len()))?;
        // SAFETY: `&mut self` keeps runs and readers away; the sizes are equal.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), cell.start.0, bytes.len()) };
        if let Some(v) = n.and_then(|n| self.versions.get_mut(n)) {
            *v += 1;
        }
        Ok(())
    }

    /// An executor over this store. Executors of one store share their scratch memory.
    pub fn executor(&mut self, bound: Bound, pool: Arc<Pool>, isa: Isa) -> Result<StoreExecutor, String> {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        let (cells, versions) = (&self.cells, &self.versions);
        let mut place = |_: usize, port: &Port| {
            let Some(n) = cells.by_path.get(&port.name).copied() else {
                if port.written {
                    return Err(format!("`{}` is written, but not among the tensors that change", port.name));
                }
                return Ok(content(&*cells.fixed, port)?.as_ptr().cast_mut());
            };
            let cell = cells.changing.get(n).filter(|c| c.bytes == size(port) && c.dtype == port.dtype);
            let cell = cell.ok_or_else(|| format!("`{}` is of another size", port.name))?;
            if port.written {
                writes.push(n);
            } else {
                reads.push((n, versions.get(n).copied().unwrap_or(0)));
            }
            Ok(cell.start.0)
        };
        let mut frame = Frame::new(bound, pool, isa, self.scratch.clone(), &mut place)?;
        if self.scratch.as_ref().is_none_or(|s| s.bytes() < frame.scratch().bytes()) {
            self.scratch = Some(frame.scratch().clone());
        }
        // SAFETY: what the frame shares belongs to this store, which is borrowed for this call alone.
        unsafe { frame.setup(&|| ())? };
        Ok(StoreExecutor { frame, cells: self.cells.clone(), reads, writes })
    }
}

impl Deref for StoreExecutor {
    type Target = Frame;
    fn deref(&self) -> &Frame {
        &self.frame
    }
}

impl StoreExecutor {
    /// The bytes of an input, to be filled.
    pub fn input_mut(&mut self, name: &str) -> Option<&mut [u8]> {
        self.frame.input_mut(name)
    }

    /// The values of an f32 input, to be filled.
    pub fn input_f32_mut(&mut self, name: &str) -> Option<&mut [f32]> {
        self.frame.input_f32_mut(name)
    }

    /// Sets an input.
    pub fn set_input(&mut self, name: &str, value: &Tensor) -> Result<(), String> {
        self.frame.set_input(name, value)
    }

    /// One run on the store that it was made over.
    pub fn run(&mut self, store: &mut Store, draw: Draw) -> Result<(), String> {
        self.prepare(store)?;
        // SAFETY: all that the frame shares belongs to `store`, which is borrowed for this call alone.
        unsafe { self.frame.run(draw) };
        self.wrote(store);
        Ok(())
    }

    /// One run, kernel by kernel, up to the first that makes a number that is none. Leaves the store changed as far as it came.
    pub fn birth(&mut self, store: &mut Store, draw: Draw) -> Result<Option<Birth>, String> {
        self.prepare(store)?;
        // SAFETY: as in `run`.
        let found = unsafe { self.frame.birth(draw) };
        self.wrote(store);
        Ok(found)
    }

    fn prepare(&mut self, store: &mut Store) -> Result<(), String> {
        if !Arc::ptr_eq(&self.cells, &store.cells) {
            return Err("an entry was called on a store that it was not made for".to_owned());
        }
        let now = |n: &usize| store.versions.get(*n).copied().unwrap_or(0);
        if self.reads.iter().any(|(n, seen)| now(n) != *seen) {
            self.reads.iter_mut().for_each(|r| r.1 = now(&r.0));
            // SAFETY: as in `run`.
            unsafe { self.frame.setup(&|| ())? };
        }
        Ok(())
    }

    fn wrote(&self, store: &mut Store) {
        for n in &self.writes {
            if let Some(v) = store.versions.get_mut(*n) {
                *v += 1;
            }
        }
    }
}
