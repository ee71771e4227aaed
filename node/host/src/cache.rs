//! Compiled code of modules that did not come with the program, kept beside the node's data.
//!
//! Whoever compiled a module (a helper process, never this one) stores it here, and the host finds
//! it after a restart. A file is believed only if its own hash, the component's and the engine's
//! name fit; anything else counts as absent, and is compiled again. No compiler is needed to use
//! the cache.
//!
//! A file: magic 8 bytes, SHA-256 of the component, of the engine's name and of the code, the code.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::machines::{Code, hex};

const MAGIC: &[u8; 8] = b"pgrcode1";
const HEADER_BYTES: usize = 8 + 3 * 32;
/// Largest file that is read: the compiled code of a large interpreter (WASM.md 6).
const FILE_BYTES_MAX: u64 = 256 << 20;

/// What went wrong with the cache's folder.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}", path.display())]
pub struct CacheError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A folder of compiled code.
#[derive(Clone, Debug)]
pub struct CodeCache {
    folder: PathBuf,
}

/// Compiled code that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedCode {
    compiled: Vec<u8>,
    compiled_sha256: [u8; 32],
}

impl CachedCode {
    /// What [`crate::Machines::load`] takes.
    pub fn code<'a>(&'a self, name: &'a str, component: &'a [u8]) -> Code<'a> {
        let CachedCode { compiled, compiled_sha256 } = self;
        Code { name, component, compiled, compiled_sha256: *compiled_sha256 }
    }
}

impl CodeCache {
    /// A cache in `folder`, which is created when needed.
    pub fn new(folder: &Path) -> CodeCache {
        CodeCache { folder: folder.to_owned() }
    }

    /// The code of a component for this program's engine, if there is any that is whole.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn find(&self, component_sha256: &[u8; 32]) -> Result<Option<CachedCode>, CacheError> {
        let path = self.path(component_sha256);
        let read = || -> io::Result<Option<Vec<u8>>> {
            match fs::metadata(&path) {
                Ok(metadata) if metadata.len() > FILE_BYTES_MAX => Ok(None),
                Ok(_) => fs::read(&path).map(Some),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let file = read().map_err(doing("read compiled code", &path))?;
        let code = file.and_then(|file| checked(file, component_sha256));
        if code.is_none() {
            tracing::debug!(path = %path.display(), "no usable compiled code");
        }
        Ok(code)
    }

    /// Keeps the code of a component, replacing what was there. When this returns, the file is
    /// whole and on disk.
    ///
    /// # Errors
    /// When the folder cannot be written; what was there before is unchanged.
    pub fn keep(&self, component_sha256: &[u8; 32], compiled: &[u8]) -> Result<(), CacheError> {
        let path = self.path(component_sha256);
        // One process works in a data directory, and one thread of it stores code.
        let unfinished = path.with_extension("unfinished");
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            let mut file = File::create(&unfinished)?;
            file.write_all(MAGIC)?;
            file.write_all(component_sha256)?;
            file.write_all(&engine_sha256())?;
            file.write_all(&Sha256::digest(compiled))?;
            file.write_all(compiled)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(doing("write compiled code", &path))
    }

    fn path(&self, component_sha256: &[u8; 32]) -> PathBuf {
        let engine = hex(&engine_sha256()[..4]);
        self.folder.join(format!("{}-{engine}.code", hex(component_sha256)))
    }
}

/// The engine's own check of compiled code is strict; this one keeps the file of another version
/// from being read at all.
fn engine_sha256() -> [u8; 32] {
    Sha256::digest(pgraft_engine::fingerprint()).into()
}

fn checked(mut file: Vec<u8>, component_sha256: &[u8; 32]) -> Option<CachedCode> {
    let header = file.get(..HEADER_BYTES)?;
    let (magic, header) = header.split_at(8);
    let (component, header) = header.split_at(32);
    let (engine, code) = header.split_at(32);
    let compiled_sha256: [u8; 32] = code.try_into().expect("the last 32 bytes of the header");
    let ours = magic == MAGIC && component == component_sha256 && engine == engine_sha256();
    let compiled = file.split_off(HEADER_BYTES);
    let whole = <[u8; 32]>::from(Sha256::digest(&compiled)) == compiled_sha256;
    (ours && whole).then_some(CachedCode { compiled, compiled_sha256 })
}

fn doing(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError { doing, path, source }
}
