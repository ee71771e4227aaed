//! Draws a plan, and everything else that differs from run to run, from a seed and a scenario:
//! which kinds of faults there are at all, how often each comes, whom it hits and for how long
//! (swarm testing, TigerBeetle). Two runs of a scenario are then different kinds of trouble, not
//! the same mixture in another order.
//!
//! Each kind draws from a stream of its own, so that one more partition moves no crash. Not here:
//! what faults do, and what may be destroyed ([`crate::plan::budget`]).

mod shape;

use crate::plan::{ARMED_MS, Fault, Plan, Point, Step, Target, Wanted};
use crate::scenario::{Aim, Allowed, Kind, Range, Scenario};
use crate::seed::{Chance, Seed};
use crate::workload::Name;

/// Faults of one kind in one plan.
const STEPS_PER_KIND_MAX: u64 = 100;

/// What differs from run to run besides the faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The workloads by weight.
    pub workloads: Vec<(Name, u64)>,
    /// Milliseconds between two operations of a client, at most: such that the operations last as
    /// long as the faults.
    pub pause_ms_max: u64,
    /// Milliseconds a client waits for an answer.
    pub timeout_ms: u64,
    /// Milliseconds that a frame takes, at most.
    pub latency_ms_max: u64,
    /// Milliseconds that a job of a disk takes, at most.
    pub disk_ms_max: u64,
}

/// The load of a run.
pub fn load(scenario: &Scenario, seed: Seed) -> Load {
    let mut chance = seed.stream("swarm/load");
    let clients = &scenario.clients;
    let timeout_ms = within(&mut chance, clients.timeout_ms);
    let (_, operations, safety_ms) = frame(scenario, seed);
    let pause_ms_max = 2 * safety_ms / operations;
    let latency_ms_max = within(&mut chance, scenario.weather.latency_ms);
    let disk_ms_max = within(&mut chance, scenario.weather.disk_ms);
    // Weights between a quarter and four times of what the scenario says; none vanishes.
    let vary = |(name, weight): (&Name, &u64)| (*name, weight * chance.scaled(4, 64));
    let workloads = scenario.workloads.iter().filter(|(_, weight)| **weight > 0).map(vary);
    let workloads = workloads.collect();
    Load { workloads, pause_ms_max, timeout_ms, latency_ms_max, disk_ms_max }
}

/// The plan of a run: within the scenario's budget, and healed at the end of the safety phase.
pub fn plan(scenario: &Scenario, seed: Seed) -> Plan {
    let (clients, operations, safety_ms) = frame(scenario, seed);
    let plan = Plan { steps: Vec::new(), operations, clients, safety_ms };
    let drawn = draw_all(scenario, seed, safety_ms);
    let plan = admitted(scenario, plan, drawn);
    assert!(plan.check().is_ok() && scenario.budget().check(&plan).is_ok(), "{plan}");
    plan
}

/// Clients, operations of each, and milliseconds of the safety phase.
fn frame(scenario: &Scenario, seed: Seed) -> (u64, u64, u64) {
    let mut chance = seed.stream("swarm/frame");
    let clients = within(&mut chance, scenario.clients.count);
    let operations = within(&mut chance, scenario.clients.operations);
    (clients, operations, within(&mut chance, scenario.phases.safety_ms))
}

/// One fault or more that only make sense together, and the kind they were drawn for.
struct Group {
    kind: Kind,
    steps: Vec<Step>,
}

/// Everything that the enabled kinds would like to do.
fn draw_all(scenario: &Scenario, seed: Seed, safety_ms: u64) -> Vec<Group> {
    let enabled = enabled(scenario, seed);
    let mut groups = Vec::new();
    // Places that join later take part in partitions; so they are drawn first.
    let mut places = scenario.nodes;
    let mut kinds: Vec<(Kind, &Allowed)> = enabled;
    kinds.sort_by_key(|(kind, _)| *kind != Kind::AddNode);
    for (kind, allowed) in kinds {
        let mut chance = seed.stream(&format!("swarm/{kind}"));
        let times = times(&mut chance, allowed, safety_ms);
        for at_ms in times {
            let mut draw = Draw { scenario, allowed, places, safety_ms, chance: &mut chance };
            groups.extend(draw.group(kind, at_ms).map(|steps| Group { kind, steps }));
        }
        if kind == Kind::AddNode {
            places += groups.len() as u64;
        }
    }
    groups
}

/// The kinds that come in this run: those that always come, the others by lot; at least one.
fn enabled(scenario: &Scenario, seed: Seed) -> Vec<(Kind, &Allowed)> {
    let kinds: Vec<(Kind, &Allowed)> = scenario.faults.iter().map(|(k, a)| (*k, a)).collect();
    let lot = |(kind, allowed): &&(Kind, &Allowed)| {
        seed.stream(&format!("swarm/{kind}/enabled")).permille(allowed.chance_permille)
    };
    let chosen: Vec<(Kind, &Allowed)> = kinds.iter().filter(lot).copied().collect();
    match chosen.is_empty() && !kinds.is_empty() {
        true => vec![*seed.stream("swarm/enabled").pick(&kinds)],
        false => chosen,
    }
}

/// When a kind begins: at a rate that is drawn for the run, at even chances.
fn times(chance: &mut Chance, allowed: &Allowed, safety_ms: u64) -> Vec<u64> {
    let rate = within(chance, allowed.per_minute);
    let sure = u64::from(allowed.chance_permille == 1000);
    let expected = rate * safety_ms / 60_000;
    let rest = u64::from(chance.below(60_000) < rate * safety_ms % 60_000);
    let count = (expected + rest).max(sure).min(STEPS_PER_KIND_MAX);
    let mut times: Vec<u64> = (0..count).map(|_| chance.below(safety_ms)).collect();
    times.sort_unstable();
    times
}

/// Takes what fits into the budget: what must be placed with care comes first, then the rest fills
/// what is left.
fn admitted(scenario: &Scenario, mut plan: Plan, groups: Vec<Group>) -> Plan {
    let budget = scenario.budget();
    let (mut rare, mut common): (Vec<Group>, Vec<Group>) =
        groups.into_iter().partition(|group| needs_care(group.kind));
    for groups in [&mut rare, &mut common] {
        groups.sort_by_key(|group| group.steps[0].at_ms);
        for group in groups.drain(..) {
            let mut more = plan.clone();
            more.steps.extend(group.steps);
            more.steps.sort_by_key(|step| step.at_ms);
            if budget.check(&more).is_ok() {
                plan = more;
            }
        }
    }
    plan
}

/// Whether the budget has rules for this kind: drawn last, it would find no room.
fn needs_care(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Wipe
            | Kind::OldDisk
            | Kind::LyingSync
            | Kind::LyingPowerLoss
            | Kind::Misdirect
            | Kind::RotLog
            | Kind::RotState
            | Kind::AddNode
            | Kind::RemoveNode
    )
}

/// What one fault is drawn with.
struct Draw<'a> {
    scenario: &'a Scenario,
    allowed: &'a Allowed,
    /// Places in use, now or later.
    places: u64,
    safety_ms: u64,
    chance: &'a mut Chance,
}

impl Draw<'_> {
    /// The steps of a fault that begins at `at_ms`; none when there is no time left for it.
    fn group(&mut self, kind: Kind, at_ms: u64) -> Option<Vec<Step>> {
        let for_ms = self.allowed.for_ms.map_or(0, |range| within(self.chance, range));
        let for_ms =
            if forgets(kind) { for_ms.max(self.scenario.budget().away_ms) } else { for_ms };
        if kind == Kind::LyingPowerLoss {
            return self.lying_power_loss(at_ms, for_ms);
        }
        let fault = self.fault(kind);
        let armed_ms = if fault.waits() { ARMED_MS } else { 0 };
        let left_ms = self.safety_ms.checked_sub(at_ms + armed_ms)?;
        let is_cut_short = for_ms > left_ms;
        if is_cut_short && (forgets(kind) || left_ms == 0) {
            return None;
        }
        Some(vec![Step { at_ms, for_ms: for_ms.min(left_ms), fault }])
    }

    /// Syncs begin to lie; some time later the power fails.
    fn lying_power_loss(&mut self, at_ms: u64, for_ms: u64) -> Option<Vec<Step>> {
        let target = Target::Node(self.chance.between(1, self.scenario.nodes));
        let lies_ms = self.chance.between(100, 3000);
        let crash_ms = at_ms + lies_ms;
        if crash_ms + for_ms > self.safety_ms {
            return None;
        }
        let crash = Fault::Crash { target, power: true };
        Some(vec![
            Step { at_ms, for_ms: lies_ms, fault: Fault::LyingSync { target } },
            Step { at_ms: crash_ms, for_ms, fault: crash },
        ])
    }

    fn fault(&mut self, kind: Kind) -> Fault {
        match kind {
            Kind::Partition | Kind::OneWay | Kind::Ring | Kind::Bridge | Kind::SlowLink => {
                self.of_links(kind)
            }
            Kind::Noise => self.noise(),
            Kind::Delay => Fault::Delay { ms_max: self.ms() },
            Kind::Isolate => Fault::Isolate { target: self.target() },
            Kind::Crash => Fault::Crash { target: self.target(), power: false },
            Kind::PowerLoss => Fault::Crash { target: self.target(), power: true },
            Kind::CrashAt => self.crash_at(false),
            Kind::PowerLossAt => self.crash_at(true),
            Kind::CrashAll => Fault::CrashAll { power: false },
            Kind::PowerLossAll => Fault::CrashAll { power: true },
            Kind::Restart => Fault::Restart { target: self.target() },
            Kind::Pause => Fault::Pause { target: self.target() },
            Kind::ClockJump => {
                let (target, ms) = (self.target(), self.ms() as i64);
                Fault::ClockJump { target, ms: if self.chance.coin() { ms } else { -ms } }
            }
            Kind::ClockSkew => {
                let (target, share) = (self.target(), self.permille() as i32);
                Fault::ClockSkew { target, permille: self.signed(share) }
            }
            Kind::AddNode => Fault::AddNode,
            Kind::RemoveNode => Fault::RemoveNode { target: self.target() },
            Kind::Transfer => Fault::Transfer { to: self.chance.between(1, self.places) },
            Kind::Hammer => Fault::Hammer { target: self.target() },
            Kind::OtherBuild => Fault::OtherBuild { target: self.target() },
            Kind::Upgrade => {
                let wanted = [Wanted::Again, Wanted::Next, Wanted::Torn, Wanted::Back];
                let to = *self.chance.pick(&wanted);
                Fault::Upgrade { to, force: self.chance.permille(400) }
            }
            _ => self.of_disk(kind),
        }
    }

    fn of_links(&mut self, kind: Kind) -> Fault {
        let mut places: Vec<u64> = (1..=self.places).collect();
        self.chance.shuffle(&mut places);
        match kind {
            Kind::Partition => shape::partition(&places, self.chance),
            Kind::OneWay => shape::one_way(&places, self.chance),
            Kind::Ring => shape::ring(&places),
            Kind::Bridge => shape::bridge(&places),
            Kind::SlowLink => Fault::SlowLink { from: places[0], to: places[1], ms: self.ms() },
            other => unreachable!("{other} is not of links"),
        }
    }

    fn of_disk(&mut self, kind: Kind) -> Fault {
        let target = self.target();
        let flip = |state: bool, chance: &mut Chance| Fault::BitFlip {
            target,
            state,
            byte_permille: chance.below(1000) as u32,
            bit: chance.below(8) as u8,
        };
        match kind {
            Kind::Wipe => Fault::Wipe { target },
            Kind::OldDisk => Fault::OldDisk { target },
            Kind::LyingSync => Fault::LyingSync { target },
            Kind::WriteError => Fault::DiskError { target, on_sync: false, after: self.after() },
            Kind::SyncError => Fault::DiskError { target, on_sync: true, after: self.after() },
            Kind::DiskFull => Fault::DiskFull { target },
            Kind::SlowDisk => Fault::SlowDisk { target, ms_max: self.ms() },
            Kind::Misdirect => Fault::Misdirect { target, after: self.after() },
            Kind::RotLog => flip(false, self.chance),
            Kind::RotState => flip(true, self.chance),
            other => unreachable!("{other} is not of a disk"),
        }
    }

    /// Each of the four by lot; one at least.
    fn noise(&mut self) -> Fault {
        let mut shares = [0_u32; 4];
        let sure = self.chance.below(4) as usize;
        for (place, share) in shares.iter_mut().enumerate() {
            if place == sure || self.chance.coin() {
                *share = within(self.chance, needed(self.allowed.permille)) as u32;
            }
        }
        let [lose, duplicate, reorder, corrupt] = shares;
        Fault::Noise { lose, duplicate, reorder, corrupt }
    }

    fn crash_at(&mut self, power: bool) -> Fault {
        let points = [Point::Disk, Point::Disk, Point::Step, Point::Frame, Point::Job];
        let point = *self.chance.pick(&points);
        Fault::CrashAt { target: self.target(), point, after: self.after(), power }
    }

    fn target(&mut self) -> Target {
        let usual = [Aim::Any, Aim::Leader];
        let aims = self.allowed.targets.as_deref().unwrap_or(&usual);
        match self.chance.pick(aims) {
            Aim::Any => Target::Node(self.chance.between(1, self.places)),
            Aim::Leader => Target::Leader,
            Aim::Follower => Target::Follower,
        }
    }

    fn ms(&mut self) -> u64 {
        within(self.chance, needed(self.allowed.ms))
    }

    fn permille(&mut self) -> u64 {
        within(self.chance, needed(self.allowed.permille))
    }

    fn after(&mut self) -> u64 {
        within(self.chance, needed(self.allowed.after))
    }

    fn signed(&mut self, share: i32) -> i32 {
        if self.chance.coin() { share } else { -share }
    }
}

/// Whether a node of this kind of fault comes back without something that it acknowledged.
fn forgets(kind: Kind) -> bool {
    matches!(kind, Kind::OldDisk | Kind::LyingPowerLoss | Kind::Misdirect | Kind::RotLog)
}

fn needed(range: Option<Range>) -> Range {
    range.expect("Scenario::parse refuses a kind without the parameters it needs")
}

fn within(chance: &mut Chance, range: Range) -> u64 {
    chance.scaled(range.low, range.high)
}

#[cfg(test)]
mod tests;
