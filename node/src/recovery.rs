//! A node whose state.db is damaged or lost gets the state from a peer before it takes part again.
//!
//! Its log and its votes are intact, so its identity stays and no promise is broken: until the
//! state is there it neither votes nor acknowledges anything. The peer's snapshot is committed
//! state; what the log holds beyond it is kept exactly when the log agrees with it there.
//! Not here: a damaged raft.db, after which only joining as a new member is safe.

use std::sync::Arc;
use std::time::Duration;

use pgraft_replica::{Fetch, HardState, Message, NodeId, Persist, SnapshotMeta};
use pgraft_store::{Disk, LogStore, Opened};
use pgraft_transport::{AnyListener, AnyNet, Event as NetEvent, Refusal, SnapshotPart, Transport};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::birth::{ask_to_join, local};
use crate::join;
use crate::log_writer::chain;
use crate::peer_rpc::{Ask, Told};
use crate::settings::Settings;
use crate::snapshots;
use crate::worker::caught;
use crate::world::World;

/// Events that may wait while a snapshot is received.
const EVENTS_MAX: usize = 64;
/// How long a peer may take to begin.
const PATIENCE: Duration = Duration::from_secs(5);
/// Chunks between connection and disk.
const CHUNKS_IN_FLIGHT: usize = 4;

/// Fetches the state into the next generation and makes that this node's.
///
/// # Errors
/// When this node's own files fail; a peer that cannot help is asked again, and the next one.
pub(crate) async fn fetch_state(
    world: &Arc<dyn World>,
    settings: &Settings,
    disk: &Disk,
    listener: AnyListener,
) -> Result<(), String> {
    let (mut log, opened) = LogStore::open(disk).map_err(|error| chain(&error))?;
    let (events, inbox) = mpsc::channel(EVENTS_MAX);
    let own = local(&**world, settings, &opened.identity)?;
    let transport = Transport::start(world.peers(), listener, own, events);
    let generation = opened.generation + 1;
    let world = Arc::clone(world);
    let mut fetching = Fetching { world, disk: disk.clone(), generation, transport, inbox };
    let meta = 'received: loop {
        // Addresses and members may change while nobody can help.
        let welcome = 
            ask_to_join(&*fetching.world, settings, &[], opened.identity.incarnation).await?;
        let (peers, _) = join::address_book(&welcome.members(), opened.identity.node);
        fetching.transport.set_peers(peers.clone());
        for peer in peers.keys() {
            match fetching.from(*peer).await {
                Ok(meta) if meta.index >= opened.truncated.0 => break 'received meta,
                Ok(meta) => tracing::warn!(%peer, index = %meta.index, "its state is too old"),
                Err(why) => tracing::warn!(%peer, why, "state could not be fetched"),
            }
        }
        fetching.check_welcome()?;
        tokio::time::sleep(PATIENCE / 10).await;
    };
    fetching.transport.shutdown().await;
    tracing::info!(index = %meta.index, "state fetched from a peer");
    adopt(&mut log, &opened, meta, generation)
}

struct Fetching {
    world: Arc<dyn World>,
    disk: Disk,
    generation: u64,
    transport: Transport<AnyNet>,
    inbox: mpsc::Receiver<NetEvent>,
}

impl Fetching {
    async fn from(&mut self, peer: NodeId) -> Result<SnapshotMeta, String> {
        let asked = self.transport.rpc(peer, Ask::State.encode(), PATIENCE).await;
        let told = asked.map_err(|error| error.to_string())?;
        match Told::decode(&told).map_err(|error| error.to_string())? {
            Told::Done => {}
            Told::Refused(why) => return Err(why),
            other => return Err(format!("unexpected answer {other:?}")),
        }
        let begun = timeout(PATIENCE, self.begun()).await;
        let (message, parts) = begun.map_err(|_elapsed| "nothing came".to_owned())??;
        let meta = message.snapshot.ok_or("a snapshot without metadata")?;
        let (disk, generation, expected) = (self.disk.clone(), self.generation, meta.clone());
        let (told, mut writing) = oneshot::channel();
        let work = async move {
            let written = caught(snapshots::write(&disk, generation, &expected, parts)).await;
            let _gone = told.send(written.unwrap_or_else(|| Err("panicked".to_owned())));
        };
        self.world.start("snap", Box::pin(work)).map_err(|error| error.to_string())?;
        // What else the peers send is not for a node without state; it must not pile up.
        let written = loop {
            tokio::select! {
                biased;
                written = &mut writing => break written,
                Some(_unheard) = self.inbox.recv() => {}
            }
        };
        let delivered = written.map_err(|error| error.to_string())??;
        let _gone = delivered.send(Ok(()));
        Ok(meta)
    }

    /// Whether a member has said that this node does not belong to the cluster any more.
    fn check_welcome(&mut self) -> Result<(), String> {
        while let Ok(event) = self.inbox.try_recv() {
            if let NetEvent::RefusedBy { peer, why: Refusal::Removed | Refusal::Incarnation } =
                event
            {
                return Err(format!("node {peer} says that this node was removed or replaced"));
            }
        }
        Ok(())
    }

    /// The next snapshot that a peer begins to send.
    async fn begun(&mut self) -> Result<(Message, mpsc::Receiver<SnapshotPart>), String> {
        while let Some(event) = self.inbox.recv().await {
            if let NetEvent::SnapshotBegin { from: _, message, sink } = event {
                let (parts, inbox) = mpsc::channel(CHUNKS_IN_FLIGHT);
                let _gone = sink.send(Some(parts));
                return Ok((message, inbox));
            }
        }
        Err("the transport ended".to_owned())
    }
}

/// Points raft.db to the fetched generation. The log is kept when it holds the snapshot's last
/// entry; otherwise everything the snapshot does not cover was never committed, and goes.
fn adopt(
    log: &mut LogStore,
    opened: &Opened,
    meta: SnapshotMeta,
    generation: u64,
) -> Result<(), String> {
    let here = Fetch { low: meta.index, high: meta.index.next(), bytes_max: 1 };
    let agrees = if meta.index == opened.truncated.0 {
        meta.term == opened.truncated.1
    } else if meta.index > opened.last {
        false
    } else {
        let entries = log.read(here).map_err(|fault| chain(&fault))?;
        entries.first().is_some_and(|entry| entry.term == meta.term)
    };
    if agrees {
        return log.set_generation(generation).map_err(|fault| chain(&fault));
    }
    let HardState { term, vote, commit } = opened.hard_state;
    let hard_state = HardState {
        term: term.max(meta.term),
        vote: vote.filter(|_| term >= meta.term),
        commit: commit.max(meta.index),
    };
    let task = Persist {
        number: 0,
        hard_state: Some(hard_state),
        entries: Vec::new(),
        snapshot: Some(meta),
    };
    log.install(&task, generation).map_err(|fault| chain(&fault))
}
