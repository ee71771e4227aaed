//! Why no machine was built. Not here: what the tools themselves say, which is passed on.

use std::path::PathBuf;
use std::process::ExitStatus;

use crate::Language;

/// Why no machine was built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder holds no machine.
    #[error(
        "no machine in {folder:?}: it has neither Cargo.toml nor machine.c, machine.zig, machine.js"
    )]
    NoProject {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder holds two.
    #[error("two machines in {folder:?}: it has {first} and {second}")]
    TwoProjects {
        /// The folder.
        folder: PathBuf,
        /// A file that says a language.
        first: &'static str,
        /// Another.
        second: &'static str,
    },
    /// This program was made without the languages.
    #[error("this program builds machines in Rust only, not in {language:?}")]
    NotBuiltIn {
        /// What the machine is written in.
        language: Language,
    },
    /// A file or folder could not be read or written.
    #[error("{path:?}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A program that builds is not there.
    #[error("{tool} is missing ({why}); get it with: {get}")]
    NoTool {
        /// Its name.
        tool: &'static str,
        /// How one knows.
        why: String,
        /// The command that brings it.
        get: String,
    },
    /// A program that builds said no.
    #[error("{tool} failed, {status}:\n{said}")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        said: String,
    },
    /// What cargo says about the project is not what was expected.
    #[error("{project:?}: {why}")]
    Package {
        /// The folder.
        project: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What was built is not a machine.
    #[error("what was built is no machine: {why}")]
    NoMachine {
        /// What is missing or too much.
        why: String,
    },
}
