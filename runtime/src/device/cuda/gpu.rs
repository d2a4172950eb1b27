//! A GPU with what is kept on it.
//!
//! In: a driver, how kernels are made. Out: [`Gpu`]. Invariants: of stored tensors that no entry changes, those with the same bytes are
//! in the device's memory once, for as long as anybody uses them: entries of a detector share its weights, detectors share a
//! frozen encoder. Imports: drivers, pieces of memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest, Sha256};
use uad_kernels::cuda::Precision;

use super::driver::{Driver, Memory};
use super::sidecar::Sidecar;
use crate::device::error::DeviceError;
use crate::device::place::Piece;

/// A GPU, or what stands for one.
pub struct Gpu {
    driver: Arc<dyn Driver>,
    /// What contractions multiply.
    pub(super) precision: Precision,
    /// Code that was compiled before.
    pub(super) sidecar: Option<Arc<Sidecar>>,
    /// Tensors on the device by their digest.
    resident: Mutex<HashMap<[u8; 32], Weak<Piece>>>,
}

impl Gpu {
    /// A machine, what contractions multiply on it, code that was compiled before.
    pub fn new(driver: Arc<dyn Driver>, precision: Precision, sidecar: Option<Arc<Sidecar>>) -> Gpu {
        Gpu { driver, precision, sidecar, resident: Mutex::default() }
    }

    /// What its bits may depend on.
    pub fn kind(&self) -> String {
        format!("{} {}", self.driver.kind(), self.precision)
    }

    pub(in crate::device) fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    /// A stored tensor on the device, put there by whoever needs it first.
    pub(in crate::device) fn resident(&self, content: &[u8]) -> Result<Arc<Piece>, DeviceError> {
        let digest: [u8; 32] = Sha256::digest(content).into();
        // Whoever broke off while holding the table left it whole.
        let mut table = self.resident.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(piece) = table.get(&digest).and_then(Weak::upgrade) {
            return Ok(piece);
        }
        let memory = Memory::new(&self.driver, content.len())?;
        memory.upload(0, content)?;
        let piece = Arc::new(Piece::Device(memory));
        table.retain(|_, kept| kept.strong_count() > 0);
        table.insert(digest, Arc::downgrade(&piece));
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::super::emulated::Emulated;
    use super::*;

    #[test]
    fn the_same_bytes_are_there_once() {
        let gpu = Gpu::new(Arc::new(Emulated::new("c++")), Precision::F32, None);
        let (a, b) = (gpu.resident(&[1, 2, 3]).unwrap(), gpu.resident(&[1, 2, 3]).unwrap());
        let other = gpu.resident(&[1, 2, 4]).unwrap();
        assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &other));
        // SAFETY: nobody writes them.
        assert_eq!(unsafe { a.read() }.unwrap().as_ref(), [1, 2, 3]);
        drop((a, b));
        // Given back with its last user, and put there again for the next.
        assert_eq!(gpu.resident.lock().unwrap().values().filter(|p| p.strong_count() > 0).count(), 1);
        let again = gpu.resident(&[1, 2, 3]).unwrap();
        // SAFETY: as above.
        assert_eq!(unsafe { again.read() }.unwrap().as_ref(), [1, 2, 3]);
    }
}
