//! One machine in four languages: equal answers, events and keys for the same commands.

use pgraft_host::{Outcome, Request, Specification, State, Transition, Turn};
use pgraft_replica::Index;
use pgraft_sdk::typed::{MALFORMED, Random};

use crate::module::module;
use crate::random;

/// The others are measured by the first.
const FOLDERS: [&str; 4] = ["counter", "counter-c", "counter-zig", "counter-js"];

/// Names of all kinds, as JSON text: escapes, surrogates, spaces, too long, empty.
fn name(random: &mut Random) -> String {
    match random.below(12) {
        0 => "\"\"".to_owned(),
        1 => format!("\"{}\"", "x".repeat(64 + random.below(2) as usize)),
        2 => format!("\"{}\"", "ü".repeat(32 + random.below(2) as usize)),
        3 => r#""\u00fc\n\"\\\/""#.to_owned(),
        4 => r#""\ud83d\ude00 \u20AC""#.to_owned(),
        _ => format!("\"name{}\"", random.below(4)),
    }
}

fn command(random: &mut Random) -> String {
    const MALFORMED: [&str; 12] = [
        "",
        "add",
        "{}",
        "[1]",
        "\"add\"",
        "{\"add\":5}",
        "{\"add\":\"a\"",
        "{\"add\":\"a\"} x",
        "{\"subtract\":\"a\"}",
        "{\"add\":\"\\ud800\"}",
        "{\"add\":\"a\nb\"}",
        "{\"add\":\"a\",\"reset\":\"b\"}",
    ];
    match random.below(10) {
        0 => MALFORMED[random.below(MALFORMED.len() as u64) as usize].to_owned(),
        1..=2 => format!("{{ \"reset\" : {} }} ", name(random)),
        _ => format!("{{\"add\":{}}}", name(random)),
    }
}

/// What must be equal of an outcome: all of it, but the words for what nobody can read.
fn told(outcome: &Outcome) -> Result<String, (u32, String)> {
    match outcome {
        Ok(reply) => Ok(String::from_utf8(reply.clone()).expect("replies are JSON")),
        Err(why) if why.code == MALFORMED => Err((why.code, String::new())),
        Err(why) => Err((why.code, why.message.clone())),
    }
}

/// The same entry for all of them; the first difference.
fn step(
    counters: &mut [(Specification, State)],
    turn: &Turn,
    random: &mut Random,
) -> Result<(), String> {
    let commands: Vec<String> = (0..1 + random.below(3)).map(|_| command(random)).collect();
    let query = format!("{{\"get\":{}}}", name(random));
    let mut said = Vec::new();
    for ((specification, state), folder) in counters.iter_mut().zip(FOLDERS) {
        let requests: Vec<Request<'_>> =
            commands.iter().map(|command| Request::new(command.as_bytes())).collect();
        let applied = specification.apply_all(state, turn, &requests);
        let Transition { state: next, outcomes, events } =
            applied.map_err(|why| why.to_string())?;
        *state = next;
        let outcomes: Vec<_> = outcomes.iter().map(told).collect();
        let events: Vec<_> = events.into_iter().map(|event| (event.topic, event.payload)).collect();
        let answer = specification.query(state, turn, query.as_bytes());
        let answer = told(&answer.map_err(|why| why.to_string())?);
        let keys: Vec<_> = commands
            .iter()
            .map(|command| specification.command_key(command.as_bytes()).expect("keys are pure"))
            .collect();
        let rows = state.rows().count();
        said.push((folder, outcomes, events, answer, keys, rows));
    }
    let (_, outcomes, events, answer, keys, rows) = &said[0];
    for (folder, o, e, a, k, r) in &said[1..] {
        if (o, e, a, k, r) != (outcomes, events, answer, keys, rows) {
            return Err(format!(
                "{commands:?} {query}: {folder} says {o:?} {e:?} {a:?} {k:?} {r}, \
                 the first {outcomes:?} {events:?} {answer:?} {keys:?} {rows}"
            ));
        }
    }
    Ok(())
}

#[test]
fn four_counters_say_the_same() {
    let mut counters: Vec<(Specification, State)> = FOLDERS
        .iter()
        .map(|folder| {
            let specification = module(folder, "counter");
            let manifest = specification.manifest();
            assert_eq!((manifest.name.as_str(), manifest.keyed), ("counter", true), "{folder}");
            let state = specification.initial(b"", 0).expect("it needs no configuration");
            (specification, state)
        })
        .collect();
    let mut random = random();
    for index in 1..=300 {
        let turn = Turn { index: Index(index), term: 1, time_ms: index, entropy: index };
        step(&mut counters, &turn, &mut random).unwrap();
    }
    assert!(counters[0].1.rows().count() >= 6, "too little happened");

    // Canary: a counter that missed an entry is noticed.
    let turn = Turn { index: Index(301), term: 1, time_ms: 301, entropy: 301 };
    let (specification, state) = &mut counters[2];
    for name in 0..4 {
        let add = format!("{{\"add\":\"name{name}\"}}");
        *state = specification.apply(state, &turn, Request::new(add.as_bytes())).unwrap().state;
    }
    let noticed = (302..330).find_map(|index| {
        let turn = Turn { index: Index(index), term: 1, time_ms: index, entropy: index };
        step(&mut counters, &turn, &mut random).err()
    });
    assert!(noticed.expect("the comparison is blind").contains("counter-zig says"));
}

/// A machine in JavaScript that asks for what replicas could not agree about.
const CURIOUS: &str = r#"
const bytes = (text) => Uint8Array.from([...text].map((letter) => letter.charCodeAt(0)));
const ask = { 114: () => String(Math.random()), 116: () => String(Date.now()) };
const reply = (payload) => ({ tag: "ok", val: bytes(ask[payload[0]]()) });
export const guest = {
  describe: () => ({
    name: "curious", version: "1", schema: 1, migratesFrom: 1, api: "", keyed: false,
  }),
  init: () => {},
  check: () => {},
  apply: (ctx, commands) => commands.map(({ payload }) => reply(payload)),
  react: () => {},
  query: () => bytes(""),
  migrate: () => "done",
};
"#;

#[test]
fn javascript_has_no_clock_and_no_chance() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("curious");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("machine.js"), CURIOUS).unwrap();
    let curious = module(folder.to_str().unwrap(), "curious");
    let empty = curious.initial(b"", 0).unwrap();
    let ask = |payload: &[u8], index| {
        let turn = Turn { index: Index(index), term: 1, time_ms: index, entropy: index };
        curious.apply(&empty, &turn, Request::new(payload)).unwrap().outcomes.remove(0)
    };
    let chance = ask(b"r", 1).unwrap();
    assert!(chance.starts_with(b"0."), "{}", String::from_utf8_lossy(&chance));
    assert_eq!(ask(b"r", 2), Ok(chance), "each entry begins with the same state");
    let clock = ask(b"t", 1);
    assert_eq!(clock.map_err(|why| why.code), Err(1), "a call to the clock traps");
}
