//! Joins a [`Machine`] to the generated exports. Only for `wasm32`.

use core::marker::PhantomData;

use crate::bindings::exports::pgraft::machine::guest::Guest;
use crate::bindings::exports::pgraft::machine::verification::Guest as Verification;
use crate::{Command, Context, Error, Machine, Manifest, Outcome, Progress, Trigger, storage};

/// A machine as the host calls it.
#[doc(hidden)]
pub struct Shim<M>(PhantomData<M>);

impl<M: Machine> Guest for Shim<M> {
    fn describe() -> Manifest {
        M::manifest()
    }

    fn init(ctx: Context, config: Vec<u8>) -> Result<(), Error> {
        M::init(&ctx, &config)
    }

    fn check(ctx: Context, command: Command) -> Result<(), Error> {
        M::check(&ctx, &command)
    }

    fn apply(ctx: Context, commands: Vec<Command>) -> Vec<Outcome> {
        M::apply_batch(&ctx, &commands)
    }

    fn react(ctx: Context, what: Trigger) -> Result<(), Error> {
        // A reaction is one command: what it did is undone when it is rejected.
        let mark = storage::mark();
        M::react(&ctx, &what).inspect_err(|_| storage::rollback_to(mark))
    }

    fn query(ctx: Context, request: Vec<u8>) -> Outcome {
        M::query(&ctx, &request)
    }

    fn migrate(ctx: Context, from_schema: u32, step: u32) -> Result<Progress, Error> {
        M::migrate(&ctx, from_schema, step)
    }
}

impl<M: Machine> Verification for Shim<M> {
    fn command_key(payload: Vec<u8>) -> Option<Vec<u8>> {
        M::command_key(&payload)
    }

    fn query_key(request: Vec<u8>) -> Option<Vec<u8>> {
        M::query_key(&request)
    }

    fn invariant(ctx: Context) -> Result<(), String> {
        M::invariant(&ctx)
    }
}
