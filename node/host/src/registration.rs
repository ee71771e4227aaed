//! A machine as its row says it: which module it runs, with which limits, and what is under way.
//!
//! Layout, little endian: version u8 = 2, id u32, sha256, schema u32, limits (u64 each, in the
//! order of [`LimitName::ALL`]), then what is described in docs/FORMATS.md byte by byte.

use pgraft_replica::Index;

use crate::change::Sha256Bytes;
use crate::fields::{Malformed, Reader, Writer};
use crate::limits::{LimitName, Limits};

const ROW_VERSION: u8 = 2;

/// A module that a machine ran, and the schema of its rows then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The module.
    pub sha256: Sha256Bytes,
    /// Of the rows.
    pub schema: u32,
}

/// A migration under way: until it is done the machine takes no commands and answers no queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The module that the machine will run.
    pub to: Sha256Bytes,
    /// The step that is due.
    pub step: u32,
    /// What was set aside is a copy that was asked for, not only the way back.
    pub keep_copy: bool,
}

/// A machine as its row says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its keyspace.
    pub id: u32,
    /// The module it runs.
    pub sha256: Sha256Bytes,
    /// Schema of its rows.
    pub schema: u32,
    /// What it may use.
    pub limits: Limits,
    /// What it ran before, for a rollback.
    pub previous: Option<Ran>,
    /// What it is being migrated to.
    pub migration: Option<Migration>,
    /// What was in the rows when the previous module stopped is kept.
    pub has_copy: bool,
    /// When the machine wanted to be woken as rows were first set aside, Unix milliseconds, 0 =
    /// never: it goes back with the rows.
    pub wake_ms: u64,
    /// Where its module changed last.
    pub changed_at: Index,
    /// When, by the time of the log, Unix milliseconds.
    pub changed_ms: u64,
    /// Who changed it.
    pub changed_by: String,
    /// Why the last upgrade went back to the old module; empty when it did not.
    pub failure: String,
}

impl Registration {
    /// A machine that runs nothing yet.
    pub(crate) fn new(id: u32, schema: u32, limits: Limits) -> Registration {
        Registration {
            id,
            sha256: [0; 32],
            schema,
            limits,
            previous: None,
            migration: None,
            has_copy: false,
            wake_ms: 0,
            changed_at: Index::ZERO,
            changed_ms: 0,
            changed_by: String::new(),
            failure: String::new(),
        }
    }

    /// Whether rows are set aside before they change.
    pub(crate) fn sets_aside(&self) -> bool {
        self.has_copy || self.migration.is_some()
    }

    /// Whether a module is run by the machine, was, or will be.
    pub(crate) fn uses(&self, sha256: &Sha256Bytes) -> bool {
        self.sha256 == *sha256
            || self.previous.is_some_and(|ran| ran.sha256 == *sha256)
            || self.migration.is_some_and(|migration| migration.to == *sha256)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let Registration {
            id,
            sha256,
            schema,
            mut limits,
            previous,
            migration,
            has_copy,
            wake_ms,
            changed_at,
            changed_ms,
            changed_by,
            failure,
        } = self.clone();
        let mut out = Writer::default();
        out.u8(ROW_VERSION);
        out.u32(id);
        out.raw(&sha256);
        out.u32(schema);
        LimitName::ALL.into_iter().for_each(|name| out.u64(*limits.of(name)));
        out.u8(u8::from(previous.is_some()));
        if let Some(Ran { sha256, schema }) = previous {
            out.raw(&sha256);
            out.u32(schema);
        }
        out.u8(u8::from(migration.is_some()));
        if let Some(Migration { to, step, keep_copy }) = migration {
            out.raw(&to);
            out.u32(step);
            out.u8(u8::from(keep_copy));
        }
        out.u8(u8::from(has_copy));
        out.u64(wake_ms);
        out.u64(changed_at.0);
        out.u64(changed_ms);
        out.bytes(changed_by.as_bytes());
        out.bytes(failure.as_bytes());
        out.0
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Registration, Malformed> {
        let mut fields = Reader(row);
        if fields.u8()? != ROW_VERSION {
            return Err(Malformed);
        }
        let (id, sha256, schema) = (fields.u32()?, fields.array()?, fields.u32()?);
        let mut limits = Limits::DEFAULT;
        for name in LimitName::ALL {
            *limits.of(name) = fields.u64()?;
        }
        let previous = match fields.flag()? {
            true => Some(Ran { sha256: fields.array()?, schema: fields.u32()? }),
            false => None,
        };
        let migration = match fields.flag()? {
            true => Some(Migration {
                to: fields.array()?,
                step: fields.u32()?,
                keep_copy: fields.flag()?,
            }),
            false => None,
        };
        let registration = Registration {
            id,
            sha256,
            schema,
            limits,
            previous,
            migration,
            has_copy: fields.flag()?,
            wake_ms: fields.u64()?,
            changed_at: Index(fields.u64()?),
            changed_ms: fields.u64()?,
            changed_by: fields.string()?.to_owned(),
            failure: fields.string()?.to_owned(),
        };
        fields.end()?;
        Ok(registration)
    }
}
