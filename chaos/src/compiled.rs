//! Modules compiled in this process, each once: a run compiles what its nodes stage, and the next
//! run has it already. How long compiling takes in a simulation does not depend on it. Not here:
//! the compiler.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pgraft_node::compiler::CompileError;

/// What compiling came to, by the module's bytes: the same for every node and run.
type Compiled = BTreeMap<Arc<[u8]>, Result<Vec<u8>, CompileError>>;

/// The code of a component.
///
/// # Errors
/// [`CompileError::Refused`].
pub(crate) fn compiled(component: &Arc<[u8]>) -> Result<Vec<u8>, CompileError> {
    static KNOWN: Mutex<Compiled> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let compile = || {
        pgraft_engine::precompile(component)
            .map_err(|error| CompileError::Refused(format!("{error:#}")))
    };
    known.entry(Arc::clone(component)).or_insert_with(compile).clone()
}
