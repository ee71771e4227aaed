//! Running finders: without the bug, which must pass, and with it, which must fail in the words of
//! the checker that is meant. Not here: what becomes of the results.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::bug::Bug;
use crate::planting::VARIABLE;

/// A finder may take so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a running finder is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Run {
    /// `None`: it took longer than [`PATIENCE`], or was killed.
    pub code: Option<i32>,
    /// What it printed.
    pub output: String,
    /// How long it took.
    pub seconds: f64,
}

/// What became of a bug.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Its name.
    pub name: String,
    /// The run with the bug.
    pub with: Run,
    /// Why the bug does not count as found.
    pub complaint: Option<String>,
    /// The line in which the checker speaks.
    pub says: String,
}

/// Runs the finders of bugs.
pub struct Laboratory {
    programs: PathBuf,
    /// Where failed runs are kept.
    scratch: PathBuf,
    clean: Mutex<BTreeMap<Vec<String>, Run>>,
}

impl Laboratory {
    /// The programs lie in `programs`.
    pub fn new(programs: &Path, scratch: &Path) -> Laboratory {
        let (programs, scratch) = (programs.to_owned(), scratch.to_owned());
        Laboratory { programs, scratch, clean: Mutex::default() }
    }

    /// Tries all `bugs`, so many at a time, and tells each result as it comes; in their order.
    ///
    /// # Errors
    /// When a program cannot be started, in words.
    ///
    /// # Panics
    /// When a thread that tries panics.
    pub fn try_all(
        &self,
        bugs: &[Bug],
        jobs: usize,
        told: impl Fn(&Bug, &Trial) + Sync,
    ) -> Result<Vec<Trial>, String> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let trial = self.try_one(bug)?;
                told(bug, &trial);
                done.push(trial);
            }
            Ok(done)
        };
        let parts: Vec<Result<Vec<Trial>, String>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|one| one.join().expect("trials do not panic")).collect()
        });
        let mut trials: Vec<Trial> = Vec::new();
        for part in parts {
            trials.extend(part?);
        }
        let place = |trial: &Trial| bugs.iter().position(|bug| bug.name == trial.name);
        trials.sort_by_key(place);
        Ok(trials)
    }

    /// Tries one bug.
    ///
    /// # Errors
    /// As [`Laboratory::try_all`].
    pub fn try_one(&self, bug: &Bug) -> Result<Trial, String> {
        let clean = self.clean(&bug.finder)?;
        let with = self.run(&bug.finder, Some(&bug.name))?;
        let complaint = complaint(bug, &clean, &with);
        let says = spoken(&with.output, &bug.speaks).unwrap_or_default();
        Ok(Trial { name: bug.name.clone(), with, complaint, says })
    }

    /// The run without any bug; made once for all bugs with the same finder.
    fn clean(&self, finder: &[String]) -> Result<Run, String> {
        let known = |laboratory: &Laboratory| {
            let clean = laboratory.clean.lock().unwrap_or_else(|broken| broken.into_inner());
            clean.get(finder).cloned()
        };
        if let Some(run) = known(self) {
            return Ok(run);
        }
        let run = self.run(finder, None)?;
        let mut clean = self.clean.lock().unwrap_or_else(|broken| broken.into_inner());
        Ok(clean.entry(finder.to_vec()).or_insert(run).clone())
    }

    fn run(&self, finder: &[String], bug: Option<&str>) -> Result<Run, String> {
        let (program, arguments) = finder.split_first().expect("checked when it was read");
        let mut command = Command::new(self.programs.join(format!("pgraft-{program}")));
        command.args(arguments).current_dir(&self.scratch);
        // What failed is known: nobody wants it smaller, or kept.
        if program == "chaos" {
            command.args(["--shrink", "0", "--keep"]).arg(self.scratch.join("kept"));
        }
        match bug {
            Some(bug) => command.env(VARIABLE, bug),
            None => command.env_remove(VARIABLE),
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("pgraft-{program}: {error}"))?;
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
            child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
        ];
        let readers = streams.map(|stream| thread::spawn(move || read(stream)));
        let status = wait(&mut child, begun).map_err(|error| error.to_string())?;
        let seconds = begun.elapsed().as_secs_f64();
        let output = readers.map(|reader| reader.join().unwrap_or_default()).concat();
        Ok(Run { code: status.and_then(|status| status.code()), output, seconds })
    }
}

fn read(stream: Option<Box<dyn Read + Send>>) -> String {
    let mut bytes = Vec::new();
    // What cannot be read any more was not said.
    let _partial = stream.map(|mut stream| stream.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Its status, or `None` when it had to be killed.
fn wait(child: &mut std::process::Child, begun: Instant) -> std::io::Result<Option<ExitStatus>> {
    while begun.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Why the bug does not count as found.
fn complaint(bug: &Bug, clean: &Run, with: &Run) -> Option<String> {
    if clean.code != Some(0) {
        let last = last_line(&clean.output);
        return Some(format!("fails without the bug too ({:?}): {last}", clean.code));
    }
    match with.code {
        Some(0) => Some("NOT FOUND".to_owned()),
        Some(1) if spoken(&with.output, &bug.speaks).is_some() => None,
        Some(1) => Some(format!("found, but nobody says {:?}", bug.speaks)),
        None => Some(format!("NOT FOUND within {} s", PATIENCE.as_secs())),
        Some(code) => Some(format!("ended with {code}: {}", last_line(&with.output))),
    }
}

/// The first line with these words, however many spaces are between them.
fn spoken(output: &str, words: &str) -> Option<String> {
    let mut lines =
        output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.find(|line| line.contains(words))
}

fn last_line(output: &str) -> &str {
    output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(code: i32, output: &str) -> Run {
        Run { code: Some(code), output: output.to_owned(), seconds: 0.0 }
    }

    #[test]
    fn only_the_right_words_count() {
        let bug: Bug = toml::from_str(
            "about = 'a'\narea = 'kv'\nfinder = ['model']\nspeaks = 'durability'\npatch = []",
        )
        .unwrap();
        let passed = run(0, "PASSED");
        let found = run(1, "durability FAILED");
        assert_eq!(complaint(&bug, &passed, &found), None);
        assert!(complaint(&bug, &passed, &passed).is_some());
        assert!(complaint(&bug, &found, &found).is_some(), "it fails anyway");
        assert!(complaint(&bug, &passed, &run(1, "liveness FAILED")).is_some());
        assert!(complaint(&bug, &passed, &run(101, "durability FAILED")).is_some(), "a panic");
        assert!(complaint(&bug, &passed, &Run { code: None, ..found }).is_some());
    }
}
