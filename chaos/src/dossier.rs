//! What is kept of a run that failed: a folder with everything that somebody needs who has to
//! understand it. Not here: running, judging, and the page itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pgraft_judge::history::Event;
use pgraft_judge::{Judgement, Rank};
use pgraft_report::{Page, Verdict, VerdictLine};

use crate::judging;
use crate::plan::Case;
use crate::suite::{Smallest, Trial};

/// A folder for one run; its files are replaced when the run is repeated.
pub struct Dossier {
    folder: PathBuf,
}

impl Dossier {
    /// The folder of a run under `parent`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn of(parent: &Path, scenario: &str, seed: u64) -> io::Result<Dossier> {
        let folder = parent.join(format!("{scenario}-{seed}"));
        fs::create_dir_all(&folder)?;
        Ok(Dossier { folder })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps the case, its history and the nodes' log.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn keep(&self, case: &Case, trial: &Trial) -> io::Result<()> {
        fs::write(self.folder.join("case.json"), case.to_json())?;
        fs::write(self.folder.join("history.jsonl"), trial.history.to_text())?;
        fs::write(self.folder.join("log.txt"), &trial.log)
    }

    /// Keeps the smallest case that still fails.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn keep_smallest(&self, smallest: &Smallest) -> io::Result<()> {
        fs::write(self.folder.join("smallest.json"), smallest.case.to_json())?;
        fs::write(self.folder.join("smallest-log.txt"), &smallest.trial.log)?;
        fs::write(self.folder.join("trace.txt"), trace(smallest))
    }

    /// Writes the page, with the command that repeats the run; returns where.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn report(
        &self,
        trial: &Trial,
        smallest: Option<&Smallest>,
        reproduce: String,
    ) -> io::Result<PathBuf> {
        let file = self.folder.join("report.html");
        let (events, judgement) = (&trial.history.events, &trial.judgement);
        fs::write(&file, page(events, judgement, reproduce, smallest.map(trace)))?;
        Ok(file)
    }
}

/// The smallest case as text.
pub fn trace(smallest: &Smallest) -> String {
    let plan = &smallest.case.plan;
    let verdict = smallest.trial.judgement.worst().map_or(String::new(), |(checker, verdict)| {
        let window: String = verdict.window.iter().map(|line| format!("    {line}\n")).collect();
        format!("{checker}: {}\n{window}", verdict.says)
    });
    format!(
        "This is enough, found in {} runs; of its operations these matter: {:?}.\n\
         {verdict}\n{plan}\n{}",
        smallest.runs, smallest.operations, smallest.story
    )
}

/// The page about a judged history.
pub fn page(
    events: &[Event],
    judgement: &Judgement,
    reproduce: String,
    shrunk: Option<String>,
) -> String {
    let verdicts = judgement.verdicts.iter().map(|(checker, verdict)| VerdictLine {
        checker: checker.clone(),
        verdict: match verdict.rank {
            Rank::Pass => Verdict::Pass,
            Rank::Unknown => Verdict::Unknown,
            Rank::Fail => Verdict::Fail,
        },
        says: verdict.says.clone(),
    });
    let offending = judging::blamed(judgement);
    pgraft_report::render(&Page {
        history: events,
        verdicts: verdicts.collect(),
        offending,
        reproduce,
        shrunk,
    })
}
