//! Joining a running cluster: a node with `initial_cluster_state = 'existing'` asks the members
//! it knows for genesis, its id and its peers.
//!
//! Nothing is trusted that is not checked again: genesis by its hash in every handshake, the id by
//! the incarnation that the membership machine records.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use pgraft_membership::{Member, Role};
use pgraft_replica::NodeId;
use pgraft_transport::Peer;

use crate::rpc::{FrameError, Reader, Writer};

/// What a joining node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// `initial_cluster_token`.
    pub(crate) token: String,
    /// Its address in `initial_cluster`; the member list knows it by that.
    pub(crate) address: String,
    /// Of its data directory; 0 = it has none yet.
    pub(crate) incarnation: u128,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// The cluster's genesis.
    pub(crate) genesis: Bytes,
    /// The id it was added under.
    pub(crate) id: u64,
    /// The members now.
    pub(crate) peers: Vec<(u64, String, u128)>,
}

impl Request {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::body();
        out.bytes(self.token.as_bytes());
        out.bytes(self.address.as_bytes());
        out.bytes(&self.incarnation.to_le_bytes());
        out.into_body().into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Request, FrameError> {
        let mut body = Reader(bytes);
        let (token, address) = (body.string()?, body.string()?);
        let incarnation = body.bytes()?.try_into();
        let incarnation = incarnation.map_err(|_| FrameError::Malformed("incarnation"))?;
        body.end()?;
        Ok(Request { token, address, incarnation: u128::from_le_bytes(incarnation) })
    }
}

impl Welcome {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::body();
        out.bytes(&self.genesis);
        out.u64(self.id);
        out.u32(u32::try_from(self.peers.len()).expect("few members"));
        for (id, address, incarnation) in &self.peers {
            out.u64(*id);
            out.bytes(address.as_bytes());
            out.bytes(&incarnation.to_le_bytes());
        }
        out.into_body().into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Welcome, FrameError> {
        let mut body = Reader(bytes);
        let (genesis, id) = (Bytes::copy_from_slice(body.bytes()?), body.u64()?);
        let mut peers = Vec::new();
        for _ in 0..body.u32()? {
            let (id, address) = (body.u64()?, body.string()?);
            let incarnation = body.bytes()?.try_into();
            let incarnation = incarnation.map_err(|_| FrameError::Malformed("incarnation"))?;
            peers.push((id, address, u128::from_le_bytes(incarnation)));
        }
        body.end()?;
        Ok(Welcome { genesis, id, peers })
    }

    /// The members as the joining node's first member list.
    pub(crate) fn members(&self) -> Vec<Member> {
        let member = |(id, address, incarnation): &(u64, String, u128)| Member {
            id: *id,
            name: String::new(),
            address: address.clone(),
            role: Role::Voter,
            incarnation: *incarnation,
        };
        self.peers.iter().map(member).collect()
    }
}

/// Who may be talked to, as a joining node is told.
pub(crate) fn peers(members: &[Member]) -> Vec<(u64, String, u128)> {
    let present = members.iter().filter(|member| member.role != Role::Gone);
    present.map(|member| (member.id, member.address.clone(), member.incarnation)).collect()
}

/// The transport's view of the members: the others, and those who left.
pub(crate) fn address_book(
    members: &[Member],
    me: NodeId,
) -> (BTreeMap<NodeId, Peer>, BTreeSet<NodeId>) {
    let (mut book, mut removed) = (BTreeMap::new(), BTreeSet::new());
    for member in members {
        let Some(id) = NodeId::new(member.id).filter(|id| *id != me) else { continue };
        if member.role == Role::Gone {
            removed.insert(id);
        } else {
            let (address, incarnation) = (member.address.clone(), member.incarnation);
            book.insert(id, Peer { address, incarnation });
        }
    }
    (book, removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_survive_the_round_trip() {
        let request = Request { token: "t".to_owned(), address: "a:1".to_owned(), incarnation: 7 };
        assert_eq!(Request::decode(&request.encode()).unwrap(), request);
        let welcome = Welcome {
            genesis: Bytes::from_static(b"g"),
            id: 4,
            peers: vec![(1, "a:1".to_owned(), 0), (2, "b:2".to_owned(), u128::MAX)],
        };
        assert_eq!(Welcome::decode(&welcome.encode()).unwrap(), welcome);
    }
}
