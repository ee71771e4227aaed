//! Random and mutated messages: whatever a peer sends, the replica neither panics nor grows
//! without bound. Seeds are printed; a failing one is run alone by its number.

use bytes::Bytes;
use pgraft_replica::limits::{ENTRY_BYTES_MAX, NUMBER_MAX, TERM_JUMP_MAX};
use pgraft_replica::{
    ConfState, Dropped, Entry, EntryKind, Index, Input, Message, MessageKind, Role, SnapshotMeta,
    Term,
};

use crate::cluster::{Cluster, id};
use crate::dice::Dice;

const SEEDS: u64 = 60;
const MESSAGES: u32 = 600;

const KINDS: [MessageKind; 10] = [
    MessageKind::Append,
    MessageKind::AppendResponse,
    MessageKind::Vote,
    MessageKind::VoteResponse,
    MessageKind::PreVote,
    MessageKind::PreVoteResponse,
    MessageKind::Snapshot,
    MessageKind::Heartbeat,
    MessageKind::HeartbeatResponse,
    MessageKind::TimeoutNow,
];

/// A number that is sometimes absurd, mostly close to one that matters: what is wrong only in one
/// place gets furthest.
fn number(dice: &mut Dice, near: u64) -> u64 {
    match dice.below(120) {
        0 => 0,
        1 => u64::MAX - dice.next() % 3,
        2 => dice.next(),
        3 => NUMBER_MAX + 1,
        4 => near + TERM_JUMP_MAX + 1,
        _ => (near + dice.next() % 7).saturating_sub(3),
    }
}

fn entry(dice: &mut Dice, index: u64, term: u64) -> Entry {
    let kind = if dice.chance(20) { EntryKind::ConfChange } else { EntryKind::Normal };
    let length = if dice.chance(1) { ENTRY_BYTES_MAX + 1 } else { dice.below(40) };
    let data: Vec<u8> = (0..length).map(|_| dice.next().to_le_bytes()[0]).collect();
    Entry { index: Index(index), term: Term(term), kind, data: Bytes::from(data) }
}

fn conf(dice: &mut Dice) -> ConfState {
    let mut some = || (1..=5).filter(|_| dice.chance(40)).map(id).collect();
    let (voters, voters_outgoing, learners) = (some(), some(), some());
    let learners_next = if dice.chance(30) { [id(2)].into() } else { [].into() };
    let outgoing = if dice.chance(50) { voters_outgoing } else { [].into() };
    ConfState { voters, voters_outgoing: outgoing, learners, learners_next }
}

fn random(dice: &mut Dice, cluster: &Cluster) -> Message {
    let view = cluster.view(1);
    let kind = KINDS[dice.below(KINDS.len())];
    let from = id(1 + dice.next() % 5);
    let to = if dice.chance(95) { id(1) } else { id(2) };
    let mut message = Message::new(kind, from, to, Term(number(dice, view.term.0)));
    message.log_term = Term(number(dice, view.term.0));
    message.index = Index(number(dice, view.last_index.0));
    message.commit = Index(number(dice, view.committed.0));
    message.commit_term = Term(number(dice, view.term.0));
    message.reject_hint = Index(number(dice, view.last_index.0));
    message.reject = dice.chance(30);
    if dice.chance(5) {
        message.request_snapshot = Index(number(dice, view.last_index.0));
        message.priority = 3;
    }
    if message.index.0 == 0 || dice.chance(5) {
        message.log_term = Term(0);
    }
    if dice.chance(5) {
        let contexts: [&'static [u8]; 3] = [b"CampaignTransfer", b"short", &[7; 100]];
        message.context = Bytes::from_static(contexts[dice.below(3)]);
    }
    if kind == MessageKind::Append || dice.chance(3) {
        for offset in 1..=dice.below(4) as u64 {
            let skew = u64::from(dice.chance(3));
            let index = message.index.0.saturating_add(offset + skew);
            let term = if dice.chance(80) { view.term.0 } else { number(dice, view.term.0) };
            message.entries.push(entry(dice, index, term));
        }
    }
    if kind == MessageKind::Snapshot || dice.chance(3) {
        let index = Index(number(dice, view.committed.0));
        let term = Term(number(dice, view.term.0));
        message.snapshot = Some(SnapshotMeta { index, term, conf: conf(dice) });
    }
    message
}

/// A message that was really sent, with one thing about it changed.
fn mutated(dice: &mut Dice, real: &Message) -> Message {
    let mut message = real.clone();
    match dice.below(9) {
        0 => message.term = Term(number(dice, message.term.0)),
        1 => message.index = Index(number(dice, message.index.0)),
        2 => message.commit = Index(number(dice, message.commit.0)),
        3 => message.log_term = Term(number(dice, message.log_term.0)),
        4 => message.from = id(1 + dice.next() % 5),
        5 => message.kind = KINDS[dice.below(KINDS.len())],
        6 => message.reject = !message.reject,
        7 => message.entries.reverse(),
        _ => message.entries.truncate(1),
    }
    message
}

/// A replica among liars. Its disk and state machine work; invariants over the cluster cannot
/// hold, so only this one node is stepped.
fn run_one(seed: u64) -> (u64, u64) {
    let mut dice = Dice::new(seed);
    let mut cluster = Cluster::led(seed, 3);
    let mut real: Vec<Message> = Vec::new();
    let mut sent = 0;
    for _ in 0..MESSAGES {
        if !cluster.is_up(1) || cluster.node(1).stop.is_some() {
            break;
        }
        let pick = dice.below(real.len() + 1);
        let message = match real.get(pick) {
            Some(message) if dice.chance(50) => mutated(&mut dice, message),
            _ => random(&mut dice, &cluster),
        };
        sent += 1;
        let effects = step_alone(&mut cluster, Input::Received(message));
        real.extend(effects.into_iter().map(|mut message| {
            std::mem::swap(&mut message.from, &mut message.to);
            message
        }));
        let excess = real.len().saturating_sub(30);
        real.drain(..excess);
        if dice.chance(20) {
            real.extend(step_alone(&mut cluster, Input::Tick { wall_ms: 0 }));
        }
    }
    (sent, cluster.view(1).messages_dropped)
}

/// One step of node 1 and all that its driver would do, without the checks over the cluster.
fn step_alone(cluster: &mut Cluster, input: Input) -> Vec<Message> {
    let mut inputs = vec![input];
    let mut sent = Vec::new();
    while let Some(input) = inputs.pop() {
        let replica = cluster.node(1).replica.as_mut().expect("it runs");
        let effects = replica.step(input);
        if effects.stop.is_some() {
            cluster.node(1).stop = effects.stop;
            return sent;
        }
        sent.extend(effects.send);
        if let Some(index) = effects.apply.last().map(|committed| committed.entry.index) {
            inputs.push(Input::Applied { index });
        }
        if let Some(number) = effects.persist.last().map(|persist| persist.number) {
            inputs.push(Input::Persisted { number });
        }
    }
    sent
}

#[test]
fn random_messages_never_panic() {
    let (mut sent, mut dropped) = (0, 0);
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let (some, bad) = run_one(seed);
        sent += some;
        dropped += bad;
    }
    println!("{sent} messages, {dropped} dropped");
    assert!(dropped > sent / 10, "hardly anything was dropped");
    assert!(dropped < sent * 9 / 10, "hardly anything got through");
}

#[test]
fn each_kind_of_nonsense_is_dropped_with_its_reason() {
    let mut cluster = Cluster::led(1, 3);
    let term = cluster.view(2).term;
    let append = || {
        let mut message = Message::new(MessageKind::Append, id(1), id(2), term);
        message.index = Index(1);
        message.log_term = term;
        message
    };
    let one = |index, term, data: &'static [u8]| Entry {
        index: Index(index),
        term: Term(term),
        kind: EntryKind::ConfChange,
        data: Bytes::from_static(data),
    };
    let mut cases: Vec<(Message, Dropped)> = Vec::new();
    cases.push((Message::new(MessageKind::Append, id(2), id(2), term), Dropped::Address));
    cases.push((Message::new(MessageKind::Append, id(1), id(3), term), Dropped::Address));
    cases.push((Message::new(MessageKind::Vote, id(1), id(2), Term(0)), Dropped::Number));
    let far = Term(term.0 + TERM_JUMP_MAX + 1);
    cases.push((Message::new(MessageKind::Vote, id(1), id(2), far), Dropped::Number));
    let mut message = append();
    message.entries = vec![one(3, 1, b"")];
    cases.push((message, Dropped::Entries));
    let mut message = append();
    message.entries = vec![one(2, 9, b"")];
    cases.push((message, Dropped::Entries));
    let mut message = append();
    message.entries = vec![one(2, 1, b"\x0b\x0b\x0b no conf change")];
    cases.push((message, Dropped::Entries));
    let mut message = append();
    message.reject = true;
    cases.push((message, Dropped::Field));
    let mut message = append();
    message.request_snapshot = Index(1);
    cases.push((message, Dropped::Field));
    cases.push((Message::new(MessageKind::Snapshot, id(1), id(2), term), Dropped::Snapshot));
    let mut message = Message::new(MessageKind::Snapshot, id(1), id(2), term);
    message.snapshot = Some(SnapshotMeta { index: Index(9), term, conf: ConfState::default() });
    cases.push((message, Dropped::Snapshot));
    let second = Message::new(MessageKind::Heartbeat, id(3), id(2), term);
    cases.push((second, Dropped::SecondLeader));
    for (dropped, (message, reason)) in (1..).zip(cases) {
        let from = message.from;
        cluster.step(2, Input::Received(message));
        let view = cluster.view(2);
        assert_eq!(view.last_dropped, Some((from, reason)));
        assert_eq!(view.messages_dropped, dropped);
        assert_eq!((view.role, view.term), (Role::Follower, term));
    }
    let mut lie = Message::new(MessageKind::AppendResponse, id(2), id(1), term);
    lie.index = Index(99);
    cluster.step(1, Input::Received(lie));
    assert_eq!(cluster.view(1).last_dropped, Some((id(2), Dropped::NotSent)));
}
