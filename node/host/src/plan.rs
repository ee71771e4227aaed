//! Sorts the commands of an entry into calls: one per machine, in order, and one for each reaction
//! that stands between them. What needs no guest is answered on the way.

use std::collections::BTreeMap;

use bytes::Bytes;
use pgraft_replica::Index;
use pgraft_store::StateStore;

use crate::apply::Rows;
use crate::change::MACHINES;
use crate::command::Command;
use crate::digest::Digests;
use crate::fault::Fault;
use crate::rejection::{HostCode, Outcome, Rejection};
use crate::sessions::Seen;

/// What the log fixes about the entry being applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Turn {
    /// Its index.
    pub index: Index,
    /// Its term.
    pub term: u64,
    /// The entry's time, Unix milliseconds, never behind the last one's.
    pub time_ms: u64,
    /// The leader's chance for the entry: seeds derive from it.
    pub entropy: u64,
}

/// One command for a machine.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) position: usize,
    pub(crate) principal: String,
    pub(crate) session: u64,
    pub(crate) seq: u64,
    pub(crate) payload: Bytes,
}

/// A call, or several that must stand in this order.
#[derive(Debug)]
pub(crate) enum Step {
    /// Commands of one machine.
    Apply { machine: u32, given: Vec<Given> },
    /// A machine may have to be woken.
    Wake { machine: u32, position: usize },
    /// An effect came to its end.
    EffectDone { machine: u32, id: u64, outcome: Outcome, position: usize },
    /// A machine asked for a command of another one.
    Perform { machine: u32, id: u64, position: usize },
    /// The machines themselves change: nothing that comes after is planned before that is done.
    Change { given: Given },
}

/// The commands of an entry, sorted, up to the first that changes the machines themselves.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// One per command; `None` until its step is done.
    pub(crate) outcomes: Vec<Option<Outcome>>,
    /// Positions that repeat an earlier command of the same entry.
    pub(crate) repeats: Vec<(usize, usize)>,
    before: usize,
    first: BTreeMap<(u64, u64), usize>,
    /// The step that takes further commands of a machine.
    taking: BTreeMap<u32, usize>,
}

impl Plan {
    /// Sorts `commands`, up to and including the first change of the machines. `before`: how many
    /// of the entry's commands come before these.
    ///
    /// # Errors
    /// When this replica has diverged, or the disk fails.
    pub(crate) fn new(
        commands: &[Bytes],
        before: usize,
        turn: &Turn,
        rows: &mut Rows,
        state: &StateStore,
    ) -> Result<Plan, Fault> {
        let mut plan = Plan { before, ..Plan::default() };
        for (position, bytes) in commands.iter().enumerate() {
            let outcome = match Command::decode(bytes) {
                Ok(command) => plan.add(position, command, turn, rows, state)?,
                Err(_) => Some(rejected(HostCode::MalformedCommand)),
            };
            plan.outcomes.push(outcome);
            if matches!(plan.steps.last(), Some(Step::Change { .. })) {
                break;
            }
        }
        Ok(plan)
    }

    /// Adds a command; its outcome when that is known without a guest.
    fn add(
        &mut self,
        position: usize,
        command: Command,
        turn: &Turn,
        rows: &mut Rows,
        state: &StateStore,
    ) -> Result<Option<Outcome>, Fault> {
        let unknown = || Ok(Some(rejected(HostCode::UnknownMachine)));
        match command {
            Command::Machine { machine, principal, session, seq, acked_below, payload } => {
                let given = Given { position, principal, session, seq, payload };
                Ok(self.add_given(&machine, given, acked_below, turn, rows))
            }
            Command::OpenSession => {
                let position = self.before + position;
                let position = u64::try_from(position).expect("PACK_COMMANDS_MAX fits");
                let id = turn.index.0 << 16 | position;
                rows.sessions.open(id, turn.time_ms);
                Ok(Some(Ok(id.to_le_bytes().to_vec())))
            }
            Command::Wake { machine } => {
                let Some(machine) = rows.registry.id_of(&machine) else { return unknown() };
                self.push(machine, Step::Wake { machine, position });
                Ok(None)
            }
            Command::EffectDone { machine, id, outcome } => {
                let Some(machine) = rows.registry.id_of(&machine) else { return unknown() };
                self.push(machine, Step::EffectDone { machine, id, outcome, position });
                Ok(None)
            }
            Command::Perform { machine, id } => {
                let Some(machine) = rows.registry.id_of(&machine) else { return unknown() };
                // It may be any machine that the command is for.
                self.taking.clear();
                self.steps.push(Step::Perform { machine, id, position });
                Ok(None)
            }
            Command::Digest { index, digests } => {
                Digests::compare(state, &rows.registry, index, &digests)?;
                Ok(Some(Ok(Vec::new())))
            }
        }
    }

    fn add_given(
        &mut self,
        machine: &str,
        given: Given,
        acked_below: u64,
        turn: &Turn,
        rows: &mut Rows,
    ) -> Option<Outcome> {
        let changes = machine == MACHINES;
        let machine = rows.registry.id_of(machine);
        if machine.is_none() && !changes {
            return Some(rejected(HostCode::UnknownMachine));
        }
        if given.session != 0 {
            let (session, seq) = (given.session, given.seq);
            match rows.sessions.look_up(session, seq, acked_below, turn.time_ms) {
                Seen::New => {}
                Seen::Before(outcome) => return Some(outcome),
                Seen::Expired => return Some(rejected(HostCode::SessionExpired)),
                Seen::Full => return Some(rejected(HostCode::Quota)),
            }
            if let Some(first) = self.first.get(&(session, seq)) {
                self.repeats.push((given.position, *first));
                return None;
            }
        }
        if machine.is_some_and(|machine| rows.registry.is_migrating(machine)) {
            let outcome = rejected(HostCode::Migrating);
            if given.session != 0 {
                // Who was told so must not have the command carried out by a copy of it that
                // stands behind the migration.
                rows.sessions.remember(given.session, given.seq, &outcome);
            }
            return Some(outcome);
        }
        if given.session != 0 {
            self.first.insert((given.session, given.seq), given.position);
        }
        let Some(machine) = machine else {
            self.steps.push(Step::Change { given });
            return None;
        };
        match self.taking.get(&machine).map(|step| &mut self.steps[*step]) {
            Some(Step::Apply { given: others, .. }) => others.push(given),
            _ => {
                self.taking.insert(machine, self.steps.len());
                self.steps.push(Step::Apply { machine, given: vec![given] });
            }
        }
        None
    }

    /// A reaction: later commands of its machine come after it.
    fn push(&mut self, machine: u32, step: Step) {
        self.taking.remove(&machine);
        self.steps.push(step);
    }
}

pub(crate) fn rejected(code: HostCode) -> Outcome {
    Err(Rejection::host(code))
}
