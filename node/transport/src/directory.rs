//! Who is a member, where it lives, and who was removed: what the driver last told the transport.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use pgraft_replica::NodeId;
use pgraft_watch as watch;

/// One other member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `host:port`; IPv6 in brackets. Names are resolved at each attempt to connect.
    pub address: String,
    /// Its data directory; 0 = not known yet, any is accepted.
    pub incarnation: u128,
}

/// What a node id is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Member { incarnation: u128 },
    Removed,
    Unknown,
}

#[derive(Debug, Default)]
struct Book {
    peers: BTreeMap<NodeId, Peer>,
    removed: BTreeSet<NodeId>,
}

/// The members, and a signal that they changed.
#[derive(Debug)]
pub(crate) struct Directory {
    book: Mutex<Book>,
    edition: watch::Sender<u64>,
}

impl Directory {
    pub(crate) fn new() -> Directory {
        Directory { book: Mutex::default(), edition: watch::Sender::new(0) }
    }

    /// Whether that changed anything.
    pub(crate) fn set_peers(&self, peers: BTreeMap<NodeId, Peer>) -> bool {
        self.change(|book| {
            let changed = book.peers != peers;
            book.peers = peers;
            changed
        })
    }

    pub(crate) fn set_removed(&self, removed: BTreeSet<NodeId>) -> bool {
        self.change(|book| {
            let changed = book.removed != removed;
            book.removed = removed;
            changed
        })
    }

    pub(crate) fn standing(&self, node: NodeId) -> Standing {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.removed.contains(&node) {
            return Standing::Removed;
        }
        match book.peers.get(&node) {
            Some(peer) => Standing::Member { incarnation: peer.incarnation },
            None => Standing::Unknown,
        }
    }

    pub(crate) fn peer(&self, node: NodeId) -> Option<Peer> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.peers.get(&node).cloned()
    }

    /// Changes whenever [`Directory::standing`] or [`Directory::peer`] may answer differently.
    pub(crate) fn editions(&self) -> watch::Receiver<u64> {
        self.edition.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Book) -> bool) -> bool {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut book);
        drop(book);
        if changed {
            self.edition.send_modify(|edition| *edition += 1);
        }
        changed
    }
}
