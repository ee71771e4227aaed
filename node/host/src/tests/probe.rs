//! A guest written as text: it misbehaves in ways that no compiler would write down.
//!
//! The first byte of a command says what it does, the next four are a number `n`:
//!
//! | byte | does |
//! |---|---|
//! | `m` | replies how many commands this instance has seen |
//! | `b` | burns fuel: a loop of `n` rounds |
//! | `0` | returns no outcome |
//! | `c` | rejects with code `n` |
//! | `u` | rejects with a message that is not UTF-8 |
//! | `l` | returns a reply that lies outside its memory |
//! | `h` | replies with `n` bytes |
//! | `w` | wants to be woken at `n` |
//! | `e` | requests an effect of kind `command` |
//! | `f` | requests an effect of kind `conf-change` |
//! | `k` | puts a key of `n` bytes |
//! | `v` | puts a value of `n` bytes |
//! | `x` | publishes `n` events |
//! | `r` | releases mark `n` |
//! | `p` | opens `n` marks |
//! | `g` | grows its memory by `n` pages and replies what that returned |
//! | `t` | traps |
//! | `d` | recurses for ever |
//! | `D` | recurses `n` times and replies what it counted |
//!
//! `react` traps when woken, rejects an effect that failed, and takes one that worked; each after
//! it wrote the row `reacted`. A query burns, grows, puts or traps likewise.

use pgraft_hostile::Interface;

const TEXT: &str = r#"(module
  (import "pgraft:machine/storage@0.1.0" "put" (func $put (param i32 i32 i32 i32)))
  (import "pgraft:machine/storage@0.1.0" "mark" (func $mark (result i32)))
  (import "pgraft:machine/storage@0.1.0" "release" (func $release (param i32)))
  (import "pgraft:machine/storage@0.1.0" "wake-at" (func $wake_at (param i64)))
  (import "pgraft:machine/effects@0.1.0" "request"
    (func $request (param i32 i32 i32 i32) (result i64)))
  (import "pgraft:machine/events@0.1.0" "emit" (func $emit (param i32 i32 i32 i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 4096))
  (data (i32.const 16) "probe1.0testconf-changereacted\ff\fecommand\001.0.0")
  ;; 0: commands seen; 64: the result of a call; 128: outcomes, 16 bytes each

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow
        (i32.add (i32.const 1) (i32.div_u (local.get 3) (i32.const 65536)))))))
    (local.get $at))

  ;; what a payload asks for; the outcome at $out: tag, then pointer and length, or code and so on
  (func $do (param $in i32) (param $length i32) (param $out i32)
    (local $n i32)
    (local $kind i32)
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    (if (i32.ge_u (local.get $length) (i32.const 5))
      (then (local.set $n (i32.load offset=1 align=1 (local.get $in)))))
    (local.set $kind (i32.load8_u (local.get $in)))
    (i32.store8 (local.get $out) (i32.const 0))
    (i32.store offset=4 (local.get $out) (i32.const 8))
    (i32.store offset=8 (local.get $out) (i32.const 0))
    (if (i32.eq (local.get $kind) (i32.const 0x6d)) (then ;; m
      (i32.store offset=4 (local.get $out) (i32.const 0))
      (i32.store offset=8 (local.get $out) (i32.const 4))))
    (if (i32.eq (local.get $kind) (i32.const 0x62)) (then ;; b
      (loop $again
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br_if $again (i32.gt_s (local.get $n) (i32.const 0))))))
    (if (i32.eq (local.get $kind) (i32.const 0x63)) (then ;; c
      (i32.store8 (local.get $out) (i32.const 1))
      (i32.store offset=4 (local.get $out) (local.get $n))
      (i32.store offset=8 (local.get $out) (i32.const 16))
      (i32.store offset=12 (local.get $out) (i32.const 5))))
    (if (i32.eq (local.get $kind) (i32.const 0x75)) (then ;; u
      (i32.store8 (local.get $out) (i32.const 1))
      (i32.store offset=4 (local.get $out) (i32.const 100))
      (i32.store offset=8 (local.get $out) (i32.const 46))
      (i32.store offset=12 (local.get $out) (i32.const 2))))
    (if (i32.eq (local.get $kind) (i32.const 0x6c)) (then ;; l
      (i32.store offset=4 (local.get $out) (i32.const 0x7fffffff))
      (i32.store offset=8 (local.get $out) (i32.const 16))))
    (if (i32.eq (local.get $kind) (i32.const 0x68)) (then ;; h
      (drop (memory.grow (i32.const 512)))
      (i32.store offset=8 (local.get $out) (local.get $n))))
    (if (i32.eq (local.get $kind) (i32.const 0x77)) (then ;; w
      (call $wake_at (i64.extend_i32_u (local.get $n)))))
    (if (i32.eq (local.get $kind) (i32.const 0x65)) (then ;; e
      (drop (call $request (i32.const 48) (i32.const 7) (local.get $in) (local.get $length)))))
    (if (i32.eq (local.get $kind) (i32.const 0x66)) (then ;; f
      (drop (call $request (i32.const 28) (i32.const 11) (i32.const 0) (i32.const 0)))))
    (if (i32.eq (local.get $kind) (i32.const 0x6b)) (then ;; k
      (call $put (i32.const 4096) (local.get $n) (i32.const 0) (i32.const 1))))
    (if (i32.eq (local.get $kind) (i32.const 0x76)) (then ;; v
      (drop (memory.grow (i32.const 512)))
      (call $put (i32.const 16) (i32.const 5) (i32.const 4096) (local.get $n))))
    (if (i32.eq (local.get $kind) (i32.const 0x78)) (then ;; x
      (loop $again
        (call $emit (i32.const 16) (i32.const 5) (i32.const 0) (i32.const 4))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br_if $again (i32.gt_s (local.get $n) (i32.const 0))))))
    (if (i32.eq (local.get $kind) (i32.const 0x72)) (then (call $release (local.get $n)))) ;; r
    (if (i32.eq (local.get $kind) (i32.const 0x70)) (then ;; p
      (loop $again
        (drop (call $mark))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br_if $again (i32.gt_s (local.get $n) (i32.const 0))))))
    (if (i32.eq (local.get $kind) (i32.const 0x67)) (then ;; g
      (i32.store (i32.const 8) (memory.grow (local.get $n)))
      (i32.store offset=8 (local.get $out) (i32.const 4))))
    (if (i32.eq (local.get $kind) (i32.const 0x64)) (then ;; d
      (drop (call $deep (i32.const -1)))))
    (if (i32.eq (local.get $kind) (i32.const 0x44)) (then ;; D
      (i32.store (i32.const 8) (call $deep (local.get $n)))
      (i32.store offset=8 (local.get $out) (i32.const 4))))
    (if (i32.eq (local.get $kind) (i32.const 0x74)) (then unreachable))) ;; t

  (func $deep (param $n i32) (result i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
    (i32.add (i32.const 1) (call $deep (i32.sub (local.get $n) (i32.const 1)))))

  (func (export "pgraft:machine/guest@0.1.0#apply")
    (param i64 i64 i64 i64) (param $commands i32) (param $count i32) (result i32)
    (local $i i32)
    (local $command i32)
    (i32.store (i32.const 64) (i32.const 128))
    (i32.store (i32.const 68) (local.get $count))
    (block $end (loop $next
      (br_if $end (i32.ge_u (local.get $i) (local.get $count)))
      (local.set $command
        (i32.add (local.get $commands) (i32.mul (local.get $i) (i32.const 32))))
      (if (i32.eq (i32.load8_u (i32.load offset=24 (local.get $command))) (i32.const 0x30))
        (then (i32.store (i32.const 68) (i32.const 0))))
      (call $do
        (i32.load offset=24 (local.get $command))
        (i32.load offset=28 (local.get $command))
        (i32.add (i32.const 128) (i32.mul (local.get $i) (i32.const 16))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (i32.const 64))

  (func (export "pgraft:machine/guest@0.1.0#query")
    (param i64 i64 i64 i64 i32 i32) (result i32)
    (call $do (local.get 4) (local.get 5) (i32.const 64))
    (i32.const 64))

  (func (export "pgraft:machine/guest@0.1.0#react")
    (param i64 i64 i64 i64) (param $what i32) (param i64) (param $failed i32) (param i32 i32 i32)
    (result i32)
    (call $put (i32.const 39) (i32.const 7) (i32.const 0) (i32.const 1))
    (if (i32.eqz (local.get $what)) (then unreachable))
    (i32.store8 (i32.const 64) (local.get $failed))
    (i32.store (i32.const 68) (i32.const 150))
    (i32.store (i32.const 72) (i32.const 16))
    (i32.store (i32.const 76) (i32.const 5))
    (i32.const 64))

  (func $fine (result i32)
    (i32.store8 (i32.const 64) (i32.const 0))
    (i32.const 64))
  (func (export "pgraft:machine/guest@0.1.0#init") (param i64 i64 i64 i64 i32 i32) (result i32)
    (call $fine))
  (func (export "pgraft:machine/guest@0.1.0#check")
    (param i64 i64 i64 i64 i32 i32 i64 i64 i32 i32) (result i32) (call $fine))
  (func (export "pgraft:machine/guest@0.1.0#migrate")
    (param i64 i64 i64 i64) (param $from i32) (param $step i32) (result i32)
    (i32.store8 (i32.const 0) (local.get $step))
    (call $put (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 5))
    (if (i32.eq (local.get $step) (i32.const 99 (; traps at step ;))) (then unreachable))
    (i32.store8 (i32.const 64) (i32.const 0))
    (i32.store8 (i32.const 68)
      (i32.lt_u (local.get $step) (i32.const 0 (; last step ;))))
    (i32.const 64))
  (func (export "pgraft:machine/guest@0.1.0#describe") (result i32)
    (i32.store (i32.const 64) (i32.const 16)) ;; name
    (i32.store (i32.const 68) (i32.const 5))
    (i32.store (i32.const 72) (i32.const 56)) ;; version
    (i32.store (i32.const 76) (i32.const 5))
    (i32.store (i32.const 80) (i32.const 1)) ;; schema
    (i32.store (i32.const 84) (i32.const 1)) ;; migrates from
    (i32.store (i32.const 88) (i32.const 0))
    (i32.store (i32.const 92) (i32.const 0))
    (i32.const 64))
)"#;

/// The guest's component.
pub(crate) fn component() -> Vec<u8> {
    pgraft_hostile::component(TEXT, Interface::default())
}

/// The guest under another version (`x` in x.0.0), which reads `schema` and migrates from 1 in
/// `steps` steps; it traps in the one that `traps` names.
pub(crate) fn later(version: u8, schema: u8, steps: u8, traps: Option<u8>) -> Vec<u8> {
    let replace = |text: String, from: &str, to: String| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, &to)
    };
    let text = replace(TEXT.to_owned(), "\\001.0.0", format!("\\00{version}.0.0"));
    let text = replace(text, "1)) ;; schema", format!("{schema})) ;; schema"));
    let text = replace(text, "0 (; last step ;)", format!("{}", steps - 1));
    let traps = traps.unwrap_or(99);
    let text = replace(text, "99 (; traps at step ;)", traps.to_string());
    pgraft_hostile::component(&text, Interface::default())
}

/// A command for the probe.
pub(crate) fn ask(kind: u8, n: u32) -> Vec<u8> {
    let mut payload = vec![kind];
    payload.extend_from_slice(&n.to_le_bytes());
    payload
}
