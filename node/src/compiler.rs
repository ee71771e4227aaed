//! Compiles a module by the program `pgraft-compile`, which may not take more than so much memory
//! and time and whose crash is not ours. Blocks: a worker's thread calls it.
//!
//! Uses nothing of the process but a child and pipes, since the process may be PostgreSQL's: no
//! signal handler, no other child is waited for. Not here: a compiler, and keeping the code.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use pgraft_engine::helper::{
    CODE_BYTES_MAX, COMPILED, CPU_SECONDS_MAX, MEMORY_BYTES_MAX, REFUSED, WALL_SECONDS_MAX,
    WORDS_BYTES_MAX,
};

/// The program's name.
const PROGRAM: &str = "pgraft-compile";
/// How often to look whether a child that has nothing more to say has ended.
const POLL: Duration = Duration::from_millis(5);
/// Signals by which the system ends a process that ran out of CPU time, or that aborts: it had no
/// memory left, or no stack.
const SIGXCPU: i32 = libc::SIGXCPU;
const SIGABRT: i32 = libc::SIGABRT;
const SIGSEGV: i32 = libc::SIGSEGV;

/// Why there is no compiled code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The module's fault: it is none, or needs more memory or time than a module may. Another
    /// node may come to something else: its compiler may be of another version, its machine faster.
    #[error("{0}")]
    Refused(String),
    /// This machine's fault; another try may do better.
    #[error("{0}")]
    Failed(String),
}

/// Where the program is: beside the one that runs, or in the folder around that one's (cargo puts
/// tests there).
pub(crate) fn helper_program() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    let folder = here.parent().unwrap_or(Path::new(""));
    let beside = folder.join(PROGRAM);
    match folder.parent().map(|around| around.join(PROGRAM)) {
        Some(above) if !beside.exists() && above.exists() => above,
        _ => beside,
    }
}

/// Compiles `component` for this machine's engine.
///
/// # Errors
/// [`CompileError`]. Whatever comes of it, the child has ended and was waited for.
pub(crate) fn compile(program: &Path, component: &[u8]) -> Result<Vec<u8>, CompileError> {
    within(program, component, Duration::from_secs(WALL_SECONDS_MAX))
}

fn within(program: &Path, component: &[u8], limit: Duration) -> Result<Vec<u8>, CompileError> {
    let deadline = Instant::now() + limit;
    let failed = |doing: &str, error: io::Error| {
        CompileError::Failed(format!("{doing} {}: {error}", program.display()))
    };
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed("start", error))?;
    let mut input = child.stdin.take().expect("it was asked for");
    let output = child.stdout.take().expect("it was asked for");
    let (told, heard) = mpsc::channel();
    let said = thread::scope(|scope| {
        // A child that does not read what it is told has already made up its mind.
        scope.spawn(move || input.write_all(component));
        scope.spawn(move || told.send(read(output)));
        let said = heard.recv_timeout(limit);
        let ended = match said {
            Ok(Ok(_)) => wait(&mut child, deadline),
            Ok(Err(_)) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        };
        // Also lets go of the pipes, so that the threads end.
        let ended = ended.map_or_else(|| kill(&mut child), Ok);
        (said, ended)
    });
    let (said, ended) = said;
    let ended = ended.map_err(|error| failed("wait for", error))?;
    match said {
        Ok(Ok(answer)) => verdict(answer, ended),
        Ok(Err(error)) => Err(failed("read the answer of", error)),
        Err(_) => Err(CompileError::Refused(format!(
            "compiling it took more than {} seconds",
            limit.as_secs()
        ))),
    }
}

/// All that the child says, up to what it may.
fn read(output: impl Read) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    output.take(CODE_BYTES_MAX + 2).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The end of a child that has closed its output; `None` when it does not come.
fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
            Ok(None) | Err(_) => return None,
        }
    }
}

fn kill(child: &mut Child) -> io::Result<ExitStatus> {
    child.kill()?;
    child.wait()
}

fn verdict(mut answer: Vec<u8>, ended: ExitStatus) -> Result<Vec<u8>, CompileError> {
    if answer.len() as u64 > CODE_BYTES_MAX + 1 {
        return Err(CompileError::Refused(format!(
            "its compiled code has more than {CODE_BYTES_MAX} bytes"
        )));
    }
    match (answer.first().copied(), ended.code()) {
        (Some(COMPILED), Some(code)) if code == i32::from(COMPILED) && answer.len() > 1 => {
            Ok(answer.split_off(1))
        }
        (Some(REFUSED), Some(code)) if code == i32::from(REFUSED) => {
            Err(CompileError::Refused(words(&answer[1..])))
        }
        (None, None) => Err(crash(ended)),
        (first, _) => {
            let said = if first.is_some() { words(&answer[1..]) } else { String::new() };
            Err(CompileError::Failed(format!("{PROGRAM} ended with {ended}: {said}")))
        }
    }
}

/// What the end of a child that said nothing means.
fn crash(ended: ExitStatus) -> CompileError {
    use std::os::unix::process::ExitStatusExt;
    match ended.signal() {
        Some(SIGXCPU) => CompileError::Refused(format!(
            "compiling it took more than {CPU_SECONDS_MAX} seconds of CPU"
        )),
        Some(SIGABRT | SIGSEGV) => CompileError::Refused(format!(
            "compiling it took more than {} MiB of memory, or too much stack",
            MEMORY_BYTES_MAX >> 20
        )),
        _ => CompileError::Failed(format!("{PROGRAM} ended with {ended}")),
    }
}

fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(WORDS_BYTES_MAX)]);
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests;
