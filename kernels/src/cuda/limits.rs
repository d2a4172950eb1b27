//! What every device that is supported can launch.
//!
//! In: a program. Out: nothing, or the first launch that no device would take. Invariants: checked before anything is
//! launched, and without a device. Imports: program.

use super::func::Arg;
use super::program::{Launch, Program, Step};

/// Threads of a block.
pub const THREADS: u32 = 1024;
/// Blocks along x.
pub const BLOCKS: u32 = i32::MAX as u32;
/// Bytes of shared memory that a function may declare.
pub const SHARED: u32 = 48 << 10;
/// Bytes of parameters.
pub const PARAMETERS: usize = 4096;
/// The least compute capability.
pub const CAPABILITY: (i32, i32) = (8, 0);

/// Checks every launch of a program.
pub fn check(program: &Program) -> Result<(), String> {
    for steps in [&program.setup, &program.kernels] {
        check_steps(program, steps)?;
    }
    Ok(())
}

fn check_steps(program: &Program, steps: &[Step]) -> Result<(), String> {
    for step in steps {
        match step {
            Step::Launch(l) => check_launch(program, l)?,
            Step::Loop(l) => check_steps(program, &l.round)?,
        }
    }
    Ok(())
}

fn check_launch(program: &Program, l: &Launch) -> Result<(), String> {
    let f = program.functions.get(l.function).ok_or("a launch of a function that is not there")?;
    let wrong = |what: String| Err(format!("{} {what}", f.name));
    if l.grid == 0 || l.grid > BLOCKS {
        return wrong(format!("is launched with {} blocks", l.grid));
    }
    if f.function.block == 0 || f.function.block > THREADS {
        return wrong(format!("has {} threads a block", f.function.block));
    }
    if f.function.shared > SHARED {
        return wrong(format!("has {} bytes of shared memory, {SHARED} is the most", f.function.shared));
    }
    if l.args.len() * 8 > PARAMETERS {
        return wrong(format!("has {} parameters", l.args.len()));
    }
    let outside = |a: &Arg| matches!(a, Arg::Work(at) if *at >= program.workspace);
    if l.args.iter().any(outside) {
        return wrong("works outside of the workspace".to_owned());
    }
    if l.args.iter().any(|a| matches!(a, Arg::Table(at) if *at >= program.tables.len())) {
        return wrong("reads outside of the tables".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::program::Named;
    use crate::cuda::{Function, Loop};

    fn program(block: u32, shared: u32, grid: u32, args: Vec<Arg>) -> Program {
        let function = Function { text: String::new(), block, shared };
        let named = Named { name: "f".into(), function, scopes: vec![], params: vec![] };
        let launch = Step::Launch(Launch { function: 0, grid, args, kernel: 0 });
        let kernels = vec![Step::Loop(Loop { count: 2, round: vec![launch], stop: None })];
        Program { functions: vec![named], setup: vec![], kernels, workspace: 1024, tables: vec![Arg::Draw] }
    }

    #[test]
    fn launches_beyond_a_device_are_refused() {
        let work = || vec![Arg::Work(512)];
        assert_eq!(check(&program(256, SHARED, 1, work())), Ok(()));
        for (wrong, says) in [
            (program(256, SHARED + 1, 1, work()), "shared memory"),
            (program(1025, 0, 1, work()), "threads a block"),
            (program(0, 0, 1, work()), "threads a block"),
            (program(256, 0, 0, work()), "blocks"),
            (program(256, 0, u32::MAX, work()), "blocks"),
            (program(256, 0, 1, vec![Arg::Work(1024)]), "workspace"),
            (program(256, 0, 1, vec![Arg::Table(1)]), "tables"),
            (program(256, 0, 1, vec![Arg::Int(1); 513]), "parameters"),
        ] {
            assert!(check(&wrong).unwrap_err().contains(says), "{says}");
        }
    }
}
