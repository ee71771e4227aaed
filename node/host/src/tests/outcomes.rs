//! The table of WASM.md 4.3: what each way of failing comes to, and that nothing of it stays.

use pgraft_replica::Index;

use super::identity;
use super::probe::ask;
use super::rig::{Node, code, count, machines, to};
use crate::{Fault, HostCode, limits};

#[test]
fn one_bad_command_does_not_harm_its_neighbours() {
    let mut node = Node::new(&machines());
    for (bad, class) in [
        ("!panic", HostCode::Trap),
        ("!spin", HostCode::OutOfFuel),
        ("!big", HostCode::OutOfMemory),
        ("!fill", HostCode::Quota),
    ] {
        let before = node.entry(0, &[to("counter", "a")]);
        let applied = node.entry(0, &[to("counter", "a"), to("counter", bad), to("counter", "a")]);
        assert_eq!(code(&applied.outcomes[1]), Some(class), "{bad}");
        assert_eq!(count(&applied.outcomes[0]), count(&before.outcomes[0]) + 1, "{bad}");
        assert_eq!(count(&applied.outcomes[2]), count(&before.outcomes[0]) + 2, "{bad}");
        assert_eq!(applied.events.len(), 2, "{bad}: the batch's own events are gone");
        let sequence: Vec<u32> = applied.events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequence, [0, 1]);
    }
    let torn = node.querier().query("counter", "", b"torn").unwrap().outcome.unwrap();
    assert_eq!(torn, 0_u64.to_le_bytes(), "the row written before the panic is gone");
}

#[test]
fn a_machines_own_rejection_undoes_only_its_command() {
    let mut node = Node::new(&machines());
    let commands = [to("counter", "a"), to("counter", "!half"), to("counter", "")];
    let applied = node.entry(0, &commands);
    assert_eq!(count(&applied.outcomes[0]), 1);
    assert_eq!(applied.outcomes[1].as_ref().unwrap_err().code, 101);
    assert_eq!(applied.outcomes[2].as_ref().unwrap_err().code, 100);
    let digest = node.digests()[3];
    let mut other = Node::new(&machines());
    other.entry(0, &[to("counter", "a")]);
    assert_eq!(other.digests()[3], digest, "the row written before the rejection is gone");
}

#[test]
fn the_probe_finds_every_rule() {
    let mut node = Node::new(&machines());
    let value_bytes = u32::try_from(limits::Limits::DEFAULT.value_bytes).unwrap();
    let reply_bytes = u32::try_from(limits::REPLY_BYTES_MAX).unwrap();
    let marks = u32::try_from(limits::MARKS_MAX).unwrap();
    for (payload, expected) in [
        (ask(b't', 0), Err(HostCode::Trap)),
        (ask(b'0', 0), Err(HostCode::BadInterface)),
        (ask(b'c', 5), Err(HostCode::BadInterface)),
        (ask(b'u', 0), Err(HostCode::BadInterface)),
        (ask(b'l', 0), Err(HostCode::BadInterface)),
        (ask(b'h', reply_bytes), Ok(())),
        (ask(b'h', reply_bytes + 1), Err(HostCode::Quota)),
        (ask(b'h', 20 << 20), Err(HostCode::BadInterface)),
        (ask(b'f', 0), Err(HostCode::BadInterface)),
        (ask(b'k', 2 << 10), Ok(())),
        (ask(b'k', (2 << 10) + 1), Err(HostCode::Quota)),
        (ask(b'v', value_bytes), Ok(())),
        (ask(b'v', value_bytes + 1), Err(HostCode::Quota)),
        (ask(b'r', 7), Err(HostCode::BadInterface)),
        (ask(b'p', marks), Ok(())),
        (ask(b'p', marks + 1), Err(HostCode::Quota)),
        (ask(b'g', 10), Ok(())),
        (ask(b'g', 2_000), Err(HostCode::OutOfMemory)),
        (ask(b'b', i32::MAX as u32), Err(HostCode::OutOfFuel)),
    ] {
        let outcome = node.command(to("probe", payload.clone()));
        match (&outcome, expected) {
            (Ok(_), Ok(())) => {}
            _ => assert_eq!(code(&outcome), expected.err(), "{payload:?}: {outcome:?}"),
        }
    }
}

#[test]
fn nothing_survives_in_memory() {
    let mut node = Node::new(&machines());
    for _ in 0..3 {
        let seen = node.entry(0, &[to("probe", ask(b'm', 0)), to("probe", ask(b'm', 0))]);
        let last = seen.outcomes[1].as_ref().unwrap();
        assert_eq!(last[..], 2_u32.to_le_bytes(), "an instance serves one entry");
    }
}

#[test]
fn memory_is_bounded_where_the_guest_would_be_told_so() {
    let mut node = Node::new(&machines());
    // 64 MiB are 1024 pages; two are there from the start.
    let granted = node.command(to("probe", ask(b'g', 1_022))).unwrap();
    assert_eq!(granted[..], 2_u32.to_le_bytes());
    let refused = node.command(to("probe", ask(b'g', 1_023)));
    assert_eq!(code(&refused), Some(HostCode::OutOfMemory));
}

#[test]
fn recursion_ends_at_the_same_depth_everywhere() {
    let mut seen = Vec::new();
    for options in identity::OPTIONS {
        let mut node = Node::new(identity::machines_of(options));
        let deep = |node: &mut Node, n| node.command(to("probe", ask(b'D', n)));
        let (mut fits, mut ends) = (1, 1 << 20);
        while ends - fits > 1 {
            let middle = fits + (ends - fits) / 2;
            match deep(&mut node, middle) {
                Ok(counted) => {
                    assert_eq!(counted[..], middle.to_le_bytes());
                    fits = middle;
                }
                Err(rejection) => {
                    assert_eq!(rejection.host_code(), Some(HostCode::StackOverflow));
                    ends = middle;
                }
            }
        }
        let commands = [to("counter", "a"), to("probe", ask(b'd', 0)), to("counter", "!deep")];
        let applied = node.entry(0, &commands);
        assert_eq!(count(&applied.outcomes[0]), 1);
        assert_eq!(code(&applied.outcomes[1]), Some(HostCode::StackOverflow));
        // Which ends first depends on its compiler: the counted stack, or that inside its memory.
        let deep = code(&applied.outcomes[2]);
        assert!(matches!(deep, Some(HostCode::StackOverflow | HostCode::Trap)), "{deep:?}");
        seen.push((fits, applied, node.digests()));
    }
    println!("{} calls", seen[0].0);
    assert!(seen[0].0 > 1_000, "{} calls are too few to work with", seen[0].0);
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
}

#[test]
fn commands_for_nobody_and_bytes_that_are_none_are_rejected() {
    let mut node = Node::new(&machines());
    let unknown = node.command(to("nobody", "a"));
    assert_eq!(code(&unknown), Some(HostCode::UnknownMachine));
    let at = node.applier.meta().applied.next();
    let commands = vec![bytes::Bytes::from_static(b"?"), to("counter", "a").encode()];
    let applied = node.apply(&[super::rig::raw_entry(at, 0, commands)]).unwrap();
    assert_eq!(code(&applied[0].outcomes[0]), Some(HostCode::MalformedCommand));
    assert_eq!(count(&applied[0].outcomes[1]), 1);
}

#[test]
fn an_entry_of_a_newer_program_stops_the_node_and_undoes_the_batch() {
    let mut node = Node::new(&machines());
    let first = super::rig::entry(Index(1), 0, &[to("counter", "a")]);
    let batch = [first.clone(), super::rig::unreadable_entry(Index(2))];
    let fault = node.apply(&batch).unwrap_err();
    assert!(matches!(fault, Fault::Entry { index: Index(2), .. }), "{fault}");
    assert_eq!(node.applier.meta().applied, Index::ZERO);
    // The same applier goes on with what it can read.
    let applied = node.apply(&[first]).unwrap();
    assert_eq!(count(&applied[0].outcomes[0]), 1);
}

#[test]
fn machines_have_keyspaces_of_their_own() {
    let mut node = Node::new(&machines());
    let before = node.digests();
    node.entry(0, &[to("counter", "a")]);
    let after = node.digests();
    assert_ne!(after[3], before[3]);
    assert_eq!((after[1], after[2], after[4]), (before[1], before[2], before[4]));
}

#[test]
fn a_batch_is_one_transaction_and_an_empty_one_is_none() {
    let mut node = Node::new(&machines());
    assert_eq!(node.apply(&[]).unwrap(), []);
    let batch: Vec<_> = (1..=10)
        .map(|index| super::rig::entry(Index(index), index, &[to("counter", "a")]))
        .collect();
    let applied = node.apply(&batch).unwrap();
    let counts: Vec<u64> = applied.iter().map(|applied| count(&applied.outcomes[0])).collect();
    assert_eq!(counts, (1..=10).collect::<Vec<u64>>());
    assert_eq!(node.restarted().applier.meta().applied, Index(10));
}

#[test]
#[should_panic(expected = "an entry was left out or given twice")]
fn a_gap_stops_the_node() {
    let mut node = Node::new(&machines());
    let _applied = node.apply(&[super::rig::entry(Index(2), 0, &[])]);
}

#[test]
fn time_never_goes_back() {
    let mut node = Node::new(&machines());
    node.entry(500, &[to("counter", "a")]);
    node.entry(300, &[to("counter", "a")]);
    assert_eq!(node.applier.meta().time_ms, 500);
    let at = node.applier.meta().applied.next();
    node.apply(&[super::rig::empty_entry(at)]).unwrap();
    assert_eq!(node.applier.meta().time_ms, 500);
}
