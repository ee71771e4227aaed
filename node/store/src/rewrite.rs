//! Writes a file again as it is and syncs it, so that what this process reads is what lasts.
//!
//! After an fsync that failed, perhaps in the process before this one, the page cache may show
//! bytes that are not on the disk and that no later fsync will write, because their pages count as
//! clean. Writing them again makes the pages dirty again.

use std::path::Path;
use std::ptr;

use libsqlite3_sys as ffi;

use crate::disk::{c_path, call_vfs, code_fault};
use crate::{Disk, Fault};

/// Bytes read and written at once. SQLite's own VFS takes at most 0x1ffff of them in a call: it
/// masks the count, so that 1 MiB would be a write of nothing, reported as a full disk.
const BLOCK_BYTES: usize = 64 << 10;
const _: () = assert!(BLOCK_BYTES <= 0x1_ffff);

/// Rewrites the WAL of a database. The caller holds the lock that keeps other writers away.
pub(crate) fn rewrite_wal(disk: &Disk, database: &Path) -> Result<(), Fault> {
    let doing = "write the WAL again";
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    let path = Path::new(&name);
    if !disk.holds(path)? {
        return Ok(());
    }
    let code = call_vfs(disk, |vfs| {
        let flags = ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_WAL;
        match RawFile::open(vfs, path, flags) {
            Ok(mut file) => file.rewrite().err().unwrap_or(ffi::SQLITE_OK),
            Err(code) => code,
        }
    });
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(code_fault(doing, path, code)) }
}

/// A file opened through a VFS, without SQLite above it.
struct RawFile {
    /// What the VFS keeps per file; u64 for its alignment.
    memory: Vec<u64>,
    /// SQLite wants it to live as long as the file.
    name: std::ffi::CString,
}

impl RawFile {
    fn open(vfs: &ffi::sqlite3_vfs, path: &Path, flags: i32) -> Result<RawFile, i32> {
        let bytes = usize::try_from(vfs.szOsFile).expect("a size");
        let name = c_path(path);
        let mut file = RawFile { memory: vec![0; bytes.div_ceil(8)], name };
        let open = vfs.xOpen.expect("every SQLite VFS has xOpen");
        let (this, name) = (ptr::from_ref(vfs).cast_mut(), file.name.as_ptr());
        // SAFETY: the memory has the size the VFS asked for and is zeroed; the name ends in NUL and
        // lives in `file`.
        #[expect(unsafe_code, reason = "SQLite's VFS is a C interface")]
        let code = unsafe { open(this, name, file.handle(), flags, ptr::null_mut()) };
        if code == ffi::SQLITE_OK { Ok(file) } else { Err(code) }
    }

    fn handle(&mut self) -> *mut ffi::sqlite3_file {
        self.memory.as_mut_ptr().cast()
    }

    /// What to do with the file; `None` when opening it failed.
    fn methods(&mut self) -> Option<&'static ffi::sqlite3_io_methods> {
        // SAFETY: a VFS sets the field to NULL or to a table that is never freed.
        #[expect(unsafe_code, reason = "SQLite's VFS is a C interface")]
        unsafe {
            (*self.handle()).pMethods.as_ref()
        }
    }

    /// The result code of SQLite is the error.
    fn rewrite(&mut self) -> Result<(), i32> {
        let methods = self.methods().expect("an open file has methods");
        let (size, read) = (methods.xFileSize.expect("has"), methods.xRead.expect("has"));
        let (write, sync) = (methods.xWrite.expect("has"), methods.xSync.expect("has"));
        let done = |code| if code == ffi::SQLITE_OK { Ok(()) } else { Err(code) };
        let mut total: i64 = 0;
        // SAFETY: the file is open; `total` outlives the call.
        #[expect(unsafe_code, reason = "SQLite's VFS is a C interface")]
        done(unsafe { size(self.handle(), &raw mut total) })?;
        let mut block = vec![0_u8; BLOCK_BYTES];
        let mut at = 0;
        while at < total {
            let bytes = usize::try_from(total - at).map_or(BLOCK_BYTES, |n| n.min(BLOCK_BYTES));
            let count = i32::try_from(bytes).expect("BLOCK_BYTES fits i32");
            let buffer = block.as_mut_ptr().cast::<core::ffi::c_void>();
            // SAFETY: the file is open and the buffer holds at least `count` bytes.
            #[expect(unsafe_code, reason = "SQLite's VFS is a C interface")]
            unsafe {
                done(read(self.handle(), buffer, count, at))?;
                done(write(self.handle(), buffer, count, at))?;
            }
            at += i64::from(count);
        }
        // SAFETY: the file is open.
        #[expect(unsafe_code, reason = "SQLite's VFS is a C interface")]
        done(unsafe { sync(self.handle(), ffi::SQLITE_SYNC_NORMAL) })
    }
}

impl Drop for RawFile {
    fn drop(&mut self) {
        if let Some(close) = self.methods().and_then(|methods| methods.xClose) {
            // SAFETY: the file is open and not used again.
            #[expect(unsafe_code, reason = "SQLite's VFS is a C interface")]
            unsafe {
                close(self.handle());
            }
        }
    }
}
