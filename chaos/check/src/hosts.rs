//! The same log on real hosts over SQLite, in other ways than entry by entry: another engine, a
//! snapshot to another disk half-way, a crash. Each must say what the module says as a function,
//! and end with equal tables. Not here: the hosts (pgraft-model).

use std::sync::Arc;

use pgraft_engine::Options;
use pgraft_judge::Rank;
use pgraft_model::machine::Module;
use pgraft_model::machine::hosts::{Hosts, Way};

use crate::candidate::Candidate;
use crate::facts::grouped;
use crate::log::Log;
use crate::tally::Part;

/// Everything that may differ between two engines differs.
const OTHER: Options = Options { pooled: false, copy_on_write: false, optimised: false };

/// Applies the log in all ways.
///
/// # Errors
/// When the module cannot be compiled for the other engine, or the machine refuses to begin; in
/// words.
pub fn check(candidate: &Candidate, log: &Log, repeat: &str) -> Result<Vec<Part>, String> {
    let module = &candidate.module;
    let compiled = pgraft_engine::precompile_with(&module.component, OTHER);
    let compiled = compiled.map_err(|why| format!("{why:#}"))?;
    let other = Module::new(&module.name, module.component.clone(), compiled);
    let machines = Arc::clone(&candidate.machines);
    let hosts = Hosts::on(machines, module, (&other, OTHER), b"").map_err(|why| why.to_string())?;
    let (told, rows) = (log.told(), log.last().rows_digest());
    let part = |(way, name, says): (Way, &str, &str)| match hosts.compare_with(way, &told, rows) {
        Ok(_) => {
            let (commands, bytes) = (grouped(log.commands()), grouped(log.last().size()));
            let says = format!("{says}: {commands} outcomes and {bytes} bytes of rows equal");
            Part::pass(name, says)
        }
        Err(why) => Part { repeat: Some(repeat.to_owned()), ..Part::new(name, Rank::Fail, why) },
    };
    let ways = [
        (
            Way::AtOnce,
            "determinism",
            "another allocator, code that is not optimised, all entries in one transaction",
        ),
        (Way::ThroughSnapshot, "snapshot", "a snapshot to another disk half-way"),
        (Way::AfterCrash, "crash", "a crash, and the rest of the log again"),
    ];
    Ok(ways.into_iter().map(part).collect())
}
