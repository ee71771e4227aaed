//! The worker that owns raft.db: one transaction and one fsync for all that waits (③ of the way
//! of a write). Any failure but a full disk ends the node; an fsync is never tried again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgraft_replica::{Fetch, Index, Persist};
use pgraft_store::{Ballast, Disk, Fault, FullDisk, LogStore, WhenFull};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::event::Event;
use crate::worker::{self, Ended};
use crate::world::World;

/// Jobs taken into one transaction.
const JOBS_MAX: usize = 512;

/// What the log writer is asked to do, in order.
#[derive(Debug)]
pub(crate) enum LogJob {
    /// Make durable; answered by `Event::Persisted`.
    Write(Persist),
    /// Let a received snapshot take the place of log and state.
    Install { task: Persist, generation: u64 },
    /// Read old entries; answered by `Event::Fetched`.
    Fetch(Fetch),
    /// Entries below are not needed any more.
    Truncate(Index),
}

/// Handle of the worker.
#[derive(Clone)]
pub(crate) struct LogWriter {
    world: Arc<dyn World>,
    jobs: UnboundedSender<LogJob>,
    /// Boot time in milliseconds since when a job waits or a call is in progress; 0 = neither.
    busy_since: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
}

impl LogWriter {
    /// Starts the worker; it ends when the last handle is gone.
    pub(crate) fn start(
        world: &Arc<dyn World>,
        store: LogStore,
        disk: &Disk,
        events: UnboundedSender<Event>,
    ) -> std::io::Result<(LogWriter, Ended)> {
        let (jobs, inbox) = unbounded_channel();
        let busy_since = Arc::new(AtomicU64::new(0));
        let writes = Arc::new(AtomicU64::new(0));
        let mut worker = Worker {
            world: Arc::clone(world),
            store,
            inbox,
            events: events.clone(),
            busy_since: Arc::clone(&busy_since),
            writes: Arc::clone(&writes),
            ballast: lay_out_ballast(world, disk)?,
        };
        let work = async move { worker.run().await.map_err(|fault| chain(&fault)) };
        let ended = worker::start(world, "log", events, work)?;
        Ok((LogWriter { world: Arc::clone(world), jobs, busy_since, writes }, ended))
    }

    /// Hands over a job; a worker that ended has already reported why.
    pub(crate) fn give(&self, job: LogJob) {
        let now = boottime_ms(&*self.world);
        let idle = self.busy_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        let _busy_already = idle;
        let _ended = self.jobs.send(job);
    }

    /// Transactions since start.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Milliseconds since when a job waits or a write is in progress; 0 when there is none.
    pub(crate) fn busy_ms(&self) -> u64 {
        match self.busy_since.load(Ordering::Relaxed) {
            0 => 0,
            since => boottime_ms(&*self.world).saturating_sub(since),
        }
    }
}

struct Worker {
    world: Arc<dyn World>,
    store: LogStore,
    inbox: UnboundedReceiver<LogJob>,
    events: UnboundedSender<Event>,
    busy_since: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
    /// `None` until it is laid out, which takes a moment and must not delay the first write.
    ballast: Arc<Mutex<Option<Ballast>>>,
}

impl Worker {
    async fn run(&mut self) -> Result<(), Fault> {
        let mut tasks = Vec::new();
        while let Some(job) = self.inbox.recv().await {
            let mut next = Some(job);
            while let Some(job) = next.take() {
                self.take(job, &mut tasks).await?;
                if tasks.len() < JOBS_MAX {
                    next = self.inbox.try_recv().ok();
                }
            }
            self.write(&mut tasks).await?;
            self.tidy_up().await?;
        }
        Ok(())
    }

    /// Writes are gathered; anything else first writes what was gathered, to keep the order.
    async fn take(&mut self, job: LogJob, tasks: &mut Vec<Persist>) -> Result<(), Fault> {
        match job {
            LogJob::Write(task) => tasks.push(task),
            LogJob::Truncate(index) => self.store.truncate_below(index),
            LogJob::Fetch(fetch) => {
                self.write(tasks).await?;
                let entries = self.timed(|store| store.read(fetch))?;
                self.tell(Event::Fetched { low: fetch.low, entries });
            }
            LogJob::Install { task, generation } => {
                self.write(tasks).await?;
                self.with_space(|store| store.install(&task, generation)).await?;
                self.tell(Event::Installed { task, generation });
            }
        }
        Ok(())
    }

    async fn write(&mut self, tasks: &mut Vec<Persist>) -> Result<(), Fault> {
        let Some(number) = tasks.last().map(|task| task.number) else { return Ok(()) };
        self.with_space(|store| store.write(tasks)).await?;
        tasks.clear();
        self.writes.fetch_add(1, Ordering::Relaxed);
        tracing::trace!(number, "way of a write: ③ log");
        self.tell(Event::Persisted(number));
        Ok(())
    }

    /// One call of the store, watched by the driver: a disk that hangs must not lead.
    fn timed<T>(&mut self, call: impl FnOnce(&mut LogStore) -> T) -> T {
        self.busy_since.store(boottime_ms(&*self.world), Ordering::Relaxed);
        let result = call(&mut self.store);
        let since = if self.inbox.is_empty() { 0 } else { boottime_ms(&*self.world) };
        self.busy_since.store(since, Ordering::Relaxed);
        result
    }

    /// Repeats a call while the disk is full and there is hope.
    async fn with_space(
        &mut self,
        call: impl Fn(&mut LogStore) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut full = FullDisk::default();
        loop {
            match self.timed(&call) {
                Err(fault) if fault.is_full() => self.make_space(fault, &mut full).await?,
                other => return other,
            }
        }
    }

    /// Nothing is acknowledged while the disk is full; returns when it is worth another try.
    async fn make_space(&mut self, fault: Fault, full: &mut FullDisk) -> Result<(), Fault> {
        tracing::error!(
            fault = chain(&fault),
            "disk full: nothing is acknowledged until it is not"
        );
        self.tell(Event::DiskFull);
        let held = self.ballast().as_ref().is_some_and(Ballast::held);
        match full.found(boottime_ms(&*self.world), held) {
            WhenFull::ReleaseBallast => self.ballast().as_mut().map_or(Ok(()), Ballast::release),
            WhenFull::RetryAfterMs(pause) => {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                Ok(())
            }
            WhenFull::Stop => Err(fault),
        }
    }

    /// Truncation and checkpoints wait for a quiet moment, off the acknowledgement path.
    async fn tidy_up(&mut self) -> Result<(), Fault> {
        while self.idle()? {
            match self.inbox.try_recv() {
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
                Ok(job) => {
                    let mut tasks = Vec::new();
                    self.take(job, &mut tasks).await?;
                    self.write(&mut tasks).await?;
                }
            }
        }
        Ok(())
    }

    /// A full disk only puts housekeeping off.
    fn idle(&mut self) -> Result<bool, Fault> {
        match self.timed(LogStore::idle) {
            Err(fault) if fault.is_full() => {
                tracing::warn!(fault = chain(&fault), "housekeeping waits for space");
                Ok(false)
            }
            other => other,
        }
    }

    fn ballast(&self) -> MutexGuard<'_, Option<Ballast>> {
        self.ballast.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: Event) {
        let _driver_ended = self.events.send(event);
    }
}

/// Keeps space back, beside everything else.
fn lay_out_ballast(
    world: &Arc<dyn World>,
    disk: &Disk,
) -> std::io::Result<Arc<Mutex<Option<Ballast>>>> {
    let ballast = Arc::new(Mutex::new(None));
    let (place, disk) = (Arc::clone(&ballast), disk.clone());
    let work = async move {
        match Ballast::open(&disk) {
            Ok(laid) => *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(laid),
            Err(fault) => tracing::warn!(fault = chain(&fault), "no space is kept back"),
        }
    };
    world.start("ballast", Box::pin(work))?;
    Ok(ballast)
}

/// Milliseconds of the world's boot time.
fn boottime_ms(world: &dyn World) -> u64 {
    world.boottime_ns() / 1_000_000
}

/// An error and all its sources on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
