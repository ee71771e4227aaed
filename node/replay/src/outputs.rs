//! What comes out of a step, as fields and back: [`Effects`], and the [`View`] after it, in which
//! a replica that went another way shows before it does anything else than it should.

use pgraft_replica::{
    Committed, ConfError, Effects, Fetch, PeerState, PeerView, Persist, Refusal, Role, RoleChange,
    Stop, View,
};

use crate::decode::kind;
use crate::encode::code;
use crate::fields::{Decoder, Encoder, Malformed};

const ROLES: [(u8, Role); 4] =
    [(0, Role::Follower), (1, Role::PreCandidate), (2, Role::Candidate), (3, Role::Leader)];
const PEER_STATES: [(u8, PeerState); 3] =
    [(0, PeerState::Probe), (1, PeerState::Replicate), (2, PeerState::Snapshot)];
const CONF_ERRORS: [(u8, ConfError); 3] =
    [(0, ConfError::Joint), (1, ConfError::NotJoint), (2, ConfError::NoVoters)];

// No `..` in these patterns: a new field must fail to compile until it is recorded.
impl Encoder<'_> {
    pub(crate) fn effects(&mut self, effects: &Effects) {
        let Effects {
            send,
            persist,
            fetch,
            pin_snapshot,
            apply,
            reads,
            refused,
            role,
            truncate,
            stop,
        } = effects;
        self.list(send.iter(), Encoder::message);
        self.list(persist.iter(), Encoder::persist);
        self.list(fetch.iter(), |out, Fetch { low, high, bytes_max }| {
            out.number(low.0);
            out.number(high.0);
            out.number(*bytes_max);
        });
        self.list(pin_snapshot.iter(), |out, node| out.number(node.get()));
        self.list(apply.iter(), |out, Committed { entry, conf_change, tickets }| {
            out.entry(entry);
            out.option(conf_change.as_ref(), Encoder::change);
            out.tickets(tickets);
        });
        self.list(reads.iter(), |out, (ticket, index)| {
            out.number(ticket.0);
            out.number(index.0);
        });
        self.list(refused.iter(), |out, (ticket, why)| {
            out.number(ticket.0);
            out.refusal(why);
        });
        self.option(role.as_ref(), |out, RoleChange { role, term, leader }| {
            out.byte(code(&ROLES, *role));
            out.number(term.0);
            out.maybe_node(*leader);
        });
        self.option(*truncate, |out, index| out.number(index.0));
        self.option(stop.as_ref(), Encoder::stop);
    }

    fn persist(&mut self, persist: &Persist) {
        let Persist { number, hard_state, entries, snapshot } = persist;
        self.number(*number);
        self.option(hard_state.as_ref(), Encoder::hard_state);
        self.entries(entries);
        self.option(snapshot.as_ref(), Encoder::snapshot);
    }

    fn refusal(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::NotLeader(leader) => {
                self.byte(0);
                self.maybe_node(*leader);
            }
            Refusal::Overwritten => self.byte(1),
            Refusal::Busy => self.byte(2),
            Refusal::TooLarge(bytes, limit) => {
                self.byte(3);
                self.count(*bytes);
                self.count(*limit);
            }
            Refusal::NoQuorum => self.byte(4),
            Refusal::Transfer(why) => {
                self.byte(5);
                self.bytes(why.as_bytes());
            }
            Refusal::ConfChange(error) => {
                self.byte(6);
                self.byte(code(&CONF_ERRORS, *error));
            }
        }
    }

    fn stop(&mut self, stop: &Stop) {
        match stop {
            Stop::Removed => self.byte(0),
            Stop::LogLost { commit, last } => {
                self.byte(1);
                self.number(commit.0);
                self.number(last.0);
            }
            Stop::DiskStalled { for_ms } => {
                self.byte(2);
                self.number(*for_ms);
            }
        }
    }

    pub(crate) fn view(&mut self, view: &View) {
        let View {
            id,
            role,
            term,
            leader,
            committed,
            applied,
            last_index,
            first_index,
            voters,
            learners,
            peers,
            joint,
            installing,
            transferring,
            elections_started,
            messages_sent,
            heartbeats_sent,
            messages_dropped,
            // Counted; words about it are for people.
            last_dropped: _,
        } = view;
        self.number(id.get());
        self.byte(code(&ROLES, *role));
        self.number(term.0);
        self.maybe_node(*leader);
        for index in [committed, applied, last_index, first_index] {
            self.number(index.0);
        }
        self.nodes(voters);
        self.nodes(learners);
        self.list(peers.iter(), Encoder::peer);
        for flag in [joint, installing, transferring] {
            self.flag(*flag);
        }
        for number in [elections_started, messages_sent, heartbeats_sent, messages_dropped] {
            self.number(*number);
        }
    }

    fn peer(&mut self, peer: &PeerView) {
        let PeerView { id, match_index, next_index, state, active, pending_snapshot } = peer;
        self.number(id.get());
        self.number(match_index.0);
        self.number(next_index.0);
        self.byte(code(&PEER_STATES, *state));
        self.flag(*active);
        self.option(*pending_snapshot, |out, index| out.number(index.0));
    }
}

impl Decoder {
    pub(crate) fn effects(&mut self) -> Result<Effects, Malformed> {
        Ok(Effects {
            send: self.list("messages", Decoder::message)?,
            persist: self.list("writes", Decoder::persist)?,
            fetch: self.list("fetches", |from| {
                Ok(Fetch {
                    low: from.index("the beginning of a fetch")?,
                    high: from.index("the end of a fetch")?,
                    bytes_max: from.number("the bound of a fetch")?,
                })
            })?,
            pin_snapshot: self.list("snapshots", |from| from.node("the receiver of a snapshot"))?,
            apply: self.list("committed entries", |from| {
                Ok(Committed {
                    entry: from.entry()?,
                    conf_change: from.option("a committed change", Decoder::change)?,
                    tickets: from.list("tickets", Decoder::ticket)?,
                })
            })?,
            reads: self
                .list("reads", |from| Ok((from.ticket()?, from.index("the index of a read")?)))?,
            refused: self.list("refusals", |from| Ok((from.ticket()?, from.refusal()?)))?,
            role: self.option("a role", |from| {
                Ok(RoleChange {
                    role: kind(&ROLES, from.byte("a role")?, "a role")?,
                    term: from.term("the term of a role")?,
                    leader: from.maybe_node("a leader")?,
                })
            })?,
            truncate: self.option("a truncation", |from| from.index("a truncation"))?,
            stop: self.option("an end", Decoder::stop)?,
        })
    }

    fn persist(&mut self) -> Result<Persist, Malformed> {
        Ok(Persist {
            number: self.number("the number of a write")?,
            hard_state: self.option("a hard state", Decoder::hard_state)?,
            entries: self.entries()?,
            snapshot: self.option("a snapshot", Decoder::snapshot)?,
        })
    }

    fn refusal(&mut self) -> Result<Refusal, Malformed> {
        let what = "a refusal";
        let size = |number: u64| usize::try_from(number).map_err(|_| Malformed(what));
        Ok(match self.byte(what)? {
            0 => Refusal::NotLeader(self.maybe_node(what)?),
            1 => Refusal::Overwritten,
            2 => Refusal::Busy,
            3 => Refusal::TooLarge(size(self.number(what)?)?, size(self.number(what)?)?),
            4 => Refusal::NoQuorum,
            5 => Refusal::Transfer(self.text(what)?),
            6 => Refusal::ConfChange(kind(&CONF_ERRORS, self.byte(what)?, what)?),
            _ => return Err(Malformed(what)),
        })
    }

    fn stop(&mut self) -> Result<Stop, Malformed> {
        let what = "why the node stops";
        Ok(match self.byte(what)? {
            0 => Stop::Removed,
            1 => Stop::LogLost { commit: self.index(what)?, last: self.index(what)? },
            2 => Stop::DiskStalled { for_ms: self.number(what)? },
            _ => return Err(Malformed(what)),
        })
    }

    pub(crate) fn view(&mut self) -> Result<View, Malformed> {
        let what = "a view";
        Ok(View {
            id: self.node(what)?,
            role: kind(&ROLES, self.byte(what)?, what)?,
            term: self.term(what)?,
            leader: self.maybe_node(what)?,
            committed: self.index(what)?,
            applied: self.index(what)?,
            last_index: self.index(what)?,
            first_index: self.index(what)?,
            voters: self.nodes(what)?,
            learners: self.nodes(what)?,
            peers: self.list(what, Decoder::peer)?,
            joint: self.flag(what)?,
            installing: self.flag(what)?,
            transferring: self.flag(what)?,
            elections_started: self.number(what)?,
            messages_sent: self.number(what)?,
            heartbeats_sent: self.number(what)?,
            messages_dropped: self.number(what)?,
            last_dropped: None,
        })
    }

    fn peer(&mut self) -> Result<PeerView, Malformed> {
        let what = "a peer of a view";
        Ok(PeerView {
            id: self.node(what)?,
            match_index: self.index(what)?,
            next_index: self.index(what)?,
            state: kind(&PEER_STATES, self.byte(what)?, what)?,
            active: self.flag(what)?,
            pending_snapshot: self.option(what, |from| from.index(what))?,
        })
    }
}
