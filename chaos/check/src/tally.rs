//! The lines of a check: one verdict per part, as it comes, and one word for all at the end. Not
//! here: what any part looks at.

use std::io::{self, Write};

use pgraft_judge::Rank;
use pgraft_report::{Overview, OverviewLine, Verdict};

/// What a part came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name, as `--only` takes it.
    pub name: String,
    /// How bad it is.
    pub rank: Rank,
    /// In one line.
    pub says: String,
    /// More lines for people: the smallest case, say.
    pub detail: Vec<String>,
    /// The command that shows a failure again.
    pub repeat: Option<String>,
    /// A page of its own, by its name beside the report.
    pub page: Option<String>,
}

impl Part {
    /// A part without details.
    pub fn new(name: &str, rank: Rank, says: impl Into<String>) -> Part {
        let (name, says) = (name.to_owned(), says.into());
        Part { name, rank, says, detail: Vec::new(), repeat: None, page: None }
    }

    /// All was looked at, and right.
    pub fn pass(name: &str, says: impl Into<String>) -> Part {
        Part::new(name, Rank::Pass, says)
    }

    /// Wrong.
    pub fn fail(name: &str, says: impl Into<String>) -> Part {
        Part::new(name, Rank::Fail, says)
    }
}

/// Columns of a part's name.
const NAME_COLUMNS: usize = 18;

/// The parts so far. Each is printed when it is added.
pub struct Tally<'a> {
    out: &'a mut dyn Write,
    parts: Vec<Part>,
}

impl<'a> Tally<'a> {
    /// No part yet; what is told goes to `out`.
    pub fn new(out: &'a mut dyn Write) -> Tally<'a> {
        Tally { out, parts: Vec::new() }
    }

    /// Prints a line that is no verdict.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }

    /// Prints and keeps the verdict of a part.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub fn add(&mut self, part: Part) -> io::Result<()> {
        let rank = part.rank.to_string();
        writeln!(self.out, "{:NAME_COLUMNS$} {rank:8} {}", part.name, part.says)?;
        for line in &part.detail {
            writeln!(self.out, "    {line}")?;
        }
        if let Some(repeat) = &part.repeat {
            writeln!(self.out, "    again: {repeat}")?;
        }
        self.out.flush()?;
        self.parts.push(part);
        Ok(())
    }

    /// The parts so far.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Prints the last line: PASSED, if there was a part and all passed. What was not decided is no
    /// pass.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub fn end(self) -> io::Result<bool> {
        let passed = self.overall() == Rank::Pass;
        writeln!(self.out, "{}", if passed { "PASSED" } else { "FAILED" })?;
        self.out.flush()?;
        Ok(passed)
    }

    fn overall(&self) -> Rank {
        self.parts.iter().map(|part| part.rank).max().unwrap_or(Rank::Unknown)
    }

    /// The page about all parts.
    pub fn overview(&self, title: String, facts: Vec<(String, String)>, again: String) -> Overview {
        let lines = self.parts.iter().map(|part| {
            let mut detail = part.detail.clone();
            detail.extend(part.repeat.iter().map(|repeat| format!("again: {repeat}")));
            OverviewLine {
                part: part.name.clone(),
                verdict: verdict(part.rank),
                says: part.says.clone(),
                detail,
                page: part.page.clone(),
            }
        });
        let lines = lines.collect();
        Overview { title, verdict: verdict(self.overall()), facts, lines, again }
    }
}

fn verdict(rank: Rank) -> Verdict {
    match rank {
        Rank::Pass => Verdict::Pass,
        Rank::Unknown => Verdict::Unknown,
        Rank::Fail => Verdict::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(parts: &[Rank]) -> (String, bool) {
        let mut out = Vec::new();
        let mut tally = Tally::new(&mut out);
        for rank in parts {
            tally.add(Part::new("part", *rank, "says")).unwrap();
        }
        let passed = tally.end().unwrap();
        (String::from_utf8(out).unwrap(), passed)
    }

    #[test]
    fn a_line_per_part_and_one_word_at_the_end() {
        let (text, passed) = ended(&[Rank::Pass, Rank::Pass]);
        assert_eq!(text.lines().last(), Some("PASSED"));
        assert!(passed && text.starts_with("part               PASSED   says\n"), "{text}");
    }

    #[test]
    fn canary_what_is_unknown_or_nothing_at_all_is_no_pass() {
        for parts in [&[Rank::Pass, Rank::Unknown][..], &[Rank::Fail, Rank::Pass], &[]] {
            let (text, passed) = ended(parts);
            assert!(!passed && text.ends_with("FAILED\n"), "{text}");
        }
    }
}
