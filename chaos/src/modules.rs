//! The machines' modules that a run has: in its nodes, and in the judge, which measures the nodes
//! by them. Not here: judging.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use pgraft_host::{Code, Machines, Place, Specification, hex};
use pgraft_judge::history::{Genesis, Run};
use pgraft_judge::machine_spec::Origin;
use pgraft_node::modules::Modules as Carried;
use sha2::{Digest, Sha256};

use crate::variants;

/// Modules that can be run, by the name of the machine.
#[derive(Clone)]
pub struct Modules {
    carried: Arc<Carried>,
    /// With those that machines can come to run: made when a history needs them.
    library: Arc<OnceLock<Arc<Machines>>>,
}

impl Modules {
    /// The built-in ones.
    ///
    /// # Panics
    /// When the engine cannot be made: this machine has no memory left.
    pub fn built_in() -> Modules {
        Modules::of(Carried::built_in(Place::Simulation).expect("the engine can be made"))
    }

    fn of(carried: Carried) -> Modules {
        Modules { carried: Arc::new(carried), library: Arc::default() }
    }

    /// The built-in ones, and the machine `name` out of a file: a core module with the description
    /// of its interface, or a component.
    ///
    /// # Errors
    /// When the file cannot be read, is no machine, or has the name of a built-in one; in words.
    pub fn with_file(name: &str, file: &Path) -> Result<Modules, String> {
        let shown = file.display();
        let guest = std::fs::read(file).map_err(|why| format!("{shown}: {why}"))?;
        let component =
            pgraft_engine::component(&guest).map_err(|why| format!("{shown}: {why:#}"))?;
        let compiled =
            pgraft_engine::precompile(&component).map_err(|why| format!("{shown}: {why:#}"))?;
        Modules::with(name, &component, &compiled).map_err(|why| format!("{shown}: {why}"))
    }

    /// The built-in ones, and the machine `name` of a component that pgraft-engine has compiled
    /// here, with its default options.
    ///
    /// # Errors
    /// When it is no machine, or has the name of a built-in one; in words.
    pub fn with(name: &str, component: &[u8], compiled: &[u8]) -> Result<Modules, String> {
        if is_built_in(name) {
            return Err(format!("the machine {name} is built in; give it another name"));
        }
        let compiled_sha256 = Sha256::digest(compiled).into();
        let code = Code { name, component, compiled, compiled_sha256 };
        let carried = Carried::with(Place::Simulation, &[code]);
        Ok(Modules::of(carried.map_err(|why| why.to_string())?))
    }

    /// As nodes carry them.
    pub fn carried(&self) -> &Arc<Carried> {
        &self.carried
    }

    /// All modules that a machine of a run can come to run.
    ///
    /// # Errors
    /// When one cannot be loaded, in words.
    pub fn library(&self) -> Result<Arc<Machines>, String> {
        if let Some(library) = self.library.get() {
            return Ok(Arc::clone(library));
        }
        let library = variants::library(self.carried.machines());
        let library = library.map_err(|fault| format!("modules for upgrades: {fault}"))?;
        Ok(Arc::clone(self.library.get_or_init(|| Arc::new(library))))
    }

    /// Everything that a run began with, ready to be run again.
    ///
    /// # Errors
    /// When this program does not carry the very modules of the run.
    pub fn origins(&self, run: &Run) -> Result<Vec<Origin>, String> {
        run.genesis.iter().map(|genesis| self.origin(run, genesis)).collect()
    }

    fn origin(&self, run: &Run, genesis: &Genesis) -> Result<Origin, String> {
        let Genesis { machine, number, config } = genesis;
        let told = run.machines.iter().find(|(name, _)| name == machine);
        let told = told.map_or("", |(_, sha256)| sha256.as_str());
        let own = self.carried.names().find(|(name, _)| name == machine).map(|(_, sha256)| sha256);
        let Some(sha256) = own.filter(|own| hex(*own) == told) else {
            let own = own.map_or("none".to_owned(), |own| hex(own));
            let way = match is_built_in(machine) {
                true => format!("judge it with the program of commit {}", run.commit),
                false => "name its file with --machine".to_owned(),
            };
            return Err(format!(
                "the history was made with the module {machine} of sha256 {told}, this program \
                 carries {own}: {way}"
            ));
        };
        let module = Specification::new(self.carried.machines(), machine, sha256)
            .map_err(|fault| format!("module {machine}: {fault}"))?;
        Ok(Origin { module, number: *number, config: config.clone(), sha256: *sha256 })
    }
}

/// Whether the program comes with the machine.
pub fn is_built_in(name: &str) -> bool {
    pgraft_bundle::modules().iter().any(|module| module.name == name)
}
