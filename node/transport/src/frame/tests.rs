//! Cutting a byte stream into frames, whole, damaged and hostile.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::*;
use crate::chance::Chance;
use crate::codec;
use crate::codec::tests::{damage, encoded, random_message};

const VERSION: u16 = 1;

/// Hands out at most `step` bytes at a time and counts them.
struct Trickle<'a> {
    bytes: &'a [u8],
    step: usize,
    given: usize,
}

impl AsyncRead for Trickle<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = self.step.min(buffer.remaining()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(len);
        buffer.put_slice(now);
        self.bytes = later;
        self.given += len;
        Poll::Ready(Ok(()))
    }
}

fn reader(bytes: &[u8], step: usize) -> FrameReader<Trickle<'_>> {
    FrameReader::new(Trickle { bytes, step, given: 0 }, VERSION, FRAME_BYTES_MAX)
}

fn frame(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    append(&mut out, kind, VERSION, body);
    out
}

async fn first(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    reader(bytes, 1000).next().await
}

#[test]
fn kinds_have_one_number_each() {
    for code in 0..=255 {
        if let Some(kind) = FrameKind::from_code(code) {
            assert_eq!(kind.code(), code);
        }
    }
    assert_eq!(KINDS.len(), (0..=255).filter_map(FrameKind::from_code).count());
}

#[tokio::test]
async fn frames_of_any_size_come_back_whatever_the_pieces() {
    let sizes = [0, 1, 8, 100, READ_BYTES - HEADER_BYTES, READ_BYTES, READ_BYTES + 1, 1 << 20];
    let mut stream = Vec::new();
    for (size, seed) in sizes.iter().zip(0..) {
        let body: Vec<u8> = (0..*size).map(|at| u8::try_from(at % 251).unwrap() ^ seed).collect();
        append(&mut stream, FrameKind::Message, VERSION, &body);
    }
    append(&mut stream, FrameKind::Message, VERSION, &vec![9; FRAME_BYTES_MAX - HEADER_BYTES]);
    for step in [1021, 16 << 10, 1 << 20, usize::MAX] {
        let mut reader = reader(&stream, step);
        for size in sizes.into_iter().chain([FRAME_BYTES_MAX - HEADER_BYTES]) {
            let frame = reader.next().await.unwrap().expect("one more");
            assert_eq!((frame.kind, frame.body.len()), (FrameKind::Message, size));
        }
        assert!(reader.next().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn small_frames_arrive_byte_by_byte() {
    let stream = [frame(FrameKind::Ping, &[1; 8]), frame(FrameKind::Pong, &[2; 8])].concat();
    let mut reader = reader(&stream, 1);
    assert_eq!(reader.next().await.unwrap().unwrap().kind, FrameKind::Ping);
    assert_eq!(&reader.next().await.unwrap().unwrap().body[..], [2; 8]);
    assert!(reader.next().await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_not_a_frame_is_refused_by_name() {
    let good = frame(FrameKind::Ping, &[0; 8]);
    let with = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        bad
    };
    let found = first(&with(3, 1)).await;
    assert!(matches!(found, Err(FrameError::TooLong { .. })), "{found:?}");
    let found = first(&with(4, 0)).await;
    assert!(matches!(found, Err(FrameError::UnknownKind(0))), "{found:?}");
    let found = first(&with(5, 1)).await;
    assert!(matches!(found, Err(FrameError::UnknownFlags(1))), "{found:?}");
    let found = first(&with(6, 2)).await;
    assert!(matches!(found, Err(FrameError::WrongVersion { found: 2, agreed: 1 })), "{found:?}");
    for at in [8, 12, 19] {
        let found = first(&with(at, 0x55)).await;
        assert!(matches!(found, Err(FrameError::Checksum { .. })), "{found:?}");
    }
    for end in 1..good.len() {
        let found = first(&good[..end]).await;
        assert!(matches!(found, Err(FrameError::Truncated)), "cut at {end}: {found:?}");
    }
    // HTTP, for example, is refused by its "length".
    let found = first(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(matches!(found, Err(FrameError::TooLong { .. })), "{found:?}");
}

/// N3 of the review of the older implementation: 4 GiB allocated for four bytes from the wire.
#[tokio::test]
async fn a_length_alone_allocates_nothing() {
    let mut bytes = frame(FrameKind::Message, &[]);
    bytes[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
    bytes.resize(1 << 20, 0);
    let mut greedy = reader(&bytes, 100);
    assert!(matches!(greedy.next().await, Err(FrameError::TooLong { .. })));
    assert!(greedy.capacity() <= 4 * READ_BYTES, "allocated {}", greedy.capacity());
    assert!(greedy.source.given <= 200, "read on after the header");

    // A length within the limit is believed only as far as bytes arrive.
    let len = u32::try_from(FRAME_BYTES_MAX - HEADER_BYTES).unwrap();
    bytes[0..4].copy_from_slice(&len.to_le_bytes());
    bytes.truncate(1000);
    let mut patient = reader(&bytes, 100);
    assert!(matches!(patient.next().await, Err(FrameError::Truncated)));
    let bound = 4 * READ_BYTES + BODY_BYTES_FIRST;
    assert!(patient.capacity() <= bound, "allocated {}", patient.capacity());
}

#[tokio::test]
async fn a_reader_that_is_cancelled_loses_nothing() {
    let body = vec![7; 100_000];
    let stream = [frame(FrameKind::Message, &body), frame(FrameKind::Ping, &[1; 8])].concat();
    let (mut sender, receiver) = tokio::io::duplex(500);
    let mut reader = FrameReader::new(receiver, VERSION, FRAME_BYTES_MAX);
    let write = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut sender, &stream).await.unwrap();
    });
    let mut cancelled = 0;
    let frame = loop {
        tokio::select! {
            biased;
            frame = reader.next() => break frame.unwrap().unwrap(),
            () = tokio::task::yield_now() => cancelled += 1,
        }
    };
    assert!(cancelled > 10, "cancelled only {cancelled} times");
    assert_eq!(frame.body, body);
    assert_eq!(reader.next().await.unwrap().unwrap().kind, FrameKind::Ping);
    write.await.unwrap();
}

#[tokio::test]
async fn damaged_streams_never_panic_and_never_allocate_ahead() {
    let seed = 21;
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let (mut broken, mut messages) = (0, 0);
    for _ in 0..20_000 {
        let mut stream = Vec::new();
        let mut sent = Vec::new();
        for _ in 0..=chance.below(3) {
            let message = random_message(&mut chance);
            append(&mut stream, FrameKind::Message, VERSION, &encoded(&message));
            sent.push(message);
        }
        for _ in 0..=chance.below(2) {
            damage(&mut chance, &mut stream);
        }
        let mut reader = reader(&stream, 1 + usize::try_from(chance.below(3000)).unwrap());
        loop {
            match reader.next().await {
                Ok(Some(frame)) if frame.kind == FrameKind::Message => {
                    // CRC32C finds every damage of this kind: what comes out was sent.
                    let message = codec::decode(frame.body).expect("the checksum was good");
                    assert!(sent.contains(&message), "a message that nobody sent");
                    messages += 1;
                }
                Ok(Some(frame)) => panic!("a {:?} that nobody sent", frame.kind),
                Ok(None) => break,
                Err(_) => {
                    broken += 1;
                    break;
                }
            }
            let bound = stream.len() * 2 + 4 * READ_BYTES + BODY_BYTES_FIRST;
            assert!(reader.capacity() <= bound, "allocated {}", reader.capacity());
        }
    }
    println!("{broken} streams broken, {messages} messages before that");
    assert!(broken > 10_000 && messages > 5_000);
}

/// Canary: without its check, the same damage yields messages that nobody sent. If it did not,
/// the test above would prove nothing about the checksum.
#[test]
fn canary_damage_gets_through_without_the_checksum() {
    let mut chance = Chance::new(21);
    let mut forged = 0;
    for _ in 0..1000 {
        let message = random_message(&mut chance);
        let mut bytes = frame(FrameKind::Message, &encoded(&message));
        let bit = chance.below(8 * (bytes.len() - HEADER_BYTES) as u64);
        bytes[HEADER_BYTES + usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        let header = Header::decode(&bytes, VERSION, FRAME_BYTES_MAX).unwrap();
        let body = Bytes::copy_from_slice(&bytes[HEADER_BYTES..]);
        assert!(header.check(&body).is_err(), "a flipped bit went unnoticed");
        // The copy of the reader without the check:
        forged += usize::from(codec::decode(body).is_ok_and(|found| found != message));
    }
    println!("{forged} of 1000 flipped bits yield another valid message");
    assert!(forged > 500);
}

#[test]
#[should_panic(expected = "frame body of")]
fn a_frame_that_everybody_would_refuse_is_not_built() {
    frame(FrameKind::Message, &vec![0; FRAME_BYTES_MAX]);
}
