//! Tests of the budget: what it lets pass, and a canary for each of its rules.

use super::super::Point;
use super::*;

const BUDGET: Budget = Budget { voters: 3, settle_ms: 1000, away_ms: 2000, rejoin_ms: 4000 };

fn step(at_ms: u64, for_ms: u64, fault: Fault) -> Step {
    Step { at_ms, for_ms, fault }
}

fn judge_for(voters: u64, steps: Vec<Step>) -> Result<(), Excess> {
    let plan = Plan { steps, operations: 1, clients: 1, safety_ms: 60_000 };
    assert!(plan.check().is_ok(), "{plan}");
    Budget { voters, ..BUDGET }.check(&plan)
}

fn judge(steps: Vec<Step>) -> Result<(), Excess> {
    judge_for(3, steps)
}

fn node(place: u64) -> Target {
    Target::Node(place)
}

fn wipe(at_ms: u64, place: u64) -> Step {
    step(at_ms, 500, Fault::Wipe { target: node(place) })
}

fn old_disk(at_ms: u64, for_ms: u64) -> Step {
    step(at_ms, for_ms, Fault::OldDisk { target: node(1) })
}

fn lie(at_ms: u64, for_ms: u64) -> Step {
    step(at_ms, for_ms, Fault::LyingSync { target: node(1) })
}

fn power_loss(at_ms: u64, place: u64) -> Step {
    step(at_ms, 2500, Fault::Crash { target: node(place), power: true })
}

#[test]
fn whatever_raft_promises_may_happen_as_it_likes() {
    let pairs = vec![(1, 2), (2, 1), (1, 3), (3, 1)];
    assert_eq!(
        judge(vec![
            step(0, 9000, Fault::Cut { shape: "partition".to_owned(), pairs }),
            step(0, 100, Fault::CrashAll { power: true }),
            step(5, 9000, Fault::Pause { target: Target::Leader }),
            step(50, 9000, Fault::Noise { lose: 500, duplicate: 500, reorder: 500, corrupt: 500 }),
            power_loss(60, 1),
            power_loss(61, 2),
            step(70, 10, Fault::DiskError { target: node(3), on_sync: true, after: 0 }),
            step(80, 10, Fault::CrashAll { power: false }),
            step(90, 10, Fault::ClockJump { target: Target::Leader, ms: -100_000 }),
            step(99, 59_901, Fault::SlowDisk { target: Target::Follower, ms_max: 5000 }),
        ]),
        Ok(())
    );
}

#[test]
fn canary_a_plan_that_ends_unhealed_is_refused() {
    let pause = |for_ms| step(50_000, for_ms, Fault::Pause { target: Target::Leader });
    assert_eq!(judge(vec![pause(10_000)]), Ok(()));
    assert!(matches!(judge(vec![pause(10_001)]), Err(Excess::Unhealed { by_ms: 1, .. })));
    // One that waits for its call may begin only later.
    let crash = Fault::CrashAt { target: node(1), point: Point::Disk, after: 3, power: false };
    assert!(matches!(judge(vec![step(55_000, 2000, crash)]), Err(Excess::Unhealed { .. })));
}

#[test]
fn canary_a_cluster_is_not_reduced_below_three() {
    let add = |at_ms| step(at_ms, 0, Fault::AddNode);
    let remove = |at_ms| step(at_ms, 0, Fault::RemoveNode { target: Target::Leader });
    assert!(matches!(judge(vec![remove(0)]), Err(Excess::Members { voters: 2, .. })));
    assert_eq!(judge(vec![add(0), remove(4000)]), Ok(()));
    let too_soon = judge(vec![add(0), remove(3999)]);
    assert_eq!(
        too_soon.unwrap_err().to_string(),
        "  3.999 s                 remove the leader: 2 voters would be left, at least 3 are needed"
    );
    assert_eq!(judge_for(5, vec![remove(0), remove(10)]), Ok(()));
    assert!(judge_for(5, vec![remove(0), remove(10), remove(20)]).is_err());
}

#[test]
fn canary_copies_are_lost_by_a_minority_only() {
    assert_eq!(judge(vec![wipe(0, 1), wipe(4500, 2)]), Ok(()));
    let both = judge(vec![wipe(0, 1), wipe(4499, 2)]);
    assert!(
        matches!(both, Err(Excess::Copies { lost: 2, voters: 3, lost_max: 1, .. })),
        "{both:?}"
    );
    assert_eq!(judge(vec![wipe(0, 1), wipe(100, 1)]), Ok(()), "the same node");
    assert_eq!(judge_for(5, vec![wipe(0, 1), wipe(10, 2)]), Ok(()));
    assert!(judge_for(5, vec![wipe(0, 1), wipe(10, 2), wipe(20, 3)]).is_err());
    // Who is meant by a word is not known: it may be one more.
    let leader = step(10, 500, Fault::Wipe { target: Target::Leader });
    assert!(matches!(judge(vec![wipe(0, 1), leader]), Err(Excess::Copies { .. })));
    let flip = Fault::BitFlip { target: node(2), state: true, byte_permille: 1, bit: 1 };
    assert!(matches!(judge(vec![wipe(0, 1), step(9, 9, flip)]), Err(Excess::Copies { .. })));
}

#[test]
fn canary_a_node_forgets_only_in_calm() {
    assert_eq!(judge(vec![old_disk(5000, 2000)]), Ok(()));
    let transfer = |at_ms| step(at_ms, 0, Fault::Transfer { to: 2 });
    assert_eq!(judge(vec![transfer(3999), old_disk(5000, 2000), transfer(8001)]), Ok(()));
    for at_ms in [4000, 5000, 6000, 8000] {
        let mut steps = vec![transfer(at_ms), old_disk(5000, 2000)];
        steps.sort_by_key(|step| step.at_ms);
        let refused = judge(steps);
        assert!(matches!(refused, Err(Excess::NoCalm { .. })), "{at_ms}: {refused:?}");
    }
    let hammer = step(5000, 5000, Fault::Hammer { target: Target::Leader });
    assert_eq!(judge(vec![hammer, old_disk(5000, 2000)]), Ok(()), "load is no fault");
    for fault in [
        Fault::Misdirect { target: node(1), after: 1 },
        Fault::BitFlip { target: node(1), state: false, byte_permille: 1, bit: 1 },
    ] {
        let refused = judge(vec![transfer(4500), step(5000, 2000, fault)]);
        assert!(matches!(refused, Err(Excess::NoCalm { .. })), "{refused:?}");
    }
}

#[test]
fn canary_a_node_that_forgets_stays_away() {
    let refused = judge(vec![old_disk(5000, 1999)]);
    assert!(matches!(refused, Err(Excess::BackTooSoon { for_ms: 1999, .. })), "{refused:?}");
}

#[test]
fn canary_a_lie_and_a_power_loss_of_the_same_node_need_calm() {
    let other = step(6500, 10, Fault::Transfer { to: 2 });
    // A lie alone harms nobody, and neither does the power loss of an honest disk.
    assert_eq!(judge(vec![lie(5000, 9000), other.clone(), power_loss(7000, 2)]), Ok(()));
    assert_eq!(judge(vec![lie(5000, 9000), power_loss(6600, 1)]), Ok(()));
    let refused = judge(vec![lie(5000, 9000), other.clone(), power_loss(6600, 1)]);
    assert!(matches!(refused, Err(Excess::NoCalm { .. })), "{refused:?}");
    assert_eq!(judge(vec![lie(0, 6599), other.clone(), power_loss(6600, 1)]), Ok(()));
    let all = step(6600, 2500, Fault::CrashAll { power: true });
    let refused = judge(vec![lie(5000, 9000), other.clone(), all]);
    assert!(matches!(refused, Err(Excess::NoCalm { .. })), "{refused:?}");
    let ordered = Fault::CrashAt { target: node(1), point: Point::Disk, after: 9, power: true };
    let refused = judge(vec![step(5000, 2500, ordered), other, lie(8000, 500)]);
    assert!(matches!(refused, Err(Excess::NoCalm { .. })), "the crash may still come: {refused:?}");
}
