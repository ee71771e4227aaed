//! The machines of the cluster: which module each runs, its limits, and its chain hash.
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
use crate::fault::Fault;
use crate::fields::{Malformed, Reader, Writer};
use crate::limits::{HOST, Limits, MACHINES_MAX, NAME_BYTES_MAX};
use crate::machines::{Machines, Module};
use crate::rejection::Outcome;
use crate::rows;

/// The machine that alone asks for configuration changes.
pub(crate) const MEMBERSHIP: &str = "membership";
/// Its id, known to snapshots and tools.
const MEMBERSHIP_ID: u32 = 1;
/// The key-value machine and its id.
const KV: (&str, u32) = ("kv", 2);
/// The first id for all others.
pub(crate) const OTHERS_ID: u32 = 3;

const ROW_VERSION: u8 = 1;

/// A machine as its row says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) id: u32,
    pub(crate) sha256: [u8; 32],
    pub(crate) schema: u32,
    pub(crate) limits: Limits,
}

impl Registration {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(ROW_VERSION);
        out.u32(self.id);
        out.raw(&self.sha256);
        out.u32(self.schema);
        let Limits {
            command_fuel,
            entry_fuel,
            memory_bytes,
            key_bytes,
            value_bytes,
            written_bytes,
            total_bytes,
        } = self.limits;
        let limits = [command_fuel, entry_fuel, memory_bytes, key_bytes, value_bytes];
        limits.into_iter().chain([written_bytes, total_bytes]).for_each(|limit| out.u64(limit));
        out.0
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Registration, Malformed> {
        let mut fields = Reader(row);
        if fields.u8()? != ROW_VERSION {
            return Err(Malformed);
        }
        let registration = Registration {
            id: fields.u32()?,
            sha256: fields.array()?,
            schema: fields.u32()?,
            limits: Limits {
                command_fuel: fields.u64()?,
                entry_fuel: fields.u64()?,
                memory_bytes: fields.u64()?,
                key_bytes: fields.u64()?,
                value_bytes: fields.u64()?,
                written_bytes: fields.u64()?,
                total_bytes: fields.u64()?,
            },
        };
        fields.end()?;
        Ok(registration)
    }
}

/// A machine that can run.
pub(crate) struct Machine {
    pub(crate) id: u32,
    pub(crate) name: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) module: Arc<Module>,
    pub(crate) next_effect: u64,
    chain: u128,
    chain_changed: bool,
}

impl Machine {
    /// Whose call it is.
    pub(crate) fn who(&self, index: Index) -> Who {
        Who {
            machine: self.id,
            name: Arc::clone(&self.name),
            index,
            limits: self.limits,
            may_change_conf: &*self.name == MEMBERSHIP,
        }
    }

    /// Rolls the chain over one step of an entry.
    pub(crate) fn chain(&mut self, index: Index, step: u128) {
        let mut link = [0; 40];
        link[..16].copy_from_slice(&self.chain.to_le_bytes());
        link[16..24].copy_from_slice(&index.0.to_le_bytes());
        link[24..].copy_from_slice(&step.to_le_bytes());
        self.chain = xxh3_128(&link);
        self.chain_changed = true;
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
            let name = String::from_utf8(name).map_err(|_| Fault::Row("machine name"))?;
            let row = Registration::decode(&row).map_err(|Malformed| Fault::Row("machine"))?;
            let module = machines.of(&name, &row.sha256)?;
            registry.insert(&name, &row, module);
        }
        for (id, row) in rows::all(state, rows::CHAIN)? {
            let chain = row.try_into().map_err(|_| Fault::Row("chain hash"))?;
            registry.row_of(&id)?.chain = u128::from_le_bytes(chain);
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

    fn insert(&mut self, name: &str, row: &Registration, module: Arc<Module>) {
        let name: Arc<str> = name.into();
        let machine = Machine {
            id: row.id,
            name: Arc::clone(&name),
            limits: row.limits,
            module,
            next_effect: 1,
            chain: 0,
            chain_changed: false,
        };
        assert!(self.by_id.insert(row.id, machine).is_none(), "two machines with id {}", row.id);
        self.by_name.insert(name, row.id);
    }

    /// Creates a machine. Its id is fixed for the built-in ones, else the next free one.
    ///
    /// # Errors
    /// When the name is taken or malformed, or the disk fails.
    pub(crate) fn create(
        &mut self,
        state: &mut StateStore,
        name: &str,
        sha256: [u8; 32],
        module: Arc<Module>,
    ) -> Result<u32, Fault> {
        let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        if !fits || self.by_name.contains_key(name) || self.by_id.len() >= MACHINES_MAX {
            return Err(Fault::Bootstrap(format!("machine {name:?} cannot be created")));
        }
        let next_free =
            || self.by_id.last_key_value().map_or(OTHERS_ID, |(id, _)| OTHERS_ID.max(id + 1));
        let id = fixed_id(name).unwrap_or_else(next_free);
        let schema = module.schema();
        let row = Registration { id, sha256, schema, limits: Limits::DEFAULT };
        state.put(HOST, &rows::key(rows::MACHINE, &[name.as_bytes()]), &row.encode())?;
        self.insert(name, &row, module);
        Ok(id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn id_of(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// A machine that was looked up before.
    pub(crate) fn known(&mut self, id: u32) -> &mut Machine {
        self.by_id.get_mut(&id).expect("machines are not removed")
    }

    pub(crate) fn name(&self, id: u32) -> &str {
        self.by_id.get(&id).map_or("host", |machine| &machine.name)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> {
        self.by_id.keys().copied()
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

    /// Writes the chain hashes that moved since.
    pub(crate) fn flush(&mut self, state: &mut StateStore) -> Result<(), Fault> {
        for machine in self.by_id.values_mut().filter(|machine| machine.chain_changed) {
            let key = rows::key(rows::CHAIN, &[&machine.id.to_be_bytes()]);
            state.put(HOST, &key, &machine.chain.to_le_bytes())?;
            machine.chain_changed = false;
        }
        Ok(())
    }
}
