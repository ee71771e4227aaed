//! A planted bug as data, and what must be true of it. Not here: planting it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;

/// Where in the product a bug is planted; each needs some.
pub const AREAS: [&str; 6] = ["replica", "store", "host", "transport", "node", "kv"];

/// A bug, as its file in `bugs/` has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// The name of its file: words joined by `-`.
    #[serde(skip)]
    pub name: String,
    /// What is wrong, and what a user would lose by it.
    pub about: String,
    /// One of [`AREAS`].
    pub area: String,
    /// The command that must find it: `chaos` or `model`, and its arguments.
    pub finder: Vec<String>,
    /// What the output must say: the checker that is meant.
    pub speaks: String,
    /// How the sources are changed.
    #[serde(rename = "patch")]
    pub patches: Vec<Patch>,
}

/// A change of one file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// From the root of the workspace.
    pub file: String,
    /// Stands in the file exactly once.
    pub find: String,
    /// Takes its place; what differs asks `mutant("name of the bug")`.
    pub replace: String,
}

/// Why the bugs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BugError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of a bug is malformed.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// A bug contradicts itself or the sources.
    #[error("bug {name}: {why}")]
    Wrong {
        /// Which.
        name: String,
        /// In words.
        why: String,
    },
}

/// All bugs, by name.
///
/// # Errors
/// When a file cannot be read or says something that it must not.
pub fn all(root: &Path) -> Result<Vec<Bug>, BugError> {
    let folder = root.join("chaos/mutants/bugs");
    let read = |path: &Path, source| BugError::Read { path: path.to_owned(), source };
    let items = fs::read_dir(&folder).map_err(|source| read(&folder, source))?;
    let mut bugs = Vec::new();
    for item in items {
        let path = item.map_err(|source| read(&folder, source))?.path();
        let text = fs::read_to_string(&path).map_err(|source| read(&path, source))?;
        let mut bug: Bug = toml::from_str(&text)
            .map_err(|source| BugError::Malformed { path: path.clone(), source: source.into() })?;
        bug.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        bug.check()?;
        bugs.push(bug);
    }
    bugs.sort_by(|one, other| (place(one), &one.name).cmp(&(place(other), &other.name)));
    Ok(bugs)
}

/// Areas in the order of a write's way.
fn place(bug: &Bug) -> Option<usize> {
    AREAS.iter().position(|area| *area == bug.area)
}

impl Bug {
    fn wrong<T>(&self, why: impl Into<String>) -> Result<T, BugError> {
        Err(BugError::Wrong { name: self.name.clone(), why: why.into() })
    }

    fn check(&self) -> Result<(), BugError> {
        if !AREAS.contains(&self.area.as_str()) {
            return self.wrong(format!("area {} is none of {AREAS:?}", self.area));
        }
        if !matches!(self.finder.first().map(String::as_str), Some("chaos" | "model")) {
            return self.wrong("its finder is neither chaos nor model");
        }
        if self.patches.is_empty() || self.about.is_empty() || self.speaks.is_empty() {
            return self.wrong("it has no patch, says nothing about itself, or expects no words");
        }
        let asks = format!("mutant(\"{}\")", self.name);
        let asked = |patch: &Patch| patch.replace.contains(&asks);
        if !self.patches.iter().any(asked) {
            return self.wrong(format!("no patch asks {asks}"));
        }
        Ok(())
    }

    /// The command that must find it, for people.
    pub fn command(&self) -> String {
        let (program, arguments) = self.finder.split_first().expect("checked when it was read");
        format!("{program} {}", arguments.join(" "))
    }
}

/// The files that `bugs` change, patched; `read` gives a file as it is shipped.
///
/// # Errors
/// When a file cannot be read, a patch does not fit exactly once, or two patches overlap.
pub fn patched(
    bugs: &[Bug],
    read: impl Fn(&str) -> io::Result<String>,
) -> Result<BTreeMap<String, String>, BugError> {
    let mut wanted: BTreeMap<&str, Vec<(&Bug, &Patch)>> = BTreeMap::new();
    for bug in bugs {
        for patch in &bug.patches {
            wanted.entry(&patch.file).or_default().push((bug, patch));
        }
    }
    let mut files = BTreeMap::new();
    for (file, patches) in wanted {
        let text =
            read(file).map_err(|source| BugError::Read { path: PathBuf::from(file), source })?;
        files.insert(file.to_owned(), patch_all(&text, file, &patches)?);
    }
    Ok(files)
}

fn patch_all(text: &str, file: &str, patches: &[(&Bug, &Patch)]) -> Result<String, BugError> {
    let mut cuts = Vec::new();
    for (bug, patch) in patches {
        let places: Vec<usize> = text.match_indices(&patch.find).map(|(at, _)| at).collect();
        let [at] = places[..] else {
            let found = places.len();
            return bug.wrong(format!("{found} times in {file}, not once: {}", patch.find));
        };
        cuts.push((at, bug, patch));
    }
    cuts.sort_by_key(|(at, ..)| *at);
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, bug, patch) in cuts {
        if at < done {
            return bug.wrong(format!("its patch of {file} overlaps another one"));
        }
        out.push_str(&text[done..at]);
        out.push_str(&patch.replace);
        done = at + patch.find.len();
    }
    out.push_str(&text[done..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bug(name: &str, find: &str, replace: &str) -> Bug {
        let patch = Patch { file: "f".into(), find: find.into(), replace: replace.into() };
        Bug {
            name: name.into(),
            about: "a".into(),
            area: "store".into(),
            finder: vec!["model".into()],
            speaks: "s".into(),
            patches: vec![patch],
        }
    }

    fn patch(bugs: &[Bug]) -> Result<String, String> {
        let files = patched(bugs, |_| Ok("one two three two".to_owned()));
        files.map(|files| files["f"].clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn several_bugs_share_a_file() {
        let bugs = [bug("b", "three", "3"), bug("a", "one", "1")];
        assert_eq!(patch(&bugs).unwrap(), "1 two 3 two");
    }

    #[test]
    fn what_fits_twice_or_nowhere_or_overlaps_is_refused() {
        assert!(patch(&[bug("a", "two", "2")]).unwrap_err().contains("2 times in f"));
        assert!(patch(&[bug("a", "four", "4")]).unwrap_err().contains("0 times in f"));
        let bugs = [bug("a", "one two", "x"), bug("b", "two three", "y")];
        assert!(patch(&bugs).unwrap_err().contains("overlaps"));
    }

    #[test]
    fn a_bug_that_asks_nobody_is_refused() {
        assert!(bug("a", "one", "1").check().is_err());
        assert!(bug("a", "one", "mutant(\"a\")").check().is_ok());
    }
}
