//! What the page's script draws, as JSON in a script element. Numbers that name things are sent as
//! text: a script cannot hold all of them.

use std::collections::BTreeMap;

use pgraft_judge::history::Call;
use serde::Serialize;

use crate::{
    bins::Bins,
    focus::Focus,
    html::{in_script, is_invisible, shortened},
    lanes::LANES_MAX,
    story::Story,
};

/// Characters of an operation's or a fault's text.
const TEXT_MAX: usize = 160;
/// Faults that are drawn.
const FAULTS_MAX: usize = 1_000;
/// Changes of standing that are drawn.
const STANDINGS_MAX: usize = 10_000;
/// Violations that are drawn.
const VIOLATIONS_MAX: usize = 200;

#[derive(Serialize)]
struct Data {
    end_us: u64,
    window_us: (u64, u64),
    whole_us: Vec<(u64, u64)>,
    /// Texts that operations refer to by place: most of them are told many times.
    texts: Vec<String>,
    nodes: Vec<String>,
    lanes: usize,
    operations: Vec<Drawn>,
    faults: Vec<DrawnFault>,
    standings: Vec<DrawnStanding>,
    violations: Vec<(u64, String)>,
    phases: Vec<(u64, String)>,
    bins: Bins,
}

/// Number, lane, client, node, machine, says, reply (places of texts), call, outcome, from, to,
/// index (-1: none), offending.
type Drawn = (String, usize, usize, usize, usize, usize, usize, u8, u8, u64, u64, i64, u8);
/// Number, text, from, to.
type DrawnFault = (String, String, u64, Option<u64>);
/// Place of the node, term, role, from, to.
type DrawnStanding = (usize, String, String, u64, u64);

/// Texts by place, each once.
#[derive(Default)]
struct Texts {
    place: BTreeMap<String, usize>,
    all: Vec<String>,
}

impl Texts {
    fn place_of(&mut self, text: &str) -> usize {
        let text = plain(text);
        *self.place.entry(text).or_insert_with_key(|text| {
            self.all.push(text.clone());
            self.all.len() - 1
        })
    }
}

/// The data of the page, fit for a script element.
pub(crate) fn embedded(story: &Story, focus: &Focus) -> String {
    let mut texts = Texts::default();
    let operations = drawn(story, focus, &mut texts);
    let faults = story.faults.iter().take(FAULTS_MAX);
    let standings = story.standings.iter().take(STANDINGS_MAX);
    let violations = story.violations.iter().take(VIOLATIONS_MAX);
    let node = |node: u64| story.nodes.iter().position(|one| *one == node).unwrap_or(0);
    let data = Data {
        end_us: story.end_us,
        window_us: focus.window_us,
        whole_us: focus.whole_us.clone(),
        nodes: story.nodes.iter().map(u64::to_string).collect(),
        lanes: focus.lanes_all.min(LANES_MAX),
        operations,
        texts: texts.all,
        faults: faults
            .map(|one| (one.number.to_string(), plain(one.says), one.from_us, one.to_us))
            .collect(),
        standings: standings
            .map(|one| {
                let role = one.role;
                let place = node(role.node);
                (place, role.term.to_string(), plain(&role.role), one.from_us, one.to_us)
            })
            .collect(),
        violations: violations.map(|(at_us, one)| (*at_us, plain(&one.of))).collect(),
        phases: story.phases.iter().map(|(at_us, name)| (*at_us, plain(name))).collect(),
        bins: Bins::of(story),
    };
    in_script(&serde_json::to_string(&data).expect("numbers and texts are JSON"))
}

fn drawn(story: &Story, focus: &Focus, texts: &mut Texts) -> Vec<Drawn> {
    let mut operations = Vec::with_capacity(focus.kept.len());
    for (place, lane) in focus.kept.iter().zip(&focus.lane) {
        let one = &story.operations[*place];
        let asked = one.invoke;
        let call = match asked.call {
            Call::Command => 0,
            Call::Query => 1,
            Call::StaleQuery => 2,
        };
        operations.push((
            asked.op.to_string(),
            *lane,
            texts.place_of(&asked.client.to_string()),
            texts.place_of(&asked.node.to_string()),
            texts.place_of(&asked.machine),
            texts.place_of(&asked.says),
            texts.place_of(&one.reply),
            call,
            one.outcome as u8,
            one.from_us,
            one.to_us,
            one.index.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1),
            u8::from(focus.offending.contains(&asked.op)),
        ));
    }
    operations
}

/// Text of a bounded length without control characters.
fn plain(text: &str) -> String {
    let visible = |c: char| if is_invisible(c) { ' ' } else { c };
    shortened(text, TEXT_MAX).chars().map(visible).collect()
}
