//! The account that servers run as: PostgreSQL refuses to run as root.

use std::ffi::CStr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// User and group for child processes; `None` when this process is not root and simply goes on
/// as itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account(Option<(u32, u32)>);

impl Account {
    /// `postgres` where it exists, else `nobody`.
    pub(crate) fn for_servers() -> Account {
        // SAFETY: takes nothing.
        #[expect(unsafe_code, reason = "no wrapper in std")]
        let root = unsafe { libc::geteuid() } == 0;
        if !root {
            return Account(None);
        }
        let found = [c"postgres", c"nobody"].into_iter().find_map(look_up);
        Account(Some(found.expect("every Linux has the account nobody")))
    }

    /// Makes `command` run as the account, and die with the thread that starts it.
    pub(crate) fn apply(self, command: &mut Command) {
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        // SAFETY: between fork and exec only a system call is made. After the change of user,
        // which would clear it.
        #[expect(unsafe_code, reason = "no wrapper in std")]
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGQUIT);
                Ok(())
            });
        }
    }

    /// Gives a file or folder to the account.
    pub(crate) fn own(self, path: &std::path::Path) {
        if let Some((user, group)) = self.0 {
            let owned = std::os::unix::fs::chown(path, Some(user), Some(group));
            owned.unwrap_or_else(|e| panic!("chown {}: {e}", path.display()));
        }
    }
}

fn look_up(name: &CStr) -> Option<(u32, u32)> {
    // SAFETY: the string ends in zero; the result is read before any other look-up of this
    // thread, and tests look up from one thread at a time.
    #[expect(unsafe_code, reason = "no wrapper in std")]
    unsafe {
        let entry = libc::getpwnam(name.as_ptr());
        if entry.is_null() { None } else { Some(((*entry).pw_uid, (*entry).pw_gid)) }
    }
}
