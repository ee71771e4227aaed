//! What the host makes of a call that came back; the same for a node and for a specification.
//!
//! A batch that ends badly is undone and its commands are run one by one, each in a fresh instance
//! and a savepoint of its own, so that only the offending one is rejected. Both ways are functions
//! of the entry alone, so all replicas take the same.

use sha2::{Digest, Sha256};

use crate::call::Call;
use crate::fault::Fault;
use crate::interface::{Context, GuestCommand, GuestError, GuestOutcome, Progress};
use crate::invoke::Ended;
use crate::limits::{Limits, MESSAGE_BYTES_MAX, OUTBOX_EFFECTS_MAX, REPLY_BYTES_MAX};
use crate::plan::{Turn, rejected};
use crate::rejection::{HostCode, Outcome, Rejection};

/// The first code that is a machine's own.
const MACHINE_CODE_MIN: u32 = 100;

/// What the host makes of what a guest returned.
pub(crate) enum Verdict<T> {
    /// Its writes stay.
    Keep(T),
    /// Its writes go, and this is the outcome.
    Undo(T),
    /// It broke a rule.
    Break(HostCode),
}

/// What a call came to, its marks closed. `waiting` effects of the machine wait already.
///
/// # Errors
/// When this machine failed.
pub(crate) fn settle<R, T>(
    call: &mut Call,
    returned: Result<R, Ended>,
    waiting: usize,
    judge: impl FnOnce(R) -> Verdict<T>,
) -> Result<Verdict<T>, Fault> {
    let closed = if call.fault.is_none() { call.close_marks() } else { Ok(()) };
    let returned = match returned {
        Ok(returned) => Ok(returned),
        Err(Ended::Everywhere(code)) => Err(code),
        Err(Ended::Here(fault)) => return Err(fault),
    };
    closed?;
    let room = waiting + call.changes.effects.len() <= OUTBOX_EFFECTS_MAX;
    Ok(match returned {
        Ok(_) if !room => Verdict::Break(HostCode::Quota),
        Ok(returned) => judge(returned),
        Err(code) => Verdict::Break(code),
    })
}

/// What commands came to, or the rule that a call of them broke.
type Tried = Result<Result<Vec<Outcome>, HostCode>, Fault>;

/// Runs the commands of an entry for one machine in one call, or, if that breaks a rule, each in
/// one of its own. `attempt` makes a call with so much fuel.
///
/// # Errors
/// When this machine fails.
pub(crate) fn together_or_alone<'c>(
    limits: &Limits,
    commands: &[GuestCommand<'c>],
    mut attempt: impl FnMut(&[GuestCommand<'c>], u64) -> Tried,
) -> Result<Vec<Outcome>, Fault> {
    let fuel = limits.command_fuel.saturating_mul(commands.len() as u64);
    match attempt(commands, fuel.min(limits.entry_fuel))? {
        Ok(outcomes) => Ok(outcomes),
        Err(code) if commands.len() == 1 => Ok(vec![rejected(code)]),
        Err(_) => {
            let mut outcomes = Vec::with_capacity(commands.len());
            for command in commands {
                let tried = attempt(std::slice::from_ref(command), limits.command_fuel)?;
                outcomes.push(match tried {
                    Ok(mut outcomes) => outcomes.pop().expect("one outcome per command"),
                    Err(code) => rejected(code),
                });
            }
            Ok(outcomes)
        }
    }
}

/// What `count` commands come to.
pub(crate) fn judge_outcomes(
    count: usize,
) -> impl FnOnce(Vec<GuestOutcome>) -> Verdict<Vec<Outcome>> {
    move |outcomes| {
        if outcomes.len() != count {
            return Verdict::Break(HostCode::BadInterface);
        }
        match outcomes.into_iter().map(outcome).collect() {
            Ok(outcomes) => Verdict::Keep(outcomes),
            Err(code) => Verdict::Break(code),
        }
    }
}

/// What a reaction or a first configuration comes to.
pub(crate) fn judge(returned: Result<(), GuestError>) -> Verdict<Outcome> {
    match returned {
        Ok(()) => Verdict::Keep(Ok(Vec::new())),
        Err(error) => match rejection(error) {
            Ok(rejection) => Verdict::Undo(Err(rejection)),
            Err(code) => Verdict::Break(code),
        },
    }
}

/// What a step of a migration comes to.
pub(crate) fn judge_progress(
    returned: Result<Progress, GuestError>,
) -> Verdict<Result<Progress, Rejection>> {
    match returned {
        Ok(progress) => Verdict::Keep(Ok(progress)),
        Err(error) => match rejection(error) {
            Ok(rejection) => Verdict::Undo(Err(rejection)),
            Err(code) => Verdict::Break(code),
        },
    }
}

/// The outcome a guest returned, held to the host's limits.
pub(crate) fn outcome(returned: GuestOutcome) -> Result<Outcome, HostCode> {
    match returned {
        Ok(reply) if reply.len() > REPLY_BYTES_MAX => Err(HostCode::Quota),
        Ok(reply) => Ok(Ok(reply)),
        Err(error) => rejection(error).map(Err),
    }
}

/// A guest's rejection; the host's codes are not its to use.
pub(crate) fn rejection(error: GuestError) -> Result<Rejection, HostCode> {
    let GuestError { code, mut message } = error;
    if code < MACHINE_CODE_MIN {
        return Err(HostCode::BadInterface);
    }
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    Ok(Rejection { code, message })
}

/// What the log fixes, as one machine sees it.
pub(crate) fn context(machine: &str, turn: &Turn) -> Context {
    let Turn { index, term, time_ms, entropy } = *turn;
    let mut hasher = Sha256::new();
    hasher.update((machine.len() as u32).to_le_bytes());
    hasher.update(machine);
    hasher.update(index.0.to_le_bytes());
    hasher.update(entropy.to_le_bytes());
    let hash: [u8; 32] = hasher.finalize().into();
    let seed = u64::from_le_bytes(hash[..8].try_into().expect("32 bytes begin with 8"));
    Context { index: index.0, term, time_ms, seed }
}
