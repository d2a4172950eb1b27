//! What a kernel of a compiled program takes: registers, shared memory, local memory.
//!
//! In: a cubin (an ELF file of NVIDIA's). Out: [`Usage`] by kernel. Invariants: bytes that are no such file give an error,
//! never a panic. Imports: nothing.

use std::collections::BTreeMap;

/// Resources of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
    /// Bytes of local memory of a thread: where registers are spilled to, or arrays that are indexed by variables.
    pub local: u32,
}

/// A part of the file.
struct Section<'a> {
    name: &'a str,
    kind: u32,
    size: u64,
    info: u32,
    bytes: &'a [u8],
}

const SYMBOLS: u32 = 2;
const NO_BYTES: u32 = 8;
/// Attributes of `.nv.info`: bytes of a thread's frame, registers of a thread.
const FRAME_SIZE: u8 = 0x11;
const REGISTERS: u8 = 0x2f;

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    number(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    number(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    number(bytes, at).map(u64::from_le_bytes)
}

fn text_at(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..)?;
    std::str::from_utf8(rest.get(..rest.iter().position(|b| *b == 0)?)?).ok()
}

fn sections(file: &[u8]) -> Option<Vec<Section<'_>>> {
    if file.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let (table, size, count) =
        (u64_at(file, 0x28)? as usize, u16_at(file, 0x3a)? as usize, u16_at(file, 0x3c)? as usize);
    let names = u16_at(file, 0x3e)? as usize;
    let header = |n: usize| file.get(table.checked_add(n.checked_mul(size)?)?..);
    let bytes = |h: &[u8]| -> Option<&[u8]> {
        if u32_at(h, 4)? == NO_BYTES {
            return Some(&[]);
        }
        let from = u64_at(h, 0x18)? as usize;
        file.get(from..from.checked_add(u64_at(h, 0x20)? as usize)?)
    };
    let names = bytes(header(names)?)?;
    let one = |n: usize| {
        let h = header(n)?;
        let name = text_at(names, u32_at(h, 0)? as usize)?;
        Some(Section { name, kind: u32_at(h, 4)?, size: u64_at(h, 0x20)?, info: u32_at(h, 0x2c)?, bytes: bytes(h)? })
    };
    (0..count).map(one).collect()
}

/// Names of symbols by number.
fn symbols<'a>(sections: &[Section<'a>]) -> Option<Vec<&'a str>> {
    let table = sections.iter().find(|s| s.kind == SYMBOLS)?;
    let names = sections.iter().find(|s| s.name == ".strtab")?;
    table.bytes.chunks_exact(24).map(|s| text_at(names.bytes, u32_at(s, 0)? as usize)).collect()
}

fn read(file: &[u8]) -> Option<BTreeMap<String, Usage>> {
    let sections = sections(file)?;
    let symbols = symbols(&sections)?;
    let mut found: BTreeMap<String, Usage> = BTreeMap::new();
    for s in &sections {
        if let Some(name) = s.name.strip_prefix(".text.") {
            // The upper byte tells the registers too; `.nv.info` has the last word.
            found.entry(name.to_owned()).or_default().registers = s.info >> 24;
        }
    }
    for s in &sections {
        if let Some(usage) = s.name.strip_prefix(".nv.shared.").and_then(|name| found.get_mut(name)) {
            usage.shared = u32::try_from(s.size).ok()?;
        }
    }
    let info = sections.iter().find(|s| s.name == ".nv.info").map_or(&[][..], |s| s.bytes);
    let mut at = 0;
    while at + 4 <= info.len() {
        let (format, attribute, size) = (info[at], info[at + 1], u16_at(info, at + 2)? as usize);
        at += 4;
        // Only format 4 has bytes behind it.
        if format != 4 {
            continue;
        }
        if matches!(attribute, FRAME_SIZE | REGISTERS) {
            let (symbol, value) = (u32_at(info, at)?, u32_at(info, at + 4)?);
            if let Some(usage) = symbols.get(symbol as usize).and_then(|n| found.get_mut(*n)) {
                if attribute == REGISTERS { usage.registers = value } else { usage.local = value }
            }
        }
        at += size;
    }
    Some(found)
}

/// Resources by kernel.
pub fn usage(file: &[u8]) -> Result<BTreeMap<String, Usage>, String> {
    read(file).ok_or_else(|| "this is no cubin".to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn other_bytes_are_refused() {
        assert!(super::usage(b"").is_err());
        assert!(super::usage(b"\x7fELF\x02").is_err());
        let mut bytes = vec![0xffu8; 4096];
        bytes[..5].copy_from_slice(b"\x7fELF\x02");
        assert!(super::usage(&bytes).is_err());
    }
}
