//! The thread that moves state.db's write-ahead log into the file, off the way of every write,
//! and tells the driver what is durable: the log may be truncated only below that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pgraft_replica::Index;
use pgraft_store::{Checkpointer, Disk, OpenError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::event::Event;
use crate::log_writer::chain;
use crate::worker::{self, Ended};
use crate::world::World;

/// How often the size of the write-ahead log is looked at, at least.
const LOOK_MS: u64 = 500;
/// A larger write-ahead log is moved at once.
const WAL_BYTES: u64 = 4 << 20;

/// Handle of the worker; it ends when the handle is gone.
pub(crate) struct CheckpointWorker {
    _alive: oneshot::Sender<()>,
    generation: Arc<AtomicU64>,
}

impl CheckpointWorker {
    /// Starts the worker on a generation of state.db. A small write-ahead log is moved every
    /// `every_ms` milliseconds, so that an idle node ends with a clean file.
    pub(crate) fn start(
        world: &Arc<dyn World>,
        disk: Disk,
        generation: u64,
        every_ms: u64,
        events: UnboundedSender<Event>,
    ) -> std::io::Result<(CheckpointWorker, Ended)> {
        let (alive, mut over) = oneshot::channel::<()>();
        let shared = Arc::new(AtomicU64::new(generation));
        let wanted = Arc::clone(&shared);
        let news = events.clone();
        let work = async move {
            let look_ms = LOOK_MS.min(every_ms);
            let looks_max = every_ms / look_ms.max(1);
            let mut work = Work { disk, open: None, looks: 0, looks_max, told: Index::ZERO };
            while timeout(Duration::from_millis(look_ms), &mut over).await.is_err() {
                match work.look(&wanted) {
                    Ok(None) => {}
                    Ok(Some(index)) => {
                        let _ended = news.send(Event::Durable(index));
                    }
                    Err(OpenError::Fault(fault)) if fault.is_full() => {
                        tracing::warn!(fault = chain(&fault), "the checkpoint waits for space");
                    }
                    Err(error) => return Err(chain(&error)),
                }
            }
            Ok(())
        };
        let ended = worker::start(world, "checkpoint", events, work)?;
        Ok((CheckpointWorker { _alive: alive, generation: shared }, ended))
    }

    /// Goes on with a received snapshot.
    pub(crate) fn switch(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }
}

struct Work {
    disk: Disk,
    open: Option<(u64, Checkpointer)>,
    looks: u64,
    looks_max: u64,
    told: Index,
}

impl Work {
    fn look(&mut self, wanted: &AtomicU64) -> Result<Option<Index>, OpenError> {
        let generation = wanted.load(Ordering::Acquire);
        if self.open.as_ref().is_none_or(|(open, _)| *open != generation) {
            self.open = None;
            match Checkpointer::open(&self.disk, generation) {
                Ok(checkpointer) => self.open = Some((generation, checkpointer)),
                // A snapshot took its place between the two lines above: look again later.
                Err(OpenError::Missing { .. }) if wanted.load(Ordering::Acquire) != generation => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        let (_, checkpointer) = self.open.as_mut().expect("opened above");
        let bytes = checkpointer.wal_bytes()?;
        self.looks += 1;
        if bytes == 0 || (bytes < WAL_BYTES && self.looks < self.looks_max) {
            return Ok(None);
        }
        self.looks = 0;
        let index = checkpointer.run()?;
        let news = index > self.told;
        self.told = self.told.max(index);
        Ok(news.then_some(index))
    }
}
