//! The types and functions of `statemachines/wit`, under the same names as the generated ones.
//!
//! A machine is compiled against either, so a difference here does not compile there.

/// What the log fixes about the entry being applied.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Raft index of the entry.
    pub index: u64,
    /// Raft term of the entry.
    pub term: u64,
    /// The only clock a machine has: unix ms, never going back.
    pub time_ms: u64,
    /// The only randomness a machine has.
    pub seed: u64,
}

/// Who sent a command.
#[derive(Clone, Debug)]
pub struct Caller {
    /// "" = anonymous, "sys:..." = the node itself.
    pub principal: String,
    /// 0 = no session.
    pub session: u64,
    /// Number of the command within its session.
    pub seq: u64,
}

/// A command as it stands in the log.
#[derive(Clone, Debug)]
pub struct Command {
    /// Who sent it.
    pub caller: Caller,
    /// What the machine reads.
    pub payload: Vec<u8>,
}

/// A rejection: part of the reply, equal on every replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// 1..=99 are the host's, 100.. the machine's.
    pub code: u32,
    /// For people.
    pub message: String,
}

/// Reply or rejection.
pub type Outcome = Result<Vec<u8>, Error>;

/// Why `react` is called.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// The time given to `wake_at` has come.
    Wake,
    /// An effect was carried out: its id and outcome.
    EffectDone((u64, Outcome)),
}

/// What a module says about itself.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Name of the module.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Schema of its data.
    pub schema: u32,
    /// The oldest schema it can migrate from.
    pub migrates_from: u32,
    /// Description for tools.
    pub api: String,
    /// Commands on different keys do not see each other's effects.
    pub keyed: bool,
}

/// Whether a migration needs another step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The data has the new schema.
    Done,
    /// Call again.
    More,
}

/// The machine's ordered keyspace.
pub mod storage {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use super::super::State;

    /// One page of a scan.
    #[derive(Clone, Debug)]
    pub struct Page {
        /// Packed rows, see [`crate::Rows`].
        pub rows: Vec<u8>,
        /// How many rows.
        pub count: u32,
        /// Whether the range goes on.
        pub more: bool,
    }

    /// The value of a key.
    pub fn get(key: &[u8]) -> Option<Vec<u8>> {
        State::current(|state| state.rows().get(key).cloned())
    }

    /// The values of several keys, in their order.
    pub fn get_many(keys: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
        keys.iter().map(|key| get(key)).collect()
    }

    /// The length of a value.
    pub fn size_of(key: &[u8]) -> Option<u32> {
        State::current(|state| state.rows().get(key).map(|value| value.len() as u32))
    }

    /// Writes a row.
    pub fn put(key: &[u8], value: &[u8]) {
        State::current(|state| state.put(key, value));
    }

    /// Deletes a row; true when it existed.
    pub fn delete(key: &[u8]) -> bool {
        State::current(|state| state.delete(key))
    }

    /// Deletes the rows of `[start, end)` and returns their number.
    pub fn delete_range(start: &[u8], end: &[u8]) -> u64 {
        State::current(|state| {
            let keys: Vec<Vec<u8>> =
                range(state.rows(), start, end).map(|(key, _)| key.clone()).collect();
            for key in &keys {
                state.delete(key);
            }
            keys.len() as u64
        })
    }

    /// One page of `[start, end)`.
    pub fn scan(
        start: &[u8],
        end: &[u8],
        limit: u32,
        max_bytes: u32,
        reverse: bool,
        keys_only: bool,
    ) -> Page {
        State::current(|state| {
            let rows = range(state.rows(), start, end);
            if reverse {
                page(rows.rev(), limit, max_bytes, keys_only)
            } else {
                page(rows, limit, max_bytes, keys_only)
            }
        })
    }

    /// The number of rows in `[start, end)`, counted no further than `limit`.
    pub fn count(start: &[u8], end: &[u8], limit: u32) -> u32 {
        State::current(|state| range(state.rows(), start, end).take(limit as usize).count() as u32)
    }

    /// A point to return to.
    pub fn mark() -> u32 {
        State::current(State::mark)
    }

    /// Forgets a mark and keeps what was written since.
    pub fn release(mark: u32) {
        State::current(|state| state.release(mark));
    }

    /// Undoes everything since a mark.
    pub fn rollback_to(mark: u32) {
        State::current(|state| state.rollback_to(mark));
    }

    /// Asks to be woken at a time; 0 = never.
    pub fn wake_at(time_ms: u64) {
        State::current(|state| state.set_wake_at(time_ms));
    }

    fn range<'a>(
        rows: &'a BTreeMap<Vec<u8>, Vec<u8>>,
        start: &[u8],
        end: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&'a Vec<u8>, &'a Vec<u8>)> + use<'a> {
        // BTreeMap panics on a range that ends before it starts; to the host it is just empty.
        let empty = !end.is_empty() && end <= start;
        let upper = match end {
            _ if empty => Bound::Excluded(start),
            [] => Bound::Unbounded,
            _ => Bound::Excluded(end),
        };
        rows.range::<[u8], _>((Bound::Included(start), upper))
    }

    fn page<'a>(
        rows: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>,
        limit: u32,
        max_bytes: u32,
        keys_only: bool,
    ) -> Page {
        let mut page = Page { rows: Vec::new(), count: 0, more: false };
        for (key, value) in rows {
            let value: &[u8] = if keys_only { &[] } else { value };
            let size = 8 + key.len() + value.len();
            let full = page.rows.len() + size > max_bytes as usize && page.count > 0;
            if page.count == limit || full {
                page.more = true;
                break;
            }
            page.rows.extend_from_slice(&(key.len() as u32).to_le_bytes());
            page.rows.extend_from_slice(&(value.len() as u32).to_le_bytes());
            page.rows.extend_from_slice(key);
            page.rows.extend_from_slice(value);
            page.count += 1;
        }
        page
    }
}

/// What the machine tells watchers.
pub mod events {
    use super::super::State;

    /// Emits an event.
    pub fn emit(topic: &[u8], payload: &[u8]) {
        State::current(|state| state.emit(topic, payload));
    }
}

/// What the machine asks of the world.
pub mod effects {
    use super::super::State;

    /// Requests an effect and returns its id.
    pub fn request(kind: &str, payload: &[u8]) -> u64 {
        State::current(|state| state.request(kind, payload))
    }
}

/// The node's log.
pub mod log {
    /// Who must act: a person (error), nobody (the others).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Level {
        /// Data is at risk.
        Error,
        /// Unexpected but handled.
        Warn,
        /// Rare and interesting.
        Info,
        /// Per command.
        Debug,
    }

    /// Writes a line; natively to standard error, which tests capture.
    pub fn write(level: Level, message: &str) {
        eprintln!("{level:?}: {message}");
    }
}
