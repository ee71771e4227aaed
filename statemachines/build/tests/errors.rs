//! What people are told when a machine cannot be built. No tool is needed here.

use std::fs;
use std::path::Path;

use pgraft_build::{Error, Language, Rust, build, component};

/// A project folder with these empty files.
fn project(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for file in files {
        fs::write(folder.path().join(file), "").expect("a file");
    }
    folder
}

fn refused(project: &Path) -> String {
    let out = tempfile::tempdir().expect("a folder");
    build(project, out.path()).expect_err("it is not to be built").to_string()
}

#[test]
fn the_language_is_known_by_its_file() {
    for (language, file) in Language::ALL {
        let folder = project(&[file, "README.md"]);
        assert_eq!(Language::of(folder.path()).unwrap(), language);
    }
    let said = refused(project(&["README.md"]).path());
    assert!(said.contains("neither Cargo.toml nor machine.c"), "{said}");
    let said = refused(project(&["machine.c", "machine.js"]).path());
    assert!(said.contains("it has machine.c and machine.js"), "{said}");
    let said = refused(Path::new("/nowhere/at/all"));
    assert!(said.contains("/nowhere/at/all"), "{said}");
}

#[test]
fn a_package_without_a_module_is_told_what_to_add() {
    let folder = project(&[]);
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/lib.rs"), "").unwrap();
    let manifest = "[package]\nname = \"m\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    let said = refused(folder.path());
    assert!(said.contains("add `crate-type = [\"cdylib\", \"rlib\"]`"), "{said}");
    fs::write(folder.path().join("Cargo.toml"), "nonsense").unwrap();
    let said = refused(folder.path());
    assert!(said.starts_with("cargo failed") && said.contains("Cargo.toml"), "{said}");
}

#[test]
fn the_native_program_is_known_by_its_file() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/counter");
    assert_eq!(Rust::new(&example).native().unwrap().as_deref(), Some("native-counter"));
    assert_eq!(Rust::new(Path::new(env!("CARGO_MANIFEST_DIR"))).native().unwrap(), None);
}

#[test]
fn what_is_no_machine_is_not_passed_off_as_one() {
    for bytes in [&b""[..], b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0", b"text"] {
        let error = component(bytes).expect_err("it is none");
        assert!(matches!(error, Error::NoMachine { .. }), "{error}");
    }
}
