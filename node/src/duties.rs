//! What a leader does without being asked: performs the effects of the outbox, wakes machines,
//! promotes learners that have caught up, and puts digests into the log.
//!
//! Pure: looks at views, returns duties. Every duty is an ordinary proposal that any later leader
//! may repeat, so nothing is lost with the leader that forgot.

use bytes::Bytes;
use pgraft_host::{Change, Command, Effect, MACHINES, Rejection};
use pgraft_membership::{ConfRequest, ConfRequestKind, Member, Role};
use pgraft_replica::limits::PROMOTE_LAG_ENTRIES_MAX;
use pgraft_replica::{ConfChange, ConfChangeKind, Index, NodeId, View};

use crate::event::ApplierReport;

/// Name of the machine that owns the member list.
pub(crate) const MEMBERSHIP: &str = "membership";
/// Code of an effect's outcome: it could not be carried out.
const IMPOSSIBLE: u32 = 1;
/// Entries between two digest checks.
const DIGEST_EVERY_ENTRIES: u64 = 4096;

/// Something the leader should propose now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Duty {
    /// Commands for the log.
    Propose(Vec<Command>),
    /// A configuration change, from the outbox.
    Reconfigure(ConfChange),
}

/// What is in flight, so that a duty is not proposed twice in a row.
#[derive(Debug, Default)]
pub(crate) struct Duties {
    last_digest: Index,
    changed_last: bool,
}

impl Duties {
    /// The next duty, if there is one. Called while nothing of ours is in flight.
    pub(crate) fn next(
        &mut self,
        view: &View,
        members: &[Member],
        report: &ApplierReport,
        now_ms: u64,
    ) -> Option<Duty> {
        // A configuration change may have to wait for long; nothing else waits for it.
        self.changed_last = !self.changed_last;
        let change = || report.outbox.iter().find_map(conf_change);
        let other = |duties: &mut Duties| {
            wake(report, now_ms)
                .or_else(|| migration(report))
                .or_else(|| performance(report))
                .or_else(|| promotion(view, members))
                .or_else(|| duties.digest(report))
        };
        if self.changed_last {
            change().or_else(|| other(self))
        } else {
            other(self).or_else(change)
        }
    }

    fn digest(&mut self, report: &ApplierReport) -> Option<Duty> {
        let (index, digests) = &report.digests;
        if *index == Index::ZERO || self.last_digest.distance_to(*index) < DIGEST_EVERY_ENTRIES {
            return None;
        }
        self.last_digest = *index;
        let digests = digests.clone();
        Some(Duty::Propose(vec![Command::Digest { index: *index, digests }]))
    }
}

/// The next step of a migration.
fn migration(report: &ApplierReport) -> Option<Duty> {
    let (machine, step) = report.next_migration.clone()?;
    let change = Change::Migrate { machine, step };
    Some(Duty::Propose(vec![system_command(MACHINES, change.encode())]))
}

/// Commands by which machines reach each other.
fn performance(report: &ApplierReport) -> Option<Duty> {
    let commands = report.outbox.iter().filter(|effect| effect.kind == "command");
    let perform =
        |effect: &Effect| Command::Perform { machine: effect.machine_name.clone(), id: effect.id };
    let perform: Vec<Command> = commands.map(perform).collect();
    (!perform.is_empty()).then_some(Duty::Propose(perform))
}

/// A machine that wants to be woken, by the log's time or this node's, whichever is ahead.
fn wake(report: &ApplierReport, now_ms: u64) -> Option<Duty> {
    let (machine, at_ms) = report.next_wake.as_ref()?;
    let due = *at_ms <= now_ms.max(report.time_ms);
    due.then(|| Duty::Propose(vec![Command::Wake { machine: machine.clone() }]))
}

/// What the membership machine is told about a change that can never be carried out.
pub(crate) fn impossible(report: &ApplierReport, why: &str) -> Option<Command> {
    let effect = report.outbox.iter().find(|effect| conf_change(effect).is_some())?;
    let rejection = Rejection { code: IMPOSSIBLE, message: why.to_owned() };
    let (machine, id) = (effect.machine_name.clone(), effect.id);
    Some(Command::EffectDone { machine, id, outcome: Err(rejection) })
}

/// The configuration change that an effect asks for; its context finds the way back.
fn conf_change(effect: &Effect) -> Option<Duty> {
    if effect.kind != "conf-change" {
        return None;
    }
    let request = ConfRequest::decode(&effect.payload).ok()?;
    let change = |(kind, id): &(ConfRequestKind, u64)| {
        let kind = match kind {
            ConfRequestKind::AddVoter => ConfChangeKind::AddVoter,
            ConfRequestKind::AddLearner => ConfChangeKind::AddLearner,
            ConfRequestKind::Remove => ConfChangeKind::Remove,
        };
        Some((kind, NodeId::new(*id)?))
    };
    let changes = request.changes.iter().map(change).collect::<Option<Vec<_>>>()?;
    let mut context = effect.machine.to_le_bytes().to_vec();
    context.extend_from_slice(&effect.id.to_le_bytes());
    Some(Duty::Reconfigure(ConfChange { changes, context: context.into() }))
}

/// A learner is promoted when it is connected and within reach of the end of the log.
fn promotion(view: &View, members: &[Member]) -> Option<Duty> {
    let ready = |id: u64| {
        let peer = view.peers.iter().find(|peer| peer.id.get() == id);
        peer.is_some_and(|peer| {
            peer.active
                && peer.pending_snapshot.is_none()
                && peer.match_index > Index::ZERO
                && peer.match_index.distance_to(view.last_index) <= PROMOTE_LAG_ENTRIES_MAX
        })
    };
    let learner = members.iter().find(|member| member.role == Role::Learner && ready(member.id))?;
    let promote = pgraft_membership::Command::Promote { id: learner.id };
    Some(Duty::Propose(vec![system_command(MEMBERSHIP, promote.encode())]))
}

/// A command that the node itself gives.
pub(crate) fn system_command(machine: &str, payload: impl Into<Bytes>) -> Command {
    Command::Machine {
        machine: machine.to_owned(),
        principal: "sys:node".to_owned(),
        session: 0,
        seq: 0,
        acked_below: 0,
        payload: payload.into(),
    }
}
