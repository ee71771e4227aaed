//! Seeds that once failed: chaos/seeds/regressions.txt, one per line, run in every `cargo test`.
//!
//! ```text
//! # scenario   seed    # why it is here
//! partitions   0x2a    # acknowledged before persisted, 1a2b3c4
//! ```
//!
//! Not here: running them.

use std::collections::BTreeSet;

use crate::scenario::Scenario;
use crate::seed::Seed;

/// A seed that once failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// Name of the scenario.
    pub scenario: String,
    /// The seed.
    pub seed: Seed,
    /// What was found with it.
    pub why: String,
    /// Line in the file, from 1.
    pub line: usize,
}

/// What is wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("regressions.txt, line {line}: {why}")]
pub struct RegressionError {
    /// From 1.
    pub line: usize,
    /// What is wrong, with the value.
    pub why: String,
}

/// The file as it was built in.
const FILE: &str = include_str!("../seeds/regressions.txt");

/// The built-in regressions.
///
/// # Panics
/// When the built-in file is wrong: a test reads it.
pub fn all() -> Vec<Regression> {
    parse(FILE).expect("a test reads the file")
}

/// Reads a list of regressions. Lines that are empty or begin with `#` say nothing.
///
/// # Errors
/// The first line that is not `scenario seed # why`, or stands there twice.
pub fn parse(text: &str) -> Result<Vec<Regression>, RegressionError> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for (place, line) in text.lines().enumerate() {
        let line_number = place + 1;
        let wrong = |why: String| RegressionError { line: line_number, why };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (run, why) = line.split_once('#').unwrap_or((line, ""));
        let words: Vec<&str> = run.split_whitespace().collect();
        let [scenario, seed] = words[..] else {
            return Err(wrong(format!("\"{}\" is not a scenario and a seed", run.trim())));
        };
        Scenario::find(scenario).map_err(|error| wrong(error.to_string()))?;
        let seed: Seed = seed.parse().map_err(|error| wrong(format!("{error}")))?;
        if why.trim().is_empty() {
            return Err(wrong(format!("{scenario} {seed} does not say why it is here (# ...)")));
        }
        if !seen.insert((scenario.to_owned(), seed)) {
            return Err(wrong(format!("{scenario} {seed} stands there twice")));
        }
        let (scenario, why) = (scenario.to_owned(), why.trim().to_owned());
        found.push(Regression { scenario, seed, why, line: line_number });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_file_is_read() {
        assert_eq!(parse(FILE).map(|_| ()), Ok(()));
    }

    #[test]
    fn a_line_is_scenario_seed_and_why() {
        let text = "# heading\n\ncrashes 7 # lost # twice\n  quiet\t0x10\t#a\n";
        let found = parse(text).unwrap();
        let told = found.iter().map(|one| (&one.scenario[..], one.seed.number(), &one.why[..]));
        assert_eq!(told.collect::<Vec<_>>(), [("crashes", 7, "lost # twice"), ("quiet", 16, "a")]);
        assert_eq!((found[0].line, found[1].line), (3, 4));
    }

    #[test]
    fn canary_errors_name_line_and_value() {
        let told = |text: &str| parse(text).unwrap_err().to_string();
        let line = "regressions.txt, line 2: ";
        for (text, why) in [
            ("\ncrashes", "\"crashes\" is not a scenario and a seed"),
            ("\ncrashes 1 2 # a", "\"crashes 1 2\" is not a scenario and a seed"),
            ("\ncrash 1 # a", "there is no scenario \"crash\""),
            ("\ncrashes one # a", "\"one\" is not a seed"),
            ("\ncrashes 1", "crashes 1 does not say why"),
            ("crashes 1 # a\ncrashes 0x1 # b", "crashes 1 stands there twice"),
        ] {
            let error = told(text);
            assert!(error.starts_with(&format!("{line}{why}")), "{error}");
        }
    }
}
