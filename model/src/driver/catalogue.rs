//! The models of the driver by name: complete small scopes, walks through a large one, and one
//! canary for each planted bug.

use pgraft_replica::ConfChangeKind::{AddLearner, AddVoter, Remove};

use super::cluster::Cluster;
use super::marks::Marks;
use super::mutant::Mutant;
use super::node::id;
use super::rules::Rule;
use super::scope::Scope;
use crate::bounds::Bounds;
use crate::catalogue::Entry;
use crate::report::Expected;
use crate::search;

/// An entry whose scope is a function of the number of servers.
macro_rules! entry {
    ($name:literal, $about:literal, $small:expr, $expected:expr, $scope:expr) => {
        Entry {
            name: $name,
            about: $about,
            small: $small,
            expected: $expected,
            check: |bounds| search::run($name, Cluster::new($scope(servers(bounds))), bounds),
            explore: |bounds, address| {
                search::explore(Cluster::new($scope(servers(bounds))), bounds, address);
            },
        }
    };
}

/// A canary: a scope with a planted bug, and the property that it must violate.
macro_rules! canary {
    ($name:literal, $about:literal, $small:expr, $rule:ident, $mutant:ident, $scope:expr) => {
        entry!($name, $about, $small, Expected::Refuted(Rule::$rule.name()), |servers| Scope {
            mutant: Some(Mutant::$mutant),
            must: &[],
            ..$scope(servers)
        })
    };
}

fn servers(bounds: &Bounds) -> u8 {
    u8::try_from(bounds.servers.clamp(1, 5)).expect("it is at most 5")
}

/// All models of the driver.
pub(super) fn entries() -> Vec<Entry> {
    [small(), deep(), found(), canaries()].concat()
}

/// Complete to a depth; the larger the depth, the more is checked.
fn small() -> Vec<Entry> {
    vec![
        entry!(
            "driver-elections",
            "elections from the first start, one crash, writes that complete later",
            Bounds::to_depth(3, 10),
            Expected::Holds,
            elections
        ),
        entry!(
            "driver-log",
            "two commands, a crash and a second term over logs that differ",
            Bounds::to_depth(3, 8),
            Expected::Holds,
            log
        ),
        entry!(
            "driver-reads",
            "a read and a command while leadership changes",
            Bounds::to_depth(3, 9),
            Expected::Holds,
            reads
        ),
        entry!(
            "driver-transfer",
            "leadership is handed over, with a command in flight",
            Bounds::to_depth(3, 10),
            Expected::Holds,
            transfer
        ),
        entry!(
            "driver-repeats",
            "a client repeats its command after a crash, with another leader too",
            Bounds::to_depth(3, 8),
            Expected::Holds,
            repeats
        ),
        entry!(
            "driver-snapshots",
            "a follower falls behind what the leader truncates, and starts from a snapshot",
            Bounds::to_depth(3, 10),
            Expected::Holds,
            snapshots
        ),
        entry!(
            "driver-members",
            "two voters are removed one after the other, with a crash",
            Bounds::to_depth(3, 10),
            Expected::Holds,
            removals
        ),
        entry!(
            "driver-joint",
            "a voter is replaced by a learner through a joint configuration, with a crash",
            Bounds::to_depth(3, 9),
            Expected::Holds,
            joint
        ),
    ]
}

fn deep() -> Vec<Entry> {
    vec![
        entry!(
            "driver-terms",
            "leaders of many terms over entries that none of them commits (Raft paper, figure 8)",
            Bounds::walks(3, 80, 100_000, 1),
            Expected::Holds,
            terms
        ),
        entry!(
            "driver-walks",
            "everything, deep: random walks",
            Bounds::walks(4, 200, 60_000, 1),
            Expected::Holds,
            everything
        ),
    ]
}

/// Nothing but what figure 8 needs: a leader whose entry comes along with the next term, or not.
fn terms(servers: u8) -> Scope {
    Scope {
        letters: 8,
        proposals: 1,
        beats: 2,
        writes_at_once: true,
        walks: true,
        must: &[Marks::ENTRY_COMMITTED, Marks::OVERWRITTEN],
        ..Scope::led(servers, 5)
    }
}

/// Where the model found bugs of the replica, which are mended: each scope is searched farther than
/// the shortest path to its bug was, 9 actions.
fn found() -> Vec<Entry> {
    vec![
        entry!(
            "driver-found-install",
            "found: an election while a snapshot was being written panicked in raft-rs",
            Bounds::to_depth(3, 11),
            Expected::Holds,
            |servers| Scope {
                term_max: 2,
                must: &[Marks::TRUNCATED, Marks::SNAPSHOT_INSTALLED],
                ..quick_snapshots(servers)
            }
        ),
        entry!(
            "driver-found-conf",
            "found: a change that a snapshot overtook was applied to the later configuration",
            Bounds::to_depth(3, 13),
            Expected::Holds,
            overtaking
        ),
    ]
}

fn elections(servers: u8) -> Scope {
    Scope {
        letters: 4,
        crashes: 1,
        must: &[Marks::RESTARTED, Marks::WRITE_KEPT, Marks::WRITE_LOST],
        ..Scope::elections(servers, 1)
    }
}

fn log(servers: u8) -> Scope {
    Scope {
        proposals: 2,
        crashes: 1,
        must: &[Marks::ENTRY_COMMITTED, Marks::LEADER_CRASHED],
        ..Scope::led(servers, 2)
    }
}

/// As [`log`], with a disk that is quick.
fn quick_log(servers: u8) -> Scope {
    Scope { writes_at_once: true, letters: 4, ..log(servers) }
}

fn reads(servers: u8) -> Scope {
    Scope {
        letters: 4,
        proposals: 1,
        reads: 1,
        beats: 1,
        writes_at_once: true,
        must: &[Marks::READ_SERVED],
        ..Scope::led(servers, 2)
    }
}

fn transfer(servers: u8) -> Scope {
    Scope {
        letters: 4,
        proposals: 1,
        transfers: 1,
        writes_at_once: true,
        must: &[Marks::TRANSFERRED, Marks::ENTRY_COMMITTED],
        ..Scope::led(servers, 1)
    }
}

/// A command is proposed again with another leader.
fn repeats(servers: u8) -> Scope {
    Scope {
        letters: 4,
        proposals: 1,
        repeats: 1,
        crashes: 1,
        checkpoints: true,
        writes_at_once: true,
        must: &[Marks::REPEAT_IGNORED, Marks::STATE_LOST],
        ..Scope::led(servers, 2)
    }
}

fn snapshots(servers: u8) -> Scope {
    Scope {
        crashes: 1,
        must: &[Marks::TRUNCATED, Marks::SNAPSHOT_INSTALLED],
        ..quick_snapshots(servers)
    }
}

/// Nothing happens but what leads to a snapshot.
fn quick_snapshots(servers: u8) -> Scope {
    Scope {
        letters: 3,
        proposals: 2,
        truncates: true,
        checkpoints: true,
        writes_at_once: true,
        doubts: false,
        ..Scope::led(servers, 1)
    }
}

/// A change waits on a follower while the leader truncates it away.
fn overtaking(servers: u8) -> Scope {
    let newcomer = id(servers + 1);
    Scope {
        behind: true,
        changes: vec![vec![(AddLearner, newcomer)], vec![(Remove, newcomer)]],
        beats: 2,
        crashes: 1,
        must: &[Marks::SNAPSHOT_INSTALLED, Marks::CONF_CHANGED],
        ..quick_snapshots(servers)
    }
}

fn removals(servers: u8) -> Scope {
    Scope {
        letters: 4,
        changes: vec![vec![(Remove, id(3))], vec![(Remove, id(2))]],
        crashes: 1,
        must: &[Marks::CONF_CHANGED],
        ..Scope::led(servers, 2)
    }
}

fn joint(servers: u8) -> Scope {
    Scope {
        servers: servers + 1,
        letters: 5,
        changes: vec![
            vec![(AddLearner, id(servers + 1))],
            vec![(AddVoter, id(servers + 1)), (Remove, id(servers))],
        ],
        crashes: 1,
        beats: 2,
        writes_at_once: true,
        must: &[Marks::CONF_CHANGED, Marks::JOINT_ENTERED, Marks::JOINT_CRASHED],
        ..Scope::led(servers, 1)
    }
}

fn everything(servers: u8) -> Scope {
    Scope {
        servers,
        letters: 12,
        proposals: 6,
        repeats: 3,
        reads: 4,
        changes: vec![
            vec![(AddLearner, id(4))],
            vec![(AddVoter, id(4)), (Remove, id(3))],
            vec![(AddLearner, id(3))],
            vec![(AddVoter, id(3))],
        ],
        transfers: 2,
        crashes: 4,
        duplicates: 6,
        beats: 40,
        sleeps: 1,
        breaks: 3,
        truncates: true,
        checkpoints: true,
        applies_at_once: false,
        walks: true,
        must: EVERYTHING,
        ..Scope::led(servers - 1, 6)
    }
}

/// All that walks of a few seconds come to.
const EVERYTHING: &[Marks] = &[
    Marks::ENTRY_COMMITTED,
    Marks::RESTARTED,
    Marks::LEADER_CRASHED,
    Marks::JOINT_ENTERED,
    Marks::JOINT_LEFT,
    Marks::WRITE_KEPT,
    Marks::WRITE_LOST,
    Marks::STATE_LOST,
    Marks::SNAPSHOT_INSTALLED,
    Marks::READ_SERVED,
    Marks::HANDED_OVER,
    Marks::TRANSFERRED,
    Marks::REPEAT_IGNORED,
    Marks::CONF_CHANGED,
    Marks::OVERWRITTEN,
    Marks::TRUNCATED,
    Marks::REJECTED,
];

/// Scopes in which many ways lead to the same states.
#[cfg(test)]
pub(super) fn fidelity_scopes() -> Vec<(&'static str, Scope)> {
    vec![
        ("elections", elections(3)),
        ("log", log(3)),
        ("reads", Scope { beats: 3, ..reads(3) }),
        ("transfer", transfer(3)),
        ("snapshots", snapshots(3)),
        ("members", removals(3)),
        ("joint", joint(3)),
        ("everything", everything(4)),
    ]
}

fn canaries() -> Vec<Entry> {
    let all = Bounds { seconds: 30, ..Bounds::everything(3) };
    macro_rules! canaries {
        ($($name:literal $about:literal $rule:ident $mutant:ident $scope:expr;)*) => {
            vec![$(canary!($name, $about, all.clone(), $rule, $mutant, $scope)),*]
        };
    }
    canaries!(
        "driver-canary-vote-lost" "a crash takes the vote along"
            ElectionSafety VoteLost
            |n| Scope { writes_at_once: true, ..elections(n) };
        "driver-canary-voted-early" "a vote leaves before it is durable"
            ElectionSafety VotedEarly
            |n| Scope { letters: 2, doubts: false, ..elections(n) };
        "driver-canary-votes-for-all" "a node votes for everybody who asks"
            ElectionSafety VotesForAll
            |n| Scope { writes_at_once: true, crashes: 0, ..elections(n) };
        "driver-canary-confirmed-early" "a write is confirmed before it is durable"
            StartsAgain ConfirmedBeforeDurable
            |n| Scope { proposals: 1, letters: 3, ..log(n) };
        "driver-canary-acknowledged-early" "entries are acknowledged before they are durable"
            LeaderCompleteness AcknowledgedEarly
            |n| Scope { proposals: 1, letters: 2, doubts: false, ..log(n) };
        "driver-canary-tail-lost" "the disk loses a synced entry at a crash"
            LeaderCompleteness TailLost
            |n| Scope { proposals: 1, ..quick_log(n) };
        "driver-canary-applied-twice" "the applied index is not in the machine's transaction"
            StateMachineSafety AppliedTwice
            |n| Scope { checkpoints: true, ..quick_log(n) };
        "driver-canary-snapshot-sessions" "a snapshot does not carry the session table"
            ExactlyOnce SnapshotWithoutSessions
            |n| Scope { proposals: 1, repeats: 1, ..quick_snapshots(n) };
        "driver-canary-sessions-lost" "a crash takes the session table along"
            ExactlyOnce SessionsLost
            |n| Scope { term_max: 1, doubts: false, ..repeats(n) };
        "driver-canary-snapshot-conf" "a snapshot is installed without its configuration"
            MembershipSafety SnapshotWithoutConf
            |n| Scope {
                letters: 2, changes: vec![vec![(Remove, id(2))]], ..quick_snapshots(n)
            };
        "driver-canary-conf-not-written" "a change is applied, its configuration not written"
            MembershipSafety ConfNotWrittenWithApplied removals;
        "driver-canary-conf-early" "votes are counted by a change that is not committed"
            MembershipSafety ConfBeforeCommit removals;
        "driver-canary-commit-not-written" "the commit index is not written with the entries"
            MembershipSafety CommitNotWritten
            |n| Scope {
                writes_at_once: true, checkpoints: true, doubts: false, term_max: 1, ..removals(n)
            };
        "driver-canary-read-alone" "a leader answers reads without asking a quorum"
            LinearizableReads ReadWithoutQuorum reads;
        "driver-canary-truncated" "the log is truncated above what is durable"
            StartsAgain TruncatedAboveDurable
            |n| Scope { proposals: 1, ..snapshots(n) };
        "driver-canary-refused" "what is in flight is refused when leadership is lost"
            ExactlyOnce RefusedInFlight
            |n| Scope { proposals: 1, crashes: 0, ..quick_log(n) };
        "driver-canary-answered-twice" "a client is told twice"
            ExactlyOnce AnsweredTwice quick_log;
        "driver-canary-damaged" "a command is damaged on its way"
            LogMatching EntryDamaged quick_log;
        "driver-canary-applied-ahead" "more is reported as applied than was given out"
            Consistent AppliedAhead
            |n| Scope { led: false, ..quick_log(n) };
        "driver-canary-takes-back" "a leader takes back its last entry"
            LeaderAppendOnly LeaderTakesBack
            |n| Scope { beats: 1, breaks: 1, ..quick_log(n) };
    )
}
