//! Dependencies between transactions, and the cycles among them: strongly connected components by
//! Tarjan, then the shortest cycle in one. Not here: where dependencies come from.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Why one comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// It wrote the version before.
    Ww,
    /// It wrote what the other read.
    Wr,
    /// It read the version before the one that the other wrote.
    Rw,
    /// It had returned before the other was called.
    RealTime,
}

impl Kind {
    pub(super) fn arrow(self) -> &'static str {
        match self {
            Kind::Ww => "-ww->",
            Kind::Wr => "-wr->",
            Kind::Rw => "-rw->",
            Kind::RealTime => "-realtime->",
        }
    }
}

/// One comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) kind: Kind,
}

/// Transactions by number, and what comes behind each.
#[derive(Debug, Default)]
pub(super) struct Graph {
    edges: BTreeMap<u64, BTreeSet<Edge>>,
}

/// Names, and the kinds that a cycle of that name is made of; without real time.
const ANOMALIES: [(&str, &[Kind]); 4] = [
    ("G0", &[Kind::Ww]),
    ("G1c", &[Kind::Ww, Kind::Wr]),
    ("G-single", &[Kind::Ww, Kind::Wr, Kind::Rw]),
    ("G2", &[Kind::Ww, Kind::Wr, Kind::Rw]),
];

impl Graph {
    /// Adds an edge between two transactions that are known and not the same.
    pub(super) fn add(&mut self, kind: Kind, from: Option<u64>, to: Option<u64>) {
        let (Some(from), Some(to)) = (from, to) else { return };
        self.edges.entry(to).or_default();
        let out = self.edges.entry(from).or_default();
        if from != to {
            out.insert(Edge { from, to, kind });
        }
    }

    /// Whether anything is known about a transaction.
    pub(super) fn knows(&self, op: u64) -> bool {
        self.edges.contains_key(&op)
    }

    /// The worst anomaly, and a cycle that shows it: first those without real time.
    pub(super) fn anomaly(&self) -> Option<(&'static str, Vec<Edge>)> {
        const REAL_TIME: [&str; 4] =
            ["G0-realtime", "G1c-realtime", "G-single-realtime", "G2-realtime"];
        for (number, (name, kinds)) in ANOMALIES.iter().enumerate() {
            let single = number == 2;
            if let Some(cycle) = self.cycle(kinds, single) {
                return Some((name, cycle));
            }
            let with: Vec<Kind> = kinds.iter().copied().chain([Kind::RealTime]).collect();
            if let Some(cycle) = self.cycle(&with, single) {
                return Some((REAL_TIME[number], cycle));
            }
        }
        None
    }

    /// The shortest cycle of these kinds in a component; `single`: with one rw only.
    fn cycle(&self, kinds: &[Kind], single: bool) -> Option<Vec<Edge>> {
        let mut shortest: Option<Vec<Edge>> = None;
        for component in self.components(kinds) {
            let inside = |edge: &Edge| kinds.contains(&edge.kind) && component.contains(&edge.to);
            for from in &component {
                for edge in self.edges[from].iter().filter(|edge| inside(edge)) {
                    if single && edge.kind != Kind::Rw {
                        continue;
                    }
                    let free = |next: &Edge| inside(next) && !(single && next.kind == Kind::Rw);
                    let Some(back) = self.path(edge.to, edge.from, free) else { continue };
                    if shortest.as_ref().is_none_or(|cycle| back.len() + 1 < cycle.len()) {
                        shortest = Some([*edge].into_iter().chain(back).collect());
                    }
                }
            }
            if shortest.is_some() {
                break;
            }
        }
        shortest
    }

    /// The shortest way, by breadth.
    fn path(&self, from: u64, to: u64, free: impl Fn(&Edge) -> bool) -> Option<Vec<Edge>> {
        let mut came: BTreeMap<u64, Edge> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if at == to {
                let mut way = Vec::new();
                let mut at = to;
                while at != from {
                    way.push(came[&at]);
                    at = came[&at].from;
                }
                way.reverse();
                return Some(way);
            }
            for edge in self.edges[&at].iter().filter(|edge| free(edge)) {
                if edge.to != from && !came.contains_key(&edge.to) {
                    came.insert(edge.to, *edge);
                    queue.push_back(edge.to);
                }
            }
        }
        None
    }

    /// Tarjan's strongly connected components of more than one transaction, without recursion.
    fn components(&self, kinds: &[Kind]) -> Vec<BTreeSet<u64>> {
        let mut tarjan = Tarjan::default();
        for root in self.edges.keys() {
            if tarjan.index.contains_key(root) {
                continue;
            }
            let mut calls = vec![(*root, tarjan.enter(*root, self, kinds))];
            while let Some((node, next)) = calls.last_mut() {
                let node = *node;
                let Some(to) = next.pop() else {
                    calls.pop();
                    tarjan.leave(node, calls.last().map(|(parent, _)| *parent));
                    continue;
                };
                if !tarjan.index.contains_key(&to) {
                    let next = tarjan.enter(to, self, kinds);
                    calls.push((to, next));
                } else if tarjan.on_stack.contains(&to) {
                    let low = tarjan.index[&to];
                    tarjan.lower(node, low);
                }
            }
        }
        tarjan.components
    }
}

/// The bookkeeping of Tarjan's algorithm.
#[derive(Default)]
struct Tarjan {
    index: BTreeMap<u64, usize>,
    low: BTreeMap<u64, usize>,
    stack: Vec<u64>,
    on_stack: BTreeSet<u64>,
    components: Vec<BTreeSet<u64>>,
}

impl Tarjan {
    fn enter(&mut self, node: u64, graph: &Graph, kinds: &[Kind]) -> Vec<u64> {
        let number = self.index.len();
        self.index.insert(node, number);
        self.low.insert(node, number);
        self.stack.push(node);
        self.on_stack.insert(node);
        let edges = graph.edges[&node].iter().filter(|edge| kinds.contains(&edge.kind));
        edges.map(|edge| edge.to).collect()
    }

    fn lower(&mut self, node: u64, low: usize) {
        let known = self.low.get_mut(&node).expect("it was entered");
        *known = low.min(*known);
    }

    fn leave(&mut self, node: u64, parent: Option<u64>) {
        let low = self.low[&node];
        if let Some(parent) = parent {
            self.lower(parent, low);
        }
        if low != self.index[&node] {
            return;
        }
        let mut component = BTreeSet::new();
        while let Some(top) = self.stack.pop() {
            self.on_stack.remove(&top);
            component.insert(top);
            if top == node {
                break;
            }
        }
        if component.len() > 1 {
            self.components.push(component);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(Kind, u64, u64)]) -> Graph {
        let mut graph = Graph::default();
        edges.iter().for_each(|(kind, from, to)| graph.add(*kind, Some(*from), Some(*to)));
        graph
    }

    fn name(edges: &[(Kind, u64, u64)]) -> Option<&'static str> {
        graph(edges).anomaly().map(|(name, _)| name)
    }

    #[test]
    fn no_cycle_no_anomaly() {
        use Kind::{RealTime, Rw, Wr, Ww};
        assert_eq!(name(&[(Ww, 1, 2), (Wr, 2, 3), (Rw, 1, 3), (RealTime, 1, 3)]), None);
    }

    #[test]
    fn canary_cycles_have_their_names() {
        use Kind::{RealTime, Rw, Wr, Ww};
        assert_eq!(name(&[(Ww, 1, 2), (Ww, 2, 1)]), Some("G0"));
        assert_eq!(name(&[(Ww, 1, 2), (Wr, 2, 1)]), Some("G1c"));
        assert_eq!(name(&[(Ww, 1, 2), (Wr, 2, 3), (Rw, 3, 1)]), Some("G-single"));
        assert_eq!(name(&[(Rw, 1, 2), (Rw, 2, 1)]), Some("G2"));
        assert_eq!(name(&[(Rw, 1, 2), (RealTime, 2, 1)]), Some("G-single-realtime"));
        assert_eq!(name(&[(Ww, 1, 2), (RealTime, 2, 1)]), Some("G0-realtime"));
    }

    #[test]
    fn the_shortest_cycle_is_told() {
        use Kind::Ww;
        let long = graph(&[(Ww, 1, 2), (Ww, 2, 3), (Ww, 3, 4), (Ww, 4, 1), (Ww, 3, 2)]);
        let (_, cycle) = long.anomaly().expect("there are two");
        assert_eq!(cycle.len(), 2);
        let ends: BTreeSet<u64> = cycle.iter().map(|edge| edge.from).collect();
        assert_eq!(ends, BTreeSet::from([2, 3]));
    }
}
