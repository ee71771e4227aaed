//! Round trips and damaged input of the message codec.

use super::*;
use crate::chance::Chance;

fn random_bytes(chance: &mut Chance, max: u64) -> Bytes {
    let len = chance.below(max + 1);
    (0..len).map(|_| chance.next().to_le_bytes()[0]).collect()
}

fn random_nodes(chance: &mut Chance) -> BTreeSet<NodeId> {
    (0..chance.below(6)).filter_map(|_| NodeId::new(chance.below(40))).collect()
}

fn random_meta(chance: &mut Chance) -> SnapshotMeta {
    SnapshotMeta {
        index: Index(chance.next()),
        term: Term(chance.next()),
        conf: ConfState {
            voters: random_nodes(chance),
            voters_outgoing: random_nodes(chance),
            learners: random_nodes(chance),
            learners_next: random_nodes(chance),
        },
    }
}

fn random_entry(chance: &mut Chance) -> Entry {
    let kind = if chance.below(4) == 0 { EntryKind::ConfChange } else { EntryKind::Normal };
    let (index, term) = (Index(chance.next()), Term(chance.next()));
    Entry { index, term, kind, data: random_bytes(chance, 300) }
}

/// Every field takes part, whether its kind uses it or not: the codec does not know.
pub(crate) fn random_message(chance: &mut Chance) -> Message {
    let kind = KINDS[usize::try_from(chance.below(10)).unwrap()].1;
    let node = |chance: &mut Chance| NodeId::new(1 + chance.below(u64::MAX)).unwrap();
    let (from, to) = (node(chance), node(chance));
    Message {
        kind,
        from,
        to,
        term: Term(chance.next()),
        log_term: Term(chance.next()),
        index: Index(chance.next()),
        commit: Index(chance.next()),
        commit_term: Term(chance.next()),
        entries: (0..chance.below(5)).map(|_| random_entry(chance)).collect(),
        snapshot: (chance.below(3) == 0).then(|| random_meta(chance)),
        request_snapshot: Index(chance.next()),
        reject: chance.below(2) == 0,
        reject_hint: Index(chance.next()),
        context: random_bytes(chance, 32),
        priority: chance.next().cast_signed(),
    }
}

pub(crate) fn encoded(message: &Message) -> Vec<u8> {
    let mut body = Vec::new();
    encode(message, &mut body);
    body
}

#[test]
fn every_message_comes_back_as_it_left() {
    let seed = 11;
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    for _ in 0..3000 {
        let message = random_message(&mut chance);
        let body = encoded(&message);
        assert_eq!(body.len(), encoded_len(&message));
        assert_eq!(decode(body.into()).unwrap(), message);
    }
}

#[test]
fn entry_data_is_not_copied() {
    let mut message = random_message(&mut Chance::new(3));
    message.entries = vec![random_entry(&mut Chance::new(4))];
    let body = Bytes::from(encoded(&message));
    let data = decode(body.clone()).unwrap().entries.remove(0).data;
    assert!(body.as_ptr_range().contains(&data.as_ptr()), "{data:?} is a copy");
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    let mut chance = Chance::new(5);
    for _ in 0..50 {
        let body = Bytes::from(encoded(&random_message(&mut chance)));
        for end in 0..body.len() {
            let found = decode(body.slice(..end));
            assert!(matches!(found, Err(CodecError::Truncated(_))), "cut at {end}: {found:?}");
        }
    }
}

#[test]
fn what_no_encoder_writes_is_refused() {
    let mut message = random_message(&mut Chance::new(6));
    message.snapshot = None;
    message.entries = vec![random_entry(&mut Chance::new(7))];
    message.context = Bytes::new();
    let good = encoded(&message);
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        decode(bad.into()).unwrap_err()
    };
    let unknown = |what, found| CodecError::Unknown { what, found };
    assert_eq!(with(0, &[0]), unknown("message kind", 0));
    assert_eq!(with(0, &[99]), unknown("message kind", 99));
    assert_eq!(with(1, &[4]), unknown("message flags", 4));
    assert_eq!(with(2, &[1]), unknown("reserved field", 1));
    assert_eq!(with(4, &[0; 8]), CodecError::NodeZero("sender"));
    assert_eq!(with(12, &[0; 8]), CodecError::NodeZero("receiver"));
    let many = |what, max| CodecError::TooMany { what, found: u32::MAX.into(), max };
    assert_eq!(with(84, &[255; 4]), many("bytes of context", CONTEXT_BYTES_MAX));
    assert_eq!(with(88, &[255; 4]), many("entries", ENTRIES_MAX));
    assert_eq!(with(88, &[255, 255, 0, 0]), CodecError::Truncated("entries"));
    assert_eq!(with(FIXED_BYTES + 16, &[2]), unknown("entry kind", 2));
    assert_eq!(with(FIXED_BYTES + 17, &[255; 4]), CodecError::Truncated("entry data"));
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(decode(longer.into()).unwrap_err(), CodecError::Trailing(1));
}

#[test]
fn sets_of_nodes_have_one_encoding_and_a_limit() {
    let mut message = random_message(&mut Chance::new(8));
    message.context = Bytes::new();
    message.entries.clear();
    let mut meta = SnapshotMeta::default();
    meta.conf.voters = [1, 2].into_iter().filter_map(NodeId::new).collect();
    message.snapshot = Some(meta);
    let good = encoded(&message);
    let count = FIXED_BYTES + 16;
    let with = |at: usize, number: u8| {
        let mut bad = good.clone();
        bad[at] = number;
        decode(bad.into()).unwrap_err()
    };
    assert_eq!(with(count + 4, 2), CodecError::NotAscending);
    assert_eq!(with(count + 4, 3), CodecError::NotAscending);
    assert_eq!(with(count + 4, 0), CodecError::NodeZero("member"));
    let many = CodecError::TooMany { what: "nodes", found: 0x0102, max: NODES_MAX };
    assert_eq!(with(count + 1, 1), CodecError::Truncated("nodes"));
    assert_ne!(with(count + 1, 1), many);
    let found = 2 + (255 << 8);
    assert_eq!(with(count + 1, 255), CodecError::TooMany { what: "nodes", found, max: NODES_MAX });
}

/// Damage behind a good checksum, as a bug or an attacker would send it.
#[test]
fn a_damaged_body_is_refused_or_is_another_valid_message() {
    let seed = 12;
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let (mut refused, mut other) = (0, 0);
    for _ in 0..20_000 {
        let message = random_message(&mut chance);
        let mut body = encoded(&message);
        for _ in 0..=chance.below(3) {
            damage(&mut chance, &mut body);
        }
        let body = Bytes::from(body);
        match decode(body.clone()) {
            Err(_) => refused += 1,
            Ok(found) => {
                assert!(found.entries.capacity() <= ENTRIES_MAX);
                assert!(found.entries.len() * ENTRY_BYTES <= body.len());
                // One encoding per message: what was accepted is what would have been written.
                assert_eq!(encoded(&found), body);
                other += usize::from(found != message);
            }
        }
    }
    // The run went somewhere: both outcomes were common.
    println!("{refused} refused, {other} other messages");
    assert!(refused > 1000 && other > 1000);
}

/// One change: a flipped bit, a lost or added byte, a number made extreme.
pub(crate) fn damage(chance: &mut Chance, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = usize::try_from(chance.below(bytes.len() as u64)).unwrap();
    match chance.below(6) {
        0 | 1 => bytes[at] ^= 1 << chance.below(8),
        2 => bytes.truncate(at),
        3 => bytes.insert(at, chance.next().to_le_bytes()[0]),
        4 => {
            bytes.remove(at);
        }
        _ => {
            let end = bytes.len().min(at + 4);
            let extreme = if chance.below(2) == 0 { 255 } else { 0 };
            bytes[at..end].fill(extreme);
        }
    }
}

/// The bytes in the documentation are the bytes on the wire. A change here is a new version.
#[test]
fn the_documented_frame_is_the_one_that_is_sent() {
    let (from, to) = (NodeId::new(1).unwrap(), NodeId::new(2).unwrap());
    let mut message = Message::new(MessageKind::Heartbeat, from, to, Term(3));
    message.commit = Index(4);
    message.context = Bytes::from_static(b"rd");
    let mut bytes = Vec::new();
    crate::frame::append(&mut bytes, crate::frame::FrameKind::Message, 1, &encoded(&message));
    let mut lines = String::new();
    for line in bytes.chunks(16) {
        let words: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push_str(&words.join(" "));
        lines.push('\n');
    }
    println!("{lines}");
    let documented = include_str!("../../../../docs/FORMATS.md");
    assert!(documented.contains(&lines), "docs/FORMATS.md shows other bytes than\n{lines}");
}
