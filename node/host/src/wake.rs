//! When machines want to be woken. The leader compares with its clock and proposes; whether it is
//! time is decided again when the entry is applied, by the entry's time.

use std::collections::BTreeMap;

use pgraft_store::StateStore;

use crate::fault::Fault;
use crate::limits::HOST;
use crate::rows;

/// The wake times, a mirror of their rows.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    times: BTreeMap<u32, u64>,
}

impl Wakes {
    pub(crate) fn load(state: &StateStore) -> Result<Wakes, Fault> {
        let mut wakes = Wakes::default();
        for (key, row) in rows::all(state, rows::WAKE)? {
            let time = row.try_into().map_err(|_| Fault::Row("wake time"))?;
            wakes.times.insert(rows::machine_of(&key)?, u64::from_le_bytes(time));
        }
        Ok(wakes)
    }

    /// Sets a machine's time, Unix milliseconds; 0 clears it.
    pub(crate) fn set(
        &mut self,
        state: &mut StateStore,
        machine: u32,
        time_ms: u64,
    ) -> Result<(), Fault> {
        let key = rows::key(rows::WAKE, &[&machine.to_be_bytes()]);
        if time_ms != 0 {
            self.times.insert(machine, time_ms);
            state.put(HOST, &key, &time_ms.to_le_bytes())?;
        } else if self.times.remove(&machine).is_some() {
            state.delete(HOST, &key)?;
        }
        Ok(())
    }

    /// A machine's time; 0 when it has none.
    pub(crate) fn of(&self, machine: u32) -> u64 {
        self.times.get(&machine).copied().unwrap_or(0)
    }

    /// Whether a machine is to be woken at `now_ms`.
    pub(crate) fn due(&self, machine: u32, now_ms: u64) -> bool {
        self.times.get(&machine).is_some_and(|time_ms| *time_ms <= now_ms)
    }

    /// The earliest time of the machines that `may` be woken, and whose it is.
    pub(crate) fn next(&self, may: impl Fn(u32) -> bool) -> Option<(u32, u64)> {
        let times = self.times.iter().filter(|(machine, _)| may(**machine));
        let earliest = times.min_by_key(|(machine, time_ms)| (**time_ms, **machine));
        earliest.map(|(machine, time_ms)| (*machine, *time_ms))
    }
}
