//! A typed machine in a plain test.
//!
//! Commands and answers go through their compact form, as they would in a cluster, and the
//! machine's invariant is looked at after every entry. Not here: fuel, limits of memory, traps.

use std::marker::PhantomData;

use super::{Effect, Event, Host};
use crate::typed::{Form, Machine};
use crate::{COMMAND_EFFECT, Error, Outcome, Progress};

/// One typed machine over storage in memory.
///
/// ```
/// # use pgraft_sdk::typed::{Caller, Context, Error, Item, Machine, wake_at};
/// # pub struct Alarm;
/// # const RUNG: Item<u64> = Item::new(1);
/// # impl Machine for Alarm {
/// #     const NAME: &'static str = "alarm";
/// #     type Config = ();
/// #     type Command = u64;
/// #     type Reply = ();
/// #     type Query = ();
/// #     type Answer = Option<u64>;
/// #     type Error = Error;
/// #     fn apply(ctx: &Context, _: &Caller, after_ms: u64) -> Result<(), Error> {
/// #         wake_at(Some(ctx.time_ms + after_ms));
/// #         Ok(())
/// #     }
/// #     fn query(_: &Context, (): ()) -> Result<Option<u64>, Error> {
/// #         Ok(RUNG.get())
/// #     }
/// #     fn wake(ctx: &Context) -> Result<(), Error> {
/// #         RUNG.put(&ctx.time_ms);
/// #         Ok(())
/// #     }
/// # }
/// let mut sandbox = pgraft_sdk::native::Sandbox::<Alarm>::new(()).unwrap();
/// sandbox.apply(500).unwrap();
/// sandbox.advance(499);
/// assert_eq!(sandbox.query(()), Ok(None));
/// sandbox.advance(1);
/// assert_eq!(sandbox.query(()), Ok(Some(500)));
/// ```
pub struct Sandbox<M> {
    host: Host<M>,
    now_ms: u64,
    machine: PhantomData<M>,
}

impl<M: Machine> Sandbox<M> {
    /// Creates the machine at time 0.
    ///
    /// # Errors
    /// When it refuses the configuration.
    pub fn new(config: M::Config) -> Result<Sandbox<M>, Error>
    where
        M::Config: serde::Serialize,
    {
        let mut host = Host::new();
        host.init(&Form::Compact.encode(&config))?;
        let mut sandbox = Sandbox { host, now_ms: 0, machine: PhantomData };
        sandbox.look();
        Ok(sandbox)
    }

    /// Whom further commands come from; at first it is "test".
    pub fn principal(&mut self, principal: &str) {
        self.host.set_principal(principal);
    }

    /// Applies one command in an entry of its own, now.
    ///
    /// # Errors
    /// Its rejection.
    ///
    /// # Panics
    /// When the invariant does not hold afterwards.
    pub fn apply(&mut self, command: M::Command) -> Result<M::Reply, Error> {
        self.apply_all([command]).pop().expect("one outcome per command")
    }

    /// Applies commands in one entry.
    ///
    /// # Panics
    /// When the invariant does not hold afterwards.
    pub fn apply_all(
        &mut self,
        commands: impl IntoIterator<Item = M::Command>,
    ) -> Vec<Result<M::Reply, Error>> {
        let payloads: Vec<Vec<u8>> =
            commands.into_iter().map(|command| Form::Compact.encode(&command)).collect();
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let outcomes = self.host.apply_batch(self.now_ms, &payloads);
        self.look();
        outcomes.into_iter().map(compact).collect()
    }

    /// Applies a command in JSON, as SQL and the command line send it; the reply is JSON.
    ///
    /// # Errors
    /// Its rejection.
    ///
    /// # Panics
    /// When the invariant does not hold afterwards.
    pub fn call(&mut self, json: &str) -> Result<String, Error> {
        let reply = self.host.apply(self.now_ms, json.as_bytes())?;
        self.look();
        Ok(text(reply))
    }

    /// Asks a question.
    ///
    /// # Errors
    /// Its rejection.
    pub fn query(&mut self, query: M::Query) -> Result<M::Answer, Error> {
        compact(self.host.query(&Form::Compact.encode(&query)))
    }

    /// Asks a question in JSON; the answer is JSON.
    ///
    /// # Errors
    /// Its rejection.
    pub fn ask(&mut self, json: &str) -> Result<String, Error> {
        self.host.query(json.as_bytes()).map(text)
    }

    /// Asks the machine whether it would take this command.
    ///
    /// # Errors
    /// Why it would not.
    pub fn check(&mut self, command: &M::Command) -> Result<(), Error> {
        self.host.check(&Form::Compact.encode(command))
    }

    /// Lets time pass, and wakes the machine whenever it asked for it on the way, at the very
    /// millisecond. Returns how often that was.
    ///
    /// # Panics
    /// When the machine rejects a wake-up, or asks to be woken a million times, or the invariant
    /// does not hold.
    pub fn advance(&mut self, ms: u64) -> u32 {
        const WAKES_MAX: u32 = 1_000_000;
        let until = self.now_ms + ms;
        let mut wakes = 0;
        while let Some(due) = self.host.next_wake().filter(|due| *due <= until) {
            self.now_ms = self.now_ms.max(due);
            let woken = self.host.wake(self.now_ms);
            assert!(matches!(woken, Ok(true)), "the wake-up at {due} was rejected: {woken:?}");
            self.look();
            wakes += 1;
            assert!(wakes < WAKES_MAX, "the machine wants to be woken at {due} for ever");
        }
        self.now_ms = until;
        wakes
    }

    /// What time it is, in ms since the machine was created.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// When the machine wants to be woken.
    pub fn next_wake(&self) -> Option<u64> {
        self.host.next_wake()
    }

    /// The commands for other machines that wait to be carried out, oldest first: id, machine and
    /// payload.
    ///
    /// # Panics
    /// When the machine asked for something else than a command.
    pub fn requests(&self) -> Vec<(u64, String, Vec<u8>)> {
        self.host.effects().iter().map(command_for).collect()
    }

    /// Answers a request with what the other machine came to.
    ///
    /// # Errors
    /// When this machine rejects the answer.
    ///
    /// # Panics
    /// When the invariant does not hold afterwards.
    pub fn effect_done(&mut self, id: u64, outcome: Outcome) -> Result<(), Error> {
        self.host.effect_done(self.now_ms, id, outcome)?;
        self.look();
        Ok(())
    }

    /// The events since the last call: topic and payload.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.host.take_events()
    }

    /// The host of bytes behind it.
    pub fn host(&mut self) -> &mut Host<M> {
        &mut self.host
    }

    /// Puts another version of the machine in its place and lets it migrate, step by step.
    ///
    /// # Errors
    /// When it refuses to migrate.
    ///
    /// # Panics
    /// When it cannot start from the schema that is there, or its invariant does not hold.
    pub fn upgrade<N: Machine>(self) -> Result<Sandbox<N>, Error> {
        let from = M::SCHEMA;
        assert!(
            (N::MIGRATES_FROM..=N::SCHEMA).contains(&from),
            "{} {} reads schemas {} to {}, not {from}",
            N::NAME,
            N::VERSION,
            N::MIGRATES_FROM,
            N::SCHEMA,
        );
        let mut host: Host<N> = self.host.replaced();
        let mut step = 0;
        while from != N::SCHEMA && host.migrate(from, step)? == Progress::More {
            step += 1;
        }
        let mut sandbox = Sandbox { host, now_ms: self.now_ms, machine: PhantomData };
        sandbox.look();
        Ok(sandbox)
    }

    fn look(&mut self) {
        let held = self.host.invariant();
        assert!(held.is_ok(), "the invariant does not hold: {}", held.expect_err("just looked at"));
    }
}

fn compact<T: serde::de::DeserializeOwned>(outcome: Outcome) -> Result<T, Error> {
    Ok(Form::Compact.decode(&outcome?)?)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("a typed machine answers JSON in JSON")
}

fn command_for(effect: &Effect) -> (u64, String, Vec<u8>) {
    let Effect { id, kind, payload } = effect;
    assert_eq!(kind, COMMAND_EFFECT, "a machine may ask for commands only");
    let (length, rest) = payload.split_first_chunk::<4>().expect("a length comes first");
    let (machine, payload) = rest.split_at(u32::from_le_bytes(*length) as usize);
    (*id, String::from_utf8(machine.to_vec()).expect("names are UTF-8"), payload.to_vec())
}
