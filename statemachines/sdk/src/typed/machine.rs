//! The typed trait, and how it becomes a machine of bytes.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Form, MALFORMED};
use crate::{Caller, Context, Error, Outcome, Progress, Trigger};

/// A replicated state machine whose commands, replies and rows are types.
///
/// There is no `self`: the host makes a fresh instance for each log entry, so everything that
/// shall last goes through a [`super::Table`] or an [`super::Item`]. A handler is a function of
/// those, its [`Context`] and its arguments; nothing else is there.
pub trait Machine {
    /// Name of the module, for people.
    const NAME: &'static str;
    /// Version of the module, semver.
    const VERSION: &'static str = "0.0.0";
    /// Schema of what this code keeps in its tables.
    const SCHEMA: u32 = 1;
    /// The oldest schema that [`Machine::migrate`] can start from.
    const MIGRATES_FROM: u32 = Self::SCHEMA;
    /// Description of commands and queries for tools; any text.
    const API: &'static str = "";
    /// Commands and queries on different keys do not see each other: see
    /// [`Machine::command_key`].
    const KEYED: bool = false;

    /// What the machine is created with; an empty configuration is its default.
    type Config: DeserializeOwned + Default;
    /// What changes the state.
    type Command: Serialize + DeserializeOwned;
    /// What a command is answered with.
    type Reply: Serialize + DeserializeOwned;
    /// What asks about the state.
    type Query: Serialize + DeserializeOwned;
    /// What a query is answered with.
    type Answer: Serialize + DeserializeOwned;
    /// A rejection: [`Error`] itself, or a type that implements [`Rejection`].
    type Error: Into<Error>;

    /// Runs once, in the entry that creates the machine.
    ///
    /// # Errors
    /// Refuses the configuration; the machine is then not created.
    fn init(_ctx: &Context, _config: Self::Config) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Looks at a command before it enters the log. Advisory, on a snapshot: [`Machine::apply`]
    /// must check again.
    ///
    /// # Errors
    /// Refuses the command; it is then not put in the log.
    fn check(_ctx: &Context, _from: &Caller, _command: &Self::Command) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Carries out one command.
    ///
    /// # Errors
    /// A rejection. It undoes this command's writes, events, effects and wake time.
    fn apply(
        ctx: &Context,
        from: &Caller,
        command: Self::Command,
    ) -> Result<Self::Reply, Self::Error>;

    /// Answers a question on a snapshot. A write here ends the call.
    ///
    /// # Errors
    /// A rejection.
    fn query(ctx: &Context, query: Self::Query) -> Result<Self::Answer, Self::Error>;

    /// The time given to [`super::wake_at`] has come; it is forgotten already.
    ///
    /// # Errors
    /// A rejection. It undoes the call's writes, and nobody hears of it.
    fn wake(_ctx: &Context) -> Result<(), Self::Error> {
        Ok(())
    }

    /// A command that this machine requested of another was carried out.
    ///
    /// # Errors
    /// A rejection. It undoes the call's writes, and nobody hears of it.
    fn effect_done(_ctx: &Context, _id: u64, _outcome: Outcome) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Brings the stored data from an older schema to [`Machine::SCHEMA`], in as many steps as it
    /// likes, from 0.
    ///
    /// # Errors
    /// The old module then stays in place.
    fn migrate(_ctx: &Context, _from_schema: u32, _step: u32) -> Result<Progress, Self::Error> {
        Ok(Progress::Done)
    }

    /// The key that a command touches; `None` = it may touch all. Asked by checkers when
    /// [`Machine::KEYED`].
    fn command_key(_command: &Self::Command) -> Option<Vec<u8>> {
        None
    }

    /// [`Machine::command_key`] for a query.
    fn query_key(_query: &Self::Query) -> Option<Vec<u8>> {
        None
    }

    /// What must hold after every entry; asked by checkers, read only.
    ///
    /// # Errors
    /// What is wrong with the state.
    fn invariant(_ctx: &Context) -> Result<(), String> {
        Ok(())
    }
}

/// A type that says why a command was refused: its text is the message.
pub trait Rejection: Display {
    /// What programs tell it by: from 101 on. 1 to 99 are the host's, 100 is [`MALFORMED`].
    fn code(&self) -> u32;
}

impl<R: Rejection> From<R> for Error {
    fn from(rejection: R) -> Error {
        let code = rejection.code();
        assert!(code > MALFORMED, "a rejection's code is {code}, the first of its own is 101");
        Error::new(code, rejection.to_string())
    }
}

fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<(Form, T), Error> {
    let form = Form::of(payload)?;
    Ok((form, form.decode(payload)?))
}

impl<M: Machine> crate::Machine for M {
    const NAME: &'static str = M::NAME;
    const VERSION: &'static str = M::VERSION;
    const SCHEMA: u32 = M::SCHEMA;
    const MIGRATES_FROM: u32 = M::MIGRATES_FROM;
    const API: &'static str = M::API;
    const KEYED: bool = M::KEYED;

    fn init(ctx: &Context, config: &[u8]) -> Result<(), Error> {
        let config = match config {
            [] => M::Config::default(),
            config => read(config)?.1,
        };
        M::init(ctx, config).map_err(Into::into)
    }

    fn check(ctx: &Context, command: &crate::Command) -> Result<(), Error> {
        let (_, parsed) = read(&command.payload)?;
        M::check(ctx, &command.caller, &parsed).map_err(Into::into)
    }

    fn apply(ctx: &Context, command: &crate::Command) -> Result<Vec<u8>, Error> {
        let (form, parsed) = read(&command.payload)?;
        let reply = M::apply(ctx, &command.caller, parsed).map_err(Into::into)?;
        Ok(form.encode(&reply))
    }

    fn react(ctx: &Context, what: &Trigger) -> Result<(), Error> {
        match what {
            Trigger::Wake => M::wake(ctx),
            Trigger::EffectDone((id, outcome)) => M::effect_done(ctx, *id, outcome.clone()),
        }
        .map_err(Into::into)
    }

    fn query(ctx: &Context, request: &[u8]) -> Result<Vec<u8>, Error> {
        let (form, query) = read(request)?;
        let answer = M::query(ctx, query).map_err(Into::into)?;
        Ok(form.encode(&answer))
    }

    fn migrate(ctx: &Context, from_schema: u32, step: u32) -> Result<Progress, Error> {
        M::migrate(ctx, from_schema, step).map_err(Into::into)
    }

    fn command_key(payload: &[u8]) -> Option<Vec<u8>> {
        // What cannot be read touches nothing; that it touches all is the safe thing to say.
        read(payload).ok().and_then(|(_, command)| M::command_key(&command))
    }

    fn query_key(request: &[u8]) -> Option<Vec<u8>> {
        read(request).ok().and_then(|(_, query)| M::query_key(&query))
    }

    fn invariant(ctx: &Context) -> Result<(), String> {
        M::invariant(ctx)
    }
}
