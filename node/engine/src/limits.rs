//! What a module may be, so that compiling and instantiating it stays bounded. Every node of a
//! cluster must agree on these: a raise is safe once all nodes have it, lowering one is not.
#![cfg_attr(not(feature = "compiler"), expect(dead_code, reason = "only a compiler looks at them"))]

use crate::{CORE_INSTANCES_PER_COMPONENT, TABLES_PER_COMPONENT};

/// Bytes of a component.
pub const COMPONENT_BYTES_MAX: u64 = 16 << 20;
/// Core modules in a component: the guest, and what its toolchain puts between it and the host.
pub(crate) const CORE_MODULES_MAX: u64 = 16;
/// Core instances that one instance of the component is made of.
pub(crate) const CORE_INSTANCES_MAX: u64 = CORE_INSTANCES_PER_COMPONENT as u64;
/// Memories of all core instances: the slot of the pool.
pub(crate) const MEMORIES_MAX: u64 = 1;
/// Tables of all core instances; each gets one more from `depth.rs`.
pub(crate) const TABLES_MAX: u64 = (TABLES_PER_COMPONENT - CORE_INSTANCES_PER_COMPONENT) as u64;
/// Types, aliases, instances, canonical functions, imports and exports of the component.
pub(crate) const COMPONENT_ITEMS_MAX: u64 = 20_000;
/// Types of all core modules.
pub(crate) const TYPES_MAX: u64 = 20_000;
/// Functions of all core modules. QuickJS has 2 500, a Go program 10 000.
pub(crate) const FUNCTIONS_MAX: u64 = 50_000;
/// Bytes of one function's body: compiling is not linear in it.
pub(crate) const FUNCTION_BYTES_MAX: u64 = 512 << 10;
/// Parameters and locals of one function; 50 000 take five bytes.
pub(crate) const FUNCTION_LOCALS_MAX: u64 = 5_000;
/// Locals of all functions.
pub(crate) const LOCALS_MAX: u64 = 1_000_000;
/// Blocks within each other in one function: a switch of so many cases.
pub(crate) const FUNCTION_NESTING_MAX: u64 = 5_000;
/// Locals times loops of one function: the compiler asks at each loop which locals it carries. 36
/// KB
/// of code with 8 million took a minute.
pub(crate) const FUNCTION_CARRIED_MAX: u64 = 4_000_000;
/// Cost of one function's frame, as `depth.rs` counts it.
pub(crate) const FUNCTION_COST_MAX: u64 = 96 << 10;
/// Globals of one core module.
pub(crate) const GLOBALS_MAX: u64 = 10_000;
/// Exports of one core module, and imports.
pub(crate) const EXPORTS_MAX: u64 = 10_000;
/// Data and element segments of one core module.
pub(crate) const SEGMENTS_MAX: u64 = 20_000;
