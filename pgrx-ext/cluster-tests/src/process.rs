//! Signals to a server's processes, as /proc shows them.
//!
//! The processes of a server have a session each, so there is no process group to signal: the
//! postmaster is held first, so that it cannot start any more, and then its children are listed.

use std::fs;

use crate::until;

/// Children of `parent` now.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let list = fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// How `ps` would show it; PostgreSQL sets this to the role of the process.
pub(crate) fn title(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// Sends a signal; a process that has gone is no error.
pub(crate) fn signal(pid: u32, signal: i32) {
    let pid = i32::try_from(pid).expect("pids are positive and small");
    assert!(pid > 1, "never signal everything");
    // SAFETY: takes no pointers.
    #[expect(unsafe_code, reason = "no wrapper in std")]
    unsafe {
        libc::kill(pid, signal);
    }
}

/// The postmaster, held, and all its children.
pub(crate) fn hold(postmaster: u32) -> Vec<u32> {
    signal(postmaster, libc::SIGSTOP);
    until("the postmaster is held", || (state(postmaster)? == 'T').then_some(()));
    children(postmaster)
}

/// Waits until none of these runs any more; a zombie does not run.
pub(crate) fn wait_gone(pids: &[u32]) {
    until("the server's processes are gone", || {
        pids.iter().all(|pid| matches!(state(*pid), None | Some('Z' | 'X'))).then_some(())
    });
}

/// The letter that /proc has for the state of a process.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may contain anything, also a parenthesis.
    stat.rsplit_once(") ")?.1.chars().next()
}
