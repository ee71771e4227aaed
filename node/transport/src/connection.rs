//! Opening a connection, and the ways in which one ends.

use std::io;
use std::time::Duration;

use pgraft_replica::NodeId;
use pgraft_watch as watch;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::codec::CodecError;
use crate::directory::{Directory, Peer};
use crate::frame::{self, Frame, FrameError, FrameKind, FrameReader};
use crate::handshake::{HANDSHAKE_VERSION, Hello, Purpose, Refusal, Welcome};
use crate::limits::{FRAME_BYTES_MAX, GREETING_BYTES_MAX, PROGRESS_BYTES_MIN};
use crate::net::Net;
use crate::transport::Shared;

/// Why a connection ended, or was never there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("not a member")]
    NoSuchPeer,
    #[error("connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("write to the connection: {0}")]
    Write(io::Error),
    #[error("{what} took longer than {after:?}")]
    TimedOut { what: &'static str, after: Duration },
    #[error("closed by the other side")]
    Closed,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("protocol violation: {0}")]
    Protocol(&'static str),
    #[error("refused by the other side: {0}")]
    Refused(Refusal),
    #[error("refused: {0}")]
    WeRefuse(Refusal),
    #[error("node {found} answered in place of node {wanted}")]
    WrongNode { wanted: NodeId, found: NodeId },
    #[error("incarnation {found:#034x} answered in place of {wanted:#034x}")]
    WrongIncarnation { wanted: u128, found: u128 },
    #[error("the member's address or incarnation changed")]
    Readdressed,
    #[error("a newer connection took its place")]
    Replaced,
    #[error("the node is stopping")]
    Stopping,
}

impl Broken {
    /// Somebody should look: not what a crash, a restart or a cut network looks like.
    pub(crate) fn is_suspicious(&self) -> bool {
        match self {
            Broken::Frame(FrameError::Io(_) | FrameError::Truncated) => false,
            Broken::Frame(_) | Broken::Codec(_) | Broken::Protocol(_) => true,
            Broken::Refused(_) | Broken::WeRefuse(_) => true,
            Broken::WrongNode { .. } | Broken::WrongIncarnation { .. } => true,
            Broken::NoSuchPeer
            | Broken::Connect { .. }
            | Broken::Write(_)
            | Broken::TimedOut { .. }
            | Broken::Closed
            | Broken::Readdressed
            | Broken::Replaced
            | Broken::Stopping => false,
        }
    }
}

/// A connection whose handshake is done, as the dialler sees it.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    pub(crate) reader: FrameReader<ReadHalf<S>>,
    pub(crate) writer: WriteHalf<S>,
    pub(crate) version: u16,
    pub(crate) peer: Peer,
    pub(crate) incarnation: u128,
}

/// Connects to a member and shakes hands. A refusal is reported to the driver.
pub(crate) async fn dial<N: Net>(
    shared: &Shared<N>,
    node: NodeId,
    purpose: Purpose,
) -> Result<Connection<N::Stream>, Broken> {
    let peer = shared.directory.peer(node).ok_or(Broken::NoSuchPeer)?;
    let times = &shared.local.timing;
    let connect = within(times.connect, "connecting", shared.net.connect(&peer.address));
    let stream = connect.await?.map_err(|source| {
        let address = peer.address.clone();
        Broken::Connect { address, source }
    })?;
    let greet = greet(shared, node, peer, purpose, stream);
    match within(times.handshake, "the handshake", greet).await? {
        Ok(connection) => {
            shared.reports.welcomed(node);
            Ok(connection)
        }
        Err(broken) => {
            if let Broken::Refused(why) = &broken {
                shared.reports.refused(node, *why);
            }
            Err(broken)
        }
    }
}

async fn greet<N: Net>(
    shared: &Shared<N>,
    node: NodeId,
    peer: Peer,
    purpose: Purpose,
    stream: N::Stream,
) -> Result<Connection<N::Stream>, Broken> {
    let (read, mut writer) = tokio::io::split(stream);
    let hello = Hello::of(&shared.local, node, purpose).encode();
    write_frame(&mut writer, FrameKind::Hello, HANDSHAKE_VERSION, &hello).await?;
    let mut reader = FrameReader::new(read, HANDSHAKE_VERSION, GREETING_BYTES_MAX);
    let answer = reader.next().await?.ok_or(Broken::Closed)?;
    let welcome = match answer.kind {
        FrameKind::Welcome => Welcome::decode(answer.body)?,
        FrameKind::Refused => return Err(Broken::Refused(Refusal::decode(answer.body)?)),
        _ => return Err(Broken::Protocol("the answer to a greeting is something else")),
    };
    if !(hello_versions().contains(&welcome.version)) {
        return Err(Broken::Protocol("agreed on a version that was not offered"));
    }
    if welcome.node != node {
        return Err(Broken::WrongNode { wanted: node, found: welcome.node });
    }
    check_incarnation(&peer, welcome.incarnation)?;
    reader.agree(welcome.version, FRAME_BYTES_MAX);
    let (version, incarnation) = (welcome.version, welcome.incarnation);
    Ok(Connection { reader, writer, version, peer, incarnation })
}

fn hello_versions() -> std::ops::RangeInclusive<u16> {
    crate::limits::PROTOCOL_VERSION..=crate::limits::PROTOCOL_VERSION
}

fn check_incarnation(peer: &Peer, found: u128) -> Result<(), Broken> {
    if peer.incarnation == 0 || peer.incarnation == found {
        Ok(())
    } else {
        Err(Broken::WrongIncarnation { wanted: peer.incarnation, found })
    }
}

/// Returns when the member a connection was dialled to is not the same any more.
pub(crate) async fn readdressed(
    directory: &Directory,
    mut editions: watch::Receiver<u64>,
    node: NodeId,
    dialled: &Peer,
    incarnation: u128,
) -> Broken {
    loop {
        match directory.peer(node) {
            None => return Broken::NoSuchPeer,
            Some(peer) if peer.address != dialled.address => return Broken::Readdressed,
            Some(peer) if check_incarnation(&peer, incarnation).is_err() => {
                return Broken::Readdressed;
            }
            Some(_) => {}
        }
        if editions.changed().await.is_err() {
            return Broken::Stopping;
        }
    }
}

/// Bounds a step in time and names it when it takes longer.
pub(crate) async fn within<T>(
    after: Duration,
    what: &'static str,
    step: impl Future<Output = T>,
) -> Result<T, Broken> {
    timeout(after, step).await.map_err(|_| Broken::TimedOut { what, after })
}

/// Writes one small frame. The caller bounds the time.
pub(crate) async fn write_frame(
    writer: &mut (impl AsyncWrite + Unpin),
    kind: FrameKind,
    version: u16,
    body: &[u8],
) -> Result<(), Broken> {
    let mut buffer = Vec::with_capacity(frame::HEADER_BYTES + body.len());
    frame::append(&mut buffer, kind, version, body);
    writer.write_all(&buffer).await.map_err(Broken::Write)?;
    writer.flush().await.map_err(Broken::Write)
}

/// Writes whole frames. A slow line is given time for as long as it takes bytes.
pub(crate) async fn write_frames(
    writer: &mut (impl AsyncWrite + Unpin),
    frames: &[u8],
    patience: Duration,
) -> Result<(), Broken> {
    let mut rest = frames;
    while !rest.is_empty() {
        let written = within(patience, "a write", writer.write(rest)).await?;
        match written.map_err(Broken::Write)? {
            0 => return Err(Broken::Closed),
            written => rest = &rest[written..],
        }
    }
    within(patience, "a write", writer.flush()).await?.map_err(Broken::Write)
}

/// The next frame; the end of the connection is an error, and so is `patience` with neither a
/// frame nor [`PROGRESS_BYTES_MIN`]. Cancel safe.
pub(crate) async fn read_frame<S>(
    reader: &mut FrameReader<ReadHalf<S>>,
    patience: Duration,
) -> Result<Frame, Broken>
where
    S: AsyncRead + Unpin,
{
    loop {
        let before = reader.received();
        match timeout(patience, reader.next()).await {
            Ok(frame) => return frame?.ok_or(Broken::Closed),
            // A large frame on a slow line. Not every byte counts: after a damaged length, pings
            // alone would fill the frame that never was, for days.
            Err(_) if reader.received() - before >= PROGRESS_BYTES_MIN => {}
            Err(_) => return Err(Broken::TimedOut { what: "silence", after: patience }),
        }
    }
}

/// Does something that may take long, and lets the dialler know meanwhile that nobody died.
pub(crate) async fn with_signs_of_life<T>(
    writer: &mut (impl AsyncWrite + Unpin),
    version: u16,
    silence: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Broken> {
    let mut signs = signs_of_life(silence);
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            _ = signs.tick() => {
                let sign = write_frame(writer, FrameKind::Pong, version, &[]);
                within(silence, "a write", sign).await??;
            }
        }
    }
}

/// Four in the time after which a connection counts as dead; the first one after a quarter.
pub(crate) fn signs_of_life(silence: Duration) -> Interval {
    let mut signs = interval(silence / 4);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    signs.reset();
    signs
}
