//! What a plan may destroy so that safety can still be promised (TigerBeetle's fault atlas).
//!
//! Raft promises safety however messages are lost and processes die, as long as no node forgets
//! what it has acknowledged. Some faults make a node forget: an older disk, syncs that lied when
//! the power fails, damage to the log. Such a node is told by its peers that it once had more and
//! stops; but that needs a leader who knows. So a plan may let a node forget only while nothing
//! else is wrong ("calm"), and only if it stays away long enough that the others have a leader and
//! everything that was acknowledged. Faults that cost a copy without a lie (a wiped disk, a damaged
//! state) may hit a minority at a time. Everything else may happen as it likes.
//!
//! Not here: what keeps a plan live. A plan ends healed because every step ends.

use super::{Fault, Plan, Step, Target};

/// What the measures of a budget depend on. All in simulated milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Voters at the start.
    pub voters: u64,
    /// Calm before a node forgets and after it is back.
    pub settle_ms: u64,
    /// A node that forgets stays away at least so long: the others have elected by then.
    pub away_ms: u64,
    /// A wiped node, or a new one, needs so long until it counts as a voter with a full copy.
    pub rejoin_ms: u64,
}

/// Members that a cluster is never reduced below.
pub const VOTERS_MIN: u64 = 3;

/// Why safety cannot be promised under a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// The safety phase would end with a fault still there.
    #[error("{step}: it ends {by_ms} ms after the safety phase")]
    Unhealed {
        /// The step.
        step: String,
        /// How late.
        by_ms: u64,
    },
    /// Too few members would be left.
    #[error("{step}: {voters} voters would be left, at least {VOTERS_MIN} are needed")]
    Members {
        /// The step.
        step: String,
        /// What would be left.
        voters: u64,
    },
    /// Too many copies would be gone at the same time.
    #[error("{step}: {lost} of {voters} copies would be gone at once, at most {lost_max} may be")]
    Copies {
        /// The step that is one too many.
        step: String,
        /// Copies gone.
        lost: u64,
        /// Voters at that time.
        voters: u64,
        /// A minority.
        lost_max: u64,
    },
    /// A node would forget while something else is wrong.
    #[error("{step}: a node forgets what it acknowledged, while: {other}")]
    NoCalm {
        /// The step.
        step: String,
        /// What else is wrong.
        other: String,
    },
    /// A node that forgets would be back before the others are sure of what they have.
    #[error(
        "{step}: a node that forgets stays away for {for_ms} ms, at least {away_ms} ms is safe"
    )]
    BackTooSoon {
        /// The step.
        step: String,
        /// How long it is away.
        for_ms: u64,
        /// How long it must be.
        away_ms: u64,
    },
}

impl Budget {
    /// Whether safety can be promised under `plan`.
    ///
    /// # Errors
    /// The first step that is too much.
    pub fn check(&self, plan: &Plan) -> Result<(), Excess> {
        healed(plan)?;
        self.members(plan)?;
        self.copies(plan)?;
        self.calm(plan)
    }

    /// Voters that are certain to be there at `at_ms`: those at the start and those added long
    /// enough ago, without those that are being removed.
    fn voters(&self, plan: &Plan, at_ms: u64) -> u64 {
        let since = |step: &&Step, delay_ms: u64| step.at_ms + delay_ms <= at_ms;
        let added = plan.steps.iter().filter(|step| step.fault == Fault::AddNode);
        let added = added.filter(|step| since(step, self.rejoin_ms)).count() as u64;
        let removed = plan.steps.iter().filter(|step| is_removal(&step.fault));
        let removed = removed.filter(|step| since(step, 0)).count() as u64;
        (self.voters + added).saturating_sub(removed)
    }

    fn members(&self, plan: &Plan) -> Result<(), Excess> {
        for step in plan.steps.iter().filter(|step| is_removal(&step.fault)) {
            let voters = self.voters(plan, step.at_ms);
            if voters < VOTERS_MIN {
                return Err(Excess::Members { step: step.to_string(), voters });
            }
        }
        Ok(())
    }

    /// Copies are counted when one more is lost.
    fn copies(&self, plan: &Plan) -> Result<(), Excess> {
        let losses: Vec<&Step> = plan.steps.iter().filter(|step| loses_copy(&step.fault)).collect();
        for step in &losses {
            let present = losses.iter().filter(|other| {
                other.at_ms <= step.at_ms && step.at_ms < other.ends_ms() + self.rejoin_ms
            });
            let lost = different(present.filter_map(|other| other.fault.target()));
            let voters = self.voters(plan, step.at_ms);
            let lost_max = voters.saturating_sub(1) / 2;
            if lost > lost_max {
                let step = step.to_string();
                return Err(Excess::Copies { step, lost, voters, lost_max });
            }
        }
        Ok(())
    }

    fn calm(&self, plan: &Plan) -> Result<(), Excess> {
        for (place, step) in plan.steps.iter().enumerate() {
            let lie = plan.steps.iter().position(|other| lies_to(other, step));
            if !forgets(&step.fault) && lie.is_none() {
                continue;
            }
            if step.for_ms < self.away_ms {
                let (for_ms, away_ms) = (step.for_ms, self.away_ms);
                return Err(Excess::BackTooSoon { step: step.to_string(), for_ms, away_ms });
            }
            let from_ms = step.at_ms.saturating_sub(self.settle_ms);
            let until_ms = step.ends_ms() + self.settle_ms;
            let others = plan
                .steps
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != place && Some(*other) != lie);
            let mut disturbing = others.map(|(_, other)| other).filter(|other| {
                let over_ms = other.ends_ms() + self.recovery_ms(&other.fault);
                disturbs(&other.fault) && other.at_ms <= until_ms && from_ms <= over_ms
            });
            if let Some(other) = disturbing.next() {
                let (step, other) = (step.to_string(), other.to_string());
                return Err(Excess::NoCalm { step, other });
            }
        }
        Ok(())
    }

    /// How long a fault is felt after its end, beyond the usual.
    fn recovery_ms(&self, fault: &Fault) -> u64 {
        let is_slow = loses_copy(fault) || is_removal(fault) || *fault == Fault::AddNode;
        if is_slow { self.rejoin_ms } else { 0 }
    }
}

fn healed(plan: &Plan) -> Result<(), Excess> {
    for step in &plan.steps {
        let by_ms = step.ends_ms().saturating_sub(plan.safety_ms);
        if by_ms > 0 {
            return Err(Excess::Unhealed { step: step.to_string(), by_ms });
        }
    }
    Ok(())
}

fn is_removal(fault: &Fault) -> bool {
    matches!(fault, Fault::RemoveNode { .. })
}

/// Whether a node comes back without something that it acknowledged.
fn forgets(fault: &Fault) -> bool {
    match fault {
        Fault::OldDisk { .. } | Fault::Misdirect { .. } => true,
        Fault::BitFlip { state, .. } => !state,
        _ => false,
    }
}

/// Whether one copy less is there for a while.
fn loses_copy(fault: &Fault) -> bool {
    forgets(fault) || matches!(fault, Fault::Wipe { .. } | Fault::BitFlip { state: true, .. })
}

/// Whether `lie` is a disk that lies, and `step` takes the power of the same node meanwhile.
fn lies_to(lie: &Step, step: &Step) -> bool {
    let Fault::LyingSync { target } = lie.fault else { return false };
    let may_hit = match step.fault {
        Fault::Crash { target: hit, power: true }
        | Fault::CrashAt { target: hit, power: true, .. } => target.may_be(hit),
        Fault::CrashAll { power: true } => true,
        _ => false,
    };
    // An ordered crash may come until it is given up, or until the node is back.
    may_hit && step.at_ms <= lie.ends_ms() && lie.at_ms <= step.ends_ms()
}

/// Whether it keeps the others from being sure of what they have.
fn disturbs(fault: &Fault) -> bool {
    !matches!(fault, Fault::Hammer { .. })
}

/// How many nodes these may be at most.
fn different(targets: impl Iterator<Item = Target>) -> u64 {
    let mut known: Vec<Target> = Vec::new();
    for target in targets {
        let is_same = matches!(target, Target::Node(_)) && known.contains(&target);
        if !is_same {
            known.push(target);
        }
    }
    known.len() as u64
}

#[cfg(test)]
mod tests;
