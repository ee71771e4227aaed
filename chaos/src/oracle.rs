//! The replay oracle for files: a recording of a node, from a simulation or from a real process
//! (`pgraft node --record`), is stepped through fresh replicas, which must give the same.
//! Comparing is pgraft-replay's.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use pgraft_node::clock;
use pgraft_replay::{MAGIC, Report, Stopped, replay};

/// A file that was replayed.
#[derive(Debug)]
pub struct Replayed {
    /// The file.
    pub file: PathBuf,
    /// What was replayed, or the first difference or damage.
    pub outcome: Result<Report, Box<Stopped>>,
    /// How long it took.
    pub seconds: f64,
}

impl Replayed {
    /// Whether all of the file is there and gave the same.
    pub fn is_same(&self) -> bool {
        self.outcome.is_ok()
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Replayed { file, outcome, seconds } = self;
        match outcome {
            Ok(report) => {
                let rate = report.steps as f64 / seconds.max(1e-9);
                write!(f, "same: {}: {report}; {seconds:.2} s, {rate:.0} steps/s", file.display())
            }
            Err(stopped) => write!(f, "{}: {stopped}", file.display()),
        }
    }
}

/// Whether the file begins as a recording does.
///
/// # Errors
/// When it cannot be read, in words.
pub fn is_recording(file: &Path) -> Result<bool, String> {
    let told = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut begin = Vec::new();
    let opened = File::open(file).map_err(told)?;
    opened.take(MAGIC.len() as u64).read_to_end(&mut begin).map_err(told)?;
    Ok(begin == MAGIC)
}

/// Replays a recording.
///
/// # Errors
/// When the file cannot be opened, in words; what is wrong inside is an outcome.
pub fn replay_file(file: &Path) -> Result<Replayed, String> {
    let opened = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let begin = clock::boottime_ns();
    let outcome = replay(BufReader::with_capacity(1 << 20, opened)).map_err(Box::new);
    let seconds = (clock::boottime_ns() - begin) as f64 / 1e9;
    Ok(Replayed { file: file.to_owned(), outcome, seconds })
}

/// Replays every recording of a folder, in the order of names.
///
/// # Errors
/// When the folder or a file cannot be opened, in words.
pub fn replay_folder(folder: &Path) -> Result<Vec<Replayed>, String> {
    let told = |error: std::io::Error| format!("read {}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(told)? {
        let file = entry.map_err(told)?.path();
        if file.extension().is_some_and(|end| end == "record") {
            files.push(file);
        }
    }
    files.sort();
    files.iter().map(|file| replay_file(file)).collect()
}
