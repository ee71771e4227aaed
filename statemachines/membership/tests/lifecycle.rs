//! The table of moves, and long random lives of a list.

use pgraft_membership::{Command, Genesis, Member, Membership, Query, Reply, Role};
use pgraft_sdk::Error;
use pgraft_sdk::native::Host;

#[test]
fn gone_is_the_end_and_nobody_becomes_what_they_are() {
    for role in Role::ALL {
        assert!(!role.may_become().contains(&role), "{role:?} becomes itself");
    }
    assert!(Role::Gone.may_become().is_empty());
}

/// Canary: the table must refuse something.
#[test]
#[should_panic(expected = "illegal move Gone to Voter")]
fn canary_nobody_returns() {
    let _ = Role::Gone.moved_to(Role::Voter);
}

fn genesis(count: u64) -> Genesis {
    let member = |id| Member {
        id,
        name: format!("n{id}"),
        address: format!("h{id}:1"),
        role: Role::Voter,
        incarnation: 0,
    };
    Genesis { members: (1..=count).map(member).collect() }
}

#[test]
fn a_genesis_that_contradicts_itself_creates_nothing() {
    let refused = |change: fn(&mut Genesis)| {
        let mut genesis = genesis(3);
        change(&mut genesis);
        let mut host: Host<Membership> = Host::new();
        let error = host.init(&genesis.encode()).expect_err("it contradicts itself");
        assert!(host.rows().is_empty(), "nothing is created");
        error.message
    };
    assert_eq!(refused(|g| g.members.clear()), "first members: there are none");
    let learner = |g: &mut Genesis| g.members[1].role = Role::Learner;
    assert_eq!(refused(learner), "first members: member 2 is not a voter");
    assert_eq!(refused(|g| g.members[1].id = 0), "id 0 is 0, too large, or was used before");
    assert_eq!(refused(|g| g.members[1].id = 1), "id 1 is 0, too large, or was used before");
    let same_name = |g: &mut Genesis| g.members[1].name = "n1".to_owned();
    assert_eq!(refused(same_name), "member 1 has the name \"n1\"");
    let same_address = |g: &mut Genesis| g.members[1].address = "h1:1".to_owned();
    assert_eq!(refused(same_address), "member 1 has the address \"h1:1\"");
    let bad_address = |g: &mut Genesis| g.members[1].address = "h1".to_owned();
    assert_eq!(refused(bad_address), "address \"h1\" is not host:port");
}

fn members(host: &mut Host<Membership>) -> Vec<Member> {
    let answer = host.query(&Query::Members.encode()).expect("the list can always be read");
    match Reply::decode(&answer) {
        Ok(Reply::Members(members)) => members,
        other => panic!("{other:?}"),
    }
}

fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// One step of a random life: a command, or the end of the change in flight.
fn step(host: &mut Host<Membership>, seed: &mut u64) {
    let id = next(seed) % 12;
    let what = next(seed) % 6;
    let waiting = host.effects().first().map(|effect| effect.id);
    if let Some(effect) = waiting.filter(|_| what > 1) {
        let failed = next(seed).is_multiple_of(4);
        let outcome = if failed { Err(Error::new(100, "no")) } else { Ok(Vec::new()) };
        host.effect_done(0, effect, outcome).expect("outcomes are always taken");
        return;
    }
    let command = match what {
        0 | 1 => Command::Add {
            id: if next(seed).is_multiple_of(2) { id } else { 0 },
            name: format!("n{}", next(seed) % 12),
            address: format!("h{}:1", next(seed) % 12),
        },
        2 => Command::Remove { id },
        3 => Command::Announce { id, incarnation: u128::from(next(seed) % 3) },
        _ => Command::Promote { id },
    };
    let _may_be_rejected = host.apply(0, &command.encode());
}

#[test]
fn ids_names_and_voters_stay_sound_over_random_lives() {
    for first in 1..=20_u64 {
        println!("seed {first}");
        let mut seed = first;
        let mut host: Host<Membership> = Host::new();
        host.init(&genesis(3).encode()).expect("the first members are sound");
        let mut before = members(&mut host);
        let mut gone_at_the_end = 0;
        for _ in 0..300 {
            step(&mut host, &mut seed);
            let after = members(&mut host);
            assert!(after.iter().any(|member| member.role == Role::Voter), "no voter left");
            for old in &before {
                let new = after.iter().find(|member| member.id == old.id).expect("rows stay");
                let moved = old.role != new.role;
                assert!(!moved || old.role.may_become().contains(&new.role), "{old:?} {new:?}");
                assert_eq!((&old.name, &old.address), (&new.name, &new.address), "id re-used");
                assert!(old.incarnation == 0 || old.incarnation == new.incarnation);
            }
            gone_at_the_end = after.iter().filter(|m| m.role == Role::Gone).count();
            before = after;
        }
        assert!(gone_at_the_end > 0, "the life was too quiet to prove anything");
    }
}
