//! A module out of a file, compiled and described: what every part looks at. Not here: whether it
//! is any good.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgraft_host::{Machines, Manifest, Place, Specification, hex};
use pgraft_model::machine::Module;

/// A module.
pub struct Candidate {
    /// Its file.
    pub path: PathBuf,
    /// What is in it, as an engine takes it; the name is the machine's.
    pub module: Module,
    /// The engine of a node, with the module.
    pub machines: Arc<Machines>,
    /// The machine as a function.
    pub function: Specification,
}

impl Candidate {
    /// Reads and compiles the module in a file; it runs as the machine `name`.
    ///
    /// # Errors
    /// When the file cannot be read, is no module, or imports something that no machine may have;
    /// in words.
    pub fn read(path: &Path, name: &str) -> Result<Candidate, String> {
        let shown = path.display();
        let guest = std::fs::read(path).map_err(|why| format!("{shown}: {why}"))?;
        Candidate::of(path, name, &guest).map_err(|why| format!("{shown}: {why}"))
    }

    fn of(path: &Path, name: &str, guest: &[u8]) -> Result<Candidate, String> {
        if guest.is_empty() {
            return Err("not WASM: the file is empty".to_owned());
        }
        let component = pgraft_engine::component(guest).map_err(|why| format!("{why:#}"))?;
        let compiled = pgraft_engine::precompile(&component).map_err(|why| format!("{why:#}"))?;
        let module = Module::new(name, component, compiled);
        let machines = Machines::new(Place::Simulation, &[module.code()]);
        let machines = Arc::new(machines.map_err(|why| why.to_string())?);
        let function = Specification::new(&machines, name, &module.sha256);
        let function = function.map_err(|why| why.to_string())?;
        Ok(Candidate { path: path.to_owned(), module, machines, function })
    }

    /// What the module says about itself.
    pub fn manifest(&self) -> &Manifest {
        self.function.manifest()
    }

    /// SHA-256 of the component: what names the module in a cluster.
    pub fn sha256(&self) -> String {
        hex(&self.module.sha256)
    }
}
