//! The program `pgraft-compile`: compiles one module in a process of its own, which may not take
//! more than so much memory and time, and whose end is nobody else's.
//!
//! A node starts it: the component comes on standard input, one byte of verdict
//! (`pgraft_engine::helper`) and the compiled code, or words, go to standard output. The exit code
//! says the same as the verdict. Not here: who may install a module, and where the code is kept.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use pgraft_engine::helper::{
    COMPILED, CPU_SECONDS_MAX, FAILED, MEMORY_BYTES_MAX, REFUSED, STACK_BYTES,
};
use pgraft_engine::limits::COMPONENT_BYTES_MAX;
use rustix::process::{Resource, Rlimit};

/// Seconds between the signal that says that the time is up and the one that ends the process.
const GRACE_SECONDS: u64 = 5;
/// Below the node that started it, which goes on serving.
const NICE: i32 = 10;

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!(
            "pgraft-compile takes no arguments: a node starts it, the component comes on standard \
             input and the compiled code goes to standard output"
        );
        return ExitCode::from(FAILED);
    }
    // What panics is told below, in the answer.
    std::panic::set_hook(Box::new(|_| {}));
    let (verdict, answer) = match answer() {
        Ok((verdict, answer)) => (verdict, answer),
        Err(why) => (FAILED, why.into_bytes()),
    };
    let mut out = io::stdout().lock();
    match out.write_all(&[verdict]).and_then(|()| out.write_all(&answer)).and_then(|()| out.flush())
    {
        Ok(()) => ExitCode::from(verdict),
        Err(error) => {
            eprintln!("pgraft-compile: write the answer: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// The verdict and what belongs to it.
fn answer() -> Result<(u8, Vec<u8>), String> {
    limit().map_err(|error| format!("limit this process: {error}"))?;
    let mut component = Vec::new();
    let mut input = io::stdin().lock().take(COMPONENT_BYTES_MAX + 1);
    input.read_to_end(&mut component).map_err(|error| format!("read the component: {error}"))?;
    // Deep nesting costs the compiler stack.
    let worker = std::thread::Builder::new().stack_size(STACK_BYTES);
    let worker = worker
        .spawn(move || compile(&component))
        .map_err(|error| format!("start a thread: {error}"))?;
    Ok(match worker.join() {
        Ok(Ok(code)) => (COMPILED, code),
        Ok(Err(why)) => (REFUSED, why.into_bytes()),
        Err(_panic) => (REFUSED, b"the compiler panicked on it".to_vec()),
    })
}

fn compile(component: &[u8]) -> Result<Vec<u8>, String> {
    pgraft_engine::inspect(component)?;
    pgraft_engine::precompile(component).map_err(|error| format!("{error:#}"))
}

fn limit() -> rustix::io::Result<()> {
    let set = |resource, soft: u64, hard: u64| {
        let limit = Rlimit { current: Some(soft), maximum: Some(hard) };
        rustix::process::setrlimit(resource, limit)
    };
    set(Resource::As, MEMORY_BYTES_MAX, MEMORY_BYTES_MAX)?;
    set(Resource::Cpu, CPU_SECONDS_MAX, CPU_SECONDS_MAX + GRACE_SECONDS)?;
    set(Resource::Core, 0, 0)?;
    rustix::process::nice(NICE)?;
    // Nobody reads the answer once the node is gone.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}
