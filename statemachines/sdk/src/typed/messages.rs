//! What a typed machine tells and asks: events, commands to other machines, and when to be woken.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Form;
use crate::{Error, Outcome, events, storage};

/// Emits an event. Its payload is JSON, because a watcher asked for no other form;
/// [`crate::events::emit`] takes any bytes.
pub fn emit<T: Serialize + ?Sized>(topic: impl AsRef<[u8]>, payload: &T) {
    events::emit(topic.as_ref(), &Form::Json.encode(payload));
}

/// Asks that another machine of this cluster carry out a command, exactly once. The outcome comes
/// back to [`super::Machine::effect_done`] under the returned id; [`told`] reads it.
pub fn request<T: Serialize + ?Sized>(machine: &str, command: &T) -> u64 {
    crate::request_command(machine, &Form::Compact.encode(command))
}

/// What another typed machine replied to a [`request`].
///
/// # Errors
/// Its rejection, or that the reply is not of this type.
pub fn told<T: DeserializeOwned>(outcome: &Outcome) -> Result<T, Error> {
    let reply = outcome.as_ref().map_err(Clone::clone)?;
    Ok(Form::Compact.decode(reply)?)
}

/// Asks to be woken ([`super::Machine::wake`]) at or after this unix ms, instead of whenever was
/// asked for before; `None` = not at all. The host forgets it when it wakes the machine.
pub fn wake_at(time_ms: Option<u64>) {
    storage::wake_at(time_ms.unwrap_or(0));
}
