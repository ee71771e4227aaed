//! A worker of the node: its panic is as much a failure of the node as its error.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::event::Event;
use crate::world::World;

/// Comes when a worker has ended and what it held is closed.
pub(crate) type Ended = oneshot::Receiver<()>;

/// Starts a worker; what it returns as an error, or panics with, reaches the driver, which ends
/// the node.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    world: &Arc<dyn World>,
    name: &str,
    events: UnboundedSender<Event>,
    work: impl Future<Output = Result<(), String>> + Send + 'static,
) -> io::Result<Ended> {
    let (told, ended) = oneshot::channel();
    let of = name.to_owned();
    let work = async move {
        // The panic is not survived: the node ends, and what the worker left behind with it.
        let why = match caught(work).await {
            Some(Ok(())) => None,
            Some(Err(why)) => Some(why),
            None => Some("panicked".to_owned()),
        };
        if let Some(why) = why {
            let _driver_ended = events.send(Event::Failed(format!("{of}: {why}")));
        }
        let _nobody_waits = told.send(());
    };
    world.start(name, Box::pin(work))?;
    Ok(ended)
}

/// What `work` returns, or `None` when it panics, which the panic hook has told. It is dropped
/// before this returns.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = Box::pin(work);
    poll_fn(move |context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(result)) => Poll::Ready(Some(result)),
        Err(_told_by_the_hook) => Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::OperatingSystem;

    fn told(work: impl Future<Output = Result<(), String>> + Send + 'static) -> Option<String> {
        let world: Arc<dyn World> = {
            let (socket, timeout) = (std::path::PathBuf::new(), std::time::Duration::ZERO);
            Arc::new(OperatingSystem::new(socket, None, timeout, None))
        };
        let (events, mut inbox) = tokio::sync::mpsc::unbounded_channel();
        let ended = start(&world, "test", events, work).unwrap();
        ended.blocking_recv().unwrap();
        match inbox.try_recv() {
            Ok(Event::Failed(why)) => Some(why),
            _ => None,
        }
    }

    #[test]
    fn errors_and_panics_reach_the_driver() {
        assert_eq!(told(async { Ok(()) }), None);
        assert_eq!(told(async { Err("no".to_owned()) }).as_deref(), Some("test: no"));
        assert_eq!(told(async { panic!("oh") }).as_deref(), Some("test: panicked"));
    }
}
