//! The examples as modules: four counters say the same, and each machine in Rust says natively what
//! its module says. `PGRAFT_SEED` repeats a run. Needs what `scripts/setup-tools` installs.

mod counters;
mod module;
mod native;

use pgraft_sdk::typed::{Context, Random};

/// The chance of a test.
fn random() -> Random {
    let given = std::env::var("PGRAFT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(0x5eed_0006);
    println!("PGRAFT_SEED={seed}");
    Random::new(&Context { index: 0, term: 0, time_ms: 0, seed }, 0)
}
