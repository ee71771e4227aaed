//! The modules that a node carries: what a cluster's genesis names, and what runs. Not here: which
//! machines are made of them (`genesis`), and modules that enter through the log.

use std::sync::Arc;

use pgraft_host::{Code, Fault, Machines, Place};
use sha2::{Digest, Sha256};

/// Modules, loaded.
pub struct Modules {
    machines: Arc<Machines>,
    names: Vec<(String, [u8; 32])>,
}

impl Modules {
    /// Those that come with the program.
    ///
    /// # Errors
    /// As [`Machines::new`].
    pub fn built_in(place: Place) -> Result<Modules, Fault> {
        Modules::with(place, &[])
    }

    /// Those that come with the program, and `more`: a simulation runs machines in a cluster that
    /// no shipped program knows. All nodes must have the same.
    ///
    /// # Errors
    /// As [`Machines::new`].
    pub fn with(place: Place, more: &[Code<'_>]) -> Result<Modules, Fault> {
        let built_in = pgraft_bundle::modules().iter();
        let mut names: Vec<(String, [u8; 32])> =
            built_in.clone().map(|module| (module.name.to_owned(), module.sha256)).collect();
        let identity = |code: &Code<'_>| Sha256::digest(code.component).into();
        names.extend(more.iter().map(|code| (code.name.to_owned(), identity(code))));
        let built_in = built_in.map(|module| Code {
            name: module.name,
            component: module.component,
            compiled: module.compiled,
            compiled_sha256: module.compiled_sha256,
        });
        let code: Vec<Code<'_>> = built_in.chain(more.iter().copied()).collect();
        Ok(Modules { machines: Arc::new(Machines::new(place, &code)?), names })
    }

    /// These, and none of those that come with the program: a simulation runs nodes of another
    /// build of it.
    ///
    /// # Errors
    /// As [`Machines::new`].
    pub fn only(place: Place, code: &[Code<'_>]) -> Result<Modules, Fault> {
        let identified =
            |code: &Code<'_>| (code.name.to_owned(), Sha256::digest(code.component).into());
        let names = code.iter().map(identified).collect();
        Ok(Modules { machines: Arc::new(Machines::new(place, code)?), names })
    }

    /// The same for another node in this process: what is loaded for one of them later the other
    /// does not have.
    #[must_use]
    pub fn fork(&self) -> Modules {
        Modules { machines: Arc::new(self.machines.fork()), names: self.names.clone() }
    }

    /// Their names, and the SHA-256 of each component.
    pub fn names(&self) -> impl Iterator<Item = (&str, &[u8; 32])> {
        self.names.iter().map(|(name, sha256)| (name.as_str(), sha256))
    }

    /// What runs them.
    pub fn machines(&self) -> &Arc<Machines> {
        &self.machines
    }
}
