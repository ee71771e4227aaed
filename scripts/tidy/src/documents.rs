//! Rules about documents: what they name exists, and what they promise to be absent is checked.

use crate::Tree;

/// Markdown files without exactly one title.
pub fn bad_titles(tree: &Tree) -> Vec<String> {
    let titles = |text: &str| {
        let mut fenced = false;
        let mut count = 0;
        for line in text.lines() {
            fenced ^= line.starts_with("```");
            count += usize::from(!fenced && line.starts_with("# "));
        }
        count
    };
    let bad = tree.ending(".md").filter(|file| titles(&file.text) != 1);
    bad.map(|file| format!("{}: not exactly one title", file.path)).collect()
}

/// Paths in backticks that do not exist. A path is a word with a slash that begins with a folder
/// of the root.
pub fn missing_paths(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.ending(".md") {
        for word in file.text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace) {
            if is_path(word) && !tree.has(word) {
                complaints.push(format!("{}: {word} does not exist", file.path));
            }
        }
    }
    complaints
}

/// Lines that ARCHITECTURE.md must print: what is absent on purpose.
pub fn undocumented_absences(tree: &Tree) -> Vec<String> {
    const LINES: [&str; 7] = [
        "`replica` knows no file, socket, clock, thread, random number or hash-map order.",
        "`replica` and the node's write path do not know what a key is: they carry bytes.",
        "turmoil and stateright stand in no production manifest, not even behind a feature.",
        "A machine imports nothing but the interface: no clock, no randomness, no WASI.",
        "Only the worker's main thread and SQL functions call PostgreSQL.",
        "One file names `raft::`, one folder `rusqlite::`, two folders `wasmtime::`.",
        "One file reads clocks.",
    ];
    let page = tree.files.iter().find(|file| file.path == "docs/ARCHITECTURE.md");
    let text = page.map_or("", |page| page.text.as_str());
    LINES.iter().filter(|line| !text.contains(**line)).map(|line| (*line).to_owned()).collect()
}

fn is_path(word: &str) -> bool {
    const FOLDERS: [&str; 7] =
        ["node/", "statemachines/", "pgrx-ext/", "docs/", "scripts/", "chaos/", "model/"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    FOLDERS.iter().any(|folder| word.starts_with(folder)) && word.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_true() {
        let tree = Tree::read();
        let rules = [bad_titles, missing_paths, undocumented_absences];
        let complaints: Vec<String> = rules.iter().flat_map(|rule| rule(&tree)).collect();
        assert_eq!(complaints, Vec::<String>::new());
    }

    #[test]
    fn canary_every_rule_can_complain() {
        assert_eq!(bad_titles(&Tree::of("a.md", "no title")).len(), 1);
        assert_eq!(missing_paths(&Tree::of("a.md", "# a\nsee `docs/none.md`")).len(), 1);
        assert_eq!(undocumented_absences(&Tree::default()).len(), 7);
    }
}
