//! The golden scripts of the built-in machines, through the compiled module, the engine and
//! state.db: what they print must be what the machine prints when it runs natively.

use std::path::Path;

use pgraft_replica::{Committed, Term};
use pgraft_sdk::native::{Backend, Effect, Event};
use pgraft_sdk::{Error, Outcome, Result};

use super::rig::{self, Node};
use crate::{Applied, Bootstrap, Command, Rejection};

test_each_file::test_each_path! { in "statemachines/kv/testscripts" as kv => kv }
test_each_file::test_each_path! {
    in "statemachines/membership/testscripts" as membership => membership
}

fn kv(path: &Path) {
    let mut script = pgraft_kv::script::Script::new(Module::new("kv"));
    goldenscript::run(&mut script, path).expect("natively it prints something else");
}

fn membership(path: &Path) {
    let mut script = pgraft_membership::script::Script::new(Module::new("membership"));
    goldenscript::run(&mut script, path).expect("natively it prints something else");
}

/// A machine that runs as a module.
struct Module {
    name: &'static str,
    node: Node,
    term: u64,
    events: Vec<Event>,
}

impl Module {
    fn new(name: &'static str) -> Module {
        let node = Node::empty(&rig::machines());
        Module { name, node, term: 1, events: Vec::new() }
    }

    fn entry(&mut self, time_ms: u64, commands: &[Command]) -> Applied {
        let at = self.node.applier.meta().applied.next();
        let mut entry: Committed = rig::entry(at, time_ms, commands);
        entry.entry.term = Term(self.term);
        let applied = self.node.apply(&[entry]).unwrap().remove(0);
        let events = applied.events.iter();
        self.events.extend(events.map(|event| (event.topic.clone(), event.payload.clone())));
        applied
    }
}

fn told(outcome: crate::Outcome) -> Outcome {
    outcome.map_err(|Rejection { code, message }| Error { code, message })
}

impl Backend for Module {
    fn init(&mut self, config: &[u8]) -> Result<()> {
        let mut bootstrap = rig::bootstrap();
        bootstrap.machines.retain(|(name, ..)| name == self.name);
        bootstrap.machines[0].2 = config.to_vec();
        match self.node.applier.bootstrap(&Bootstrap { time_ms: 0, ..bootstrap }) {
            Ok(()) => Ok(()),
            Err(crate::Fault::Refused { rejection, .. }) => told(Err(rejection)).map(|_| ()),
            Err(fault) => panic!("{fault}"),
        }
    }

    fn set_term(&mut self, term: u64) {
        self.term = term;
    }

    fn apply(&mut self, time_ms: u64, payloads: &[Vec<u8>]) -> Vec<Outcome> {
        let commands: Vec<Command> =
            payloads.iter().map(|payload| rig::to(self.name, payload.clone())).collect();
        self.entry(time_ms, &commands).outcomes.into_iter().map(told).collect()
    }

    fn check(&mut self, payload: &[u8]) -> Result<()> {
        told(self.node.querier().check(self.name, "test", payload).unwrap().outcome).map(|_| ())
    }

    fn query(&mut self, request: &[u8]) -> Outcome {
        told(self.node.querier().query(self.name, "test", request).unwrap().outcome)
    }

    fn next_wake(&mut self) -> Option<u64> {
        self.node.applier.next_wake().map(|(_, time_ms)| time_ms)
    }

    fn wake(&mut self, time_ms: u64) -> Result<()> {
        let wake = Command::Wake { machine: self.name.to_owned() };
        told(self.entry(time_ms, &[wake]).outcomes.remove(0)).map(|_| ())
    }

    fn effects(&mut self) -> Vec<Effect> {
        let waiting = self.node.applier.outbox().into_iter();
        let effect = |crate::Effect { id, kind, payload, .. }| Effect { id, kind, payload };
        waiting.map(effect).collect()
    }

    fn effect_done(&mut self, time_ms: u64, id: u64, outcome: Outcome) -> Result<()> {
        let outcome = outcome.map_err(|Error { code, message }| Rejection { code, message });
        let done = Command::EffectDone { machine: self.name.to_owned(), id, outcome };
        told(self.entry(time_ms, &[done]).outcomes.remove(0)).map(|_| ())
    }

    fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}
