//! What the runs do: one workload written out, and others by chance.

use super::node::{SNAPSHOT_INDEX, SNAPSHOT_TERM};
use crate::world::Chance;

/// One thing a driver does.
#[derive(Debug)]
pub(crate) enum Step {
    Write {
        from: u64,
        to: u64,
        term: u64,
        commit: u64,
    },
    Vote {
        term: u64,
        vote: u64,
    },
    Apply {
        to: u64,
    },
    /// Checkpoints the state and lets the log go below what is durable.
    Checkpoint,
    Idle,
    Install,
    Restart,
}

/// All that a node does with its disk, in about fifty syncs.
pub(crate) fn workload() -> Vec<Step> {
    use Step::*;
    vec![
        Vote { term: 1, vote: 2 },
        Write { from: 1, to: 4, term: 1, commit: 0 },
        Write { from: 5, to: 8, term: 1, commit: 4 },
        Apply { to: 4 },
        Vote { term: 2, vote: 0 },
        Write { from: 6, to: 6, term: 2, commit: 5 },
        Write { from: 7, to: 12, term: 2, commit: 7 },
        Apply { to: 7 },
        Checkpoint,
        Apply { to: 7 },
        Write { from: 13, to: 13, term: 2, commit: 12 },
        Apply { to: 12 },
        Restart,
        Idle,
        Checkpoint,
        Idle,
        Vote { term: 4, vote: 3 },
        Install,
        Write { from: 31, to: 34, term: 4, commit: 31 },
        Apply { to: 31 },
        Write { from: 33, to: 36, term: 5, commit: 34 },
        Apply { to: 34 },
        Checkpoint,
        Write { from: 37, to: 37, term: 5, commit: 36 },
        Apply { to: 36 },
        Checkpoint,
        Apply { to: 36 },
        Idle,
        Restart,
        Vote { term: 6, vote: 1 },
    ]
}

/// Where the log of a random workload is.
struct At {
    term: u64,
    last: u64,
    commit: u64,
    installed: bool,
}

/// Steps a driver may do, in any order that Raft allows.
pub(crate) fn random_workload(seed: u64) -> Vec<Step> {
    let mut chance = Chance::from_seed(seed);
    let mut at = At { term: 1, last: 0, commit: 0, installed: false };
    let mut steps = vec![Step::Vote { term: 1, vote: 1 }];
    for _ in 0..28 {
        match chance.below(12) {
            0..=4 => steps.push(random_write(&mut chance, &mut at)),
            5 => {
                at.term += 1;
                steps.push(Step::Vote { term: at.term, vote: chance.below(4) });
            }
            6 | 7 => steps.push(Step::Apply { to: at.commit }),
            8 => steps.push(Step::Checkpoint),
            9 => steps.push(Step::Idle),
            10 => steps.push(Step::Restart),
            _ if !at.installed && at.commit < SNAPSHOT_INDEX => {
                at.term = SNAPSHOT_TERM.max(at.term + 1);
                steps.push(Step::Vote { term: at.term, vote: 0 });
                steps.push(Step::Install);
                (at.last, at.commit, at.installed) = (SNAPSHOT_INDEX, SNAPSHOT_INDEX, true);
            }
            _ => steps.push(Step::Apply { to: at.commit }),
        }
    }
    steps
}

fn random_write(chance: &mut Chance, at: &mut At) -> Step {
    let from = if chance.below(3) == 0 {
        at.commit + 1 + chance.below(at.last - at.commit + 1)
    } else {
        at.last + 1
    };
    if from <= at.last {
        // Only another leader replaces entries.
        at.term += 1;
    }
    let to = from + chance.below(5);
    (at.last, at.commit) = (to, at.commit + chance.below(to - at.commit + 1));
    Step::Write { from, to, term: at.term, commit: at.commit }
}
