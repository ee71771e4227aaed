//! Greetings as bytes, and the decision about them.

use super::*;
use crate::chance::Chance;
use crate::codec::tests::damage;
use crate::limits::Timing;

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

fn local() -> Local {
    Local {
        cluster: 5,
        genesis_hash: [6; 32],
        node: node(1),
        incarnation: 77,
        token: Bytes::from_static(b"token"),
        seed: 0,
        timing: Timing::default(),
    }
}

fn hello() -> Hello {
    let them = Local { node: node(2), incarnation: 88, ..local() };
    Hello::of(&them, node(1), Purpose::Messages)
}

const MEMBER: Standing = Standing::Member { incarnation: 88 };

#[test]
fn greetings_come_back_as_they_left() {
    for purpose in [Purpose::Messages, Purpose::Requests, Purpose::Snapshot] {
        let hello = Hello { purpose, ..hello() };
        assert_eq!(Hello::decode(hello.encode().into()), Ok(hello));
    }
    let welcome = Welcome { version: 1, node: node(3), incarnation: u128::MAX };
    assert_eq!(Welcome::decode(welcome.encode().into()), Ok(welcome));
    for refusal in Refusal::all() {
        assert_eq!(Refusal::decode(refusal.encode().into()), Ok(refusal));
    }
    let join = Join { token: Bytes::from_static(b"t"), request: Bytes::from_static(b"name") };
    assert_eq!(Join::decode(join.encode().into()), Ok(Ok(join)));
}

#[test]
fn each_difference_has_its_reason() {
    let judged = |standing, hello: Hello| judge(&local(), standing, &hello);
    assert_eq!(judged(MEMBER, hello()), Ok(1));
    assert_eq!(judged(Standing::Member { incarnation: 0 }, hello()), Ok(1));
    let cases = [
        (MEMBER, Hello { version_min: 2, version_max: 9, ..hello() }, Refusal::Version),
        (MEMBER, Hello { version_min: 0, version_max: 0, ..hello() }, Refusal::Version),
        (MEMBER, Hello { cluster: 4, ..hello() }, Refusal::WrongCluster),
        (MEMBER, Hello { genesis_hash: [0; 32], ..hello() }, Refusal::WrongGenesis),
        (MEMBER, Hello { to: node(3), ..hello() }, Refusal::NotForMe),
        (Standing::Unknown, hello(), Refusal::UnknownNode),
        (Standing::Removed, hello(), Refusal::Removed),
        (Standing::Member { incarnation: 99 }, hello(), Refusal::Incarnation),
        // A stranger is not told who was removed here.
        (Standing::Removed, Hello { cluster: 4, ..hello() }, Refusal::WrongCluster),
        (Standing::Removed, Hello { to: node(3), ..hello() }, Refusal::NotForMe),
    ];
    for (standing, hello, reason) in cases {
        assert_eq!(judged(standing, hello.clone()), Err(reason), "{standing:?} {hello:?}");
    }
    assert_eq!(judged(MEMBER, Hello { version_min: 0, version_max: 9, ..hello() }), Ok(1));
}

#[test]
fn a_token_is_known_or_not() {
    let join = |token: &'static [u8]| Join { token: token.into(), request: Bytes::new() };
    assert!(join(b"token").knows(b"token"));
    for wrong in [&b""[..], b"toke", b"tokenn", b"Token", b"tokeN"] {
        assert!(!join(b"token").knows(wrong), "{wrong:?}");
    }
    assert!(join(b"").knows(b""));
}

#[test]
fn damaged_greetings_never_panic() {
    let seed = 31;
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let join = Join { token: Bytes::from_static(b"token"), request: Bytes::from_static(b"name") };
    let welcome = Welcome { version: 1, node: node(3), incarnation: 1 };
    let good = [hello().encode(), welcome.encode(), Refusal::Removed.encode(), join.encode()];
    let mut refused = 0;
    for round in 0..20_000 {
        let mut bytes = good[round % good.len()].clone();
        damage(&mut chance, &mut bytes);
        let bytes = Bytes::from(bytes);
        refused += usize::from(match round % good.len() {
            0 => Hello::decode(bytes).is_err(),
            1 => Welcome::decode(bytes).is_err(),
            2 => Refusal::decode(bytes).is_err(),
            _ => Join::decode(bytes).is_err(),
        });
    }
    println!("{refused} refused");
    assert!(refused > 2000);
}
