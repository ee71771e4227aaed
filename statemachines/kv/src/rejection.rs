//! Why the machine says no. Equal on every replica; the numbers are part of the interface, and
//! the texts are etcd's where etcd has one: its clients match them.

use pgraft_sdk::Error;
use pgraft_sdk::codec::CodecError;

use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// A refused command or query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The bytes are not a command or query.
    Malformed(CodecError),
    /// A key is missing.
    EmptyKey,
    /// A key is longer than [`KEY_BYTES_MAX`].
    KeyTooLarge(usize),
    /// A value is longer than [`VALUE_BYTES_MAX`].
    ValueTooLarge(usize),
    /// A command is longer than [`crate::REQUEST_BYTES_MAX`].
    RequestTooLarge,
    /// `ignore_value` or `ignore_lease` for a key that does not exist.
    KeyNotFound,
    /// `ignore_value` with a value.
    ValueProvided,
    /// `ignore_lease` with a lease.
    LeaseProvided,
    /// More operations than [`crate::TXN_OPS_MAX`].
    TooManyOps,
    /// A transaction that writes a key twice.
    DuplicateKey,
    /// The revision was compacted.
    Compacted,
    /// The revision is not there yet.
    FutureRevision,
    /// There is no such lease.
    LeaseNotFound,
    /// There is such a lease.
    LeaseExists,
    /// A lease longer than [`crate::LEASE_TTL_SECONDS_MAX`].
    LeaseTtlTooLarge,
    /// More changes than [`crate::REQUEST_CHANGES_MAX`], or longer keys than
    /// [`crate::REQUEST_CHANGES_BYTES_MAX`].
    TooManyChanges,
}

impl Rejection {
    /// Every code with its text; documented in docs/FORMATS.md. Codes never get a new meaning.
    pub const TABLE: [(u32, &'static str); 16] = [
        (100, "malformed command or query"),
        (101, "etcdserver: key is not provided"),
        (102, "key is too large"),
        (103, "value is too large"),
        (104, "etcdserver: request is too large"),
        (105, "etcdserver: key not found"),
        (106, "etcdserver: value is provided"),
        (107, "etcdserver: lease is provided"),
        (108, "etcdserver: too many operations in txn request"),
        (109, "etcdserver: duplicate key given in txn request"),
        (110, "etcdserver: mvcc: required revision has been compacted"),
        (111, "etcdserver: mvcc: required revision is a future revision"),
        (112, "etcdserver: requested lease not found"),
        (113, "etcdserver: lease already exists"),
        (114, "etcdserver: too large lease TTL"),
        (115, "too many keys are changed by one request"),
    ];

    const fn place(&self) -> usize {
        match self {
            Rejection::Malformed(_) => 0,
            Rejection::EmptyKey => 1,
            Rejection::KeyTooLarge(_) => 2,
            Rejection::ValueTooLarge(_) => 3,
            Rejection::RequestTooLarge => 4,
            Rejection::KeyNotFound => 5,
            Rejection::ValueProvided => 6,
            Rejection::LeaseProvided => 7,
            Rejection::TooManyOps => 8,
            Rejection::DuplicateKey => 9,
            Rejection::Compacted => 10,
            Rejection::FutureRevision => 11,
            Rejection::LeaseNotFound => 12,
            Rejection::LeaseExists => 13,
            Rejection::LeaseTtlTooLarge => 14,
            Rejection::TooManyChanges => 15,
        }
    }

    /// The code, at least 100.
    pub const fn code(&self) -> u32 {
        Rejection::TABLE[self.place()].0
    }

    fn message(&self) -> String {
        let text = Rejection::TABLE[self.place()].1;
        match self {
            Rejection::Malformed(error) => error.to_string(),
            Rejection::KeyTooLarge(size) => {
                format!("{text}: {size} bytes, at most {KEY_BYTES_MAX} are allowed")
            }
            Rejection::ValueTooLarge(size) => {
                format!("{text}: {size} bytes, at most {VALUE_BYTES_MAX} are allowed")
            }
            _ => text.to_owned(),
        }
    }
}

impl From<CodecError> for Rejection {
    fn from(error: CodecError) -> Rejection {
        Rejection::Malformed(error)
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Error {
        Error::new(rejection.code(), rejection.message())
    }
}
