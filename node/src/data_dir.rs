//! The data directory: created once, bound to its place, opened by one process.
//!
//! A base backup or a file copy clones a node's identity and a torn SQLite file with it; two nodes
//! of one identity could vote twice. So the directory remembers where it was made (device and
//! inode) and a copy is refused. Not here: what stands in the databases (pgraft-store).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The file system said no.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("data directory {0} is in use by another node process")]
    InUse(PathBuf),
    /// Copied from somewhere else.
    #[error(
        "data directory {path} is a copy: it was made as {made}. A copied node would vote twice. \
         Remove the directory and join as a new member; or, if you moved it and the original is \
         gone for good, create the empty file {path}/moved and start again"
    )]
    Copied {
        /// The directory.
        path: PathBuf,
        /// Where it was made.
        made: String,
    },
}

/// An open, locked data directory. The lock ends with the value.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    unclean: bool,
    _lock: File,
}

const HOME: &str = "home";
const LOCK: &str = "lock";
const MOVED: &str = "moved";
/// There while a node runs; found at a start, the last run did not end cleanly.
const RUNNING: &str = "running";
/// state.db was checked and does not add up.
const STATE_DAMAGED: &str = "state-damaged";

impl DataDir {
    /// Creates the directory (mode 0700) when absent, locks it, and checks that it is the
    /// original.
    ///
    /// # Errors
    /// When it cannot be created, is in use, or is a copy.
    pub(crate) fn open(path: &Path) -> Result<DataDir, DataDirError> {
        fs::create_dir_all(path).map_err(failed("create data directory", path))?;
        set_private(path)?;
        let lock = lock(path)?;
        let running = path.join(RUNNING);
        let dir = DataDir { path: path.to_owned(), unclean: running.exists(), _lock: lock };
        dir.check_home()?;
        let made = File::create(&running).and_then(|file| file.sync_all());
        made.map_err(failed("create", &running))?;
        Ok(dir)
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the last run did not end cleanly.
    pub(crate) fn unclean(&self) -> bool {
        self.unclean
    }

    /// This run ended cleanly.
    pub(crate) fn closed(&self) {
        // Left behind, it costs the next start a check.
        let _still_there = fs::remove_file(self.path.join(RUNNING));
    }

    fn check_home(&self) -> Result<(), DataDirError> {
        let here = self.place()?;
        let (home, moved) = (self.path.join(HOME), self.path.join(MOVED));
        match fs::read_to_string(&home) {
            Ok(made) if made.trim_end() == here => Ok(()),
            Ok(made) if !moved.exists() && !same_place(&made, &here) => {
                Err(DataDirError::Copied { path: self.path.clone(), made: made.trim().to_owned() })
            }
            Ok(_) => {
                self.write_home(&here)?;
                match fs::remove_file(&moved) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        Err(failed("remove", &moved)(error))
                    }
                    _ => Ok(()),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.write_home(&here),
            Err(error) => Err(failed("read", &home)(error)),
        }
    }

    /// Device, inode and path: a copy has another inode, a rename keeps it.
    fn place(&self) -> Result<String, DataDirError> {
        let meta = fs::metadata(&self.path).map_err(failed("inspect", &self.path))?;
        let path = fs::canonicalize(&self.path).map_err(failed("resolve", &self.path))?;
        Ok(format!("{} {} {}", meta.dev(), meta.ino(), path.display()))
    }

    fn write_home(&self, here: &str) -> Result<(), DataDirError> {
        let (home, temporary) = (self.path.join(HOME), self.path.join("home.new"));
        let write = || {
            let mut file = File::create(&temporary)?;
            writeln!(file, "{here}")?;
            file.sync_all()?;
            fs::rename(&temporary, &home)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(failed("write", &home))
    }
}

/// Remembers that a generation of state.db does not add up.
pub(crate) fn state_is_damaged(dir: &Path, generation: u64) -> io::Result<()> {
    let mut file = File::create(dir.join(STATE_DAMAGED))?;
    writeln!(file, "{generation}")?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}

/// Whether [`state_is_damaged`] was called since the state was last fetched or rebuilt.
pub(crate) fn is_state_damaged(dir: &Path, generation: u64) -> bool {
    let remembered = fs::read_to_string(dir.join(STATE_DAMAGED));
    remembered.is_ok_and(|text| text.trim_end() == generation.to_string())
}

/// The state was fetched or rebuilt.
pub(crate) fn state_is_whole(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(STATE_DAMAGED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A rename keeps device and inode; a reboot may change the device's number, but neither the
/// inode nor the path. A copy changes the inode.
fn same_place(made: &str, here: &str) -> bool {
    let place = |text: &str| {
        let mut words = text.trim_end().splitn(3, ' ').map(str::to_owned);
        (words.next(), words.next(), words.next())
    };
    let ((made_device, made_inode, made_path), (device, inode, path)) = (place(made), place(here));
    made_inode == inode && (made_device == device || made_path == path)
}

fn set_private(path: &Path) -> Result<(), DataDirError> {
    use std::os::unix::fs::PermissionsExt;
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(path, private).map_err(failed("make private", path))
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let name = path.join(LOCK);
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).open(&name);
    let file = file.map_err(failed("open", &name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(failed("lock", &name)(error)),
    }
}

fn failed(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { doing, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reopening_works_and_a_second_process_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataDir::open(&path).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::InUse(_))));
        assert!(!first.unclean(), "there was no run before");
        drop(first);
        let second = DataDir::open(&path).unwrap();
        assert!(second.unclean(), "the first run was not closed");
        second.closed();
        drop(second);
        assert!(!DataDir::open(&path).unwrap().unclean());
    }

    #[test]
    fn a_renamed_directory_is_still_the_original() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        drop(DataDir::open(&old).unwrap());
        fs::rename(&old, &new).unwrap();
        DataDir::open(&new).unwrap();
    }

    #[test]
    fn a_copy_is_refused_until_the_operator_says_that_it_was_moved() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        drop(DataDir::open(&old).unwrap());
        fs::create_dir(&new).unwrap();
        fs::copy(old.join(HOME), new.join(HOME)).unwrap();
        assert!(matches!(DataDir::open(&new), Err(DataDirError::Copied { .. })));
        File::create(new.join(MOVED)).unwrap();
        drop(DataDir::open(&new).unwrap());
        assert!(!new.join(MOVED).exists(), "the permission is for one start");
        DataDir::open(&new).unwrap();
    }
}
