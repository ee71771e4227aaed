//! The world as it is: sockets, clocks, threads and random numbers of the operating system.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pgraft_transport::{AnyNet, Tcp};

use crate::clock;
use crate::unix::Unix;
use crate::world::{Observer, Work, World};

/// Bytes of stack: a guest may use half of it, the host's frames come on top.
const STACK_BYTES: usize = 8 << 20;

/// The operating system.
pub(crate) struct OperatingSystem {
    tcp: Tcp,
    socket: PathBuf,
    observer: Option<Arc<dyn Observer>>,
}

impl OperatingSystem {
    /// `socket` is where clients come in; data may stay unacknowledged for `user_timeout` before
    /// a connection to a peer is given up.
    pub(crate) fn new(
        socket: PathBuf,
        user_timeout: Duration,
        observer: Option<Arc<dyn Observer>>,
    ) -> OperatingSystem {
        let tcp = Tcp { user_timeout, ..Tcp::default() };
        OperatingSystem { tcp, socket, observer }
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

    fn observer(&self) -> Option<Arc<dyn Observer>> {
        self.observer.clone()
    }
}
