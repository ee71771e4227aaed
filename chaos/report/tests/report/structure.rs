//! What stands in the page: its text against a kept one, escaping, the empty and the huge history.

use std::fs;

use pgraft_judge::history::{Event, Reply, What};
use pgraft_report::{Page, Verdict, VerdictLine, render};
use serde_json::{Value, json};

use crate::sample;

/// Bytes of a page that is still opened at once.
const PAGE_MAX: usize = 6 << 20;

/// A page without verdicts.
pub(crate) fn bare(history: &[Event]) -> Page<'_> {
    Page {
        history,
        verdicts: Vec::new(),
        offending: Vec::new(),
        reproduce: String::new(),
        shrunk: None,
    }
}

/// An event of the kept history to make others of.
fn pattern(is_one: fn(&What) -> bool) -> Event {
    let history = sample::kept();
    history.into_iter().find(|event| is_one(&event.what)).expect("the sample has one")
}

/// So many operations, one per millisecond, of so many clients that are all at work at once.
pub(crate) fn many(operations: u64, clients: u64) -> Vec<Event> {
    let ask = pattern(|what| matches!(what, What::Invoke(_)));
    let end =
        pattern(|what| matches!(what, What::Ok(done) if matches!(done.reply, Reply::Accepted(_))));
    let mut history = Vec::new();
    for number in 0..operations + clients {
        if let Some(op) = number.checked_sub(clients) {
            let mut event = end.clone();
            event.at_us = number * 1_000;
            let What::Ok(done) = &mut event.what else { unreachable!("it was asked for") };
            (done.op, done.index, done.says) = (op, op, format!("value {op}"));
            history.push(event);
        }
        if number < operations {
            let mut event = ask.clone();
            event.at_us = number * 1_000 + 1;
            let What::Invoke(invoke) = &mut event.what else { unreachable!("it was asked for") };
            (invoke.op, invoke.client) = (number, number % clients);
            invoke.says = format!("put key{} {number}", number % 10);
            history.push(event);
        }
    }
    history
}

/// A run in which every text tries to break out.
pub(crate) fn hostile() -> (Vec<Event>, Page<'static>) {
    let bad = "</script><!--<script>\"'&<img src=x onerror=\
               \"document.documentElement.dataset.broken=1\">\u{2028}\u{0}${1}";
    let mut history = sample::kept();
    for event in &mut history {
        let text = || bad.to_owned();
        match &mut event.what {
            What::Run(run) => (run.scenario, run.commit) = (text(), text()),
            What::Invoke(one) => (one.says, one.machine, one.principal) = (text(), text(), text()),
            What::Ok(one) => one.says = text(),
            What::Fail(one) | What::Unknown(one) => one.why = text(),
            What::Fault(one) => one.says = text(),
            What::Role(one) => one.role = text(),
            What::Mark(one) => one.name = text(),
            What::Phase(one) => one.name = text(),
            _ => {}
        }
    }
    let violation = json!({"at_us": 3, "event": "violation", "of": bad, "says": bad});
    history.push(serde_json::from_value(violation).expect("an event"));
    let line =
        VerdictLine { checker: bad.to_owned(), verdict: Verdict::Fail, says: bad.to_owned() };
    let page = Page {
        history: &[],
        verdicts: vec![line],
        offending: vec![1, 2],
        reproduce: bad.to_owned(),
        shrunk: Some(bad.to_owned()),
    };
    (history, page)
}

/// The data that the page's script gets.
fn data(html: &str) -> Value {
    let (_, rest) = html.split_once("id=\"data\">").expect("data");
    let (json, _) = rest.split_once("</script>").expect("an end");
    serde_json::from_str(json).expect("JSON")
}

/// The text of the page, a line per heading, paragraph and row.
fn outline(html: &str) -> String {
    let (_, body) = html.split_once("<body>").expect("a body");
    let (body, _) = body.split_once("<script").expect("a script behind the text");
    let mut out = String::new();
    let mut rest = body;
    while let Some((text, behind)) = rest.split_once('<') {
        out.push_str(text);
        let (tag, behind) = behind.split_once('>').expect("tags end");
        match tag.split_whitespace().next().unwrap_or(tag) {
            "h2" => out.push_str("\n## "),
            "/td" | "/th" | "/div" | "/dd" => out.push_str(" | "),
            "canvas" => out.push_str("[canvas]\n"),
            "tr" | "p" | "h1" | "/p" | "/h1" => out.push('\n'),
            _ => {}
        }
        rest = behind;
    }
    let lines = out.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "|");
    lines.map(|line| line.replace(" | |", " |") + "\n").collect()
}

#[test]
fn text_of_the_sample_is_the_kept_one() {
    let history = sample::kept();
    let text = outline(&render(&sample::page(&history)));
    let file = sample::beside("sample.txt");
    if sample::rewrites() {
        fs::write(&file, &text).expect("writes");
    }
    let kept = fs::read_to_string(&file).expect("a kept file");
    assert_eq!(text, kept, "UPDATE_GOLDENFILES=1 rewrites it");
}

#[test]
fn data_of_the_sample_has_every_operation_and_opens_on_the_failure() {
    let history = sample::kept();
    let page = sample::page(&history);
    let data = data(&render(&page));
    let asked = history.iter().filter(|event| matches!(event.what, What::Invoke(_))).count();
    let operations = data["operations"].as_array().expect("operations");
    assert_eq!(operations.len(), asked);
    let bad: Vec<&Value> = operations.iter().filter(|one| one[12] == 1).collect();
    assert_eq!(bad.len(), page.offending.len());
    for one in bad {
        assert!(one[9].as_u64() >= data["window_us"][0].as_u64(), "{one}");
        assert!(one[10].as_u64() <= data["window_us"][1].as_u64(), "{one}");
    }
    assert_eq!(data["lanes"], 6, "a client that goes on under a new number keeps its lane");
}

#[test]
fn the_same_history_gives_the_same_page() {
    let history = sample::kept();
    assert_eq!(render(&sample::page(&history)), render(&sample::page(&history)));
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let history = sample::kept();
    let html = render(&sample::page(&history));
    assert!(html.contains("default-src 'none'"));
    for way_out in ["src=", "url(", "@import", "http://", "https://", "fetch(", "import("] {
        assert!(!html.contains(way_out), "{way_out}");
    }
}

#[test]
fn the_worst_verdict_counts() {
    let history = sample::kept();
    let mut page = bare(&history);
    assert_eq!(page.verdict(), Verdict::Unknown, "nothing was judged");
    for (verdict, worst) in [
        (Verdict::Pass, Verdict::Pass),
        (Verdict::Unknown, Verdict::Unknown),
        (Verdict::Fail, Verdict::Fail),
        (Verdict::Pass, Verdict::Fail),
    ] {
        let (checker, says) = (String::new(), String::new());
        page.verdicts.push(VerdictLine { checker, verdict, says });
        assert_eq!(page.verdict(), worst);
    }
}

/// Canary: a violation that the simulation itself saw cannot hide behind checkers that passed.
#[test]
fn canary_a_violation_is_a_failure() {
    let violation = json!({"at_us": 5, "event": "violation", "of": "election safety",
        "says": "nodes 1 and 3 lead term 7"});
    let history = vec![serde_json::from_value(violation).expect("an event")];
    let (checker, says) = ("durability".to_owned(), String::new());
    let mut page = bare(&history);
    page.verdicts.push(VerdictLine { checker, verdict: Verdict::Pass, says });
    let html = render(&page);
    assert_eq!(page.verdict(), Verdict::Fail);
    assert!(html.contains("<span class=\"word\">FAILED</span>"));
    assert!(html.contains("election safety: nodes 1 and 3 lead term 7"));
}

#[test]
fn nothing_breaks_out() {
    let (history, page) = hostile();
    let html = render(&Page { history: &history, ..page });
    assert_eq!(html.matches("</script").count(), 2, "one ends the data, one the program");
    assert_eq!(html.matches("<script").count(), 2);
    assert!(!html.contains("<img") && !html.contains("<!--") && !html.contains('\u{0}'));
    let texts = data(&html)["texts"].to_string();
    assert!(texts.contains("</script><!--<script>"), "it is shown as it is: {texts}");
}

#[test]
fn an_empty_history_is_a_page() {
    let html = render(&bare(&[]));
    assert!(html.contains("UNKNOWN") && html.contains("Nothing was judged."));
    assert!(html.contains("The history has no end"));
    assert!(html.contains("No verdicts.") && html.contains("No faults."));
}

#[test]
fn a_huge_history_is_cut_to_what_is_near_the_failure() {
    let history = many(200_000, 20);
    let mut page = bare(&history);
    page.offending = vec![150_000, 150_003];
    let html = render(&page);
    assert!(html.len() < PAGE_MAX, "{} bytes", html.len());
    assert!(html.contains("20,000 of 200,000 operations are drawn: those nearest to the failure"));
    assert!(html.contains("<dd>200,000</dd>"), "all are counted");
    let data = data(&html);
    let operations = data["operations"].as_array().expect("operations");
    assert_eq!(operations.len(), 20_000);
    let numbers: Vec<u64> =
        operations.iter().map(|one| one[0].as_str().expect("text").parse().expect("u64")).collect();
    assert!(numbers.contains(&150_000) && numbers.contains(&150_003));
    assert!(numbers.iter().all(|op| op.abs_diff(150_000) < 10_100), "nearest first");
    let counted = data["bins"]["counts"].as_array().expect("bins").iter();
    let counted: u64 = counted.map(|bin| bin[0].as_u64().expect("a count")).sum();
    assert_eq!(counted, 200_000);
}

#[test]
fn of_too_many_clients_the_offending_ones_are_drawn() {
    let history = many(2_000, 500);
    let mut page = bare(&history);
    page.offending = vec![499, 1_499];
    let html = render(&page);
    assert!(html.contains("Clients of 452 more lanes are not drawn."));
    let data = data(&html);
    assert_eq!(data["lanes"], 48);
    let operations = data["operations"].as_array().expect("operations");
    let bad: Vec<&Value> = operations.iter().filter(|one| one[12] == 1).collect();
    assert_eq!(bad.len(), 2);
    assert!(bad.iter().all(|one| one[1] == 0), "their client has the first lane");
}
