//! The list of members, as clients see it while the nemesis changes it. Not here: the changes.

use pgraft_judge::history::{Call, Reply};
use pgraft_membership::{Query, Reply as Answer, Role};

use super::{End, Name, Operation, Told, Workload};
use crate::seed::Chance;

/// Name of the machine.
const MACHINE: &str = "membership";

/// Readers of the member list.
#[derive(Default)]
pub struct Members;

impl Members {
    /// Remembers nothing.
    pub fn new() -> Members {
        Members
    }
}

impl Workload for Members {
    fn next(&mut self, _client: u64, chance: &mut Chance) -> Option<Operation> {
        let stale = chance.permille(200);
        Some(Operation {
            workload: Name::Members,
            machine: MACHINE.to_owned(),
            call: if stale { Call::StaleQuery } else { Call::Query },
            payload: Query::Members.encode(),
            key: None,
            says: if stale { "stale members" } else { "members" }.to_owned(),
            facts: Vec::new(),
        })
    }

    fn ended(&mut self, _client: u64, _op: u64, _operation: &Operation, end: &End) -> Told {
        let End::Ok { reply, .. } = end else { return Told::default() };
        Told { says: words(reply), facts: Vec::new() }
    }
}

fn words(reply: &Reply) -> String {
    let bytes = match reply {
        Reply::Accepted(bytes) => bytes,
        Reply::Rejected { code, message } => return format!("refused ({code}): {message}"),
    };
    let Ok(Answer::Members(members)) = Answer::decode(bytes) else {
        return format!("{} bytes that do not decode", bytes.len());
    };
    let present = members.iter().filter(|member| member.role != Role::Gone);
    let told = present.map(|member| format!("{} {}", member.id, member.role.name()));
    told.collect::<Vec<_>>().join(", ")
}
