//! A recording of what a node's replica takes and gives, written to a file while the node runs.
//! What is written, and how it is replayed, is `pgraft-replay`'s.
//!
//! Recording never holds the node up and never stops it: bytes go to a thread of their own, and
//! when that falls behind, the disk fails, or the file is full, the recording ends, with a warning,
//! and the node goes on. What a recording then holds is still whole up to there.

use std::fs::{File, TryLockError};
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use pgraft_host::Applied;
use pgraft_replay::{Damage, Recorder, Records};
use pgraft_replica::{Config, Effects, Index, Input, Replica, Restored};

use crate::world::Observer;

/// Largest file.
pub const FILE_BYTES_MAX: u64 = 4 << 30;
/// Bytes that are gathered before they are handed over.
const CHUNK_BYTES: usize = 64 << 10;
/// What is gathered is handed over after this many steps at the latest: an idle node takes a
/// hundred in a second, and a crash loses no more.
const CHUNK_STEPS: u32 = 16;
/// Bytes that may wait for the disk.
const WAITING_BYTES_MAX: u64 = 64 << 20;

/// Why nothing can be recorded there.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file system said no.
    #[error("{doing} the recording {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process writes there.
    #[error("the recording {0} is in use by another process")]
    InUse(PathBuf),
    /// There is something else, or a recording that is damaged.
    #[error("nothing can be appended to {path}: {source}; move it away")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Damage,
    },
}

/// A recording that is being written; an observer of one node at a time.
pub struct Recording {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    recorder: Recorder,
    /// Steps since bytes were handed over.
    steps: u32,
    /// Bytes of the file when all that was handed over is written.
    bytes: u64,
    /// `None` when the recording ended.
    sink: Option<Sink>,
}

/// Where the bytes go.
enum Sink {
    /// Into the file at once.
    Here(File),
    /// To a thread that writes.
    Beside(Writer),
}

struct Writer {
    chunks: Sender<Vec<u8>>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    waiting: AtomicU64,
    failed: AtomicBool,
}

impl Recording {
    /// Records in the file, new or appended to, and writes where the node steps: for simulations.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn here(path: &Path) -> Result<Arc<Recording>, RecordingError> {
        Recording::open(path, |file| Ok(Sink::Here(file)))
    }

    /// Records in the file, new or appended to, and writes on a thread of its own.
    ///
    /// # Errors
    /// When the file cannot be used, or there is no thread.
    pub fn beside(path: &Path) -> Result<Arc<Recording>, RecordingError> {
        Recording::open(path, |file| {
            let shared = Arc::<Shared>::default();
            let (chunks, inbox) = channel();
            let (told, path) = (Arc::clone(&shared), path.to_owned());
            let thread = std::thread::Builder::new().name("pgraft-record".to_owned());
            let thread = thread.spawn(move || write(file, &inbox, &told, &path))?;
            Ok(Sink::Beside(Writer { chunks, shared, thread }))
        })
    }

    fn open(
        path: &Path,
        sink: impl FnOnce(File) -> io::Result<Sink>,
    ) -> Result<Arc<Recording>, RecordingError> {
        let failed = |doing| {
            let path = path.to_owned();
            move |source| RecordingError::Io { doing, path, source }
        };
        let mut options = File::options();
        options.create(true).truncate(false).read(true).write(true);
        // It holds what clients wrote.
        let file = options.mode(0o600).open(path);
        let mut file = file.map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RecordingError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
        let (recorder, bytes) = resume(&file, path)?;
        file.set_len(bytes).map_err(failed("cut"))?;
        file.seek(SeekFrom::Start(bytes)).map_err(failed("seek in"))?;
        let sink = sink(file).map_err(failed("start the thread of"))?;
        let inner = Inner { recorder, steps: 0, bytes, sink: Some(sink) };
        let recording = Recording { path: path.to_owned(), inner: Mutex::new(inner) };
        recording.hand_over(&mut recording.inner());
        Ok(Arc::new(recording))
    }

    /// Ends the recording, and returns when all of it is written; `why` is for people.
    pub fn end(&self, why: &str) {
        let mut inner = self.inner();
        if inner.sink.is_some() {
            inner.recorder.ended(why);
            self.hand_over(&mut inner);
        }
        if let Some(Sink::Beside(Writer { chunks, thread, .. })) = inner.sink.take() {
            drop(chunks);
            let _panic_told_by_the_hook = thread.join();
        }
    }

    /// Gives what was gathered to the disk.
    fn hand_over(&self, inner: &mut Inner) {
        inner.steps = 0;
        let (bytes, path) = (inner.recorder.take(), self.path.display());
        inner.bytes += bytes.len() as u64;
        let done = match &mut inner.sink {
            Some(Sink::Here(file)) => file.write_all(&bytes).map_err(|error| error.to_string()),
            Some(Sink::Beside(writer)) => writer.give(bytes),
            None => return,
        };
        if let Err(why) = done {
            tracing::warn!(%path, why, "recording ended");
            inner.sink = None;
        }
    }

    /// After every record: hands over what is due, and ends a recording that cannot go on.
    fn tend(&self, inner: &mut Inner) {
        inner.steps += 1;
        let full = inner.bytes + inner.recorder.waiting() as u64 >= FILE_BYTES_MAX;
        if full || inner.recorder.is_broken() {
            let why = if full { "the file is full" } else { "a record is too large" };
            tracing::warn!(path = %self.path.display(), why, "recording ended");
            inner.recorder.ended(why);
            self.hand_over(inner);
            inner.sink = None;
        } else if inner.recorder.waiting() >= CHUNK_BYTES || inner.steps >= CHUNK_STEPS {
            self.hand_over(inner);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a file is gone on with, and how long it is then: a record that was cut by a kill goes.
fn resume(file: &File, path: &Path) -> Result<(Recorder, u64), RecordingError> {
    let damaged = |source| RecordingError::Damaged { path: path.to_owned(), source };
    let length = file.metadata().map_err(|error| damaged(Damage::Io(error)))?.len();
    if length == 0 {
        return Ok((Recorder::new(), 0));
    }
    let mut records = match Records::open(BufReader::with_capacity(1 << 20, file)) {
        Ok(records) => records,
        Err(Damage::Cut { .. }) => return Ok((Recorder::new(), 0)),
        Err(damage) => return Err(damaged(damage)),
    };
    loop {
        match records.skip() {
            Ok(true) => {}
            Ok(false) => break,
            Err(Damage::Cut { record, .. }) => {
                let path = path.display();
                tracing::warn!(%path, record, "a record was cut and is removed");
                break;
            }
            Err(damage) => return Err(damaged(damage)),
        }
    }
    Ok((Recorder::resume(records.number()), records.offset()))
}

impl Writer {
    fn give(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        if self.shared.failed.load(Ordering::Relaxed) {
            return Err("the file could not be written".to_owned());
        }
        let more = bytes.len() as u64;
        let waiting = self.shared.waiting.fetch_add(more, Ordering::Relaxed) + more;
        if waiting > WAITING_BYTES_MAX {
            return Err(format!("{waiting} bytes wait for the disk"));
        }
        self.chunks.send(bytes).map_err(|_| "the thread that writes is gone".to_owned())
    }
}

/// Writes chunks until there are no more or the disk fails.
fn write(mut file: File, inbox: &Receiver<Vec<u8>>, shared: &Shared, path: &Path) {
    while let Ok(chunk) = inbox.recv() {
        if let Err(error) = file.write_all(&chunk) {
            tracing::warn!(path = %path.display(), %error, "write the recording");
            shared.failed.store(true, Ordering::Relaxed);
            return;
        }
        shared.waiting.fetch_sub(chunk.len() as u64, Ordering::Relaxed);
    }
}

impl Observer for Recording {
    fn started(&self, config: &Config, restored: &Restored) {
        let mut inner = self.inner();
        if inner.sink.is_some() {
            inner.recorder.started(config, restored);
            self.hand_over(&mut inner);
        }
    }

    fn stepping(&self, input: &Input) {
        let mut inner = self.inner();
        if inner.sink.is_some() {
            inner.recorder.stepping(input);
        }
    }

    fn stepped(&self, _input: &Input, effects: &Effects, replica: &Replica) {
        let mut inner = self.inner();
        if inner.sink.is_some() {
            inner.recorder.stepped(effects, &replica.view());
            self.tend(&mut inner);
        }
    }

    fn applied(&self, _applied: &[Applied], _digests: &(Index, Vec<(u32, u128)>)) {}
}

#[cfg(test)]
mod tests;
