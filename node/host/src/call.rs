//! What one call into a guest may see and has changed: the state behind the host functions.
//!
//! The store moves in for the call and is taken out afterwards; nothing of a call outlives it but
//! rows and the [`Changes`] that the host then keeps or drops. Not here: the functions as the
//! engine sees them (`imports.rs`) and what a failed call means (`invoke.rs`).

use std::sync::Arc;

use pgraft_engine::TOO_DEEP_TABLE_MAX;
use pgraft_replica::Index;
use pgraft_store::{Page, ReadTables};
use wasmtime::{ResourceLimiter, Result, format_err};
use xxhash_rust::xxh3::Xxh3;

use crate::copy;
use crate::fault::Fault;
use crate::interface::Level;
use crate::limits::{
    CALL_EFFECTS_MAX, EFFECT_BYTES_MAX, EFFECT_KIND_BYTES_MAX, EVENTS_BYTES_MAX, EVENTS_MAX,
    GET_MANY_BYTES_MAX, LOG_LINES_MAX, Limits, MARKS_MAX, PAGE_BYTES_MAX, PAGE_ROWS_MAX,
};
use crate::registration::Registration;
use crate::rejection::HostCode;
use crate::tables::{Tables, WriteTables};

/// The effect kind that only the membership machine may use.
const CONF_CHANGE: &str = "conf-change";
/// The effect kind by which machines reach each other.
pub(crate) const COMMAND: &str = "command";

/// Whose call it is.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) machine: u32,
    pub(crate) name: Arc<str>,
    pub(crate) index: Index,
    pub(crate) limits: Limits,
    /// Membership alone asks for configuration changes.
    pub(crate) may_change_conf: bool,
    /// Rows are set aside before they change.
    pub(crate) sets_aside: bool,
}

impl Who {
    /// A machine that asks for no configuration changes and sets nothing aside: of queries.
    pub(crate) fn of(name: &str, row: &Registration) -> Who {
        Who {
            machine: row.id,
            name: name.into(),
            index: Index::ZERO,
            limits: row.limits,
            may_change_conf: false,
            sets_aside: false,
        }
    }
}

/// An effect requested in this call.
#[derive(Clone, Debug)]
pub(crate) struct Requested {
    pub(crate) id: u64,
    pub(crate) kind: String,
    pub(crate) payload: Vec<u8>,
}

/// What a call did besides writing rows.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) events: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) effects: Vec<Requested>,
    /// The last `wake-at`, if any; 0 clears.
    pub(crate) wake: Option<u64>,
}

/// Where `rollback-to` goes back to; the store has a savepoint for each.
#[derive(Debug)]
struct Mark {
    id: u32,
    events: usize,
    effects: usize,
    wake: Option<u64>,
}

/// The state of one call.
pub(crate) struct Call {
    pub(crate) tables: Tables,
    pub(crate) who: Who,
    pub(crate) changes: Changes,
    /// The id of the machine's next effect. Goes up even when the request is undone.
    pub(crate) next_effect: u64,
    /// Everything the guest wrote, in order, also what it undid: part of the chain hash.
    pub(crate) written: Xxh3,
    /// Set by whatever ends the call on purpose; equal on every replica.
    pub(crate) ended: Option<HostCode>,
    /// Set when this machine failed; wins over everything.
    pub(crate) fault: Option<Fault>,
    /// Fuel that the guest and its host calls used; set when the call is over.
    pub(crate) fuel_used: u64,
    /// The instance is being made. A start function that asked the host for anything would make it
    /// differ from entry to entry; it may not.
    pub(crate) beginning: bool,
    marks: Vec<Mark>,
    next_mark: u32,
    written_bytes: u64,
    event_bytes: usize,
    log_lines: u32,
    growth_approved: bool,
}

impl Call {
    pub(crate) fn new(tables: Tables, who: Who, next_effect: u64) -> Call {
        Call {
            tables,
            who,
            changes: Changes::default(),
            next_effect,
            written: Xxh3::new(),
            ended: None,
            fault: None,
            fuel_used: 0,
            beginning: true,
            marks: Vec::new(),
            next_mark: 1,
            written_bytes: 0,
            event_bytes: 0,
            log_lines: 0,
            growth_approved: false,
        }
    }

    /// Ends the call with a reason that is equal on every replica.
    pub(crate) fn end<T>(&mut self, code: HostCode) -> Result<T> {
        self.ended.get_or_insert(code);
        Err(format_err!("the host ended the call: {code:?}"))
    }

    fn fail<T>(&mut self, fault: impl Into<Fault>) -> Result<T> {
        self.fault.get_or_insert(fault.into());
        Err(format_err!("the host failed"))
    }

    fn require(&mut self, condition: bool, code: HostCode) -> Result<()> {
        if condition { Ok(()) } else { self.end(code) }
    }

    fn require_key(&mut self, key: &[u8]) -> Result<()> {
        self.require(key.len() as u64 <= self.who.limits.key_bytes, HostCode::Quota)
    }

    fn read<T>(
        &mut self,
        read: impl FnOnce(&dyn ReadTables, u32) -> Result<T, pgraft_store::Fault>,
    ) -> Result<T> {
        let machine = self.who.machine;
        let outcome = match self.tables.reader() {
            Ok(tables) => read(tables, machine),
            Err(code) => return self.end(code),
        };
        outcome.or_else(|fault| self.fail(fault))
    }

    fn write<T>(
        &mut self,
        write: impl FnOnce(&mut dyn WriteTables, u32) -> Result<T, pgraft_store::Fault>,
    ) -> Result<T> {
        let machine = self.who.machine;
        let outcome = match self.tables.writer() {
            Ok(tables) => write(tables, machine),
            Err(code) => return self.end(code),
        };
        outcome.or_else(|fault| self.fail(fault))
    }

    /// Refuses what only a call that may change something may do.
    fn require_writer(&mut self) -> Result<()> {
        match self.tables.writer() {
            Ok(_) => Ok(()),
            Err(code) => self.end(code),
        }
    }

    /// Notes a write for the chain hash. Every part has its length, so that no two differ only in
    /// where one ends.
    fn note(&mut self, tag: u8, parts: [&[u8]; 2]) {
        let mut head = [tag, 0, 0, 0, 0, 0, 0, 0, 0];
        head[1..5].copy_from_slice(&(parts[0].len() as u32).to_le_bytes());
        head[5..9].copy_from_slice(&(parts[1].len() as u32).to_le_bytes());
        self.written.update(&head);
        for part in parts {
            self.written.update(part);
        }
    }
}

/// Rows.
impl Call {
    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.require_key(key)?;
        self.read(|tables, machine| tables.get(machine, key))
    }

    pub(crate) fn get_many<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        let (mut values, mut bytes) = (Vec::new(), 0);
        for key in keys {
            let value = self.get(key)?;
            bytes += value.as_ref().map_or(0, Vec::len);
            self.require(bytes <= GET_MANY_BYTES_MAX, HostCode::Quota)?;
            values.push(value);
        }
        Ok(values)
    }

    pub(crate) fn size_of(&mut self, key: &[u8]) -> Result<Option<u32>> {
        self.require_key(key)?;
        self.read(|tables, machine| tables.size_of(machine, key))
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.require_key(key)?;
        self.require(value.len() as u64 <= self.who.limits.value_bytes, HostCode::Quota)?;
        self.written_bytes += (key.len() + value.len()) as u64;
        self.require(self.written_bytes <= self.who.limits.written_bytes, HostCode::Quota)?;
        let total_bytes_max = self.who.limits.total_bytes;
        let sets_aside = self.who.sets_aside;
        let total = self.write(|tables, machine| {
            if sets_aside {
                copy::set_aside(tables, machine, key)?;
            }
            tables.put(machine, key, value)?;
            Ok(tables.size(machine))
        })?;
        self.require(total <= total_bytes_max, HostCode::Quota)?;
        self.note(1, [key, value]);
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<bool> {
        self.require_key(key)?;
        self.note(2, [key, &[]]);
        let sets_aside = self.who.sets_aside;
        self.write(|tables, machine| {
            if sets_aside {
                copy::set_aside(tables, machine, key)?;
            }
            tables.delete(machine, key)
        })
    }

    pub(crate) fn delete_range(&mut self, start: &[u8], end: &[u8]) -> Result<u64> {
        self.require_key(start)?;
        self.require_key(end)?;
        self.note(3, [start, end]);
        let sets_aside = self.who.sets_aside;
        self.write(|tables, machine| {
            if sets_aside {
                copy::set_range_aside(tables, machine, start, end)?;
            }
            tables.delete_range(machine, start, end)
        })
    }

    pub(crate) fn scan(
        &mut self,
        start: &[u8],
        end: &[u8],
        limit: u32,
        max_bytes: u32,
        reverse: bool,
        keys_only: bool,
    ) -> Result<Page> {
        self.require_key(start)?;
        self.require_key(end)?;
        // A page is cut at the host's limits like at the guest's: `more` says so.
        let (limit, max_bytes) = (limit.min(PAGE_ROWS_MAX), max_bytes.min(PAGE_BYTES_MAX));
        self.read(|tables, machine| {
            tables.scan(machine, start, end, limit, max_bytes, reverse, keys_only)
        })
    }

    pub(crate) fn count(&mut self, start: &[u8], end: &[u8], limit: u32) -> Result<u32> {
        self.require_key(start)?;
        self.require_key(end)?;
        self.read(|tables, machine| tables.count(machine, start, end, limit))
    }
}

/// Undo.
impl Call {
    pub(crate) fn mark(&mut self) -> Result<u32> {
        self.require(self.marks.len() < MARKS_MAX, HostCode::Quota)?;
        if let Ok(tables) = self.tables.writer()
            && let Err(fault) = tables.savepoint()
        {
            return self.fail(fault);
        }
        let id = self.next_mark;
        // Fuel ends a call long before it made 2^32 marks.
        self.next_mark = id.checked_add(1).expect("each mark costs fuel");
        let Changes { events, effects, wake } = &self.changes;
        self.marks.push(Mark { id, events: events.len(), effects: effects.len(), wake: *wake });
        Ok(id)
    }

    pub(crate) fn release(&mut self, id: u32) -> Result<()> {
        let place = self.place_of(id)?;
        for _ in place..self.marks.len() {
            if let Ok(tables) = self.tables.writer()
                && let Err(fault) = tables.release()
            {
                return self.fail(fault);
            }
        }
        self.marks.truncate(place);
        Ok(())
    }

    pub(crate) fn rollback_to(&mut self, id: u32) -> Result<()> {
        let place = self.place_of(id)?;
        for _ in place..self.marks.len() {
            if let Ok(tables) = self.tables.writer()
                && let Err(fault) = tables.rollback_to()
            {
                return self.fail(fault);
            }
        }
        let mark = &self.marks[place];
        self.changes.events.truncate(mark.events);
        self.changes.effects.truncate(mark.effects);
        self.changes.wake = mark.wake;
        self.marks.truncate(place);
        self.note(4, [&[], &[]]);
        Ok(())
    }

    fn place_of(&mut self, id: u32) -> Result<usize> {
        match self.marks.iter().rposition(|mark| mark.id == id) {
            Some(place) => Ok(place),
            None => self.end(HostCode::BadInterface),
        }
    }

    /// Closes the marks that the guest left open; the outer savepoint then stands on top again.
    pub(crate) fn close_marks(&mut self) -> Result<(), Fault> {
        if let Ok(tables) = self.tables.writer() {
            for _ in self.marks.drain(..) {
                tables.release()?;
            }
        }
        Ok(())
    }
}

/// Everything that is not a row.
impl Call {
    pub(crate) fn wake_at(&mut self, time_ms: u64) -> Result<()> {
        self.require_writer()?;
        self.changes.wake = Some(time_ms);
        Ok(())
    }

    pub(crate) fn emit(&mut self, topic: &[u8], payload: &[u8]) -> Result<()> {
        self.require_writer()?;
        // Counted also when undone: the buffers were needed.
        self.event_bytes += topic.len() + payload.len();
        let fits = self.changes.events.len() < EVENTS_MAX && self.event_bytes <= EVENTS_BYTES_MAX;
        self.require(fits, HostCode::Quota)?;
        self.changes.events.push((topic.to_vec(), payload.to_vec()));
        Ok(())
    }

    pub(crate) fn request(&mut self, kind: &str, payload: &[u8]) -> Result<u64> {
        self.require_writer()?;
        let fits = kind.len() <= EFFECT_KIND_BYTES_MAX && payload.len() <= EFFECT_BYTES_MAX;
        self.require(fits && self.changes.effects.len() < CALL_EFFECTS_MAX, HostCode::Quota)?;
        let allowed = kind == COMMAND || (kind == CONF_CHANGE && self.who.may_change_conf);
        self.require(allowed, HostCode::BadInterface)?;
        let id = self.next_effect;
        self.next_effect = id.checked_add(1).expect("effects are not numbered up to 2^64");
        self.note(5, [kind.as_bytes(), payload]);
        self.changes.effects.push(Requested { id, kind: kind.to_owned(), payload: payload.into() });
        Ok(id)
    }

    /// The guest's words, for people; cut and counted, never part of the state.
    pub(crate) fn log(&mut self, level: Level, message: &str) {
        self.log_lines += 1;
        if self.log_lines > LOG_LINES_MAX {
            return;
        }
        let cut = message.floor_char_boundary(crate::limits::LOG_LINE_BYTES_MAX);
        let (machine, index, message) = (&*self.who.name, self.who.index.0, &message[..cut]);
        match level {
            Level::Error => tracing::error!(machine, index, message, "machine says"),
            Level::Warn => tracing::warn!(machine, index, message, "machine says"),
            Level::Info => tracing::info!(machine, index, message, "machine says"),
            Level::Debug => tracing::debug!(machine, index, message, "machine says"),
        }
    }
}

impl ResourceLimiter for Call {
    fn memory_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        // Ending the call is better than -1, which lets the guest decide how to fail.
        let limit = usize::try_from(self.who.limits.memory_bytes).unwrap_or(usize::MAX);
        self.growth_approved = maximum.is_none_or(|maximum| desired <= maximum);
        self.require(desired <= limit, HostCode::OutOfMemory)?;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        // Beyond the memory's own declared maximum it fails everywhere: the guest gets -1.
        // Otherwise this machine had no memory to give.
        if std::mem::take(&mut self.growth_approved) {
            return self.fail(self.engine_fault("grow memory", &error));
        }
        Ok(())
    }

    fn table_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        // How a guest says that it recursed too deep; see depth.rs of pgraft-engine.
        let too_deep = desired > 0 && maximum == Some(TOO_DEEP_TABLE_MAX);
        self.require(!too_deep, HostCode::StackOverflow)?;
        self.require(desired <= pgraft_engine::TABLE_ELEMENTS_MAX, HostCode::OutOfMemory)?;
        Ok(true)
    }
}

impl Call {
    pub(crate) fn engine_fault(&self, doing: &'static str, error: &wasmtime::Error) -> Fault {
        Fault::Engine {
            doing,
            machine: self.who.name.to_string(),
            index: self.who.index,
            why: format!("{error:#}"),
        }
    }
}
