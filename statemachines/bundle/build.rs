//! Builds the guests with a nested cargo, makes components of them, and compiles those for the
//! target of the outer build, so that plain `cargo build` carries the right bytes.
//!
//! The component is part of a cluster's identity (its hash stands in the genesis), so its bytes
//! must depend on nothing but the sources, `Cargo.lock` and the toolchain: paths are remapped,
//! flags and profile of the outer build do not reach the guests.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// A guest: the name of its module, its package and the features to build it with.
struct Guest {
    name: &'static str,
    package: &'static str,
    features: &'static str,
}

const MODULES: &[Guest] = &[
    Guest { name: "kv", package: "pgraft-kv", features: "" },
    Guest { name: "membership", package: "pgraft-membership", features: "" },
];

const TEST_MODULES: &[Guest] = &[
    Guest { name: "counter", package: "pgraft-test-counter", features: "" },
    Guest { name: "counter-v1", package: "pgraft-test-counter", features: "v1" },
    Guest { name: "kv-next", package: "pgraft-kv", features: "next" },
    Guest { name: "kv-torn", package: "pgraft-kv", features: "torn" },
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

const GUEST_TARGET: &str = "wasm32-unknown-unknown";

/// Stack of a guest inside its memory. The default of 1 MiB would have to be cleared for each
/// fresh instance (WASM.md 3: 9 against 10 to 43 us).
const STACK_BYTES: usize = 128 << 10;

/// The guests' profile, whatever the outer one is. Checked arithmetic: a machine that would wrap
/// must trap, equally everywhere.
const PROFILE: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "true"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "true"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true"),
];

/// Variables of the outer cargo that must not reach the inner one.
const FOREIGN_VARIABLES: &[&str] = &[
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_FEATURE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "CLIPPY_ARGS",
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
        let core = fs::read(build(guest, root, out)?)?;
        let component = pgraft_engine::component(&core).map_err(|why| format!("{why:#}"))?;
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

/// Runs cargo for one guest; the path of its core module.
fn build(guest: &Guest, root: &Path, out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target_dir = target_dir(out);
    let mut cargo = Command::new(env::var("CARGO")?);
    for (variable, _) in env::vars_os() {
        let name = variable.to_string_lossy();
        if FOREIGN_VARIABLES.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(&variable);
        }
    }
    cargo
        .current_dir(root)
        .args(["build", "--locked", "--release", "--lib", "--quiet"])
        .args(["--target", GUEST_TARGET, "--package", guest.package])
        .args(["--features", guest.features])
        .arg("--target-dir")
        .arg(&target_dir)
        .envs(PROFILE.iter().copied())
        .env("CARGO_ENCODED_RUSTFLAGS", flags(root)?.join("\x1f"));
    let output = cargo.output()?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!(
            "build guest {} for {GUEST_TARGET} (`rustup target add {GUEST_TARGET}` if it is \
             missing): {}\n{errors}",
            guest.package, output.status
        )
        .into());
    }
    let file = format!("{}.wasm", guest.package.replace('-', "_"));
    Ok(target_dir.join(GUEST_TARGET).join("release").join(file))
}

/// `target/guests`, shared by all profiles of the outer build, so that a change of the host's
/// code or of the profile does not build the guests anew.
fn target_dir(out: &Path) -> PathBuf {
    // OUT_DIR is <target>[/<triple>]/<profile>/build/<package>-<hash>/out.
    let shared = out.ancestors().find(|path| path.join("CACHEDIR.TAG").exists());
    shared.unwrap_or(out).join("guests")
}

/// Flags of the guests' compiler: a small stack, and no path of this machine in any message.
fn flags(root: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let rustc = env::var_os("RUSTC").ok_or("cargo sets RUSTC for build scripts")?;
    let print = |arguments: &[&str]| -> Result<String, Box<dyn Error>> {
        let output = Command::new(&rustc).args(arguments).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let sysroot = print(&["--print", "sysroot"])?;
    let version = print(&["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    let home = match env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => Path::new(&env::var_os("HOME").ok_or("HOME is not set")?).join(".cargo"),
    };
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok(vec![
        format!("-Clink-arg=-zstack-size={STACK_BYTES}"),
        remap(root, "/pgraft"),
        remap(&home, "/cargo"),
        remap(&home.canonicalize()?, "/cargo"),
        // With the component rust-src installed, std's paths would be local ones.
        remap(
            &Path::new(&sysroot).join("lib/rustlib/src/rust"),
            &format!("/rustc/{}", commit.unwrap_or("unknown")),
        ),
    ])
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
