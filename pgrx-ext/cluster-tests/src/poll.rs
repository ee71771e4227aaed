//! Waiting for conditions, never for time.

use std::time::{Duration, Instant};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// What `look` returns once it returns something, or `None` after `at_most`.
pub fn poll<T>(at_most: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + at_most;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// The same for a condition that must come true; 60 s, because the machine may be busy.
///
/// # Panics
/// When it does not.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    match poll(Duration::from_secs(60), look) {
        Some(found) => found,
        None => panic!("waited 60 s in vain until {what}"),
    }
}
