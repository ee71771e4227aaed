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
    let rows = counters[0].1.rows().count();
    assert!(rows >= 3, "too little happened: {rows} rows");

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
import { storage } from "pgraft";
export function apply(ctx, from, what) {
  if (what === "chance") return Math.random();
  if (what === "clock") return [Date.now(), new Date().getTimezoneOffset()];
  if (what === "throw") throw new TypeError("as asked");
  if (what === "deep") return (function down(n) { return 1 + down(n + 1); })(0);
  globalThis.kept = (globalThis.kept ?? 0) + 1;
  storage.put("kept", String(globalThis.kept));
  return globalThis.kept;
}
export const query = () => [...storage.scan()];
"#;

#[test]
fn javascript_has_the_logs_clock_and_the_entrys_chance() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("curious");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("machine.js"), CURIOUS).unwrap();
    let curious = module(folder.to_str().unwrap(), "curious");
    let empty = curious.initial(b"", 0).unwrap();
    let ask = |what: &str, time_ms: u64, entropy: u64| {
        let turn = Turn { index: Index(9), term: 1, time_ms, entropy };
        let asked = format!("{what:?}");
        told(&curious.apply(&empty, &turn, Request::new(asked.as_bytes())).unwrap().outcomes[0])
    };
    let chance = ask("chance", 1, 1);
    assert!(chance.as_ref().is_ok_and(|number| number.starts_with("0.")), "{chance:?}");
    assert_eq!(ask("chance", 2, 1), chance, "a function of the entry's chance");
    assert_ne!(ask("chance", 1, 2), chance);
    assert_eq!(ask("clock", 1_700_000_000_123, 1), Ok("[1700000000123,0]".to_owned()));
    assert_eq!(ask("throw", 1, 1).unwrap_err().0, 1, "what is no rejection ends the call");
    assert_eq!(ask("deep", 1, 1).unwrap_err().0, 1);
    assert_eq!((ask("keep", 1, 1), ask("keep", 1, 1)), (Ok("1".to_owned()), Ok("1".to_owned())));

    let turn = Turn { index: Index(9), term: 1, time_ms: 1, entropy: 1 };
    let kept = curious.apply(&empty, &turn, Request::new(b"\"keep\"")).unwrap().state;
    assert_eq!(curious.query(&kept, &turn, b"[]").unwrap(), Ok(br#"[["kept","1"]]"#.to_vec()));
}
