//! The style of the tree as tests: what ARCHITECTURE.md prints as absent stays absent.
//!
//! Each rule is a function from the tree to complaints, so that its canary (a planted violation)
//! is a test of the same function. Not here: what rustfmt and clippy already check.

mod dependencies;
mod documents;
mod names;
mod source;
mod tree;

pub use dependencies::forbidden_dependencies;
pub use documents::{bad_titles, missing_paths, undocumented_absences};
pub use names::{absent_names, bad_file_names};
pub use source::{bad_scripts, long_files, long_lines, undocumented_files, unfinished};
pub use tree::{Source, Tree};
