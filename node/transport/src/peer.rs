//! The outbound connection for messages to one peer: dial, drain, write, and notice its end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Buf;
use pgraft_replica::NodeId;
use pgraft_watch as watch;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::connection::{self, Broken, Connection, dial, readdressed, signs_of_life};
use crate::frame::{self, FrameKind, FrameReader};
use crate::handshake::{Purpose, Refusal};
use crate::limits::{STEADY, WRITE_BUFFER_BYTES_KEPT};
use crate::net::Net;
use crate::outbox::{Outbox, Push};
use crate::rpc::Calls;
use crate::transport::Shared;

/// What is known about the connection to a peer; for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) connected: bool,
    pub(crate) connects: u64,
    pub(crate) incarnation: Option<u128>,
    pub(crate) round_trip: Option<Duration>,
    pub(crate) last_error: Option<String>,
}

/// Everything of one peer: its queues, and the end of its tasks.
#[derive(Debug)]
pub(crate) struct PeerLink {
    pub(crate) node: NodeId,
    pub(crate) outbox: Outbox,
    pub(crate) calls: Calls,
    pub(crate) closed: watch::Sender<bool>,
    health: Mutex<Health>,
}

impl PeerLink {
    pub(crate) fn new(node: NodeId) -> PeerLink {
        PeerLink {
            node,
            outbox: Outbox::default(),
            calls: Calls::default(),
            closed: watch::Sender::new(false),
            health: Mutex::default(),
        }
    }

    /// Its tasks end, its waiting calls are given back as not sent.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        self.outbox.clear();
        self.calls.clear();
    }

    pub(crate) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl<N: Net> Shared<N> {
    /// Queues a message, or drops it and says so once.
    pub(crate) fn push(&self, link: &PeerLink, message: pgraft_replica::Message) {
        match link.outbox.push(message) {
            Push::Queued | Push::Dropped => {}
            Push::Overflowed => {
                self.reports.unreachable(link.node);
                if let Some(left_out) = self.complaints.may_speak(Some(link.node)) {
                    let peer = link.node.get();
                    tracing::warn!(peer, left_out, "peer is slow; dropping messages");
                }
            }
            Push::TooLong(bytes) => {
                // The replica's own limits forbid it: a person must look, consensus goes on.
                tracing::error!(peer = link.node.get(), bytes, "message fits into no frame");
                self.reports.unreachable(link.node);
            }
        }
    }
}

/// Keeps one connection for messages up, for as long as the link is open.
pub(crate) async fn run<N: Net>(shared: &Shared<N>, link: &PeerLink) {
    let times = &shared.local.timing;
    let mut pauses =
        Backoff::new(times.reconnect_min, times.reconnect_max, shared.local.seed, link.node);
    let mut editions = shared.directory.editions();
    let mut reported = false;
    loop {
        editions.mark_unchanged();
        let broken = match dial(shared, link.node, Purpose::Messages).await {
            Ok(connection) => {
                let since = Instant::now();
                let broken = converse(shared, link, connection).await;
                if since.elapsed() >= STEADY {
                    pauses.reset();
                }
                reported = false;
                broken
            }
            Err(broken) => broken,
        };
        // What waited is stale, and its loss must be known: the leader then probes first.
        if link.outbox.clear() > 0 || !reported {
            shared.reports.unreachable(link.node);
            reported = true;
        }
        mourn(shared, link, &broken);
        tokio::select! {
            biased;
            () = sleep(pauses.next()) => {}
            // A new address or incarnation is worth an attempt at once.
            changed = editions.changed() => if changed.is_err() { return },
        }
    }
}

fn mourn<N: Net>(shared: &Shared<N>, link: &PeerLink, broken: &Broken) {
    let why = broken.to_string();
    link.note(|health| {
        health.connected = false;
        health.round_trip = None;
        health.last_error = Some(why.clone());
    });
    if broken.is_suspicious() {
        let address = shared.directory.peer(link.node).map_or(String::new(), |peer| peer.address);
        shared.complaints.warn(Some(link.node), &address, broken);
    } else {
        tracing::debug!(peer = link.node.get(), "connection for messages ended: {why}");
    }
}

async fn converse<N: Net>(
    shared: &Shared<N>,
    link: &PeerLink,
    connection: Connection<N::Stream>,
) -> Broken {
    let Connection { mut reader, mut writer, version, peer, incarnation } = connection;
    link.note(|health| {
        health.connected = true;
        health.connects += 1;
        health.incarnation = Some(incarnation);
        health.last_error = None;
    });
    tracing::debug!(peer = link.node.get(), address = peer.address, "connected");
    let silence = shared.local.timing.silence;
    let since = Instant::now();
    let changed =
        readdressed(&shared.directory, shared.directory.editions(), link.node, &peer, incarnation);
    // Whichever ends first ends the connection.
    tokio::select! {
        biased;
        broken = read(shared, link, &mut reader, silence, since) => broken,
        broken = write(link, &mut writer, version, silence, since) => broken,
        broken = changed => broken,
    }
}

async fn write<S: AsyncRead + AsyncWrite>(
    link: &PeerLink,
    writer: &mut WriteHalf<S>,
    version: u16,
    silence: Duration,
    since: Instant,
) -> Broken {
    let mut pings = signs_of_life(silence);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        buffer.shrink_to(WRITE_BUFFER_BYTES_KEPT);
        tokio::select! {
            biased;
            _ = pings.tick() => append_ping(&mut buffer, version, since),
            () = link.outbox.ready() => {}
        }
        link.outbox.drain(&mut buffer, version);
        if let Err(broken) = connection::write_frames(writer, &buffer, silence).await {
            return broken;
        }
    }
}

/// A ping carries when it left, in microseconds of this connection.
pub(crate) fn append_ping(buffer: &mut Vec<u8>, version: u16, since: Instant) {
    let now = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
    frame::append(buffer, FrameKind::Ping, version, &now.to_le_bytes());
}

async fn read<N: Net>(
    shared: &Shared<N>,
    link: &PeerLink,
    reader: &mut FrameReader<ReadHalf<N::Stream>>,
    silence: Duration,
    since: Instant,
) -> Broken {
    loop {
        let frame = match connection::read_frame(reader, silence).await {
            Ok(frame) => frame,
            Err(broken) => return broken,
        };
        match frame.kind {
            // A sign of life: the listener is busy, or in the middle of a large frame.
            FrameKind::Pong if frame.body.is_empty() => {}
            FrameKind::Pong if frame.body.len() == 8 => {
                let left = Duration::from_micros((&frame.body[..]).get_u64_le());
                link.note(|health| {
                    health.round_trip = Some(since.elapsed().saturating_sub(left));
                });
            }
            FrameKind::Refused => {
                return match Refusal::decode(frame.body) {
                    Ok(why) => {
                        shared.reports.refused(link.node, why);
                        Broken::Refused(why)
                    }
                    Err(error) => error.into(),
                };
            }
            _ => return Broken::Protocol("a listener sends only pongs here"),
        }
    }
}
