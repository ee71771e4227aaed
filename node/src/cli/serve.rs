//! `pgraft node`: runs a node with settings from flags, environment and a file, in that order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use clap::Args;
use pgraft_node::settings::Settings;
use pgraft_node::status::NoBoard;
use pgraft_node::{Ended, Node};
use serde::Deserialize;

use super::Error;

/// The same settings as the extension's `pgraft.*`; see docs/SETTINGS.md.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// TOML file with any of the settings below.
    #[arg(long, env = "PGRAFT_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
}

/// Settings that were given somewhere.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    /// Name of this node, one of those in `initial_cluster`.
    #[arg(long, env = "PGRAFT_NAME")]
    name: Option<String>,
    /// Where to listen for peers, host:port.
    #[arg(long, env = "PGRAFT_LISTEN_ADDRESS")]
    listen_address: Option<String>,
    /// All members, name=host:port,...
    #[arg(long, env = "PGRAFT_INITIAL_CLUSTER")]
    initial_cluster: Option<String>,
    /// new or existing.
    #[arg(long, env = "PGRAFT_INITIAL_CLUSTER_STATE")]
    initial_cluster_state: Option<String>,
    /// Clusters with different tokens never talk.
    #[arg(long, env = "PGRAFT_INITIAL_CLUSTER_TOKEN")]
    initial_cluster_token: Option<String>,
    /// Where the node keeps its files.
    #[arg(long, env = "PGRAFT_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Milliseconds within which a lost leader is noticed.
    #[arg(long, env = "PGRAFT_ELECTION_TIMEOUT")]
    election_timeout: Option<u64>,
    /// Milliseconds between heartbeats.
    #[arg(long, env = "PGRAFT_HEARTBEAT_INTERVAL")]
    heartbeat_interval: Option<u64>,
    /// Milliseconds a request may take.
    #[arg(long, env = "PGRAFT_REQUEST_TIMEOUT")]
    request_timeout: Option<u64>,
    /// linearizable or stale.
    #[arg(long, env = "PGRAFT_READ_CONSISTENCY")]
    read_consistency: Option<String>,
    /// error, warn, info, debug or trace.
    #[arg(long, env = "PGRAFT_LOG_LEVEL")]
    log_level: Option<String>,
    /// Record everything the replica takes and gives in this file, for `pgraft-chaos replay`. It
    /// grows with the log up to 4 GiB and holds all commands: made for tests and for bug reports.
    #[arg(long, env = "PGRAFT_RECORD", value_name = "FILE")]
    record: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let settings = settings(arguments)?;
    let level = settings.log_level.parse().unwrap_or(tracing::Level::INFO);
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    let signals = signals().map_err(|error| Error::Other(error.to_string()))?;
    let (wake, events) = channel();
    let (from_node, from_signal) = (wake.clone(), wake);
    let wake = Box::new(move || {
        let _stopping = from_node.send(());
    });
    let other = |error: &dyn std::fmt::Display| Error::Other(error.to_string());
    let node =
        Node::start(settings.clone(), Arc::new(NoBoard), wake).map_err(|error| other(&error))?;
    tracing::info!(name = settings.name, socket = %settings.socket.display(), "node started");
    std::thread::Builder::new()
        .name("pgraft-signal".to_owned())
        .spawn(move || {
            signals.wait();
            let _gone = from_signal.send(());
        })
        .map_err(|error| other(&error))?;
    let _woken = events.recv();
    match node.ended() {
        Some(Ended::Failed(why)) => Err(Error::Other(why)),
        Some(Ended::Removed) => {
            Err(Error::Other("this node was removed from the cluster".to_owned()))
        }
        None => {
            tracing::info!("stopping");
            if !node.stop(Duration::from_millis(settings.election_timeout_ms * 2 + 3000)) {
                return Err(Error::Other("the node did not stop in time".to_owned()));
            }
            Ok(())
        }
    }
}

fn settings(arguments: &Arguments) -> Result<Settings, Error> {
    let file = match &arguments.config {
        Some(path) => read(path)?,
        None => Given::default(),
    };
    let given = &arguments.given;
    let mut settings = Settings::defaults();
    let text = |to: &mut String, flag: &Option<String>, file: &Option<String>| {
        if let Some(value) = flag.as_ref().or(file.as_ref()) {
            to.clone_from(value);
        }
    };
    text(&mut settings.name, &given.name, &file.name);
    text(&mut settings.listen_address, &given.listen_address, &file.listen_address);
    text(&mut settings.initial_cluster, &given.initial_cluster, &file.initial_cluster);
    text(
        &mut settings.initial_cluster_state,
        &given.initial_cluster_state,
        &file.initial_cluster_state,
    );
    text(
        &mut settings.initial_cluster_token,
        &given.initial_cluster_token,
        &file.initial_cluster_token,
    );
    text(&mut settings.read_consistency, &given.read_consistency, &file.read_consistency);
    text(&mut settings.log_level, &given.log_level, &file.log_level);
    let number = |to: &mut u64, flag: Option<u64>, file: Option<u64>| {
        *to = flag.or(file).unwrap_or(*to);
    };
    number(&mut settings.election_timeout_ms, given.election_timeout, file.election_timeout);
    number(&mut settings.heartbeat_interval_ms, given.heartbeat_interval, file.heartbeat_interval);
    number(&mut settings.request_timeout_ms, given.request_timeout, file.request_timeout);
    if let Some(dir) = given.data_dir.as_ref().or(file.data_dir.as_ref()) {
        settings.data_dir.clone_from(dir);
    }
    settings.record = given.record.as_ref().or(file.record.as_ref()).cloned();
    settings.socket = settings.data_dir.join("pgraft.sock");
    settings.validate().map_err(|error| Error::Other(error.to_string()))?;
    Ok(settings)
}

fn read(path: &Path) -> Result<Given, Error> {
    let told = |why: String| Error::Other(format!("read {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    toml::from_str(&text).map_err(|error| told(error.to_string()))
}

/// SIGTERM and SIGINT, blocked in every thread and waited for in one.
struct Signals(libc::sigset_t);

/// Blocks the two signals in this thread, and so in all threads it starts.
#[expect(unsafe_code, reason = "std has no signal masks")]
fn signals() -> std::io::Result<Signals> {
    // SAFETY: all pointers are to a local sigset_t; sigemptyset makes it valid before it is used.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        match libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) {
            0 => Ok(Signals(set)),
            error => Err(std::io::Error::from_raw_os_error(error)),
        }
    }
}

impl Signals {
    /// Returns when one of the signals came.
    #[expect(unsafe_code, reason = "std has no signal masks")]
    fn wait(&self) {
        let mut signal = 0;
        // SAFETY: the set is initialised, `signal` is a local.
        unsafe { libc::sigwait(&raw const self.0, &raw mut signal) };
    }
}
