//! The simulation: a whole cluster of real nodes as turmoil hosts, with simulated network, disks,
//! clocks and processes, in one thread and one order that the seed decides.
//!
//! A run has two phases (TigerBeetle's VOPR): in the first anything may go wrong and nothing may
//! be wrong; then all is healed, and the cluster must converge and answer. Not here: which faults,
//! which questions, and what is judged afterwards.

mod admin;
mod client;
mod cluster;
mod journal;
mod nemesis;
mod net;
mod process;
mod recorded;
mod roster;
mod stranger;
mod upgrades;
mod watch;
mod weather;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pgraft_host::Place;
use pgraft_judge::history::{Digest, Event, Genesis, Phase, Run, What};
use pgraft_node::modules::Modules;
use pgraft_node::settings::Settings;
use pgraft_replica::Keep;
use tracing_subscriber::layer::SubscriberExt;

use crate::plan::{Fault, Plan};
use crate::scenario::{NodeSettings, Scenario};
use crate::seed::Seed;
use crate::swarm::Load;
use crate::variants;
use crate::workload::{Mixed, Workload};
use admin::{Admin, Changes};
use client::{Client, Shared};
use cluster::{Cluster, Ground};
use journal::{Journal, LogLayer};
use nemesis::Nemesis;
use recorded::Recordings;
use roster::Roster;

/// Simulated time that one step of the simulator takes.
const TICK: Duration = Duration::from_millis(2);
/// A new cluster has elected a leader within this.
const FORMING: Duration = Duration::from_secs(20);
/// The calm phase lasts at least this long, so that every client is heard.
const CALM: Duration = Duration::from_secs(4);
/// What is under way when the clients stop ends within this.
const DRAINING: Duration = Duration::from_secs(4);

/// What is run.
pub struct Case<'a> {
    /// Where it comes from.
    pub scenario: &'a Scenario,
    /// The only source of chance.
    pub seed: Seed,
    /// What is done to the cluster.
    pub plan: &'a Plan,
    /// What else differs from run to run.
    pub load: Load,
    /// Commit of the source tree, for the history.
    pub commit: String,
    /// Where the history is written while it happens.
    pub history: Option<&'a Path>,
    /// Keep the nodes' log lines.
    pub logs: bool,
    /// The folder where what each node takes and gives is recorded, one file for each place, for
    /// [`crate::oracle`].
    pub record: Option<&'a Path>,
    /// What runs; `None`: the built-in machines, and the mixture of `load`.
    pub subject: Option<&'a Subject>,
}

/// Machines that do not all come with the program, and what clients ask of them.
pub struct Subject {
    /// What every node carries.
    pub modules: Arc<Modules>,
    /// Makes the workload of a run.
    pub workload: Box<dyn Fn() -> Box<dyn Workload>>,
}

/// What came of it.
pub struct Outcome {
    /// The history.
    pub events: Vec<Event>,
    /// Log lines of all nodes, with simulated time.
    pub log: String,
    /// How often each interesting thing happened.
    pub marks: BTreeMap<String, u64>,
    /// Simulated time.
    pub simulated: Duration,
    /// Operations that clients invoked.
    pub operations: u64,
}

/// Runs a case.
///
/// # Errors
/// When a file cannot be written, or the simulator itself fails; in words.
pub fn run(case: &Case<'_>) -> Result<Outcome, String> {
    if let Some(folder) = case.record {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("make {}: {error}", folder.display()))?;
    }
    let modules = match case.subject {
        Some(subject) => Arc::clone(&subject.modules),
        None => {
            let built_in = Modules::built_in(Place::Simulation);
            Arc::new(built_in.map_err(|fault| format!("built-in modules: {fault}"))?)
        }
    };
    let other_build = match case.subject {
        None if is_mixed(case.plan) => {
            let other = variants::other_build();
            Arc::new(other.map_err(|fault| format!("modules of the other build: {fault}"))?)
        }
        _ => Arc::clone(&modules),
    };
    let workload = match case.subject {
        Some(subject) => (subject.workload)(),
        None => Box::new(Mixed::new(&case.load.workloads)),
    };
    pgraft_sim_disk::seed_sqlite_randomness(case.seed.derive("sqlite").number());
    let folder = tempfile::tempdir().map_err(|error| format!("temporary folder: {error}"))?;
    let machines =
        modules.names().map(|(name, sha256)| (name.to_owned(), pgraft_host::hex(sha256)));
    let header = Run {
        format: pgraft_judge::history::FORMAT,
        scenario: case.scenario.name.clone(),
        seed: case.seed.number(),
        commit: case.commit.clone(),
        nodes: (1..=case.scenario.nodes).collect(),
        machines: machines.collect(),
        genesis: genesis(case.scenario.nodes, &modules),
    };
    let scrub = format!("{}/", folder.path().display());
    let journal = Journal::begin(header, case.history, scrub.clone())
        .map_err(|error| format!("write the history: {error}"))?;
    let layer = case.logs.then(|| LogLayer::new(journal.clone(), scrub.clone()));
    let marks = (!case.logs).then(|| LogLayer::marks_only(journal.clone()));
    let level = if case.logs { "info" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::new(format!("off,pgraft={level},turmoil=info"));
    let subscriber = tracing_subscriber::registry().with(filter).with(layer).with(marks);
    let _collecting = tracing::subscriber::set_default(subscriber);
    let builds = Builds { carried: modules, other_build };
    let mut stage = Stage::new(case, workload, builds, &journal, folder.path());
    stage.play(case)?;
    let Stage { cluster, shared, .. } = stage;
    let simulated = cluster.now();
    let operations = *shared.operations.borrow();
    if let Some(recordings) = &cluster.ground.recordings {
        recordings.end();
    }
    drop(cluster);
    let marks = journal.marks();
    let (events, log) = journal.end().map_err(|error| format!("write the history: {error}"))?;
    Ok(Outcome { events, log, marks, simulated, operations })
}

/// What the nodes' programs carry.
struct Builds {
    carried: Arc<Modules>,
    other_build: Arc<Modules>,
}

/// Whether nodes of another build take part.
fn is_mixed(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| matches!(step.fault, Fault::OtherBuild { .. }))
}

/// Everything of a run.
struct Stage {
    cluster: Cluster,
    nemesis: Nemesis,
    changes: [Rc<Changes>; 2],
    shared: Rc<Shared>,
    journal: Journal,
}

impl Stage {
    fn new(
        case: &Case<'_>,
        workload: Box<dyn Workload>,
        modules: Builds,
        journal: &Journal,
        folder: &Path,
    ) -> Stage {
        let (scenario, seed) = (case.scenario, case.seed);
        let load = &case.load;
        let sim = turmoil::Builder::new()
            .rng_seed(seed.derive("turmoil").number())
            .epoch(SystemTime::UNIX_EPOCH)
            .simulation_duration(Duration::from_secs(1_000_000))
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(load.latency_ms_max.max(1)))
            .tcp_capacity(1 << 14)
            .enable_random_order()
            .build();
        let roster = Rc::new(Roster::default());
        let ground = Ground {
            seed,
            folder: folder.to_owned(),
            template: template(&scenario.node),
            disk_ms_max: load.disk_ms_max,
            mixed: is_mixed(case.plan),
            other_modules: Arc::clone(&modules.other_build),
            modules: modules.carried,
            recordings: case.record.map(Recordings::of),
        };
        let mut cluster = Cluster::new(sim, journal.clone(), Rc::clone(&roster), ground);
        cluster.form(scenario.nodes);
        stranger::start(&mut cluster, scenario.node.strangers, scenario.nodes);
        let changes = [Rc::new(Changes::default()), Rc::new(Changes::default())];
        let shared = Rc::new(Shared {
            workload: RefCell::new(workload),
            roster: Rc::clone(&roster),
            journal: journal.clone(),
            watch: Arc::clone(&cluster.watch),
            numbers: RefCell::new(0),
            operations: RefCell::new(0),
            think_ms_max: load.pause_ms_max,
            deadline: Duration::from_millis(load.timeout_ms),
        });
        let watch = Arc::clone(&cluster.watch);
        let admin = |changes: &Rc<Changes>| Admin {
            changes: Rc::clone(changes),
            roster: Rc::clone(&roster),
            watch: Arc::clone(&watch),
            journal: journal.clone(),
        };
        let admins = changes.each_ref().map(admin);
        let settle = Duration::from_millis(scenario.budget().settle_ms);
        let nemesis = Nemesis::new(case.plan, changes.clone(), load.disk_ms_max, settle);
        let mut stage = Stage { cluster, nemesis, changes, shared, journal: journal.clone() };
        stage.let_clients_in(case, admins);
        stage
    }

    /// All clients and the operators are tasks of one host.
    fn let_clients_in(&mut self, case: &Case<'_>, admins: [Admin; 2]) {
        let clients: Vec<Client> = (0..case.plan.clients)
            .map(|number| Client {
                shared: Rc::clone(&self.shared),
                chance: case.seed.stream(&format!("client {number}")),
                operations: case.plan.operations,
            })
            .collect();
        self.cluster.sim.client("clients", async move {
            for admin in admins {
                tokio::task::spawn_local(admin.run());
            }
            for client in clients {
                tokio::task::spawn_local(client.run());
            }
            std::future::pending().await
        });
    }

    fn play(&mut self, case: &Case<'_>) -> Result<(), String> {
        self.until(FORMING, |stage| stage.cluster.watch.leader().is_some())?;
        self.phase("safety");
        let start = self.cluster.now();
        let lasts = Duration::from_millis(case.plan.safety_ms);
        while self.cluster.now() < start + lasts && !self.journal.is_violated() {
            let at = self.cluster.now() - start;
            self.nemesis.act(&mut self.cluster, at);
            self.step()?;
        }
        self.nemesis.heal(&mut self.cluster);
        self.phase("liveness");
        self.shared.roster.calm_down();
        let bound = Duration::from_millis(case.scenario.phases.liveness_ms);
        let calm = self.cluster.now() + CALM;
        let healed = self.until(bound.max(CALM), |stage| {
            stage.cluster.now() >= calm && stage.are_idle() && stage.has_converged()
        })?;
        if !healed && !self.journal.is_violated() {
            self.journal.violation("liveness", self.what_is_not_well());
        }
        self.shared.roster.end();
        self.until(DRAINING, |stage| !stage.journal.is_writing() && stage.has_converged())?;
        self.until(DRAINING, |stage| stage.has_converged())?;
        self.compare_digests();
        self.phase("end");
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        self.cluster.tend();
        self.nemesis.replace_hopeless(&mut self.cluster);
        self.cluster.sim.step().map_err(|error| format!("the simulator failed: {error}"))?;
        self.journal.advance(self.cluster.now());
        Ok(())
    }

    /// Steps until the condition holds; false when it did not within `bound`, or something is
    /// violated.
    fn until(&mut self, bound: Duration, holds: impl Fn(&Stage) -> bool) -> Result<bool, String> {
        let end = self.cluster.now() + bound;
        while self.cluster.now() < end && !self.journal.is_violated() {
            if holds(self) {
                return Ok(true);
            }
            self.step()?;
        }
        Ok(holds(self))
    }

    fn phase(&self, name: &str) {
        self.journal.note(What::Phase(Phase { name: name.to_owned() }));
    }

    /// No operator has anything to do.
    fn are_idle(&self) -> bool {
        self.changes.iter().all(|changes| changes.is_idle())
    }

    /// Everybody who belongs to the cluster is up, and has applied what is committed.
    fn has_converged(&self) -> bool {
        let cluster = &self.cluster;
        let last = cluster.watch.last_committed();
        let views = cluster.watch.views();
        let mut there = cluster.places.keys().filter(|place| cluster.is_there(**place));
        there.all(|place| cluster.is_up(*place) && views.contains_key(place))
            && views.values().all(|view| view.applied == last && view.leader.is_some())
            && views.values().any(pgraft_replica::View::is_leader)
    }

    fn what_is_not_well(&self) -> String {
        let cluster = &self.cluster;
        let (views, last) = (cluster.watch.views(), cluster.watch.last_committed());
        let mut says = Vec::new();
        for (place, node) in &cluster.places {
            let condition = node.process.condition();
            match views.get(place) {
                Some(view) => says.push(format!(
                    "n{place} is {condition:?} as {}: {:?} of {}, term {}, applied {} of {last}",
                    view.id,
                    view.role,
                    view.leader.map_or("nobody".to_owned(), |leader| leader.to_string()),
                    view.term,
                    view.applied
                )),
                None if cluster.is_there(*place) => {
                    says.push(format!("n{place} is {condition:?}, no replica runs"));
                }
                None => {}
            }
        }
        says.extend(self.changes.iter().flat_map(|changes| changes.unfinished()));
        format!("after healing: {}", says.join("; "))
    }

    fn compare_digests(&self) {
        for (place, index, digests) in self.cluster.watch.last_digests() {
            for (machine, digest) in digests {
                let (machine, digest) = (machine.to_string(), format!("{digest:032x}"));
                self.journal.note(What::Digest(Digest { node: place, index, machine, digest }));
            }
        }
    }
}

/// What the machines of a new cluster begin with, as the nodes derive it from their settings.
fn genesis(nodes: u64, modules: &Modules) -> Vec<Genesis> {
    let member = |place| pgraft_membership::Member {
        id: place,
        name: format!("n{place}"),
        address: Cluster::address(place),
        role: pgraft_membership::Role::Voter,
        incarnation: 0,
    };
    let members = pgraft_membership::Genesis { members: (1..=nodes).map(member).collect() };
    let mut others = 3..;
    let machine = |name: &str| {
        let (number, config) = match name {
            "membership" => (1, members.encode()),
            "kv" => (2, Vec::new()),
            _ => (others.next().expect("numbers do not end"), Vec::new()),
        };
        Genesis { machine: name.to_owned(), number, config }
    };
    let mut genesis: Vec<Genesis> = modules.names().map(|(name, _)| name).map(machine).collect();
    genesis.sort_by_key(|machine| machine.number);
    genesis
}

/// What all nodes have in common.
fn template(node: &NodeSettings) -> Settings {
    let usual = Keep::default();
    let entries = node.log_keep_entries.unwrap_or(usual.entries);
    let log_keep = match node.log_keep_entries {
        None => usual,
        Some(_) => Keep {
            entries,
            bytes: 0,
            bytes_max: node.log_bytes_max.unwrap_or(usual.bytes_max),
            step: (entries / 4).max(1),
        },
    };
    let shipped = Settings::defaults();
    Settings {
        initial_cluster_token: "chaos".to_owned(),
        election_timeout_ms: node.election_timeout_ms,
        heartbeat_interval_ms: node.heartbeat_interval_ms,
        socket: "/nowhere".into(),
        log_keep,
        checkpoint_ms: node.checkpoint_ms.unwrap_or(shipped.checkpoint_ms),
        ..shipped
    }
}
