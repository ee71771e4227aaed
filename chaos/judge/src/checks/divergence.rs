//! Divergence: what two replicas tell about one index is the same: the committed entry with its
//! outcomes and events, and the digest of each machine's tables. Not here: whether it is right.

use std::collections::BTreeMap;

use crate::case::Case;
use crate::history::{Committed, Digest, What};
use crate::verdict::Verdict;

/// Looks for two different tales of one index; `None`: each is told once.
pub fn check(case: &Case<'_>) -> Option<Verdict> {
    let mut entries: BTreeMap<u64, &Committed> = BTreeMap::new();
    let mut digests: BTreeMap<(u64, &str), &Digest> = BTreeMap::new();
    let mut compared = 0u64;
    for event in &case.history.events {
        match &event.what {
            What::Committed(entry) => {
                let first = *entries.entry(entry.index).or_insert(entry);
                if first != entry {
                    let says = format!("two entries were committed at index {}", entry.index);
                    let window = vec![format!("{first:?}"), format!("{entry:?}")];
                    return Some(Verdict::fail(says, Vec::new()).with_window(window));
                }
            }
            What::Digest(digest) => {
                let place = (digest.index, digest.machine.as_str());
                let first = *digests.entry(place).or_insert(digest);
                compared += u64::from(first.node != digest.node);
                if first.digest != digest.digest {
                    return Some(diverged(first, digest));
                }
            }
            _ => {}
        }
    }
    let entries = entries.len();
    let says = format!("{entries} entries, {compared} digests compared, all equal");
    (compared > 0).then(|| Verdict::pass(says))
}

fn diverged(one: &Digest, other: &Digest) -> Verdict {
    let Digest { node, index, machine, digest } = one;
    let says = format!("{machine} diverged at index {index}: nodes {node} and {}", other.node);
    let window =
        vec![format!("node {node}: {digest}"), format!("node {}: {}", other.node, other.digest)];
    Verdict::fail(says, Vec::new()).with_window(window)
}
