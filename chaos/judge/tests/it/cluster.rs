//! Histories of a cluster that does everything right, by seed: clients at the same time, several
//! commands in one entry, repeated commands, calls that nobody heard of again (carried out late, or
//! never), refusals, stale reads. Shared by the tests and the example `speed`.

use std::collections::BTreeMap;

use bytes::Bytes;
use pgraft_host::Command;
use pgraft_judge::history::{
    Call, Committed, Done, Ended, Event, FORMAT, Fact, History, Invoke, Phase, Reply, Run, What,
};
use pgraft_judge::lin::{Asked, Purpose, Specification};
use pgraft_judge::{Judgement, Options, judge};
use pgraft_replica::body::Body;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Keys and values.
pub(crate) type Keys = imbl::OrdMap<String, String>;

/// A machine with the words `put k v`, `cas k a b`, `get k`, `peek k`.
pub(crate) struct Words;

fn carried_out(keys: &Keys, words: &str) -> (Keys, Reply) {
    let accepted = |text: &str| Reply::Accepted(text.as_bytes().to_vec());
    let words: Vec<&str> = words.split(' ').collect();
    match words.as_slice() {
        ["put", key, value] => {
            (keys.update((*key).to_owned(), (*value).to_owned()), accepted("done"))
        }
        ["cas", key, from, to] if keys.get(*key).map(String::as_str) == Some(from) => {
            (keys.update((*key).to_owned(), (*to).to_owned()), accepted("swapped"))
        }
        ["get" | "peek", key] => {
            let value = keys.get(*key).map_or("absent", String::as_str);
            (keys.clone(), accepted(value))
        }
        _ => (keys.clone(), accepted("kept")),
    }
}

impl Specification for Words {
    type State = Keys;
    type Operation = Asked;
    type Reply = Reply;

    fn initial(&self) -> Keys {
        Keys::new()
    }

    fn step(&self, keys: &Keys, asked: &Asked) -> (Keys, Reply) {
        carried_out(keys, std::str::from_utf8(&asked.payload).expect("words"))
    }

    fn is_read(&self, asked: &Asked) -> bool {
        asked.purpose == Purpose::Query
    }
}

/// How much happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) operations: u64,
    pub(crate) clients: u64,
    pub(crate) keys: u64,
    /// Percent of the commands of which nobody hears again.
    pub(crate) unknown: u32,
}

/// A call of a client, or one that it has given up.
#[derive(Clone)]
struct Pending {
    op: u64,
    words: String,
    call: Call,
    /// Index and answer.
    came: Option<(u64, Reply)>,
}

struct Cluster {
    rng: ChaCha8Rng,
    shape: Shape,
    events: Vec<Event>,
    keys: Keys,
    index: u64,
    /// What the clients ask; one that gave up goes on under a new number.
    clients: Vec<(u64, Option<Pending>)>,
    /// Commands that somebody gave up, and that may still be carried out.
    floating: Vec<Pending>,
    /// Everything that was carried out, for repetitions.
    past: Vec<(u64, String, Reply)>,
    asked: u64,
}

/// The history with this seed.
pub(crate) fn history(seed: u64, shape: Shape) -> History {
    let mut cluster = Cluster {
        rng: ChaCha8Rng::seed_from_u64(seed),
        shape,
        events: Vec::new(),
        keys: Keys::new(),
        index: 0,
        clients: (0..shape.clients).map(|client| (client, None)).collect(),
        floating: Vec::new(),
        past: Vec::new(),
        asked: 0,
    };
    cluster.tell(What::Run(Run {
        format: FORMAT,
        scenario: "random".to_owned(),
        seed,
        commit: "none".to_owned(),
        nodes: vec![1],
        machines: vec![("words".to_owned(), String::new())],
        genesis: Vec::new(),
    }));
    while cluster.asked < shape.operations || cluster.clients.iter().any(|(_, p)| p.is_some()) {
        cluster.turn();
    }
    cluster.tell(What::Phase(Phase { name: "end".to_owned() }));
    History { events: cluster.events, cut_short: false }
}

impl Cluster {
    fn percent(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn tell(&mut self, what: What) {
        let at_us = self.events.len() as u64 * 100;
        self.events.push(Event { at_us, what });
    }

    fn turn(&mut self) {
        let at = self.rng.random_range(0..self.clients.len());
        match self.clients[at].1.clone() {
            None if self.asked < self.shape.operations => self.ask(at),
            None => {}
            Some(Pending { call, came: Some((index, reply)), op, words }) => {
                debug_assert_eq!(call, Call::Command, "queries are answered at once");
                self.ok(op, index, reply, &words);
                self.clients[at].1 = None;
            }
            Some(pending) if pending.call == Call::Command => self.command(at, pending),
            Some(Pending { op, words, .. }) => {
                let (_, reply) = carried_out(&self.keys, &words);
                self.ok(op, self.index, reply, &words);
                self.clients[at].1 = None;
            }
        }
    }

    fn ask(&mut self, at: usize) {
        self.asked += 1;
        let op = self.asked;
        let key = format!("k{}", self.rng.random_range(0..self.shape.keys));
        let words = match self.rng.random_range(0..10) {
            0..3 => format!("get {key}"),
            3 => format!("peek {key}"),
            4..8 => format!("put {key} {op}"),
            _ => {
                let old = self.keys.get(&key).map_or("none", String::as_str);
                format!("cas {key} {old} {op}")
            }
        };
        let call = match &words[..3] {
            "get" => Call::Query,
            "pee" => Call::StaleQuery,
            _ => Call::Command,
        };
        let parts: Vec<&str> = words.split(' ').collect();
        let value = || (parts[1].to_owned(), parts[parts.len() - 1].to_owned());
        let facts = match call {
            Call::Command => {
                let (key, value) = value();
                vec![Fact::Put { key, value, lease: None }]
            }
            Call::Query | Call::StaleQuery => Vec::new(),
        };
        self.tell(What::Invoke(Invoke {
            op,
            client: self.clients[at].0,
            node: 1,
            machine: "words".to_owned(),
            principal: "tests".to_owned(),
            call,
            payload: words.clone().into_bytes(),
            key: Some(key),
            says: words.clone(),
            facts,
        }));
        self.clients[at].1 = Some(Pending { op, words, call, came: None });
    }

    fn command(&mut self, at: usize, pending: Pending) {
        if self.percent(self.shape.unknown) {
            let ended = Ended { op: pending.op, why: "no answer".to_owned() };
            self.tell(What::Unknown(ended));
            self.clients[at] = (self.clients[at].0 + 1_000, None);
            self.floating.push(pending);
        } else if self.percent(2) {
            let ended = Ended { op: pending.op, why: "refused".to_owned() };
            self.tell(What::Fail(ended));
            self.clients[at].1 = None;
        } else {
            self.commit();
        }
    }

    /// Some of the commands that wait become one entry; some that were given up, too, and some
    /// that were carried out before.
    fn commit(&mut self) {
        let (mut commands, mut outcomes) = (Vec::new(), Vec::new());
        let index = self.index + 1;
        for at in 0..self.clients.len() {
            let Some(mut pending) = self.clients[at].1.clone() else { continue };
            let waits = pending.call == Call::Command && pending.came.is_none();
            if waits && self.percent(60) {
                let reply = self.carry_out(&pending, &mut commands, &mut outcomes);
                pending.came = Some((index, reply));
                self.clients[at].1 = Some(pending);
            }
        }
        if !self.floating.is_empty() && self.percent(30) {
            let late = self.floating.remove(0);
            if self.percent(50) {
                self.carry_out(&late, &mut commands, &mut outcomes);
            }
        }
        if !self.past.is_empty() && self.percent(10) {
            let again = self.rng.random_range(0..self.past.len());
            let (op, words, reply) = self.past[again].clone();
            commands.push(encoded(op, &words));
            outcomes.push(reply);
        }
        if commands.is_empty() {
            return;
        }
        self.index = index;
        let time_ms = 1_000 + index;
        let body = Body { time_ms, entropy: index, commands }.encode().to_vec();
        let (term, events) = (1, Vec::new());
        self.tell(What::Committed(Committed { index, term, time_ms, body, outcomes, events }));
    }

    fn carry_out(
        &mut self,
        pending: &Pending,
        commands: &mut Vec<Bytes>,
        outcomes: &mut Vec<Reply>,
    ) -> Reply {
        let (keys, reply) = carried_out(&self.keys, &pending.words);
        self.keys = keys;
        commands.push(encoded(pending.op, &pending.words));
        outcomes.push(reply.clone());
        self.past.push((pending.op, pending.words.clone(), reply.clone()));
        reply
    }

    fn ok(&mut self, op: u64, index: u64, reply: Reply, words: &str) {
        let parts: Vec<&str> = words.split(' ').collect();
        let Reply::Accepted(bytes) = &reply else { panic!("nothing is rejected") };
        let says = String::from_utf8(bytes.clone()).expect("words");
        let facts = match parts[0] {
            "get" | "peek" => {
                let (key, value) = (parts[1].to_owned(), Some(says.clone()));
                let value = value.filter(|value| value != "absent");
                vec![Fact::Got { key, value, revision: 0 }]
            }
            _ if says == "kept" => vec![Fact::Skipped],
            _ => Vec::new(),
        };
        self.tell(What::Ok(Done { op, index, reply, says, facts }));
    }
}

fn encoded(op: u64, words: &str) -> Bytes {
    let command = Command::Machine {
        machine: "words".to_owned(),
        principal: "tests".to_owned(),
        session: 42,
        seq: op,
        acked_below: 0,
        payload: Bytes::from(words.to_owned()),
    };
    command.encode()
}

/// How these histories are judged.
pub(crate) fn judged(history: &History) -> Judgement {
    let specifications = BTreeMap::from([("words".to_owned(), Box::new(Words) as _)]);
    let options = Options { specifications, ..Options::default() };
    judge(history, &options).expect("the history makes sense")
}

/// Without the log.
pub(crate) fn black_box(history: &History) -> History {
    let clients = history.events.iter().filter(|e| !matches!(e.what, What::Committed(_)));
    History { events: clients.cloned().collect(), cut_short: false }
}
