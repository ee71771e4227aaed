//! Bytes that never become a module of a cluster.

use crate::shell::{Interface, Parts};
use crate::{Fate, Hostile};

pub(crate) fn modules() -> Vec<Hostile> {
    let mut modules = Vec::new();
    modules.extend(not_components());
    modules.extend(bombs());
    modules.extend(features());
    modules.extend(interfaces());
    modules.extend(starts());
    modules
}

fn refused(name: &'static str, bytes: Vec<u8>, words: &'static str) -> Hostile {
    Hostile { name, bytes, fate: Fate::Refused(words) }
}

fn not_loaded(name: &'static str, parts: Parts<'_>, words: &'static str) -> Hostile {
    Hostile { name, bytes: parts.component(), fate: Fate::NotLoaded(words) }
}

fn with_fields(fields: &str) -> Vec<u8> {
    Parts { fields, ..Parts::default() }.component()
}

/// A component of nothing but a core module.
fn around(core: &str) -> Vec<u8> {
    wat::parse_str(format!("(component (core module {core}))")).expect("the text is a component")
}

fn not_components() -> Vec<Hostile> {
    let mut cut = with_fields("");
    cut.truncate(cut.len() / 2);
    let mut flipped = with_fields("");
    // The size of the first section.
    flipped[9] ^= 0x7f;
    vec![
        refused("nothing", Vec::new(), "it is not WASM"),
        refused("text", b"#!/bin/sh\nrm -rf /\n".to_vec(), "it is not WASM"),
        refused("elf", b"\x7fELF\x02\x01\x01\0".to_vec(), "it is not WASM"),
        refused("core-module", b"\0asm\x01\0\0\0".to_vec(), "a core module, not a component"),
        refused("cut-in-half", cut, "not a valid component"),
        refused("damaged", flipped, "not a valid component"),
        refused("17-mb", vec![0; 17 << 20], "17825792 bytes; the limit is 16777216"),
    ]
}

/// Few bytes that become many.
fn bombs() -> Vec<Hostile> {
    let functions = "(func)".repeat(60_000);
    let nested = format!("{}{}", "(block ".repeat(6_000), ")".repeat(6_000));
    let operands = format!("{}{}", "(i32.const 1) ".repeat(20_000), "drop ".repeat(20_000));
    let long = "(drop (i32.const 1000000)) ".repeat(120_000);
    let boxes = "(component ".repeat(4) + "(core module)" + &")".repeat(4);
    let modules = format!("(component {})", "(core module)".repeat(20));
    let instances =
        (0..9).map(|n| format!("(core instance $i{n} (instantiate $m))")).collect::<String>();
    let instances = format!("(component (core module $m (memory 1)) {instances})");
    let two = "(component (core module $m (memory 1))
        (core instance (instantiate $m)) (core instance (instantiate $m)))";
    // A minute of the compiler's time for each few thousand of them.
    let loops = format!(
        "(func (local {}) {}{})",
        "i64 ".repeat(4_000),
        "(loop (local.set 7 (i64.add (local.get 7) (i64.const 1)))".repeat(2_000),
        "(br_if 0 (i64.eqz (local.get 9))))".repeat(2_000),
    );
    let text = |text: &str| wat::parse_str(text).expect("the text is a component");
    vec![
        refused(
            "memory-of-4-gb",
            around("(memory 65536)"),
            "bytes of memory; the limit is 67108864",
        ),
        refused("table-of-10-million", around("(table 10000000 funcref)"), "elements of a table"),
        refused("a-million-locals", huge_locals(4_500, 300), "locals; the limit is 1000000"),
        refused("40000-locals", huge_locals(40_000, 1), "locals of one function"),
        refused("60000-functions", around(&functions), "functions; the limit is 50000"),
        refused("6000-blocks", around(&format!("(func {nested})")), "blocks within each other"),
        refused(
            "20000-operands",
            around(&format!("(func {operands})")),
            "of stack for one function",
        ),
        refused("loops-and-locals", around(&loops), "locals times loops"),
        refused("a-long-function", around(&format!("(func {long})")), "bytes of one function"),
        refused("nested-components", text(&boxes), "a component within it has parts that run"),
        refused("20-core-modules", text(&modules), "core modules; the limit is 16"),
        refused("9-instances", text(&instances), "core instances; the limit is 8"),
        refused("two-memories", text(two), "memories; the limit is 1"),
    ]
}

/// `count` functions that declare so many locals in a few bytes each.
fn huge_locals(locals: usize, count: usize) -> Vec<u8> {
    // (module (type (func)) (func (type 0) (local i64 * locals)) * count), written by hand: the
    // text would be as long as the locals are many.
    // One group of locals, of i64; end.
    let mut body = vec![1];
    push(&mut body, locals);
    body.extend([0x7e, 0x0b]);
    let mut code = Vec::new();
    push(&mut code, count);
    for _ in 0..count {
        push(&mut code, body.len());
        code.extend(&body);
    }
    let mut functions = Vec::new();
    push(&mut functions, count);
    functions.extend(std::iter::repeat_n(0, count));
    let mut core = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03".to_vec();
    push(&mut core, functions.len());
    core.extend(functions);
    core.push(10);
    push(&mut core, code.len());
    core.extend(code);
    let mut component = b"\0asm\x0d\0\x01\0\x01".to_vec();
    push(&mut component, core.len());
    component.extend(core);
    component
}

/// A number below 2^21, in three bytes.
fn push(out: &mut Vec<u8>, number: usize) {
    let seven = |shift: usize| (number >> shift & 0x7f) as u8;
    out.extend([seven(0) | 0x80, seven(7) | 0x80, seven(14)]);
}

/// Instructions whose results may differ from CPU to CPU or from run to run, or that nobody needs.
fn features() -> Vec<Hostile> {
    let relaxed = "(func (param v128) (result v128)
        (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))";
    let atomic = "(memory 1 1 shared)";
    vec![
        refused("relaxed-simd", around(relaxed), "relaxed SIMD"),
        refused("shared-memory", around(atomic), "threads must be enabled"),
        refused("memory64", around("(memory i64 1)"), "memory64 must be enabled"),
        refused("tail-call", around("(func $f (return_call $f))"), "tail calls support is not"),
        refused("exceptions", around("(tag)"), "exceptions"),
        refused("gc", around("(type (struct))"), "without the gc feature"),
    ]
}

/// Interfaces that are not there, or not that one.
fn interfaces() -> Vec<Hostile> {
    let clock = wat::parse_str(
        r#"(component
          (import "wasi:clocks/wall-clock@0.2.0" (instance (export "now" (func (result u64)))))
          (instance $guest) (export "pgraft:machine/guest@0.1.0" (instance $guest)))"#,
    );
    let next = Interface { changed: &[("@0.1.0", "@0.2.0")] };
    let other_type =
        Interface { changed: &[("describe: func() -> manifest", "describe: func() -> u32")] };
    let other_function = Interface { changed: &[("wake-at", "wake-up")] };
    vec![
        refused(
            "wants-the-clock",
            clock.expect("a component"),
            "it imports wasi:clocks/wall-clock",
        ),
        refused(
            "of-the-next-interface",
            Parts { interface: next, ..Parts::default() }.component(),
            "@0.2.0; this program speaks version 0.1.0",
        ),
        refused("no-machine", wat::parse_str("(component)").expect("one"), "does not export"),
        not_loaded(
            "of-another-type",
            Parts { interface: other_type, ..Parts::default() },
            "another type",
        ),
        not_loaded(
            "wants-another-function",
            Parts {
                interface: other_function,
                body: "(call $wake_at (i64.const 1))",
                ..Parts::default()
            },
            "wake-up",
        ),
    ]
}

/// Harm before the first command.
fn starts() -> Vec<Hostile> {
    let start = |body: &str| format!("(func $start {body}) (start $start)");
    let (endless, deep, asks, traps) = (
        start("(loop $again (br $again))"),
        start("(call $start)"),
        start("(call $wake_at (i64.const 1))"),
        start("unreachable"),
    );
    let fields = |fields| Parts { fields, ..Parts::default() };
    let beyond = r#"(data (i32.const 131072) "beyond the end of the memory")"#;
    vec![
        not_loaded("starts-without-end", fields(&endless), "ran out of fuel"),
        not_loaded("starts-too-deep", fields(&deep), "recursed too deep"),
        not_loaded("starts-by-asking", fields(&asks), "broke a rule"),
        not_loaded("starts-with-a-trap", fields(&traps), "trapped"),
        not_loaded("data-beyond-memory", fields(beyond), "trapped"),
        not_loaded(
            "describes-without-end",
            Parts { describe: "(loop $again (br $again))", ..Parts::default() },
            "cannot describe itself: the module ran out of fuel",
        ),
    ]
}
