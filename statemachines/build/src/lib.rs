//! Makes a component of a machine's project folder, whatever language it is written in.
//!
//! | the folder has | language | needs |
//! |---|---|---|
//! | `Cargo.toml` | Rust | cargo with the target `wasm32-unknown-unknown` |
//! | `machine.c` (and other `.c`) | C | zig, which brings clang and a C library |
//! | `machine.zig` | Zig | zig |
//! | `machine.js` (and other `.js`) | JavaScript on QuickJS | zig, and the source of QuickJS |
//!
//! The bytes depend on the sources and the tools alone, not on where or when they are built. Not
//! here: compiling the component for a processor (pgraft-engine), and running it (pgraft-host).
#![warn(missing_docs)]

mod component;
mod error;
#[cfg(feature = "languages")]
mod glue;
#[cfg(feature = "languages")]
mod javascript;
mod rust;
#[cfg(feature = "languages")]
mod tools;
#[cfg(feature = "languages")]
mod zig;

use std::fs;
use std::path::{Path, PathBuf};

pub use component::component;
pub use error::Error;
pub use rust::Rust;
#[cfg(feature = "languages")]
pub use tools::{QUICKJS_VERSION, TOOLS_VARIABLE, ZIG_VERSION, tools_folder};

/// Stack of a machine inside its memory, in bytes. The default of 1 MiB would have to be cleared
/// for each fresh instance (WASM.md 3: 9 against 10 to 43 us).
pub const STACK_BYTES: usize = 128 << 10;

/// The interface that machines are built for: `statemachines/wit/v0.1/machine.wit`.
pub const INTERFACE: &str = include_str!("../../wit/v0.1/machine.wit");

/// What a machine is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// With the SDK of statemachines/sdk.
    Rust,
    /// With `pgraft.h`.
    C,
    /// With `pgraft.zig`.
    Zig,
    /// On QuickJS.
    JavaScript,
}

impl Language {
    /// All of them, with the file by which each is known.
    pub const ALL: [(Language, &str); 4] = [
        (Language::Rust, "Cargo.toml"),
        (Language::C, "machine.c"),
        (Language::Zig, "machine.zig"),
        (Language::JavaScript, "machine.js"),
    ];

    /// The language of a project folder.
    ///
    /// # Errors
    /// When it has none of the files, or several of them.
    pub fn of(project: &Path) -> Result<Language, Error> {
        let found: Vec<_> =
            Language::ALL.iter().filter(|(_, file)| project.join(file).is_file()).collect();
        match found[..] {
            [(language, _)] => Ok(*language),
            [] => Err(Error::NoProject { folder: project.to_owned() }),
            [(_, first), (_, second), ..] => {
                Err(Error::TwoProjects { folder: project.to_owned(), first, second })
            }
        }
    }
}

/// A machine, built.
#[derive(Clone, Debug)]
pub struct Built {
    /// What it was written in.
    pub language: Language,
    /// The component, in WebAssembly.
    pub component: Vec<u8>,
    /// The file it was written to.
    pub path: PathBuf,
}

/// Builds the machine in the folder `project`. The component is written to `out`, under the name
/// of the package or else of the folder, beside what tools leave there.
///
/// # Errors
/// When a tool is missing (the error says how to get it) or says no (what it said), or when what
/// it made is no machine.
pub fn build(project: &Path, out: &Path) -> Result<Built, Error> {
    let project = project
        .canonicalize()
        .map_err(|source| Error::File { path: project.to_owned(), source })?;
    make_folder(out)?;
    let out = out.canonicalize().map_err(|source| Error::File { path: out.to_owned(), source })?;
    let language = Language::of(&project)?;
    let (name, component) = match language {
        Language::Rust => Rust::new(&project).build(&out.join("cargo"))?,
        #[cfg(feature = "languages")]
        Language::C => (folder_name(&project), zig::build_c(&project, &out)?),
        #[cfg(feature = "languages")]
        Language::Zig => (folder_name(&project), zig::build_zig(&project, &out)?),
        #[cfg(feature = "languages")]
        Language::JavaScript => (folder_name(&project), javascript::build(&project, &out)?),
        #[cfg(not(feature = "languages"))]
        _ => return Err(Error::NotBuiltIn { language }),
    };
    let path = out.join(format!("{name}.wasm"));
    write(&path, &component)?;
    Ok(Built { language, component, path })
}

#[cfg(feature = "languages")]
fn folder_name(project: &Path) -> String {
    project.file_name().map_or("machine".into(), |name| name.to_string_lossy()).into_owned()
}

fn make_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|source| Error::File { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}
