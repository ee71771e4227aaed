//! What can go wrong with this machine's disk, and what each case means for the node.
//!
//! No rejection is in here: a store never says no, it works or the machine failed.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::decode::Malformed;

/// The error of SQLite or of the operating system below a fault.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// This machine's disk failed. Except for [`Fault::Full`] the store refuses every later call, and
/// the process must end and recover on its next start: an fsync that failed once may succeed the
/// second time although the pages are lost (RAFT.md 2.6).
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No space is left. The transaction was undone and may be tried again once there is space.
    #[error("{doing} in {}: no space left on the disk", path.display())]
    Full {
        /// What was being done.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// SQLite's error.
        source: Source,
    },
    /// The disk or SQLite failed.
    #[error("{doing} in {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// SQLite's or the operating system's error.
        source: Source,
    },
    /// The file does not hold what was written to it.
    #[error("{doing} in {}: damaged: {what}", path.display())]
    Damaged {
        /// What was being done.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The store was used after a fault.
    #[error("{} failed before and is not used again until the process restarts", path.display())]
    Broken {
        /// Which file.
        path: PathBuf,
    },
}

impl Fault {
    /// True when making space and trying again is right; otherwise the process must end.
    pub fn is_full(&self) -> bool {
        matches!(self, Fault::Full { .. })
    }

    pub(crate) fn sqlite(doing: &'static str, path: &Path, error: rusqlite::Error) -> Fault {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Fault::Full { doing, path, source: Box::new(error) },
            // Unknown is an error in SQL: the tables are not those this program created. No code at
            // all is a value of another type than this program writes.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
            | None => Fault::Damaged { doing, path, what: error.to_string() },
            _ => Fault::Io { doing, path, source: Box::new(error) },
        }
    }

    pub(crate) fn damaged(doing: &'static str, path: &Path, what: impl ToString) -> Fault {
        Fault::Damaged { doing, path: path.to_owned(), what: what.to_string() }
    }
}

/// Names what was being done when SQLite failed.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, Fault>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, Fault> {
        self.map_err(|error| Fault::sqlite(doing, path, error))
    }
}

impl<T> Doing<T> for Result<T, Malformed> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, Fault> {
        self.map_err(|malformed| Fault::damaged(doing, path, malformed))
    }
}

/// Why a database cannot be used. The text is for the operator and says the way out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none.
    #[error("{} does not exist", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error(
        "{} is in use by another process; a data directory belongs to one running node, stop the \
         other one first",
        path.display()
    )]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// Written by a newer program.
    #[error(
        "{} has format version {found}, this program knows versions up to {known}; install the \
         newer program again",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version this program can read.
        known: u32,
    },
    /// Written by a program so old that nobody migrates its files.
    #[error(
        "{} has format version {found}, this program migrates versions from {oldest}; start a \
         release in between first",
        path.display()
    )]
    Older {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The oldest version this program can migrate.
        oldest: u32,
    },
    /// raft.db is damaged. Nothing this node promised can be relied upon.
    #[error(
        "{} is damaged: {what}. This node may have forgotten votes and entries it confirmed, so it \
         must not take part again under its id. Way out: stop it, move the data directory away, \
         remove the member from the cluster, add it again as a new member (with a new id), and \
         start it with an empty data directory",
        path.display()
    )]
    DamagedLog {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// state-N.db is damaged: throw the generation away and fetch a snapshot from a peer.
    #[error(
        "{} is damaged: {what}. It is rebuilt from the log or from a peer's snapshot",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The disk failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a snapshot was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The stream is not what a [`crate::SnapshotSource`] writes.
    #[error("malformed snapshot: {0}")]
    Malformed(String),
    /// The stream is whole, and of another state than was announced.
    #[error("snapshot does not match: {0}")]
    Mismatch(String),
    /// This machine's disk failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}
