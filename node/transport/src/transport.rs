//! The handle that the driver holds, and what its tasks share.
//!
//! Everything runs as tasks on the tokio runtime that is current at [`Transport::start`]; nothing
//! blocks. When the last handle is dropped, or after [`Transport::shutdown`], all tasks end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pgraft_replica::{Message, MessageKind, NodeId};
use pgraft_watch as watch;
use tokio::sync::{mpsc, oneshot};

use crate::directory::{Directory, Peer};
use crate::handshake::Refusal;
use crate::inbound::{self, Doors};
use crate::inbox::Inbox;
use crate::limits::{TOKEN_BYTES_MAX, Timing};
use crate::net::Net;
use crate::peer::{self, PeerLink};
use crate::reports::{Complaints, Reports};
use crate::rpc::{self, RpcError};
use crate::snapshot::{self, ChunkSource, SnapshotError, SnapshotPart};

/// Who this node is.
#[derive(Clone)]
pub struct Local {
    /// Id of the cluster.
    pub cluster: u64,
    /// How the cluster began.
    pub genesis_hash: [u8; 32],
    /// This node.
    pub node: NodeId,
    /// This node's data directory.
    pub incarnation: u128,
    /// What a node must know to be told the genesis. At most [`crate::limits::TOKEN_BYTES_MAX`].
    pub token: Bytes,
    /// The jitter of reconnecting derives from it.
    pub seed: u64,
    /// Limits in time.
    pub timing: Timing,
}

impl fmt::Debug for Local {
    // Without the token, which must not end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Local { cluster, genesis_hash: _, node, incarnation, token: _, seed, timing } = self;
        f.debug_struct("Local")
            .field("cluster", cluster)
            .field("node", node)
            .field("incarnation", incarnation)
            .field("seed", seed)
            .field("timing", timing)
            .finish_non_exhaustive()
    }
}

/// What the transport tells the driver.
#[derive(Debug)]
pub enum Event {
    /// A message of a member; `from` and `to` are verified, its contents are not.
    Received(Message),
    /// Messages to this node were lost: its connection broke, or its queue is full.
    Unreachable(NodeId),
    /// A member asks. Dropping `reply` gives the caller [`RpcError::Lost`] at once; `reply` is
    /// closed when the caller's deadline has passed.
    Rpc {
        /// Who asks.
        from: NodeId,
        /// What.
        body: Bytes,
        /// For the reply.
        reply: oneshot::Sender<Bytes>,
    },
    /// A member wants to send a snapshot. Answer with a channel for its parts, or with `None`.
    SnapshotBegin {
        /// The sender.
        from: NodeId,
        /// Kind `Snapshot`, with metadata; for the replica after the snapshot is installed.
        message: Message,
        /// The decision, wanted within [`Timing::snapshot_idle`].
        sink: oneshot::Sender<Option<mpsc::Sender<SnapshotPart>>>,
    },
    /// A member refuses this node. Told once per change of reason.
    RefusedBy {
        /// Who.
        peer: NodeId,
        /// Why. [`Refusal::Removed`] was preceded by equal cluster and genesis.
        why: Refusal,
    },
    /// A node of this cluster wanted this one, and the directory does not know it: it is a newer
    /// member than any that this node knows, or none. May come again and again.
    Stranger(NodeId),
    /// A node that knows the token, and is not a member, asks to be told the genesis.
    Join {
        /// Opaque.
        request: Bytes,
        /// The answer, or why not.
        reply: oneshot::Sender<Result<Bytes, String>>,
    },
}

/// One peer, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its id.
    pub node: NodeId,
    /// Where it is dialled.
    pub address: String,
    /// Whether messages to it have a connection.
    pub connected: bool,
    /// Connections for messages so far.
    pub connects: u64,
    /// The incarnation that answered last.
    pub incarnation: Option<u128>,
    /// Of the last ping.
    pub round_trip: Option<Duration>,
    /// Messages waiting.
    pub queued_messages: usize,
    /// Bytes waiting.
    pub queued_bytes: usize,
    /// Messages handed to a connection so far.
    pub sent_messages: u64,
    /// Bytes of those.
    pub sent_bytes: u64,
    /// Messages dropped so far.
    pub dropped_messages: u64,
    /// Why the last connection ended, or did not begin; `None` while connected.
    pub last_error: Option<String>,
}

/// What all tasks share.
pub(crate) struct Shared<N: Net> {
    pub(crate) net: N,
    pub(crate) local: Local,
    pub(crate) directory: Directory,
    pub(crate) inbox: Inbox,
    pub(crate) reports: Reports,
    pub(crate) complaints: Complaints,
    pub(crate) doors: Doors,
    links: Mutex<BTreeMap<NodeId, Arc<PeerLink>>>,
    stop: watch::Receiver<bool>,
    tasks: Arc<watch::Sender<usize>>,
}

impl<N: Net> Shared<N> {
    fn link(&self, node: NodeId) -> Option<Arc<PeerLink>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }
}

/// Counts a task for as long as it lives, however it ends.
struct Counted(Arc<watch::Sender<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|tasks| *tasks -= 1);
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the last handle is gone, which says the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Starts a task that ends when the transport stops.
pub(crate) fn spawn<N: Net>(shared: &Shared<N>, task: impl Future<Output = ()> + Send + 'static) {
    shared.tasks.send_modify(|tasks| *tasks += 1);
    let counted = Counted(Arc::clone(&shared.tasks));
    let stop = stopped(shared.stop.clone());
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop => {}
            () = task => {}
        }
        drop(counted);
    });
}

/// A handle; clones share everything. All tasks end when the last clone is dropped.
#[derive(Clone)]
pub struct Transport<N: Net> {
    shared: Arc<Shared<N>>,
    /// Not in `shared`: tasks hold that, and must not keep themselves alive.
    stop: Arc<watch::Sender<bool>>,
}

impl<N: Net> fmt::Debug for Transport<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("node", &self.shared.local.node).finish_non_exhaustive()
    }
}

impl<N: Net> Transport<N> {
    /// Starts to accept connections. Nobody is let in before [`Transport::set_peers`].
    ///
    /// `events` carries everything to the driver and holds back the network when it is full, or
    /// holds [`crate::limits::EVENTS_BYTES_MAX`]; a thousand is a good size.
    ///
    /// # Panics
    /// Outside a tokio runtime with time (and, for [`crate::Tcp`], I/O) enabled; if a time in
    /// `local` is zero or its token is too long.
    pub fn start(
        net: N,
        listener: N::Listener,
        local: Local,
        events: mpsc::Sender<Event>,
    ) -> Transport<N> {
        local.timing.check();
        assert!(local.token.len() <= TOKEN_BYTES_MAX, "token of {} bytes", local.token.len());
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared {
            net,
            local,
            directory: Directory::new(),
            inbox: Inbox::new(events),
            reports: Reports::default(),
            complaints: Complaints::default(),
            doors: Doors::default(),
            links: Mutex::default(),
            stop: stopping,
            tasks: Arc::new(watch::Sender::new(0)),
        });
        let host = Arc::clone(&shared);
        spawn(&shared, async move { inbound::listen(&host, listener).await });
        let teller = Arc::clone(&shared);
        spawn(&shared, async move { teller.reports.run(teller.inbox.small()).await });
        Transport { shared, stop: Arc::new(stop) }
    }

    /// Who the other members are: whom to dial, and who is let in. Connections that do not fit
    /// any more are closed, the others stay. This node itself may be among them.
    pub fn set_peers(&self, mut peers: BTreeMap<NodeId, Peer>) {
        peers.remove(&self.shared.local.node);
        let mut links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|node, link| {
            let stays = peers.contains_key(node);
            if !stays {
                link.close();
            }
            stays
        });
        let known: Vec<NodeId> = peers.keys().copied().collect();
        self.shared.directory.set_peers(peers);
        for node in known {
            links.entry(node).or_insert_with(|| self.open(node));
        }
    }

    /// Ids that were members and never will be again: they are told so.
    pub fn set_removed(&self, ids: BTreeSet<NodeId>) {
        self.shared.directory.set_removed(ids);
    }

    /// Queues a message for `message.to`. Never blocks. A message that cannot be sent is dropped,
    /// and [`Event::Unreachable`] tells so once per broken connection or full queue; to a node
    /// that is not a peer it is dropped silently.
    pub fn send(&self, message: Message) {
        if message.kind == MessageKind::Snapshot {
            // A snapshot has data: `send_snapshot` takes it. Raft must not wait for it for ever.
            tracing::error!(peer = message.to.get(), "snapshot message without its data");
            self.shared.reports.unreachable(message.to);
            return;
        }
        if let Some(link) = self.shared.link(message.to) {
            self.shared.push(&link, message);
        }
    }

    /// Asks a peer and waits for its reply, `deadline` at most.
    ///
    /// # Errors
    /// [`RpcError`]; it tells whether the request may have been handled.
    pub async fn rpc(
        &self,
        to: NodeId,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, RpcError> {
        let link = self.shared.link(to).ok_or(RpcError::NotSent)?;
        tokio::select! {
            biased;
            outcome = rpc::ask(&link, body, deadline) => outcome,
            // It may have been sent: the cautious answer.
            () = stopped(self.shared.stop.clone()) => Err(RpcError::Lost),
        }
    }

    /// Sends a snapshot to `message.to` on a connection of its own and waits until the receiver
    /// has installed it. Dropping the future gives up.
    ///
    /// # Errors
    /// [`SnapshotError`] on every other path; the driver reports it to the replica.
    ///
    /// # Panics
    /// If `message` is of another kind than `Snapshot`.
    pub async fn send_snapshot(
        &self,
        message: Message,
        chunks: impl ChunkSource,
    ) -> Result<(), SnapshotError> {
        tokio::select! {
            biased;
            outcome = snapshot::send(&self.shared, &message, chunks) => outcome,
            () = stopped(self.shared.stop.clone()) => {
                Err(SnapshotError::Lost("the node is stopping".to_owned()))
            }
        }
    }

    /// All peers, in the order of their ids.
    pub fn status(&self) -> Vec<PeerStatus> {
        let links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.values().map(|link| self.describe(link)).collect()
    }

    /// Tasks that are running; 0 some time after [`Transport::shutdown`].
    pub fn tasks(&self) -> usize {
        *self.shared.tasks.borrow()
    }

    /// Ends all tasks and waits for them. Waiting requests get [`RpcError::Lost`].
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        let mut tasks = self.shared.tasks.subscribe();
        // The sender is ours, so this ends only with the last task.
        let _ = tasks.wait_for(|tasks| *tasks == 0).await;
    }

    fn open(&self, node: NodeId) -> Arc<PeerLink> {
        let link = Arc::new(PeerLink::new(node));
        let (shared, messages) = (Arc::clone(&self.shared), Arc::clone(&link));
        spawn(&self.shared, async move {
            let closed = stopped(messages.closed.subscribe());
            tokio::select! { biased; () = closed => {}, () = peer::run(&shared, &messages) => {} }
        });
        let (shared, requests) = (Arc::clone(&self.shared), Arc::clone(&link));
        spawn(&self.shared, async move {
            let closed = stopped(requests.closed.subscribe());
            tokio::select! { biased; () = closed => {}, () = rpc::run(&shared, &requests) => {} }
        });
        link
    }

    fn describe(&self, link: &PeerLink) -> PeerStatus {
        let health = link.health();
        let fill = link.outbox.fill();
        let address = self.shared.directory.peer(link.node).map_or(String::new(), |p| p.address);
        PeerStatus {
            node: link.node,
            address,
            connected: health.connected,
            connects: health.connects,
            incarnation: health.incarnation,
            round_trip: health.round_trip,
            queued_messages: fill.messages,
            queued_bytes: fill.bytes,
            sent_messages: fill.sent,
            sent_bytes: fill.sent_bytes,
            dropped_messages: fill.dropped,
            last_error: health.last_error,
        }
    }
}
