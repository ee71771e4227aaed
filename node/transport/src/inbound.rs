//! The listening side: who may come in, and what comes from them.
//!
//! Strangers are limited in number, time and bytes. A member has at most one connection per
//! purpose: a newer one takes the place of the older, whose other end is probably gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use pgraft_replica::{MessageKind, NodeId};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::codec;
use crate::connection::{self, Broken, within, write_frame};
use crate::directory::Standing;
use crate::frame::{Frame, FrameKind, FrameReader};
use crate::handshake::{HANDSHAKE_VERSION, Hello, Join, Purpose, Refusal, Welcome, judge};
use crate::inbox::Gone;
use crate::limits::{
    ACCEPT_PAUSE, FAREWELL, FRAME_BYTES_MAX, GREETING_BYTES_MAX, RPC_BYTES_MAX, STRANGERS_MAX,
};
use crate::net::Net;
use crate::transport::{Event, Shared, spawn};
use crate::{rpc, snapshot};

/// Both halves of an accepted connection.
struct Accepted<S> {
    reader: FrameReader<ReadHalf<S>>,
    writer: WriteHalf<S>,
    from: String,
}

/// The connections of members, one per member and purpose.
#[derive(Debug, Default)]
pub(crate) struct Doors(Mutex<BTreeMap<(NodeId, Purpose), oneshot::Sender<()>>>);

impl Doors {
    /// Takes the place of an older connection; the receiver tells when it is taken in turn.
    fn enter(&self, node: NodeId, purpose: Purpose) -> oneshot::Receiver<()> {
        let (replaced, told) = oneshot::channel();
        let mut doors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Dropping the older sender tells the older connection.
        doors.insert((node, purpose), replaced);
        // Members come and go; what they left behind does not pile up.
        doors.retain(|_, replaced| !replaced.is_closed());
        told
    }
}

/// Accepts until the transport stops.
pub(crate) async fn listen<N: Net>(shared: &Arc<Shared<N>>, mut listener: N::Listener) {
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    loop {
        let (stream, from) = match shared.net.accept(&mut listener).await {
            Ok(accepted) => accepted,
            Err(error) => {
                shared.complaints.warn(None, "", &error);
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&strangers).try_acquire_owned() else {
            shared.complaints.warn(None, &from, &"too many connections without a handshake");
            continue;
        };
        let (read, writer) = tokio::io::split(stream);
        let reader = FrameReader::new(read, HANDSHAKE_VERSION, GREETING_BYTES_MAX);
        let accepted = Accepted { reader, writer, from };
        let guest = Arc::clone(shared);
        spawn(shared, async move { greet(&guest, accepted, permit).await });
    }
}

/// One connection from its first byte to its last.
async fn greet<N: Net>(
    shared: &Shared<N>,
    mut accepted: Accepted<N::Stream>,
    permit: OwnedSemaphorePermit,
) {
    let handshake = shared.local.timing.handshake;
    // From the first byte to the last: a stranger that trickles gets no more time.
    let first = within(handshake, "the handshake", accepted.reader.next()).await;
    let first = first.and_then(|frame| frame?.ok_or(Broken::Closed));
    let (known, broken) = match first {
        Ok(Frame { kind: FrameKind::Hello, body }) => match Hello::decode(body) {
            Ok(hello) => admit(shared, &mut accepted, hello, permit).await,
            Err(error) => (None, error.into()),
        },
        Ok(Frame { kind: FrameKind::Join, body }) => match Join::decode(body) {
            Ok(join) => (None, invite(shared, &mut accepted, join).await),
            Err(error) => (None, error.into()),
        },
        Ok(_) => (None, Broken::Protocol("a connection begins with a greeting")),
        Err(broken) => (None, broken),
    };
    if broken.is_suspicious() {
        shared.complaints.warn(known, &accepted.from, &broken);
    } else {
        tracing::debug!(from = accepted.from, "inbound connection ended: {broken}");
    }
}

/// Judges a greeting and serves whom it lets in. Who it was, if a member, and how it ended.
async fn admit<N: Net>(
    shared: &Shared<N>,
    accepted: &mut Accepted<N::Stream>,
    hello: Hello,
    permit: OwnedSemaphorePermit,
) -> (Option<NodeId>, Broken) {
    let standing = shared.directory.standing(hello.from);
    // Only ids that the driver named: a stranger must not fill our memory with made-up ones.
    let known = (standing != Standing::Unknown).then_some(hello.from);
    let version = match judge(&shared.local, standing, &hello) {
        Ok(version) => version,
        Err(why) => {
            if why == Refusal::UnknownNode {
                // It comes again: nothing is lost when the driver has no time now.
                let _full = shared.inbox.small().try_send(Event::Stranger(hello.from));
            }
            refuse(accepted, HANDSHAKE_VERSION, why).await;
            return (known, Broken::WeRefuse(why));
        }
    };
    let (node, incarnation) = (shared.local.node, shared.local.incarnation);
    let welcome = Welcome { version, node, incarnation }.encode();
    let answer = write_frame(&mut accepted.writer, FrameKind::Welcome, HANDSHAKE_VERSION, &welcome);
    let answered = within(shared.local.timing.handshake, "the handshake", answer).await;
    if let Err(broken) = answered.and_then(|done| done) {
        return (known, broken);
    }
    drop(permit);
    accepted.reader.agree(version, FRAME_BYTES_MAX);
    let replaced = shared.doors.enter(hello.from, hello.purpose);
    let broken = tokio::select! {
        biased;
        broken = serve(shared, accepted, &hello, version) => broken,
        why = no_longer_welcome(shared, &hello) => Broken::WeRefuse(why),
        _ = replaced => Broken::Replaced,
    };
    if let Broken::WeRefuse(why) = broken {
        refuse(accepted, version, why).await;
    }
    (known, broken)
}

async fn serve<N: Net>(
    shared: &Shared<N>,
    accepted: &mut Accepted<N::Stream>,
    hello: &Hello,
    version: u16,
) -> Broken {
    let Accepted { reader, writer, .. } = accepted;
    match hello.purpose {
        Purpose::Messages => take_messages(shared, hello.from, version, reader, writer).await,
        Purpose::Requests => rpc::serve(shared, hello.from, version, reader, writer).await,
        Purpose::Snapshot => snapshot::serve(shared, hello.from, version, reader, writer).await,
    }
}

async fn take_messages<N: Net>(
    shared: &Shared<N>,
    from: NodeId,
    version: u16,
    reader: &mut FrameReader<ReadHalf<N::Stream>>,
    writer: &mut WriteHalf<N::Stream>,
) -> Broken {
    let silence = shared.local.timing.silence;
    loop {
        let taken = take_message(shared, from, reader);
        let taken = connection::with_signs_of_life(writer, version, silence, taken).await;
        let ping = match taken.and_then(|taken| taken) {
            Ok(None) => continue,
            Ok(Some(ping)) => ping,
            Err(broken) => return broken,
        };
        let pong = write_frame(writer, FrameKind::Pong, version, &ping);
        if let Err(broken) = within(silence, "a write", pong).await.and_then(|done| done) {
            return broken;
        }
    }
}

/// Takes one frame; the body of a ping comes back.
async fn take_message<N: Net>(
    shared: &Shared<N>,
    from: NodeId,
    reader: &mut FrameReader<ReadHalf<N::Stream>>,
) -> Result<Option<Bytes>, Broken> {
    let frame = connection::read_frame(reader, shared.local.timing.silence * 2).await?;
    match frame.kind {
        FrameKind::Message => {
            let bytes = frame.body.len();
            let message = codec::decode(frame.body)?;
            if message.from != from || message.to != shared.local.node {
                return Err(Broken::Protocol("a message of another sender or receiver"));
            }
            if message.kind == MessageKind::Snapshot {
                return Err(Broken::Protocol("a snapshot without its data"));
            }
            let told = shared.inbox.put(Event::Received(message), bytes).await;
            told.map(|()| None).map_err(|Gone| Broken::Stopping)
        }
        FrameKind::Ping if frame.body.len() == 8 => Ok(Some(frame.body)),
        _ => Err(Broken::Protocol("a dialler sends only messages here")),
    }
}

/// Returns when the driver has changed its mind about a member that is connected.
async fn no_longer_welcome<N: Net>(shared: &Shared<N>, hello: &Hello) -> Refusal {
    let mut editions = shared.directory.editions();
    loop {
        if let Err(why) = judge(&shared.local, shared.directory.standing(hello.from), hello) {
            return why;
        }
        if editions.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Says why, and gives the other side a moment to read it.
async fn refuse<S>(accepted: &mut Accepted<S>, version: u16, why: Refusal)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let farewell = async {
        let body = why.encode();
        write_frame(&mut accepted.writer, FrameKind::Refused, version, &body).await?;
        accepted.writer.shutdown().await.map_err(Broken::Write)?;
        accepted.reader.drain().await;
        Ok::<(), Broken>(())
    };
    let _ = timeout(FAREWELL, farewell).await;
}

/// Hands a request to join to the driver, and its answer back.
async fn invite<N: Net>(
    shared: &Shared<N>,
    accepted: &mut Accepted<N::Stream>,
    join: Result<Join, Refusal>,
) -> Broken {
    let token = &shared.local.token;
    let join =
        join.and_then(|join| if join.knows(token) { Ok(join) } else { Err(Refusal::WrongToken) });
    let join = match join {
        Ok(join) => join,
        Err(why) => {
            refuse(accepted, HANDSHAKE_VERSION, why).await;
            return Broken::WeRefuse(why);
        }
    };
    let (reply, answer) = oneshot::channel();
    let bytes = join.request.len();
    let event = Event::Join { request: join.request, reply };
    let patience = shared.local.timing.join;
    let ask = async {
        shared.inbox.put(event, bytes).await.map_err(|Gone| Broken::Stopping)?;
        let answer = answer.await;
        let (status, body) = match &answer {
            Ok(Ok(body)) if body.len() <= RPC_BYTES_MAX => (0, &body[..]),
            Ok(Ok(_)) => (1, &b"the answer fits into no frame"[..]),
            Ok(Err(why)) => (1, snapshot::reason(why).as_bytes()),
            Err(_) => (1, &b"the node gave no answer"[..]),
        };
        let body = [&[status], body].concat();
        let kind = FrameKind::JoinAnswer;
        write_frame(&mut accepted.writer, kind, HANDSHAKE_VERSION, &body).await
    };
    match within(patience, "a request to join", ask).await.and_then(|done| done) {
        Ok(()) => Broken::Closed,
        Err(broken) => broken,
    }
}
