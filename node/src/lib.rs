//! A pgraft node: I/O around the replica.
//!
//! The way of one write, by file: `socket` → `gateway` (①) → `driver` → replica (②) →
//! `log_writer` (③) and transport (④) → replica (⑤) → `applier` (⑥) → `gateway` (⑦). See
//! docs/ARCHITECTURE.md. Runs inside a background worker of PostgreSQL or as the program
//! `pgraft`; nothing here knows which.
#![warn(missing_docs)]

pub mod address;
mod applier;
mod birth;
mod checkpointer;
pub mod client;
pub mod clock;
pub mod compiler;
mod data_dir;
mod driver;
mod duties;
mod event;
mod files;
mod gateway;
mod genesis;
mod join;
mod life;
mod log_writer;
mod management;
pub mod modules;
mod node;
mod os;
mod peer_rpc;
mod provision;
mod readers;
pub mod recording;
mod recovery;
mod report;
mod round;
pub mod rpc;
mod session;
pub mod settings;
mod snapshots;
mod socket;
pub mod staging;
pub mod status;
mod unix;
mod worker;
pub mod world;

pub use data_dir::DataDirError;
pub use node::{Ended, Node, StartError};
