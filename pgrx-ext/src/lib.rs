//! The extension `pgraft`: a node of the cluster inside a PostgreSQL background worker, and the SQL
//! functions that reach it.
//!
//! A thin shim. Who runs what:
//!
//! * the postmaster: [`_PG_init`], which defines settings, shared memory and the worker;
//! * the worker's main thread: `worker`, the only thread of that process that calls PostgreSQL;
//! * the node's threads, inside the worker: started by `pgraft_node`, write the status into
//!   `board` and log lines into `log_lines`, both without calling PostgreSQL;
//! * backends: the functions in `sql`, which read `board` or send a request by `client`.
//!
//! Not here: anything about consensus, storage or machines. Nothing in this crate decides what is
//! written or who leads.

#![expect(unsafe_code, reason = "PostgreSQL is C: hooks, latches, datums")]

use pgrx::prelude::*;

mod bell;
mod board;
mod client;
mod json;
mod log_lines;
mod report;
mod settings;
mod sql;
mod text;
mod worker;

::pgrx::pg_module_magic!(name = c"pgraft", version = c"1.0.0");

/// Called by PostgreSQL when it loads the library.
///
/// Outside of `shared_preload_libraries` it does nothing, so that `pg_upgrade --check` and a plain
/// `LOAD` succeed; the functions then say what is missing.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // SAFETY: the postmaster has one thread. Without this a plain statement timeout would carry
    // forty lines of Rust frames to the client wherever RUST_BACKTRACE is set.
    unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
    // SAFETY: a plain flag of PostgreSQL, read on its own thread.
    if !unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        return;
    }
    settings::define();
    board::request();
    // SAFETY: as above. pg_upgrade starts both servers on copies of the data: they stay out of the
    // cluster.
    if !unsafe { pg_sys::IsBinaryUpgrade } {
        worker::register();
    }
}
