//! A machine as a pure function against the same machine in a node over state.db: outcomes,
//! events, effects, wake times, answers, rows and digests are equal, and the comparison would
//! notice if they were not.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use pgraft_replica::Index;
use pgraft_sdk::native::{Backend, Effect, Event as Published};
use pgraft_sdk::{Error, Outcome as Told, Result as Said};

use super::canary::{self, Plant};
use super::identity::Chance;
use super::probe::ask;
use super::rig::{self, MACHINES, Node, to};
use crate::{
    Applied, Command, Event, Fault, Machines, Outcome, Rejection, Request, Specification, State,
    Transition, Turn,
};

test_each_file::test_each_path! { in "statemachines/kv/testscripts" as kv => kv }
test_each_file::test_each_path! {
    in "statemachines/membership/testscripts" as membership => membership
}

fn kv(path: &Path) {
    let mut script = pgraft_kv::script::Script::new(Function::new("kv"));
    goldenscript::run(&mut script, path).expect("natively it prints something else");
}

fn membership(path: &Path) {
    let mut script = pgraft_membership::script::Script::new(Function::new("membership"));
    goldenscript::run(&mut script, path).expect("natively it prints something else");
}

fn machines() -> &'static Arc<Machines> {
    static LOADED: OnceLock<Arc<Machines>> = OnceLock::new();
    LOADED.get_or_init(rig::machines)
}

fn specification(name: &str) -> Specification {
    let bootstrap = rig::bootstrap();
    let place = MACHINES.iter().position(|other| *other == name).unwrap();
    let (_, sha256, _) = &bootstrap.machines[place];
    let number = u32::try_from(place).unwrap() + 1;
    Specification::new(machines(), name, sha256).unwrap().numbered(number)
}

fn genesis(specification: &Specification) -> State {
    let bootstrap = rig::bootstrap();
    let of = |(name, ..): &&(String, [u8; 32], Vec<u8>)| *name == specification.name();
    let (_, _, config) = bootstrap.machines.iter().find(of).unwrap();
    specification.initial(config, bootstrap.time_ms).unwrap()
}

/// A machine that runs as a function, for golden scripts.
struct Function {
    specification: Specification,
    state: State,
    turn: Turn,
    events: Vec<Published>,
}

impl Function {
    fn new(name: &'static str) -> Function {
        let turn = Turn { index: Index::ZERO, term: 1, time_ms: 0, entropy: 0 };
        let (specification, state) = (specification(name), State::default());
        Function { specification, state, turn, events: Vec::new() }
    }

    fn next(
        &mut self,
        time_ms: u64,
        step: impl FnOnce(&Specification, &State, &Turn) -> Result<Transition, Fault>,
    ) -> Vec<Told> {
        self.turn.index = self.turn.index.next();
        self.turn.time_ms = self.turn.time_ms.max(time_ms);
        let came = step(&self.specification, &self.state, &self.turn).unwrap();
        self.state = came.state;
        let events = came.events.into_iter();
        self.events.extend(events.map(|event| (event.topic, event.payload)));
        came.outcomes.into_iter().map(told).collect()
    }
}

fn told(outcome: Outcome) -> Told {
    outcome.map_err(|Rejection { code, message }| Error { code, message })
}

impl Backend for Function {
    fn init(&mut self, config: &[u8]) -> Said<()> {
        match self.specification.initial(config, 0) {
            Ok(state) => {
                self.state = state;
                Ok(())
            }
            Err(Fault::Refused { rejection, .. }) => told(Err(rejection)).map(|_| ()),
            Err(fault) => panic!("{fault}"),
        }
    }

    fn set_term(&mut self, term: u64) {
        self.turn.term = term;
    }

    fn apply(&mut self, time_ms: u64, payloads: &[Vec<u8>]) -> Vec<Told> {
        let requests: Vec<Request<'_>> =
            payloads.iter().map(|payload| as_test(Request::new(payload))).collect();
        self.next(time_ms, |machine, state, turn| machine.apply_all(state, turn, &requests))
    }

    fn check(&mut self, payload: &[u8]) -> Said<()> {
        let request = as_test(Request::new(payload));
        told(self.specification.check(&self.state, &self.turn, request).unwrap()).map(|_| ())
    }

    fn query(&mut self, request: &[u8]) -> Told {
        told(self.specification.query(&self.state, &self.turn, request).unwrap())
    }

    fn next_wake(&mut self) -> Option<u64> {
        self.state.wake_ms()
    }

    fn wake(&mut self, time_ms: u64) -> Said<()> {
        self.next(time_ms, Specification::wake).remove(0).map(|_| ())
    }

    fn effects(&mut self) -> Vec<Effect> {
        let effect = |crate::Effect { id, kind, payload, .. }| Effect { id, kind, payload };
        self.specification.effects(&self.state).into_iter().map(effect).collect()
    }

    fn effect_done(&mut self, time_ms: u64, id: u64, outcome: Told) -> Said<()> {
        let outcome = outcome.map_err(|Error { code, message }| Rejection { code, message });
        let done = |machine: &Specification, state: &State, turn: &Turn| {
            machine.effect_done(state, turn, id, outcome)
        };
        self.next(time_ms, done).remove(0).map(|_| ())
    }

    fn take_events(&mut self) -> Vec<Published> {
        std::mem::take(&mut self.events)
    }
}

/// As the rig's commands say who asks.
fn as_test<'a>(request: Request<'a>) -> Request<'a> {
    Request { principal: "test", ..request }
}

/// Both, side by side.
struct Pair {
    node: Node,
    functions: Vec<(Specification, State)>,
    chance: Chance,
    time_ms: u64,
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let functions = MACHINES.map(|name| {
            let specification = specification(name);
            let state = genesis(&specification);
            (specification, state)
        });
        let node = Node::new(machines());
        Pair { node, functions: functions.into(), chance: Chance(seed), time_ms: 0 }
    }

    fn payload(&mut self, machine: &str) -> Vec<u8> {
        let name = format!("c{}", self.chance.below(8));
        match (machine, self.chance.below(24)) {
            ("counter", 0) => b"!panic".to_vec(),
            ("counter", 1..=3) => b"!half".to_vec(),
            ("counter", 4) => Vec::new(),
            ("counter", _) => name.into_bytes(),
            ("probe", 0) => ask(b't', 0),
            ("probe", 1) => ask(b'0', 0),
            ("probe", 2..=9) => ask(b'e', 1),
            ("probe", 10..=15) => {
                ask(b'w', u32::try_from(self.time_ms + self.chance.below(40)).unwrap())
            }
            ("probe", 16) => ask(b'k', 3_000),
            ("probe", _) => ask(b'm', 0),
            (_, 0) => vec![255, 1, 2],
            ("kv", _) => self.kv(&name),
            (_, _) => name.into_bytes(),
        }
    }

    fn kv(&mut self, name: &str) -> Vec<u8> {
        use pgraft_kv::{Command, DeleteRange, Put};
        let lease = 1 + i64::try_from(self.chance.below(3)).unwrap();
        let key = name.as_bytes().to_vec();
        match self.chance.below(9) {
            0 => Command::LeaseGrant { id: lease, ttl: 1 },
            1 => Command::Put(Put { lease, ..Put::new(key.clone(), key) }),
            2 => Command::DeleteRange(DeleteRange { key, range_end: vec![0], prev_kv: true }),
            3 => Command::LeaseKeepAlive { id: lease },
            4 => Command::LeaseRevoke { id: lease },
            5 => Command::Compact { revision: 1 + self.chance.below(60) as i64 },
            _ => Command::Put(Put { prev_kv: true, ..Put::new(key.clone(), key) }),
        }
        .encode()
    }

    /// One entry on both sides; the first difference.
    fn step(&mut self) -> Result<(), String> {
        let place = usize::try_from(self.chance.below(4)).unwrap();
        let name = MACHINES[place];
        self.time_ms += self.chance.below(200);
        let index = self.node.applier.meta().applied.next();
        // The entropy of the rig's entries.
        let entropy = index.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let turn = Turn { index, term: 1, time_ms: self.time_ms, entropy };
        let payloads: Vec<Vec<u8>> =
            (0..1 + self.chance.below(6)).map(|_| self.payload(name)).collect();
        let kind = self.chance.below(10);
        let (specification, state) = &self.functions[place];
        let (commands, came) = match kind {
            0..=1 => {
                let machine = name.to_owned();
                (vec![Command::Wake { machine }], specification.wake(state, &turn))
            }
            2 => {
                let waiting = self.node.applier.outbox();
                let first = waiting.iter().find(|effect| effect.machine_name == name);
                let id = first.map_or(77, |effect| effect.id);
                let done =
                    Command::EffectDone { machine: name.to_owned(), id, outcome: Ok(vec![1]) };
                (vec![done], specification.effect_done(state, &turn, id, Ok(vec![1])))
            }
            _ => {
                let requests: Vec<Request<'_>> =
                    payloads.iter().map(|payload| as_test(Request::new(payload))).collect();
                let commands = payloads.iter().map(|payload| to(name, payload.clone())).collect();
                (commands, specification.apply_all(state, &turn, &requests))
            }
        };
        let Transition { state, outcomes, events } = came.unwrap();
        let applied: Applied = self.node.entry(self.time_ms, &commands);
        self.functions[place].1 = state;
        if (&applied.outcomes, &applied.events) != (&outcomes, &events) {
            return Err(format!("{index} {name}: {applied:?}, {outcomes:?} {events:?}"));
        }
        self.same(place, &turn)
    }

    fn same(&mut self, place: usize, turn: &Turn) -> Result<(), String> {
        let name = MACHINES[place];
        let (specification, state) = &self.functions[place];
        let store = self.node.applier.store();
        let id = u32::try_from(place).unwrap() + 1;
        let theirs = (store.digest(id), store.size(id));
        let ours = (state.rows_digest(), state.size());
        let waiting = self.node.applier.outbox().into_iter();
        let waiting: Vec<_> = waiting.filter(|effect| effect.machine_name == name).collect();
        if theirs != ours || waiting != specification.effects(state) {
            return Err(format!("{} {name}: {theirs:?} {waiting:?}, {state:?}", turn.index));
        }
        let wakes = self.functions.iter().filter_map(|(_, state)| state.wake_ms());
        let wake = self.node.applier.next_wake().map(|(_, time_ms)| time_ms);
        if wake != wakes.min() {
            return Err(format!("{} {name}: {wake:?}", turn.index));
        }
        if self.chance.below(10) == 0 {
            let request = match name {
                "kv" => pgraft_kv::Query::Status.encode(),
                _ => self.payload(name),
            };
            let theirs = self.node.querier().query(name, "test", &request).unwrap().outcome;
            let (specification, state) = &self.functions[place];
            let ours = specification.query(state, turn, &request).unwrap();
            if ours != theirs {
                return Err(format!("{} {name}: {ours:?} {theirs:?}", turn.index));
            }
        }
        Ok(())
    }
}

fn compare(seed: u64, steps: u32) -> Result<Pair, String> {
    let mut pair = Pair::new(seed);
    for _ in 0..steps {
        pair.step()?;
    }
    Ok(pair)
}

/// `PGRAFT_SEED` repeats a run.
fn seed() -> u64 {
    let given = std::env::var("PGRAFT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(0x5eed_0011);
    println!("PGRAFT_SEED={seed}");
    seed
}

#[test]
fn a_function_does_what_a_node_does() {
    let pair = compare(seed(), 1_500).unwrap();
    for (specification, state) in &pair.functions {
        assert!(state.rows().count() > 0, "nothing happened to {specification:?}");
    }
}

#[test]
fn canary_a_function_that_forgets_to_undo_is_noticed() {
    let plant = Some(Plant::SheetKeepsWhatIsUndone);
    let told = canary::with(plant, || compare(seed(), 1_500).map(|_| ()));
    println!("{told:?}");
    assert!(told.is_err(), "the comparison is blind");
}

#[test]
fn states_are_values() {
    let counter = specification("counter");
    let turn = |index| Turn { index: Index(index), term: 1, time_ms: 0, entropy: 0 };
    let empty = genesis(&counter);
    let step = |state: &State, name: &[u8], index| {
        counter.apply(state, &turn(index), Request::new(name)).unwrap().state
    };
    let (ab, ba) = (step(&step(&empty, b"a", 1), b"b", 2), step(&step(&empty, b"b", 1), b"a", 2));
    assert_eq!(ab, ba, "the order in which rows were written is forgotten");
    assert_eq!(ab.digest(), ba.digest());
    assert_ne!(ab, step(&ab, b"a", 3));
    assert_eq!(empty, State::default(), "a state does not change");
    let events: Vec<Event> = counter.apply(&ab, &turn(3), Request::new(b"a")).unwrap().events;
    assert_eq!((events[0].topic.as_slice(), events[0].sequence), (&b"a"[..], 0));
}
