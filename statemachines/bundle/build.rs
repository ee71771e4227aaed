//! Builds the guests and compiles them for the target of the outer build, so that plain
//! `cargo build` carries the right bytes.
//!
//! The component is part of a cluster's identity (its hash stands in the genesis), so its bytes
//! must depend on nothing but the sources, `Cargo.lock` and the toolchain; pgraft-build sees to it.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use pgraft_build::Rust;
use sha2::{Digest, Sha256};

/// A guest: the name of its module, its folder and the features to build it with.
struct Guest {
    name: &'static str,
    folder: &'static str,
    features: &'static [&'static str],
}

const MODULES: &[Guest] = &[
    Guest { name: "kv", folder: "kv", features: &[] },
    Guest { name: "membership", folder: "membership", features: &[] },
];

const TEST_MODULES: &[Guest] = &[
    Guest { name: "counter", folder: "bundle/counter", features: &[] },
    Guest { name: "counter-v1", folder: "bundle/counter", features: &["v1"] },
    Guest { name: "kv-next", folder: "kv", features: &["next"] },
    Guest { name: "kv-torn", folder: "kv", features: &["torn"] },
];

/// What decides a guest's bytes, relative to the root of the workspace.
const SOURCES: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "statemachines/wit",
    "statemachines/sdk/src",
    "statemachines/sdk/Cargo.toml",
    "statemachines/kv/src",
    "statemachines/kv/Cargo.toml",
    "statemachines/membership/src",
    "statemachines/membership/Cargo.toml",
    "statemachines/bundle/counter/src",
    "statemachines/bundle/counter/Cargo.toml",
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    for source in SOURCES {
        println!("cargo:rerun-if-changed={}", root.join(source).display());
    }
    println!("cargo:rerun-if-changed=build.rs");
    let mut generated = String::new();
    list(&mut generated, "MODULES", MODULES, &root, &out)?;
    if env::var_os("CARGO_FEATURE_TEST_GUESTS").is_some() {
        list(&mut generated, "TEST_MODULES", TEST_MODULES, &root, &out)?;
    }
    fs::write(out.join("modules.rs"), generated)?;
    Ok(())
}

/// Builds `guests` and writes the static list of them.
fn list(
    generated: &mut String,
    name: &str,
    guests: &[Guest],
    root: &Path,
    out: &Path,
) -> Result<(), Box<dyn Error>> {
    writeln!(generated, "static {name}: [Module; {}] = [", guests.len())?;
    for guest in guests {
        let mut project = Rust::new(&root.join("statemachines").join(guest.folder)).locked();
        for feature in guest.features {
            project = project.feature(feature);
        }
        let (_, component) =
            project.build(&target_dir(out)).map_err(|why| format!("{}: {why}", guest.name))?;
        let compiled = pgraft_engine::precompile_for(&component, &env::var("TARGET")?)
            .map_err(|error| format!("compile module {}: {error:?}", guest.name))?;
        fs::write(out.join(format!("{}.wasm", guest.name)), &component)?;
        fs::write(out.join(format!("{}.cwasm", guest.name)), &compiled)?;
        writeln!(
            generated,
            "    Module {{ name: {name:?}, component: include_bytes!(\"{name}.wasm\"), \
             sha256: {:?}, compiled: include_bytes!(\"{name}.cwasm\"), compiled_sha256: {:?} }},",
            sha256(&component),
            sha256(&compiled),
            name = guest.name,
        )?;
    }
    writeln!(generated, "];")?;
    Ok(())
}

/// `target/guests`, shared by all profiles of the outer build, so that a change of the host's
/// code or of the profile does not build the guests anew.
fn target_dir(out: &Path) -> PathBuf {
    // OUT_DIR is <target>[/<triple>]/<profile>/build/<package>-<hash>/out.
    let shared = out.ancestors().find(|path| path.join("CACHEDIR.TAG").exists());
    shared.unwrap_or(out).join("guests")
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
