//! Whose fault it is that a module does not run: what follows from a compiler of another version or
//! from damage is this node's and tried again; only the module's own is remembered.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pgraft_host::{Machines, Place};
use pgraft_store::Disk;
use pgraft_transport::AnyNet;
use tempfile::TempDir;

use super::Provision;
use crate::compiler::CompileError;
use crate::world::{Compiling, Work, World};

/// A machine whose compiler always answers the same.
struct Answers {
    compiled: Result<Vec<u8>, CompileError>,
    asked: AtomicU32,
}

impl World for Answers {
    fn peers(&self) -> AnyNet {
        unreachable!("nobody talks")
    }

    fn clients(&self) -> (AnyNet, String) {
        unreachable!("nobody talks")
    }

    fn wall_ms(&self) -> u64 {
        unreachable!("nobody asks the time")
    }

    fn boottime_ns(&self) -> u64 {
        unreachable!("nobody asks the time")
    }

    fn random(&self) -> Result<u64, String> {
        unreachable!("nothing is left to chance")
    }

    fn start(&self, _name: &str, _work: Work) -> io::Result<()> {
        unreachable!("no worker is needed")
    }

    fn compile(&self, _component: Arc<[u8]>) -> Compiling {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let compiled = self.compiled.clone();
        Box::pin(async { compiled })
    }
}

/// What getting a module ready comes to, twice, and how often the compiler was asked.
async fn twice(compiled: Result<Vec<u8>, CompileError>) -> ([Result<(), CompileError>; 2], u32) {
    let folder = TempDir::new().unwrap();
    let answers = Arc::new(Answers { compiled, asked: AtomicU32::new(0) });
    let world: Arc<dyn World> = answers.clone();
    let machines = Arc::new(Machines::new(Place::Simulation, &[]).unwrap());
    let provision = Provision::new(&world, &machines, &Disk::new(folder.path()), folder.path());
    let mut told = Vec::new();
    for _ in 0..2 {
        told.push(provision.provide(&[7; 32], b"a component".to_vec()).await);
    }
    assert!(!machines.has(&[7; 32]));
    (told.try_into().unwrap(), answers.asked.load(Ordering::Relaxed))
}

#[tokio::test]
async fn code_that_this_engine_does_not_take_is_this_nodes_fault_and_made_again() {
    let (told, asked) = twice(Ok(b"code for another engine".to_vec())).await;
    for told in told {
        assert!(matches!(&told, Err(CompileError::Failed(why)) if why.contains("compiled code")));
    }
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn a_compiler_that_fails_is_asked_again() {
    let (told, asked) = twice(Err(CompileError::Failed("killed".to_owned()))).await;
    assert_eq!(told[1], Err(CompileError::Failed("killed".to_owned())));
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn a_module_that_is_refused_is_not_compiled_for_each_who_asks() {
    let (told, asked) = twice(Err(CompileError::Refused("none".to_owned()))).await;
    for told in told {
        assert_eq!(told, Err(CompileError::Refused("none".to_owned())));
    }
    assert_eq!(asked, 1);
}
