//! One call into a fresh instance of a module, and what its failure means.
//!
//! The classes of WASM.md 4.3 are decided here and nowhere else: what every replica sees alike is
//! a [`HostCode`]; what only this machine sees is a [`Fault`].

use std::cell::RefCell;

use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower};
use wasmtime::{OutOfMemory, Result, Store, Trap};

use crate::call::Call;
use crate::fault::Fault;
use crate::imports::State;
use crate::interface::{
    Context, GuestCommand, GuestError, GuestOutcome, Manifest, Progress, Trigger,
};
use crate::limits::{HOSTCALL_BYTES_MAX, INSTANTIATION_FUEL, START_FUEL};
use crate::machines::Module;
use crate::rejection::HostCode;
#[cfg(test)]
use crate::tests::{Plant, canary, planted};

/// Why a call did not come to its end.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Equally on every replica.
    Everywhere(HostCode),
    /// On this machine.
    Here(Fault),
}

/// What a guest is asked to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Export {
    Describe,
    Init,
    Check,
    Apply,
    React,
    Query,
    Migrate,
    CommandKey,
    QueryKey,
    Invariant,
}

impl Export {
    /// What the interface `guest` exports, in the order of their numbers.
    pub(crate) const GUEST: [(Export, &'static str); 7] = [
        (Export::Describe, "describe"),
        (Export::Init, "init"),
        (Export::Check, "check"),
        (Export::Apply, "apply"),
        (Export::React, "react"),
        (Export::Query, "query"),
        (Export::Migrate, "migrate"),
    ];
    /// What the interface `verification` exports; their numbers follow.
    pub(crate) const VERIFICATION: [(Export, &'static str); 3] = [
        (Export::CommandKey, "command-key"),
        (Export::QueryKey, "query-key"),
        (Export::Invariant, "invariant"),
    ];

    fn name(self) -> &'static str {
        let mut all = Export::GUEST.iter().chain(&Export::VERIFICATION);
        all.find(|(export, _)| *export as usize == self as usize).map_or("", |(_, name)| name)
    }
}

pub(crate) type Returned<R> = (Call, std::result::Result<R, Ended>);

/// The commands of an entry for one machine.
pub(crate) fn apply(
    module: &Module,
    call: Call,
    fuel: u64,
    context: Context,
    commands: &[GuestCommand<'_>],
) -> Returned<Vec<GuestOutcome>> {
    let parameters = (context, commands);
    let (call, result) = invoke(module, Export::Apply, call, fuel, parameters);
    (call, result.map(|(outcomes,): (Vec<GuestOutcome>,)| outcomes))
}

/// Input driven by time or by the host.
pub(crate) fn react(
    module: &Module,
    call: Call,
    fuel: u64,
    context: Context,
    trigger: Trigger,
) -> Returned<std::result::Result<(), GuestError>> {
    let (call, result) = invoke(module, Export::React, call, fuel, (context, trigger));
    (call, result.map(|(outcome,)| outcome))
}

/// The machine's first configuration.
pub(crate) fn init(
    module: &Module,
    call: Call,
    fuel: u64,
    context: Context,
    config: &[u8],
) -> Returned<std::result::Result<(), GuestError>> {
    let (call, result) = invoke(module, Export::Init, call, fuel, (context, config));
    (call, result.map(|(outcome,)| outcome))
}

/// A question on a snapshot.
pub(crate) fn query(
    module: &Module,
    call: Call,
    fuel: u64,
    context: Context,
    request: &[u8],
) -> Returned<GuestOutcome> {
    let (call, result) = invoke(module, Export::Query, call, fuel, (context, request));
    (call, result.map(|(outcome,)| outcome))
}

/// A look at a command before it enters the log.
pub(crate) fn check(
    module: &Module,
    call: Call,
    fuel: u64,
    context: Context,
    command: GuestCommand<'_>,
) -> Returned<std::result::Result<(), GuestError>> {
    let (call, result) = invoke(module, Export::Check, call, fuel, (context, command));
    (call, result.map(|(outcome,)| outcome))
}

/// A step of the way from the rows of schema `from_schema` to those of the module's own.
pub(crate) fn migrate(
    module: &Module,
    call: Call,
    fuel: u64,
    context: Context,
    from_schema: u32,
    step: u32,
) -> Returned<std::result::Result<Progress, GuestError>> {
    let parameters = (context, from_schema, step);
    let (call, result) = invoke(module, Export::Migrate, call, fuel, parameters);
    (call, result.map(|(outcome,)| outcome))
}

/// The key that a command touches; of a module that exports `verification`, as those below.
pub(crate) fn command_key(
    module: &Module,
    call: Call,
    fuel: u64,
    payload: &[u8],
) -> Returned<Option<Vec<u8>>> {
    let (call, result) = invoke(module, Export::CommandKey, call, fuel, (payload,));
    (call, result.map(|(key,)| key))
}

/// The key that a query touches.
pub(crate) fn query_key(
    module: &Module,
    call: Call,
    fuel: u64,
    request: &[u8],
) -> Returned<Option<Vec<u8>>> {
    let (call, result) = invoke(module, Export::QueryKey, call, fuel, (request,));
    (call, result.map(|(key,)| key))
}

/// Whether what must hold after every entry does; or in words what does not.
pub(crate) fn invariant(
    module: &Module,
    call: Call,
    fuel: u64,
    context: Context,
) -> Returned<std::result::Result<(), String>> {
    let (call, result) = invoke(module, Export::Invariant, call, fuel, (context,));
    (call, result.map(|(holds,)| holds))
}

/// Makes an instance and lets it go: whether one can be made in time, and whether its exports have
/// the types that the calls below expect.
pub(crate) fn try_out(module: &Module, call: Call) -> Returned<std::result::Result<(), String>> {
    let mut store = store(module, call);
    match instantiate(module, &mut store, START_FUEL) {
        Ok(instance) => {
            let types = types(module, &mut store, &instance).map_err(|why| format!("{why:#}"));
            (store.into_data().into_inner(), Ok(types))
        }
        Err(error) => {
            let mut call = store.into_data().into_inner();
            let ended = match error.downcast_ref::<Trap>() {
                Some(Trap::OutOfFuel) => Ended::Everywhere(HostCode::OutOfFuel),
                _ => classify_start(&mut call, &error),
            };
            (call, Err(ended))
        }
    }
}

fn types(module: &Module, store: &mut Store<State>, instance: &Instance) -> Result<()> {
    fn has<P, R>(
        module: &Module,
        store: &mut Store<State>,
        instance: &Instance,
        export: Export,
    ) -> Result<()>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        instance
            .get_typed_func::<P, R>(&mut *store, module.export(export))
            .map(|_| ())
            .map_err(|why| why.context(format!("its export {} has another type", export.name())))
    }
    type Done = std::result::Result<(), GuestError>;
    type Step = std::result::Result<Progress, GuestError>;
    type Holds = std::result::Result<(), String>;
    type Key = Option<Vec<u8>>;
    has::<(), (Manifest,)>(module, store, instance, Export::Describe)?;
    has::<(Context, &[u8]), (Done,)>(module, store, instance, Export::Init)?;
    has::<(Context, GuestCommand<'_>), (Done,)>(module, store, instance, Export::Check)?;
    has::<(Context, &[GuestCommand<'_>]), (Vec<GuestOutcome>,)>(
        module,
        store,
        instance,
        Export::Apply,
    )?;
    has::<(Context, Trigger), (Done,)>(module, store, instance, Export::React)?;
    has::<(Context, &[u8]), (GuestOutcome,)>(module, store, instance, Export::Query)?;
    has::<(Context, u32, u32), (Step,)>(module, store, instance, Export::Migrate)?;
    if module.verifies() {
        has::<(&[u8],), (Key,)>(module, store, instance, Export::CommandKey)?;
        has::<(&[u8],), (Key,)>(module, store, instance, Export::QueryKey)?;
        has::<(Context,), (Holds,)>(module, store, instance, Export::Invariant)?;
    }
    Ok(())
}

/// What the module says about itself.
pub(crate) fn describe(module: &Module, call: Call, fuel: u64) -> Returned<Manifest> {
    let (call, result) = invoke(module, Export::Describe, call, fuel, ());
    (call, result.map(|(manifest,)| manifest))
}

fn invoke<P, R>(
    module: &Module,
    export: Export,
    call: Call,
    fuel: u64,
    parameters: P,
) -> Returned<R>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift + 'static,
{
    let (mut store, instance) = match enter(module, call, fuel) {
        Ok(entered) => entered,
        Err((call, ended)) => return (call, Err(ended)),
    };
    let result = run(&mut store, &instance, module.export(export), fuel, parameters);
    let left = store.get_fuel().unwrap_or_default();
    let mut call = leave(module, store, instance, result.is_ok());
    call.fuel_used = fuel.saturating_sub(left);
    let result = result.map_err(|error| {
        let ended = classify(&mut call, &error);
        tracing::debug!(
            machine = &*call.who.name, index = call.who.index.0, ?export, ?ended,
            error = %format_args!("{error:#}"), "call into a module ended"
        );
        ended
    });
    (call, result)
}

/// A fresh instance, with the call behind its imports.
#[expect(clippy::result_large_err, reason = "the call comes back, it is not copied on the way")]
fn enter(
    module: &Module,
    call: Call,
    #[cfg_attr(not(test), expect(unused_variables, reason = "a canary uses it"))] fuel: u64,
) -> std::result::Result<(Store<State>, Instance), (Call, Ended)> {
    #[cfg(test)]
    let call = match canary::enter(module, call) {
        Ok(entered) => return Ok(entered),
        Err(call) => *call,
    };
    // What instantiation uses depends on the allocator, so it must never run out (WASM.md 4.2).
    #[cfg(test)]
    let start = if planted(Plant::FuelBeforeInstantiation) { fuel } else { INSTANTIATION_FUEL };
    #[cfg(not(test))]
    let start = INSTANTIATION_FUEL;
    let mut store = store(module, call);
    match instantiate(module, &mut store, start) {
        Ok(instance) => Ok((store, instance)),
        Err(error) => {
            let mut call = store.into_data().into_inner();
            let ended = classify_start(&mut call, &error);
            Err((call, ended))
        }
    }
}

fn store(module: &Module, call: Call) -> Store<State> {
    let mut store: Store<State> = Store::new(module.engine(), RefCell::new(call));
    store.limiter(|state| state.get_mut());
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store
}

fn instantiate(module: &Module, store: &mut Store<State>, fuel: u64) -> Result<Instance> {
    store.set_fuel(fuel)?;
    let instance = module.instantiate(store)?;
    store.data_mut().get_mut().beginning = false;
    Ok(instance)
}

fn run<P, R>(
    store: &mut Store<State>,
    instance: &Instance,
    export: &ComponentExportIndex,
    fuel: u64,
    parameters: P,
) -> Result<R>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift + 'static,
{
    let function = instance.get_typed_func::<P, R>(&mut *store, export)?;
    #[cfg(test)]
    let fuel = match planted(Plant::FuelBeforeInstantiation) {
        true => store.get_fuel()?,
        false => fuel,
    };
    store.set_fuel(fuel)?;
    function.call(store, parameters)
}

/// Takes the call out; the instance ends here.
#[cfg_attr(not(test), expect(unused_variables, reason = "a canary uses them"))]
fn leave(module: &Module, store: Store<State>, instance: Instance, ended_well: bool) -> Call {
    #[cfg(test)]
    if ended_well && planted(Plant::InstanceKept) {
        return canary::leave(module, store, instance);
    }
    store.into_data().into_inner()
}

/// Why no instance could be made. A start function is a part of the module and is told nothing, so
/// what it does is equal everywhere; what is left is this machine's.
fn classify_start(call: &mut Call, error: &wasmtime::Error) -> Ended {
    match error.downcast_ref::<Trap>() {
        _ if call.fault.is_some() || call.ended.is_some() => classify(call, error),
        Some(Trap::OutOfFuel) | None => {
            Ended::Here(call.engine_fault("instantiate a module", error))
        }
        Some(_) => classify(call, error),
    }
}

fn classify(call: &mut Call, error: &wasmtime::Error) -> Ended {
    if let Some(fault) = call.fault.take() {
        return Ended::Here(fault);
    }
    if let Some(code) = call.ended {
        return Ended::Everywhere(code);
    }
    if error.is::<OutOfMemory>() {
        return Ended::Here(call.engine_fault("allocate memory", error));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => Ended::Here(Fault::StackOverflow {
            machine: call.who.name.to_string(),
            index: call.who.index,
        }),
        Some(Trap::OutOfFuel) => Ended::Everywhere(HostCode::OutOfFuel),
        Some(_) => Ended::Everywhere(HostCode::Trap),
        // The engine could not make sense of what the guest passed or returned.
        None => Ended::Everywhere(HostCode::BadInterface),
    }
}
