//! A limit of recursion that is equal everywhere.
//!
//! How much native stack a call takes depends on the CPU, the version of the engine and its
//! options, so running out of it can never be an outcome. Therefore each core module is given a
//! counter before it is compiled: every function that can call another adds its cost
//! ([`crate::survey`]) when it begins and takes it off when it ends, and above a limit the call
//! ends. The native stack holds more than what can be counted up to that limit.
//!
//! To be told from any other trap, the function that ends the call asks for an element more in a
//! table of its own that is made to hold none: the host's limiter recognises it by its maximum,
//! [`TOO_DEEP_TABLE_MAX`].
//!
//! Sections are spliced as bytes: what is not a function that calls stays as it was. Custom
//! sections but `name` are left out, since what they say of positions in the code would be wrong.

use wasm_encoder::{BlockType, Encode, Instruction, RefType, ValType};
use wasmparser::{BinaryReader, CodeSectionReader, FunctionBody, Operator};

use crate::survey::{CoreModule, Function, Survey};
use crate::{DEPTH_COST_MAX, TOO_DEEP_TABLE_MAX};

/// Bytes of the head of a module and of a component.
const HEAD_BYTES: usize = 8;
/// A core module, among the sections of a component.
const CORE_MODULE: u8 = 1;
/// Sections of a core module.
const CUSTOM: u8 = 0;
const TYPE: u8 = 1;
const FUNCTION: u8 = 3;
const TABLE: u8 = 4;
const GLOBAL: u8 = 6;
const CODE: u8 = 10;

/// The component with counters in its core modules. `survey` is that of `component`.
///
/// # Errors
/// When the sections cannot be read; a surveyed component has none such.
pub(crate) fn limited(component: &[u8], survey: &Survey) -> Result<Vec<u8>, String> {
    let counting = survey.instantiated().filter(|module| counts(module)).count().max(1);
    let limit = DEPTH_COST_MAX / u32::try_from(counting).expect("core instances are bounded");
    let mut modules = survey.modules.iter();
    let mut out = component[..HEAD_BYTES].to_vec();
    for section in sections(component) {
        let (id, contents) = section?;
        out.push(id);
        let module = if id == CORE_MODULE { modules.next() } else { None };
        match module {
            Some(module) if counts(module) => Counter::new(module, limit).module(contents)?,
            _ => contents.to_vec(),
        }
        .encode(&mut out);
    }
    Ok(out)
}

fn counts(module: &CoreModule) -> bool {
    module.functions.iter().any(|function| function.calls)
}

/// The sections after the head, each with its id.
fn sections(file: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), String>> {
    let mut reader = BinaryReader::new(&file[HEAD_BYTES..], 0);
    std::iter::from_fn(move || {
        if reader.eof() {
            return None;
        }
        let mut section = || -> wasmparser::Result<(u8, &[u8])> {
            let id = reader.read_u8()?;
            let size = reader.read_var_u32()?;
            Ok((id, reader.read_bytes(size as usize)?))
        };
        Some(section().map_err(|why| format!("read a section: {why}")))
    })
}

/// What a module gets, and under which numbers.
struct Counter<'a> {
    module: &'a CoreModule,
    limit: u32,
    /// Types that are added: of the function that ends the call, and of blocks with results.
    types: Vec<Vec<wasmparser::ValType>>,
    global: u32,
    table: u32,
    too_deep: u32,
}

impl<'a> Counter<'a> {
    fn new(module: &'a CoreModule, limit: u32) -> Counter<'a> {
        let mut types = vec![Vec::new()];
        for function in module.functions.iter().filter(|function| function.calls) {
            if !types.contains(&function.results) {
                types.push(function.results.clone());
            }
        }
        let bodies = u32::try_from(module.functions.len()).expect("functions are bounded");
        Counter {
            module,
            limit,
            types,
            global: module.imported_globals + module.globals,
            table: module.imported_tables + module.tables,
            too_deep: module.imported_functions + bodies,
        }
    }

    /// The type without parameters that has these results.
    fn kind(&self, results: &[wasmparser::ValType]) -> u32 {
        let place = self.types.iter().position(|kind| kind == results);
        self.module.types + u32::try_from(place.expect("all were collected")).expect("few types")
    }

    fn module(&self, file: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = file[..HEAD_BYTES].to_vec();
        let (mut has_table, mut has_global) = (false, false);
        let mut emit = |id: u8, contents: &[u8]| {
            out.push(id);
            contents.encode(&mut out);
        };
        for section in sections(file) {
            let (id, contents) = section?;
            if id == CUSTOM {
                if matches!(BinaryReader::new(contents, 0).read_string(), Ok("name")) {
                    emit(id, contents);
                }
                continue;
            }
            // Those that may be absent stand before the exports; the ids between are in order,
            // but for that of tags, which the engine does not allow.
            if id > TABLE && !std::mem::replace(&mut has_table, true) {
                emit(TABLE, &appended(&[0], 1, &self.table_entry())?);
            }
            if id > GLOBAL && !std::mem::replace(&mut has_global, true) {
                emit(GLOBAL, &appended(&[0], 1, &global_entry())?);
            }
            let added = match id {
                TYPE => {
                    let count = u32::try_from(self.types.len()).expect("few types");
                    appended(contents, count, &self.type_entries())?
                }
                FUNCTION => {
                    let mut entry = Vec::new();
                    self.kind(&[]).encode(&mut entry);
                    appended(contents, 1, &entry)?
                }
                TABLE => {
                    has_table = true;
                    appended(contents, 1, &self.table_entry())?
                }
                GLOBAL => {
                    has_global = true;
                    appended(contents, 1, &global_entry())?
                }
                CODE => self.code(contents)?,
                _ => contents.to_vec(),
            };
            emit(id, &added);
        }
        Ok(out)
    }

    fn type_entries(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for results in &self.types {
            out.extend([0x60, 0]);
            results.len().encode(&mut out);
            for result in results {
                value_type(*result).encode(&mut out);
            }
        }
        out
    }

    fn table_entry(&self) -> Vec<u8> {
        let mut out = Vec::new();
        RefType::FUNCREF.encode(&mut out);
        // With a maximum; empty.
        out.extend([1, 0]);
        TOO_DEEP_TABLE_MAX.encode(&mut out);
        out
    }

    fn code(&self, contents: &[u8]) -> Result<Vec<u8>, String> {
        let words = |why: wasmparser::BinaryReaderError| format!("read a function: {why}");
        let bodies = CodeSectionReader::new(BinaryReader::new(contents, 0)).map_err(words)?;
        let mut out = Vec::with_capacity(contents.len() * 5 / 4);
        (bodies.count() + 1).encode(&mut out);
        for (body, function) in bodies.into_iter().zip(&self.module.functions) {
            let body = body.map_err(words)?;
            if function.calls {
                self.counted(contents, &body, function).map_err(words)?.encode(&mut out);
            } else {
                body.as_bytes().encode(&mut out);
            }
        }
        let mut last = vec![0];
        for instruction in [
            Instruction::RefNull(wasm_encoder::HeapType::FUNC),
            Instruction::I32Const(1),
            Instruction::TableGrow(self.table),
            Instruction::Drop,
            Instruction::Unreachable,
            Instruction::End,
        ] {
            instruction.encode(&mut last);
        }
        last.encode(&mut out);
        Ok(out)
    }

    /// A body that counts: it becomes a block, out of which every way leads past the end.
    fn counted(
        &self,
        contents: &[u8],
        body: &FunctionBody<'_>,
        function: &Function,
    ) -> wasmparser::Result<Vec<u8>> {
        let at = |offset: u64| usize::try_from(offset).expect("a place in a slice");
        let operators = body.get_operators_reader()?;
        let mut copied = at(operators.original_position());
        let mut out = contents[at(body.range().start)..copied].to_vec();
        let cost = function.cost.cast_signed();
        let block = match function.results[..] {
            [] => BlockType::Empty,
            [one] => BlockType::Result(value_type(one)),
            _ => BlockType::FunctionType(self.kind(&function.results)),
        };
        for instruction in [
            Instruction::GlobalGet(self.global),
            Instruction::I32Const(cost),
            Instruction::I32Add,
            Instruction::GlobalSet(self.global),
            Instruction::GlobalGet(self.global),
            Instruction::I32Const(self.limit.cast_signed()),
            Instruction::I32GtU,
            Instruction::If(BlockType::Empty),
            Instruction::Call(self.too_deep),
            Instruction::End,
            Instruction::Block(block),
        ] {
            instruction.encode(&mut out);
        }
        let mut depth = 0;
        for operator in operators.into_iter_with_offsets() {
            let (operator, offset) = operator?;
            match operator {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => depth += 1,
                Operator::End => depth -= 1,
                Operator::Return => {
                    out.extend_from_slice(&contents[copied..at(offset)]);
                    Instruction::Br(u32::try_from(depth).expect("within the body"))
                        .encode(&mut out);
                    // `return` is one byte.
                    copied = at(offset) + 1;
                }
                _ => {}
            }
        }
        // With the body's own `end`, which now ends the block.
        out.extend_from_slice(&contents[copied..at(body.range().end)]);
        for instruction in [
            Instruction::GlobalGet(self.global),
            Instruction::I32Const(cost),
            Instruction::I32Sub,
            Instruction::GlobalSet(self.global),
            Instruction::End,
        ] {
            instruction.encode(&mut out);
        }
        Ok(out)
    }
}

/// A section with more items than it had.
fn appended(contents: &[u8], added: u32, items: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = BinaryReader::new(contents, 0);
    let count = reader.read_var_u32().map_err(|why| format!("read a section: {why}"))?;
    let rest = &contents[usize::try_from(reader.original_position()).expect("a place in it")..];
    let mut out = Vec::with_capacity(contents.len() + items.len() + 5);
    (count + added).encode(&mut out);
    out.extend_from_slice(rest);
    out.extend_from_slice(items);
    Ok(out)
}

/// A counter that begins at 0.
fn global_entry() -> Vec<u8> {
    let mut out = Vec::new();
    ValType::I32.encode(&mut out);
    // Mutable.
    out.push(1);
    Instruction::I32Const(0).encode(&mut out);
    Instruction::End.encode(&mut out);
    out
}

fn value_type(of: wasmparser::ValType) -> ValType {
    match of {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        wasmparser::ValType::V128 => ValType::V128,
        wasmparser::ValType::Ref(of) if of.is_extern_ref() => ValType::Ref(RefType::EXTERNREF),
        wasmparser::ValType::Ref(_) => ValType::Ref(RefType::FUNCREF),
    }
}
