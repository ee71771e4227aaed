//! The rules of sessions (Raft thesis, section 6.3), written down a second time and as short as
//! possible: the host's own code is what is checked, so it is not used here.

use std::collections::BTreeMap;

use pgraft_host::limits::{
    SESSION_BYTES_MAX, SESSION_IDLE_MS_MAX, SESSION_REPLIES_MAX, SESSIONS_BYTES_MAX, SESSIONS_MAX,
};
use pgraft_host::{HostCode, Outcome, Rejection};

/// Bytes that a remembered reply takes besides its own.
const FRAME_BYTES: usize = 17;

/// What a session knows of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is to be applied.
    No,
    /// It was applied before, and this came of it; or it may not be applied.
    Answer(Outcome),
}

#[derive(Clone, Debug, Default)]
struct Session {
    used_ms: u64,
    acked_below: u64,
    replies: BTreeMap<u64, Outcome>,
    /// What the replies take.
    bytes: usize,
}

/// The open sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions(BTreeMap<u64, Session>);

impl Sessions {
    /// Time passes: sessions that nobody used for long are closed.
    pub(super) fn pass(&mut self, now_ms: u64) {
        self.0.retain(|_, session| session.used_ms + SESSION_IDLE_MS_MAX >= now_ms);
    }

    pub(super) fn open(&mut self, id: u64, now_ms: u64) {
        if self.0.len() >= SESSIONS_MAX {
            self.close_oldest();
        }
        self.0.insert(id, Session { used_ms: now_ms, ..Session::default() });
    }

    /// What is known of command `seq`; its client has the replies below `acked_below`.
    pub(super) fn ask(&mut self, id: u64, seq: u64, acked_below: u64, now_ms: u64) -> Known {
        let refused = |code| Known::Answer(Err(Rejection::host(code)));
        let Some(session) = self.0.get_mut(&id) else { return refused(HostCode::SessionExpired) };
        session.used_ms = now_ms;
        session.acked_below = session.acked_below.max(acked_below);
        session.replies.retain(|seq, _| *seq >= session.acked_below);
        session.bytes = session.replies.values().map(bytes_of).sum();
        if seq < session.acked_below {
            return refused(HostCode::SessionExpired);
        }
        match session.replies.get(&seq) {
            Some(outcome) => Known::Answer(outcome.clone()),
            None if session.is_full() => refused(HostCode::Quota),
            None => Known::No,
        }
    }

    /// Command `seq` was applied.
    pub(super) fn note(&mut self, id: u64, seq: u64, outcome: &Outcome) {
        let Some(session) = self.0.get_mut(&id) else { return };
        if seq < session.acked_below {
            return;
        }
        let outcome = match session.bytes < SESSION_BYTES_MAX {
            true => outcome.clone(),
            false => Err(Rejection::host(HostCode::Quota)),
        };
        session.bytes += bytes_of(&outcome);
        session.replies.insert(seq, outcome);
        while self.0.values().map(|session| session.bytes).sum::<usize>() > SESSIONS_BYTES_MAX {
            self.close_oldest();
        }
    }

    fn close_oldest(&mut self) {
        let oldest = self.0.iter().min_by_key(|(id, session)| (session.used_ms, **id));
        let id = *oldest.expect("there are sessions to close").0;
        self.0.remove(&id);
    }
}

impl Session {
    fn is_full(&self) -> bool {
        self.replies.len() >= SESSION_REPLIES_MAX || self.bytes >= SESSION_BYTES_MAX
    }
}

fn bytes_of(outcome: &Outcome) -> usize {
    FRAME_BYTES
        + match outcome {
            Ok(reply) => reply.len(),
            Err(rejection) => rejection.message.len(),
        }
}
