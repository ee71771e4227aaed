//! The machines' own modules as this program carries them: what histories are judged by. Not here:
//! judging.

use std::collections::BTreeMap;
use std::sync::Arc;

use pgraft_host::{Code, Machines, Place, Specification};
use pgraft_judge::history::{Genesis, Run};
use pgraft_judge::machine_spec::Origin;

/// Modules that can be run, by the name of the machine.
#[derive(Clone)]
pub struct Modules {
    machines: Arc<Machines>,
    sha256: BTreeMap<String, [u8; 32]>,
}

impl Modules {
    /// The built-in ones.
    ///
    /// # Panics
    /// When the engine cannot be made: this machine has no memory left.
    pub fn built_in() -> Modules {
        let built_in = pgraft_bundle::modules();
        let code = |module: &'static pgraft_bundle::Module| Code {
            name: module.name,
            component: module.component,
            compiled: module.compiled,
            compiled_sha256: module.compiled_sha256,
        };
        let codes: Vec<Code<'_>> = built_in.iter().map(code).collect();
        let machines = Machines::new(Place::Simulation, &codes).expect("the engine can be made");
        let sha256 = built_in.iter().map(|module| (module.name.to_owned(), module.sha256));
        Modules { machines: Arc::new(machines), sha256: sha256.collect() }
    }

    /// Name and sha256, in hexadecimal, of each, as a history has them.
    pub fn names(&self) -> Vec<(String, String)> {
        self.sha256.iter().map(|(name, sha256)| (name.clone(), hex(sha256))).collect()
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
        let Some(sha256) = self.sha256.get(machine).filter(|own| hex(own) == told) else {
            let own = self.sha256.get(machine).map_or("none".to_owned(), hex);
            return Err(format!(
                "the history was made with the module {machine} of sha256 {told}, this program \
                 carries {own}: judge it with the program of commit {}",
                run.commit
            ));
        };
        let module = Specification::new(&self.machines, machine, sha256)
            .map_err(|fault| format!("module {machine}: {fault}"))?;
        Ok(Origin { module, number: *number, config: config.clone() })
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
