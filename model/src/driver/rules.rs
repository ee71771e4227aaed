//! The properties by name, and a violation of one.

/// What must always hold; the first five are the Raft paper's (figure 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    ElectionSafety,
    LeaderAppendOnly,
    LogMatching,
    LeaderCompleteness,
    StateMachineSafety,
    LinearizableReads,
    ExactlyOnce,
    MembershipSafety,
    StartsAgain,
    Consistent,
}

impl Rule {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Rule::ElectionSafety => "Election Safety",
            Rule::LeaderAppendOnly => "Leader Append-Only",
            Rule::LogMatching => "Log Matching",
            Rule::LeaderCompleteness => "Leader Completeness",
            Rule::StateMachineSafety => "State Machine Safety",
            Rule::LinearizableReads => "linearizable reads",
            Rule::ExactlyOnce => "exactly once",
            Rule::MembershipSafety => "membership safety",
            Rule::StartsAgain => "a node starts again from its disk",
            Rule::Consistent => "a replica is consistent and never panics",
        }
    }
}

/// What does not hold, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    pub(super) what: String,
}

impl Violation {
    pub(super) fn new(rule: Rule, what: String) -> Violation {
        Violation { rule, what }
    }
}
