//! Each fault of the disk, seen through SQLite and the store; and the traps in which a simulation
//! stops seeing anything (VERIFICATION.md 0 and 3.2), each shown open and closed.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod accounts;
mod damage;
mod failures;
mod log;
mod traps;
