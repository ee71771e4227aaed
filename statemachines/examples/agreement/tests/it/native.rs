//! Each machine in Rust, natively and as a module: equal outcomes, events, wake-ups, invariants and
//! rows after every entry.

use pgraft_host::{Outcome, Request, Specification, State, Transition, Turn};
use pgraft_replica::Index;
use pgraft_sdk::Machine;
use pgraft_sdk::native::serve::{Ask, Came, Hex, Sent, Server, Told, Turn as Line, rows_digest};
use pgraft_sdk::typed::Random;

use crate::module::module;
use crate::random;

/// What a machine is asked: commands and queries, in JSON.
type Draw = fn(&mut Random) -> String;

fn came(outcome: &Outcome) -> Came {
    match outcome {
        Ok(reply) => Came::Ok(Hex(reply.clone())),
        Err(why) => Came::Error { code: why.code, message: why.message.clone() },
    }
}

/// What the native program would tell of this.
fn told(transition: &Transition) -> Told {
    let Transition { state, outcomes, events } = transition;
    let events = events.iter().map(|event| (Hex(event.topic.clone()), Hex(event.payload.clone())));
    Told {
        outcomes: outcomes.iter().map(came).collect(),
        events: events.collect(),
        effects: Vec::new(),
        wake_at_ms: state.wake_ms().unwrap_or(0),
        rows: rows_digest(state.rows()),
    }
}

struct Pair<M> {
    specification: Specification,
    state: State,
    native: Server<M>,
    time_ms: u64,
    replies: u32,
}

impl<M: Machine> Pair<M> {
    fn turns(&self, index: u64) -> (Turn, Line) {
        let turn = Turn { index: Index(index), term: 1, time_ms: self.time_ms, entropy: index };
        let seed = self.specification.seed(&turn);
        (turn, Line { index, term: 1, time_ms: self.time_ms, seed })
    }

    /// One entry; the commands in it come to the same on both sides.
    fn entry(&mut self, index: u64, commands: &[String]) {
        let (turn, line) = self.turns(index);
        let requests: Vec<Request<'_>> =
            commands.iter().map(|command| Request::new(command.as_bytes())).collect();
        let sent = |command: &String| Sent {
            principal: String::new(),
            session: 0,
            seq: 0,
            payload: Hex(command.clone().into_bytes()),
        };
        let applied = self.specification.apply_all(&self.state, &turn, &requests);
        let applied = applied.expect("the host does not fail");
        let commands_sent = commands.iter().map(sent).collect();
        let native = self.native.answer(Ask::Apply { turn: line, commands: commands_sent });
        assert_eq!(native, told(&applied), "{commands:?}");
        self.replies += applied.outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u32;
        self.state = applied.state;
        self.look(index);
    }

    /// The wake-up, if it is due.
    fn wake(&mut self, index: u64) -> bool {
        if self.state.wake_ms().is_none_or(|due| due > self.time_ms) {
            return false;
        }
        let (turn, line) = self.turns(index);
        let woken = self.specification.wake(&self.state, &turn).expect("the host does not fail");
        assert_eq!(self.native.answer(Ask::Wake { turn: line }), told(&woken));
        self.state = woken.state;
        self.look(index);
        true
    }

    fn query(&mut self, index: u64, query: &str) {
        let (turn, line) = self.turns(index);
        let answer = self.specification.query(&self.state, &turn, query.as_bytes());
        let request = Hex(query.as_bytes().to_vec());
        let native = self.native.answer(Ask::Query { turn: line, request });
        assert_eq!(native.outcomes, [came(&answer.expect("the host does not fail"))], "{query}");
    }

    fn look(&mut self, index: u64) {
        let (turn, line) = self.turns(index);
        let held = self.specification.invariant(&self.state, &turn);
        assert_eq!(held.expect("the host does not fail"), Ok(()));
        let native = self.native.answer(Ask::Invariant { turn: line });
        assert_eq!(native.outcomes, [Came::Ok(Hex(Vec::new()))]);
    }
}

fn agree<M: Machine>(name: &str, command: Draw, query: Draw) {
    let specification = module(name, name);
    let state = specification.initial(b"", 0).expect("the default configuration is sound");
    let mut native: Server<M> = Server::default();
    let line = Line { index: 0, term: 0, time_ms: 0, seed: 0 };
    native.answer(Ask::Init { turn: line, config: Hex(Vec::new()) });
    let mut pair = Pair { specification, state, native, time_ms: 0, replies: 0 };
    let (mut random, mut woken) = (random(), 0);
    for index in 1..=400 {
        pair.time_ms += random.below(40);
        if pair.wake(index) {
            woken += 1;
            continue;
        }
        let commands: Vec<String> =
            (0..1 + random.below(4)).map(|_| command(&mut random)).collect();
        pair.entry(index, &commands);
        pair.query(index, &query(&mut random));
    }
    println!("{name}: {} replies, {woken} wake-ups", pair.replies);
    assert!(pair.replies > 100, "too little happened");
}

#[test]
fn counter() {
    agree::<pgraft_example_counter::Counter>(
        "counter",
        |random| match random.below(5) {
            0 => format!(r#"{{"reset":"n{}"}}"#, random.below(3)),
            _ => format!(r#"{{"add":"n{}"}}"#, random.below(3)),
        },
        |random| format!(r#"{{"get":"n{}"}}"#, random.below(3)),
    );
}

#[test]
fn bank() {
    agree::<pgraft_example_bank::Bank>(
        "bank",
        |random| {
            let (from, to) = (random.below(11), random.below(11));
            let amount = random.below(60);
            format!(r#"{{"transfer":{{"from":"a{from}","to":"a{to}","amount":{amount}}}}}"#)
        },
        |random| match random.below(3) {
            0 => r#""total""#.to_owned(),
            _ => format!(r#"{{"balance":"a{}"}}"#, random.below(11)),
        },
    );
}

#[test]
fn limiter() {
    agree::<pgraft_example_limiter::Limiter>(
        "limiter",
        |random| {
            let (client, tokens) = (random.below(4), random.below(12));
            format!(r#"{{"take":{{"client":"c{client}","tokens":{tokens}}}}}"#)
        },
        |random| format!(r#"{{"left":"c{}"}}"#, random.below(4)),
    );
}

#[test]
fn lock() {
    agree::<pgraft_example_lock::Lock>(
        "lock",
        |random| {
            let (lock, other) = (random.below(3), random.below(300));
            match random.below(4) {
                0 => format!(r#"{{"release":{{"name":"l{lock}","token":{}}}}}"#, random.below(60)),
                1 => format!(
                    r#"{{"renew":{{"name":"l{lock}","token":{},"ttl_ms":{other}}}}}"#,
                    random.below(60)
                ),
                _ => format!(
                    r#"{{"acquire":{{"name":"l{lock}","owner":"o{}","ttl_ms":{other}}}}}"#,
                    random.below(3)
                ),
            }
        },
        |random| format!(r#"{{"holder":"l{}"}}"#, random.below(3)),
    );
}

#[test]
fn queue() {
    agree::<pgraft_example_queue::Queue>(
        "queue",
        |random| match random.below(5) {
            0..=1 => format!(r#"{{"put":{{"body":"job","delay_ms":{}}}}}"#, random.below(200)),
            2..=3 => format!(r#"{{"take":{{"for_ms":{}}}}}"#, random.below(300)),
            _ => format!(
                r#"{{"done":{{"id":{},"attempt":{}}}}}"#,
                random.below(300),
                1 + random.below(3)
            ),
        },
        |_| r#""counts""#.to_owned(),
    );
}

/// Canary: a machine that does natively what its module does not is noticed.
#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn canary_another_machine_is_noticed() {
    agree::<pgraft_example_counter::Counter>(
        "bank",
        |_| r#"{"add":"n"}"#.to_owned(),
        |_| r#"{"get":"n"}"#.to_owned(),
    );
}
