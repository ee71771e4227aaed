//! What is checked: a machine, its clients' commands, its invariant, and a planted mistake if any.

use std::fmt;
use std::sync::Arc;

use pgraft_host::{Code, Fault, Machines, Place, Request, Specification, State, Turn};
use sha2::{Digest, Sha256};

use crate::machine::hosts::Hosts;

/// Checks a state of a machine; says what is wrong with it.
pub type StateCheck = fn(&Specification, &State, &Turn) -> Result<(), String>;

/// What is true of every state of a machine.
#[derive(Clone)]
pub enum Invariant {
    /// Nothing is said.
    None,
    /// The machine answers this query, and always in the same way.
    Query {
        /// Encoded for the machine.
        query: Vec<u8>,
        /// The answer; `None`: any, but no rejection.
        expected: Option<Vec<u8>>,
    },
    /// Looked at by a function.
    Check(StateCheck),
}

/// A mistake planted in the model, which it must find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutant {
    /// None.
    #[default]
    None,
    /// The function forgets what the second client's first command wrote.
    LostWrite,
    /// A snapshot leaves the table of sessions out.
    SnapshotWithoutSessions,
    /// One host stamps entries with a clock of its own.
    OwnClock,
    /// A host that crashed goes on after what it lost.
    EntryLostInCrash,
    /// Of two commands in one entry, the second is not carried out.
    HalfBatch,
}

/// A module as it is stored.
#[derive(Clone, Debug)]
pub struct Module {
    /// The machine's name.
    pub name: String,
    /// The component.
    pub component: Vec<u8>,
    /// The component, compiled by pgraft-engine with its default options.
    pub compiled: Vec<u8>,
    /// SHA-256 of the component.
    pub sha256: [u8; 32],
    /// SHA-256 of the compiled code.
    pub compiled_sha256: [u8; 32],
}

impl Module {
    /// A component and its code, compiled by pgraft-engine with its default options.
    pub fn new(name: &str, component: Vec<u8>, compiled: Vec<u8>) -> Module {
        let sha256 = Sha256::digest(&component).into();
        let compiled_sha256 = Sha256::digest(&compiled).into();
        Module { name: name.to_owned(), component, compiled, sha256, compiled_sha256 }
    }

    /// A module that comes with the program.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn built_in(name: &str) -> Module {
        let module = pgraft_bundle::modules().iter().find(|module| module.name == name);
        let module = module.expect("the bundle has this module");
        Module {
            name: name.to_owned(),
            component: module.component.to_vec(),
            compiled: module.compiled.to_vec(),
            sha256: module.sha256,
            compiled_sha256: module.compiled_sha256,
        }
    }

    /// As an engine takes it.
    pub fn code(&self) -> Code<'_> {
        Code {
            name: &self.name,
            component: &self.component,
            compiled: &self.compiled,
            compiled_sha256: self.compiled_sha256,
        }
    }
}

/// What is checked.
#[derive(Clone)]
pub struct Subject {
    pub(crate) function: Specification,
    pub(crate) initial: State,
    /// One list of commands per client.
    pub(crate) clients: Vec<Vec<Vec<u8>>>,
    pub(crate) invariant: Invariant,
    /// So often may commands be repeated in one log.
    pub(crate) repeats: u8,
    pub(crate) mutant: Mutant,
    /// `None`: only the function is explored.
    pub(crate) hosts: Option<Arc<Hosts>>,
}

impl Subject {
    /// A machine and its clients. `config` is the machine's first configuration.
    ///
    /// # Errors
    /// When the module cannot be used, or the machine refuses its configuration.
    pub fn new(
        module: &Module,
        config: &[u8],
        clients: Vec<Vec<Vec<u8>>>,
    ) -> Result<Subject, Fault> {
        let machines = Arc::new(Machines::new(Place::Simulation, &[module.code()])?);
        let function = Specification::new(&machines, &module.name, &module.sha256)?;
        let initial = function.initial(config, 0)?;
        let hosts = Some(Arc::new(Hosts::new(machines, module, config)?));
        let (invariant, mutant) = (Invariant::None, Mutant::None);
        Ok(Subject { function, initial, clients, invariant, repeats: 1, mutant, hosts })
    }

    /// With what is true of every state.
    #[must_use]
    pub fn with_invariant(self, invariant: Invariant) -> Subject {
        Subject { invariant, ..self }
    }

    /// With so many repeated commands per log.
    #[must_use]
    pub fn repeating(self, repeats: u8) -> Subject {
        Subject { repeats, ..self }
    }

    /// Without hosts: invariants and batches only, many times as fast.
    #[must_use]
    pub fn alone(self) -> Subject {
        Subject { hosts: None, ..self }
    }

    /// With a planted mistake.
    #[must_use]
    pub fn mutated(self, mutant: Mutant) -> Subject {
        Subject { mutant, ..self }
    }

    /// What is wrong with a state, by the invariant that the module exports, or by the one that was
    /// given beside it.
    pub(crate) fn wrong(&self, state: &State, turn: &Turn) -> Option<String> {
        match self.function.invariant(state, turn) {
            Ok(Ok(())) => {}
            Ok(Err(says)) => return Some(says),
            Err(fault) => return Some(fault.to_string()),
        }
        match &self.invariant {
            Invariant::None => None,
            Invariant::Query { query, expected } => match self.function.query(state, turn, query) {
                Ok(Ok(answer)) => match expected {
                    Some(expected) if *expected != answer => {
                        Some(format!("it answers {answer:02x?} and not {expected:02x?}"))
                    }
                    _ => None,
                },
                Ok(Err(rejection)) => Some(format!("the query is rejected: {rejection}")),
                Err(fault) => Some(fault.to_string()),
            },
            Invariant::Check(check) => check(&self.function, state, turn).err(),
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands: Vec<usize> = self.clients.iter().map(Vec::len).collect();
        write!(f, "{:?}, commands {commands:?}, {:?}", self.function, self.mutant)
    }
}

/// A client's command as the function is asked it.
pub(crate) fn request(payload: &[u8], session: u64, seq: u64) -> Request<'_> {
    Request { principal: "model", session, seq, payload }
}
