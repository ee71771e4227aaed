//! Who can be asked, and what part of the run it is: shared by clients, nemesis and cluster.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use crate::seed::Chance;

/// Members that are up, and the phase.
#[derive(Default)]
pub(super) struct Roster {
    up: RefCell<BTreeSet<u64>>,
    calm: Cell<bool>,
    over: Cell<bool>,
    hammered: Cell<Option<u64>>,
}

impl Roster {
    /// A node can be asked, or cannot any more.
    pub(super) fn set_up(&self, node: u64, up: bool) {
        if up {
            self.up.borrow_mut().insert(node);
        } else {
            self.up.borrow_mut().remove(&node);
        }
    }

    /// The nodes that can be asked.
    pub(super) fn up(&self) -> Vec<u64> {
        self.up.borrow().iter().copied().collect()
    }

    /// All clients ask this node only; `None`: any.
    pub(super) fn hammer(&self, node: Option<u64>) {
        self.hammered.set(node);
    }

    /// Somebody to ask; also nodes that are down now and then, as clients do.
    pub(super) fn pick(&self, chance: &mut Chance) -> Option<u64> {
        if let Some(node) = self.hammered.get() {
            return Some(node);
        }
        let up = self.up();
        (!up.is_empty()).then(|| *chance.pick(&up))
    }

    /// The faults are over: from now on everything must work.
    pub(super) fn calm_down(&self) {
        self.calm.set(true);
        self.hammered.set(None);
    }

    /// Whether the faults are over.
    pub(super) fn is_calm(&self) -> bool {
        self.calm.get()
    }

    /// Clients stop.
    pub(super) fn end(&self) {
        self.over.set(true);
    }

    /// Whether clients are to stop.
    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }
}
