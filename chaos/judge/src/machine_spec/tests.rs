//! Replayed logs against a real host, and searches with the real module.

mod author;
mod promises;
mod replay;
mod search;

/// The seed of a run; `PGRAFT_SEED` repeats one.
fn seed() -> u64 {
    let given = std::env::var("PGRAFT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(0x5eed_0012);
    println!("PGRAFT_SEED={seed}");
    seed
}
