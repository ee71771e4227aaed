//! What a replica is made from and what it takes, as fields and back: [`Config`], [`Restored`],
//! [`Input`].

use pgraft_replica::{Config, Input, Keep, Proposal, Restored, Ticket};

use crate::fields::{Decoder, Encoder, Malformed};

// No `..` in these patterns: a new field must fail to compile until it is recorded.
impl Encoder<'_> {
    pub(crate) fn config(&mut self, config: &Config) {
        let Config { id, seed, election_ticks, heartbeat_ticks, keep } = config;
        let Keep { entries, bytes, bytes_max, step } = keep;
        self.number(id.get());
        self.number(*seed);
        self.number(u64::from(*election_ticks));
        self.number(u64::from(*heartbeat_ticks));
        for number in [entries, bytes, bytes_max, step] {
            self.number(*number);
        }
    }

    pub(crate) fn restored(&mut self, restored: &Restored) {
        let Restored { hard_state, truncated, terms, tail, applied, conf } = restored;
        self.hard_state(hard_state);
        self.number(truncated.0.0);
        self.number(truncated.1.0);
        self.list(terms.iter(), |out, (index, term)| {
            out.number(index.0);
            out.number(term.0);
        });
        self.entries(tail);
        self.number(applied.0);
        self.conf(conf);
    }

    pub(crate) fn tickets(&mut self, tickets: &[Ticket]) {
        self.list(tickets.iter(), |out, ticket| out.number(ticket.0));
    }

    pub(crate) fn input(&mut self, input: &Input) {
        match input {
            Input::Tick { wall_ms } => {
                self.byte(1);
                self.number(*wall_ms);
            }
            Input::TimeJumped => self.byte(2),
            Input::Received(message) => {
                self.byte(3);
                self.message(message);
            }
            Input::Propose(proposals) => {
                self.byte(4);
                self.list(proposals.iter(), |out, Proposal { ticket, command }| {
                    out.number(ticket.0);
                    out.data(command);
                });
            }
            Input::Read(tickets) => {
                self.byte(5);
                self.tickets(tickets);
            }
            Input::ProposeConf { ticket, change } => {
                self.byte(6);
                self.number(ticket.0);
                self.change(change);
            }
            Input::Transfer { ticket, to } => {
                self.byte(7);
                self.number(ticket.0);
                self.maybe_node(*to);
            }
            Input::Persisted { number } => self.tagged(8, *number),
            Input::Applied { index } => self.tagged(9, index.0),
            Input::StateDurable { index } => self.tagged(10, index.0),
            Input::Fetched { low, entries } => {
                self.tagged(11, low.0);
                self.entries(entries);
            }
            Input::SnapshotPinned { to, meta } => {
                self.tagged(12, to.get());
                self.snapshot(meta);
            }
            Input::SnapshotSent { to, delivered } => {
                self.tagged(13, to.get());
                self.flag(*delivered);
            }
            Input::Unreachable(peer) => self.tagged(14, peer.get()),
            Input::DiskStalled { for_ms } => self.tagged(15, *for_ms),
            Input::RemovedByPeers => self.byte(16),
        }
    }

    fn tagged(&mut self, tag: u8, number: u64) {
        self.byte(tag);
        self.number(number);
    }
}

impl Decoder {
    pub(crate) fn config(&mut self) -> Result<Config, Malformed> {
        let ticks = |number: u64| u32::try_from(number).map_err(|_| Malformed("a timeout"));
        Ok(Config {
            id: self.node("the id of the node")?,
            seed: self.number("the seed")?,
            election_ticks: ticks(self.number("the election timeout")?)?,
            heartbeat_ticks: ticks(self.number("the heartbeat interval")?)?,
            keep: Keep {
                entries: self.number("how many entries are kept")?,
                bytes: self.number("how many bytes are kept")?,
                bytes_max: self.number("how many bytes are kept at most")?,
                step: self.number("how much is truncated")?,
            },
        })
    }

    pub(crate) fn restored(&mut self) -> Result<Restored, Malformed> {
        Ok(Restored {
            hard_state: self.hard_state()?,
            truncated: (self.index("the truncated index")?, self.term("the truncated term")?),
            terms: self.list("the terms of the log", |from| {
                Ok((from.index("where a term begins")?, from.term("a term of the log")?))
            })?,
            tail: self.entries()?,
            applied: self.index("the applied index")?,
            conf: self.conf()?,
        })
    }

    pub(crate) fn ticket(&mut self) -> Result<Ticket, Malformed> {
        self.number("a ticket").map(Ticket)
    }

    pub(crate) fn input(&mut self) -> Result<Input, Malformed> {
        Ok(match self.byte("the kind of an input")? {
            1 => Input::Tick { wall_ms: self.number("the time of a tick")? },
            2 => Input::TimeJumped,
            3 => Input::Received(self.message()?),
            4 => Input::Propose(self.list("proposals", |from| {
                Ok(Proposal { ticket: from.ticket()?, command: from.data("a command")? })
            })?),
            5 => Input::Read(self.list("reads", Decoder::ticket)?),
            6 => Input::ProposeConf { ticket: self.ticket()?, change: self.change()? },
            7 => {
                Input::Transfer { ticket: self.ticket()?, to: self.maybe_node("the next leader")? }
            }
            8 => Input::Persisted { number: self.number("the number of a write")? },
            9 => Input::Applied { index: self.index("an applied index")? },
            10 => Input::StateDurable { index: self.index("a durable index")? },
            11 => Input::Fetched { low: self.index("a fetched index")?, entries: self.entries()? },
            12 => Input::SnapshotPinned {
                to: self.node("the receiver of a snapshot")?,
                meta: self.snapshot()?,
            },
            13 => Input::SnapshotSent {
                to: self.node("the receiver of a snapshot")?,
                delivered: self.flag("whether a snapshot was delivered")?,
            },
            14 => Input::Unreachable(self.node("an unreachable peer")?),
            15 => Input::DiskStalled { for_ms: self.number("how long the disk stalls")? },
            16 => Input::RemovedByPeers,
            _ => return Err(Malformed("the kind of an input")),
        })
    }
}
