//! Calls of readers that are not ours, on bytes that may be hostile.
//!
//! In: a file's path, a call. Out: its result; an error that names the file where the reader panicked. Invariants: a panic ends the
//! thread of that call only, and whoever installs a panic hook can tell such a thread by [`THREAD`]. Imports: [`super::ReadError`].

use std::path::Path;

use super::ReadError;

/// Name of the threads that such calls run on.
pub const THREAD: &str = "foreign reader";

/// Calls `read` on a thread of its own.
pub fn contained<T: Send>(path: &Path, read: impl FnOnce() -> Result<T, ReadError> + Send) -> Result<T, ReadError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(THREAD.to_owned()).stack_size(16 << 20);
        let thread = thread.spawn_scoped(scope, read).map_err(|e| ReadError::new(path, e))?;
        thread.join().unwrap_or_else(|_| Err(ReadError::new(path, "damaged in a way that its reader does not handle")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_the_files_name() {
        let error = contained::<()>(Path::new("a.pth"), || panic!("of the reader"));
        assert!(error.unwrap_err().to_string().starts_with("a.pth: damaged"));
        assert_eq!(contained(Path::new("a.pth"), || Ok(1)).unwrap(), 1);
    }
}
