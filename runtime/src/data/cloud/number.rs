//! Numbers as the headers of clouds declare them.
//!
//! In: the name of a type, bytes or a word. Out: f64. Invariants: what is too short is `None`; integers up to 32 bits are exact.
//! Imports: nothing of this project.

/// A type of number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 8 bits with a sign.
    I8,
    /// 8 bits.
    U8,
    /// 16 bits with a sign.
    I16,
    /// 16 bits.
    U16,
    /// 32 bits with a sign.
    I32,
    /// 32 bits.
    U32,
    /// 64 bits with a sign.
    I64,
    /// 64 bits.
    U64,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl Kind {
    /// The type that PLY calls so.
    pub fn of_ply(name: &str) -> Option<Kind> {
        Some(match name {
            "char" | "int8" => Kind::I8,
            "uchar" | "uint8" => Kind::U8,
            "short" | "int16" => Kind::I16,
            "ushort" | "uint16" => Kind::U16,
            "int" | "int32" => Kind::I32,
            "uint" | "uint32" => Kind::U32,
            "float" | "float32" => Kind::F32,
            "double" | "float64" => Kind::F64,
            _ => return None,
        })
    }

    /// The type that PCD describes so.
    pub fn of_pcd(letter: &str, size: usize) -> Option<Kind> {
        Some(match (letter, size) {
            ("I", 1) => Kind::I8,
            ("U", 1) => Kind::U8,
            ("I", 2) => Kind::I16,
            ("U", 2) => Kind::U16,
            ("I", 4) => Kind::I32,
            ("U", 4) => Kind::U32,
            ("I", 8) => Kind::I64,
            ("U", 8) => Kind::U64,
            ("F", 4) => Kind::F32,
            ("F", 8) => Kind::F64,
            _ => return None,
        })
    }

    /// Bytes.
    pub fn size(self) -> usize {
        match self {
            Kind::I8 | Kind::U8 => 1,
            Kind::I16 | Kind::U16 => 2,
            Kind::I32 | Kind::U32 | Kind::F32 => 4,
            Kind::I64 | Kind::U64 | Kind::F64 => 8,
        }
    }

    /// The number that begins at `at`.
    pub fn read(self, bytes: &[u8], at: usize, big: bool) -> Option<f64> {
        let own = bytes.get(at..at.checked_add(self.size())?)?;
        let mut word = [0u8; 8];
        // Little endian, lowest byte first.
        for (i, slot) in word.iter_mut().take(own.len()).enumerate() {
            *slot = own[if big { own.len() - 1 - i } else { i }];
        }
        let whole = u64::from_le_bytes(word);
        Some(match self {
            Kind::I8 => f64::from(whole as u8 as i8),
            Kind::U8 => f64::from(whole as u8),
            Kind::I16 => f64::from(whole as u16 as i16),
            Kind::U16 => f64::from(whole as u16),
            Kind::I32 => f64::from(whole as u32 as i32),
            Kind::U32 => f64::from(whole as u32),
            Kind::I64 => whole as i64 as f64,
            Kind::U64 => whole as f64,
            Kind::F32 => f64::from(f32::from_bits(whole as u32)),
            Kind::F64 => f64::from_bits(whole),
        })
    }
}

/// The number that a word writes.
pub fn word(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// A count or position.
pub fn count(v: f64) -> Option<u32> {
    (v >= 0.0 && v <= f64::from(u32::MAX) && v.fract() == 0.0).then_some(v as u32)
}

/// A word as messages show it.
pub fn shown(word: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(word).chars().filter(|c| !c.is_control()).take(24).collect();
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_of_bytes() {
        assert_eq!(Kind::I16.read(&[0xff, 0xfe], 0, true), Some(-2.0));
        assert_eq!(Kind::I16.read(&[0xfe, 0xff], 0, false), Some(-2.0));
        assert_eq!(Kind::F32.read(&[0, 0x3f, 0x80, 0, 0], 1, true), Some(1.0));
        assert_eq!(Kind::F64.read(&1.5f64.to_le_bytes(), 0, false), Some(1.5));
        assert_eq!(Kind::U32.read(&[1, 2, 3], 0, false), None);
    }
}
