//! The program as a node sees it: what goes in, what comes out, and what it may not use.
#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use pgraft_engine::helper::{COMPILED, REFUSED};

fn run(component: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pgraft-compile"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // It may have enough before it has read everything.
    let _refused_early = input.write_all(component);
    drop(input);
    child.wait_with_output().unwrap()
}

fn refused(component: &[u8]) -> String {
    let output = run(component);
    assert_eq!(output.status.code(), Some(i32::from(REFUSED)), "{output:?}");
    assert_eq!(output.stdout[0], REFUSED);
    String::from_utf8(output.stdout[1..].to_vec()).unwrap()
}

#[test]
fn a_module_comes_back_as_the_same_code_that_is_compiled_here() {
    let component = wat::parse_str(
        r#"(component
          (core module $m (func (export "f")))
          (core instance $i (instantiate $m))
          (func $f (canon lift (core func $i "f")))
          (instance $guest (export "f" (func $f)))
          (export "pgraft:machine/guest@0.1.0" (instance $guest)))"#,
    )
    .unwrap();
    let output = run(&component);
    assert_eq!(output.status.code(), Some(i32::from(COMPILED)), "{output:?}");
    assert_eq!(output.stdout[0], COMPILED);
    let code = pgraft_engine::precompile(&component).unwrap();
    assert!(output.stdout[1..] == code, "compiling is not a function of the component");
}

#[test]
fn what_is_no_module_is_refused_in_words() {
    assert!(refused(b"").contains("not WASM"));
    assert!(refused(b"\x7fELF....").contains("not WASM: it begins with [7f, 45, 4c, 46]"));
    assert!(refused(b"\0asm\x01\0\0\0").contains("a core module, not a component"));
    assert!(refused(b"\0asm\x0d\0\x01\0").contains("does not export pgraft:machine/guest@0.1.0"));
    let huge = vec![0; (16 << 20) + 1];
    assert!(refused(&huge).contains("16777217 bytes; the limit is 16777216"));
}

#[test]
fn a_strange_argument_is_told_how_to_use_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_pgraft-compile")).arg("--help").output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard input"));
}
