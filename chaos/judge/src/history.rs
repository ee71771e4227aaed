//! A history: what clients asked and were told, what was done to the cluster, and what its log
//! came to hold. One JSON line per event, written as it happens, so that a run that died keeps its
//! history and any run can be judged again later.
//!
//! Times are simulated microseconds since the start of the run. Bytes are lower-case hexadecimal.

use serde::{Deserialize, Serialize};

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
    /// A client that watches a machine's events was told one.
    Watched(Watched),
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
}

/// What a machine said. A rejection is a reply, too: it is an outcome at an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// The outcome of each command in the body, in order.
    pub outcomes: Vec<Reply>,
    /// Events that machines emitted: machine, key, payload.
    pub events: Vec<Emitted>,
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

/// An event as a watcher was told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The watcher.
    pub client: u64,
    /// The node it watches.
    pub node: u64,
    /// Index of the entry that emitted it.
    pub index: u64,
    /// The event.
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
        pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(D::Error::custom)).collect()
    }
}
