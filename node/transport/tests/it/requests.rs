//! Requests between nodes: a reply, or which of three things happened.

use std::time::Duration;

use bytes::Bytes;
use pgraft_transport::limits::{CALLS_QUEUED_MAX, RPC_BYTES_MAX};
use pgraft_transport::{Event, RpcError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::memory::Memory;
use crate::node::{Node, PATIENCE, id, pair, until};

const ADDRESSES: [&str; 2] = ["one:1", "two:2"];

fn ask(from: &Node<Memory>, body: impl Into<Bytes>) -> JoinHandle<Result<Bytes, RpcError>> {
    ask_within(from, body, PATIENCE)
}

fn ask_within(
    from: &Node<Memory>,
    body: impl Into<Bytes>,
    patience: Duration,
) -> JoinHandle<Result<Bytes, RpcError>> {
    let (transport, body) = (from.transport.clone(), body.into());
    tokio::spawn(async move { transport.rpc(id(2), body, patience).await })
}

async fn asked(node: &mut Node<Memory>) -> (Bytes, oneshot::Sender<Bytes>) {
    node.until(|event| match event {
        Event::Rpc { from, body, reply } => {
            assert_eq!(from, id(1));
            Some((body, reply))
        }
        _ => None,
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn replies_come_in_any_order_and_of_any_size() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    let calls: Vec<_> =
        [1, 1000, 3 << 20].map(|bytes| ask(&one, vec![7; bytes])).into_iter().collect();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(asked(&mut two).await);
    }
    for (body, reply) in waiting.into_iter().rev() {
        reply.send(Bytes::from(body.len().to_string())).unwrap();
    }
    let mut replies = Vec::new();
    for call in calls {
        replies.push(call.await.unwrap().unwrap());
    }
    assert_eq!(replies, ["1", "1000", "3145728"]);
    let largest = ask(&one, vec![7; RPC_BYTES_MAX]);
    let (body, reply) = asked(&mut two).await;
    reply.send(body).unwrap();
    assert_eq!(largest.await.unwrap().unwrap().len(), RPC_BYTES_MAX);
    let too_large = ask(&one, vec![7; RPC_BYTES_MAX + 1]).await.unwrap();
    assert_eq!(too_large, Err(RpcError::TooLarge(RPC_BYTES_MAX + 1)));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_call_on_both_sides() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    let since = Instant::now();
    let call = ask_within(&one, "slow", Duration::from_millis(300));
    let (_, mut reply) = asked(&mut two).await;
    assert_eq!(call.await.unwrap(), Err(RpcError::TimedOut));
    assert_eq!(since.elapsed().as_millis(), 300);
    // The driver of the other side can see that nobody waits any more.
    tokio::time::timeout(PATIENCE, reply.closed()).await.unwrap();
    assert!(RpcError::TimedOut.may_have_been_handled());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_dies_meanwhile_loses_the_reply() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    let since = Instant::now();
    let call = ask(&one, "question");
    let (_, reply) = asked(&mut two).await;
    net.cables(&two.address).iter().for_each(|cable| cable.cut());
    assert_eq!(call.await.unwrap(), Err(RpcError::Lost));
    assert!(since.elapsed() < Duration::from_millis(100), "{:?}", since.elapsed());
    drop(reply);
    // The next request makes a new connection.
    let call = ask(&one, "again");
    let (body, reply) = asked(&mut two).await;
    reply.send(body).unwrap();
    assert_eq!(call.await.unwrap().unwrap(), "again");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_loses_the_reply() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    let call = ask(&one, "question");
    let _kept = asked(&mut two).await;
    let since = Instant::now();
    net.cables(&two.address).iter().for_each(|cable| cable.freeze());
    assert_eq!(call.await.unwrap(), Err(RpcError::Lost));
    assert!(since.elapsed() <= Duration::from_millis(2500), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_nothing_is_sent() {
    let net = Memory::default();
    let (one, two) = pair(&net, ADDRESSES).await;
    net.unplug(&two.address, true);
    let since = Instant::now();
    for _ in 0..10 {
        assert_eq!(ask(&one, "question").await.unwrap(), Err(RpcError::NotSent));
        sleep(Duration::from_millis(30)).await;
    }
    assert!(since.elapsed() < Duration::from_secs(1), "not told at once: {:?}", since.elapsed());
    let nobody = one.transport.rpc(id(9), Bytes::new(), PATIENCE).await;
    assert_eq!(nobody, Err(RpcError::NotSent));
    assert!(!RpcError::NotSent.may_have_been_handled());
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_gives_no_reply_is_told_at_once() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    let since = Instant::now();
    let call = ask(&one, "question");
    drop(asked(&mut two).await);
    assert_eq!(call.await.unwrap(), Err(RpcError::Lost));
    let call = ask(&one, "question");
    asked(&mut two).await.1.send(vec![0; RPC_BYTES_MAX + 1].into()).unwrap();
    assert_eq!(call.await.unwrap(), Err(RpcError::Lost));
    assert!(since.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_are_bounded_and_all_end() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    let calls: Vec<_> =
        (0..5000).map(|_| ask_within(&one, vec![1; 100], Duration::from_secs(3))).collect();
    let mut outcomes = std::collections::BTreeMap::new();
    for call in calls {
        *outcomes.entry(format!("{:?}", call.await.unwrap())).or_insert(0) += 1;
    }
    println!("{outcomes:?}");
    // Nobody answered. What did not fit was refused, what was sent ran out of time.
    assert_eq!(outcomes.values().sum::<usize>(), 5000);
    assert!(outcomes["Err(NotSent)"] >= 5000 - 2 * CALLS_QUEUED_MAX);
    assert!(outcomes["Err(TimedOut)"] >= 1000);
    assert_eq!(outcomes.len(), 2);
    // The queue is free again.
    two.so_far();
    until("the replies nobody waits for are forgotten", || two.events.is_empty()).await;
    let call = ask(&one, "question");
    asked(&mut two).await.1.send(Bytes::from_static(b"reply")).unwrap();
    assert_eq!(call.await.unwrap().unwrap(), "reply");
}

#[tokio::test(start_paused = true)]
async fn shutting_down_ends_waiting_calls() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    let call = ask(&one, "question");
    let _kept = asked(&mut two).await;
    one.transport.shutdown().await;
    assert_eq!(call.await.unwrap(), Err(RpcError::Lost));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_taken_out_ends_waiting_calls() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    let call = ask(&one, "question");
    let _kept = asked(&mut two).await;
    let since = Instant::now();
    one.transport.set_peers(std::collections::BTreeMap::new());
    assert_eq!(call.await.unwrap(), Err(RpcError::Lost));
    assert!(since.elapsed() < Duration::from_millis(100));
}
