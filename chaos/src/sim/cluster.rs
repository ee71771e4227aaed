//! The nodes of a run: their hosts, their processes, who is down and when it comes back. Not here:
//! why a process dies (`nemesis`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pgraft_node::modules::Modules;
use pgraft_node::settings::Settings;
use pgraft_node::status::NoBoard;
use pgraft_node::world::World;
use pgraft_node::{Ended, Node as PgraftNode, StartError};
use pgraft_sim_disk::Image;

use crate::seed::Seed;
use crate::sim::journal::Journal;
use crate::sim::process::{Condition, LastRites, Process};
use crate::sim::recorded::{Recorded, Recordings};
use crate::sim::roster::Roster;
use crate::sim::watch::Watch;
use crate::sim::weather::Weather;
use crate::sim::world::{PEER_PORT, Pausable, SimWorld};

/// A node that failed comes back after this long, as a supervisor brings it back.
const BACK_AFTER: Duration = Duration::from_millis(500);
/// A node that fails this often in a row is left alone.
const FAILURES_MAX: u32 = 40;
/// With a damaged disk the operator has seen enough after this often.
const DAMAGED_FAILURES_MAX: u32 = 3;
/// A node that was up this long has not failed in a row.
const STEADY: Duration = Duration::from_secs(5);
/// What a node says that only an operator can put right: its disk is not to be used any more.
const HOPELESS: [&str; 2] = ["is a copy", "remove the member and add it again"];

/// How a node is to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// At a time of the run.
    At(Duration),
    /// When somebody says so.
    WhenAsked,
    /// As another member with an empty disk: this one is of no use any more.
    Replaced,
    /// Never: it is not a member any more.
    Never,
}

/// A place where a node runs.
pub(super) struct Place {
    /// Its process and machine.
    pub(super) process: Arc<Process>,
    settings: Rc<RefCell<Settings>>,
    /// The next death takes the machine's power, too.
    pub(super) power: bool,
    /// How long it stays down after the next death.
    pub(super) down_for: Option<Duration>,
    returns: Option<Return>,
    failures: u32,
    up_since: Duration,
    /// Its disk is not to be trusted: what it says when it ends is no surprise.
    pub(super) damaged: bool,
    /// Its disk is empty: what the operator does about it is decided already.
    pub(super) wiped: bool,
    /// Older copies of its disk.
    pub(super) images: Vec<Image>,
    generation: u32,
    /// Its program is another build, which carries other modules.
    other_build: Rc<Cell<bool>>,
}

/// All places, and the simulator.
pub(super) struct Cluster {
    /// turmoil: hosts, network, time.
    pub(super) sim: turmoil::Sim<'static>,
    /// By number, from 1.
    pub(super) places: BTreeMap<u64, Place>,
    /// Between them.
    pub(super) weather: Arc<Weather>,
    /// Looks at all of them.
    pub(super) watch: Arc<Watch>,
    /// What happened.
    pub(super) journal: Journal,
    /// Who can be asked.
    pub(super) roster: Rc<Roster>,
    /// What all nodes have in common.
    pub(super) ground: Ground,
}

/// What all nodes have in common.
pub(super) struct Ground {
    /// The only source of chance.
    pub(super) seed: Seed,
    /// Where marker files go.
    pub(super) folder: PathBuf,
    /// Settings.
    pub(super) template: Settings,
    /// Jobs of a healthy disk take up to so many milliseconds.
    pub(super) disk_ms_max: u64,
    /// What they run.
    pub(super) modules: Arc<Modules>,
    /// What another build of the program carries.
    pub(super) other_modules: Arc<Modules>,
    /// Some who join later have the other build.
    pub(super) mixed: bool,
    /// Where they are recorded, if anywhere.
    pub(super) recordings: Option<Recordings>,
}

impl Cluster {
    /// A cluster without nodes.
    pub(super) fn new(
        sim: turmoil::Sim<'static>,
        journal: Journal,
        roster: Rc<Roster>,
        ground: Ground,
    ) -> Cluster {
        let weather = Arc::new(Weather::new(ground.seed));
        let machines = ground.modules.names().map(|(name, _)| name.to_owned()).collect();
        let watch = Watch::new(journal.clone(), machines);
        Cluster { sim, places: BTreeMap::new(), weather, watch, journal, roster, ground }
    }

    /// `host:port` of a place.
    pub(super) fn address(place: u64) -> String {
        format!("n{place}:{PEER_PORT}")
    }

    fn folder_of(&self, place: u64, generation: u32) -> PathBuf {
        self.ground.folder.join(format!("n{place}-{generation}"))
    }

    /// The name of the node at a place: a new one for every disk.
    pub(super) fn name(&self, place: u64) -> String {
        match self.places.get(&place).map_or(0, |one| one.generation) {
            0 => format!("n{place}"),
            generation => format!("n{place}-{generation}"),
        }
    }

    fn settings(&self, place: u64, generation: u32, joins: bool, known: &[String]) -> Settings {
        let name = match generation {
            0 => format!("n{place}"),
            generation => format!("n{place}-{generation}"),
        };
        let own = format!("{name}={}", Cluster::address(place));
        let mut members = known.to_vec();
        if !members.contains(&own) {
            members.push(own);
        }
        Settings {
            name,
            listen_address: format!("0.0.0.0:{PEER_PORT}"),
            initial_cluster: members.join(","),
            initial_cluster_state: if joins { "existing" } else { "new" }.to_owned(),
            data_dir: self.folder_of(place, generation),
            ..self.ground.template.clone()
        }
    }

    /// Starts the first nodes, which form the cluster.
    pub(super) fn form(&mut self, nodes: u64) {
        let members: Vec<String> =
            (1..=nodes).map(|place| format!("n{place}={}", Cluster::address(place))).collect();
        for place in 1..=nodes {
            let settings = self.settings(place, 0, false, &members);
            self.settle(place, settings);
        }
    }

    /// Starts a node at the next free place; it waits to be added. Returns the place.
    pub(super) fn add(&mut self) -> u64 {
        let place = self.places.keys().last().map_or(1, |last| last + 1);
        let settings = self.settings(place, 0, true, &self.others(place));
        self.settle(place, settings);
        place
    }

    /// The members that a node at `place` may ask.
    fn others(&self, place: u64) -> Vec<String> {
        let others = self
            .places
            .iter()
            .filter(|(other, node)| **other != place && node.returns != Some(Return::Never));
        others
            .map(|(other, _)| format!("{}={}", self.name(*other), Cluster::address(*other)))
            .collect()
    }

    fn settle(&mut self, number: u64, settings: Settings) {
        let process = Arc::new(Process::new(number, self.ground.seed));
        process.set_job_ms_max(self.ground.disk_ms_max);
        let settings = Rc::new(RefCell::new(settings));
        // Who comes later may have been built later.
        let joins = settings.borrow().initial_cluster_state == "existing";
        let other_build =
            Rc::new(Cell::new(self.ground.mixed && joins && number.is_multiple_of(2)));
        let place = Place {
            process: Arc::clone(&process),
            settings: Rc::clone(&settings),
            power: false,
            down_for: None,
            returns: None,
            failures: 0,
            up_since: self.now(),
            damaged: false,
            wiped: false,
            images: Vec::new(),
            generation: 0,
            other_build: Rc::clone(&other_build),
        };
        self.places.insert(number, place);
        let (weather, watch, journal) =
            (Arc::clone(&self.weather), Arc::clone(&self.watch), self.journal.clone());
        let recordings = self.ground.recordings.as_mut();
        let recording = recordings.and_then(|all| all.begin(number, &self.journal));
        let builds = [&self.ground.modules, &self.ground.other_modules].map(Arc::clone);
        self.sim.host(format!("n{number}"), move || {
            let process = Arc::clone(&process);
            let eye = Recorded::wrap(watch.eye(&process), recording.clone());
            let world = SimWorld {
                process: Arc::clone(&process),
                weather: Arc::clone(&weather),
                observer: eye,
                modules: Arc::clone(&builds[usize::from(other_build.get())]),
            };
            run(process, Arc::new(world), settings.borrow().clone(), journal.clone())
        });
        self.roster.set_up(number, true);
    }

    /// Simulated time since the start.
    pub(super) fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    /// Whether a node runs at a place.
    pub(super) fn is_up(&self, place: u64) -> bool {
        let node = self.places.get(&place);
        node.is_some_and(|node| node.process.condition() == Condition::Up)
    }

    /// The places whose node is of no use any more.
    pub(super) fn hopeless(&self) -> Vec<u64> {
        let hopeless = self.places.iter().filter(|(_, node)| {
            node.returns == Some(Return::Replaced) && node.process.condition() == Condition::Down
        });
        hopeless.map(|(place, _)| *place).collect()
    }

    /// Whether a node belongs to a place for good: it is not removed.
    pub(super) fn is_there(&self, place: u64) -> bool {
        self.places.get(&place).is_some_and(|node| node.returns != Some(Return::Never))
    }

    /// Buries who died or ended, and starts who comes back.
    pub(super) fn tend(&mut self) {
        let now = self.now();
        let numbers: Vec<u64> = self.places.keys().copied().collect();
        for number in numbers {
            let place = self.places.get_mut(&number).expect("a number of a place");
            if place.process.follow_disk() {
                self.journal.mark("crash_inside_commit");
            }
            match place.process.condition() {
                Condition::Up => {}
                Condition::Dead => self.bury(number, None),
                Condition::Ended(how) => self.bury(number, Some(how)),
                Condition::Down => {
                    if let Some(Return::At(at)) = place.returns
                        && at <= now
                    {
                        self.start(number);
                    }
                }
            }
        }
    }

    /// The host of a dead process goes, and its disk comes to what a crash leaves.
    fn bury(&mut self, number: u64, how: Option<Option<Ended>>) {
        let now = self.now();
        let place = self.places.get_mut(&number).expect("a number of a place");
        let process = Arc::clone(&place.process);
        process.disk.freeze();
        process.fall_silent();
        self.sim.crash(format!("n{number}"));
        if place.power {
            process.disk.power_loss();
            let loss = process.disk.counters().last_loss;
            if loss.lost + loss.kept + loss.torn > 0 {
                self.journal.mark("crash_with_unsynced_writes");
            }
            if loss.torn > 0 {
                self.journal.mark("torn_write");
            }
        } else {
            process.disk.process_crash();
        }
        place.power = false;
        process.buried();
        let down_for = place.down_for.take();
        let returns = match how {
            Some(Some(Ended::Removed)) => Return::Never,
            Some(Some(Ended::Failed(why))) => {
                let steady = now.saturating_sub(place.up_since) >= STEADY;
                place.failures = if steady { 1 } else { place.failures + 1 };
                self.journal.note_end(number, &why, place.damaged);
                after_failure(place, &why, now)
            }
            Some(None) | None => Return::At(now + down_for.unwrap_or(BACK_AFTER)),
        };
        // What was decided before the death stays.
        let decided = [Return::Never, Return::WhenAsked, Return::Replaced];
        if !place.returns.is_some_and(|returns| decided.contains(&returns)) {
            place.returns = Some(returns);
        }
        self.watch.gone(number);
        self.roster.set_up(number, false);
    }

    /// Starts a node that is down.
    pub(super) fn start(&mut self, number: u64) {
        let now = self.now();
        let place = self.places.get_mut(&number).expect("a number of a place");
        place.returns = None;
        place.up_since = now;
        self.sim.bounce(format!("n{number}"));
        self.roster.set_up(number, true);
    }

    /// A node has another build of the program from its next start on.
    pub(super) fn change_build(&mut self, number: u64) {
        if let Some(place) = self.places.get(&number) {
            place.other_build.set(!place.other_build.get());
            self.journal.mark("other_build_started");
        }
    }

    /// Kills a node now.
    pub(super) fn kill(&mut self, number: u64, power: bool, down_for: Duration) {
        let Some(place) = self.places.get_mut(&number) else { return };
        if place.process.condition() != Condition::Up {
            return;
        }
        place.power |= power;
        place.down_for = Some(down_for);
        place.process.die();
        self.tend();
    }

    /// A node does not come back by itself any more.
    pub(super) fn keep_down(&mut self, number: u64, returns: Return) {
        if let Some(place) = self.places.get_mut(&number) {
            place.returns = Some(returns);
        }
    }

    /// Stops a node for good that still waits to be admitted: nobody would ever tell it that it is
    /// not wanted any more.
    pub(super) fn give_up_unless_joined(&mut self, number: u64) {
        if !self.watch.views().contains_key(&number) && self.is_up(number) {
            self.keep_down(number, Return::Never);
            self.kill(number, false, Duration::ZERO);
        }
    }

    /// Gives a place that is down an empty disk and the settings of a node that joins. Returns the
    /// new name.
    pub(super) fn renew(&mut self, number: u64) -> String {
        let generation = self.places[&number].generation + 1;
        let settings = self.settings(number, generation, true, &self.others(number));
        let place = self.places.get_mut(&number).expect("a number of a place");
        place.generation = generation;
        place.process.disk.restore(&Image::default());
        (place.damaged, place.wiped) = (false, false);
        place.failures = 0;
        place.images.clear();
        *place.settings.borrow_mut() = settings;
        self.name(number)
    }

    /// The marker files of a place as a copy of the folder has them.
    ///
    /// # Errors
    /// Those of the real file system.
    pub(super) fn copy_markers(&self, number: u64) -> std::io::Result<()> {
        let folder = self.folder_of(number, self.places[&number].generation);
        let copy = folder.with_extension("copy");
        std::fs::create_dir(&copy)?;
        for item in std::fs::read_dir(&folder)? {
            let item = item?;
            std::fs::copy(item.path(), copy.join(item.file_name()))?;
        }
        std::fs::rename(&folder, folder.with_extension("original"))?;
        std::fs::rename(&copy, &folder)
    }

    /// The marker files of a place are gone with its disk.
    ///
    /// # Errors
    /// Those of the real file system.
    pub(super) fn wipe_markers(&self, number: u64) -> std::io::Result<()> {
        std::fs::remove_dir_all(self.folder_of(number, self.places[&number].generation))
    }
}

/// How a node goes on that ended with a failure.
fn after_failure(place: &Place, why: &str, now: Duration) -> Return {
    let worn_out = place.damaged && place.failures >= DAMAGED_FAILURES_MAX;
    let hopeless = place.damaged && HOPELESS.iter().any(|text| why.contains(text));
    if !place.wiped && (worn_out || hopeless) {
        Return::Replaced
    } else if place.failures > FAILURES_MAX {
        Return::WhenAsked
    } else {
        Return::At(now + BACK_AFTER * place.failures.min(8))
    }
}

/// The process of a node, from start to end; the host lives on until it is buried.
pub(super) async fn run(
    process: Arc<Process>,
    world: Arc<dyn World>,
    settings: Settings,
    journal: Journal,
) -> turmoil::Result {
    let _rites = LastRites(Arc::clone(&process));
    let stopping = process.boot();
    let node = async move {
        let node = PgraftNode::run_in(world, settings, Arc::new(NoBoard), stopping);
        node.await
    };
    let ended = match Pausable::new(caught(node), Arc::clone(&process)).await {
        Some(Ok(ended)) => ended,
        Some(Err(error @ StartError::DataDir(_))) => Some(Ended::Failed(error.to_string())),
        Some(Err(error)) => {
            journal.violation("a node starts", error.to_string());
            Some(Ended::Failed(error.to_string()))
        }
        None => Some(Ended::Failed("panicked".to_owned())),
    };
    process.ended(ended);
    std::future::pending().await
}

/// What a future returns, or `None` when it panics.
async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = Box::pin(work);
    std::future::poll_fn(move |context| {
        let poll = std::panic::AssertUnwindSafe(|| work.as_mut().poll(context));
        match std::panic::catch_unwind(poll) {
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Ok(std::task::Poll::Ready(result)) => std::task::Poll::Ready(Some(result)),
            Err(_told_by_the_hook) => std::task::Poll::Ready(None),
        }
    })
    .await
}
