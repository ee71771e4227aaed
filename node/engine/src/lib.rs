//! The one place that configures wasmtime: for the program, PostgreSQL, and simulations alike.
//!
//! Determinism hangs on this configuration (WASM.md 4.1): fuel by a written-out table, canonical
//! NaNs, no threads, no relaxed SIMD, no signals. Compiled code of one place loads in all others,
//! because only run-time settings (the allocator and the size of its pool) differ.
//!
//! Absent on purpose: modules, host functions, limits of a call (pgraft-host), and, without the
//! feature `compiler`, any compiler.
#![warn(missing_docs)]

mod costs;
mod interface;

#[cfg(feature = "compiler")]
mod compile;
#[cfg(feature = "compiler")]
mod depth;
#[cfg(feature = "compiler")]
mod frames;
pub mod helper;
#[cfg(feature = "compiler")]
mod inspect;
pub mod limits;
#[cfg(feature = "compiler")]
mod survey;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result,
};

#[cfg(feature = "compiler")]
pub use compile::{component, imports, precompile, precompile_for, precompile_with};
pub use costs::{COSTS, COSTS_VERSION};
#[cfg(feature = "compiler")]
pub use inspect::{Facts, inspect};
pub use interface::{PACKAGE, VERSION, bare, spoken};

/// Largest linear memory of a guest, in bytes: what compiled code may assume to be reserved.
pub const MEMORY_BYTES_MAX: usize = 64 << 20;
/// Largest table of a guest, in elements.
pub const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Native stack a guest may use, in bytes; threads that call guests have at least twice it. It has
/// room for all that [`DEPTH_COST_MAX`] allows, so that running out of it is never seen.
pub const STACK_BYTES_MAX: usize = 4 << 20;
/// Stack that the functions of a guest may take together, as `depth.rs` counts it: at least 64 for
/// each, and 8 for each value in it.
pub const DEPTH_COST_MAX: u32 = 7 << 18;
/// What a table says when a guest asks to let it grow because it recursed too deep: it was made to
/// hold no more elements than these, so no guest asks that for another reason.
pub const TOO_DEEP_TABLE_MAX: usize = 0;
/// Version of the counting of the stack: what changes it, changes when calls end.
pub const DEPTH_VERSION: u32 = 1;
/// Bytes of a memory slot that are cleared by hand instead of being given back to the kernel.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 2 << 20;
/// The same for a table slot.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;
/// Core instances per component instance: the guest, and the small ones that `wit-component` adds
/// for indirect calls and for adapters of other interfaces.
const CORE_INSTANCES_PER_COMPONENT: u32 = 8;
/// Tables per component instance.
const TABLES_PER_COMPONENT: u32 = 16;

/// The version of wasmtime that the manifest pins; a test compares them.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// Where the engine runs; decides how many guests may be alive at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The program `pgraft`: one applying thread and its readers.
    Program,
    /// A background worker of PostgreSQL, which shares its address space with a server.
    PostgreSql,
    /// Many nodes in one process.
    Simulation,
}

impl Place {
    /// Guests that can be alive at the same time before instantiation fails.
    pub const fn instances_max(self) -> u32 {
        match self {
            Place::Program => 16,
            Place::PostgreSql => 8,
            Place::Simulation => 16,
        }
    }
}

/// What may differ between two engines without any difference in what guests compute. The tests
/// of pgraft-host prove that by running all of them against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Memories come from slots mapped in advance; otherwise each is mapped when needed.
    pub pooled: bool,
    /// Memories start as copy-on-write images. Compiled code remembers this one.
    pub copy_on_write: bool,
    /// The compiler optimises. Without the feature `compiler` it means nothing.
    pub optimised: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { pooled: true, copy_on_write: true, optimised: true }
    }
}

/// The configuration of every engine (WASM.md 4.1 gives the reason for each line).
pub fn config(place: Place, options: Options) -> Config {
    let mut config = Config::new();
    // Interruption must fall on the same operator everywhere: fuel, never epochs.
    config.consume_fuel(true).operator_cost(COSTS).epoch_interruption(false);
    config
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_tail_call(false)
        .wasm_wide_arithmetic(false)
        // `false` makes wasmtime 48 panic on a component of several modules.
        .wasm_multi_memory(true)
        .concurrency_support(false);
    // PostgreSQL owns SIGFPE, Rust owns SIGSEGV: this process' handlers stay as they are.
    config.signals_based_traps(false).macos_use_mach_ports(false);
    // No 4 GiB reservations, so that the engine starts under `ulimit -v`; a memory that cannot
    // move makes growth fail at the same size everywhere.
    config
        .memory_reservation(MEMORY_BYTES_MAX as u64)
        .memory_may_move(false)
        .memory_reservation_for_growth(0)
        .memory_guard_size(0)
        .guard_before_linear_memory(false)
        .memory_init_cow(options.copy_on_write)
        .max_wasm_stack(STACK_BYTES_MAX)
        // No such stack is made; the engine only wants it to be no smaller than the other.
        .async_stack_size(STACK_BYTES_MAX);
    config.native_unwind_info(false).generate_address_map(true);
    #[cfg(feature = "compiler")]
    compile::configure(&mut config, options);
    if options.pooled {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(place)));
    } else {
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    }
    config
}

/// Slots for as many guests as [`Place::instances_max`] says.
fn pool(place: Place) -> PoolingAllocationConfig {
    let instances = place.instances_max();
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * CORE_INSTANCES_PER_COMPONENT)
        .total_memories(instances)
        .total_tables(instances * TABLES_PER_COMPONENT)
        .max_tables_per_module(TABLES_PER_COMPONENT)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memories_per_component(1)
        .max_memory_size(MEMORY_BYTES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// An engine for `place`. Where the address space is too small for the pool (`ulimit -v`), guests
/// get their memory on demand: some 40 us more per instance, the same compiled code.
///
/// Costs well under a millisecond, and address space: [`MEMORY_BYTES_MAX`] per slot.
///
/// # Errors
/// When even the engine without a pool cannot be made.
pub fn engine(place: Place) -> Result<Engine> {
    let options = Options::default();
    match Engine::new(&config(place, options)) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            tracing::warn!(%error, "no address space for the pool of guest memories; on demand");
            Engine::new(&config(place, Options { pooled: false, ..options }))
        }
    }
}

/// An engine with other [`Options`] than a node's: for programs that compare engines.
///
/// # Errors
/// When the engine cannot be made.
pub fn engine_with(place: Place, options: Options) -> Result<Engine> {
    Engine::new(&config(place, options))
}

/// Names everything that decides what compiled code looks like and what it computes: code made
/// under one name runs under no other.
pub fn fingerprint() -> String {
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    format!("wasmtime {WASMTIME_VERSION} costs {COSTS_VERSION} depth {DEPTH_VERSION} {arch} {os}")
}
