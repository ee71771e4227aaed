//! What a command is pointed at: a project's folder, which is built first, or a module. Not here:
//! how a project is built (pgraft-build).

use std::path::{Path, PathBuf};

use crate::native::EXAMPLE;

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

    /// The folder, if it has a native program of the machine.
    pub fn native(&self) -> Option<&Path> {
        let folder = self.folder.as_deref()?;
        folder.join("examples").join(format!("{EXAMPLE}.rs")).is_file().then_some(folder)
    }
}

/// Builds a project into `out`, or into `NAME.wasm` in its folder `target`; where the module is.
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
        return Err(format!("{shown}: not the folder of a project"));
    }
    let whole = folder.canonicalize().map_err(|why| format!("{shown}: {why}"))?;
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| format!("{shown}: a project's folder has a name"))?;
    let usual = || folder.join("target").join(format!("{name}.wasm"));
    let out = out.map_or_else(usual, Path::to_owned);
    if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|why| format!("{}: {why}", parent.display()))?;
    }
    told(&format!("building {shown}"));
    stand_in(folder, &out)?;
    Ok(out)
}
fn stand_in(folder: &Path, out: &Path) -> Result<(), String> {
    let _ = (folder, out);
    Err("no".into())
}
