//! The background worker: starts the node, then stands between it and PostgreSQL.
//!
//! Its main thread waits for the latch (signals), the bell (the node's threads) and the death of
//! the postmaster; it reloads settings, writes the node's log into the server's, and ends the
//! process when the node fails or the server stops. The node's threads run with all but the
//! synchronous signals blocked, so that PostgreSQL's handlers never run there.
//! A failure ends with exit code 1: the postmaster starts the worker again after a second, the
//! server goes on. Wrong settings end with exit code 0: nothing changes before the next restart.
//! Not here: what the node does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, SignalWakeFlags,
};
use pgrx::prelude::*;

use pgraft_node::settings::Settings;
use pgraft_node::status::{Status, StatusBoard};
use pgraft_node::{Ended, Node};

use crate::bell::Bell;
use crate::board::{Board, Phase, board};
use crate::log_lines::{self, LogLines};
use crate::report::Report;
use crate::settings;

/// Time the node gets to hand over and close its files when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before the postmaster starts a failed worker again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The node, where the exit callback finds it.
static NODE: Mutex<Option<Node>> = Mutex::new(None);
/// What the board shows once the process is gone.
static LAST_PHASE: Mutex<Phase> = Mutex::new(Phase::Stopped);

/// Asks the postmaster to run the worker from its own start on: a node must vote also while its
/// server recovers, and on a standby.
pub(crate) fn register() {
    BackgroundWorkerBuilder::new("pgraft worker")
        .set_type("pgraft worker")
        .set_library("pgraft")
        .set_function("pgraft_worker_main")
        .enable_shmem_access(None)
        .set_start_time(BgWorkerStartTime::PostmasterStart)
        .set_restart_time(Some(RESTART_PAUSE))
        .load();
}

/// Where the worker process begins.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pgraft_worker_main(_argument: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    // SAFETY: the callback lives as long as the library, which is never unloaded.
    unsafe { pg_sys::before_shmem_exit(Some(at_exit), pg_sys::Datum::from(0usize)) };
    let board = match board() {
        Ok(board) => board,
        Err(not_preloaded) => not_preloaded.raise(),
    };
    board.worker_starts();
    let settings = settings::for_node();
    if let Err(wrong) = settings.validate() {
        refuse(&wrong.to_string());
    }
    let bell = match Bell::new() {
        Ok(bell) => Arc::new(bell),
        Err(e) => fatal(&format!("could not create an event descriptor: {e}")),
    };
    let lines = log_lines::install(Arc::clone(&bell), settings::log_level());
    start_node(board, settings, &bell, &lines);
    serve(&bell, &lines);
    // Code 1, so that a worker that an administrator terminated comes back; when the server is
    // stopping, the postmaster starts nothing anyway.
    exit(1)
}

fn start_node(board: &'static Board, settings: Settings, bell: &Arc<Bell>, lines: &LogLines) {
    let wake = Arc::clone(bell);
    let started = with_signals_blocked(|| {
        Node::start(settings, Arc::new(Shared(board)), Box::new(move || wake.ring()))
    });
    write_lines(lines);
    match started {
        Ok(node) => {
            *NODE.lock().expect("only this thread uses it") = Some(node);
            board.enter(Phase::Running);
        }
        Err(e) => fatal(&format!("could not start the node: {e}")),
    }
}

/// The board as the node's threads hold it.
struct Shared(&'static Board);

impl StatusBoard for Shared {
    fn publish(&self, status: &Status) {
        self.0.publish(status);
    }
}

/// Runs until SIGTERM; a failed node ends the process from within.
fn serve(bell: &Bell, lines: &LogLines) {
    loop {
        wait(bell);
        // PostgreSQL's own requests, such as a barrier of DROP DATABASE.
        pgrx::check_for_interrupts!();
        write_lines(lines);
        if BackgroundWorker::sighup_received() {
            // SAFETY: on the main thread, outside of any transaction.
            unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
            lines.set_level(settings::log_level());
        }
        match ended() {
            Some(Ended::Failed(why)) => {
                write_lines(lines);
                fatal(&why);
            }
            Some(Ended::Removed) => {
                write_lines(lines);
                retire();
            }
            None => {}
        }
        if BackgroundWorker::sigterm_received() {
            return;
        }
    }
}

fn wait(bell: &Bell) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_SOCKET_READABLE | pg_sys::WL_EXIT_ON_PM_DEATH;
    let events = i32::try_from(events).expect("a few low bits");
    // SAFETY: on the main thread; the bell lives as long as the process.
    unsafe {
        let latch = pg_sys::MyLatch;
        let why = pg_sys::PG_WAIT_EXTENSION;
        pg_sys::WaitLatchOrSocket(latch, events, bell.descriptor(), -1, why);
        pg_sys::ResetLatch(latch);
    }
    bell.answer();
}

fn ended() -> Option<Ended> {
    NODE.lock().expect("only this thread uses it").as_ref().and_then(Node::ended)
}

fn write_lines(lines: &LogLines) {
    while let Some(line) = lines.next() {
        let level = match line.level {
            tracing::Level::ERROR | tracing::Level::WARN => PgLogLevel::WARNING,
            // The node's level was asked for by pgraft.log_level, so log_min_messages has no say.
            _ => PgLogLevel::LOG,
        };
        let text = match line.level {
            tracing::Level::ERROR => format!("pgraft: error: {}", line.text),
            _ => format!("pgraft: {}", line.text),
        };
        Report::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, text).log(level);
    }
    let dropped = lines.take_dropped();
    if dropped > 0 {
        let text = format!("pgraft: {dropped} log lines were lost, the node wrote too many");
        Report::new(PgSqlErrorCode::ERRCODE_WARNING, text).log(PgLogLevel::WARNING);
    }
}

/// Ends the worker for good: the cluster has told this node that it is no member any more.
fn retire() -> ! {
    let message = "pgraft: this node was removed from its cluster";
    Report::new(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        .detail("The node is stopped; the server runs without it.")
        .hint("To use it again, give it an empty pgraft.data_dir and add it under a new id.")
        .log(PgLogLevel::WARNING);
    exit_for_good(Phase::Removed)
}

/// Ends the worker for good: only a restart of the server can change these settings.
fn refuse(why: &str) -> ! {
    Report::new(PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR, format!("pgraft: {why}"))
        .detail("The node is not started; the server runs without it.")
        .hint("Correct the pgraft settings in postgresql.conf and restart the server.")
        .log(PgLogLevel::WARNING);
    exit_for_good(Phase::Refused)
}

fn exit_for_good(last: Phase) -> ! {
    *LAST_PHASE.lock().expect("only this thread uses it") = last;
    // With code 0 the postmaster does not start it again.
    exit(0)
}

#[allow(unreachable_code, reason = "only the bindings of PostgreSQL 18 say that it could return")]
fn exit(code: i32) -> ! {
    // SAFETY: on the main thread; ends the process, running `at_exit` first.
    unsafe { pg_sys::proc_exit(code) };
    unreachable!("the process has ended")
}

/// Ends the worker; the postmaster starts it again after [`RESTART_PAUSE`].
fn fatal(why: &str) -> ! {
    Report::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, format!("pgraft: {why}"))
        .log(PgLogLevel::FATAL);
    unreachable!("a fatal error ends the process")
}

#[pg_guard]
unsafe extern "C-unwind" fn at_exit(_code: i32, _argument: pg_sys::Datum) {
    let Ok(board) = board() else { return };
    let node = NODE.lock().ok().and_then(|mut node| node.take());
    if let Some(node) = node {
        board.enter(Phase::Stopping);
        // The process is ending: a panic of the node must not become one of the server.
        // And it may start one more thread to wait with, which must not hear the postmaster either.
        let stop = || with_signals_blocked(|| node.stop(STOP_TIMEOUT));
        let stop = std::panic::AssertUnwindSafe(stop);
        let _panicked = std::panic::catch_unwind(stop);
    }
    board.enter(LAST_PHASE.lock().map_or(Phase::Stopped, |phase| *phase));
}

/// Runs `start` with every signal blocked that is not caused by the thread itself: the threads
/// that it starts inherit the mask. So does the program that compiles modules: it must hear that
/// its time is up.
fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    // SAFETY: the sets live on this stack; masks belong to this thread.
    let before = unsafe {
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut blocked);
        for caused_by_itself in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGTRAP,
            libc::SIGABRT,
            libc::SIGSYS,
            libc::SIGXCPU,
        ] {
            libc::sigdelset(&raw mut blocked, caused_by_itself);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const blocked, &raw mut before);
        before
    };
    let started = start();
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    started
}
