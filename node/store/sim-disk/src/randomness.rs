//! SQLite's own generator of random numbers, from a seed.
//!
//! SQLite draws the salts of a WAL from one generator per process, which it seeds from the default
//! VFS when it is first used. So the default VFS is replaced by a copy of itself whose
//! `xRandomness` comes from our seed, and the generator is told to seed itself anew. Files opened
//! without a VFS name still go where they went before.
#![expect(unsafe_code, reason = "SQLite's VFS is a C interface")]

use std::ffi::{c_char, c_int};
use std::ptr;
use std::sync::{Mutex, Once, PoisonError};

use libsqlite3_sys as ffi;

use crate::chance::Chance;

static CHANCE: Mutex<Chance> = Mutex::new(Chance::new(0));
static REGISTERED: Once = Once::new();

/// Makes SQLite's random numbers repeat from here on: the same seed and the same calls in the same
/// order give the same bytes in every file.
///
/// The generator belongs to the whole process. Several disks share it well as long as one thread
/// uses them all, or threads take turns in an order that repeats; with threads that race, what each
/// of them draws is theirs alone to know, and no seed helps.
pub fn seed_sqlite_randomness(seed: u64) {
    *CHANCE.lock().unwrap_or_else(PoisonError::into_inner) = Chance::new(seed);
    REGISTERED.call_once(register);
    // SAFETY: no bytes to a null pointer is how SQLite is told to forget its seed.
    unsafe { ffi::sqlite3_randomness(0, ptr::null_mut()) };
}

fn register() {
    // SAFETY: SQLite may be initialised twice. The default VFS is never unregistered here, so the
    // copy's pointers stay good; the copy and its name live for ever.
    let code = unsafe {
        ffi::sqlite3_initialize();
        let mut vfs = *ffi::sqlite3_vfs_find(ptr::null());
        vfs.pNext = ptr::null_mut();
        vfs.zName = c"seeded".as_ptr();
        vfs.xRandomness = Some(x_randomness);
        ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 1)
    };
    assert_eq!(code, ffi::SQLITE_OK, "SQLite takes a VFS");
}

unsafe extern "C" fn x_randomness(
    _: *mut ffi::sqlite3_vfs,
    bytes: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite gives a buffer of `bytes` bytes.
    let out = unsafe { std::slice::from_raw_parts_mut(out.cast::<u8>(), bytes as usize) };
    CHANCE.lock().unwrap_or_else(PoisonError::into_inner).fill(out);
    bytes
}
