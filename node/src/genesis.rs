//! Genesis: what every node of a cluster derives for itself from the same settings, and agrees on
//! by hash before a single message is exchanged.
//!
//! The first configuration and the built-in modules are facts that must be known before any
//! module runs; they are here and not in the log.

use pgraft_host::Bootstrap;
use pgraft_membership::{Member, Role};
use pgraft_replica::{ConfState, NodeId};
use sha2::{Digest, Sha256};

use crate::modules::Modules;
use crate::rpc::{FrameError, Reader, Writer};
use crate::settings::InitialMember;

/// The beginning of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Genesis {
    /// `initial_cluster_token`.
    pub token: String,
    /// The first members, all voters.
    pub members: Vec<GenesisMember>,
    /// Name and sha256 of each built-in module.
    pub modules: Vec<(String, [u8; 32])>,
}

/// A first member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GenesisMember {
    /// Its id: the position in `initial_cluster`.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where its peers reach it.
    pub address: String,
}

const VERSION: u8 = 1;

impl Genesis {
    /// Derives genesis from the settings and the modules this node carries.
    pub(crate) fn new(token: &str, members: &[InitialMember], modules: &Modules) -> Genesis {
        let member = |initial: &InitialMember| GenesisMember {
            id: NodeId::new(initial.id).expect("ids begin at 1"),
            name: initial.name.clone(),
            address: initial.address.to_string(),
        };
        Genesis {
            token: token.to_owned(),
            members: members.iter().map(member).collect(),
            modules: modules.names().map(|(name, sha256)| (name.to_owned(), *sha256)).collect(),
        }
    }

    /// The canonical bytes; equal genesis, equal bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::body();
        out.u8(VERSION);
        out.bytes(self.token.as_bytes());
        out.u32(u32::try_from(self.members.len()).expect("few members"));
        for member in &self.members {
            out.u64(member.id.get());
            out.bytes(member.name.as_bytes());
            out.bytes(member.address.as_bytes());
        }
        out.u32(u32::try_from(self.modules.len()).expect("few modules"));
        for (name, sha256) in &self.modules {
            out.bytes(name.as_bytes());
            out.bytes(sha256);
        }
        out.into_body()
    }

    /// Reads what [`Genesis::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are malformed or of another version.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Genesis, FrameError> {
        let mut body = Reader(bytes);
        if body.u8()? != VERSION {
            return Err(FrameError::Malformed("genesis of another version"));
        }
        let token = body.string()?;
        let mut members = Vec::new();
        for _ in 0..body.u32()? {
            let id = NodeId::new(body.u64()?).ok_or(FrameError::Malformed("node id 0"))?;
            members.push(GenesisMember { id, name: body.string()?, address: body.string()? });
        }
        let mut modules = Vec::new();
        for _ in 0..body.u32()? {
            let name = body.string()?;
            let sha256 = body.bytes()?.try_into();
            modules.push((name, sha256.map_err(|_| FrameError::Malformed("hash length"))?));
        }
        body.end()?;
        Ok(Genesis { token, members, modules })
    }

    /// Part of the cluster's identity: checked in every handshake.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.encode()).into()
    }

    /// The cluster id: the first eight bytes of the hash.
    pub(crate) fn cluster(&self) -> u64 {
        let hash = self.hash();
        u64::from_le_bytes(hash[..8].try_into().expect("a sha256 has 32 bytes"))
    }

    /// What the state machines begin with, equal on every node.
    pub(crate) fn bootstrap(&self) -> Bootstrap {
        let members = self.members.iter().map(|member| Member {
            id: member.id.get(),
            name: member.name.clone(),
            address: member.address.clone(),
            role: Role::Voter,
            incarnation: 0,
        });
        let members = pgraft_membership::Genesis { members: members.collect() };
        let config = |name: &str| match name {
            "membership" => members.encode(),
            _ => Vec::new(),
        };
        let machines = self.modules.iter();
        Bootstrap {
            conf: ConfState {
                voters: self.members.iter().map(|member| member.id).collect(),
                ..ConfState::default()
            },
            machines: machines.map(|(name, sha)| (name.clone(), *sha, config(name))).collect(),
            time_ms: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;

    fn genesis(token: &str) -> Genesis {
        let address = Address::parse("127.0.0.1:7001").unwrap();
        let member = InitialMember { id: 1, name: "node1".to_owned(), address };
        let modules = Modules::built_in(pgraft_host::Place::PostgreSql).unwrap();
        Genesis::new(token, &[member], &modules)
    }

    #[test]
    fn genesis_survives_the_round_trip() {
        let genesis = genesis("t");
        assert_eq!(Genesis::decode(&genesis.encode()).unwrap(), genesis);
    }

    #[test]
    fn another_token_is_another_cluster() {
        assert_ne!(genesis("a").hash(), genesis("b").hash());
        assert_ne!(genesis("a").cluster(), genesis("b").cluster());
    }
}
