//! One simulated process: whether it lives, is stopped or is dead, what its clocks show, and the
//! points at which it can die. Not here: what runs in it, and the disk it leaves behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use pgraft_node::Ended;
use pgraft_sim_disk::SimDisk;
use pgraft_watch as watch;

use crate::plan::Point;
use crate::seed::{Chance, Seed};

/// Unix time at which every simulation begins, milliseconds.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// Something that ends a process, or what it was when it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Not started, or between death and restart.
    Down,
    /// Running, or stopped by a pause.
    Up,
    /// Reached a point at which it was to die; nothing of it happens any more.
    Dead,
    /// Ended by itself; `None`: it was asked to stop.
    Ended(Option<Ended>),
}

/// A process of a node. Everything that the process does asks here whether it still may.
pub(super) struct Process {
    /// The node's id.
    pub(super) node: u64,
    /// The disk of the machine.
    pub(super) disk: SimDisk,
    dead: AtomicBool,
    inner: Mutex<Inner>,
    /// Ends of connections so far; the next number.
    ends: AtomicU64,
    /// Ends that the process held when it died, until they are closed.
    left_open: Mutex<BTreeMap<u64, Box<dyn Send>>>,
}

/// One end of a connection. The tasks of a dead process are dropped in an order that nobody
/// decides (tokio's, by numbers that count through the whole program), and every end that closes
/// is a message on the network: so a dead process closes its ends later, in the order in which
/// they were made.
pub(super) struct End<T: Send + 'static> {
    end: Option<T>,
    number: u64,
    process: Arc<Process>,
}

impl<T: Send + 'static> End<T> {
    /// A new end, held by `process`.
    pub(super) fn new(end: T, process: &Arc<Process>) -> End<T> {
        let number = process.ends.fetch_add(1, Ordering::Relaxed);
        End { end: Some(end), number, process: Arc::clone(process) }
    }

    /// The end itself.
    pub(super) fn get(&mut self) -> &mut T {
        self.end.as_mut().expect("there until it is dropped")
    }
}

impl<T: Send + 'static> Drop for End<T> {
    fn drop(&mut self) {
        if let (Some(end), true) = (self.end.take(), self.process.is_dead()) {
            self.process.left_open().insert(self.number, Box::new(end));
        }
    }
}

/// Closes what a dead process left open. Held by the first future of a host, which is dropped last.
pub(super) struct LastRites(pub(super) Arc<Process>);

impl Drop for LastRites {
    fn drop(&mut self) {
        let ends = std::mem::take(&mut *self.0.left_open());
        drop(ends);
    }
}

struct Inner {
    condition: Condition,
    paused: bool,
    wakers: Vec<Waker>,
    ordered: Option<(Point, u64)>,
    clock: Clock,
    job_ms_max: u64,
    chance: Chance,
    stop: Option<watch::Sender<bool>>,
}

/// What a node believes about time: a line through simulated time that faults may bend.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Simulated time at which the line was last bent, and what the clock showed then.
    bent_at: Duration,
    shown_ns: u64,
    /// Speed, per mille of real.
    speed: u64,
    /// Difference of the wall clock, milliseconds.
    wall_offset_ms: i64,
    /// Since when the clock stands still.
    frozen_since: Option<Duration>,
}

impl Clock {
    fn shows_ns(&self, now: Duration) -> u64 {
        let until = self.frozen_since.unwrap_or(now);
        let passed = until.saturating_sub(self.bent_at).as_nanos() as u64;
        self.shown_ns + passed / 1000 * self.speed
    }

    fn bend(&mut self, now: Duration) {
        self.shown_ns = self.shows_ns(now);
        self.bent_at = now;
    }
}

impl Process {
    /// A process that has not been started, on an empty disk.
    pub(super) fn new(node: u64, seed: Seed) -> Process {
        let seed = seed.derive(&format!("process {node}"));
        let clock = Clock {
            bent_at: Duration::ZERO,
            shown_ns: 1_000_000_000 * node,
            speed: 1000,
            wall_offset_ms: 0,
            frozen_since: None,
        };
        Process {
            node,
            disk: SimDisk::new(seed.derive("disk").number()),
            dead: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                condition: Condition::Down,
                paused: false,
                wakers: Vec::new(),
                ordered: None,
                clock,
                job_ms_max: 0,
                chance: seed.stream("chance"),
                stop: None,
            }),
            ends: AtomicU64::new(0),
            left_open: Mutex::default(),
        }
    }

    fn left_open(&self) -> MutexGuard<'_, BTreeMap<u64, Box<dyn Send>>> {
        self.left_open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whatever it still does is done by a dead one.
    pub(super) fn fall_silent(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process starts; what comes is told when it is asked to stop.
    pub(super) fn boot(&self) -> watch::Receiver<bool> {
        let (stop, stopping) = watch::channel(false);
        let mut inner = self.inner();
        inner.condition = Condition::Up;
        inner.stop = Some(stop);
        self.dead.store(false, Ordering::Relaxed);
        stopping
    }

    /// Asks it to stop, as a signal does.
    pub(super) fn ask_to_stop(&self) {
        if let Some(stop) = &self.inner().stop {
            stop.send_replace(true);
        }
    }

    /// How it is.
    pub(super) fn condition(&self) -> Condition {
        self.inner().condition.clone()
    }

    /// It ended by itself.
    pub(super) fn ended(&self, how: Option<Ended>) {
        let mut inner = self.inner();
        if inner.condition == Condition::Up {
            inner.condition = Condition::Ended(how);
        }
    }

    /// Its host is gone; it can be started again.
    pub(super) fn buried(&self) {
        let mut inner = self.inner();
        inner.condition = Condition::Down;
        inner.ordered = None;
        inner.wakers.clear();
        inner.stop = None;
    }

    /// It dies here and now: the disk is frozen first, so that nothing it still does can be kept.
    pub(super) fn die(&self) {
        self.disk.freeze();
        self.dead.store(true, Ordering::Relaxed);
        self.inner().condition = Condition::Dead;
    }

    /// Whether nothing of it may happen any more.
    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Lets it die at the `after`-th point of this kind.
    pub(super) fn die_at(&self, point: Point, after: u64) {
        if point == Point::Disk {
            self.disk.freeze_in(after);
        } else {
            self.inner().ordered = Some((point, after));
        }
    }

    /// A point at which it may be to die. True when it is dead.
    pub(super) fn passes(&self, point: Point) -> bool {
        if self.is_dead() {
            return true;
        }
        let mut inner = self.inner();
        match &mut inner.ordered {
            Some((ordered, left)) if *ordered == point && *left == 0 => {}
            Some((ordered, left)) if *ordered == point => {
                *left -= 1;
                return false;
            }
            _ => return false,
        }
        drop(inner);
        self.die();
        true
    }

    /// Takes back where it was to die.
    pub(super) fn cancel_orders(&self) {
        self.inner().ordered = None;
    }

    /// Dies when its disk has reached the point at which it was to freeze. True when it does.
    pub(super) fn follow_disk(&self) -> bool {
        let dies = !self.is_dead() && self.condition() == Condition::Up && self.disk.frozen();
        if dies {
            self.die();
        }
        dies
    }

    /// Stops all that it does; `clocks`: and what its clocks show.
    pub(super) fn pause(&self, now: Duration, clocks: bool) {
        let mut inner = self.inner();
        inner.paused = true;
        if clocks && inner.clock.frozen_since.is_none() {
            inner.clock.frozen_since = Some(now);
        }
    }

    /// Goes on.
    pub(super) fn resume(&self, now: Duration) {
        let mut inner = self.inner();
        inner.paused = false;
        if inner.clock.frozen_since.is_some() {
            inner.clock.bend(now);
            inner.clock.frozen_since = None;
        }
        inner.wakers.drain(..).for_each(Waker::wake);
    }

    /// Whether it may run now; when not, `waker` is woken when it may.
    pub(super) fn may_run(&self, waker: &Waker) -> bool {
        if self.is_dead() {
            return false;
        }
        let mut inner = self.inner();
        if inner.paused {
            inner.wakers.push(waker.clone());
        }
        !inner.paused
    }

    /// The wall clock jumps.
    pub(super) fn jump(&self, ms: i64) {
        self.inner().clock.wall_offset_ms += ms;
    }

    /// All its clocks run at this speed from now on, per mille.
    pub(super) fn set_speed(&self, now: Duration, speed: u64) {
        let mut inner = self.inner();
        inner.clock.bend(now);
        inner.clock.speed = speed;
    }

    /// Speed of its clocks, per mille.
    pub(super) fn speed(&self) -> u64 {
        self.inner().clock.speed
    }

    /// Nanoseconds since its machine was switched on, as it believes.
    pub(super) fn boottime_ns(&self, now: Duration) -> u64 {
        self.inner().clock.shows_ns(now)
    }

    /// Unix time as it believes.
    pub(super) fn wall_ms(&self, now: Duration) -> u64 {
        let inner = self.inner();
        let ms = EPOCH_MS + inner.clock.shows_ns(now) / 1_000_000;
        ms.saturating_add_signed(inner.clock.wall_offset_ms)
    }

    /// Jobs of its disk take up to this much longer.
    pub(super) fn set_job_ms_max(&self, ms: u64) {
        self.inner().job_ms_max = ms;
    }

    /// How long the next job takes: mostly nothing, seldom a moment, more on a slow disk.
    pub(super) fn job_takes(&self) -> Duration {
        let mut inner = self.inner();
        let slow = inner.job_ms_max;
        let ms = if slow > 0 {
            inner.chance.below(slow + 1)
        } else if inner.chance.permille(250) {
            inner.chance.below(6)
        } else {
            0
        };
        Duration::from_millis(ms)
    }

    /// A number that nobody but the seed foresees.
    pub(super) fn random(&self) -> u64 {
        self.inner().chance.number()
    }
}
