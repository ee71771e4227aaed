//! The writer: committed entries in, outcomes out, one transaction of state.db per batch.
//!
//! Rows of machines, the host's own rows and the applied index commit together, so an entry is
//! applied exactly once whatever happens to the process. A fault undoes the whole batch.

use std::sync::Arc;

use pgraft_replica::body::Body;
use pgraft_replica::{Committed, ConfChange, ConfState, EntryKind, Index, Term};
use pgraft_store::{Meta, StateStore};

use crate::blobs::{self, Blobs};
use crate::change::Sha256Bytes;
use crate::digest::Digests;
use crate::fault::Fault;
use crate::interface::{GuestError, Trigger};
use crate::lifecycle;
use crate::limits::Limits;
use crate::machines::Machines;
use crate::outbox::{Effect, Outbox};
use crate::plan::{Given, Plan, Step, Turn, rejected};
use crate::registration::Registration;
use crate::registry::Registry;
use crate::rejection::{HostCode, Outcome};
use crate::sessions::Sessions;
use crate::wake::Wakes;

/// What the machines of a new cluster begin with; equal on every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// The first configuration.
    pub conf: ConfState,
    /// Name, SHA-256 of the component and first configuration of each machine.
    pub machines: Vec<(String, [u8; 32], Vec<u8>)>,
    /// The time of the log before its first entry, Unix milliseconds.
    pub time_ms: u64,
}

/// What came of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The entry.
    pub index: Index,
    /// Its term.
    pub term: Term,
    /// One per command of its body; one for a configuration change.
    pub outcomes: Vec<Outcome>,
    /// What machines published, in order.
    pub events: Vec<Event>,
    /// The configuration from here on, when the entry changed it.
    pub conf: Option<ConfState>,
}

/// Something a machine published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Who published it.
    pub machine: String,
    /// Watchers match it by prefix.
    pub topic: Vec<u8>,
    /// The rest is between the machine and its watchers.
    pub payload: Vec<u8>,
    /// Its place among the events of the entry.
    pub sequence: u32,
}

/// The mirrors of the host's own rows.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) registry: Registry,
    pub(crate) sessions: Sessions,
    pub(crate) outbox: Outbox,
    pub(crate) wakes: Wakes,
    pub(crate) digests: Digests,
    pub(crate) blobs: Blobs,
}

impl Rows {
    fn load(state: &StateStore, machines: &Machines) -> Result<Rows, Fault> {
        Ok(Rows {
            registry: Registry::load(state, machines)?,
            sessions: Sessions::load(state)?,
            outbox: Outbox::load(state)?,
            wakes: Wakes::load(state)?,
            digests: Digests::load(state)?,
            blobs: Blobs::load(state)?,
        })
    }

    /// Writes what is not written at once: books and sessions.
    pub(crate) fn flush(&mut self, state: &mut StateStore) -> Result<(), Fault> {
        self.registry.flush(state)?;
        self.sessions.flush(state)
    }
}

/// Owns state.db and applies entries to it. Call it from one thread with 4 MiB of stack.
pub struct Applier {
    pub(crate) machines: Arc<Machines>,
    /// Away only while a guest runs.
    pub(crate) state: Option<StateStore>,
    pub(crate) rows: Rows,
    /// The mirrors may show what a fault undid.
    stale: bool,
}

impl Applier {
    /// Takes over a state.
    ///
    /// # Errors
    /// When it needs a module that `machines` does not have, when its rows are malformed, or when
    /// the disk fails.
    pub fn open(machines: Arc<Machines>, state: StateStore) -> Result<Applier, Fault> {
        let rows = Rows::load(&state, &machines)?;
        Ok(Applier { machines, state: Some(state), rows, stale: false })
    }

    /// Creates the machines of a new cluster, before the first entry.
    ///
    /// # Errors
    /// When the state is not empty, a module is missing, a machine refuses its configuration, or
    /// this machine fails. Nothing is changed then.
    pub fn bootstrap(&mut self, bootstrap: &Bootstrap) -> Result<(), Fault> {
        if self.meta().applied != Index::ZERO || !self.rows.registry.is_empty() {
            return Err(Fault::Bootstrap("this state has begun already".to_owned()));
        }
        self.transaction(|applier| applier.create_machines(bootstrap))
    }

    /// Whether [`Applier::bootstrap`] was done, here or on the node the snapshot came from.
    pub fn is_bootstrapped(&self) -> bool {
        !self.rows.registry.is_empty()
    }

    /// Applies committed entries, in one transaction.
    ///
    /// Costs 8 to 13 us per put in batches, most of it SQLite's.
    ///
    /// # Errors
    /// When this machine fails: nothing of the batch is applied then. After a full disk the same
    /// batch may be given again.
    ///
    /// # Panics
    /// When an entry does not follow the last applied one: applying it would lose one in between.
    pub fn apply(&mut self, batch: &[Committed]) -> Result<Vec<Applied>, Fault> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.transaction(|applier| {
            batch.iter().map(|one| applier.apply_entry(one).map_err(|why| why.at(one))).collect()
        })
    }

    /// How far the state is.
    pub fn meta(&self) -> &Meta {
        self.state.as_ref().expect("the store is away only during a call").meta()
    }

    /// All effects that wait.
    pub fn outbox(&self) -> Vec<Effect> {
        self.rows.outbox.list(&self.rows.registry)
    }

    /// Effects that wait for the leader: configuration changes, and of each machine's commands for
    /// others the first ones, without their payloads.
    pub fn due_effects(&self) -> Vec<Effect> {
        self.rows.outbox.due(&self.rows.registry)
    }

    /// The machine that wants to be woken first, and when, in Unix milliseconds.
    pub fn next_wake(&self) -> Option<(String, u64)> {
        let registry = &self.rows.registry;
        let (machine, time_ms) = self.rows.wakes.next(|machine| !registry.is_migrating(machine))?;
        Some((self.rows.registry.name(machine).to_owned(), time_ms))
    }

    /// The machine whose migration wants another step, and which step.
    pub fn next_migration(&self) -> Option<(String, u32)> {
        self.rows.registry.next_migration().map(|(machine, step)| (machine.to_owned(), step))
    }

    /// The bytes of a module that is staged here or came with genesis.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn component(&self, sha256: &Sha256Bytes) -> Result<Option<Vec<u8>>, Fault> {
        let state = self.state.as_ref().expect("no call is going on");
        blobs::read(state, sha256)
    }

    /// The newest digests for [`crate::Command::Digest`]; index 0 before the first.
    pub fn digests(&self) -> (Index, Vec<(u32, u128)>) {
        self.rows.digests.newest().clone()
    }

    /// Gives the state back.
    pub fn into_state(self) -> StateStore {
        self.state.expect("the store is away only during a call")
    }

    pub(crate) fn store(&mut self) -> &mut StateStore {
        self.state.as_mut().expect("the store is away only during a call")
    }

    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Applier) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.stale {
            self.reload()?;
        }
        self.store().begin()?;
        let outcome = work(self).and_then(|worked| {
            let state = self.state.as_mut().expect("no call is going on");
            self.rows.flush(state)?;
            state.commit()?;
            Ok(worked)
        });
        if let Err(fault) = &outcome {
            self.stale = true;
            let undone = self.store().rollback().map_err(Fault::from);
            if let Err(second) = undone.and_then(|()| self.reload()) {
                tracing::error!(%fault, %second, "undoing a failed batch failed too");
            }
        }
        outcome
    }

    /// Reads the mirrors anew.
    pub(crate) fn reload(&mut self) -> Result<(), Fault> {
        let state = self.state.as_ref().expect("no call is going on");
        self.rows = Rows::load(state, &self.machines)?;
        self.stale = false;
        Ok(())
    }

    fn create_machines(&mut self, bootstrap: &Bootstrap) -> Result<(), Fault> {
        let Bootstrap { conf, machines, time_ms } = bootstrap;
        let turn = Turn { index: Index::ZERO, term: 0, time_ms: *time_ms, entropy: 0 };
        let meta = Meta { conf: conf.clone(), time_ms: *time_ms, ..self.meta().clone() };
        self.store().set_meta(meta);
        for (name, sha256, config) in machines {
            let module = self.machines.of(name, sha256)?;
            let state = self.state.as_mut().expect("no call is going on");
            if let Some(component) = self.machines.component(sha256) {
                self.rows.blobs.keep(state, *sha256, &component)?;
            }
            self.check_new_name(name).map_err(|why| Fault::Bootstrap(why.message))?;
            let row =
                lifecycle::new_row(&self.rows.registry, name, &module, Limits::DEFAULT, &turn);
            let (row, id) = (Registration { sha256: *sha256, ..row.clone() }, row.id);
            let state = self.state.as_mut().expect("no call is going on");
            self.rows.registry.create(state, name, row, module)?;
            // What a machine publishes before the first entry nobody can have waited for.
            if let Err(rejection) = self.init(id, config, &turn, &mut Vec::new())? {
                return Err(Fault::Refused { machine: name.clone(), rejection });
            }
        }
        Ok(())
    }

    fn apply_entry(&mut self, committed: &Committed) -> Result<Applied, Fault> {
        let entry = &committed.entry;
        let meta = self.meta().clone();
        assert_eq!(entry.index, meta.applied.next(), "an entry was left out or given twice");
        let (index, term) = (entry.index, entry.term);
        let mut applied = Applied { index, term, outcomes: vec![], events: vec![], conf: None };
        let mut turn = Turn { index, term: term.0, time_ms: meta.time_ms, entropy: 0 };
        match entry.kind {
            EntryKind::Normal if entry.data.is_empty() => {}
            EntryKind::Normal => {
                let body = Body::decode(entry.data.clone())
                    .map_err(|source| Fault::Entry { index, source })?;
                turn.time_ms = meta.time_ms.max(body.time_ms);
                turn.entropy = body.entropy;
                self.apply_body(&body, &turn, &mut applied)?;
            }
            EntryKind::ConfChange => {
                let change = committed.conf_change.as_ref();
                let change = change.expect("the replica decodes configuration changes");
                self.apply_conf(change, &meta.conf, &turn, &mut applied)?;
            }
        }
        let conf = applied.conf.clone().unwrap_or(meta.conf);
        self.store().set_meta(Meta { applied: index, term, time_ms: turn.time_ms, conf });
        if Digests::are_due(index) {
            let state = self.state.as_mut().expect("no call is going on");
            self.rows.flush(state)?;
            self.rows.digests.take(state, &self.rows.registry, index)?;
        }
        Ok(applied)
    }

    fn apply_body(&mut self, body: &Body, turn: &Turn, applied: &mut Applied) -> Result<(), Fault> {
        self.rows.sessions.expire(turn.time_ms);
        let mut commands = &body.commands[..];
        while !commands.is_empty() {
            let state = self.state.as_ref().expect("no call is going on");
            let before = applied.outcomes.len();
            let plan = Plan::new(commands, before, turn, &mut self.rows, state)?;
            commands = &commands[plan.outcomes.len()..];
            let outcomes = self.carry_out(plan, turn, &mut applied.events)?;
            applied.outcomes.extend(outcomes);
        }
        Ok(())
    }

    fn carry_out(
        &mut self,
        plan: Plan,
        turn: &Turn,
        events: &mut Vec<Event>,
    ) -> Result<Vec<Outcome>, Fault> {
        let Plan { steps, mut outcomes, repeats, .. } = plan;
        for step in steps {
            match step {
                Step::Apply { machine, given } => {
                    let came = self.apply_commands(machine, &given, turn, events)?;
                    for (given, outcome) in given.iter().zip(came) {
                        self.remember(given, &outcome);
                        outcomes[given.position] = Some(outcome);
                    }
                }
                Step::Wake { machine, position } => {
                    outcomes[position] = Some(self.wake(machine, turn, events)?);
                }
                Step::EffectDone { machine, id, outcome, position } => {
                    outcomes[position] =
                        Some(self.effect_done(machine, id, outcome, turn, events)?);
                }
                Step::Perform { machine, id, position } => {
                    outcomes[position] = Some(self.perform(machine, id, turn, events)?);
                }
                Step::Change { given } => {
                    let outcome = self.change(&given, turn, events)?;
                    self.remember(&given, &outcome);
                    outcomes[given.position] = Some(outcome);
                }
            }
        }
        for (repeat, first) in repeats {
            outcomes[repeat] = outcomes[first].clone();
        }
        let every = "each position has a step or an outcome";
        Ok(outcomes.into_iter().map(|outcome| outcome.expect(every)).collect())
    }

    /// Whoever repeats the command gets the same answer.
    fn remember(&mut self, given: &Given, outcome: &Outcome) {
        if given.session != 0 {
            self.rows.sessions.remember(given.session, given.seq, outcome);
        }
    }

    /// Gives a machine the command that another one asked for, and tells that one what came of it.
    fn perform(
        &mut self,
        machine: u32,
        id: u64,
        turn: &Turn,
        events: &mut Vec<Event>,
    ) -> Result<Outcome, Fault> {
        let Some((target, payload)) = self.rows.outbox.command(machine, id) else {
            // Performed already, after another leader's proposal.
            return Ok(Ok(Vec::new()));
        };
        let outcome = match target.and_then(|name| self.rows.registry.id_of(&name)) {
            None => rejected(HostCode::UnknownMachine),
            // It stays in the outbox until the machine takes commands again.
            Some(target) if self.rows.registry.is_migrating(target) => {
                return Ok(rejected(HostCode::Migrating));
            }
            Some(target) => {
                let principal = format!("sys:machine/{}", self.rows.registry.name(machine));
                let given = Given { position: 0, principal, session: 0, seq: 0, payload };
                let mut outcomes = self.apply_commands(target, &[given], turn, events)?;
                outcomes.pop().expect("one outcome per command")
            }
        };
        self.effect_done(machine, id, outcome, turn, events)
    }

    fn wake(
        &mut self,
        machine: u32,
        turn: &Turn,
        events: &mut Vec<Event>,
    ) -> Result<Outcome, Fault> {
        let due = self.rows.wakes.due(machine, turn.time_ms);
        let registry = &self.rows.registry;
        // Who is between two schemas, or used up its share, is woken later.
        let may =
            !registry.is_migrating(machine) && registry.known_ref(machine).may_run(turn.time_ms);
        if !due || !may {
            return Ok(Ok(Vec::new()));
        }
        // Cleared first and for good: a machine whose reaction fails is not woken for ever.
        let state = self.state.as_mut().expect("no call is going on");
        self.rows.wakes.set(state, machine, 0)?;
        self.react(machine, &Trigger::Wake, turn, events)
    }

    fn effect_done(
        &mut self,
        machine: u32,
        id: u64,
        outcome: Outcome,
        turn: &Turn,
        events: &mut Vec<Event>,
    ) -> Result<Outcome, Fault> {
        let state = self.state.as_mut().expect("no call is going on");
        if !self.rows.outbox.remove(state, machine, id)? {
            // Performed twice, by two leaders; the machine has heard of it.
            return Ok(Ok(Vec::new()));
        }
        let outcome = outcome
            .map_err(|rejection| GuestError { code: rejection.code, message: rejection.message });
        self.react(machine, &Trigger::EffectDone((id, outcome)), turn, events)
    }

    fn apply_conf(
        &mut self,
        change: &ConfChange,
        conf: &ConfState,
        turn: &Turn,
        applied: &mut Applied,
    ) -> Result<(), Fault> {
        let outcome = match conf.changed_by(change) {
            Ok(conf) => {
                applied.conf = Some(conf);
                Ok(Vec::new())
            }
            Err(error) => {
                tracing::warn!(index = turn.index.0, %error, "configuration change refused");
                rejected(HostCode::ConfRefused)
            }
        };
        if let Some((machine, id)) = effect_of(change) {
            let events = &mut applied.events;
            // What the machine makes of it is in its state; the change itself stands.
            let _reaction = self.effect_done(machine, id, outcome.clone(), turn, events)?;
        }
        applied.outcomes = vec![outcome];
        Ok(())
    }
}

/// The effect that asked for a configuration change: machine u32, id u64.
fn effect_of(change: &ConfChange) -> Option<(u32, u64)> {
    let (machine, id) = change.context.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*machine), u64::from_le_bytes(id.try_into().ok()?)))
}
