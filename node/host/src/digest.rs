//! Finding divergence: each replica remembers the digests of its tables at every 64th entry, the
//! leader puts its own into the log, and who remembers others stops (DESIGN.md 4.11).
//!
//! The digests of all replicas are of the same moment, because the host's rows are written out
//! right before, whatever batch the entry was applied in.

use pgraft_replica::Index;
use pgraft_store::{ReadTables, StateStore};

use crate::command::{read_digests, write_digests};
use crate::copy;
use crate::fault::Fault;
use crate::fields::{Malformed, Reader, Writer};
use crate::kept_events;
use crate::limits::{DIGEST_STEP_ENTRIES, DIGESTS_KEPT, HOST};
use crate::registry::Registry;
use crate::rows;

/// Digests at an index: machine and digest, ascending, the host's own keyspace first.
pub(crate) type Taken = (Index, Vec<(u32, u128)>);

/// The newest digests; older ones are in the rows.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    newest: Taken,
}

impl Digests {
    pub(crate) fn load(state: &StateStore) -> Result<Digests, Fault> {
        let mut digests = Digests::default();
        for (_, row) in rows::all(state, rows::DIGESTS)? {
            let taken = decode(&row)?;
            if taken.0 > digests.newest.0 {
                digests.newest = taken;
            }
        }
        Ok(digests)
    }

    /// Whether digests are taken after this entry.
    pub(crate) fn are_due(index: Index) -> bool {
        index.0.is_multiple_of(DIGEST_STEP_ENTRIES)
    }

    /// Takes them. Everything of the host must be written out.
    pub(crate) fn take(
        &mut self,
        state: &mut StateStore,
        registry: &Registry,
        index: Index,
    ) -> Result<(), Fault> {
        assert!(Digests::are_due(index), "digests are not taken at {index}");
        let machines = std::iter::once(HOST).chain(registry.ids());
        let of = |machine: u32| match machine {
            HOST => state.digest(HOST),
            id => [id, copy::keyspace(id), kept_events::keyspace(id)]
                .into_iter()
                .fold(0, |sum: u128, keyspace| sum.wrapping_add(state.digest(keyspace))),
        };
        let digests: Vec<(u32, u128)> = machines.map(|machine| (machine, of(machine))).collect();
        let mut row = Writer::default();
        row.u64(index.0);
        write_digests(&mut row, &digests);
        state.put(HOST, &key(index), &row.0)?;
        self.newest = (index, digests);
        Ok(())
    }

    pub(crate) fn newest(&self) -> &Taken {
        &self.newest
    }

    /// Compares the leader's digests with this replica's own. Digests that were never taken here
    /// or are forgotten cannot be compared and pass.
    ///
    /// # Errors
    /// [`Fault::Diverged`], or when the disk fails.
    pub(crate) fn compare(
        state: &StateStore,
        registry: &Registry,
        index: Index,
        theirs: &[(u32, u128)],
    ) -> Result<(), Fault> {
        let Some(row) = ReadTables::get(state, HOST, &key(index))? else { return Ok(()) };
        let (at, ours) = decode(&row)?;
        if at != index {
            return Ok(());
        }
        let of = |digests: &[(u32, u128)], machine: u32| {
            let found = digests.iter().find(|(id, _)| *id == machine);
            found.map_or(0, |(_, digest)| *digest)
        };
        // The host's keyspace last: it differs whenever a machine's outcomes do, and then the
        // machine is the better name.
        for machine in registry.ids().chain([HOST]) {
            let (ours, theirs) = (of(&ours, machine), of(theirs, machine));
            if ours != theirs {
                let machine = registry.name(machine).to_owned();
                return Err(Fault::Diverged { index, machine, ours, theirs });
            }
        }
        Ok(())
    }
}

fn key(index: Index) -> Vec<u8> {
    let slot = index.0 / DIGEST_STEP_ENTRIES % DIGESTS_KEPT;
    rows::key(rows::DIGESTS, &[&slot.to_be_bytes()])
}

fn decode(row: &[u8]) -> Result<Taken, Fault> {
    let read = || -> Result<Taken, Malformed> {
        let mut fields = Reader(row);
        let taken = (Index(fields.u64()?), read_digests(&mut fields)?);
        fields.end()?;
        Ok(taken)
    };
    read().map_err(|Malformed| Fault::Row("digests"))
}
