//! Commands, queries, replies, effects and events of the membership machine as bytes.
//!
//! The first byte of each is [`FORMAT`]; FORMATS.md has the layout. Used by the machine itself,
//! by the node, which carries out its effects, and by gateways.

use pgraft_sdk::codec::{Reader, Writer};

pub use pgraft_sdk::codec::CodecError;

use crate::{Member, Role};

/// Version of all encodings in this file.
pub const FORMAT: u8 = 1;
/// Kind of the effect that asks the leader for a [`ConfRequest`].
pub const CONF_CHANGE: &str = "conf-change";
/// Topic of the event that carries the changed [`Member`] (see [`Member::encode`]).
pub const TOPIC: &[u8] = b"members";

/// What the machine is created with: the first members, all of them voters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Genesis {
    /// In ascending order of ids.
    pub members: Vec<Member>,
}

/// What can be asked of the member list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new member, which begins as a learner.
    Add {
        /// 0 = the next free one.
        id: u64,
        /// Unique name.
        name: String,
        /// `host:port`.
        address: String,
    },
    /// A member leaves for good.
    Remove {
        /// Who.
        id: u64,
    },
    /// A learner becomes a voter.
    Promote {
        /// Who.
        id: u64,
    },
    /// A node says which data directory speaks for an id.
    Announce {
        /// Who.
        id: u64,
        /// Not 0.
        incarnation: u128,
    },
}

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// All members ever, in ascending order of ids.
    Members,
}

/// What commands and queries are answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Accepted.
    Done,
    /// The new member was accepted under this id.
    Added {
        /// Its id.
        id: u64,
    },
    /// All members, including those that are gone, in ascending order of ids.
    Members(Vec<Member>),
}

/// What the leader is asked to do with the Raft configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfRequest {
    /// Changes of one configuration change, and the ids they concern.
    pub changes: Vec<(ConfRequestKind, u64)>,
}

/// What happens to one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfRequestKind {
    /// Becomes a voter.
    AddVoter,
    /// Becomes a learner.
    AddLearner,
    /// Leaves.
    Remove,
}

impl Genesis {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = begin();
        writer.list(&self.members, write_member);
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When the bytes are not what [`Genesis::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Genesis, CodecError> {
        let mut reader = open(bytes)?;
        let members = reader.list("members", read_member)?;
        reader.end()?;
        Ok(Genesis { members })
    }
}

impl Member {
    /// As bytes: the payload of an event, and the machine's row.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = begin();
        write_member(&mut writer, self);
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When the bytes are not what [`Member::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Member, CodecError> {
        let mut reader = open(bytes)?;
        let member = read_member(&mut reader)?;
        reader.end()?;
        Ok(member)
    }
}

impl Command {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = begin();
        match self {
            Command::Add { id, name, address } => {
                writer.u8(1).u64(*id).bytes(name.as_bytes()).bytes(address.as_bytes())
            }
            Command::Remove { id } => writer.u8(2).u64(*id),
            Command::Promote { id } => writer.u8(3).u64(*id),
            Command::Announce { id, incarnation } => writer.u8(4).u64(*id).u128(*incarnation),
        };
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When the bytes are not what [`Command::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Command, CodecError> {
        let mut reader = open(bytes)?;
        let command = match reader.u8("command")? {
            1 => Command::Add {
                id: reader.u64("id")?,
                name: reader.text("name")?,
                address: reader.text("address")?,
            },
            2 => Command::Remove { id: reader.u64("id")? },
            3 => Command::Promote { id: reader.u64("id")? },
            4 => Command::Announce {
                id: reader.u64("id")?,
                incarnation: reader.u128("incarnation")?,
            },
            _ => return Err(reader.error("command")),
        };
        reader.end()?;
        Ok(command)
    }
}

impl Query {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = begin();
        match self {
            Query::Members => writer.u8(1),
        };
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When the bytes are not what [`Query::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Query, CodecError> {
        let mut reader = open(bytes)?;
        let query = match reader.u8("query")? {
            1 => Query::Members,
            _ => return Err(reader.error("query")),
        };
        reader.end()?;
        Ok(query)
    }
}

impl Reply {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = begin();
        match self {
            Reply::Done => writer.u8(1),
            Reply::Added { id } => writer.u8(2).u64(*id),
            Reply::Members(members) => writer.u8(3).list(members, write_member),
        };
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When the bytes are not what [`Reply::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Reply, CodecError> {
        let mut reader = open(bytes)?;
        let reply = match reader.u8("reply")? {
            1 => Reply::Done,
            2 => Reply::Added { id: reader.u64("id")? },
            3 => Reply::Members(reader.list("members", read_member)?),
            _ => return Err(reader.error("reply")),
        };
        reader.end()?;
        Ok(reply)
    }
}

impl ConfRequest {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = begin();
        writer.list(&self.changes, |writer, (kind, id)| {
            writer.u8(*kind as u8 + 1).u64(*id);
        });
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When the bytes are not what [`ConfRequest::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<ConfRequest, CodecError> {
        let mut reader = open(bytes)?;
        let changes = reader.list("changes", |reader| {
            let kind = match reader.u8("kind of change")? {
                1 => ConfRequestKind::AddVoter,
                2 => ConfRequestKind::AddLearner,
                3 => ConfRequestKind::Remove,
                _ => return Err(reader.error("kind of change")),
            };
            Ok((kind, reader.u64("id")?))
        })?;
        reader.end()?;
        Ok(ConfRequest { changes })
    }
}

fn begin() -> Writer {
    let mut writer = Writer::with_capacity(64);
    writer.u8(FORMAT);
    writer
}

fn open(bytes: &[u8]) -> Result<Reader<'_>, CodecError> {
    let mut reader = Reader::new(bytes);
    match reader.u8("format 1")? {
        FORMAT => Ok(reader),
        _ => Err(reader.error("format 1")),
    }
}

fn write_member(writer: &mut Writer, member: &Member) {
    writer
        .u64(member.id)
        .bytes(member.name.as_bytes())
        .bytes(member.address.as_bytes())
        .u8(member.role as u8 + 1)
        .u128(member.incarnation);
}

fn read_member(reader: &mut Reader<'_>) -> Result<Member, CodecError> {
    Ok(Member {
        id: reader.u64("id")?,
        name: reader.text("name")?,
        address: reader.text("address")?,
        role: read_role(reader)?,
        incarnation: reader.u128("incarnation")?,
    })
}

fn read_role(reader: &mut Reader<'_>) -> Result<Role, CodecError> {
    let number = usize::from(reader.u8("role")?);
    let role = number.checked_sub(1).and_then(|place| Role::ALL.get(place));
    role.copied().ok_or(reader.error("role"))
}
