//! Modules that load like any other and do harm when they get a command.

use std::fmt::Write;

use crate::shell::Parts;
use crate::{Fate, Hostile};

/// Codes of the host.
const OUT_OF_FUEL: u32 = 2;
const OUT_OF_MEMORY: u32 = 3;
const STACK_OVERFLOW: u32 = 4;
const QUOTA: u32 = 6;
const BAD_INTERFACE: u32 = 7;

/// A quiet NaN without payload, the one that arithmetic must give.
const NAN64: u64 = 0x7ff8_0000_0000_0000;
const NAN32: u32 = 0x7fc0_0000;

pub(crate) fn modules() -> Vec<Hostile> {
    let mut modules = Vec::new();
    modules.extend(recursion());
    modules.extend(floods());
    modules.extend(outputs());
    modules.extend(answers());
    modules
}

fn rejected(name: &'static str, fields: &str, body: &str, code: u32) -> Hostile {
    let bytes = Parts { fields, body, ..Parts::default() }.component();
    Hostile { name, bytes, fate: Fate::Rejected { command: b"harm".to_vec(), code } }
}

fn answered(name: &'static str, fields: &str, body: &str, reply: Vec<u8>) -> Hostile {
    let bytes = Parts { fields, body, ..Parts::default() }.component();
    Hostile { name, bytes, fate: Fate::Answered { command: b"harm".to_vec(), reply } }
}

/// Those that would need a stack without end.
fn recursion() -> Vec<Hostile> {
    let deep = "(drop (call $deep (i64.const 1)))";
    let of_large_frames = {
        let mut sum = String::new();
        for value in 0..400_u64 {
            let value = value * 7_919 + 12_345_678_901;
            writeln!(
                sum,
                "(local.set $s (i64.xor (i64.rotl (local.get $s) (i64.const 1))
                  (i64.mul (local.get 0) (i64.add (local.get 0) (i64.const {value})))))"
            )
            .expect("a string takes everything");
        }
        let call = "(local.set $s (i64.add (local.get $s) (call $deep (local.get 0))))";
        format!(
            "(func $deep (param i64) (result i64) (local $s i64)
              {sum} {call} {sum} {call} (local.get $s))"
        )
    };
    let simple = "(func $deep (param i64) (result i64)
        (i64.add (i64.const 1) (call $deep (local.get 0))))";
    let table = "(type $t (func (param i64) (result i64))) (table funcref (elem $deep))
        (func $deep (type $t) (i64.add (i64.const 1)
          (call_indirect (type $t) (local.get 0) (i32.const 0))))";
    vec![
        rejected("endless-recursion", simple, deep, STACK_OVERFLOW),
        rejected("recursion-by-table", table, deep, STACK_OVERFLOW),
        // An optimiser would keep 400 values in each frame that the module does not hold.
        rejected("recursion-large-frames", &of_large_frames, deep, STACK_OVERFLOW),
    ]
}

/// Those that would need time or memory without end.
fn floods() -> Vec<Hostile> {
    let forever = |what: &str| format!("(loop $again {what} (br $again))");
    let hog = |size: u32| format!("(drop (memory.grow (i32.const {size})))");
    vec![
        rejected("endless-loop", "", &forever(""), OUT_OF_FUEL),
        rejected("memory-by-page", "", &forever(&hog(1)), OUT_OF_MEMORY),
        rejected("memory-at-once", "", &hog(65_000), OUT_OF_MEMORY),
        rejected(
            "table-elements",
            "(table $t 1 funcref)",
            &forever("(drop (table.grow $t (ref.null func) (i32.const 1000)))"),
            OUT_OF_MEMORY,
        ),
    ]
}

/// Those that would give away more than anybody takes.
fn outputs() -> Vec<Hostile> {
    let forever = |what: &str| format!("(loop $again {what} (br $again))");
    let megabytes = "(drop (memory.grow (i32.const 64)))";
    let count = "(local.set $n (i32.add (local.get $n) (i32.const 1)))
        (i32.store (i32.const 0) (local.get $n))";
    vec![
        rejected(
            "output-100-mb",
            "",
            "(i32.store offset=4 (local.get $out) (i32.const 0))
            (i32.store offset=8 (local.get $out) (i32.const 104857600))",
            BAD_INTERFACE,
        ),
        rejected(
            "output-8-mb",
            "",
            "(drop (memory.grow (i32.const 200)))
            (i32.store offset=4 (local.get $out) (i32.const 0))
            (i32.store offset=8 (local.get $out) (i32.const 8388608))",
            QUOTA,
        ),
        rejected(
            "events-100-mb",
            "",
            &format!(
                "{megabytes} {}",
                forever(
                    "(call $emit (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4194304))"
                )
            ),
            QUOTA,
        ),
        rejected(
            "rows-of-a-megabyte",
            "",
            &format!(
                "{megabytes} {}",
                forever(&format!(
                    "{count} (call $put (i32.const 0) (i32.const 4) (i32.const 0)
                      (i32.const 1048576))"
                ))
            ),
            QUOTA,
        ),
        rejected(
            "rows-without-end",
            "",
            &forever(&format!(
                "{count} (call $put (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4))"
            )),
            OUT_OF_FUEL,
        ),
        rejected("marks-without-end", "", &forever("(drop (call $mark))"), QUOTA),
        rejected(
            "log-without-end",
            "",
            &forever("(call $log (i32.const 0) (i32.const 1024) (i32.const 7))"),
            OUT_OF_FUEL,
        ),
        rejected(
            "changes-the-cluster",
            "",
            "(drop (call $request (i32.const 1034) (i32.const 11) (i32.const 0) (i32.const 0)))",
            BAD_INTERFACE,
        ),
        rejected("no-outcome", "", "(i32.store (i32.const 1092) (i32.const 0))", BAD_INTERFACE),
    ]
}

/// Those that try to tell one replica from another, or to remember.
fn answers() -> Vec<Hostile> {
    let reply = "(i32.store offset=4 (local.get $out) (i32.const 0))";
    let length =
        |bytes: usize| format!("{reply} (i32.store offset=8 (local.get $out) (i32.const {bytes}))");
    let (nans, nan_reply) = nans();
    let remembers = format!(
        "(global.set $seen (i32.add (global.get $seen) (i32.const 1)))
        (i32.store (i32.const 0) (global.get $seen)) {}",
        length(4)
    );
    // What lies in its memory before it wrote anything there: of whoever had the slot before.
    let looks = format!(
        "(drop (memory.grow (i32.const 900)))
        (local.set $n (i32.const 131072))
        (loop $again
          (local.set $x (i64.or (local.get $x) (i64.load (local.get $n))))
          (i64.store (local.get $n) (i64.const -1))
          (local.set $n (i32.add (local.get $n) (i32.const 8)))
          (br_if $again (i32.lt_u (local.get $n) (i32.const 58720256))))
        (i64.store (i32.const 0) (local.get $x)) {}",
        length(8)
    );
    let simd = format!(
        "(local.set $v (f32x4.div (v128.const f32x4 0 1 -0 3) (v128.const f32x4 0 0 0 2)))
        (v128.store (i32.const 0) (local.get $v))
        (v128.store (i32.const 16) (i8x16.swizzle
          (v128.const i8x16 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
          (v128.const i8x16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 16 255)))
        {}",
        length(32)
    );
    let mut simd_reply = Vec::new();
    for lane in [NAN32, 0x7f80_0000, NAN32, 1.5_f32.to_bits()] {
        simd_reply.extend(lane.to_le_bytes());
    }
    simd_reply.extend([15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 0, 0]);
    let nested = format!("{}{}", "(block ".repeat(4_000), ")".repeat(4_000));
    vec![
        answered("nan-bits", "", &format!("{nans} {}", length(nan_reply.len())), nan_reply),
        answered("simd", "", &simd, simd_reply),
        answered(
            "remembers-in-memory",
            "(global $seen (mut i32) (i32.const 0))",
            &remembers,
            1_u32.to_le_bytes().to_vec(),
        ),
        answered("looks-at-old-memory", "", &looks, 0_u64.to_le_bytes().to_vec()),
        answered("nests-4000-blocks", "", &nested, Vec::new()),
    ]
}

/// Stores NaNs of every origin from address 0 on; and the bits that must stand there.
fn nans() -> (String, Vec<u8>) {
    // Loaded, so that no compiler knows them: 0, a signalling and a quiet NaN with payload.
    let (zero, signalling, quiet) =
        ("(f64.load (i32.const 512))", "(f64.load (i32.const 520))", "(f64.load (i32.const 528))");
    let quiet32 = "(f32.load (i32.const 536))";
    let mut text = "(f64.store (i32.const 512) (f64.const 0))
        (i64.store (i32.const 520) (i64.const 0x7ff4dead00000001))
        (i64.store (i32.const 528) (i64.const 0xfffcbeef00000002))
        (i32.store (i32.const 536) (i32.const 0xffc0beef))"
        .to_owned();
    let wide = [
        format!("(f64.div {zero} {zero})"),
        "(f64.div (f64.const 0) (f64.const 0))".to_owned(),
        format!("(f64.sub (f64.const inf) (f64.add (f64.const inf) {zero}))"),
        format!("(f64.sqrt (f64.sub {zero} (f64.const 1)))"),
        format!("(f64.add {signalling} (f64.const 1))"),
        format!("(f64.add {quiet} {signalling})"),
        format!("(f64.add {signalling} {quiet})"),
        format!("(f64.mul {quiet} (f64.const -1))"),
        format!("(f64.min {quiet} {zero})"),
        format!("(f64.max {zero} {signalling})"),
        format!("(f64.ceil {signalling})"),
        format!("(f64.nearest {quiet})"),
        format!("(f64.promote_f32 {quiet32})"),
        format!("(f64.promote_f32 (f32.demote_f64 {quiet}))"),
    ];
    let mut reply = Vec::new();
    for value in wide {
        writeln!(text, "(f64.store (i32.const {}) {value})", reply.len())
            .expect("a string takes everything");
        reply.extend(NAN64.to_le_bytes());
    }
    let narrow = [
        format!("(f32.demote_f64 {quiet})"),
        format!("(f32.add {quiet32} (f32.const 1))"),
        format!("(f32.floor {quiet32})"),
        "(f32x4.extract_lane 0 (f32x4.mul (f32x4.splat (f32.load (i32.const 536)))
          (f32x4.splat (f32.const 2))))"
            .to_owned(),
    ];
    for value in narrow {
        writeln!(text, "(f32.store (i32.const {}) {value})", reply.len())
            .expect("a string takes everything");
        reply.extend(NAN32.to_le_bytes());
    }
    // Not arithmetic: bits stay as they are, everywhere.
    writeln!(text, "(f64.store (i32.const {}) (f64.neg {signalling}))", reply.len())
        .expect("a string takes everything");
    reply.extend(0xfff4_dead_0000_0001_u64.to_le_bytes());
    (text, reply)
}
