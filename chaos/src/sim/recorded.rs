//! Recordings of the nodes of a run, one file for each place, through all lives of what runs
//! there. Not here: their format and their replay (pgraft-replay).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgraft_host::Applied;
use pgraft_node::recording::Recording;
use pgraft_node::world::Observer;
use pgraft_replica::{Config, Effects, Index, Input, Replica, Restored};

use crate::sim::journal::Journal;

/// The recordings of a run.
pub(super) struct Recordings {
    folder: PathBuf,
    all: Vec<Arc<Recording>>,
}

impl Recordings {
    /// Recordings in `folder`, which exists.
    pub(super) fn of(folder: &Path) -> Recordings {
        Recordings { folder: folder.to_owned(), all: Vec::new() }
    }

    /// Begins the recording of a place; without one the run fails.
    pub(super) fn begin(&mut self, place: u64, journal: &Journal) -> Option<Arc<Recording>> {
        match Recording::here(&self.folder.join(format!("n{place}.record"))) {
            Ok(recording) => {
                self.all.push(Arc::clone(&recording));
                Some(recording)
            }
            Err(error) => {
                journal.violation("nodes are recorded", error.to_string());
                None
            }
        }
    }

    /// The run is over.
    pub(super) fn end(&self) {
        self.all.iter().for_each(|recording| recording.end("the run is over"));
    }
}

/// An observer, and a recording of what it sees.
pub(super) struct Recorded {
    observer: Arc<dyn Observer>,
    recording: Arc<Recording>,
}

impl Recorded {
    /// `observer` and, if there is one, `recording`, which sees everything first.
    pub(super) fn wrap(
        observer: Arc<dyn Observer>,
        recording: Option<Arc<Recording>>,
    ) -> Arc<dyn Observer> {
        match recording {
            Some(recording) => Arc::new(Recorded { observer, recording }),
            None => observer,
        }
    }
}

impl Observer for Recorded {
    fn started(&self, config: &Config, restored: &Restored) {
        self.recording.started(config, restored);
        self.observer.started(config, restored);
    }

    fn stepping(&self, input: &Input) {
        self.recording.stepping(input);
        self.observer.stepping(input);
    }

    fn stepped(&self, input: &Input, effects: &Effects, replica: &Replica) {
        self.recording.stepped(input, effects, replica);
        self.observer.stepped(input, effects, replica);
    }

    fn applied(&self, applied: &[Applied], digests: &(Index, Vec<(u32, u128)>)) {
        self.observer.applied(applied, digests);
    }
}
