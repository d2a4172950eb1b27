//! Compiles holes to strip functions with Cranelift.
//!
//! In: [`StripSpec`]s, one request each. Out: [`StripFn`]s in executable memory that lives as long as [`HoleCode`].
//! Invariants: equal specs are compiled once; functions are compiled side by side on threads, and the code does not
//! depend on their number. Imports: [`super::isa`], [`super::math`], [`super::random`], [`super::hole_loop`],
//! [`super::hole_split`], [`super::strip`], `uad-plan`, Cranelift.

use super::hole_loop::{Calls, build};
use super::hole_split::{Split, arguments};
use super::isa::Isa;
use super::strip::{StripFn, StripId, StripSpec};
use super::{math, random};
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{AbiParam, Signature, types::I64};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, isa::OwnedTargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleReloc, default_libcall_names};
use std::collections::HashMap;
use std::fmt::Write;
use uad_plan::{Inst, ScalarOp};

/// A function to compile: its number, its name in the module, its code.
type Job = (usize, FuncId, Context);

/// Collects holes and compiles them together.
pub struct HoleCompiler {
    module: JITModule,
    unary: Vec<(ScalarOp, FuncId)>,
    draw: FuncId,
    known: HashMap<String, StripId>,
    functions: Vec<(FuncId, Context)>,
    scratch: FunctionBuilderContext,
}

/// Compiled holes.
pub struct HoleCode {
    module: Option<JITModule>,
    functions: Vec<StripFn>,
}

// SAFETY: after `finish` the module is only kept for its memory, which nobody writes.
unsafe impl Sync for HoleCode {}
// SAFETY: as above; memory may be freed from any thread.
unsafe impl Send for HoleCode {}

fn target() -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", "speed"),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
        ("enable_probestack", "false"),
        ("use_colocated_libcalls", "false"),
        ("is_pic", "false"),
        ("unwind_info", "false"),
    ] {
        flags.set(name, value).map_err(|e| format!("Cranelift has no setting {name}: {e}"))?;
    }
    let builder = cranelift_native::builder().map_err(|e| format!("no code can be made for this machine: {e}"))?;
    builder.finish(settings::Flags::new(flags)).map_err(|e| e.to_string())
}

impl HoleCompiler {
    /// A compiler whose microkernels use `isa`.
    pub fn new(isa: Isa) -> Result<HoleCompiler, String> {
        let mut builder = JITBuilder::with_isa(target()?, default_libcall_names());
        let kernels = math::unary(isa);
        for (op, function) in kernels {
            builder.symbol(format!("uad_{}", op.name()), function as *const u8);
        }
        builder.symbol("uad_draw", random::draw(isa) as *const u8);
        let mut module = JITModule::new(builder);
        let call_conv = module.isa().default_call_conv();
        let of = |params: usize| {
            let mut s = Signature::new(call_conv);
            s.params = vec![AbiParam::new(I64); params];
            s
        };
        let mut import = |name: String, params: usize| {
            module.declare_function(&name, Linkage::Import, &of(params)).map_err(|e| e.to_string())
        };
        let mut unary = Vec::new();
        for (op, _) in kernels {
            unary.push((op, import(format!("uad_{}", op.name()), 3)?));
        }
        let draw = import("uad_draw".to_owned(), 7)?;
        let (known, functions, scratch) = (HashMap::new(), Vec::new(), FunctionBuilderContext::new());
        Ok(HoleCompiler { module, unary, draw, known, functions, scratch })
    }

    /// Asks for the strip function of a spec. Equal specs give the same number.
    pub fn request(&mut self, spec: &StripSpec<'_>) -> Result<StripId, String> {
        let key = key(spec);
        if let Some(id) = self.known.get(&key) {
            return Ok(*id);
        }
        let split = Split::new(spec)?;
        let id = StripId(self.functions.len() as u32);
        let mut context = Context::new();
        let call_conv = self.module.isa().default_call_conv();
        context.func.signature = Signature::new(call_conv);
        context.func.signature.params.push(AbiParam::new(I64));
        let name = format!("hole_{}", id.0);
        let function =
            self.module.declare_function(&name, Linkage::Local, &context.func.signature).map_err(|e| e.to_string())?;
        let import = |module: &mut JITModule, context: &mut Context, f: FuncId| {
            module.declare_func_in_func(f, &mut context.func)
        };
        let unary = self.unary.iter().map(|(op, f)| (*op, import(&mut self.module, &mut context, *f))).collect();
        let calls = Calls { unary, draw: import(&mut self.module, &mut context, self.draw) };
        let frontend = self.module.isa().frontend_config();
        build(FunctionBuilder::new(&mut context.func, &mut self.scratch), spec, &split, &calls, frontend);
        self.functions.push((function, context));
        self.known.insert(key, id);
        Ok(id)
    }

    /// Distinct functions asked for.
    pub fn count(&self) -> usize {
        self.functions.len()
    }

    /// The Cranelift code of every distinct function.
    pub fn clif(&self) -> String {
        let mut text = String::new();
        for (n, (_, context)) in self.functions.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "; hole {n}\n{}", context.func.display());
        }
        text
    }

    /// Compiles everything that was asked for.
    pub fn finish(mut self) -> Result<HoleCode, String> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let threads = threads.min(self.functions.len() / 4 + 1);
        let mut parts: Vec<Vec<Job>> = (0..threads).map(|_| Vec::new()).collect();
        for (n, (id, context)) in self.functions.drain(..).enumerate() {
            parts[n % threads].push((n, id, context));
        }
        let isa = self.module.isa();
        let work = |mut part: Vec<Job>| {
            for (n, _, context) in &mut part {
                context.compile(isa, &mut ControlPlane::default()).map_err(|e| format!("hole {n}: {:?}", e.inner))?;
            }
            Ok::<_, String>(part)
        };
        let mut all: Vec<Job> = Vec::new();
        if threads == 1 {
            for part in parts {
                all.extend(work(part)?);
            }
        } else {
            let work = &work;
            std::thread::scope(|scope| {
                let handles: Vec<_> = parts.drain(..).map(|part| scope.spawn(move || work(part))).collect();
                handles.into_iter().try_for_each(|h| {
                    let broken = |_| Err("a thread that compiled holes panicked".to_owned());
                    all.extend(h.join().unwrap_or_else(broken)?);
                    Ok::<_, String>(())
                })
            })?;
        }
        all.sort_by_key(|c| c.0);
        for (n, id, context) in &all {
            let Some(code) = context.compiled_code() else { return Err(format!("hole {n} has no code")) };
            let relocs: Vec<ModuleReloc> =
                code.buffer.relocs().iter().map(|r| ModuleReloc::from_mach_reloc(r, &context.func, *id)).collect();
            let align = u64::from(code.buffer.alignment.max(16));
            self.module
                .define_function_bytes(*id, align, code.code_buffer(), &relocs)
                .map_err(|e| format!("hole {n}: {e}"))?;
        }
        self.module.finalize_definitions().map_err(|e| e.to_string())?;
        let functions = all
            .iter()
            .map(|(_, id, _)| {
                let code = self.module.get_finalized_function(*id);
                // SAFETY: the function was built with the signature of `StripFn`.
                unsafe { std::mem::transmute::<*const u8, StripFn>(code) }
            })
            .collect();
        Ok(HoleCode { module: Some(self.module), functions })
    }
}

impl HoleCode {
    /// Number of functions.
    pub fn count(&self) -> usize {
        self.functions.len()
    }

    /// The strip function of this number; valid while `self` lives.
    pub fn get(&self, id: StripId) -> StripFn {
        self.functions[id.0 as usize]
    }
}

impl Drop for HoleCode {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: whoever calls a strip function keeps `self` alive.
            unsafe { module.free_memory() }
        }
    }
}

/// Equal for specs that compile to the same function.
fn key(spec: &StripSpec<'_>) -> String {
    let mut key = String::with_capacity(spec.hole.code.len() * 12);
    for inst in &spec.hole.code {
        let _ = match inst {
            Inst::Load(n) => match spec.reads.get(*n as usize) {
                Some(p) => write!(key, "l{n}{:?}{:?}", p.dtype, p.moves),
                None => write!(key, "l{n}"),
            },
            Inst::Slot(n) => match spec.slots.get(*n as usize) {
                Some(p) => write!(key, "s{n}{:?}{:?}", p.dtype, p.moves),
                None => write!(key, "s{n}"),
            },
            Inst::Index(n) => write!(key, "i{n}{}", spec.moving == Some(*n)),
            Inst::F32(v) => write!(key, "f{:x}", v.to_bits()),
            Inst::I32(v) => write!(key, "c{v}"),
            Inst::Bool(v) => write!(key, "b{v}"),
            Inst::Size(v) => write!(key, "c{}", *v as i32),
            Inst::Op(op, _) => write!(key, "{}", op.name()),
            Inst::Draw { site, lane, .. } => write!(key, "d{site:x}.{lane}"),
        };
        for a in arguments(inst) {
            let _ = write!(key, ",{}", a.0);
        }
        key.push(';');
    }
    for (r, p) in spec.hole.results.iter().zip(&spec.results) {
        let _ = write!(key, ">{}{:?}{:?}", r.0, p.dtype, p.moves);
    }
    key
}
