//! A run as it might have been, from a seed: three nodes, six clients at work, a leader that is cut
//! off and goes on answering reads from its lease. Not a simulation: nothing of pgraft runs here.
//!
//! `sample.jsonl` is what it makes with seed 42, kept so that old histories stay readable.

use std::{fs, path::PathBuf};

use pgraft_judge::history::Event;
use pgraft_report::{Page, Verdict, VerdictLine};
use serde_json::{Value, json};

const MS: u64 = 1_000;
const END: u64 = 6_000 * MS;
/// Node 1 is cut off from here to there; the others elect a leader in between.
const CUT: (u64, u64) = (2_000 * MS, 3_300 * MS);
const ELECTED: u64 = 2_340 * MS;
/// Node 2 has no power.
const DOWN: (u64, u64) = (3_900 * MS, 4_450 * MS);
/// Frames take longer.
const SLOW: (u64, u64) = (3_600 * MS, 4_200 * MS);
/// The stale read is asked no earlier.
const STALE_READ: u64 = 2_520 * MS;

/// A file beside this test.
pub(crate) fn beside(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// Whether kept files are to be written anew.
pub(crate) fn rewrites() -> bool {
    std::env::var_os("UPDATE_GOLDENFILES").is_some()
}

/// The history that is kept, or is just being written.
pub(crate) fn kept() -> Vec<Event> {
    let text = if rewrites() {
        text_of(42)
    } else {
        fs::read_to_string(beside("sample.jsonl")).expect("a kept file")
    };
    text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
}

/// The page about it.
pub(crate) fn page(history: &[Event]) -> Page<'_> {
    let line = |checker: &str, verdict, says: &str| VerdictLine {
        checker: checker.to_owned(),
        verdict,
        says: says.to_owned(),
    };
    let [write, read] = offending(history);
    Page {
        history,
        verdicts: vec![
            line("exactly once", Verdict::Pass, "every acknowledged command is in the log once"),
            line(
                "linearizability",
                Verdict::Fail,
                &format!(
                    "the read #{read} of x on node 1 returned a value that put #{write} had \
                     replaced: the put was acknowledged before the read was asked"
                ),
            ),
            line("durability", Verdict::Pass, "no acknowledged write is lost"),
            line("watch order", Verdict::Unknown, "nothing was watched in this run"),
            line("divergence", Verdict::Pass, "3 replicas agree at every index they share"),
            line("liveness", Verdict::Pass, "answered 0.21 s after the last fault ended"),
        ],
        offending: vec![write, read],
        reproduce: "git checkout 1a2b3c4d5e6f && cargo run -p pgraft-chaos -- run partition-heal \
                    --seed 42"
            .to_owned(),
        shrunk: Some(trace(history, write, read)),
    }
}

fn trace(history: &[Event], write: u64, read: u64) -> String {
    use pgraft_judge::history::What;
    let asked = |op| {
        let is_it = |event: &&Event| matches!(&event.what, What::Invoke(one) if one.op == op);
        let at_us = history.iter().find(is_it).expect("it was asked").at_us;
        format!("{}.{:03}", at_us / 1_000_000, at_us % 1_000_000 / 1_000)
    };
    let all = history.iter().filter(|event| matches!(event.what, What::Invoke(_))).count();
    let (put_at, read_at) = (asked(write), asked(read));
    format!(
        "1 of 5 faults and 2 of {all} operations are enough.\n\n\
         0.162  node 1 leads term 2\n\
         2.000  fault 1 begins: cut 1 | 2 3\n\
         2.340  node 3 leads term 3; node 1 still takes itself for the leader of term 2\n\
         {put_at}  put #{write}: in the log of 2 and 3, acknowledged\n\
         {read_at}  get #{read} on node 1: answered from the lease of term 2, long over\n"
    )
}

/// The numbers of the stale read and of the put that it should have seen.
fn offending(history: &[Event]) -> [u64; 2] {
    use pgraft_judge::history::What;
    let mut marked = history.iter().filter_map(|event| match &event.what {
        What::Mark(mark) => mark.name.strip_prefix("planted stale read: "),
        _ => None,
    });
    let name = marked.next().expect("the sample plants one");
    let mut numbers = name.split(' ').map(|number| number.parse().expect("a number"));
    [numbers.next().expect("a put"), numbers.next().expect("a read")]
}

/// A stream of chance (splitmix64).
struct Chance(u64);

impl Chance {
    /// From `low` up to below `high`.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (mixed ^ (mixed >> 31)) % (high - low)
    }
}

/// A question and when it takes effect, if it does.
struct Asked {
    thread: u64,
    client: u64,
    node: u64,
    from: u64,
    effect: Option<u64>,
    to: u64,
    call: &'static str,
    verb: &'static str,
    key: usize,
    /// How it ends if it takes no effect.
    lost: (&'static str, &'static str),
    stale: bool,
}

fn text_of(seed: u64) -> String {
    made(seed).iter().map(|line| line.to_string() + "\n").collect()
}

/// The history of a seed, line by line.
fn made(seed: u64) -> Vec<Value> {
    let mut chance = Chance(seed);
    let mut asked = schedule(&mut chance);
    asked.sort_by_key(|one| (one.effect.unwrap_or(one.to), one.thread));
    let mut lines = surroundings(seed);
    answer(&asked, &mut chance, &mut lines);
    lines.sort_by_key(|(at, _)| *at); // Stable: what was pushed first stays first.
    let stamp = |(at, mut line): (u64, Value)| {
        line["at_us"] = json!(at);
        line
    };
    lines.into_iter().map(stamp).collect()
}

fn schedule(chance: &mut Chance) -> Vec<Asked> {
    let mut asked = Vec::new();
    let mut newest = 6;
    for thread in 0..6 {
        let (mut client, node) = (thread + 1, 1 + thread % 3);
        let mut now = 180 * MS + chance.between(0, 60 * MS);
        let mut stale = thread == 0;
        while now < END - 150 * MS {
            let is_planted = stale && now >= STALE_READ;
            let mut one = ask(chance, thread, client, node, now, stale);
            if is_planted {
                stale = false;
                (one.call, one.verb, one.key, one.stale) = ("query", "get", 0, true);
                (one.effect, one.to) = (Some(now + 900), now + 2_100);
            }
            now = one.to + chance.between(30 * MS, 110 * MS);
            if stale && one.to < STALE_READ && now > STALE_READ {
                now = STALE_READ + 9_000;
            }
            if one.effect.is_none() && one.lost.0 == "unknown" {
                newest += 1;
                client = newest;
            }
            asked.push(one);
        }
    }
    asked
}

fn ask(chance: &mut Chance, thread: u64, client: u64, node: u64, now: u64, reads: bool) -> Asked {
    let within = |(from, to): (u64, u64)| now >= from && now < to;
    let (call, verb) = match chance.between(0, 10) {
        _ if reads && within(CUT) => ("query", "get"),
        0..4 => ("command", "put"),
        4..6 => ("command", "cas"),
        6..9 => ("query", "get"),
        _ => ("stale_query", "get"),
    };
    let mut took = match call {
        "command" => chance.between(6 * MS, 16 * MS),
        "query" => chance.between(3 * MS, 9 * MS),
        _ => chance.between(300, 800),
    };
    let mut lost = None;
    if call != "stale_query" {
        if within(SLOW) {
            took += chance.between(4 * MS, 40 * MS);
        }
        if chance.between(0, 25) == 0 {
            took *= 4;
        }
        if node == 1 && within(CUT) {
            lost = Some(match call {
                "command" => (400 * MS, "unknown", "no answer in 400 ms"),
                _ => (150 * MS, "fail", "no majority in 150 ms"),
            });
        } else if now >= CUT.0 && now < ELECTED {
            took += ELECTED - now + chance.between(0, 9 * MS);
        }
    }
    if node == 2 && within(DOWN) {
        lost = Some((900, "fail", "connection refused"));
    } else if node == 2 && now < DOWN.0 && now + took > DOWN.0 {
        lost = Some((DOWN.0 - now, "unknown", "connection lost"));
    }
    let key = usize::try_from(chance.between(0, 3)).expect("small");
    let (effect, to, lost) = match lost {
        Some((after, how, why)) => (None, now + after, (how, why)),
        None => (Some(now + took * 2 / 3), now + took, ("", "")),
    };
    Asked { thread, client, node, from: now, effect, to, call, verb, key, lost, stale: false }
}

/// Carries everything out in the order in which it takes effect.
fn answer(asked: &[Asked], chance: &mut Chance, lines: &mut Vec<(u64, Value)>) {
    const KEYS: [&str; 3] = ["x", "y", "z"];
    let mut index = 12;
    let mut held = [0; 3];
    let mut before_cut = (0, 0);
    let mut writes_of_x = Vec::new();
    for (op, one) in asked.iter().enumerate() {
        let key = KEYS[one.key];
        let effect = one.effect.unwrap_or(one.to);
        if effect < CUT.0 {
            before_cut = (held[0], index);
        }
        let wants = op as u64 + 100;
        let expects = if chance.between(0, 3) == 0 { 1 } else { held[one.key] };
        let says = match one.verb {
            "put" => format!("put {key} {wants}"),
            "cas" => format!("cas {key} {expects} {wants}"),
            _ => format!("get {key}"),
        };
        lines.push((
            one.from,
            json!({"event": "invoke", "op": op, "client": one.client, "node": one.node,
                "machine": "kv", "principal": "app", "call": one.call, "payload": "",
                "key": key, "says": says}),
        ));
        if one.effect.is_none() {
            let ended = json!({"event": one.lost.0, "op": op, "why": one.lost.1});
            lines.push((one.to, ended));
            continue;
        }
        let mut reply = json!({"accepted": ""});
        let mut told = String::from("ok");
        if one.call == "command" {
            index += 1;
            if one.verb == "cas" && expects != held[one.key] {
                let message = format!("{key} is {}", held[one.key]);
                reply = json!({"rejected": {"code": 20, "message": message}});
            } else {
                held[one.key] = wants;
            }
            if one.verb == "put" && one.key == 0 {
                writes_of_x.push((one.to, op));
            }
            let term = if effect < ELECTED { 2 } else { 3 };
            lines.push((
                effect,
                json!({"event": "committed", "index": index, "term": term,
                    "time_ms": 1_700_000_000_000 + effect / MS, "body": "",
                    "outcomes": [reply], "events": []}),
            ));
        } else {
            told = held[one.key].to_string();
        }
        let mut at_index = index;
        if one.stale {
            (told, at_index) = (before_cut.0.to_string(), before_cut.1);
            let seen = writes_of_x.iter().rev().find(|(to, _)| *to < one.from);
            let (_, put) = seen.expect("x was put before the stale read");
            let name = format!("planted stale read: {put} {op}");
            lines.push((one.to, json!({"event": "mark", "name": name})));
        }
        let done =
            json!({"event": "ok", "op": op, "index": at_index, "reply": reply, "says": told});
        lines.push((one.to, done));
    }
}

/// Everything but operations: the run, its phases, faults, standings and marks.
fn surroundings(seed: u64) -> Vec<(u64, Value)> {
    let run = json!({"event": "run", "format": 1, "scenario": "partition-heal", "seed": seed,
        "commit": "1a2b3c4d5e6f", "nodes": [1, 2, 3], "machines":
        [["kv", "5f1c6f0a3b9d7e2846c1d0a9b8e7f6054132a1b0c9d8e7f60514233241506f7e"]]});
    let mut lines = vec![(0, run)];
    for (at, name) in [(0, "safety"), (4_800, "liveness"), (6_000, "end")] {
        lines.push((at * MS, json!({"event": "phase", "name": name})));
    }
    for (number, from, to, says) in [
        (0, 700, 1_300, "noise: lose 2 %, repeat 1 %"),
        (1, 2_000, 3_300, "cut 1 | 2 3"),
        (2, 3_600, 4_200, "delay up to 40 ms"),
        (3, 3_900, 4_450, "crash node 2 with its power"),
        (4, 4_600, 0, "clock of node 3 jumps 5 s"),
    ] {
        let fault = |begins| fault(number, begins, says);
        lines.push((from * MS, fault(true)));
        if to > 0 {
            lines.push((to * MS, fault(false)));
        }
    }
    for (at, node, term, role) in [
        (0, 1, 1, "follower"),
        (0, 2, 1, "follower"),
        (0, 3, 1, "follower"),
        (110, 1, 2, "candidate"),
        (140, 2, 2, "follower"),
        (145, 3, 2, "follower"),
        (162, 1, 2, "leader"),
        (2_290, 3, 3, "candidate"),
        (2_310, 2, 3, "follower"),
        (2_340, 3, 3, "leader"),
        (3_316, 1, 3, "follower"),
        (3_900, 2, 3, "down"),
        (4_450, 2, 3, "follower"),
        (5_010, 1, 4, "candidate"),
        (5_016, 3, 4, "follower"),
        (5_020, 2, 4, "follower"),
        (5_030, 1, 4, "leader"),
    ] {
        lines.push((at * MS, json!({"event": "role", "node": node, "term": term, "role": role})));
    }
    for (at, name) in [
        (162, "leader elected"),
        (2_340, "leader elected"),
        (5_030, "leader elected"),
        (2_340, "leader changed with a write in flight"),
        (2_780, "session reply replayed"),
        (4_460, "session reply replayed"),
        (3_316, "old leader stepped down"),
    ] {
        lines.push((at * MS, json!({"event": "mark", "name": name})));
    }
    lines
}

fn fault(number: u64, begins: bool, says: &str) -> Value {
    json!({"event": "fault", "number": number, "begins": begins, "says": says})
}

/// The kept history is what the generator makes.
#[test]
fn kept_history_is_the_generated_one() {
    let text = text_of(42);
    if rewrites() {
        fs::write(beside("sample.jsonl"), &text).expect("writes");
    }
    let kept = fs::read_to_string(beside("sample.jsonl")).expect("a kept file");
    assert!(kept == text, "differs from tests/sample.jsonl; UPDATE_GOLDENFILES=1 rewrites it");
}
