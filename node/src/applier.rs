//! The worker that owns state.db: applies committed entries in the machines (⑥ of the way of a
//! write), as many per transaction as wait.

use std::sync::Arc;
use std::time::Duration;

use pgraft_host::{Applied, Applier, Fault};
use pgraft_replica::{Committed, Persist};
use pgraft_store::{Disk, FullDisk, StateStore, WhenFull};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::event::{ApplierReport, Event};
use crate::log_writer::chain;
use crate::provision::{Provision, Readiness, short};
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
        provision: Arc<Provision>,
        disk: Disk,
        applier: Applier,
        events: UnboundedSender<Event>,
    ) -> std::io::Result<(ApplyWorker, Ended)> {
        let (jobs, inbox) = unbounded_channel();
        let told = events.clone();
        let worker = Worker { world: Arc::clone(world), provision, disk, events: told };
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
    provision: Arc<Provision>,
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
                        applier = self.switch(applier, &task, generation).await?;
                        let report = report(&applier);
                        self.tell(Event::Switched { task, generation, report });
                    }
                }
                if batch.len() < ENTRIES_MAX {
                    next = inbox.try_recv().ok();
                }
            }
            if !batch.is_empty() {
                self.apply_all(&mut applier, &batch).await?;
                batch.clear();
            }
        }
        Ok(())
    }

    /// Applies the batch, in parts when an entry runs a module that is not ready here: what comes
    /// before it may hold the module's bytes.
    async fn apply_all(&self, applier: &mut Applier, batch: &[Committed]) -> Result<(), Fault> {
        let (mut rest, mut until) = (batch, batch.len());
        while !rest.is_empty() {
            match self.apply(applier, &rest[..until]).await {
                Ok(applied) => {
                    tracing::trace!(entries = until, "way of a write: ⑥ apply");
                    self.tell(Event::Applied { applied, report: report(applier) });
                    rest = &rest[until..];
                    until = rest.len();
                }
                Err(Fault::MissingModule { index, .. }) if rest[0].entry.index < index => {
                    until = rest.partition_point(|one| one.entry.index < index);
                }
                Err(missing) => {
                    self.provide(applier, missing).await?;
                    until = rest.len();
                }
            }
        }
        Ok(())
    }

    /// Gets ready what `missing` says is missing.
    async fn provide(&self, applier: &mut Applier, missing: Fault) -> Result<(), Fault> {
        let Fault::MissingModule { machine, sha256, .. } = &missing else { return Err(missing) };
        let Some(component) = applier.component(sha256)? else { return Err(missing) };
        tracing::info!(machine, module = short(sha256), "compiled while its machine waits");
        // Voters were ready to run it before it was proposed: what is wrong is wrong here, and an
        // outcome of its own would make this replica differ.
        self.provision.provide(sha256, component).await.map_err(|error| Fault::Module {
            name: short(sha256),
            why: format!("cannot be run here: {error}"),
        })
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

    async fn switch(
        &self,
        old: Applier,
        task: &Persist,
        generation: u64,
    ) -> Result<Applier, Fault> {
        drop(old.into_state());
        let state = StateStore::open(&self.disk, generation).map_err(Fault::Open)?;
        let expected = task.snapshot.as_ref().map(|meta| meta.index);
        // Acknowledging a snapshot that is not there would lose what it stands for.
        assert_eq!(Some(state.meta().applied), expected, "the installed state is another one");
        open(&self.provision, &self.disk, state).await
    }

    fn tell(&self, event: Event) {
        let _driver_ended = self.events.send(event);
    }
}

/// Takes over a state, with the modules that its machines run.
///
/// # Errors
/// When the file cannot be used, or a module cannot be got ready.
pub(crate) async fn open(
    provision: &Provision,
    disk: &Disk,
    mut state: StateStore,
) -> Result<Applier, Fault> {
    let generation = state.generation();
    loop {
        match Applier::open(Arc::clone(provision.machines()), state) {
            Err(missing @ Fault::MissingModule { .. }) => {
                let Fault::MissingModule { sha256, .. } = &missing else { unreachable!("matched") };
                match provision.prepare(sha256, generation).await {
                    Readiness::Ready => {
                        state = StateStore::open(disk, generation).map_err(Fault::Open)?;
                    }
                    Readiness::NotHere => return Err(missing),
                    Readiness::Refused(why) | Readiness::Failed(why) => {
                        return Err(Fault::Module { name: short(sha256), why });
                    }
                }
            }
            opened => return opened,
        }
    }
}

/// What the leader's duties need to know.
pub(crate) fn report(applier: &Applier) -> ApplierReport {
    ApplierReport {
        outbox: applier.due_effects(),
        next_wake: applier.next_wake(),
        next_migration: applier.next_migration(),
        digests: applier.digests(),
        time_ms: applier.meta().time_ms,
    }
}
