//! The two things a backend needs of a socket that std does not offer: connecting without ever
//! blocking, and waiting in a way that PostgreSQL can interrupt.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use pgrx::prelude::*;

/// A stream to the socket at `path`, in non-blocking mode.
///
/// # Errors
/// When nobody listens; also when the listener's queue is full, where a blocking `connect` would
/// wait without hearing a cancel.
pub(super) fn connect(path: &str) -> io::Result<UnixStream> {
    // SAFETY: all zeros is a valid address; the lengths are checked below.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    assert!(path.len() < address.sun_path.len(), "the path is a short constant");
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(path.bytes()) {
        *to = from as libc::c_char;
    }
    let flags = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_UNIX, flags, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, owned by nobody else.
    let stream = UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let length = libc::socklen_t::try_from(size_of_val(&address)).expect("110 bytes");
    // SAFETY: pointer and length of a live struct of the family it names.
    if unsafe { libc::connect(fd, (&raw const address).cast(), length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stream)
}

/// Whether the other side still has the connection open, and owes nothing on it.
pub(super) fn is_open(fd: RawFd) -> bool {
    let mut byte = 0u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: one byte of room is offered and there is one.
    let count = unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, flags) };
    // 0 is the end of the stream; a byte would be an answer to nothing.
    count < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

/// A wait event set that lives as long as its connection: latch, postmaster death, socket.
pub(super) struct WaitSet {
    set: *mut pg_sys::WaitEventSet,
    socket: i32,
    readiness: u32,
}

impl WaitSet {
    pub(super) fn new(stream: &UnixStream) -> WaitSet {
        let readiness = pg_sys::WL_SOCKET_READABLE;
        let nobody = std::ptr::null_mut();
        // SAFETY: on the backend's only thread; the set does not outlive latch or descriptor.
        unsafe {
            let set = create(3);
            let latch = pg_sys::MyLatch;
            pg_sys::AddWaitEventToSet(set, pg_sys::WL_LATCH_SET, NO_SOCKET, latch, nobody);
            let death = pg_sys::WL_EXIT_ON_PM_DEATH;
            pg_sys::AddWaitEventToSet(set, death, NO_SOCKET, std::ptr::null_mut(), nobody);
            let (fd, none) = (stream.as_raw_fd(), std::ptr::null_mut());
            let socket = pg_sys::AddWaitEventToSet(set, readiness, fd, none, nobody);
            WaitSet { set, socket, readiness }
        }
    }

    /// Waits until the socket is ready, the latch is set or the time has passed.
    pub(super) fn wait(&mut self, _stream: &UnixStream, readiness: u32, at_most: Duration) {
        // Rounded up: a wait of 0 ms would spin through the last millisecond.
        let millis = libc::c_long::try_from(at_most.as_millis()).unwrap_or(libc::c_long::MAX - 1);
        // SAFETY: as above; one event of room is offered and there is one.
        unsafe {
            if self.readiness != readiness {
                let none = std::ptr::null_mut();
                pg_sys::ModifyWaitEvent(self.set, self.socket, readiness, none);
                self.readiness = readiness;
            }
            let mut event: pg_sys::WaitEvent = std::mem::zeroed();
            let why = pg_sys::PG_WAIT_EXTENSION;
            pg_sys::WaitEventSetWait(self.set, millis + 1, &raw mut event, 1, why);
            if event.events & pg_sys::WL_LATCH_SET != 0 {
                pg_sys::ResetLatch(pg_sys::MyLatch);
            }
        }
    }
}

impl Drop for WaitSet {
    fn drop(&mut self) {
        // SAFETY: created in `new`, freed once.
        unsafe { pg_sys::FreeWaitEventSet(self.set) };
    }
}

const NO_SOCKET: pg_sys::pgsocket = -1;

/// A set that no resource owner and no transaction frees.
unsafe fn create(events: i32) -> *mut pg_sys::WaitEventSet {
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    // SAFETY: without an owner it lives in the top memory context.
    unsafe {
        pg_sys::CreateWaitEventSet(std::ptr::null_mut(), events)
    }
    #[cfg(not(any(feature = "pg17", feature = "pg18")))]
    // SAFETY: the top memory context lives as long as the process.
    unsafe {
        pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, events)
    }
}
