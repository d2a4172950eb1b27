//! Named tensors in files: safetensors and PyTorch checkpoints.
//!
//! In: a path. Out: [`TensorFile`]: names, shapes and, on demand, values; and back, as safetensors. Invariants: f64, f16 and bf16
//! become f32, other integers i32 (a value that does not fit is an error); files are told apart by content; a broken
//! file is refused with its name. Imports: the host tensor of `uad-plan`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use pytorch_reader::PytorchReader;
use safetensors::{Dtype, SafeTensors, View};
use uad_plan::DType;
use uad_plan::tensor::{Data, Tensor};

use crate::data::ReadError;
use crate::data::foreign::contained;
use crate::device::memory::{FileMap, fits};

/// An opened file of named tensors.
pub struct TensorFile {
    path: PathBuf,
    content: Content,
    shapes: BTreeMap<String, Vec<usize>>,
}

enum Content {
    Safe(FileMap),
    /// A safetensors file that is part of the program.
    Within(&'static [u8]),
    /// With what stands before every name in the file.
    Torch(PytorchReader, String),
}

/// Names and shapes of a safetensors file.
fn shapes_of(bytes: &[u8]) -> Result<BTreeMap<String, Vec<usize>>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("not a safetensors file: {e}"))?;
    Ok(file.iter().map(|(n, t)| (n.to_owned(), t.shape().to_vec())).collect())
}

impl TensorFile {
    /// Opens a file and reads its table of tensors.
    pub fn open(path: &Path) -> Result<TensorFile, ReadError> {
        let fail = |e: &dyn std::fmt::Display| ReadError::new(path, e);
        let map = FileMap::open(path).map_err(|e| fail(&e))?;
        let head = map.bytes();
        // A ZIP archive, a pickle, or a TAR archive; safetensors begins with the length of a JSON object.
        let torch = head.starts_with(b"PK") || head.starts_with(&[0x80]) || head.get(257..262) == Some(b"ustar");
        let (content, shapes) = if torch && head.get(8) != Some(&b'{') {
            drop(map);
            let (reader, prefix, shapes) = contained(path, || open_torch(path))?;
            (Content::Torch(reader, prefix), shapes)
        } else {
            let shapes = shapes_of(map.bytes()).map_err(|e| fail(&e))?;
            (Content::Safe(map), shapes)
        };
        Ok(TensorFile { path: path.to_owned(), content, shapes })
    }

    /// A safetensors file that is part of the program; `name` stands for it in messages.
    pub fn within(name: &str, bytes: &'static [u8]) -> Result<TensorFile, ReadError> {
        let shapes = shapes_of(bytes).map_err(|e| ReadError::new(Path::new(name), e))?;
        Ok(TensorFile { path: name.into(), content: Content::Within(bytes), shapes })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names with shapes, sorted by name.
    pub fn shapes(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.shapes
    }

    /// The values of a tensor.
    pub fn get(&self, name: &str) -> Result<Tensor, ReadError> {
        let fail = |e: &dyn std::fmt::Display| ReadError::new(&self.path, format!("tensor `{name}`: {e}"));
        match &self.content {
            Content::Safe(_) | Content::Within(_) => {
                let bytes = match &self.content {
                    Content::Safe(map) => map.bytes(),
                    Content::Within(bytes) => bytes,
                    Content::Torch(..) => &[],
                };
                let file = SafeTensors::deserialize(bytes).map_err(|e| fail(&e))?;
                let t = file.tensor(name).map_err(|e| fail(&e))?;
                convert(element(t.dtype()).map_err(|e| fail(&e))?, t.shape(), t.data()).map_err(|e| fail(&e))
            }
            Content::Torch(reader, prefix) => {
                let t = reader.get(&format!("{prefix}{name}")).ok_or_else(|| fail(&"not in the file"))?;
                let bytes = contained(&self.path, || t.read().map_err(|e| fail(&e)))?;
                convert(torch_element(t.dtype()).map_err(|e| fail(&e))?, t.shape(), &bytes).map_err(|e| fail(&e))
            }
        }
    }
}

/// A checkpoint is a dictionary of tensors, or holds one under a key beside other things. What a wrapper puts before
/// every name is left out.
fn open_torch(path: &Path) -> Result<Checkpoint, ReadError> {
    let fail = |e: &dyn std::fmt::Display| ReadError::new(path, format!("not a readable PyTorch file: {e}"));
    let mut reader = PytorchReader::new(path).map_err(|e| fail(&e))?;
    for key in ["state_dict", "model_state_dict", "model"] {
        let inside = format!("{key}.");
        // Names of one dictionary may begin so too: then there is no dictionary under the key.
        if reader.keys().iter().any(|k| k.starts_with(&inside))
            && let Ok(inner) = PytorchReader::with_top_level_key(path, key)
            && !inner.is_empty()
        {
            reader = inner;
            break;
        }
    }
    let mut prefix = String::new();
    for wrapper in ["module.", "_orig_mod.", "module."] {
        let longer = format!("{prefix}{wrapper}");
        if !reader.is_empty() && reader.keys().iter().all(|k| k.starts_with(&longer)) {
            prefix = longer;
        }
    }
    let short = |n: &String| n.strip_prefix(&prefix).unwrap_or(n).to_owned();
    let shapes = reader.tensors().iter().map(|(n, t)| (short(n), t.shape().to_vec())).collect();
    Ok((reader, prefix, shapes))
}

/// Reader, what stands before every name in the file, shapes by the names without it.
type Checkpoint = (PytorchReader, String, BTreeMap<String, Vec<usize>>);

/// Element formats that can be read.
#[derive(Clone, Copy)]
enum Element {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

fn element(d: Dtype) -> Result<Element, String> {
    Ok(match d {
        Dtype::F64 => Element::F64,
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::BF16,
        Dtype::I64 => Element::I64,
        Dtype::I32 => Element::I32,
        Dtype::I16 => Element::I16,
        Dtype::I8 => Element::I8,
        Dtype::U8 => Element::U8,
        Dtype::BOOL => Element::Bool,
        other => return Err(format!("elements of {other:?} are not handled")),
    })
}

fn torch_element(d: pytorch_reader::DType) -> Result<Element, String> {
    use pytorch_reader::DType as T;
    Ok(match d {
        T::F64 => Element::F64,
        T::F32 => Element::F32,
        T::F16 => Element::F16,
        T::BF16 => Element::BF16,
        T::I64 => Element::I64,
        T::I32 => Element::I32,
        T::I16 => Element::I16,
        T::I8 => Element::I8,
        T::U8 => Element::U8,
        T::Bool => Element::Bool,
        #[allow(unreachable_patterns)]
        other => return Err(format!("elements of {other:?} are not handled")),
    })
}

/// Little-endian bytes as a tensor of one of the three dtypes.
fn convert(from: Element, shape: &[usize], bytes: &[u8]) -> Result<Tensor, String> {
    fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
        bytes.as_chunks::<N>().0.iter().copied()
    }
    let one = match from {
        Element::F64 | Element::I64 => 8,
        Element::F32 | Element::I32 => 4,
        Element::F16 | Element::BF16 | Element::I16 => 2,
        Element::I8 | Element::U8 | Element::Bool => 1,
    };
    // Files may have holes, and so be longer than any memory.
    if !fits((bytes.len() / one).saturating_mul(4)) {
        return Err(format!("no memory for a tensor of shape {shape:?}"));
    }
    let data = match from {
        Element::F32 => Data::F32(words(bytes).map(f32::from_le_bytes).collect()),
        Element::F64 => Data::F32(words(bytes).map(|b| f64::from_le_bytes(b) as f32).collect()),
        Element::F16 => Data::F32(words(bytes).map(|b| half(u16::from_le_bytes(b))).collect()),
        Element::BF16 => {
            Data::F32(words(bytes).map(|b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)).collect())
        }
        Element::I32 => Data::I32(words(bytes).map(i32::from_le_bytes).collect()),
        Element::I64 => {
            let narrow = |b| i32::try_from(i64::from_le_bytes(b)).map_err(|_| "an integer beyond 32 bits".to_owned());
            Data::I32(words(bytes).map(narrow).collect::<Result<_, _>>()?)
        }
        Element::I16 => Data::I32(words(bytes).map(|b| i32::from(i16::from_le_bytes(b))).collect()),
        Element::I8 => Data::I32(words(bytes).map(|b| i32::from(i8::from_le_bytes(b))).collect()),
        Element::U8 => Data::I32(bytes.iter().map(|b| i32::from(*b)).collect()),
        Element::Bool => Data::Bool(bytes.to_vec()),
    };
    Tensor::new(shape.to_vec(), data).map_err(|e| e.to_string())
}

/// IEEE half precision.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15) << 31, u32::from(bits >> 10) & 31, u32::from(bits) & 1023);
    match exponent {
        0 => f32::from_bits(sign) + if sign == 0 { 1.0 } else { -1.0 } * fraction as f32 * 2f32.powi(-24),
        31 => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        e => f32::from_bits(sign | ((e + 112) << 23) | (fraction << 13)),
    }
}

/// What stands under one name of a safetensors file.
pub(crate) struct Item<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    data: &'a [u8],
}

impl<'a> Item<'a> {
    /// A tensor.
    pub(crate) fn tensor(t: &'a Tensor) -> Item<'a> {
        Item::raw(t.dtype(), t.shape(), t.as_bytes())
    }

    /// A tensor as it lies in memory.
    pub(crate) fn raw(dtype: DType, shape: &[usize], data: &'a [u8]) -> Item<'a> {
        let dtype = match dtype {
            DType::F32 => Dtype::F32,
            DType::I32 => Dtype::I32,
            DType::Bool => Dtype::BOOL,
        };
        Item { dtype, shape: shape.to_vec(), data }
    }

    /// Text as bytes.
    pub(crate) fn text(t: &'a str) -> Item<'a> {
        Item { dtype: Dtype::U8, shape: vec![t.len()], data: t.as_bytes() }
    }
}

impl View for Item<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// Nothing: see [`parts`].
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&[])
    }
    fn data_len(&self) -> usize {
        self.data.len()
    }
}

/// Writes tensors as safetensors; the file appears whole or not at all.
pub fn write(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<(), ReadError> {
    let items = tensors.iter().map(|(n, t)| (n.clone(), Item::tensor(t))).collect();
    let (header, parts) = parts(items, None).map_err(|e| ReadError::new(path, e))?;
    let write = |to: &mut dyn std::io::Write| {
        to.write_all(&header)?;
        parts.iter().try_for_each(|p| to.write_all(p))
    };
    crate::whole::write_with(path, write).map_err(|e| ReadError::new(path, e))
}

/// A safetensors file in parts that are copied nowhere: its header, and then the values. The header is what the crate makes of
/// items without content; the values follow in its order, wide element types first, then by name.
pub(crate) fn parts<'a>(
    items: BTreeMap<String, Item<'a>>,
    metadata: Option<HashMap<String, String>>,
) -> Result<(Vec<u8>, Vec<&'a [u8]>), safetensors::SafeTensorError> {
    let mut order: Vec<&Item<'a>> = items.values().collect();
    order.sort_by_key(|i| std::cmp::Reverse(i.dtype));
    let values = order.iter().map(|i| i.data).collect();
    Ok((safetensors::serialize(items, metadata)?, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (0x0001, 5.960_464_5e-8), (0x8000, -0.0)]
        {
            assert_eq!(half(bits).to_bits(), f32::to_bits(value), "{bits:x}");
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    #[test]
    fn written_files_read_back() {
        let folder = std::env::temp_dir().join(format!("uad-tensors-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("t.safetensors");
        let mut tensors = BTreeMap::new();
        tensors.insert("a".to_owned(), Tensor::f32(&[2, 3], vec![1.5; 6]).unwrap());
        tensors.insert("b".to_owned(), Tensor::i32(&[], vec![-7]).unwrap());
        tensors.insert("c".to_owned(), Tensor::bool(&[2], vec![0, 1]).unwrap());
        write(&path, &tensors).unwrap();
        let file = TensorFile::open(&path).unwrap();
        assert_eq!(file.shapes()["a"], [2, 3]);
        for (name, tensor) in &tensors {
            assert_eq!(file.get(name).unwrap(), *tensor);
        }
        assert!(file.get("d").is_err());
        // Every truncation is refused by name.
        let bytes = std::fs::read(&path).unwrap();
        for n in 0..bytes.len() {
            std::fs::write(&path, &bytes[..n]).unwrap();
            let e = TensorFile::open(&path).err().unwrap_or_else(|| panic!("{n} bytes are accepted"));
            assert!(e.to_string().contains("t.safetensors"));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
