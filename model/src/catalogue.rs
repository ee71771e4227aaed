//! The models there are, by name.

use std::net::SocketAddr;

use crate::bounds::Bounds;
use crate::report::{Expected, Report};
use crate::{driver, machine, store};

/// One model.
#[derive(Clone)]
pub struct Entry {
    /// What the command line calls it: words in lower case joined by `-`.
    pub name: &'static str,
    /// One line: what is checked, and what the bounds mean to it.
    pub about: &'static str,
    /// The bounds of `cargo test`, and those of the program where it is told nothing else.
    pub small: Bounds,
    /// What the run must come to: a canary must be refuted.
    pub expected: Expected,
    /// Checks it; made with [`crate::search::run`].
    pub check: fn(&Bounds) -> Report,
    /// Serves stateright's Explorer and never returns; made with [`crate::search::explore`].
    pub explore: fn(&Bounds, SocketAddr),
}

/// All models.
pub fn entries() -> Vec<Entry> {
    [store::entries(), driver::entries(), machine::entries()].concat()
}

/// The model called `name`.
///
/// # Errors
/// Says which there are.
pub fn find(name: &str) -> Result<Entry, String> {
    let entries = entries();
    let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    match entries.iter().find(|entry| entry.name == name) {
        Some(entry) => Ok(entry.clone()),
        None => Err(format!("no model is called {name:?}; there are: {}", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_and_each_is_there_once() {
        let names: Vec<&str> = entries().iter().map(|entry| entry.name).collect();
        for (place, name) in names.iter().enumerate() {
            assert!(!names[..place].contains(name), "{name} is there twice");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.chars().all(plain), "{name}");
        }
    }

    #[test]
    fn every_canary_must_be_refuted() {
        for entry in entries().iter().filter(|entry| entry.name.contains("canary")) {
            assert!(matches!(entry.expected, Expected::Refuted(_)), "{}", entry.name);
        }
    }

    #[test]
    fn unknown_name_is_told_which_there_are() {
        let why = find("stores").err().unwrap();
        assert!(why.contains("\"stores\"") && why.contains("store-errors"), "{why}");
    }
}
