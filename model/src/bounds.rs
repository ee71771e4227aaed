//! How far a run goes, and in which order.

use serde::Serialize;

/// The order in which states are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Search {
    /// All states, the nearest first: with one thread, examples are as short as they can be.
    Breadth,
    /// Random walks from a seed, for depth. Ends with `states` or `seconds`.
    Walks {
        /// All chance of the run, with one thread.
        seed: u64,
    },
}

/// What a run may cost. Each model says in its documentation what else bounds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// Nodes of the modelled cluster, or clients; without meaning for a model of one node.
    pub servers: usize,
    /// Actions from the beginning to the last state that is looked at.
    pub depth: Option<usize>,
    /// Generated states after which the run ends.
    pub states: Option<usize>,
    /// Seconds after which the run ends.
    pub seconds: u64,
    /// Threads that search. Only one finds the shortest examples and repeats a run exactly; with
    /// more, a state may be reached by a longer way first, so that `depth` cuts it too early.
    pub threads: usize,
    /// In which order.
    pub search: Search,
}

impl Bounds {
    /// Breadth first on one thread, to the given depth, for at most a minute.
    pub fn to_depth(servers: usize, depth: usize) -> Bounds {
        let (states, seconds, threads) = (None, 60, 1);
        Bounds { servers, depth: Some(depth), states, seconds, threads, search: Search::Breadth }
    }

    /// All states there are, breadth first on one thread, for at most a minute.
    pub fn everything(servers: usize) -> Bounds {
        Bounds { depth: None, ..Bounds::to_depth(servers, 0) }
    }

    /// Random walks of at most `depth` actions until `states` states were generated.
    pub fn walks(servers: usize, depth: usize, states: usize, seed: u64) -> Bounds {
        let search = Search::Walks { seed };
        Bounds { states: Some(states), search, ..Bounds::to_depth(servers, depth) }
    }
}
