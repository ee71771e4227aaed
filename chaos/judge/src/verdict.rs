//! What a checker says: pass, unknown or fail, and why. Unknown is never a pass.

use std::fmt;

use serde::Serialize;

/// How bad it is. Worse is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// Looked at, and right.
    #[default]
    Pass,
    /// Not decided: too much work, or nothing to look at.
    Unknown,
    /// Wrong.
    Fail,
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rank::Pass => "PASSED",
            Rank::Unknown => "UNKNOWN",
            Rank::Fail => "FAILED",
        })
    }
}

/// What a checker says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How bad it is.
    pub rank: Rank,
    /// In one line: what was found, or how much was looked at.
    pub says: String,
    /// The operations that cannot all be right, in order of their beginning.
    pub operations: Vec<u64>,
    /// More lines for people: the smallest window that shows it.
    pub window: Vec<String>,
}

impl Verdict {
    /// All was looked at, and right.
    pub fn pass(says: impl Into<String>) -> Verdict {
        Verdict { rank: Rank::Pass, says: says.into(), ..Verdict::default() }
    }

    /// Not decided.
    pub fn unknown(says: impl Into<String>) -> Verdict {
        Verdict { rank: Rank::Unknown, says: says.into(), ..Verdict::default() }
    }

    /// Wrong, and these operations show it.
    pub fn fail(says: impl Into<String>, mut operations: Vec<u64>) -> Verdict {
        operations.sort_unstable();
        operations.dedup();
        Verdict { rank: Rank::Fail, says: says.into(), operations, window: Vec::new() }
    }

    /// With more lines.
    #[must_use]
    pub fn with_window(mut self, window: Vec<String>) -> Verdict {
        self.window = window;
        self
    }

    /// The worse of two; the first of equals.
    #[must_use]
    pub fn and(self, other: Verdict) -> Verdict {
        if other.rank > self.rank { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_unknown_is_no_pass() {
        let ranks = [Rank::Pass, Rank::Unknown, Rank::Fail];
        assert!(ranks.is_sorted_by(|one, other| one < other));
        let both = Verdict::pass("a").and(Verdict::unknown("b"));
        assert_eq!(both, Verdict::unknown("b"));
        assert_eq!(both.and(Verdict::fail("c", vec![2, 1, 2])).operations, [1, 2]);
    }
}
