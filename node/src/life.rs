//! The life of a node on its own thread: files, then threads, then the driver.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pgraft_replica::{Index, NodeId};
use pgraft_store::{Disk, Fault, StateReader};
use pgraft_transport::{AnyListener, Net, Transport};
use pgraft_watch as watch;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::applier::{ApplyWorker, report};
use crate::birth::{Made, ask_to_join, create, local};
use crate::checkpointer::CheckpointWorker;
use crate::data_dir::{self, DataDir};
use crate::driver::{Driver, End, Parts};
use crate::duties::MEMBERSHIP;
use crate::event::Event;
use crate::files::{Files, Unusable};
use crate::gateway::{Gateway, Leadership, Shared};
use crate::log_writer::{LogWriter, chain};
use crate::modules::Modules;
use crate::node::Ended;
use crate::readers::Readers;
use crate::recovery::fetch_state;
use crate::settings::Settings;
use crate::snapshots::Snapshots;
use crate::socket::Socket;
use crate::status::{State, Status, StatusBoard};
use crate::worker::{self, Ended as WorkerEnded};
use crate::world::World;

/// Events of the network that may wait for the driver; then TCP pushes back.
const NET_EVENTS_MAX: usize = 4096;
/// Pause between two attempts to announce this node.
const RETRY_MS: u64 = 500;

/// What the membership machine says to another data directory under a known id.
const INCARNATION_MISMATCH: u32 =
    pgraft_membership::Rejection::IncarnationMismatch { id: 0, known: 0, announced: 0 }.code();

/// Runs a node until it is stopped (`None`) or ends by itself.
pub(crate) fn live(
    world: &Arc<dyn World>,
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
    let ended = runtime.block_on(live_in(world, settings, &dir, board, stopping));
    runtime.shutdown_background();
    drop(dir);
    ended
}

/// The same on the runtime of the caller.
pub(crate) async fn live_in(
    world: &Arc<dyn World>,
    settings: &Settings,
    dir: &DataDir,
    board: Arc<dyn StatusBoard>,
    stopping: watch::Receiver<bool>,
) -> Option<Ended> {
    let pid = u64::from(std::process::id());
    board.publish(&Status { state: State::Starting, pid, ..Status::default() });
    let end = run(world, settings, dir, Arc::clone(&board), stopping).await;
    board.publish(&Status { pid, ..Status::default() });
    match end {
        Ok(End::Stopped) => None,
        Ok(End::Removed) => Some(Ended::Removed),
        Ok(End::Failed(why)) | Err(why) => Some(Ended::Failed(why)),
    }
}

async fn run(
    world: &Arc<dyn World>,
    settings: &Settings,
    dir: &DataDir,
    board: Arc<dyn StatusBoard>,
    mut stopping: watch::Receiver<bool>,
) -> Result<End, String> {
    let listen = settings.listen().map_err(|error| error.to_string())?;
    let net = world.peers();
    let listener = net.bind(&listen.to_string()).await;
    let listener = listener.map_err(|error| format!("listen at {listen}: {error}"))?;
    let socket = Socket::bind(world.clients()).await.map_err(|error| error.to_string())?;
    let (ready, gateway) = watch::channel(None);
    let clients = tokio::spawn(socket.serve(gateway));
    let disk = world.disk(dir.path());

    let modules = world.modules()?;

    let made = create(&**world, settings, &disk, &modules, &mut stopping).await;
    let Made::Exists(welcome) = made? else { return Ok(End::Stopped) };
    let opened = Files::open(world, settings, &disk, &modules, welcome).await;
    let (files, listener) = match opened {
        Ok(files) => (files, listener),
        Err(Unusable::StateLost(why)) => {
            tracing::error!(why, "the state is fetched from a peer");
            tokio::select! {
                biased;
                fetched = fetch_state(world, settings, &disk, listener) => fetched?,
                _ = stopping.wait_for(|stop| *stop) => return Ok(End::Stopped),
            }
            files_with_state(world, settings, &disk, &modules, &listen.to_string()).await?
        }
        Err(Unusable::Other(why)) => return Err(why),
    };
    let checking = dir.unclean().then(|| disk.clone());
    let (node, workers) = assemble(world, settings, &disk, files, listener, board)?;
    let checked = Arc::new(AtomicBool::new(checking.is_none()));
    if let Some(disk) = checking {
        let (events, dir) = (node.events.clone(), dir.path().to_owned());
        check_state(world, disk, node.generation, events, dir, Arc::clone(&checked));
    }
    ready.send_replace(Some(node.gateway.clone()));
    let own = node.events.clone();
    let told = tokio::spawn(async move {
        let _stopped_or_gone = stopping.wait_for(|stop| *stop).await;
        let _ended = own.send(Event::Stop);
    });
    let announcing = tokio::spawn(announce(node.gateway.clone(), node.events.clone(), node.me));
    let meeting =
        meet_again(Arc::clone(world), settings.clone(), node.me, node.events.clone(), node.wanted);
    let meeting = tokio::spawn(meeting);
    let end = node.driver.run().await;
    if end == End::Removed {
        tracing::error!("this node was removed from the cluster and does not take part any more");
    }
    announcing.abort();
    meeting.abort();
    told.abort();
    clients.abort();
    let _cancelled = clients.await;
    // Connections of clients live on in their tasks, but find no gateway any more.
    ready.send_replace(None);
    drop(node.gateway);
    for worker in workers {
        let _told_already = worker.await;
    }
    if end == End::Stopped && checked.load(Ordering::Relaxed) {
        dir.closed();
    }
    Ok(end)
}

/// Asks who the members are: at once when this node was started again before it had caught up,
/// and whenever a member is `wanted` that it does not know.
async fn meet_again(
    world: Arc<dyn World>,
    settings: Settings,
    me: Me,
    events: mpsc::UnboundedSender<Event>,
    mut wanted: watch::Receiver<Vec<String>>,
) {
    let mut at_once = settings.joins() && me.applied_nothing;
    while at_once || wanted.changed().await.is_ok() {
        at_once = false;
        let known = wanted.borrow_and_update().clone();
        match ask_to_join(&*world, &settings, &known, me.incarnation).await {
            Ok(welcome) => {
                let _ended = events.send(Event::Welcomed(welcome.members()));
            }
            Err(why) => tracing::warn!(why, "the cluster did not name its members"),
        }
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
    }
}

/// Opens the files after the state was fetched, and listens again.
async fn files_with_state(
    world: &Arc<dyn World>,
    settings: &Settings,
    disk: &Disk,
    modules: &Modules,
    listen: &str,
) -> Result<(Files, AnyListener), String> {
    data_dir::state_is_whole(&disk.dir).map_err(|error| error.to_string())?;
    let opened = Files::open(world, settings, disk, modules, None).await;
    let files = opened.map_err(|unusable| unusable.to_string())?;
    let listener = world.peers().bind(listen).await;
    Ok((files, listener.map_err(|error| format!("listen at {listen}: {error}"))?))
}

/// After an unclean end the whole of state.db is added up once, in the background. What does not
/// add up is remembered, and fetched anew at the next start.
fn check_state(
    world: &Arc<dyn World>,
    disk: Disk,
    generation: u64,
    events: mpsc::UnboundedSender<Event>,
    dir: PathBuf,
    done: Arc<AtomicBool>,
) {
    let check = async move {
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
    if let Err(error) = worker::start(world, "check", events, check) {
        tracing::warn!(%error, "state.db is not checked");
    }
}

struct Living {
    generation: u64,
    driver: Driver,
    gateway: Gateway,
    events: mpsc::UnboundedSender<Event>,
    wanted: watch::Receiver<Vec<String>>,
    me: Me,
}

#[derive(Clone, Copy)]
struct Me {
    id: NodeId,
    incarnation: u128,
    announced: bool,
    applied_nothing: bool,
}

/// Starts the workers on the opened files and puts the driver together.
fn assemble(
    world: &Arc<dyn World>,
    settings: &Settings,
    disk: &Disk,
    files: Files,
    listener: AnyListener,
    board: Arc<dyn StatusBoard>,
) -> Result<(Living, Vec<WorkerEnded>), String> {
    let Files { provision, log, opened, applier, replica, members } = files;
    let (own, inbox) = mpsc::unbounded_channel();
    let (net, net_events) = mpsc::channel(NET_EVENTS_MAX);
    let us = local(&**world, settings, &opened.identity)?;
    let transport = Transport::start(world.peers(), listener, us, net);
    let generation = opened.generation;
    let first_report = report(&applier);
    let applied_index = applier.meta().applied;
    let io = |error: std::io::Error| format!("start a worker: {error}");
    let (readers, mut workers) =
        Readers::start(world, provision.machines(), disk, generation, &own).map_err(io)?;
    let (log, worker) = LogWriter::start(world, log, disk, own.clone()).map_err(io)?;
    workers.push(worker);
    let (applier, worker) =
        ApplyWorker::start(world, Arc::clone(&provision), disk.clone(), applier, own.clone())
            .map_err(io)?;
    workers.push(worker);
    let (checkpointer, worker) = CheckpointWorker::start(
        world,
        disk.clone(),
        generation,
        settings.checkpoint_ms,
        own.clone(),
    )
    .map_err(io)?;
    workers.push(worker);

    let (wanted, seen) = watch::channel(Vec::new());
    let (leadership, leadership_seen) = watch::channel(Leadership::default());
    let (applied, applied_seen) = watch::channel(applied_index);
    let gateway = Gateway::new(Shared::new(
        settings,
        own.clone(),
        transport.clone(),
        readers.clone(),
        provision,
        leadership_seen,
        applied_seen,
    ));
    let (id, incarnation) = (opened.identity.node, opened.identity.incarnation);
    let announced = members.iter().any(|one| one.id == id.get() && one.incarnation == incarnation);
    let driver = Driver::new(Parts {
        world: Arc::clone(world),
        replica,
        transport,
        net: net_events,
        inbox,
        own: own.clone(),
        log,
        applier,
        checkpointer,
        readers,
        snapshots: Snapshots::new(Arc::clone(world), disk.clone(), generation, own.clone()),
        gateway: gateway.clone(),
        leadership,
        applied,
        board,
        members,
        wanted,
        report: first_report,
        genesis: Bytes::from(opened.genesis),
        incarnation,
        election_timeout: Duration::from_millis(settings.election_timeout_ms),
    });
    let applied_nothing = applied_index == Index::ZERO;
    let me = Me { id, incarnation, announced, applied_nothing };
    let living = Living { generation, driver, gateway, events: own, wanted: seen, me };
    Ok((living, workers))
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
