//! What the machine said while clients asked it: how often it accepted, what it refused, and
//! whether a call ended badly. The clusters stay correct when a module traps; its author still
//! wants to know. Not here: whether answers are right.

use std::collections::BTreeMap;

use pgraft_host::HostCode;
use pgraft_judge::Rank;
use pgraft_judge::history::{History, Reply, What};

use crate::facts::grouped;
use crate::tally::Part;

/// Name of the part.
pub const NAME: &str = "outcomes";

/// Reasons of the host that are the module's own fault.
const FAULTS: [HostCode; 7] = [
    HostCode::Trap,
    HostCode::OutOfFuel,
    HostCode::OutOfMemory,
    HostCode::StackOverflow,
    HostCode::ReadOnly,
    HostCode::Quota,
    HostCode::BadInterface,
];

/// Answers so far.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    accepted: u64,
    /// By code: how often, the text, and an operation that got it.
    refused: BTreeMap<u32, (u64, String, String)>,
}

impl Outcomes {
    /// Adds the answers that clients got from a machine in one run.
    pub fn add(&mut self, history: &History, machine: &str) {
        let mut asked = BTreeMap::new();
        for event in &history.events {
            match &event.what {
                What::Invoke(invoke) if invoke.machine == machine => {
                    asked.insert(invoke.op, invoke.says.as_str());
                }
                What::Ok(done) => {
                    let Some(says) = asked.remove(&done.op) else { continue };
                    self.note(says, &done.reply);
                }
                _ => {}
            }
        }
    }

    /// Adds one answer; `says`: what was asked, for people.
    pub fn note(&mut self, says: &str, reply: &Reply) {
        match reply {
            Reply::Accepted(_) => self.accepted += 1,
            Reply::Rejected { code, message } => {
                let first = || (0, message.clone(), says.to_owned());
                self.refused.entry(*code).or_insert_with(first).0 += 1;
            }
        }
    }

    /// Whether there was any answer.
    pub fn is_empty(&self) -> bool {
        self.accepted == 0 && self.refused.is_empty()
    }

    /// What it comes to.
    pub fn part(&self) -> Part {
        let refused: u64 = self.refused.values().map(|(count, ..)| count).sum();
        let says =
            format!("{} calls accepted, {} refused", grouped(self.accepted), grouped(refused));
        let line = |(code, (count, message, says)): (&u32, &(u64, String, String))| {
            format!("refused {count} times ({code}): {message}; for example {says}")
        };
        let detail: Vec<String> = self.refused.iter().map(line).collect();
        let bad = self
            .refused
            .iter()
            .find(|(code, _)| FAULTS.iter().any(|fault| *fault as u32 == **code));
        if let Some((code, (count, message, example))) = bad {
            let says = format!(
                "{count} calls ended badly: {message} (code {code}); for example {example}"
            );
            return Part { detail, ..Part::new(NAME, Rank::Fail, says) };
        }
        if self.accepted == 0 {
            let says = format!("{says}: what is asked does not fit the machine");
            return Part { detail, ..Part::new(NAME, Rank::Unknown, says) };
        }
        Part { detail, ..Part::pass(NAME, says) }
    }
}
