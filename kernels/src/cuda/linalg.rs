//! The templates on small matrices: symmetric eigenproblems and Cholesky factors.
//!
//! In: bound kernels. Out: launches. Invariants: a block takes a matrix at a time, in f64, in the workspace; the order of
//! operations is fixed by shapes alone. Imports: program, func.

use uad_plan::{DType, Kernel};

use super::func::Func;
use super::hole::Value;
use super::index::points;
use super::program::Emitter;

/// Blocks at most; each has its own matrices in the workspace.
const BLOCKS: i64 = 512;

/// What both templates begin with: a loop over matrices, and the matrix in `a`.
struct Begun<'a> {
    f: Func<'a>,
    n: i64,
    block: i64,
    grid: i64,
}

fn begin<'a>(
    e: &mut Emitter<'a>,
    k: &'a Kernel<i64>,
    what: &str,
    matrices_each: i64,
) -> Result<Option<Begun<'a>>, String> {
    let outer: Vec<usize> = (0..k.axes.len() - 2).collect();
    let (matrices, n) = (points(&k.axes, &outer), k.axes[k.axes.len() - 1]);
    if matrices * n == 0 {
        return Ok(None);
    }
    if n > 1 << 14 {
        return Err(format!("a matrix of {n} rows"));
    }
    let block = if n <= 32 { 32 } else { 256 };
    let grid = matrices.min(BLOCKS);
    let mut f = Func::new(e.entry, k, matrices.max(n * n));
    f.note(format!("{what} {:?}: a block a matrix", k.axes));
    let from = e.scratch(grid * matrices_each * n * n * 8)?;
    f.work(from, "double", "work");
    f.code.line("const int t = threadIdx.x;");
    f.code.line(format!("double* a = work + blockIdx.x * {}LL;", matrices_each * n * n));
    let of = f.index_type();
    f.code.open(format!("for ({of} matrix = blockIdx.x; matrix < {matrices}; matrix += gridDim.x)"));
    f.spread("matrix", &outer);
    f.code.open(format!("for ({of} j = t; j < {}; j += {block})", n * n));
    f.spread("j", &[k.axes.len() - 2, k.axes.len() - 1]);
    let value = f.load(0)?;
    f.code.line(format!("a[j] = {};", value.text));
    f.code.close();
    f.code.line("__syncthreads();");
    Ok(Some(Begun { f, n, block, grid }))
}

/// Emits `cholesky`.
pub fn cholesky<'a>(e: &mut Emitter<'a>, k: &'a Kernel<i64>) -> Result<(), String> {
    let Some(Begun { mut f, n, block, grid }) = begin(e, k, "cholesky", 1)? else { return Ok(()) };
    f.code.line(format!(
        "for (int j = 0; j < {n}; ++j) {{\n\
         \x20 for (int i = j + t; i < {n}; i += {block}) {{\n\
         \x20   double inner = 0.0;\n\
         \x20   for (int k = 0; k < j; ++k) inner += a[i * {n} + k] * a[j * {n} + k];\n\
         \x20   a[i * {n} + j] -= inner;\n\
         \x20 }}\n\
         \x20 __syncthreads();\n\
         \x20 const double pivot = sqrt(a[j * {n} + j]);\n\
         \x20 __syncthreads();\n\
         \x20 for (int i = j + t; i < {n}; i += {block}) a[i * {n} + j] = i == j ? pivot : a[i * {n} + j] / pivot;\n\
         \x20 __syncthreads();\n\
         }}"
    ));
    let of = f.index_type();
    f.code.open(format!("for ({of} j = t; j < {}; j += {block})", n * n));
    f.spread("j", &[k.axes.len() - 2, k.axes.len() - 1]);
    f.store(0, &Value::atom(format!("j % {n} > j / {n} ? 0.0f : float(a[j])"), DType::F32))?;
    f.code.close();
    f.code.line("__syncthreads();");
    f.code.close();
    e.launch(f, "cholesky", block as u32, grid)
}

/// Emits `eigh`: Jacobi rotations in the order of the definition.
pub fn eigh<'a>(e: &mut Emitter<'a>, k: &'a Kernel<i64>) -> Result<(), String> {
    let Some(Begun { mut f, n, block, grid }) = begin(e, k, "eigh", 2)? else { return Ok(()) };
    let last = k.axes.len() - 1;
    f.share("double", 8, "sums", &[2, block as usize]);
    let order = e.scratch(grid * n * 4)?;
    f.work(order, "int", "orders");
    f.code.line(format!(
        "double* v = a + {nn};\n\
         int* order = orders + blockIdx.x * {n}LL;\n\
         for (int j = t; j < {nn}; j += {block}) {{\n\
         \x20 const int row = j / {n}, column = j % {n};\n\
         \x20 v[j] = row == column ? 1.0 : 0.0;\n\
         \x20 if (column > row) a[j] = a[column * {n} + row] = (a[j] + a[column * {n} + row]) * 0.5;\n\
         }}\n\
         for (int sweep = 0; sweep < 60; ++sweep) {{\n\
         \x20 __syncthreads();\n\
         \x20 double off = 0.0, all = 0.0;\n\
         \x20 for (int j = t; j < {nn}; j += {block}) {{\n\
         \x20   all += a[j] * a[j];\n\
         \x20   if (j / {n} != j % {n}) off += a[j] * a[j];\n\
         \x20 }}\n\
         \x20 sums[0][t] = off;\n\
         \x20 sums[1][t] = all;\n\
         \x20 __syncthreads();\n\
         \x20 off = all = 0.0;\n\
         \x20 for (int other = 0; other < {block}; ++other) {{\n\
         \x20   off += sums[0][other];\n\
         \x20   all += sums[1][other];\n\
         \x20 }}\n\
         \x20 // Also ends where a NaN makes the comparison fail.\n\
         \x20 if (!(off > 1e-32 * all)) break;\n\
         \x20 for (int p = 0; p < {n}; ++p)\n\
         \x20   for (int q = p + 1; q < {n}; ++q) {{\n\
         \x20     __syncthreads();\n\
         \x20     const double pq = a[p * {n} + q], theta = (a[q * {n} + q] - a[p * {n} + p]) / (2.0 * pq);\n\
         \x20     __syncthreads();\n\
         \x20     if (pq == 0.0) continue;\n\
         \x20     const double tangent = (theta < 0.0 ? -1.0 : 1.0) / (fabs(theta) + sqrt(theta * theta + 1.0));\n\
         \x20     const double c = 1.0 / sqrt(tangent * tangent + 1.0), s = tangent * c;\n\
         \x20     for (int k = t; k < {n}; k += {block}) {{\n\
         \x20       const double x = a[k * {n} + p], y = a[k * {n} + q];\n\
         \x20       a[k * {n} + p] = c * x - s * y;\n\
         \x20       a[k * {n} + q] = s * x + c * y;\n\
         \x20       const double u = v[k * {n} + p], w = v[k * {n} + q];\n\
         \x20       v[k * {n} + p] = c * u - s * w;\n\
         \x20       v[k * {n} + q] = s * u + c * w;\n\
         \x20     }}\n\
         \x20     __syncthreads();\n\
         \x20     for (int k = t; k < {n}; k += {block}) {{\n\
         \x20       const double x = a[p * {n} + k], y = a[q * {n} + k];\n\
         \x20       a[p * {n} + k] = c * x - s * y;\n\
         \x20       a[q * {n} + k] = s * x + c * y;\n\
         \x20     }}\n\
         \x20   }}\n\
         }}\n\
         __syncthreads();\n\
         if (t == 0) {{\n\
         \x20 for (int i = 0; i < {n}; ++i) {{\n\
         \x20   int j = i;\n\
         \x20   for (; j > 0 && a[order[j - 1] * {step}] > a[i * {step}]; --j) order[j] = order[j - 1];\n\
         \x20   order[j] = i;\n\
         \x20 }}\n\
         }}\n\
         __syncthreads();",
        nn = n * n,
        step = n + 1,
    ));
    f.code.open(format!("for (int j = t; j < {n}; j += {block})"));
    f.code.line("const int column = order[j];");
    f.code.line("double largest = 0.0;");
    f.code.line(format!(
        "for (int k = 0; k < {n}; ++k) if (fabs(v[k * {n} + column]) > fabs(largest)) largest = v[k * {n} + column];"
    ));
    let of = f.index_type();
    f.at[last - 1] = "0".to_owned();
    f.code.line(format!("const {of} i{last} = j;"));
    f.at[last] = format!("i{last}");
    f.store(0, &Value::atom(format!("float(a[column * {}])", n + 1), DType::F32))?;
    f.code.open(format!("for ({of} i{} = 0; i{0} < {n}; ++i{0})", last - 1));
    f.at[last - 1] = format!("i{}", last - 1);
    let entry = format!("float(largest < 0.0 ? -v[i{} * {n} + column] : v[i{0} * {n} + column])", last - 1);
    f.store(1, &Value::atom(entry, DType::F32))?;
    f.code.close();
    f.code.close();
    f.code.line("__syncthreads();");
    f.code.close();
    e.launch(f, "eigh", block as u32, grid)
}
