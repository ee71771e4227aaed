//! The committed log as a history tells it: every command in its place, and whether it had an
//! effect or was answered from a session. Not here: what the commands mean.

use std::collections::BTreeMap;
use std::iter;

use bytes::Bytes;
use pgraft_host::{Command, HostCode};
use pgraft_replica::body::Body;

use crate::history::{Committed, History, Reply, What};

/// A command in the log.
#[derive(Clone, Debug)]
pub struct LogCommand {
    /// Index of its entry.
    pub index: u64,
    /// Its place in the entry's body.
    pub position: u32,
    /// Term of its entry.
    pub term: u64,
    /// The log's time at its entry, milliseconds.
    pub time_ms: u64,
    /// The leader's chance for its entry.
    pub entropy: u64,
    /// Position among the events of the line that tells it.
    pub line: usize,
    /// The command.
    pub command: Command,
    /// What came of it; `None`: all who knew have lost it.
    pub outcome: Option<Reply>,
    /// Whether it was this one that was carried out.
    pub effect: Effect,
}

/// Whether a command in the log was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Here. A rejection of the machine counts, too: it is its answer.
    Here,
    /// Earlier, by the command with this number in [`Log::commands`]: answered from the session.
    Before(usize),
    /// Not at all: the session did not let it in.
    Refused,
}

/// The committed log.
#[derive(Clone, Debug, Default)]
pub struct Log<'a> {
    /// Entries by index.
    pub entries: BTreeMap<u64, &'a Committed>,
    /// All commands, in order.
    pub commands: Vec<LogCommand>,
    /// Where the commands of an entry begin in `commands`.
    first: BTreeMap<u64, usize>,
    /// Nothing is missing between the first entry of the log and the last that is told.
    pub whole: bool,
}

/// Why the told log is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The body of an entry is not one.
    #[error("committed entry {index}: {why}")]
    Body {
        /// Which.
        index: u64,
        /// In words.
        why: String,
    },
    /// There are not as many outcomes as commands.
    #[error("committed entry {index}: {commands} commands and {outcomes} outcomes")]
    Outcomes {
        /// Which.
        index: u64,
        /// Commands in the body.
        commands: usize,
        /// Outcomes told.
        outcomes: usize,
    },
}

impl<'a> Log<'a> {
    /// Reads the committed entries of a history; of an index that is told twice, the first (that
    /// they are equal is for [`crate::checks::divergence`] to say).
    ///
    /// # Errors
    /// When an entry's body cannot be read.
    pub fn of(history: &'a History) -> Result<Log<'a>, LogError> {
        let mut log = Log { whole: true, ..Log::default() };
        let mut seen = BTreeMap::new();
        for (line, event) in history.events.iter().enumerate() {
            let What::Committed(entry) = &event.what else { continue };
            if log.entries.contains_key(&entry.index) {
                continue;
            }
            let last = log.entries.last_key_value().map_or(0, |(index, _)| *index);
            log.whole &= entry.index == last + 1;
            log.entries.insert(entry.index, entry);
            log.first.insert(entry.index, log.commands.len());
            for command in commands(entry, line)? {
                log.add(command, &mut seen);
            }
        }
        log.whole &= !log.entries.is_empty();
        Ok(log)
    }

    fn add(&mut self, mut command: LogCommand, seen: &mut BTreeMap<(u64, u64), usize>) {
        if let Command::Machine { session, seq, .. } = command.command
            && session != 0
        {
            let expired =
                matches!(command.outcome, Some(Reply::Rejected { code, .. }) if is_refusal(code));
            command.effect = match seen.get(&(session, seq)) {
                _ if expired => Effect::Refused,
                Some(before) => Effect::Before(*before),
                None => Effect::Here,
            };
            if command.effect == Effect::Here {
                seen.insert((session, seq), self.commands.len());
            }
        }
        self.commands.push(command);
    }

    /// The commands of an entry and their numbers in [`Log::commands`].
    pub fn commands_at(&self, index: u64) -> impl Iterator<Item = (usize, &LogCommand)> {
        let first = self.first.get(&index).copied().unwrap_or(self.commands.len());
        let all = self.commands.iter().enumerate().skip(first);
        all.take_while(move |(_, command)| command.index == index)
    }

    /// The last entry that is told.
    pub fn last(&self) -> u64 {
        self.entries.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// The log's time when this entry had been applied.
    pub fn time_ms(&self, index: u64) -> Option<u64> {
        self.entries.range(..=index).next_back().map(|(_, entry)| entry.time_ms)
    }

    /// The term in which this entry was made.
    pub fn term(&self, index: u64) -> Option<u64> {
        self.entries.range(..=index).next_back().map(|(_, entry)| entry.term)
    }
}

/// Whether a rejection says that the host did not let the command in: its session, a migration, or
/// the machine's share of time. A quota can also be the machine's, whose changes are undone then:
/// no effect either.
fn is_refusal(code: u32) -> bool {
    let refusals =
        [HostCode::SessionExpired, HostCode::Quota, HostCode::Migrating, HostCode::Throttled];
    refusals.iter().any(|refusal| *refusal as u32 == code)
}

fn commands(entry: &Committed, line: usize) -> Result<Vec<LogCommand>, LogError> {
    if entry.body.is_empty() {
        return Ok(Vec::new());
    }
    let index = entry.index;
    let body = Body::decode(Bytes::copy_from_slice(&entry.body))
        .map_err(|why| LogError::Body { index, why: why.to_string() })?;
    let (commands, outcomes) = (body.commands.len(), entry.outcomes.len());
    if commands != outcomes && !entry.tells_nothing() {
        return Err(LogError::Outcomes { index, commands, outcomes });
    }
    let outcomes = entry.outcomes.iter().cloned().map(Some).chain(iter::repeat(None));
    let told = body.commands.iter().zip(outcomes).zip(0..);
    told.map(|((bytes, outcome), position)| {
        let command = Command::decode(bytes)
            .map_err(|why| LogError::Body { index, why: format!("command {position}: {why}") })?;
        let (term, time_ms, entropy) = (entry.term, entry.time_ms, body.entropy);
        let effect = Effect::Here;
        Ok(LogCommand { index, position, term, time_ms, entropy, line, command, outcome, effect })
    })
    .collect()
}
