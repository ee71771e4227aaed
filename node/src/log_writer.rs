//! The thread that owns raft.db: one transaction and one fsync for all that waits (③ of the way
//! of a write). Any failure but a full disk ends the node; an fsync is never tried again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pgraft_replica::{Fetch, Index, Persist};
use pgraft_store::{Ballast, Disk, Fault, FullDisk, LogStore, WhenFull};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock;
use crate::event::Event;

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

/// Handle of the thread.
#[derive(Clone)]
pub(crate) struct LogWriter {
    jobs: Sender<LogJob>,
    /// CLOCK_BOOTTIME milliseconds at which the write in progress began; 0 = none.
    busy_since: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
}

impl LogWriter {
    /// Starts the thread; it ends when the last handle is gone.
    pub(crate) fn start(
        store: LogStore,
        disk: &Disk,
        events: UnboundedSender<Event>,
    ) -> std::io::Result<(LogWriter, std::thread::JoinHandle<()>)> {
        let (jobs, inbox) = channel();
        let busy_since = Arc::new(AtomicU64::new(0));
        let writes = Arc::new(AtomicU64::new(0));
        let mut thread = Thread {
            store,
            inbox,
            events: events.clone(),
            busy_since: Arc::clone(&busy_since),
            writes: Arc::clone(&writes),
            ballast: lay_out_ballast(disk)?,
        };
        let run = move || thread.run().map_err(|fault| chain(&fault));
        let handle = crate::thread::start("log", events, run)?;
        Ok((LogWriter { jobs, busy_since, writes }, handle))
    }

    /// Hands over a job; a thread that ended has already reported why.
    pub(crate) fn give(&self, job: LogJob) {
        let _ended = self.jobs.send(job);
    }

    /// Transactions since start.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Milliseconds that the write in progress has taken; 0 when there is none.
    pub(crate) fn busy_ms(&self) -> u64 {
        match self.busy_since.load(Ordering::Relaxed) {
            0 => 0,
            since => clock::boottime_ms().saturating_sub(since),
        }
    }
}

struct Thread {
    store: LogStore,
    inbox: Receiver<LogJob>,
    events: UnboundedSender<Event>,
    busy_since: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
    /// `None` until it is laid out, which takes a moment and must not delay the first write.
    ballast: Arc<Mutex<Option<Ballast>>>,
}

impl Thread {
    fn run(&mut self) -> Result<(), Fault> {
        let mut tasks = Vec::new();
        while let Ok(job) = self.inbox.recv() {
            let mut next = Some(job);
            while let Some(job) = next.take() {
                self.take(job, &mut tasks)?;
                if tasks.len() < JOBS_MAX {
                    next = self.inbox.try_recv().ok();
                }
            }
            self.write(&mut tasks)?;
            self.tidy_up()?;
        }
        Ok(())
    }

    /// Writes are gathered; anything else first writes what was gathered, to keep the order.
    fn take(&mut self, job: LogJob, tasks: &mut Vec<Persist>) -> Result<(), Fault> {
        match job {
            LogJob::Write(task) => tasks.push(task),
            LogJob::Truncate(index) => self.store.truncate_below(index),
            LogJob::Fetch(fetch) => {
                self.write(tasks)?;
                let entries = self.timed(|store| store.read(fetch))?;
                self.tell(Event::Fetched { low: fetch.low, entries });
            }
            LogJob::Install { task, generation } => {
                self.write(tasks)?;
                self.with_space(|store| store.install(&task, generation))?;
                self.tell(Event::Installed { task, generation });
            }
        }
        Ok(())
    }

    fn write(&mut self, tasks: &mut Vec<Persist>) -> Result<(), Fault> {
        let Some(number) = tasks.last().map(|task| task.number) else { return Ok(()) };
        self.with_space(|store| store.write(tasks))?;
        tasks.clear();
        self.writes.fetch_add(1, Ordering::Relaxed);
        tracing::trace!(number, "way of a write: ③ log");
        self.tell(Event::Persisted(number));
        Ok(())
    }

    /// One call of the store, watched by the driver: a disk that hangs must not lead.
    fn timed<T>(&mut self, call: impl FnOnce(&mut LogStore) -> T) -> T {
        self.busy_since.store(clock::boottime_ms(), Ordering::Relaxed);
        let result = call(&mut self.store);
        self.busy_since.store(0, Ordering::Relaxed);
        result
    }

    /// Repeats a call while the disk is full and there is hope.
    fn with_space(
        &mut self,
        call: impl Fn(&mut LogStore) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut full = FullDisk::default();
        loop {
            match self.timed(&call) {
                Err(fault) if fault.is_full() => self.make_space(fault, &mut full)?,
                other => return other,
            }
        }
    }

    /// Nothing is acknowledged while the disk is full; returns when it is worth another try.
    fn make_space(&self, fault: Fault, full: &mut FullDisk) -> Result<(), Fault> {
        let mut ballast = self.ballast.lock().unwrap_or_else(PoisonError::into_inner);
        let held = ballast.as_ref().is_some_and(Ballast::held);
        tracing::error!(
            fault = chain(&fault),
            "disk full: nothing is acknowledged until it is not"
        );
        self.tell(Event::DiskFull);
        match full.found(clock::boottime_ms(), held) {
            WhenFull::ReleaseBallast => ballast.as_mut().map_or(Ok(()), Ballast::release),
            WhenFull::RetryAfterMs(pause) => {
                std::thread::sleep(Duration::from_millis(pause));
                Ok(())
            }
            WhenFull::Stop => Err(fault),
        }
    }

    /// Truncation and checkpoints wait for a quiet moment, off the acknowledgement path.
    fn tidy_up(&mut self) -> Result<(), Fault> {
        while self.idle()? {
            match self.inbox.try_recv() {
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
                Ok(job) => {
                    let mut tasks = Vec::new();
                    self.take(job, &mut tasks)?;
                    self.write(&mut tasks)?;
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

    fn tell(&self, event: Event) {
        let _driver_ended = self.events.send(event);
    }
}

/// Keeps space back on a thread of its own.
fn lay_out_ballast(disk: &Disk) -> std::io::Result<Arc<Mutex<Option<Ballast>>>> {
    let ballast = Arc::new(Mutex::new(None));
    let (place, disk) = (Arc::clone(&ballast), disk.clone());
    let run = move || match Ballast::open(&disk) {
        Ok(laid) => *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(laid),
        Err(fault) => tracing::warn!(fault = chain(&fault), "no space is kept back"),
    };
    std::thread::Builder::new().name("pgraft-ballast".to_owned()).spawn(run)?;
    Ok(ballast)
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
