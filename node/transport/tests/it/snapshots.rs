//! Snapshots: delivered whole, or a failure that the sender knows about.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use pgraft_replica::{ConfState, Index, Message, MessageKind, SnapshotMeta, Term};
use pgraft_transport::limits::CHUNK_BYTES_MAX;
use pgraft_transport::{Event, SnapshotError, SnapshotPart};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::memory::Memory;
use crate::node::{Node, heartbeat, id, local, pair};

const ADDRESSES: [&str; 2] = ["one:1", "two:2"];
const CHUNK: usize = 40_000;

fn message() -> Message {
    let mut message = Message::new(MessageKind::Snapshot, id(1), id(2), Term(4));
    let voters = [id(1), id(2)].into();
    let conf = ConfState { voters, ..ConfState::default() };
    message.snapshot = Some(SnapshotMeta { index: Index(100), term: Term(3), conf });
    message
}

fn chunk(number: usize) -> Bytes {
    vec![u8::try_from(number % 251).unwrap(); CHUNK].into()
}

/// As many chunks, then the end.
fn chunks(count: usize) -> impl FnMut() -> Result<Option<Bytes>, String> + Send {
    let mut numbers = 0..count;
    move || Ok(numbers.next().map(chunk))
}

fn send(
    from: &Node<Memory>,
    chunks: impl FnMut() -> Result<Option<Bytes>, String> + Send + 'static,
) -> JoinHandle<Result<(), SnapshotError>> {
    let transport = from.transport.clone();
    tokio::spawn(async move { transport.send_snapshot(message(), chunks).await })
}

/// Accepts the next snapshot.
async fn accept(node: &mut Node<Memory>) -> mpsc::Receiver<SnapshotPart> {
    let sink = node
        .until(|event| match event {
            Event::SnapshotBegin { from, message: begun, sink } => {
                assert_eq!((from, begun), (id(1), message()));
                Some(sink)
            }
            _ => None,
        })
        .await;
    let (parts, receiver) = mpsc::channel(4);
    sink.send(Some(parts)).unwrap();
    receiver
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_arrives_whole_while_heartbeats_go_on() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    one.connected(2).await;
    let sending = send(&one, chunks(300));
    let mut parts = accept(&mut two).await;
    let mut count = 0;
    let done = loop {
        match parts.recv().await.expect("cut off") {
            SnapshotPart::Chunk(bytes) => {
                assert_eq!(bytes, chunk(count));
                count += 1;
                one.transport.send(heartbeat(1, 2, count as u64));
                assert_eq!(two.received().await.commit, Index(count as u64));
            }
            SnapshotPart::End(done) => break done,
        }
    };
    assert_eq!(count, 300);
    // Checking takes longer than any step may: the sender waits, because it hears of it.
    sleep(local(1).timing.snapshot_idle * 3).await;
    assert!(!sending.is_finished());
    done.send(Ok(())).unwrap();
    assert_eq!(sending.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn chunks_may_come_from_a_thread() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    for ends_well in [true, false] {
        let (source, receiver) = mpsc::channel(2);
        let feeder = tokio::spawn(async move {
            for number in 0..10 {
                source.send(Ok(Some(chunk(number)))).await.unwrap();
            }
            if ends_well {
                source.send(Ok(None)).await.unwrap();
            }
        });
        let transport = one.transport.clone();
        let sending =
            tokio::spawn(async move { transport.send_snapshot(message(), receiver).await });
        let mut parts = accept(&mut two).await;
        let mut count = 0;
        while let Some(part) = parts.recv().await {
            match part {
                SnapshotPart::Chunk(_) => count += 1,
                SnapshotPart::End(done) => done.send(Ok(())).unwrap(),
            }
        }
        assert_eq!(count, 10);
        feeder.await.unwrap();
        match sending.await.unwrap() {
            Ok(()) => assert!(ends_well),
            Err(error) => {
                assert!(!ends_well);
                assert_eq!(error, SnapshotError::Source("the source ended early".to_owned()));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_may_refuse_at_any_time() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    // At the beginning.
    let sending = send(&one, chunks(3));
    let sink = two
        .until(|event| match event {
            Event::SnapshotBegin { sink, .. } => Some(sink),
            _ => None,
        })
        .await;
    sink.send(None).unwrap();
    let refused = |why: &str| Err(SnapshotError::Refused(why.to_owned()));
    assert_eq!(sending.await.unwrap(), refused("not wanted"));
    // In the middle.
    let sending = send(&one, chunks(1000));
    let mut parts = accept(&mut two).await;
    parts.recv().await.unwrap();
    drop(parts);
    assert_eq!(sending.await.unwrap(), refused("given up by the receiver"));
    // At the end.
    let sending = send(&one, chunks(3));
    let mut parts = accept(&mut two).await;
    while let Some(part) = parts.recv().await {
        if let SnapshotPart::End(done) = part {
            done.send(Err("digest differs".to_owned())).unwrap();
        }
    }
    assert_eq!(sending.await.unwrap(), refused("digest differs"));
    // At the end, by dying.
    let sending = send(&one, chunks(3));
    let mut parts = accept(&mut two).await;
    while let Some(part) = parts.recv().await {
        drop(part);
    }
    assert_eq!(sending.await.unwrap(), refused("given up by the receiver"));
}

/// What the receiver's driver sees of a snapshot that is not completed.
async fn cut_off(mut parts: mpsc::Receiver<SnapshotPart>) -> usize {
    let mut count = 0;
    while let Some(part) = parts.recv().await {
        assert!(matches!(part, SnapshotPart::Chunk(_)), "half a snapshot looks whole");
        count += 1;
    }
    count
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_fails_the_snapshot_on_both_sides() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    let mut number = 0;
    let sending = send(&one, move || {
        number += 1;
        if number > 5 { Err("disk".to_owned()) } else { Ok(Some(chunk(number))) }
    });
    let parts = accept(&mut two).await;
    assert_eq!(cut_off(parts).await, 5);
    assert_eq!(sending.await.unwrap(), Err(SnapshotError::Source("disk".to_owned())));

    let sending = send(&one, || Ok(Some(vec![0; CHUNK_BYTES_MAX + 1].into())));
    let parts = accept(&mut two).await;
    assert_eq!(cut_off(parts).await, 0);
    assert!(matches!(sending.await.unwrap(), Err(SnapshotError::Source(_))));
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_fails_the_snapshot_on_both_sides() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    let sending = send(&one, chunks(1000));
    let mut parts = accept(&mut two).await;
    parts.recv().await.unwrap();
    let since = Instant::now();
    net.cables(&two.address).last().unwrap().cut();
    assert!(cut_off(parts).await < 1000);
    assert!(matches!(sending.await.unwrap(), Err(SnapshotError::Lost(_))));
    assert!(since.elapsed() < Duration::from_millis(100));

    // A receiver that dies altogether.
    let sending = send(&one, chunks(1000));
    let parts = accept(&mut two).await;
    two.transport.shutdown().await;
    assert!(matches!(sending.await.unwrap(), Err(SnapshotError::Lost(_))));
    assert!(cut_off(parts).await < 1000);
    // And one that is not there.
    let sending = send(&one, chunks(1));
    assert!(matches!(sending.await.unwrap(), Err(SnapshotError::NotSent(_))));
}

#[tokio::test(start_paused = true)]
async fn standing_still_fails_the_snapshot_on_both_sides() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    let idle = local(1).timing.snapshot_idle;
    // The network.
    let sending = send(&one, chunks(1000));
    let mut parts = accept(&mut two).await;
    parts.recv().await.unwrap();
    let since = Instant::now();
    net.cables(&two.address).last().unwrap().freeze();
    assert!(matches!(sending.await.unwrap(), Err(SnapshotError::Lost(_))));
    assert!(cut_off(parts).await < 1000);
    assert!(since.elapsed() <= idle * 3, "{:?}", since.elapsed());
    // The receiver's disk: it takes one chunk and no more.
    let sending = send(&one, chunks(1000));
    let mut parts = accept(&mut two).await;
    parts.recv().await.unwrap();
    let since = Instant::now();
    let outcome = sending.await.unwrap();
    assert!(matches!(&outcome, Err(SnapshotError::Refused(why)) if why.contains("storing")));
    assert!(since.elapsed() <= idle * 3, "{:?}", since.elapsed());
    // The sender's disk.
    let (source, receiver) = mpsc::channel(2);
    let transport = one.transport.clone();
    let sending = tokio::spawn(async move { transport.send_snapshot(message(), receiver).await });
    let parts = accept(&mut two).await;
    let since = Instant::now();
    assert!(matches!(sending.await.unwrap(), Err(SnapshotError::Source(_))));
    assert_eq!(cut_off(parts).await, 0);
    assert!(since.elapsed() <= idle * 3, "{:?}", since.elapsed());
    drop(source);
}

#[tokio::test(start_paused = true)]
async fn giving_up_and_stopping_end_a_snapshot() {
    let net = Memory::default();
    let (one, mut two) = pair(&net, ADDRESSES).await;
    let sending = send(&one, chunks(1000));
    let mut parts = accept(&mut two).await;
    parts.recv().await.unwrap();
    sending.abort();
    assert!(cut_off(parts).await < 1000);

    let sending = send(&one, chunks(1000));
    let parts = accept(&mut two).await;
    one.transport.set_peers(BTreeMap::new());
    assert!(matches!(sending.await.unwrap(), Err(SnapshotError::Lost(_))));
    assert!(cut_off(parts).await < 1000);
    let sending = send(&one, chunks(1));
    assert!(matches!(sending.await.unwrap(), Err(SnapshotError::NotSent(_))));
    one.transport.shutdown().await;
}
