//! Three `pgraft node` processes and what the README promises of them: kill -9 of anybody, a
//! frozen majority, members that come and go. Real sockets, real disks, real signals.
//!
//! Every test prints the seed of its choices; `PGRAFT_SEED=N` repeats them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod hostile;
mod machines;
mod membership;
mod minority;
mod recording;
mod refusals;
mod survival;
