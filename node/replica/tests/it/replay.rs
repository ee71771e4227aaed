//! The replay oracle over random schedules: a fresh replica that takes the same gives the same.
//! And its canaries: an altered input, an altered output, other random numbers, a missing record
//! and a cut file are all noticed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use pgraft_replay::{Body, Damage, Failure, Recorder, Records, Report, Stopped, replay};
use pgraft_replica::{Index, Input, MessageKind};

use crate::dice::Dice;
use crate::schedules::recordings;

/// Schedules with and without changing members.
const SCHEDULES: u64 = 12;
const FIRST_SEED_WITH_CONF: u64 = 10_001;
/// The schedule of the canaries.
const CANARY_SEED: u64 = 3;

fn bodies(recording: &[u8]) -> Vec<Body> {
    let mut records = Records::open(recording).unwrap();
    let mut bodies = Vec::new();
    while let Some(record) = records.read_next().unwrap() {
        assert_eq!(record.number, bodies.len() as u64);
        bodies.push(record.body);
    }
    bodies
}

/// A recording with all numbers and checksums right.
fn written(bodies: &[Body]) -> Vec<u8> {
    let mut recorder = Recorder::new();
    bodies.iter().for_each(|body| recorder.repeat(body));
    recorder.take()
}

/// The recording of the node that steps most.
fn longest() -> Vec<u8> {
    let all = recordings(CANARY_SEED, false);
    all.into_values().max_by_key(Vec::len).unwrap()
}

fn difference(recording: &[u8]) -> Option<String> {
    match replay(recording) {
        Ok(_) => None,
        Err(Stopped { why: Failure::Different(difference), .. }) => Some(difference.to_string()),
        Err(Stopped { why: Failure::Damaged(damage), .. }) => panic!("{damage}"),
    }
}

#[test]
fn random_schedules_replay_alike() {
    let mut total = Report::default();
    let seeds = (1..=SCHEDULES).map(|seed| (seed, false));
    let seeds = seeds.chain((0..SCHEDULES).map(|seed| (FIRST_SEED_WITH_CONF + seed, true)));
    for (seed, with_conf) in seeds {
        println!("reproduce: the schedule of seed {seed}");
        for (node, recording) in recordings(seed, with_conf) {
            let report = replay(&recording[..]);
            let report = report.unwrap_or_else(|stopped| panic!("node {node}: {stopped}"));
            assert_eq!(report.bytes, recording.len() as u64);
            total.lives += report.lives;
            total.ended += report.ended;
            total.steps += report.steps;
            total.bytes += report.bytes;
        }
    }
    println!("{total}");
    assert!(total.lives > 2 * total.ended, "hardly any node was killed: {total}");
    assert!(total.steps > 10_000, "hardly any steps: {total}");
}

#[test]
fn what_is_read_and_written_again_is_the_same() {
    let recording = longest();
    assert!(written(&bodies(&recording)) == recording);
}

/// Every kind of input that decides something: altered ones are noticed by their outputs alone,
/// with all checksums right.
#[test]
fn canary_altered_inputs_are_noticed() {
    let bodies = bodies(&longest());
    let mut dice = Dice::new(CANARY_SEED);
    let (mut proposals, mut messages, mut writes) = (0, 0, 0);
    for _ in 0..400 {
        let at = dice.below(bodies.len());
        let mut altered = bodies.clone();
        let Body::Step(step) = &mut altered[at] else { continue };
        let does_something = step.effects.iter().any(|byte| *byte != 0);
        match &mut step.input {
            // Refusals name the ticket, entries have the command.
            Input::Propose(proposed) => {
                proposed[0].ticket.0 ^= 1;
                proposed[0].command = Bytes::from_static(b"something else");
                proposals += 1;
            }
            // Entries that are there already would be no difference, another term is.
            Input::Received(message) if message.kind == MessageKind::Append => {
                message.term.0 += 1000;
                messages += 1;
            }
            Input::Persisted { number } if does_something => {
                *number = 0;
                writes += 1;
            }
            _ => continue,
        }
        let told = difference(&written(&altered));
        let told = told.unwrap_or_else(|| panic!("not noticed: {:?}", bodies[at]));
        assert!(told.starts_with(&format!("different: record {at} ")) || told.contains("life"));
    }
    println!("{proposals} proposals, {messages} messages, {writes} writes");
    assert!(proposals > 0 && messages > 0 && writes > 0);
}

#[test]
fn canary_an_altered_output_is_noticed() {
    let bodies = bodies(&longest());
    let mut dice = Dice::new(CANARY_SEED);
    for _ in 0..100 {
        let at = dice.below(bodies.len());
        let mut altered = bodies.clone();
        let Body::Step(step) = &mut altered[at] else { continue };
        let mut effects = step.effects.to_vec();
        let byte = dice.below(effects.len());
        effects[byte] ^= 1;
        step.effects = Bytes::from(effects);
        let told = difference(&written(&altered)).expect("noticed");
        assert!(told.starts_with(&format!("different: record {at} at offset ")), "{told}");
    }
}

/// A replica with another seed is what a replica that asks the system for random numbers is.
#[test]
fn canary_other_random_numbers_are_noticed() {
    let mut bodies = bodies(&longest());
    for body in &mut bodies {
        if let Body::Start(start) = body {
            start.config.seed ^= 1;
        }
    }
    let told = difference(&written(&bodies)).expect("noticed");
    println!("{told}");
    assert!(told.contains(", step ") && told.contains("\n+ "), "{told}");
}

/// Something else than inputs decides: a tick that the recorder did not see.
#[test]
fn canary_a_hidden_input_is_noticed() {
    let mut bodies = bodies(&longest());
    let at = bodies.iter().position(|body| {
        matches!(body, Body::Step(step)
            if matches!(step.input, Input::Received(ref message) if !message.entries.is_empty())
                && step.effects.iter().any(|byte| *byte != 0))
    });
    bodies.remove(at.expect("entries were received"));
    assert!(difference(&written(&bodies)).is_some());
}

/// The input on which a replica panicked is there, and it panics again.
#[test]
fn a_step_that_never_ended_is_tried() {
    let mut bodies = bodies(&longest());
    bodies.truncate(30);
    bodies.push(Body::Broken(Box::new(Input::Applied { index: Index(1 << 40) })));
    bodies.push(Body::End("the node's thread panicked".to_owned()));
    let report = replay(&written(&bodies)[..]).unwrap();
    let lives = bodies.iter().filter(|body| matches!(body, Body::Start(_))).count() as u64;
    assert_eq!((report.lives, report.broken, report.ended), (lives, 1, 1));
    assert_eq!(report.steps, 30 - lives);

    let mut recorder = Recorder::new();
    recorder.repeat(&bodies[0]);
    recorder.stepping(&Input::TimeJumped);
    recorder.ended("the node's thread panicked");
    let report = replay(&recorder.take()[..]).unwrap();
    assert_eq!((report.broken, report.ended, report.steps), (1, 1, 0));
}

fn damage(recording: &[u8]) -> Damage {
    match replay(recording).unwrap_err().why {
        Failure::Damaged(damage) => damage,
        Failure::Different(difference) => panic!("{difference}"),
    }
}

/// Where each record begins.
fn offsets(recording: &[u8]) -> Vec<usize> {
    let mut records = Records::open(recording).unwrap();
    let mut offsets = Vec::new();
    while let Some(record) = records.read_next().unwrap() {
        offsets.push(usize::try_from(record.offset).unwrap());
    }
    offsets
}

#[test]
fn canary_a_missing_record_is_noticed() {
    let recording = longest();
    let offsets = offsets(&recording);
    for at in [1, offsets.len() / 2, offsets.len() - 2] {
        let without = [&recording[..offsets[at]], &recording[offsets[at + 1]..]].concat();
        let found = damage(&without);
        let expected = (at as u64, offsets[at] as u64, at as u64 + 1);
        let Damage::Order { record, offset, found } = found else { panic!("{found}") };
        assert_eq!((record, offset, found), expected);
    }
}

#[test]
fn canary_a_cut_file_is_noticed_wherever_it_is_cut() {
    let recording = longest();
    let offsets = offsets(&recording);
    // Between two records it could be the end of a node that was killed; inside it is told where.
    for end in offsets[20]..offsets[22] {
        let inside = end != offsets[20] && end != offsets[21];
        match replay(&recording[..end]) {
            Ok(report) => assert!(!inside && report.ended == 0, "cut at {end}"),
            Err(Stopped { why: Failure::Damaged(Damage::Cut { record, offset, .. }), before }) => {
                let place = if end < offsets[21] { 20 } else { 21 };
                assert!(inside && (record, offset) == (place, offsets[place as usize] as u64));
                assert_eq!(before.steps + before.lives, place);
            }
            Err(other) => panic!("cut at {end}: {other}"),
        }
    }
    for end in 0..16 {
        assert!(replay(&recording[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn canary_a_changed_byte_is_noticed_wherever_it_is() {
    let recording = longest();
    let offsets = offsets(&recording);
    let mut dice = Dice::new(CANARY_SEED);
    for _ in 0..300 {
        let mut altered = recording.clone();
        let at = dice.below(offsets[200]);
        altered[at] ^= 1 << dice.below(8);
        let found = damage(&altered);
        assert!(
            matches!(found, Damage::Checksum { .. } | Damage::NotARecording),
            "byte {at}: {found}"
        );
    }
}

/// A body that no recorder wrote is refused without a panic.
#[test]
fn nonsense_is_refused() {
    let recording = longest();
    let mut dice = Dice::new(CANARY_SEED);
    for _ in 0..2000 {
        let length = dice.below(200);
        let body: Vec<u8> = (0..length).map(|_| dice.next() as u8).collect();
        let kind = 1 + dice.below(5) as u8;
        let mut file = recording[..16].to_vec();
        let mut frame = u32::try_from(length).unwrap().to_le_bytes().to_vec();
        frame.extend_from_slice(&0_u64.to_le_bytes());
        frame.push(kind);
        frame.extend_from_slice(&crc32c::crc32c(&frame).to_le_bytes());
        frame.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        file.extend(frame);
        file.extend(body);
        assert!(matches!(damage(&file), Damage::Malformed { .. }));
    }
}
