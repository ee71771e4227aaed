//! Packing, and finding proposals again.

use super::*;

fn proposals(sizes: &[usize]) -> Vec<Proposal> {
    let numbered = (0..).zip(sizes);
    let one = |(ticket, size): (u64, &usize)| Proposal {
        ticket: Ticket(ticket),
        command: Bytes::from(vec![0; *size]),
    };
    numbered.map(one).collect()
}

fn packed(sizes: &[usize]) -> Vec<usize> {
    let mut refused = Vec::new();
    let packs = Proposals::new(1).pack(proposals(sizes), &mut refused);
    assert_eq!(refused, Vec::new());
    packs.iter().map(|pack| pack.tickets.len()).collect()
}

#[test]
fn packs_are_full_before_the_next_one_begins() {
    assert_eq!(packed(&[]), [0; 0]);
    assert_eq!(packed(&[1; 600]), [256, 256, 88]);
    assert_eq!(packed(&[PACK_BYTES_MAX / 2; 5]), [2, 2, 1]);
    assert_eq!(packed(&[10, PACK_BYTES_MAX + 1, 10, 10]), [1, 1, 2]);
    assert_eq!(packed(&[COMMAND_BYTES_MAX, COMMAND_BYTES_MAX]), [1, 1]);
}

#[test]
fn too_large_a_command_does_not_stop_its_neighbours() {
    let mut refused = Vec::new();
    let sizes = [1, COMMAND_BYTES_MAX + 1, 1];
    let packs = Proposals::new(1).pack(proposals(&sizes), &mut refused);
    assert_eq!(packs[0].tickets, [Ticket(0), Ticket(2)]);
    let too_large = Refusal::TooLarge(COMMAND_BYTES_MAX + 1, COMMAND_BYTES_MAX);
    assert_eq!(refused, [(Ticket(1), too_large)]);
}

fn entry(index: u64, term: u64, kind: EntryKind) -> Entry {
    Entry { index: Index(index), term: Term(term), kind, data: Bytes::new() }
}

#[test]
fn proposals_are_found_by_index_and_term() {
    let mut proposals = Proposals::new(1);
    proposals.track(Index(5), Term(1), EntryKind::Normal, vec![Ticket(1)]);
    proposals.track(Index(6), Term(1), EntryKind::Normal, vec![Ticket(2), Ticket(3)]);
    // Leader again, two terms later, at an index it had used before.
    proposals.track(Index(6), Term(3), EntryKind::Normal, vec![Ticket(4)]);
    let resolved = proposals.resolve(&entry(5, 1, EntryKind::Normal));
    assert_eq!((resolved.tickets, resolved.refused), (vec![Ticket(1)], Vec::new()));
    let resolved = proposals.resolve(&entry(6, 3, EntryKind::Normal));
    assert_eq!(resolved.tickets, [Ticket(4)]);
    let overwritten = [2, 3].map(|ticket| (Ticket(ticket), Refusal::Overwritten));
    assert_eq!(resolved.refused, overwritten);
}

/// RAFT.md 1.3, R-D: raft-rs reports success and puts an empty entry in the log.
#[test]
fn pitfall_d_conf_change_that_became_an_empty_entry_is_refused() {
    let mut proposals = Proposals::new(1);
    proposals.track(Index(5), Term(1), EntryKind::ConfChange, vec![Ticket(1)]);
    let resolved = proposals.resolve(&entry(5, 1, EntryKind::Normal));
    assert_eq!(resolved.refused, [(Ticket(1), Refusal::Busy)]);
    assert_eq!(resolved.tickets, []);
}

#[test]
fn what_a_snapshot_covers_is_forgotten() {
    let mut proposals = Proposals::new(1);
    proposals.track(Index(5), Term(1), EntryKind::Normal, vec![Ticket(1)]);
    proposals.track(Index(9), Term(1), EntryKind::Normal, vec![Ticket(2)]);
    proposals.forget_up_to(Index(8));
    let resolved = proposals.resolve(&entry(9, 1, EntryKind::Normal));
    assert_eq!((resolved.tickets, resolved.refused), (vec![Ticket(2)], Vec::new()));
}
