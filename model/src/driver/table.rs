//! States of nodes and what follows from each input, found once and remembered.
//!
//! A replica cannot be copied. Its state is known by its canonical value and by one sequence of
//! inputs that leads to it; to take another step from it, that sequence is carried out again on a
//! new replica. What came out is remembered: most steps of the model are looked up here.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use pgraft_replica::invariants::{self, LogShape};
use pgraft_replica::{EntryKind, View};

use super::history::{History, decides, voters};
use super::network::Item;
use super::node::{Input, Live, Node, Outcome};
use super::rules::{Rule, Violation};
use super::scope::Scope;
use super::words::{Key, Lookup, Words};

/// Replicas kept at the end of their sequence of inputs.
const KEPT: usize = 512;

/// An item with a number: equal items have equal numbers.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) id: u32,
    pub(super) item: Item,
}

/// What moves a node.
#[derive(Clone)]
pub(super) enum Cause {
    Input(Input),
    Arrival(Arc<Letter>),
}

impl Cause {
    fn code(&self) -> u64 {
        let input = match self {
            Cause::Arrival(letter) => return u64::from(letter.id),
            Cause::Input(input) => *input,
        };
        let (kind, one, two) = match input {
            Input::Start => (1, 0, 0),
            Input::Crash { writes, state } => (2, writes, u8::from(state)),
            Input::Timeout => (3, 0, 0),
            Input::Doubt => (4, 0, 0),
            Input::Beat => (5, 0, 0),
            Input::Sleep => (6, 0, 0),
            Input::Propose { ticket, command } => (7, ticket, command),
            Input::Read { ticket } => (8, ticket, 0),
            Input::Change { ticket, change } => (9, ticket, change),
            Input::Transfer { ticket, to } => (10, ticket, to),
            Input::Write => (11, 0, 0),
            Input::Apply => (12, 0, 0),
            Input::Checkpoint => (13, 0, 0),
            Input::Unreachable { peer } => (14, peer, 0),
            Input::SnapshotFailed { to } => (15, to, 0),
        };
        kind << 48 | u64::from(one) << 8 | u64::from(two)
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Cause) -> bool {
        self.code() == other.code()
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Input(input) => write!(f, "{input:?}"),
            Cause::Arrival(letter) => write!(f, "gets {}", letter.item),
        }
    }
}

/// A state of a node.
pub(super) struct Local {
    pub(super) id: u32,
    #[cfg(test)]
    pub(super) key: Key,
    /// Tells the causes that led to it first from all others.
    #[cfg(test)]
    pub(super) way: Key,
    pub(super) number: u8,
    pub(super) view: Option<View>,
    pub(super) shape: LogShape,
    log: u32,
    elector: u32,
    pub(super) writes: u8,
    pub(super) applies: u8,
    /// state.db would lose something at a crash.
    pub(super) unsafe_state: bool,
    pub(super) durable_term: u64,
    pub(super) elapsed: u64,
    pub(super) sending: Vec<u8>,
    pub(super) stopped: bool,
    /// How it was reached first.
    from: Option<(Arc<Local>, Cause)>,
    /// All of it, when no replica runs.
    down: Option<Node>,
}

/// What a cause makes of a node.
pub(super) struct Transition {
    id: u32,
    pub(super) to: Arc<Local>,
    pub(super) letters: Vec<Arc<Letter>>,
    pub(super) out: Outcome,
    /// Nothing at all.
    pub(super) idle: bool,
}

/// A history with a number.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) id: u32,
    pub(super) history: History,
}

type Checked<T> = Result<T, Arc<Violation>>;

/// The content of a log.
struct Log {
    truncated: u64,
    /// Term and content, from the first index on.
    entries: Vec<(u64, Key)>,
    shape: LogShape,
}

/// What decides whether a node could win an election, and whom it would elect.
#[derive(Clone, Copy)]
struct Elector {
    /// It may campaign.
    campaigns: bool,
    voters: (u8, u8),
    /// Term and index of its last entry.
    last: (u64, u64),
}

/// All that was found.
pub(super) struct Table {
    scope: Scope,
    /// A field that the canonical value lacks: a planted bug.
    pub(super) forget: Option<&'static str>,
    locals: Lookup<Key, Arc<Local>>,
    letters: Lookup<Key, Arc<Letter>>,
    transitions: Lookup<(u32, u64), Arc<Transition>>,
    transitions_made: u32,
    pasts: Lookup<Key, Arc<Past>>,
    pasts_after: Lookup<(u32, u32), Checked<Arc<Past>>>,
    log_ids: Lookup<Key, u32>,
    logs: Vec<Log>,
    pairs: Lookup<(u32, u32), Option<Arc<Violation>>>,
    elector_ids: Lookup<Key, u32>,
    electors: Vec<Elector>,
    elections: Lookup<Key, bool>,
    kept: Lookup<u32, Live>,
    kept_order: VecDeque<u32>,
}

impl Table {
    pub(super) fn new(scope: Scope) -> Table {
        Table {
            scope,
            forget: None,
            locals: Lookup::default(),
            letters: Lookup::default(),
            transitions: Lookup::default(),
            transitions_made: 0,
            pasts: Lookup::default(),
            pasts_after: Lookup::default(),
            log_ids: Lookup::default(),
            logs: Vec::new(),
            pairs: Lookup::default(),
            elector_ids: Lookup::default(),
            electors: Vec::new(),
            elections: Lookup::default(),
            kept: Lookup::default(),
            kept_order: VecDeque::new(),
        }
    }

    /// The state of a node that has never run.
    pub(super) fn beginning(&mut self, number: u8) -> Arc<Local> {
        let live = Live::new(Node::new(number, self.scope.disk()));
        self.local(&live, None)
    }

    pub(super) fn past(&mut self, history: History) -> Arc<Past> {
        let key = history.key();
        let id = u32::try_from(self.pasts.len()).expect("memory ends before");
        self.pasts.entry(key).or_insert_with(|| Arc::new(Past { id, history })).clone()
    }

    /// What `cause` makes of `from`.
    pub(super) fn transition(&mut self, from: &Arc<Local>, cause: &Cause) -> Arc<Transition> {
        let key = (from.id, cause.code());
        if let Some(known) = self.transitions.get(&key) {
            return known.clone();
        }
        let mut live = self.live(from);
        let out = carry_out(&mut live, cause, &self.scope);
        let transition = Arc::new(self.remember(from, cause, &live, out));
        if !transition.out.impossible {
            self.keep(transition.to.id, live);
        }
        self.transitions.insert(key, transition.clone());
        transition
    }

    fn remember(
        &mut self,
        from: &Arc<Local>,
        cause: &Cause,
        live: &Live,
        mut out: Outcome,
    ) -> Transition {
        self.transitions_made += 1;
        let items = std::mem::take(&mut out.items);
        let letters: Vec<Arc<Letter>> = items.into_iter().map(|item| self.letter(item)).collect();
        let to = if out.impossible {
            from.clone()
        } else {
            self.local(live, Some((from.clone(), cause.clone())))
        };
        let quiet = out.committed.is_empty()
            && out.reads_begun.is_empty()
            && out.reads.is_empty()
            && out.answered.is_empty()
            && out.refused.is_empty()
            && out.violation.is_none();
        let idle = quiet && letters.is_empty() && to.id == from.id;
        Transition { id: self.transitions_made, to, letters, out, idle }
    }

    /// A node in the state `local`, to be stepped on.
    fn live(&mut self, local: &Arc<Local>) -> Live {
        match self.kept.remove(&local.id) {
            Some(live) => live,
            None => self.rebuild(local),
        }
    }

    /// A new replica after the inputs that led to `local` first.
    pub(super) fn rebuild(&mut self, local: &Arc<Local>) -> Live {
        let mut causes = Vec::new();
        let mut at = local;
        let node = loop {
            if let Some(node) = &at.down {
                break node.clone();
            }
            let (before, cause) = at.from.as_ref().expect("every state comes from one at rest");
            causes.push(cause);
            at = before;
        };
        let mut live = Live::new(node);
        for cause in causes.into_iter().rev() {
            carry_out(&mut live, cause, &self.scope);
        }
        live
    }

    fn keep(&mut self, id: u32, live: Live) {
        if live.replica.is_none() {
            return;
        }
        if self.kept.insert(id, live).is_none() {
            self.kept_order.push_back(id);
        }
        if self.kept_order.len() > KEPT {
            let oldest = self.kept_order.pop_front().expect("it is not empty");
            self.kept.remove(&oldest);
        }
    }

    pub(super) fn letter(&mut self, item: Item) -> Arc<Letter> {
        let id = u32::try_from(self.letters.len()).expect("memory ends before");
        let letters = &mut self.letters;
        letters.entry(item.key()).or_insert_with(|| Arc::new(Letter { id, item })).clone()
    }

    fn local(&mut self, live: &Live, from: Option<(Arc<Local>, Cause)>) -> Arc<Local> {
        let key = live.key(self.forget);
        if let Some(known) = self.locals.get(&key) {
            return known.clone();
        }
        let node = &live.node;
        let view = live.view();
        let log = self.log(live);
        let elector = self.elector(live, view.as_ref());
        let mut elapsed = 0;
        if let Some(replica) = &live.replica {
            replica.canonical(&mut |name, number| {
                if name == "election elapsed" {
                    elapsed = number;
                }
            });
        }
        let count = |length: usize| u8::try_from(length).expect("queues of a model are short");
        let number_of = |to: &pgraft_replica::NodeId| count(usize::try_from(to.get()).expect("u8"));
        let local = Arc::new(Local {
            id: u32::try_from(self.locals.len()).expect("memory ends before"),
            #[cfg(test)]
            key,
            #[cfg(test)]
            way: from.as_ref().map_or(0, |(before, cause)| way_on(before.way, cause)),
            number: node.number,
            view,
            shape: live.shape(),
            log,
            elector,
            writes: count(node.writes.len()),
            applies: count(node.applies.len()),
            unsafe_state: node.disk.machine != node.disk.durable,
            durable_term: node.disk.hard_state.term.0,
            elapsed,
            sending: node.sending.keys().map(number_of).collect(),
            stopped: node.stopped || node.broken,
            from,
            down: live.replica.is_none().then(|| node.clone()),
        });
        self.locals.insert(key, local.clone());
        local
    }

    fn log(&mut self, live: &Live) -> u32 {
        let (truncated, term, log) = live.node.log();
        let mut all = Words::new(6);
        all.add(truncated.0);
        all.add(term.0);
        let mut entries = Vec::new();
        for entry in log.values() {
            let mut words = Words::new(5);
            entry.canonical(&mut |_, number| words.add(number));
            entry.canonical(&mut |_, number| all.add(number));
            entries.push((entry.term.0, words.key()));
        }
        let next = u32::try_from(self.logs.len()).expect("memory ends before");
        let id = *self.log_ids.entry(all.key()).or_insert(next);
        if id == next {
            self.logs.push(Log { truncated: truncated.0, entries, shape: live.shape() });
        }
        id
    }

    fn elector(&mut self, live: &Live, view: Option<&View>) -> u32 {
        let (index, term, entries) = live.node.log();
        let last = entries.last_key_value();
        let last = last.map_or((term.0, index.0), |(index, entry)| (entry.term.0, *index));
        let conf = voters(&live.node.disk.machine.conf);
        let own = 1u8 << (live.node.number - 1);
        let may = view.is_some_and(|view| {
            let until = view.committed.max(view.applied).0 + 1;
            let mut unapplied = entries.range(view.applied.0 + 1..until);
            let waits = unapplied.any(|(_, entry)| entry.kind == EntryKind::ConfChange);
            !waits && !view.installing
        });
        let campaigns = may && (conf.0 | conf.1) & own != 0;
        let elector = Elector { campaigns, voters: conf, last };
        let mut words = Words::new(u64::from(campaigns));
        let numbers = [conf.0.into(), conf.1.into(), last.0, last.1];
        numbers.into_iter().for_each(|number| words.add(number));
        let next = u32::try_from(self.electors.len()).expect("memory ends before");
        let id = *self.elector_ids.entry(words.key()).or_insert(next);
        if id == next {
            self.electors.push(elector);
        }
        id
    }

    // What must hold between nodes, and over time.

    /// The past after a transition from `past`.
    pub(super) fn past_after(
        &mut self,
        past: &Arc<Past>,
        transition: &Transition,
    ) -> Checked<Arc<Past>> {
        let key = (past.id, transition.id);
        if let Some(known) = self.pasts_after.get(&key) {
            return known.clone();
        }
        let to = &transition.to;
        let after = past.history.after(to.number, to.view.as_ref(), &transition.out);
        let after = match after {
            Ok(history) => Ok(self.past(history)),
            Err(violation) => Err(Arc::new(violation)),
        };
        self.pasts_after.insert(key, after.clone());
        after
    }

    /// Log Matching of two nodes.
    pub(super) fn logs_match(&mut self, one: &Local, other: &Local) -> Checked<()> {
        let key = (one.log.min(other.log), one.log.max(other.log));
        if key.0 == key.1 {
            return Ok(());
        }
        let (left, right) = (&self.logs[key.0 as usize], &self.logs[key.1 as usize]);
        let known = self.pairs.entry(key).or_insert_with(|| {
            let violation = compare(left, right).err();
            violation.map(|what| Arc::new(Violation::new(Rule::LogMatching, what)))
        });
        known.clone().map_or(Ok(()), Err)
    }

    /// Whether two nodes could both be elected by majorities that do not meet.
    pub(super) fn elections_meet(&mut self, nodes: &[Arc<Local>]) -> Checked<()> {
        let mut words = Words::new(7);
        nodes.iter().for_each(|local| words.add(u64::from(local.elector)));
        let electors = &self.electors;
        let meet = *self.elections.entry(words.key()).or_insert_with(|| {
            let all: Vec<Elector> =
                nodes.iter().map(|local| electors[local.elector as usize]).collect();
            no_two_elections(&all)
        });
        if meet {
            return Ok(());
        }
        let what = "two nodes can be elected by majorities that do not meet".to_owned();
        Err(Arc::new(Violation::new(Rule::MembershipSafety, what)))
    }
}

/// What tells the way to a node on which `cause` comes next.
#[cfg(test)]
pub(super) fn way_on(way: Key, cause: &Cause) -> Key {
    let mut words = Words::new(cause.code());
    words.add(u64::try_from(way >> 64).expect("the upper half"));
    words.key()
}

pub(super) fn carry_out(live: &mut Live, cause: &Cause, scope: &Scope) -> Outcome {
    match cause {
        Cause::Input(input) => live.step(*input, scope),
        Cause::Arrival(letter) => live.arrive(&letter.item, scope),
    }
}

/// Equal below an entry that both have: terms as the replica's invariants see them, and content.
fn compare(one: &Log, other: &Log) -> Result<(), String> {
    invariants::log_matching(&one.shape, &other.shape).map_err(|violation| violation.0)?;
    let at = |log: &Log, index: u64| {
        let offset = index.checked_sub(log.truncated + 1)?;
        log.entries.get(usize::try_from(offset).ok()?).copied()
    };
    let last = |log: &Log| log.truncated + log.entries.len() as u64;
    let low = one.truncated.max(other.truncated) + 1;
    let mut shared = false;
    for index in (low..=last(one).min(last(other))).rev() {
        let (left, right) = (at(one, index), at(other, index));
        shared |= left.map(|entry| entry.0) == right.map(|entry| entry.0);
        if shared && left != right {
            return Err(format!("two logs share a later entry and differ in content at {index}"));
        }
    }
    Ok(())
}

fn no_two_elections(electors: &[Elector]) -> bool {
    let nodes = u8::try_from((1u32 << electors.len()) - 1).expect("there are at most 8 nodes");
    let supporters = |candidate: &Elector| {
        let numbered = electors.iter().enumerate();
        numbered
            .filter(|(_, elector)| elector.last <= candidate.last)
            .fold(0u8, |bits, (number, _)| bits | 1 << number)
    };
    let candidates: Vec<(u8, (u8, u8))> = electors
        .iter()
        .filter(|elector| elector.campaigns)
        .map(|elector| (supporters(elector), elector.voters))
        .collect();
    candidates.iter().enumerate().all(|(place, (one, voters))| {
        candidates[..place].iter().filter(|(_, others)| others != voters).all(|(other, others)| {
            (0..=nodes)
                .filter(|quorum| quorum & !one == 0 && decides(*quorum, *voters))
                .all(|quorum| !decides(other & !quorum, *others))
        })
    })
}
