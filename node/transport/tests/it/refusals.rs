//! What a node says to those it does not let in, and to those who stop making sense.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use pgraft_replica::{Message, MessageKind, Term};
use pgraft_transport::frame::{self, Frame, FrameKind, FrameReader};
use pgraft_transport::handshake::{HANDSHAKE_VERSION, Hello, Purpose, Welcome};
use pgraft_transport::limits::{FRAME_BYTES_MAX, PROTOCOL_VERSION, STRANGERS_MAX};
use pgraft_transport::{Event, JoinError, Net, Refusal, codec, join};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

use crate::memory::{Memory, Wire};
use crate::node::{
    CLUSTER, GENESIS, Node, PATIENCE, append, heartbeat, id, incarnation, local, peer,
};

/// A dialler that says whatever the test wants.
struct Raw {
    reader: FrameReader<ReadHalf<Wire>>,
    writer: WriteHalf<Wire>,
}

impl Raw {
    async fn connect(net: &Memory, address: &str) -> Raw {
        let (read, writer) = tokio::io::split(net.connect(address).await.unwrap());
        Raw { reader: FrameReader::new(read, HANDSHAKE_VERSION, FRAME_BYTES_MAX), writer }
    }

    /// A dialler that is through the handshake.
    async fn member(net: &Memory, purpose: Purpose) -> Raw {
        let mut raw = Raw::connect(net, "one:1").await;
        raw.say(FrameKind::Hello, &Hello { purpose, ..hello() }.encode()).await;
        let frame = raw.hear().await.expect("an answer");
        assert_eq!(frame.kind, FrameKind::Welcome);
        let welcome = Welcome::decode(frame.body).unwrap();
        let expected = Welcome { version: 1, node: id(1), incarnation: incarnation(1) };
        assert_eq!(welcome, expected);
        raw
    }

    async fn say(&mut self, kind: FrameKind, body: &[u8]) {
        let mut bytes = Vec::new();
        frame::append(&mut bytes, kind, PROTOCOL_VERSION, body);
        self.say_bytes(&bytes).await;
    }

    async fn say_bytes(&mut self, bytes: &[u8]) {
        // The other side may have closed already; what it does is what the test looks at.
        let _ = self.writer.write_all(bytes).await;
    }

    async fn hear(&mut self) -> Option<Frame> {
        timeout(PATIENCE, self.reader.next()).await.expect("no answer and no end").ok().flatten()
    }

    async fn refusal(&mut self) -> u16 {
        let frame = self.hear().await.expect("an answer");
        assert_eq!(frame.kind, FrameKind::Refused);
        assert!(self.hear().await.is_none(), "the connection stays open");
        u16::from_le_bytes([frame.body[0], frame.body[1]])
    }
}

fn hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        purpose: Purpose::Messages,
        cluster: CLUSTER,
        genesis_hash: GENESIS,
        from: id(2),
        to: id(1),
        incarnation: incarnation(2),
    }
}

async fn one(net: &Memory) -> Node<Memory> {
    let node = Node::start(net, "one:1", local(1)).await;
    node.transport.set_peers(BTreeMap::from([(id(2), peer("nowhere:2", 2))]));
    node
}

fn arrived(node: &mut Node<Memory>) -> usize {
    let events = node.so_far();
    events.iter().filter(|event| !matches!(event, Event::Unreachable(_))).count()
}

#[tokio::test(start_paused = true)]
async fn every_reason_of_a_refusal_reaches_the_dialler() {
    let net = Memory::default();
    let node = one(&net).await;
    node.transport.set_removed(BTreeSet::from([id(5)]));
    let cases = [
        (1, Hello { cluster: 1, ..hello() }),
        (2, Hello { genesis_hash: [1; 32], ..hello() }),
        (3, Hello { from: id(4), ..hello() }),
        (4, Hello { incarnation: 1, ..hello() }),
        (5, Hello { from: id(5), ..hello() }),
        (6, Hello { version_min: 2, version_max: 3, ..hello() }),
        (7, Hello { to: id(3), ..hello() }),
    ];
    for (code, hello) in cases {
        let mut raw = Raw::connect(&net, "one:1").await;
        raw.say(FrameKind::Hello, &hello.encode()).await;
        assert_eq!(raw.refusal().await, code, "{hello:?}");
    }
    Raw::member(&net, Purpose::Messages).await;
}

/// Whatever is said in place of a greeting ends the connection, without an answer and an event.
#[tokio::test(start_paused = true)]
async fn no_greeting_no_conversation() {
    let net = Memory::default();
    let mut node = one(&net).await;
    let mut hello_of_later_version = Vec::new();
    frame::append(&mut hello_of_later_version, FrameKind::Hello, 2, &hello().encode());
    let mut message = Vec::new();
    codec::encode(&append(2, 1, 1), &mut message);
    let mut premature = Vec::new();
    frame::append(&mut premature, FrameKind::Message, 1, &message);
    let mut short = Vec::new();
    frame::append(&mut short, FrameKind::Hello, 1, &hello().encode()[..40]);
    let mut long = Vec::new();
    frame::append(&mut long, FrameKind::Hello, 1, &vec![0; 100_000]);
    let openings = [
        b"GET / HTTP/1.1\r\nHost: one\r\n\r\n".to_vec(),
        vec![0; 100],
        vec![255; 100],
        hello_of_later_version,
        premature,
        short,
        long,
    ];
    for opening in openings {
        let mut raw = Raw::connect(&net, "one:1").await;
        raw.say_bytes(&opening).await;
        assert!(raw.hear().await.is_none(), "an answer to {:?}", &opening[..12]);
    }
    assert_eq!(arrived(&mut node), 0);
}

/// A member that stops making sense loses its connection; nothing of it reaches the driver.
#[tokio::test(start_paused = true)]
async fn nonsense_from_a_member_ends_its_connection() {
    let net = Memory::default();
    let mut node = one(&net).await;
    let encoded = |message: &Message| {
        let mut body = Vec::new();
        codec::encode(message, &mut body);
        body
    };
    let framed = |kind, version, body: &[u8]| {
        let mut bytes = Vec::new();
        frame::append(&mut bytes, kind, version, body);
        bytes
    };
    let good = framed(FrameKind::Message, 1, &encoded(&append(2, 1, 1)));
    let mut corrupt = good.clone();
    *corrupt.last_mut().unwrap() ^= 1;
    let mut oversized = good.clone();
    oversized[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let snapshot = Message::new(MessageKind::Snapshot, id(2), id(1), Term(1));
    let cases = [
        corrupt,
        oversized,
        framed(FrameKind::Message, 2, &encoded(&append(2, 1, 1))),
        framed(FrameKind::Message, 1, &encoded(&append(2, 1, 1))[1..]),
        framed(FrameKind::Message, 1, &encoded(&append(3, 1, 1))),
        framed(FrameKind::Message, 1, &encoded(&append(2, 3, 1))),
        framed(FrameKind::Message, 1, &encoded(&snapshot)),
        framed(FrameKind::Request, 1, &[0; 12]),
        framed(FrameKind::Ping, 1, &[0; 7]),
        framed(FrameKind::Hello, 1, &hello().encode()),
    ];
    for (number, bytes) in cases.iter().enumerate() {
        let mut raw = Raw::member(&net, Purpose::Messages).await;
        raw.say_bytes(bytes).await;
        assert!(raw.hear().await.is_none(), "case {number} was answered");
        assert_eq!(arrived(&mut node), 0, "case {number} arrived");
    }
    // The other purposes are as strict.
    for purpose in [Purpose::Requests, Purpose::Snapshot] {
        let mut raw = Raw::member(&net, purpose).await;
        raw.say_bytes(&good).await;
        while let Some(frame) = raw.hear().await {
            assert!(matches!(frame.kind, FrameKind::SnapshotAck | FrameKind::Pong));
        }
    }
    assert_eq!(arrived(&mut node), 0);
    // Canary: the message that all of these were made of does arrive.
    let mut raw = Raw::member(&net, Purpose::Messages).await;
    raw.say_bytes(&good).await;
    assert_eq!(node.received().await, append(2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_inside_a_frame_leaves_nothing() {
    let net = Memory::default();
    let mut node = one(&net).await;
    let mut body = Vec::new();
    codec::encode(&append(2, 1, 1), &mut body);
    let mut bytes = Vec::new();
    frame::append(&mut bytes, FrameKind::Message, 1, &body);
    for end in (1..bytes.len()).step_by(7) {
        let mut raw = Raw::member(&net, Purpose::Messages).await;
        raw.say_bytes(&bytes[..end]).await;
        raw.writer.shutdown().await.unwrap();
        assert!(raw.hear().await.is_none());
    }
    assert_eq!(arrived(&mut node), 0);
}

#[tokio::test(start_paused = true)]
async fn the_newer_connection_of_a_member_wins() {
    let net = Memory::default();
    let mut node = one(&net).await;
    let mut older = Raw::member(&net, Purpose::Messages).await;
    let mut requests = Raw::member(&net, Purpose::Requests).await;
    let mut newer = Raw::member(&net, Purpose::Messages).await;
    assert!(older.hear().await.is_none(), "the older connection stays");
    let mut body = Vec::new();
    codec::encode(&heartbeat(2, 1, 8), &mut body);
    newer.say(FrameKind::Message, &body).await;
    assert_eq!(node.received().await, heartbeat(2, 1, 8));
    requests.say(FrameKind::Ping, &[1; 8]).await;
    assert_eq!(requests.hear().await.unwrap().kind, FrameKind::Pong);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_says_nothing_is_let_go() {
    let net = Memory::default();
    let _node = one(&net).await;
    for purpose in [Purpose::Messages, Purpose::Requests, Purpose::Snapshot] {
        let mut raw = Raw::member(&net, purpose).await;
        while let Some(frame) = raw.hear().await {
            assert!(matches!(frame.kind, FrameKind::SnapshotAck | FrameKind::Pong));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn strangers_are_limited_in_number_and_time() {
    let net = Memory::default();
    let node = one(&net).await;
    let tasks = node.transport.tasks();
    let mut silent = Vec::new();
    for _ in 0..STRANGERS_MAX {
        silent.push(net.connect("one:1").await.unwrap());
    }
    crate::node::until("all are held", || node.transport.tasks() == tasks + STRANGERS_MAX).await;
    let mut one_more = net.connect("one:1").await.unwrap();
    let since = tokio::time::Instant::now();
    assert_eq!(one_more.read(&mut [0; 1]).await.unwrap(), 0, "let in");
    assert!(since.elapsed() < Duration::from_millis(10));
    for wire in &mut silent {
        assert_eq!(wire.read(&mut [0; 1]).await.unwrap(), 0, "kept");
    }
    assert!(since.elapsed() <= local(1).timing.handshake);
    Raw::member(&net, Purpose::Messages).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_knows_the_token_may_ask_to_join() {
    let net = Memory::default();
    let mut node = one(&net).await;
    let ask = |token: &'static [u8], request: &'static [u8]| {
        let net = net.clone();
        let (token, request) = (Bytes::from_static(token), Bytes::from_static(request));
        async move { join(&net, "one:1", token, request, PATIENCE).await }
    };
    let asked = tokio::spawn(ask(b"let me in", b"three"));
    let reply = node
        .until(|event| match event {
            Event::Join { request, reply } if request == "three" => Some(reply),
            _ => None,
        })
        .await;
    reply.send(Ok(Bytes::from_static(b"genesis"))).unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), "genesis");

    let asked = tokio::spawn(ask(b"let me in", b"four"));
    let reply = node
        .until(|event| match event {
            Event::Join { reply, .. } => Some(reply),
            _ => None,
        })
        .await;
    reply.send(Err("not the leader".to_owned())).unwrap();
    let declined = asked.await.unwrap();
    assert!(matches!(&declined, Err(JoinError::Declined(why)) if why == "not the leader"));

    let refused = ask(b"let me", b"five").await;
    assert!(matches!(refused, Err(JoinError::Refused(Refusal::WrongToken))), "{refused:?}");
    assert_eq!(arrived(&mut node), 0);

    let nobody = join(&net, "nobody:1", Bytes::new(), Bytes::new(), PATIENCE).await;
    assert!(matches!(nobody, Err(JoinError::Failed { .. })), "{nobody:?}");
    let long = join(&net, "one:1", Bytes::new(), vec![0; 1 << 20].into(), PATIENCE).await;
    assert!(matches!(long, Err(JoinError::TooLong)), "{long:?}");
}

/// A driver that never answers is not waited for longer than `Timing::join`.
#[tokio::test(start_paused = true)]
async fn a_request_to_join_ends_in_time() {
    let net = Memory::default();
    let mut node = one(&net).await;
    let token = Bytes::from_static(b"let me in");
    let since = tokio::time::Instant::now();
    let asked = join(&net, "one:1", token, Bytes::new(), PATIENCE).await;
    assert!(matches!(asked, Err(JoinError::Failed { .. })), "{asked:?}");
    assert!(since.elapsed() <= local(1).timing.join + Duration::from_secs(1));
    assert_eq!(arrived(&mut node), 1);
}
