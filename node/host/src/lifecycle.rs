//! What a change of the machines does: install, upgrade, migrate, roll back, limit, remove.
//!
//! All of it happens in the entry that says so, in its transaction, on every replica alike. A
//! change that cannot be carried out to its end is undone to its beginning, and its rejection says
//! why. Modules are compiled before (pgraft-node sees to that); here they are only linked to a
//! name. Not here: the codec (`change.rs`), staging of bytes (`blobs.rs`).

use std::sync::Arc;

use crate::apply::{Applier, Event};
use crate::blobs::Part;
use crate::change::{Change, MACHINES, NewLimits, Sha256Bytes};
use crate::copy;
use crate::fault::Fault;
use crate::interface::Progress;
use crate::kept_events;
use crate::limits::{Limits, MACHINES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX};
use crate::machines::{Module, hex};
use crate::plan::{Given, Turn, rejected};
use crate::registration::{Migration, Ran, Registration};
use crate::registry::{Registry, fixed_id};
use crate::rejection::{HostCode, Outcome, Rejection};

/// A step of a change: this machine's failure outside, the change's own inside.
type Tried<T> = Result<Result<T, Rejection>, Fault>;

/// What a change needs to know of the entry.
struct Now<'a> {
    turn: &'a Turn,
    by: &'a str,
    events: &'a mut Vec<Event>,
}

/// An upgrade as it was asked for.
struct Upgrade {
    id: u32,
    to: Sha256Bytes,
    any_version: bool,
    keep_copy: bool,
    limits: NewLimits,
}

impl Applier {
    /// Carries out a change of the machines.
    ///
    /// # Errors
    /// When this machine fails; among others when a module is needed that is not loaded here.
    pub(crate) fn change(
        &mut self,
        given: &Given,
        turn: &Turn,
        events: &mut Vec<Event>,
    ) -> Result<Outcome, Fault> {
        let Ok(change) = Change::decode(&given.payload) else {
            return Ok(rejected(HostCode::MalformedCommand));
        };
        if let Change::Stage { sha256, total, offset, bytes } = &change {
            let part = Part { sha256: *sha256, total: *total, offset: *offset, bytes };
            let state = self.state.as_mut().expect("no call is going on");
            let registry = &self.rows.registry;
            let used = |sha256: &Sha256Bytes| registry.uses(sha256);
            let staged = self.rows.blobs.stage(state, &part, turn.time_ms, &used)?;
            return Ok(staged.map(|received| received.to_le_bytes().to_vec()));
        }
        let before = events.len();
        let now = Now { turn, by: &given.principal, events };
        let changed = self.all_or_nothing(|applier| applier.change_machine(change, now))?;
        if let Err(why) = &changed {
            events.truncate(before);
            tracing::warn!(index = turn.index.0, %why, "the machines stay as they are");
        }
        Ok(changed.map(|()| Vec::new()))
    }

    /// Undoes everything `work` did when it comes to a rejection.
    fn all_or_nothing(&mut self, work: impl FnOnce(&mut Applier) -> Tried<()>) -> Tried<()> {
        let state = self.state.as_mut().expect("no call is going on");
        self.rows.flush(state)?;
        state.savepoint()?;
        let done = work(self)?;
        let state = self.state.as_mut().expect("no call is going on");
        match &done {
            Ok(()) => state.release()?,
            Err(_) => {
                state.rollback_to()?;
                self.reload()?;
            }
        }
        Ok(done)
    }

    fn change_machine(&mut self, change: Change, mut now: Now<'_>) -> Tried<()> {
        let id = match change.machine().map(|name| (name, self.rows.registry.id_of(name))) {
            Some((_, Some(id))) => id,
            Some((name, None)) if !matches!(change, Change::Install { .. }) => {
                let text = format!("there is no machine {name:?}");
                return Ok(Err(Rejection::says(HostCode::UnknownMachine, text)));
            }
            _ => 0,
        };
        match change {
            Change::Stage { .. } => unreachable!("staged before"),
            Change::Install { machine, sha256, config, limits } => {
                self.install(&machine, &sha256, &config, &limits, now)
            }
            Change::Upgrade { sha256, expect, any_version, keep_copy, limits, .. } => {
                let runs = self.rows.registry.known(id).row.sha256;
                let upgrade = Upgrade { id, to: sha256, any_version, keep_copy, limits };
                match expected(&runs, &expect) {
                    Ok(()) => self.upgrade(upgrade, &mut now),
                    Err(why) => Ok(Err(why)),
                }
            }
            Change::Migrate { step, .. } => self.go_on_migrating(id, step, &mut now),
            Change::Rollback { expect, restore, .. } => {
                self.roll_back(id, &expect, restore, &mut now)
            }
            Change::Limit { limits, .. } => self.limit(id, &limits),
            Change::DropCopy { .. } => self.drop_copy(id),
            Change::Remove { expect, .. } => self.remove(id, &expect),
        }
    }

    fn install(
        &mut self,
        name: &str,
        sha256: &Sha256Bytes,
        config: &[u8],
        limits: &NewLimits,
        now: Now<'_>,
    ) -> Tried<()> {
        let checked = self.check_new_name(name).and_then(|()| limited(Limits::INSTALLED, limits));
        let limits = match checked {
            Ok(limits) => limits,
            Err(why) => return Ok(Err(why)),
        };
        let module = match self.module_for(name, sha256)? {
            Ok(module) => module,
            Err(why) => return Ok(Err(why)),
        };
        let row = new_row(&self.rows.registry, name, &module, limits, now.turn);
        let row = Registration { sha256: *sha256, changed_by: now.by.to_owned(), ..row };
        let id = row.id;
        let state = self.state.as_mut().expect("no call is going on");
        self.rows.registry.create(state, name, row, module)?;
        let began = self.init(id, config, now.turn, now.events)?;
        Ok(began.map(|_| ()))
    }

    /// Whether a machine may be created under this name.
    pub(crate) fn check_new_name(&self, name: &str) -> Result<(), Rejection> {
        let registry = &self.rows.registry;
        check_name(name, registry.id_of(name).map(|id| &registry.known_ref(id).row))?;
        if registry.count() >= MACHINES_MAX {
            let text = format!("there are {MACHINES_MAX} machines already, the most there may be");
            return Err(Rejection::says(HostCode::Quota, text));
        }
        Ok(())
    }

    /// A module that is to run, loaded.
    fn module_for(&self, machine: &str, sha256: &Sha256Bytes) -> Tried<Arc<Module>> {
        if !self.rows.blobs.is_complete(sha256) {
            let text = format!("the bytes of module {} are not all there", hex(sha256));
            return Ok(Err(Rejection::says(HostCode::ModuleMissing, text)));
        }
        let module = self.machines.of(machine, sha256)?;
        Ok(module.acceptable().map(|()| module))
    }

    fn upgrade(&mut self, upgrade: Upgrade, now: &mut Now<'_>) -> Tried<()> {
        let Upgrade { id, to, any_version, keep_copy, limits } = upgrade;
        let machine = self.rows.registry.known(id);
        let (name, old) = (Arc::clone(&machine.name), Arc::clone(&machine.module));
        let mut row = machine.row.clone();
        if row.migration.is_some() {
            return Ok(Err(conflict("a migration is under way; roll it back first")));
        }
        if row.sha256 == to {
            return Ok(Err(conflict("the machine runs this module already")));
        }
        let new = match self.module_for(&name, &to)? {
            Ok(new) => new,
            Err(why) => return Ok(Err(why)),
        };
        let checked = rises(&old, &new, any_version)
            .and_then(|()| reads(&new, row.schema))
            .and_then(|()| limited(row.limits, &limits));
        row.limits = match checked {
            Ok(limits) => limits,
            Err(why) => return Ok(Err(why)),
        };
        let state = self.state.as_mut().expect("no call is going on");
        copy::forget(state, id)?;
        (row.has_copy, row.wake_ms) = (false, self.rows.wakes.of(id));
        row.failure.clear();
        row.migration = Some(Migration { to, step: 0, keep_copy });
        self.rows.registry.replace(state, row, old)?;
        self.step(id, new, now)
    }

    /// The next step towards the module that a machine is migrated to.
    fn step(&mut self, id: u32, new: Arc<Module>, now: &mut Now<'_>) -> Tried<()> {
        let machine = self.rows.registry.known(id);
        let (mut row, old) = (machine.row.clone(), Arc::clone(&machine.module));
        let migration = row.migration.expect("a machine that is migrated");
        let progress = if row.schema == new.schema() {
            Progress::Done
        } else {
            // The new module runs under the row's name and limits, and sets aside what it changes.
            machine.module = Arc::clone(&new);
            let from = (row.schema, migration.step);
            let migrated = self.migrate(id, from, now.turn, now.events)?;
            self.rows.registry.known(id).module = Arc::clone(&old);
            match migrated {
                Ok(progress) => progress,
                Err(why) => return Ok(Err(why)),
            }
        };
        let state = self.state.as_mut().expect("no call is going on");
        if progress == Progress::More {
            if self.rows.outbox.count(id) > 0 {
                return Ok(Err(conflict("effects of the machine wait for their outcomes")));
            }
            row.migration = Some(Migration { step: migration.step + 1, ..migration });
            self.rows.registry.replace(state, row, old)?;
            return Ok(Ok(()));
        }
        if !migration.keep_copy {
            copy::forget(state, id)?;
        }
        row.previous = Some(Ran { sha256: row.sha256, schema: row.schema });
        (row.sha256, row.schema) = (migration.to, new.schema());
        (row.migration, row.has_copy) = (None, migration.keep_copy);
        sign(&mut row, now);
        self.rows.registry.replace(state, row, new)?;
        Ok(Ok(()))
    }

    /// A later step; when it fails, the machine is again what it was before the upgrade.
    fn go_on_migrating(&mut self, id: u32, step: u32, now: &mut Now<'_>) -> Tried<()> {
        let row = self.rows.registry.known(id).row.clone();
        let Some(migration) = row.migration.filter(|migration| migration.step == step) else {
            // Another leader proposed it, too.
            return Ok(Ok(()));
        };
        let name = self.rows.registry.name(id).to_owned();
        let new = self.machines.of(&name, &migration.to)?;
        let before = now.events.len();
        let mut why = None;
        let done = self.all_or_nothing(|applier| {
            let stepped = applier.step(id, new, now)?;
            why = stepped.clone().err();
            Ok(stepped)
        })?;
        if done.is_ok() {
            return Ok(Ok(()));
        }
        now.events.truncate(before);
        let why = why.expect("a step that failed says why");
        self.give_up_migration(id, &format!("step {step}: {} {}", why.code, why.message), now)?;
        Ok(Ok(()))
    }

    /// The rows are what they were before the migration began, and the old module runs.
    fn give_up_migration(&mut self, id: u32, why: &str, now: &mut Now<'_>) -> Result<(), Fault> {
        let state = self.state.as_mut().expect("no call is going on");
        copy::restore(state, id)?;
        let machine = self.rows.registry.known(id);
        let (mut row, old) = (machine.row.clone(), Arc::clone(&machine.module));
        self.rows.wakes.set(state, id, row.wake_ms)?;
        row.migration = None;
        row.failure = why[..why.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned();
        sign(&mut row, now);
        self.rows.registry.replace(state, row, old)
    }

    fn roll_back(
        &mut self,
        id: u32,
        expect: &Sha256Bytes,
        restore: bool,
        now: &mut Now<'_>,
    ) -> Tried<()> {
        let machine = self.rows.registry.known(id);
        let (mut row, name) = (machine.row.clone(), Arc::clone(&machine.name));
        if let Some(migration) = row.migration {
            if let Err(why) = expected(&migration.to, expect) {
                return Ok(Err(why));
            }
            self.give_up_migration(id, "rolled back", now)?;
            return Ok(Ok(()));
        }
        if let Err(why) = expected(&row.sha256, expect) {
            return Ok(Err(why));
        }
        let Some(previous) = row.previous else {
            return Ok(Err(conflict("the machine has run no other module")));
        };
        if !restore {
            let (to, limits) = (previous.sha256, Vec::new());
            let back = Upgrade { id, to, any_version: true, keep_copy: false, limits };
            return self.upgrade(back, now);
        }
        if !row.has_copy {
            return Ok(Err(conflict("no copy of the rows was kept by the upgrade")));
        }
        let module = match self.module_for(&name, &previous.sha256)? {
            Ok(module) => module,
            Err(why) => return Ok(Err(why)),
        };
        let state = self.state.as_mut().expect("no call is going on");
        copy::restore(state, id)?;
        self.rows.wakes.set(state, id, row.wake_ms)?;
        row.previous = Some(Ran { sha256: row.sha256, schema: row.schema });
        (row.sha256, row.schema, row.has_copy) = (previous.sha256, previous.schema, false);
        sign(&mut row, now);
        self.rows.registry.replace(state, row, module)?;
        Ok(Ok(()))
    }

    fn limit(&mut self, id: u32, limits: &NewLimits) -> Tried<()> {
        let machine = self.rows.registry.known(id);
        let (mut row, module) = (machine.row.clone(), Arc::clone(&machine.module));
        let oldest = |kept: u64| machine.next_event().saturating_sub(kept);
        row.limits = match limited(row.limits, limits) {
            Ok(limits) => limits,
            Err(why) => return Ok(Err(why)),
        };
        let oldest = oldest(row.limits.events_kept);
        let state = self.state.as_mut().expect("no call is going on");
        kept_events::trim(state, id, oldest)?;
        self.rows.registry.replace(state, row, module)?;
        Ok(Ok(()))
    }

    fn drop_copy(&mut self, id: u32) -> Tried<()> {
        let machine = self.rows.registry.known(id);
        let (mut row, module) = (machine.row.clone(), Arc::clone(&machine.module));
        if !row.has_copy || row.migration.is_some() {
            return Ok(Err(conflict("the machine has no kept copy")));
        }
        row.has_copy = false;
        let state = self.state.as_mut().expect("no call is going on");
        copy::forget(state, id)?;
        self.rows.registry.replace(state, row, module)?;
        Ok(Ok(()))
    }

    fn remove(&mut self, id: u32, expect: &Sha256Bytes) -> Tried<()> {
        let machine = self.rows.registry.known(id);
        if let Err(why) = expected(&machine.row.sha256, expect) {
            return Ok(Err(why));
        }
        if fixed_id(&machine.name).is_some() {
            let text = format!("the machine {:?} is built in and cannot be removed", machine.name);
            return Ok(Err(Rejection::says(HostCode::Conflict, text)));
        }
        let state = self.state.as_mut().expect("no call is going on");
        self.rows.outbox.clear(state, id)?;
        self.rows.wakes.set(state, id, 0)?;
        self.rows.registry.remove(state, id)?;
        Ok(Ok(()))
    }
}

/// The row of a machine that begins.
pub(crate) fn new_row(
    registry: &Registry,
    name: &str,
    module: &Module,
    limits: Limits,
    turn: &Turn,
) -> Registration {
    Registration {
        changed_at: turn.index,
        changed_ms: turn.time_ms,
        ..Registration::new(registry.id_for(name), module.schema(), limits)
    }
}

fn sign(row: &mut Registration, now: &Now<'_>) {
    (row.changed_at, row.changed_ms) = (now.turn.index, now.turn.time_ms);
    now.by.clone_into(&mut row.changed_by);
}

/// Whether a new machine may have this name; `taken` by the machine that has it.
pub(crate) fn check_name(name: &str, taken: Option<&Registration>) -> Result<(), Rejection> {
    if !is_name(name) {
        return Err(conflict(&format!(
            "{name:?} is no name for a machine: a lower-case letter, then up to {} lower-case \
             letters, digits, _ and -; not {MACHINES:?}",
            NAME_BYTES_MAX - 1
        )));
    }
    match taken {
        None => Ok(()),
        Some(row) => Err(conflict(&format!(
            "there is a machine {name:?} already, which runs module {}",
            hex(&row.sha256)
        ))),
    }
}

/// Whether a machine may be called so.
pub fn is_name(name: &str) -> bool {
    let tail = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    first && name.len() <= NAME_BYTES_MAX && name != MACHINES && name.as_bytes().iter().all(tail)
}

pub(crate) fn conflict(text: &str) -> Rejection {
    Rejection::says(HostCode::Conflict, text)
}

pub(crate) fn expected(runs: &Sha256Bytes, expect: &Sha256Bytes) -> Result<(), Rejection> {
    if runs == expect {
        return Ok(());
    }
    let (runs, expect) = (hex(runs), hex(expect));
    Err(conflict(&format!("the machine runs module {runs}, not {expect}")))
}

pub(crate) fn limited(limits: Limits, changes: &NewLimits) -> Result<Limits, Rejection> {
    limits.with(changes).map_err(|why| Rejection::says(HostCode::Quota, why))
}

/// An upgrade goes up, so that two administrators do not undo each other's by mistake.
pub(crate) fn rises(old: &Module, new: &Module, any_version: bool) -> Result<(), Rejection> {
    let (old, new) = (&old.manifest().version, &new.manifest().version);
    let above = match (semver::Version::parse(old), semver::Version::parse(new)) {
        (Ok(old), Ok(new)) => new > old,
        // Who began with a version that is none may leave it.
        (Err(_), Ok(_)) => true,
        (_, Err(_)) => false,
    };
    if above || any_version {
        return Ok(());
    }
    Err(conflict(&format!(
        "version {new} is not above {old}, which runs; any version can be forced"
    )))
}

/// Whether a module can read rows of this schema, as they are or after its migration.
pub(crate) fn reads(module: &Module, schema: u32) -> Result<(), Rejection> {
    let (from, to) = (module.manifest().migrates_from, module.schema());
    if (from..=to).contains(&schema) {
        return Ok(());
    }
    Err(conflict(&format!("the rows have schema {schema}; the module reads {from} to {to}")))
}
