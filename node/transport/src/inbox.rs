//! Handing events to the driver, bounded in bytes as well as in number.
//!
//! The channel counts events, and one event may be as large as a frame. So the sizes of those
//! that the driver has not taken yet are remembered here; the channel is first in, first out, and
//! tells how many they are.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::limits::EVENTS_BYTES_MAX;
use crate::transport::Event;

#[derive(Debug, Default)]
struct Sizes {
    queue: VecDeque<usize>,
    bytes: usize,
}

/// The way to the driver for what comes from the network.
#[derive(Debug)]
pub(crate) struct Inbox {
    events: mpsc::Sender<Event>,
    sizes: Mutex<Sizes>,
}

/// The driver does not take events any more.
#[derive(Debug)]
pub(crate) struct Gone;

impl Inbox {
    pub(crate) fn new(events: mpsc::Sender<Event>) -> Inbox {
        Inbox { events, sizes: Mutex::default() }
    }

    /// For events without content, which the reports bound themselves.
    pub(crate) fn small(&self) -> &mpsc::Sender<Event> {
        &self.events
    }

    /// Waits for room, then hands over an event that holds `bytes`.
    pub(crate) async fn put(&self, event: Event, bytes: usize) -> Result<(), Gone> {
        while self.is_full_for(bytes) {
            // All slots are free when the driver has caught up.
            let slots = self.events.max_capacity();
            drop(self.events.reserve_many(slots).await.map_err(|_| Gone)?);
        }
        let slot = self.events.reserve().await.map_err(|_| Gone)?;
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.queue.push_back(bytes);
        sizes.bytes += bytes;
        slot.send(event);
        Ok(())
    }

    fn is_full_for(&self, bytes: usize) -> bool {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        // Slots that others have reserved count as events: too careful, never too generous.
        let waiting = self.events.max_capacity() - self.events.capacity();
        while sizes.queue.len() > waiting {
            let taken = sizes.queue.pop_front().expect("longer than a number that is at least 0");
            sizes.bytes -= taken;
        }
        // A single event is let through whatever its size: the frame bounds it.
        sizes.bytes > 0 && sizes.bytes + bytes > EVENTS_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;

    fn event() -> Event {
        Event::Join { request: Bytes::new(), reply: oneshot::channel().0 }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_events_are_bounded_in_bytes() {
        let (sender, mut events) = mpsc::channel(1000);
        let inbox = Arc::new(Inbox::new(sender));
        let each = EVENTS_BYTES_MAX / 4;
        let feeder = Arc::clone(&inbox);
        let feeding = tokio::spawn(async move {
            for _ in 0..10 {
                feeder.put(event(), each).await.unwrap();
            }
        });
        let mut rounds = Vec::new();
        while !feeding.is_finished() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            rounds.push(std::iter::from_fn(|| events.try_recv().ok()).count());
        }
        rounds.retain(|taken| *taken > 0);
        assert_eq!(rounds, [4, 4, 2]);
        // One that is larger than everything together passes when it is alone.
        inbox.put(event(), 2 * EVENTS_BYTES_MAX).await.unwrap();
        drop(events);
        assert!(inbox.put(event(), 1).await.is_err());
    }
}
