//! The machines of the cluster: which module each runs, its limits, and its books.
//!
//! The chain hash rolls over everything a machine wrote and answered, entry by entry. It stands in
//! the host's keyspace, so that one digest (`digest.rs`) covers outcomes too: a replica that
//! answered differently and wrote the same is found as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use pgraft_replica::Index;
use pgraft_store::StateStore;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::call::Who;
use crate::change::Sha256Bytes;
use crate::copy;
use crate::fault::Fault;
use crate::fields::{Malformed, Reader, Writer};
use crate::kept_events;
use crate::limits::{HOST, Limits};
use crate::machines::{Machines, Module};
use crate::registration::Registration;
use crate::rejection::Outcome;
use crate::rows;
use crate::share::Share;

/// The machine that alone asks for configuration changes.
pub(crate) const MEMBERSHIP: &str = "membership";
/// Its id, known to snapshots and tools.
const MEMBERSHIP_ID: u32 = 1;
/// The key-value machine and its id.
const KV: (&str, u32) = ("kv", 2);
/// The first id for all others.
pub(crate) const OTHERS_ID: u32 = 3;

/// What is counted for a machine, written once per transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Books {
    chain: u128,
    share: Share,
    /// The number of its next event, from 0.
    next_event: u64,
}

impl Books {
    fn encode(self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u128(self.chain);
        self.share.write(&mut out);
        out.u64(self.next_event);
        out.0
    }

    fn decode(row: &[u8]) -> Result<Books, Malformed> {
        let mut fields = Reader(row);
        let (chain, share) = (fields.u128()?, Share::read(&mut fields)?);
        let books = Books { chain, share, next_event: fields.u64()? };
        fields.end()?;
        Ok(books)
    }
}

/// A machine that can run.
pub(crate) struct Machine {
    pub(crate) name: Arc<str>,
    pub(crate) row: Registration,
    pub(crate) module: Arc<Module>,
    pub(crate) next_effect: u64,
    books: Books,
    books_changed: bool,
}

impl Machine {
    fn new(name: &str, row: Registration, module: Arc<Module>) -> Machine {
        let (books, books_changed) = (Books::default(), false);
        Machine { name: name.into(), row, module, next_effect: 1, books, books_changed }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.row.limits
    }

    /// Whose call it is.
    pub(crate) fn who(&self, index: Index) -> Who {
        Who {
            machine: self.row.id,
            name: Arc::clone(&self.name),
            index,
            limits: self.row.limits,
            may_change_conf: &*self.name == MEMBERSHIP,
            sets_aside: self.row.sets_aside(),
        }
    }

    /// Rolls the chain over one step of an entry.
    pub(crate) fn chain(&mut self, index: Index, step: u128) {
        let mut link = [0; 40];
        link[..16].copy_from_slice(&self.books.chain.to_le_bytes());
        link[16..24].copy_from_slice(&index.0.to_le_bytes());
        link[24..].copy_from_slice(&step.to_le_bytes());
        self.books.chain = xxh3_128(&link);
        self.books_changed = true;
    }

    /// Whether its share of the applying thread lets it run now.
    pub(crate) fn may_run(&self, now_ms: u64) -> bool {
        self.books.share.admits(self.row.limits.share_fuel, now_ms)
    }

    /// It used fuel.
    pub(crate) fn charge(&mut self, fuel: u64, now_ms: u64) {
        self.books.share.charge(self.row.limits.share_fuel, fuel, now_ms);
        self.books_changed = true;
    }

    /// The number of its next event; that many further ones are numbered.
    pub(crate) fn number_events(&mut self, count: u64) -> u64 {
        let first = self.books.next_event;
        self.books.next_event += count;
        self.books_changed |= count > 0;
        first
    }

    pub(crate) fn next_event(&self) -> u64 {
        self.books.next_event
    }
}

/// One hash over outcomes, for the chain.
pub(crate) fn hash_outcomes<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> u128 {
    let mut hasher = Xxh3::new();
    for outcome in outcomes {
        let (code, bytes) = match outcome {
            Ok(reply) => (0, &reply[..]),
            Err(rejection) => (rejection.code, rejection.message.as_bytes()),
        };
        hasher.update(&code.to_le_bytes());
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hasher.digest128()
}

/// The id of a built-in machine.
pub(crate) fn fixed_id(name: &str) -> Option<u32> {
    match name {
        MEMBERSHIP => Some(MEMBERSHIP_ID),
        name if name == KV.0 => Some(KV.1),
        _ => None,
    }
}

/// Whether a machine comes with the program and cannot be removed.
pub fn is_built_in(name: &str) -> bool {
    fixed_id(name).is_some()
}

/// All machines, a mirror of their rows.
#[derive(Default)]
pub(crate) struct Registry {
    by_id: BTreeMap<u32, Machine>,
    by_name: BTreeMap<Arc<str>, u32>,
}

impl Registry {
    /// Reads the rows.
    ///
    /// # Errors
    /// When a row is malformed, a module is missing, or the disk fails.
    pub(crate) fn load(state: &StateStore, machines: &Machines) -> Result<Registry, Fault> {
        let mut registry = Registry::default();
        for (name, row) in rows::all(state, rows::MACHINE)? {
            let (name, row) = decode(name, &row)?;
            let module = machines.of(&name, &row.sha256)?;
            if let Some(migration) = row.migration {
                machines.of(&name, &migration.to)?;
            }
            registry.insert(Machine::new(&name, row, module));
        }
        for (id, row) in rows::all(state, rows::BOOKS)? {
            let books = Books::decode(&row).map_err(|Malformed| Fault::Row("books"))?;
            registry.row_of(&id)?.books = books;
        }
        for (id, row) in rows::all(state, rows::NEXT_EFFECT)? {
            let next = row.try_into().map_err(|_| Fault::Row("next effect"))?;
            registry.row_of(&id)?.next_effect = u64::from_le_bytes(next);
        }
        Ok(registry)
    }

    fn row_of(&mut self, id: &[u8]) -> Result<&mut Machine, Fault> {
        let id = rows::machine_of(id)?;
        self.by_id.get_mut(&id).ok_or(Fault::Row("row of an unknown machine"))
    }

    fn insert(&mut self, machine: Machine) {
        let (name, id) = (Arc::clone(&machine.name), machine.row.id);
        assert!(self.by_id.insert(id, machine).is_none(), "two machines with id {id}");
        self.by_name.insert(name, id);
    }

    /// Creates a machine under the id that its row says.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn create(
        &mut self,
        state: &mut StateStore,
        name: &str,
        row: Registration,
        module: Arc<Module>,
    ) -> Result<(), Fault> {
        write(state, name, &row)?;
        self.insert(Machine::new(name, row, module));
        Ok(())
    }

    /// The id for a new machine: fixed for the built-in ones, else the lowest that is free. Nothing
    /// is left of a machine that had it before.
    pub(crate) fn id_for(&self, name: &str) -> u32 {
        let free = || (OTHERS_ID..).find(|id| !self.by_id.contains_key(id));
        fixed_id(name).or_else(free).expect("there are fewer machines than numbers")
    }

    /// Has a machine run `module` from here on, and be what `row` says.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn replace(
        &mut self,
        state: &mut StateStore,
        row: Registration,
        module: Arc<Module>,
    ) -> Result<(), Fault> {
        let machine = self.known(row.id);
        let name = Arc::clone(&machine.name);
        (machine.row, machine.module) = (row, module);
        write(state, &name, &self.known_ref(self.by_name[&name]).row)
    }

    /// Removes a machine and all its rows, but for its effects and its time to be woken.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn remove(&mut self, state: &mut StateStore, id: u32) -> Result<(), Fault> {
        let machine = self.by_id.remove(&id).expect("it was looked up a moment ago");
        self.by_name.remove(&machine.name);
        for keyspace in [id, copy::keyspace(id), kept_events::keyspace(id)] {
            state.delete_range(keyspace, &[], &[])?;
        }
        let id = id.to_be_bytes();
        let rows = [
            rows::key(rows::MACHINE, &[machine.name.as_bytes()]),
            rows::key(rows::BOOKS, &[&id]),
            rows::key(rows::NEXT_EFFECT, &[&id]),
        ];
        for key in rows {
            state.delete(HOST, &key)?;
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn id_of(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// A machine that was looked up before, in the same segment of an entry.
    pub(crate) fn known(&mut self, id: u32) -> &mut Machine {
        self.by_id.get_mut(&id).expect("it was looked up before")
    }

    pub(crate) fn known_ref(&self, id: u32) -> &Machine {
        self.by_id.get(&id).expect("it was looked up before")
    }

    pub(crate) fn name(&self, id: u32) -> &str {
        self.by_id.get(&id).map_or("host", |machine| &machine.name)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> {
        self.by_id.keys().copied()
    }

    /// Whether any machine runs a module, ran it before, or will.
    pub(crate) fn uses(&self, sha256: &Sha256Bytes) -> bool {
        self.by_id.values().any(|machine| machine.row.uses(sha256))
    }

    /// Whether a machine is between two schemas.
    pub(crate) fn is_migrating(&self, id: u32) -> bool {
        self.by_id.get(&id).is_some_and(|machine| machine.row.migration.is_some())
    }

    /// A machine whose migration wants another step, and which.
    pub(crate) fn next_migration(&self) -> Option<(&str, u32)> {
        self.by_id.values().find_map(|machine| {
            machine.row.migration.map(|migration| (&*machine.name, migration.step))
        })
    }

    /// Writes the id of a machine's next effect.
    pub(crate) fn set_next_effect(
        &mut self,
        state: &mut StateStore,
        id: u32,
        next: u64,
    ) -> Result<(), Fault> {
        let machine = self.known(id);
        if machine.next_effect != next {
            machine.next_effect = next;
            let key = rows::key(rows::NEXT_EFFECT, &[&id.to_be_bytes()]);
            state.put(HOST, &key, &next.to_le_bytes())?;
        }
        Ok(())
    }

    /// Writes the books that changed since.
    pub(crate) fn flush(&mut self, state: &mut StateStore) -> Result<(), Fault> {
        for (id, machine) in self.by_id.iter_mut().filter(|(_, machine)| machine.books_changed) {
            let key = rows::key(rows::BOOKS, &[&id.to_be_bytes()]);
            state.put(HOST, &key, &machine.books.encode())?;
            machine.books_changed = false;
        }
        Ok(())
    }
}

/// A machine's name and row.
pub(crate) fn decode(name: Vec<u8>, row: &[u8]) -> Result<(String, Registration), Fault> {
    let name = String::from_utf8(name).map_err(|_| Fault::Row("machine name"))?;
    let row = Registration::decode(row).map_err(|Malformed| Fault::Row("machine"))?;
    Ok((name, row))
}

fn write(state: &mut StateStore, name: &str, row: &Registration) -> Result<(), Fault> {
    let key = rows::key(rows::MACHINE, &[name.as_bytes()]);
    Ok(state.put(HOST, &key, &row.encode())?)
}
