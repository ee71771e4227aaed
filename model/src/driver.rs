//! The model of the driver: real replicas over modelled disks and a modelled network.
//!
//! Each node is a `pgraft_replica::Replica`, the very type that ships, with raft-rs inside. A
//! `RawNode` cannot be copied, so a node's state is known by its canonical value
//! (`Replica::canonical`, the disk, and what is in flight between the two) and by one sequence of
//! inputs that leads there. What an input makes of a state is found once, on a replica rebuilt by
//! that sequence, and looked up from then on (`table.rs`). No step is imitated: whatever the model
//! says was done by a real replica. What can be wrong is only that two states are taken for one,
//! and the walks of `fidelity.rs` look for that, with a canary for each of a dozen fields.
//!
//! # What may happen
//!
//! Letters arrive in any order, late, twice, or never. A node crashes between any two inputs: the
//! volatile half is gone, of the writes that were not confirmed any number of the first ones is
//! durable, state.db is as it was or as at its last checkpoint. Writes and applies complete later,
//! in order. Clients propose, repeat a command whose fate they do not know, read, change members
//! (one at a time and through joint configurations), hand leadership over. Logs are truncated,
//! snapshots sent, lost and installed; connections break; a leader sleeps through its term.
//!
//! # What must hold
//!
//! Election Safety, Leader Append-Only, Log Matching, Leader Completeness and State Machine Safety
//! (Raft paper, figure 3), mostly by `pgraft_replica::invariants`. A read sees all that was
//! committed anywhere when it began. A request is answered once, a refused command never takes
//! effect, and a command takes effect once however often it is proposed. Majorities of successive
//! configurations meet; no two nodes could be elected by majorities that do not; and a node counts
//! votes by the configuration that it has applied. A node starts from the disk that it left, and
//! no replica panics. Each property has a canary, a planted bug of `mutant.rs`.
//!
//! # What is left out, and why that loses nothing but the named
//!
//! * Time. Ticks are not states. With the shortest timeouts that a replica accepts, what can happen
//!   between two messages is: a follower doubts its leader (it may vote for another), it campaigns,
//!   a leader beats. Every other number of ticks has the effects of one of these, because raft-rs
//!   compares its counters with these bounds only. Who times out when is arbitrary here: that is
//!   more than ranks and jitter allow. Not modelled: that a snapshot is given up after ten seconds
//!   (the failure itself is an input), and a slow or stuck disk.
//! * The log's cache never overflows, so nothing is fetched from disk, and the window of appends
//!   never fills: commands are few.
//! * One letter twice on the way is one letter. What is sent while all room is taken is lost, which
//!   the network may do to any letter. Letters whose term is over on the receiver's disk are thrown
//!   away: raft-rs ignores these kinds, and durable terms do not go back.
//! * A node reads its own disk, and pins a snapshot, within the step that asks for it. Where a
//!   scope says so, writes or applies too are done at once; another scope leaves them open.
//! * At a crash state.db is whole at one of two states, not in between, and a write of raft.db is
//!   whole or absent: that SQLite keeps this promise is what the model of the store is about.
//! * The machine is a list of the commands that had an effect: what a real machine does with them
//!   is the model of the machines.
//!
//! Bounds are of three kinds: a scope's (`scope.rs`: terms, requests, crashes, letters), depth,
//! and time. Breadth first, a scope is checked completely up to a depth; walks go deep.

use crate::catalogue::Entry;

mod catalogue;
mod cluster;
mod disk;
#[cfg(test)]
mod fidelity;
mod history;
mod marks;
mod mutant;
mod network;
mod node;
mod panics;
mod rules;
mod scope;
mod table;
mod words;

#[cfg(test)]
mod tests;

/// The models of the driver.
pub fn entries() -> Vec<Entry> {
    catalogue::entries()
}
