//! The world as it is: sockets, clocks, threads and random numbers of the operating system.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pgraft_host::CodeCache;
use pgraft_transport::{AnyNet, Tcp};
use tokio::sync::oneshot;

use crate::clock;
use crate::compiler::{self, CompileError};
use crate::unix::Unix;
use crate::world::{Compiling, Observer, Work, World};

/// Bytes of stack: a guest may use half of it, the host's frames come on top.
const STACK_BYTES: usize = 8 << 20;

/// The operating system.
pub(crate) struct OperatingSystem {
    tcp: Tcp,
    socket: PathBuf,
    compiler: Option<PathBuf>,
    observer: Option<Arc<dyn Observer>>,
}

impl OperatingSystem {
    /// `socket` is where clients come in, `compiler` the program that compiles modules if it is not
    /// the one beside this program; data may stay unacknowledged for `user_timeout` before
    /// a connection to a peer is given up.
    pub(crate) fn new(
        socket: PathBuf,
        compiler: Option<PathBuf>,
        user_timeout: Duration,
        observer: Option<Arc<dyn Observer>>,
    ) -> OperatingSystem {
        let tcp = Tcp { user_timeout, ..Tcp::default() };
        OperatingSystem { tcp, socket, compiler, observer }
    }
}

impl World for OperatingSystem {
    fn peers(&self) -> AnyNet {
        AnyNet::new(self.tcp.clone())
    }

    fn clients(&self) -> (AnyNet, String) {
        (AnyNet::new(Unix { path: self.socket.clone() }), self.socket.display().to_string())
    }

    fn wall_ms(&self) -> u64 {
        clock::wall_ms()
    }

    fn boottime_ns(&self) -> u64 {
        clock::boottime_ns()
    }

    fn random(&self) -> Result<u64, String> {
        getrandom::u64().map_err(|error| format!("the system gives no random numbers: {error}"))
    }

    fn start(&self, name: &str, work: Work) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = std::thread::Builder::new().name(format!("pgraft-{name}"));
        thread.stack_size(STACK_BYTES).spawn(move || runtime.block_on(work))?;
        Ok(())
    }

    fn compile(&self, component: Arc<[u8]>) -> Compiling {
        let program = self.compiler.clone().unwrap_or_else(compiler::helper_program);
        let (told, compiled) = oneshot::channel();
        // A thread of its own: it mostly waits for the helper.
        let work = move || {
            let _gone = told.send(compiler::compile(&program, &component));
        };
        let started = std::thread::Builder::new().name("pgraft-compile".to_owned()).spawn(work);
        Box::pin(async move {
            started.map_err(|error| CompileError::Failed(format!("start a thread: {error}")))?;
            let died = || CompileError::Failed("the thread that waits for the compiler".to_owned());
            compiled.await.unwrap_or_else(|_| Err(died()))
        })
    }

    fn code_cache(&self, dir: &Path) -> Option<CodeCache> {
        Some(CodeCache::new(&dir.join("code")))
    }

    fn observer(&self) -> Option<Arc<dyn Observer>> {
        self.observer.clone()
    }
}
