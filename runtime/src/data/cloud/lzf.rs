//! LZF, the packing of PCD's `binary_compressed`.
//!
//! In: packed bytes, the size that they unpack to. Out: that many bytes. Invariants: never more memory than was asked for, and that is
//! asked for only where the packed bytes can give it; damage is an error. Imports: nothing of this project.

/// Three packed bytes give at most this many.
const MOST: usize = 264;

/// Unpacks.
pub fn unpack(packed: &[u8], size: usize) -> Result<Vec<u8>, String> {
    if size > (packed.len() / 2 + 1).saturating_mul(MOST) {
        return Err(format!("{} packed bytes cannot hold {size}", packed.len()));
    }
    let mut out: Vec<u8> = Vec::new();
    out.try_reserve_exact(size).map_err(|_| format!("no memory for {size} bytes"))?;
    let damaged = || "the packed bytes are damaged".to_owned();
    let mut at = 0;
    let mut next = |n: usize| -> Option<&[u8]> {
        let own = packed.get(at..at + n)?;
        at += n;
        Some(own)
    };
    while out.len() < size {
        let control = usize::from(next(1).ok_or_else(damaged)?[0]);
        if control < 32 {
            let literal = next(control + 1).ok_or_else(damaged)?;
            if out.len() + literal.len() > size {
                return Err(damaged());
            }
            out.extend_from_slice(literal);
            continue;
        }
        let mut length = control >> 5;
        if length == 7 {
            length += usize::from(next(1).ok_or_else(damaged)?[0]);
        }
        let low = usize::from(next(1).ok_or_else(damaged)?[0]);
        let back = ((control & 31) << 8 | low) + 1;
        let from = out.len().checked_sub(back).ok_or_else(damaged)?;
        if out.len() + length + 2 > size {
            return Err(damaged());
        }
        // The copy may reach into what it writes.
        for i in from..from + length + 2 {
            out.push(out[i]);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::unpack;

    #[test]
    fn literals_and_copies() {
        assert_eq!(unpack(&[2, b'a', b'b', b'c'], 3).unwrap(), b"abc");
        assert_eq!(unpack(&[0, b'a', 0xe0, 1, 0], 11).unwrap(), b"aaaaaaaaaaa");
        for broken in [&[5, b'a'][..], &[0, b'a', 0x20, 9], &[0x20], &[0xe0]] {
            assert!(unpack(broken, 4).is_err());
        }
        assert!(unpack(&[0, 1], 1 << 40).is_err());
    }
}
