//! The bank: money moves between accounts and is never made or lost, so whatever is read at one
//! point adds up to the same. Not here: who may overdraw.

use crate::case::Case;
use crate::history::Fact;
use crate::verdict::Verdict;

/// Adds up every [`Fact::Balances`]; `None`: nobody read any.
pub fn check(case: &Case<'_>) -> Option<Verdict> {
    let mut reads = 0u64;
    for operation in case.operations.iter() {
        for fact in operation.done().map_or(&[][..], |done| &done.facts) {
            let Fact::Balances { balances, total } = fact else { continue };
            reads += 1;
            let sum: i128 = balances.iter().map(|balance| i128::from(*balance)).sum();
            if sum != i128::from(*total) {
                let op = operation.op();
                let says = format!("#{op} read {balances:?}: {sum} instead of {total}");
                let window = vec![operation.describe()];
                return Some(Verdict::fail(says, vec![op]).with_window(window));
            }
        }
    }
    (reads > 0).then(|| Verdict::pass(format!("{reads} reads, the total never changed")))
}
