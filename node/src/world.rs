//! What a node stands on: network, clocks, workers, chance and disk. One implementation is the
//! operating system's (`os.rs`); a simulation brings another, and nothing above can tell.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pgraft_host::{Applied, CodeCache, Place};
use pgraft_replica::{Config, Effects, Index, Input, Replica, Restored};
use pgraft_store::Disk;
use pgraft_transport::AnyNet;

use crate::compiler::CompileError;
use crate::log_writer::chain;
use crate::modules::Modules;

/// What a worker does, from start to end.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The compiled code of a module, when it is ready.
pub type Compiling = Pin<Box<dyn Future<Output = Result<Vec<u8>, CompileError>> + Send>>;

/// What a node stands on.
pub trait World: Send + Sync + 'static {
    /// The network between the members.
    fn peers(&self) -> AnyNet;

    /// Where clients of this node come in, and the address to listen at.
    fn clients(&self) -> (AnyNet, String);

    /// Unix time in milliseconds; may jump.
    fn wall_ms(&self) -> u64;

    /// Nanoseconds that never go back and also count while the machine sleeps.
    fn boottime_ns(&self) -> u64;

    /// How long a tick of the replica takes by tokio's clock.
    fn tick(&self) -> Duration {
        Duration::from_millis(pgraft_replica::limits::TICK_MS)
    }

    /// A number that nobody can foresee.
    ///
    /// # Errors
    /// When the system has none, in words.
    fn random(&self) -> Result<u64, String>;

    /// Runs work that blocks on a disk or computes for long, beside the driver.
    ///
    /// # Errors
    /// When the system gives no thread.
    fn start(&self, name: &str, work: Work) -> io::Result<()>;

    /// The disk that holds the databases of the data directory `dir`.
    fn disk(&self, dir: &Path) -> Disk {
        Disk::new(dir)
    }

    /// The modules that this node carries.
    ///
    /// # Errors
    /// When they cannot be loaded, in words.
    fn modules(&self) -> Result<Arc<Modules>, String> {
        let loaded = Modules::built_in(Place::PostgreSql).map_err(|fault| chain(&fault))?;
        Ok(Arc::new(loaded))
    }

    /// Compiles a module beside everything else, under limits on memory and time.
    fn compile(&self, component: Arc<[u8]>) -> Compiling;

    /// Where compiled code is kept for the next life of the node in this data directory.
    fn code_cache(&self, _dir: &Path) -> Option<CodeCache> {
        None
    }

    /// Who watches every step of this node, if anybody.
    fn observer(&self) -> Option<Arc<dyn Observer>> {
        None
    }
}

/// Watches a node from inside, on the driver's thread: flight recorder and checkers.
pub trait Observer: Send + Sync {
    /// A replica was restored from disk.
    fn started(&self, config: &Config, restored: &Restored);

    /// The replica is about to take an input: if it panics, nothing comes after this.
    fn stepping(&self, _input: &Input) {}

    /// The replica took an input; its effects are not carried out yet.
    fn stepped(&self, input: &Input, effects: &Effects, replica: &Replica);

    /// Entries were applied; `digests` are those of the machines' tables at an index.
    fn applied(&self, applied: &[Applied], digests: &(Index, Vec<(u32, u128)>));
}
