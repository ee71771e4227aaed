//! The files that git tracks, read once.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One tracked text file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path from the root, with slashes.
    pub path: String,
    /// Its contents.
    pub text: String,
}

/// All tracked text files.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// In the order of their paths.
    pub files: Vec<Source>,
}

impl Tree {
    /// Reads the checkout that this crate was built in.
    ///
    /// # Panics
    /// When git or a file cannot be read: there is nothing to check then.
    pub fn read() -> Tree {
        let root = root();
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .expect("git runs");
        assert!(listed.status.success(), "git ls-files failed");
        let mut paths: Vec<String> = String::from_utf8(listed.stdout)
            .expect("paths are UTF-8")
            .split_terminator('\0')
            .map(str::to_owned)
            .collect();
        paths.sort();
        paths.dedup();
        let read = |path: String| {
            // A deleted file is still listed until the deletion is committed; binaries are no text.
            let text = std::fs::read_to_string(root.join(&path)).ok()?;
            Some(Source { path, text })
        };
        Tree { files: paths.into_iter().filter_map(read).collect() }
    }

    /// A tree of one file: what canaries are made of.
    pub fn of(path: &str, text: &str) -> Tree {
        Tree { files: vec![Source { path: path.to_owned(), text: text.to_owned() }] }
    }

    /// The files whose path ends so.
    pub fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = &'a Source> {
        self.files.iter().filter(move |file| file.path.ends_with(end))
    }

    /// Whether there is a tracked file or folder of this path.
    pub fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    }
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("scripts/tidy lies two folders deep").to_owned()
}
