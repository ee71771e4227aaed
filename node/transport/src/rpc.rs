//! Requests between nodes: one connection per direction, replies in any order.
//!
//! The caller learns which of three things happened when there is no reply: the request never
//! left, it may have been handled, or time ran out. Repeating the second kind safely is the
//! business of sessions (exactly once), not of the transport.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pgraft_replica::NodeId;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::backoff::Backoff;
use crate::connection::{self, Broken, Connection, dial, readdressed, signs_of_life};
use crate::fields::{CodecError, Fields};
use crate::frame::{self, FrameKind, FrameReader};
use crate::handshake::{Purpose, Refusal};
use crate::limits::{
    ANSWERS_QUEUED_MAX, CALLS_IN_FLIGHT_MAX, CALLS_QUEUED_BYTES_MAX, CALLS_QUEUED_MAX,
    HANDLED_BYTES_UNIT, HANDLED_UNITS_MAX, RPC_BYTES_MAX, TURN_BYTES_MAX,
};
use crate::net::Net;
use crate::peer::{PeerLink, append_ping};
use crate::transport::{Event, Shared};

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// It was not sent: no such peer, no connection, the queue is full, or time ran out before.
    #[error("the request was not sent")]
    NotSent,
    /// It was sent and the connection broke, or the peer gave no reply: it may have been handled.
    #[error("the request was sent, its reply was lost")]
    Lost,
    /// It was sent and the deadline passed: it may have been handled, or still be.
    #[error("no reply in time")]
    TimedOut,
    /// It is larger than [`RPC_BYTES_MAX`]; not sent.
    #[error("the request has {0} bytes, at most {RPC_BYTES_MAX} are allowed")]
    TooLarge(usize),
}

impl RpcError {
    /// Whether the request may have had an effect.
    pub fn may_have_been_handled(self) -> bool {
        matches!(self, RpcError::Lost | RpcError::TimedOut)
    }
}

/// One request on its way. Dropping it answers it: `sent` says how.
#[derive(Debug)]
struct Call {
    body: Bytes,
    deadline: Instant,
    sent: Arc<AtomicBool>,
    reply: oneshot::Sender<Bytes>,
}

/// Requests to one peer that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    waiting: Mutex<(VecDeque<Call>, usize)>,
    wake: Notify,
}

impl Calls {
    fn push(&self, call: Call) -> Result<(), RpcError> {
        self.with(|(queue, bytes)| {
            let total = *bytes + call.body.len();
            let full = queue.len() >= CALLS_QUEUED_MAX || total > CALLS_QUEUED_BYTES_MAX;
            // A single request is let through whatever its size: its own limit bounds it.
            if full && !queue.is_empty() {
                return Err(RpcError::NotSent);
            }
            *bytes = total;
            queue.push_back(call);
            Ok(())
        })?;
        self.wake.notify_one();
        Ok(())
    }

    /// Everything that waits becomes [`RpcError::NotSent`].
    pub(crate) fn clear(&self) {
        let dropped = self.with(|(queue, bytes)| {
            *bytes = 0;
            std::mem::take(queue)
        });
        drop(dropped);
    }

    async fn ready(&self) {
        while self.with(|(queue, _)| queue.is_empty()) {
            self.wake.notified().await;
        }
    }

    fn pop(&self) -> Option<Call> {
        self.with(|(queue, bytes)| {
            let call = queue.pop_front()?;
            *bytes -= call.body.len();
            Some(call)
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut (VecDeque<Call>, usize)) -> T) -> T {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Asks, and waits for the reply until the deadline.
pub(crate) async fn ask(
    link: &PeerLink,
    body: Bytes,
    patience: Duration,
) -> Result<Bytes, RpcError> {
    if body.len() > RPC_BYTES_MAX {
        return Err(RpcError::TooLarge(body.len()));
    }
    let deadline = Instant::now() + patience;
    let (reply, answer) = oneshot::channel();
    let sent = Arc::new(AtomicBool::new(false));
    link.calls.push(Call { body, deadline, sent: Arc::clone(&sent), reply })?;
    let (outcome, otherwise) = match timeout_at(deadline, answer).await {
        Ok(Ok(reply)) => return Ok(reply),
        Ok(Err(_)) => (sent, RpcError::Lost),
        Err(_) => (sent, RpcError::TimedOut),
    };
    Err(if outcome.load(Ordering::Relaxed) { otherwise } else { RpcError::NotSent })
}

/// Keeps a connection for requests while there are any, for as long as the link is open.
pub(crate) async fn run<N: Net>(shared: &Shared<N>, link: &PeerLink) {
    let times = &shared.local.timing;
    let seed = shared.local.seed.rotate_left(17);
    let mut pauses = Backoff::new(times.reconnect_min, times.reconnect_max, seed, link.node);
    loop {
        link.calls.ready().await;
        let broken = match dial(shared, link.node, Purpose::Requests).await {
            Ok(connection) => {
                pauses.reset();
                converse(shared, link, connection).await
            }
            Err(broken) => {
                link.calls.clear();
                refuse_for(link, pauses.next()).await;
                broken
            }
        };
        if broken.is_suspicious() {
            shared.complaints.warn(Some(link.node), "", &broken);
        } else {
            tracing::debug!(peer = link.node.get(), "connection for requests ended: {broken}");
        }
    }
}

/// The peer did not answer a moment ago: callers learn it at once and may ask somebody else.
async fn refuse_for(link: &PeerLink, pause: Duration) {
    let refuse = async {
        loop {
            link.calls.ready().await;
            link.calls.clear();
        }
    };
    let _: Result<(), _> = timeout(pause, refuse).await;
}

type InFlight = Mutex<BTreeMap<u64, Call>>;

async fn converse<N: Net>(
    shared: &Shared<N>,
    link: &PeerLink,
    connection: Connection<N::Stream>,
) -> Broken {
    let Connection { mut reader, mut writer, version, peer, incarnation } = connection;
    let silence = shared.local.timing.silence;
    // Dropped with this function: every call in it is then Lost.
    let in_flight = InFlight::default();
    let room = Notify::new();
    let changed =
        readdressed(&shared.directory, shared.directory.editions(), link.node, &peer, incarnation);
    tokio::select! {
        biased;
        broken = read_replies(shared, link, &mut reader, silence, &in_flight, &room) => broken,
        broken = write_calls(link, &mut writer, version, silence, &in_flight, &room) => broken,
        broken = changed => broken,
    }
}

fn lock(in_flight: &InFlight) -> std::sync::MutexGuard<'_, BTreeMap<u64, Call>> {
    in_flight.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write_calls<S: AsyncRead + AsyncWrite>(
    link: &PeerLink,
    writer: &mut WriteHalf<S>,
    version: u16,
    silence: Duration,
    in_flight: &InFlight,
    room: &Notify,
) -> Broken {
    let since = Instant::now();
    let mut pings = signs_of_life(silence);
    let mut next_id = 0;
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let ready = async {
            while lock(in_flight).len() >= CALLS_IN_FLIGHT_MAX {
                room.notified().await;
            }
            link.calls.ready().await;
        };
        tokio::select! {
            biased;
            _ = pings.tick() => {
                // Those whose caller has gone need no reply any more.
                lock(in_flight).retain(|_, call| !call.reply.is_closed());
                room.notify_one();
                append_ping(&mut buffer, version, since);
            }
            () = ready => append_calls(link, in_flight, &mut next_id, &mut buffer, version),
        }
        if let Err(broken) = connection::write_frames(writer, &buffer, silence).await {
            return broken;
        }
    }
}

/// One turn of requests. They count as sent from here on: part of them may arrive.
fn append_calls(
    link: &PeerLink,
    in_flight: &InFlight,
    next_id: &mut u64,
    buffer: &mut Vec<u8>,
    version: u16,
) {
    let mut in_flight = lock(in_flight);
    while buffer.len() < TURN_BYTES_MAX && in_flight.len() < CALLS_IN_FLIGHT_MAX {
        let Some(mut call) = link.calls.pop() else { break };
        let left = call.deadline.saturating_duration_since(Instant::now());
        if call.reply.is_closed() || left.is_zero() {
            continue;
        }
        let left_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
        *next_id += 1;
        let start = frame::begin(buffer);
        buffer.extend_from_slice(&next_id.to_le_bytes());
        buffer.extend_from_slice(&left_ms.to_le_bytes());
        buffer.extend_from_slice(&std::mem::take(&mut call.body));
        frame::finish(buffer, start, FrameKind::Request, version);
        call.sent.store(true, Ordering::Relaxed);
        in_flight.insert(*next_id, call);
    }
}

async fn read_replies<N: Net>(
    shared: &Shared<N>,
    link: &PeerLink,
    reader: &mut FrameReader<ReadHalf<N::Stream>>,
    silence: Duration,
    in_flight: &InFlight,
    room: &Notify,
) -> Broken {
    loop {
        let frame = match connection::read_frame(reader, silence).await {
            Ok(frame) => frame,
            Err(broken) => return broken,
        };
        match frame.kind {
            FrameKind::Pong => {}
            FrameKind::Response => match Reply::decode(frame.body) {
                Ok(Reply { id, body }) => {
                    let call = lock(in_flight).remove(&id);
                    room.notify_one();
                    // No body: the peer gave no reply. Dropping the call says Lost.
                    if let (Some(call), Some(body)) = (call, body) {
                        let _gone = call.reply.send(body);
                    }
                }
                Err(error) => return error.into(),
            },
            FrameKind::Refused => {
                return match Refusal::decode(frame.body) {
                    Ok(why) => {
                        shared.reports.refused(link.node, why);
                        Broken::Refused(why)
                    }
                    Err(error) => error.into(),
                };
            }
            _ => return Broken::Protocol("a listener sends only replies here"),
        }
    }
}

/// The body of a `Response`.
struct Reply {
    id: u64,
    body: Option<Bytes>,
}

impl Reply {
    fn decode(body: Bytes) -> Result<Reply, CodecError> {
        let mut fields = Fields::new(body);
        let id = fields.u64("request id")?;
        match fields.u8("status")? {
            0 => Ok(Reply { id, body: Some(fields.rest()) }),
            1 => {
                fields.end()?;
                Ok(Reply { id, body: None })
            }
            other => Err(CodecError::Unknown { what: "reply status", found: other.into() }),
        }
    }

    fn append(&self, buffer: &mut Vec<u8>, version: u16) {
        let start = frame::begin(buffer);
        buffer.extend_from_slice(&self.id.to_le_bytes());
        buffer.push(u8::from(self.body.is_none()));
        buffer.extend_from_slice(self.body.as_deref().unwrap_or_default());
        frame::finish(buffer, start, FrameKind::Response, version);
    }
}

/// The listener's side: hands requests to the driver, and replies back as they come.
pub(crate) async fn serve<N: Net>(
    shared: &Shared<N>,
    from: NodeId,
    version: u16,
    reader: &mut FrameReader<ReadHalf<N::Stream>>,
    writer: &mut WriteHalf<N::Stream>,
) -> Broken {
    let (answers, waiting) = mpsc::channel(ANSWERS_QUEUED_MAX);
    let silence = shared.local.timing.silence;
    // Dropped with this function: nobody waits for those replies any more.
    let mut handlers = JoinSet::new();
    tokio::select! {
        biased;
        broken = read_requests(shared, from, version, reader, &mut handlers, answers) => broken,
        broken = write_answers(writer, version, waiting, silence) => broken,
    }
}

async fn read_requests<N: Net>(
    shared: &Shared<N>,
    from: NodeId,
    version: u16,
    reader: &mut FrameReader<ReadHalf<N::Stream>>,
    handlers: &mut JoinSet<()>,
    answers: mpsc::Sender<Vec<u8>>,
) -> Broken {
    let room = Arc::new(Semaphore::new(HANDLED_UNITS_MAX));
    loop {
        while handlers.try_join_next().is_some() {}
        let frame = match connection::read_frame(reader, shared.local.timing.silence * 2).await {
            Ok(frame) => frame,
            Err(broken) => return broken,
        };
        match frame.kind {
            FrameKind::Ping if frame.body.len() == 8 => {
                let mut pong = Vec::new();
                frame::append(&mut pong, FrameKind::Pong, version, &frame.body);
                if answers.send(pong).await.is_err() {
                    return Broken::Stopping;
                }
            }
            FrameKind::Request => {
                let request = match Request::decode(frame.body) {
                    Ok(request) => request,
                    Err(error) => return error.into(),
                };
                // No room: the rest waits in the socket, which holds the caller back.
                let units = request.body.len().div_ceil(HANDLED_BYTES_UNIT).max(1);
                let units = u32::try_from(units).expect("limited by the frame");
                let Ok(permit) = Arc::clone(&room).acquire_many_owned(units).await else {
                    return Broken::Stopping;
                };
                let (reply, answer) = oneshot::channel();
                let bytes = request.body.len();
                let event = Event::Rpc { from, body: request.body, reply };
                if shared.inbox.put(event, bytes).await.is_err() {
                    return Broken::Stopping;
                }
                let answers = answers.clone();
                handlers.spawn(async move {
                    answer_one(request.id, request.left, answer, answers, version).await;
                    drop(permit);
                });
            }
            _ => return Broken::Protocol("a dialler sends only requests here"),
        }
    }
}

/// The body of a `Request`.
struct Request {
    id: u64,
    left: Duration,
    body: Bytes,
}

impl Request {
    fn decode(body: Bytes) -> Result<Request, CodecError> {
        let mut fields = Fields::new(body);
        let id = fields.u64("request id")?;
        let left = Duration::from_millis(fields.u32("time left")?.into());
        Ok(Request { id, left, body: fields.rest() })
    }
}

async fn answer_one(
    id: u64,
    left: Duration,
    answer: oneshot::Receiver<Bytes>,
    answers: mpsc::Sender<Vec<u8>>,
    version: u16,
) {
    // After its deadline the caller is gone, and so is the driver's reason to answer.
    let Ok(answer) = timeout(left, answer).await else { return };
    let mut body = answer.ok();
    if let Some(bytes) = body.as_ref().map(Bytes::len).filter(|bytes| *bytes > RPC_BYTES_MAX) {
        tracing::error!(bytes, "reply fits into no frame");
        body = None;
    }
    let mut buffer = Vec::new();
    Reply { id, body }.append(&mut buffer, version);
    let _gone = answers.send(buffer).await;
}

async fn write_answers<S: AsyncRead + AsyncWrite>(
    writer: &mut WriteHalf<S>,
    version: u16,
    mut waiting: mpsc::Receiver<Vec<u8>>,
    silence: Duration,
) -> Broken {
    let mut signs = signs_of_life(silence);
    let mut turn = Vec::new();
    loop {
        turn.clear();
        tokio::select! {
            biased;
            received = waiting.recv_many(&mut turn, ANSWERS_QUEUED_MAX) => if received == 0 {
                return Broken::Stopping;
            },
            _ = signs.tick() => {
                let mut sign = Vec::new();
                frame::append(&mut sign, FrameKind::Pong, version, &[]);
                turn.push(sign);
            }
        }
        // One write for all of them; a single large one is not copied.
        let frames = if turn.len() == 1 { turn.swap_remove(0) } else { turn.concat() };
        if let Err(broken) = connection::write_frames(writer, &frames, silence).await {
            return broken;
        }
    }
}
