//! Other modules than those a cluster begins with, which a run can have `kv` run. All behave alike
//! to those who ask; what differs is their bytes and the schema of their rows. Not here: when they
//! are brought in (`sim::upgrades`).

use std::sync::{Arc, OnceLock};

use pgraft_host::{Code, Fault, Machines, Place, Sha256Bytes};
use pgraft_node::modules::Modules;
use sha2::{Digest, Sha256};

use crate::compiled::compiled;

/// The machine that is upgraded.
pub const MACHINE: &str = "kv";

/// A module for [`MACHINE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// The one that comes with the program.
    First,
    /// The same with other bytes.
    FirstAgain,
    /// The next schema, reached in several steps.
    Next,
    /// The same with other bytes.
    NextAgain,
    /// A later schema, whose migration fails on the way.
    Torn,
}

impl Variant {
    /// All of them.
    pub const ALL: [Variant; 5] =
        [Variant::First, Variant::FirstAgain, Variant::Next, Variant::NextAgain, Variant::Torn];

    /// Its component.
    pub fn component(self) -> &'static Arc<[u8]> {
        &all()[self as usize].0
    }

    /// What identifies it.
    pub fn sha256(self) -> &'static Sha256Bytes {
        &all()[self as usize].1
    }

    /// The variant with this hash.
    pub fn of(sha256: &Sha256Bytes) -> Option<Variant> {
        Variant::ALL.into_iter().find(|variant| variant.sha256() == sha256)
    }

    /// The module of the same schema with other bytes.
    #[must_use]
    pub fn again(self) -> Variant {
        match self {
            Variant::First => Variant::FirstAgain,
            Variant::FirstAgain => Variant::First,
            Variant::Next => Variant::NextAgain,
            Variant::NextAgain => Variant::Next,
            Variant::Torn => Variant::Torn,
        }
    }

    /// Whether its rows have the schema after the first.
    pub fn is_next(self) -> bool {
        matches!(self, Variant::Next | Variant::NextAgain)
    }
}

/// What another build of the program carries: another module for [`MACHINE`], and for the others
/// the same.
///
/// # Errors
/// When the engine cannot be made.
pub(crate) fn other_build() -> Result<Modules, Fault> {
    let component = Variant::FirstAgain.component();
    let own = code(component);
    let codes: Vec<Code<'_>> = pgraft_bundle::modules()
        .iter()
        .map(|module| match module.name {
            MACHINE => Code::of(MACHINE, component, &own),
            name => Code::of(name, module.component, module.compiled),
        })
        .collect();
    Modules::only(Place::Simulation, &codes)
}

/// Everything that `carried` has, and all variants.
///
/// # Errors
/// When a module cannot be loaded.
pub(crate) fn library(carried: &Machines) -> Result<Machines, Fault> {
    let library = carried.fork();
    for variant in Variant::ALL {
        let component = variant.component();
        library.load(&Code::of(MACHINE, component, &code(component)))?;
    }
    Ok(library)
}

fn code(component: &Arc<[u8]>) -> Vec<u8> {
    compiled(component).expect("a variant is a component that can be compiled")
}

fn all() -> &'static [(Arc<[u8]>, Sha256Bytes)] {
    static ALL: OnceLock<Vec<(Arc<[u8]>, Sha256Bytes)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let first = of_bundle(pgraft_bundle::modules(), MACHINE);
        let next = of_bundle(pgraft_bundle::test_modules(), "kv-next");
        let torn = of_bundle(pgraft_bundle::test_modules(), "kv-torn");
        let components =
            [first.to_vec(), labelled(first), next.to_vec(), labelled(next), torn.to_vec()];
        let identified = |component: Vec<u8>| {
            let sha256 = Sha256::digest(&component).into();
            (Arc::from(component), sha256)
        };
        components.into_iter().map(identified).collect()
    })
}

fn of_bundle(modules: &'static [pgraft_bundle::Module], name: &str) -> &'static [u8] {
    let found = modules.iter().find(|module| module.name == name);
    found.expect("the bundle has it").component
}

/// A component with a section more that means nothing.
fn labelled(component: &[u8]) -> Vec<u8> {
    const LABEL: &[u8] = b"another build";
    // Id of a custom section, bytes of its contents, bytes of its name, name.
    let head = [0, LABEL.len() as u8 + 1, LABEL.len() as u8];
    [component, &head, LABEL].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_five_modules() {
        for variant in Variant::ALL {
            assert_eq!(Variant::of(variant.sha256()), Some(variant));
            let again = variant.again();
            assert_eq!((again.is_next(), again.again()), (variant.is_next(), variant));
            compiled(variant.component()).unwrap();
        }
        assert_eq!(Variant::of(&[0; 32]), None);
    }
}
