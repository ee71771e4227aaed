//! Which names may stand where: the lines "absent on purpose" of docs/ARCHITECTURE.md.

use crate::Tree;

/// A name, and the paths (prefixes) that may use it.
struct Home {
    name: &'static str,
    allowed: &'static [&'static str],
}

/// Names that only their home may use.
const HOMES: [Home; 13] = [
    Home { name: "raft::", allowed: &["node/replica/src/raft_adapter"] },
    Home { name: "eraftpb", allowed: &["node/replica/src/raft_adapter"] },
    Home { name: "rusqlite::", allowed: &["node/store/"] },
    Home { name: "libsqlite3_sys", allowed: &["node/store/"] },
    Home { name: "wasmtime::", allowed: &["node/engine/", "node/host/"] },
    Home { name: "SystemTime::now", allowed: &["node/src/clock.rs"] },
    Home { name: "std::time::Instant", allowed: &["pgrx-ext/", "chaos/mutants/"] },
    Home { name: "clock_gettime", allowed: &["node/src/clock.rs"] },
    Home { name: "pg_sys::", allowed: &["pgrx-ext/src/"] },
    Home { name: "pgrx::", allowed: &["pgrx-ext/"] },
    Home { name: "turmoil::", allowed: &["chaos/"] },
    Home { name: "stateright::", allowed: &["model/"] },
    Home {
        name: "pgraft_kv::",
        allowed: &[
            "statemachines/",
            "node/src/cli/",
            "pgrx-ext/",
            "chaos/src/workload",
            "model/src/machine/",
        ],
    },
];

/// Names used outside their home. Tests, examples and this crate may name anything.
pub fn absent_names(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.ending(".rs").filter(|file| !is_test(&file.path)) {
        for (number, line) in shipped_lines(&file.text) {
            for home in &HOMES {
                if names(line, home.name)
                    && !home.allowed.iter().any(|place| file.path.starts_with(place))
                {
                    let (path, name) = (&file.path, home.name);
                    complaints.push(format!("{path}:{number}: {name} is absent here on purpose"));
                }
            }
        }
    }
    complaints
}

/// File names that say nothing about what is inside.
pub fn bad_file_names(tree: &Tree) -> Vec<String> {
    const BAD: [&str; 6] = ["utils", "util", "helpers", "common", "misc", "manager"];
    let stem = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        name.split('.').next().unwrap_or(name).to_owned()
    };
    let bad = tree.files.iter().filter(|file| {
        let mut parts: Vec<String> = file.path.split('/').map(str::to_owned).collect();
        parts.push(stem(&file.path));
        parts.iter().any(|part| BAD.contains(&part.as_str()))
    });
    bad.map(|file| format!("{}: a file is named after the thing it owns", file.path)).collect()
}

/// The lines before a test module, without comments, numbered from 1.
fn shipped_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    lines
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line))
}

fn is_test(path: &str) -> bool {
    path.starts_with("scripts/tidy/")
        || path.contains("/tests/")
        || path.contains("/examples/")
        || path.contains("cluster-tests/")
        || path.contains("sim-disk/")
        || path.ends_with("tests.rs")
}

/// Whether `line` uses `name` as a path of its own, and not as the end of a longer word.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_at_home() {
        assert_eq!(absent_names(&Tree::read()), Vec::<String>::new());
    }

    #[test]
    fn canary_a_stray_name_is_found() {
        for (path, line) in [
            ("node/src/driver.rs", "use raft::RawNode;"),
            ("node/src/gateway.rs", "let now = std::time::SystemTime::now();"),
            ("node/replica/src/replica.rs", "rusqlite::Connection::open(p)"),
            ("node/src/driver.rs", "pgraft_kv::Command::decode(bytes)"),
            ("node/src/lib.rs", "turmoil::net::TcpStream"),
        ] {
            assert_eq!(absent_names(&Tree::of(path, line)).len(), 1, "{path}: {line}");
        }
        let own_word = Tree::of("node/src/driver.rs", "pgraft::start()");
        assert_eq!(absent_names(&own_word), Vec::<String>::new());
    }

    #[test]
    fn files_are_named_after_what_they_own() {
        assert_eq!(bad_file_names(&Tree::read()), Vec::<String>::new());
    }

    #[test]
    fn canary_a_file_of_odds_and_ends_is_found() {
        assert_eq!(bad_file_names(&Tree::of("node/src/utils.rs", "")).len(), 1);
        assert_eq!(bad_file_names(&Tree::of("node/src/common/frame.rs", "")).len(), 1);
    }
}
