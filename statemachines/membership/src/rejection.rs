//! Why the machine says no. Equal on every replica; the numbers are part of the interface.

use pgraft_sdk::Error;
use pgraft_sdk::codec::CodecError;

use crate::{MEMBERS_MAX, Member, NAME_BYTES_MAX, Role};

/// A refused command or query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The bytes are not a command.
    Malformed(CodecError),
    /// The first members contradict themselves.
    Genesis(String),
    /// There is and was no such member.
    UnknownMember(u64),
    /// It left for good.
    MemberGone(u64),
    /// The id is 0 where one is needed, too large, or was used before.
    Id(u64),
    /// Not a name.
    MalformedName(String),
    /// Not `host:port`.
    MalformedAddress(String),
    /// Another member has the name.
    DuplicateName(String, u64),
    /// Another member has the address.
    DuplicateAddress(String, u64),
    /// A change is being carried out.
    Busy(u64, Role),
    /// Nobody would be left to decide anything.
    LastVoter(u64),
    /// Only learners are promoted.
    NotALearner(u64, Role),
    /// Another data directory speaks for the id.
    IncarnationMismatch {
        /// The member.
        id: u64,
        /// The incarnation that was accepted first.
        known: u128,
        /// The one announced now.
        announced: u128,
    },
    /// More would not fit.
    TooManyMembers,
}

impl Rejection {
    /// The code, at least 100. Codes are never given a new meaning.
    pub const fn code(&self) -> u32 {
        match self {
            Rejection::Malformed(_) => 100,
            Rejection::Genesis(_) => 101,
            Rejection::UnknownMember(_) => 102,
            Rejection::MemberGone(_) => 103,
            Rejection::Id(_) => 104,
            Rejection::MalformedName(_) => 105,
            Rejection::MalformedAddress(_) => 106,
            Rejection::DuplicateName(..) => 107,
            Rejection::DuplicateAddress(..) => 108,
            Rejection::Busy(..) => 109,
            Rejection::LastVoter(_) => 110,
            Rejection::NotALearner(..) => 111,
            Rejection::IncarnationMismatch { .. } => 112,
            Rejection::TooManyMembers => 113,
        }
    }

    fn message(&self) -> String {
        match self {
            Rejection::Malformed(error) => error.to_string(),
            Rejection::Genesis(why) => format!("first members: {why}"),
            Rejection::UnknownMember(id) => format!("there is no member {id}"),
            Rejection::MemberGone(id) => {
                format!("member {id} is gone, and its id is not used again")
            }
            Rejection::Id(id) => format!("id {id} is 0, too large, or was used before"),
            Rejection::MalformedName(name) => format!(
                "name \"{name}\" is not 1 to {NAME_BYTES_MAX} letters, digits, '.', '_' or '-'"
            ),
            Rejection::MalformedAddress(address) => {
                format!("address \"{address}\" is not host:port")
            }
            Rejection::DuplicateName(name, id) => format!("member {id} has the name \"{name}\""),
            Rejection::DuplicateAddress(address, id) => {
                format!("member {id} has the address \"{address}\"")
            }
            Rejection::Busy(id, role) => format!("busy: member {id} is {}", role.name()),
            Rejection::LastVoter(id) => format!("member {id} is the last voter"),
            Rejection::NotALearner(id, role) => {
                format!("member {id} is not a learner but {}", role.name())
            }
            Rejection::IncarnationMismatch { id, known, announced } => {
                format!("incarnation-mismatch: member {id} is {known:032x}, not {announced:032x}")
            }
            Rejection::TooManyMembers => format!("there are {MEMBERS_MAX} members, no more fit"),
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

impl Rejection {
    /// Busy with `member`.
    pub(crate) fn busy(member: &Member) -> Rejection {
        Rejection::Busy(member.id, member.role)
    }
}
