//! What may be loaded and what may not; the cache of compiled code.

use pgraft_engine::{Options, Place};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::probe;
use super::rig::{Compiled, Node, bootstrap, machines};
use crate::{Code, CodeCache, Fault, Machines};

fn probe_module() -> Compiled {
    Compiled::new("probe", probe::component(), Options::default())
}

fn load(code: Code<'_>) -> Result<(), String> {
    match Machines::new(Place::Simulation, &[code]) {
        Ok(_) => Ok(()),
        Err(Fault::Module { why, .. } | Fault::Code { why, .. }) => Err(why),
        Err(fault) => panic!("{fault}"),
    }
}

#[test]
fn compiled_code_with_a_flipped_byte_is_refused() {
    let mut module = probe_module();
    let sha256 = module.code().compiled_sha256;
    let middle = module.compiled.len() / 2;
    module.compiled[middle] ^= 1;
    let code = Code { compiled_sha256: sha256, ..module.code() };
    assert!(load(code).unwrap_err().contains("damaged"));
}

#[test]
fn a_module_that_is_none_is_refused() {
    for garbage in [&b"not compiled"[..], &b""[..], &b"\x7fELF"[..]] {
        let compiled_sha256 = Sha256::digest(garbage).into();
        let code = Code { name: "x", component: b"", compiled: garbage, compiled_sha256 };
        load(code).unwrap_err();
    }
}

#[test]
fn code_for_another_engine_is_refused() {
    let other = Options { copy_on_write: false, ..Options::default() };
    let module = Compiled::new("probe", probe::component(), other);
    load(module.code()).unwrap_err();
}

/// The compiler keeps optimised code only when its frames are in proportion to the count of the
/// stack. Ours must be.
#[test]
fn our_modules_stay_optimised() {
    let slow = Options { optimised: false, ..Options::default() };
    for (name, component) in super::rig::components() {
        let optimised = pgraft_engine::precompile(&component).unwrap();
        assert!(optimised != Compiled::new(name, component, slow).compiled, "{name}");
    }
}

#[test]
fn a_foreign_import_is_refused() {
    let component = wat::parse_str(
        r#"(component
          (import "wasi:clocks/wall-clock@0.2.0" (instance
            (export "now" (func (result u64))))))"#,
    )
    .unwrap();
    let module = Compiled::new("clock", component, Options::default());
    let why = load(module.code()).unwrap_err();
    assert!(why.contains("imports wasi:clocks/wall-clock@0.2.0"), "{why}");
}

#[test]
fn a_component_that_is_no_machine_is_refused() {
    let component = wat::parse_str("(component)").unwrap();
    let module = Compiled::new("empty", component, Options::default());
    let why = load(module.code()).unwrap_err();
    assert!(why.contains("does not export"), "{why}");
}

#[test]
fn a_machine_of_another_module_does_not_open() {
    let all = machines();
    let node = Node::new(&all);
    let state = node.applier.into_state();
    let few = std::sync::Arc::new(Machines::new(Place::Simulation, &[]).unwrap());
    let fault = crate::Applier::open(few, state).err().expect("its modules are missing");
    assert!(matches!(fault, Fault::MissingModule { .. }), "{fault}");
}

#[test]
fn a_state_begins_once() {
    let all = machines();
    let mut node = Node::empty(&all);
    assert!(!node.applier.is_bootstrapped());
    let mut refused = bootstrap();
    refused.machines[0].2 = b"no genesis".to_vec();
    assert!(matches!(node.applier.bootstrap(&refused), Err(Fault::Refused { .. })));
    assert_eq!(node.digests(), Node::empty(&all).digests(), "nothing stays of a failed one");
    node.applier.bootstrap(&bootstrap()).unwrap();
    assert!(node.applier.is_bootstrapped());
    assert!(matches!(node.applier.bootstrap(&bootstrap()), Err(Fault::Bootstrap(_))));
    assert_eq!(node.applier.meta().conf, bootstrap().conf);
}

#[test]
fn the_cache_gives_back_what_it_was_given_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let cache = CodeCache::new(&folder.path().join("code"));
    let module = probe_module();
    assert_eq!(cache.find(&module.sha256()).unwrap(), None);
    cache.keep(&module.sha256(), &module.compiled).unwrap();
    let found = cache.find(&module.sha256()).unwrap().expect("it was kept");
    load(found.code("probe", &module.component)).unwrap();
    assert_eq!(cache.find(&[0; 32]).unwrap(), None);
    cache.keep(&module.sha256(), &module.compiled).unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.path().join("code")).unwrap().collect();
    assert_eq!(files.len(), 1, "nothing unfinished is left behind");
}

#[test]
fn a_damaged_file_in_the_cache_counts_as_absent() {
    let folder = TempDir::new().unwrap();
    let cache = CodeCache::new(folder.path());
    let module = probe_module();
    cache.keep(&module.sha256(), &module.compiled).unwrap();
    let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&path).unwrap();
    let step = whole.len() / 40;
    for at in (0..104).chain((104..whole.len()).step_by(step)) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(cache.find(&module.sha256()).unwrap(), None, "byte {at}");
    }
    for length in [0, 7, 103, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(cache.find(&module.sha256()).unwrap(), None, "{length} bytes");
    }
}
