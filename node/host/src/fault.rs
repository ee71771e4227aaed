//! What is this machine's failure and never an outcome: the entry counts as not applied.

use pgraft_replica::body::BodyError;
use pgraft_replica::{Committed, Index};

use crate::rejection::Rejection;

impl Fault {
    /// The same, at this entry.
    pub(crate) fn at(self, committed: &Committed) -> Fault {
        match self {
            Fault::MissingModule { machine, sha256, .. } => {
                Fault::MissingModule { machine, sha256, index: committed.entry.index }
            }
            other => other,
        }
    }
}

/// This machine cannot go on. The transaction was undone, and nothing was answered: if it were,
/// this node's state would differ from its peers' from that entry on.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The disk failed; a full one may be tried again once there is space.
    #[error(transparent)]
    Store(#[from] pgraft_store::Fault),
    /// state.db cannot be opened.
    #[error(transparent)]
    Open(#[from] pgraft_store::OpenError),
    /// This node's tables differ from the leader's at the same index: throw this state away and
    /// fetch a snapshot.
    #[error(
        "state of machine {machine} diverged: its digest at index {index} is {ours:032x}, the \
         leader's is {theirs:032x}"
    )]
    Diverged {
        /// Where both digests were taken.
        index: Index,
        /// Which machine; "host" for the host's own rows.
        machine: String,
        /// This node's digest.
        ours: u128,
        /// The leader's.
        theirs: u128,
    },
    /// A guest used up its native stack, whose depth depends on engine and CPU. Another replica
    /// may have had room, so this is not an outcome. What a guest may use by the count that is
    /// equal everywhere fits in, so this should never be seen.
    #[error("machine {machine} overflowed the native stack at index {index}")]
    StackOverflow {
        /// Which machine.
        machine: String,
        /// At which entry.
        index: Index,
    },
    /// The engine failed: no memory, no free instance.
    #[error("{doing} for machine {machine} at index {index}: {why}")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// Which machine.
        machine: String,
        /// At which entry.
        index: Index,
        /// The engine's words.
        why: String,
    },
    /// A module cannot be used.
    #[error("module {name}: {why}")]
    Module {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Compiled code cannot be used here: damaged, or made by another version of pgraft-compile.
    #[error("compiled code of module {name}: {why}")]
    Code {
        /// The module's name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A machine needs a module that is not loaded here. Its bytes are in the state, unless it came
    /// with a program of another version: compile and load it, and try again.
    #[error("machine {machine} needs module {}, which is not loaded", crate::machines::hex(sha256))]
    MissingModule {
        /// Which machine.
        machine: String,
        /// Hash of the module's component.
        sha256: [u8; 32],
        /// The entry that cannot be applied without it; 0 = the state cannot be opened.
        index: Index,
    },
    /// The machines of a new cluster cannot be created.
    #[error("bootstrap: {0}")]
    Bootstrap(String),
    /// A machine refused its first configuration.
    #[error("bootstrap: machine {machine} refused its configuration: {rejection}")]
    Refused {
        /// Which machine.
        machine: String,
        /// Its words.
        rejection: Rejection,
    },
    /// A committed entry cannot be read: a newer program wrote it.
    #[error("read entry {index}")]
    Entry {
        /// Which entry.
        index: Index,
        /// What is wrong with it.
        source: BodyError,
    },
    /// The host's own rows are not what it writes.
    #[error("a row of the host in state.db is malformed: {0}")]
    Row(&'static str),
}
