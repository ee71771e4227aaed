//! Ranks, bounds and jitter.

use super::*;

fn id(number: u64) -> NodeId {
    NodeId::new(number).expect("not 0")
}

fn timeouts(timer: &ElectionTimer, term: u64, voters: u64, leader: Option<u64>) -> Vec<u32> {
    let all: BTreeSet<NodeId> = (1..=voters).map(id).collect();
    let others = all.iter().filter(|voter| Some(voter.get()) != leader);
    others.map(|v| timer.timeout(*v, Term(term), leader.map(id), all.iter())).collect()
}

#[test]
fn everybody_has_a_different_rank_and_nobody_exceeds_the_bound() {
    let timer = ElectionTimer::new(1, 100);
    for term in 0..100 {
        for voters in 1..=7 {
            let mut all = timeouts(&timer, term, voters, None);
            all.sort_unstable();
            let expected: Vec<u32> =
                (0..u32::try_from(voters).unwrap()).map(|r| 52 + 5 * r).collect();
            assert_eq!(all, expected, "term {term}");
        }
    }
}

#[test]
fn lost_leader_leaves_no_gap() {
    let timer = ElectionTimer::new(1, 100);
    for term in 0..100 {
        let mut all = timeouts(&timer, term, 3, Some(2));
        all.sort_unstable();
        assert_eq!(all, [52, 57]);
    }
}

#[test]
fn first_rank_moves_from_term_to_term() {
    let timer = ElectionTimer::new(1, 100);
    let first = |term| timeouts(&timer, term, 5, None).iter().position(|ticks| *ticks == 52);
    let winners: BTreeSet<Option<usize>> = (0..100).map(first).collect();
    assert_eq!(winners.len(), 5);
}

#[test]
fn failed_rounds_add_jitter_from_the_seed_within_the_bound() {
    let (mut one, mut other) = (ElectionTimer::new(1, 100), ElectionTimer::new(2, 100));
    let mut differ = 0;
    for _ in 0..50 {
        one.started();
        other.started();
        let (a, b) = (timeouts(&one, 1, 7, None), timeouts(&other, 1, 7, None));
        assert!(a.iter().chain(&b).all(|ticks| (52..=100).contains(ticks)));
        differ += usize::from(a != b);
    }
    assert!(differ > 25, "the seeds make no difference");
    one.settled();
    assert_eq!(timeouts(&one, 1, 1, None), [52]);
}

#[test]
fn short_timeouts_stay_in_their_bounds() {
    let timer = ElectionTimer::new(1, 10);
    assert!(timeouts(&timer, 1, 9, None).iter().all(|ticks| (5..=10).contains(ticks)));
}
