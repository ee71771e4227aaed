//! The interface of a machine in WebAssembly text, around a function `$do` that a hostile module
//! fills: it gets a command's payload at `$in`, `$length` and leaves its outcome at `$out` (tag,
//! then pointer and length, or code, pointer and length of a message); an empty reply stands there
//! already. Payloads begin at 64 KiB; below 1 KiB and from 4 to 60 KiB the memory is free to use.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The interface as it is documented.
const WIT: &str = include_str!("../../wit/v0.1/machine.wit");

const SHELL: &str = r#"(module
  (import "pgraft:machine/storage@0.1.0" "get" (func $get (param i32 i32 i32)))
  (import "pgraft:machine/storage@0.1.0" "put" (func $put (param i32 i32 i32 i32)))
  (import "pgraft:machine/storage@0.1.0" "mark" (func $mark (result i32)))
  (import "pgraft:machine/storage@0.1.0" "wake-at" (func $wake_at (param i64)))
  (import "pgraft:machine/events@0.1.0" "emit" (func $emit (param i32 i32 i32 i32)))
  (import "pgraft:machine/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (import "pgraft:machine/effects@0.1.0" "request"
    (func $request (param i32 i32 i32 i32) (result i64)))
  (memory (export "memory") {{pages}})
  (global $heap (mut i32) (i32.const 65536))
  {{data}}
  ;; 1088: the result of a call; 1152: outcomes, 16 bytes each
  {{fields}}

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow
        (i32.add (i32.const 1) (i32.div_u (local.get 3) (i32.const 65536)))))))
    (local.get $at))

  (func $do (param $in i32) (param $length i32) (param $out i32)
    (local $n i32) (local $x i64) (local $v v128)
    {{do}})

  (func $one (param $in i32) (param $length i32) (param $out i32)
    (i32.store8 (local.get $out) (i32.const 0))
    (i32.store offset=4 (local.get $out) (i32.const 0))
    (i32.store offset=8 (local.get $out) (i32.const 0))
    (call $do (local.get $in) (local.get $length) (local.get $out)))

  (func (export "pgraft:machine/guest@0.1.0#apply")
    (param i64 i64 i64 i64) (param $commands i32) (param $count i32) (result i32)
    (local $i i32)
    (local $command i32)
    (i32.store (i32.const 1088) (i32.const 1152))
    (i32.store (i32.const 1092) (local.get $count))
    (block $end (loop $next
      (br_if $end (i32.ge_u (local.get $i) (local.get $count)))
      (local.set $command
        (i32.add (local.get $commands) (i32.mul (local.get $i) (i32.const 32))))
      (call $one
        (i32.load offset=24 (local.get $command))
        (i32.load offset=28 (local.get $command))
        (i32.add (i32.const 1152) (i32.mul (local.get $i) (i32.const 16))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (i32.const 1088))

  (func (export "pgraft:machine/guest@0.1.0#query")
    (param i64 i64 i64 i64 i32 i32) (result i32)
    (call $one (local.get 4) (local.get 5) (i32.const 1088))
    (i32.const 1088))

  (func $fine (result i32)
    (i32.store8 (i32.const 1088) (i32.const 0))
    (i32.store8 (i32.const 1092) (i32.const 0))
    (i32.const 1088))
  (func (export "pgraft:machine/guest@0.1.0#init") (param i64 i64 i64 i64 i32 i32) (result i32)
    (call $fine))
  (func (export "pgraft:machine/guest@0.1.0#check")
    (param i64 i64 i64 i64 i32 i32 i64 i64 i32 i32) (result i32) (call $fine))
  (func (export "pgraft:machine/guest@0.1.0#react")
    (param i64 i64 i64 i64 i32 i64 i32 i32 i32 i32) (result i32) (call $fine))
  (func (export "pgraft:machine/guest@0.1.0#migrate") (param i64 i64 i64 i64 i32 i32) (result i32)
    (call $fine))
  (func (export "pgraft:machine/guest@0.1.0#describe") (result i32)
    {{describe}}
    (i32.store (i32.const 1088) (i32.const 1024)) ;; name
    (i32.store (i32.const 1092) (i32.const 7))
    (i32.store (i32.const 1096) (i32.const 1031)) ;; version
    (i32.store (i32.const 1100) (i32.const 3))
    (i32.store (i32.const 1104) (i32.const 1))
    (i32.store (i32.const 1108) (i32.const 1))
    (i32.store (i32.const 1112) (i32.const 0))
    (i32.store (i32.const 1116) (i32.const 0))
    (i32.store8 (i32.const 1120) (i32.const 0))
    (i32.const 1088))
  {{last}}
)"#;

/// Name, version, and the kind of an effect.
const DATA: &str = r#"(data (i32.const 1024) "hostile1.0conf-change")"#;

/// An interface a module may be made for: the documented one, or one changed by replacing words,
/// in its text as in the module's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interface {
    /// What to replace, and by what.
    pub changed: &'static [(&'static str, &'static str)],
}

/// What a hostile module fills of the shell.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Pages of memory at the start.
    pub pages: &'a str,
    /// Segments of data; without those of the default, `describe` must put the name and version at
    /// 1024: ten bytes.
    pub data: &'a str,
    /// Further fields of the module.
    pub fields: &'a str,
    /// What comes before the manifest is told.
    pub describe: &'a str,
    /// The body of `$do`.
    pub body: &'a str,
    /// The module's last fields.
    pub last: &'a str,
    /// What it is made for.
    pub interface: Interface,
}

impl Default for Parts<'_> {
    fn default() -> Self {
        let interface = Interface::default();
        Parts { pages: "2", data: DATA, fields: "", describe: "", body: "", last: "", interface }
    }
}

impl Parts<'_> {
    /// The core module of it, in text.
    pub fn text(&self) -> String {
        SHELL
            .replace("{{pages}}", self.pages)
            .replace("{{data}}", self.data)
            .replace("{{fields}}", self.fields)
            .replace("{{describe}}", self.describe)
            .replace("{{do}}", self.body)
            .replace("{{last}}", self.last)
    }

    /// The component of it.
    ///
    /// # Panics
    /// When what was filled in makes no sense.
    pub fn component(&self) -> Vec<u8> {
        component(&self.text(), self.interface)
    }
}

/// A machine that does nothing but `body` when it is given a command; `fields` are added to its
/// module.
///
/// # Panics
/// When the text is not a module.
pub fn machine(fields: &str, body: &str) -> Vec<u8> {
    Parts { fields, body, ..Parts::default() }.component()
}

/// The component of a core module in text that implements the world `machine` of an interface.
///
/// # Panics
/// When it does not, or the text is not a module.
pub fn component(text: &str, interface: Interface) -> Vec<u8> {
    let mut text = text.to_owned();
    for (from, to) in interface.changed {
        text = text.replace(from, to);
    }
    encode(wat::parse_str(text).expect("the text is a module"), interface)
}

/// The component of a core module that implements the world `machine` of an interface.
///
/// # Panics
/// When it does not.
pub fn encode(mut core: Vec<u8>, interface: Interface) -> Vec<u8> {
    let mut wit = WIT.to_owned();
    for (from, to) in interface.changed {
        wit = wit.replace(from, to);
    }
    let mut resolve = Resolve::new();
    let package = resolve.push_str("machine.wit", &wit).expect("the interface is one");
    let world = resolve.select_world(&[package], Some("machine")).expect("it has the world");
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8)
        .expect("the module takes another section");
    let mut encoder = ComponentEncoder::default();
    let encoder = encoder.module(&core).expect("it has a description");
    encoder.validate(true).encode().expect("it implements the interface")
}
