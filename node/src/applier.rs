//! The worker that owns state.db: applies committed entries in the machines (⑥ of the way of a
//! write), as many per transaction as wait.

use std::sync::Arc;
use std::time::Duration;

use pgraft_host::{Applied, Applier, Fault, Machines};
use pgraft_replica::{Committed, Persist};
use pgraft_store::{Disk, FullDisk, StateStore, WhenFull};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::event::{ApplierReport, Event};
use crate::log_writer::chain;
use crate::worker::{self, Ended};
use crate::world::World;

/// Entries in one transaction of state.db.
const ENTRIES_MAX: usize = 1024;

/// What the applier is asked to do, in order.
#[derive(Debug)]
pub(crate) enum ApplyJob {
    /// Apply; answered by `Event::Applied`.
    Apply(Vec<Committed>),
    /// Go on with a received snapshot; answered by `Event::Switched`.
    Switch { task: Persist, generation: u64 },
}

/// Handle of the worker; it ends when the handle is gone.
pub(crate) struct ApplyWorker {
    jobs: UnboundedSender<ApplyJob>,
}

impl ApplyWorker {
    /// Starts the worker with an opened applier.
    pub(crate) fn start(
        world: &Arc<dyn World>,
        machines: Arc<Machines>,
        disk: Disk,
        applier: Applier,
        events: UnboundedSender<Event>,
    ) -> std::io::Result<(ApplyWorker, Ended)> {
        let (jobs, inbox) = unbounded_channel();
        let told = events.clone();
        let worker = Worker { world: Arc::clone(world), machines, disk, events: told };
        let work = async move { worker.run(inbox, applier).await.map_err(|fault| chain(&fault)) };
        let ended = worker::start(world, "apply", events, work)?;
        Ok((ApplyWorker { jobs }, ended))
    }

    /// Hands over a job; a worker that ended has already reported why.
    pub(crate) fn give(&self, job: ApplyJob) {
        let _ended = self.jobs.send(job);
    }
}

struct Worker {
    world: Arc<dyn World>,
    machines: Arc<Machines>,
    disk: Disk,
    events: UnboundedSender<Event>,
}

impl Worker {
    async fn run(
        &self,
        mut inbox: UnboundedReceiver<ApplyJob>,
        mut applier: Applier,
    ) -> Result<(), Fault> {
        let mut batch: Vec<Committed> = Vec::new();
        while let Some(job) = inbox.recv().await {
            let mut next = Some(job);
            while let Some(job) = next.take() {
                match job {
                    ApplyJob::Apply(entries) => batch.extend(entries),
                    ApplyJob::Switch { task, generation } => {
                        assert!(batch.is_empty(), "a snapshot is installed with nothing in flight");
                        applier = self.switch(applier, &task, generation)?;
                        let report = report(&applier);
                        self.tell(Event::Switched { task, generation, report });
                    }
                }
                if batch.len() < ENTRIES_MAX {
                    next = inbox.try_recv().ok();
                }
            }
            if !batch.is_empty() {
                let applied = self.apply(&mut applier, &batch).await?;
                tracing::trace!(entries = batch.len(), "way of a write: ⑥ apply");
                batch.clear();
                self.tell(Event::Applied { applied, report: report(&applier) });
            }
        }
        Ok(())
    }

    /// Applies the batch; a full disk undoes it as a whole, so it may be tried again.
    async fn apply(
        &self,
        applier: &mut Applier,
        batch: &[Committed],
    ) -> Result<Vec<Applied>, Fault> {
        let mut full = FullDisk::default();
        loop {
            match applier.apply(batch) {
                Err(Fault::Store(fault)) if fault.is_full() => {
                    tracing::error!(fault = chain(&fault), "disk full: nothing is applied");
                    self.tell(Event::DiskFull);
                    match full.found(self.world.boottime_ns() / 1_000_000, false) {
                        WhenFull::RetryAfterMs(pause) => {
                            tokio::time::sleep(Duration::from_millis(pause)).await;
                        }
                        _ => return Err(Fault::Store(fault)),
                    }
                }
                other => return other,
            }
        }
    }

    fn switch(&self, old: Applier, task: &Persist, generation: u64) -> Result<Applier, Fault> {
        drop(old.into_state());
        let state = StateStore::open(&self.disk, generation).map_err(Fault::Open)?;
        let expected = task.snapshot.as_ref().map(|meta| meta.index);
        // Acknowledging a snapshot that is not there would lose what it stands for.
        assert_eq!(Some(state.meta().applied), expected, "the installed state is another one");
        Applier::open(Arc::clone(&self.machines), state)
    }

    fn tell(&self, event: Event) {
        let _driver_ended = self.events.send(event);
    }
}

/// What the leader's duties need to know.
pub(crate) fn report(applier: &Applier) -> ApplierReport {
    ApplierReport {
        outbox: applier.outbox(),
        next_wake: applier.next_wake(),
        digests: applier.digests(),
        time_ms: applier.meta().time_ms,
    }
}
