//! The model: states, and what leads from one to the next.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use pgraft_sim_disk::{Call, Image, Moment, SimDisk};
use stateright::{Model, Property};
use xxhash_rust::xxh3::Xxh3;

use super::node::{self, Bug};
use super::run::{Ended, Failing, Process};
use super::spec::Spec;
use super::words::{Action, Cut, Death, Op, Step};
use super::{fates, properties};

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Faults {
    /// The power fails once, in the middle of an operation.
    Power {
        /// Not all subsets of what is un-synced are tried, but the beginnings of it.
        few: bool,
    },
    /// The power fails in an operation and then in the start; few subsets are tried of both.
    Starts,
    /// After some quiet steps a write or sync fails, the disk is full, or the process is killed;
    /// and then the power fails.
    Errors {
        /// Steps before that.
        quiet: usize,
    },
    /// All of it, again and again: for walks.
    All,
}

/// The store beside its specification.
#[derive(Clone, Debug)]
pub(super) struct Stores {
    pub(super) faults: Faults,
    pub(super) bug: Bug,
    pub(super) entries_max: u64,
    pub(super) term_max: u64,
}

/// Where a process came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    Created,
    /// A power loss; of the operation under way, was there anything, and of what was applied, all?
    Power {
        kept: bool,
        applied_lost: bool,
    },
    /// What the page cache held.
    Cache {
        kept: bool,
        failed_sync: bool,
    },
}

/// A node that runs.
#[derive(Clone)]
pub(super) struct Up {
    /// The disk on which it started.
    pub(super) base: Arc<Image>,
    pub(super) digest: u64,
    /// What the start was allowed to find.
    pub(super) allowed: Arc<[Spec]>,
    pub(super) since: Vec<Step>,
    pub(super) spec: Spec,
    pub(super) origin: Origin,
    /// Steps since the beginning of the path in which nothing went wrong.
    pub(super) quiet: usize,
    pub(super) losses: u8,
}

/// What is left of one that does not.
#[derive(Clone)]
pub(super) struct Down {
    left: Left,
    pub(super) digest: u64,
    pub(super) allowed: Arc<[Spec]>,
    pub(super) death: Death,
    /// It died while it started.
    pub(super) starting: bool,
    pub(super) losses: u8,
}

/// A disk, made when it is needed: many of them wait in the queue of a search.
#[derive(Clone)]
enum Left {
    Image(Arc<Image>),
    Cut(Arc<Cut>),
}

#[derive(Clone)]
pub(super) enum State {
    Up(Up),
    Down(Down),
    /// The store differs from the specification.
    Wrong(String),
}

/// The same in every run; fast even where this crate is not optimised.
fn digest(value: &impl Hash) -> u64 {
    let mut hasher = Xxh3::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Left {
    fn image(&self) -> Arc<Image> {
        match self {
            Left::Image(image) => Arc::clone(image),
            Left::Cut(cut) => Arc::new(cut.image.after_power_loss(&cut.fates)),
        }
    }
}

impl Up {
    fn went_wrong(&self) -> bool {
        self.origin != Origin::Created || self.since.iter().any(|step| step.full_at.is_some())
    }

    fn after(&self, step: Step, spec: Spec) -> State {
        let mut next = self.clone();
        next.since.push(step);
        next.spec = spec;
        next.quiet += 1;
        State::Up(next)
    }

    fn process(&self, bug: Bug) -> Process<'_> {
        Process { base: &self.base, allowed: &self.allowed, since: &self.since, bug }
    }
}

impl Stores {
    /// Whether a power loss is tried in `up`, and whether with few of its fates.
    fn power(&self, up: &Up) -> Option<bool> {
        match self.faults {
            Faults::Power { few } => (up.losses == 0).then_some(few),
            Faults::Starts => (up.losses == 0).then_some(true),
            Faults::Errors { .. } => None,
            Faults::All => Some(true),
        }
    }

    fn initial(&self, since: &[Op]) -> State {
        let sim = SimDisk::new(1);
        node::create(&sim);
        let base = Arc::new(sim.image().settled());
        let mut spec = Spec::new();
        let allowed: Arc<[Spec]> = [spec.clone()].into();
        for op in since {
            spec = spec.after(*op);
        }
        let since = since.iter().map(|op| Step { op: *op, full_at: None }).collect();
        let (digest, origin, quiet) = (digest(&*base), Origin::Created, 0);
        State::Up(Up { base, digest, allowed, since, spec, origin, quiet, losses: 0 })
    }

    fn actions_up(&self, up: &Up, actions: &mut Vec<Action>) {
        let process = up.process(self.bug);
        let errors_only = matches!(self.faults, Faults::Errors { .. });
        if errors_only && up.went_wrong() {
            // It remains to be seen whether what was found or done lasts.
            if up.losses == 0 {
                let ended = process.step(Step { op: Op::Restart, full_at: None });
                all_fates(&ended.before, true, |cut| actions.push(power_loss(cut)));
            }
            return;
        }
        let ops =
            Op::ALL.into_iter().filter(|op| up.spec.allows(*op, self.entries_max, self.term_max));
        let mut idle = None;
        for op in ops {
            let step = Step { op, full_at: None };
            let ended = Arc::new(process.step(step));
            let goes_on = !matches!(self.faults, Faults::Errors { quiet } if up.quiet >= quiet);
            if goes_on || ended.outcome.is_err() {
                actions.push(Action::Do { step, ended: Some(Arc::clone(&ended)) });
            }
            if ended.outcome.is_err() {
                continue;
            }
            if let Some(few) = self.power(up) {
                cuts(&ended.moments, few, |before, cut| {
                    actions.push(Action::PowerLoss { during: Some(op), before, cut });
                });
            }
            if errors_only || self.faults == Faults::All {
                errors(op, &ended, actions);
            }
            idle = Some(ended);
        }
        // Every state can restart, so there is always one that shows the disk as it is.
        if let (Some(ended), Some(few)) = (idle, self.power(up)) {
            all_fates(&ended.before, few, |cut| actions.push(power_loss(cut)));
        }
    }

    fn actions_down(&self, down: &Down, actions: &mut Vec<Action>) {
        let base = down.left.image();
        let process = Process { base: &base, allowed: &down.allowed, since: &[], bug: self.bug };
        let ended = Arc::new(process.start());
        actions.push(Action::Start { ended: Arc::clone(&ended) });
        let few = match self.faults {
            Faults::Starts if down.losses < 2 => true,
            Faults::All => true,
            Faults::Power { .. } | Faults::Starts | Faults::Errors { .. } => return,
        };
        if ended.outcome.is_ok() {
            cuts(&ended.moments, few, |before, cut| {
                actions.push(Action::PowerLossInStart { before, cut });
            });
            all_fates(&ended.image, few, |cut| {
                actions.push(Action::PowerLossInStart { before: None, cut });
            });
        }
    }

    fn next_up(&self, up: &Up, action: Action) -> Option<State> {
        // What an operation under way may have become: nothing of it, or all of it.
        let both = |during: Op| -> Arc<[Spec]> {
            let after = up.spec.after(during);
            if self.bug == Bug::EarlyAcknowledgement {
                return [after].into();
            }
            if during == Op::Restart {
                return [up.spec.clone()].into();
            }
            [up.spec.clone(), after].into()
        };
        match action {
            Action::Do { step, ended } => {
                let ended = ended.unwrap_or_else(|| Arc::new(up.process(self.bug).step(step)));
                Some(match &ended.outcome {
                    Ok(spec) => up.after(step, spec.clone()),
                    Err(text) => State::Wrong(text.clone()),
                })
            }
            Action::PowerLoss { during, cut, .. } => {
                let allowed = during.map_or_else(|| [up.spec.clone()].into(), both);
                Some(without_power(cut, allowed, false, up.losses + 1))
            }
            Action::Kill { during, image, .. } => {
                Some(left(image, both(during), Death::Killed, up.losses))
            }
            Action::Failure { during, failing, evicted } => {
                Some(match up.process(self.bug).fail(during, failing)? {
                    Ok(dead) => {
                        let sync = matches!(failing, Failing::Sync(_));
                        let image = if evicted { dead.evicted } else { dead.image };
                        left(image, both(during), Death::Failed { sync, evicted }, up.losses)
                    }
                    Err(text) => State::Wrong(text),
                })
            }
            Action::Start { .. } | Action::PowerLossInStart { .. } => None,
        }
    }

    fn next_down(&self, down: &Down, action: Action) -> Option<State> {
        match action {
            Action::Start { ended } => Some(match &ended.outcome {
                Ok(spec) => started(down, &ended, spec),
                Err(text) => State::Wrong(text.clone()),
            }),
            Action::PowerLossInStart { cut, .. } => {
                let allowed = Arc::clone(&down.allowed);
                Some(without_power(cut, allowed, true, down.losses + 1))
            }
            _ => None,
        }
    }
}

/// Everything that may go wrong in `op` while the machine runs on.
fn errors(op: Op, ended: &Ended, actions: &mut Vec<Action>) {
    let count = |call| ended.moments.iter().filter(|moment| moment.call == call).count() as u64;
    let (writes, syncs) = (count(Call::Write), count(Call::Sync));
    for at in 0..writes {
        actions.push(Action::Failure { during: op, failing: Failing::Write(at), evicted: false });
    }
    for (at, evicted) in (0..syncs).flat_map(|at| [(at, false), (at, true)]) {
        actions.push(Action::Failure { during: op, failing: Failing::Sync(at), evicted });
    }
    for (at, moment) in ended.moments.iter().enumerate() {
        let image = Arc::new(moment.image.clone());
        actions.push(Action::Kill { during: op, before: (at, moment.call), image });
    }
    // A start that finds the disk full is not a node that goes on.
    if op != Op::Restart {
        let full = (0..writes).map(|at| Step { op, full_at: Some(at) });
        actions.extend(full.map(|step| Action::Do { step, ended: None }));
    }
}

fn power_loss(cut: Arc<Cut>) -> Action {
    Action::PowerLoss { during: None, before: None, cut }
}

/// Everything a power loss may do before each sync.
fn cuts(moments: &[Moment], few: bool, mut cut: impl FnMut(Option<(usize, Call)>, Arc<Cut>)) {
    for (at, moment) in moments.iter().enumerate() {
        // A deletion may sync the directory.
        if matches!(moment.call, Call::Sync | Call::Delete) {
            all_fates(&moment.image, few, |found| cut(Some((at, moment.call)), found));
        }
    }
}

fn all_fates(image: &Image, few: bool, mut cut: impl FnMut(Arc<Cut>)) {
    for fates in fates::of(image, few) {
        cut(Arc::new(Cut { image: image.clone(), fates }));
    }
}

fn without_power(cut: Arc<Cut>, allowed: Arc<[Spec]>, starting: bool, losses: u8) -> State {
    let left = Left::Cut(cut);
    let Left::Cut(cut) = &left else { unreachable!("made above") };
    let digest = digest(&*left.image());
    let torn = cut.fates.iter().any(|fate| matches!(fate, pgraft_sim_disk::Fate::Torn(_)));
    let reordered = cut.fates.windows(2).any(|pair| {
        pair[0] == pgraft_sim_disk::Fate::Lost && pair[1] != pgraft_sim_disk::Fate::Lost
    });
    let death = Death::Power { torn, reordered };
    State::Down(Down { left, digest, allowed, death, starting, losses })
}

fn left(image: Arc<Image>, allowed: Arc<[Spec]>, death: Death, losses: u8) -> State {
    let digest = digest(&*image);
    let left = Left::Image(image);
    State::Down(Down { left, digest, allowed, death, starting: false, losses })
}

fn started(down: &Down, ended: &Ended, spec: &Spec) -> State {
    let first = down.allowed.first().expect("a start is allowed to find something");
    let (same, least) = (spec.history == first.history, spec.applied < first.applied);
    let kept =
        down.allowed.len() > 1 && !(same && (spec.term, spec.commit) == (first.term, first.commit));
    let (base, allowed, origin): (_, Arc<[Spec]>, _) = match down.death {
        // The machine is up for a while and writes everything back; what follows begins there.
        Death::Power { .. } => {
            let origin = Origin::Power { kept, applied_lost: least };
            (Arc::new(ended.image.settled()), [spec.clone()].into(), origin)
        }
        // What was in the page cache is still there only, and a power loss may come next.
        Death::Killed | Death::Failed { .. } => {
            let failed_sync = matches!(down.death, Death::Failed { sync: true, .. });
            let origin = Origin::Cache { kept, failed_sync };
            (down.left.image(), Arc::clone(&down.allowed), origin)
        }
    };
    let digest = digest(&*base);
    let (spec, losses, since, quiet) = (spec.clone(), down.losses, Vec::new(), 0);
    State::Up(Up { base, digest, allowed, since, spec, origin, quiet, losses })
}

impl Model for Stores {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        use Op::*;
        vec![
            self.initial(&[]),
            // The WALs are full of frames, and no sync covers what is applied.
            self.initial(&[Extend, Append, Apply]),
            // The log begins after its second entry.
            self.initial(&[Extend, Append, Apply, Checkpoint, Append]),
        ]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        match state {
            State::Up(up) => self.actions_up(up, actions),
            State::Down(down) => self.actions_down(down, actions),
            State::Wrong(_) => {}
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        match last {
            State::Up(up) => self.next_up(up, action),
            State::Down(down) => self.next_down(down, action),
            State::Wrong(_) => None,
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self)
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match self {
            State::Up(up) => {
                let Up { base: _, digest, allowed, since, spec, origin, quiet, losses } = up;
                (0_u8, digest, allowed, since, spec, origin, quiet, losses).hash(hasher);
            }
            State::Down(down) => {
                let Down { left: _, digest, allowed, death, starting, losses } = down;
                (1_u8, digest, allowed, death, starting, losses).hash(hasher);
            }
            State::Wrong(text) => (2_u8, text).hash(hasher),
        }
    }
}

impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        digest(self) == digest(other)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Up(up) => write!(f, "up: {:?}", up.spec),
            State::Down(down) => write!(f, "{:?}, was: {:?}", down.death, down.allowed),
            State::Wrong(text) => write!(f, "WRONG: {text}"),
        }
    }
}
