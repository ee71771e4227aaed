//! Rules about single files: their length, their heading, and that they are finished.

use crate::Tree;

/// Columns of a line.
const COLUMNS_MAX: usize = 100;
/// Lines of a source file.
const LINES_MAX: usize = 800;
/// Lines of a script; longer ones become Rust.
const SCRIPT_LINES_MAX: usize = 90;

/// Source lines that are too long to read side by side.
pub fn long_lines(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.ending(".rs") {
        for (number, line) in file.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                let path = &file.path;
                complaints.push(format!("{path}:{}: {columns} columns", number + 1));
            }
        }
    }
    complaints
}

/// Files that are probably two things.
pub fn long_files(tree: &Tree) -> Vec<String> {
    let long = tree.ending(".rs").filter(|file| file.text.lines().count() > LINES_MAX);
    long.map(|file| format!("{}: over {LINES_MAX} lines", file.path)).collect()
}

/// Files that do not say what they are and what they are not.
pub fn undocumented_files(tree: &Tree) -> Vec<String> {
    let silent = tree.ending(".rs").filter(|file| !file.text.starts_with("//!"));
    silent.map(|file| format!("{}: does not begin with //!", file.path)).collect()
}

/// Marks of unfinished work.
pub fn unfinished(tree: &Tree) -> Vec<String> {
    let marks = [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("#[ign", "ore")];
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|file| is_code(&file.path)) {
        for mark in marks.iter().filter(|mark| file.text.contains(**mark)) {
            complaints.push(format!("{}: {mark}", file.path));
        }
    }
    complaints
}

/// Scripts that do not stop at an error, or do not say how they are used.
pub fn bad_scripts(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|file| file.text.starts_with("#!/usr/bin/env bash")) {
        let mut complain = |what: &str| complaints.push(format!("{}: {what}", file.path));
        if !file.text.contains("set -euo pipefail") {
            complain("no set -euo pipefail");
        }
        if file.path.starts_with("scripts/") && !file.text.contains(&format!("#   {}", file.path)) {
            complain("no usage line");
        }
        if file.text.lines().count() > SCRIPT_LINES_MAX {
            complain("too long for a script");
        }
    }
    complaints
}

fn is_code(path: &str) -> bool {
    [".rs", ".toml", ".sql", ".wit"].iter().any(|end| path.ends_with(end))
        || path.starts_with("scripts/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_short_documented_and_finished() {
        let tree = Tree::read();
        let rules = [long_lines, long_files, undocumented_files, unfinished, bad_scripts];
        let complaints: Vec<String> = rules.iter().flat_map(|rule| rule(&tree)).collect();
        assert_eq!(complaints, Vec::<String>::new());
    }

    #[test]
    fn canary_every_rule_can_complain() {
        let line = "x".repeat(COLUMNS_MAX + 1);
        assert_eq!(long_lines(&Tree::of("a.rs", &line)).len(), 1);
        let lines = "//! a\n".repeat(LINES_MAX + 1);
        assert_eq!(long_files(&Tree::of("a.rs", &lines)).len(), 1);
        assert_eq!(undocumented_files(&Tree::of("a.rs", "fn main() {}")).len(), 1);
        assert_eq!(unfinished(&Tree::of("a.rs", concat!("// TO", "DO"))).len(), 1);
        assert_eq!(bad_scripts(&Tree::of("scripts/a", "#!/usr/bin/env bash\n")).len(), 2);
    }
}
