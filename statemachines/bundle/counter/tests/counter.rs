//! The machine runs natively in a plain test; this is how a user's own tests look.

use pgraft_sdk::native::Host;
use pgraft_test_counter::{Counter, EMPTY_NAME, HALF_DONE};

#[test]
fn counts_and_tells() {
    let mut host: Host<Counter> = Host::new();
    host.apply(0, b"apples").expect("a name is counted");
    let reply = host.apply(0, b"apples").expect("a name is counted");
    let count = host.query(b"apples").expect("a name can be asked for");
    assert_eq!(reply[..count.len()], count[..]);
    assert_eq!(count[0], 2);
    let topics: Vec<Vec<u8>> = host.take_events().into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(topics, [b"apples", b"apples"]);
}

#[test]
fn rejections_undo() {
    let mut host: Host<Counter> = Host::new();
    let code = |outcome: Result<Vec<u8>, pgraft_sdk::Error>| outcome.map_err(|error| error.code);
    assert_eq!(code(host.apply(0, b"")), Err(EMPTY_NAME));
    assert_eq!(code(host.apply(0, b"!half")), Err(HALF_DONE));
    assert!(host.rows().is_empty());
}

#[test]
#[should_panic(expected = "as asked")]
fn a_panic_is_a_panic() {
    let _ = Host::<Counter>::new().apply(0, b"!panic");
}
