//! How the node's threads wake the worker's main thread: an eventfd beside its latch.
//!
//! Not a latch: `SetLatch` is a call into PostgreSQL, which other threads must not make.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Rung by any thread, heard by the one that waits for the descriptor to become readable.
pub(crate) struct Bell(File);

impl Bell {
    /// # Errors
    /// When the process has no descriptor left.
    pub(crate) fn new() -> std::io::Result<Bell> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: just opened, owned by nobody else.
        Ok(Bell(File::from(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// Wakes the listener. Never blocks; many rings before it listens count as one.
    pub(crate) fn ring(&self) {
        // It fails only when the counter is full, and then the listener wakes anyway.
        let _full = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Silences the bell until it is rung again.
    pub(crate) fn answer(&self) {
        let mut count = [0; 8];
        // It fails only when nobody rang.
        let _silent = (&self.0).read(&mut count);
    }

    /// What to wait for.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
