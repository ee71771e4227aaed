//! Scenarios: what may go wrong in a run, what clients do meanwhile, and what must have happened
//! for the run to count. Each is a short file under chaos/scenarios, built into the program.
//!
//! Not here: chance. A scenario gives ranges; [`crate::swarm`] draws from them.

pub mod kind;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use kind::{Kind, Measure, Parameters};

use crate::mark;
use crate::plan::budget::Budget;
use crate::workload::Name;

/// A scenario.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// As in the name of its file.
    pub name: String,
    /// What it is about, in a sentence.
    pub about: String,
    /// Voters at the start.
    pub nodes: u64,
    /// How long it runs.
    pub phases: Phases,
    /// Who asks, and how often.
    pub clients: Clients,
    /// What they ask: workloads by weight.
    pub workloads: BTreeMap<Name, u64>,
    /// Settings of the nodes.
    #[serde(default)]
    pub node: NodeSettings,
    /// The network and the disks when nothing is wrong.
    #[serde(default)]
    pub weather: Weather,
    /// What may go wrong.
    #[serde(default)]
    pub faults: BTreeMap<Kind, Allowed>,
    /// What must have happened.
    pub sometimes: Sometimes,
}

/// Numbers from `low` to `high`, both included; in a file `[low, high]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "[u64; 2]")]
pub struct Range {
    /// The smallest.
    pub low: u64,
    /// The largest.
    pub high: u64,
}

impl TryFrom<[u64; 2]> for Range {
    type Error = String;

    fn try_from([low, high]: [u64; 2]) -> Result<Range, String> {
        if low > high {
            return Err(format!("range [{low}, {high}]: the first is greater than the second"));
        }
        Ok(Range { low, high })
    }
}

/// How long a run is; simulated milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phases {
    /// Anything goes, nothing may be wrong.
    pub safety_ms: Range,
    /// All is healed: within this time the cluster must have converged and must answer.
    pub liveness_ms: u64,
}

/// Who asks, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// How many there are.
    pub count: Range,
    /// Operations that each may invoke, spread over the safety phase.
    pub operations: Range,
    /// Milliseconds a client waits for an answer.
    pub timeout_ms: Range,
}

/// Settings of the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSettings {
    /// Milliseconds within which a follower has noticed that its leader is gone.
    pub election_timeout_ms: u64,
    /// Milliseconds between heartbeats.
    pub heartbeat_interval_ms: u64,
    /// Entries kept in the log behind the slowest active follower; few force snapshots. None: as
    /// shipped.
    pub log_keep_entries: Option<u64>,
    /// Milliseconds between checkpoints; what is in none cannot be truncated from the log. None: as
    /// shipped.
    pub checkpoint_ms: Option<u64>,
    /// Bytes of the log beyond which it is truncated whoever needs it. None: as shipped.
    pub log_bytes_max: Option<u64>,
    /// Nodes of another cluster that take themselves for as many of ours.
    pub strangers: u64,
}

impl Default for NodeSettings {
    fn default() -> NodeSettings {
        NodeSettings {
            election_timeout_ms: 500,
            heartbeat_interval_ms: 50,
            log_keep_entries: None,
            checkpoint_ms: None,
            log_bytes_max: None,
            strangers: 0,
        }
    }
}

/// The network and the disks when nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weather {
    /// Milliseconds that a frame takes: the most that is drawn for the run.
    pub latency_ms: Range,
    /// Milliseconds that a job of the disk takes: the most that is drawn for the run.
    pub disk_ms: Range,
}

impl Default for Weather {
    fn default() -> Weather {
        Weather { latency_ms: Range { low: 1, high: 20 }, disk_ms: Range { low: 0, high: 10 } }
    }
}

/// How a kind of fault may come.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// In so many of a thousand runs it comes at all; 1000: at least once in every run.
    #[serde(default = "usual_chance")]
    pub chance_permille: u64,
    /// How often, in such a run.
    pub per_minute: Range,
    /// How long each time, milliseconds.
    pub for_ms: Option<Range>,
    /// Whom it hits; none: anybody or the leader.
    pub targets: Option<Vec<Aim>>,
    /// How much, in milliseconds.
    pub ms: Option<Range>,
    /// How much, as a share.
    pub permille: Option<Range>,
    /// After how many calls.
    pub after: Option<Range>,
}

fn usual_chance() -> u64 {
    600
}

/// Whom a fault is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// A node drawn beforehand.
    Any,
    /// Who leads when it begins.
    Leader,
    /// The follower with the lowest number when it begins.
    Follower,
}

/// Marks (see [`crate::mark`]) without which a scenario has not tested anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sometimes {
    /// In every run.
    pub run: Vec<String>,
    /// In some run of a sweep of `sweep_runs` runs or more.
    pub sweep: Vec<String>,
    /// Runs after which those of `sweep` must have been seen.
    pub sweep_runs: u64,
}

/// What is wrong with a scenario's file, or its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// Not TOML, an unknown key, or a value of another type.
    #[error("scenario {name}: {error}")]
    Malformed {
        /// Of the file.
        name: String,
        /// Names the key and the line.
        error: String,
    },
    /// A value that makes no sense.
    #[error("scenario {name}: {key} {why}")]
    Value {
        /// Of the file.
        name: String,
        /// The key.
        key: String,
        /// What is wrong, with value and limit.
        why: String,
    },
    /// No such scenario.
    #[error("there is no scenario \"{name}\"; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

impl Scenario {
    /// Reads a scenario's file; `name` is the file's without `.toml`.
    ///
    /// # Errors
    /// When it is malformed, has a key that nobody knows, or a value that makes no sense.
    pub fn parse(name: &str, text: &str) -> Result<Scenario, ScenarioError> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| {
            ScenarioError::Malformed { name: name.to_owned(), error: error.to_string() }
        })?;
        match scenario.complaint(name) {
            Some((key, why)) => Err(ScenarioError::Value { name: name.to_owned(), key, why }),
            None => Ok(scenario),
        }
    }

    /// A built-in scenario.
    ///
    /// # Errors
    /// When there is none of that name: the error lists those there are.
    pub fn find(name: &str) -> Result<Scenario, ScenarioError> {
        let found = FILES.iter().find(|(known, _)| *known == name);
        let Some((name, text)) = found else {
            let known = FILES.map(|(name, _)| name).join(", ");
            return Err(ScenarioError::Unknown { name: name.to_owned(), known });
        };
        Scenario::parse(name, text)
    }

    /// All built-in scenarios, from the simplest to the hardest.
    ///
    /// # Panics
    /// When a built-in file is wrong: a test reads them all.
    pub fn all() -> Vec<Scenario> {
        let read = |(name, text)| Scenario::parse(name, text).expect("a test reads every file");
        FILES.into_iter().map(read).collect()
    }

    /// What may be destroyed in it.
    pub fn budget(&self) -> Budget {
        let election_ms = self.node.election_timeout_ms;
        Budget {
            voters: self.nodes,
            settle_ms: 3 * election_ms,
            away_ms: 4 * election_ms,
            rejoin_ms: 12 * election_ms,
        }
    }

    /// The first key whose value makes no sense, and why.
    fn complaint(&self, file: &str) -> Option<(String, String)> {
        let plain = |key: &str, why: Option<String>| why.map(|why| (key.to_owned(), why));
        let zero = |value: u64| (value == 0).then(|| "must not be 0".to_owned());
        let other_name = (self.name != file).then(|| format!("is \"{}\"", self.name));
        let no_about = self.about.is_empty().then(|| "is empty".to_owned());
        let even = (self.nodes.is_multiple_of(2) || self.nodes > 9)
            .then(|| format!("is {}, allowed are 1, 3, 5, 7 and 9", self.nodes));
        let slow_heartbeat = (5 * self.node.heartbeat_interval_ms > self.node.election_timeout_ms)
            .then(|| "is more than a fifth of election_timeout_ms".to_owned());
        let no_work = (self.workloads.values().sum::<u64>() == 0).then(|| "is empty".to_owned());
        plain("name", other_name)
            .or_else(|| plain("about", no_about))
            .or_else(|| plain("nodes", even))
            .or_else(|| plain("phases.safety_ms", zero(self.phases.safety_ms.low)))
            .or_else(|| plain("phases.liveness_ms", zero(self.phases.liveness_ms)))
            .or_else(|| plain("clients.count", zero(self.clients.count.low)))
            .or_else(|| plain("clients.operations", zero(self.clients.operations.low)))
            .or_else(|| plain("clients.timeout_ms", zero(self.clients.timeout_ms.low)))
            .or_else(|| plain("node.heartbeat_interval_ms", slow_heartbeat))
            .or_else(|| plain("workloads", no_work))
            .or_else(|| self.faults_complaint())
            .or_else(|| self.sometimes_complaint())
    }

    fn faults_complaint(&self) -> Option<(String, String)> {
        self.faults.iter().find_map(|(kind, allowed)| {
            let never = (allowed.per_minute.high == 0).then(|| "never comes".to_owned());
            let chance = allowed.chance_permille;
            let sure = (chance == 0 || chance > 1000)
                .then(|| format!("has chance_permille {chance}, allowed are 1 to 1000"));
            let complaint = kind.complaint(allowed, self.nodes);
            never.or(sure).or(complaint).map(|why| (format!("faults.{kind}"), why))
        })
    }

    fn sometimes_complaint(&self) -> Option<(String, String)> {
        let Sometimes { run, sweep, sweep_runs } = &self.sometimes;
        let unknown = run.iter().chain(sweep).find(|name| !mark::is_known(name));
        let twice = run.iter().find(|name| sweep.contains(name));
        let why = unknown
            .map(|name| format!("asks for \"{name}\", which is no mark"))
            .or_else(|| twice.map(|name| format!("asks for \"{name}\" in run and in sweep")))
            .or_else(|| run.is_empty().then(|| "asks for nothing in every run".to_owned()))
            .or_else(|| {
                let no_number = !sweep.is_empty() && *sweep_runs == 0;
                no_number.then(|| "has a list sweep and no sweep_runs".to_owned())
            })?;
        Some(("sometimes".to_owned(), why))
    }
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../scenarios/", $name, ".toml")))),*]
    };
}

/// The built-in files by name.
const FILES: [(&str, &str); 29] = files![
    "quiet",
    "register-hot-key",
    "crowd",
    "bank",
    "append",
    "leases",
    "watch",
    "partitions",
    "one-way",
    "ring-bridge",
    "noisy-network",
    "strangers",
    "slow-link",
    "crashes",
    "restarts",
    "pauses",
    "clocks",
    "power-loss",
    "mid-commit-crash",
    "disk-errors",
    "disk-full",
    "lying-disk",
    "rot",
    "old-disk",
    "wipe-and-rejoin",
    "membership",
    "live-upgrade",
    "snapshots",
    "everything",
];

#[cfg(test)]
mod tests;
