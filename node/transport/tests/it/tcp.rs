//! Over real TCP on the loopback interface. Ports are free ones.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use pgraft_replica::{Index, Message, MessageKind, SnapshotMeta, Term};
use pgraft_transport::{Event, JoinError, Net, RpcError, SnapshotPart, Tcp, join};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::node::{Node, PATIENCE, append, heartbeat, id, local, pair, peer};

#[tokio::test]
async fn two_nodes_exchange_messages() {
    for loopback in ["127.0.0.1:0", "[::1]:0", "localhost:0"] {
        let (mut one, mut two) = pair(&Tcp::default(), [loopback, loopback]).await;
        one.connected(2).await;
        for index in 1..=100 {
            one.transport.send(append(1, 2, index));
        }
        for index in 1..=100 {
            assert_eq!(two.received().await, append(1, 2, index));
        }
        two.connected(1).await;
        two.transport.send(heartbeat(2, 1, 5));
        assert_eq!(one.received().await, heartbeat(2, 1, 5));
    }
}

#[tokio::test]
async fn a_name_is_dialled_like_an_address() {
    let (one, mut two) = pair(&Tcp::default(), ["127.0.0.1:0", "127.0.0.1:0"]).await;
    let port = two.address.rsplit(':').next().unwrap();
    let named = peer(&format!("localhost:{port}"), 2);
    one.transport.set_peers(BTreeMap::from([(id(2), named)]));
    one.connected(2).await;
    one.transport.send(append(1, 2, 1));
    assert_eq!(two.received().await.index, Index(1));
}

#[tokio::test]
async fn a_peer_that_dies_and_refuses_is_known_at_once_and_found_again() {
    let net = Tcp::default();
    let (mut one, two) = pair(&net, ["127.0.0.1:0", "127.0.0.1:0"]).await;
    one.connected(2).await;
    one.so_far();
    let Node { transport, events, address } = two;
    transport.shutdown().await;
    drop((transport, events));
    let since = Instant::now();
    assert_eq!(one.unreachable().await, id(2));
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    let lost = one.transport.rpc(id(2), Bytes::new(), PATIENCE).await;
    assert_eq!(lost, Err(RpcError::NotSent));

    let mut again = Node::start(&net, &address, local(2)).await;
    again.transport.set_peers(BTreeMap::from([(id(1), peer(&one.address, 1))]));
    one.connected(2).await;
    one.transport.send(append(1, 2, 2));
    assert_eq!(again.received().await.index, Index(2));
}

#[tokio::test]
async fn requests_snapshots_and_joins_work() {
    let net = Tcp::default();
    let (one, mut two) = pair(&net, ["127.0.0.1:0", "[::1]:0"]).await;
    let address = two.address.clone();
    let driver = tokio::spawn(async move {
        while let Some(event) = two.events.recv().await {
            match event {
                Event::Rpc { body, reply, .. } => reply.send(body).unwrap(),
                Event::Join { request, reply } => reply.send(Ok(request)).unwrap(),
                Event::SnapshotBegin { sink, .. } => {
                    let (parts, mut receiver) = mpsc::channel(2);
                    sink.send(Some(parts)).unwrap();
                    let mut bytes = 0;
                    while let Some(part) = receiver.recv().await {
                        match part {
                            SnapshotPart::Chunk(chunk) => bytes += chunk.len(),
                            SnapshotPart::End(done) => {
                                done.send(Ok(())).unwrap();
                                return bytes;
                            }
                        }
                    }
                }
                Event::Received(_)
                | Event::Unreachable(_)
                | Event::RefusedBy { .. }
                | Event::Stranger(_) => {}
            }
        }
        0
    });
    let question = Bytes::from(vec![5; 1 << 20]);
    assert_eq!(one.transport.rpc(id(2), question.clone(), PATIENCE).await.unwrap(), question);

    let token = Bytes::from_static(b"let me in");
    let genesis = join(&net, &address, token, Bytes::from_static(b"three"), PATIENCE).await;
    assert_eq!(genesis.unwrap(), "three");
    let stranger = join(&net, &address, Bytes::new(), Bytes::new(), PATIENCE).await;
    assert!(matches!(stranger, Err(JoinError::Refused(_))), "{stranger:?}");

    let mut message = Message::new(MessageKind::Snapshot, id(1), id(2), Term(1));
    message.snapshot = Some(SnapshotMeta::default());
    let mut left = 40;
    let chunks = move || {
        left -= 1;
        Ok::<_, String>((left >= 0).then(|| Bytes::from(vec![1; 256 << 10])))
    };
    one.transport.send_snapshot(message, chunks).await.unwrap();
    assert_eq!(driver.await.unwrap(), 40 * (256 << 10));
}

#[tokio::test]
async fn nonsense_on_the_port_is_cut_off() {
    let net = Tcp::default();
    let (one, _two) = pair(&net, ["127.0.0.1:0", "127.0.0.1:0"]).await;
    let mut stranger = net.connect(&one.address).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let end = timeout(PATIENCE, stranger.read_to_end(&mut answer)).await.expect("kept open");
    // A reset says the same as an end: unread bytes were thrown away.
    assert!(end.is_ok() || answer.is_empty());
    assert!(answer.is_empty(), "{answer:?}");
}

/// A peer that takes no data is found by the system; small frames leave at once.
#[tokio::test]
async fn sockets_are_tuned_on_both_sides() {
    let net = Tcp::default();
    let mut listener = net.bind("127.0.0.1:0").await.unwrap();
    let address = net.local_addr(&listener).unwrap();
    let (dialled, accepted) = tokio::join!(net.connect(&address), net.accept(&mut listener));
    for stream in [dialled.unwrap(), accepted.unwrap().0] {
        assert!(stream.nodelay().unwrap());
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(net.user_timeout));
    }
}
