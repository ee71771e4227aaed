//! A run as a story that a person can read: faults, leaders and the operations that matter, one
//! line each, in order. Not here: making the run small, and pages.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use pgraft_judge::history::{Event, What};

/// Lines told at most; the middle of a longer story is left out.
const LINES_MAX: usize = 400;
/// Characters of a line.
const LINE_MAX: usize = 300;

/// The story of a history; of its operations only those in `operations` are told.
pub fn story(events: &[Event], operations: &BTreeSet<u64>) -> String {
    let mut lines: Vec<String> = Vec::new();
    for Event { at_us, what } in events {
        if let Some(told) = line(what, operations) {
            let seconds = *at_us as f64 / 1e6;
            let told: String = told.chars().take(LINE_MAX).collect();
            lines.push(format!("{seconds:>10.3}  {told}"));
        }
    }
    let mut text = String::new();
    let left_out = lines.len().saturating_sub(LINES_MAX);
    for (place, line) in lines.iter().enumerate() {
        if left_out > 0 && place == LINES_MAX / 2 {
            writeln!(text, "            ({left_out} lines left out)").expect(WRITES);
        }
        if left_out == 0 || place < LINES_MAX / 2 || place >= LINES_MAX / 2 + left_out {
            writeln!(text, "{line}").expect(WRITES);
        }
    }
    text
}

const WRITES: &str = "a string takes everything";

fn line(what: &What, operations: &BTreeSet<u64>) -> Option<String> {
    let ended = |op: &u64, how: String| operations.contains(op).then(|| format!("#{op} {how}"));
    match what {
        What::Invoke(invoke) => operations.contains(&invoke.op).then(|| {
            let (op, client, node) = (invoke.op, invoke.client, invoke.node);
            format!("#{op} client {client} asks node {node}: {}", invoke.says)
        }),
        What::Ok(done) => ended(&done.op, format!("is told {} (index {})", done.says, done.index)),
        What::Fail(failed) => ended(&failed.op, format!("failed: {}", failed.why)),
        What::Unknown(lost) => ended(&lost.op, format!("has an unknown fate: {}", lost.why)),
        What::Fault(fault) => {
            let how = if fault.begins { "begins" } else { "ends" };
            Some(format!("fault {} {how}: {}", fault.number, fault.says))
        }
        What::Role(role) if role.role == "leader" => {
            Some(format!("node {} leads term {}", role.node, role.term))
        }
        What::Role(role) if role.role == "down" => Some(format!("node {} is down", role.node)),
        What::Mark(mark) => Some(format!("({})", mark.name)),
        What::Violation(violation) => {
            Some(format!("VIOLATION of {}: {}", violation.of, violation.says))
        }
        What::Phase(phase) => Some(format!("phase {}", phase.name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use pgraft_judge::history::{Ended, Fault, Phase};

    use super::*;

    fn event(at_us: u64, what: What) -> Event {
        Event { at_us, what }
    }

    #[test]
    fn faults_and_chosen_operations_are_told_in_order() {
        let fault = Fault { number: 0, begins: true, says: "kill the leader".to_owned() };
        let lost = |op| What::Unknown(Ended { op, why: "no answer".to_owned() });
        let events = [event(5, What::Fault(fault)), event(1_500, lost(7)), event(9_000, lost(8))];
        assert_eq!(
            story(&events, &BTreeSet::from([7])),
            "     0.000  fault 0 begins: kill the leader\n     \
             0.002  #7 has an unknown fate: no answer\n"
        );
    }

    #[test]
    fn the_middle_of_a_long_story_is_left_out() {
        let phase = |at_us| event(at_us, What::Phase(Phase { name: "safety".to_owned() }));
        let events: Vec<Event> = (0..1_000).map(phase).collect();
        let told = story(&events, &BTreeSet::new());
        assert_eq!(told.lines().count(), LINES_MAX + 1);
        assert!(told.contains("(600 lines left out)"), "{told}");
    }
}
