//! The workers that answer queries: read-only module instances on snapshots of state.db, beside
//! the write path and never in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pgraft_host::{Answer, Fault, Machines, Querier};
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

struct Query {
    machine: String,
    principal: String,
    request: Vec<u8>,
    reply: oneshot::Sender<Result<Answer, Failure>>,
}

/// Handle of the readers; they end when it is closed.
#[derive(Clone)]
pub(crate) struct Readers {
    queries: Arc<Mutex<Option<UnboundedSender<Query>>>>,
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

    /// Asks a machine, on the newest committed state of this node.
    pub(crate) async fn query(
        &self,
        machine: String,
        principal: String,
        request: Vec<u8>,
    ) -> Result<Answer, Failure> {
        let (reply, answer) = oneshot::channel();
        // A dropped query is an answer that never comes, which `stopping` stands for.
        if let Some(queries) = &*self.queries.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ended = queries.send(Query { machine, principal, request, reply });
        }
        let stopping = || Failure::new(FailureKind::Stopping, "the node is stopping");
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }
}

struct Worker {
    machines: Arc<Machines>,
    disk: Disk,
    inbox: Arc<tokio::sync::Mutex<UnboundedReceiver<Query>>>,
    generation: Arc<AtomicU64>,
}

impl Worker {
    async fn run(&self) {
        let mut open: Option<(u64, Querier)> = None;
        while let Some(query) = self.next().await {
            let Query { machine, principal, request, reply } = query;
            let answer = self
                .querier(&mut open)
                .and_then(|querier| querier.query(&machine, &principal, &request));
            if answer.is_err() {
                // A failed connection is not used again.
                open = None;
            }
            let told = answer.map_err(|fault| {
                tracing::error!(machine, fault = chain(&fault), "query failed");
                Failure::new(FailureKind::Internal, format!("query failed: {}", chain(&fault)))
            });
            let _gone = reply.send(told);
        }
    }

    async fn next(&self) -> Option<Query> {
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
