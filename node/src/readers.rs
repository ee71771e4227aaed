//! The workers that answer queries: read-only module instances on snapshots of state.db, beside
//! the write path and never in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use pgraft_host::{
    Answer, Change, Fault, KeptEvent, Listed, Machines, Querier, Rehearsal, Rejection,
};
use pgraft_store::{Disk, OpenError, StateReader};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::event::Event;
use crate::log_writer::chain;
use crate::rpc::{Failure, FailureKind};
use crate::worker::{self, Ended};
use crate::world::World;

/// Workers that answer queries.
const READERS: usize = 2;

/// What a worker does with its querier.
type Question = Box<dyn FnOnce(Result<&mut Querier, Fault>) -> Result<(), ()> + Send>;

/// Handle of the readers; they end when it is closed.
#[derive(Clone)]
pub(crate) struct Readers {
    queries: Arc<Mutex<Option<UnboundedSender<Question>>>>,
    generation: Arc<AtomicU64>,
}

impl Readers {
    /// Starts the workers on a generation of state.db.
    pub(crate) fn start(
        world: &Arc<dyn World>,
        machines: &Arc<Machines>,
        disk: &Disk,
        generation: u64,
        events: &UnboundedSender<Event>,
    ) -> std::io::Result<(Readers, Vec<Ended>)> {
        let (queries, inbox) = unbounded_channel();
        let inbox = Arc::new(tokio::sync::Mutex::new(inbox));
        let generation = Arc::new(AtomicU64::new(generation));
        let mut ended = Vec::new();
        for number in 0..READERS {
            let worker = Worker {
                machines: Arc::clone(machines),
                disk: disk.clone(),
                inbox: Arc::clone(&inbox),
                generation: Arc::clone(&generation),
            };
            let work = async move {
                worker.run().await;
                Ok(())
            };
            ended.push(worker::start(world, &format!("read-{number}"), events.clone(), work)?);
        }
        Ok((Readers { queries: Arc::new(Mutex::new(Some(queries))), generation }, ended))
    }

    /// Queries from here on read a received snapshot.
    pub(crate) fn switch(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }

    /// Ends the workers; whoever still holds a handle is told that the node is stopping.
    pub(crate) fn close(&self) {
        *self.queries.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The generation that queries read.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Asks a machine, on the newest committed state of this node.
    pub(crate) async fn query(
        &self,
        machine: String,
        principal: String,
        request: Vec<u8>,
    ) -> Result<Answer, Failure> {
        self.ask(move |querier| querier.query(&machine, &principal, &request)).await
    }

    /// Asks a machine whether it would take a command, on the newest committed state of this node.
    pub(crate) async fn check(
        &self,
        machine: String,
        principal: String,
        payload: Bytes,
    ) -> Result<Answer, Failure> {
        self.ask(move |querier| querier.check(&machine, &principal, &payload)).await
    }

    /// All machines.
    pub(crate) async fn machines(&self) -> Result<Vec<Listed>, Failure> {
        self.ask(Querier::machines).await
    }

    /// Events of a machine that were kept; `None` when there is no such machine.
    pub(crate) async fn events(
        &self,
        machine: String,
        since: u64,
        limit: u32,
    ) -> Result<Option<Vec<KeptEvent>>, Failure> {
        self.ask(move |querier| querier.events(&machine, since, limit)).await
    }

    /// Tries what a change of the machines would do.
    pub(crate) async fn rehearse(
        &self,
        change: Change,
    ) -> Result<Result<Rehearsal, Rejection>, Failure> {
        self.ask(move |querier| querier.rehearse(&change)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Querier) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |querier| {
            let told = querier.and_then(work).map_err(|fault| {
                tracing::error!(fault = chain(&fault), "query failed");
                Failure::new(FailureKind::Internal, format!("query failed: {}", chain(&fault)))
            });
            let worked = told.as_ref().map_or(Err(()), |_| Ok(()));
            let _gone = reply.send(told);
            worked
        });
        // A dropped query is an answer that never comes, which `stopping` stands for.
        if let Some(queries) = &*self.queries.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ended = queries.send(question);
        }
        let stopping = || Failure::new(FailureKind::Stopping, "the node is stopping");
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }
}

struct Worker {
    machines: Arc<Machines>,
    disk: Disk,
    inbox: Arc<tokio::sync::Mutex<UnboundedReceiver<Question>>>,
    generation: Arc<AtomicU64>,
}

impl Worker {
    async fn run(&self) {
        let mut open: Option<(u64, Querier)> = None;
        while let Some(question) = self.next().await {
            if question(self.querier(&mut open)).is_err() {
                // A failed connection is not used again.
                open = None;
            }
        }
    }

    async fn next(&self) -> Option<Question> {
        self.inbox.lock().await.recv().await
    }

    fn querier<'a>(&self, open: &'a mut Option<(u64, Querier)>) -> Result<&'a mut Querier, Fault> {
        let wanted = self.generation.load(Ordering::Acquire);
        let fresh = match open.take() {
            Some((generation, querier)) if generation == wanted => (generation, querier),
            _ => match StateReader::open(&self.disk, wanted) {
                Ok(reader) => (wanted, Querier::open(Arc::clone(&self.machines), reader)?),
                // A snapshot took its place meanwhile.
                Err(OpenError::Missing { .. })
                    if self.generation.load(Ordering::Acquire) != wanted =>
                {
                    return self.querier(open);
                }
                Err(error) => return Err(Fault::Open(error)),
            },
        };
        Ok(&mut open.insert(fresh).1)
    }
}
