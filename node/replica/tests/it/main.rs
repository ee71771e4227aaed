//! Tests of the replica from outside: whole clusters of it in one process, over a disk and a
//! network that move only when told to.

mod canaries;
mod cluster;
mod dice;
mod disk;
mod faults;
mod membership;
mod pitfalls;
mod replay;
mod schedules;
mod scripts;
mod wire;
