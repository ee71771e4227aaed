//! Locks are exclusive, end in time, and their tokens grow.

use pgraft_example_lock::{Command, Holder, Lock, Query, TTL_MS_MAX};
use pgraft_sdk::native::Sandbox;

fn acquire(owner: &str, ttl_ms: u64) -> Command {
    Command::Acquire { name: "door".to_owned(), owner: owner.to_owned(), ttl_ms }
}

fn renew(token: u64, ttl_ms: u64) -> Command {
    Command::Renew { name: "door".to_owned(), token, ttl_ms }
}

fn release(token: u64) -> Command {
    Command::Release { name: "door".to_owned(), token }
}

fn holder(sandbox: &mut Sandbox<Lock>) -> Option<Holder> {
    sandbox.query(Query::Holder("door".to_owned())).expect("anybody may ask")
}

fn events(sandbox: &mut Sandbox<Lock>) -> Vec<String> {
    let events = sandbox.take_events().into_iter();
    events.map(|(_, payload)| String::from_utf8(payload).expect("events are JSON")).collect()
}

#[test]
fn one_at_a_time() {
    let mut sandbox = Sandbox::<Lock>::new(()).unwrap();
    assert_eq!(sandbox.apply(acquire("ann", 100)), Ok(1));
    let error = sandbox.apply(acquire("bob", 100)).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (101, "ann holds it until 100"));
    assert_eq!(sandbox.apply(acquire("ann", 200)), Ok(1), "asking again prolongs");
    assert_eq!(holder(&mut sandbox).unwrap().until_ms, 200);
    assert_eq!(sandbox.apply(release(1)), Ok(1));
    assert_eq!((holder(&mut sandbox), sandbox.next_wake()), (None, None));
    assert_eq!(sandbox.apply(acquire("bob", 100)), Ok(2), "tokens grow");
    assert_eq!(
        events(&mut sandbox),
        [
            r#"{"acquired":{"owner":"ann","token":1,"until_ms":100}}"#,
            r#""released""#,
            r#"{"acquired":{"owner":"bob","token":2,"until_ms":100}}"#,
        ]
    );
}

#[test]
fn time_frees_a_lock_and_its_old_holder_is_fenced_off() {
    let mut sandbox = Sandbox::<Lock>::new(()).unwrap();
    sandbox.apply(acquire("ann", 100)).unwrap();
    assert_eq!((sandbox.advance(99), sandbox.apply(renew(1, 50))), (0, Ok(1)));
    assert_eq!((sandbox.advance(49), holder(&mut sandbox).is_some()), (0, true));
    assert_eq!((sandbox.advance(1), holder(&mut sandbox)), (1, None));
    assert_eq!(events(&mut sandbox)[1..], [r#""expired""#]);
    assert_eq!(sandbox.apply(renew(1, 50)).unwrap_err().code, 102);
    assert_eq!(sandbox.apply(acquire("bob", 100)), Ok(2));
    assert_eq!(sandbox.apply(release(1)).unwrap_err().code, 102, "not ann's any more");
}

/// The wake-up is a courtesy: what is over is over when it comes late.
#[test]
fn a_lock_is_free_at_its_deadline_even_before_the_wake_up() {
    let mut sandbox = Sandbox::<Lock>::new(()).unwrap();
    sandbox.apply(acquire("ann", 100)).unwrap();
    let bob = br#"{"acquire":{"name":"door","owner":"bob","ttl_ms":100}}"#;
    assert_eq!(sandbox.host().apply(99, bob).unwrap_err().code, 101);
    assert_eq!(sandbox.host().apply(100, bob), Ok(b"2".to_vec()));
    assert_eq!(sandbox.next_wake(), Some(200));
}

#[test]
fn names_and_times_have_bounds() {
    let mut sandbox = Sandbox::<Lock>::new(()).unwrap();
    for (owner, ttl_ms, code) in [("", 1, 103), ("a", 0, 104), ("a", TTL_MS_MAX + 1, 104)] {
        assert_eq!(sandbox.apply(acquire(owner, ttl_ms)).unwrap_err().code, code);
    }
    assert_eq!(sandbox.apply(acquire(&"x".repeat(129), 1)).unwrap_err().code, 103);
    assert_eq!(sandbox.apply(acquire(&"x".repeat(128), TTL_MS_MAX)), Ok(1));
}
