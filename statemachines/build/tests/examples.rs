//! The examples build, in every language, and to the same bytes wherever they lie.
//!
//! Needs what `scripts/setup-tools` installs. Prints sizes and seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use pgraft_build::{Built, Language, build};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

/// Builds an example where it lies, and a copy of it in another place.
fn twice(name: &str, language: Language) -> Built {
    let out = tempfile::tempdir().expect("a folder");
    let begun = Instant::now();
    let built = build(&example(name), out.path()).unwrap_or_else(|why| panic!("{name}: {why}"));
    println!("{name}: {} bytes, {:.1} s", built.component.len(), begun.elapsed().as_secs_f64());
    assert_eq!(built.language, language);
    assert_eq!(fs::read(&built.path).expect("it was written"), built.component);

    let elsewhere = tempfile::tempdir().expect("a folder");
    let copy = elsewhere.path().join("copy");
    fs::create_dir(&copy).expect("a folder");
    for entry in example(name).read_dir().expect("the example is there") {
        let path = entry.expect("the example is there").path();
        if path.is_file() {
            fs::copy(&path, copy.join(path.file_name().expect("it is a file"))).expect("a copy");
        }
    }
    let again = build(&copy, &elsewhere.path().join("out")).expect("it was built before");
    assert!(again.component == built.component, "{name} is not the same in another place");
    built
}

#[test]
fn c() {
    assert!(twice("counter-c", Language::C).component.len() < 20_000);
}

#[test]
fn zig() {
    assert!(twice("counter-zig", Language::Zig).component.len() < 100_000);
}

#[test]
fn javascript() {
    assert!(twice("counter-js", Language::JavaScript).component.len() < 2_000_000);
}

#[test]
fn mistakes_are_told_in_the_tools_words() {
    for (file, text, says) in [
        ("machine.c", "#include \"pgraft.h\"\nint x = y;", "undeclared identifier 'y'"),
        ("machine.c", "#include \"pgraft.h\"", "machine_apply"),
        (
            "machine.c",
            "#include <stdio.h>\n#include \"pgraft.h\"\n\
             bool machine_apply(const types_context_t *c, const types_command_t *m,\n\
             machine_list_u8_t *r, types_error_t *e) { puts(\"hello\"); return true; }\n\
             void exports_guest_describe(exports_guest_manifest_t *m) {}\n\
             bool exports_guest_query(exports_guest_context_t *c, machine_list_u8_t *q,\n\
             machine_list_u8_t *r, types_error_t *e) { return true; }",
            "a machine cannot",
        ),
        ("machine.zig", "pub const name = 5 5;", "machine.zig"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(file), text).expect("a file");
        let error = build(folder.path(), &folder.path().join("out")).expect_err("a mistake");
        assert!(error.to_string().contains(says), "{file}: {error}");
    }
}
