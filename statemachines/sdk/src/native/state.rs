//! The rows, and the journal that undoes them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem;

use super::{Effect, Event};

/// Largest key the host stores, in bytes.
pub(super) const STORED_KEY_BYTES_MAX: usize = 2 << 10;
/// Largest value the host stores, in bytes.
pub(super) const STORED_VALUE_BYTES_MAX: usize = 2 << 20;

thread_local! {
    /// The state of the machine that is being called on this thread.
    static CURRENT: RefCell<State> = RefCell::default();
}

/// Everything a machine has outside its own memory.
#[derive(Debug, Default)]
pub struct State {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Old values in the order they were replaced; undone from the back.
    journal: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    marks: Vec<Mark>,
    events: Vec<Event>,
    effects: Vec<Effect>,
    effects_asked: u64,
    wake_at_ms: u64,
    read_only: bool,
}

/// How far everything had come when `mark` was called.
#[derive(Debug)]
struct Mark {
    journal: usize,
    events: usize,
    effects: usize,
    effects_asked: u64,
    wake_at_ms: u64,
}

impl State {
    /// Calls `call` with this state behind the functions of `storage`, `events` and `effects`.
    pub(super) fn lend<T>(&mut self, read_only: bool, call: impl FnOnce() -> T) -> T {
        self.read_only = read_only;
        CURRENT.with_borrow_mut(|current| mem::swap(current, self));
        let result = call();
        CURRENT.with_borrow_mut(|current| mem::swap(current, self));
        result
    }

    /// The state that is lent to the machine now.
    pub(super) fn current<T>(look: impl FnOnce(&mut State) -> T) -> T {
        CURRENT.with_borrow_mut(look)
    }

    pub(super) fn rows(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.rows
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.assert_writable();
        assert!(key.len() <= STORED_KEY_BYTES_MAX, "key of {} bytes", key.len());
        assert!(value.len() <= STORED_VALUE_BYTES_MAX, "value of {} bytes", value.len());
        let old = self.rows.insert(key.to_vec(), value.to_vec());
        self.journal.push((key.to_vec(), old));
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> bool {
        self.assert_writable();
        let old = self.rows.remove(key);
        let existed = old.is_some();
        if existed {
            self.journal.push((key.to_vec(), old));
        }
        existed
    }

    pub(super) fn mark(&mut self) -> u32 {
        self.marks.push(Mark {
            journal: self.journal.len(),
            events: self.events.len(),
            effects: self.effects.len(),
            effects_asked: self.effects_asked,
            wake_at_ms: self.wake_at_ms,
        });
        self.marks.len() as u32
    }

    pub(super) fn release(&mut self, mark: u32) {
        assert!((1..=self.marks.len()).contains(&(mark as usize)), "mark {mark} is not known");
        self.marks.truncate(mark as usize - 1);
    }

    pub(super) fn rollback_to(&mut self, mark: u32) {
        assert!((1..=self.marks.len()).contains(&(mark as usize)), "mark {mark} is not known");
        self.marks.truncate(mark as usize);
        let back = self.marks.pop().expect("the mark was just found");
        for (key, old) in self.journal.drain(back.journal..).rev() {
            match old {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        self.events.truncate(back.events);
        self.effects.truncate(back.effects);
        self.effects_asked = back.effects_asked;
        self.wake_at_ms = back.wake_at_ms;
    }

    /// Ends an entry: what was written stays.
    pub(super) fn forget_marks(&mut self) {
        self.marks.clear();
        self.journal.clear();
    }

    pub(super) fn emit(&mut self, topic: &[u8], payload: &[u8]) {
        self.assert_writable();
        self.events.push((topic.to_vec(), payload.to_vec()));
    }

    pub(super) fn request(&mut self, kind: &str, payload: &[u8]) -> u64 {
        self.assert_writable();
        self.effects_asked += 1;
        let id = self.effects_asked;
        self.effects.push(Effect { id, kind: kind.to_owned(), payload: payload.to_vec() });
        id
    }

    pub(super) fn set_wake_at(&mut self, time_ms: u64) {
        self.assert_writable();
        self.wake_at_ms = time_ms;
    }

    pub(super) fn clear_wake(&mut self) {
        self.wake_at_ms = 0;
    }

    pub(super) fn wake_at(&self) -> Option<u64> {
        (self.wake_at_ms != 0).then_some(self.wake_at_ms)
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        mem::take(&mut self.events)
    }

    pub(super) fn effects(&self) -> &[Effect] {
        &self.effects
    }

    pub(super) fn effects_mut(&mut self) -> &mut Vec<Effect> {
        &mut self.effects
    }

    fn assert_writable(&self) {
        assert!(!self.read_only, "a query or check wrote something");
    }
}
