//! The kinds of faults that a scenario may allow, and which parameters each takes. Not here: how
//! they are drawn ([`crate::swarm`]), and what they do ([`crate::plan::Fault`]).

use std::fmt;

use serde::Deserialize;

use super::{Allowed, Range};

/// A kind of fault, as it is named in a scenario's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Two sides that do not hear each other.
    Partition,
    /// Some hear the others, and are not heard.
    OneWay,
    /// Each hears its two neighbours only.
    Ring,
    /// Two sides that only one node in the middle hears.
    Bridge,
    /// One node alone.
    Isolate,
    /// Frames are lost, repeated, reordered, damaged.
    Noise,
    /// Frames take longer.
    Delay,
    /// Frames of one direction of one link take longer.
    SlowLink,
    /// One process dies.
    Crash,
    /// One machine loses power.
    PowerLoss,
    /// One process dies at a point of its work.
    CrashAt,
    /// One machine loses power at a point of its work.
    PowerLossAt,
    /// All processes die.
    CrashAll,
    /// All machines lose power.
    PowerLossAll,
    /// A graceful stop and start.
    Restart,
    /// A process stands still.
    Pause,
    /// A disk is lost; a new member takes the place.
    Wipe,
    /// A node comes back with an older disk.
    OldDisk,
    /// Syncs do nothing, but the power stays.
    LyingSync,
    /// Syncs do nothing, and then the power fails.
    LyingPowerLoss,
    /// A write fails.
    WriteError,
    /// A sync fails.
    SyncError,
    /// No space.
    DiskFull,
    /// Every job of the disk takes longer.
    SlowDisk,
    /// A write goes elsewhere.
    Misdirect,
    /// A bit of raft.db flips.
    RotLog,
    /// A bit of state.db flips.
    RotState,
    /// The wall clock jumps.
    ClockJump,
    /// All clocks run faster or slower.
    ClockSkew,
    /// A new node joins.
    AddNode,
    /// A member leaves.
    RemoveNode,
    /// Leadership is handed over.
    Transfer,
    /// A client gives one node no rest.
    Hammer,
    /// A machine comes to run another module, or goes back.
    Upgrade,
    /// A graceful stop, and a start of another build of the program.
    OtherBuild,
}

/// What says how much of a fault there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Milliseconds: key `ms`.
    Ms,
    /// A share: key `permille`.
    Permille,
    /// A number of calls to wait for: key `after`.
    After,
}

/// The parameters of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// It hits one node: key `targets`, optional.
    pub aims: bool,
    /// It lasts: key `for_ms`, required.
    pub lasts: bool,
    /// How much of it there is, required.
    pub measure: Option<Measure>,
}

impl Kind {
    /// Which keys a scenario gives it.
    pub const fn parameters(self) -> Parameters {
        let (aims, lasts, measure) = match self {
            Kind::Partition | Kind::OneWay | Kind::Ring | Kind::Bridge => (false, true, None),
            Kind::CrashAll | Kind::PowerLossAll => (false, true, None),
            Kind::Isolate | Kind::Crash | Kind::PowerLoss | Kind::Restart => (true, true, None),
            Kind::OtherBuild => (true, true, None),
            Kind::Pause | Kind::Wipe | Kind::OldDisk | Kind::LyingSync => (true, true, None),
            Kind::LyingPowerLoss | Kind::DiskFull | Kind::Hammer => (true, true, None),
            Kind::RotLog | Kind::RotState => (true, true, None),
            Kind::Noise => (false, true, Some(Measure::Permille)),
            Kind::Delay | Kind::SlowLink => (false, true, Some(Measure::Ms)),
            Kind::SlowDisk => (true, true, Some(Measure::Ms)),
            Kind::CrashAt | Kind::PowerLossAt => (true, true, Some(Measure::After)),
            Kind::WriteError | Kind::SyncError => (true, true, Some(Measure::After)),
            Kind::Misdirect => (true, true, Some(Measure::After)),
            Kind::ClockJump => (true, false, Some(Measure::Ms)),
            Kind::ClockSkew => (true, true, Some(Measure::Permille)),
            Kind::AddNode | Kind::Transfer | Kind::Upgrade => (false, false, None),
            Kind::RemoveNode => (true, false, None),
        };
        Parameters { aims, lasts, measure }
    }

    /// Nodes without which it is nothing, or something else.
    pub const fn nodes_min(self) -> u64 {
        match self {
            // Three in a ring hear each other all.
            Kind::Ring => 4,
            Kind::Bridge => 3,
            Kind::Partition | Kind::OneWay | Kind::SlowLink | Kind::Transfer => 2,
            _ => 1,
        }
    }

    /// What is wrong with the parameters that a scenario gives it.
    pub(super) fn complaint(self, allowed: &Allowed, nodes: u64) -> Option<String> {
        let Parameters { aims, lasts, measure } = self.parameters();
        let given = |key: &'static str, wanted: bool, range: &Option<Range>| match (wanted, range) {
            (true, None) => Some(format!("needs the key {key}")),
            (false, Some(_)) => Some(format!("has no use for the key {key}")),
            _ => None,
        };
        let keys = [
            ("for_ms", lasts, &allowed.for_ms),
            ("ms", measure == Some(Measure::Ms), &allowed.ms),
            ("permille", measure == Some(Measure::Permille), &allowed.permille),
            ("after", measure == Some(Measure::After), &allowed.after),
        ];
        let wrong = keys.into_iter().find_map(|(key, wanted, range)| given(key, wanted, range));
        wrong
            .or_else(|| {
                (!aims && allowed.targets.is_some())
                    .then(|| "has no use for the key targets".into())
            })
            .or_else(|| {
                let is_empty = allowed.targets.as_ref().is_some_and(Vec::is_empty);
                is_empty.then(|| "has an empty list of targets".into())
            })
            .or_else(|| {
                let high = allowed.permille.map_or(0, |range| range.high);
                (high >= 1000).then(|| format!("has permille {high}, less than 1000 is allowed"))
            })
            .or_else(|| {
                let min = self.nodes_min();
                (nodes < min).then(|| format!("needs at least {min} nodes, there are {nodes}"))
            })
    }
}

impl fmt::Display for Kind {
    /// As in a scenario's file: `power_loss_at`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, letter) in format!("{self:?}").chars().enumerate() {
            if letter.is_uppercase() && place > 0 {
                write!(f, "_")?;
            }
            write!(f, "{}", letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}
