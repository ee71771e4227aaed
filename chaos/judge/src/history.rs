//! A history: what clients asked and were told, what was done to the cluster, and what its log
//! came to hold. One JSON line per event, written as it happens, so that a run that died keeps its
//! history and any run can be judged again later.
//!
//! Times are simulated microseconds since the start of the run. Bytes are lower-case hexadecimal.
//! The order of the lines is the order in which things happened: an invocation is written before
//! the question goes out, an end after the answer came in. Checkers compare lines, not times.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use file::{FORMAT, History, ReadError, Writer};

mod file;

/// One line of a history file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Microseconds since the start of the run; never goes back from line to line.
    pub at_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The first line of a file.
    Run(Run),
    /// A client asks. Clients ask one thing at a time; one that was told `Unknown` goes on under a
    /// new number.
    Invoke(Invoke),
    /// The operation was carried out.
    Ok(Done),
    /// The operation was certainly not carried out and never will be.
    Fail(Ended),
    /// Nobody knows whether it was, or still will be, carried out.
    Unknown(Ended),
    /// An entry was committed: ground truth, taken from the replicas. Once per index, in order.
    Committed(Committed),
    /// A client begins to watch a machine's events.
    Watch(Watch),
    /// A client that watches a machine's events was told one.
    Watched(Watched),
    /// What a replica's tables of a machine came to after an entry.
    Digest(Digest),
    /// A fault begins or ends.
    Fault(Fault),
    /// A replica's standing changed.
    Role(Role),
    /// Something interesting happened for the first time, or again ("sometimes" conditions).
    Mark(Mark),
    /// A checker that runs with the simulation found something.
    Violation(Violation),
    /// Phases of the run: `safety` (anything goes), `liveness` (healed), `end`.
    Phase(Phase),
}

/// What was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Version of this format.
    pub format: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// The only source of chance.
    pub seed: u64,
    /// Commit of the source tree, if known.
    pub commit: String,
    /// Members at the start.
    pub nodes: Vec<u64>,
    /// The machines in use by name, as sha256 of their modules in hexadecimal.
    pub machines: Vec<(String, String)>,
    /// What the machines began with, in the order in which they were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub genesis: Vec<Genesis>,
}

/// What a machine began with, on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// Its name.
    pub machine: String,
    /// Its number in the cluster: part of digests.
    pub number: u32,
    /// Its first configuration.
    #[serde(with = "hex")]
    pub config: Vec<u8>,
}

/// A call of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoke {
    /// Unique in the history.
    pub op: u64,
    /// Who asks.
    pub client: u64,
    /// The node that was asked.
    pub node: u64,
    /// Name of the machine.
    pub machine: String,
    /// Who the machine is told is asking.
    pub principal: String,
    /// Command, linearizable query, or query that may be stale.
    pub call: Call,
    /// Encoded for the machine.
    #[serde(with = "hex")]
    pub payload: Vec<u8>,
    /// Operations of different keys are independent (P-compositionality); `None`: it may touch
    /// anything.
    pub key: Option<String>,
    /// For people: `put x 7`.
    pub says: String,
    /// What is asked, in words that need no codec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
}

/// What a call asks or an answer tells, in words that need no codec of a machine: for checks that
/// do not trust the machine's own code. Keys, values and lists are named as the workload likes, as
/// long as the same name means the same thing.
///
/// Facts of an [`Invoke`] say what happens if the command is carried out; facts of a [`Done`] what
/// was found out. A conditional command states what it wants to do when it is invoked, and
/// [`Fact::Skipped`] when it is told that the condition did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// Asked: the key gets the value. Values are unique per key in a history.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// It vanishes with this lease.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease: Option<i64>,
    },
    /// Asked: the key is absent from here on.
    Delete {
        /// The key.
        key: String,
    },
    /// Asked: the list gets one more element at its end. Elements are unique per list.
    Append {
        /// The list.
        list: String,
        /// The element.
        element: u64,
    },
    /// Asked: the lease has its full time again.
    LeaseKeep {
        /// The lease.
        lease: i64,
    },
    /// Asked: the lease ends now.
    LeaseRevoke {
        /// The lease.
        lease: i64,
    },
    /// Told: nothing of what was asked was done, because a condition did not hold.
    Skipped,
    /// Told: the revision of the whole store after this operation.
    Revision {
        /// The revision.
        revision: u64,
    },
    /// Told: what the key holds.
    Got {
        /// The key.
        key: String,
        /// Its value; `None`: absent.
        value: Option<String>,
        /// Revision of the put that made it so; 0: absent.
        revision: u64,
    },
    /// Told: the elements of the list, as they were before what this operation itself appends.
    List {
        /// The list.
        list: String,
        /// From the first to the last.
        elements: Vec<u64>,
    },
    /// Told: what all accounts hold, read at one point.
    Balances {
        /// One per account.
        balances: Vec<i64>,
        /// What they must add up to, as the workload set them up.
        total: i64,
    },
    /// Told: a lease was granted.
    LeaseGranted {
        /// The lease.
        lease: i64,
        /// Its time to live, milliseconds of log time.
        ttl_ms: u64,
    },
    /// Told: the lease has so much time now; 0: it is over.
    LeaseKept {
        /// The lease.
        lease: i64,
        /// Milliseconds of log time.
        ttl_ms: u64,
    },
}

/// Kind of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Goes through the log.
    Command,
    /// Linearizable read.
    Query,
    /// A read that may be stale; only monotonic in what one node answers.
    StaleQuery,
}

/// An operation was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The operation.
    pub op: u64,
    /// Log index: of the command's entry; for a query what was applied when it was answered.
    pub index: u64,
    /// What the machine said.
    pub reply: Reply,
    /// For people.
    pub says: String,
    /// What was found out, in words that need no codec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
}

/// What a machine said. A rejection is a reply, too: it is an outcome at an index.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Accepted.
    Accepted(#[serde(with = "hex")] Vec<u8>),
    /// Rejected.
    Rejected {
        /// The machine's or the host's code.
        code: u32,
        /// In words.
        message: String,
    },
}

/// Text where it is text, else hexadecimal.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Accepted(bytes) if bytes.iter().all(|b| (b' '..=b'~').contains(b)) => {
                write!(f, "\"{}\"", String::from_utf8_lossy(bytes))
            }
            Reply::Accepted(bytes) => {
                write!(f, "x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Reply::Rejected { code, message } => write!(f, "rejection {code} ({message})"),
        }
    }
}

/// An operation ended without an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The operation.
    pub op: u64,
    /// In words.
    pub why: String,
}

/// A committed entry and what the machines made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The log's time at this entry, Unix milliseconds; never goes back.
    pub time_ms: u64,
    /// The entry's body as it is in the log ([`pgraft_host::Command`]s packed by the replica);
    /// empty for entries without commands.
    #[serde(with = "hex")]
    pub body: Vec<u8>,
    /// The outcome of each command in the body, in order; empty though there are commands: all
    /// replicas that had applied the entry died before anybody looked.
    pub outcomes: Vec<Reply>,
    /// Events that machines emitted; empty, too, when the outcomes are lost.
    pub events: Vec<Emitted>,
}

impl Committed {
    /// Whether there are commands, and nobody knows what came of them.
    pub fn tells_nothing(&self) -> bool {
        !self.body.is_empty() && self.outcomes.is_empty()
    }
}

/// An event of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitted {
    /// Name of the machine.
    pub machine: String,
    /// The event's key.
    #[serde(with = "hex")]
    pub key: Vec<u8>,
    /// The event.
    #[serde(with = "hex")]
    pub payload: Vec<u8>,
}

/// A client begins to watch a machine. One that lost its place (a slow watcher that was cut off, a
/// node that went away or took over a snapshot) begins anew: what it was told before and what it is
/// told from here on are looked at apart. Without this line a watcher is taken to see everything of
/// a machine, from its first event on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The watcher.
    pub client: u64,
    /// The node it watches.
    pub node: u64,
    /// Name of the machine.
    pub machine: String,
    /// Events whose key begins so.
    #[serde(with = "hex")]
    pub prefix: Vec<u8>,
    /// It must be told the events of all entries behind this one; `None`: from its first on.
    pub after: Option<u64>,
}

/// What a replica's tables of a machine came to after an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The replica.
    pub node: u64,
    /// The last applied entry.
    pub index: u64,
    /// Name of the machine.
    pub machine: String,
    /// 32 hexadecimal digits.
    pub digest: String,
}

/// An event as a watcher was told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The watcher.
    pub client: u64,
    /// The node it watches.
    pub node: u64,
    /// Index of the entry that emitted it.
    pub index: u64,
    /// The event; the line's own `event` says what kind of line it is.
    #[serde(rename = "emitted")]
    pub event: Emitted,
}

/// A fault begins or ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its number in the plan.
    pub number: u64,
    /// Begins (or happens once), or ends.
    pub begins: bool,
    /// For people: `partition 1 | 2 3`.
    pub says: String,
}

/// A replica's standing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Who.
    pub node: u64,
    /// Its term.
    pub term: u64,
    /// `follower`, `candidate`, `leader`, `down`.
    pub role: String,
}

/// Something that a scenario wants to have seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its name.
    pub name: String,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The invariant: `election safety`.
    pub of: String,
    /// What was found.
    pub says: String,
}

/// A part of the run begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// `safety`, `liveness`, `end`.
    pub name: String,
}

mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!(
            "{}",
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        ))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        if text.len() % 2 != 0 || !text.is_ascii() {
            return Err(D::Error::custom("not hexadecimal"));
        }
        let pairs = (0..text.len()).step_by(2);
        pairs
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(D::Error::custom))
            .collect()
    }
}
