//! What stands in a component, read without compiling it: names, counts and sizes, held to limits
//! that protect the compiler and the pool of instances; and what a call of each function costs of
//! the stack, as `depth.rs` counts it.
//!
//! The limits are part of what a cluster agrees on: a component is taken or refused alike on every
//! node. Not here: which imports and exports a module may have (`inspect.rs`).

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, Encoding, FuncToValidate,
    FuncValidatorAllocations, FunctionBody, Instance, Operator, Parser, Payload, TypeRef, ValType,
    ValidPayload, Validator, ValidatorResources, WasmFeatures, WasmModuleResources,
};

use crate::limits::{
    COMPONENT_BYTES_MAX, COMPONENT_ITEMS_MAX, CORE_INSTANCES_MAX, CORE_MODULES_MAX, EXPORTS_MAX,
    FUNCTION_BYTES_MAX, FUNCTION_CARRIED_MAX, FUNCTION_COST_MAX, FUNCTION_LOCALS_MAX,
    FUNCTION_NESTING_MAX, FUNCTIONS_MAX, GLOBALS_MAX, LOCALS_MAX, MEMORIES_MAX, SEGMENTS_MAX,
    TABLES_MAX, TYPES_MAX,
};
use crate::{MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX};

/// What the engine's configuration allows, for a validator that runs before it.
const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Bytes of a linear memory's page.
const PAGE_BYTES: u64 = 1 << 16;
/// Cost of a frame besides its values: return address, saved registers, what the engine keeps.
const FRAME_COST: u64 = 64;
/// Cost of a value in a frame, and of one when the function has to do with vectors.
const VALUE_COST: u64 = 8;
const VECTOR_COST: u64 = 16;

/// A component, read.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    pub(crate) modules: Vec<CoreModule>,
    /// Which module each core instance is made of.
    pub(crate) instances: Vec<u32>,
    types: u64,
    items: u64,
    locals: u64,
    bodies: u64,
}

/// A core module in it.
#[derive(Debug, Default)]
pub(crate) struct CoreModule {
    pub(crate) types: u32,
    pub(crate) imported_functions: u32,
    pub(crate) imported_tables: u32,
    pub(crate) imported_globals: u32,
    pub(crate) tables: u32,
    pub(crate) globals: u32,
    pub(crate) memories: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) exports: u64,
    pub(crate) segments: u64,
    /// Those with a body, in order.
    pub(crate) functions: Vec<Function>,
}

/// A function with a body.
#[derive(Debug)]
pub(crate) struct Function {
    /// What a call of it costs of the stack, at most: a slot for each value it may hold at once,
    /// and for those that it passes to another and gets back.
    pub(crate) cost: u32,
    /// Whether it can call another, and so be in the middle of a recursion.
    pub(crate) calls: bool,
    pub(crate) results: Vec<ValType>,
}

/// Where in the nesting the walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Component,
    Nested,
    Module,
}

/// Reads `component`.
///
/// # Errors
/// In words, when it is not a valid component or exceeds a limit.
pub(crate) fn survey(component: &[u8]) -> Result<Survey, String> {
    at_most("bytes", component.len() as u64, COMPONENT_BYTES_MAX)?;
    if !component.starts_with(b"\0asm") {
        let head = &component[..component.len().min(4)];
        return Err(format!("it is not WASM: it begins with {head:02x?}"));
    }
    let mut walk = Walk {
        survey: Survey::default(),
        levels: Vec::new(),
        validator: Validator::new_with_features(FEATURES),
        allocations: FuncValidatorAllocations::default(),
    };
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(words)?;
        walk.count(&payload)?;
        if let ValidPayload::Func(function, body) =
            walk.validator.payload(&payload).map_err(words)?
        {
            walk.function(function, &body)?;
        }
    }
    walk.survey.check_instances()?;
    Ok(walk.survey)
}

/// `error` without the decoration of its type.
fn words(error: wasmparser::BinaryReaderError) -> String {
    format!("it is not a valid component: {error}")
}

/// Refuses `count` of `what` beyond `limit`.
fn at_most(what: &str, count: u64, limit: u64) -> Result<(), String> {
    if count <= limit {
        Ok(())
    } else {
        Err(format!("it has {count} {what}; the limit is {limit}"))
    }
}

struct Walk {
    survey: Survey,
    levels: Vec<Level>,
    validator: Validator,
    allocations: FuncValidatorAllocations,
}

impl Walk {
    fn level(&self) -> Option<Level> {
        self.levels.last().copied()
    }

    fn module(&mut self) -> &mut CoreModule {
        // A section of a core module outside of one is refused by the validator, after this.
        if self.survey.modules.is_empty() {
            self.survey.modules.push(CoreModule::default());
        }
        self.survey.modules.last_mut().expect("one was pushed if there was none")
    }

    fn count(&mut self, payload: &Payload<'_>) -> Result<(), String> {
        match payload {
            Payload::Version { encoding, .. } => self.enter(*encoding),
            Payload::End(_) => {
                self.levels.pop();
                Ok(())
            }
            _ if self.level() == Some(Level::Module) => self.count_core(payload),
            _ => self.count_component(payload),
        }
    }

    fn enter(&mut self, encoding: Encoding) -> Result<(), String> {
        let level = match (self.level(), encoding) {
            (None, Encoding::Component) => Level::Component,
            (None, Encoding::Module) => {
                return Err("it is a core module, not a component; `pgraft machine build` makes \
                            one of it"
                    .to_owned());
            }
            (Some(Level::Component), Encoding::Component) => Level::Nested,
            (Some(Level::Component), Encoding::Module) => {
                self.survey.modules.push(CoreModule::default());
                at_most("core modules", self.survey.modules.len() as u64, CORE_MODULES_MAX)?;
                Level::Module
            }
            _ => return Err("a component within it has parts that run".to_owned()),
        };
        self.levels.push(level);
        Ok(())
    }

    fn count_component(&mut self, payload: &Payload<'_>) -> Result<(), String> {
        let nested = self.level() == Some(Level::Nested);
        let items = match payload {
            // Multiplied by every instance of the nested one, they would be without limit.
            Payload::InstanceSection(_) | Payload::ComponentCanonicalSection(_) if nested => {
                return Err("a component within it has parts that run".to_owned());
            }
            Payload::ComponentStartSection { .. } => {
                return Err("it has a start function of its own".to_owned());
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    if let Instance::Instantiate { module_index, .. } = instance.map_err(words)? {
                        self.survey.instances.push(module_index);
                    }
                }
                let instances = self.survey.instances.len() as u64;
                at_most("core instances", instances, CORE_INSTANCES_MAX)?;
                section.count()
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    require_no_code(&alias.map_err(words)?)?;
                }
                section.count()
            }
            Payload::ComponentImportSection(section) if !nested => {
                for import in section.clone() {
                    self.survey.imports.push(import.map_err(words)?.name.name.to_owned());
                }
                section.count()
            }
            Payload::ComponentExportSection(section) if !nested => {
                for export in section.clone() {
                    self.survey.exports.push(export.map_err(words)?.name.name.to_owned());
                }
                section.count()
            }
            Payload::ComponentCanonicalSection(section) => section.count(),
            Payload::ComponentImportSection(section) => section.count(),
            Payload::ComponentExportSection(section) => section.count(),
            Payload::ComponentTypeSection(section) => section.count(),
            Payload::CoreTypeSection(section) => section.count(),
            Payload::ComponentInstanceSection(section) => section.count(),
            Payload::ComponentSection { .. } => 1,
            _ => 0,
        };
        self.survey.items += u64::from(items);
        at_most("types, aliases, instances and exports", self.survey.items, COMPONENT_ITEMS_MAX)
    }

    fn count_core(&mut self, payload: &Payload<'_>) -> Result<(), String> {
        match payload {
            Payload::TypeSection(section) => {
                self.module().types = section.count();
                self.survey.types += u64::from(section.count());
                at_most("core types", self.survey.types, TYPES_MAX)
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    match import.map_err(words)?.ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                            self.module().imported_functions += 1;
                        }
                        TypeRef::Table(_) => self.module().imported_tables += 1,
                        TypeRef::Global(_) => self.module().imported_globals += 1,
                        TypeRef::Memory(_) | TypeRef::Tag(_) => {}
                    }
                }
                at_most("imports of a core module", u64::from(section.count()), EXPORTS_MAX)
            }
            Payload::FunctionSection(section) => {
                self.survey.bodies += u64::from(section.count());
                at_most("functions", self.survey.bodies, FUNCTIONS_MAX)
            }
            Payload::TableSection(section) => {
                self.module().tables = section.count();
                for table in section.clone() {
                    let elements = table.map_err(words)?.ty.initial;
                    at_most("elements of a table", elements, TABLE_ELEMENTS_MAX as u64)?;
                }
                Ok(())
            }
            Payload::MemorySection(section) => {
                self.module().memories = section.count();
                for memory in section.clone() {
                    let bytes = memory.map_err(words)?.initial.saturating_mul(PAGE_BYTES);
                    at_most("bytes of memory", bytes, MEMORY_BYTES_MAX as u64)?;
                    let module = self.module();
                    module.memory_bytes = module.memory_bytes.max(bytes);
                }
                Ok(())
            }
            Payload::GlobalSection(section) => {
                self.module().globals = section.count();
                at_most("globals of a core module", u64::from(section.count()), GLOBALS_MAX)
            }
            Payload::ExportSection(section) => {
                self.module().exports = u64::from(section.count());
                at_most("exports of a core module", u64::from(section.count()), EXPORTS_MAX)
            }
            Payload::ElementSection(section) => self.segments(section.count()),
            Payload::DataSection(section) => self.segments(section.count()),
            _ => Ok(()),
        }
    }

    fn segments(&mut self, more: u32) -> Result<(), String> {
        let module = self.module();
        module.segments += u64::from(more);
        at_most("segments of a core module", module.segments, SEGMENTS_MAX)
    }

    fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(), String> {
        let range = body.range();
        at_most("bytes of one function", range.end - range.start, FUNCTION_BYTES_MAX)?;
        let kind = function.resources.sub_type_at(function.ty).ok_or("a function has no type")?;
        let kind = kind.unwrap_func();
        let results = kind.results().to_vec();
        let mut wide = kind.params().contains(&ValType::V128);
        let mut validator = function.into_validator(std::mem::take(&mut self.allocations));
        let mut locals = body.get_locals_reader().map_err(words)?;
        for _ in 0..locals.get_count() {
            let offset = locals.original_position();
            let (count, of) = locals.read().map_err(words)?;
            wide |= of == ValType::V128;
            // Counted first: defining them takes memory.
            self.survey.locals = self.survey.locals.saturating_add(u64::from(count));
            at_most("locals", self.survey.locals, LOCALS_MAX)?;
            validator.define_locals(offset, count, of).map_err(words)?;
        }
        let locals = u64::from(validator.len_locals());
        at_most("locals of one function", locals, FUNCTION_LOCALS_MAX)?;
        let (mut height, mut passed, mut loops, mut calls) = (0, 0, 0_u64, false);
        let operators = body.get_operators_reader().map_err(words)?;
        for operator in operators.into_iter_with_offsets() {
            let (operator, offset) = operator.map_err(words)?;
            validator.op(offset, &operator).map_err(words)?;
            let now = validator.operand_stack_height();
            height = height.max(now);
            at_most(
                "blocks within each other",
                u64::from(validator.control_stack_height()),
                FUNCTION_NESTING_MAX,
            )?;
            let callee = match operator {
                Operator::Call { function_index } => {
                    let resources = validator.resources();
                    let id = resources.type_id_of_function(function_index);
                    id.map(|id| resources.sub_type_at_id(id))
                }
                Operator::CallIndirect { type_index, .. } => {
                    validator.resources().sub_type_at(type_index)
                }
                _ => None,
            };
            if let Some(callee) = callee {
                let callee = callee.unwrap_func();
                passed = passed.max(callee.params().len() + callee.results().len());
            }
            loops += u64::from(matches!(operator, Operator::Loop { .. }));
            let is_call = callee.is_some();
            calls |= is_call;
            // Only a call puts more than one new value there.
            let new = if is_call { now } else { now.min(1) };
            wide = wide
                || (0..new as usize)
                    .any(|depth| validator.get_operand_type(depth) == Some(Some(ValType::V128)));
        }
        self.allocations = validator.into_allocations();
        at_most("locals times loops in one function", locals * loops, FUNCTION_CARRIED_MAX)?;
        let value_cost = if wide { VECTOR_COST } else { VALUE_COST };
        let cost = FRAME_COST + (locals + u64::from(height) + passed as u64) * value_cost;
        at_most("bytes of stack for one function", cost, FUNCTION_COST_MAX)?;
        let cost = u32::try_from(cost).expect("it is below the limit");
        self.module().functions.push(Function { cost, calls, results });
        Ok(())
    }
}

/// Refuses names for modules and components that came from elsewhere than the walk has seen.
fn require_no_code(alias: &ComponentAlias<'_>) -> Result<(), String> {
    match alias {
        ComponentAlias::InstanceExport {
            kind: ComponentExternalKind::Module | ComponentExternalKind::Component,
            name,
            ..
        } => Err(format!("it takes the module or component {name} out of another")),
        ComponentAlias::Outer {
            kind: ComponentOuterAliasKind::CoreModule | ComponentOuterAliasKind::Component,
            ..
        } => Err("it takes a module or component out of the one around it".to_owned()),
        _ => Ok(()),
    }
}

impl Survey {
    /// The module of each core instance.
    pub(crate) fn instantiated(&self) -> impl Iterator<Item = &CoreModule> {
        self.instances.iter().filter_map(|&module| self.modules.get(module as usize))
    }

    fn check_instances(&self) -> Result<(), String> {
        let sum = |of: fn(&CoreModule) -> u32| -> u64 {
            self.instantiated().map(|module| u64::from(of(module))).sum()
        };
        at_most("memories", sum(|module| module.memories), MEMORIES_MAX)?;
        at_most("tables", sum(|module| module.tables), TABLES_MAX)
    }
}
