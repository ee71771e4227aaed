//! Histories told step by step: who asks what, what is committed, what they are told. A story is
//! right unless it is told to lie.

use std::collections::BTreeMap;

use bytes::Bytes;
use pgraft_host::Command;
use pgraft_replica::body::Body;

use super::store::{Keys, Store, accepted};
use crate::history::{
    Call, Committed, Done, Emitted, Ended, Event, FORMAT, Fact, History, Invoke, Phase, Reply, Run,
    What,
};
use crate::judge::{Judgement, Options, judge};

pub(super) const MACHINE: &str = "store";

/// A history in the making.
pub(super) struct Story {
    pub(super) events: Vec<Event>,
    pub(super) keys: Keys,
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) time_ms: u64,
    at_us: u64,
    asked: BTreeMap<u64, Invoke>,
    outcomes: BTreeMap<u64, (u64, Reply, Vec<Fact>)>,
}

impl Story {
    pub(super) fn new() -> Story {
        let run = Run {
            format: FORMAT,
            scenario: "story".to_owned(),
            seed: 0,
            commit: "none".to_owned(),
            nodes: vec![1, 2, 3],
            machines: vec![(MACHINE.to_owned(), "00".to_owned())],
            genesis: Vec::new(),
        };
        let (events, asked, outcomes) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let keys = Keys::default();
        let (index, term, time_ms, at_us) = (0, 1, 1_000, 0);
        let mut story = Story { events, keys, index, term, time_ms, at_us, asked, outcomes };
        story.tell(What::Run(run));
        story
    }

    /// Adds a line.
    pub(super) fn tell(&mut self, what: What) {
        self.events.push(Event { at_us: self.at_us, what });
        self.at_us += 1_000;
    }

    pub(super) fn wait_us(&mut self, time_us: u64) {
        self.at_us += time_us;
    }

    pub(super) fn phase(&mut self, name: &str) {
        self.tell(What::Phase(Phase { name: name.to_owned() }));
    }

    /// A client asks; what it says about facts follows from the words.
    pub(super) fn ask(&mut self, client: u64, words: &str) -> u64 {
        let parts: Vec<&str> = words.split(' ').collect();
        let facts = match parts.as_slice() {
            ["put", key, value, lease @ ..] => {
                let (key, value) = ((*key).to_owned(), (*value).to_owned());
                let lease = lease.first().map(|lease| lease.parse().unwrap());
                vec![Fact::Put { key, value, lease }]
            }
            ["del", key] => vec![Fact::Delete { key: (*key).to_owned() }],
            ["cas", key, _, value] => {
                let (key, value) = ((*key).to_owned(), (*value).to_owned());
                vec![Fact::Put { key, value, lease: None }]
            }
            _ => Vec::new(),
        };
        self.ask_with(client, words, facts)
    }

    pub(super) fn ask_with(&mut self, client: u64, words: &str, facts: Vec<Fact>) -> u64 {
        let op = self.asked.len() as u64 + 1;
        let parts: Vec<&str> = words.split(' ').collect();
        let call = match parts[0] {
            "get" | "read" => Call::Query,
            "peek" => Call::StaleQuery,
            _ => Call::Command,
        };
        let invoke = Invoke {
            op,
            client,
            node: 1,
            machine: MACHINE.to_owned(),
            principal: "tests".to_owned(),
            call,
            payload: words.as_bytes().to_vec(),
            key: parts.get(1).map(|key| (*key).to_owned()),
            says: words.to_owned(),
            facts,
        };
        self.asked.insert(op, invoke.clone());
        self.tell(What::Invoke(invoke));
        op
    }

    /// The commands of these operations become one entry, and are carried out.
    pub(super) fn commit(&mut self, ops: &[u64]) -> u64 {
        self.commit_as(ops, 0)
    }

    /// The same, with the numbers of a session: an operation's number is its own. A machine that is
    /// told `again` carries repetitions out again.
    pub(super) fn commit_as(&mut self, ops: &[u64], session: u64) -> u64 {
        self.index += 1;
        self.time_ms += 10;
        let (mut commands, mut outcomes, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for op in ops {
            let invoke = self.asked[op].clone();
            let command = Command::Machine {
                machine: invoke.machine.clone(),
                principal: invoke.principal.clone(),
                session,
                seq: if session == 0 { 0 } else { *op },
                acked_below: 0,
                payload: Bytes::from(invoke.payload.clone()),
            };
            commands.push(command.encode());
            let outcome = self.keys.apply(&invoke.says);
            let mut facts = self.keys.facts(&invoke.says);
            if outcome == accepted("kept") {
                facts.push(Fact::Skipped);
            }
            self.outcomes.insert(*op, (self.index, outcome.clone(), facts));
            outcomes.push(outcome);
            let (key, payload) = (invoke.key.unwrap_or_default().into_bytes(), invoke.payload);
            events.push(Emitted { machine: MACHINE.to_owned(), key, payload });
        }
        let body = Body { time_ms: self.time_ms, entropy: 7, commands };
        self.tell(What::Committed(Committed {
            index: self.index,
            term: self.term,
            time_ms: self.time_ms,
            body: body.encode().to_vec(),
            outcomes,
            events,
        }));
        self.index
    }

    /// The client is told the truth: what was committed, or what a read sees now.
    pub(super) fn ok(&mut self, op: u64) {
        self.ok_with(op, &[]);
    }

    /// The truth, and more facts.
    pub(super) fn ok_with(&mut self, op: u64, more: &[Fact]) {
        let says = self.asked[&op].says.clone();
        let now = || (self.index, self.keys.clone().apply(&says), self.keys.facts(&says));
        let (index, reply, mut facts) = self.outcomes.get(&op).cloned().unwrap_or_else(now);
        facts.extend_from_slice(more);
        self.told(op, index, reply, facts);
    }

    /// A reader is told something else.
    pub(super) fn lie(&mut self, op: u64, value: Option<&str>, index: u64) {
        let key = self.asked[&op].key.clone().unwrap_or_default();
        let value = value.map(str::to_owned);
        let reply = accepted(value.as_deref().unwrap_or("absent"));
        self.told(op, index, reply, vec![Fact::Got { key, value, revision: 0 }]);
    }

    pub(super) fn told(&mut self, op: u64, index: u64, reply: Reply, facts: Vec<Fact>) {
        let says = match &reply {
            Reply::Accepted(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Reply::Rejected { message, .. } => message.clone(),
        };
        self.tell(What::Ok(Done { op, index, reply, says, facts }));
    }

    pub(super) fn fail(&mut self, op: u64) {
        self.tell(What::Fail(Ended { op, why: "refused".to_owned() }));
    }

    pub(super) fn unknown(&mut self, op: u64) {
        self.tell(What::Unknown(Ended { op, why: "no answer".to_owned() }));
    }

    pub(super) fn is_command(&self, op: u64) -> bool {
        self.asked[&op].call == Call::Command
    }

    /// Ask, commit, tell.
    pub(super) fn done(&mut self, client: u64, words: &str) -> u64 {
        let op = self.ask(client, words);
        if self.is_command(op) {
            self.commit(&[op]);
        }
        self.ok(op);
        op
    }

    /// The history, after its end.
    pub(super) fn end(mut self) -> History {
        self.phase("end");
        History { events: self.events, cut_short: false }
    }

    /// Without its end and its log: what clients alone can tell.
    pub(super) fn black_box(self) -> History {
        let clients = self.events.into_iter().filter(|e| !matches!(e.what, What::Committed(_)));
        History { events: clients.collect(), cut_short: false }
    }
}

/// How the stories are judged.
pub(super) fn options() -> Options {
    let mut options = Options::default();
    options.specifications.insert(MACHINE.to_owned(), Box::new(Store));
    options
}

pub(super) fn judged(history: &History) -> Judgement {
    judge(history, &options()).expect("a story makes sense")
}

/// A story in which nothing goes wrong.
pub(super) fn good() -> Story {
    let mut story = Story::new();
    story.done(1, "put x 1");
    let (one, two) = (story.ask(1, "put x 2"), story.ask(2, "get x"));
    story.ok(two);
    story.commit(&[one]);
    story.ok(one);
    story.done(2, "get x");
    story.done(3, "cas x 2 3");
    story.done(1, "cas x 2 4");
    story.done(2, "peek x");
    let lost = story.ask(3, "put y 5");
    story.unknown(lost);
    story.commit(&[lost]);
    let never = story.ask(13, "put y 6");
    story.unknown(never);
    let refused = story.ask(4, "put y 7");
    story.fail(refused);
    story.done(1, "get y");
    story.done(1, "del y");
    story
}
