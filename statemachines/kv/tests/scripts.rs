//! Runs the golden scripts natively. The host crate runs the same files over the compiled module.

use std::path::Path;

use pgraft_kv::{Kv, script::Script};
use pgraft_sdk::native::Host;

test_each_file::test_each_path! { in "statemachines/kv/testscripts" => run }

fn run(path: &Path) {
    let mut script = Script::new(Host::<Kv>::new());
    goldenscript::run(&mut script, path).expect("the script's output has not changed");
}
