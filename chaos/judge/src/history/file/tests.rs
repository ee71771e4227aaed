//! Files of histories: there and back, and what is refused.

use std::path::Path;

use super::*;
use crate::history::{
    Call, Committed, Digest, Done, Emitted, Ended, Fact, Fault, Genesis, Invoke, Mark, Phase,
    Reply, Role, Violation, Watch, Watched,
};

fn run() -> Run {
    let (scenario, commit) = ("test".to_owned(), "none".to_owned());
    Run {
        format: FORMAT,
        scenario,
        seed: 1,
        commit,
        nodes: vec![1],
        machines: Vec::new(),
        genesis: Vec::new(),
    }
}

fn event(at_us: u64, op: u64) -> Event {
    let why = "no \"answer\"\n".to_owned();
    Event { at_us, what: What::Unknown(Ended { op, why }) }
}

fn written() -> String {
    let mut writer = Writer::begin(Vec::new(), run()).unwrap();
    writer.append(&event(5, 1)).unwrap();
    writer.append(&event(5, 2)).unwrap();
    String::from_utf8(writer.into_inner()).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let text = written();
    let history = History::parse(&text).unwrap();
    assert_eq!(history.run(), &run());
    assert_eq!(history.events[1..], [event(5, 1), event(5, 2)]);
    assert_eq!(history.to_text(), text);
    assert!(!history.cut_short);
}

fn one_of_each() -> Vec<What> {
    let text = str::to_owned;
    let emitted = Emitted { machine: text("kv"), key: vec![1], payload: vec![0xff, 0] };
    let rejected = Reply::Rejected { code: 3, message: text("no") };
    vec![
        What::Run(Run {
            genesis: vec![Genesis { machine: text("kv"), number: 2, config: vec![7] }],
            ..run()
        }),
        What::Invoke(Invoke {
            op: 1,
            client: 2,
            node: 3,
            machine: text("kv"),
            principal: text("me"),
            call: Call::StaleQuery,
            payload: vec![1, 2],
            key: Some(text("k")),
            says: text("get k"),
            facts: vec![Fact::Delete { key: text("k") }],
        }),
        What::Ok(Done { op: 1, index: 9, reply: rejected, says: text("no"), facts: Vec::new() }),
        What::Fail(Ended { op: 2, why: text("no leader") }),
        What::Unknown(Ended { op: 3, why: text("no answer") }),
        What::Committed(Committed {
            index: 1,
            term: 1,
            time_ms: 5,
            body: vec![1],
            outcomes: vec![Reply::Accepted(vec![2])],
            events: vec![emitted.clone()],
        }),
        What::Watch(Watch {
            client: 4,
            node: 1,
            machine: text("kv"),
            prefix: vec![9],
            after: Some(7),
        }),
        What::Watched(Watched { client: 4, node: 1, index: 8, event: emitted }),
        What::Digest(Digest { node: 1, index: 8, machine: text("kv"), digest: text("0f") }),
        What::Fault(Fault { number: 0, begins: true, says: text("kill node 1") }),
        What::Role(Role { node: 1, term: 2, role: text("leader") }),
        What::Mark(Mark { name: text("leader_elected") }),
        What::Violation(Violation { of: text("liveness"), says: text("nobody leads") }),
        What::Phase(Phase { name: text("end") }),
    ]
}

#[test]
fn every_kind_of_line_is_read_as_it_was_written() {
    let events: Vec<Event> = one_of_each()
        .into_iter()
        .enumerate()
        .map(|(at, what)| Event { at_us: at as u64, what })
        .collect();
    let history = History { events, cut_short: false };
    assert_eq!(History::parse(&history.to_text()).unwrap(), history);
}

#[test]
fn facts_are_left_out_when_there_are_none() {
    let done = Done {
        op: 1,
        index: 2,
        reply: Reply::Accepted(vec![255]),
        says: "done".to_owned(),
        facts: Vec::new(),
    };
    let mut event = Event { at_us: 1, what: What::Ok(done.clone()) };
    let text = serde_json::to_string(&event).unwrap();
    let told =
        r#"{"at_us":1,"event":"ok","op":1,"index":2,"reply":{"accepted":"ff"},"says":"done"}"#;
    assert_eq!(text, told);
    let facts = vec![Fact::Skipped, Fact::Got { key: "k".to_owned(), value: None, revision: 0 }];
    event.what = What::Ok(Done { facts, ..done });
    let text = serde_json::to_string(&event).unwrap();
    assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
}

#[test]
fn a_line_that_was_cut_short_is_left_out() {
    let text = written();
    let history = History::parse(&text[..text.len() - 4]).unwrap();
    assert!(history.cut_short);
    assert_eq!(history.events.len(), 2);
}

#[test]
fn canary_what_is_no_history_is_refused_with_line_and_value() {
    let good = written();
    let complaint = |text: &str| History::parse(text).unwrap_err().to_string();
    let bad = complaint(&good.replace("\"op\":1", "\"op\":\"one\""));
    assert!(bad.starts_with("line 2: not an event: ") && bad.contains("\"op\":\"one\""), "{bad}");
    let first = good.lines().nth(1).unwrap().to_owned() + "\n";
    assert!(complaint(&first).starts_with("line 1: not a run: "));
    assert!(complaint("").starts_with("line 1: not a run"));
    let back = good.replacen("\"at_us\":5", "\"at_us\":6", 1);
    assert_eq!(complaint(&back), "line 3: at_us 5 goes back from 6");
    let newer = good.replacen("\"format\":1", "\"format\":9", 1);
    assert_eq!(complaint(&newer), "line 1: format 9, this program knows 1");
    let missing = History::read(Path::new("/nonexistent/history")).unwrap_err().to_string();
    assert!(missing.starts_with("/nonexistent/history: "), "{missing}");
}
