//! The proof of WASM.md 0: hosts that differ in allocator, copy-on-write, optimisation, batching
//! and crashes end bit-identical, over a log of everything that can go wrong; and the proof would
//! notice if they did not.

use std::sync::{Arc, OnceLock};

use pgraft_engine::Options;
use pgraft_replica::{Committed, ConfChange, ConfChangeKind, Index};

use super::canary::{self, Plant};
use super::probe::ask;
use super::rig::{
    Node, conf_entry, empty_entry, entry, in_session, machines_with, node as node_id, raw_entry,
    to, unreadable_entry,
};
use crate::{Applied, Command, HostCode, Machines, Outcome, Rejection, limits};

const ENTRIES: u64 = 400;
const SEED: u64 = 0x5eed_0004;

const PLAIN: Options = Options { pooled: true, copy_on_write: true, optimised: true };
const OTHER: Options = Options { pooled: false, copy_on_write: false, optimised: false };
const MIXED: Options = Options { pooled: true, copy_on_write: false, optimised: true };

pub(crate) const OPTIONS: [Options; 3] = [PLAIN, OTHER, MIXED];

pub(crate) fn machines_of(options: Options) -> &'static Arc<Machines> {
    static PLAIN_MACHINES: OnceLock<Arc<Machines>> = OnceLock::new();
    static OTHER_MACHINES: OnceLock<Arc<Machines>> = OnceLock::new();
    static MIXED_MACHINES: OnceLock<Arc<Machines>> = OnceLock::new();
    let cell = match options {
        PLAIN => &PLAIN_MACHINES,
        OTHER => &OTHER_MACHINES,
        _ => &MIXED_MACHINES,
    };
    cell.get_or_init(|| machines_with(options))
}

/// Splitmix64: enough chance for a log.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What a host ends with.
#[derive(Debug, PartialEq, Eq)]
struct End {
    applied: Vec<Applied>,
    digests: Vec<(u128, u64)>,
    taken: (Index, Vec<(u32, u128)>),
    outbox: Vec<crate::Effect>,
    wake: Option<(String, u64)>,
    meta: pgraft_store::Meta,
}

fn end(mut node: Node, applied: Vec<Applied>) -> End {
    End {
        applied,
        digests: node.digests(),
        taken: node.applier.digests(),
        outbox: node.applier.outbox(),
        wake: node.applier.next_wake(),
        meta: node.applier.meta().clone(),
    }
}

/// Writes the log while a first host applies it, as its leader would.
struct Author {
    node: Node,
    chance: Chance,
    time_ms: u64,
    sessions: Vec<(u64, u64)>,
    /// Rounds of the probe's loop around which its fuel ends.
    brink: u32,
}

impl Author {
    fn command(&mut self) -> Command {
        let name = format!("c{}", self.chance.below(20));
        match self.chance.below(40) {
            0 => to("counter", "!panic"),
            1 => to("counter", "!half"),
            2 => to("counter", ""),
            3 => to("nobody", name),
            4 => to("probe", ask(b't', 0)),
            5 => to("probe", ask(b'0', 0)),
            6 => to("probe", ask(b'm', 0)),
            7 => to("probe", ask(b'e', 1)),
            8 => {
                let later = u32::try_from(self.time_ms).unwrap() + 50;
                to("probe", ask(b'w', later))
            }
            9 => Command::OpenSession,
            10..=17 => self.in_session(name),
            18 => self.effect(),
            19 => Command::Wake { machine: "kv".to_owned() },
            20 => Command::Wake { machine: "probe".to_owned() },
            21..=30 => to("kv", self.kv(&name)),
            _ => to("counter", name),
        }
    }

    fn kv(&mut self, name: &str) -> Vec<u8> {
        use pgraft_kv::{Command, DeleteRange, Put};
        let lease = 1 + i64::try_from(self.chance.below(3)).unwrap();
        let put = |lease| {
            let put = Put::new(name.as_bytes().to_vec(), name.as_bytes().to_vec());
            Command::Put(Put { lease, ..put })
        };
        match self.chance.below(8) {
            0 => Command::LeaseGrant { id: lease, ttl: 1 },
            1 => put(lease),
            2 => Command::DeleteRange(DeleteRange {
                key: name.as_bytes().to_vec(),
                range_end: Vec::new(),
                prev_kv: true,
            }),
            3 => Command::LeaseKeepAlive { id: lease },
            _ => put(0),
        }
        .encode()
    }

    fn in_session(&mut self, name: String) -> Command {
        if self.sessions.is_empty() {
            return in_session("counter", name, 99, 1, 0);
        }
        let place = usize::try_from(self.chance.below(self.sessions.len() as u64)).unwrap();
        let (session, last) = &mut self.sessions[place];
        let (session, last) = (*session, {
            *last += u64::from(!self.chance.next().is_multiple_of(3));
            *last
        });
        let payload = if self.chance.below(6) == 0 { "!panic".to_owned() } else { name };
        in_session("counter", payload, session, last, last.saturating_sub(self.chance.below(4)))
    }

    fn effect(&mut self) -> Command {
        let id = self.node.applier.outbox().first().map_or(77, |effect| effect.id);
        let failed = Rejection { code: 100, message: "failed".to_owned() };
        let outcome: Outcome = if self.chance.below(2) == 0 { Ok(Vec::new()) } else { Err(failed) };
        Command::EffectDone { machine: "probe".to_owned(), id, outcome }
    }

    fn entry(&mut self, index: Index) -> Committed {
        // Mostly small steps, backwards ones, and now and then an hour in which sessions expire.
        self.time_ms += match self.chance.below(100) {
            0 => {
                // Some expired ones are still used.
                self.sessions.truncate(1);
                limits::SESSION_IDLE_MS_MAX + 1
            }
            1..=10 => 1_000,
            _ => 10,
        };
        let time_ms = self.time_ms - self.chance.below(10);
        // Rare, because each costs tens of milliseconds of guest code.
        match index.0 {
            1 => return entry(index, time_ms, &vec![Command::OpenSession; 3]),
            50 => return entry(index, time_ms, &[to("counter", "a"), to("counter", "!spin")]),
            90 => return entry(index, time_ms, &[to("counter", "!big"), to("counter", "a")]),
            130 => return entry(index, time_ms, &[to("counter", "a"), to("counter", "!fill")]),
            170..190 => {
                let rounds = self.brink - 10 + u32::try_from(index.0 - 170).unwrap();
                return entry(index, time_ms, &[to("probe", ask(b'b', rounds))]);
            }
            _ => {}
        }
        match self.chance.below(30) {
            0 => empty_entry(index),
            1 => self.conf(index),
            2 => raw_entry(index, time_ms, vec![bytes::Bytes::from_static(b"\x01\x77")]),
            3 => {
                let (index_taken, digests) = self.node.applier.digests();
                let digest = Command::Digest { index: index_taken, digests };
                entry(index, time_ms, &[digest, to("counter", "a")])
            }
            _ => {
                let commands: Vec<Command> =
                    (0..1 + self.chance.below(12)).map(|_| self.command()).collect();
                entry(index, time_ms, &commands)
            }
        }
    }

    fn conf(&mut self, index: Index) -> Committed {
        let kind = if self.chance.below(2) == 0 {
            ConfChangeKind::AddLearner
        } else {
            ConfChangeKind::Remove
        };
        let changes = vec![(kind, node_id(1 + self.chance.below(3)))];
        conf_entry(index, ConfChange { changes, context: bytes::Bytes::new() })
    }

    fn note(&mut self, applied: &Applied, commands: &[bytes::Bytes]) {
        for (outcome, command) in applied.outcomes.iter().zip(commands) {
            if let (Ok(reply), Ok(Command::OpenSession)) = (outcome, Command::decode(command)) {
                let id = u64::from_le_bytes(reply[..].try_into().unwrap());
                self.sessions.push((id, 0));
                let surplus = self.sessions.len().saturating_sub(4);
                self.sessions.drain(..surplus);
            }
        }
    }
}

/// The rounds at which the probe's loop runs out of fuel, found by halving.
fn brink() -> u32 {
    let mut node = Node::thrifty(machines_of(PLAIN));
    let (mut fits, mut ends) = (1, 1 << 30);
    while ends - fits > 1 {
        let middle = fits + (ends - fits) / 2;
        match node.command(to("probe", ask(b'b', middle))) {
            Ok(_) => fits = middle,
            Err(rejection) => {
                assert_eq!(rejection.host_code(), Some(HostCode::OutOfFuel));
                ends = middle;
            }
        }
    }
    fits
}

/// The log, and what the host that wrote it ends with: one entry per transaction.
fn written() -> &'static (Vec<Committed>, End) {
    static WRITTEN: OnceLock<(Vec<Committed>, End)> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        println!("seed {SEED:#x}");
        let node = Node::thrifty(machines_of(PLAIN));
        let (chance, sessions) = (Chance(SEED), Vec::new());
        let mut author = Author { node, chance, time_ms: 1_000, sessions, brink: brink() };
        let (mut log, mut applied) = (Vec::new(), Vec::new());
        for index in 1..=ENTRIES {
            let entry = author.entry(Index(index));
            let one = author.node.apply(std::slice::from_ref(&entry)).unwrap().remove(0);
            if let Ok(body) = pgraft_replica::body::Body::decode(entry.entry.data.clone()) {
                author.note(&one, &body.commands);
            }
            log.push(entry);
            applied.push(one);
        }
        let end = end(author.node, applied);
        (log, end)
    })
}

/// The first difference, if any.
fn same(ours: &End, theirs: &End) -> Result<(), String> {
    for (ours, theirs) in ours.applied.iter().zip(&theirs.applied) {
        if ours != theirs {
            return Err(format!("entry {}: {ours:?}, {theirs:?}", ours.index));
        }
    }
    let rest = |end: &End| {
        let End { applied, digests, taken, outbox, wake, meta } = end;
        format!("{} {digests:?} {taken:?} {outbox:?} {wake:?} {meta:?}", applied.len())
    };
    if ours == theirs { Ok(()) } else { Err(format!("{}, {}", rest(ours), rest(theirs))) }
}

/// Applies the log in batches of another size; now and then the process ends in the middle of a
/// transaction, or between two.
fn replay(log: &[Committed], options: Options, batch_max: u64, seed: u64) -> Result<End, String> {
    let mut chance = Chance(seed);
    let mut node = Node::thrifty(machines_of(options));
    let (mut applied, mut at, mut ends) = (Vec::new(), 0, 0);
    while at < log.len() {
        let size = usize::try_from(1 + chance.below(batch_max)).unwrap();
        let mut batch = log[at..log.len().min(at + size)].to_vec();
        if chance.below(4) == 0 {
            let last = batch.last().unwrap().entry.index;
            batch.push(unreadable_entry(last.next()));
            let fault = node.apply(&batch).expect_err("the last entry cannot be read");
            if !matches!(fault, crate::Fault::Entry { .. }) {
                return Err(fault.to_string());
            }
            if chance.below(2) == 0 {
                node = node.restarted();
            }
            assert_eq!(node.applier.meta().applied.0, at as u64, "nothing of the batch stays");
            ends += 1;
            continue;
        }
        applied.extend(node.apply(&batch).map_err(|fault| fault.to_string())?);
        at += batch.len();
        if chance.below(4) == 0 {
            node = node.restarted();
            ends += 1;
        }
    }
    assert!(ends > 1, "the process ended {ends} times: too few to show anything");
    Ok(end(node, applied))
}

#[test]
fn the_log_holds_everything_that_can_go_wrong() {
    let (_, end) = written();
    let mut counted = std::collections::BTreeMap::new();
    for outcome in end.applied.iter().flat_map(|applied| &applied.outcomes) {
        let code = outcome.as_ref().map_or_else(|rejection| rejection.code, |_| 0);
        *counted.entry(code).or_insert(0) += 1;
    }
    for code in [
        HostCode::Trap,
        HostCode::OutOfFuel,
        HostCode::OutOfMemory,
        HostCode::Quota,
        HostCode::BadInterface,
        HostCode::UnknownMachine,
        HostCode::SessionExpired,
        HostCode::MalformedCommand,
        HostCode::ConfRefused,
    ] {
        assert!(counted.contains_key(&(code as u32)), "no {code:?} in {counted:?}");
    }
    assert!(counted[&0] > 500, "{counted:?}");
    assert!(counted.contains_key(&101), "no half-done command in {counted:?}");
    let brink = &end.applied[169..189];
    let fits = brink.iter().filter(|applied| applied.outcomes[0].is_ok()).count();
    assert!((1..20).contains(&fits), "the fuel ends within these entries");
}

#[test]
fn hosts_that_differ_end_bit_identical() {
    let (log, first) = written();
    for (options, batch_max) in [(OTHER, 7), (MIXED, 40), (PLAIN, 50)] {
        let seed = SEED + batch_max;
        println!("seed {seed:#x}");
        let other = replay(log, options, batch_max, seed).unwrap();
        same(first, &other).unwrap_or_else(|difference| panic!("{options:?}: {difference}"));
    }
}

/// The log again, over a host with a mistake: it must end differently, or be caught on the way.
fn notices(plant: Plant, options: Options) {
    let (log, first) = written();
    let other = canary::with(Some(plant), || replay(log, options, 7, SEED + 7));
    let noticed = other.and_then(|other| same(first, &other));
    println!("{plant:?}: {noticed:?}");
    assert!(noticed.is_err(), "the proof does not notice {plant:?}");
}

#[test]
fn a_forgotten_rollback_is_noticed() {
    notices(Plant::ForgottenRollback, PLAIN);
}

#[test]
fn fuel_counted_for_instantiation_is_noticed() {
    notices(Plant::FuelBeforeInstantiation, OTHER);
}

#[test]
fn an_instance_that_lives_on_is_noticed() {
    notices(Plant::InstanceKept, PLAIN);
}

#[test]
fn a_host_without_a_mistake_is_not_accused() {
    let (log, first) = written();
    let other = canary::with(None, || replay(log, PLAIN, 7, SEED + 7));
    assert_eq!(other.and_then(|other| same(first, &other)), Ok(()));
}

/// Another host's rows are changed behind its back: it stops at the leader's next digest, and
/// names the machine.
#[test]
fn a_diverged_replica_stops() {
    let mut leader = Node::new(machines_of(PLAIN));
    let mut replica = Node::new(machines_of(OTHER));
    let log: Vec<Committed> =
        (1..=70).map(|index| entry(Index(index), index, &[to("counter", "a")])).collect();
    leader.apply(&log).unwrap();
    replica.apply(&log[..40]).unwrap();
    let store = replica.applier.store();
    store.begin().unwrap();
    store.put(3, b"b", b"never written by any command").unwrap();
    store.commit().unwrap();
    replica.apply(&log[40..]).unwrap();
    let (index, digests) = leader.applier.digests();
    assert_eq!(index, Index(64));
    let command = Command::Digest { index, digests };
    let check = [entry(Index(71), 71, &[command, to("counter", "a")])];
    leader.apply(&check).unwrap();
    let fault = replica.apply(&check).unwrap_err();
    match fault {
        crate::Fault::Diverged { index: Index(64), machine, .. } => assert_eq!(machine, "counter"),
        fault => panic!("{fault}"),
    }
    assert_eq!(replica.applier.meta().applied, Index(70), "the entry is not applied");
}

/// Equal rows and different answers: the chain hashes in the host's keyspace tell.
#[test]
fn different_answers_over_equal_rows_are_divergence() {
    let mut leader = Node::new(machines_of(PLAIN));
    let mut replica = Node::new(machines_of(PLAIN));
    for (node, payload) in [(&mut leader, "!half"), (&mut replica, "")] {
        for index in 1..=64 {
            let command = if index == 5 { payload } else { "a" };
            node.apply(&[entry(Index(index), 0, &[to("counter", command)])]).unwrap();
        }
    }
    assert_eq!(leader.digests()[3], replica.digests()[3], "the rows are equal");
    let (index, digests) = leader.applier.digests();
    let check = [entry(Index(65), 0, &[Command::Digest { index, digests }])];
    match replica.apply(&check).unwrap_err() {
        crate::Fault::Diverged { machine, .. } => assert_eq!(machine, "host"),
        fault => panic!("{fault}"),
    }
}

/// Digests that are not remembered (any more) accuse nobody.
#[test]
fn digests_of_another_time_pass() {
    let mut node = Node::new(machines_of(PLAIN));
    for index in [Index(0), Index(64), Index(1 << 40)] {
        let digest = Command::Digest { index, digests: vec![(3, 7)] };
        assert_eq!(node.entry(0, &[digest]).outcomes, [Ok(Vec::new())]);
    }
}
