//! Where the databases lie, and the few things done to files as a whole.
//!
//! Files are asked for and deleted through the same SQLite VFS that holds the databases, so that a
//! simulated disk sees it all. The contents are SQLite's business, not ours.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use libsqlite3_sys as ffi;

use crate::Fault;
use crate::limits::GENERATIONS_PROBED_MAX;

const LOG_NAME: &str = "raft.db";
const STATE_PREFIX: &str = "state-";
const STATE_SUFFIX: &str = ".db";
/// What SQLite may keep beside a database.
const SIDE_SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The data directory of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Must exist.
    pub dir: PathBuf,
    /// Name of a registered SQLite VFS; `None` is the operating system's files.
    pub vfs: Option<String>,
}

impl Disk {
    /// The directory `dir` on the operating system's disk.
    pub fn new(dir: impl Into<PathBuf>) -> Disk {
        Disk { dir: dir.into(), vfs: None }
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.dir.join(LOG_NAME)
    }

    pub(crate) fn state_path(&self, generation: u64) -> PathBuf {
        self.dir.join(format!("{STATE_PREFIX}{generation}{STATE_SUFFIX}"))
    }

    pub(crate) fn vfs_name(&self) -> Option<CString> {
        self.vfs.as_ref().map(|name| CString::new(name.as_str()).expect("a VFS name has no NUL"))
    }

    /// Whether the file is there.
    pub(crate) fn holds(&self, path: &Path) -> Result<bool, Fault> {
        let name = c_path(path);
        let mut found = 0;
        let code = call_vfs(self, |vfs| {
            let access = vfs_method(vfs.xAccess);
            let this = ptr::from_ref(vfs).cast_mut();
            // SAFETY: `vfs` is registered and is not unregistered while the process runs; `name`
            // and `found` outlive the call.
            #[expect(unsafe_code, reason = "SQLite's VFS is a C interface")]
            unsafe {
                access(this, name.as_ptr(), ffi::SQLITE_ACCESS_EXISTS, &raw mut found)
            }
        });
        if code == ffi::SQLITE_OK {
            Ok(found != 0)
        } else {
            Err(code_fault("look for", path, code))
        }
    }

    /// Deletes a database and what SQLite keeps beside it. Absent files are fine.
    ///
    /// The database goes last: without it, the others mean nothing to SQLite.
    pub(crate) fn remove_database(&self, path: &Path) -> Result<(), Fault> {
        for suffix in SIDE_SUFFIXES {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            self.remove_file(Path::new(&name))?;
        }
        self.remove_file(path)
    }

    pub(crate) fn remove_file(&self, path: &Path) -> Result<(), Fault> {
        let code = self.delete(path, false);
        if matches!(code, ffi::SQLITE_OK | ffi::SQLITE_IOERR_DELETE_NOENT) {
            Ok(())
        } else {
            Err(code_fault("delete", path, code))
        }
    }

    /// Makes created and deleted names durable.
    pub(crate) fn sync_directory(&self) -> Result<(), Fault> {
        let doing = "fsync the data directory";
        if self.vfs.is_none() {
            return File::open(&self.dir)
                .and_then(|dir| dir.sync_all())
                .map_err(|error| io_fault(doing, &self.dir, error));
        }
        // A VFS has no call for it but a deletion with `syncDir`; the name need not exist.
        match self.delete(&self.dir.join("directory-sync"), true) {
            ffi::SQLITE_OK | ffi::SQLITE_IOERR_DELETE_NOENT => Ok(()),
            code => Err(code_fault(doing, &self.dir, code)),
        }
    }

    fn delete(&self, path: &Path, sync: bool) -> i32 {
        let name = c_path(path);
        call_vfs(self, |vfs| {
            let delete = vfs_method(vfs.xDelete);
            let this = ptr::from_ref(vfs).cast_mut();
            // SAFETY: as in `holds`.
            #[expect(unsafe_code, reason = "SQLite's VFS is a C interface")]
            unsafe {
                delete(this, name.as_ptr(), i32::from(sync))
            }
        })
    }

    /// The generations of which any file exists, ascending.
    pub(crate) fn generations(&self) -> Result<Vec<u64>, Fault> {
        if self.vfs.is_some() {
            return self.generations_by_probing();
        }
        let doing = "list the data directory";
        let listing =
            std::fs::read_dir(&self.dir).map_err(|error| io_fault(doing, &self.dir, error))?;
        let mut found = Vec::new();
        for item in listing {
            let item = item.map_err(|error| io_fault(doing, &self.dir, error))?;
            found.extend(item.file_name().to_str().and_then(generation_of));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn generations_by_probing(&self) -> Result<Vec<u64>, Fault> {
        let mut found = Vec::new();
        for generation in 0..GENERATIONS_PROBED_MAX {
            let database = self.state_path(generation);
            let mut any = self.holds(&database)?;
            for suffix in SIDE_SUFFIXES {
                let mut name = database.as_os_str().to_owned();
                name.push(suffix);
                any |= self.holds(Path::new(&name))?;
            }
            if any {
                found.push(generation);
            }
        }
        Ok(found)
    }
}

/// Deletes the files of every generation of state.db but `keep`. Called at start and after an
/// installed snapshot, when no connection to another generation is open any more.
///
/// # Errors
/// When the directory cannot be read or a file cannot be deleted.
pub fn remove_other_generations(disk: &Disk, keep: u64) -> Result<(), Fault> {
    remove_generations(disk, |generation| generation != keep)
}

/// Deletes the files of every generation below `keep`, and leaves one that is being received.
///
/// # Errors
/// When the directory cannot be read or a file cannot be deleted.
pub fn remove_older_generations(disk: &Disk, keep: u64) -> Result<(), Fault> {
    remove_generations(disk, |generation| generation < keep)
}

fn remove_generations(disk: &Disk, goes: impl Fn(u64) -> bool) -> Result<(), Fault> {
    let mut removed = false;
    for generation in disk.generations()? {
        if goes(generation) {
            disk.remove_database(&disk.state_path(generation))?;
            removed = true;
        }
    }
    if removed { disk.sync_directory() } else { Ok(()) }
}

/// `state-12.db` and `state-12.db-wal` are of generation 12; `state-012.db` is not ours.
fn generation_of(name: &str) -> Option<u64> {
    let database =
        SIDE_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    let digits = database.strip_prefix(STATE_PREFIX)?.strip_suffix(STATE_SUFFIX)?;
    let generation: u64 = digits.parse().ok()?;
    (generation.to_string() == digits).then_some(generation)
}

pub(crate) fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path has no NUL")
}

fn vfs_method<F>(method: Option<F>) -> F {
    method.expect("every SQLite VFS has xAccess and xDelete")
}

pub(crate) fn call_vfs(disk: &Disk, call: impl FnOnce(&ffi::sqlite3_vfs) -> i32) -> i32 {
    let name = disk.vfs_name();
    let name = name.as_deref().map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: the name is NULL or ends in NUL. Initialising twice is allowed. A VFS that was found
    // stays: nothing in this program unregisters one.
    #[expect(unsafe_code, reason = "SQLite's VFS is a C interface")]
    let vfs = unsafe {
        ffi::sqlite3_initialize();
        ffi::sqlite3_vfs_find(name).as_ref()
    };
    call(vfs.expect("the VFS of a Disk is registered before the Disk is used"))
}

fn io_fault(doing: &'static str, path: &Path, error: io::Error) -> Fault {
    Fault::Io { doing, path: path.to_owned(), source: Box::new(error) }
}

pub(crate) fn code_fault(doing: &'static str, path: &Path, code: i32) -> Fault {
    Fault::sqlite(doing, path, rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_names_are_taken_literally() {
        assert_eq!(generation_of("state-12.db"), Some(12));
        assert_eq!(generation_of("state-0.db-wal"), Some(0));
        for foreign in ["state-012.db", "state-.db", "state-1.db.old", "raft.db", "state--1.db"] {
            assert_eq!(generation_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn other_generations_are_removed_with_their_side_files() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["state-1.db", "state-2.db", "state-2.db-wal", "state-3.db-shm", "raft.db"];
        for name in names {
            File::create(dir.path().join(name)).unwrap();
        }
        remove_other_generations(&Disk::new(dir.path()), 1).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["raft.db", "state-1.db"]);
    }
}
