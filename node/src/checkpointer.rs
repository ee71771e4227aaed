//! The thread that moves state.db's write-ahead log into the file, off the way of every write,
//! and tells the driver what is durable: the log may be truncated only below that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use pgraft_replica::Index;
use pgraft_store::{Checkpointer, Disk, OpenError};
use tokio::sync::mpsc::UnboundedSender;

use crate::event::Event;
use crate::log_writer::chain;

/// How often the size of the write-ahead log is looked at.
const LOOK_MS: u64 = 500;
/// A larger write-ahead log is moved at once.
const WAL_BYTES: u64 = 4 << 20;
/// A smaller one is moved after this many looks, so that an idle node ends with a clean file.
const LOOKS_MAX: u32 = 20;

/// Handle of the thread; it ends when the handle is gone.
pub(crate) struct CheckpointThread {
    _alive: Sender<()>,
    generation: Arc<AtomicU64>,
}

impl CheckpointThread {
    /// Starts the thread on a generation of state.db.
    pub(crate) fn start(
        disk: Disk,
        generation: u64,
        events: UnboundedSender<Event>,
    ) -> std::io::Result<(CheckpointThread, std::thread::JoinHandle<()>)> {
        let (alive, ended) = channel::<()>();
        let shared = Arc::new(AtomicU64::new(generation));
        let wanted = Arc::clone(&shared);
        let run = move || {
            let mut work = Work { disk, open: None, looks: 0, told: Index::ZERO };
            while let Err(RecvTimeoutError::Timeout) =
                ended.recv_timeout(Duration::from_millis(LOOK_MS))
            {
                match work.look(wanted.load(Ordering::Acquire)) {
                    Ok(None) => {}
                    Ok(Some(index)) => {
                        let _ended = events.send(Event::Durable(index));
                    }
                    Err(fault) => {
                        let why = format!("checkpoint: {}", chain(&fault));
                        let _ended = events.send(Event::Failed(why));
                        return;
                    }
                }
            }
        };
        let handle = std::thread::Builder::new().name("pgraft-ckpt".to_owned()).spawn(run)?;
        Ok((CheckpointThread { _alive: alive, generation: shared }, handle))
    }

    /// Goes on with a received snapshot.
    pub(crate) fn switch(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }
}

struct Work {
    disk: Disk,
    open: Option<(u64, Checkpointer)>,
    looks: u32,
    told: Index,
}

impl Work {
    fn look(&mut self, generation: u64) -> Result<Option<Index>, OpenError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != generation) {
            self.open = Some((generation, Checkpointer::open(&self.disk, generation)?));
        }
        let (_, checkpointer) = self.open.as_mut().expect("opened above");
        let bytes = checkpointer.wal_bytes()?;
        self.looks += 1;
        if bytes == 0 || (bytes < WAL_BYTES && self.looks < LOOKS_MAX) {
            return Ok(None);
        }
        self.looks = 0;
        let index = checkpointer.run()?;
        let news = index > self.told;
        self.told = self.told.max(index);
        Ok(news.then_some(index))
    }
}
