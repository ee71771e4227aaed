//! Messages between two nodes while the network fails. Time is paused: waiting costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use pgraft_replica::{Entry, EntryKind, Index, Message, MessageKind, NodeId, Term};
use pgraft_transport::{Event, Local, Peer, Refusal};
use tokio::time::{Instant, sleep};

use crate::memory::Memory;
use crate::node::{Node, append, heartbeat, id, incarnation, local, pair, peer, until};

const ADDRESSES: [&str; 2] = ["one:1", "two:2"];

fn unreachable_events(events: &[Event], node: NodeId) -> usize {
    events.iter().filter(|event| matches!(event, Event::Unreachable(n) if *n == node)).count()
}

fn with_entry(index: u64, bytes: usize) -> Message {
    let mut message = append(1, 2, index);
    let data = Bytes::from(vec![u8::try_from(index % 251).unwrap(); bytes]);
    let (index, term) = (Index(index), Term(1));
    message.entries = vec![Entry { index, term, kind: EntryKind::Normal, data }];
    message
}

#[tokio::test(start_paused = true)]
async fn messages_arrive_whole_and_in_order() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    let sizes = [0, 1, 1000, 100_000, 2 << 20];
    for (index, size) in (1..).zip(sizes) {
        one.transport.send(with_entry(index, size));
    }
    for (index, size) in (1..).zip(sizes) {
        assert_eq!(two.received().await, with_entry(index, size));
    }
    let status = &one.transport.status()[0];
    assert_eq!((status.sent_messages, status.queued_messages, status.dropped_messages), (5, 0, 0));
    assert_eq!(status.incarnation, Some(incarnation(2)));
    until("a ping", || one.transport.status()[0].round_trip.is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_connection_is_reported_once_and_made_again() {
    let net = Memory::default();
    let (mut one, mut two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    one.so_far();
    net.cables(&two.address).iter().for_each(|cable| cable.cut());
    assert_eq!(one.unreachable().await, id(2));
    one.connected(2).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(unreachable_events(&one.so_far(), id(2)), 0);
    one.transport.send(append(1, 2, 9));
    assert_eq!(two.received().await.index, Index(9));
    assert!(one.transport.status()[0].connects >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_is_known_within_one_reconnect() {
    let net = Memory::default();
    let (mut one, two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    one.so_far();
    net.unplug(&two.address, true);
    net.cables(&two.address).iter().for_each(|cable| cable.cut());
    let since = Instant::now();
    assert_eq!(one.unreachable().await, id(2));
    assert!(since.elapsed() < Duration::from_millis(20), "told after {:?}", since.elapsed());
    // Nothing was lost since: one report is enough, however long it takes.
    let attempts = net.attempts();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(unreachable_events(&one.so_far(), id(2)), 0);
    let attempts = net.attempts() - attempts;
    assert!((20..=60).contains(&attempts), "{attempts} attempts in 10 s");
    // What is sent now is lost, and that is news.
    one.transport.send(append(1, 2, 1));
    assert_eq!(one.unreachable().await, id(2));
    assert_eq!(one.transport.status()[0].dropped_messages, 1);
    assert!(one.transport.status()[0].last_error.is_some());
    net.unplug(&two.address, false);
    one.connected(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_noticed() {
    let net = Memory::default();
    let (mut one, two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    one.so_far();
    net.cables(&two.address).iter().for_each(|cable| cable.freeze());
    let since = Instant::now();
    assert_eq!(one.unreachable().await, id(2));
    let silence = local(1).timing.silence;
    assert!(since.elapsed() <= silence * 5 / 4, "told after {:?}", since.elapsed());
    one.connected(2).await;
}

/// Two megabytes at 100 KB/s take ten times the silence after which a peer counts as dead.
#[tokio::test(start_paused = true)]
async fn a_slow_line_is_not_a_dead_one() {
    let net = Memory::default();
    let (mut one, mut two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    one.so_far();
    net.cables(&two.address).iter().for_each(|cable| cable.slow(100));
    let since = Instant::now();
    one.transport.send(with_entry(1, 2 << 20));
    assert_eq!(two.received().await, with_entry(1, 2 << 20));
    assert!(since.elapsed() >= local(1).timing.silence * 5, "only {:?}", since.elapsed());
    assert_eq!(unreachable_events(&one.so_far(), id(2)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_and_says_so_once() {
    let net = Memory::default();
    let (mut one, mut two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    one.so_far();
    net.cables(&two.address).iter().for_each(|cable| cable.freeze());
    for index in 0..20_000 {
        one.transport.send(append(1, 2, index));
    }
    assert_eq!(one.unreachable().await, id(2));
    sleep(Duration::from_millis(100)).await;
    assert_eq!(unreachable_events(&one.so_far(), id(2)), 0);
    let status = &one.transport.status()[0];
    assert!(status.dropped_messages > 0, "{status:?}");
    assert!(status.queued_messages <= 4096 && status.queued_bytes <= 8 << 20, "{status:?}");
    // The frozen connection breaks after the silence; then everything works again.
    one.unreachable().await;
    one.connected(2).await;
    two.so_far();
    one.transport.send(heartbeat(1, 2, 7));
    assert_eq!(two.received().await, heartbeat(1, 2, 7));
}

#[tokio::test(start_paused = true)]
async fn a_slow_driver_holds_back_and_bounds_memory() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    // Nobody takes events of `two`: 1024 fit there, the rest stays with the sender.
    for _ in 0..100 {
        for index in 0..100 {
            one.transport.send(with_entry(index, 1000));
        }
        sleep(Duration::from_millis(1)).await;
    }
    let status = &one.transport.status()[0];
    assert!(status.queued_messages > 1000 && status.queued_messages <= 4096, "{status:?}");
    assert!(two.so_far().len() <= 1024);
}

/// A bit that flips on the way costs the connection, and never becomes a message.
#[tokio::test(start_paused = true)]
async fn a_damaged_frame_costs_the_connection() {
    let net = Memory::default();
    let (mut one, mut two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    let mut received = 0;
    for round in 0..64_u64 {
        one.connected(2).await;
        two.so_far();
        net.cables(&two.address).last().unwrap().flip(round * 13);
        one.transport.send(append(1, 2, round));
        one.unreachable().await;
        for event in two.so_far() {
            if let Event::Received(message) = event {
                assert_eq!(message, append(1, 2, round), "a forged message");
                received += 1;
            }
        }
    }
    // A ping may have met the bit in place of the message, not more often than now and then.
    assert!(received < 32, "{received} of 64 messages met no damage");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_restarts_is_found_again() {
    let net = Memory::default();
    let (mut one, two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    one.so_far();
    two.transport.shutdown().await;
    assert_eq!(one.unreachable().await, id(2));
    let (address, peers) = (two.address.clone(), BTreeMap::from([(id(1), peer("one:1", 1))]));
    drop(two);
    let mut two = Node::start(&net, &address, local(2)).await;
    two.transport.set_peers(peers);
    one.connected(2).await;
    one.transport.send(append(1, 2, 3));
    assert_eq!(two.received().await.index, Index(3));
}

#[tokio::test(start_paused = true)]
async fn a_new_incarnation_is_strange_until_the_members_say_so() {
    let net = Memory::default();
    let (mut one, two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    two.transport.shutdown().await;
    one.unreachable().await;
    let address = two.address.clone();
    drop(two);
    let mut reborn = local(2);
    reborn.incarnation = 0xdead;
    let mut two = Node::start(&net, &address, reborn).await;
    two.transport.set_peers(BTreeMap::from([(id(1), peer("one:1", 1))]));

    // Both sides see it: the new one is refused, the old one refuses to talk to it.
    let refused = two.until(|event| match event {
        Event::RefusedBy { peer, why } => Some((peer, why)),
        _ => None,
    });
    assert_eq!(refused.await, (id(1), Refusal::Incarnation));
    let wrong = || {
        let status = &one.transport.status()[0];
        let why = status.last_error.as_deref().unwrap_or_default();
        !status.connected && why.contains("incarnation")
    };
    until("the old node sees a wrong incarnation", wrong).await;

    let Peer { address, .. } = peer(&address, 2);
    let member = Peer { address, incarnation: 0xdead };
    one.transport.set_peers(BTreeMap::from([(id(2), member)]));
    one.connected(2).await;
    two.connected(1).await;
    one.transport.send(append(1, 2, 4));
    assert_eq!(two.received().await.index, Index(4));
}

#[tokio::test(start_paused = true)]
async fn learning_an_incarnation_keeps_the_connection() {
    let net = Memory::default();
    let (one, two) = pair(&net, ADDRESSES).await;
    let any = Peer { address: two.address.clone(), incarnation: 0 };
    one.transport.set_peers(BTreeMap::from([(id(2), any)]));
    one.connected(2).await;
    let connects = one.transport.status()[0].connects;
    one.transport.set_peers(BTreeMap::from([(id(2), peer(&two.address, 2))]));
    sleep(Duration::from_secs(1)).await;
    let status = &one.transport.status()[0];
    assert_eq!((status.connected, status.connects), (true, connects));
}

#[tokio::test(start_paused = true)]
async fn a_removed_node_is_told_on_its_open_connection_and_later() {
    let net = Memory::default();
    let (mut one, mut two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    two.connected(1).await;
    one.transport.set_removed(BTreeSet::from([id(2)]));
    let removed = |event| match event {
        Event::RefusedBy { peer, why } => Some((peer, why)),
        _ => None,
    };
    let since = Instant::now();
    assert_eq!(two.until(removed).await, (id(1), Refusal::Removed));
    assert!(since.elapsed() < Duration::from_millis(20), "told after {:?}", since.elapsed());
    // Said once, although it keeps asking.
    sleep(Duration::from_secs(5)).await;
    assert!(!two.so_far().into_iter().any(|event| removed(event).is_some()));
    // A node that was down when it was removed hears it at its next start.
    two.transport.shutdown().await;
    let mut again = Node::start(&net, "two:again", local(2)).await;
    again.transport.set_peers(BTreeMap::from([(id(1), peer(&one.address, 1))]));
    assert_eq!(again.until(removed).await, (id(1), Refusal::Removed));
    one.so_far();
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_let_in_once_it_is_a_member() {
    let net = Memory::default();
    let mut one = Node::start(&net, "one:1", local(1)).await;
    let mut two = Node::start(&net, "two:2", local(2)).await;
    two.transport.set_peers(BTreeMap::from([(id(1), peer("one:1", 1))]));
    two.transport.send(append(2, 1, 1));
    let refused = two.until(|event| match event {
        Event::RefusedBy { peer, why } => Some((peer, why)),
        _ => None,
    });
    assert_eq!(refused.await, (id(1), Refusal::UnknownNode));
    let came = one.until(|event| match event {
        Event::Stranger(who) => Some(who),
        _ => None,
    });
    assert_eq!(came.await, id(2));
    one.transport.set_peers(BTreeMap::from([(id(2), peer("two:2", 2))]));
    two.connected(1).await;
    two.transport.send(append(2, 1, 2));
    assert_eq!(one.received().await.index, Index(2));
}

#[tokio::test(start_paused = true)]
async fn a_moved_peer_is_followed_and_a_former_one_left() {
    let net = Memory::default();
    let (one, two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    two.transport.shutdown().await;
    let mut moved = Node::start(&net, "two:moved", local(2)).await;
    moved.transport.set_peers(BTreeMap::from([(id(1), peer("one:1", 1))]));
    one.transport.set_peers(BTreeMap::from([(id(2), peer("two:moved", 2))]));
    one.connected(2).await;
    one.transport.send(append(1, 2, 5));
    assert_eq!(moved.received().await.index, Index(5));
    one.transport.set_peers(BTreeMap::new());
    assert!(one.transport.status().is_empty());
    one.transport.send(append(1, 2, 6));
    until("the tasks of the former peer end", || one.transport.tasks() <= 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_message_without_data_is_not_sent_and_not_forgotten() {
    let net = Memory::default();
    let (mut one, _two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    one.so_far();
    one.transport.send(Message::new(MessageKind::Snapshot, id(1), id(2), Term(1)));
    assert_eq!(one.unreachable().await, id(2));
}

#[tokio::test(start_paused = true)]
async fn nothing_stays_behind_after_shutdown_or_drop() {
    let net = Memory::default();
    let (mut one, mut two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    two.connected(1).await;
    assert!(one.transport.tasks() >= 5);
    one.transport.shutdown().await;
    assert_eq!(one.transport.tasks(), 0);

    // Dropping the last handle is enough; the events then end, because nobody can send them.
    let another = two.transport.clone();
    drop(two.transport);
    assert!(another.tasks() > 0);
    drop(another);
    while two.events.recv().await.is_some() {}
    drop(one.transport);
    while one.events.recv().await.is_some() {}
    let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(alive, 0, "tasks are left");
}

/// All chance comes from the seed: the same run twice dials at the same microseconds.
#[test]
fn the_same_seed_dials_at_the_same_times() {
    let run = |seed: u64| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let begin = Instant::now();
            let net = Memory::default();
            let node = Node::start(&net, "one:1", Local { seed, ..local(1) }).await;
            let nobody = |node| (id(node), peer("nobody:1", node));
            node.transport.set_peers(BTreeMap::from([nobody(2), nobody(3)]));
            sleep(Duration::from_secs(5)).await;
            node.transport.shutdown().await;
            let times = net.attempt_times();
            times.into_iter().map(|time| time - begin).collect::<Vec<_>>()
        })
    };
    let times = run(5);
    assert!(times.len() > 20, "{times:?}");
    assert_eq!(times, run(5));
    assert_ne!(times, run(6));
}
