//! Real hosts over SQLite that apply one log in different ways and must end alike. Not here: where
//! the log comes from, and what the module as a function says of it.

use std::sync::Arc;

use bytes::Bytes;
use pgraft_engine::{Options, engine_with};
use pgraft_host::{Applied, Applier, Bootstrap, Command, Fault, Machines, Outcome, Place};
use pgraft_replica::body::Body;
use pgraft_replica::{Committed, ConfState, Entry, EntryKind, Index, NodeId, Term};
use pgraft_sim_disk::{Image, SimDisk};
use pgraft_store::{Disk, SnapshotSink, SnapshotSource, StateStore};

use crate::machine::subject::{Module, Mutant};

/// Keyspace of the host's own rows: machines, sessions, effects, wake times.
const HOST_ROWS: u32 = 0;
/// Keys of the table of sessions.
const SESSIONS: (&[u8], &[u8]) = (b"s", b"t");
/// Calls of the disk within which the host that crashes dies.
const CRASH_CALLS: u64 = 40;

/// One entry of a log, and what the module as a function says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its time, Unix milliseconds.
    pub time_ms: u64,
    /// Its chance.
    pub entropy: u64,
    /// Its commands.
    pub commands: Vec<Command>,
    /// What they come to.
    pub outcomes: Vec<Outcome>,
    /// What the machine publishes: topic and payload.
    pub events: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a host ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    host_rows: u128,
    rows: u128,
    time_ms: u64,
    applied: Index,
}

/// The machine on hosts.
#[derive(Debug)]
pub struct Hosts {
    /// The engine of nodes, and another one that allocates differently.
    machines: [Arc<Machines>; 2],
    number: u32,
    /// A disk on which genesis is done.
    born: Image,
}

/// A way to apply a log, other than entry by entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All entries in one transaction, on the other engine.
    AtOnce,
    /// Half of them; then a snapshot goes to another disk, where the other engine goes on.
    ThroughSnapshot,
    /// Until a crash at some call of the disk; then the rest, from what is left.
    AfterCrash,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 3] = [Way::AtOnce, Way::ThroughSnapshot, Way::AfterCrash];

    fn words(self) -> &'static str {
        match self {
            Way::AtOnce => "in one transaction",
            Way::ThroughSnapshot => "through a snapshot",
            Way::AfterCrash => "after a crash",
        }
    }
}

impl Hosts {
    pub(crate) fn new(
        machines: Arc<Machines>,
        module: &Module,
        config: &[u8],
    ) -> Result<Hosts, Fault> {
        let options = Options { pooled: false, ..Options::default() };
        Hosts::on(machines, module, (module, options), config)
    }

    /// A machine on the engine of nodes, and on another one: with these options, and with code that
    /// was compiled for them.
    ///
    /// # Errors
    /// When an engine cannot be made, the module cannot be used, or the machine refuses its
    /// configuration.
    pub fn on(
        machines: Arc<Machines>,
        module: &Module,
        (other, options): (&Module, Options),
        config: &[u8],
    ) -> Result<Hosts, Fault> {
        let engine = engine_with(Place::Simulation, options).map_err(|error| Fault::Module {
            name: module.name.clone(),
            why: format!("{error:#}"),
        })?;
        let other = Arc::new(Machines::with_engine(engine, &[other.code()])?);
        let voter = NodeId::new(1).expect("1 is a node id");
        let bootstrap = Bootstrap {
            conf: ConfState { voters: [voter].into(), ..ConfState::default() },
            machines: vec![(module.name.clone(), module.sha256, config.to_vec())],
            time_ms: 0,
        };
        let number = match &module.name[..] {
            "membership" => 1,
            "kv" => 2,
            _ => 3,
        };
        let sim = SimDisk::new(0);
        let state = StateStore::open(&disk(&sim), 0)?;
        let mut applier = Applier::open(Arc::clone(&machines), state)?;
        applier.bootstrap(&bootstrap)?;
        drop(applier);
        Ok(Hosts { machines: [machines, other], number, born: sim.image() })
    }

    /// A disk on which genesis is done.
    fn disk(&self, seed: u64) -> SimDisk {
        let sim = SimDisk::new(seed);
        sim.restore(&self.born);
        sim
    }

    /// Applies `log` in all ways; `rows` is the digest of the machine's rows after it. Returns how
    /// many entries the host that crashed had to apply again.
    ///
    /// # Errors
    /// Says which host differs, and how.
    pub fn compare(&self, log: &[Told], rows: u128, mutant: Mutant) -> Result<usize, String> {
        let entries: Vec<Committed> = log.iter().zip(1..).map(committed).collect();
        let first = self.first(log, &entries, rows)?;
        let mut again = 0;
        for way in Way::ALL {
            again += self.like(&first, way, (log, &entries), rows, mutant)?;
        }
        Ok(again)
    }

    /// Applies `log` entry by entry and in one other way; as [`Hosts::compare`].
    ///
    /// # Errors
    /// Says how they differ.
    pub fn compare_with(&self, way: Way, log: &[Told], rows: u128) -> Result<usize, String> {
        let entries: Vec<Committed> = log.iter().zip(1..).map(committed).collect();
        let first = self.first(log, &entries, rows)?;
        self.like(&first, way, (log, &entries), rows, Mutant::None)
    }

    fn first(&self, log: &[Told], entries: &[Committed], rows: u128) -> Result<End, String> {
        let first = self.entry_by_entry(log, entries)?;
        match first.rows == rows {
            true => Ok(first),
            false => Err(format!("rows {:032x}, the function has {rows:032x}", first.rows)),
        }
    }

    /// Whether a way leads to the same end; how many entries were applied again on it.
    fn like(
        &self,
        first: &End,
        way: Way,
        (log, entries): (&[Told], &[Committed]),
        rows: u128,
        mutant: Mutant,
    ) -> Result<usize, String> {
        let (other, again) = match way {
            Way::AtOnce => (self.at_once(log, mutant)?, 0),
            Way::ThroughSnapshot => (self.through_a_snapshot(log, entries, mutant)?, 0),
            Way::AfterCrash => self.after_a_crash(log, entries, rows, mutant)?,
        };
        match other == *first {
            true => Ok(again),
            false => Err(format!("{}: {other:x?}, entry by entry {first:x?}", way.words())),
        }
    }

    fn entry_by_entry(&self, log: &[Told], entries: &[Committed]) -> Result<End, String> {
        let sim = self.disk(1);
        let mut applier = self.begun(&sim, 0)?;
        for (entry, told) in entries.iter().zip(log) {
            let applied = applier.apply(std::slice::from_ref(entry)).map_err(text)?;
            said(&applied[0], told)?;
        }
        Ok(self.end(applier))
    }

    fn at_once(&self, log: &[Told], mutant: Mutant) -> Result<End, String> {
        let own_ms = u64::from(mutant == Mutant::OwnClock);
        let own_time = |told: &Told| Told { time_ms: told.time_ms + own_ms, ..told.clone() };
        let entries: Vec<Committed> =
            log.iter().zip(1..).map(|(told, index)| committed((&own_time(told), index))).collect();
        let sim = self.disk(1);
        let mut applier = self.begun(&sim, 1)?;
        let applied = applier.apply(&entries).map_err(text)?;
        applied.iter().zip(log).try_for_each(|(applied, told)| said(applied, told))?;
        Ok(self.end(applier))
    }

    fn through_a_snapshot(
        &self,
        log: &[Told],
        entries: &[Committed],
        mutant: Mutant,
    ) -> Result<End, String> {
        let (sim, peer) = (self.disk(1), SimDisk::new(2));
        let half = entries.len().div_ceil(2);
        let mut applier = self.begun(&sim, 0)?;
        applier.apply(&entries[..half]).map_err(text)?;
        let mut source = SnapshotSource::open(&disk(&sim), 0).map_err(text)?;
        let mut sink = SnapshotSink::create(&disk(&peer), 1).map_err(text)?;
        while let Some(chunk) = source.next_chunk().map_err(text)? {
            sink.write(&chunk).map_err(text)?;
        }
        sink.finish(&source.meta()).map_err(text)?;
        let mut state = StateStore::open(&disk(&peer), 1).map_err(text)?;
        if mutant == Mutant::SnapshotWithoutSessions {
            state.begin().map_err(text)?;
            state.delete_range(HOST_ROWS, SESSIONS.0, SESSIONS.1).map_err(text)?;
            state.commit().map_err(text)?;
        }
        let mut applier = Applier::open(Arc::clone(&self.machines[1]), state).map_err(text)?;
        for (entry, told) in entries.iter().zip(log).skip(half) {
            let applied = applier.apply(std::slice::from_ref(entry)).map_err(text)?;
            said(&applied[0], told)?;
        }
        Ok(self.end(applier))
    }

    /// The disk dies at a call that derives from the rows; every other time the power fails, too.
    fn after_a_crash(
        &self,
        log: &[Told],
        entries: &[Committed],
        rows: u128,
        mutant: Mutant,
    ) -> Result<(End, usize), String> {
        let call = (rows % u128::from(CRASH_CALLS)) as u64;
        let sim = self.disk(call);
        let mut applier = self.begun(&sim, 0)?;
        sim.freeze_in(call);
        for entry in entries {
            if applier.apply(std::slice::from_ref(entry)).is_err() {
                break;
            }
        }
        sim.freeze();
        drop(applier);
        if rows & 1 << 64 == 0 {
            sim.process_crash()
        } else {
            sim.power_loss()
        }
        let mut applier = self.begun(&sim, 0)?;
        let applied = usize::try_from(applier.meta().applied.0).expect("a short log");
        let mut rest = log.iter().zip(entries).skip(applied).peekable();
        if mutant == Mutant::EntryLostInCrash && rest.peek().is_some() {
            // As if the applied index were outside of the transaction.
            let lost = empty(applier.meta().applied.next());
            applier.apply(&[lost]).map_err(text)?;
            rest.next();
        }
        for (told, entry) in rest {
            let came = applier.apply(std::slice::from_ref(entry)).map_err(text)?;
            said(&came[0], told)?;
        }
        Ok((self.end(applier), entries.len() - applied))
    }

    /// A host begins on what is on a disk.
    fn begun(&self, sim: &SimDisk, engine: usize) -> Result<Applier, String> {
        let state = StateStore::open(&disk(sim), 0).map_err(text)?;
        Applier::open(Arc::clone(&self.machines[engine]), state).map_err(text)
    }

    fn end(&self, applier: Applier) -> End {
        let state = applier.into_state();
        End {
            host_rows: state.digest(HOST_ROWS),
            rows: state.digest(self.number),
            time_ms: state.meta().time_ms,
            applied: state.meta().applied,
        }
    }
}

fn disk(sim: &SimDisk) -> Disk {
    Disk { dir: "/node".into(), vfs: Some(sim.vfs()) }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn committed((told, index): (&Told, u64)) -> Committed {
    let Told { time_ms, entropy, commands, .. } = told;
    let commands: Vec<Bytes> = commands.iter().map(Command::encode).collect();
    let data = Body { time_ms: *time_ms, entropy: *entropy, commands }.encode();
    let entry = Entry { index: Index(index), term: Term(1), kind: EntryKind::Normal, data };
    Committed { entry, conf_change: None, tickets: Vec::new() }
}

fn empty(index: Index) -> Committed {
    let entry = Entry { index, term: Term(1), kind: EntryKind::Normal, data: Bytes::new() };
    Committed { entry, conf_change: None, tickets: Vec::new() }
}

/// Whether a host said what the function says.
fn said(applied: &Applied, told: &Told) -> Result<(), String> {
    let index = applied.index;
    if applied.outcomes != told.outcomes {
        let (ours, theirs) = (&told.outcomes, &applied.outcomes);
        return Err(format!("entry {index}: the function says {ours:?}, a host {theirs:?}"));
    }
    let published = applied.events.iter().map(|event| (&event.topic, &event.payload));
    if !published.eq(told.events.iter().map(|(topic, payload)| (topic, payload))) {
        return Err(format!("entry {index}: a host published {:?}", applied.events));
    }
    Ok(())
}
