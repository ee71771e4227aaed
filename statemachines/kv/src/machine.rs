//! The guest's entry points.

use pgraft_sdk::{Command as Call, Context, Machine, Outcome, Result, Trigger, each};

use crate::limits::REQUEST_BYTES_MAX;
use crate::model::{Command, Query, Reply};
use crate::rejection::Rejection;
use crate::store::Store;
use crate::txn::{check_key, check_put, validate};

/// The machine.
pub struct Kv;

impl Machine for Kv {
    const NAME: &'static str = "kv";
    #[cfg(not(feature = "next"))]
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    #[cfg(not(feature = "next"))]
    const SCHEMA: u32 = 1;
    #[cfg(feature = "next")]
    const VERSION: &'static str = if cfg!(feature = "torn") { "1000.1.0" } else { "1000.0.0" };
    #[cfg(feature = "next")]
    const SCHEMA: u32 = crate::next::SCHEMA;
    #[cfg(feature = "next")]
    const MIGRATES_FROM: u32 = 1;

    fn check(_ctx: &Context, call: &Call) -> Result<()> {
        read(&call.payload)?;
        Ok(())
    }

    fn apply(ctx: &Context, call: &Call) -> Result<Vec<u8>> {
        Ok(run(&mut Store::new(ctx), &call.payload)?.encode())
    }

    /// The revision is read once per entry; a rejected command makes it be read again.
    fn apply_batch(ctx: &Context, calls: &[Call]) -> Vec<Outcome> {
        let mut store = Store::new(ctx);
        each(calls, |call| match run(&mut store, &call.payload) {
            Ok(reply) => {
                store.finish();
                Ok(reply.encode())
            }
            Err(rejection) => {
                store.undo();
                Err(rejection.into())
            }
        })
    }

    fn react(ctx: &Context, what: &Trigger) -> Result<()> {
        if let Trigger::Wake = what {
            let mut store = Store::new(ctx);
            store.end_due();
            store.go_on_compacting();
            crate::lease::set_timer();
        }
        Ok(())
    }

    fn query(ctx: &Context, request: &[u8]) -> Result<Vec<u8>> {
        let query = Query::decode(request).map_err(Rejection::from)?;
        Ok(answer(&mut Store::new(ctx), &query)?.encode())
    }

    #[cfg(feature = "next")]
    fn migrate(ctx: &Context, from: u32, step: u32) -> Result<pgraft_sdk::Progress> {
        crate::next::migrate(ctx, from, step)
    }
}

/// Decodes a command and checks all that can be said without the store.
fn read(payload: &[u8]) -> Result<Command, Rejection> {
    if payload.len() > REQUEST_BYTES_MAX {
        return Err(Rejection::RequestTooLarge);
    }
    let command = Command::decode(payload)?;
    match &command {
        Command::Put(put) => check_put(put)?,
        Command::DeleteRange(delete) => check_key(&delete.key, &delete.range_end)?,
        Command::Txn(txn) => validate(txn)?,
        Command::Compact { .. }
        | Command::LeaseGrant { .. }
        | Command::LeaseRevoke { .. }
        | Command::LeaseKeepAlive { .. } => {}
    }
    Ok(command)
}

fn run(store: &mut Store<'_>, payload: &[u8]) -> Result<Reply, Rejection> {
    match read(payload)? {
        Command::Put(put) => store.put_request(&put),
        Command::DeleteRange(delete) => store.delete_request(&delete),
        Command::Txn(txn) => store.txn_request(&txn).map(Reply::Txn),
        Command::Compact { revision } => store.compact(revision),
        Command::LeaseGrant { id, ttl } => store.grant(id, ttl),
        Command::LeaseRevoke { id } => store.revoke(id),
        Command::LeaseKeepAlive { id } => Ok(store.keep_alive(id)),
    }
}

fn answer(store: &mut Store<'_>, query: &Query) -> Result<Reply, Rejection> {
    match query {
        Query::Range(range) => {
            check_key(&range.key, &range.range_end)?;
            store.range(range).map(Reply::Range)
        }
        Query::LeaseTimeToLive { id, keys } => Ok(store.time_to_live(*id, *keys)),
        Query::Leases => Ok(store.leases()),
        Query::Status => Ok(Reply::Status(store.status())),
        Query::History(history) => {
            check_key(&history.key, &history.range_end)?;
            store.history(history).map(Reply::History)
        }
    }
}
