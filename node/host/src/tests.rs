//! Tests of the host as a whole: real engine, real modules, real state.db.

pub(crate) mod canary;
mod exactly_once;
mod identity;
mod lifecycle;
mod modules;
mod outcomes;
mod probe;
mod queries;
mod reactions;
mod rig;
mod scripts;
mod specification;

pub(crate) use canary::{Plant, planted, with};
pub(crate) use identity::Chance;
