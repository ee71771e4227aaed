//! The latest value of something, and who waits for it to change: `tokio::sync::watch`, except that
//! whoever waited first is woken first. tokio wakes in an order that it draws from its own chance,
//! which no seed reaches, so a simulation of nodes would not repeat itself. Not here: queues.
#![warn(missing_docs)]

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;

/// The sender is gone, and what it said last is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

struct Shared<T> {
    state: RwLock<State<T>>,
    wake: Notify,
}

struct State<T> {
    value: T,
    /// Grows with every change.
    version: u64,
    closed: bool,
}

impl<T> Shared<T> {
    fn read(&self) -> RwLockReadGuard<'_, State<T>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<T>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look at the value. Nothing can change it meanwhile: not to be kept.
pub struct Ref<'a, T>(RwLockReadGuard<'a, State<T>>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

/// Changes the value. Dropping it tells all receivers that no change will come.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// Sees the value, and waits for changes.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// A value, and the two ends.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// A value that nobody sees yet.
    pub fn new(value: T) -> Sender<T> {
        let state = RwLock::new(State { value, version: 0, closed: false });
        Sender { shared: Arc::new(Shared { state, wake: Notify::new() }) }
    }

    /// One more receiver, which has seen the value as it is now.
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.shared.read().version;
        Receiver { shared: Arc::clone(&self.shared), seen }
    }

    /// The value.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// Puts another value in the place of the old one, which is returned.
    pub fn send_replace(&self, mut value: T) -> T {
        self.send_modify(|old| std::mem::swap(old, &mut value));
        value
    }

    /// Changes the value in place.
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Changes the value in place; receivers are told if `modify` returns true, as this does.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let mut state = self.shared.write();
        let modified = modify(&mut state.value);
        state.version += u64::from(modified);
        drop(state);
        if modified {
            self.shared.wake.notify_waiters();
        }
        modified
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.write().closed = true;
        self.shared.wake.notify_waiters();
    }
}

impl<T> Receiver<T> {
    /// The value.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// The value, which counts as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let state = self.shared.read();
        self.seen = state.version;
        Ref(state)
    }

    /// The value counts as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.read().version;
    }

    /// Waits until there is a change that was not seen; then it counts as seen.
    ///
    /// # Errors
    /// When there is none and none will come.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            // Made before the look, it misses nothing that happens after.
            let woken = self.shared.wake.notified();
            {
                let state = self.shared.read();
                if state.version != self.seen {
                    self.seen = state.version;
                    return Ok(());
                }
                if state.closed {
                    return Err(Closed);
                }
            }
            woken.await;
        }
    }

    /// Waits until the value is as wanted, which it may be already; it counts as seen.
    ///
    /// # Errors
    /// When it is not and will not be.
    pub async fn wait_for(
        &mut self,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, Closed> {
        loop {
            let woken = self.shared.wake.notified();
            {
                let state = self.shared.read();
                self.seen = state.version;
                if wanted(&state.value) {
                    return Ok(Ref(state));
                }
                if state.closed {
                    return Err(Closed);
                }
            }
            woken.await;
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.shared.read().value).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.shared.read().value).finish()
    }
}

#[cfg(test)]
mod tests;
