//! What a command is pointed at: a project's folder, which is built first, or a module; and
//! `pgraft-check build`. Not here: how a project is built (pgraft-build).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::facts::grouped;
use crate::native::EXAMPLE;
use crate::operations::FILE;

/// What is asked of `build`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The folder of the project.
    #[arg(default_value = ".")]
    pub project: PathBuf,
    /// Where the module is written [default: target/NAME.wasm in the project].
    #[arg(long, value_name = "FILE.wasm")]
    pub out: Option<PathBuf>,
}

/// Builds a project and says where its module is.
///
/// # Errors
/// When it cannot be built, in words.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<bool, String> {
    let mut told = |line: &str| drop(writeln!(out, "{line}"));
    let module = built(&arguments.project, arguments.out.as_deref(), &mut told)?;
    let bytes = fs::metadata(&module).map_err(|why| format!("{}: {why}", module.display()))?.len();
    let size = grouped(bytes);
    writeln!(out, "{}: {size} bytes", module.display())
        .map_err(|why| format!("standard output: {why}"))?;
    Ok(true)
}

/// A module, and the project it comes from, if it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The folder of the project.
    pub folder: Option<PathBuf>,
    /// The module.
    pub module: PathBuf,
}

impl Project {
    /// The module of a file as it is, or of a project after it was built.
    ///
    /// # Errors
    /// When there is no such file or folder, or the project cannot be built; in words.
    pub fn of(place: &Path, told: &mut dyn FnMut(&str)) -> Result<Project, String> {
        if place.is_file() {
            return Ok(Project { folder: None, module: place.to_owned() });
        }
        let module = built(place, None, told)?;
        Ok(Project { folder: Some(place.to_owned()), module })
    }

    /// The project's own operations.toml, if there is one.
    pub fn operations(&self) -> Option<PathBuf> {
        let file = self.folder.as_deref()?.join(FILE);
        file.is_file().then_some(file)
    }

    /// The folder, if it has a native program of the machine.
    pub fn native(&self) -> Option<&Path> {
        let folder = self.folder.as_deref()?;
        folder.join("examples").join(format!("{EXAMPLE}.rs")).is_file().then_some(folder)
    }
}

/// Builds a project into the folder `target/machine` in its own, and copies the module to `out`, or
/// to `target/NAME.wasm`; where that is.
///
/// # Errors
/// When it cannot be built, in words.
pub fn built(
    folder: &Path,
    out: Option<&Path>,
    told: &mut dyn FnMut(&str),
) -> Result<PathBuf, String> {
    let shown = folder.display();
    if !folder.exists() {
        return Err(format!("{shown}: there is no such file or folder"));
    }
    if !folder.is_dir() {
        return Err(format!("{shown}: neither a file nor the folder of a project"));
    }
    told(&format!("building {shown}"));
    let target = folder.join("target");
    let built = pgraft_build::build(folder, &target.join("machine"));
    let built = built.map_err(|why| why.to_string())?;
    let named = || target.join(built.path.file_name().unwrap_or_default());
    let out = out.map_or_else(named, Path::to_owned);
    if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|why| format!("{}: {why}", parent.display()))?;
    }
    fs::write(&out, &built.component).map_err(|why| format!("{}: {why}", out.display()))?;
    Ok(out)
}
