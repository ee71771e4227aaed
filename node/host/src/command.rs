//! The envelope of a command in the log: which machine it is for, and whose it is.
//!
//! Layout, little endian: version u8 = 1, kind u8, then the fields of the kind in the order of
//! [`Command`], strings and bytes with their length u32 before them. docs/FORMATS.md has it byte
//! by byte.

use bytes::Bytes;
use pgraft_replica::Index;

use crate::fields::{Malformed, Reader, Writer};
use crate::limits::{MACHINES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, PRINCIPAL_BYTES_MAX};
use crate::rejection::{Outcome, Rejection};

/// One command of an entry's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// For a machine.
    Machine {
        /// Its name.
        machine: String,
        /// Who sent it, as authenticated by the proposer's host; "" = anonymous, "sys:..." = a
        /// node itself.
        principal: String,
        /// The session whose `seq` makes it applied once; 0 = none.
        session: u64,
        /// Its number in the session.
        seq: u64,
        /// The client has the replies of all lower numbers.
        acked_below: u64,
        /// For the machine.
        payload: Bytes,
    },
    /// Opens a session. The reply is its id, 8 bytes little endian: index << 16 | position.
    OpenSession,
    /// The leader's clock passed the time at which the machine wanted to be woken.
    Wake {
        /// Its name.
        machine: String,
    },
    /// The leader performed an effect.
    EffectDone {
        /// Who asked for it.
        machine: String,
        /// The effect's id.
        id: u64,
        /// What came of it.
        outcome: Outcome,
    },
    /// An effect by which one machine gives another a command: performed in this entry.
    Perform {
        /// Who asked for it.
        machine: String,
        /// The effect's id.
        id: u64,
    },
    /// The leader's digests: who has others at that index has diverged.
    Digest {
        /// Where they were taken.
        index: Index,
        /// Machine and digest, ascending.
        digests: Vec<(u32, u128)>,
    },
}

/// Why bytes are not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Written by a newer program.
    #[error("command has version {0}, this program knows 1")]
    Version(u8),
    /// Of no known kind.
    #[error("command is of unknown kind {0}")]
    Kind(u8),
    /// Cut short, too long, or over a limit.
    #[error("command is malformed")]
    Malformed,
}

impl From<Malformed> for CommandError {
    fn from(_: Malformed) -> CommandError {
        CommandError::Malformed
    }
}

const VERSION: u8 = 1;
const MACHINE: u8 = 1;
const OPEN_SESSION: u8 = 2;
const WAKE: u8 = 3;
const EFFECT_DONE: u8 = 4;
const DIGEST: u8 = 5;
const PERFORM: u8 = 6;

impl Command {
    /// The bytes for the log.
    pub fn encode(&self) -> Bytes {
        let mut out = Writer(Vec::with_capacity(64));
        out.u8(VERSION);
        match self {
            Command::Machine { machine, principal, session, seq, acked_below, payload } => {
                out.0.reserve(machine.len() + principal.len() + payload.len());
                out.u8(MACHINE);
                out.bytes(machine.as_bytes());
                out.bytes(principal.as_bytes());
                out.u64(*session);
                out.u64(*seq);
                out.u64(*acked_below);
                out.bytes(payload);
            }
            Command::OpenSession => out.u8(OPEN_SESSION),
            Command::Wake { machine } => {
                out.u8(WAKE);
                out.bytes(machine.as_bytes());
            }
            Command::EffectDone { machine, id, outcome } => {
                out.u8(EFFECT_DONE);
                out.bytes(machine.as_bytes());
                out.u64(*id);
                write_outcome(&mut out, outcome);
            }
            Command::Perform { machine, id } => {
                out.u8(PERFORM);
                out.bytes(machine.as_bytes());
                out.u64(*id);
            }
            Command::Digest { index, digests } => {
                out.u8(DIGEST);
                out.u64(index.0);
                write_digests(&mut out, digests);
            }
        }
        Bytes::from(out.0)
    }

    /// Reads what [`Command::encode`] wrote; the payload shares `data`.
    ///
    /// # Errors
    /// When version or kind is unknown, or the lengths do not add up.
    pub fn decode(data: &Bytes) -> Result<Command, CommandError> {
        let mut fields = Reader(data);
        let version = fields.u8()?;
        if version != VERSION {
            return Err(CommandError::Version(version));
        }
        let command = match fields.u8()? {
            MACHINE => Command::Machine {
                machine: name(&mut fields, NAME_BYTES_MAX)?,
                principal: name(&mut fields, PRINCIPAL_BYTES_MAX)?,
                session: fields.u64()?,
                seq: fields.u64()?,
                acked_below: fields.u64()?,
                payload: data.slice_ref(fields.bytes()?),
            },
            OPEN_SESSION => Command::OpenSession,
            WAKE => Command::Wake { machine: name(&mut fields, NAME_BYTES_MAX)? },
            EFFECT_DONE => Command::EffectDone {
                machine: name(&mut fields, NAME_BYTES_MAX)?,
                id: fields.u64()?,
                outcome: read_outcome(&mut fields)?,
            },
            PERFORM => {
                Command::Perform { machine: name(&mut fields, NAME_BYTES_MAX)?, id: fields.u64()? }
            }
            DIGEST => {
                Command::Digest { index: Index(fields.u64()?), digests: read_digests(&mut fields)? }
            }
            kind => return Err(CommandError::Kind(kind)),
        };
        fields.end()?;
        Ok(command)
    }
}

fn name(fields: &mut Reader<'_>, bytes_max: usize) -> Result<String, Malformed> {
    let name = fields.string()?;
    if name.len() > bytes_max { Err(Malformed) } else { Ok(name.to_owned()) }
}

/// tag u8 (0 reply, 1 rejection), then bytes, or code u32 and message.
pub(crate) fn write_outcome(out: &mut Writer, outcome: &Outcome) {
    match outcome {
        Ok(reply) => {
            out.u8(0);
            out.bytes(reply);
        }
        Err(rejection) => {
            out.u8(1);
            out.u32(rejection.code);
            out.bytes(rejection.message.as_bytes());
        }
    }
}

pub(crate) fn read_outcome(fields: &mut Reader<'_>) -> Result<Outcome, Malformed> {
    match fields.u8()? {
        0 => Ok(Ok(fields.bytes()?.to_vec())),
        1 => {
            let rejection = Rejection { code: fields.u32()?, message: fields.string()?.to_owned() };
            if rejection.message.len() > 4 * MESSAGE_BYTES_MAX {
                return Err(Malformed);
            }
            Ok(Err(rejection))
        }
        _ => Err(Malformed),
    }
}

/// count u32, then machine u32 and digest u128 each.
pub(crate) fn write_digests(out: &mut Writer, digests: &[(u32, u128)]) {
    out.u32(u32::try_from(digests.len()).expect("MACHINES_MAX fits"));
    for (machine, digest) in digests {
        out.u32(*machine);
        out.u128(*digest);
    }
}

pub(crate) fn read_digests(fields: &mut Reader<'_>) -> Result<Vec<(u32, u128)>, Malformed> {
    let count = fields.u32()? as usize;
    if count > MACHINES_MAX + 1 {
        return Err(Malformed);
    }
    (0..count).map(|_| Ok((fields.u32()?, fields.u128()?))).collect()
}

#[cfg(test)]
mod tests;
