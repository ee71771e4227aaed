//! Effects that machines asked for and that the leader has yet to perform, at least once each.

use std::collections::BTreeMap;

use bytes::Bytes;
use pgraft_store::StateStore;

use crate::call::{COMMAND, Requested};
use crate::fault::Fault;
use crate::fields::{Malformed, Reader, Writer};
use crate::limits::HOST;
use crate::registry::Registry;
use crate::rows;

/// Commands of one machine for others that a leader is told of at once.
const COMMANDS_AT_ONCE: usize = 64;

/// Something to be done outside the state machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Who asked.
    pub machine: u32,
    /// Its name.
    pub machine_name: String,
    /// Under which id the outcome comes back.
    pub id: u64,
    /// What kind of thing; "conf-change" comes from membership alone.
    pub kind: String,
    /// The rest is between the machine and whoever performs it.
    pub payload: Vec<u8>,
}

/// The waiting effects, a mirror of their rows.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: BTreeMap<(u32, u64), (String, Vec<u8>)>,
}

impl Outbox {
    pub(crate) fn load(state: &StateStore) -> Result<Outbox, Fault> {
        let mut outbox = Outbox::default();
        for (key, row) in rows::all(state, rows::EFFECT)? {
            let effect = decode(&key, &row).map_err(|Malformed| Fault::Row("effect"))?;
            outbox.waiting.insert(effect.0, effect.1);
        }
        Ok(outbox)
    }

    pub(crate) fn add(
        &mut self,
        state: &mut StateStore,
        machine: u32,
        effect: Requested,
    ) -> Result<(), Fault> {
        let Requested { id, kind, payload } = effect;
        let mut row = Writer::default();
        row.bytes(kind.as_bytes());
        row.bytes(&payload);
        state.put(HOST, &key(machine, id), &row.0)?;
        let old = self.waiting.insert((machine, id), (kind, payload));
        assert!(old.is_none(), "effect {id} of machine {machine} was requested twice");
        Ok(())
    }

    /// Removes an effect; false when it does not wait (any more).
    pub(crate) fn remove(
        &mut self,
        state: &mut StateStore,
        machine: u32,
        id: u64,
    ) -> Result<bool, Fault> {
        if self.waiting.remove(&(machine, id)).is_none() {
            return Ok(false);
        }
        assert!(state.delete(HOST, &key(machine, id))?, "the mirror shows what the rows hold");
        Ok(true)
    }

    /// The command for another machine that an effect is; its name, when it is spelled right.
    pub(crate) fn command(&self, machine: u32, id: u64) -> Option<(Option<String>, Bytes)> {
        let (kind, payload) = self.waiting.get(&(machine, id))?;
        if kind != COMMAND {
            return None;
        }
        let mut fields = Reader(payload);
        match fields.string() {
            Ok(target) => Some((Some(target.to_owned()), Bytes::copy_from_slice(fields.0))),
            Err(Malformed) => Some((None, Bytes::new())),
        }
    }

    /// Forgets the effects of a machine that is removed.
    pub(crate) fn clear(&mut self, state: &mut StateStore, machine: u32) -> Result<(), Fault> {
        let effects = self.waiting.range((machine, 0)..=(machine, u64::MAX));
        let ids: Vec<u64> = effects.map(|((_, id), _)| *id).collect();
        for id in ids {
            self.remove(state, machine, id)?;
        }
        Ok(())
    }

    /// How many effects of a machine wait.
    pub(crate) fn count(&self, machine: u32) -> usize {
        self.waiting.range((machine, 0)..=(machine, u64::MAX)).count()
    }

    /// All, oldest first per machine.
    pub(crate) fn list(&self, registry: &Registry) -> Vec<Effect> {
        let effect = |(&(machine, id), (kind, payload)): (&(u32, u64), &(String, Vec<u8>))| {
            let machine_name = registry.name(machine).to_owned();
            Effect { machine, machine_name, id, kind: kind.clone(), payload: payload.clone() }
        };
        self.waiting.iter().map(effect).collect()
    }

    /// What a leader is to do, oldest first per machine. A command for another machine is performed
    /// where it lies, so only its place is told, and no more than some of them at once.
    pub(crate) fn due(&self, registry: &Registry) -> Vec<Effect> {
        let (mut effects, mut commands) = (Vec::new(), BTreeMap::<u32, usize>::new());
        for (&(machine, id), (kind, payload)) in &self.waiting {
            let mut payload = &payload[..];
            if kind == COMMAND {
                let told = commands.entry(machine).or_default();
                *told += 1;
                if *told > COMMANDS_AT_ONCE {
                    continue;
                }
                payload = &[];
            }
            let (machine_name, kind) = (registry.name(machine).to_owned(), kind.clone());
            effects.push(Effect { machine, machine_name, id, kind, payload: payload.to_vec() });
        }
        effects
    }
}

fn key(machine: u32, id: u64) -> Vec<u8> {
    rows::key(rows::EFFECT, &[&machine.to_be_bytes(), &id.to_be_bytes()])
}

type Waiting = ((u32, u64), (String, Vec<u8>));

fn decode(key: &[u8], row: &[u8]) -> Result<Waiting, Malformed> {
    let mut fields = Reader(key);
    let machine = u32::from_be_bytes(fields.array()?);
    let id = u64::from_be_bytes(fields.array()?);
    fields.end()?;
    let mut fields = Reader(row);
    let (kind, payload) = (fields.string()?.to_owned(), fields.bytes()?.to_vec());
    fields.end()?;
    Ok(((machine, id), (kind, payload)))
}
