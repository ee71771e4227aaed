//! Space kept back for the day the disk is full, and what to do on that day (RAFT.md 2.6).
//!
//! Not here: who stops taking proposals and who hands leadership over. The driver asks, this
//! answers. Time comes in from the caller.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::limits::{BALLAST_BYTES, BALLAST_FREE_FACTOR, FULL_RETRY_MS_MIN, FULL_STOP_MS};
use crate::{Disk, Fault};

const NAME: &str = "ballast";

/// A file whose only purpose is its size. On a simulated disk there is none: nothing else of the
/// node's is outside SQLite, and the space such a disk has is the simulation's to give.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    held: bool,
}

impl Ballast {
    /// Keeps [`BALLAST_BYTES`] back when at least [`BALLAST_FREE_FACTOR`] times as much is free;
    /// finds the file of an earlier start.
    ///
    /// # Errors
    /// When the disk fails. A disk with too little space is no error; there is no ballast then.
    pub fn open(disk: &Disk) -> Result<Ballast, Fault> {
        Ballast::open_sized(disk, BALLAST_BYTES)
    }

    fn open_sized(disk: &Disk, bytes: u64) -> Result<Ballast, Fault> {
        let path = disk.dir.join(NAME);
        if disk.vfs.is_some() {
            return Ok(Ballast { path, held: false });
        }
        let fault = |source: io::Error| Fault::Io {
            doing: "keep space back",
            path: path.clone(),
            source: Box::new(source),
        };
        let present = match fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(fault(error)),
        };
        if present == bytes {
            return Ok(Ballast { path, held: true });
        }
        remove(&path).map_err(fault)?;
        if free_bytes(&disk.dir).map_err(fault)? < bytes.saturating_mul(BALLAST_FREE_FACTOR) {
            return Ok(Ballast { path, held: false });
        }
        match fill(&path, bytes) {
            Ok(()) => Ok(Ballast { path, held: true }),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                remove(&path).map_err(fault)?;
                Ok(Ballast { path, held: false })
            }
            Err(error) => Err(fault(error)),
        }
    }

    /// Whether there is space to release.
    pub fn held(&self) -> bool {
        self.held
    }

    /// Gives the space back; it is taken again at the next start that finds enough free.
    ///
    /// # Errors
    /// When the file cannot be deleted.
    pub fn release(&mut self) -> Result<(), Fault> {
        self.held = false;
        remove(&self.path).map_err(|source| Fault::Io {
            doing: "release the space kept back",
            path: self.path.clone(),
            source: Box::new(source),
        })
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Written and not only extended, so that the blocks are really taken; bytes that no file system
/// compresses away.
fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    const BLOCK_BYTES: usize = 64 << 10;
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut left = bytes;
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            // xorshift64, Marsaglia 2003.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        file.write_all(&block[..part])?;
        left -= part as u64;
    }
    file.sync_all()
}

/// Bytes an unprivileged process may still write.
fn free_bytes(dir: &Path) -> io::Result<u64> {
    use std::os::fd::AsRawFd;
    let dir = File::open(dir)?;
    // SAFETY: `statvfs` is plain integers, for which zeros are valid; the descriptor is open and
    // the structure outlives the call.
    #[expect(unsafe_code, reason = "std cannot ask for free space")]
    let (code, found) = unsafe {
        let mut found: libc::statvfs = std::mem::zeroed();
        (libc::fstatvfs(dir.as_raw_fd(), &raw mut found), found)
    };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// What the driver must do after [`Fault::Full`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Stop taking proposals, hand leadership over, release the ballast, and try again at once.
    ReleaseBallast,
    /// Try again after so many milliseconds. Leadership is handed over at the first of these, too.
    RetryAfterMs(u64),
    /// It lasted too long: end the process.
    Stop,
}

/// Decides what follows a full disk: ballast first, then retries with growing pauses, then the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct FullDisk {
    since_ms: Option<u64>,
    pause_ms: u64,
}

impl FullDisk {
    /// The disk was found full at `now_ms` (monotonic milliseconds).
    pub fn found(&mut self, now_ms: u64, ballast_held: bool) -> WhenFull {
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        if ballast_held {
            return WhenFull::ReleaseBallast;
        }
        let spent_ms = now_ms.saturating_sub(since_ms);
        if spent_ms >= FULL_STOP_MS {
            return WhenFull::Stop;
        }
        self.pause_ms = (self.pause_ms * 2).clamp(FULL_RETRY_MS_MIN, FULL_STOP_MS - spent_ms);
        WhenFull::RetryAfterMs(self.pause_ms)
    }

    /// A write went through: the episode is over.
    pub fn passed(&mut self) {
        *self = FullDisk::default();
    }

    /// True between the first full disk and the next write that went through.
    pub fn is_full(&self) -> bool {
        self.since_ms.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballast_is_kept_found_again_and_released() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path());
        let path = dir.path().join(NAME);
        assert!(Ballast::open_sized(&disk, 100_000).unwrap().held());
        assert_eq!(fs::metadata(&path).unwrap().len(), 100_000);
        let mut again = Ballast::open_sized(&disk, 100_000).unwrap();
        again.release().unwrap();
        again.release().unwrap();
        assert!(!again.held() && !path.exists());
        fs::write(&path, b"cut short by a crash").unwrap();
        assert!(Ballast::open_sized(&disk, 100_000).unwrap().held());
        assert_eq!(fs::metadata(&path).unwrap().len(), 100_000);
    }

    #[test]
    fn ballast_is_not_kept_on_a_small_disk() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path());
        assert!(!Ballast::open_sized(&disk, u64::MAX / 2).unwrap().held());
        assert!(!dir.path().join(NAME).exists());
    }

    #[test]
    fn full_disk_releases_ballast_then_retries_then_stops() {
        let mut full = FullDisk::default();
        assert_eq!(full.found(1_000, true), WhenFull::ReleaseBallast);
        let mut now = 1_000;
        let mut pauses = Vec::new();
        while let WhenFull::RetryAfterMs(pause) = full.found(now, false) {
            pauses.push(pause);
            now += pause;
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 3_700]);
        assert_eq!(now, 1_000 + FULL_STOP_MS);
        full.passed();
        assert_eq!(full.found(50_000, false), WhenFull::RetryAfterMs(100));
    }
}
