//! Who may depend on whom, read from the manifests.

use toml::{Table, Value};

use crate::Tree;

/// A manifest, and packages that must not stand among its dependencies.
struct Wall {
    manifest: &'static str,
    without: &'static [&'static str],
}

const IO: [&str; 6] = ["tokio", "rusqlite", "wasmtime", "rand", "getrandom", "libc"];
const WALLS: [Wall; 7] = [
    Wall { manifest: "node/replica/Cargo.toml", without: &IO },
    Wall { manifest: "node/replay/Cargo.toml", without: &IO },
    Wall { manifest: "statemachines/sdk/Cargo.toml", without: &IO },
    Wall { manifest: "statemachines/kv/Cargo.toml", without: &IO },
    Wall { manifest: "statemachines/membership/Cargo.toml", without: &IO },
    Wall {
        manifest: "node/host/Cargo.toml",
        without: &["pgraft-kv", "pgraft-membership", "tokio"],
    },
    Wall { manifest: "node/store/Cargo.toml", without: &["pgraft-kv", "wasmtime", "tokio"] },
];
const SIMULATORS: [&str; 2] = ["turmoil", "stateright"];
/// Checkers, and the only manifests that may build on them: they do not know each other.
const CHECKERS: [(&str, &[&str]); 3] = [
    ("pgraft-chaos", &["chaos/check/Cargo.toml"]),
    ("pgraft-model", &["chaos/check/Cargo.toml"]),
    ("pgraft-check", &[]),
];

/// Dependencies that break a wall, and simulators in a production manifest (even optional ones).
pub fn forbidden_dependencies(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.ending("Cargo.toml") {
        let Ok(manifest) = file.text.parse::<Table>() else {
            complaints.push(format!("{}: not TOML", file.path));
            continue;
        };
        let found = dependencies(&manifest);
        for wall in WALLS.iter().filter(|wall| wall.manifest == file.path) {
            for name in wall.without.iter().filter(|name| found.contains(&(**name).to_owned())) {
                complaints.push(format!("{}: must not depend on {name}", file.path));
            }
        }
        for (checker, allowed) in CHECKERS {
            if found.contains(&checker.to_owned()) && !allowed.contains(&file.path.as_str()) {
                complaints.push(format!("{}: nothing builds on {checker}", file.path));
            }
        }
        if !file.path.starts_with("chaos/") && !file.path.starts_with("model/") {
            for name in SIMULATORS.iter().filter(|name| found.contains(&(**name).to_owned())) {
                complaints.push(format!("{}: {name} stands in no production manifest", file.path));
            }
        }
    }
    complaints
}

/// Names under `[dependencies]`, also those of targets; not those of tests and build scripts.
fn dependencies(manifest: &Table) -> Vec<String> {
    let mut tables: Vec<&Value> = manifest.get("dependencies").into_iter().collect();
    if let Some(targets) = manifest.get("target").and_then(Value::as_table) {
        tables.extend(targets.values().filter_map(|target| target.get("dependencies")));
    }
    let names = tables.iter().filter_map(|table| table.as_table());
    names.flat_map(|table| table.keys().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walls_stand() {
        assert_eq!(forbidden_dependencies(&Tree::read()), Vec::<String>::new());
    }

    #[test]
    fn canary_a_broken_wall_is_found() {
        let replica = Tree::of("node/replica/Cargo.toml", "[dependencies]\ntokio.workspace = true");
        assert_eq!(forbidden_dependencies(&replica).len(), 1);
        let both = "[dependencies]\npgraft-model.workspace = true";
        assert_eq!(forbidden_dependencies(&Tree::of("chaos/Cargo.toml", both)).len(), 1);
        assert!(forbidden_dependencies(&Tree::of("chaos/check/Cargo.toml", both)).is_empty());
        let hidden =
            "[target.'cfg(unix)'.dependencies]\nturmoil = { version = \"1\", optional = true }";
        assert_eq!(forbidden_dependencies(&Tree::of("node/Cargo.toml", hidden)).len(), 1);
    }
}
