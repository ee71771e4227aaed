//! Durability: every acknowledged command is in the committed log, at the index that the client was
//! told, with the outcome that the client was told. Not here: commands that are there too often.

use crate::case::Case;
use crate::unknowns::Fate;
use crate::verdict::Verdict;

/// Looks for acknowledged commands that the log does not have.
pub fn check(case: &Case<'_>) -> Verdict {
    if case.log.entries.is_empty() {
        return Verdict::unknown("the history tells no committed log");
    }
    let (mut found, mut open) = (0u64, 0u64);
    for operation in case.operations.iter().filter(|operation| operation.is_command()) {
        let Some(done) = operation.done() else { continue };
        let (op, index) = (operation.op(), done.index);
        let complaint = match case.fates.get(op) {
            Fate::Placed(number) => match &case.log.commands[number].outcome {
                Some(outcome) if *outcome != done.reply => {
                    format!("#{op} was told another outcome than index {index} has: {outcome:?}")
                }
                _ => {
                    found += 1;
                    continue;
                }
            },
            Fate::Absent => format!("#{op} was acknowledged at index {index}, which lacks it"),
            Fate::Open => {
                open += 1;
                continue;
            }
        };
        return Verdict::fail(complaint, vec![op]).with_window(vec![operation.describe()]);
    }
    match (found, open) {
        (0, 0) => Verdict::unknown("no command was acknowledged"),
        (_, 0) => Verdict::pass(format!("{found} acknowledged commands are in the log")),
        _ => Verdict::unknown(format!("{open} acknowledged commands behind the told log")),
    }
}
