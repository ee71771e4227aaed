//! The engine and the modules that are loaded into it, shared by the applier and all queriers.
//!
//! Compiled code is native code: it is run only when its SHA-256 is the one that came with the
//! program or stands in the local cache, never from a peer, the log or a client.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

use pgraft_engine::{PACKAGE, Place, VERSION, bare, spoken};
use pgraft_replica::Index;
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, ComponentExportIndex, Instance, InstancePre};
use wasmtime::{Engine, Store};

use crate::call::{Call, Who};
use crate::fault::Fault;
use crate::imports::{State, linker};
use crate::interface::Manifest;
use crate::invoke::{self, Ended, Export};
use crate::limits::{API_BYTES_MAX, Limits, NAME_BYTES_MAX};
use crate::rejection::{HostCode, Rejection};
use crate::tables::Tables;

/// A module as it comes with the program or out of the cache.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// The component. Its SHA-256 identifies the module.
    pub component: &'a [u8],
    /// `component` compiled by pgraft-engine.
    pub compiled: &'a [u8],
    /// SHA-256 of `compiled`, from a place that is trusted.
    pub compiled_sha256: [u8; 32],
}

impl<'a> Code<'a> {
    /// Code that this very program has just had compiled.
    pub fn of(name: &'a str, component: &'a [u8], compiled: &'a [u8]) -> Code<'a> {
        Code { name, component, compiled, compiled_sha256: Sha256::digest(compiled).into() }
    }
}

/// The engine and its modules.
pub struct Machines {
    engine: Engine,
    modules: RwLock<BTreeMap<[u8; 32], Arc<Module>>>,
}

/// A loaded module: linked, its exports resolved, described.
pub(crate) struct Module {
    /// Its bytes, of one that came with the program: genesis keeps them with the state.
    component: Option<Arc<[u8]>>,
    linked: InstancePre<State>,
    /// By the number of [`Export`]; those of `verification` only if the module exports it.
    exports: Vec<ComponentExportIndex>,
    manifest: Manifest,
}

impl Machines {
    /// An engine for `place`, with these modules.
    ///
    /// # Errors
    /// When the engine cannot be made, or as [`Machines::load`].
    pub fn new(place: Place, modules: &[Code<'_>]) -> Result<Machines, Fault> {
        let engine = pgraft_engine::engine(place).map_err(|error| Fault::Engine {
            doing: "set up the engine",
            machine: "(any)".to_owned(),
            index: Index::ZERO,
            why: format!("{error:#}"),
        })?;
        Machines::with_engine(engine, modules)
    }

    /// [`Machines::new`] with an engine made elsewhere: tests compare several of them.
    ///
    /// # Errors
    /// As [`Machines::load`].
    pub fn with_engine(engine: Engine, modules: &[Code<'_>]) -> Result<Machines, Fault> {
        let machines = Machines { engine, modules: RwLock::default() };
        for code in modules {
            machines.add(code, Some(code.component.into()))?;
        }
        Ok(machines)
    }

    /// The same engine and modules for another node in this process: what is loaded for one of
    /// them later the other does not have.
    #[must_use]
    pub fn fork(&self) -> Machines {
        let modules = self.modules.read().unwrap_or_else(PoisonError::into_inner).clone();
        Machines { engine: self.engine.clone(), modules: RwLock::new(modules) }
    }

    /// Loads a module. Takes a fraction of a millisecond; no compiler is needed.
    ///
    /// # Errors
    /// [`Fault::Module`] when it imports anything outside `pgraft:machine/*`, lacks an export, or
    /// cannot describe itself; [`Fault::Code`] when the code is not what its hash says or was
    /// compiled for another engine; or when the engine fails.
    pub fn load(&self, code: &Code<'_>) -> Result<(), Fault> {
        self.add(code, None)
    }

    fn add(&self, code: &Code<'_>, kept: Option<Arc<[u8]>>) -> Result<(), Fault> {
        if <[u8; 32]>::from(Sha256::digest(code.compiled)) != code.compiled_sha256 {
            return Err(unusable(code.name, "it is damaged: its hash differs"));
        }
        let component = deserialize(&self.engine, code.compiled)
            .map_err(|error| unusable(code.name, format!("{error:#}")))?;
        let mut module = Module::link(&self.engine, code.name, &component)?;
        module.component = kept;
        let identity = Sha256::digest(code.component).into();
        let mut modules = self.modules.write().unwrap_or_else(PoisonError::into_inner);
        modules.insert(identity, Arc::new(module));
        Ok(())
    }

    /// What a module that is loaded says about itself.
    pub fn manifest(&self, sha256: &[u8; 32]) -> Option<Manifest> {
        self.module(sha256).map(|module| module.manifest.clone())
    }

    /// The bytes of a module that came with the program.
    pub(crate) fn component(&self, sha256: &[u8; 32]) -> Option<Arc<[u8]>> {
        self.module(sha256)?.component.clone()
    }

    /// Whether a module is loaded.
    pub fn has(&self, sha256: &[u8; 32]) -> bool {
        self.module(sha256).is_some()
    }

    pub(crate) fn module(&self, sha256: &[u8; 32]) -> Option<Arc<Module>> {
        self.modules.read().unwrap_or_else(PoisonError::into_inner).get(sha256).cloned()
    }

    /// The module of a registered machine.
    pub(crate) fn of(&self, machine: &str, sha256: &[u8; 32]) -> Result<Arc<Module>, Fault> {
        let (machine, sha256) = (machine.to_owned(), *sha256);
        self.module(&sha256).ok_or(Fault::MissingModule { machine, sha256, index: Index::ZERO })
    }
}

impl std::fmt::Debug for Machines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let modules = self.modules.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Machines").field("modules", &modules.len()).finish_non_exhaustive()
    }
}

impl Module {
    fn link(engine: &Engine, name: &str, component: &Component) -> Result<Module, Fault> {
        let kind = component.component_type();
        for (import, _) in kind.imports(engine) {
            spoken(import).map_err(|why| refused(name, format!("it imports {why}")))?;
        }
        let engine_says = |error: wasmtime::Error| refused(name, format!("{error:#}"));
        let linked = linker(engine)
            .and_then(|linker| linker.instantiate_pre(component))
            .map_err(engine_says)?;
        let missing = |what: String| refused(name, format!("it does not export {what}"));
        let guest = exported(engine, name, component, "guest")?
            .ok_or_else(|| missing(format!("{PACKAGE}guest@{VERSION}")))?;
        let verification = exported(engine, name, component, "verification")?;
        let mut exports = Vec::new();
        for (interface, functions) in
            [(Some(guest), &Export::GUEST[..]), (verification, &Export::VERIFICATION)]
        {
            let Some(interface) = interface else { continue };
            for (_, export) in functions {
                let index = component.get_export_index(Some(&interface), export);
                exports.push(index.ok_or_else(|| missing((*export).to_owned()))?);
            }
        }
        let nothing = Manifest::default();
        let mut module = Module { component: None, linked, exports, manifest: nothing };
        module.manifest = module.describe(name)?;
        if module.manifest.keyed && !module.verifies() {
            return Err(refused(name, "it calls itself keyed, but does not export verification"));
        }
        tracing::debug!(name, manifest = ?module.manifest, "loaded");
        Ok(module)
    }

    /// Runs the module once, so that one that cannot run is refused before it is needed.
    fn describe(&self, name: &str) -> Result<Manifest, Fault> {
        let who = Who {
            machine: u32::MAX,
            name: name.into(),
            index: Index::ZERO,
            limits: Limits::DEFAULT,
            may_change_conf: false,
            sets_aside: false,
        };
        let fuel = who.limits.command_fuel;
        let (_, tried) = invoke::try_out(self, Call::new(Tables::Nothing, who.clone(), 1));
        match tried {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return Err(refused(name, why)),
            Err(ended) => return Err(blame(name, "no instance of it can be made", ended)),
        }
        let (_, described) = invoke::describe(self, Call::new(Tables::Nothing, who, 1), fuel);
        described.map_err(|ended| blame(name, "it cannot describe itself", ended))
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.linked.engine()
    }

    pub(crate) fn export(&self, export: Export) -> &ComponentExportIndex {
        &self.exports[export as usize]
    }

    /// What the module says about itself.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Schema of the rows that the module reads and writes.
    pub(crate) fn schema(&self) -> u32 {
        self.manifest.schema
    }

    /// Whether what the module says about itself can be kept and compared.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn acceptable(&self) -> Result<(), Rejection> {
        let Manifest { name, version, schema, migrates_from, api, .. } = &self.manifest;
        let bad = |text: String| Err(Rejection::says(HostCode::BadModule, text));
        for (what, bytes, most) in [
            ("name", name.len(), NAME_BYTES_MAX),
            ("version", version.len(), NAME_BYTES_MAX),
            ("api", api.len(), API_BYTES_MAX),
        ] {
            if bytes > most {
                return bad(format!(
                    "the module's {what} has {bytes} bytes, at most {most} may be"
                ));
            }
        }
        if migrates_from > schema {
            return bad(format!("the module migrates from schema {migrates_from} to {schema}"));
        }
        Ok(())
    }

    /// Whether the module exports what checkers ask.
    pub(crate) fn verifies(&self) -> bool {
        self.exports.len() > Export::GUEST.len()
    }

    pub(crate) fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Instance> {
        self.linked.instantiate(store)
    }
}

#[expect(unsafe_code, reason = "compiled code cannot be checked, only its hash")]
fn deserialize(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the caller compared the SHA-256 of `compiled` with one made right after it was
    // compiled by pgraft-engine, so these are bytes of wasmtime's own making. The engine itself
    // refuses code of another version or configuration.
    unsafe { Component::deserialize(engine, compiled) }
}

/// The interface that a component exports under this bare name, in any version that is spoken.
fn exported(
    engine: &Engine,
    name: &str,
    component: &Component,
    interface: &str,
) -> Result<Option<ComponentExportIndex>, Fault> {
    let kind = component.component_type();
    let mut exports = kind.exports(engine).map(|(export, _)| export);
    let Some(export) = exports.find(|export| bare(export) == interface) else { return Ok(None) };
    spoken(export).map_err(|why| refused(name, format!("it exports {why}")))?;
    Ok(component.get_export_index(None, export))
}

/// Only what ends equally everywhere is the module's fault.
fn blame(name: &str, what: &str, ended: Ended) -> Fault {
    match ended {
        Ended::Here(fault) => fault,
        Ended::Everywhere(code) => refused(name, format!("{what}: {}", Rejection::host(code))),
    }
}

fn unusable(name: &str, why: impl Into<String>) -> Fault {
    Fault::Code { name: name.to_owned(), why: why.into() }
}

fn refused(name: &str, why: impl Into<String>) -> Fault {
    Fault::Module { name: name.to_owned(), why: why.into() }
}

/// Bytes in hexadecimal, as hashes of modules are shown.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
