//! The real SQLite store beside a specification of a few lines, through every power loss, failed
//! call and full disk within a bound.
//!
//! What runs is the shipped crate: `LogStore`, `StateStore`, `Checkpointer`, `SnapshotSink` and
//! `SnapshotSource` on `pgraft-sim-disk`, with SQLite's own recovery. A state of the model is a
//! disk as a value, what the process on it did since it started, and what the specification says.
//! To go on from a state, the process is started on that disk and does the same again: nothing of
//! the store is modelled, so nothing of it can be modelled wrongly.
//!
//! What is abstracted, and why that is sound or where it is a bound:
//! - A power loss is tried before each sync and at the end, with subsets of what is un-synced
//!   there. A crash at any call in between leaves one of the same disks: the later writes are lost.
//!   Up to six writes, all subsets are tried; of more, all subsets per file of up to five while the
//!   rest is all kept or all lost, else every beginning, every one alone and all but one. Torn
//!   writes keep half of their sectors or every other one. This is a bound.
//! - After a start that followed a power loss, the rest of its writes is taken for written back,
//!   because the machine is up for a while. It is one of the things that can happen, so no false
//!   alarm comes of it; that the power fails before that is the model `store-starts`.
//! - After a start from the page cache (a killed process, a failed call) nothing is written back.
//! - A disk is full for one write. Then there is space and the operation is done again.
//! - Entries are small and few, so the log's WAL is never moved while it is used, which the tests
//!   of the store do; and readers and snapshot sources are not open meanwhile.
//! - The numbers that SQLite draws are seeded before each run: one salt for each WAL is tried.
//!
//! The bounds: `servers` means nothing here. Log entries go up to five, terms up to three.

mod fates;
mod model;
mod node;
mod properties;
mod run;
mod spec;
#[cfg(test)]
mod tests;
mod words;

use std::net::SocketAddr;

use crate::bounds::Bounds;
use crate::catalogue::Entry;
use crate::report::{Expected, Report};
use crate::search;
use model::{Faults, Stores};
use node::Bug;
use properties::AGREES;

/// Actions of a path of `store-errors` in which nothing goes wrong before: failure, start, power
/// loss, start.
const ERRORS_DEPTH: usize = 4;

fn stores(faults: Faults, bug: Bug, bounds: &Bounds) -> Stores {
    let depth = bounds.depth.unwrap_or(ERRORS_DEPTH);
    let faults = match faults {
        Faults::Errors { .. } => Faults::Errors { quiet: depth.saturating_sub(ERRORS_DEPTH) },
        other => other,
    };
    Stores { faults, bug, entries_max: 5, term_max: 3 }
}

macro_rules! entry {
    ($name:literal, $about:literal, $small:expr, $faults:expr, $bug:expr) => {
        Entry {
            name: $name,
            about: $about,
            small: $small,
            expected: if $bug == Bug::None { Expected::Holds } else { Expected::Refuted(AGREES) },
            check: |bounds: &Bounds| -> Report {
                search::run($name, stores($faults, $bug, bounds), bounds)
            },
            explore: |bounds: &Bounds, address: SocketAddr| {
                search::explore(stores($faults, $bug, bounds), bounds, address);
            },
        }
    };
}

/// The models of the store.
pub fn entries() -> Vec<Entry> {
    let depth = |depth| Bounds::to_depth(1, depth);
    let mut entries = vec![
        entry!(
            "store",
            "a power loss in any operation, with every subset of un-synced writes",
            depth(3),
            Faults::Power { few: false },
            Bug::None
        ),
        entry!(
            "store-starts",
            "a power loss in any operation, and another one in the start after it",
            depth(3),
            Faults::Starts,
            Bug::None
        ),
        entry!(
            "store-errors",
            "failed writes and syncs, full disks and killed processes, then a power loss",
            depth(ERRORS_DEPTH),
            Faults::Errors { quiet: 0 },
            Bug::None
        ),
        entry!(
            "store-walks",
            "all that can happen to the store, again and again: random walks",
            Bounds::walks(1, 60, 1_500, 6),
            Faults::All,
            Bug::None
        ),
    ];
    entries.extend(canaries());
    entries
}

/// One planted bug each.
fn canaries() -> Vec<Entry> {
    let depth = || Bounds::to_depth(1, 3);
    vec![
        entry!(
            "store-canary-normal",
            "the log commits without a sync, as with synchronous=NORMAL",
            depth(),
            Faults::Power { few: true },
            Bug::SynchronousNormal
        ),
        entry!(
            "store-canary-early",
            "an operation is acknowledged before it is done",
            depth(),
            Faults::Power { few: true },
            Bug::EarlyAcknowledgement
        ),
        entry!(
            "store-canary-outside",
            "the applied index is written in a transaction of its own",
            depth(),
            Faults::Power { few: true },
            Bug::AppliedOutside
        ),
        entry!(
            "store-canary-truncation",
            "the log is truncated above what is durable of the state",
            depth(),
            Faults::Power { few: true },
            Bug::TruncatesAboveDurable
        ),
        entry!(
            "store-canary-install",
            "the log points to a snapshot's state before that is complete",
            depth(),
            Faults::Power { few: true },
            Bug::InstalledTooEarly
        ),
        entry!(
            "store-canary-spec",
            "the specification expects one entry too few",
            depth(),
            Faults::Power { few: true },
            Bug::SpecOffByOne
        ),
    ]
}
