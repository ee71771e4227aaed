//! Bodies there and back.

use super::*;

#[test]
fn body_survives_and_shares_its_bytes() {
    let commands: Vec<Bytes> = vec![Bytes::from_static(b"one"), Bytes::new(), "two".into()];
    let body = Body { time_ms: 12, entropy: 34, commands };
    let data = body.encode();
    assert_eq!(time_ms(&data), Some(12));
    let decoded = Body::decode(data.clone()).unwrap();
    assert_eq!(decoded, body);
    let range = data.as_ptr_range();
    assert!(range.contains(&decoded.commands[0].as_ptr()), "commands are not copied");
}

#[test]
fn damaged_bodies_are_refused() {
    let data = Body { time_ms: 1, entropy: 2, commands: vec!["command".into()] }.encode();
    for length in 0..data.len() {
        assert!(Body::decode(data.slice(..length)).is_err(), "cut to {length}");
    }
    let mut longer = data.to_vec();
    longer.push(0);
    assert!(Body::decode(longer.into()).is_err());
    let mut newer = data.to_vec();
    newer[0] = 2;
    assert_eq!(Body::decode(newer.clone().into()), Err(BodyError::Version(2)));
    assert_eq!(time_ms(&newer), None);
    assert_eq!(time_ms(&[]), None);
}
