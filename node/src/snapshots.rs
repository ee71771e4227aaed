//! Snapshots on their way out and in: the data beside Raft's metadata (RAFT.md 2.5).
//!
//! Out: a read transaction of state.db is pinned when the replica asks, and streamed when the
//! `Snapshot` message leaves. In: the stream is written to the next generation's file and
//! verified before the message reaches the replica; then one transaction of raft.db makes it
//! this node's state, or the file is removed.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pgraft_replica::{Message, NodeId, SnapshotMeta};
use pgraft_store::{Disk, SnapshotSink, SnapshotSource};
use pgraft_transport::{AnyNet, SnapshotPart, Transport};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedSender, channel};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::event::Event;
use crate::log_writer::chain;
use crate::worker::caught;
use crate::world::World;

/// Chunks between the worker that reads or writes the file and the connection.
const CHUNKS_IN_FLIGHT: usize = 4;
/// How often the replica is told that a snapshot is on its way.
const PROGRESS: Duration = Duration::from_secs(2);
/// Snapshots pinned at a time: each holds the write-ahead log of state.db.
const PINNED_MAX: usize = 2;

/// Who wants to know what became of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The replica, which asked for it.
    Replica,
    /// Nobody: the receiver asks again by itself.
    Nobody,
}

/// The snapshots of a node.
pub(crate) struct Snapshots {
    world: Arc<dyn World>,
    disk: Disk,
    generation: u64,
    pinned: BTreeMap<NodeId, SnapshotSource>,
    receiving: bool,
    events: UnboundedSender<Event>,
}

impl Snapshots {
    pub(crate) fn new(
        world: Arc<dyn World>,
        disk: Disk,
        generation: u64,
        events: UnboundedSender<Event>,
    ) -> Snapshots {
        Snapshots { world, disk, generation, pinned: BTreeMap::new(), receiving: false, events }
    }

    /// Pins the present state for a follower; `None` when that cannot be done now.
    pub(crate) fn pin(&mut self, to: NodeId) -> Option<SnapshotMeta> {
        if self.pinned.len() >= PINNED_MAX && !self.pinned.contains_key(&to) {
            return None;
        }
        match SnapshotSource::open(&self.disk, self.generation) {
            Ok(source) => {
                let meta = source.meta();
                self.pinned.insert(to, source);
                Some(meta)
            }
            Err(fault) => {
                tracing::warn!(%to, fault = chain(&fault), "snapshot could not be pinned");
                None
            }
        }
    }

    /// Streams the pinned snapshot after its message; the outcome comes as an event.
    pub(crate) fn send(&mut self, transport: &Transport<AnyNet>, message: Message, whom: Audience) {
        let (to, events) = (message.to, self.events.clone());
        let tell = move |event| {
            if whom == Audience::Replica {
                let _ended = events.send(event);
            }
        };
        let Some(source) = self.pinned.remove(&to) else {
            return tell(Event::SnapshotSent { to, delivered: false });
        };
        let Some(chunks) = self.read_ahead(source) else {
            return tell(Event::SnapshotSent { to, delivered: false });
        };
        let transport = transport.clone();
        tokio::spawn(async move {
            let meta = message.snapshot.clone().unwrap_or_default();
            tracing::info!(%to, index = %meta.index, "sending snapshot");
            let mut sending = pin!(transport.send_snapshot(message, chunks));
            let result = loop {
                tokio::select! {
                    biased;
                    result = &mut sending => break result,
                    // The transport gives up on a connection that stands still; until it does,
                    // the replica must not take the snapshot for lost.
                    () = sleep(PROGRESS) => {
                        tell(Event::SnapshotProgress { to, meta: meta.clone() });
                    }
                }
            };
            if let Err(error) = &result {
                tracing::warn!(%to, error = chain(error), "snapshot was not delivered");
            }
            tell(Event::SnapshotSent { to, delivered: result.is_ok() });
        });
    }

    /// Begins to receive; `None` when another snapshot is on its way.
    pub(crate) fn receive(&mut self, message: Message) -> Option<Sender<SnapshotPart>> {
        if self.receiving {
            return None;
        }
        self.receiving = true;
        let (parts, inbox) = channel(CHUNKS_IN_FLIGHT);
        let (disk, generation) = (self.disk.clone(), self.generation + 1);
        let events = self.events.clone();
        let work = async move {
            if caught(receive(&disk, generation, message, inbox, &events)).await.is_none() {
                let _ended = events.send(Event::SnapshotLost);
            }
        };
        match self.world.start("snap", Box::pin(work)) {
            Ok(()) => Some(parts),
            Err(error) => {
                tracing::error!(%error, "no worker to receive a snapshot");
                self.receiving = false;
                None
            }
        }
    }

    /// The received snapshot was installed, or was not wanted.
    pub(crate) fn received(&mut self, installed: Option<u64>) {
        self.receiving = false;
        if let Some(generation) = installed {
            self.generation = generation;
            self.pinned.clear();
        }
        let (disk, keep) = (self.disk.clone(), self.generation);
        if installed.is_some() {
            // Large files take a while to go, and heartbeats must not wait for that. The next
            // snapshot may be on its way meanwhile: only what is older goes.
            let remove = async move { tell(pgraft_store::remove_older_generations(&disk, keep)) };
            if let Err(error) = self.world.start("remove", Box::pin(remove)) {
                tracing::warn!(%error, "old state files stay until the next start");
            }
        } else {
            tell(pgraft_store::remove_other_generations(&disk, keep));
        }
    }

    /// Leadership is lost: nobody is going to send what was pinned.
    pub(crate) fn unpin(&mut self) {
        self.pinned.clear();
    }

    /// Receiving broke off; the file is already gone.
    pub(crate) fn lost(&mut self) {
        self.receiving = false;
    }

    /// Reads the source in a worker of its own, a few chunks ahead of the connection.
    fn read_ahead(
        &self,
        mut source: SnapshotSource,
    ) -> Option<Receiver<Result<Option<Bytes>, String>>> {
        let (chunks, inbox) = channel(CHUNKS_IN_FLIGHT);
        let work = async move {
            loop {
                let next = source.next_chunk().map_err(|fault| chain(&fault));
                let last = !matches!(next, Ok(Some(_)));
                if chunks.send(next).await.is_err() || last {
                    return;
                }
            }
        };
        let started = self.world.start("snap-read", Box::pin(work));
        started
            .inspect_err(|error| tracing::error!(%error, "no worker to read a snapshot"))
            .ok()?;
        Some(inbox)
    }
}

fn tell(removed: Result<(), pgraft_store::Fault>) {
    if let Err(fault) = removed {
        tracing::warn!(fault = chain(&fault), "old state files could not be removed");
    }
}

async fn receive(
    disk: &Disk,
    generation: u64,
    message: Message,
    parts: Receiver<SnapshotPart>,
    events: &UnboundedSender<Event>,
) {
    let meta = message.snapshot.clone().unwrap_or_default();
    let event = match write(disk, generation, &meta, parts).await {
        Ok(delivered) => {
            let _gone = delivered.send(Ok(()));
            Event::SnapshotReceived { message, generation }
        }
        Err(why) => {
            tracing::warn!(from = %message.from, why, "snapshot was not received");
            Event::SnapshotLost
        }
    };
    let _ended = events.send(event);
}

/// Writes the parts into a generation's file and checks them against `meta`; the sender is told
/// by whoever calls.
///
/// # Errors
/// In words; the file is gone then.
pub(crate) async fn write(
    disk: &Disk,
    generation: u64,
    meta: &SnapshotMeta,
    mut parts: Receiver<SnapshotPart>,
) -> Result<oneshot::Sender<Result<(), String>>, String> {
    let mut sink = SnapshotSink::create(disk, generation).map_err(|error| chain(&error))?;
    loop {
        match parts.recv().await {
            Some(SnapshotPart::Chunk(chunk)) => {
                sink.write(&chunk).map_err(|error| chain(&error))?;
            }
            Some(SnapshotPart::End(delivered)) => {
                return match sink.finish(meta) {
                    Ok(()) => Ok(delivered),
                    Err(error) => {
                        let _gone = delivered.send(Err(chain(&error)));
                        Err(chain(&error))
                    }
                };
            }
            None => return Err("the connection broke".to_owned()),
        }
    }
}
