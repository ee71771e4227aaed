//! Random schedules: messages lost, repeated and reordered, nodes crashing with unwritten data,
//! partitions, transfers, stalled disks and changing members, with all invariants checked after
//! each step. In the end the faults stop, and the cluster must come to agree.

use std::collections::{BTreeMap, BTreeSet};

use pgraft_replica::{ConfChangeKind, Index, Input, Message, MessageKind, Role, Stop};

use crate::cluster::{Cluster, id};
use crate::dice::Dice;

/// Schedules of one test; together about ten seconds in the dev profile.
const SCHEDULES: u64 = 120;
/// Overrides it, for long runs.
const SCHEDULES_VARIABLE: &str = "REPLICA_SCHEDULES";
const ACTIONS: u32 = 4_000;
/// Seeds above it change members.
const FIRST_SEED_WITH_CONF: u64 = 10_000;
/// Ids of nodes that exist at all.
const NODES_MAX: u64 = 6;

/// How often the interesting things happened: a run must prove that it went somewhere.
#[derive(Debug, Default)]
struct Seen {
    elections: u64,
    applied: u64,
    reads: u64,
    snapshots: u64,
    conf_changes: u64,
    joint: u64,
    refused: u64,
    fetches: u64,
}

struct Schedule {
    cluster: Cluster,
    dice: Dice,
    with_conf: bool,
    /// Messages that may come once more.
    old: Vec<Message>,
    /// Pairs that cannot talk, in this direction.
    cut: BTreeSet<(u64, u64)>,
    /// Nodes that somebody tried to remove.
    removed: BTreeSet<u64>,
    seen: Seen,
}

impl Schedule {
    fn new(seed: u64, with_conf: bool) -> Schedule {
        Schedule::of(seed, with_conf, Cluster::new)
    }

    fn of(seed: u64, with_conf: bool, make: fn(u64, u64) -> Cluster) -> Schedule {
        let mut dice = Dice::new(seed);
        let voters = 3 + 2 * (dice.next() % 2);
        let mut cluster = make(seed, voters);
        if with_conf {
            for number in voters + 1..=NODES_MAX {
                cluster.join(number);
            }
        } else {
            cluster.fixed_voters = Some(voters);
        }
        Schedule {
            cluster,
            dice,
            with_conf,
            old: Vec::new(),
            cut: BTreeSet::new(),
            removed: BTreeSet::new(),
            seen: Seen::default(),
        }
    }

    fn run(&mut self) {
        for action in 0..ACTIONS {
            self.act();
            if action % 50 == 0 {
                self.cluster.check_logs();
            }
        }
        self.heal();
    }

    fn act(&mut self) {
        let up = self.cluster.up();
        let any = self.dice.pick(&up);
        match (self.dice.below(1000), any) {
            (0..60, Some(number)) => self.cluster.tick(number),
            (60..120, _) => up.iter().for_each(|number| self.cluster.tick(*number)),
            (120..600, _) => (0..=self.dice.below(3)).for_each(|_| self.deliver()),
            (600..740, Some(number)) => {
                let count = 1 + self.dice.below(3);
                self.cluster.persist(number, count);
            }
            (740..850, Some(number)) => {
                let count = 1 + self.dice.below(4);
                self.cluster.apply(number, count);
            }
            (850..870, Some(number)) => {
                self.cluster.fetch(number);
                self.cluster.pin(number);
            }
            (870..920, Some(number)) => self.request(number),
            (920..928, Some(number)) => self.crash(number),
            (928..955, _) => self.start(),
            (955..960, _) => self.repartition(),
            (960..975, Some(number)) => self.cluster.checkpoint(number),
            (975..990, Some(number)) => self.change(number),
            (990..1000, Some(number)) => self.disturb(number),
            _ => {}
        }
        self.bury();
    }

    fn deliver(&mut self) {
        if self.dice.chance(3)
            && let Some(at) = (!self.old.is_empty()).then(|| self.dice.below(self.old.len()))
        {
            let message = self.old[at].clone();
            return self.arrive(message);
        }
        if self.cluster.net.is_empty() {
            return;
        }
        // Mostly in order, as a connection would.
        let at = if self.dice.chance(70) { 0 } else { self.dice.below(self.cluster.net.len()) };
        let message = self.cluster.net.remove(at);
        if self.dice.chance(10) {
            self.old.push(message.clone());
        }
        if !self.dice.chance(4) {
            self.arrive(message);
        } else if message.kind == MessageKind::Snapshot && self.dice.chance(50) {
            // Otherwise only the leader's own watch notices that it was lost.
            let sent = Input::SnapshotSent { to: message.to, delivered: false };
            self.cluster.step(message.from.get(), sent);
        }
    }

    fn arrive(&mut self, message: Message) {
        if !self.cut.contains(&(message.from.get(), message.to.get())) {
            self.cluster.arrive(message);
        }
    }

    fn request(&mut self, any: u64) {
        let at = self.cluster.leader().filter(|_| self.dice.chance(80)).unwrap_or(any);
        match self.dice.below(10) {
            0..6 => {
                for _ in 0..=self.dice.below(3) {
                    self.cluster.propose(at, b"command");
                }
            }
            6..9 => {
                self.cluster.read(at);
            }
            _ => {
                let to = self.dice.chance(50).then(|| 1 + self.dice.next() % NODES_MAX);
                self.cluster.transfer(at, to);
            }
        }
    }

    fn crash(&mut self, number: u64) {
        let queued = self.cluster.node(number).writes.len();
        let survive = self.dice.below(queued + 1);
        let state = self.dice.chance(50);
        self.cluster.crash(number, survive, state);
    }

    fn start(&mut self) {
        let down: Vec<u64> =
            (1..=NODES_MAX).filter(|n| self.cluster.nodes.contains_key(n)).collect();
        let down: Vec<u64> = down.into_iter().filter(|n| !self.cluster.is_up(*n)).collect();
        let Some(number) = self.dice.pick(&down) else { return };
        // As if the log had been truncated long ago.
        if self.dice.chance(30) {
            let durable = self.cluster.node(number).disk.durable.applied;
            let below = self.dice.next() % (durable.0 + 1);
            self.cluster.node(number).disk.truncate(Index(below));
        }
        self.cluster.start(number);
    }

    fn repartition(&mut self) {
        self.cut.clear();
        if self.dice.chance(70) {
            return;
        }
        for from in 1..=NODES_MAX {
            for to in 1..=NODES_MAX {
                if self.dice.chance(25) {
                    self.cut.insert((from, to));
                    if self.dice.chance(60) {
                        self.cut.insert((to, from));
                    }
                }
            }
        }
    }

    fn change(&mut self, any: u64) {
        if !self.with_conf {
            return;
        }
        let at = self.cluster.leader().unwrap_or(any);
        let kinds = [ConfChangeKind::AddVoter, ConfChangeKind::AddLearner, ConfChangeKind::Remove];
        let view = self.cluster.view(at);
        let mut changes = Vec::new();
        for _ in 0..=self.dice.below(3) {
            let number = 1 + self.dice.next() % NODES_MAX;
            let kind = kinds[self.dice.below(kinds.len())];
            let is_voter = view.voters.contains(&id(number));
            let can_lose = !is_voter || view.voters.len() > 3;
            let fits = match kind {
                ConfChangeKind::AddVoter => true,
                ConfChangeKind::AddLearner => can_lose,
                ConfChangeKind::Remove => can_lose && self.dice.chance(10),
            };
            // An id is never used again.
            if fits && !self.removed.contains(&number) {
                changes.push((kind, number));
            }
            if fits && kind == ConfChangeKind::Remove {
                self.removed.insert(number);
            }
        }
        if !changes.is_empty() {
            self.cluster.change(at, &changes);
        }
    }

    fn disturb(&mut self, number: u64) {
        match self.dice.below(4) {
            0 => self.cluster.step(number, Input::TimeJumped),
            1 => {
                let peer = id(1 + self.dice.next() % NODES_MAX);
                self.cluster.step(number, Input::Unreachable(peer));
            }
            2 => {
                let for_ms = 50 * (self.dice.next() % 6);
                self.cluster.step(number, Input::DiskStalled { for_ms });
            }
            _ => self.cluster.step(number, Input::DiskStalled { for_ms: 0 }),
        }
    }

    /// Keeps the network from growing without bound.
    fn bury(&mut self) {
        let excess = self.cluster.net.len().saturating_sub(200);
        self.cluster.net.drain(..excess);
        let excess = self.old.len().saturating_sub(40);
        self.old.drain(..excess);
    }

    /// The faults end: somebody must lead, write, and everybody must agree.
    fn heal(&mut self) {
        self.cut.clear();
        self.cluster.net.clear();
        for number in self.cluster.nodes.keys().copied().collect::<Vec<u64>>() {
            if !self.cluster.is_up(number) {
                self.cluster.start(number);
            }
            let stop = self.cluster.node(number).stop.clone();
            let is_removed = stop == Some(Stop::Removed) && self.removed.contains(&number);
            assert!(stop.is_none() || is_removed, "node {number} stopped: {stop:?}");
            self.cluster.step(number, Input::DiskStalled { for_ms: 0 });
        }
        let mut ticket = None;
        for _ in 0..40 {
            self.cluster.run(20);
            if let Some(leader) = self.cluster.leader() {
                let proposed = self.cluster.propose(leader, b"the end");
                self.cluster.settle();
                if matches!(
                    self.cluster.answer_of(proposed),
                    Some(crate::cluster::Answer::Applied(_))
                ) {
                    ticket = Some(proposed);
                    break;
                }
            }
        }
        let ticket = ticket.expect("a healed cluster accepts a write");
        let index = self.cluster.assert_applied(ticket);
        // Long enough for the watch on snapshots to notice one that was lost.
        let mut behind = self.behind(index);
        for _ in 0..13 {
            if behind.is_none() {
                break;
            }
            self.cluster.run(100);
            behind = self.behind(index);
        }
        assert_eq!(behind, None, "a member stays behind {index}");
        let leader = self.cluster.leader().expect("somebody leads");
        let view = self.cluster.view(leader);
        assert!(!view.joint, "the cluster stays joint");
        self.cluster.check_logs();
        self.sum();
    }

    /// A member that has not applied `index`.
    fn behind(&self, index: Index) -> Option<u64> {
        let view = self.cluster.view(self.cluster.leader().expect("somebody leads"));
        let members = view.voters.iter().chain(&view.learners).map(|number| number.get());
        members.into_iter().find(|number| self.cluster.view(*number).applied < index)
    }

    fn sum(&mut self) {
        let trace = &self.cluster.trace;
        let count = |what: &str| trace.matches(what).count() as u64;
        self.seen.elections += count("is Leader");
        self.seen.applied += count("commands");
        self.seen.reads += count("answers read");
        self.seen.snapshots += count("snapshot ") - count("pins a snapshot ");
        self.seen.conf_changes += count("Add");
        self.seen.joint += count("leave joint");
        self.seen.refused += count("refuses");
        self.seen.fetches += count("fetches");
    }
}

/// A schedule's recordings, by node.
pub(crate) fn recordings(seed: u64, with_conf: bool) -> BTreeMap<u64, Vec<u8>> {
    let mut schedule = Schedule::of(seed, with_conf, Cluster::recorded);
    schedule.run();
    let recorders = schedule.cluster.recorders.expect("it was recorded");
    let end = |(number, mut recorder): (u64, pgraft_replay::Recorder)| {
        recorder.ended("the schedule is over");
        (number, recorder.take())
    };
    recorders.into_iter().map(end).collect()
}

fn run_all(first_seed: u64, with_conf: bool) {
    let mut total = Seen::default();
    let schedules = std::env::var(SCHEDULES_VARIABLE).ok();
    let schedules = schedules.and_then(|count| count.parse().ok()).unwrap_or(SCHEDULES);
    for seed in first_seed..first_seed + schedules {
        // Printed by the test runner when this seed fails.
        println!("reproduce: REPLICA_SEED={seed} cargo test -p pgraft-replica one_schedule");
        let mut schedule = Schedule::new(seed, with_conf);
        schedule.run();
        let seen = &schedule.seen;
        total.elections += seen.elections;
        total.applied += seen.applied;
        total.reads += seen.reads;
        total.snapshots += seen.snapshots;
        total.conf_changes += seen.conf_changes;
        total.joint += seen.joint;
        total.refused += seen.refused;
        total.fetches += seen.fetches;
    }
    println!("{total:?}");
    assert!(total.elections > schedules, "hardly anybody was elected: {total:?}");
    assert!(total.applied > 10 * schedules, "hardly anything was written: {total:?}");
    assert!(total.reads > schedules, "hardly anything was read: {total:?}");
    assert!(total.snapshots > 0, "no snapshot was installed: {total:?}");
    assert!(total.fetches > 0, "no old entries were fetched: {total:?}");
    assert!(total.refused > 0, "nothing was refused: {total:?}");
    if with_conf {
        assert!(total.conf_changes > schedules, "hardly any member changed: {total:?}");
        assert!(total.joint > 0, "no joint configuration was left: {total:?}");
    }
}

#[test]
fn random_schedules_keep_all_invariants() {
    run_all(1, false);
}

#[test]
fn random_schedules_with_changing_members_keep_all_invariants() {
    run_all(FIRST_SEED_WITH_CONF + 1, true);
}

/// The same seed twice is the same run, to the last message.
#[test]
fn same_seed_gives_same_trace() {
    let trace = |seed| {
        let mut schedule = Schedule::new(seed, true);
        schedule.run();
        schedule.cluster.trace
    };
    assert_eq!(trace(77), trace(77));
    assert_ne!(trace(77), trace(78));
}

/// A leader is still there after each schedule without faults.
#[test]
fn quiet_cluster_keeps_its_leader() {
    let mut cluster = Cluster::led(5, 3);
    let term = cluster.view(1).term;
    cluster.run(500);
    assert_eq!((cluster.view(1).role, cluster.view(1).term), (Role::Leader, term));
}

/// One schedule again: `REPLICA_SEED=10042 cargo test -p pgraft-replica one_schedule`. Its trace
/// is printed when it fails.
#[test]
fn one_schedule() {
    let seed = std::env::var("REPLICA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or(1);
    println!("seed {seed}");
    let mut schedule = Schedule::new(seed, seed > FIRST_SEED_WITH_CONF);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| schedule.run()));
    if let Err(panic) = outcome {
        println!("{}", schedule.cluster.trace);
        std::panic::resume_unwind(panic);
    }
}
