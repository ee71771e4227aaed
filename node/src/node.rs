//! A node from start to stop: opens its files, starts its threads, runs the driver.
//!
//! Threads: one for the driver, the connections and the clients (a current-thread runtime), one
//! each for raft.db, state.db and its checkpoints, two for queries. They inherit the signal mask
//! of whoever calls [`Node::start`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pgraft_watch as watch;

use crate::data_dir::{DataDir, DataDirError};
use crate::life;
use crate::os::OperatingSystem;
use crate::recording::{Recording, RecordingError};
use crate::settings::{Settings, SettingsError};
use crate::status::StatusBoard;
use crate::world::{Observer, World};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Nothing can be recorded where the settings say.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// No thread could be started.
    #[error("start the node's thread: {0}")]
    Thread(std::io::Error),
}

/// How a node ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A fault of this machine, in words; starting again may help.
    Failed(String),
    /// It is not a member of the cluster any more; starting again does not help.
    Removed,
}

/// A running node. Dropping it stops it without handing over leadership.
pub struct Node {
    stop: watch::Sender<bool>,
    ended: Arc<Mutex<Option<Ended>>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Checks the settings, takes the data directory, and starts the node's threads. Everything
    /// that may take time (opening files, joining) happens there.
    ///
    /// `wake` is called, on a thread of the node, when [`Node::ended`] becomes `Some`.
    ///
    /// # Errors
    /// When the settings are wrong or the data directory is in use or a copy.
    pub fn start(
        settings: Settings,
        board: Arc<dyn StatusBoard>,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Result<Node, StartError> {
        settings.validate()?;
        let dir = DataDir::open(&absolute(&settings.data_dir))?;
        let user_timeout = Duration::from_millis(settings.election_timeout_ms);
        let recording = settings.record.as_deref().map(Recording::beside).transpose()?;
        let observer = recording.clone().map(|recording| recording as Arc<dyn Observer>);
        let system = OperatingSystem::new(
            settings.socket.clone(),
            settings.compiler.clone(),
            user_timeout,
            observer,
        );
        let world: Arc<dyn World> = Arc::new(system);
        let (stop, stopping) = watch::channel(false);
        let ended = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&ended);
        let run = move || {
            let life = || life::live(&world, &settings, dir, board, stopping);
            let end = catch_unwind(AssertUnwindSafe(life)).unwrap_or_else(|_told_by_the_hook| {
                Some(Ended::Failed("the node's thread panicked".to_owned()))
            });
            if let Some(recording) = recording {
                recording.end(&told(end.as_ref()));
            }
            if end.is_some() {
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = end;
                wake();
            }
        };
        let builder = std::thread::Builder::new().name("pgraft-node".to_owned());
        let thread = builder.spawn(run).map_err(StartError::Thread)?;
        Ok(Node { stop, ended, thread: Some(thread) })
    }

    /// Runs a node in another world, as a future of the caller's runtime, until it stops (`None`)
    /// or ends by itself. The data directory holds its marker files; the databases are where
    /// [`World::disk`] says.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn run_in(
        world: Arc<dyn World>,
        settings: Settings,
        board: Arc<dyn StatusBoard>,
        stopping: watch::Receiver<bool>,
    ) -> Result<Option<Ended>, StartError> {
        settings.validate()?;
        let dir = DataDir::open(&absolute(&settings.data_dir))?;
        Ok(life::live_in(&world, &settings, &dir, board, stopping).await)
    }

    /// How the node ended by itself, if it did.
    pub fn ended(&self) -> Option<Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The fault that ended the node, if there was one.
    pub fn failure(&self) -> Option<String> {
        match self.ended() {
            Some(Ended::Failed(why)) => Some(why),
            Some(Ended::Removed) | None => None,
        }
    }

    /// Stops the node: leadership is handed over first, files are closed. Returns whether that
    /// was finished within `patience`.
    pub fn stop(mut self, patience: Duration) -> bool {
        let _already_ended = self.stop.send_replace(true);
        let Some(thread) = self.thread.take() else { return true };
        let (done, finished) = std::sync::mpsc::channel();
        let join = move || {
            let _result = thread.join();
            let _gone = done.send(());
        };
        // A thread cannot be joined with a deadline; one more thread can be left behind.
        match std::thread::Builder::new().name("pgraft-stop".to_owned()).spawn(join) {
            Ok(_detached) => finished.recv_timeout(patience).is_ok(),
            Err(_) => false,
        }
    }
}

/// How a node ended, for its recording.
fn told(end: Option<&Ended>) -> String {
    match end {
        None => "stopped".to_owned(),
        Some(Ended::Failed(why)) => format!("failed: {why}"),
        Some(Ended::Removed) => "removed".to_owned(),
    }
}

fn absolute(path: &PathBuf) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.clone())
}
