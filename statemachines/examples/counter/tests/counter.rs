//! The machine in a plain test; this is how a user's own tests look.

use pgraft_example_counter::{Command, Counter, EMPTY_NAME, LONG_NAME, Query};
use pgraft_sdk::native::Sandbox;

fn add(name: &str) -> Command {
    Command::Add(name.to_owned())
}

#[test]
fn counts_and_tells() {
    let mut sandbox = Sandbox::<Counter>::new(()).unwrap();
    assert_eq!(sandbox.apply_all([add("apples"), add("pears"), add("apples")]).pop(), Some(Ok(2)));
    assert_eq!(sandbox.query(Query::Get("apples".to_owned())), Ok(2));
    let topics: Vec<Vec<u8>> = sandbox.take_events().into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(topics, [&b"apples"[..], b"pears", b"apples"]);
}

#[test]
fn speaks_json_as_sql_does() {
    let mut sandbox = Sandbox::<Counter>::new(()).unwrap();
    assert_eq!(sandbox.call(r#"{"add":"apples"}"#).unwrap(), "1");
    assert_eq!(sandbox.ask(r#"{"get":"apples"}"#).unwrap(), "1");
    assert_eq!(sandbox.call(r#"{"reset":"apples"}"#).unwrap(), "1");
    assert_eq!(sandbox.ask(r#"{"get":"apples"}"#).unwrap(), "0");
}

#[test]
fn names_have_bounds() {
    let mut sandbox = Sandbox::<Counter>::new(()).unwrap();
    assert_eq!(sandbox.apply(add("")).unwrap_err().code, EMPTY_NAME);
    assert_eq!(sandbox.apply(add(&"x".repeat(65))).unwrap_err().code, LONG_NAME);
    assert_eq!(sandbox.apply(add(&"x".repeat(64))), Ok(1));
}
