//! Whether a component may become a module of a cluster, told without compiling it: `survey.rs`
//! reads it and holds it to limits, here its imports and exports are held to the interface.
//!
//! Every node comes to the same answer. Not here: whether its functions have the right types, and
//! whether it runs; loading it tells.

use crate::survey::survey;
use crate::{PACKAGE, VERSION, bare, spoken};

/// What a component says about itself without running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Version of the interface `guest` that it exports.
    pub interface: String,
    /// Whether it exports what checkers ask.
    pub verifies: bool,
    /// Bytes of the component.
    pub bytes: u64,
    /// Functions with a body.
    pub functions: u64,
    /// Bytes of memory it begins with.
    pub memory_bytes: u64,
}

/// Inspects a component that shall become a module.
///
/// # Errors
/// In words, with the value and the limit, when it may not: it is not a component, exceeds a limit
/// that protects the compiler, imports what is not there, or speaks another interface.
pub fn inspect(component: &[u8]) -> Result<Facts, String> {
    let survey = survey(component)?;
    for import in &survey.imports {
        spoken(import).map_err(|why| format!("it imports {why}"))?;
    }
    let export = |interface: &str| survey.exports.iter().find(|name| bare(name) == interface);
    let guest =
        export("guest").ok_or_else(|| format!("it does not export {PACKAGE}guest@{VERSION}"))?;
    let verification = export("verification");
    for name in [Some(guest), verification].into_iter().flatten() {
        spoken(name).map_err(|why| format!("it exports {why}"))?;
    }
    let version = guest.split_once('@').map_or("", |(_, version)| version);
    Ok(Facts {
        interface: version.to_owned(),
        verifies: verification.is_some(),
        bytes: component.len() as u64,
        functions: survey.modules.iter().map(|module| module.functions.len() as u64).sum(),
        memory_bytes: survey.instantiated().map(|module| module.memory_bytes).max().unwrap_or(0),
    })
}
