//! The host functions as a guest's imports: `storage`, `events`, `effects`, `log`.
//!
//! Each charges fuel for its own work before or after it, so that a loop of host calls ends as
//! surely as any other, and at the same call on every replica. Arguments are read where they lie
//! in the guest's memory.

use std::cell::RefCell;

use pgraft_engine::{PACKAGE, VERSION};
use wasmtime::component::{Linker, LinkerInstance, WasmList, WasmStr};
use wasmtime::{Engine, Result, StoreContextMut, Trap};

use crate::call::Call;
use crate::interface::{GuestPage, Level};
use crate::limits::{GET_MANY_KEYS_MAX, HOST_CALL_FUEL, READ_FUEL, ROW_FUEL, WRITE_FUEL};
use crate::rejection::HostCode;

/// What the engine's store holds. A cell, so that arguments can stay borrowed from the guest's
/// memory while the call changes; a host function never calls another one.
pub(crate) type State = RefCell<Call>;
type Context<'a> = StoreContextMut<'a, State>;

/// All imports a module may have.
pub(crate) fn linker(engine: &Engine) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let name = |interface: &str| format!("{PACKAGE}{interface}@{VERSION}");
    reads(&mut linker.instance(&name("storage"))?)?;
    writes(&mut linker.instance(&name("storage"))?)?;
    marks(&mut linker.instance(&name("storage"))?)?;
    linker.instance(&name("types"))?;
    linker.instance(&name("events"))?.func_wrap("emit", emit)?;
    linker.instance(&name("effects"))?.func_wrap("request", request)?;
    linker.instance(&name("log"))?.func_wrap("write", log)?;
    Ok(linker)
}

/// Every function begins with this.
fn charge(context: &mut Context<'_>, fuel: u64) -> Result<()> {
    if context.data().borrow().beginning {
        return context.data().borrow_mut().end(HostCode::BadInterface);
    }
    match context.get_fuel()?.checked_sub(fuel) {
        Some(left) => context.set_fuel(left),
        None => {
            context.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

fn reads(storage: &mut LinkerInstance<'_, State>) -> Result<()> {
    storage.func_wrap("get", |mut context: Context<'_>, (key,): (WasmList<u8>,)| {
        charge(&mut context, READ_FUEL)?;
        let value = context.data().borrow_mut().get(key.as_le_slice(&context))?;
        charge(&mut context, value.as_ref().map_or(0, Vec::len) as u64)?;
        Ok((value,))
    })?;
    storage.func_wrap("get-many", get_many)?;
    storage.func_wrap("size-of", |mut context: Context<'_>, (key,): (WasmList<u8>,)| {
        charge(&mut context, READ_FUEL)?;
        let size = context.data().borrow_mut().size_of(key.as_le_slice(&context))?;
        Ok((size,))
    })?;
    storage.func_wrap("scan", scan)?;
    storage.func_wrap("count", count)
}

fn get_many(mut context: Context<'_>, (keys,): (Vec<Vec<u8>>,)) -> Result<(Vec<Option<Vec<u8>>>,)> {
    charge(&mut context, READ_FUEL * (1 + keys.len() as u64))?;
    let call = context.data();
    if keys.len() > GET_MANY_KEYS_MAX {
        return call.borrow_mut().end(HostCode::Quota);
    }
    let values = call.borrow_mut().get_many(keys.iter().map(Vec::as_slice))?;
    let bytes: usize = values.iter().flatten().map(Vec::len).sum();
    charge(&mut context, bytes as u64)?;
    Ok((values,))
}

type ScanArguments = (WasmList<u8>, WasmList<u8>, u32, u32, bool, bool);

fn scan(
    mut context: Context<'_>,
    (start, end, limit, max_bytes, reverse, keys_only): ScanArguments,
) -> Result<(GuestPage,)> {
    charge(&mut context, READ_FUEL)?;
    let page = {
        let (start, end) = (start.as_le_slice(&context), end.as_le_slice(&context));
        let mut call = context.data().borrow_mut();
        call.scan(start, end, limit, max_bytes, reverse, keys_only)?
    };
    charge(&mut context, u64::from(page.count) * ROW_FUEL + page.rows.len() as u64)?;
    Ok((GuestPage { rows: page.rows, count: page.count, more: page.more },))
}

fn count(
    mut context: Context<'_>,
    (start, end, limit): (WasmList<u8>, WasmList<u8>, u32),
) -> Result<(u32,)> {
    charge(&mut context, READ_FUEL)?;
    let rows = {
        let (start, end) = (start.as_le_slice(&context), end.as_le_slice(&context));
        context.data().borrow_mut().count(start, end, limit)?
    };
    charge(&mut context, u64::from(rows) * ROW_FUEL)?;
    Ok((rows,))
}

fn writes(storage: &mut LinkerInstance<'_, State>) -> Result<()> {
    type Row = (WasmList<u8>, WasmList<u8>);
    storage.func_wrap("put", |mut context: Context<'_>, (key, value): Row| {
        charge(&mut context, WRITE_FUEL + (key.len() + value.len()) as u64)?;
        let (key, value) = (key.as_le_slice(&context), value.as_le_slice(&context));
        context.data().borrow_mut().put(key, value)
    })?;
    storage.func_wrap("delete", |mut context: Context<'_>, (key,): (WasmList<u8>,)| {
        charge(&mut context, WRITE_FUEL)?;
        let existed = context.data().borrow_mut().delete(key.as_le_slice(&context))?;
        Ok((existed,))
    })?;
    storage.func_wrap("delete-range", |mut context: Context<'_>, (start, end): Row| {
        charge(&mut context, WRITE_FUEL)?;
        let rows = {
            let (start, end) = (start.as_le_slice(&context), end.as_le_slice(&context));
            context.data().borrow_mut().delete_range(start, end)?
        };
        charge(&mut context, rows * ROW_FUEL)?;
        Ok((rows,))
    })
}

fn marks(storage: &mut LinkerInstance<'_, State>) -> Result<()> {
    storage.func_wrap("mark", |mut context: Context<'_>, ()| {
        charge(&mut context, HOST_CALL_FUEL)?;
        Ok((context.data().borrow_mut().mark()?,))
    })?;
    storage.func_wrap("release", |mut context: Context<'_>, (mark,): (u32,)| {
        charge(&mut context, HOST_CALL_FUEL)?;
        context.data().borrow_mut().release(mark)
    })?;
    storage.func_wrap("rollback-to", |mut context: Context<'_>, (mark,): (u32,)| {
        charge(&mut context, WRITE_FUEL)?;
        context.data().borrow_mut().rollback_to(mark)
    })?;
    storage.func_wrap("wake-at", |mut context: Context<'_>, (time_ms,): (u64,)| {
        charge(&mut context, HOST_CALL_FUEL)?;
        context.data().borrow_mut().wake_at(time_ms)
    })
}

fn emit(mut context: Context<'_>, (topic, payload): (WasmList<u8>, WasmList<u8>)) -> Result<()> {
    charge(&mut context, HOST_CALL_FUEL + (topic.len() + payload.len()) as u64)?;
    let (topic, payload) = (topic.as_le_slice(&context), payload.as_le_slice(&context));
    context.data().borrow_mut().emit(topic, payload)
}

fn request(mut context: Context<'_>, (kind, payload): (WasmStr, WasmList<u8>)) -> Result<(u64,)> {
    charge(&mut context, WRITE_FUEL + payload.len() as u64)?;
    let kind = kind.to_str(&context)?;
    let payload = payload.as_le_slice(&context);
    Ok((context.data().borrow_mut().request(&kind, payload)?,))
}

fn log(mut context: Context<'_>, (level, message): (Level, WasmStr)) -> Result<()> {
    charge(&mut context, HOST_CALL_FUEL)?;
    // Invalid UTF-8 ends the call, as the interface demands of a string.
    let message = message.to_str(&context)?;
    context.data().borrow_mut().log(level, &message);
    Ok(())
}
