//! Linearizable reads: ReadIndex rounds with contexts that are never used twice (Raft thesis,
//! section 6.4; RAFT.md 1.3, R-B, R-C, R-C2).
//!
//! raft-rs forgets reads silently in four ways, so every round has a deadline and is repeated
//! with a fresh context. Not here: reads of followers, which ask the leader by the node's RPC,
//! and leases, which we do not use.

use std::collections::VecDeque;

use crate::canonical::Notes;
use crate::chance::Chance;
use crate::limits::{READ_ROUNDS_MAX, READS_MAX};
use crate::{Index, Refusal, Ticket};

/// A waiting read and the tick by which it must be answered.
type Waiting = (Ticket, u64);

#[derive(Debug)]
struct Round {
    context: [u8; 16],
    waiting: Vec<Waiting>,
    retry_at: u64,
    attempts: u32,
}

/// The reads of a leader.
#[derive(Debug)]
pub(crate) struct Reads {
    nonce: u64,
    sequence: u64,
    /// Ticks until a round without an answer is repeated; doubles with each attempt.
    retry_ticks: u64,
    /// Ticks until a read is refused.
    patience_ticks: u64,
    /// Came after the last round began.
    waiting: Vec<Waiting>,
    /// How often the reads in `waiting` were tried in vain.
    attempts: u32,
    rounds: VecDeque<Round>,
    count: usize,
}

impl Reads {
    pub(crate) fn new(seed: u64, retry_ticks: u32, patience_ticks: u32) -> Reads {
        Reads {
            nonce: Chance::new(seed, "read contexts").next(),
            sequence: 0,
            retry_ticks: u64::from(retry_ticks),
            patience_ticks: u64::from(patience_ticks),
            waiting: Vec::new(),
            attempts: 0,
            rounds: VecDeque::new(),
            count: 0,
        }
    }

    /// Takes new reads; the caller leads.
    pub(crate) fn add(
        &mut self,
        tickets: Vec<Ticket>,
        now: u64,
        refused: &mut Vec<(Ticket, Refusal)>,
    ) {
        for ticket in tickets {
            if self.count == READS_MAX {
                refused.push((ticket, Refusal::Busy));
            } else {
                self.count += 1;
                self.waiting.push((ticket, now + self.patience_ticks));
            }
        }
    }

    /// Begins a round for everything that waits: its context, to be handed to raft-rs at once. A
    /// read that comes later is not in it, because the index is taken now.
    pub(crate) fn begin(&mut self, now: u64) -> Option<[u8; 16]> {
        if self.waiting.is_empty() || self.rounds.len() >= READ_ROUNDS_MAX {
            return None;
        }
        self.sequence += 1;
        let mut context = [0; 16];
        context[..8].copy_from_slice(&self.nonce.to_le_bytes());
        context[8..].copy_from_slice(&self.sequence.to_le_bytes());
        let attempts = std::mem::take(&mut self.attempts);
        let waiting = std::mem::take(&mut self.waiting);
        let deadline = waiting.iter().map(|(_, deadline)| *deadline).min().unwrap_or(now);
        let retry_at = deadline.min(now + (self.retry_ticks << attempts.min(8)));
        self.rounds.push_back(Round { context, waiting, retry_at, attempts });
        Some(context)
    }

    /// A quorum confirmed the round of `context` (and `None` for a round given up earlier).
    pub(crate) fn confirmed(
        &mut self,
        context: &[u8],
        index: Index,
        answered: &mut Vec<(Ticket, Index)>,
    ) {
        let Some(at) = self.rounds.iter().position(|round| round.context == context) else {
            return;
        };
        let round = self.rounds.remove(at).expect("just found");
        self.count -= round.waiting.len();
        answered.extend(round.waiting.into_iter().map(|(ticket, _)| (ticket, index)));
    }

    /// A tick: refuses what waited too long, and gives up rounds that got no answer; their reads
    /// join the next round.
    pub(crate) fn tick(&mut self, now: u64, refused: &mut Vec<(Ticket, Refusal)>) {
        while let Some(at) = self.rounds.iter().position(|round| round.retry_at <= now) {
            let round = self.rounds.remove(at).expect("just found");
            self.attempts = self.attempts.max(round.attempts + 1);
            self.waiting.extend(round.waiting);
        }
        let before = self.waiting.len();
        self.waiting.retain(|(ticket, deadline)| {
            let expired = *deadline <= now;
            if expired {
                refused.push((*ticket, Refusal::NoQuorum));
            }
            !expired
        });
        self.count -= before - self.waiting.len();
    }

    /// Leadership is lost: raft-rs has dropped the rounds without a word.
    pub(crate) fn refuse_all(&mut self, why: &Refusal, refused: &mut Vec<(Ticket, Refusal)>) {
        let rounds = std::mem::take(&mut self.rounds);
        let waiting = std::mem::take(&mut self.waiting);
        let all = rounds.into_iter().flat_map(|round| round.waiting).chain(waiting);
        refused.extend(all.map(|(ticket, _)| (ticket, why.clone())));
        self.count = 0;
        self.attempts = 0;
    }

    /// Deadlines as ticks that are left. The nonce is the configuration's.
    pub(crate) fn canonical(&self, now: u64, notes: &mut Notes<'_>) {
        notes.number("read sequence", self.sequence);
        notes.count("reads", self.waiting.len());
        for (ticket, deadline) in &self.waiting {
            notes.number("reads", ticket.0);
            notes.number("reads", deadline.saturating_sub(now));
        }
        notes.number("reads", u64::from(self.attempts));
        notes.count("read rounds", self.rounds.len());
        for Round { context, waiting, retry_at, attempts } in &self.rounds {
            notes.bytes("read rounds", context);
            notes.number("read rounds", retry_at.saturating_sub(now));
            notes.number("read rounds", u64::from(*attempts));
            notes.count("read rounds", waiting.len());
            for (ticket, deadline) in waiting {
                notes.number("read rounds", ticket.0);
                notes.number("read rounds", deadline.saturating_sub(now));
            }
        }
    }
}

#[cfg(test)]
mod tests;
