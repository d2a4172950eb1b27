//! Every template on a GPU, where there is one.
//!
//! In: the plans that the emulation runs. Out: agreement with the reference, the same bits from call to call. Invariants:
//! without a device the test is ignored. Imports: the runtime's devices.

mod templates;

use std::sync::Arc;

use templates::{DRAW, bound, cases, difference, reference, values};
use uad_kernels::cuda::Precision;
use uad_kernels::cuda::emulate::Tensors;
use uad_plan::Tensor;
use uad_runtime::device::Device;
use uad_runtime::device::cuda::gpu::Gpu;
use uad_runtime::device::cuda::nvidia::Nvidia;
use uad_runtime::device::executor::{Draw, Executor};
use uad_tests::execute::Kept;

#[test]
#[cfg_attr(not(gpu), ignore = "needs a GPU of NVIDIA")]
fn every_template_agrees_on_a_device() {
    let nvidia = Nvidia::open().unwrap_or_else(|e| panic!("{e}"));
    let device = Device::Cuda(Arc::new(Gpu::new(nvidia.clone(), Precision::F32, None)));
    let mut wrong = Vec::new();
    for case in cases() {
        let bound = bound(&case);
        let (inputs, stored) = values(&case, &bound);
        let want = reference(&bound, &inputs, &stored);
        let run = || -> Result<Tensors, String> {
            let made = Executor::new(bound.clone(), Arc::new(Kept::new(&stored)), &device);
            let mut e = made.map_err(|e| e.to_string())?;
            for (name, value) in &inputs {
                e.set_input(name, value)?;
            }
            e.run(Draw { seed: DRAW.seed, step: DRAW.step, sample: DRAW.sample }).map_err(|e| e.to_string())?;
            let outputs = bound.outputs.iter().filter_map(|p| Some((p.name.clone(), e.output(&p.name)?)));
            let mut all: Tensors = outputs.collect();
            all.extend(stored.iter().map(|(path, t)| (format!("after {path}"), t.clone())));
            let written = e.written().map_err(|e| e.to_string())?;
            all.extend(written.into_iter().map(|(path, t)| (format!("after {path}"), t)));
            Ok(all)
        };
        let bits = |t: &Tensors| t.values().map(Tensor::to_bytes).collect::<Vec<_>>();
        match (run(), run()) {
            (Ok(a), Ok(b)) => {
                let found = difference(&a, &want, case.tolerance);
                let moved = (bits(&a) != bits(&b)).then(|| "a second run gives other bits".to_owned());
                wrong.extend(found.or(moved).map(|w| format!("{w}\n{}", case.body)));
            }
            (Err(e), _) | (_, Err(e)) => wrong.push(format!("{e}\n{}", case.body)),
        }
    }
    assert!(wrong.is_empty(), "{} plans are wrong on {}:\n{}", wrong.len(), nvidia.name, wrong.join("\n\n"));
}
