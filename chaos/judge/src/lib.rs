//! Histories, and everything that judges them.

pub mod history;
