//! A member and its lifecycle.

/// One row of the member list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Never 0, never used twice.
    pub id: u64,
    /// Name given by people; unique among members that are not gone.
    pub name: String,
    /// Where its peers reach it, `host:port`; unique among members that are not gone.
    pub address: String,
    /// Where it stands in its lifecycle.
    pub role: Role,
    /// Identity of the data directory that speaks for this id; 0 = not yet known.
    pub incarnation: u128,
}

/// The lifecycle of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Accepted; not yet in the Raft configuration.
    Joining,
    /// Receives the log without a vote.
    Learner,
    /// A learner that is being made a voter.
    Promoting,
    /// Has a vote.
    Voter,
    /// Being taken out of the Raft configuration.
    Leaving,
    /// Out for good; the row stays so that its id is not used again.
    Gone,
}

impl Role {
    /// All roles, in the order of a life.
    pub const ALL: [Role; 6] =
        [Role::Joining, Role::Learner, Role::Promoting, Role::Voter, Role::Leaving, Role::Gone];

    /// The whole lifecycle on one screen; anything not listed is a bug in the caller.
    ///
    /// A change that the leader could not carry out goes back to where it came from:
    /// `Promoting` to `Learner`, `Leaving` to `Learner` or `Voter`, `Joining` to `Gone`.
    pub const fn may_become(self) -> &'static [Role] {
        match self {
            Role::Joining => &[Role::Learner, Role::Gone],
            Role::Learner => &[Role::Promoting, Role::Leaving],
            Role::Promoting => &[Role::Voter, Role::Learner],
            Role::Voter => &[Role::Leaving],
            Role::Leaving => &[Role::Gone, Role::Learner, Role::Voter],
            Role::Gone => &[],
        }
    }

    /// The next role.
    ///
    /// # Panics
    /// When the table does not allow the move: the caller decides moves, so it is a bug.
    #[must_use]
    pub fn moved_to(self, next: Role) -> Role {
        assert!(self.may_become().contains(&next), "illegal move {self:?} to {next:?}");
        next
    }

    /// Lower-case name, as it stands in scripts, SQL and docs.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Joining => "joining",
            Role::Learner => "learner",
            Role::Promoting => "promoting",
            Role::Voter => "voter",
            Role::Leaving => "leaving",
            Role::Gone => "gone",
        }
    }
}
