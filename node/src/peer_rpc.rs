//! What nodes ask of each other outside Raft: a follower forwards a command, asks for a read
//! index, or passes on a request for leadership transfer.

use bytes::Bytes;
use pgraft_host::{Outcome, Rejection};
use pgraft_replica::{Index, NodeId};

use crate::rpc::{FrameError, Reader, Writer};

/// A request of one node to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Put this encoded [`pgraft_host::Command`] in the log.
    Propose(Bytes),
    /// The index a linearizable read must wait for.
    ReadIndex,
    /// Hand leadership over; `None` = to the best follower.
    Transfer(Option<NodeId>),
    /// Get the module with this SHA-256 ready to run.
    Prepare([u8; 32]),
    /// Send a snapshot of your state to the asking node, which has lost its own.
    State,
}

/// The leader's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The command was applied at this index.
    Applied(Index, Outcome),
    /// Reads may be served once this index is applied.
    ReadAt(Index),
    /// Done.
    Done,
    /// The module is ready, on the engine of this name.
    Prepared(String),
    /// The bytes of the module are not all here yet.
    Missing,
    /// No node can run the module; why.
    Unrunnable(String),
    /// Definitely not carried out; ask again, perhaps somewhere else.
    Refused(String),
}

impl Ask {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::body();
        match self {
            Ask::Propose(command) => {
                out.u8(0);
                out.bytes(command);
            }
            Ask::ReadIndex => out.u8(1),
            Ask::Transfer(to) => {
                out.u8(2);
                out.u64(to.map_or(0, NodeId::get));
            }
            Ask::State => out.u8(3),
            Ask::Prepare(sha256) => {
                out.u8(4);
                out.bytes(sha256);
            }
        }
        out.into_body().into()
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Ask, FrameError> {
        let mut body = Reader(bytes);
        let ask = match body.u8()? {
            0 => Ask::Propose(bytes.slice_ref(body.bytes()?)),
            1 => Ask::ReadIndex,
            2 => Ask::Transfer(NodeId::new(body.u64()?)),
            3 => Ask::State,
            4 => Ask::Prepare(
                body.bytes()?.try_into().map_err(|_| FrameError::Malformed("length of a hash"))?,
            ),
            _ => return Err(FrameError::Malformed("unknown request of a node")),
        };
        body.end()?;
        Ok(ask)
    }
}

impl Told {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::body();
        match self {
            Told::Applied(index, Ok(reply)) => {
                out.u8(0);
                out.u64(index.0);
                out.bytes(reply);
            }
            Told::Applied(index, Err(Rejection { code, message })) => {
                out.u8(1);
                out.u64(index.0);
                out.u32(*code);
                out.bytes(message.as_bytes());
            }
            Told::ReadAt(index) => {
                out.u8(2);
                out.u64(index.0);
            }
            Told::Done => out.u8(3),
            Told::Refused(why) => {
                out.u8(4);
                out.bytes(why.as_bytes());
            }
            Told::Prepared(engine) => {
                out.u8(5);
                out.bytes(engine.as_bytes());
            }
            Told::Missing => out.u8(6),
            Told::Unrunnable(why) => {
                out.u8(7);
                out.bytes(why.as_bytes());
            }
        }
        out.into_body().into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Told, FrameError> {
        let mut body = Reader(bytes);
        let told = match body.u8()? {
            0 => Told::Applied(Index(body.u64()?), Ok(body.bytes()?.to_vec())),
            1 => Told::Applied(
                Index(body.u64()?),
                Err(Rejection { code: body.u32()?, message: body.string()? }),
            ),
            2 => Told::ReadAt(Index(body.u64()?)),
            3 => Told::Done,
            4 => Told::Refused(body.string()?),
            5 => Told::Prepared(body.string()?),
            6 => Told::Missing,
            7 => Told::Unrunnable(body.string()?),
            _ => return Err(FrameError::Malformed("unknown answer of a node")),
        };
        body.end()?;
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_survive_the_round_trip() {
        let asks = [
            Ask::Propose(Bytes::from_static(b"x")),
            Ask::ReadIndex,
            Ask::Transfer(NodeId::new(2)),
            Ask::State,
            Ask::Prepare([7; 32]),
        ];
        for ask in asks {
            assert_eq!(Ask::decode(&ask.encode()).unwrap(), ask);
        }
        let rejection = Rejection { code: 101, message: "no".to_owned() };
        let answers = [
            Told::Applied(Index(3), Ok(vec![1])),
            Told::Applied(Index(3), Err(rejection)),
            Told::ReadAt(Index(4)),
            Told::Done,
            Told::Refused("busy".to_owned()),
            Told::Prepared("engine".to_owned()),
            Told::Missing,
            Told::Unrunnable("not WASM".to_owned()),
        ];
        for told in answers {
            assert_eq!(Told::decode(&told.encode()).unwrap(), told);
        }
    }
}
