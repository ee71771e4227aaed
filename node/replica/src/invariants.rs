//! What must always hold, as named functions over one view, two, or all (Raft paper, figure 3).
//!
//! One definition, three users: the debug build after each step, the model, and chaos. Each has
//! a canary among the tests: a defect that it must find.

use std::collections::BTreeMap;

use crate::{Committed, EntryKind, Index, NodeId, Role, Term, View};

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);

/// Result of a check.
pub type Check = Result<(), Violation>;

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(Violation(otherwise())) }
}

/// What must hold within one replica.
///
/// # Errors
/// What does not.
pub fn local(view: &View) -> Check {
    let View { id, role, leader, committed, applied, first_index, last_index, .. } = view;
    require(applied <= committed, || format!("{id}: applied {applied}, committed {committed}"))?;
    require(committed <= last_index, || {
        format!("{id}: committed {committed}, but the log ends at {last_index}")
    })?;
    require(view.installing || first_index.0 <= applied.0 + 1, || {
        format!("{id}: log begins at {first_index}, but only {applied} is applied")
    })?;
    let leads = *role == Role::Leader;
    require(!leads || *leader == Some(*id), || format!("{id}: leads, but follows {leader:?}"))?;
    require(leads || *leader != Some(*id), || format!("{id}: follows itself"))?;
    for peer in &view.peers {
        let (peer, matched, next) = (peer.id, peer.match_index, peer.next_index);
        require(matched <= *last_index, || {
            format!("{id}: peer {peer} has {matched}, own log ends at {last_index}")
        })?;
        require(matched < next, || format!("{id}: peer {peer} has {matched}, next is {next}"))?;
    }
    Ok(())
}

/// What may change between two steps of one replica, and what may not.
///
/// # Errors
/// What went back.
pub fn monotonic(before: &View, after: &View) -> Check {
    let id = after.id;
    let (old, new) = (before.term, after.term);
    require(old <= new, || format!("{id}: term went back from {old} to {new}"))?;
    let (old, new) = (before.committed, after.committed);
    require(old <= new, || format!("{id}: commit index went back from {old} to {new}"))?;
    let (old, new) = (before.applied, after.applied);
    require(old <= new, || format!("{id}: applied index went back from {old} to {new}"))?;
    let (old, new) = (before.first_index, after.first_index);
    require(old <= new, || format!("{id}: first index went back from {old} to {new}"))?;
    let stays = before.role == Role::Leader && after.role == Role::Leader;
    if stays && before.term == after.term {
        let (old, new) = (before.last_index, after.last_index);
        // Leader append-only: a leader never overwrites its own log.
        require(old <= new, || format!("{id}: a leader's log shrank from {old} to {new}"))?;
    }
    Ok(())
}

/// Election safety: at most one leader is elected in a term. Remembers all it was ever shown.
#[derive(Clone, Debug, Default)]
pub struct Leaders {
    of_term: BTreeMap<Term, NodeId>,
}

impl Leaders {
    /// Looks at one replica.
    ///
    /// # Errors
    /// When its term already has another leader.
    pub fn observe(&mut self, view: &View) -> Check {
        if view.role != Role::Leader {
            return Ok(());
        }
        let first = *self.of_term.entry(view.term).or_insert(view.id);
        require(first == view.id, || format!("{first} and {} both lead {}", view.id, view.term))
    }
}

/// Election safety of one moment.
///
/// # Errors
/// When two replicas lead the same term.
pub fn election_safety(views: &[View]) -> Check {
    let mut leaders = Leaders::default();
    views.iter().try_for_each(|view| leaders.observe(view))
}

/// The terms of a log: what there is to compare between two of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogShape {
    /// The last truncated entry.
    pub truncated: Index,
    /// First index of each term, ascending ([`crate::Replica::terms`]).
    pub terms: Vec<(Index, Term)>,
    /// The last entry.
    pub last: Index,
}

impl LogShape {
    /// Term at `index`; `None` when it is truncated or beyond the end.
    pub fn term(&self, index: Index) -> Option<Term> {
        if index <= self.truncated || index > self.last {
            return None;
        }
        let after = self.terms.partition_point(|(first, _)| *first <= index);
        after.checked_sub(1).map(|at| self.terms[at].1)
    }
}

/// Log matching: if two logs have an entry with the same index and term, they are equal up to
/// there.
///
/// # Errors
/// Where they differ below an entry that they share.
pub fn log_matching(one: &LogShape, other: &LogShape) -> Check {
    let mut index = one.last.min(other.last);
    let low = one.truncated.max(other.truncated);
    let mut shared = None;
    while index > low {
        let (left, right) = (one.term(index), other.term(index));
        if left == right {
            shared.get_or_insert(index);
        } else if let Some(shared) = shared {
            return Err(Violation(format!(
                "logs share the entry at {shared} but differ at {index}: {left:?} and {right:?}"
            )));
        }
        index = Index(index.0 - 1);
    }
    Ok(())
}

/// All that was ever committed anywhere: term and content by index.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<Index, (Term, EntryKind, u64)>,
}

impl Ledger {
    /// State machine safety: no two replicas apply different entries at the same index.
    ///
    /// # Errors
    /// When another entry was applied at this index before.
    pub fn record(&mut self, by: NodeId, committed: &Committed) -> Check {
        let entry = &committed.entry;
        let content = (entry.term, entry.kind, fingerprint(&entry.data));
        let first = *self.entries.entry(entry.index).or_insert(content);
        require(first == content, || {
            format!("{by} applies {content:?} at {}, another applied {first:?}", entry.index)
        })
    }

    /// Leader completeness: a leader has everything that was committed in earlier terms.
    ///
    /// # Errors
    /// What it lacks.
    pub fn leader_completeness(&self, view: &View, log: &LogShape) -> Check {
        if view.role != Role::Leader {
            return Ok(());
        }
        for (index, (term, ..)) in self.entries.range(log.truncated.next()..) {
            let found = log.term(*index);
            require(*term >= view.term || found == Some(*term), || {
                format!(
                    "{} leads {} without the entry {index} of term {term}, it has {found:?}",
                    view.id, view.term
                )
            })?;
        }
        Ok(())
    }

    /// The highest index that was committed.
    pub fn last(&self) -> Index {
        self.entries.last_key_value().map_or(Index::ZERO, |(index, _)| *index)
    }
}

/// FNV-1a: enough to tell two entries of a test apart.
fn fingerprint(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
