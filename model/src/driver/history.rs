//! What happened so far, as far as a property speaks of it: who led which term, what was committed,
//! which requests were answered. None of the nodes knows all of this.

use std::collections::BTreeMap;

use pgraft_replica::invariants::{Leaders, Ledger, LogShape};
use pgraft_replica::{Committed, ConfState, Index, View};

use super::disk::{self, Machine};
use super::node::{Outcome, id};
use super::rules::{Rule, Violation};
use super::words::{Key, Words};

/// The history of a cluster.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// By term; the same as `leaders`, to be compared.
    elected: BTreeMap<u64, u8>,
    leaders: Leaders,
    /// Content by index; the same as `ledger`, to be compared.
    entries: BTreeMap<u64, Key>,
    ledger: Ledger,
    /// The machine as it must be: by the specification, over all that is committed.
    machine: Machine,
    /// What is seen of that machine, by index.
    states: BTreeMap<Index, Key>,
    /// Reads that wait, and what was committed when they began.
    reads: BTreeMap<u8, Index>,
    /// Bit by ticket.
    answered: u64,
    refused: u64,
    /// Tickets whose commands are committed.
    committed: u64,
}

impl History {
    /// Nothing happened; `machine` is what every node begins with.
    pub(super) fn new(machine: Machine) -> History {
        History {
            elected: BTreeMap::new(),
            leaders: Leaders::default(),
            entries: BTreeMap::new(),
            ledger: Ledger::default(),
            states: BTreeMap::from([(machine.applied, machine.visible())]),
            machine,
            reads: BTreeMap::new(),
            answered: 0,
            refused: 0,
            committed: 0,
        }
    }

    pub(super) fn key(&self) -> Key {
        let mut words = Words::new(4);
        for (term, node) in &self.elected {
            words.add(*term << 8 | u64::from(*node));
        }
        for (index, key) in &self.entries {
            words.add(*index);
            words.add(u64::try_from(key >> 64).expect("the upper half"));
        }
        for (ticket, index) in &self.reads {
            words.add(index.0 << 8 | u64::from(*ticket));
        }
        words.add(self.answered);
        words.add(self.refused);
        words.key()
    }

    pub(super) fn has_leader(&self) -> bool {
        !self.elected.is_empty()
    }

    /// The highest committed index.
    pub(super) fn last(&self) -> Index {
        self.ledger.last()
    }

    /// The history after a step of node `number`.
    pub(super) fn after(
        &self,
        number: u8,
        view: Option<&View>,
        out: &Outcome,
    ) -> Result<History, Violation> {
        let mut next = self.clone();
        if let Some(view) = view.filter(|view| view.is_leader()) {
            let checked = next.leaders.observe(view);
            checked.map_err(|why| Violation::new(Rule::ElectionSafety, why.0))?;
            next.elected.insert(view.term.0, number);
        }
        for committed in &out.committed {
            next.commit(number, committed)?;
        }
        for (index, key) in &out.machine {
            if next.states.get(index) != Some(key) {
                let what = format!("the machine of {number} is not what it must be at {index}");
                return Err(Violation::new(Rule::StateMachineSafety, what));
            }
        }
        next.answers(out)?;
        Ok(next)
    }

    fn commit(&mut self, number: u8, committed: &Committed) -> Result<(), Violation> {
        let recorded = self.ledger.record(id(number), committed);
        recorded.map_err(|why| Violation::new(Rule::StateMachineSafety, why.0))?;
        let entry = &committed.entry;
        let mut words = Words::new(5);
        entry.canonical(&mut |_, number| words.add(number));
        if self.entries.insert(entry.index.0, words.key()).is_some() {
            return Ok(());
        }
        let before = self.machine.conf.clone();
        self.machine.apply(committed, None);
        self.states.insert(entry.index, self.machine.visible());
        let after = &self.machine.conf;
        if !quorums_overlap(&before, after) {
            let what = format!("majorities of {before:?} and {after:?} need not meet");
            return Err(Violation::new(Rule::MembershipSafety, what));
        }
        for (_, ticket) in disk::commands(entry) {
            self.committed |= 1 << ticket;
        }
        self.refused_is_final()
    }

    fn refused_is_final(&self) -> Result<(), Violation> {
        let broken = self.refused & self.committed;
        if broken == 0 {
            return Ok(());
        }
        let ticket = broken.trailing_zeros();
        let what = format!("request {ticket} was refused, and its command is committed");
        Err(Violation::new(Rule::ExactlyOnce, what))
    }

    fn answers(&mut self, out: &Outcome) -> Result<(), Violation> {
        let last = self.ledger.last();
        self.reads.extend(out.reads_begun.iter().map(|ticket| (*ticket, last)));
        for (ticket, index) in &out.reads {
            let floor = self.reads.remove(ticket).unwrap_or(Index::ZERO);
            if *index < floor {
                let what = format!(
                    "read {ticket} is answered at {index}, {floor} was committed when it began"
                );
                return Err(Violation::new(Rule::LinearizableReads, what));
            }
            self.answer(*ticket)?;
        }
        for ticket in &out.answered {
            self.answer(*ticket)?;
        }
        for ticket in &out.refused {
            self.answer(*ticket)?;
            self.reads.remove(ticket);
            self.refused |= 1 << ticket;
        }
        self.refused_is_final()
    }

    fn answer(&mut self, ticket: u8) -> Result<(), Violation> {
        let bit = 1 << ticket;
        if self.answered & bit != 0 {
            let what = format!("request {ticket} is answered twice");
            return Err(Violation::new(Rule::ExactlyOnce, what));
        }
        self.answered |= bit;
        Ok(())
    }

    /// Whether a leader has all that was committed before its term.
    pub(super) fn is_complete(&self, view: &View, shape: &LogShape) -> Result<(), Violation> {
        let checked = self.ledger.leader_completeness(view, shape);
        checked.map_err(|why| Violation::new(Rule::LeaderCompleteness, why.0))
    }
}

/// Voters as bits: the incoming and the outgoing ones.
pub(super) fn voters(conf: &ConfState) -> (u8, u8) {
    let bits = |ids: &std::collections::BTreeSet<pgraft_replica::NodeId>| {
        ids.iter().fold(0u8, |bits, id| bits | 1 << (id.get() - 1))
    };
    (bits(&conf.voters), bits(&conf.voters_outgoing))
}

/// Whether `nodes` has a majority of `voters`, or there are none to ask.
pub(super) fn decides(nodes: u8, (incoming, outgoing): (u8, u8)) -> bool {
    let most = |of: u8| of == 0 || 2 * (nodes & of).count_ones() > of.count_ones();
    most(incoming) && most(outgoing)
}

/// Whether all majorities of one configuration meet all of the other.
fn quorums_overlap(one: &ConfState, other: &ConfState) -> bool {
    let (one, other) = (voters(one), voters(other));
    (0..=u8::MAX).all(|nodes| !(decides(nodes, one) && decides(!nodes, other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(voters: &[u8], outgoing: &[u8]) -> ConfState {
        ConfState {
            voters: voters.iter().map(|number| id(*number)).collect(),
            voters_outgoing: outgoing.iter().map(|number| id(*number)).collect(),
            ..ConfState::default()
        }
    }

    #[test]
    fn majorities_of_neighbours_meet() {
        assert!(quorums_overlap(&conf(&[1, 2, 3], &[]), &conf(&[1, 2, 3, 4], &[])));
        assert!(quorums_overlap(&conf(&[1, 2, 3], &[]), &conf(&[4, 5], &[1, 2, 3])));
    }

    #[test]
    fn canary_majorities_that_need_not_meet_are_found() {
        assert!(!quorums_overlap(&conf(&[1, 2, 3], &[]), &conf(&[1], &[])));
        assert!(!quorums_overlap(&conf(&[1, 2, 3], &[]), &conf(&[1, 4, 5], &[])));
    }
}
