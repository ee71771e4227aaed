//! Order, limits and bookkeeping of the queue.

use bytes::{Bytes, BytesMut};
use pgraft_replica::{Entry, EntryKind, Index, NodeId, Term};

use super::*;
use crate::frame::FrameReader;

fn message(kind: MessageKind, index: u64, bytes: usize) -> Message {
    let (from, to) = (NodeId::new(1).unwrap(), NodeId::new(2).unwrap());
    let mut message = Message::new(kind, from, to, Term(1));
    message.index = Index(index);
    if bytes > 0 {
        let data = Bytes::from(vec![0; bytes]);
        let (index, term) = (Index(index), Term(1));
        message.entries = vec![Entry { index, term, kind: EntryKind::Normal, data }];
    }
    message
}

async fn decoded(buffer: &[u8]) -> Vec<Message> {
    let mut reader = FrameReader::new(buffer, 1, FRAME_BYTES_MAX);
    let mut messages = Vec::new();
    while let Some(frame) = reader.next().await.unwrap() {
        messages.push(codec::decode(frame.body).unwrap());
    }
    messages
}

#[tokio::test]
async fn heartbeats_go_first_and_the_rest_keeps_its_order() {
    let outbox = Outbox::default();
    let kinds = [
        (MessageKind::Append, 1),
        (MessageKind::Heartbeat, 2),
        (MessageKind::AppendResponse, 3),
        (MessageKind::HeartbeatResponse, 4),
        (MessageKind::Vote, 5),
    ];
    for (kind, index) in kinds {
        assert_eq!(outbox.push(message(kind, index, 0)), Push::Queued);
    }
    outbox.ready().await;
    let mut buffer = Vec::new();
    outbox.drain(&mut buffer, 1);
    let order: Vec<u64> = decoded(&buffer).await.iter().map(|message| message.index.0).collect();
    assert_eq!(order, [2, 4, 1, 3, 5]);
    let Fill { messages, bytes, dropped, sent, sent_bytes } = outbox.fill();
    assert_eq!((messages, bytes, dropped, sent), (0, 0, 0, 5));
    assert_eq!(sent_bytes, buffer.len() as u64);
}

#[test]
fn the_number_of_messages_is_limited_and_the_first_loss_is_told() {
    let outbox = Outbox::default();
    for index in 0..OUTBOX_MESSAGES_MAX as u64 {
        assert_eq!(outbox.push(message(MessageKind::Append, index, 0)), Push::Queued);
    }
    assert_eq!(outbox.push(message(MessageKind::Append, 0, 0)), Push::Overflowed);
    assert_eq!(outbox.push(message(MessageKind::Heartbeat, 0, 0)), Push::Dropped);
    assert_eq!(outbox.fill().dropped, 2);
    outbox.drain(&mut Vec::new(), 1);
    // Emptied: a loss is news again.
    assert_eq!(outbox.fill().messages, 0);
    for index in 0..OUTBOX_MESSAGES_MAX as u64 {
        assert_eq!(outbox.push(message(MessageKind::Append, index, 0)), Push::Queued);
    }
    assert_eq!(outbox.push(message(MessageKind::Append, 0, 0)), Push::Overflowed);
    assert_eq!(outbox.clear(), OUTBOX_MESSAGES_MAX);
    assert_eq!(outbox.push(message(MessageKind::Append, 0, 0)), Push::Queued);
}

#[test]
fn the_number_of_bytes_is_limited() {
    let outbox = Outbox::default();
    let queued = (0..100)
        .take_while(|index| {
            outbox.push(message(MessageKind::Append, *index, 1 << 20)) == Push::Queued
        })
        .count();
    assert_eq!(queued, 7);
    assert!(outbox.fill().bytes <= OUTBOX_BYTES_MAX);
    assert_eq!(outbox.push(message(MessageKind::Append, 9, 2 << 20)), Push::Dropped);
}

#[test]
fn a_message_larger_than_a_frame_is_dropped() {
    let outbox = Outbox::default();
    let pushed = outbox.push(message(MessageKind::Append, 1, FRAME_BYTES_MAX));
    assert!(matches!(pushed, Push::TooLong(bytes) if bytes > FRAME_BYTES_MAX), "{pushed:?}");
    assert_eq!(outbox.fill().messages, 0);
}

#[tokio::test]
async fn a_turn_is_limited_but_never_empty() {
    let outbox = Outbox::default();
    for index in 0..4 {
        outbox.push(message(MessageKind::Append, index, 600 << 10));
    }
    outbox.push(message(MessageKind::Append, 4, 3 << 20));
    let mut turns = Vec::new();
    while outbox.fill().messages > 0 {
        let mut buffer = Vec::new();
        outbox.drain(&mut buffer, 1);
        turns.push(decoded(&BytesMut::from(&buffer[..])).await.len());
    }
    assert_eq!(turns, [1, 1, 1, 1, 1]);
}
