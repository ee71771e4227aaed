//! From a core module, as compilers leave it, to a component that a host takes.
//!
//! Not here: what hosts check besides (limits, features, that it can describe itself).

use wit_component::{ComponentEncoder, DecodedWasm, decode};
use wit_parser::{Resolve, WorldItem, WorldKey};

use crate::Error;

/// Namespace and name of the package that a machine may import from.
const PACKAGE: &str = "pgraft:machine/";
/// What a machine must export.
const GUEST: &str = "pgraft:machine/guest@";

/// Makes a component of a core module that has the description of its interface inside, as
/// compilers of Rust leave it.
///
/// # Errors
/// [`Error::NoMachine`].
pub fn component(core: &[u8]) -> Result<Vec<u8>, Error> {
    let mut encoder = ComponentEncoder::default();
    let with_module = encoder.validate(true).module(core);
    let encoded = with_module.and_then(|encoder| encoder.encode());
    let component = encoded.map_err(|why| no_machine(explain(&format!("{why:#}"))))?;
    check(&component)?;
    Ok(component)
}

/// As [`component`], of a core module without the description: that of `world` is put in.
#[cfg(feature = "languages")]
pub(crate) fn described(mut core: Vec<u8>, world: &str) -> Result<Vec<u8>, Error> {
    let mut resolve = Resolve::default();
    let package = resolve
        .push_str("machine.wit", crate::INTERFACE)
        .expect("the interface is tested to be read by everything that reads it");
    let world = resolve.select_world(&[package], Some(world)).expect("the interface has the world");
    wit_component::embed_component_metadata(
        &mut core,
        &resolve,
        world,
        wit_component::StringEncoding::UTF8,
    )
    .map_err(|why| no_machine(format!("{why:#}")))?;
    component(&core)
}

/// A component that imports nothing but the interface, and exports it.
pub(crate) fn check(component: &[u8]) -> Result<(), Error> {
    let decoded = decode(component).map_err(|why| no_machine(format!("{why:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(no_machine("it is a package of interfaces".to_owned()));
    };
    let world = &resolve.worlds[world];
    let names = |items: &mut dyn Iterator<Item = (&WorldKey, &WorldItem)>| -> Vec<String> {
        items.map(|(key, _)| name(&resolve, key)).collect()
    };
    let imports = names(&mut world.imports.iter());
    if let Some(foreign) = imports.iter().find(|name| !name.starts_with(PACKAGE)) {
        return Err(no_machine(format!("it imports {foreign}; only {PACKAGE}* is there")));
    }
    let exports = names(&mut world.exports.iter());
    if !exports.iter().any(|name| name.starts_with(GUEST)) {
        return Err(no_machine(format!("it does not export {GUEST}*, but {exports:?}")));
    }
    Ok(())
}

fn name(resolve: &Resolve, key: &WorldKey) -> String {
    resolve.name_world_key(key)
}

/// What people can do about an import that nothing provides.
fn explain(why: &str) -> String {
    let hint = if why.contains("wasi_snapshot_preview1") {
        "\nsome code opens files, reads a clock, prints or ends the process; a machine cannot"
    } else if why.contains("__wbindgen") {
        "\nsome crate expects a browser: getrandom, chrono or uuid with their default features?"
    } else {
        ""
    };
    format!("{why}{hint}")
}

fn no_machine(why: String) -> Error {
    Error::NoMachine { why }
}
