//! Nodes of a test: a transport, its events, and how to wait for one of them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use pgraft_replica::{Index, Message, MessageKind, NodeId, Term};
use pgraft_transport::{Event, Local, Net, Peer, Timing, Transport};
use tokio::sync::mpsc;
use tokio::time::timeout;

pub(crate) const CLUSTER: u64 = 0xc1;
pub(crate) const GENESIS: [u8; 32] = [7; 32];
/// No test waits longer, of paused or of real time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn id(node: u64) -> NodeId {
    NodeId::new(node).unwrap()
}

pub(crate) fn incarnation(node: u64) -> u128 {
    0xabc0 + u128::from(node)
}

pub(crate) fn local(node: u64) -> Local {
    Local {
        cluster: CLUSTER,
        genesis_hash: GENESIS,
        node: id(node),
        incarnation: incarnation(node),
        token: Bytes::from_static(b"let me in"),
        seed: node,
        timing: Timing::default(),
    }
}

pub(crate) fn heartbeat(from: u64, to: u64, index: u64) -> Message {
    let mut message = Message::new(MessageKind::Heartbeat, id(from), id(to), Term(1));
    message.commit = Index(index);
    message
}

pub(crate) fn append(from: u64, to: u64, index: u64) -> Message {
    let mut message = Message::new(MessageKind::Append, id(from), id(to), Term(1));
    message.index = Index(index);
    message
}

pub(crate) struct Node<N: Net> {
    pub(crate) transport: Transport<N>,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) address: String,
}

impl<N: Net> Node<N> {
    pub(crate) async fn start(net: &N, address: &str, local: Local) -> Node<N> {
        let listener = net.bind(address).await.unwrap();
        let address = net.local_addr(&listener).unwrap();
        let (sender, events) = mpsc::channel(1024);
        let transport = Transport::start(net.clone(), listener, local, sender);
        Node { transport, events, address }
    }

    /// The next event that is wanted; others are passed over.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let wait = async {
            loop {
                let event = self.events.recv().await.expect("the transport is gone");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, wait).await.expect("the event did not come")
    }

    pub(crate) async fn received(&mut self) -> Message {
        self.until(|event| match event {
            Event::Received(message) => Some(message),
            _ => None,
        })
        .await
    }

    pub(crate) async fn unreachable(&mut self) -> NodeId {
        self.until(|event| match event {
            Event::Unreachable(node) => Some(node),
            _ => None,
        })
        .await
    }

    /// What has come so far.
    pub(crate) fn so_far(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    pub(crate) async fn connected(&self, to: u64) {
        let connected = || self.transport.status().iter().any(|p| p.node == id(to) && p.connected);
        until("connected", connected).await;
    }
}

/// Waits for a condition that no event announces.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

pub(crate) fn peer(address: &str, node: u64) -> Peer {
    Peer { address: address.to_owned(), incarnation: incarnation(node) }
}

/// Two nodes that know each other.
pub(crate) async fn pair<N: Net>(net: &N, addresses: [&str; 2]) -> (Node<N>, Node<N>) {
    let one = Node::start(net, addresses[0], local(1)).await;
    let two = Node::start(net, addresses[1], local(2)).await;
    let peers = BTreeMap::from([(id(1), peer(&one.address, 1)), (id(2), peer(&two.address, 2))]);
    two.transport.set_peers(peers.clone());
    one.transport.set_peers(peers);
    (one, two)
}
