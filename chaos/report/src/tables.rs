//! The parts of the page that are text: banner, verdicts, lists. They need no script. Long lists
//! are cut with a word about it.

use std::fmt::Write as _;

use crate::{
    Page, Verdict, VerdictLine,
    focus::Focus,
    html::{escaped, grouped, seconds, shortened, span},
    story::{Operation, Outcome, Story},
};
use pgraft_judge::history::Call;

/// Rows of a list.
const ROWS_MAX: usize = 200;
/// Characters of one cell.
const CELL_MAX: usize = 1_000;
/// Characters of the shrunk trace.
const TRACE_MAX: usize = 200_000;

/// What a verdict is called.
pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASSED",
        Verdict::Unknown => "UNKNOWN",
        Verdict::Fail => "FAILED",
    }
}

/// The first thing to see: what was run, what it came to, and how to see it again.
pub(crate) fn banner(page: &Page, story: &Story) -> String {
    let verdict = page.verdict();
    let mut about = String::new();
    let mut scenario = "no run";
    if let Some(run) = story.run {
        scenario = &run.scenario;
        for (name, value) in [("seed", run.seed.to_string()), ("commit", run.commit.clone())] {
            let value = if value.is_empty() { "unknown" } else { &value };
            write!(about, "<span>{name} <b>{}</b></span> ", escaped(value)).expect(WRITES);
        }
    }
    let mut lead: Vec<String> = Vec::new();
    if let Some((at_us, first)) = story.violations.first() {
        lead.push(format!("{}: {} ({})", first.of, first.says, seconds(*at_us)));
    }
    let worst = page.verdicts.iter().filter(|line| line.verdict == verdict);
    lead.extend(worst.map(|line| format!("{}: {}", line.checker, line.says)));
    let lead = match (verdict, lead.into_iter().next()) {
        (Verdict::Pass, _) => format!("{} checkers found nothing.", page.verdicts.len()),
        (_, Some(first)) => first,
        (_, None) => "Nothing was judged.".to_owned(),
    };
    let died = if story.is_complete() {
        String::new()
    } else {
        "<p class=\"note\" id=\"died\">The history has no end: the run died, or is still \
         going on.</p>\n"
            .to_owned()
    };
    format!(
        "<header class=\"banner {class}\" id=\"banner\">\n<h1><span class=\"word\">{word}</span> \
         <span class=\"scenario\">{scenario}</span></h1>\n<p class=\"about\">{about}</p>\n\
         <p class=\"lead\">{lead}</p>\n<p class=\"again\"><span>repeat with</span> \
         <code id=\"reproduce\">{again}</code> <button type=\"button\" id=\"copy\">copy</button>\
         </p>\n</header>\n{died}",
        class = class(verdict),
        word = word(verdict),
        scenario = escaped(scenario),
        lead = escaped(&shortened(&lead, CELL_MAX)),
        again = escaped(&page.reproduce),
    )
}

/// The size of the run in numbers.
pub(crate) fn facts(story: &Story) -> String {
    let count = |outcome| grouped(story.count(outcome) as u64);
    let clients: std::collections::BTreeSet<u64> =
        story.operations.iter().map(|one| one.invoke.client).collect();
    let terms = story.standings.iter().map(|one| one.role.term);
    let leaders = story.standings.iter().filter(|one| one.role.role == "leader").count();
    let mut facts = vec![
        ("simulated".to_owned(), span(story.end_us)),
        ("nodes".to_owned(), story.nodes.len().to_string()),
        ("clients".to_owned(), clients.len().to_string()),
        (
            format!(
                "operations: {} ok, {} rejected, {} failed, {} unknown",
                count(Outcome::Ok),
                count(Outcome::Rejected),
                count(Outcome::Fail),
                count(Outcome::Unknown)
            ),
            grouped(story.operations.len() as u64),
        ),
        ("entries committed".to_owned(), grouped(story.committed)),
        ("times a leader took over".to_owned(), leaders.to_string()),
        ("last term".to_owned(), terms.max().unwrap_or(0).to_string()),
        ("faults".to_owned(), story.faults.len().to_string()),
    ];
    let machines = story.run.map_or(&[][..], |run| &run.machines);
    facts.extend(
        machines.iter().map(|(name, sha256)| {
            (format!("module {}", shortened(name, 40)), shortened(sha256, 12))
        }),
    );
    let mut out = String::from("<dl class=\"facts\" id=\"facts\">\n");
    for (name, value) in facts {
        let (name, value) = (escaped(&name), escaped(&value));
        writeln!(out, "<div><dd>{value}</dd><dt>{name}</dt></div>").expect(WRITES);
    }
    out + "</dl>\n"
}

/// What each checker came to, the worst first.
pub(crate) fn verdicts(lines: &[VerdictLine]) -> String {
    let mut sorted: Vec<&VerdictLine> = lines.iter().collect();
    sorted.sort_by_key(|line| std::cmp::Reverse(line.verdict));
    let rows = sorted.iter().map(|line| {
        let (class, checker) = (class(line.verdict), escaped(&line.checker));
        let says = escaped(&shortened(&line.says, CELL_MAX));
        format!(
            "<tr class=\"{class}\"><td><span class=\"pill {class}\">{}</span></td>\
             <th scope=\"row\">{checker}</th><td>{says}</td></tr>\n",
            word(line.verdict).to_lowercase(),
        )
    });
    let rows: Vec<String> = rows.collect();
    section("verdicts", "Verdicts", &table(&["verdict", "checker", "why"], &rows), rows.len())
}

/// What checkers found while the simulation ran.
pub(crate) fn violations(story: &Story) -> String {
    let rows = story.violations.iter().map(|(at_us, violation)| {
        let (of, says) = (escaped(&violation.of), escaped(&shortened(&violation.says, CELL_MAX)));
        let at = look(*at_us, *at_us, &seconds(*at_us));
        format!("<tr class=\"fail\"><td>{at}</td><th scope=\"row\">{of}</th><td>{says}</td></tr>\n")
    });
    let rows: Vec<String> = rows.collect();
    let body = table(&["at", "invariant", "what was found"], &rows);
    section("violations", "Violations while it ran", &body, rows.len())
}

/// The operations that prove the failure.
pub(crate) fn offending(story: &Story, focus: &Focus) -> String {
    let found = story.operations.iter().filter(|one| focus.offending.contains(&one.invoke.op));
    let rows: Vec<String> = found.map(offender).collect();
    let heads =
        ["operation", "client", "node", "call", "asked", "answer", "index", "asked at", "took"];
    section("offending", "Operations that prove it", &table(&heads, &rows), rows.len())
}

fn offender(one: &Operation) -> String {
    let asked = one.invoke;
    let call = match asked.call {
        Call::Command => "command",
        Call::Query => "query",
        Call::StaleQuery => "stale query",
    };
    let index = one.index.map_or_else(|| "–".to_owned(), |index| index.to_string());
    format!(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{call}</td><td><code>{}</code></td>\
         <td><code>{}</code></td><td>{index}</td><td>{}</td><td>{}</td></tr>\n",
        look(one.from_us, one.to_us, &format!("#{}", asked.op)),
        asked.client,
        asked.node,
        escaped(&shortened(&asked.says, CELL_MAX)),
        escaped(&shortened(&one.reply, CELL_MAX)),
        seconds(one.from_us),
        span(one.to_us - one.from_us),
    )
}

/// What was done to the cluster, and what a scenario wants to have seen.
pub(crate) fn faults_and_marks(story: &Story) -> String {
    let rows = story.faults.iter().map(|fault| {
        let (lasts, to_us) = match fault.to_us {
            Some(to_us) => (span(to_us.saturating_sub(fault.from_us)), to_us),
            None => ("once, or to the end".to_owned(), fault.from_us),
        };
        format!(
            "<tr><td>{}</td><td>{}</td><td>{lasts}</td><td>{}</td></tr>\n",
            fault.number,
            look(fault.from_us, to_us, &seconds(fault.from_us)),
            escaped(&shortened(fault.says, CELL_MAX)),
        )
    });
    let rows: Vec<String> = rows.collect();
    let body = table(&["number", "at", "lasts", "fault"], &rows);
    let faults = section("faults", "Faults", &body, rows.len());
    let rows = story.marks.iter().map(|(name, mark)| {
        let (name, first) = (escaped(name), seconds(mark.first_us));
        format!("<tr><th scope=\"row\">{name}</th><td>{}</td><td>{first}</td></tr>\n", mark.count)
    });
    let rows: Vec<String> = rows.collect();
    let body = table(&["condition", "times", "first"], &rows);
    let marks = section("marks", "Conditions that happened", &body, rows.len());
    format!("<div class=\"pair\">\n{faults}{marks}</div>\n")
}

/// The shortest trace that still fails.
pub(crate) fn shrunk(trace: Option<&str>) -> String {
    let Some(trace) = trace else { return String::new() };
    let body = format!("<pre id=\"trace\">{}</pre>\n", escaped(&shortened(trace, TRACE_MAX)));
    section("shrunk", "Shrunk trace: the least that still fails", &body, 1)
}

/// A section, or a line that says it would be empty.
fn section(id: &str, title: &str, body: &str, rows: usize) -> String {
    if rows == 0 {
        let title = title.to_lowercase();
        return format!("<p class=\"none\" id=\"{id}\">No {title}.</p>\n");
    }
    format!("<section id=\"{id}\">\n<h2>{title}</h2>\n{body}</section>\n")
}

fn table(heads: &[&str], rows: &[String]) -> String {
    let mut out = String::from("<table>\n<thead><tr>");
    for head in heads {
        write!(out, "<th scope=\"col\">{head}</th>").expect(WRITES);
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    out.extend(rows.iter().take(ROWS_MAX).map(String::as_str));
    out.push_str("</tbody>\n</table>\n");
    if let Some(more) = rows.len().checked_sub(ROWS_MAX).filter(|more| *more > 0) {
        writeln!(out, "<p class=\"note\">{more} more are not listed.</p>").expect(WRITES);
    }
    out
}

/// A button that takes the time line to a span.
fn look(from_us: u64, to_us: u64, label: &str) -> String {
    format!(
        "<button type=\"button\" class=\"look\" data-from=\"{from_us}\" data-to=\"{to_us}\">{}\
         </button>",
        escaped(label)
    )
}

pub(crate) fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Unknown => "unknown",
        Verdict::Fail => "fail",
    }
}

const WRITES: &str = "strings take everything";
