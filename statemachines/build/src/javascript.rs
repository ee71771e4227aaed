//! Machines in JavaScript: QuickJS with the machine's text inside, started once at build time.
//!
//! Its calls to WASI trap: `Date` and `Math.random` end a call instead of making replicas differ.

use std::path::Path;

use crate::component::check;
use crate::glue::update;
use crate::{Error, INTERFACE, make_folder, read, tools};

/// A machine in JavaScript: machine.js, an ES module, and what it imports.
pub(crate) fn build(project: &Path, out: &Path) -> Result<Vec<u8>, Error> {
    let folder = out.join("wit");
    make_folder(&folder)?;
    update(&folder.join("machine.wit"), INTERFACE.as_bytes())?;
    let source = project.join("machine.js");
    let verified = String::from_utf8_lossy(&read(&source)?).contains("export const verification");
    let mut tool = tools::componentize_qjs(project)?;
    let component = out.join("quickjs.wasm");
    tool.current_dir(project)
        .arg("--wit")
        .arg(&folder)
        .args(["--world", if verified { "verified-machine" } else { "machine" }])
        .arg("--js")
        .arg(&source)
        // Without the async runtime and in its small build: the host's calls are synchronous, and
        // every node compiles all of it.
        .args(["--stub-wasi", "--sync", "--opt-size", "--minify"])
        .arg("--output")
        .arg(&component);
    tools::run("componentize-qjs", tool)?;
    let component = read(&component)?;
    check(&component)?;
    Ok(component)
}
