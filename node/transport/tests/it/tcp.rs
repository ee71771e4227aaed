//! Over real TCP on the loopback interface.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use pgraft_transport::{Event, Net, Peer, RpcError, Tcp, join};

use crate::node::{Node, append, heartbeat, id, incarnation, local, pair, peer};

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
        two.transport.send(heartbeat(2, 1, 5));
        assert_eq!(one.received().await, heartbeat(2, 1, 5));
    }
}
