//! A copy of the sources with all bugs planted, and the programs built from it.
//!
//! Every bug sleeps behind `mutant("name")`, which compares with the variable [`VARIABLE`]. A guest
//! has no environment: it asks by reading a row with a reserved key, which the patched host
//! answers; a specification does the same, so that a guest's bug is in the specification too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::bug::{self, Bug};
use crate::workspace;

/// Names the bug that is awake.
pub const VARIABLE: &str = "PGRAFT_MUTANT";

/// The programs that finders are.
const PROGRAMS: [&str; 2] = ["pgraft-chaos", "pgraft-model"];

/// Asks, in the code of a node.
const ASK: &str = r#"
/// Whether the planted bug `name` is awake.
#[allow(unused_qualifications)]
fn mutant(name: &str) -> bool {
    static AWAKE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    AWAKE.get_or_init(|| std::env::var("PGRAFT_MUTANT").unwrap_or_default()) == name
}
"#;

/// Asks, in the code of a guest.
const ASK_AS_GUEST: &str = r#"
/// Whether the planted bug `name` is awake.
#[allow(unused_qualifications)]
fn mutant(name: &str) -> bool {
    let key = [b"\0mutant ", name.as_bytes()].concat();
    pgraft_sdk::storage::get(&key).is_some()
}
"#;

const OUR_VERSION: &str = concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"");
const PLANTED_VERSION: &str = "version = \"0.0.0\"";

/// Where the host hands a guest the value of a row.
const HOST_FILE: &str = "node/host/src/imports.rs";
const HOST_FIND: &str = concat!(
    "    storage.func_wrap(\"get\", |mut context: Context<'_>, ",
    "(key,): (WasmList<u8>,)| {\n"
);
const HOST_ANSWER: &str = r#"
        if let Some(name) = key.as_le_slice(&context).strip_prefix(b"\0mutant ") {
            let awake = std::str::from_utf8(name).is_ok_and(mutant);
            return Ok((awake.then(Vec::new),));
        }
"#;

/// Copies what git tracks to `tree`, and plants `bugs` there. Files that stay as they were are not
/// touched, so that they are not built again.
///
/// # Errors
/// In words.
pub fn plant(root: &Path, tree: &Path, bugs: &[Bug]) -> Result<(), String> {
    let read = |file: &str| fs::read_to_string(root.join(file));
    let mut patched = bug::patched(bugs, read).map_err(|error| error.to_string())?;
    let mut asking: BTreeSet<String> = patched.keys().cloned().collect();
    asking.insert(HOST_FILE.to_owned());
    let host = match patched.remove(HOST_FILE) {
        Some(text) => text,
        None => read(HOST_FILE).map_err(|error| format!("{HOST_FILE}: {error}"))?,
    };
    if host.matches(HOST_FIND).count() != 1 {
        return Err(format!("{HOST_FILE} reads rows in another way than planting knows"));
    }
    let answers = host.replace(HOST_FIND, &format!("{HOST_FIND}{HOST_ANSWER}"));
    patched.insert(HOST_FILE.to_owned(), answers);
    for file in asking {
        let ask = if file.starts_with("statemachines/") { ASK_AS_GUEST } else { ASK };
        patched.get_mut(&file).expect("only patched files ask").push_str(ask);
    }
    for (file, text) in renumbered(root)? {
        patched.insert(file, text);
    }
    let tracked = tracked(root)?;
    let wrong = |file: &str, error: io::Error| format!("{file}: {error}");
    for file in &tracked {
        let bytes = match patched.get(file) {
            Some(text) => text.clone().into_bytes(),
            None => fs::read(root.join(file)).map_err(|error| wrong(file, error))?,
        };
        write_changed(&tree.join(file), &bytes).map_err(|error| wrong(file, error))?;
    }
    forget_others(tree, tree, &tracked).map_err(|error| format!("{}: {error}", tree.display()))
}

/// The workspace under another version. Cargo tells the crates of two trees apart by name, version
/// and place in the workspace only: with one version and one target folder it would take ours for
/// the planted ones, and planted ones for ours.
fn renumbered(root: &Path) -> Result<[(String, String); 2], String> {
    let read = |file: &str| {
        fs::read_to_string(root.join(file)).map_err(|error| format!("{file}: {error}"))
    };
    let manifest = read("Cargo.toml")?.replacen(OUR_VERSION, PLANTED_VERSION, 1);
    let packages = read("Cargo.lock")?;
    let packages = packages.split("[[package]]").map(|package| match package {
        ours if ours.starts_with("\nname = \"pgraft") => {
            ours.replacen(OUR_VERSION, PLANTED_VERSION, 1)
        }
        other => other.to_owned(),
    });
    let lock = packages.collect::<Vec<String>>().join("[[package]]");
    Ok([("Cargo.toml".to_owned(), manifest), ("Cargo.lock".to_owned(), lock)])
}

/// Files that git tracks, or would track, and that are there.
fn tracked(root: &Path) -> Result<BTreeSet<String>, String> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(list).current_dir(root).output();
    let output = output.map_err(|error| format!("git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_file = |name: &&str| !name.is_empty() && root.join(name).is_file();
    Ok(names.split('\0').filter(is_file).map(str::to_owned).collect())
}

fn write_changed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
    fs::write(path, bytes)
}

/// What an earlier copy had and this one has not.
fn forget_others(tree: &Path, folder: &Path, tracked: &BTreeSet<String>) -> io::Result<()> {
    for item in fs::read_dir(folder)? {
        let path = item?.path();
        if path.is_dir() {
            forget_others(tree, &path, tracked)?;
            continue;
        }
        let name = path.strip_prefix(tree).expect("it lies in the tree").to_string_lossy();
        if !tracked.contains(&*name) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Builds the programs in `tree`, and copies them to `folder`; where they are.
///
/// # Errors
/// In words.
pub fn build(root: &Path, tree: &Path, folder: &Path) -> Result<PathBuf, String> {
    let target = workspace::target(root);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(tree).args(["build", "--release", "--locked", "--quiet"]);
    for program in PROGRAMS {
        cargo.args(["--package", program]);
    }
    // What the outer cargo says about this program is nothing to the inner one.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    let output = cargo.env("CARGO_TARGET_DIR", &target).output();
    let output = output.map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{errors}the bugs in {} do not build", tree.display()));
    }
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for program in PROGRAMS {
        let (from, to) = (target.join("release").join(program), folder.join(program));
        // Another build may have put its own there meanwhile.
        let bytes = fs::read(&from).map_err(|error| format!("{}: {error}", from.display()))?;
        if !bytes.windows(VARIABLE.len()).any(|window| window == VARIABLE.as_bytes()) {
            return Err(format!("{} is of another build; run this again", from.display()));
        }
        // One that runs is left alone: its file lives on without a name.
        let _absent = fs::remove_file(&to);
        fs::copy(&from, &to).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    Ok(folder.to_owned())
}
