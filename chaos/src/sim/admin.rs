//! Changes as an operator makes them: one after the other, asked of whoever answers,
//! again until something certain is said. Not here: when a change is made (`nemesis`).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pgraft_membership::{Command, Member, Query, Reply, Role};
use pgraft_node::rpc::{Answer, FailureKind, Op};
use tokio::time::sleep;

use crate::plan::Wanted;
use crate::sim::client::ask_aside;
use crate::sim::journal::Journal;
use crate::sim::roster::Roster;
use crate::sim::upgrades::Upgrading;
use crate::sim::watch::Watch;

const MACHINE: &str = "membership";
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// Attempts before a change is given up.
const ATTEMPTS_MAX: u32 = 100;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The member at this address leaves, whatever its id.
    Remove {
        /// `host:port`.
        address: String,
    },
    /// A new member.
    Add {
        /// Its name.
        name: String,
        /// `host:port`.
        address: String,
        /// The mark when it has become a voter.
        mark: &'static str,
    },
    /// Leadership goes to the node at this address.
    Transfer {
        /// `host:port`.
        address: String,
    },
    /// A machine comes to run another module.
    Upgrade {
        /// Which.
        to: Wanted,
        /// A majority of nodes that are ready is enough.
        force: bool,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Remove { address } => write!(f, "remove {address}"),
            Change::Add { name, address, .. } => write!(f, "add {name} at {address}"),
            Change::Transfer { address } => write!(f, "transfer to {address}"),
            Change::Upgrade { to, .. } => write!(f, "{to}"),
        }
    }
}

/// Changes that wait, and whether one is under way.
#[derive(Default)]
pub(super) struct Changes {
    waiting: RefCell<VecDeque<Change>>,
    under_way: RefCell<Option<Change>>,
}

impl Changes {
    /// Asks for a change.
    pub(super) fn push(&self, change: Change) {
        self.waiting.borrow_mut().push_back(change);
    }

    /// Whether a change that waits makes this one pointless: the place has another fate by now.
    fn is_superseded(&self, change: &Change) -> bool {
        let waiting = self.waiting.borrow();
        match change {
            Change::Add { address: mine, .. } => waiting
                .iter()
                .any(|later| matches!(later, Change::Remove { address } if address == mine)),
            Change::Upgrade { .. } => {
                // A member that is lost must go before everybody can be ready.
                let before = |later: &Change| {
                    matches!(later, Change::Upgrade { .. } | Change::Remove { .. })
                };
                waiting.iter().any(before)
            }
            Change::Remove { .. } | Change::Transfer { .. } => false,
        }
    }

    /// Whether the member of this name is being added right now.
    pub(super) fn is_adding(&self, wanted: &str) -> bool {
        let under_way = self.under_way.borrow();
        matches!(&*under_way, Some(Change::Add { name, .. }) if name == wanted)
    }

    /// What is asked for and not done yet, for people.
    pub(super) fn unfinished(&self) -> Vec<String> {
        let under_way = self.under_way.borrow();
        under_way.iter().chain(self.waiting.borrow().iter()).map(Change::to_string).collect()
    }

    /// Whether nothing waits and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.borrow().is_empty() && self.under_way.borrow().is_none()
    }
}

/// The operator.
pub(super) struct Admin {
    /// What is wanted.
    pub(super) changes: Rc<Changes>,
    /// Who can be asked.
    pub(super) roster: Rc<Roster>,
    /// Who leads.
    pub(super) watch: Arc<Watch>,
    /// What happened.
    pub(super) journal: Journal,
}

impl Admin {
    /// Makes changes for ever.
    pub(super) async fn run(self) {
        loop {
            sleep(PAUSE).await;
            let next = self.changes.waiting.borrow_mut().pop_front();
            if let Some(change) = next {
                self.changes.under_way.replace(Some(change.clone()));
                self.make(&change).await;
                self.changes.under_way.replace(None);
            }
        }
    }

    async fn make(&self, change: &Change) {
        let upgrading = match change {
            Change::Upgrade { to, force } => Some(Upgrading::new(*to, *force)),
            _ => None,
        };
        for attempt in 0..ATTEMPTS_MAX {
            if self.changes.is_superseded(change) {
                return;
            }
            let up = self.roster.up();
            if let Some(node) = up.get(attempt as usize % up.len().max(1))
                && match &upgrading {
                    Some(upgrading) => upgrading.try_once(*node, &self.watch, &self.journal).await,
                    None => self.try_once(*node, change).await,
                }
            {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// True when the change is made, or can never be.
    async fn try_once(&self, node: u64, change: &Change) -> bool {
        let Some(members) = members(node).await else { return false };
        let mut present = members.iter().filter(|one| one.role != Role::Gone);
        match change {
            Change::Remove { address } => match present.find(|one| one.address == *address) {
                Some(member) => {
                    command(node, &Command::Remove { id: member.id }).await;
                    false
                }
                None => {
                    self.journal.mark("member_removed");
                    true
                }
            },
            Change::Add { name, address, mark } => {
                match present.find(|one| one.address == *address) {
                    Some(member) if member.name == *name => {
                        if member.role == Role::Voter {
                            self.journal.mark("member_added");
                            self.journal.mark(mark);
                        }
                        member.role == Role::Voter
                    }
                    Some(_still_the_old_one) => false,
                    None => {
                        let (name, address) = (name.clone(), address.clone());
                        command(node, &Command::Add { id: 0, name, address }).await;
                        false
                    }
                }
            }
            Change::Transfer { address } => match present.find(|one| one.address == *address) {
                Some(member) if member.role == Role::Voter => {
                    let answer = ask_aside(node, Op::Transfer { to: member.id }).await;
                    match answer {
                        Some(Answer::Done) => self.journal.mark("leadership_transferred"),
                        Some(Answer::Failed(failure)) => {
                            return failure.kind == FailureKind::BadRequest;
                        }
                        _ => return false,
                    }
                    true
                }
                _ => true,
            },
            Change::Upgrade { .. } => unreachable!("it is tried by what remembers its beginning"),
        }
    }
}

/// The member list as a node has it, which may be an old one.
async fn members(node: u64) -> Option<Vec<Member>> {
    let (machine, payload) = (MACHINE.to_owned(), Query::Members.encode());
    let answer = ask_aside(node, Op::Query { machine, payload, stale: false }).await?;
    let Answer::Outcome { outcome: Ok(reply), .. } = answer else { return None };
    match Reply::decode(&reply) {
        Ok(Reply::Members(members)) => Some(members),
        _ => None,
    }
}

/// Whether it was accepted shows in the next member list.
async fn command(node: u64, command: &Command) {
    let (machine, payload) = (MACHINE.to_owned(), command.encode());
    let _seen_in_the_list = ask_aside(node, Op::Command { machine, payload }).await;
}
