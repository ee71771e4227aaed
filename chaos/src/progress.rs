//! How far a sweep is, in one line: done, rate, time to go; and where that line goes. Not here:
//! what is counted.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// How far a sweep is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What runs at present: a scenario.
    pub scenario: String,
    /// Runs finished.
    pub runs: u64,
    /// Runs in all, if the sweep goes by number.
    pub runs_max: Option<u64>,
    /// Runs that failed.
    pub failed: u64,
    /// Runs without a verdict.
    pub unknown: u64,
    /// Operations of clients in the finished runs.
    pub operations: u64,
    /// Simulated milliseconds in the finished runs.
    pub simulated_ms: u64,
    /// Real milliseconds since the sweep began.
    pub elapsed_ms: u64,
    /// Real milliseconds after which the sweep ends, if it goes by time.
    pub elapsed_ms_max: Option<u64>,
}

impl Progress {
    /// Real milliseconds until the end, as far as it can be told.
    pub fn left_ms(&self) -> Option<u64> {
        let by_time = self.elapsed_ms_max.map(|end| end.saturating_sub(self.elapsed_ms));
        let by_runs = self.runs_max.filter(|_| self.runs > 0).map(|runs_max| {
            let left = u128::from(runs_max.saturating_sub(self.runs));
            let left_ms = left * u128::from(self.elapsed_ms) / u128::from(self.runs);
            u64::try_from(left_ms).unwrap_or(u64::MAX)
        });
        by_time.into_iter().chain(by_runs).min()
    }
}

impl fmt::Display for Progress {
    /// `partitions  12/90 runs  1 failed  8.2 runs/min  51 sim-s/s  312 ops/s  0:41 to go`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.scenario, self.runs)?;
        if let Some(runs_max) = self.runs_max {
            write!(f, "/{runs_max}")?;
        }
        write!(f, " runs")?;
        for (count, word) in [(self.failed, "failed"), (self.unknown, "unknown")] {
            if count > 0 {
                write!(f, "  {count} {word}")?;
            }
        }
        if self.elapsed_ms > 0 {
            let per_second = |count: u64| count as f64 * 1000.0 / self.elapsed_ms as f64;
            write!(f, "  {} runs/min", number(60.0 * per_second(self.runs)))?;
            write!(f, "  {} sim-s/s", number(per_second(self.simulated_ms) / 1000.0))?;
            write!(f, "  {} ops/s", number(per_second(self.operations)))?;
        }
        match self.left_ms() {
            Some(left_ms) => write!(f, "  {} to go", Span(left_ms)),
            None => write!(f, "  {} gone", Span(self.elapsed_ms)),
        }
    }
}

/// Real time since a start.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(tokio::time::Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Stopwatch {
        Stopwatch(tokio::time::Instant::now())
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Between two lines on what is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Writes one line over the other on a terminal, and now and then a line elsewhere.
#[derive(Debug)]
pub struct Ticker {
    is_terminal: bool,
    last: Option<Stopwatch>,
}

impl Ticker {
    /// On the standard error output.
    pub fn new() -> Ticker {
        Ticker { is_terminal: io::stderr().is_terminal(), last: None }
    }

    /// Shows a line.
    pub fn tell(&mut self, line: &str) {
        if self.is_terminal {
            self.last = Some(Stopwatch::start());
            // A terminal that is gone is no reason to end.
            let _ = write!(io::stderr(), "\r\x1b[K{line}");
        } else if self.last.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last = Some(Stopwatch::start());
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// Leaves the terminal to others.
    pub fn end(&mut self) {
        if self.is_terminal && self.last.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Default for Ticker {
    fn default() -> Ticker {
        Ticker::new()
    }
}

/// A duration in milliseconds as people read it: `0:07`, `12:30`, `3:05:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match hours {
            0 => write!(f, "{minutes}:{seconds:02}"),
            _ => write!(f, "{hours}:{minutes:02}:{seconds:02}"),
        }
    }
}

/// Two digits of what is small, thousands apart in what is large.
fn number(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut told = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn middle() -> Progress {
        Progress {
            scenario: "partitions".to_owned(),
            runs: 12,
            runs_max: Some(90),
            operations: 15_360,
            simulated_ms: 612_000,
            elapsed_ms: 12_000,
            ..Progress::default()
        }
    }

    #[test]
    fn a_line_says_how_much_how_fast_and_how_long() {
        assert_eq!(
            middle().to_string(),
            "partitions  12/90 runs  60 runs/min  51 sim-s/s  1,280 ops/s  1:18 to go"
        );
        let failed = Progress { failed: 1, unknown: 2, ..middle() };
        assert!(failed.to_string().starts_with("partitions  12/90 runs  1 failed  2 unknown  60"));
    }

    #[test]
    fn the_time_to_go_is_the_nearer_end() {
        assert_eq!(middle().left_ms(), Some(78_000));
        let by_time = Progress { elapsed_ms_max: Some(60_000), ..middle() };
        assert_eq!(by_time.left_ms(), Some(48_000));
        let over = Progress { elapsed_ms_max: Some(10_000), ..middle() };
        assert_eq!(over.left_ms(), Some(0));
        let endless = Progress { runs_max: None, ..middle() };
        assert!(endless.to_string().ends_with("ops/s  0:12 gone"), "{endless}");
    }

    #[test]
    fn the_first_line_of_all_divides_by_nothing() {
        let start = Progress { scenario: "quiet".to_owned(), ..Progress::default() };
        assert_eq!(start.to_string(), "quiet  0 runs  0:00 gone");
        let counted = Progress { runs_max: Some(u64::MAX), ..start };
        assert_eq!(counted.left_ms(), None);
        let slow = Progress { runs: 1, elapsed_ms: u64::MAX, ..counted };
        assert_eq!(slow.left_ms(), Some(u64::MAX));
    }

    #[test]
    fn spans_and_numbers_are_short() {
        let spans = [0, 7_999, 60_000, 754_000, 11_100_000].map(|ms| Span(ms).to_string());
        assert_eq!(spans, ["0:00", "0:07", "1:00", "12:34", "3:05:00"]);
        let numbers = [0.04, 9.94, 10.2, 999.6, 1_234_567.0].map(number);
        assert_eq!(numbers, ["0.0", "9.9", "10", "1,000", "1,234,567"]);
    }
}
