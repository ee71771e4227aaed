//! What the bytes of the built-in modules must be, and must not hold.

use sha2::{Digest, Sha256};

#[test]
fn hashes_are_of_the_bytes() {
    for module in pgraft_bundle::modules() {
        assert_eq!(<[u8; 32]>::from(Sha256::digest(module.component)), module.sha256);
        assert_eq!(<[u8; 32]>::from(Sha256::digest(module.compiled)), module.compiled_sha256);
    }
}

#[test]
fn names_are_those_of_the_machines() {
    let names: Vec<&str> = pgraft_bundle::modules().iter().map(|module| module.name).collect();
    assert_eq!(names, ["kv", "membership"]);
}

/// A path in a panic message would make the module's hash, and so the cluster's genesis, depend
/// on where it was built.
#[test]
fn no_path_of_the_build_is_in_the_bytes() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().unwrap();
    let home = std::env::var("HOME").unwrap();
    let mut foreign = vec![root.to_str().unwrap().to_owned(), format!("{home}/.")];
    foreign.extend(std::env::var("CARGO_HOME").ok());
    foreign.extend([".rustup", ".cargo/registry", "target/guests"].map(str::to_owned));
    for module in pgraft_bundle::modules() {
        for path in &foreign {
            let found = module.component.windows(path.len()).any(|part| part == path.as_bytes());
            assert!(!found, "module {} holds {path}", module.name);
        }
        // The canary: remapped paths are there, so this test looks at the right bytes.
        let remapped = b"/rustc/";
        assert!(module.component.windows(remapped.len()).any(|part| part == remapped));
    }
}
