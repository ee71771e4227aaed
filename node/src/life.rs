//! The life of a node on its own thread: files, then threads, then the driver.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pgraft_host::{Applier, Code, Machines, Place, Querier};
use pgraft_membership::Member;
use pgraft_replica::limits::{CACHE_BYTES_MAX, TICK_MS};
use pgraft_replica::{Config, Index, NodeId, Replica, Restored};
use pgraft_store::{Disk, Identity, LogStore, Opened, StateReader, StateStore};
use pgraft_transport::{Local, Net, Tcp, Timing, Transport};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::applier::{ApplyThread, report};
use crate::checkpointer::CheckpointThread;
use crate::data_dir::DataDir;
use crate::driver::{Driver, End, Parts};
use crate::duties::MEMBERSHIP;
use crate::event::Event;
use crate::gateway::{Gateway, Leadership, Shared};
use crate::genesis::Genesis;
use crate::join;
use crate::log_writer::{LogWriter, chain};
use crate::node::Ended;
use crate::readers::Readers;
use crate::settings::Settings;
use crate::snapshots::Snapshots;
use crate::socket::Socket;
use crate::status::{State, Status, StatusBoard};

/// Events of the network that may wait for the driver; then TCP pushes back.
const NET_EVENTS_MAX: usize = 4096;
/// Pause between two attempts to join or to announce this node.
const RETRY_MS: u64 = 500;

/// What the membership machine says to another data directory under a known id.
const INCARNATION_MISMATCH: u32 =
    pgraft_membership::Rejection::IncarnationMismatch { id: 0, known: 0, announced: 0 }.code();

/// Runs a node until it is stopped (`None`) or ends by itself.
pub(crate) fn live(
    settings: &Settings,
    dir: DataDir,
    board: Arc<dyn StatusBoard>,
    stopping: watch::Receiver<bool>,
) -> Option<Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Some(Ended::Failed(format!("start the runtime: {error}"))),
    };
    let pid = u64::from(std::process::id());
    board.publish(&Status { state: State::Starting, pid, ..Status::default() });
    let end = runtime.block_on(run(settings, &dir, Arc::clone(&board), stopping));
    runtime.shutdown_background();
    board.publish(&Status { pid, ..Status::default() });
    drop(dir);
    match end {
        Ok(End::Stopped) => None,
        Ok(End::Removed) => Some(Ended::Removed),
        Ok(End::Failed(why)) | Err(why) => Some(Ended::Failed(why)),
    }
}

async fn run(
    settings: &Settings,
    dir: &DataDir,
    board: Arc<dyn StatusBoard>,
    mut stopping: watch::Receiver<bool>,
) -> Result<End, String> {
    let listen = settings.listen().map_err(|error| error.to_string())?;
    let net = network(settings);
    let listener = net.bind(&listen.to_string()).await;
    let listener = listener.map_err(|error| format!("listen at {listen}: {error}"))?;
    let socket = Socket::bind(&settings.socket)
        .map_err(|error| format!("listen at {}: {error}", settings.socket.display()))?;
    let (ready, gateway) = watch::channel(None);
    let clients = tokio::spawn(socket.serve(gateway));
    let disk = Disk::new(dir.path());

    let made = create(settings, &disk, &mut stopping).await;
    let (node, threads) = match made? {
        Made::Stopped => return Ok(End::Stopped),
        Made::Exists(welcome) => open(settings, &disk, (net, listener), board, welcome)?,
    };
    ready.send_replace(Some(node.gateway.clone()));
    let own = node.events.clone();
    let told = tokio::spawn(async move {
        let _stopped_or_gone = stopping.wait_for(|stop| *stop).await;
        let _ended = own.send(Event::Stop);
    });
    let announcing = tokio::spawn(announce(node.gateway.clone(), node.events.clone(), node.me));
    let end = node.driver.run().await;
    if end == End::Removed {
        tracing::error!("this node was removed from the cluster and does not take part any more");
    }
    announcing.abort();
    clients.abort();
    let _cancelled = clients.await;
    if end == End::Stopped {
        told.abort();
    }
    drop((ready, node.gateway));
    for thread in threads {
        let _panicked = tokio::task::spawn_blocking(move || thread.join()).await;
    }
    Ok(end)
}

enum Made {
    /// Asked to stop while joining.
    Stopped,
    /// raft.db is there; a node that just joined also knows its peers.
    Exists(Option<join::Welcome>),
}

/// Makes sure that raft.db exists: found, derived from the settings, or joined.
async fn create(
    settings: &Settings,
    disk: &Disk,
    stopping: &mut watch::Receiver<bool>,
) -> Result<Made, String> {
    if LogStore::exists(disk) {
        return Ok(Made::Exists(None));
    }
    if !settings.joins() {
        let members = settings.members().map_err(|error| error.to_string())?;
        let own = members.iter().find(|member| member.name == settings.name);
        let id = own.expect("validate() found it").id;
        let genesis = Genesis::new(&settings.initial_cluster_token, &members);
        make(disk, &genesis, id)?;
        return Ok(Made::Exists(None));
    }
    let welcome = tokio::select! {
        welcome = ask_to_join(settings) => welcome?,
        _ = stopping.wait_for(|stop| *stop) => return Ok(Made::Stopped),
    };
    let genesis = Genesis::decode(&welcome.genesis).map_err(|error| error.to_string())?;
    make(disk, &genesis, welcome.id)?;
    Ok(Made::Exists(Some(welcome)))
}

fn make(disk: &Disk, genesis: &Genesis, id: u64) -> Result<(), String> {
    let node = NodeId::new(id).ok_or("node id 0 is not allowed")?;
    let incarnation = u128::from(random()?) << 64 | u128::from(random()?);
    let identity =
        Identity { cluster: genesis.cluster(), genesis_hash: genesis.hash(), node, incarnation };
    LogStore::create(disk, &identity, &genesis.encode()).map_err(|fault| chain(&fault))
}

fn network(settings: &Settings) -> Tcp {
    let user_timeout = Duration::from_millis(settings.election_timeout_ms);
    Tcp { user_timeout, ..Tcp::default() }
}

fn token(settings: &Settings) -> Bytes {
    Bytes::from(settings.initial_cluster_token.clone())
}

fn random() -> Result<u64, String> {
    getrandom::u64().map_err(|error| format!("the system gives no random numbers: {error}"))
}

/// Asks one member after the other until one knows this node.
async fn ask_to_join(settings: &Settings) -> Result<join::Welcome, String> {
    let members = settings.members().map_err(|error| error.to_string())?;
    let own = members.iter().find(|member| member.name == settings.name);
    let own = own.expect("validate() found it").address.to_string();
    let request =
        join::Request { token: settings.initial_cluster_token.clone(), address: own.clone() };
    let mut told = String::new();
    loop {
        for member in members.iter().filter(|member| member.address.to_string() != own) {
            let address = member.address.to_string();
            let (net, wait) = (network(settings), Timing::default().join);
            let asked = request.encode();
            let asked = pgraft_transport::join(&net, &address, token(settings), asked, wait).await;
            match asked.map_err(|error| error.to_string()) {
                Ok(welcome) => {
                    return join::Welcome::decode(&welcome).map_err(|error| error.to_string());
                }
                Err(why) if why != told => {
                    tracing::warn!(peer = address, why, "not admitted yet");
                    told = why;
                }
                Err(_said_already) => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
    }
}

struct Living {
    driver: Driver,
    gateway: Gateway,
    events: mpsc::UnboundedSender<Event>,
    me: Me,
}

#[derive(Clone, Copy)]
struct Me {
    id: NodeId,
    incarnation: u128,
    announced: bool,
}

type Threads = Vec<std::thread::JoinHandle<()>>;

/// Opens the files, starts the threads, and puts the driver together.
fn open(
    settings: &Settings,
    disk: &Disk,
    (tcp, listener): (Tcp, TcpListener),
    board: Arc<dyn StatusBoard>,
    welcome: Option<join::Welcome>,
) -> Result<(Living, Threads), String> {
    let machines = Arc::new(machines()?);
    let (mut log, opened) = LogStore::open(disk).map_err(|error| chain(&error))?;
    let genesis = checked_genesis(settings, &opened)?;
    let applier = open_state(disk, &machines, &opened, &genesis)?;
    let meta = applier.meta().clone();
    let tail = log.tail(meta.applied, CACHE_BYTES_MAX).map_err(|fault| chain(&fault))?;
    let id = opened.identity.node;
    let config = Config {
        id,
        seed: random()?,
        election_ticks: ticks(settings.election_timeout_ms),
        heartbeat_ticks: ticks(settings.heartbeat_interval_ms),
    };
    let restored = Restored {
        hard_state: opened.hard_state,
        truncated: opened.truncated,
        terms: opened.terms.clone(),
        tail,
        applied: meta.applied,
        conf: meta.conf.clone(),
    };
    let replica = Replica::new(config, restored).map_err(|error| chain(&error))?;
    let mut members = members(&machines, disk, opened.generation)?;
    if let Some(welcome) = welcome.filter(|_| meta.applied == Index::ZERO) {
        members = welcome.members();
    }

    let (own, inbox) = mpsc::unbounded_channel();
    let (net, net_events) = mpsc::channel(NET_EVENTS_MAX);
    let local = Local {
        cluster: opened.identity.cluster,
        genesis_hash: opened.identity.genesis_hash,
        node: id,
        incarnation: opened.identity.incarnation,
        token: token(settings),
        seed: random()?,
        timing: Timing::default(),
    };
    let transport = Transport::start(tcp, listener, local, net);
    let io = |error: std::io::Error| format!("start a thread: {error}");
    let generation = opened.generation;
    let (readers, mut threads) = Readers::start(&machines, disk, generation).map_err(io)?;
    let first_report = report(&applier);
    let (log, thread) = LogWriter::start(log, disk, own.clone()).map_err(io)?;
    threads.push(thread);
    let (applier, thread) =
        ApplyThread::start(machines, disk.clone(), applier, own.clone()).map_err(io)?;
    threads.push(thread);
    let (checkpointer, thread) =
        CheckpointThread::start(disk.clone(), generation, own.clone()).map_err(io)?;
    threads.push(thread);

    let (leadership, leadership_seen) = watch::channel(Leadership::default());
    let (applied, applied_seen) = watch::channel(meta.applied);
    let election_timeout = Duration::from_millis(settings.election_timeout_ms);
    let gateway = Gateway::new(Shared {
        inbox: own.clone(),
        leadership: leadership_seen,
        applied: applied_seen,
        transport: transport.clone(),
        readers: readers.clone(),
        patience: election_timeout * 2,
        default_deadline: Duration::from_millis(settings.request_timeout_ms),
        session: crate::session::Session::default(),
        opening: tokio::sync::Mutex::new(()),
        rounds: crate::round::Rounds::default(),
        in_flight: std::sync::atomic::AtomicUsize::new(0),
        errors: std::sync::atomic::AtomicU64::new(0),
    });
    let incarnation = opened.identity.incarnation;
    let announced = members.iter().any(|one| one.id == id.get() && one.incarnation == incarnation);
    let driver = Driver::new(Parts {
        replica,
        transport,
        net: net_events,
        inbox,
        own: own.clone(),
        log,
        applier,
        checkpointer,
        readers,
        snapshots: Snapshots::new(disk.clone(), generation, own.clone()),
        gateway: gateway.clone(),
        leadership,
        applied,
        board,
        members,
        report: first_report,
        genesis: Bytes::from(opened.genesis),
        incarnation,
        election_timeout,
    });
    let me = Me { id, incarnation, announced };
    Ok((Living { driver, gateway, events: own, me }, threads))
}

fn ticks(ms: u64) -> u32 {
    u32::try_from((ms / TICK_MS).max(1)).unwrap_or(u32::MAX)
}

/// The built-in modules, ready to run.
fn machines() -> Result<Machines, String> {
    let code = pgraft_bundle::modules().iter().map(|module| Code {
        name: module.name,
        component: module.component,
        compiled: module.compiled,
        compiled_sha256: module.compiled_sha256,
    });
    let code: Vec<Code<'_>> = code.collect();
    Machines::new(Place::PostgreSql, &code).map_err(|fault| chain(&fault))
}

/// Settings that contradict what the directory was made for are refused, not ignored.
fn checked_genesis(settings: &Settings, opened: &Opened) -> Result<Genesis, String> {
    let genesis = Genesis::decode(&opened.genesis).map_err(|error| error.to_string())?;
    if genesis.hash() != opened.identity.genesis_hash {
        return Err("raft.db: genesis and its hash do not agree; the file is damaged".to_owned());
    }
    if genesis.token != settings.initial_cluster_token {
        return Err(format!(
            "initial_cluster_token is \"{}\", but this data directory belongs to a cluster with \
             the token \"{}\"",
            settings.initial_cluster_token, genesis.token
        ));
    }
    Ok(genesis)
}

/// Opens state.db; a fresh or damaged one is built anew from the log when the log reaches back to
/// the beginning.
fn open_state(
    disk: &Disk,
    machines: &Arc<Machines>,
    opened: &Opened,
    genesis: &Genesis,
) -> Result<Applier, String> {
    let generation = opened.generation;
    let whole_log = opened.truncated.0 == Index::ZERO;
    let state = match StateStore::open(disk, generation) {
        Ok(state) => state,
        Err(error) if whole_log => {
            tracing::error!(error = chain(&error), "state.db is rebuilt from the log");
            pgraft_store::remove_other_generations(disk, u64::MAX)
                .map_err(|fault| chain(&fault))?;
            StateStore::open(disk, generation).map_err(|error| chain(&error))?
        }
        Err(error) => return Err(chain(&error)),
    };
    let fresh = state.meta().applied == Index::ZERO;
    if state.meta().applied < opened.truncated.0 {
        return Err(format!(
            "state.db has applied {}, but the log begins after {}: state.db was lost. Move the \
             data directory away, remove the member and add it again",
            state.meta().applied,
            opened.truncated.0
        ));
    }
    let mut applier = Applier::open(Arc::clone(machines), state).map_err(|fault| chain(&fault))?;
    if fresh {
        applier.bootstrap(&genesis.bootstrap()).map_err(|fault| chain(&fault))?;
    }
    Ok(applier)
}

/// The member list in state.db.
fn members(machines: &Arc<Machines>, disk: &Disk, generation: u64) -> Result<Vec<Member>, String> {
    let reader = StateReader::open(disk, generation).map_err(|error| chain(&error))?;
    let querier = Querier::open(Arc::clone(machines), reader);
    let mut querier = querier.map_err(|fault| chain(&fault))?;
    let query = pgraft_membership::Query::Members.encode();
    let answer = querier.query(MEMBERSHIP, "sys:node", &query).map_err(|fault| chain(&fault))?;
    let reply = answer.outcome.map_err(|rejection| rejection.message)?;
    match pgraft_membership::Reply::decode(&reply) {
        Ok(pgraft_membership::Reply::Members(members)) => Ok(members),
        other => Err(format!("the membership machine answered {other:?}")),
    }
}

/// Tells the membership machine once which data directory this id belongs to, so that another one
/// under the same id is refused from then on.
fn announce(
    gateway: Gateway,
    events: mpsc::UnboundedSender<Event>,
    me: Me,
) -> impl Future<Output = ()> + Send {
    let command =
        pgraft_membership::Command::Announce { id: me.id.get(), incarnation: me.incarnation };
    let payload = Bytes::from(command.encode());
    async move {
        if me.announced {
            return;
        }
        loop {
            let deadline = Instant::now() + Duration::from_secs(5);
            let answer = gateway.command(MEMBERSHIP, "sys:node", payload.clone(), deadline).await;
            match answer {
                Ok((_, Ok(_))) => {
                    tracing::info!("announced");
                    return;
                }
                Ok((_, Err(rejection))) if rejection.code == INCARNATION_MISMATCH => {
                    let _ended = events.send(Event::Failed(rejection.message));
                    return;
                }
                _ => tokio::time::sleep(Duration::from_millis(RETRY_MS)).await,
            }
        }
    }
}
