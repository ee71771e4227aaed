//! Exactly once: the replies of each session, until the client acknowledged them (Raft thesis,
//! section 6.3).
//!
//! A command carries session, number, and below which number all replies arrived. A number seen
//! before is answered from here and not applied again. Sessions expire by the time of the log and
//! by count, so on all replicas at the same entry. Not here: who may use a session (the gateway's
//! affair), and clocks.
//!
//! Rows: time of last use u64, acknowledged below u64, count u32, then number u64 and outcome per
//! reply. A row is written at most once per transaction, however many commands touched it.

use std::collections::{BTreeMap, BTreeSet};

use pgraft_store::StateStore;

use crate::command::{read_outcome, write_outcome};
use crate::fault::Fault;
use crate::fields::{Malformed, Reader, Writer};
use crate::limits::{
    HOST, SESSION_BYTES_MAX, SESSION_IDLE_MS_MAX, SESSION_REPLIES_MAX, SESSIONS_BYTES_MAX,
    SESSIONS_MAX,
};
use crate::rejection::{HostCode, Outcome, Rejection};
use crate::rows;

/// What the sessions know about a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Apply it, and remember the outcome.
    New,
    /// It was applied before; this came of it.
    Before(Outcome),
    /// The session is not open, or its client said it had this reply.
    Expired,
    /// The session holds too many replies that nobody acknowledged.
    Full,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Session {
    used_ms: u64,
    acked_below: u64,
    replies: BTreeMap<u64, Outcome>,
    bytes: usize,
}

/// The open sessions, a mirror of their rows.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: BTreeMap<u64, Session>,
    /// Least recently used first; sessions of the same time by id.
    by_use: BTreeSet<(u64, u64)>,
    bytes: usize,
    changed: BTreeSet<u64>,
    expired: BTreeSet<u64>,
}

impl Sessions {
    pub(crate) fn load(state: &StateStore) -> Result<Sessions, Fault> {
        let mut sessions = Sessions::default();
        for (key, row) in rows::all(state, rows::SESSION)? {
            let id = key.try_into().map_err(|_| Fault::Row("session id"))?;
            let session = Session::decode(&row).map_err(|Malformed| Fault::Row("session"))?;
            sessions.insert(u64::from_be_bytes(id), session);
        }
        Ok(sessions)
    }

    fn insert(&mut self, id: u64, session: Session) {
        self.by_use.insert((session.used_ms, id));
        self.bytes += session.bytes;
        assert!(self.open.insert(id, session).is_none(), "session {id} was opened twice");
    }

    /// Forgets the sessions that nobody used for long.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some(&(used_ms, id)) = self.by_use.first()
            && used_ms.saturating_add(SESSION_IDLE_MS_MAX) < now_ms
        {
            self.close(id);
        }
    }

    /// Opens a session; the least recently used one makes room.
    pub(crate) fn open(&mut self, id: u64, now_ms: u64) {
        if self.open.len() >= SESSIONS_MAX {
            let (_, oldest) = *self.by_use.first().expect("as many as there are sessions");
            self.close(oldest);
        }
        self.insert(id, Session { used_ms: now_ms, ..Session::default() });
        self.changed.insert(id);
    }

    fn close(&mut self, id: u64) {
        let session = self.open.remove(&id).expect("only open sessions are in by_use");
        self.by_use.remove(&(session.used_ms, id));
        self.bytes -= session.bytes;
        self.changed.remove(&id);
        self.expired.insert(id);
    }

    /// Looks a command up, and forgets what its client has.
    pub(crate) fn look_up(&mut self, id: u64, seq: u64, acked_below: u64, now_ms: u64) -> Seen {
        let Some(session) = self.open.get_mut(&id) else { return Seen::Expired };
        if session.used_ms != now_ms {
            self.by_use.remove(&(session.used_ms, id));
            self.by_use.insert((now_ms, id));
            session.used_ms = now_ms;
            self.changed.insert(id);
        }
        if acked_below > session.acked_below {
            self.bytes -= session.acknowledge(acked_below);
            self.changed.insert(id);
        }
        if seq < session.acked_below {
            return Seen::Expired;
        }
        if let Some(outcome) = session.replies.get(&seq) {
            return Seen::Before(outcome.clone());
        }
        let full =
            session.replies.len() >= SESSION_REPLIES_MAX || session.bytes >= SESSION_BYTES_MAX;
        if full { Seen::Full } else { Seen::New }
    }

    /// Remembers what came of a new command.
    pub(crate) fn remember(&mut self, id: u64, seq: u64, outcome: &Outcome) {
        // It may have made room for a session opened by the same entry.
        let Some(session) = self.open.get_mut(&id) else { return };
        if seq < session.acked_below {
            // A later command of the same entry said so.
            return;
        }
        // Commands of one entry are looked up before any of them is applied, so they may bring
        // more than the session can hold. The number stays taken, the reply is gone.
        let outcome = match session.bytes < SESSION_BYTES_MAX {
            true => outcome.clone(),
            false => Err(Rejection::host(HostCode::Quota)),
        };
        let bytes = bytes_of(&outcome);
        session.bytes += bytes;
        self.bytes += bytes;
        let old = session.replies.insert(seq, outcome);
        assert!(old.is_none(), "command {seq} of session {id} was applied twice");
        self.changed.insert(id);
        while self.bytes > SESSIONS_BYTES_MAX {
            let (_, oldest) = *self.by_use.first().expect("they hold the bytes");
            self.close(oldest);
        }
    }

    /// Writes the rows that changed.
    pub(crate) fn flush(&mut self, state: &mut StateStore) -> Result<(), Fault> {
        for id in std::mem::take(&mut self.expired) {
            state.delete(HOST, &key(id))?;
        }
        for id in std::mem::take(&mut self.changed) {
            state.put(HOST, &key(id), &self.open[&id].encode())?;
        }
        Ok(())
    }
}

impl Session {
    /// Forgets replies below `acked_below`; how many bytes that were.
    fn acknowledge(&mut self, acked_below: u64) -> usize {
        let kept = self.replies.split_off(&acked_below);
        let gone = std::mem::replace(&mut self.replies, kept);
        let bytes = gone.values().map(bytes_of).sum();
        self.acked_below = acked_below;
        self.bytes -= bytes;
        bytes
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(20 + self.bytes));
        out.u64(self.used_ms);
        out.u64(self.acked_below);
        out.u32(u32::try_from(self.replies.len()).expect("SESSION_REPLIES_MAX fits"));
        for (seq, outcome) in &self.replies {
            out.u64(*seq);
            write_outcome(&mut out, outcome);
        }
        out.0
    }

    fn decode(row: &[u8]) -> Result<Session, Malformed> {
        let mut fields = Reader(row);
        let (used_ms, acked_below) = (fields.u64()?, fields.u64()?);
        let mut session = Session { used_ms, acked_below, ..Session::default() };
        for _ in 0..fields.u32()? {
            let seq = fields.u64()?;
            let outcome = read_outcome(&mut fields)?;
            session.bytes += bytes_of(&outcome);
            session.replies.insert(seq, outcome);
        }
        fields.end()?;
        Ok(session)
    }
}

/// What remembering an outcome takes: the bytes it has in the row.
fn bytes_of(outcome: &Outcome) -> usize {
    const FRAME: usize = 8 + 1 + 4 + 4;
    FRAME + outcome.as_ref().map_or_else(|rejection| rejection.message.len(), Vec::len)
}

fn key(id: u64) -> Vec<u8> {
    rows::key(rows::SESSION, &[&id.to_be_bytes()])
}

#[cfg(test)]
mod tests;
