//! Histories in files: written line by line as things happen, read whole to be judged. Not here:
//! what the lines mean together ([`crate::operations`]).

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::{Event, Run, What};

/// Version of the format that this program writes.
pub const FORMAT: u32 = 1;

/// A whole history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// All lines, the first of them a [`Run`].
    pub events: Vec<Event>,
    /// The last line was cut short: the harness died while it wrote.
    pub cut_short: bool,
}

/// Why a file is not a history.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        why: io::Error,
    },
    /// A line is not an event.
    #[error("line {line}: not an event: {why}: {value}")]
    Line {
        /// From 1.
        line: usize,
        /// In words.
        why: String,
        /// The line, or its beginning.
        value: String,
    },
    /// There is no first line that says what was run.
    #[error("line 1: not a run: {value}")]
    NoRun {
        /// The line, or its beginning.
        value: String,
    },
    /// Written by a newer program.
    #[error("line 1: format {0}, this program knows {FORMAT}")]
    Format(u32),
    /// A line is older than the line before it.
    #[error("line {line}: at_us {at_us} goes back from {before_us}")]
    TimeGoesBack {
        /// From 1.
        line: usize,
        /// Its time.
        at_us: u64,
        /// The time of the line before it.
        before_us: u64,
    },
}

/// Characters of a bad line that an error shows.
const SHOWN_MAX: usize = 120;

impl History {
    /// Reads a file.
    ///
    /// # Errors
    /// When the file cannot be read or is not a history. A last line without its end is no error:
    /// [`History::cut_short`].
    pub fn read(path: &Path) -> Result<History, ReadError> {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|why| ReadError::File { path: shown, why })?;
        History::parse(&text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// As [`History::read`].
    pub fn parse(text: &str) -> Result<History, ReadError> {
        let (whole, rest) = text.rfind('\n').map_or(("", text), |at| text.split_at(at + 1));
        let mut events: Vec<Event> = Vec::new();
        for (number, line) in whole.lines().enumerate() {
            let number = number + 1;
            if line.trim().is_empty() {
                continue;
            }
            let event: Event = serde_json::from_str(line).map_err(|why| ReadError::Line {
                line: number,
                why: why.to_string(),
                value: line.chars().take(SHOWN_MAX).collect(),
            })?;
            if let Some(before) = events.last().filter(|before| before.at_us > event.at_us) {
                let (at_us, before_us) = (event.at_us, before.at_us);
                return Err(ReadError::TimeGoesBack { line: number, at_us, before_us });
            }
            events.push(event);
        }
        match events.first().map(|event| &event.what) {
            Some(What::Run(run)) if run.format > FORMAT => Err(ReadError::Format(run.format)),
            Some(What::Run(_)) => Ok(History { events, cut_short: !rest.trim().is_empty() }),
            _ => {
                let value = text.lines().next().unwrap_or("").chars().take(SHOWN_MAX).collect();
                Err(ReadError::NoRun { value })
            }
        }
    }

    /// What was run.
    ///
    /// # Panics
    /// When the history was put together by hand without a [`Run`] at its head.
    pub fn run(&self) -> &Run {
        match self.events.first().map(|event| &event.what) {
            Some(What::Run(run)) => run,
            _ => panic!("a history begins with what was run"),
        }
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let lines = self.events.iter().map(line);
        lines.collect()
    }
}

/// Appends events to a file, or to anything else that takes bytes; each is one write, so that a
/// harness that dies leaves all whole lines but the last.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    last_us: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a history.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn begin(to: W, run: Run) -> io::Result<Writer<W>> {
        let mut writer = Writer { to, last_us: 0 };
        writer.append(&Event { at_us: 0, what: What::Run(run) })?;
        Ok(writer)
    }

    /// Appends one event.
    ///
    /// # Errors
    /// Those of the file.
    ///
    /// # Panics
    /// When its time goes back: whoever writes has two clocks.
    pub fn append(&mut self, event: &Event) -> io::Result<()> {
        assert!(event.at_us >= self.last_us, "{} goes back from {}", event.at_us, self.last_us);
        self.last_us = event.at_us;
        self.to.write_all(line(event).as_bytes())
    }

    /// Gives the file back.
    pub fn into_inner(self) -> W {
        self.to
    }
}

fn line(event: &Event) -> String {
    let mut text = serde_json::to_string(event).expect("strings, numbers and lists only");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
