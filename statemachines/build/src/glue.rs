//! The C side of the interface, generated from its text: a header for machines, and the functions
//! between them and the component model. Zig links it as well.

use std::fs;
use std::path::Path;

use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

use crate::{Error, INTERFACE, make_folder, write};

/// The world that machines in C and Zig implement, whole: what they leave out has defaults.
pub(crate) const WORLD: &str = "verified-machine";

/// The interface's parts, so that functions are named `storage_get` and not after the package.
const INTERFACES: [&str; 7] =
    ["types", "storage", "events", "effects", "log", "guest", "verification"];

/// The generated code wants to see a description linked in; ours is put in afterwards.
const LINKED: &str = "\nvoid __component_type_object_force_link_machine(void) {}\n";

/// Writes `machine.h` and `machine.c` into `folder`.
pub(crate) fn generate(folder: &Path) -> Result<(), Error> {
    make_folder(folder)?;
    let mut resolve = Resolve::default();
    let made = resolve.push_str("machine.wit", INTERFACE).and_then(|package| {
        let world = resolve.select_world(&[package], Some(WORLD))?;
        let mut files = Files::default();
        options().build().generate(&mut resolve, world, &mut files)?;
        Ok(files)
    });
    let files = made.map_err(|why| Error::NoMachine { why: format!("{why:#}") })?;
    for (name, bytes) in files.iter() {
        let mut text = bytes.to_vec();
        if name.ends_with(".c") {
            text.extend_from_slice(LINKED.as_bytes());
        }
        update(&folder.join(name), &text)?;
    }
    Ok(())
}

fn options() -> wit_bindgen_c::Opts {
    let version = "0.1.0";
    let rename = |part: &str| (format!("pgraft:machine/{part}@{version}"), part.to_owned());
    wit_bindgen_c::Opts {
        rename: INTERFACES.iter().map(|part| rename(part)).collect(),
        rename_world: Some("machine".to_owned()),
        no_object_file: true,
        ..wit_bindgen_c::Opts::default()
    }
}

/// Writes a file unless it is there: compilers look at times.
pub(crate) fn update(path: &Path, text: &[u8]) -> Result<(), Error> {
    if fs::read(path).is_ok_and(|old| old == text) { Ok(()) } else { write(path, text) }
}
