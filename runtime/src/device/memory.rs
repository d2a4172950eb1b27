//! Memory for buffers, and files mapped into it.
//!
//! In: a number of bytes, or a path. Out: [`Memory`], [`FileMap`]. Invariants: memory begins on a 64-byte boundary (a cache line and the widest vector),
//! is zero at first, never moves while it lives. Imports: `uad-kernels`.

use uad_kernels::cpu::run::Lines;

/// Bytes on a 64-byte boundary.
pub struct Memory {
    lines: Lines,
    bytes: usize,
}

impl Memory {
    /// `bytes` zeros; `None` where the machine has not that much.
    pub fn zeroed(bytes: usize) -> Option<Memory> {
        Some(Memory { lines: Lines::new(bytes).ok()?, bytes })
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Has it no bytes?
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The first byte. Valid for reads and writes of [`Memory::len`] bytes while `self` lives.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.lines.pointer()
    }

    /// The same. Who writes through it takes care that nobody else reads or writes meanwhile.
    pub(super) fn pointer(&self) -> *mut u8 {
        self.lines.pointer()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `lines` holds at least `bytes` bytes, zero at first.
        unsafe { std::slice::from_raw_parts(self.lines.pointer(), self.bytes) }
    }

    /// The bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `self` is borrowed for as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(self.lines.pointer(), self.bytes) }
    }
}

/// Would the machine give so many bytes now? Containers end the process where it does not, so sizes that users choose are asked
/// for first. Systems that promise more than they have are asked what they have.
pub fn fits(bytes: usize) -> bool {
    if bytes > SMALL && available().is_some_and(|most| bytes > most) {
        return false;
    }
    let mut asked: Vec<u8> = Vec::new();
    let given = asked.try_reserve_exact(bytes).is_ok();
    // Else the optimiser may leave out an allocation that nobody reads.
    std::hint::black_box(&mut asked);
    given
}

/// Not worth asking the system about.
const SMALL: usize = 64 << 20;

/// Bytes that Linux could give, swap included.
fn available() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let row = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim_end_matches("kB").trim().parse::<usize>().ok()
    };
    row("MemAvailable:")?.checked_add(row("SwapFree:").unwrap_or(0))?.checked_mul(1024)
}

/// A file in memory, read only, loaded page by page as it is touched.
pub struct FileMap(Option<memmap2::Mmap>);

impl FileMap {
    /// Maps a file. An empty file maps to no bytes.
    pub fn open(path: &std::path::Path) -> std::io::Result<FileMap> {
        // Looked at before it is opened: opening a pipe waits for a writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a file"));
        }
        let file = std::fs::File::open(path)?;
        let meta = file.metadata()?;
        if meta.len() == 0 {
            return Ok(FileMap(None));
        }
        // SAFETY: the mapping is private and read only. Should another process shorten the file meanwhile, reads beyond its
        // end end the process (SIGBUS), as with every mapped file; nothing is written and no invariant of ours breaks.
        Ok(FileMap(Some(unsafe { memmap2::Mmap::map(&file)? })))
    }

    /// All bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Gives back the memory that holds what was read; it is loaded again where it is read again.
    pub fn release(&self) {
        #[cfg(unix)]
        if let Some(map) = &self.0 {
            // SAFETY: the mapping is of a file and read only, so no page holds what the file does not: a page that is dropped
            // comes back from it with the same bytes. Should the system refuse, the pages stay.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn aligned_and_zero() {
        for n in [0, 1, 63, 64, 65, 1000] {
            let mut m = Memory::zeroed(n).unwrap();
            assert_eq!(m.len(), n);
            assert_eq!(m.as_mut_ptr().align_offset(64), 0);
            assert!(m.bytes().iter().all(|b| *b == 0));
            m.bytes_mut().fill(7);
            assert!(m.bytes().iter().all(|b| *b == 7));
        }
        assert!(Memory::zeroed(usize::MAX / 2).is_none() && !super::fits(usize::MAX / 2) && super::fits(1 << 20));
    }
}
