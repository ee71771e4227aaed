//! Who is at the other end: the first frame of a connection, and the answer to it.
//!
//! The dialler sends a [`Hello`]; the listener answers with a [`Welcome`] or a [`Refusal`]. This
//! keeps mistakes out (a node of another cluster, a data directory put under another id, a
//! removed node that comes back). It proves nothing about an attacker, who can say what he likes:
//! that takes TLS, whose place is `net`.

use bytes::Bytes;
use pgraft_replica::NodeId;

use crate::directory::Standing;
use crate::fields::{CodecError, Fields};
use crate::limits::{PROTOCOL_VERSION, REASON_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::transport::Local;

/// The handshake itself is always encoded like this, whatever is agreed on.
pub const HANDSHAKE_VERSION: u16 = 1;
/// The first bytes of a greeting: nobody speaks this protocol by accident.
pub const MAGIC: [u8; 8] = *b"pgraft\0n";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Messages between replicas, from the dialler to the listener.
    Messages,
    /// Requests of the dialler, replies of the listener.
    Requests,
    /// One snapshot, from the dialler to the listener.
    Snapshot,
}

impl Purpose {
    fn code(self) -> u8 {
        match self {
            Purpose::Messages => 1,
            Purpose::Requests => 2,
            Purpose::Snapshot => 3,
        }
    }

    fn from_code(code: u8) -> Result<Purpose, CodecError> {
        match code {
            1 => Ok(Purpose::Messages),
            2 => Ok(Purpose::Requests),
            3 => Ok(Purpose::Snapshot),
            other => Err(CodecError::Unknown { what: "purpose", found: other.into() }),
        }
    }
}

/// Why a listener sends a dialler away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// The cluster ids differ.
    #[error("it belongs to another cluster")]
    WrongCluster,
    /// The clusters have the same id and another beginning: members or modules differ.
    #[error("its cluster began differently (genesis)")]
    WrongGenesis,
    /// Not a member, as far as the listener knows; it may have to catch up.
    #[error("it does not know this node")]
    UnknownNode,
    /// The id is a member's, the data directory is not that member's.
    #[error("it knows another incarnation of this node")]
    Incarnation,
    /// The cluster has removed this node; ids are never used again.
    #[error("this node was removed from the cluster")]
    Removed,
    /// No protocol version in common.
    #[error("it speaks other versions of the protocol")]
    Version,
    /// The listener is another node than the dialler wanted.
    #[error("another node listens there")]
    NotForMe,
    /// A request to join came with a wrong token.
    #[error("the token of the cluster is another one")]
    WrongToken,
}

const REFUSALS: [(u16, Refusal); 8] = [
    (1, Refusal::WrongCluster),
    (2, Refusal::WrongGenesis),
    (3, Refusal::UnknownNode),
    (4, Refusal::Incarnation),
    (5, Refusal::Removed),
    (6, Refusal::Version),
    (7, Refusal::NotForMe),
    (8, Refusal::WrongToken),
];

impl Refusal {
    /// Every reason there is.
    pub fn all() -> impl Iterator<Item = Refusal> {
        REFUSALS.iter().map(|(_, refusal)| *refusal)
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let code = REFUSALS.iter().find(|(_, known)| *known == self).expect("all are listed").0;
        let mut out = code.to_le_bytes().to_vec();
        let mut why = self.to_string();
        why.truncate(REASON_BYTES_MAX);
        out.extend_from_slice(why.as_bytes());
        out
    }

    /// The text is for people who look at the wire; the code decides.
    pub(crate) fn decode(body: Bytes) -> Result<Refusal, CodecError> {
        let code = Fields::new(body).u16("refusal")?;
        let known = REFUSALS.iter().find(|(known, _)| *known == code);
        known
            .map(|(_, refusal)| *refusal)
            .ok_or(CodecError::Unknown { what: "refusal", found: code.into() })
    }
}

/// What the dialler says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Lowest protocol version it speaks.
    pub version_min: u16,
    /// Highest protocol version it speaks.
    pub version_max: u16,
    /// What the connection is for.
    pub purpose: Purpose,
    /// Its cluster.
    pub cluster: u64,
    /// How that cluster began.
    pub genesis_hash: [u8; 32],
    /// Who it is.
    pub from: NodeId,
    /// Whom it wants.
    pub to: NodeId,
    /// Its data directory.
    pub incarnation: u128,
}

impl Hello {
    pub(crate) fn of(local: &Local, to: NodeId, purpose: Purpose) -> Hello {
        Hello {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            purpose,
            cluster: local.cluster,
            genesis_hash: local.genesis_hash,
            from: local.node,
            to,
            incarnation: local.incarnation,
        }
    }

    /// The body of a `Hello` frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.version_min.to_le_bytes());
        out.extend_from_slice(&self.version_max.to_le_bytes());
        out.push(self.purpose.code());
        out.extend_from_slice(&self.cluster.to_le_bytes());
        out.extend_from_slice(&self.genesis_hash);
        out.extend_from_slice(&self.from.get().to_le_bytes());
        out.extend_from_slice(&self.to.get().to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out
    }

    /// Reads the body of a `Hello` frame.
    ///
    /// # Errors
    /// [`CodecError`] for anything that [`Hello::encode`] would not have written.
    pub fn decode(body: Bytes) -> Result<Hello, CodecError> {
        let mut fields = Fields::new(body);
        magic(&mut fields)?;
        let hello = Hello {
            version_min: fields.u16("lowest version")?,
            version_max: fields.u16("highest version")?,
            purpose: Purpose::from_code(fields.u8("purpose")?)?,
            cluster: fields.u64("cluster")?,
            genesis_hash: fields.array("genesis hash")?,
            from: fields.node("sender")?,
            to: fields.node("receiver")?,
            incarnation: fields.u128("incarnation")?,
        };
        fields.end()?;
        Ok(hello)
    }
}

fn magic(fields: &mut Fields) -> Result<(), CodecError> {
    let found: [u8; 8] = fields.array("magic")?;
    if found == MAGIC {
        Ok(())
    } else {
        Err(CodecError::Unknown { what: "magic", found: u64::from_be_bytes(found) })
    }
}

/// Decides about a greeting: the protocol version, or why not. Pure.
///
/// The order matters: a refusal speaks of membership only to those who have shown the same
/// cluster and genesis, so [`Refusal::Removed`] never comes from a stranger's cluster by mistake.
///
/// # Errors
/// The reason to send.
pub(crate) fn judge(local: &Local, standing: Standing, hello: &Hello) -> Result<u16, Refusal> {
    // One version so far: a range that holds it agrees on it.
    if !(hello.version_min..=hello.version_max).contains(&PROTOCOL_VERSION) {
        return Err(Refusal::Version);
    }
    if hello.cluster != local.cluster {
        return Err(Refusal::WrongCluster);
    }
    if hello.genesis_hash != local.genesis_hash {
        return Err(Refusal::WrongGenesis);
    }
    if hello.to != local.node {
        return Err(Refusal::NotForMe);
    }
    match standing {
        Standing::Removed => Err(Refusal::Removed),
        Standing::Unknown => Err(Refusal::UnknownNode),
        Standing::Member { incarnation }
            if incarnation != 0 && incarnation != hello.incarnation =>
        {
            Err(Refusal::Incarnation)
        }
        Standing::Member { .. } => Ok(PROTOCOL_VERSION),
    }
}

/// What the listener says when it agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version of all frames from here on.
    pub version: u16,
    /// Who it is.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: u128,
}

impl Welcome {
    /// The body of a `Welcome` frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.version.to_le_bytes().to_vec();
        out.extend_from_slice(&self.node.get().to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out
    }

    /// Reads the body of a `Welcome` frame.
    ///
    /// # Errors
    /// [`CodecError`] for anything that [`Welcome::encode`] would not have written.
    pub fn decode(body: Bytes) -> Result<Welcome, CodecError> {
        let mut fields = Fields::new(body);
        let version = fields.u16("version")?;
        let node = fields.node("listener")?;
        let incarnation = fields.u128("incarnation")?;
        fields.end()?;
        Ok(Welcome { version, node, incarnation })
    }
}

/// What a node that is not a member yet says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Join {
    pub(crate) token: Bytes,
    pub(crate) request: Bytes,
}

impl Join {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&PROTOCOL_VERSION.to_le_bytes());
        out.extend_from_slice(&PROTOCOL_VERSION.to_le_bytes());
        let len = u32::try_from(self.token.len()).expect("checked by the caller");
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&self.token);
        out.extend_from_slice(&self.request);
        out
    }

    /// `Ok(Err(_))`: well-formed, but of another version.
    pub(crate) fn decode(body: Bytes) -> Result<Result<Join, Refusal>, CodecError> {
        let mut fields = Fields::new(body);
        magic(&mut fields)?;
        let (min, max) = (fields.u16("lowest version")?, fields.u16("highest version")?);
        if !(min..=max).contains(&PROTOCOL_VERSION) {
            return Ok(Err(Refusal::Version));
        }
        let len = fields.count("bytes of token", 1, TOKEN_BYTES_MAX)?;
        let token = fields.bytes(len, "token")?;
        Ok(Ok(Join { token, request: fields.rest() }))
    }

    /// Whether the tokens are equal; takes the same time for any two of the same length.
    pub(crate) fn knows(&self, token: &[u8]) -> bool {
        let pairs = self.token.iter().zip(token);
        let difference = pairs.fold(0, |sum, (ours, theirs)| sum | (ours ^ theirs));
        self.token.len() == token.len() && difference == 0
    }
}

#[cfg(test)]
mod tests;
