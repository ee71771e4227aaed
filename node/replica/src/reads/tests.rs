//! Rounds, deadlines and retries.

use super::*;

fn tickets(numbers: std::ops::Range<u64>) -> Vec<Ticket> {
    numbers.map(Ticket).collect()
}

#[test]
fn reads_that_come_later_are_in_a_later_round() {
    let mut reads = Reads::new(1, 5, 100);
    let (mut refused, mut answered) = (Vec::new(), Vec::new());
    reads.add(tickets(0..2), 0, &mut refused);
    let first = reads.begin(0).expect("something waits");
    assert_eq!(reads.begin(0), None, "nothing is left");
    reads.add(tickets(2..3), 0, &mut refused);
    let second = reads.begin(0).expect("something waits");
    assert_ne!(first, second);
    reads.confirmed(&first, Index(7), &mut answered);
    assert_eq!(answered, [(Ticket(0), Index(7)), (Ticket(1), Index(7))]);
    reads.confirmed(&first, Index(8), &mut answered);
    assert_eq!(answered.len(), 2, "a round is answered once");
    reads.confirmed(&second, Index(9), &mut answered);
    assert_eq!(answered[2], (Ticket(2), Index(9)));
}

#[test]
fn lost_rounds_are_repeated_ever_more_slowly_until_the_deadline() {
    let mut reads = Reads::new(1, 5, 100);
    let mut refused = Vec::new();
    reads.add(tickets(0..1), 0, &mut refused);
    let mut begun = Vec::new();
    let mut contexts = std::collections::BTreeSet::new();
    for now in 0..=100 {
        reads.tick(now, &mut refused);
        if let Some(context) = reads.begin(now) {
            begun.push(now);
            contexts.insert(context);
        }
    }
    assert_eq!(begun, [0, 5, 15, 35, 75]);
    assert_eq!(contexts.len(), begun.len(), "each has a context of its own");
    assert_eq!(refused, [(Ticket(0), Refusal::NoQuorum)]);
    assert_eq!(reads.count, 0);
}

#[test]
fn only_so_many_reads_and_rounds_are_in_flight() {
    let mut reads = Reads::new(1, 5, 100);
    let mut refused = Vec::new();
    for round in 0..READ_ROUNDS_MAX as u64 {
        reads.add(tickets(round..round + 1), 0, &mut refused);
        assert!(reads.begin(0).is_some());
    }
    reads.add(tickets(100..101), 0, &mut refused);
    assert_eq!(reads.begin(0), None, "it waits for a round to end");
    reads.add(tickets(1_000..1_000 + READS_MAX as u64), 0, &mut refused);
    assert_eq!(refused.len(), READ_ROUNDS_MAX + 1);
    assert!(refused.iter().all(|(_, refusal)| *refusal == Refusal::Busy));
}

#[test]
fn contexts_differ_from_start_to_start() {
    let context = |seed| {
        let mut reads = Reads::new(seed, 5, 100);
        reads.add(tickets(0..1), 0, &mut Vec::new());
        reads.begin(0)
    };
    assert_ne!(context(1), context(2));
}
