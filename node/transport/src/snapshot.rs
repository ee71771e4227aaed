//! Snapshots: one connection each, so that megabytes never stand before a heartbeat.
//!
//! Sender: `Begin` (the `Snapshot` message), chunks, `End`. Receiver: an acknowledgement every few
//! chunks and whenever it is busy for long, and a last one when the snapshot is installed or
//! refused. Every step has a limit in time, so the sender gets a result on every path.
//!
//! Not here: what a chunk holds; `pgraft-store` checks contents and digests.

use std::fmt::Display;
use std::future::{Future, pending};
use std::time::Duration;

use bytes::{Buf, Bytes};
use pgraft_replica::{Message, MessageKind, NodeId};
use pgraft_watch as watch;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use crate::codec::{self, CodecError};
use crate::connection::{self, Broken, Connection, dial, readdressed, within, write_frame};
use crate::fields::Fields;
use crate::frame::{self, FrameKind, FrameReader};
use crate::handshake::{Purpose, Refusal};
use crate::limits::{
    CHUNK_BYTES_MAX, CHUNKS_IN_FLIGHT_MAX, CHUNKS_PER_ACK, FRAME_BYTES_MAX, REASON_BYTES_MAX,
};
use crate::net::Net;
use crate::transport::{Event, Shared};

/// What the receiver's driver gets. The channel closing before `End` means that the sender is
/// gone: what was received is worth nothing.
#[derive(Debug)]
pub enum SnapshotPart {
    /// The next bytes, in order.
    Chunk(Bytes),
    /// That was all. Answered when the snapshot is checked and installed, or with why not.
    End(oneshot::Sender<Result<(), String>>),
}

/// Why a snapshot was not delivered. In every case the receiver does not have it, or the sender
/// cannot know that it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// No connection.
    #[error("the snapshot was not sent: {0}")]
    NotSent(String),
    /// The receiver does not want it, or could not install it.
    #[error("the receiver refused the snapshot: {0}")]
    Refused(String),
    /// Our own source of chunks failed.
    #[error("read the snapshot: {0}")]
    Source(String),
    /// The connection broke, or one side stood still.
    #[error("the snapshot was cut off: {0}")]
    Lost(String),
}

/// Where the chunks of a snapshot come from.
///
/// A channel fed by a thread keeps slow disks away from the runtime (the sender of the channel
/// waits when the network is slower). A closure is called on the runtime: for simulation and tests.
pub trait ChunkSource: Send {
    /// The next chunk, at most [`CHUNK_BYTES_MAX`]; `None` after the last one.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, String>> + Send;
}

impl ChunkSource for mpsc::Receiver<Result<Option<Bytes>, String>> {
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        // Closed without `Ok(None)`: the thread died, and half a snapshot must not look whole.
        self.recv().await.unwrap_or_else(|| Err("the source ended early".to_owned()))
    }
}

impl<F, E> ChunkSource for F
where
    F: FnMut() -> Result<Option<Bytes>, E> + Send,
    E: Display,
{
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        self().map_err(|error| error.to_string())
    }
}

/// The body of a `SnapshotAck`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ack {
    /// Still at it; so many chunks are taken.
    Progress(u64),
    /// The driver wants it: send chunks.
    Accepted,
    /// Installed.
    Done,
    /// Not wanted, or not usable.
    Refused(String),
}

impl Ack {
    fn encode(&self) -> Vec<u8> {
        let (status, chunks, why) = match self {
            Ack::Progress(chunks) => (0, *chunks, ""),
            Ack::Accepted => (1, 0, ""),
            Ack::Done => (2, 0, ""),
            Ack::Refused(why) => (3, 0, why.as_str()),
        };
        let mut out = vec![status];
        out.extend_from_slice(&u64::to_le_bytes(chunks));
        out.extend_from_slice(reason(why).as_bytes());
        out
    }

    fn decode(body: Bytes) -> Result<Ack, CodecError> {
        let mut fields = Fields::new(body);
        let status = fields.u8("status")?;
        let chunks = fields.u64("chunks")?;
        match status {
            0 => Ok(Ack::Progress(chunks)),
            1 => Ok(Ack::Accepted),
            2 => Ok(Ack::Done),
            3 => Ok(Ack::Refused(text(fields.rest()))),
            other => Err(CodecError::Unknown { what: "snapshot status", found: other.into() }),
        }
    }
}

/// A text cut to what may be sent.
pub(crate) fn reason(why: &str) -> &str {
    let mut end = why.len().min(REASON_BYTES_MAX);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    &why[..end]
}

/// A received text, for logs: cut again, since the other side may not have.
pub(crate) fn text(bytes: Bytes) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(REASON_BYTES_MAX)]).into_owned()
}

/// Sends one snapshot on a connection of its own.
pub(crate) async fn send<N: Net>(
    shared: &Shared<N>,
    message: &Message,
    chunks: impl ChunkSource,
) -> Result<(), SnapshotError> {
    let node = message.to;
    assert_eq!(message.kind, MessageKind::Snapshot, "only snapshots have chunks");
    let Connection { mut reader, mut writer, version, peer, incarnation } =
        dial(shared, node, Purpose::Snapshot)
            .await
            .map_err(|broken| SnapshotError::NotSent(broken.to_string()))?;
    let times = &shared.local.timing;
    let (taken, acked) = watch::channel(None);
    let changed =
        readdressed(&shared.directory, shared.directory.editions(), node, &peer, incarnation);
    let outcome = tokio::select! {
        // A refusal is already here when the writer's failure shows.
        biased;
        outcome = read_acks(&mut reader, times.snapshot_idle, &taken) => outcome,
        error = write_chunks(&mut writer, version, message, chunks, times, acked) => Err(error),
        broken = changed => Err(SnapshotError::Lost(broken.to_string())),
    };
    if let Err(error) = &outcome {
        let body = reason(&error.to_string()).as_bytes().to_vec();
        let abort = write_frame(&mut writer, FrameKind::SnapshotAbort, version, &body);
        // Only a courtesy: the closed connection says the same.
        let _ = within(crate::limits::FAREWELL, "the abort", abort).await;
    }
    outcome
}

/// The receiver's word. Ends with the outcome.
async fn read_acks<S: AsyncRead + Unpin>(
    reader: &mut FrameReader<ReadHalf<S>>,
    idle: Duration,
    taken: &watch::Sender<Option<u64>>,
) -> Result<(), SnapshotError> {
    let lost = |broken: Broken| SnapshotError::Lost(broken.to_string());
    loop {
        let frame = connection::read_frame(reader, idle).await.map_err(lost)?;
        match frame.kind {
            FrameKind::SnapshotAck => match Ack::decode(frame.body).map_err(|e| lost(e.into()))? {
                Ack::Progress(chunks) => {
                    // Before the driver has decided, progress only says: still there.
                    taken.send_if_modified(|known| match known {
                        Some(known) => std::mem::replace(known, chunks) != chunks,
                        None => false,
                    });
                }
                Ack::Accepted => {
                    taken.send_replace(Some(0));
                }
                Ack::Done => return Ok(()),
                Ack::Refused(why) => return Err(SnapshotError::Refused(why)),
            },
            FrameKind::Refused => {
                let why = Refusal::decode(frame.body).map_err(|e| lost(e.into()))?;
                return Err(SnapshotError::Refused(why.to_string()));
            }
            _ => return Err(lost(Broken::Protocol("only acknowledgements come back"))),
        }
    }
}

/// Returns only when it fails; the outcome comes from the receiver.
async fn write_chunks<S: AsyncRead + AsyncWrite>(
    writer: &mut WriteHalf<S>,
    version: u16,
    message: &Message,
    mut chunks: impl ChunkSource,
    times: &crate::limits::Timing,
    mut acked: watch::Receiver<Option<u64>>,
) -> SnapshotError {
    let lost = |broken: Broken| SnapshotError::Lost(broken.to_string());
    let idle = times.snapshot_idle;
    let mut body = Vec::new();
    codec::encode(message, &mut body);
    if body.len() > FRAME_BYTES_MAX - frame::HEADER_BYTES {
        return SnapshotError::Source("the message fits into no frame".to_owned());
    }
    let begin = write_frame(writer, FrameKind::SnapshotBegin, version, &body);
    if let Err(broken) = within(idle, "the beginning", begin).await.and_then(|done| done) {
        return lost(broken);
    }
    let mut number: u64 = 0;
    loop {
        let room = acked.wait_for(|taken| {
            taken.is_some_and(|taken| number.saturating_sub(taken) < CHUNKS_IN_FLIGHT_MAX)
        });
        // Twice: the receiver notices its own stall first and can say so.
        let room = within(idle * 2, "progress of the receiver", room).await.map(|_| ());
        if let Err(broken) = room {
            return lost(broken);
        }
        let chunk = match within(idle, "reading a chunk", chunks.next()).await {
            Ok(Ok(Some(chunk))) if chunk.len() <= CHUNK_BYTES_MAX => chunk,
            Ok(Ok(Some(chunk))) => {
                return SnapshotError::Source(format!("a chunk has {} bytes", chunk.len()));
            }
            Ok(Ok(None)) => break,
            Ok(Err(why)) => return SnapshotError::Source(why),
            Err(broken) => return SnapshotError::Source(broken.to_string()),
        };
        let written = write_chunk(writer, version, number, chunk);
        if let Err(broken) = within(idle, "writing a chunk", written).await.and_then(|done| done) {
            return lost(broken);
        }
        number += 1;
    }
    let count = number.to_le_bytes();
    let end = write_frame(writer, FrameKind::SnapshotEnd, version, &count);
    if let Err(broken) = within(idle, "the end", end).await.and_then(|done| done) {
        return lost(broken);
    }
    match within(times.snapshot_finish, "the installation", pending::<()>()).await {
        Ok(()) => unreachable!("pending never ends"),
        Err(broken) => lost(broken),
    }
}

/// Without copying the chunk: header and number go before it.
async fn write_chunk<S: AsyncRead + AsyncWrite>(
    writer: &mut WriteHalf<S>,
    version: u16,
    number: u64,
    chunk: Bytes,
) -> Result<(), Broken> {
    let number = number.to_le_bytes();
    let header = frame::header(FrameKind::SnapshotChunk, version, &[&number, &chunk]);
    let mut whole = (&header[..]).chain(&number[..]).chain(chunk);
    writer.write_all_buf(&mut whole).await.map_err(Broken::Write)?;
    writer.flush().await.map_err(Broken::Write)
}

/// The receiver's side of the connection.
struct Receiving<'a, N: Net> {
    shared: &'a Shared<N>,
    version: u16,
    writer: &'a mut WriteHalf<N::Stream>,
    /// Chunks handed to the driver.
    taken: u64,
}

/// Hands one snapshot to the driver.
pub(crate) async fn serve<N: Net>(
    shared: &Shared<N>,
    from: NodeId,
    version: u16,
    reader: &mut FrameReader<ReadHalf<N::Stream>>,
    writer: &mut WriteHalf<N::Stream>,
) -> Broken {
    let mut receiving = Receiving { shared, version, writer, taken: 0 };
    match receiving.run(from, reader).await {
        Ok(answer) => match receiving.ack(&answer).await {
            Ok(()) => Broken::Closed,
            Err(broken) => broken,
        },
        Err(broken) => {
            // A courtesy: the sender then knows more than that the connection closed.
            let _ = receiving.ack(&Ack::Refused(broken.to_string())).await;
            broken
        }
    }
}

impl<N: Net> Receiving<'_, N> {
    async fn run(
        &mut self,
        from: NodeId,
        reader: &mut FrameReader<ReadHalf<N::Stream>>,
    ) -> Result<Ack, Broken> {
        let idle = self.shared.local.timing.snapshot_idle;
        let frame = connection::read_frame(reader, idle).await?;
        if frame.kind != FrameKind::SnapshotBegin {
            return Err(Broken::Protocol("a snapshot begins with its message"));
        }
        let message = codec::decode(frame.body)?;
        let addressed = message.from == from && message.to == self.shared.local.node;
        if message.kind != MessageKind::Snapshot || message.snapshot.is_none() || !addressed {
            return Err(Broken::Protocol("not the message of this sender's snapshot"));
        }
        let (sink, decision) = oneshot::channel();
        let bytes = codec::encoded_len(&message);
        let event = Event::SnapshotBegin { from, message, sink };
        if self.shared.inbox.put(event, bytes).await.is_err() {
            return Err(Broken::Stopping);
        }
        let decision = self.busy(idle, "the decision about a snapshot", decision).await?;
        let Ok(Some(sink)) = decision else {
            return Ok(Ack::Refused("not wanted".to_owned()));
        };
        self.ack(&Ack::Accepted).await?;
        self.take_chunks(reader, sink).await
    }

    async fn take_chunks(
        &mut self,
        reader: &mut FrameReader<ReadHalf<N::Stream>>,
        sink: mpsc::Sender<SnapshotPart>,
    ) -> Result<Ack, Broken> {
        let idle = self.shared.local.timing.snapshot_idle;
        loop {
            // Twice: the sender notices first when its own disk stalls, and can say so.
            let next = reader.next();
            let next = self.busy(idle * 2, "the next chunk", next);
            let frame = next.await??.ok_or(Broken::Closed)?;
            let mut fields = Fields::new(frame.body);
            match frame.kind {
                FrameKind::SnapshotChunk => {
                    self.check_count(fields.u64("chunk number")?)?;
                    let chunk = fields.rest();
                    if chunk.len() > CHUNK_BYTES_MAX {
                        return Err(Broken::Protocol("a chunk is too long"));
                    }
                    let hand_over = sink.send(SnapshotPart::Chunk(chunk));
                    if self.busy(idle, "storing a chunk", hand_over).await?.is_err() {
                        return Ok(Ack::Refused("given up by the receiver".to_owned()));
                    }
                    self.taken += 1;
                    if self.taken.is_multiple_of(CHUNKS_PER_ACK) {
                        self.ack(&Ack::Progress(self.taken)).await?;
                    }
                }
                FrameKind::SnapshotEnd => {
                    self.check_count(fields.u64("chunks")?)?;
                    fields.end()?;
                    return self.finish(sink).await;
                }
                FrameKind::SnapshotAbort => return Err(Broken::Closed),
                _ => return Err(Broken::Protocol("neither a chunk nor the end")),
            }
        }
    }

    async fn finish(&mut self, sink: mpsc::Sender<SnapshotPart>) -> Result<Ack, Broken> {
        let (done, outcome) = oneshot::channel();
        let install = async {
            sink.send(SnapshotPart::End(done)).await.ok()?;
            outcome.await.ok()
        };
        let limit = self.shared.local.timing.snapshot_finish;
        Ok(match self.busy(limit, "installing a snapshot", install).await? {
            Some(Ok(())) => Ack::Done,
            Some(Err(why)) => Ack::Refused(why),
            None => Ack::Refused("given up by the receiver".to_owned()),
        })
    }

    fn check_count(&self, claimed: u64) -> Result<(), Broken> {
        if claimed == self.taken { Ok(()) } else { Err(Broken::Protocol("a chunk is missing")) }
    }

    /// Waits for something, and lets the sender know meanwhile that nobody died.
    async fn busy<T>(
        &mut self,
        limit: Duration,
        what: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, Broken> {
        let mut signs = interval(self.shared.local.timing.snapshot_idle / 4);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        signs.reset();
        let work = within(limit, what, work);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = signs.tick() => self.ack(&Ack::Progress(self.taken)).await?,
            }
        }
    }

    async fn ack(&mut self, ack: &Ack) -> Result<(), Broken> {
        let body = ack.encode();
        let write = write_frame(self.writer, FrameKind::SnapshotAck, self.version, &body);
        let idle = self.shared.local.timing.snapshot_idle;
        within(idle, "an acknowledgement", write).await.and_then(|done| done)
    }
}
