//! Money moves, and none appears or is lost; the sandbox looks at the sum after each entry.
//! `PGRAFT_SEED` repeats a run.

use pgraft_example_bank::{Bank, Command, Config, Moved, Query};
use pgraft_sdk::native::Sandbox;
use pgraft_sdk::typed::{Context, Random};

fn transfer(from: &str, to: &str, amount: u64) -> Command {
    Command::Transfer { from: from.to_owned(), to: to.to_owned(), amount }
}

#[test]
fn money_moves() {
    let mut bank = Sandbox::<Bank>::new(Config::default()).unwrap();
    assert_eq!(bank.apply(transfer("a1", "a2", 30)), Ok(Moved { from: 70, to: 130 }));
    assert_eq!(bank.query(Query::Balance("a1".to_owned())), Ok(70));
    assert_eq!(bank.query(Query::Total), Ok(1000));
    let reply = bank.call(r#"{"transfer":{"from":"a2","to":"a1","amount":1}}"#).unwrap();
    assert_eq!(reply, r#"{"from":129,"to":71}"#);
}

#[test]
fn refusals_have_codes() {
    let mut bank = Sandbox::<Bank>::new(Config::default()).unwrap();
    for (command, code) in [
        (transfer("a1", "nobody", 1), 101),
        (transfer("nobody", "a1", 1), 101),
        (transfer("a1", "a2", 101), 102),
        (transfer("a1", "a2", 0), 103),
        (transfer("a1", "a1", 1), 103),
    ] {
        assert_eq!(bank.apply(command).unwrap_err().code, code);
    }
    assert_eq!(bank.query(Query::Balance("b".to_owned())).unwrap_err().code, 101);
    let rich = [("a".to_owned(), u64::MAX), ("b".to_owned(), 1)].into();
    let refused = Sandbox::<Bank>::new(Config { accounts: rich });
    assert_eq!(refused.err().map(|error| error.code), Some(104));
}

#[test]
fn a_long_life_keeps_the_sum() {
    let given = std::env::var("PGRAFT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(0x5eed_0005);
    println!("PGRAFT_SEED={seed}");
    let mut random = Random::new(&Context { index: 0, term: 0, time_ms: 0, seed }, 0);
    let mut bank = Sandbox::<Bank>::new(Config::default()).unwrap();
    let mut moved = 0;
    for _ in 0..500 {
        let commands = (0..1 + random.below(4)).map(|_| {
            let mut name = || format!("a{}", random.below(11));
            transfer(&name(), &name(), random.below(60))
        });
        moved += bank.apply_all(commands.collect::<Vec<_>>()).iter().filter(|o| o.is_ok()).count();
    }
    assert!(moved > 300, "the life was too quiet: {moved} transfers");
}
