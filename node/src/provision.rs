//! Modules that did not come with the program: their bytes are in the state, their code is compiled
//! beside the node and kept for its next life.
//!
//! A module is compiled before anything is proposed that runs it, so the applying worker finds it
//! ready. A node that was away compiles it when it gets there, and only that node waits.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgraft_host::{CodeCache, Fault, Machines, Querier, Sha256Bytes, hex};
use pgraft_store::{Disk, StateReader};

use crate::compiler::CompileError;
use crate::log_writer::chain;
use crate::world::World;

/// Gets modules ready to run.
pub(crate) struct Provision {
    world: Arc<dyn World>,
    machines: Arc<Machines>,
    disk: Disk,
    cache: Option<CodeCache>,
    /// Two that want the same module compile it once; the machine has other things to do, too.
    compiling: tokio::sync::Mutex<()>,
    /// Modules that cannot be run here and why, so that it is not tried for each who asks. Never
    /// told to the log: what another node makes of the module is not known.
    refused: Mutex<BTreeMap<Sha256Bytes, String>>,
}

/// How ready a node is to run a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It is loaded.
    Ready,
    /// Its bytes are not all here yet.
    NotHere,
    /// It cannot be run; why.
    Refused(String),
    /// This node could not get it ready; why.
    Failed(String),
}

impl Provision {
    pub(crate) fn new(
        world: &Arc<dyn World>,
        machines: &Arc<Machines>,
        disk: &Disk,
        dir: &Path,
    ) -> Provision {
        Provision {
            world: Arc::clone(world),
            machines: Arc::clone(machines),
            disk: disk.clone(),
            cache: world.code_cache(dir),
            compiling: tokio::sync::Mutex::new(()),
            refused: Mutex::default(),
        }
    }

    /// What has the modules.
    pub(crate) fn machines(&self) -> &Arc<Machines> {
        &self.machines
    }

    /// Gets a module ready whose bytes are in the committed state of `generation`.
    pub(crate) async fn prepare(&self, sha256: &Sha256Bytes, generation: u64) -> Readiness {
        if self.machines.has(sha256) {
            return Readiness::Ready;
        }
        let component = match self.staged(sha256, generation) {
            Ok(Some(component)) => component,
            Ok(None) => return Readiness::NotHere,
            Err(fault) => return Readiness::Failed(chain(&fault)),
        };
        match self.provide(sha256, component).await {
            Ok(()) => Readiness::Ready,
            Err(CompileError::Refused(why)) => Readiness::Refused(why),
            Err(CompileError::Failed(why)) => Readiness::Failed(why),
        }
    }

    /// The bytes of a module in the committed state.
    fn staged(&self, sha256: &Sha256Bytes, generation: u64) -> Result<Option<Vec<u8>>, Fault> {
        let reader = StateReader::open(&self.disk, generation)?;
        Querier::open(Arc::clone(&self.machines), reader)?.component(sha256)
    }

    /// Loads a module from its bytes, compiled now or in an earlier life.
    ///
    /// # Errors
    /// [`CompileError`]; what is the module's own fault is remembered until the next start.
    pub(crate) async fn provide(
        &self,
        sha256: &Sha256Bytes,
        component: Vec<u8>,
    ) -> Result<(), CompileError> {
        let _one_at_a_time = self.compiling.lock().await;
        if self.machines.has(sha256) {
            return Ok(());
        }
        if self.load_cached(sha256, &component) {
            return Ok(());
        }
        if let Some(why) = self.refused().get(sha256) {
            return Err(CompileError::Refused(why.clone()));
        }
        let component: Arc<[u8]> = component.into();
        let compiled = self.world.compile(Arc::clone(&component)).await;
        let loaded = compiled.and_then(|compiled| {
            self.keep(sha256, &compiled);
            let name = short(sha256);
            let code = pgraft_host::Code::of(&name, &component, &compiled);
            self.machines.load(&code).map_err(|fault| match fault {
                Fault::Module { .. } => CompileError::Refused(chain(&fault)),
                here => CompileError::Failed(chain(&here)),
            })
        });
        if let Err(why) = &loaded {
            tracing::warn!(module = short(sha256), %why, "module not compiled");
        }
        if let Err(CompileError::Refused(why)) = &loaded {
            self.refused().insert(*sha256, why.clone());
        }
        loaded
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<Sha256Bytes, String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load_cached(&self, sha256: &Sha256Bytes, component: &[u8]) -> bool {
        let Some(cache) = &self.cache else { return false };
        match cache.find(sha256) {
            Ok(Some(code)) => {
                let loaded = self.machines.load(&code.code(&short(sha256), component));
                if let Err(fault) = &loaded {
                    tracing::warn!(fault = chain(fault), "compiled again");
                }
                loaded.is_ok()
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(error = chain(&error), "compiled again");
                false
            }
        }
    }

    /// Only the next start is slower without it.
    fn keep(&self, sha256: &Sha256Bytes, compiled: &[u8]) {
        let kept = self.cache.as_ref().map_or(Ok(()), |cache| cache.keep(sha256, compiled));
        if let Err(error) = kept {
            tracing::warn!(error = chain(&error), "compiled code is not kept");
        }
    }
}

/// A module's name in messages: the first bytes of its hash.
pub(crate) fn short(sha256: &Sha256Bytes) -> String {
    hex(&sha256[..6])
}

#[cfg(test)]
mod tests;
