//! Runs the process on a disk: up to a point, and from there with something going wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pgraft_sim_disk::{Failure, Image, Moment, SimDisk, seed_sqlite_randomness};

use super::node::{Bug, Node, Stop};
use super::spec::Spec;
use super::words::{Op, Step};

/// A process: the disk on which it started, what it should have found there, and what it did since.
#[derive(Clone, Copy)]
pub(super) struct Process<'a> {
    pub(super) base: &'a Image,
    /// What the start may find: one of these.
    pub(super) allowed: &'a [Spec],
    pub(super) since: &'a [Step],
    pub(super) bug: Bug,
}

/// How a run ended, without any crash.
pub(super) struct Ended {
    /// What the store should hold now; `Err` says where it differs.
    pub(super) outcome: Result<Spec, String>,
    /// The disk when it ended.
    pub(super) image: Image,
    /// The disk before each changing call of what was recorded.
    pub(super) moments: Vec<Moment>,
    /// The disk before the first of these.
    pub(super) before: Image,
}

/// What a process leaves that ended because its disk failed.
pub(super) struct Dead {
    pub(super) image: Arc<Image>,
    /// The same once the kernel has dropped its clean pages.
    pub(super) evicted: Arc<Image>,
}

/// What ends a process: the number of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failing {
    Write(u64),
    Sync(u64),
}

impl Process<'_> {
    fn disk(&self) -> SimDisk {
        // The salts of a WAL are part of what is explored; with one thread they repeat.
        seed_sqlite_randomness(1);
        let sim = SimDisk::new(1);
        sim.restore(self.base);
        if self.bug == Bug::SynchronousNormal {
            sim.defer_syncs("/node/raft.db-wal", "/node/raft.db");
        }
        sim
    }

    /// The start itself, recorded.
    pub(super) fn start(&self) -> Ended {
        let sim = self.disk();
        let before = sim.image();
        sim.record_moments();
        let outcome = guarded(|| self.begin(&sim).map(|(_, spec)| spec));
        ended(&sim, outcome, before)
    }

    /// One more step, recorded.
    pub(super) fn step(&self, step: Step) -> Ended {
        let sim = self.disk();
        let mut before = Image::default();
        let outcome = guarded(|| {
            let (mut node, spec) = self.live(&sim)?;
            before = sim.image();
            sim.record_moments();
            self.advance(&sim, &mut node, &spec, step)
        });
        ended(&sim, outcome, before)
    }

    /// One more step in which a write or a sync fails. `None` when there are not so many.
    pub(super) fn fail(&self, op: Op, failing: Failing) -> Option<Result<Dead, String>> {
        let sim = self.disk();
        let outcome = guarded(|| {
            let (mut node, spec) = self.live(&sim)?;
            match failing {
                Failing::Write(at) => sim.fail_write_in(at, Failure::Io),
                Failing::Sync(at) => sim.fail_sync_in(at),
            }
            match self.carry_out(&sim, &mut node, &spec, op) {
                Err(Stop::Fault(_)) if !sim.failure_ordered() => {}
                Ok(_) if sim.failure_ordered() => {}
                Ok(_) => {
                    return Err(Stop::Wrong(format!("{failing:?} of {op:?} failed, unnoticed")));
                }
                Err(other) => return Err(other),
            }
            sim.freeze();
            Ok(spec)
        });
        match outcome {
            Err(text) => Some(Err(text)),
            Ok(_) if sim.failure_ordered() => None,
            Ok(_) => {
                sim.process_crash();
                let image = Arc::new(sim.image());
                sim.drop_caches();
                Some(Ok(Dead { image, evicted: Arc::new(sim.image()) }))
            }
        }
    }

    /// Starts, and compares what is found.
    fn begin(&self, sim: &SimDisk) -> Result<(Node, Spec), Stop> {
        let histories: Vec<Vec<u64>> =
            self.allowed.iter().map(|spec| spec.history.clone()).collect();
        let (node, found) = Node::start(sim, &histories, self.bug)?;
        let mut why = String::new();
        for spec in self.allowed {
            match self.expected(spec).check(&found) {
                Ok(spec) => return Ok((node, spec)),
                Err(text) => {
                    let or = if why.is_empty() { "" } else { "; or: " };
                    why = why + or + &text;
                }
            }
        }
        Err(Stop::Wrong(why))
    }

    /// Starts and does what was done since.
    fn live(&self, sim: &SimDisk) -> Result<(Node, Spec), Stop> {
        let (mut node, mut spec) = self.begin(sim)?;
        for step in self.since {
            spec = self.advance(sim, &mut node, &spec, *step)?;
        }
        Ok((node, spec))
    }

    fn advance(
        &self,
        sim: &SimDisk,
        node: &mut Node,
        spec: &Spec,
        step: Step,
    ) -> Result<Spec, Stop> {
        if let Some(at) = step.full_at {
            sim.fail_write_in(at, Failure::Full);
            match self.carry_out(sim, node, spec, step.op) {
                // The write went through although something after it had to wait for space.
                Ok(after) => return self.compare(node, &after),
                Err(Stop::Full(_)) if node.running() => {
                    self.compare(node, spec)?;
                }
                // The snapshot is installed or not, and the process must find out by a start.
                Err(Stop::Full(_)) => {
                    let allowed = [spec.clone(), spec.after(step.op)];
                    return self.restart(sim, node, &allowed);
                }
                Err(other) => return Err(other),
            }
        }
        let after = self.carry_out(sim, node, spec, step.op)?;
        self.compare(node, &after)
    }

    fn carry_out(&self, sim: &SimDisk, node: &mut Node, spec: &Spec, op: Op) -> Result<Spec, Stop> {
        let after = spec.after(op);
        if op == Op::Restart {
            return self.restart(sim, node, std::slice::from_ref(spec));
        }
        node.carry_out(op, spec, &after)?;
        Ok(after)
    }

    fn restart(&self, sim: &SimDisk, node: &mut Node, allowed: &[Spec]) -> Result<Spec, Stop> {
        sim.process_crash();
        let (started, found) = Process { allowed, ..*self }.begin(sim)?;
        *node = started;
        Ok(found)
    }

    fn compare(&self, node: &mut Node, spec: &Spec) -> Result<Spec, Stop> {
        let found = node.observe(std::slice::from_ref(&spec.history), None)?;
        self.expected(spec).check(&found).map_err(Stop::Wrong)?;
        Ok(spec.clone())
    }

    /// A canary of the comparison: a specification that is wrong.
    fn expected(&self, spec: &Spec) -> Spec {
        let mut spec = spec.clone();
        if self.bug == Bug::SpecOffByOne && spec.last() > 1 {
            spec.history.pop();
        }
        spec
    }
}

fn ended(sim: &SimDisk, outcome: Result<Spec, String>, before: Image) -> Ended {
    Ended { outcome, image: sim.image(), moments: sim.take_moments(), before }
}

/// A panic of the store is a difference like any other.
fn guarded(run: impl FnOnce() -> Result<Spec, Stop>) -> Result<Spec, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(spec)) => Ok(spec),
        Ok(Err(Stop::Wrong(text))) => Err(text),
        Ok(Err(Stop::Full(text))) => Err(format!("no space where there is some: {text}")),
        Ok(Err(Stop::Fault(text))) => Err(format!("a fault of a sound disk: {text}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
            Err(format!("the store panicked: {text}"))
        }
    }
}
