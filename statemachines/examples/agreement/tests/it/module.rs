//! An example, built, compiled and loaded as a function over rows in memory.

use std::path::{Path, PathBuf};
use std::time::Instant;

use pgraft_build::{Language, Rust, build};
use pgraft_host::{Code, Machines, Place, Specification};
use sha2::{Digest, Sha256};

/// Builds the example in that folder; the machine gets that name.
pub(crate) fn module(folder: &str, machine: &str) -> Specification {
    // An absolute folder stays what it is.
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let begun = Instant::now();
    let component = component(&project);
    let built = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let compiled = pgraft_engine::precompile(&component).expect("it is a component");
    println!(
        "{folder}: {} bytes in {built:.1} s, {} of code in {:.1} s",
        component.len(),
        compiled.len(),
        begun.elapsed().as_secs_f64()
    );
    let code = Code::of(machine, &component, &compiled);
    let machines = Machines::new(Place::Simulation, &[code]).expect("it is a machine");
    let sha256 = Sha256::digest(&component).into();
    Specification::new(&machines, machine, &sha256).expect("it was just loaded")
}

fn component(project: &Path) -> Vec<u8> {
    let project = project.canonicalize().expect("the example is there");
    let tmp = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    if Language::of(&project).expect("it is an example") == Language::Rust {
        // Shared with the guests of the bundle: the same dependencies under the same flags.
        let guests = tmp.parent().expect("it lies in the target folder").join("guests");
        let built = Rust::new(&project).locked().build(&guests);
        return built.unwrap_or_else(|why| panic!("{project:?}: {why}")).1;
    }
    let name = project.file_name().expect("the example has a folder");
    let built = build(&project, &tmp.join("examples").join(name));
    built.unwrap_or_else(|why| panic!("{project:?}: {why}")).component
}
