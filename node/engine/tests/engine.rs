//! The promises of the configuration: other people's signal handlers stay, a small address space
//! is enough, and one compiled module serves every place.
#![cfg(feature = "compiler")]
#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::process::Command;

use pgraft_engine::{COSTS, Options, Place, config, engine, precompile, precompile_with};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, OperatorCost, Result, Store, Trap, VariableOperatorCost};

/// A component whose `run` stores, divides, traps or loops, as its argument says; in WebAssembly
/// text, so that this crate needs no guest toolchain.
const PROBE: &str = r#"(component
  (core module $probe
    (memory 2)
    (func $deep (param i32) (result i32) (call $deep (i32.add (local.get 0) (i32.const 1))))
    (func (export "run") (param i32) (result i32)
      (if (i32.eq (local.get 0) (i32.const 1)) (then unreachable))
      (if (i32.eq (local.get 0) (i32.const 2)) (then (loop $again (br $again))))
      (if (i32.eq (local.get 0) (i32.const 3)) (then (drop (i32.load (i32.const -8)))))
      (if (i32.eq (local.get 0) (i32.const 4)) (then (drop (call $deep (i32.const 0)))))
      (i32.store (i32.const 65536) (i32.const 41))
      (i32.add (i32.load (i32.const 65536)) (i32.div_u (i32.const 1) (local.get 0)))))
  (core instance $i (instantiate $probe))
  (func (export "run") (param "how" u32) (result u32)
    (canon lift (core func $i "run"))))"#;

fn compiled() -> Vec<u8> {
    let component = wat::parse_str(PROBE).expect("the text above is a component");
    precompile(&component).expect("it compiles")
}

#[expect(unsafe_code, reason = "the bytes were compiled by this process, from the text above")]
fn load(engine: &Engine, code: &[u8]) -> Result<Component> {
    // SAFETY: `code` comes from `precompile` in this process and was not touched.
    unsafe { Component::deserialize(engine, code) }
}

fn run(engine: &Engine, code: &[u8], how: u32) -> Result<u32> {
    let component = load(engine, code)?;
    let mut store = Store::new(engine, ());
    store.set_fuel(u64::MAX / 2)?;
    let instance = Linker::new(engine).instantiate(&mut store, &component)?;
    store.set_fuel(1_000_000)?;
    let run = instance.get_typed_func::<(u32,), (u32,)>(&mut store, "run")?;
    Ok(run.call(&mut store, (how,))?.0)
}

fn trap_of(result: Result<u32>) -> Trap {
    *result.expect_err("it traps").downcast_ref::<Trap>().expect("a trap, not a host error")
}

fn check_traps(engine: &Engine, code: &[u8]) {
    assert_eq!(run(engine, code, 7).unwrap(), 41);
    assert_eq!(trap_of(run(engine, code, 0)), Trap::IntegerDivisionByZero);
    assert_eq!(trap_of(run(engine, code, 1)), Trap::UnreachableCodeReached);
    assert_eq!(trap_of(run(engine, code, 2)), Trap::OutOfFuel);
    assert_eq!(trap_of(run(engine, code, 3)), Trap::MemoryOutOfBounds);
    // Its counter ends it; nobody limits the table that it then asks for.
    assert_eq!(trap_of(run(engine, code, 4)), Trap::UnreachableCodeReached);
}

/// Handler address and flags of the signals that wasmtime could take over.
fn dispositions() -> Vec<(libc::c_int, usize, libc::c_int)> {
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP]
        .into_iter()
        .map(|signal| {
            #[expect(unsafe_code, reason = "sigaction has no safe wrapper")]
            // SAFETY: a null `act` only reads; `old` is a valid sigaction to write to.
            let old = unsafe {
                let mut old: libc::sigaction = std::mem::zeroed();
                assert_eq!(libc::sigaction(signal, std::ptr::null(), &mut old), 0);
                old
            };
            (signal, old.sa_sigaction, old.sa_flags)
        })
        .collect()
}

#[test]
fn signal_handlers_stay_as_they_are() {
    let before = dispositions();
    let engine = engine(Place::PostgreSql).unwrap();
    check_traps(&engine, &compiled());
    assert_eq!(dispositions(), before, "an engine must not touch the process' handlers");
}

#[test]
fn compiled_code_loads_in_every_place() {
    let code = compiled();
    for place in [Place::Program, Place::PostgreSql, Place::Simulation] {
        for pooled in [true, false] {
            let options = Options { pooled, ..Options::default() };
            check_traps(&Engine::new(&config(place, options)).unwrap(), &code);
        }
    }
}

#[test]
fn options_do_not_change_what_happens() {
    let component = wat::parse_str(PROBE).unwrap();
    for copy_on_write in [true, false] {
        for optimised in [true, false] {
            let options = Options { pooled: true, copy_on_write, optimised };
            let code = precompile_with(&component, options).unwrap();
            check_traps(&Engine::new(&config(Place::Simulation, options)).unwrap(), &code);
        }
    }
}

#[test]
fn a_component_that_is_none_is_refused() {
    assert!(precompile(b"not wasm").is_err());
    assert!(precompile(b"\0asm\x01\0\0\0").is_err(), "a core module is not a component");
}

/// Under a limit that has no room for the pool, the same compiled code runs on demand.
#[test]
fn small_address_space_falls_back_to_memory_on_demand() {
    if std::env::var_os("PGRAFT_ENGINE_LIMITED").is_some() {
        assert!(
            Engine::new(&config(Place::Program, Options::default())).is_err(),
            "the limit must be too small for the pool, or this test shows nothing"
        );
        check_traps(&engine(Place::Program).unwrap(), &compiled());
        return;
    }
    let status = Command::new("sh")
        .arg("-c")
        // KiB: half of the pool of the program, 16 slots of 64 MiB.
        .arg("ulimit -v 524288 && exec \"$0\" --exact \"$1\" --test-threads 1")
        .arg(std::env::current_exe().unwrap())
        .arg("small_address_space_falls_back_to_memory_on_demand")
        .env("PGRAFT_ENGINE_LIMITED", "1")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

/// The table is wasmtime's default, but for the one line that says otherwise. When an update
/// changes the defaults this fails, and somebody decides what the new operators cost.
#[test]
fn costs_differ_from_the_defaults_only_where_they_say_so() {
    let mut defaults = OperatorCost::new();
    defaults.variable = VariableOperatorCost { memory_grow_per_page: 255, ..defaults.variable };
    assert_eq!(COSTS, defaults);
}

#[test]
fn the_fingerprint_names_the_pinned_version() {
    let manifest = include_str!("../../../Cargo.toml");
    let pinned = format!("wasmtime = {{ version = \"={}\"", pgraft_engine::WASMTIME_VERSION);
    assert!(manifest.contains(&pinned), "the manifest pins another version");
}
