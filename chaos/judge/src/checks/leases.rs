//! Leases, by the time of the log: a key is not gone before its lease is over, and not there after.
//!
//! The lower bound is exact: the last grant or keep-alive plus the time to live. The upper one
//! is generous: a lease ends when the leader wakes the machine, which takes a while, and after a
//! change of leader it may have its full time once more. A while is measured without leaps of the
//! log's time (a clock that jumped, a time without a leader): nobody could end anything in between.
//! Not here: keys without a lease.

use std::collections::BTreeMap;

use super::keys::{Change, Keys, Read};
use crate::case::{Case, Taken};
use crate::history::Fact;
use crate::operations::Operation;
use crate::verdict::Verdict;

/// The log's time leaps when two neighbouring entries are further apart, milliseconds.
const LEAP_MS: u64 = 1_000;

/// Something that happened to a lease.
#[derive(Clone, Copy, Debug)]
struct Step {
    at: Option<(u64, u32)>,
    called: usize,
    taken: Taken,
    /// Somebody heard the answer.
    told: bool,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// It has this much time from here on.
    Lives(u64),
    Ends,
}

/// What happened to each lease.
type Leases = BTreeMap<i64, Vec<Step>>;

/// Looks at reads of keys that were put with a lease; `None`: nobody was granted one.
pub fn check(case: &Case<'_>, slack_ms: u64) -> Option<Verdict> {
    let leases = leases(case);
    if leases.is_empty() {
        return None;
    }
    if !case.log.whole {
        return Some(Verdict::unknown("leases end by the log's time, which the history lacks"));
    }
    if let Some(verdict) = leases.iter().find_map(|(lease, steps)| revived(case, *lease, steps)) {
        return Some(verdict);
    }
    let keys = Keys::of(case);
    let mut looked = 0u64;
    for (key, reads) in &keys.reads {
        for read in reads {
            let (Some(put), perhaps) = keys.visible(key, read) else { continue };
            let (Some(lease), true) = (put.lease, perhaps.is_empty()) else { continue };
            let Some(steps) = leases.get(&lease) else { continue };
            looked += 1;
            let time_ms = case.log.time_ms(read.at.0).expect("the log is whole");
            let complaint = match read.value {
                None => too_early(case, steps, read, time_ms),
                Some(value) if Some(value) == put.value => {
                    too_late(case, steps, read, time_ms, slack_ms)
                }
                Some(_) => None,
            };
            if let Some(complaint) = complaint {
                return Some(fail(case, key, read, put, lease, &complaint));
            }
        }
    }
    Some(Verdict::pass(format!("{} leases, {looked} reads of their keys", leases.len())))
}

/// A keep-alive that gave a lease time although it was over. Within a term that is exact: the log's
/// time decides, and nothing else gives a lease time.
fn revived(case: &Case<'_>, lease: i64, steps: &[Step]) -> Option<Verdict> {
    let mut lives: Vec<((u64, u32), u64)> = Vec::new();
    for step in steps.iter().filter(|step| step.taken != Taken::No) {
        let What::Lives(ttl_ms) = step.what else { continue };
        // What nobody heard of may have given it time.
        let certain = step.told && step.taken == Taken::Yes;
        lives.push((step.at.filter(|_| certain)?, ttl_ms));
    }
    lives.sort_unstable();
    for pair in lives.windows(2) {
        let [(one, ttl_ms), (other, _)] = pair else { continue };
        let deadline_ms = case.log.time_ms(one.0)? + ttl_ms;
        let over_ms = case.log.time_ms(other.0)?.saturating_sub(deadline_ms);
        let is_one_term = case.log.term(one.0) == case.log.term(other.0);
        if over_ms > 0 && is_one_term {
            let (from, to) = (one.0, other.0);
            let says = format!("lease {lease} of index {from} revived at {to}, {over_ms} ms late");
            return Some(Verdict::fail(says, Vec::new()));
        }
    }
    None
}

fn leases(case: &Case<'_>) -> Leases {
    let mut ttl: BTreeMap<i64, u64> = BTreeMap::new();
    let mut leases = Leases::new();
    for operation in case.operations.iter() {
        let told = operation.done().map_or(&[][..], |done| &done.facts);
        for fact in told {
            let (lease, what) = match fact {
                Fact::LeaseGranted { lease, ttl_ms } => {
                    ttl.insert(*lease, *ttl_ms);
                    (lease, What::Lives(*ttl_ms))
                }
                Fact::LeaseKept { lease, ttl_ms: 0 } => (lease, What::Ends),
                Fact::LeaseKept { lease, ttl_ms } => (lease, What::Lives(*ttl_ms)),
                _ => continue,
            };
            leases.entry(*lease).or_default().push(step(case, operation, what));
        }
    }
    for operation in case.operations.iter() {
        for fact in &operation.invoke.facts {
            let (lease, what) = match fact {
                // Whoever heard the answer was counted above.
                Fact::LeaseKeep { lease } if operation.done().is_none() => {
                    (lease, What::Lives(ttl.get(lease).copied().unwrap_or(0)))
                }
                Fact::LeaseRevoke { lease } => (lease, What::Ends),
                _ => continue,
            };
            if let Some(steps) = leases.get_mut(lease) {
                steps.push(step(case, operation, what));
            }
        }
    }
    leases
}

fn step(case: &Case<'_>, operation: &Operation<'_>, what: What) -> Step {
    let taken = case.took_effect(operation);
    let (at, told) = (case.place(operation), operation.done().is_some());
    Step { at, called: operation.called, taken, told, what }
}

impl Step {
    /// Whether it may have happened before the read.
    fn may_precede(&self, read: &Read<'_>) -> bool {
        let before = self.at.map_or(self.called < read.returned, |at| at < read.at);
        self.taken != Taken::No && before
    }

    /// Whether it certainly did.
    fn precedes(&self, read: &Read<'_>) -> bool {
        self.taken == Taken::Yes && self.may_precede(read)
    }
}

fn time_ms(case: &Case<'_>, step: &Step) -> Option<u64> {
    case.log.time_ms(step.at?.0)
}

/// The key is gone: was its lease over?
fn too_early(case: &Case<'_>, steps: &[Step], read: &Read<'_>, now_ms: u64) -> Option<String> {
    if steps.iter().any(|step| matches!(step.what, What::Ends) && step.may_precede(read)) {
        return None;
    }
    let certain = steps.iter().filter(|step| step.precedes(read));
    let deadline_ms = certain.filter_map(|step| match step.what {
        What::Lives(ttl_ms) => Some(time_ms(case, step)? + ttl_ms),
        What::Ends => None,
    });
    let deadline_ms = deadline_ms.max()?;
    (now_ms < deadline_ms)
        .then(|| format!("gone {} ms before the lease ends", deadline_ms - now_ms))
}

/// The key is there: may its lease still live?
fn too_late(
    case: &Case<'_>,
    steps: &[Step],
    read: &Read<'_>,
    now_ms: u64,
    slack_ms: u64,
) -> Option<String> {
    if steps.iter().any(|step| matches!(step.what, What::Ends) && step.precedes(read)) {
        return Some("there, though the lease was ended".to_owned());
    }
    let mut deadline_ms = 0;
    let mut from = (0, 0);
    for step in steps.iter().filter(|step| step.may_precede(read)) {
        let What::Lives(ttl_ms) = step.what else { continue };
        // Nobody knows where: it may have been right now.
        let begins_ms = time_ms(case, step).unwrap_or(now_ms);
        if begins_ms + ttl_ms >= deadline_ms {
            deadline_ms = begins_ms + ttl_ms;
            from = (step.at.map_or(read.at.0, |at| at.0), ttl_ms);
        }
    }
    let (index, ttl_ms) = from;
    for (index, begins_ms) in changes_of_leader(case, index, read.at.0) {
        if late_ms(case, deadline_ms, index) <= slack_ms {
            deadline_ms = deadline_ms.max(begins_ms) + slack_ms + ttl_ms;
        }
    }
    let late_ms = late_ms(case, deadline_ms, read.at.0);
    let over = late_ms.checked_sub(slack_ms).filter(|over| *over > 0);
    over.map(|over| format!("there {over} ms after the lease must have ended"))
}

/// How long after a deadline the entry at `index` was made, without leaps.
fn late_ms(case: &Case<'_>, deadline_ms: u64, index: u64) -> u64 {
    let mut late_ms = 0;
    let mut later_ms = None;
    for (_, entry) in case.log.entries.range(..=index).rev() {
        let since_ms = entry.time_ms.max(deadline_ms);
        late_ms += later_ms.map_or(0, |later_ms: u64| (later_ms - since_ms).min(LEAP_MS));
        if entry.time_ms <= deadline_ms {
            break;
        }
        later_ms = Some(entry.time_ms);
    }
    late_ms
}

/// The first entry of each term behind `after` and up to `until`, and the log's time there.
fn changes_of_leader(case: &Case<'_>, after: u64, until: u64) -> Vec<(u64, u64)> {
    let mut term = case.log.term(after).unwrap_or(0);
    let mut times = Vec::new();
    for (index, entry) in case.log.entries.range(after..=until) {
        if entry.term > term {
            term = entry.term;
            times.push((*index, entry.time_ms));
        }
    }
    times
}

fn fail(
    case: &Case<'_>,
    key: &str,
    read: &Read<'_>,
    put: &Change<'_>,
    lease: i64,
    complaint: &str,
) -> Verdict {
    let says = format!("#{} read {key} (lease {lease}): {complaint}", read.op);
    let ops = vec![put.op, read.op];
    let window = case.operations.describe(&ops);
    Verdict::fail(says, ops).with_window(window)
}
