//! The gateway's session: numbers for requests, so that a repeated one is applied once (① of the
//! way of a write; Raft thesis, section 6.3).
//!
//! One session per start of a node, opened through the log before the first command. Replies are
//! remembered on every replica until `acked_below` passes them. Not here: the replicated side,
//! which is pgraft-host's `sessions.rs`.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The numbers of one command: given out once, sent as often as needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId {
    /// The session.
    pub(crate) session: u64,
    /// The command's number in it, from 1.
    pub(crate) seq: u64,
}

/// The session of this node's gateway.
#[derive(Default)]
pub(crate) struct Session {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// 0 = none is open.
    session: u64,
    next: u64,
    outstanding: BTreeSet<u64>,
}

impl Session {
    /// The open session, if there is one.
    pub(crate) fn current(&self) -> Option<u64> {
        let session = self.lock().session;
        (session != 0).then_some(session)
    }

    /// A session was opened in the log; numbers begin anew.
    pub(crate) fn opened(&self, session: u64) {
        assert_ne!(session, 0, "0 means no session");
        *self.lock() = State { session, next: 1, outstanding: BTreeSet::new() };
    }

    /// The log says that this session expired; another may have been opened meanwhile.
    pub(crate) fn expired(&self, session: u64) {
        let mut state = self.lock();
        if state.session == session {
            *state = State::default();
        }
    }

    /// A number for a new command; `None` when no session is open.
    pub(crate) fn begin(&self) -> Option<RequestId> {
        let mut state = self.lock();
        if state.session == 0 {
            return None;
        }
        let seq = state.next;
        state.next += 1;
        state.outstanding.insert(seq);
        Some(RequestId { session: state.session, seq })
    }

    /// All commands below are answered and their replies may be forgotten.
    pub(crate) fn acked_below(&self, id: RequestId) -> u64 {
        let state = self.lock();
        if state.session != id.session {
            return 0;
        }
        state.outstanding.first().copied().unwrap_or(state.next)
    }

    /// The command was answered, or nobody waits for it any more.
    pub(crate) fn end(&self, id: RequestId) {
        let mut state = self.lock();
        if state.session == id.session {
            state.outstanding.remove(&id.seq);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every method leaves the state whole, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_given_up_in_order_only() {
        let session = Session::default();
        assert_eq!(session.begin(), None);
        session.opened(5);
        let (first, second) = (session.begin().unwrap(), session.begin().unwrap());
        session.end(second);
        assert_eq!(session.acked_below(first), 1, "the first is still outstanding");
        session.end(first);
        assert_eq!(session.acked_below(second), 3);
    }

    #[test]
    fn a_late_end_does_not_touch_the_next_session() {
        let session = Session::default();
        session.opened(5);
        let old = session.begin().unwrap();
        session.expired(5);
        session.opened(6);
        let new = session.begin().unwrap();
        session.end(old);
        assert_eq!(session.acked_below(new), 1);
        session.expired(5);
        assert_eq!(session.current(), Some(6));
    }
}
