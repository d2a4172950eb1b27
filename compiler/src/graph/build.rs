//! Adding nodes: the typing rule of every primitive, and shorthands.
//!
//! In: an operation and arguments. Out: a node whose type follows from them, or what is wrong. Invariants: no node
//! enters a graph with a type that [`infer`] does not give; equal dims are equal normal forms (what only a binding can
//! decide becomes a `require` before the node is built). Imports: the graph, `uad-plan`.

use smallvec::SmallVec;
use uad_plan::{DType, Dim, ReduceOp, ScalarOp};

use super::{Args, Graph, Node, NodeId, Op, Scope, ScopeId, Shape, TensorType};

/// Why a node cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeError(
    /// A sentence with both types.
    pub String,
);

type Typed = Result<TensorType, TypeError>;

fn err<T>(text: String) -> Result<T, TypeError> {
    Err(TypeError(text))
}

fn dims(e: uad_plan::DimError) -> TypeError {
    TypeError(e.to_string())
}

/// The type that an operation gives to arguments of these types. `declared` is the node's own type, which leaves
/// (`input`, `const`, …) and shape-giving operations (`reshape`, `expand`, `slice`) carry themselves.
pub fn infer(op: &Op, args: &[&TensorType], declared: &TensorType) -> Typed {
    let count = |n: usize| {
        if args.len() == n { Ok(()) } else { err(format!("`{}` takes {n} arguments, not {}", op.name(), args.len())) }
    };
    let axis_ok = |axis: usize, t: &TensorType| {
        if axis < t.shape.len() { Ok(()) } else { err(format!("`{}`: {t} has no axis {axis}", op.name())) }
    };
    match op {
        Op::Input(_) | Op::Weight(_) | Op::State(_) => count(0).map(|()| declared.clone()),
        Op::Const(_) => {
            count(0)?;
            if declared.shape.is_empty() { Ok(declared.clone()) } else { err("`const` is a scalar".into()) }
        }
        Op::Literal(v) => {
            count(0)?;
            let n = Dim::product(&declared.shape).map_err(dims)?;
            if n.is(v.len() as i64) {
                Ok(declared.clone())
            } else {
                err(format!("a literal of {} values is not {declared}", v.len()))
            }
        }
        Op::Size(_) => count(0).map(|()| TensorType::new(DType::I32, vec![])),
        Op::Iota { axis } => {
            count(0)?;
            axis_ok(*axis, declared)?;
            Ok(TensorType::new(DType::I32, declared.shape.clone()))
        }
        Op::Draw { lane, sample, .. } => {
            count(0)?;
            if *lane > 3 {
                return err("a draw has lanes 0 to 3".into());
            }
            sample.map_or(Ok(()), |s| axis_ok(s, declared))?;
            Ok(TensorType::new(DType::F32, declared.shape.clone()))
        }
        Op::Map(f) => {
            count(f.arity())?;
            let shape = &args[0].shape;
            if let Some(o) = args.iter().find(|a| a.shape != *shape) {
                return err(format!("`{}`: {} and {o} differ in shape", f.name(), args[0]));
            }
            let dtypes: SmallVec<[DType; 4]> = args.iter().map(|a| a.dtype).collect();
            match f.result(&dtypes) {
                Some(d) => Ok(TensorType::new(d, shape.clone())),
                None => err(format!(
                    "`{}` does not take {}",
                    f.name(),
                    args.iter().map(|a| a.to_string()).collect::<Vec<_>>().join(", ")
                )),
            }
        }
        Op::Reduce { op: r, axes } => {
            count(1)?;
            axes.iter().try_for_each(|a| axis_ok(*a, args[0]))?;
            if axes.windows(2).any(|w| w[0] >= w[1]) {
                return err("`reduce` takes its axes rising".into());
            }
            let arg = matches!(r, ReduceOp::ArgMax | ReduceOp::ArgMin);
            if arg && axes.len() != 1 {
                return err(format!("`{}` takes one axis", r.name()));
            }
            if args[0].dtype == DType::Bool && !matches!(r, ReduceOp::Max | ReduceOp::Min) {
                return err(format!("`{}` does not take bool", r.name()));
            }
            let shape: Shape =
                args[0].shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, d)| d.clone()).collect();
            Ok(TensorType::new(r.result(args[0].dtype), shape))
        }
        Op::Permute(perm) => {
            count(1)?;
            let mut seen = perm.clone();
            seen.sort_unstable();
            if seen != (0..args[0].shape.len()).collect::<Vec<_>>() {
                return err(format!("{perm:?} is not an order of the axes of {}", args[0]));
            }
            let shape: Shape = perm.iter().map(|p| args[0].shape[*p].clone()).collect();
            Ok(TensorType::new(args[0].dtype, shape))
        }
        Op::Reshape => {
            count(1)?;
            if !Dim::plainly_one_product(&args[0].shape, &declared.shape) {
                let product = |t: &TensorType| Dim::product(&t.shape).map_err(dims);
                let (a, b) = (product(args[0])?, product(declared)?);
                if a != b {
                    return err(format!("{} has {a} elements, {declared} has {b}", args[0]));
                }
            }
            Ok(TensorType::new(args[0].dtype, declared.shape.clone()))
        }
        Op::Expand { axes } => {
            count(1)?;
            if axes.len() != args[0].shape.len() || axes.windows(2).any(|w| w[0] >= w[1]) {
                return err(format!("`expand`: {axes:?} does not place the axes of {}", args[0]));
            }
            for (d, at) in args[0].shape.iter().zip(axes) {
                axis_ok(*at, declared)?;
                if *d != declared.shape[*at] && !d.is(1) {
                    return err(format!("{} does not expand to {declared}", args[0]));
                }
            }
            Ok(TensorType::new(args[0].dtype, declared.shape.clone()))
        }
        Op::Slice { start, step } => {
            count(1)?;
            let rank = args[0].shape.len();
            if start.len() != rank || step.len() != rank || declared.shape.len() != rank || step.contains(&0) {
                return err(format!("`slice` of {} takes {rank} starts and steps other than 0", args[0]));
            }
            for n in 0..rank {
                // What is open is left to `bind`, which proves every access inside its buffer.
                if let (Some(s), Some(len), Some(d)) =
                    (start[n].as_int(), declared.shape[n].as_int(), args[0].shape[n].as_int())
                {
                    let last = (len - 1).checked_mul(step[n]).and_then(|x| x.checked_add(s));
                    if len < 0 || (len > 0 && (s < 0 || s >= d || last.is_none_or(|l| l < 0 || l >= d))) {
                        return err(format!(
                            "slice {s}, step {}, {len} elements is outside axis {n} of {}",
                            step[n], args[0]
                        ));
                    }
                }
            }
            Ok(TensorType::new(args[0].dtype, declared.shape.clone()))
        }
        Op::Pad { lo, hi, interior, .. } => {
            count(1)?;
            let rank = args[0].shape.len();
            if [lo.len(), hi.len(), interior.len()] != [rank; 3] || interior.iter().any(|i| *i < 0) {
                return err(format!("`pad` of {} takes {rank} amounts", args[0]));
            }
            let mut shape = Vec::with_capacity(rank);
            for n in 0..rank {
                let d = &args[0].shape[n];
                let gaps = d.sub(&Dim::int(1)).and_then(|g| g.mul(&Dim::int(interior[n]))).map_err(dims)?;
                shape.push(d.add(&lo[n]).and_then(|x| x.add(&hi[n])).and_then(|x| x.add(&gaps)).map_err(dims)?);
            }
            Ok(TensorType::new(args[0].dtype, shape))
        }
        Op::Window { axis, size, stride, dilation, lo, hi, .. } => {
            count(1)?;
            axis_ok(*axis, args[0])?;
            if *size < 1 || *stride < 1 || *dilation < 1 || *lo < 0 || *hi < 0 {
                return err(
                    "`window` takes positive size, stride and dilation, and padding that is not negative".into()
                );
            }
            let span = dilation.checked_mul(size - 1).and_then(|s| lo.checked_add(*hi).map(|p| p - s - 1));
            let Some(rest) = span else { return err("`window` is too large".into()) };
            let n = args[0].shape[*axis]
                .add(&Dim::int(rest))
                .and_then(|d| d.floor_div(&Dim::int(*stride)))
                .and_then(|d| d.add(&Dim::int(1)))
                .map_err(dims)?;
            if n.as_int().is_some_and(|n| n < 0) {
                return err(format!("a window of {size} does not fit axis {axis} of {}", args[0]));
            }
            let mut shape = args[0].shape.to_vec();
            shape[*axis] = n;
            shape.push(Dim::int(*size));
            Ok(TensorType::new(args[0].dtype, shape))
        }
        Op::Concat { axis } => {
            let Some(&first) = args.first() else { return err("`concat` takes at least one argument".into()) };
            axis_ok(*axis, first)?;
            let mut shape = first.shape.to_vec();
            shape[*axis] = Dim::int(0);
            for &a in args {
                let same = a.dtype == first.dtype
                    && a.shape.len() == shape.len()
                    && (0..shape.len()).all(|n| n == *axis || a.shape[n] == first.shape[n]);
                if !same {
                    return err(format!("{first} and {a} do not join along axis {axis}"));
                }
                shape[*axis] = shape[*axis].add(&a.shape[*axis]).map_err(dims)?;
            }
            Ok(TensorType::new(first.dtype, shape))
        }
        Op::Dot { batch, contract } => {
            count(2)?;
            let (a, b) = (args[0], args[1]);
            if a.dtype != DType::F32 || b.dtype != DType::F32 {
                return err(format!("`dot` takes f32, not {a} and {b}"));
            }
            for (x, y) in batch.iter().chain(contract) {
                axis_ok(*x, a)?;
                axis_ok(*y, b)?;
                if a.shape[*x] != b.shape[*y] {
                    return err(format!("axis {x} of {a} and axis {y} of {b} differ"));
                }
            }
            let used = |n: usize, left: bool| {
                batch.iter().chain(contract).filter(|p| if left { p.0 == n } else { p.1 == n }).count()
            };
            if (0..a.shape.len()).any(|n| used(n, true) > 1) || (0..b.shape.len()).any(|n| used(n, false) > 1) {
                return err("`dot` pairs an axis twice".into());
            }
            let mut shape: Vec<Dim> = batch.iter().map(|p| a.shape[p.0].clone()).collect();
            shape.extend((0..a.shape.len()).filter(|n| used(*n, true) == 0).map(|n| a.shape[n].clone()));
            shape.extend((0..b.shape.len()).filter(|n| used(*n, false) == 0).map(|n| b.shape[n].clone()));
            Ok(TensorType::new(DType::F32, shape))
        }
        Op::Gather { axis, batch } => {
            count(2)?;
            let shape = gathered(args[0], args[1], *axis, *batch)?;
            Ok(TensorType::new(args[0].dtype, shape))
        }
        Op::ScatterAdd { axis, batch } => {
            count(3)?;
            let want = TensorType::new(args[0].dtype, gathered(args[0], args[1], *axis, *batch)?);
            if *args[2] != want || want.dtype == DType::Bool {
                return err(format!("`scatter_add` into {} takes updates {want}, not {}", args[0], args[2]));
            }
            Ok(args[0].clone())
        }
        Op::ArgSort { .. } => {
            count(1)?;
            axis_ok(0, args[0])?;
            Ok(TensorType::new(DType::I32, args[0].shape.clone()))
        }
        Op::Scan(r) => {
            count(1)?;
            axis_ok(0, args[0])?;
            if matches!(r, ReduceOp::ArgMax | ReduceOp::ArgMin) || args[0].dtype == DType::Bool {
                return err(format!("`scan` does not take {} of {}", r.name(), args[0]));
            }
            Ok(args[0].clone())
        }
        Op::Loop { carried, body, .. } => {
            if args.len() < *carried || body.outputs.len() < *carried || *carried == 0 {
                return err("a loop carries at least one value, and its body gives each".into());
            }
            for n in 0..*carried {
                let next = body.ty(body.outputs[n].1);
                if next != args[n] {
                    return err(format!("a loop starts from {} and carries on with {next}", args[n]));
                }
            }
            Ok(args[0].clone())
        }
        Op::Eigh | Op::Cholesky => {
            count(1)?;
            let (t, r) = (args[0], args[0].shape.len());
            if t.dtype != DType::F32 || r < 2 || t.shape[r - 1] != t.shape[r - 2] {
                return err(format!("`{}` takes square f32 matrices, not {t}", op.name()));
            }
            let keep = if matches!(op, Op::Eigh) { r - 1 } else { r };
            Ok(TensorType::new(DType::F32, t.shape[..keep].to_vec()))
        }
        Op::Part(_) => count(1).map(|()| declared.clone()),
        Op::Stop => count(1).map(|()| args[0].clone()),
    }
}

fn gathered(x: &TensorType, index: &TensorType, axis: usize, batch: usize) -> Result<Vec<Dim>, TypeError> {
    let fits = index.dtype == DType::I32
        && batch <= axis
        && axis < x.shape.len()
        && batch <= index.shape.len()
        && x.shape[..batch] == index.shape[..batch];
    if !fits {
        return err(format!("{index} does not index axis {axis} of {x} with {batch} leading axes in common"));
    }
    Ok(x.shape[..axis].iter().chain(&index.shape[batch..]).chain(&x.shape[axis + 1..]).cloned().collect())
}

impl Graph {
    /// Adds a node with the type that its operation gives. `declared`: see [`infer`].
    pub fn add(&mut self, op: Op, args: &[NodeId], declared: TensorType, scope: ScopeId) -> Result<NodeId, TypeError> {
        let ty = {
            match *args {
                [] => infer(&op, &[], &declared)?,
                [a] => infer(&op, &[self.ty(a)], &declared)?,
                [a, b] => infer(&op, &[self.ty(a), self.ty(b)], &declared)?,
                _ => infer(&op, &args.iter().map(|a| self.ty(*a)).collect::<Vec<_>>(), &declared)?,
            }
        };
        self.nodes.push(Node { op, args: Args::from_slice(args), ty, scope });
        Ok(NodeId(self.nodes.len() as u32 - 1))
    }

    /// Adds a node whose type needs no declaration.
    pub fn op(&mut self, op: Op, args: &[NodeId], scope: ScopeId) -> Result<NodeId, TypeError> {
        self.add(op, args, TensorType::new(DType::F32, vec![]), scope)
    }

    /// Adds a scalar operation at every element.
    pub fn map(&mut self, op: ScalarOp, args: &[NodeId], scope: ScopeId) -> Result<NodeId, TypeError> {
        self.op(Op::Map(op), args, scope)
    }

    /// Adds a scalar literal.
    pub fn constant(&mut self, dtype: DType, value: f64, scope: ScopeId) -> NodeId {
        self.nodes.push(Node { op: Op::Const(value), args: Args::new(), ty: TensorType::new(dtype, vec![]), scope });
        NodeId(self.nodes.len() as u32 - 1)
    }

    /// Repeats a value to a shape: its axes become the last axes of the shape, extents of 1 repeat.
    pub fn broadcast(&mut self, x: NodeId, shape: &Shape, scope: ScopeId) -> Result<NodeId, TypeError> {
        let t = self.ty(x);
        if t.shape == *shape {
            return Ok(x);
        }
        let declared = TensorType::new(t.dtype, shape.clone());
        let Some(lead) = shape.len().checked_sub(t.shape.len()) else {
            return err(format!("{t} has more axes than {declared}"));
        };
        let axes = (lead..shape.len()).collect();
        self.add(Op::Expand { axes }, &[x], declared, scope)
    }

    /// Adds a scope.
    pub fn scope(&mut self, scope: Scope) -> ScopeId {
        self.scopes.push(scope);
        ScopeId(self.scopes.len() as u32 - 1)
    }
}
