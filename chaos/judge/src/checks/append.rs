//! Append-only lists, alone and several in one transaction: after Elle (Kingsbury and Alvaro,
//! "Elle: Inferring Isolation Anomalies from Experimental Observations"). Elements are unique, so
//! a read tells the whole order of writes before it: who wrote what after whom, who read whom, who
//! missed whom. A cycle among these is an anomaly with a name. Not here: lists that can shrink.

mod graph;

use std::collections::{BTreeMap, BTreeSet};

use self::graph::{Edge, Graph, Kind};
use crate::case::{Case, Taken};
use crate::history::{Call, Fact};
use crate::operations::Operation;
use crate::verdict::Verdict;

/// A read of a list.
struct Read<'a> {
    op: u64,
    elements: &'a [u64],
}

/// What is known about a list.
#[derive(Default)]
struct List<'a> {
    /// Who appended an element.
    writer: BTreeMap<u64, u64>,
    reads: Vec<Read<'a>>,
}

impl List<'_> {
    /// The longest read: the order of versions.
    fn versions(&self) -> &[u64] {
        let longest = self.reads.iter().max_by_key(|read| read.elements.len());
        longest.map_or(&[], |read| read.elements)
    }
}

type Lists<'a> = BTreeMap<&'a str, List<'a>>;

/// Looks at appends and reads of lists; `None`: there are none.
pub fn check(case: &Case<'_>) -> Option<Verdict> {
    let lists = match lists(case) {
        Ok(lists) => lists,
        Err(verdict) => return Some(*verdict),
    };
    let reads: usize = lists.values().map(|list| list.reads.len()).sum();
    if lists.is_empty() {
        return None;
    }
    if reads == 0 {
        return Some(Verdict::unknown("nobody read a list"));
    }
    for (name, list) in &lists {
        let wrong = elements(case, name, list).or_else(|| lost(case, name, list));
        if wrong.is_some() {
            return wrong;
        }
    }
    let graph = dependencies(case, &lists);
    Some(match graph.anomaly() {
        Some((anomaly, cycle)) => cyclic(case, anomaly, &cycle),
        None => Verdict::pass(format!("{} lists, {reads} reads, no cycle", lists.len())),
    })
}

fn fail(case: &Case<'_>, says: String, ops: Vec<u64>) -> Verdict {
    let window = case.operations.describe(&ops);
    Verdict::fail(says, ops).with_window(window)
}

fn lists<'a>(case: &Case<'a>) -> Result<Lists<'a>, Box<Verdict>> {
    let mut lists = Lists::new();
    for operation in case.operations.iter() {
        let op = operation.op();
        for fact in &operation.invoke.facts {
            let Fact::Append { list, element } = fact else { continue };
            if let Some(other) = lists.entry(list).or_default().writer.insert(*element, op) {
                let says = format!("the workload appends {element} to {list} twice");
                return Err(Box::new(fail(case, says, vec![other, op])));
            }
        }
        for fact in operation.done().map_or(&[][..], |done| &done.facts) {
            if let Fact::List { list, elements } = fact {
                lists.entry(list).or_default().reads.push(Read { op, elements });
            }
        }
    }
    Ok(lists)
}

/// Every read is a beginning of the longest one, without repetition, and made of what was appended.
fn elements(case: &Case<'_>, name: &str, list: &List<'_>) -> Option<Verdict> {
    let versions = list.versions();
    for Read { op, elements } in &list.reads {
        let mut seen = BTreeSet::new();
        for element in *elements {
            let says = match list.writer.get(element) {
                _ if !seen.insert(*element) => format!("#{op} read {element} twice in {name}"),
                None => format!("#{op} read {element} in {name}, which nobody appended"),
                Some(writer) => {
                    let operation = case.operations.get(*writer);
                    let failed = operation.is_some_and(|o| case.took_effect(o) == Taken::No);
                    if !failed {
                        continue;
                    }
                    let says = format!(
                        "G1a: #{op} read {element} in {name}, whose append #{writer} failed"
                    );
                    return Some(fail(case, says, vec![*writer, *op]));
                }
            };
            return Some(fail(case, says, vec![*op]));
        }
        if !versions.starts_with(elements) {
            let longest = list.reads.iter().find(|read| read.elements == versions);
            let ops = longest.map(|read| read.op).into_iter().chain([*op]).collect();
            let says =
                format!("#{op} read {elements:?} in {name}, which is no beginning of {versions:?}");
            return Some(fail(case, says, ops));
        }
    }
    None
}

/// A read that was asked after an append was acknowledged contains it.
fn lost(case: &Case<'_>, name: &str, list: &List<'_>) -> Option<Verdict> {
    let position: BTreeMap<u64, usize> =
        list.versions().iter().enumerate().map(|(at, element)| (*element, at)).collect();
    let mut acknowledged: Vec<(usize, usize, u64, u64)> = Vec::new();
    for (element, writer) in &list.writer {
        let Some(operation) = case.operations.get(*writer) else { continue };
        if let (Some(line), Taken::Yes) = (operation.returned(), case.took_effect(operation)) {
            let at = position.get(element).copied().unwrap_or(usize::MAX);
            acknowledged.push((line, at, *element, *writer));
        }
    }
    acknowledged.sort_unstable();
    let mut acknowledged = acknowledged.into_iter().peekable();
    let mut reads: Vec<(&Operation<'_>, &Read<'_>)> =
        list.reads.iter().filter_map(|read| Some((case.operations.get(read.op)?, read))).collect();
    reads.retain(|(operation, _)| operation.invoke.call != Call::StaleQuery);
    reads.sort_by_key(|(operation, _)| operation.called);
    let mut furthest: Option<(usize, usize, u64, u64)> = None;
    for (operation, read) in reads {
        while let Some(next) = acknowledged.next_if(|(line, ..)| *line < operation.called) {
            furthest = furthest.filter(|furthest| furthest.1 >= next.1).or(Some(next));
        }
        let Some((_, at, element, writer)) = furthest else { continue };
        if read.elements.len() <= at {
            let what = if at == usize::MAX { "lost update" } else { "stale read" };
            let says = format!(
                "{what}: #{} read {name} without {element}, which #{writer} had appended before",
                read.op
            );
            return Some(fail(case, says, vec![writer, read.op]));
        }
    }
    None
}

/// Who must come before whom.
fn dependencies(case: &Case<'_>, lists: &Lists<'_>) -> Graph {
    let mut graph = Graph::default();
    for list in lists.values() {
        let versions = list.versions();
        let writer = |element: &u64| list.writer.get(element).copied();
        for pair in versions.windows(2) {
            graph.add(Kind::Ww, writer(&pair[0]), writer(&pair[1]));
        }
        // What nobody saw yet comes behind everything that somebody saw.
        let seen: BTreeSet<u64> = versions.iter().copied().collect();
        let unseen = list.writer.iter().filter(|(element, _)| !seen.contains(element));
        let taken =
            |op: &u64| case.operations.get(*op).is_some_and(|o| case.took_effect(o) == Taken::Yes);
        let unseen: Vec<u64> = unseen.map(|(_, op)| *op).filter(taken).collect();
        for op in &unseen {
            graph.add(Kind::Ww, versions.last().and_then(writer), Some(*op));
        }
        for Read { op, elements } in &list.reads {
            let stale = |o: &Operation<'_>| o.invoke.call == Call::StaleQuery;
            if case.operations.get(*op).is_some_and(stale) {
                continue;
            }
            graph.add(Kind::Wr, elements.last().and_then(writer), Some(*op));
            match versions.get(elements.len()) {
                Some(next) => graph.add(Kind::Rw, Some(*op), writer(next)),
                None => unseen.iter().for_each(|next| graph.add(Kind::Rw, Some(*op), Some(*next))),
            }
        }
    }
    real_time(case, &mut graph);
    graph
}

/// Edges from whoever has returned to whoever is called next; those that follow from others are
/// left out, so there are as many as calls at the same time, not as pairs.
fn real_time(case: &Case<'_>, graph: &mut Graph) {
    let mut moments: Vec<(usize, bool, &Operation<'_>)> = Vec::new();
    for operation in case.operations.iter().filter(|operation| graph.knows(operation.op())) {
        moments.push((operation.called, false, operation));
        moments.extend(operation.returned().map(|line| (line, true, operation)));
    }
    moments.sort_by_key(|(line, ..)| *line);
    let mut front: Vec<&Operation<'_>> = Vec::new();
    for (_, returns, operation) in moments {
        if returns {
            front.retain(|before| before.returned() > Some(operation.called));
            front.push(operation);
            continue;
        }
        for before in &front {
            graph.add(Kind::RealTime, Some(before.op()), Some(operation.op()));
        }
    }
}

fn cyclic(case: &Case<'_>, anomaly: &str, cycle: &[Edge]) -> Verdict {
    let steps = cycle.iter().map(|edge| format!("#{} {} ", edge.from, edge.kind.arrow()));
    let last = cycle.last().map_or(0, |edge| edge.to);
    let says = format!("{anomaly}: {}#{last}", steps.collect::<String>());
    fail(case, says, cycle.iter().map(|edge| edge.from).collect())
}
