//! Mistakes that a host could make, planted on purpose: the identity test must notice each.
//!
//! They exist in test builds only, and are switched on per thread.

use std::cell::{Cell, RefCell};

use wasmtime::Store;
use wasmtime::component::Instance;

use crate::call::Call;
use crate::imports::State;
use crate::machines::Module;
use crate::tables::Tables;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// What a trapped call wrote stays.
    ForgottenRollback,
    /// The fuel of a command also pays for instantiation.
    FuelBeforeInstantiation,
    /// An instance serves more than one entry.
    InstanceKept,
    /// A specification's rows do not go back to a mark.
    SheetKeepsWhatIsUndone,
}

thread_local! {
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
    static KEPT: RefCell<Vec<(usize, Store<State>, Instance)>> = const { RefCell::new(Vec::new()) };
}

/// Whether the running host makes this mistake.
pub(crate) fn planted(plant: Plant) -> bool {
    PLANTED.get() == Some(plant)
}

/// An instance that was kept, with the new call behind its imports.
pub(crate) fn enter(
    module: &Module,
    mut call: Call,
) -> Result<(Store<State>, Instance), Box<Call>> {
    let address = std::ptr::from_ref(module).addr();
    let kept = KEPT.with_borrow_mut(|kept| {
        let place = kept.iter().position(|(of, ..)| *of == address)?;
        Some(kept.swap_remove(place))
    });
    let Some((_, mut store, instance)) = kept else { return Err(Box::new(call)) };
    call.beginning = false;
    *store.data_mut() = RefCell::new(call);
    Ok((store, instance))
}

/// Keeps an instance for the next entry.
pub(crate) fn leave(module: &Module, store: Store<State>, instance: Instance) -> Call {
    let address = std::ptr::from_ref(module).addr();
    let who = store.data().borrow().who.clone();
    let call = store.data().replace(Call::new(Tables::Nothing, who, 1));
    KEPT.with_borrow_mut(|kept| kept.push((address, store, instance)));
    call
}

/// Lets the host make a mistake while `work` runs.
pub(crate) fn with<R>(plant: Option<Plant>, work: impl FnOnce() -> R) -> R {
    PLANTED.set(plant);
    let result = work();
    PLANTED.set(None);
    KEPT.with_borrow_mut(Vec::clear);
    result
}
