//! Finding the programs that build: where `scripts/setup-tools` puts them, or where the user has
//! them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;

/// The version of zig that machines are built with: the language changes between versions.
pub const ZIG_VERSION: &str = "0.17.1";
/// The version of QuickJS (quickjs-ng) that machines are built with.
pub const QUICKJS_VERSION: &str = "0.16.2";
/// The version of the crate `rquickjs-sys` that carries it.
const QUICKJS_CRATE_VERSION: &str = "0.14.0";
/// The variable that names the folder of tools: it has `zig/ziglang/zig` and `quickjs-VERSION`.
pub const TOOLS_VARIABLE: &str = "PGRAFT_TOOLS";

/// The folder in which `scripts/setup-tools` puts the tools: that of [`TOOLS_VARIABLE`], else for
/// root /var/tmp/pgraft-tools, else ~/.cache/pgraft-tools. It need not exist.
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

/// The sources of QuickJS, in the folder of tools.
///
/// # Errors
/// [`Error::NoTool`] when they are not there, or of another version.
pub(crate) fn quickjs() -> Result<PathBuf, Error> {
    let folder = tools_folder().join(format!("quickjs-{QUICKJS_VERSION}"));
    if folder.join("quickjs.c").is_file() {
        return Ok(folder);
    }
    Err(Error::NoTool {
        tool: "the source of QuickJS",
        why: format!("{folder:?} does not have quickjs.c"),
        get: format!(
            "scripts/setup-tools of pgraft's sources, or: the folder `quickjs` of the crate \
             rquickjs-sys {QUICKJS_CRATE_VERSION}, copied there"
        ),
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
