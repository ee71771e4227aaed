//! Changes of the machines, run again. Whether a change must be accepted is worked out here from
//! the rules (docs/WASM.md); what cannot be known is taken as the cluster told it: whether a
//! module's bytes were complete, and whether a compiler could make something of them. What an
//! accepted change does is worked out in any case. States are kept as a whole, so going back is
//! taking the state from before.

use std::collections::BTreeSet;

use pgraft_host::limits::{Limits, MACHINES_MAX};
use pgraft_host::{
    Change, HostCode, MACHINES, NewLimits, Outcome, Progress, Rejection, Sha256Bytes,
    Specification, State, Turn, hex, is_name,
};

use super::{Difference, Entry, Given, Machine, ReplayedLog, Shape, Way, emitted, is_rejection};

/// The first number of a machine that is not built in.
const OTHERS: u32 = 3;

/// What a machine runs, and what else its registration says.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    sha256: Sha256Bytes,
    schema: u32,
    limits: Limits,
    previous: Option<Sha256Bytes>,
    migration: Option<Migration>,
    /// Its state when the last upgrade began that was to keep it.
    copy: Option<State>,
}

/// A migration under way.
#[derive(Clone, Debug)]
struct Migration {
    to: Sha256Bytes,
    step: u32,
    keep_copy: bool,
    /// The state to go back to.
    before: State,
}

/// An upgrade as it was asked for.
struct Upgrade<'a> {
    name: &'a str,
    to: Sha256Bytes,
    any_version: bool,
    keep_copy: bool,
    limits: &'a NewLimits,
}

/// What a change must come to: done, or refused with this code, the host's or the machine's own.
type Due = Result<(), u32>;

/// What the log fixes, and what the cluster said of the module's bytes.
#[derive(Clone, Copy)]
struct At {
    turn: Turn,
    /// The module's bytes are not there, or make no machine: nobody here can know that.
    unusable: Option<HostCode>,
}

impl Runs {
    pub(super) fn of_genesis(sha256: Sha256Bytes, module: &Specification) -> Runs {
        Runs::new(sha256, module, Limits::DEFAULT)
    }

    fn new(sha256: Sha256Bytes, module: &Specification, limits: Limits) -> Runs {
        let schema = module.manifest().schema;
        Runs { sha256, schema, limits, previous: None, migration: None, copy: None }
    }

    pub(super) fn is_migrating(&self) -> bool {
        self.migration.is_some()
    }

    /// Whether its machine may be refused for having used up its share.
    pub(super) fn has_share(&self) -> bool {
        self.limits.share_fuel != u64::MAX
    }

    pub(super) fn shape(&self, module: &Specification) -> Shape {
        let migrating = self.is_migrating();
        let is_bare = !migrating && self.copy.is_none() && self.limits.events_kept == 0;
        Shape { module: module.clone(), migrating, is_bare }
    }
}

impl ReplayedLog {
    /// Carries out a change of the machines; what came of it.
    pub(super) fn change_machines(
        &mut self,
        entry: &Entry<'_>,
        given: &Given,
    ) -> Result<Outcome, Difference> {
        let Ok(change) = Change::decode(&given.payload) else {
            return Ok(Err(Rejection::host(HostCode::MalformedCommand)));
        };
        let told = entry.told(given.position);
        if let Change::Stage { .. } = change {
            return Ok(told.unwrap_or_else(|| Ok(Vec::new())));
        }
        let unusable = [HostCode::ModuleMissing, HostCode::BadModule].into_iter().find(|code| {
            let told = told.as_ref();
            told.is_some_and(|told| is_rejection(told, *code))
        });
        let at = At { turn: entry.turn, unusable };
        let due = self.carry_out(&change, at)?;
        if due.is_ok()
            && let Some(name) = change.machine()
            && let Some(machine) = self.machines.get_mut(name)
        {
            machine.shapes.push((entry.turn.index.0, machine.runs.shape(&machine.module)));
        }
        let agrees = match (&told, due) {
            (None, _) => true,
            (Some(Ok(reply)), Ok(())) => reply.is_empty(),
            (Some(Err(rejection)), Err(code)) => rejection.code == code,
            _ => false,
        };
        if !agrees {
            return Err(Difference::Outcome {
                index: entry.committed.index,
                position: given.position,
                expected: format!("{due:?} to {}", shown(&change)),
                found: format!("{told:?}"),
            });
        }
        let own = due.map(|()| Vec::new());
        let own = own.map_err(|code| Rejection { code, message: String::new() });
        Ok(told.unwrap_or(own))
    }

    fn carry_out(&mut self, change: &Change, at: At) -> Result<Due, Difference> {
        let name = change.machine().expect("staging is told apart before");
        let known = self.machines.contains_key(name);
        if !known && !matches!(change, Change::Install { .. }) {
            return Ok(refused(HostCode::UnknownMachine));
        }
        match change {
            Change::Stage { .. } => unreachable!("told apart before"),
            Change::Install { sha256, config, limits, .. } => {
                self.install(name, sha256, config, limits, at)
            }
            Change::Upgrade { sha256, expect, any_version, keep_copy, limits, .. } => {
                if self.machines[name].runs.sha256 != *expect {
                    return Ok(refused(HostCode::Conflict));
                }
                let (to, any_version, keep_copy) = (*sha256, *any_version, *keep_copy);
                self.upgrade(&Upgrade { name, to, any_version, keep_copy, limits }, at)
            }
            Change::Migrate { step, .. } => self.go_on_migrating(name, *step, at),
            Change::Rollback { expect, restore, .. } => self.roll_back(name, expect, *restore, at),
            Change::Limit { limits, .. } => {
                let machine = self.machines.get_mut(name).expect("looked up before");
                Ok(machine.limit(limits))
            }
            Change::DropCopy { .. } => {
                let runs = &mut self.machines.get_mut(name).expect("looked up before").runs;
                if runs.is_migrating() || runs.copy.take().is_none() {
                    return Ok(refused(HostCode::Conflict));
                }
                Ok(Ok(()))
            }
            Change::Remove { expect, .. } => Ok(self.remove(name, expect)),
        }
    }

    /// A module that a machine is to run.
    fn module(&self, name: &str, sha256: &Sha256Bytes) -> Result<Specification, Difference> {
        let of_library = self.library.as_ref();
        let unknown = || {
            let module = hex(sha256);
            Difference::Engine(format!(
                "{name} comes to run module {module}, which is unknown here"
            ))
        };
        let library = of_library.ok_or_else(unknown)?;
        let module = Specification::new(library, name, sha256).map_err(|_| unknown())?;
        let number = self.names.iter().find(|(_, known)| *known == name);
        Ok(number.map_or(module.clone(), |(number, _)| module.numbered(*number)))
    }

    fn install(
        &mut self,
        name: &str,
        sha256: &Sha256Bytes,
        config: &[u8],
        limits: &NewLimits,
        at: At,
    ) -> Result<Due, Difference> {
        if !is_name(name) || name == MACHINES || self.machines.contains_key(name) {
            return Ok(refused(HostCode::Conflict));
        }
        let limits = match Limits::INSTALLED.with(limits) {
            Ok(limits) if self.machines.len() < MACHINES_MAX => limits,
            _ => return Ok(refused(HostCode::Quota)),
        };
        if let Some(code) = at.unusable {
            return Ok(refused(code));
        }
        let number = self.number_for(name);
        let module = self.module(name, sha256)?.numbered(number).limited(limits);
        let (state, events) = match module.begin(config, &at.turn)? {
            Ok(began) => began,
            Err(why) => return Ok(Err(why.code)),
        };
        let runs = Runs::new(*sha256, &module, limits);
        let way = Way { state, events: events.into_iter().map(emitted).collect() };
        let index = at.turn.index.0;
        self.names.insert(number, name.to_owned());
        self.machines.insert(name.to_owned(), Machine::new(module, runs, way, index));
        Ok(Ok(()))
    }

    fn number_for(&self, name: &str) -> u32 {
        let taken: BTreeSet<u32> = self.names.keys().copied().collect();
        match name {
            "membership" => 1,
            "kv" => 2,
            _ => (OTHERS..).find(|number| !taken.contains(number)).expect("there are few"),
        }
    }

    fn upgrade(&mut self, wanted: &Upgrade<'_>, at: At) -> Result<Due, Difference> {
        let machine = &self.machines[wanted.name];
        if machine.runs.is_migrating() || machine.runs.sha256 == wanted.to {
            return Ok(refused(HostCode::Conflict));
        }
        if let Some(code) = at.unusable {
            return Ok(refused(code));
        }
        let new = self.module(wanted.name, &wanted.to)?;
        let (old, manifest) = (machine.module.manifest(), new.manifest());
        let rises = wanted.any_version || is_above(&manifest.version, &old.version);
        let reads = (manifest.migrates_from..=manifest.schema).contains(&machine.runs.schema);
        if !rises || !reads {
            return Ok(refused(HostCode::Conflict));
        }
        let Ok(limits) = machine.runs.limits.with(wanted.limits) else {
            return Ok(refused(HostCode::Quota));
        };
        let Some(before) = machine.certain().cloned() else { return Err(uncertain(wanted.name)) };
        let Upgrade { to, keep_copy, .. } = *wanted;
        let migration = Migration { to, step: 0, keep_copy, before };
        let runs = Runs { limits, copy: None, migration: Some(migration), ..machine.runs.clone() };
        self.take_step(wanted.name, runs, new.limited(limits), at)
    }

    /// One step of the migration that `runs` has under way; nothing changes when it fails.
    fn take_step(
        &mut self,
        name: &str,
        mut runs: Runs,
        new: Specification,
        at: At,
    ) -> Result<Due, Difference> {
        let machine = self.machines.get_mut(name).expect("looked up before");
        let mut migration = runs.migration.take().expect("a machine that is migrated");
        let schema = new.manifest().schema;
        let Some(state) = machine.certain().cloned() else { return Err(uncertain(name)) };
        let mut progress = Progress::Done;
        if runs.schema != schema {
            let migrated = new.migrate(&state, &at.turn, runs.schema, migration.step)?;
            progress = match migrated.progress {
                Ok(progress) => progress,
                Err(why) => return Ok(Err(why.code)),
            };
            if progress == Progress::More && !new.effects(&migrated.state).is_empty() {
                return Ok(refused(HostCode::Conflict));
            }
            let way = &mut machine.ways[0];
            way.state = migrated.state;
            way.events.extend(migrated.events.into_iter().map(emitted));
        }
        if progress == Progress::More {
            self.seen.steps += 1;
            migration.step += 1;
            machine.module = machine.module.clone().limited(runs.limits);
            machine.runs = Runs { migration: Some(migration), ..runs };
            return Ok(Ok(()));
        }
        self.seen.switches += 1;
        let Migration { to, keep_copy, before, .. } = migration;
        let (previous, copy) = (Some(runs.sha256), keep_copy.then_some(before));
        machine.module = new;
        machine.runs = Runs { sha256: to, schema, previous, copy, ..runs };
        Ok(Ok(()))
    }

    fn go_on_migrating(&mut self, name: &str, step: u32, at: At) -> Result<Due, Difference> {
        let runs = self.machines[name].runs.clone();
        let Some(migration) = runs.migration.as_ref().filter(|due| due.step == step) else {
            // Another leader proposed it, too.
            return Ok(Ok(()));
        };
        let new = self.module(name, &migration.to)?.limited(runs.limits);
        if self.take_step(name, runs, new, at)?.is_err() {
            self.give_up(name);
        }
        Ok(Ok(()))
    }

    /// The machine is what it was before the migration began.
    fn give_up(&mut self, name: &str) {
        self.seen.given_up += 1;
        let machine = self.machines.get_mut(name).expect("looked up before");
        let migration = machine.runs.migration.take().expect("a machine that is migrated");
        for way in &mut machine.ways {
            way.state = migration.before.clone();
        }
    }

    fn roll_back(
        &mut self,
        name: &str,
        expect: &Sha256Bytes,
        restore: bool,
        at: At,
    ) -> Result<Due, Difference> {
        let machine = &self.machines[name];
        if let Some(migration) = &machine.runs.migration {
            if migration.to != *expect {
                return Ok(refused(HostCode::Conflict));
            }
            self.give_up(name);
            return Ok(Ok(()));
        }
        let Some(to) = machine.runs.previous.filter(|_| machine.runs.sha256 == *expect) else {
            return Ok(refused(HostCode::Conflict));
        };
        if !restore {
            let (any_version, keep_copy, limits) = (true, false, &Vec::new());
            return self.upgrade(&Upgrade { name, to, any_version, keep_copy, limits }, at);
        }
        let Some(before) = machine.runs.copy.clone() else {
            return Ok(refused(HostCode::Conflict));
        };
        if let Some(code) = at.unusable {
            return Ok(refused(code));
        }
        let module = self.module(name, &to)?.limited(machine.runs.limits);
        self.seen.switches += 1;
        let machine = self.machines.get_mut(name).expect("looked up before");
        for way in &mut machine.ways {
            way.state = way.state.with_rows_of(&before);
        }
        let (previous, copy) = (Some(machine.runs.sha256), None);
        let schema = module.manifest().schema;
        machine.module = module;
        machine.runs = Runs { sha256: to, schema, previous, copy, ..machine.runs.clone() };
        Ok(Ok(()))
    }

    fn remove(&mut self, name: &str, expect: &Sha256Bytes) -> Due {
        let runs = &self.machines[name].runs;
        if runs.sha256 != *expect || matches!(name, "membership" | "kv") {
            return refused(HostCode::Conflict);
        }
        self.machines.remove(name);
        self.names.retain(|_, known| known != name);
        Ok(())
    }
}

impl Machine {
    fn limit(&mut self, limits: &NewLimits) -> Due {
        let limits = self.runs.limits.with(limits).map_err(|_| HostCode::Quota as u32)?;
        self.runs.limits = limits;
        self.module = self.module.clone().limited(limits);
        Ok(())
    }
}

/// Whether a version is above another one. Who began with a version that is none may leave it.
fn is_above(new: &str, old: &str) -> bool {
    match (semver::Version::parse(new), semver::Version::parse(old)) {
        (Ok(new), Ok(old)) => new > old,
        (Ok(_), Err(_)) => true,
        (Err(_), _) => false,
    }
}

fn refused(code: HostCode) -> Due {
    Err(code as u32)
}

fn uncertain(name: &str) -> Difference {
    Difference::Engine(format!("{name} changes while its state is not certain"))
}

/// A change without what is long.
fn shown(change: &Change) -> String {
    let kind = match change {
        Change::Stage { .. } => "stage",
        Change::Install { .. } => "install",
        Change::Upgrade { .. } => "upgrade",
        Change::Migrate { .. } => "migrate",
        Change::Rollback { .. } => "roll back",
        Change::Limit { .. } => "limit",
        Change::DropCopy { .. } => "drop the copy of",
        Change::Remove { .. } => "remove",
    };
    format!("{kind} {}", change.machine().unwrap_or("a module"))
}
