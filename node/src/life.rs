//! The life of a node on its own thread: files, then threads, then the driver.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pgraft_replica::{Index, NodeId};
use pgraft_store::{Disk, Fault, StateReader};
use pgraft_transport::{Net, Tcp, Transport};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::applier::{ApplyThread, report};
use crate::birth::{Made, ask_to_join, create, local, network};
use crate::checkpointer::CheckpointThread;
use crate::data_dir::{self, DataDir};
use crate::driver::{Driver, End, Parts};
use crate::duties::MEMBERSHIP;
use crate::event::Event;
use crate::files::{Files, Unusable};
use crate::gateway::{Gateway, Leadership, Shared};
use crate::log_writer::{LogWriter, chain};
use crate::node::Ended;
use crate::readers::Readers;
use crate::recovery::fetch_state;
use crate::settings::Settings;
use crate::snapshots::Snapshots;
use crate::socket::Socket;
use crate::status::{State, Status, StatusBoard};

/// Events of the network that may wait for the driver; then TCP pushes back.
const NET_EVENTS_MAX: usize = 4096;
/// Pause between two attempts to announce this node.
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
    let Made::Exists(welcome) = made? else { return Ok(End::Stopped) };
    let (files, listener) = match Files::open(settings, &disk, welcome) {
        Ok(files) => (files, listener),
        Err(Unusable::StateLost(why)) => {
            tracing::error!(why, "the state is fetched from a peer");
            tokio::select! {
                fetched = fetch_state(settings, &disk, (net.clone(), listener)) => fetched?,
                _ = stopping.wait_for(|stop| *stop) => return Ok(End::Stopped),
            }
            files_with_state(settings, &disk, &net, &listen.to_string()).await?
        }
        Err(Unusable::Other(why)) => return Err(why),
    };
    let checking = dir.unclean().then(|| disk.clone());
    let (node, threads) = assemble(settings, &disk, files, (net, listener), board)?;
    let checked = Arc::new(AtomicBool::new(checking.is_none()));
    if let Some(disk) = checking {
        let (events, dir) = (node.events.clone(), dir.path().to_owned());
        check_state(disk, node.generation, events, dir, Arc::clone(&checked));
    }
    ready.send_replace(Some(node.gateway.clone()));
    let own = node.events.clone();
    let told = tokio::spawn(async move {
        let _stopped_or_gone = stopping.wait_for(|stop| *stop).await;
        let _ended = own.send(Event::Stop);
    });
    let announcing = tokio::spawn(announce(node.gateway.clone(), node.events.clone(), node.me));
    if settings.joins() && node.me.applied_nothing {
        tokio::spawn(meet_again(settings.clone(), node.me, node.events.clone()));
    }
    let end = node.driver.run().await;
    if end == End::Removed {
        tracing::error!("this node was removed from the cluster and does not take part any more");
    }
    announcing.abort();
    told.abort();
    clients.abort();
    let _cancelled = clients.await;
    // Connections of clients live on in their tasks, but find no gateway any more.
    ready.send_replace(None);
    drop(node.gateway);
    for thread in threads {
        let _panicked = tokio::task::spawn_blocking(move || thread.join()).await;
    }
    if end == End::Stopped && checked.load(Ordering::Relaxed) {
        dir.closed();
    }
    Ok(end)
}

/// A node that was started again before it had caught up asks once more who its peers are.
async fn meet_again(settings: Settings, me: Me, events: mpsc::UnboundedSender<Event>) {
    match ask_to_join(&settings, me.incarnation).await {
        Ok(welcome) => {
            let _ended = events.send(Event::Welcomed(welcome.members()));
        }
        Err(why) => tracing::warn!(why, "the cluster did not name its members"),
    }
}

/// Opens the files after the state was fetched, and listens again.
async fn files_with_state(
    settings: &Settings,
    disk: &Disk,
    net: &Tcp,
    listen: &str,
) -> Result<(Files, TcpListener), String> {
    data_dir::state_is_whole(&disk.dir).map_err(|error| error.to_string())?;
    let files = Files::open(settings, disk, None).map_err(|unusable| unusable.to_string())?;
    let listener = net.bind(listen).await;
    Ok((files, listener.map_err(|error| format!("listen at {listen}: {error}"))?))
}

/// After an unclean end the whole of state.db is added up once, in the background. What does not
/// add up is remembered, and fetched anew at the next start.
fn check_state(
    disk: Disk,
    generation: u64,
    events: mpsc::UnboundedSender<Event>,
    dir: PathBuf,
    done: Arc<AtomicBool>,
) {
    let check = move || {
        let verified = StateReader::open(&disk, generation)
            .map_err(|error| chain(&error))
            .map(|mut reader| reader.verify());
        match verified {
            Ok(Ok(())) => done.store(true, Ordering::Relaxed),
            Ok(Err(fault @ Fault::Damaged { .. })) => {
                let remembered = data_dir::state_is_damaged(&dir, generation);
                let not = remembered.err().map_or(String::new(), |error| format!(" ({error})"));
                let why = chain(&fault);
                return Err(format!("{why}; start again to fetch it from a peer{not}"));
            }
            // Nothing was found wrong with the state itself.
            Ok(Err(fault)) => tracing::warn!(fault = chain(&fault), "state.db was not checked"),
            Err(why) => tracing::warn!(why, "state.db was not checked"),
        }
        Ok(())
    };
    if let Err(error) = crate::thread::start("check", events, check) {
        tracing::warn!(%error, "state.db is not checked");
    }
}

struct Living {
    generation: u64,
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
    applied_nothing: bool,
}

type Threads = Vec<std::thread::JoinHandle<()>>;

/// Starts the threads on the opened files and puts the driver together.
fn assemble(
    settings: &Settings,
    disk: &Disk,
    files: Files,
    (tcp, listener): (Tcp, TcpListener),
    board: Arc<dyn StatusBoard>,
) -> Result<(Living, Threads), String> {
    let Files { machines, log, opened, applier, replica, members } = files;
    let (own, inbox) = mpsc::unbounded_channel();
    let (net, net_events) = mpsc::channel(NET_EVENTS_MAX);
    let transport = Transport::start(tcp, listener, local(settings, &opened.identity)?, net);
    let generation = opened.generation;
    let first_report = report(&applier);
    let applied_index = applier.meta().applied;
    let io = |error: std::io::Error| format!("start a thread: {error}");
    let (readers, mut threads) = Readers::start(&machines, disk, generation, &own).map_err(io)?;
    let (log, thread) = LogWriter::start(log, disk, own.clone()).map_err(io)?;
    threads.push(thread);
    let (applier, thread) =
        ApplyThread::start(machines, disk.clone(), applier, own.clone()).map_err(io)?;
    threads.push(thread);
    let (checkpointer, thread) =
        CheckpointThread::start(disk.clone(), generation, own.clone()).map_err(io)?;
    threads.push(thread);

    let (leadership, leadership_seen) = watch::channel(Leadership::default());
    let (applied, applied_seen) = watch::channel(applied_index);
    let gateway = Gateway::new(Shared::new(
        settings,
        own.clone(),
        transport.clone(),
        readers.clone(),
        leadership_seen,
        applied_seen,
    ));
    let (id, incarnation) = (opened.identity.node, opened.identity.incarnation);
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
        election_timeout: Duration::from_millis(settings.election_timeout_ms),
    });
    let applied_nothing = applied_index == Index::ZERO;
    let me = Me { id, incarnation, announced, applied_nothing };
    Ok((Living { generation, driver, gateway, events: own, me }, threads))
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
