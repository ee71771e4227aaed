//! Machines in Rust: a nested cargo whose output depends on nothing but the sources, `Cargo.lock`
//! and the toolchain. Paths are remapped; flags and profile of an outer build do not reach it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::{Error, STACK_BYTES, component, read};

const TARGET: &str = "wasm32-unknown-unknown";

/// The profile of machines. Checked arithmetic: one that would wrap must trap, equally everywhere.
const PROFILE: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "true"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "true"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true"),
];

/// Variables of an outer cargo that must not reach the inner one.
const FOREIGN_VARIABLES: &[&str] = &[
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_FEATURE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "CLIPPY_ARGS",
];

/// A machine in Rust, and how to build it.
#[derive(Clone, Debug)]
pub struct Rust {
    project: PathBuf,
    features: Vec<String>,
    locked: bool,
}

/// What cargo knows of the project.
struct Package {
    name: String,
    workspace: PathBuf,
    /// Packages outside of the workspace that are built from a folder: their names and folders.
    others: Vec<(String, PathBuf)>,
}

impl Rust {
    /// The package in the folder `project`.
    pub fn new(project: &Path) -> Rust {
        // As cargo names it. A folder that is not there is told of when it is built.
        let project = project.canonicalize().unwrap_or_else(|_| project.to_owned());
        Rust { project, features: Vec::new(), locked: false }
    }

    /// With one more of its features.
    #[must_use]
    pub fn feature(mut self, feature: &str) -> Rust {
        self.features.push(feature.to_owned());
        self
    }

    /// With the `Cargo.lock` that is there, or not at all.
    #[must_use]
    pub fn locked(mut self) -> Rust {
        self.locked = true;
        self
    }

    /// Builds it, with what cargo keeps in `target`. Returns the package's name and the component.
    ///
    /// # Errors
    /// As [`crate::build`].
    pub fn build(&self, target: &Path) -> Result<(String, Vec<u8>), Error> {
        let package = self.package()?;
        let mut cargo = self.cargo("build");
        cargo
            .args(["--quiet", "--release", "--lib", "--message-format", "json-render-diagnostics"])
            .args(["--target", TARGET, "--package", &package.name])
            .args(["--features", &self.features.join(",")])
            .arg("--target-dir")
            .arg(target)
            .envs(PROFILE.iter().copied())
            .env("CARGO_ENCODED_RUSTFLAGS", flags(&package)?.join("\x1f"));
        let output = run("cargo", cargo)?;
        let core = artifact(&output.stdout, &self.project)
            .ok_or_else(|| self.wrong("cargo built it, but left no module".to_owned()))?;
        Ok((package.name, component(&read(&core)?)?))
    }

    /// The name of the example whose file is examples/native.rs: the machine as a program, which
    /// testers compare with the module. None when the project has none.
    ///
    /// # Errors
    /// When cargo cannot read the project.
    pub fn native(&self) -> Result<Option<String>, Error> {
        let metadata = self.metadata(&self.project)?;
        let file = self.project.join("examples/native.rs");
        let of = |target: &&Value| target["src_path"].as_str().map(Path::new) == Some(&file);
        let own = package_in(&metadata, &self.project);
        let target = own.and_then(|package| items(&package["targets"]).find(of));
        Ok(target.and_then(|target| target["name"].as_str()).map(str::to_owned))
    }

    fn cargo(&self, subcommand: &str) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        for (variable, _) in env::vars_os() {
            let name = variable.to_string_lossy();
            if FOREIGN_VARIABLES.iter().any(|prefix| name.starts_with(prefix)) {
                cargo.env_remove(&variable);
            }
        }
        cargo.current_dir(&self.project).arg(subcommand);
        if self.locked {
            cargo.arg("--locked");
        }
        cargo
    }

    fn package(&self) -> Result<Package, Error> {
        let metadata = self.metadata(&self.project)?;
        let own = package_in(&metadata, &self.project)
            .ok_or_else(|| self.wrong("its Cargo.toml has no package".to_owned()))?;
        let name = own["name"].as_str().unwrap_or_default().to_owned();
        if !items(&own["targets"]).any(|target| listed(&target["crate_types"], "cdylib")) {
            let why = format!("{name} has no module: add `crate-type = [\"cdylib\", \"rlib\"]`");
            return Err(self.wrong(format!("{why} under [lib] in Cargo.toml")));
        }
        let root = metadata["workspace_root"].as_str();
        let workspace = root.map_or_else(|| self.project.clone(), PathBuf::from);
        let mut others: Vec<(String, PathBuf)> = Vec::new();
        let mut unread = vec![own.clone()];
        while let Some(package) = unread.pop() {
            for dependency in items(&package["dependencies"]) {
                let (Some(name), Some(folder)) =
                    (dependency["name"].as_str(), dependency["path"].as_str().map(PathBuf::from))
                else {
                    continue;
                };
                if others.iter().any(|(_, known)| *known == folder) {
                    continue;
                }
                let theirs = self.metadata(&folder)?;
                unread.extend(package_in(&theirs, &folder).cloned());
                others.push((name.to_owned(), folder));
            }
        }
        others.retain(|(_, folder)| !folder.starts_with(&workspace));
        Ok(Package { name, workspace, others })
    }

    /// What cargo knows of the packages in the workspace of `folder`, without asking a registry.
    fn metadata(&self, folder: &Path) -> Result<Value, Error> {
        let mut cargo = self.cargo("metadata");
        cargo.args(["--format-version", "1", "--no-deps"]).current_dir(folder);
        let said = run("cargo", cargo)?.stdout;
        serde_json::from_slice(&said)
            .map_err(|why| self.wrong(format!("cargo metadata said no JSON: {why}")))
    }

    fn wrong(&self, why: String) -> Error {
        Error::Package { project: self.project.clone(), why }
    }
}

fn package_in<'a>(metadata: &'a Value, folder: &Path) -> Option<&'a Value> {
    let manifest = folder.join("Cargo.toml");
    items(&metadata["packages"])
        .find(|package| package["manifest_path"].as_str().map(Path::new) == Some(&manifest))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn listed(list: &Value, wanted: &str) -> bool {
    items(list).any(|item| item.as_str() == Some(wanted))
}

/// The module among cargo's messages about the project.
fn artifact(messages: &[u8], project: &Path) -> Option<PathBuf> {
    let manifest = project.join("Cargo.toml");
    messages.split(|byte| *byte == b'\n').find_map(|line| {
        let message: Value = serde_json::from_slice(line).ok()?;
        let ours = message["reason"].as_str() == Some("compiler-artifact")
            && message["manifest_path"].as_str().map(Path::new) == Some(&manifest);
        let mut files = message["filenames"].as_array().filter(|_| ours)?.iter();
        files
            .find_map(|file| Some(file.as_str()?).filter(|file| file.ends_with(".wasm")))
            .map(PathBuf::from)
    })
}

/// Flags of the compiler: a small stack, and no path of this computer in any message.
fn flags(package: &Package) -> Result<Vec<String>, Error> {
    let rustc = env::var_os("RUSTC").unwrap_or("rustc".into());
    let sysroot = said(&rustc, &["--print", "sysroot"])?;
    let version = said(&rustc, &["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    let installed = Path::new(&sysroot).join("lib/rustlib").join(TARGET);
    if !installed.exists() {
        return Err(Error::NoTool {
            tool: "the target wasm32-unknown-unknown of Rust",
            why: format!("{} does not exist", installed.display()),
            get: format!("rustup target add {TARGET}"),
        });
    }
    let mut flags = vec![format!("-Clink-arg=-zstack-size={STACK_BYTES}")];
    let mut remap =
        |from: &Path, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    remap(&package.workspace, "/machine");
    for (name, folder) in &package.others {
        remap(folder, &format!("/crates/{name}"));
    }
    if let Some(home) = cargo_home() {
        remap(&home, "/cargo");
        remap(&home.canonicalize().unwrap_or(home), "/cargo");
    }
    // With the component rust-src installed, std's paths would be local ones.
    let std = Path::new(&sysroot).join("lib/rustlib/src/rust");
    remap(&std, &format!("/rustc/{}", commit.unwrap_or("unknown")));
    Ok(flags)
}

fn cargo_home() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn said(rustc: &OsString, arguments: &[&str]) -> Result<String, Error> {
    let mut command = Command::new(rustc);
    command.args(arguments);
    Ok(String::from_utf8_lossy(&run("rustc", command)?.stdout).trim().to_owned())
}

/// Runs a program of the toolchain.
fn run(tool: &'static str, mut command: Command) -> Result<Output, Error> {
    let output = command.stdin(Stdio::null()).output().map_err(|why| Error::NoTool {
        tool,
        why: format!("{:?}: {why}", command.get_program()),
        get: "https://rustup.rs".to_owned(),
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Tool { tool, status: output.status, said });
    }
    Ok(output)
}
