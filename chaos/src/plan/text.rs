//! Plans for people: `partition 1 | 2 3`. Not here: what programs read (`file`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Fault, Plan, Point, Step, Target, Wanted};

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Node(place) => write!(f, "node {place}"),
            Target::Leader => write!(f, "the leader"),
            Target::Follower => write!(f, "the first follower"),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Point::Disk => "disk call",
            Point::Step => "step",
            Point::Frame => "frame",
            Point::Job => "job",
        })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wanted::Again => "upgrade kv to the same with other bytes",
            Wanted::Next => "upgrade kv to the next schema",
            Wanted::Torn => "upgrade kv to a module whose migration fails",
            Wanted::Back => "roll kv back",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Cut { shape, pairs } => write_cut(f, shape, pairs),
            Fault::Isolate { target } => write!(f, "isolate {target}"),
            Fault::Noise { lose, duplicate, reorder, corrupt } => {
                write!(f, "noise")?;
                let shares = [
                    (lose, "lost"),
                    (duplicate, "twice"),
                    (reorder, "out of order"),
                    (corrupt, "corrupt"),
                ];
                let told = shares.iter().filter(|(share, _)| **share > 0);
                let told: Vec<String> =
                    told.map(|(share, word)| format!(" {} % {word}", Percent(**share))).collect();
                write!(f, "{}", if told.is_empty() { " of nothing".into() } else { told.join(",") })
            }
            Fault::Delay { ms_max } => write!(f, "delay frames by up to {ms_max} ms"),
            Fault::SlowLink { from, to, ms } => write!(f, "slow link {from}>{to}, {ms} ms"),
            Fault::Crash { .. } | Fault::CrashAt { .. } | Fault::CrashAll { .. } => {
                write_crash(f, self)
            }
            Fault::Restart { target } => write!(f, "restart {target}"),
            Fault::Pause { target } => write!(f, "pause {target}"),
            Fault::ClockJump { target, ms } => write!(f, "clock of {target} jumps {ms:+} ms"),
            Fault::ClockSkew { target, permille } => {
                let (sign, share) =
                    (if *permille < 0 { '-' } else { '+' }, permille.unsigned_abs());
                write!(f, "clocks of {target} run {sign}{} %", Percent(share))
            }
            Fault::AddNode => write!(f, "add a node"),
            Fault::RemoveNode { target } => write!(f, "remove {target}"),
            Fault::Transfer { to } => write!(f, "transfer leadership to node {to}"),
            Fault::Hammer { target } => write!(f, "hammer {target}"),
            Fault::Upgrade { to, force } => {
                write!(f, "{to}{}", if *force { ", a majority is enough" } else { "" })
            }
            Fault::OtherBuild { target } => write!(f, "another build for {target}"),
            disk => write_disk(f, disk),
        }
    }
}

fn write_crash(f: &mut fmt::Formatter<'_>, fault: &Fault) -> fmt::Result {
    let what = |power: bool| if power { "power loss of" } else { "kill" };
    match fault {
        Fault::Crash { target, power } => write!(f, "{} {target}", what(*power)),
        Fault::CrashAt { target, point, after, power } => {
            write!(f, "{} {target} at {point} {after}", what(*power))
        }
        Fault::CrashAll { power } => write!(f, "{} all nodes", what(*power)),
        other => unreachable!("{other:?} is no crash"),
    }
}

fn write_disk(f: &mut fmt::Formatter<'_>, fault: &Fault) -> fmt::Result {
    match fault {
        Fault::Wipe { target } => write!(f, "wipe {target}"),
        Fault::OldDisk { target } => write!(f, "older disk for {target}"),
        Fault::LyingSync { target } => write!(f, "lying syncs on {target}"),
        Fault::DiskError { target, on_sync, after } => {
            let call = if *on_sync { "sync" } else { "write" };
            write!(f, "disk error on {target} at {call} {after}")
        }
        Fault::DiskFull { target } => write!(f, "disk full on {target}"),
        Fault::SlowDisk { target, ms_max } => write!(f, "slow disk on {target}, up to {ms_max} ms"),
        Fault::Misdirect { target, after } => write!(f, "misdirect write {after} of {target}"),
        Fault::BitFlip { target, state, byte_permille, bit } => {
            let file = if *state { "state.db" } else { "raft.db" };
            let place = Percent(*byte_permille);
            write!(f, "flip bit {bit} at {place} % of {file} of {target}")
        }
        other => unreachable!("{other:?} is not of a disk"),
    }
}

/// Per mille as per cent.
struct Percent(u32);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10 {
            0 => write!(f, "{}", self.0 / 10),
            tenths => write!(f, "{}.{tenths}", self.0 / 10),
        }
    }
}

/// Sides if the pairs separate sides completely; else the pairs, those cut both ways as `1-2`.
fn write_cut(f: &mut fmt::Formatter<'_>, shape: &str, pairs: &[(u64, u64)]) -> fmt::Result {
    let pairs: BTreeSet<(u64, u64)> = pairs.iter().copied().collect();
    write!(f, "{shape}")?;
    if let Some(sides) = sides(&pairs) {
        let told: Vec<String> = sides.iter().map(|side| spaced(side)).collect();
        return write!(f, " {}", told.join(" | "));
    }
    let mut one_way: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (from, to) in &pairs {
        match pairs.contains(&(*to, *from)) {
            true if from < to => write!(f, " {from}-{to}")?,
            true => {}
            false => one_way.entry(*from).or_default().push(*to),
        }
    }
    one_way.iter().try_for_each(|(from, to)| write!(f, " {from}>{}", joined(to, ",")))
}

/// The groups of nodes that hear each other, when no pair within a group is cut, every pair
/// between groups is, and there are at least two.
fn sides(pairs: &BTreeSet<(u64, u64)>) -> Option<Vec<Vec<u64>>> {
    let nodes: BTreeSet<u64> = pairs.iter().flat_map(|(from, to)| [*from, *to]).collect();
    let mut sides: Vec<Vec<u64>> = Vec::new();
    for node in nodes {
        match sides.iter_mut().find(|side| !pairs.contains(&(side[0], node))) {
            Some(side) => side.push(node),
            None => sides.push(vec![node]),
        }
    }
    let side_of = |node: u64| sides.iter().position(|side| side.contains(&node));
    let is_clean = sides.iter().flatten().all(|one| {
        let others = sides.iter().flatten().filter(|other| *other != one);
        others
            .into_iter()
            .all(|other| (side_of(*one) != side_of(*other)) == pairs.contains(&(*one, *other)))
    });
    (is_clean && sides.len() > 1).then_some(sides)
}

fn spaced(nodes: &[u64]) -> String {
    joined(nodes, " ")
}

fn joined(nodes: &[u64], between: &str) -> String {
    nodes.iter().map(u64::to_string).collect::<Vec<_>>().join(between)
}

impl fmt::Display for Step {
    /// `  1.250 s  for   3.000 s  partition 1 | 2 3`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Seconds(self.at_ms))?;
        match self.for_ms {
            0 => write!(f, "  {:13}", "")?,
            for_ms => write!(f, "  for {}", Seconds(for_ms))?,
        }
        write!(f, "  {}", self.fault)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { steps, operations, clients, safety_ms } = self;
        let plural = |count: u64, word: &str| match count {
            1 => format!("1 {word}"),
            count => format!("{count} {word}s"),
        };
        write!(
            f,
            "{}, {} each, {} of safety phase, {}",
            plural(*clients, "client"),
            plural(*operations, "operation"),
            Seconds(*safety_ms).to_string().trim_start(),
            plural(steps.len() as u64, "fault"),
        )?;
        steps.iter().enumerate().try_for_each(|(number, step)| write!(f, "\n{number:4}  {step}"))
    }
}

/// Milliseconds as seconds.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:3}.{:03} s", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(shape: &str, pairs: &[(u64, u64)]) -> String {
        Fault::Cut { shape: shape.to_owned(), pairs: pairs.to_vec() }.to_string()
    }

    fn both(pairs: &[(u64, u64)]) -> Vec<(u64, u64)> {
        pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect()
    }

    #[test]
    fn cuts_are_told_by_what_they_separate() {
        assert_eq!(cut("partition", &both(&[(1, 2), (1, 3)])), "partition 1 | 2 3");
        let three_sides = both(&[(1, 2), (1, 3), (2, 3)]);
        assert_eq!(cut("partition", &three_sides), "partition 1 | 2 | 3");
        assert_eq!(cut("one-way", &[(1, 2), (1, 3), (4, 2)]), "one-way 1>2,3 4>2");
        let ring = both(&[(1, 3), (1, 4), (2, 4), (2, 5), (3, 5)]);
        assert_eq!(cut("ring", &ring), "ring 1-3 1-4 2-4 2-5 3-5");
        let bridge = both(&[(1, 4), (1, 5), (2, 4), (2, 5)]);
        assert_eq!(cut("bridge", &bridge), "bridge 1 2 | 4 5");
        assert_eq!(cut("cut", &[]), "cut");
        assert_eq!(cut("cut", &[(1, 2), (2, 1), (3, 1)]), "cut 1-2 3>1");
    }

    #[test]
    fn every_fault_has_words_of_its_own() {
        let target = Target::Leader;
        let told = [
            (Fault::Isolate { target }, "isolate the leader"),
            (
                Fault::Noise { lose: 15, duplicate: 0, reorder: 200, corrupt: 1 },
                "noise 1.5 % lost, 20 % out of order, 0.1 % corrupt",
            ),
            (Fault::Noise { lose: 0, duplicate: 0, reorder: 0, corrupt: 0 }, "noise of nothing"),
            (Fault::Delay { ms_max: 40 }, "delay frames by up to 40 ms"),
            (Fault::SlowLink { from: 1, to: 2, ms: 300 }, "slow link 1>2, 300 ms"),
            (Fault::Crash { target, power: false }, "kill the leader"),
            (Fault::Crash { target: Target::Node(2), power: true }, "power loss of node 2"),
            (
                Fault::CrashAt { target, point: Point::Disk, after: 7, power: true },
                "power loss of the leader at disk call 7",
            ),
            (Fault::CrashAll { power: false }, "kill all nodes"),
            (Fault::Restart { target: Target::Follower }, "restart the first follower"),
            (Fault::Pause { target }, "pause the leader"),
            (Fault::Wipe { target }, "wipe the leader"),
            (Fault::OldDisk { target }, "older disk for the leader"),
            (Fault::LyingSync { target }, "lying syncs on the leader"),
            (
                Fault::DiskError { target, on_sync: true, after: 3 },
                "disk error on the leader at sync 3",
            ),
            (Fault::DiskFull { target }, "disk full on the leader"),
            (Fault::SlowDisk { target, ms_max: 9 }, "slow disk on the leader, up to 9 ms"),
            (Fault::Misdirect { target, after: 4 }, "misdirect write 4 of the leader"),
            (
                Fault::BitFlip { target, state: false, byte_permille: 125, bit: 7 },
                "flip bit 7 at 12.5 % of raft.db of the leader",
            ),
            (Fault::ClockJump { target, ms: -500 }, "clock of the leader jumps -500 ms"),
            (Fault::ClockSkew { target, permille: -25 }, "clocks of the leader run -2.5 %"),
            (Fault::AddNode, "add a node"),
            (Fault::RemoveNode { target }, "remove the leader"),
            (Fault::Transfer { to: 2 }, "transfer leadership to node 2"),
            (Fault::Hammer { target }, "hammer the leader"),
            (
                Fault::Upgrade { to: Wanted::Next, force: true },
                "upgrade kv to the next schema, a majority is enough",
            ),
            (Fault::Upgrade { to: Wanted::Back, force: false }, "roll kv back"),
            (Fault::OtherBuild { target }, "another build for the leader"),
        ];
        for (fault, words) in told {
            assert_eq!(fault.to_string(), words);
        }
    }

    #[test]
    fn a_plan_is_a_list_in_columns() {
        let plan = Plan {
            steps: vec![
                Step { at_ms: 1250, for_ms: 3000, fault: Fault::Pause { target: Target::Leader } },
                Step { at_ms: 12_000, for_ms: 0, fault: Fault::AddNode },
            ],
            operations: 100,
            clients: 1,
            safety_ms: 20_000,
        };
        let told = [
            "1 client, 100 operations each, 20.000 s of safety phase, 2 faults",
            "   0    1.250 s  for   3.000 s  pause the leader",
            "   1   12.000 s                 add a node",
        ];
        assert_eq!(plan.to_string().lines().collect::<Vec<_>>(), told);
    }
}
