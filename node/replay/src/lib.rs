//! The replay oracle: what went into a replica and what came out is recorded, and a fresh replica
//! must give the same for the same.
//!
//! A replica is a function of its inputs (`node/replica`). A [`Recorder`] turns what a node's
//! observer sees into bytes; [`replay`] reads them and compares step by step. A difference means
//! that something else than the inputs decided: a clock, chance, the order of a hash map, memory
//! that outlived a restart; or that the program changed. The format stands in docs/FORMATS.md.
//!
//! Not here: files, threads and the node (`node/src/recording.rs`), and what is right: a replica
//! that is wrong in the same way twice passes.
#![warn(missing_docs)]

mod decode;
mod difference;
mod encode;
mod fields;
mod inputs;
mod oracle;
mod outputs;
mod record;
mod recorder;

pub use difference::Difference;
pub use oracle::{Failure, Report, Stopped, replay};
pub use record::{Body, Damage, MAGIC, Record, Records, Start, Step, VERSION};
pub use recorder::Recorder;
