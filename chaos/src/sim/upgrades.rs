//! Upgrades and rollbacks of a machine as an operator makes them: stage the module, say from which
//! module to which, and look again until it is so. Not here: the turn that each change waits for
//! (`admin`).

use std::cell::Cell;
use std::sync::Arc;

use pgraft_host::{Change, Sha256Bytes};
use pgraft_node::rpc::{Answer, FailureKind, Op};
use pgraft_node::staging::Module;
use serde_json::Value;

use crate::plan::Wanted;
use crate::sim::client::ask_aside;
use crate::sim::journal::Journal;
use crate::sim::watch::Watch;
use crate::variants::{MACHINE, Variant};

/// An upgrade that is under way.
pub(super) struct Upgrading {
    wanted: Wanted,
    force: bool,
    goal: Cell<Option<Goal>>,
    leader: Cell<Option<u64>>,
}

/// What must be so in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Goal {
    from: Variant,
    to: Variant,
}

/// What the list of machines says of ours.
struct Listed {
    runs: Variant,
    to: Option<Sha256Bytes>,
    previous: Option<Variant>,
    failed: bool,
    changed_index: u64,
}

impl Upgrading {
    /// Nothing is done yet.
    pub(super) fn new(wanted: Wanted, force: bool) -> Upgrading {
        Upgrading { wanted, force, goal: Cell::new(None), leader: Cell::new(None) }
    }

    /// True when it is done, or can never be.
    pub(super) async fn try_once(&self, node: u64, watch: &Arc<Watch>, journal: &Journal) -> bool {
        if let Some(leader) = watch.leader() {
            let before = self.leader.replace(Some(leader));
            if before.is_some_and(|before| before != leader) {
                journal.mark("leader_changed_during_upgrade");
            }
        }
        let Some(now) = list(node).await else { return false };
        if let Some(to) = now.to {
            if self.wanted == Wanted::Back {
                // Whoever calls a migration off says which.
                let rollback = rollback(to);
                return self.is_hopeless(ask(node, rollback, self.force).await);
            }
            return false;
        }
        let Some(goal) = self.goal(&now) else { return true };
        if goal.to == now.runs {
            self.reached(goal, journal);
            return true;
        }
        if now.runs != goal.from {
            // Somebody else was faster.
            return true;
        }
        if goal.to == Variant::Torn && now.failed && now.changed_index > 0 {
            journal.mark("migration_failed_back");
            return true;
        }
        if !stage(node, goal.to).await {
            return false;
        }
        let change = match self.wanted {
            Wanted::Back => rollback(*now.runs.sha256()),
            _ => Change::Upgrade {
                machine: MACHINE.to_owned(),
                sha256: *goal.to.sha256(),
                expect: *goal.from.sha256(),
                any_version: true,
                keep_copy: false,
                limits: Vec::new(),
            },
        };
        self.is_hopeless(ask(node, change, self.force).await)
    }

    /// Decided when it is asked for the first time, by what runs then; `None`: nothing to do.
    fn goal(&self, now: &Listed) -> Option<Goal> {
        if self.goal.get().is_none() {
            let from = now.runs;
            let to = match self.wanted {
                Wanted::Again => from.again(),
                Wanted::Next => Variant::Next,
                Wanted::Torn => Variant::Torn,
                Wanted::Back => now.previous?,
            };
            let is_other = from != to && !(self.wanted == Wanted::Next && from.is_next());
            self.goal.set(is_other.then_some(Goal { from, to }));
        }
        self.goal.get()
    }

    fn reached(&self, Goal { from, to }: Goal, journal: &Journal) {
        journal.mark(match self.wanted {
            Wanted::Back => "module_rolled_back",
            _ => "module_upgraded",
        });
        if from.is_next() != to.is_next() {
            journal.mark("module_migrated_in_steps");
        }
    }

    /// Whether asking again is of no use. What was accepted shows in the next list.
    fn is_hopeless(&self, answer: Option<Answer>) -> bool {
        match answer {
            Some(Answer::Outcome { outcome: Err(_), .. }) => self.wanted == Wanted::Back,
            Some(Answer::Failed(failure)) => failure.kind == FailureKind::BadRequest,
            _ => false,
        }
    }
}

fn rollback(expect: Sha256Bytes) -> Change {
    Change::Rollback { machine: MACHINE.to_owned(), expect, restore: false }
}

async fn ask(node: u64, change: Change, force: bool) -> Option<Answer> {
    ask_aside(node, Op::Change { change: change.encode(), dry_run: false, force }).await
}

/// True when all of a module's bytes are there.
async fn stage(node: u64, variant: Variant) -> bool {
    let module = Module::new(variant.component()).expect("a variant is a component");
    for (_, part) in module.stage() {
        let Some(Answer::Outcome { outcome: Ok(_), .. }) = ask_aside(node, part).await else {
            return false;
        };
    }
    true
}

/// The machine as a node knows it.
async fn list(node: u64) -> Option<Listed> {
    let Answer::Json(text) = ask_aside(node, Op::Machines { stale: false }).await? else {
        return None;
    };
    let all: Vec<Value> = serde_json::from_str(&text).ok()?;
    let machine = all.iter().find(|machine| machine["name"] == MACHINE)?;
    let hash = |key: &str| machine[key].as_str().and_then(unhex);
    Some(Listed {
        runs: Variant::of(&hash("sha256")?)?,
        to: hash("migrating_to"),
        previous: hash("previous_sha256").as_ref().and_then(Variant::of),
        failed: machine["last_failure"].as_str().is_some_and(|why| !why.is_empty()),
        changed_index: machine["changed_index"].as_u64()?,
    })
}

fn unhex(text: &str) -> Option<Sha256Bytes> {
    let byte = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    bytes?.try_into().ok()
}
