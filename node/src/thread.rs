//! A thread of the node: its panic is as much a failure of the node as its error.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

use tokio::sync::mpsc::UnboundedSender;

use crate::event::Event;

/// Bytes of stack: guests may use 1 MiB of it, the host's frames come on top (WASM.md 4.1).
const STACK_BYTES: usize = 4 << 20;

/// Starts a thread; what it returns as an error, or panics with, reaches the driver, which ends
/// the node.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    name: &str,
    events: UnboundedSender<Event>,
    run: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let builder = Builder::new().name(format!("pgraft-{name}")).stack_size(STACK_BYTES);
    let name = name.to_owned();
    builder.spawn(move || {
        // The panic is not survived: the node ends, and what the thread left behind with it.
        let ended = catch_unwind(AssertUnwindSafe(run));
        let why = match ended {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why,
            Err(_told_by_the_hook) => "panicked".to_owned(),
        };
        let _driver_ended = events.send(Event::Failed(format!("{name}: {why}")));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(run: impl FnOnce() -> Result<(), String> + Send + 'static) -> Option<String> {
        let (events, mut inbox) = tokio::sync::mpsc::unbounded_channel();
        start("test", events, run).unwrap().join().unwrap();
        match inbox.try_recv() {
            Ok(Event::Failed(why)) => Some(why),
            _ => None,
        }
    }

    #[test]
    fn errors_and_panics_reach_the_driver() {
        assert_eq!(told(|| Ok(())), None);
        assert_eq!(told(|| Err("no".to_owned())).as_deref(), Some("test: no"));
        assert_eq!(told(|| panic!("oh")).as_deref(), Some("test: panicked"));
    }
}
