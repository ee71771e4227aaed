//! The one file that reads clocks.
//!
//! Wall time only stamps entries (and is made monotonic when they are applied); all waiting is
//! monotonic. CLOCK_BOOTTIME also counts while a virtual machine sleeps, so a node that was
//! suspended notices.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds; 0 for a clock before 1970.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Nanoseconds of CLOCK_BOOTTIME: comparable between processes of one machine.
pub fn boottime_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "clock_gettime has no safe wrapper in std for BOOTTIME")]
    // SAFETY: `now` is a valid timespec for the length of the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    assert_eq!(result, 0, "CLOCK_BOOTTIME exists since Linux 2.6.39");
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Milliseconds of CLOCK_BOOTTIME.
pub fn boottime_ms() -> u64 {
    boottime_ns() / 1_000_000
}
