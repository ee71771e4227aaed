//! The counter of the stack: it ends every recursion before the native stack does, whatever the
//! frames look like, and changes nothing else.
#![cfg(feature = "compiler")]
#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::fmt::Write;

use pgraft_engine::{Options, Place, TOO_DEEP_TABLE_MAX, config, precompile_with};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, ResourceLimiter, Result, Store, format_err};

const OPTIONS: [Options; 2] = [
    Options { pooled: false, copy_on_write: true, optimised: true },
    Options { pooled: true, copy_on_write: false, optimised: false },
];

/// Recognises the end of a recursion, as the host does.
#[derive(Default)]
struct Limiter {
    too_deep: bool,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        self.too_deep |= desired > 0 && maximum == Some(TOO_DEEP_TABLE_MAX);
        if self.too_deep { Err(format_err!("too deep")) } else { Ok(true) }
    }
}

/// What `run` of a core module in text makes of `argument`: a number, or `None` when it recursed
/// too deep; and the fuel that was left.
fn run(fields: &str, argument: u64, options: Options) -> (Option<u64>, u64) {
    let text = format!(
        r#"(component (core module $m {fields}) (core instance $i (instantiate $m))
        (func (export "run") (param "a" u64) (result u64) (canon lift (core func $i "run"))))"#
    );
    let code = precompile_with(&wat::parse_str(text).unwrap(), options).unwrap();
    let engine = Engine::new(&config(Place::Simulation, options)).unwrap();
    #[expect(unsafe_code, reason = "the bytes were compiled by this process")]
    // SAFETY: `code` comes from the line above and was not touched.
    let component = unsafe { Component::deserialize(&engine, code) }.unwrap();
    let mut store = Store::new(&engine, Limiter::default());
    store.limiter(|limiter| limiter);
    store.set_fuel(u64::MAX / 2).unwrap();
    let instance = Linker::new(&engine).instantiate(&mut store, &component).unwrap();
    store.set_fuel(u64::MAX / 4).unwrap();
    let run = instance.get_typed_func::<(u64,), (u64,)>(&mut store, "run").unwrap();
    let result = run.call(&mut store, (argument,));
    let left = store.get_fuel().unwrap();
    match result {
        Ok((number,)) => (Some(number), left),
        Err(error) => {
            assert!(store.data().too_deep, "{error:#}");
            (None, left)
        }
    }
}

/// Recurses for ever under all options: it must end by the counter, and at the same operator.
fn ends(what: &str, fields: &str) {
    let ends = OPTIONS.map(|options| run(fields, 1, options));
    assert_eq!(ends[0].0, None, "{what}: it ended well");
    assert_eq!(ends[0], ends[1], "{what}: fuel differs");
}

const RUN: &str = r#"(func (export "run") (param i64) (result i64) (call $deep (local.get 0)))"#;

/// A function whose frame holds what an optimiser finds worth keeping: `count` values that are
/// computed before the recursion and again after it.
fn keeps_values(count: usize) -> String {
    let mut body = String::new();
    for _ in 0..2 {
        for value in 0..count {
            let value = value * 7_919 + 12_345_678_901;
            writeln!(
                body,
                "(local.set $s (i64.xor (i64.rotl (local.get $s) (i64.const 1))
                  (i64.mul (local.get $a) (i64.add (local.get $a) (i64.const {value})))))"
            )
            .unwrap();
        }
        body.push_str("(local.set $s (i64.add (local.get $s) (call $deep (local.get $a))))");
    }
    format!("(func $deep (param $a i64) (result i64) (local $s i64) {body} (local.get $s)) {RUN}")
}

/// The same with values that do not change within a loop around the recursion.
fn keeps_values_of_a_loop(count: usize) -> String {
    let mut body = String::new();
    for value in 0..count {
        let value = value * 7_919 + 12_345_678_901;
        writeln!(
            body,
            "(local.set $s (i64.xor (i64.rotl (local.get $s) (i64.const 1))
              (i64.mul (local.get $a) (i64.add (local.get $a) (i64.const {value})))))"
        )
        .unwrap();
    }
    format!(
        "(func $deep (param $a i64) (result i64) (local $s i64)
          (loop $again
            (local.set $s (i64.add (local.get $s) (call $deep (local.get $a))))
            {body}
            (br_if $again (i64.ne (local.get $s) (i64.const 0))))
          (local.get $s)) {RUN}"
    )
}

/// Many values of a type on the operand stack across the recursion.
fn holds_operands(count: usize, make: &str, fold: &str) -> String {
    let (make, fold) = (make.repeat(count), fold.repeat(count - 1));
    format!(
        "(func $deep (param $a i64) (result i64)
          {make}
          (drop (call $deep (local.get $a)))
          {fold}) {RUN}"
    )
}

#[test]
fn no_frame_is_too_large_for_the_count() {
    ends(
        "small",
        &format!("(func $deep (param i64) (result i64) (call $deep (local.get 0))) {RUN}"),
    );
    for count in [10, 100, 1_000, 4_000] {
        ends(&format!("{count} kept values"), &keeps_values(count));
        ends(&format!("{count} kept values of a loop"), &keeps_values_of_a_loop(count));
        let (make, fold) = ("(i64.mul (local.get $a) (local.get $a))", " i64.xor");
        ends(&format!("{count} operands"), &holds_operands(count, make, fold));
        let make = "(i64x2.splat (local.get $a))";
        let fold = " i64x2.add";
        let vectors = holds_operands(count, make, &format!("{fold} "));
        // Their sum is a vector; one lane of it is the result.
        let vectors = vectors.replace(") (func (export", " i64x2.extract_lane 0) (func (export");
        ends(&format!("{count} vectors"), &vectors);
    }
}

#[test]
fn parameters_results_and_tables_are_counted() {
    for count in [2, 100, 900] {
        let (types, values) = ("i64 ".repeat(count), "(local.get 0) ".repeat(count));
        let drops = "drop ".repeat(count - 1);
        ends(
            &format!("{count} parameters and results"),
            &format!(
                "(func $many (param {types}) (result {types}) {values} call $many)
                (func $deep (param i64) (result i64) {values} call $many {drops}) {RUN}"
            ),
        );
    }
    ends(
        "through a table",
        &format!(
            "(type $t (func (param i64) (result i64))) (table funcref (elem $a $b))
            (func $a (type $t) (call_indirect (type $t) (local.get 0) (i32.const 1)))
            (func $b (type $t) (call_indirect (type $t) (local.get 0) (i32.const 0)))
            (func $deep (type $t) (call $a (local.get 0))) {RUN}"
        ),
    );
}

/// However a function ends, its cost is taken off: a hundred thousand calls are no deeper than one.
#[test]
fn every_way_out_is_counted_off() {
    let fields = r#"
        (func $leaf (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))
        (func $two (param i64) (result i64 i64)
          (block (result i64 i64)
            (call $leaf (local.get 0)) (i64.const 1)
            (br_if 0 (i64.eqz (i64.and (local.get 0) (i64.const 1))))
            (br_if 1 (i64.eqz (i64.and (local.get 0) (i64.const 2))))
            return))
        (func $ways (param i64) (result i64)
          (if (i64.eqz (i64.and (local.get 0) (i64.const 1)))
            (then (return (call $leaf (local.get 0)))))
          (block (loop (block
            (br_table 0 2 0 (i32.wrap_i64 (i64.and (local.get 0) (i64.const 3)))
          )) (return (i64.const 5))) (return (call $leaf (i64.const 7))))
          (i64.sub (call $two (local.get 0))))
        (func (export "run") (param i64) (result i64)
          (local $s i64)
          (loop $again
            (local.set $s (i64.add (local.get $s)
              (i64.xor (call $ways (local.get 0)) (i64.add (call $two (local.get 0))))))
            (local.set 0 (i64.sub (local.get 0) (i64.const 1)))
            (br_if $again (i64.ne (local.get 0) (i64.const 0))))
          (local.get $s))"#;
    let ends = OPTIONS.map(|options| run(fields, 100_000, options));
    assert_eq!(ends[0], ends[1]);
    assert!(ends[0].0.is_some(), "calls that had ended were still counted");
}
