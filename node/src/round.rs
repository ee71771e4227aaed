//! Read rounds: many linearizable reads share one ReadIndex round.
//!
//! A read joins only a round that has not begun when the read comes in (TiKV #7971): the index of
//! a round that is under way may be older than a write acknowledged since.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgraft_replica::Index;
use tokio::sync::oneshot;

use crate::gateway::Gateway;

/// The rounds of this node.
#[derive(Clone, Default)]
pub(crate) struct Rounds {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    running: bool,
    waiting: Vec<oneshot::Sender<Option<Index>>>,
}

impl Rounds {
    /// The index of a round that begins after this call; `None` when it failed.
    pub(crate) async fn join(&self, gateway: Gateway) -> Option<Index> {
        let (reply, index) = oneshot::channel();
        let begin = {
            let mut state = self.lock();
            state.waiting.push(reply);
            !std::mem::replace(&mut state.running, true)
        };
        if begin {
            tokio::spawn(self.clone().run(gateway));
        }
        index.await.ok()?
    }

    /// Runs rounds until nobody waits.
    async fn run(self, gateway: Gateway) {
        loop {
            let asking = {
                let mut state = self.lock();
                if state.waiting.is_empty() {
                    state.running = false;
                    return;
                }
                std::mem::take(&mut state.waiting)
            };
            let index = gateway.read_index().await;
            for reply in asking {
                let _gone = reply.send(index);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
