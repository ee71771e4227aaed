//! What we compute beside raft-rs must be what raft-rs computes.

use protobuf::Message as _;

use super::*;
use crate::chance::Chance;
use crate::{ConfChangeKind, conf_codec};

fn random_change(chance: &mut Chance) -> ConfChange {
    let kinds = [ConfChangeKind::AddVoter, ConfChangeKind::AddLearner, ConfChangeKind::Remove];
    let count = chance.next() % 4;
    let changes = (0..count).map(|_| {
        let kind = kinds[usize::try_from(chance.next() % 3).expect("small")];
        let number = match chance.next() % 8 {
            0 => chance.next() | 1,
            number => number,
        };
        (kind, NodeId::new(number).expect("not 0"))
    });
    let changes = changes.collect();
    let context = vec![7; usize::try_from(chance.next() % 3).expect("small") * 100];
    ConfChange { changes, context: context.into() }
}

#[test]
fn conf_changes_are_encoded_as_raft_rs_encodes_them() {
    let mut chance = Chance::new(1, "conf changes");
    for _ in 0..2_000 {
        let change = random_change(&mut chance);
        let ours = conf_codec::encode(&change);
        let theirs = conf_change_out(&change).write_to_bytes().expect("it encodes");
        assert_eq!(ours, theirs, "{change:?}");
        assert_eq!(conf_codec::decode(&ours), Some(change));
    }
}

#[test]
fn other_bytes_are_no_conf_change() {
    let mut chance = Chance::new(2, "conf changes");
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bytes = conf_codec::encode(&random_change(&mut chance)).to_vec();
        for _ in 0..=chance.next() % 2 {
            let noise = chance.next().to_le_bytes();
            if bytes.is_empty() || chance.next().is_multiple_of(3) {
                bytes.push(noise[0]);
            } else {
                let at = usize::try_from(chance.next()).expect("64 bits") % bytes.len();
                bytes[at] = noise[1];
            }
        }
        let bytes = Bytes::from(bytes);
        if let Some(change) = conf_codec::decode(&bytes) {
            accepted += 1;
            assert_eq!(conf_codec::encode(&change), bytes, "two spellings of {change:?}");
            eraftpb::ConfChangeV2::parse_from_bytes(&bytes).expect("raft-rs reads it too");
        }
    }
    assert!(accepted < 15_000, "nearly everything is accepted");
}

#[test]
fn configurations_change_as_raft_rs_changes_them() {
    let mut chance = Chance::new(3, "configurations");
    let mut joint = 0;
    for _ in 0..300 {
        let ids = (1..=3).filter_map(NodeId::new);
        let mut conf = ConfState { voters: ids.collect(), ..ConfState::default() };
        let mut raft = new_raft(&conf);
        for _ in 0..20 {
            let change = random_change(&mut chance);
            let ours = conf.changed_by(&change).ok();
            let theirs = raft.apply_conf_change(&change).ok();
            assert_eq!(ours, theirs, "{change:?} to {conf:?}");
            conf = ours.unwrap_or(conf);
            assert!(conf.is_valid(), "{conf:?}");
            joint += u32::from(conf.is_joint());
            // What is valid can be restored from.
            new_raft(&conf);
        }
    }
    assert!(joint > 100, "hardly any was joint");
}

fn new_raft(conf: &ConfState) -> Raft {
    let settings = Settings {
        id: NodeId::new(1).expect("not 0"),
        election_ticks_min: 10,
        election_ticks_max: 20,
        heartbeat_ticks: 1,
        applied: Index::ZERO,
    };
    let log = LogView::new((Index::ZERO, Term(0)), Vec::new(), Vec::new(), Index::ZERO);
    Raft::new(&settings, HardState::default(), conf.clone(), log).expect("usable")
}

#[test]
fn messages_survive_the_way_through_raft_rs() {
    let (from, to) = (NodeId::new(1).expect("not 0"), NodeId::new(2).expect("not 0"));
    for (kind, _) in KINDS {
        let mut message = Message::new(kind, from, to, Term(3));
        message.log_term = Term(2);
        message.index = Index(7);
        message.commit = Index(5);
        message.commit_term = Term(1);
        message.reject = true;
        message.reject_hint = Index(4);
        message.request_snapshot = Index(6);
        message.context = Bytes::from_static(b"context");
        message.priority = -1;
        let data = Bytes::from_static(b"data");
        let index = Index(8);
        message.entries = vec![Entry { index, term: Term(3), kind: EntryKind::ConfChange, data }];
        let conf = ConfState { voters: [from].into(), ..ConfState::default() };
        message.snapshot = Some(SnapshotMeta { index: Index(5), term: Term(1), conf });
        assert_eq!(message_in(message_out(message.clone())), Some(message));
    }
}
