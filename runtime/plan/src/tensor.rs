//! Tensors in host memory.
//!
//! In: vectors, iterators of f64, little-endian bytes. Out: [`Tensor`], row-major, of one of the three dtypes.
//! Invariants: the number of elements is the product of the shape; bool is 0 or 1.
//! Imports: [`crate::dtype`].

use std::fmt;

use crate::dtype::DType;

/// The elements of a tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// Truth as 0 or 1.
    Bool(Vec<u8>),
}

/// A tensor in host memory, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

/// Why a tensor cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorError(
    /// One sentence.
    pub String,
);

impl fmt::Display for TensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for TensorError {}

/// The number of elements of a shape, if memory can have that many.
pub fn elements(shape: &[usize]) -> Result<usize, TensorError> {
    shape
        .iter()
        .try_fold(1usize, |p, d| p.checked_mul(*d))
        .filter(|n| *n <= 1 << 40)
        .ok_or_else(|| TensorError(format!("a tensor of shape {shape:?} is too large")))
}

/// The f64 as an element of `dtype`: f32 rounds, i32 rounds towards zero and saturates (NaN is 0), bool is "not 0".
fn i32_of(v: f64) -> i32 {
    v as i32
}

impl Tensor {
    /// A tensor of these elements.
    pub fn new(shape: Vec<usize>, data: Data) -> Result<Tensor, TensorError> {
        let (want, have) = (elements(&shape)?, data.len());
        if want != have {
            return Err(TensorError(format!("shape {shape:?} has {want} elements, but {have} are given")));
        }
        let data = match data {
            Data::Bool(v) => Data::Bool(v.into_iter().map(|b| u8::from(b != 0)).collect()),
            other => other,
        };
        Ok(Tensor { shape, data })
    }

    /// A tensor of f32.
    pub fn f32(shape: &[usize], data: Vec<f32>) -> Result<Tensor, TensorError> {
        Tensor::new(shape.to_vec(), Data::F32(data))
    }

    /// A tensor of i32.
    pub fn i32(shape: &[usize], data: Vec<i32>) -> Result<Tensor, TensorError> {
        Tensor::new(shape.to_vec(), Data::I32(data))
    }

    /// A tensor of bool; any byte other than 0 is true.
    pub fn bool(shape: &[usize], data: Vec<u8>) -> Result<Tensor, TensorError> {
        Tensor::new(shape.to_vec(), Data::Bool(data))
    }

    /// Zeros (or false).
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor, TensorError> {
        let n = elements(shape)?;
        Tensor::from_f64(dtype, shape, std::iter::repeat_n(0.0, n))
    }

    /// A tensor of the values, converted: f32 rounds to nearest, i32 towards zero and held to the range, bool is
    /// "other than 0".
    pub fn from_f64(
        dtype: DType,
        shape: &[usize],
        values: impl IntoIterator<Item = f64>,
    ) -> Result<Tensor, TensorError> {
        let values = values.into_iter();
        let data = match dtype {
            DType::F32 => Data::F32(values.map(|v| v as f32).collect()),
            DType::I32 => Data::I32(values.map(i32_of).collect()),
            DType::Bool => Data::Bool(values.map(|v| u8::from(v != 0.0)).collect()),
        };
        Tensor::new(shape.to_vec(), data)
    }

    /// A tensor from little-endian bytes, one byte for each bool.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor, TensorError> {
        let words = || bytes.as_chunks::<4>().0.iter().copied();
        let data = match dtype {
            DType::F32 => Data::F32(words().map(f32::from_le_bytes).collect()),
            DType::I32 => Data::I32(words().map(i32::from_le_bytes).collect()),
            DType::Bool => Data::Bool(bytes.to_vec()),
        };
        if !bytes.len().is_multiple_of(dtype.bytes()) {
            return Err(TensorError(format!("{} bytes are no whole number of {dtype}", bytes.len())));
        }
        Tensor::new(shape.to_vec(), data)
    }

    /// Little-endian bytes, one byte for each bool.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    /// The same without a copy. Bundles are mapped into memory as they are, so all machines are little-endian.
    pub fn as_bytes(&self) -> &[u8] {
        const { assert!(cfg!(target_endian = "little")) }
        match &self.data {
            Data::F32(v) => bytemuck::cast_slice(v),
            Data::I32(v) => bytemuck::cast_slice(v),
            Data::Bool(v) => v,
        }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match self.data {
            Data::F32(_) => DType::F32,
            Data::I32(_) => DType::I32,
            Data::Bool(_) => DType::Bool,
        }
    }

    /// Shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Elements, to be moved out.
    pub fn into_data(self) -> Data {
        self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Has it no element?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, if f32.
    pub fn as_f32(&self) -> Option<&[f32]> {
        if let Data::F32(v) = &self.data { Some(v) } else { None }
    }

    /// The elements to be changed, if f32.
    pub fn as_f32_mut(&mut self) -> Option<&mut [f32]> {
        if let Data::F32(v) = &mut self.data { Some(v) } else { None }
    }

    /// The elements, if i32.
    pub fn as_i32(&self) -> Option<&[i32]> {
        if let Data::I32(v) = &self.data { Some(v) } else { None }
    }

    /// The elements to be changed, if i32.
    pub fn as_i32_mut(&mut self) -> Option<&mut [i32]> {
        if let Data::I32(v) = &mut self.data { Some(v) } else { None }
    }

    /// The elements, each 0 or 1, if bool.
    pub fn as_bool(&self) -> Option<&[u8]> {
        if let Data::Bool(v) = &self.data { Some(v) } else { None }
    }

    /// Element `i` in row-major order.
    pub fn get(&self, i: usize) -> Option<f64> {
        match &self.data {
            Data::F32(v) => v.get(i).map(|x| f64::from(*x)),
            Data::I32(v) => v.get(i).map(|x| f64::from(*x)),
            Data::Bool(v) => v.get(i).map(|x| f64::from(*x)),
        }
    }

    /// The element at these coordinates; `None` outside.
    pub fn at(&self, coordinates: &[usize]) -> Option<f64> {
        if coordinates.len() != self.shape.len() || coordinates.iter().zip(&self.shape).any(|(c, s)| c >= s) {
            return None;
        }
        self.get(coordinates.iter().zip(&self.shape).fold(0, |at, (c, s)| at * s + c))
    }

    /// Sets element `i` in row-major order, converted as in [`Tensor::from_f64`]. Says if there is one.
    pub fn set(&mut self, i: usize, value: f64) -> bool {
        match &mut self.data {
            Data::F32(v) => v.get_mut(i).map(|x| *x = value as f32),
            Data::I32(v) => v.get_mut(i).map(|x| *x = i32_of(value)),
            Data::Bool(v) => v.get_mut(i).map(|x| *x = u8::from(value != 0.0)),
        }
        .is_some()
    }

    /// All elements in row-major order.
    pub fn iter(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.len()).map(|i| self.get(i).unwrap_or(f64::NAN))
    }

    /// The same elements in another shape.
    pub fn reshaped(self, shape: &[usize]) -> Result<Tensor, TensorError> {
        Tensor::new(shape.to_vec(), self.data)
    }
}

impl Data {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Data::F32(v) => v.len(),
            Data::I32(v) => v.len(),
            Data::Bool(v) => v.len(),
        }
    }

    /// Is there no element?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_and_elements_agree() {
        assert!(Tensor::f32(&[2, 3], vec![0.0; 5]).is_err());
        assert!(Tensor::zeros(DType::F32, &[usize::MAX, 2]).is_err());
        let t = Tensor::f32(&[2, 3], (0..6).map(|v| v as f32).collect()).unwrap();
        assert_eq!(t.at(&[1, 2]), Some(5.0));
        assert_eq!(t.at(&[2, 0]), None);
        assert_eq!(t.at(&[1]), None);
        assert_eq!(t.iter().sum::<f64>(), 15.0);
    }

    #[test]
    fn converts() {
        let t = Tensor::from_f64(DType::I32, &[4], [1.9, -1.9, 1e20, f64::NAN]).unwrap();
        assert_eq!(t.as_i32().unwrap(), &[1, -1, i32::MAX, 0]);
        let t = Tensor::bool(&[2], vec![7, 0]).unwrap();
        assert_eq!(t.as_bool().unwrap(), &[1, 0]);
    }

    #[test]
    fn bytes_round_trip() {
        for dtype in [DType::F32, DType::I32, DType::Bool] {
            let t = Tensor::from_f64(dtype, &[3], [0.0, 1.0, -2.0]).unwrap();
            assert_eq!(Tensor::from_bytes(dtype, &[3], &t.to_bytes()).unwrap(), t);
        }
        assert!(Tensor::from_bytes(DType::F32, &[1], &[0; 5]).is_err());
    }
}
