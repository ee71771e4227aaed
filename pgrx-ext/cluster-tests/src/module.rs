//! Modules of state machines for tests: built from their projects, as literals of SQL.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use crate::tree::root;

/// The bytes of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module(Vec<u8>);

impl Module {
    /// Builds the project in a folder below statemachines/, with these features.
    ///
    /// # Panics
    /// When it does not build.
    pub fn build(project: &str, features: &[&str]) -> Module {
        let mut rust =
            pgraft_build::Rust::new(&root().join("statemachines").join(project)).locked();
        for feature in features {
            rust = rust.feature(feature);
        }
        let built = rust.build(&root().join("target/guests"));
        Module(built.unwrap_or_else(|e| panic!("{project}: {e}")).1)
    }

    /// Builds the project that `pgraft machine new NAME` makes.
    ///
    /// # Panics
    /// When that program is not built, or the project does not build.
    pub fn of_new_project(name: &str) -> Module {
        let check = root().join("target/debug/pgraft-check");
        assert!(check.exists(), "build it: cargo build");
        let within = root().join("target/cluster-tests-projects");
        if within.exists() {
            fs::remove_dir_all(&within).expect("the projects of an earlier run go");
        }
        fs::create_dir_all(&within).expect("a folder for the project");
        let status = Command::new(check).args(["new", name, "--within"]).arg(&within).status();
        assert!(status.expect("pgraft-check starts").success(), "pgraft-check new {name}");
        let built =
            pgraft_build::Rust::new(&within.join(name)).build(&root().join("target/guests"));
        Module(built.unwrap_or_else(|e| panic!("{name}: {e}")).1)
    }

    /// Any bytes.
    pub fn of(bytes: &[u8]) -> Module {
        Module(bytes.to_vec())
    }

    /// The same machine as another module: with one more custom section, which nobody reads.
    #[must_use]
    pub fn resealed(&self, seal: &str) -> Module {
        let length = |bytes: usize| u8::try_from(bytes).ok().filter(|size| *size < 128);
        let name = length(seal.len()).expect("a short name");
        let section = length(seal.len() + 1).expect("a short name");
        let mut bytes = self.0.clone();
        bytes.extend([0, section, name]);
        bytes.extend(seal.as_bytes());
        Module(bytes)
    }

    /// As SQL writes it.
    pub fn literal(&self) -> String {
        bytea(&self.0)
    }
}

/// Bytes as a literal of SQL.
pub fn bytea(bytes: &[u8]) -> String {
    let mut text = String::from("'\\x");
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text + "'::bytea"
}
