//! The settings `pgraft.*`: their names, defaults and contexts, and the node's view of them.
//!
//! Not here: whether the values make sense together. PostgreSQL replaces a bad value in
//! postgresql.conf by the default with a warning only, so everything that matters is checked by
//! `pgraft_node::settings` when the worker starts, and refused there.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;

use pgraft_node::settings::{
    ELECTION_TIMEOUT_MS_MAX, ELECTION_TIMEOUT_MS_MIN, HEARTBEAT_INTERVAL_MS_MIN, Settings,
};

/// The socket between backends and the worker, relative to the data directory, in which both
/// run: short enough for any path, and one per server.
pub(crate) const SOCKET: &str = "pgraft.sock";

/// Longest request timeout: an hour.
const REQUEST_TIMEOUT_MS_MAX: i32 = 3_600_000;

#[derive(Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
enum ClusterState {
    #[name = c"new"]
    New,
    #[name = c"existing"]
    Existing,
}

#[derive(Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
enum ReadConsistency {
    #[name = c"linearizable"]
    Linearizable,
    #[name = c"stale"]
    Stale,
}

#[derive(Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
enum LogLevel {
    #[name = c"error"]
    Error,
    #[name = c"warn"]
    Warn,
    #[name = c"info"]
    Info,
    #[name = c"debug"]
    Debug,
    #[name = c"trace"]
    Trace,
}

static NAME: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static LISTEN_ADDRESS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static INITIAL_CLUSTER: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static INITIAL_CLUSTER_STATE: GucSetting<ClusterState> =
    GucSetting::<ClusterState>::new(ClusterState::New);
static INITIAL_CLUSTER_TOKEN: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"pgraft"));
static DATA_DIR: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"pgraft"));
static COMPILER: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static ELECTION_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(1000);
static HEARTBEAT_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(100);
static REQUEST_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(5000);
static READ_CONSISTENCY: GucSetting<ReadConsistency> =
    GucSetting::<ReadConsistency>::new(ReadConsistency::Linearizable);
static LOG_LEVEL: GucSetting<LogLevel> = GucSetting::<LogLevel>::new(LogLevel::Info);

/// Defines all settings and reserves their prefix.
pub(crate) fn define() {
    define_node();
    define_times();
    define_behaviour();
    #[cfg(feature = "pg14")]
    // SAFETY: called by the postmaster while it loads libraries, with a string that never ends.
    unsafe {
        pg_sys::EmitWarningsOnPlaceholders(c"pgraft".as_ptr());
    }
    #[cfg(not(feature = "pg14"))]
    // SAFETY: as above.
    unsafe {
        pg_sys::MarkGUCPrefixReserved(c"pgraft".as_ptr());
    }
}

/// A text setting that is fixed while the server runs.
fn text(name: &'static CStr, short: &'static CStr, setting: &'static GucSetting<Option<CString>>) {
    let (context, flags) = (GucContext::Postmaster, GucFlags::default());
    GucRegistry::define_string_guc(name, short, c"", setting, context, flags);
}

fn define_node() {
    text(c"pgraft.name", c"Name of this node; it must stand in pgraft.initial_cluster.", &NAME);
    text(
        c"pgraft.listen_address",
        c"Address on which this node listens for the other nodes, host:port.",
        &LISTEN_ADDRESS,
    );
    text(
        c"pgraft.initial_cluster",
        c"All first members, name=host:port,...; the same on every node.",
        &INITIAL_CLUSTER,
    );
    text(
        c"pgraft.initial_cluster_token",
        c"Distinguishes clusters: nodes with different tokens never talk.",
        &INITIAL_CLUSTER_TOKEN,
    );
    text(
        c"pgraft.data_dir",
        c"Folder of this node's log and state, relative to the data directory of the server.",
        &DATA_DIR,
    );
    text(
        c"pgraft.compiler",
        c"The program that compiles modules; empty: pgraft-compile beside postgres.",
        &COMPILER,
    );
    GucRegistry::define_enum_guc(
        c"pgraft.initial_cluster_state",
        c"Whether this node forms a new cluster or joins an existing one.",
        c"Read at the first start only.",
        &INITIAL_CLUSTER_STATE,
        GucContext::Postmaster,
        GucFlags::default(),
    );
}

fn define_times() {
    let in_range = |value: u64| i32::try_from(value).expect("limits of milliseconds fit");
    GucRegistry::define_int_guc(
        c"pgraft.election_timeout",
        c"Time within which a follower has noticed that its leader is gone.",
        c"",
        &ELECTION_TIMEOUT,
        in_range(ELECTION_TIMEOUT_MS_MIN),
        in_range(ELECTION_TIMEOUT_MS_MAX),
        GucContext::Postmaster,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pgraft.heartbeat_interval",
        c"Time between two heartbeats of the leader, at most a fifth of pgraft.election_timeout.",
        c"",
        &HEARTBEAT_INTERVAL,
        in_range(HEARTBEAT_INTERVAL_MS_MIN),
        in_range(ELECTION_TIMEOUT_MS_MAX),
        GucContext::Postmaster,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pgraft.request_timeout",
        c"How long a function waits for the cluster.",
        c"A write that gets no answer in this time is reported with SQLSTATE 40003.",
        &REQUEST_TIMEOUT,
        1,
        REQUEST_TIMEOUT_MS_MAX,
        GucContext::Userset,
        GucFlags::UNIT_MS,
    );
}

fn define_behaviour() {
    GucRegistry::define_enum_guc(
        c"pgraft.read_consistency",
        c"Whether reads ask the cluster (linearizable) or this node alone (stale).",
        c"A stale read answers without a majority, from a state that may be old.",
        &READ_CONSISTENCY,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"pgraft.log_level",
        c"What the node writes into the server's log.",
        c"",
        &LOG_LEVEL,
        GucContext::Sighup,
        GucFlags::default(),
    );
}

/// How long this session waits for an answer.
pub(crate) fn request_timeout() -> Duration {
    Duration::from_millis(u64::try_from(REQUEST_TIMEOUT.get()).expect("at least 1"))
}

/// Age from which a published status says nothing about the present any more.
pub(crate) fn status_age_max() -> Duration {
    Duration::from_millis(u64::try_from(ELECTION_TIMEOUT.get()).expect("at least 200"))
}

/// Age from which a published leadership is not believed any more.
///
/// Followers wait at least half an election timeout after the last heartbeat that they heard,
/// and the leader may have sent that up to one interval before it published. So a leader that
/// was stopped (SIGSTOP, a paused virtual machine) has ceased to claim leadership before anybody
/// else can lead, and finds it so when it goes on.
pub(crate) fn leadership_age_max() -> Duration {
    let millis = |setting: &GucSetting<i32>| u64::try_from(setting.get()).expect("limits are > 0");
    let (election_ms, heartbeat_ms) = (millis(&ELECTION_TIMEOUT), millis(&HEARTBEAT_INTERVAL));
    Duration::from_millis((election_ms / 2).saturating_sub(heartbeat_ms))
}

/// Whether this session is content with a state that may be old.
pub(crate) fn reads_stale() -> bool {
    READ_CONSISTENCY.get() == ReadConsistency::Stale
}

/// What the node shall log, by the word that the setting has.
pub(crate) fn log_level() -> &'static str {
    match LOG_LEVEL.get() {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

/// The settings as the node takes them; `data_dir` becomes absolute. Not yet validated.
pub(crate) fn for_node() -> Settings {
    let text = |setting: &GucSetting<Option<CString>>| match setting.get() {
        Some(value) => value.to_string_lossy().trim().to_owned(),
        None => String::new(),
    };
    let millis = |setting: &GucSetting<i32>| u64::try_from(setting.get()).expect("limits are > 0");
    let data_dir = text(&DATA_DIR);
    let compiler = Some(text(&COMPILER)).filter(|path| !path.is_empty()).map(PathBuf::from);
    let join = |dir: String| if dir.is_empty() { PathBuf::new() } else { server_dir().join(dir) };
    Settings {
        name: text(&NAME),
        listen_address: text(&LISTEN_ADDRESS),
        initial_cluster: text(&INITIAL_CLUSTER),
        initial_cluster_state: match INITIAL_CLUSTER_STATE.get() {
            ClusterState::New => "new".to_owned(),
            ClusterState::Existing => "existing".to_owned(),
        },
        initial_cluster_token: text(&INITIAL_CLUSTER_TOKEN),
        data_dir: join(data_dir),
        election_timeout_ms: millis(&ELECTION_TIMEOUT),
        heartbeat_interval_ms: millis(&HEARTBEAT_INTERVAL),
        request_timeout_ms: millis(&REQUEST_TIMEOUT),
        // Each request says what its session is set to.
        read_consistency: "linearizable".to_owned(),
        log_level: log_level().to_owned(),
        socket: PathBuf::from(SOCKET),
        compiler,
        ..Settings::defaults()
    }
}

/// The server's data directory, absolute.
fn server_dir() -> PathBuf {
    // SAFETY: set before any library is loaded, never changed, and ends in a zero byte.
    let dir = unsafe { CStr::from_ptr(pg_sys::DataDir) };
    PathBuf::from(std::ffi::OsStr::from_bytes(dir.to_bytes()))
}
