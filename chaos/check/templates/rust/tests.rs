//! The machine in plain tests, without WASM and without a cluster: `cargo test`.

use pgraft_sdk::native::Sandbox;
use {{crate}}::{Command, {{Type}}, NOT_ENOUGH, Query};

fn put(what: &str, amount: u64) -> Command {
    Command::Put { what: what.to_owned(), amount }
}

fn take(what: &str, amount: u64) -> Command {
    Command::Take { what: what.to_owned(), amount }
}

#[test]
fn what_is_put_can_be_taken() {
    let mut sandbox = Sandbox::<{{Type}}>::new(()).unwrap();
    assert_eq!(sandbox.apply(put("apples", 3)), Ok(3));
    assert_eq!(sandbox.apply(take("apples", 1)), Ok(2));
    assert_eq!(sandbox.query(Query::Get("apples".to_owned())), Ok(2));
}

#[test]
fn what_is_not_there_cannot_be_taken() {
    let mut sandbox = Sandbox::<{{Type}}>::new(()).unwrap();
    assert_eq!(sandbox.apply(put("apples", 3)), Ok(3));
    assert_eq!(sandbox.apply(take("apples", 4)).unwrap_err().code, NOT_ENOUGH);
    assert_eq!(sandbox.query(Query::Get("apples".to_owned())), Ok(3));
}

#[test]
fn speaks_json_as_sql_does() {
    let mut sandbox = Sandbox::<{{Type}}>::new(()).unwrap();
    assert_eq!(sandbox.call(r#"{"put":{"what":"apples","amount":3}}"#).unwrap(), "3");
    assert_eq!(sandbox.ask(r#"{"get":"apples"}"#).unwrap(), "3");
}
