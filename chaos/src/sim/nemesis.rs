//! The nemesis: carries the faults of a plan out at their times, and heals everything at the end.
//! Not here: which faults a plan has, and what dying means (`process`, `cluster`).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use pgraft_judge::history::{Fault as FaultEvent, What};
use pgraft_sim_disk::Image;

use crate::plan::{ARMED_MS, Fault, Plan, Step, Target, Wanted};
use crate::sim::admin::{Change, Changes};
use crate::sim::cluster::{Cluster, Return};
use crate::sim::process::Condition;
use crate::sim::weather::Noise;

/// Older copies of a disk are made this often.
const IMAGE_EVERY: Duration = Duration::from_millis(1_500);
/// Older copies that are kept.
const IMAGES_MAX: usize = 4;

/// The nemesis of one run.
pub(super) struct Nemesis {
    steps: Vec<Step>,
    next: usize,
    active: BTreeMap<usize, Active>,
    changes: Rc<Changes>,
    /// Upgrades that another operator makes at the same time.
    rival: Rc<Changes>,
    disk_ms_max: u64,
    /// How long a node with an older disk may show what it does.
    settle: Duration,
    last_image: Duration,
    wants_images: bool,
    /// Places whose node came back with an older disk, and when the operator takes it away.
    distrusted: BTreeMap<u64, Duration>,
    /// Places with an empty disk, and the name under which their node is added: it starts when
    /// the old member is gone.
    renewed: BTreeMap<u64, String>,
}

/// A fault that has begun.
struct Active {
    ends: Duration,
    place: Option<u64>,
}

impl Nemesis {
    /// Carries out `plan`; what operators do is handed to `changes`, and to another operator. A
    /// healthy disk's jobs take
    /// up to `disk_ms_max`; a node with an older disk is left alone for `settle`.
    pub(super) fn new(
        plan: &Plan,
        [changes, rival]: [Rc<Changes>; 2],
        disk_ms_max: u64,
        settle: Duration,
    ) -> Nemesis {
        let mut steps = plan.steps.clone();
        steps.sort_by_key(|step| step.at_ms);
        let wants_images = steps.iter().any(|step| matches!(step.fault, Fault::OldDisk { .. }));
        Nemesis {
            steps,
            next: 0,
            active: BTreeMap::new(),
            changes,
            rival,
            disk_ms_max,
            settle,
            last_image: Duration::ZERO,
            wants_images,
            distrusted: BTreeMap::new(),
            renewed: BTreeMap::new(),
        }
    }

    /// Begins and ends what is due, `at` after the start of the workload.
    pub(super) fn act(&mut self, cluster: &mut Cluster, at: Duration) {
        let due: Vec<usize> = self
            .active
            .iter()
            .filter(|(_, active)| active.ends <= at)
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.end(cluster, number);
        }
        self.follow_misdirections(cluster);
        while let Some(step) = self.steps.get(self.next)
            && Duration::from_millis(step.at_ms) <= at
        {
            let (number, step) = (self.next, step.clone());
            self.next += 1;
            self.begin(cluster, number, &step, at);
        }
        if self.wants_images && at >= self.last_image + IMAGE_EVERY {
            self.last_image = at;
            for place in cluster.places.values_mut() {
                if place.images.len() < IMAGES_MAX && place.process.condition() == Condition::Up {
                    place.images.push(place.process.disk.image());
                }
            }
        }
    }

    /// Ends everything; what is broken for good is replaced.
    pub(super) fn heal(&mut self, cluster: &mut Cluster) {
        let active: Vec<usize> = self.active.keys().copied().collect();
        for number in active {
            self.end(cluster, number);
        }
        let now = cluster.now();
        self.distrusted.values_mut().for_each(|at| *at = now);
        let places: Vec<u64> = cluster.places.keys().copied().collect();
        for number in places {
            let place = cluster.places.get_mut(&number).expect("a number of a place");
            place.process.resume(now);
            place.process.disk.cancel_orders();
            place.process.cancel_orders();
            place.power = false;
            place.down_for = None;
        }
    }

    /// What an operator does, at any time: nodes that are of no use any more, and those whose disk
    /// is an older one, are replaced.
    pub(super) fn replace_hopeless(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        let mut places = cluster.hopeless();
        places.extend(self.distrusted.iter().filter(|(_, at)| **at <= now).map(|(place, _)| place));
        for place in places {
            self.distrusted.remove(&place);
            if cluster.is_there(place) {
                self.replace(cluster, place);
            }
        }
        let changes = &self.changes;
        self.renewed.retain(|place, name| {
            let starts = changes.is_adding(name);
            if starts {
                cluster.start(*place);
            }
            !starts
        });
    }

    /// Who wrote to the wrong place dies before it writes much more.
    fn follow_misdirections(&mut self, cluster: &mut Cluster) {
        let misdirected = |(number, active): (&usize, &Active)| {
            let place = active.place?;
            let step = &self.steps[*number];
            let is_over = matches!(step.fault, Fault::Misdirect { .. })
                && !cluster.places[&place].process.disk.failure_ordered();
            is_over.then_some((*number, place, Duration::from_millis(step.for_ms)))
        };
        let over: Vec<(usize, u64, Duration)> =
            self.active.iter().filter_map(misdirected).collect();
        for (number, place, down_for) in over {
            cluster.journal.mark("write_misdirected");
            cluster.places.get_mut(&place).expect("a place of a fault").damaged = true;
            cluster.kill(place, false, down_for);
            self.end(cluster, number);
        }
    }

    fn resolve(cluster: &Cluster, target: Target) -> Option<u64> {
        let leader = cluster.watch.leader();
        let place = match target {
            Target::Node(place) => Some(place),
            Target::Leader => leader,
            Target::Follower => {
                let mut places = cluster.places.keys().copied();
                places.find(|place| cluster.is_up(*place) && Some(*place) != leader)
            }
        };
        place.filter(|place| cluster.is_there(*place))
    }

    fn begin(&mut self, cluster: &mut Cluster, number: usize, step: &Step, at: Duration) {
        let place = match step.fault.target() {
            Some(target) => match Nemesis::resolve(cluster, target) {
                Some(place) => Some(place),
                // Nobody is there.
                None => return,
            },
            None => None,
        };
        let says = match place {
            Some(place) => format!("{} (n{place})", step.fault),
            None => step.fault.to_string(),
        };
        let event = FaultEvent { number: number as u64, begins: true, says };
        cluster.journal.note(What::Fault(event));
        let lasts = if step.fault.waits() { ARMED_MS } else { step.for_ms };
        self.active.insert(number, Active { ends: at + Duration::from_millis(lasts), place });
        self.begin_network(cluster, number, &step.fault, place);
        if let Some(place) = place {
            let down_for = Duration::from_millis(step.for_ms);
            self.begin_process(cluster, number, &step.fault, place, down_for);
            Nemesis::begin_disk(cluster, &step.fault, place);
            Nemesis::begin_clock(cluster, &step.fault, place);
        }
    }

    fn begin_network(
        &self,
        cluster: &mut Cluster,
        number: usize,
        fault: &Fault,
        place: Option<u64>,
    ) {
        let weather = &cluster.weather;
        match fault {
            Fault::Cut { pairs, .. } => weather.cut(number as u64, pairs.iter().copied()),
            Fault::Isolate { .. } => {
                let place = place.expect("an isolation has a target");
                let others = cluster.places.keys().filter(|other| **other != place);
                weather.cut(
                    number as u64,
                    others.flat_map(|other| [(place, *other), (*other, place)]),
                );
            }
            Fault::Noise { lose, duplicate, reorder, corrupt } => weather.set_noise(Noise {
                lose: u64::from(*lose),
                duplicate: u64::from(*duplicate),
                reorder: u64::from(*reorder),
                corrupt: u64::from(*corrupt),
            }),
            Fault::Delay { ms_max } => weather.set_delay(*ms_max),
            Fault::SlowLink { from, to, ms } => weather.set_slow(*from, *to, *ms),
            Fault::CrashAll { power } => {
                let places: Vec<u64> = cluster.places.keys().copied().collect();
                let step = &self.steps[number];
                for place in places {
                    cluster.kill(place, *power, Duration::from_millis(step.for_ms));
                }
            }
            Fault::AddNode => {
                let place = cluster.add();
                let (name, address) = (cluster.name(place), Cluster::address(place));
                self.changes.push(Change::Add { name, address, mark: "node_joined" });
            }
            Fault::Upgrade { to, force } => {
                self.changes.push(Change::Upgrade { to: *to, force: *force });
                if *force {
                    // Two operators who do not know of each other; who is in a hurry forces.
                    let to = if *to == Wanted::Again { Wanted::Next } else { Wanted::Again };
                    self.rival.push(Change::Upgrade { to, force: true });
                }
            }
            _ => {}
        }
    }

    fn begin_process(
        &mut self,
        cluster: &mut Cluster,
        number: usize,
        fault: &Fault,
        place: u64,
        down_for: Duration,
    ) {
        let now = cluster.now();
        let leads = cluster.watch.leader() == Some(place);
        match fault {
            Fault::Crash { power, .. } => cluster.kill(place, *power, down_for),
            Fault::CrashAt { point, after, power, .. } => {
                let node = cluster.places.get_mut(&place).expect("resolved to a place");
                node.power |= *power;
                node.down_for = Some(down_for);
                node.process.die_at(*point, *after);
            }
            Fault::Restart { .. } | Fault::OtherBuild { .. } => {
                if matches!(fault, Fault::OtherBuild { .. }) {
                    cluster.change_build(place);
                }
                let node = cluster.places.get_mut(&place).expect("resolved to a place");
                node.down_for = Some(down_for);
                node.process.ask_to_stop();
            }
            Fault::Pause { .. } => {
                if leads {
                    cluster.journal.mark("leader_paused");
                }
                // Every other time the clocks go on meanwhile, as for a stopped process.
                cluster.places[&place].process.pause(now, number.is_multiple_of(2));
            }
            Fault::Wipe { .. } => Nemesis::lose_disk(cluster, place),
            Fault::OldDisk { .. } => {
                // Every other time the copy is not known for one by its folder.
                Nemesis::age_disk(cluster, place, down_for, number.is_multiple_of(2));
                self.distrusted.insert(place, now + down_for + self.settle);
            }
            Fault::BitFlip { state, byte_permille, bit, .. } => {
                cluster.kill(place, false, down_for);
                let part = if *state { "state-" } else { "raft.db" };
                let node = cluster.places.get_mut(&place).expect("resolved to a place");
                node.damaged = true;
                // The write-ahead log is many times as large: each has its turn.
                let of_wal = number.is_multiple_of(2);
                let chosen = |name: &str| {
                    name.contains(part)
                        && (if of_wal { name.ends_with("-wal") } else { name.ends_with(".db") })
                };
                if node.process.disk.flip_at(chosen, *byte_permille, *bit).is_some() {
                    cluster.journal.mark("bit_flipped");
                }
            }
            Fault::RemoveNode { .. } => {
                if self.renewed.remove(&place).is_some() {
                    cluster.keep_down(place, Return::Never);
                }
                cluster.give_up_unless_joined(place);
                self.changes.push(Change::Remove { address: Cluster::address(place) });
            }
            Fault::Transfer { .. } => {
                self.changes.push(Change::Transfer { address: Cluster::address(place) });
            }
            Fault::Hammer { .. } => cluster.roster.hammer(Some(place)),
            _ => {}
        }
    }

    fn begin_disk(cluster: &mut Cluster, fault: &Fault, place: u64) {
        let node = cluster.places.get_mut(&place).expect("resolved to a place");
        let disk = &node.process.disk;
        match fault {
            Fault::LyingSync { .. } => {
                disk.set_lying(true);
                node.damaged = true;
            }
            Fault::DiskError { on_sync: true, after, .. } => disk.fail_sync_in(*after),
            Fault::DiskError { on_sync: false, after, .. } => {
                disk.fail_write_in(*after, pgraft_sim_disk::Failure::Io);
            }
            Fault::DiskFull { .. } => disk.set_capacity(Some(disk.used())),
            Fault::SlowDisk { ms_max, .. } => node.process.set_job_ms_max(*ms_max),
            Fault::Misdirect { after, .. } => disk.misdirect_in(*after),
            _ => {}
        }
    }

    fn begin_clock(cluster: &mut Cluster, fault: &Fault, place: u64) {
        let now = cluster.now();
        let process = &cluster.places[&place].process;
        match fault {
            Fault::ClockJump { ms, .. } => {
                process.jump(*ms);
                cluster.journal.mark("clock_jumped");
            }
            Fault::ClockSkew { permille, .. } => {
                process.set_speed(now, 1000_u64.saturating_add_signed(i64::from(*permille)));
            }
            _ => {}
        }
    }

    /// A node comes back at once without its disk; it must not take part.
    fn lose_disk(cluster: &mut Cluster, place: u64) {
        cluster.kill(place, true, Duration::from_millis(200));
        if cluster.is_up(place) {
            return;
        }
        let node = cluster.places.get_mut(&place).expect("resolved to a place");
        (node.damaged, node.wiped) = (true, true);
        node.process.disk.restore(&Image::default());
        cluster.wipe_markers(place).expect("the folder of a node that has run is there");
    }

    /// A node comes back with an older copy of its disk, in the folder of the original or in
    /// another one (`elsewhere`); it must not take part.
    fn age_disk(cluster: &mut Cluster, place: u64, down_for: Duration, elsewhere: bool) {
        cluster.kill(place, true, down_for);
        let node = cluster.places.get_mut(&place).expect("resolved to a place");
        let Some(image) = node.images.first().cloned() else { return };
        node.damaged = true;
        node.process.disk.restore(&image);
        if elsewhere {
            cluster.copy_markers(place).expect("the folder of a node that has run is there");
        }
    }

    fn end(&mut self, cluster: &mut Cluster, number: usize) {
        let Some(Active { place, .. }) = self.active.remove(&number) else { return };
        let now = cluster.now();
        let fault = self.steps[number].fault.clone();
        match (&fault, place) {
            (Fault::Cut { .. } | Fault::Isolate { .. }, _) => cluster.weather.heal(number as u64),
            (Fault::Noise { .. }, _) => cluster.weather.set_noise(Noise::default()),
            (Fault::Delay { .. }, _) => cluster.weather.set_delay(0),
            (Fault::SlowLink { from, to, .. }, _) => cluster.weather.set_slow(*from, *to, 0),
            (Fault::Hammer { .. }, _) => cluster.roster.hammer(None),
            (_, Some(place)) => self.end_on(cluster, &fault, place, now),
            _ => {}
        }
        let event = FaultEvent { number: number as u64, begins: false, says: fault.to_string() };
        cluster.journal.note(What::Fault(event));
    }

    fn end_on(&mut self, cluster: &mut Cluster, fault: &Fault, place: u64, now: Duration) {
        let node = cluster.places.get_mut(&place).expect("resolved to a place");
        let process = &node.process;
        match fault {
            Fault::CrashAt { .. } => {
                process.disk.cancel_orders();
                process.cancel_orders();
                if process.condition() == Condition::Up {
                    node.power = false;
                    node.down_for = None;
                }
            }
            Fault::Pause { .. } => process.resume(now),
            Fault::LyingSync { .. } => process.disk.set_lying(false),
            Fault::DiskError { .. } => process.disk.cancel_orders(),
            Fault::DiskFull { .. } => process.disk.set_capacity(None),
            Fault::SlowDisk { .. } => process.set_job_ms_max(self.disk_ms_max),
            Fault::ClockSkew { .. } => process.set_speed(now, 1000),
            Fault::Misdirect { .. } => process.disk.cancel_orders(),
            Fault::Wipe { .. } => self.replace(cluster, place),
            _ => {}
        }
    }

    /// An operator removes the member and adds a new one at the same address.
    pub(super) fn replace(&mut self, cluster: &mut Cluster, place: u64) {
        cluster.keep_down(place, Return::WhenAsked);
        cluster.kill(place, true, Duration::ZERO);
        cluster.keep_down(place, Return::WhenAsked);
        let address = Cluster::address(place);
        self.changes.push(Change::Remove { address: address.clone() });
        let name = cluster.renew(place);
        self.renewed.insert(place, name.clone());
        self.changes.push(Change::Add { name, address, mark: "node_rejoined" });
    }
}
