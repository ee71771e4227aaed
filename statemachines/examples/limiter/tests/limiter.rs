//! Tokens are taken, come back with time, and belong to one client each.

use pgraft_example_limiter::{Command, Config, Limiter, Query};
use pgraft_sdk::native::Sandbox;

fn take(client: &str, tokens: u64) -> Command {
    Command::Take { client: client.to_owned(), tokens }
}

fn limiter() -> Sandbox<Limiter> {
    Sandbox::new(Config { capacity: 10, per_second: 4 }).expect("sound numbers")
}

#[test]
fn a_bucket_empties_and_fills() {
    let mut limiter = limiter();
    assert_eq!((limiter.apply(take("ann", 7)), limiter.apply(take("ann", 3))), (Ok(3), Ok(0)));
    let error = limiter.apply(take("ann", 1)).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (101, "try again in 250 ms"));
    limiter.advance(249);
    assert_eq!(limiter.apply(take("ann", 1)).unwrap_err().message, "try again in 1 ms");
    limiter.advance(1);
    assert_eq!(limiter.apply(take("ann", 1)), Ok(0));
    assert_eq!(limiter.apply(take("bob", 1)), Ok(9), "to each their own");
}

#[test]
fn full_buckets_are_forgotten() {
    let mut limiter = limiter();
    limiter.apply_all([take("ann", 4), take("bob", 10)]);
    assert_eq!(limiter.host().rows().len(), 5);
    assert_eq!((limiter.next_wake(), limiter.advance(1000)), (Some(1000), 1));
    assert_eq!((limiter.host().rows().len(), limiter.next_wake()), (3, Some(2500)));
    assert_eq!((limiter.advance(1500), limiter.host().rows().len()), (1, 1));
    assert_eq!(limiter.ask(r#"{"left":"bob"}"#).unwrap(), "10");
    assert_eq!(limiter.query(Query::Left("nobody".to_owned())), Ok(10));
}

#[test]
fn refusals_have_codes() {
    let mut limiter = limiter();
    assert_eq!(limiter.apply(take("ann", 11)).unwrap_err().code, 102);
    assert_eq!(limiter.apply(take("", 1)).unwrap_err().code, 103);
    for (capacity, per_second) in [(0, 1), (1, 0), (1_000_001, 1)] {
        let refused = Sandbox::<Limiter>::new(Config { capacity, per_second });
        assert_eq!(refused.err().map(|error| error.code), Some(104));
    }
}
