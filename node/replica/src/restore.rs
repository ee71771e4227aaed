//! Whether what was found on disk can be gone on from (the checks of TiKV's `validate_states`).

use crate::{Config, Index, Restored, Term};

/// Why a replica refuses to start. The disk contradicts itself, so somebody changed or lost
/// part of it: starting could break a promise made before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The settings do not fit together.
    #[error("election timeout of {election} ticks must be more than twice {heartbeat} ticks")]
    Timeouts {
        /// Ticks of the election timeout.
        election: u32,
        /// Ticks between heartbeats.
        heartbeat: u32,
    },
    /// state.db has applied what raft.db does not have.
    #[error("applied index {applied} is beyond the last log entry {last}; raft.db lost entries")]
    AppliedBeyondLog {
        /// Applied index of state.db.
        applied: Index,
        /// Last index of raft.db.
        last: Index,
    },
    /// Entries that state.db needs are truncated.
    #[error("log is truncated up to {truncated}, but only {applied} is applied; state.db is old")]
    TruncatedBeyondApplied {
        /// Last truncated index.
        truncated: Index,
        /// Applied index of state.db.
        applied: Index,
    },
    /// The hard state is older than the log.
    #[error("stored term {stored} is behind term {found} of the log")]
    TermBehindLog {
        /// Term of the hard state.
        stored: Term,
        /// Highest term in the log.
        found: Term,
    },
    /// More is committed than is in the log.
    #[error("commit index {commit} is beyond the last log entry {last}; raft.db lost entries")]
    CommitBeyondLog {
        /// Commit index of the hard state.
        commit: Index,
        /// Last index of raft.db.
        last: Index,
    },
    /// The tail does not reach down to what is applied, or has gaps.
    #[error("log tail is not contiguous at {at}")]
    Tail {
        /// Where.
        at: Index,
    },
    /// The table of terms does not describe the log.
    #[error("terms of the log are inconsistent at {at}")]
    Terms {
        /// Where.
        at: Index,
    },
    /// raft-rs refuses the configuration.
    #[error("configuration is unusable: {0}")]
    Configuration(String),
}

/// Checks that `restored` is consistent in itself and with `config`.
pub(crate) fn validate(config: &Config, restored: &Restored) -> Result<(), RestoreError> {
    let (election, heartbeat) = (config.election_ticks, config.heartbeat_ticks);
    if heartbeat == 0 || election / 2 <= heartbeat {
        return Err(RestoreError::Timeouts { election, heartbeat });
    }
    let Restored { hard_state, truncated, tail, applied, conf, .. } = restored;
    // A node that waits to be added starts from the genesis configuration, in which it is not:
    // from an empty one it would replay the log to a configuration without the first voters, and
    // elect itself.
    if !conf.is_valid() {
        return Err(RestoreError::Configuration(format!("{conf:?}")));
    }
    if *applied < truncated.0 {
        return Err(RestoreError::TruncatedBeyondApplied {
            truncated: truncated.0,
            applied: *applied,
        });
    }
    // A tail is empty only when the log is.
    let last = tail.last().map_or(truncated.0, |entry| entry.index);
    if *applied > last {
        return Err(RestoreError::AppliedBeyondLog { applied: *applied, last });
    }
    if hard_state.commit > last {
        return Err(RestoreError::CommitBeyondLog { commit: hard_state.commit, last });
    }
    validate_tail(restored)?;
    validate_terms(restored, last)
}

fn validate_tail(restored: &Restored) -> Result<(), RestoreError> {
    let Some(first) = restored.tail.first() else { return Ok(()) };
    let reaches_down =
        first.index > restored.truncated.0 && first.index.0 <= restored.applied.0 + 1;
    if !reaches_down {
        return Err(RestoreError::Tail { at: first.index });
    }
    for pair in restored.tail.windows(2) {
        if pair[1].index != pair[0].index.next() {
            return Err(RestoreError::Tail { at: pair[1].index });
        }
    }
    Ok(())
}

fn validate_terms(restored: &Restored, last: Index) -> Result<(), RestoreError> {
    let Restored { hard_state, truncated, terms, tail, .. } = restored;
    let mut before = *truncated;
    for (number, (first, term)) in terms.iter().enumerate() {
        let is_first = number == 0;
        let starts = if is_first { *first == truncated.0.next() } else { *first > before.0 };
        let rises = if is_first { *term >= before.1 } else { *term > before.1 };
        if !starts || !rises || *first > last {
            return Err(RestoreError::Terms { at: *first });
        }
        before = (*first, *term);
    }
    if terms.is_empty() && last > truncated.0 {
        return Err(RestoreError::Terms { at: last });
    }
    for entry in tail {
        let after = terms.partition_point(|(first, _)| *first <= entry.index);
        let term = after.checked_sub(1).map(|at| terms[at].1);
        if term != Some(entry.term) {
            return Err(RestoreError::Terms { at: entry.index });
        }
    }
    if hard_state.term < before.1 {
        return Err(RestoreError::TermBehindLog { stored: hard_state.term, found: before.1 });
    }
    Ok(())
}
