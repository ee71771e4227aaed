//! Finding the programs that build: where `scripts/setup` puts them, or where the user has them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;

/// The version of zig that machines are built with: the language changes between versions.
pub const ZIG_VERSION: &str = "0.17.1";
/// The version of `componentize-qjs` that machines are built with.
pub const COMPONENTIZE_QJS_VERSION: &str = "0.4.5";
/// The variable that names the folder of tools: it has `zig/ziglang/zig` and `node_modules`.
pub const TOOLS_VARIABLE: &str = "PGRAFT_TOOLS";

/// The folder in which `scripts/setup` puts the tools: that of [`TOOLS_VARIABLE`], else for root
/// /var/tmp/pgraft-tools, else ~/.cache/pgraft-tools. It need not exist.
pub fn tools_folder() -> PathBuf {
    if let Some(folder) = env::var_os(TOOLS_VARIABLE) {
        return folder.into();
    }
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let root = Path::new("/var/tmp/pgraft-tools");
    if root.exists() { root.to_owned() } else { home.join(".cache/pgraft-tools") }
}

/// Zig: in the folder of tools, as a package of Python, or in `PATH`.
///
/// # Errors
/// [`Error::NoTool`] when it is nowhere, or of another version.
pub(crate) fn zig() -> Result<Command, Error> {
    let own = tools_folder().join("zig/ziglang/zig");
    let python = || {
        let mut python = Command::new("python3");
        python.args(["-m", "ziglang"]);
        python
    };
    let candidates = [Command::new(own), python(), Command::new("zig")];
    let mut seen = None;
    for candidate in candidates {
        let mut version = Command::new(candidate.get_program());
        version.args(candidate.get_args()).arg("version");
        match said(version) {
            Some(version) if version == ZIG_VERSION => return Ok(candidate),
            Some(version) => seen = Some(version),
            None => {}
        }
    }
    Err(Error::NoTool {
        tool: "zig",
        why: match seen {
            Some(version) => format!("there is version {version}, {ZIG_VERSION} is needed"),
            None => format!("it is neither in {:?} nor in PATH", tools_folder()),
        },
        get: format!("pip install ziglang=={ZIG_VERSION}"),
    })
}

/// `componentize-qjs`: in the folder of tools, in the project's `node_modules`, or in `PATH`.
///
/// # Errors
/// [`Error::NoTool`] when it is nowhere, or when there is no node to run it.
pub(crate) fn componentize_qjs(project: &Path) -> Result<Command, Error> {
    let mut version = Command::new("node");
    version.arg("--version");
    if said(version).is_none() {
        return Err(Error::NoTool {
            tool: "node",
            why: "it is not in PATH".to_owned(),
            get: "apt-get install nodejs".to_owned(),
        });
    }
    for folder in [&tools_folder(), project] {
        let program = folder.join("node_modules/componentize-qjs/cli.mjs");
        if program.is_file() {
            let mut node = Command::new("node");
            node.arg(program);
            return Ok(node);
        }
    }
    let mut version = Command::new("componentize-qjs");
    version.arg("--version");
    if said(version).is_some() {
        return Ok(Command::new("componentize-qjs"));
    }
    Err(Error::NoTool {
        tool: "componentize-qjs",
        why: format!("it is neither in {:?} nor in {project:?} nor in PATH", tools_folder()),
        get: format!("npm install componentize-qjs@{COMPONENTIZE_QJS_VERSION}"),
    })
}

/// Runs a tool that was found.
pub(crate) fn run(tool: &'static str, mut command: Command) -> Result<(), Error> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::File { path: command.get_program().into(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stderr, output.stdout].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Err(Error::Tool { tool, status: output.status, said })
}

/// The first line of what a program says, if it is there and content.
fn said(mut command: Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}
