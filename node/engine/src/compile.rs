//! Making components of guests, and compiling them ahead of time. Only programs with the feature
//! `compiler` have this.
//!
//! Never on the applying thread and never inside PostgreSQL: compiling takes tens of milliseconds
//! for a small guest, a minute for a large one, and wasmtime does not promise that hostile input
//! compiles in bounded time or without a panic (WASM.md 1).

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::{Config, Engine, Error, OptLevel, Result, format_err};

use crate::depth::limited;
use crate::frames::in_proportion;
use crate::survey::survey;
use crate::{Options, Place, config};

/// The settings that exist only in a compiler.
pub(crate) fn configure(config: &mut Config, options: Options) {
    config.cranelift_nan_canonicalization(true);
    config.cranelift_opt_level(if options.optimised { OptLevel::Speed } else { OptLevel::None });
}

/// Offset of the version in the head of a WASM file: 1 for a core module, more for a component.
const VERSION_AT: usize = 4;

/// The component of a guest: of a core module, as compilers leave it, with the description of its
/// interface inside; a component stays what it is.
///
/// # Errors
/// When `guest` is neither, or a core module without such a description.
pub fn component(guest: &[u8]) -> Result<Vec<u8>> {
    match guest {
        [0, b'a', b's', b'm', ..] if guest[VERSION_AT..].starts_with(&[1, 0, 0, 0]) => {
            let mut encoder = wit_component::ComponentEncoder::default();
            let with_guest = encoder.validate(true).module(guest);
            let encoded = with_guest.and_then(|encoder| encoder.encode());
            encoded.map_err(|why| format_err!("not a guest with an interface: {why:#}"))
        }
        [0, b'a', b's', b'm', ..] => Ok(guest.to_vec()),
        _ => {
            Err(format_err!("not WASM: the file begins with {:02x?}", &guest[..guest.len().min(4)]))
        }
    }
}

/// What a component asks of whoever runs it: the full names of its imports, in order.
///
/// # Errors
/// When `component` is none, or says of itself what no tool can read.
pub fn imports(component: &[u8]) -> Result<Vec<String>> {
    let decoded = wit_component::decode(component)
        .map_err(|why| format_err!("not a component that can be read: {why:#}"))?;
    let wit_component::DecodedWasm::Component(resolve, world) = decoded else {
        return Err(format_err!("a description of an interface, and no component"));
    };
    let names = resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key));
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

/// Compiles `component` for the machine this program was built for.
///
/// The code uses the baseline of the architecture, not what this CPU happens to have, so that a
/// package built here runs on every CPU of its kind. Costs 60 to 190 ms for a guest of 37 KB.
///
/// # Errors
/// When `component` is not a valid component for this engine.
pub fn precompile(component: &[u8]) -> Result<Vec<u8>> {
    compile(component, &target(), Options::default(), false)
}

/// [`precompile`] of a module that comes with the program, for another machine, named as cargo
/// names it (`aarch64-unknown-linux-gnu`).
///
/// # Errors
/// When the target is unknown to the linked compiler, or as [`precompile`].
pub fn precompile_for(component: &[u8], target: &str) -> Result<Vec<u8>> {
    compile(component, target, Options::default(), true)
}

/// [`precompile`] with other [`Options`]: for tests that compare engines.
///
/// # Errors
/// As [`precompile`].
pub fn precompile_with(component: &[u8], options: Options) -> Result<Vec<u8>> {
    compile(component, &target(), options, false)
}

fn compile(component: &[u8], target: &str, options: Options, ours: bool) -> Result<Vec<u8>> {
    let surveyed = survey(component).map_err(Error::msg)?;
    let limited = limited(component, &surveyed).map_err(Error::msg)?;
    let fit = |code: &[u8]| in_proportion(code, &surveyed).map_err(Error::msg);
    if options.optimised {
        let code = translate(&limited, target, options)?;
        // What comes with the program was not written to trick it.
        if fit(&code)?.unwrap_or(ours) {
            return Ok(code);
        }
    }
    let code = translate(&limited, target, Options { optimised: false, ..options })?;
    match fit(&code)? {
        Some(true) | None => Ok(code),
        Some(false) => Err(format_err!("a function of it takes more stack than its values need")),
    }
}

fn translate(component: &[u8], target: &str, options: Options) -> Result<Vec<u8>> {
    // The allocator is a run-time matter: no address space for a compiler.
    let mut config = config(Place::Program, Options { pooled: false, ..options });
    // Naming the target switches the detection of this CPU's extensions off.
    config.target(target)?;
    let engine = Engine::new(&config)?;
    // Odd input has made wasmtime's translator panic (WASM.md 1); that is a refusal as well.
    catch_unwind(AssertUnwindSafe(|| engine.precompile_component(component)))
        .unwrap_or_else(|_| Err(format_err!("the compiler panicked on this component")))
}

/// The machine this program runs on, as a target with nothing but the baseline.
fn target() -> String {
    let (system, environment) = match std::env::consts::OS {
        "macos" => ("apple", "darwin"),
        "linux" => ("unknown", "linux-gnu"),
        other => ("unknown", other),
    };
    format!("{}-{system}-{environment}", std::env::consts::ARCH)
}
