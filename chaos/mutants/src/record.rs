//! The results: a small file of data beside the bugs, and the table of docs/TRACK_RECORD.md between
//! two markers. Not here: the rest of that page, which people write.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::bug::Bug;
use crate::trial::Trial;

/// From the root.
pub const DATA: &str = "chaos/mutants/results.json";
/// From the root.
pub const PAGE: &str = "docs/TRACK_RECORD.md";
const BEGIN: &str = "<!-- planted bugs: written by `pgraft-mutants run --all --record` -->";
const END: &str = "<!-- end of planted bugs -->";

/// What the last recorded run found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Of the sources.
    pub commit: String,
    /// By name of the bug.
    pub found: BTreeMap<String, Found>,
}

/// How a bug was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Seconds of the run that found it.
    pub seconds: f64,
    /// What the checker said.
    pub says: String,
}

impl Record {
    /// The record of found bugs; those that were not found are not in it.
    pub fn new(commit: String, trials: &[Trial]) -> Record {
        let found = trials.iter().filter(|trial| trial.complaint.is_none()).map(|trial| {
            let seconds = (trial.with.seconds * 10.0).round() / 10.0;
            (trial.name.clone(), Found { seconds, says: shorten(&trial.says) })
        });
        Record { commit, found: found.collect() }
    }

    /// The recorded one.
    ///
    /// # Errors
    /// In words.
    pub fn read(root: &Path) -> Result<Record, String> {
        let text =
            fs::read_to_string(root.join(DATA)).map_err(|error| format!("{DATA}: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("{DATA}: {error}"))
    }

    /// Writes the data, and the table into the page.
    ///
    /// # Errors
    /// In words.
    pub fn write(&self, root: &Path, bugs: &[Bug]) -> Result<(), String> {
        let mut text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        text.push('\n');
        fs::write(root.join(DATA), text).map_err(|error| format!("{DATA}: {error}"))?;
        let page =
            fs::read_to_string(root.join(PAGE)).map_err(|error| format!("{PAGE}: {error}"))?;
        let page = self.into_page(&page, bugs)?;
        fs::write(root.join(PAGE), page).map_err(|error| format!("{PAGE}: {error}"))
    }

    /// `page` with this table in it.
    ///
    /// # Errors
    /// When the page lacks the markers.
    pub fn into_page(&self, page: &str, bugs: &[Bug]) -> Result<String, String> {
        let markers = || {
            let (before, rest) = page.split_once(BEGIN)?;
            let (_, after) = rest.split_once(END)?;
            Some((before, after))
        };
        let (before, after) = markers().ok_or_else(|| format!("{PAGE} lacks its markers"))?;
        Ok(format!("{before}{BEGIN}\n\n{}\n{END}{after}", self.table(bugs)))
    }

    fn table(&self, bugs: &[Bug]) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _written = writeln!(
            text,
            "{} bugs, last tried at {}.\n\n| bug | where | what | found by | s | it says |\n\
             | --- | --- | --- | --- | --- | --- |",
            bugs.len(),
            self.commit
        );
        for bug in bugs {
            let (seconds, says) = match self.found.get(&bug.name) {
                Some(found) => (format!("{:.1}", found.seconds), found.says.as_str()),
                None => ("-".to_owned(), "NOT FOUND"),
            };
            let (name, area, command) = (&bug.name, &bug.area, bug.command());
            let about = bug.about.trim().replace('\n', " ");
            let says = says.replace('|', "\\|");
            let _written =
                writeln!(text, "| {name} | {area} | {about} | `{command}` | {seconds} | {says} |");
        }
        text
    }
}

/// One short line; numbers of operations and the like stay.
fn shorten(says: &str) -> String {
    const CHARS_MAX: usize = 90;
    let plain = says.split_whitespace().collect::<Vec<_>>().join(" ");
    match plain.char_indices().nth(CHARS_MAX) {
        None => plain,
        Some((at, _)) => format!("{}...", &plain[..at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_replaces_what_is_between_the_markers() {
        let page = format!("# a\n{BEGIN}\nold\n{END}\nb\n");
        let record = Record { commit: "c".into(), ..Record::default() };
        let new = record.into_page(&page, &[]).unwrap();
        assert!(new.starts_with("# a\n") && new.ends_with("b\n") && !new.contains("old"));
        assert_eq!(record.into_page(&new, &[]).unwrap(), new);
        assert!(record.into_page("# a\n", &[]).is_err());
    }
}
