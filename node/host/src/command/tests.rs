//! Every kind survives the round trip, and no cut or changed byte is taken for something else.

use super::*;

fn samples() -> Vec<Command> {
    let rejection = Rejection { code: 107, message: "no".to_owned() };
    vec![
        Command::Machine {
            machine: "kv".to_owned(),
            principal: "sql:anna".to_owned(),
            session: 7 << 16,
            seq: 3,
            acked_below: 2,
            payload: Bytes::from_static(b"payload"),
        },
        Command::OpenSession,
        Command::Wake { machine: "kv".to_owned() },
        Command::EffectDone { machine: "membership".to_owned(), id: 9, outcome: Ok(vec![1, 2]) },
        Command::EffectDone { machine: "membership".to_owned(), id: 9, outcome: Err(rejection) },
        Command::Digest { index: Index(128), digests: vec![(0, 1), (1, u128::MAX)] },
    ]
}

#[test]
fn every_kind_survives_the_round_trip() {
    for command in samples() {
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
}

#[test]
fn a_cut_or_longer_command_is_malformed() {
    for command in samples() {
        let bytes = command.encode();
        for length in 0..bytes.len() {
            assert!(Command::decode(&bytes.slice(..length)).is_err(), "{command:?} cut {length}");
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(Command::decode(&longer.into()), Err(CommandError::Malformed));
    }
}

#[test]
fn unknown_versions_and_kinds_say_so() {
    assert_eq!(Command::decode(&Bytes::from_static(&[2, 1])), Err(CommandError::Version(2)));
    assert_eq!(Command::decode(&Bytes::from_static(&[1, 99])), Err(CommandError::Kind(99)));
}

#[test]
fn lengths_are_not_believed() {
    let mut bytes = vec![VERSION, DIGEST];
    bytes.extend_from_slice(&0_u64.to_le_bytes());
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Command::decode(&bytes.into()), Err(CommandError::Malformed));
    let long = Command::Wake { machine: "m".repeat(NAME_BYTES_MAX + 1) };
    assert_eq!(Command::decode(&long.encode()), Err(CommandError::Malformed));
}
