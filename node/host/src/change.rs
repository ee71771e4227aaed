//! Changes of the machines themselves: what stands in the payload of a command for the reserved
//! name [`MACHINES`].
//!
//! Layout, little endian: version u8 = 1, kind u8, then the fields of the kind in the order of
//! [`Change`]. docs/FORMATS.md has it byte by byte. Not here: what a change does (`lifecycle.rs`).

use crate::command::CommandError;
use crate::fields::{Malformed, Reader, Writer};
use crate::limits::{CONFIG_BYTES_MAX, LimitName, NAME_BYTES_MAX};

/// The name under which the machines themselves are changed. No machine may have it.
pub const MACHINES: &str = "machines";

/// SHA-256 of a component: what identifies a module.
pub type Sha256Bytes = [u8; 32];

/// Limits that are to change, each with its new value.
pub type NewLimits = Vec<(LimitName, u64)>;

/// A change of the machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A part of a module's bytes; they come in order. The reply is how many bytes are there, u64.
    Stage {
        /// Of the whole module.
        sha256: Sha256Bytes,
        /// Bytes of the whole module.
        total: u64,
        /// Where this part begins.
        offset: u64,
        /// The part.
        bytes: Vec<u8>,
    },
    /// Creates a machine that runs a staged module.
    Install {
        /// Its name.
        machine: String,
        /// The module.
        sha256: Sha256Bytes,
        /// For the machine's `init`.
        config: Vec<u8>,
        /// Other limits than the usual ones.
        limits: NewLimits,
    },
    /// Has a machine run another staged module from here on.
    Upgrade {
        /// Its name.
        machine: String,
        /// The new module.
        sha256: Sha256Bytes,
        /// The module that must be running: nobody else changed it meanwhile.
        expect: Sha256Bytes,
        /// The version need not rise.
        any_version: bool,
        /// The rows as they are now are kept, so that a rollback can put them back.
        keep_copy: bool,
        /// Limits that change at the same moment.
        limits: NewLimits,
    },
    /// One more step of a migration; the leader proposes it.
    Migrate {
        /// The machine.
        machine: String,
        /// The step that is due.
        step: u32,
    },
    /// Goes back to the module that ran before.
    Rollback {
        /// The machine.
        machine: String,
        /// The module that must be running, or be migrating to.
        expect: Sha256Bytes,
        /// The rows go back to the kept copy as well: what was written since is lost.
        restore: bool,
    },
    /// Sets limits.
    Limit {
        /// The machine.
        machine: String,
        /// What changes.
        limits: NewLimits,
    },
    /// Forgets the kept copy of a machine's rows.
    DropCopy {
        /// The machine.
        machine: String,
    },
    /// Removes a machine with all its rows.
    Remove {
        /// The machine.
        machine: String,
        /// The module that must be running.
        expect: Sha256Bytes,
    },
}

const VERSION: u8 = 1;
const STAGE: u8 = 1;
const INSTALL: u8 = 2;
const UPGRADE: u8 = 3;
const MIGRATE: u8 = 4;
const ROLLBACK: u8 = 5;
const LIMIT: u8 = 6;
const DROP_COPY: u8 = 7;
const REMOVE: u8 = 8;

impl Change {
    /// The machine that changes; `None` when bytes are staged.
    pub fn machine(&self) -> Option<&str> {
        match self {
            Change::Stage { .. } => None,
            Change::Install { machine, .. }
            | Change::Upgrade { machine, .. }
            | Change::Migrate { machine, .. }
            | Change::Rollback { machine, .. }
            | Change::Limit { machine, .. }
            | Change::DropCopy { machine }
            | Change::Remove { machine, .. } => Some(machine),
        }
    }

    /// The bytes for the log.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(VERSION);
        match self {
            Change::Stage { sha256, total, offset, bytes } => {
                out.u8(STAGE);
                out.raw(sha256);
                out.u64(*total);
                out.u64(*offset);
                out.bytes(bytes);
            }
            Change::Install { machine, sha256, config, limits } => {
                out.u8(INSTALL);
                out.bytes(machine.as_bytes());
                out.raw(sha256);
                out.bytes(config);
                write_limits(&mut out, limits);
            }
            Change::Upgrade { machine, sha256, expect, any_version, keep_copy, limits } => {
                out.u8(UPGRADE);
                out.bytes(machine.as_bytes());
                out.raw(sha256);
                out.raw(expect);
                out.u8(u8::from(*any_version));
                out.u8(u8::from(*keep_copy));
                write_limits(&mut out, limits);
            }
            Change::Migrate { machine, step } => {
                out.u8(MIGRATE);
                out.bytes(machine.as_bytes());
                out.u32(*step);
            }
            Change::Rollback { machine, expect, restore } => {
                out.u8(ROLLBACK);
                out.bytes(machine.as_bytes());
                out.raw(expect);
                out.u8(u8::from(*restore));
            }
            Change::Limit { machine, limits } => {
                out.u8(LIMIT);
                out.bytes(machine.as_bytes());
                write_limits(&mut out, limits);
            }
            Change::DropCopy { machine } => {
                out.u8(DROP_COPY);
                out.bytes(machine.as_bytes());
            }
            Change::Remove { machine, expect } => {
                out.u8(REMOVE);
                out.bytes(machine.as_bytes());
                out.raw(expect);
            }
        }
        out.0
    }

    /// Reads what [`Change::encode`] wrote.
    ///
    /// # Errors
    /// When version or kind is unknown, or the lengths do not add up.
    pub fn decode(data: &[u8]) -> Result<Change, CommandError> {
        let mut fields = Reader(data);
        let version = fields.u8()?;
        if version != VERSION {
            return Err(CommandError::Version(version));
        }
        let change = match fields.u8()? {
            STAGE => Change::Stage {
                sha256: fields.array()?,
                total: fields.u64()?,
                offset: fields.u64()?,
                bytes: fields.bytes()?.to_vec(),
            },
            INSTALL => Change::Install {
                machine: name(&mut fields)?,
                sha256: fields.array()?,
                config: config(&mut fields)?,
                limits: read_limits(&mut fields)?,
            },
            UPGRADE => Change::Upgrade {
                machine: name(&mut fields)?,
                sha256: fields.array()?,
                expect: fields.array()?,
                any_version: fields.flag()?,
                keep_copy: fields.flag()?,
                limits: read_limits(&mut fields)?,
            },
            MIGRATE => Change::Migrate { machine: name(&mut fields)?, step: fields.u32()? },
            ROLLBACK => Change::Rollback {
                machine: name(&mut fields)?,
                expect: fields.array()?,
                restore: fields.flag()?,
            },
            LIMIT => {
                Change::Limit { machine: name(&mut fields)?, limits: read_limits(&mut fields)? }
            }
            DROP_COPY => Change::DropCopy { machine: name(&mut fields)? },
            REMOVE => Change::Remove { machine: name(&mut fields)?, expect: fields.array()? },
            kind => return Err(CommandError::Kind(kind)),
        };
        fields.end()?;
        Ok(change)
    }
}

fn name(fields: &mut Reader<'_>) -> Result<String, Malformed> {
    let name = fields.string()?;
    if name.len() > NAME_BYTES_MAX { Err(Malformed) } else { Ok(name.to_owned()) }
}

fn config(fields: &mut Reader<'_>) -> Result<Vec<u8>, Malformed> {
    let config = fields.bytes()?;
    if config.len() > CONFIG_BYTES_MAX { Err(Malformed) } else { Ok(config.to_vec()) }
}

/// count u8, then limit u8 and value u64 each.
fn write_limits(out: &mut Writer, limits: &NewLimits) {
    out.u8(u8::try_from(limits.len()).expect("there are few limits"));
    for (limit, value) in limits {
        out.u8(*limit as u8);
        out.u64(*value);
    }
}

fn read_limits(fields: &mut Reader<'_>) -> Result<NewLimits, Malformed> {
    let count = fields.u8()?;
    let limit = |number: u8| LimitName::ALL.iter().copied().find(|limit| *limit as u8 == number);
    (0..count).map(|_| Ok((limit(fields.u8()?).ok_or(Malformed)?, fields.u64()?))).collect()
}

#[cfg(test)]
mod tests;
