//! Real PostgreSQL servers with the extension, for tests: as root or as an ordinary user.
//!
//! [`Tree`] is an installed PostgreSQL of some major, [`Server`] one running server, [`Cluster`]
//! several that form a cluster. [`Writer`] and [`Watch`] keep the promises' books while a test
//! kills things: which writes were acknowledged, and who led in which term. [`Module`] is a state
//! machine to install.
//! Servers never outlive the test: they die with the thread that started them.
//! Not here: the tests (tests/*.rs), and anything that only simulates a server.
//!
//! Before: `scripts/install --pg-config PATH` for each major, with the paths that scripts/setup
//! wrote to target/pgrx/config.toml.

mod account;
mod cluster;
mod module;
mod poll;
mod process;
mod server;
mod sql;
mod tree;
mod watch;
mod writer;

pub use cluster::{Cluster, free_ports};
pub use module::{Module, bytea};
pub use poll::{poll, until};
pub use server::{Server, Setting};
pub use sql::{Refusal, Sql};
pub use tree::{MAJOR_DEFAULT, Tree};
pub use watch::Watch;
pub use writer::Writer;
