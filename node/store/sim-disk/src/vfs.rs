//! The C side: one SQLite VFS per disk, whose calls end in `state.rs`.
//!
//! Promises to SQLite what the unix VFS promises (sectors of 4 KiB, powersafe overwrite), so that
//! it writes here as it writes in production.
#![expect(unsafe_code, reason = "SQLite's VFS is a C interface")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libsqlite3_sys as ffi;

use crate::file::FileData;
use crate::locks::{FileLocks, Region};
use crate::orders::{Call, Failure, Verdict};
use crate::state::State;

/// A registered VFS. Never freed: SQLite may hold its address; taken again by later disks.
#[derive(Debug)]
pub(crate) struct Slot {
    name: CString,
    state: Mutex<State>,
}

static FREE: Mutex<(Vec<&'static Slot>, usize)> = Mutex::new((Vec::new(), 0));

impl Slot {
    pub(crate) fn take() -> &'static Slot {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = free.0.pop() {
            return slot;
        }
        free.1 += 1;
        let name = CString::new(format!("sim-disk-{}", free.1)).expect("digits have no NUL");
        let slot = Box::leak(Box::new(Slot { name, state: Mutex::new(State::new(0, 0)) }));
        register(slot);
        slot
    }

    pub(crate) fn give_back(&'static self) {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).0.push(self);
    }

    pub(crate) fn name(&self) -> String {
        self.name.to_str().expect("made of ASCII").to_owned()
    }

    pub(crate) fn with<R>(&self, call: impl FnOnce(&mut State) -> R) -> R {
        let mut state: MutexGuard<'_, State> =
            self.state.lock().unwrap_or_else(PoisonError::into_inner);
        call(&mut state)
    }
}

fn register(slot: &'static Slot) {
    // SAFETY: zeros are valid for a structure of integers, pointers and optional functions.
    let mut vfs: ffi::sqlite3_vfs = unsafe { std::mem::zeroed() };
    vfs.iVersion = 2;
    vfs.szOsFile = size_of::<SimFile>() as c_int;
    vfs.mxPathname = 1_024;
    vfs.zName = slot.name.as_ptr();
    vfs.pAppData = ptr::from_ref(slot).cast_mut().cast();
    vfs.xOpen = Some(x_open);
    vfs.xDelete = Some(x_delete);
    vfs.xAccess = Some(x_access);
    vfs.xFullPathname = Some(x_full_pathname);
    vfs.xRandomness = Some(x_randomness);
    vfs.xSleep = Some(x_sleep);
    vfs.xCurrentTime = Some(x_current_time);
    vfs.xCurrentTimeInt64 = Some(x_current_time_int64);
    vfs.xGetLastError = Some(x_get_last_error);
    let vfs = Box::leak(Box::new(vfs));
    // SAFETY: `vfs` and all it points to live for ever.
    let code = unsafe {
        ffi::sqlite3_initialize();
        ffi::sqlite3_vfs_register(vfs, 0)
    };
    assert_eq!(code, ffi::SQLITE_OK, "SQLite takes a VFS");
}

/// What SQLite allocates per open file.
#[repr(C)]
struct SimFile {
    base: ffi::sqlite3_file,
    open: *mut OpenFile,
}

/// One open file of one connection.
struct OpenFile {
    slot: &'static Slot,
    name: String,
    holder: u64,
    epoch: u64,
    /// The unix VFS syncs the directory with the first sync of a journal or WAL it created.
    sync_directory: bool,
    regions: BTreeMap<usize, Arc<Region>>,
}

static HOLDERS: Mutex<u64> = Mutex::new(0);

impl OpenFile {
    /// Runs `call` on the file; `dead` when the process or the disk behind the handle is gone.
    fn file(&self, dead: c_int, call: impl FnOnce(&mut FileData) -> c_int) -> c_int {
        self.slot.with(|state| {
            if state.epoch != self.epoch || state.frozen {
                return dead;
            }
            state.file(&self.name).map_or(dead, call)
        })
    }

    /// Runs `call` on the locks of the file; `dead` as above.
    fn locks(&self, dead: c_int, call: impl FnOnce(&mut FileLocks) -> c_int) -> c_int {
        self.slot.with(|state| {
            if state.epoch != self.epoch || state.frozen || state.file(&self.name).is_none() {
                return dead;
            }
            call(state.locks(&self.name))
        })
    }

    /// Runs a changing call of a kind; `failed` is its error code. `done` learns whether a write
    /// is to go elsewhere.
    fn change(
        &self,
        call: Call,
        failed: c_int,
        done: impl FnOnce(&mut State, bool) -> c_int,
    ) -> c_int {
        self.slot.with(|state| {
            if state.epoch != self.epoch || state.file(&self.name).is_none() {
                return failed;
            }
            match state.change(call) {
                Verdict::Go => done(state, false),
                Verdict::Misdirected => done(state, true),
                Verdict::Fail(Failure::Full) if call == Call::Write => ffi::SQLITE_FULL,
                Verdict::Fail(Failure::Full) => done(state, false),
                Verdict::Fail(Failure::Io) => {
                    if call == Call::Sync {
                        state.sync_failed(&self.name);
                    }
                    failed
                }
                Verdict::Frozen => failed,
            }
        })
    }
}

/// # Safety
/// `file` must have been opened by `x_open` and not be closed.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut OpenFile {
    // SAFETY: `x_open` put a leaked box there; SQLite uses a file from one thread at a time.
    unsafe { &mut *(*file.cast::<SimFile>()).open }
}

/// # Safety
/// `name` must end in NUL.
unsafe fn text(name: *const c_char) -> String {
    // SAFETY: the caller's.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

/// # Safety
/// `vfs` must be one of ours.
unsafe fn slot_of(vfs: *mut ffi::sqlite3_vfs) -> &'static Slot {
    // SAFETY: `register` put a slot there, which lives for ever.
    unsafe { &*(*vfs).pAppData.cast::<Slot>() }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(x_close),
    xRead: Some(x_read),
    xWrite: Some(x_write),
    xTruncate: Some(x_truncate),
    xSync: Some(x_sync),
    xFileSize: Some(x_file_size),
    xLock: Some(x_lock),
    xUnlock: Some(x_unlock),
    xCheckReservedLock: Some(x_check_reserved_lock),
    xFileControl: Some(x_file_control),
    xSectorSize: Some(x_sector_size),
    xDeviceCharacteristics: Some(x_device_characteristics),
    xShmMap: Some(x_shm_map),
    xShmLock: Some(x_shm_lock),
    xShmBarrier: Some(x_shm_barrier),
    xShmUnmap: Some(x_shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

// SAFETY of the functions below: SQLite calls them with what the documentation of `sqlite3_vfs` and
// `sqlite3_io_methods` says: files opened by `x_open`, names that end in NUL, buffers of the given
// length, and places for results.

unsafe extern "C" fn x_open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let slot = unsafe { slot_of(vfs) };
    unsafe { (*file).pMethods = ptr::null() };
    if name.is_null() {
        // Temporary files: `temp_store=MEMORY` is set, nobody needs them.
        return ffi::SQLITE_CANTOPEN;
    }
    let name = unsafe { text(name) };
    let create = flags & ffi::SQLITE_OPEN_CREATE != 0;
    let journal = flags & (ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_WAL) != 0;
    let outcome = slot.with(|state| {
        let present = state.file(&name).is_some();
        if present && !state.frozen {
            return Ok(state.epoch);
        }
        if !present && !create {
            return Err(ffi::SQLITE_CANTOPEN);
        }
        match state.change(Call::Create) {
            Verdict::Go | Verdict::Misdirected => {
                state.create(&name);
                Ok(state.epoch)
            }
            Verdict::Fail(Failure::Full) => Err(ffi::SQLITE_FULL),
            Verdict::Fail(Failure::Io) | Verdict::Frozen => Err(ffi::SQLITE_IOERR),
        }
    });
    let epoch = match outcome {
        Ok(epoch) => epoch,
        Err(code) => return code,
    };
    let mut holders = HOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
    *holders += 1;
    let (holder, sync_directory, regions) = (*holders, create && journal, BTreeMap::new());
    let open = OpenFile { slot, name, holder, epoch, sync_directory, regions };
    unsafe {
        (*file.cast::<SimFile>()).open = Box::into_raw(Box::new(open));
        (*file).pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_close(file: *mut ffi::sqlite3_file) -> c_int {
    let open = unsafe { Box::from_raw((*file.cast::<SimFile>()).open) };
    open.slot.with(|state| {
        if state.epoch == open.epoch && state.file(&open.name).is_some() {
            state.locks(&open.name).release(open.holder);
        }
    });
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    bytes: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    let out = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), bytes as usize) };
    unsafe { opened(file) }.file(ffi::SQLITE_IOERR_READ, |file| {
        let contents = file.contents();
        let from = contents.len().min(at as usize);
        let have = (contents.len() - from).min(out.len());
        out[..have].copy_from_slice(&contents[from..from + have]);
        out[have..].fill(0);
        if have == out.len() { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ }
    })
}

unsafe extern "C" fn x_write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    bytes: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    let data = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), bytes as usize) };
    let open = unsafe { opened(file) };
    open.change(Call::Write, ffi::SQLITE_IOERR_WRITE, |state, misdirected| {
        let meant = at as usize;
        let at = if misdirected { state.elsewhere(&open.name, meant) } else { meant };
        if state.write(&open.name, at, data) { ffi::SQLITE_OK } else { ffi::SQLITE_FULL }
    })
}

unsafe extern "C" fn x_truncate(file: *mut ffi::sqlite3_file, bytes: ffi::sqlite3_int64) -> c_int {
    let open = unsafe { opened(file) };
    open.change(Call::Truncate, ffi::SQLITE_IOERR_TRUNCATE, |state, _| {
        let file = state.file(&open.name).expect("looked up by `change`");
        file.truncate(bytes as usize);
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn x_sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    let open = unsafe { opened(file) };
    let sync_directory = std::mem::take(&mut open.sync_directory);
    open.change(Call::Sync, ffi::SQLITE_IOERR_FSYNC, |state, _| {
        state.sync(&open.name);
        if sync_directory {
            state.sync_directory();
        }
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn x_file_size(
    file: *mut ffi::sqlite3_file,
    size: *mut ffi::sqlite3_int64,
) -> c_int {
    unsafe { opened(file) }.file(ffi::SQLITE_IOERR_FSTAT, |file| {
        unsafe { *size = file.contents().len() as ffi::sqlite3_int64 };
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn x_lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    let open = unsafe { opened(file) };
    open.locks(ffi::SQLITE_IOERR_LOCK, |locks| busy_unless(locks.lock(open.holder, level)))
}

unsafe extern "C" fn x_unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    let open = unsafe { opened(file) };
    // A dead handle has lost its locks already.
    open.locks(ffi::SQLITE_OK, |locks| {
        locks.unlock(open.holder, level);
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn x_check_reserved_lock(
    file: *mut ffi::sqlite3_file,
    reserved: *mut c_int,
) -> c_int {
    unsafe { opened(file) }.locks(ffi::SQLITE_IOERR_CHECKRESERVEDLOCK, |locks| {
        unsafe { *reserved = c_int::from(locks.reserved()) };
        ffi::SQLITE_OK
    })
}

fn busy_unless(free: bool) -> c_int {
    if free { ffi::SQLITE_OK } else { ffi::SQLITE_BUSY }
}

unsafe extern "C" fn x_file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn x_sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4_096
}

unsafe extern "C" fn x_device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn x_shm_map(
    file: *mut ffi::sqlite3_file,
    place: c_int,
    bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    let open = unsafe { opened(file) };
    let (holder, place) = (open.holder, place as usize);
    let mut region = None;
    let code = open.locks(ffi::SQLITE_IOERR_SHMMAP, |locks| {
        region = locks.map(holder, place, bytes as usize, extend != 0);
        ffi::SQLITE_OK
    });
    unsafe { *out = region.as_ref().map_or(ptr::null_mut(), |region| region.start()) };
    open.regions.extend(region.map(|region| (place, region)));
    code
}

unsafe extern "C" fn x_shm_lock(
    file: *mut ffi::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    let open = unsafe { opened(file) };
    let slots = first as usize..(first + count) as usize;
    // A dead handle has lost its locks already.
    let dead = if flags & ffi::SQLITE_SHM_UNLOCK == 0 {
        ffi::SQLITE_IOERR_SHMLOCK
    } else {
        ffi::SQLITE_OK
    };
    open.locks(dead, |locks| busy_unless(locks.shm_lock(open.holder, slots, flags)))
}

unsafe extern "C" fn x_shm_barrier(_: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn x_shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    let open = unsafe { opened(file) };
    let holder = open.holder;
    let code = open.locks(ffi::SQLITE_OK, |locks| {
        locks.unmap(holder, delete != 0);
        ffi::SQLITE_OK
    });
    open.regions.clear();
    code
}

unsafe extern "C" fn x_delete(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    sync_directory: c_int,
) -> c_int {
    let name = unsafe { text(name) };
    unsafe { slot_of(vfs) }.with(|state| match state.change(Call::Delete) {
        Verdict::Frozen | Verdict::Fail(Failure::Io) => ffi::SQLITE_IOERR_DELETE,
        Verdict::Go | Verdict::Misdirected | Verdict::Fail(Failure::Full) => {
            let present = state.delete(&name);
            if sync_directory != 0 {
                state.sync_directory();
            }
            if present { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_DELETE_NOENT }
        }
    })
}

unsafe extern "C" fn x_access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    found: *mut c_int,
) -> c_int {
    let name = unsafe { text(name) };
    let present = unsafe { slot_of(vfs) }.with(|state| state.file(&name).is_some());
    unsafe { *found = c_int::from(present) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_full_pathname(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    bytes: c_int,
    out: *mut c_char,
) -> c_int {
    let name = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if name.len() > bytes as usize {
        return ffi::SQLITE_CANTOPEN;
    }
    unsafe { ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_randomness(
    vfs: *mut ffi::sqlite3_vfs,
    bytes: c_int,
    out: *mut c_char,
) -> c_int {
    let out = unsafe { std::slice::from_raw_parts_mut(out.cast::<u8>(), bytes as usize) };
    unsafe { slot_of(vfs) }.with(|state| state.chance.fill(out));
    bytes
}

unsafe extern "C" fn x_sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    // Time stands still; whoever is in the way gets its turn.
    std::thread::yield_now();
    microseconds
}

unsafe extern "C" fn x_current_time_int64(
    _: *mut ffi::sqlite3_vfs,
    out: *mut ffi::sqlite3_int64,
) -> c_int {
    /// The Unix epoch as a Julian day, in milliseconds.
    const UNIX_EPOCH_MS: ffi::sqlite3_int64 = 210_866_760_000_000;
    unsafe { *out = UNIX_EPOCH_MS };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_current_time(vfs: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    const DAY_MS: f64 = 86_400_000.0;
    let mut now = 0;
    unsafe {
        x_current_time_int64(vfs, &raw mut now);
        *out = now as f64 / DAY_MS;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_get_last_error(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}
