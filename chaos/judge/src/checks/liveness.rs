//! Liveness: once the cluster is healed (phase `liveness`), clients are answered within a bound,
//! and from then on always. Clients are not told apart: one whose call ended unknown goes on under
//! a new number. Not here: what the answer is.

use crate::case::Case;
use crate::history::{History, What};
use crate::operations::{End, Operation};
use crate::verdict::Verdict;

/// When the phase began, and when it or the history ended.
fn phase(history: &History) -> Option<(u64, u64)> {
    let mut began = None;
    for event in &history.events {
        match (&event.what, began) {
            (What::Phase(phase), None) if phase.name == "liveness" => began = Some(event.at_us),
            (What::Phase(phase), Some(began)) if phase.name == "end" => {
                return Some((began, event.at_us));
            }
            _ => {}
        }
    }
    let last = history.events.last()?;
    began.map(|began| (began, last.at_us))
}

/// Once the bound is over, everything that is asked is answered, and nobody still waits for longer
/// than the bound. Without the phase there is nothing to judge: `None`.
pub fn check(case: &Case<'_>, bound_us: u64) -> Option<Verdict> {
    let (began, ended) = phase(case.history)?;
    let calm = began + bound_us;
    let in_phase = |operation: &&Operation<'_>| operation.called_us >= began;
    let asked = case.operations.iter().filter(in_phase).count();
    let first = case.operations.iter().filter_map(|operation| match operation.end {
        End::Ok { at_us, .. } if at_us >= began => Some(at_us),
        _ => None,
    });
    let first = first.min();
    if asked == 0 {
        return Some(Verdict::unknown("nobody asked anything in the phase of liveness"));
    }
    if ended < calm && first.is_none() {
        let lasted = ended - began;
        return Some(Verdict::unknown(format!("the phase lasted {lasted} us of {bound_us}")));
    }
    let Some(first) = first.filter(|first| *first <= calm) else {
        return Some(fail(
            case,
            format!("no answer within {bound_us} us of the healing"),
            in_phase,
        ));
    };
    let unanswered = |operation: &&Operation<'_>| match operation.ended_us {
        Some(_) => operation.called_us >= calm && operation.done().is_none(),
        None => operation.called_us.max(began) + bound_us < ended,
    };
    let says = format!("not answered, though healed for more than {bound_us} us");
    if case.operations.iter().any(|operation| unanswered(&operation)) {
        return Some(fail(case, says, unanswered));
    }
    let first = first - began;
    Some(Verdict::pass(format!("{asked} operations after the healing, first answer {first} us")))
}

/// Operations that a verdict lists.
const LISTED_MAX: usize = 8;

fn fail(case: &Case<'_>, says: String, which: impl Fn(&&Operation<'_>) -> bool) -> Verdict {
    let ops: Vec<u64> = case.operations.iter().filter(which).map(Operation::op).collect();
    let count = ops.len();
    let listed = &ops[..count.min(LISTED_MAX)];
    let window = case.operations.describe(listed);
    Verdict::fail(format!("{count} operations: {says}"), listed.to_vec()).with_window(window)
}
