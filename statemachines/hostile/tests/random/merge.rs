//! A random module made a machine: the shell's core module, with all that the random one has
//! appended to it. Not here: chance.

use std::convert::Infallible;

use pgraft_hostile::{Interface, Parts, encode};
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{
    CodeSection, DataSection, ElementSection, Encode, FunctionSection, GlobalSection, Instruction,
    TableSection, TypeSection,
};
use wasmparser::{BinaryReader, Parser, Payload, TypeRef};

/// What the random module imports and exports. It may read and write rows of short keys; whatever
/// it says, the calls themselves are allowed.
pub(crate) const SHAPE: &str = r#"(module
  (import "shell" "memory" (memory 20))
  (import "shell" "poke" (func (param i32 i32)))
  (import "shell" "peek" (func (param i32) (result i64)))
  (func (export "chaos") (param i32 i32 i64) (result i64) unreachable))"#;

const FIELDS: &str = r#"
  (func $peek (param i32) (result i64)
    (call $get (i32.and (local.get 0) (i32.const 0x78)) (i32.const 4) (i32.const 600))
    (i64.or (i64.extend_i32_u (i32.load8_u (i32.const 600)))
      (i64.shl (i64.extend_i32_u (i32.load (i32.const 608))) (i64.const 8))))
  (func $poke (param i32 i32)
    (call $put (i32.and (local.get 0) (i32.const 0x78)) (i32.const 4)
      (i32.and (local.get 1) (i32.const 0xff8)) (i32.and (local.get 1) (i32.const 63))))"#;

/// The last function is replaced by a call of the random one.
const LAST: &str = "(func $chaos (param i32 i32 i64) (result i64) unreachable)";

/// A row that depends on what it returned; the reply is that, and a sum of the memory it can reach easily.
const BODY: &str = r#"
    (local.set $x (call $chaos (local.get $in) (local.get $length) (i64.load (local.get $in))))
    (i64.store (i32.const 1200) (local.get $x))
    (call $poke (i32.wrap_i64 (local.get $x))
      (i32.wrap_i64 (i64.shr_u (local.get $x) (i64.const 8))))
    (loop $again
      (local.set $x (i64.add (i64.rotl (local.get $x) (i64.const 5))
        (i64.load (local.get $n))))
      (local.set $n (i32.add (local.get $n) (i32.const 8)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 1024))))
    (i64.store (i32.const 1208) (local.get $x))
    (i32.store8 (local.get $out) (i32.const 0))
    (i32.store offset=4 (local.get $out) (i32.const 1200))
    (i32.store offset=8 (local.get $out) (i32.const 16))"#;

/// "hostile1" and ".0": stored, because data of the random module may lie there.
const DESCRIBE: &str = "(i64.store (i32.const 1024) (i64.const 0x31656c6974736f68))
    (i32.store (i32.const 1032) (i32.const 0x302e))";

/// The sections of a core module by their ids, in the order in which they must stand.
const ORDER: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];
const FUNCTION: usize = 3;
const CODE: usize = 10;

/// Contents of the sections: their number of items, and those.
type Sections = Vec<(u32, Vec<u8>)>;

/// The component of a machine whose commands run `random`, a core module of [`SHAPE`]. The reply
/// has one bit more when `tell`, and takes a little more fuel when `tarry`: mistakes to be noticed.
pub(crate) fn machine(random: &[u8], tell: bool, tarry: bool) -> Vec<u8> {
    let mut body = if tarry { format!("(drop (i32.const 1)) nop {BODY}") } else { BODY.to_owned() };
    if tell {
        body = body.replace(
            "(i64.store (i32.const 1208) (local.get $x))",
            "(i64.store (i32.const 1208) (i64.xor (local.get $x) (i64.const 1)))",
        );
    }
    let parts = Parts {
        pages: "20",
        data: "",
        fields: FIELDS,
        describe: DESCRIBE,
        body: &body,
        last: LAST,
        ..Parts::default()
    };
    let shell = wat::parse_str(parts.text()).expect("the shell is a module");
    encode(merge(&shell, random), Interface::default())
}

fn merge(shell: &[u8], random: &[u8]) -> Vec<u8> {
    let mut sections = raw(shell);
    let imported: u32 = imports(shell).iter().filter(|(_, function)| *function).count() as u32;
    let functions = imported + sections[FUNCTION].0;
    let imports = imports(random);
    let chaos = exported(random);
    let names = ["poke", "peek"];
    // Where the shell's own functions stand: after its imports, in the order of its text.
    let own =
        |name: &str| imported + names.iter().rev().position(|own| *own == name).unwrap() as u32;
    let called: Vec<u32> =
        imports.iter().filter(|(_, function)| *function).map(|(name, _)| own(name)).collect();
    let mut shifted = Shifted { types: sections[1].0, functions, called, globals: sections[6].0 };
    // The shell's last function now calls the random one.
    let call = shifted.function(chaos);
    drop_last_body(&mut sections[CODE]);
    let mut last = vec![0];
    for argument in 0..3 {
        Instruction::LocalGet(argument).encode(&mut last);
    }
    Instruction::Call(call).encode(&mut last);
    Instruction::End.encode(&mut last);
    last.encode(&mut sections[CODE].1);
    for (id, (count, items)) in shifted.sections(random) {
        sections[id].0 += count;
        sections[id].1.extend(items);
    }
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    for id in ORDER {
        let (count, items) = &sections[usize::from(id)];
        if *count == 0 {
            continue;
        }
        let mut contents = Vec::new();
        count.encode(&mut contents);
        contents.extend(items);
        out.push(id);
        contents.encode(&mut out);
    }
    out
}

/// The sections of a module as they are, by id.
fn raw(module: &[u8]) -> Sections {
    let mut sections = vec![(0, Vec::new()); 14];
    let mut reader = BinaryReader::new(&module[8..], 0);
    while !reader.eof() {
        let id = reader.read_u8().unwrap();
        let size = reader.read_var_u32().unwrap();
        let contents = reader.read_bytes(size as usize).unwrap();
        if id != 0 {
            sections[usize::from(id)] = counted(contents);
        }
    }
    sections
}

fn counted(contents: &[u8]) -> (u32, Vec<u8>) {
    let mut reader = BinaryReader::new(contents, 0);
    let count = reader.read_var_u32().unwrap();
    (count, contents[reader.original_position() as usize..].to_vec())
}

/// What a module imports, and whether it is a function.
fn imports(module: &[u8]) -> Vec<(String, bool)> {
    let mut all = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(section) = payload.unwrap() {
            for import in section.into_imports() {
                let import = import.unwrap();
                all.push((import.name.to_owned(), matches!(import.ty, TypeRef::Func(_))));
            }
        }
    }
    all
}

/// The number of the only function that a module exports.
fn exported(module: &[u8]) -> u32 {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ExportSection(section) = payload.unwrap() {
            return section.into_iter().next().unwrap().unwrap().index;
        }
    }
    panic!("it has the shape")
}

fn drop_last_body((count, items): &mut (u32, Vec<u8>)) {
    let mut reader = BinaryReader::new(items, 0);
    let mut last = 0;
    for _ in 0..*count {
        last = reader.original_position() as usize;
        let size = reader.read_var_u32().unwrap();
        reader.read_bytes(size as usize).unwrap();
    }
    items.truncate(last);
}

/// The numbers of the random module within the merged one.
struct Shifted {
    types: u32,
    functions: u32,
    called: Vec<u32>,
    globals: u32,
}

impl Shifted {
    fn function(&self, of: u32) -> u32 {
        let imported = self.called.len() as u32;
        match self.called.get(of as usize) {
            Some(own) => *own,
            None => self.functions + of - imported,
        }
    }

    fn sections(&mut self, module: &[u8]) -> Vec<(usize, (u32, Vec<u8>))> {
        fn contents(section: &impl Encode) -> (u32, Vec<u8>) {
            let mut bytes = Vec::new();
            section.encode(&mut bytes);
            let mut reader = BinaryReader::new(&bytes, 0);
            reader.read_var_u32().unwrap();
            counted(&bytes[reader.original_position() as usize..])
        }
        let mut all = Vec::new();
        for payload in Parser::new(0).parse_all(module) {
            match payload.unwrap() {
                Payload::TypeSection(section) => {
                    let mut out = TypeSection::new();
                    self.parse_type_section(&mut out, section).unwrap();
                    all.push((1, contents(&out)));
                }
                Payload::FunctionSection(section) => {
                    let mut out = FunctionSection::new();
                    self.parse_function_section(&mut out, section).unwrap();
                    all.push((3, contents(&out)));
                }
                Payload::TableSection(section) => {
                    let mut out = TableSection::new();
                    self.parse_table_section(&mut out, section).unwrap();
                    all.push((4, contents(&out)));
                }
                Payload::GlobalSection(section) => {
                    let mut out = GlobalSection::new();
                    self.parse_global_section(&mut out, section).unwrap();
                    all.push((6, contents(&out)));
                }
                Payload::ElementSection(section) => {
                    let mut out = ElementSection::new();
                    self.parse_element_section(&mut out, section).unwrap();
                    all.push((9, contents(&out)));
                }
                // Nothing but the number.
                Payload::DataCountSection { count, .. } => all.push((12, (count, Vec::new()))),
                Payload::DataSection(section) => {
                    let mut out = DataSection::new();
                    self.parse_data_section(&mut out, section).unwrap();
                    all.push((11, contents(&out)));
                }
                Payload::CodeSectionStart { range, .. } => {
                    let code = &module[range.start as usize..range.end as usize];
                    let reader = BinaryReader::new(code, 0);
                    let section = wasmparser::CodeSectionReader::new(reader).unwrap();
                    let mut out = CodeSection::new();
                    self.parse_code_section(&mut out, section).unwrap();
                    all.push((10, contents(&out)));
                }
                _ => {}
            }
        }
        all
    }
}

impl Reencode for Shifted {
    type Error = Infallible;

    fn type_index(&mut self, of: u32) -> Result<u32, Error<Infallible>> {
        Ok(self.types + of)
    }

    fn function_index(&mut self, of: u32) -> Result<u32, Error<Infallible>> {
        Ok(self.function(of))
    }

    fn global_index(&mut self, of: u32) -> Result<u32, Error<Infallible>> {
        Ok(self.globals + of)
    }
}
