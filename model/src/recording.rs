//! Keeps the reports of runs in `model/results/`, with the commit they were made on.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use crate::bounds::Search;
use crate::report::Report;

#[derive(Serialize)]
struct Recording<'a> {
    /// The commit, followed by `+` when files had changed since.
    commit: String,
    /// Optimised or not.
    profile: &'static str,
    states_per_second: u64,
    #[serde(flatten)]
    report: &'a Report,
}

/// The folder of the recordings.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

/// Writes `report` to a file of `folder` that is named after the model and the order of search; an
/// older recording is replaced.
///
/// # Errors
/// When git does not answer or the file cannot be written.
pub fn record(report: &Report, folder: &Path) -> io::Result<PathBuf> {
    let search = match report.bounds.search {
        Search::Breadth => "breadth",
        Search::Walks { .. } => "walks",
    };
    let path = folder.join(format!("{}-{search}.json", report.model));
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let states_per_second = report.rate() as u64;
    let recording = Recording { commit: commit()?, profile, states_per_second, report };
    let mut text = serde_json::to_string_pretty(&recording)?;
    text.push('\n');
    std::fs::write(&path, text)?;
    Ok(path)
}

fn commit() -> io::Result<String> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(io::Error::other(format!("git {}: {why}", arguments.join(" "))));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    let commit = git(&["rev-parse", "HEAD"])?;
    Ok(if changed { commit + "+" } else { commit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::Bounds;
    use crate::report::End;

    #[test]
    fn report_is_kept_with_its_commit_and_bounds() {
        let report = Report {
            model: "some-model".to_owned(),
            bounds: Bounds::to_depth(3, 7),
            end: End::CompleteToDepth,
            generated: 1_000,
            unique: 400,
            depth: 7,
            seconds: 2.0,
            refuted: Vec::new(),
            reached: Vec::new(),
            missed: Vec::new(),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = record(&report, folder.path()).unwrap();
        assert_eq!(path.file_name().unwrap(), "some-model-breadth.json");
        let text = std::fs::read_to_string(path).unwrap();
        let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(kept["states_per_second"], 500);
        assert_eq!(kept["end"], "complete-to-depth");
        assert_eq!(kept["bounds"]["depth"], 7);
        assert!(kept["commit"].as_str().unwrap().len() >= 40);
    }
}
